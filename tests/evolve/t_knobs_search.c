/* The knob searcher on synthetic landscapes: 20 mixed genes with pair interactions, forbidden pairs and 5 % noise. It
 * must find clearly better points than random search and than plain one-gene local search within 40, 80 and 160
 * evaluations.
 *
 * Beside that: assertions are obeyed, no point is proposed twice (also after a restart), equal histories give equal
 * proposals, small spaces end, and operators and families that the interface promises do appear. */
#include "common.h"

#include <math.h>

#include "base/clock.h"
#include "evolve/propose/propose.h"

enum { GENES = 20, PAIRS = 25, FORBIDDEN = 4, RUNS = 16, BUDGETS = 3 };
static const int budget[BUDGETS] = {40, 80, 160};
static const long values_of_level[] = {4, 8, 16, 32, 64, 128};

/* ln time of a point: main effects (bowls on ordinal genes, tables on choices) and tables on pairs. */
typedef struct {
    int levels[GENES];
    bool ordinal[GENES];
    double effect[GENES][6], pair[PAIRS][6][6], optimum;
    int a[PAIRS], b[PAIRS];
    int forbid_a[FORBIDDEN], forbid_b[FORBIDDEN], level_a[FORBIDDEN], level_b[FORBIDDEN];
    bool asserted[FORBIDDEN];          /* said by a _Static_assert; else found out by failing */
    double spread;
    char *source;
} landscape;

static double time_of(const landscape *l, const int *g)
{
    double t = 0;
    for (int i = 0; i < GENES; i++) t += l->effect[i][g[i]];
    for (int i = 0; i < PAIRS; i++) t += l->pair[i][g[l->a[i]]][g[l->b[i]]];
    return t;
}

static bool forbidden(const landscape *l, const int *g)
{
    for (int i = 0; i < FORBIDDEN; i++)
        if (g[l->forbid_a[i]] == l->level_a[i] && g[l->forbid_b[i]] == l->level_b[i]) return true;
    return false;
}

static long level_value(const landscape *l, int gene, int level)
{
    return l->ordinal[gene] ? values_of_level[level] : level;
}

static char *source_of(const landscape *l, const int *g)
{
    atn_text t = {0};
    text_add(&t, "/* a family */\n");
    for (int i = 0; i < GENES; i++) {
        text_addf(&t, "#define GENE_%c%d %ld   // knob:", l->ordinal[i] ? 'O' : 'C', i, level_value(l, i, g[i]));
        for (int v = 0; v < l->levels[i]; v++) text_addf(&t, " %ld", level_value(l, i, v));
        text_add(&t, "\n");
    }
    for (int i = 0; i < FORBIDDEN; i++) {
        int a = l->forbid_a[i], b = l->forbid_b[i];
        char ca = l->ordinal[a] ? 'O' : 'C', cb = l->ordinal[b] ? 'O' : 'C';
        if (l->asserted[i])
            text_addf(&t, "_Static_assert(!(GENE_%c%d == %ld && GENE_%c%d == %ld), \"\");\n", ca, a,
                      level_value(l, a, l->level_a[i]), cb, b, level_value(l, b, l->level_b[i]));
    }
    text_add(&t, "int sum = 0");
    for (int i = 0; i < GENES; i++) text_addf(&t, " + GENE_%c%d", l->ordinal[i] ? 'O' : 'C', i);
    text_add(&t, ";\n");
    return text_take(&t);
}

/* Genes of a source; the values are listed in level order. */
static void genes_of(const char *source, int *g)
{
    atn_knobs *k = atn_alloc(sizeof *k);
    assert_int_equal(knobs_parse(source, k, NULL), ATN_OK);
    assert_int_equal(k->count, GENES);
    for (int i = 0; i < GENES; i++) g[i] = k->knob[i].now;
    free(k);
}

static void random_point(const landscape *l, int *g, atn_rng *r)
{
    do
        for (int i = 0; i < GENES; i++) g[i] = (int)rng_below(r, (uint32_t)l->levels[i]);
    while (forbidden(l, g));
}

/* One-gene and two-gene descent until nothing is better; what it ends at is left in g. */
static double descend(const landscape *l, int *g)
{
    double now = time_of(l, g);
    for (bool better = true; better;) {
        better = false;
        for (int i = 0; i < GENES; i++)
            for (int j = i; j < GENES; j++)
                for (int a = 0; a < l->levels[i]; a++)
                    for (int b = 0; b < l->levels[j]; b++) {
                        int gi = g[i], gj = g[j];
                        g[i] = a;
                        g[j] = b;
                        double t = forbidden(l, g) ? INFINITY : time_of(l, g);
                        if (t < now - 1e-12) now = t, better = true;
                        else g[i] = gi, g[j] = gj;
                    }
    }
    return now;
}

/* The best that descents from many starts find: the optimum, as near as one gets. */
static double find_optimum(const landscape *l, atn_rng *r)
{
    double best = INFINITY;
    for (int start = 0; start < 30; start++) {
        int g[GENES];
        random_point(l, g, r);
        best = fmin(best, descend(l, g));
    }
    return best;
}

/* A point tuned by hand for another machine: the end of a descent on a landscape that is like this one. */
static void tuned_point(const landscape *l, int *g, atn_rng *r)
{
    landscape *other = atn_alloc(sizeof *other);
    *other = *l;
    for (int i = 0; i < GENES; i++)
        for (int v = 0; v < l->levels[i]; v++)
            other->effect[i][v] = l->effect[i][v] * exp(0.5 * rng_normal(r)) + 0.5 * l->spread * rng_f64(r);
    for (int i = 0; i < PAIRS; i++)
        for (int a = 0; a < 6; a++)
            for (int b = 0; b < 6; b++) other->pair[i][a][b] *= exp(rng_normal(r));
    random_point(l, g, r);
    descend(other, g);
    free(other);
}

static landscape *make_landscape(uint64_t seed, double spread)
{
    atn_rng r = rng_make(seed, 1, 0);
    landscape *l = atn_alloc(sizeof *l);
    l->spread = spread;
    for (int i = 0; i < GENES; i++) {
        l->ordinal[i] = rng_f64(&r) < 0.6;
        l->levels[i] = l->ordinal[i] ? 3 + (int)rng_below(&r, 4) : 2 + (int)rng_below(&r, 3);
        double size = spread * exp(1.0 * rng_normal(&r)), centre = rng_f64(&r) * (l->levels[i] - 1);
        for (int v = 0; v < l->levels[i]; v++) {
            double off = (v - centre) / l->levels[i];
            l->effect[i][v] = l->ordinal[i] ? 3 * size * off * off : size * rng_f64(&r);
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        l->a[i] = (int)rng_below(&r, GENES);
        do l->b[i] = (int)rng_below(&r, GENES);
        while (l->b[i] == l->a[i]);
        double size = spread * 0.5 * exp(0.8 * rng_normal(&r));
        for (int a = 0; a < 6; a++)
            for (int b = 0; b < 6; b++) l->pair[i][a][b] = size * rng_f64(&r);
    }
    for (int i = 0; i < FORBIDDEN; i++) {
        l->forbid_a[i] = (int)rng_below(&r, GENES);
        do l->forbid_b[i] = (int)rng_below(&r, GENES);
        while (l->forbid_b[i] == l->forbid_a[i]);
        l->level_a[i] = (int)rng_below(&r, (uint32_t)l->levels[l->forbid_a[i]]);
        l->level_b[i] = (int)rng_below(&r, (uint32_t)l->levels[l->forbid_b[i]]);
        l->asserted[i] = i % 2 == 0;
    }
    l->optimum = find_optimum(l, &r);
    return l;
}

/* ---- searchers: each reports the true ln(time / optimum) of what it holds for best at each budget ---- */

typedef struct {
    const landscape *l;
    double noise, seen_best, true_best, at[BUDGETS];
    int evaluations;
    atn_rng *r;
} bench;

static double evaluate(bench *b, const int *g)
{
    double t = time_of(b->l, g), seen = INFINITY;
    if (!forbidden(b->l, g)) {
        seen = t + b->noise * fabs(rng_normal(b->r));
        if (seen < b->seen_best) b->seen_best = seen, b->true_best = t;
    }
    b->evaluations++;
    for (int i = 0; i < BUDGETS; i++)
        if (b->evaluations == budget[i]) b->at[i] = b->true_best - b->l->optimum;
    return seen;
}

static bool finished(const bench *b) { return b->evaluations >= budget[BUDGETS - 1]; }

static void run_random(bench *b, const int *start)
{
    int g[GENES];
    memcpy(g, start, sizeof g);
    while (evaluate(b, g), !finished(b)) random_point(b->l, g, b->r);
}

/* First improvement over one-gene neighbours in random order; a restart from 30 % perturbed genes at a local
 * optimum. */
static void run_local(bench *b, const int *start)
{
    int now[GENES];
    memcpy(now, start, sizeof now);
    double t = evaluate(b, now);
    while (!finished(b)) {
        struct { int gene, level; } step[GENES * 6];
        int n = 0;
        for (int i = 0; i < GENES; i++)
            for (int v = 0; v < b->l->levels[i]; v++) {
                if (v == now[i]) continue;
                int at = (int)rng_below(b->r, (uint32_t)n + 1);
                step[n] = step[at];
                step[at].gene = i;
                step[at].level = v;
                n++;
            }
        bool better = false;
        for (int i = 0; i < n && !better && !finished(b); i++) {
            int old = now[step[i].gene];
            now[step[i].gene] = step[i].level;
            double next = evaluate(b, now);
            better = next < t;
            if (better) t = next;
            else now[step[i].gene] = old;
        }
        if (better || finished(b)) continue;
        for (int i = 0; i < GENES; i++)
            if (rng_f64(b->r) < 0.3) now[i] = (int)rng_below(b->r, (uint32_t)b->l->levels[i]);
        t = evaluate(b, now);
    }
}

static atn_verdict right = {.stage = ATN_STAGE_RACE, .reason = ATN_REASON_NOT_BETTER, .correct = true};
static atn_verdict wrong = {.stage = ATN_STAGE_FULL, .reason = ATN_REASON_WRONG};

static void run_knobs(bench *b, const int *start)
{
    atn_proposer *p = proposer_knobs_create();
    char *source = source_of(b->l, start);
    int g[GENES];
    memcpy(g, start, sizeof g);
    atn_program_view v = {.id = 1, .source = source, .flags = "", .origin = "shipped:family.c", .verdict = &right};
    v.score = -evaluate(b, g);
    p->learn(p, &v);
    while (!finished(b)) {
        atn_propose_context c = {.number = b->evaluations, .iterations_left = budget[BUDGETS - 1] - b->evaluations};
        atn_proposal out;
        atn_rng r = rng_make(rng_u64(b->r), 2, (uint64_t)b->evaluations);
        assert_int_equal(p->propose(p, &c, &r, &out), PROPOSE_OK);
        genes_of(out.source, g);
        for (int i = 0; i < FORBIDDEN; i++)
            assert_false(b->l->asserted[i] && g[b->l->forbid_a[i]] == b->l->level_a[i] &&
                         g[b->l->forbid_b[i]] == b->l->level_b[i]);
        double t = evaluate(b, g);
        atn_program_view child = {.id = b->evaluations, .source = out.source, .flags = out.flags, .origin = out.origin,
                                  .parent = out.parents[0], .verdict = isfinite(t) ? &right : &wrong, .score = -t};
        p->learn(p, &child);
        free(out.source);
        free(out.flags);
    }
    p->destroy(p);
    free(source);
}

typedef void (*run_function)(bench *, const int *);

static void compare(const char *title, double spread, double noise, bool tuned, double mean[3][BUDGETS])
{
    static const struct { const char *name; run_function run; } searchers[3] = {
        {"random", run_random}, {"one-gene", run_local}, {"knobs", run_knobs}};
    memset(mean, 0, 3 * sizeof *mean);
    for (int i = 0; i < RUNS; i++) {
        landscape *l = make_landscape(100 + (uint64_t)(i / 2), spread);
        atn_rng r = rng_make(7, 3, (uint64_t)i);
        int start[GENES];
        random_point(l, start, &r);
        if (tuned) tuned_point(l, start, &r);
        for (int s = 0; s < 3; s++) {
            atn_rng own = rng_make(11, (uint64_t)s, (uint64_t)i);
            bench b = {.l = l, .noise = noise, .seen_best = INFINITY, .true_best = INFINITY, .r = &own};
            searchers[s].run(&b, start);
            for (int k = 0; k < BUDGETS; k++) mean[s][k] += b.at[k] / RUNS;
        }
        free(l);
    }
    printf("# %s: time of the pick / optimum, mean of %d runs\n", title, RUNS);
    for (int s = 0; s < 3; s++) {
        printf("#   %-9s", searchers[s].name);
        for (int k = 0; k < BUDGETS; k++) printf(" %4d: %.3f", budget[k], exp(mean[s][k]));
        printf("\n");
    }
}

/* Random search everywhere; one-gene search clearly while evaluations are few, and no worse in the long run. */
static void must_beat(double m[3][BUDGETS])
{
    static const double of_local[BUDGETS] = {0.95, 0.9, 1.25};
    for (int k = 0; k < BUDGETS; k++)
        if (!(m[2][k] < 0.6 * m[0][k]) || !(m[2][k] < of_local[k] * m[1][k]))
            fail_with("at %d evaluations ln(time / optimum) is: knobs %.3f, random %.3f, one-gene %.3f", budget[k],
                      m[2][k], m[0][k], m[1][k]);
}

static void beats_others_from_afar(void **state)
{
    (void)state;
    double m[3][BUDGETS];
    compare("wide, 5 % noise, random start", 0.4, 0.05, false, m);
    must_beat(m);
}

static void beats_others_near_the_optimum(void **state)
{
    (void)state;
    double m[3][BUDGETS];
    compare("wide, 0.5 % noise, tuned start", 0.1, 0.005, true, m);
    must_beat(m);
}

/* ---- a small world: a sum over knobs of what their values are worth ---- */

static double score_of(const char *source, const char *flags)
{
    atn_knobs k;
    if (knobs_parse(source, &k, NULL) != ATN_OK) return -INFINITY;
    double s = strstr(source, "family two") ? 0.5 : 0.4;
    for (int i = 0; i < k.count; i++) s += 0.01 * (i + 1) * (double)((k.knob[i].values[k.knob[i].now] * 7 + i) % 5);
    return s + 0.001 * (double)strlen(flags ? flags : "");
}

static const char family_one[] = "/* family one */\n#define BR 16 // knob: 8 16 32\n#define BC 4 // knob: 2 4 8\n"
                                 "#define MODE 0 // knob: 0 1\n_Static_assert(BR * BC <= 128, \"fits\");\n"
                                 "int a[BR][BC];\n#if MODE\nint mode;\n#endif\n";
static const char family_two[] = "/* family two */\n#define BR 8 // knob: 8 16 32 64\n#define DEPTH 1 // knob: 1 2 3\n"
                                 "int a[BR * DEPTH];\n";
static const char no_knobs[] = "/* plain */\nint a;\n";

typedef struct {
    char *source, *flags, *origin;
    int64_t parent;
} record;

typedef struct {
    record r[600];
    int n;
} history;

static void teach(atn_proposer *p, const record *r, int64_t id)
{
    double s = score_of(r->source, r->flags);
    p->learn(p, &(atn_program_view){.id = id, .parent = r->parent, .source = r->source, .flags = r->flags,
                                    .origin = r->origin, .verdict = isfinite(s) ? &right : &wrong, .score = s});
}

static void add_record(history *h, const char *source, const char *flags, const char *origin, int64_t parent)
{
    assert_true(h->n < ATN_COUNT(h->r));
    h->r[h->n++] = (record){atn_strdup(source), atn_strdup(flags ? flags : ""), atn_strdup(origin), parent};
}

static void add_proposal(history *h, atn_proposal *out)
{
    add_record(h, out->source, out->flags, out->origin, out->parents[0]);
    free(out->source);
    free(out->flags);
}

static void free_history(history *h)
{
    for (int i = 0; i < h->n; i++) free(h->r[i].source), free(h->r[i].flags), free(h->r[i].origin);
    h->n = 0;
}

static propose_answer ask(atn_proposer *p, int number, atn_proposal *out)
{
    atn_rng r = rng_make(test_seed, 5, (uint64_t)number);
    return p->propose(p, &(atn_propose_context){.number = number, .iterations_left = -1}, &r, out);
}

/* Proposes and teaches until nothing is left or `most` programs are known. */
static propose_answer go_on(atn_proposer *p, history *h, int most)
{
    while (h->n < most) {
        atn_proposal out;
        propose_answer a = ask(p, h->n, &out);
        if (a != PROPOSE_OK) return a;
        add_proposal(h, &out);
        teach(p, &h->r[h->n - 1], h->n);
    }
    return PROPOSE_OK;
}

static void start_with(atn_proposer *p, history *h, int families)
{
    static const char *const shipped[] = {family_one, family_two, no_knobs};
    for (int i = 0; i < families; i++) {
        add_record(h, shipped[i], "", "shipped:x.c", 0);
        teach(p, &h->r[h->n - 1], h->n);
    }
}

static void small_spaces_are_searched_whole_and_end(void **state)
{
    (void)state;
    atn_proposer *p = proposer_knobs_create();
    atn_proposal out;
    assert_int_equal(ask(p, 0, &out), PROPOSE_LATER);             /* nothing is known yet */
    history h = {.n = 0};
    start_with(p, &h, 1);
    assert_int_equal(go_on(p, &h, ATN_COUNT(h.r)), PROPOSE_EXHAUSTED);
    int plain = 0;
    for (int i = 0; i < h.n; i++) {
        plain += !h.r[i].flags[0];
        atn_knobs k;
        assert_int_equal(knobs_parse(h.r[i].source, &k, NULL), ATN_OK);
        assert_true(k.knob[0].values[k.knob[0].now] * k.knob[1].values[k.knob[1].now] <= 128);
        assert_true(i == 0 || (h.r[i].parent >= 1 && h.r[i].parent <= i));
        for (int j = 0; j < i; j++)
            if (!strcmp(h.r[i].source, h.r[j].source) && !strcmp(h.r[i].flags, h.r[j].flags))
                fail_with("programs %d and %d are the same", j + 1, i + 1);
    }
    assert_int_equal(plain, 2 * (3 * 3 - 1));                     /* all but BR 32 with BC 8, both modes */
    add_record(&h, family_two, "", "llm/diff", 1);                /* a new family: there is work again */
    teach(p, &h.r[h.n - 1], h.n);
    assert_int_equal(ask(p, h.n, &out), PROPOSE_OK);
    assert_non_null(strstr(out.source, "family two"));
    free(out.source), free(out.flags);
    free_history(&h);
    p->destroy(p);
}

/* Assertions and flags are those of the machine that programs run on, whatever machine searches. */
static void another_machine_has_its_own_rules(void **state)
{
    (void)state;
    static const struct {
        atn_machine m;
        int regs, lanes;
    } there[] = {{{.isa = "avx2", .features = "avx avx2 fma"}, 16, 8},
                 {{.isa = "avx512", .features = "avx avx2 fma avx512f avx512vl"}, 32, 16},
                 {{.isa = "neon", .features = "neon"}, 32, 4}};
    const char *source = "#define MR 1 // knob: 1 2 4 8\n#define NR 1 // knob: 1 2 4\n"
                         "_Static_assert(MR * NR <= VF_REGS && NR * VL <= 32, \"fits\");\nint a[MR][NR];\n";
    for (int i = 0; i < ATN_COUNT(there); i++) {
        atn_proposer *p = proposer_knobs_create();
        p->attach(p, &(propose_host){.machine = &there[i].m});
        history h = {.n = 0};
        add_record(&h, source, "", "shipped:x.c", 0);
        teach(p, &h.r[0], 1);
        assert_int_equal(go_on(p, &h, ATN_COUNT(h.r)), PROPOSE_EXHAUSTED);
        int plain = 0, narrow = 0, fit = 0;
        for (int k = 0; k < h.n; k++) {
            plain += !h.r[k].flags[0];
            narrow += strstr(h.r[k].flags, "-mprefer-vector-width=256") != NULL;
        }
        for (int mr = 1; mr <= 8; mr *= 2)
            for (int nr = 1; nr <= 4; nr *= 2) fit += mr * nr <= there[i].regs && nr * there[i].lanes <= 32;
        assert_int_equal(plain, fit);
        assert_true((narrow > 0) == (there[i].lanes == 16));
        p->destroy(p);
        free_history(&h);
    }
}

static void idle_knobs_are_left_alone(void **state)
{
    (void)state;
    const char *source = "#define MODE 0 // knob: 0 1\n"
                         "#define STEP 4 // knob: 1 2 4 8\nint a;\n#if MODE\nint b[STEP];\n#endif\n";
    atn_proposer *p = proposer_knobs_create();
    history h = {.n = 0};
    add_record(&h, source, "", "shipped:x.c", 0);
    teach(p, &h.r[0], 1);
    assert_int_equal(go_on(p, &h, ATN_COUNT(h.r)), PROPOSE_EXHAUSTED);
    int plain = 0;
    for (int i = 0; i < h.n; i++) {
        plain += !h.r[i].flags[0];
        if (strstr(h.r[i].source, "MODE 0")) assert_non_null(strstr(h.r[i].source, "STEP 4"));
    }
    assert_int_equal(plain, 5);
    free_history(&h);
    p->destroy(p);
}

static void a_restart_changes_nothing(void **state)
{
    (void)state;
    history a = {.n = 0};
    atn_proposer *p = proposer_knobs_create();
    start_with(p, &a, 3);
    go_on(p, &a, 40);
    for (int cut = 3; cut < 40; cut += 9) {
        atn_proposer *q = proposer_knobs_create();
        for (int i = 0; i < cut; i++) teach(q, &a.r[i], i + 1);
        for (int i = cut; i < a.n; i++) {
            atn_proposal out;
            assert_int_equal(ask(q, i, &out), PROPOSE_OK);
            if (strcmp(out.source, a.r[i].source) || strcmp(out.flags, a.r[i].flags) ||
                strcmp(out.origin, a.r[i].origin))
                fail_with("restarted after %d, proposal %d differs: %s, was %s", cut, i, out.origin, a.r[i].origin);
            free(out.source), free(out.flags);
            teach(q, &a.r[i], i + 1);
        }
        q->destroy(q);
    }
    /* What is under way is not proposed again. */
    atn_proposal x, y;
    assert_int_equal(ask(p, 7, &x), PROPOSE_OK);
    assert_int_equal(ask(p, 7, &y), PROPOSE_OK);
    assert_true(strcmp(x.source, y.source) || strcmp(x.flags, y.flags));
    free(x.source), free(x.flags), free(y.source), free(y.flags);
    p->destroy(p);
    free_history(&a);
}

/* With several under way at once: who is told which they are goes on as who never stopped. */
static void a_restart_knows_what_is_under_way(void **state)
{
    (void)state;
    enum { WINDOW = 6, N = 46 };
    history a = {.n = 0};
    atn_proposer *p = proposer_knobs_create();
    start_with(p, &a, 3);
    for (int i = 3; i < N; i++) {
        if (i >= 3 + WINDOW) teach(p, &a.r[i - WINDOW], i - WINDOW + 1);
        atn_proposal out;
        assert_int_equal(ask(p, i, &out), PROPOSE_OK);
        add_proposal(&a, &out);
    }
    for (int cut = 3 + WINDOW; cut < N; cut += 5) { /* proposals before it are recorded, the last WINDOW not judged */
        atn_proposer *q = proposer_knobs_create();
        for (int i = 0; i < cut - WINDOW; i++) teach(q, &a.r[i], i + 1);
        for (int i = cut - WINDOW; i < cut; i++) q->pending(q, a.r[i].source, a.r[i].flags);
        for (int i = cut; i < N; i++) {
            atn_proposal out;
            teach(q, &a.r[i - WINDOW], i - WINDOW + 1);
            assert_int_equal(ask(q, i, &out), PROPOSE_OK);
            if (strcmp(out.source, a.r[i].source) || strcmp(out.flags, a.r[i].flags) || strcmp(out.origin, a.r[i].origin))
                fail_with("restarted at %d, proposal %d differs: %s, was %s", cut, i, out.origin, a.r[i].origin);
            free(out.source), free(out.flags);
        }
        q->destroy(q);
    }
    p->destroy(p);
    free_history(&a);
}

static void families_share_the_work(void **state)
{
    (void)state;
    history h = {.n = 0};
    atn_proposer *p = proposer_knobs_create();
    start_with(p, &h, 3);
    go_on(p, &h, 60);
    int one = 0, two = 0, plain = 0, notes = 0;
    for (int i = 3; i < h.n; i++) {
        one += strstr(h.r[i].source, "family one") != NULL;
        two += strstr(h.r[i].source, "family two") != NULL;
        plain += strstr(h.r[i].source, "plain") != NULL;
        notes += text_starts(h.r[i].origin, "knobs/");
    }
    assert_int_equal(notes, h.n - 3);
    if (one < 5 || two < 5) fail_with("of 57 proposals %d are of family one, %d of family two, %d of none", one, two,
                                      plain);
    assert_true(plain <= 8);
    p->destroy(p);
    free_history(&h);
}

static void odd_programs_do_no_harm(void **state)
{
    (void)state;
    atn_proposer *p = proposer_knobs_create();
    history h = {.n = 0};
    start_with(p, &h, 1);
    add_record(&h, "#define A 1 // knob: what\n", "", "llm/full", 0);
    add_record(&h, "", "", "llm/full", 0);
    add_record(&h, "#define A 99 // knob: 1\nint a = A;\n", "-O9", "llm/full", 0);
    atn_text t = {0};
    text_add(&t, "/* family one */\n#define BR 77 // knob: 8 16 32\n");
    text_add(&t, strstr(family_one, "#define BC"));
    add_record(&h, t.s, "-fstrange", "llm/diff", 0);
    text_free(&t);
    for (int i = 1; i < h.n; i++) teach(p, &h.r[i], i + 1);
    for (int i = 0; i < 20; i++) {
        add_record(&h, family_two, "-fodd", "mailbox", 0);
        h.r[h.n - 1].flags[4] = (char)('a' + i);
    }
    for (int i = 5; i < h.n; i++) teach(p, &h.r[i], i + 1);
    p->learn(p, &(atn_program_view){.id = 99, .source = family_one, .flags = NULL, .origin = NULL, .score = NAN});
    go_on(p, &h, 80);
    for (int i = 25; i < h.n; i++) assert_null(strstr(h.r[i].flags, "odd"));
    p->destroy(p);
    free_history(&h);
}

static void shipped_kernels_give_valid_points_quickly(void **state)
{
    (void)state;
    const char *name;
    char *source;
    for (int i = 0; (source = shipped_source(i, &name)); i++) {
        atn_proposer *p = proposer_knobs_create();
        p->learn(p, &(atn_program_view){.id = 1, .source = source, .flags = "", .origin = "shipped",
                                        .verdict = &right, .score = 1});
        double start = clock_cpu_ns() * 1e-9;
        int n = 0;
        for (; n < 100; n++) {
            atn_proposal out;
            if (ask(p, n, &out) != PROPOSE_OK) break;
            p->learn(p, &(atn_program_view){.id = n + 2, .source = out.source, .flags = out.flags, .origin = out.origin,
                                            .verdict = &right, .score = 1 - 0.001 * (n % 7)});
            free(out.source), free(out.flags);
        }
        double each = (clock_cpu_ns() * 1e-9 - start) / ATN_MAX(n, 1);
        printf("# %s: %d proposals, %.2f ms each\n", name, n, each * 1e3);
        if (each > 0.05) fail_with("%s: a proposal costs %.1f ms", name, each * 1e3);
        p->destroy(p);
        free(source);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(beats_others_from_afar), cmocka_unit_test(beats_others_near_the_optimum),
    cmocka_unit_test(small_spaces_are_searched_whole_and_end), cmocka_unit_test(another_machine_has_its_own_rules),
    cmocka_unit_test(idle_knobs_are_left_alone),
    cmocka_unit_test(a_restart_changes_nothing),
    cmocka_unit_test(a_restart_knows_what_is_under_way), cmocka_unit_test(families_share_the_work),
    cmocka_unit_test(odd_programs_do_no_harm), cmocka_unit_test(shipped_kernels_give_valid_points_quickly)};
TEST_MAIN(tests)
