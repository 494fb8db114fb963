/* The embedded proposer: searches the knobs of every known program family, without a network or a key.
 *
 * A family is one source text with its knob values left open (knobs_family_hash). Each keeps the points that were tried
 * and a model of their scores; a proposal is the most promising of about forty candidate points that no assertion of
 * the source forbids and that nobody tried. Candidates come from one-gene neighbours of the best point and from
 * operators whose shares follow their success; once nearly all neighbours were tried, the rest are tried out (sweep).
 * tests/evolve/t_knobs_search.c measures it: on 20 genes with pair interactions, 80 evaluations find what one-gene local
 * search needs 160 and more for.
 *
 * Invariants: a point is proposed once; what is known follows from the order of learn() calls alone; all randomness
 * comes from the rng of the call. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/hash.h"
#include "base/text.h"
#include "evolve/cpp.h"
#include "evolve/knobs.h"
#include "evolve/propose/propose.h"

enum { GENES_MAX = KNOBS_MAX + 1, FLAGS_MAX = 12, POOL = 48, NEIGHBOURS = 32, ELITE = 8, MODEL_MAX = 320,
       FAMILIES_MAX = 256, TRIES = 12 };

/* Shares of the operators in the pool follow their success; the floor keeps each alive (a greedy bandit collapses on
 * one operator and loses beyond 100 evaluations). */
static const double OPERATOR_FLOOR = 0.08, OPERATOR_DECAY = 0.9, EPSILON = 0.03;

/* The model, in ln time: beyond BAD_SCALE "worse" hardly matters; results are as noisy as the judge's, more so far from
 * the best; ADDITIVE is the share of variance that genes explain one by one, REACH how far neighbours speak for each
 * other. ELSEWHERE is one imagined result for the rest of the space: defaults are good, so most of it is worse.
 * KAPPA: hope for what is uncertain, in standard deviations; the setting that matters most (at 0.3 the pick after 80
 * evaluations of the wide landscapes was 4 times slower). */
static const double BAD_SCALE = 0.5, NOISE = 0.006, NOISE_SLOPE = 0.1, ADDITIVE = 0.9, REACH = 8, ELSEWHERE = 0.15,
                    KAPPA = 2;

#define OPERATORS(X)                                                                \
    X(MUTATE1, "mutate1") X(MUTATE2, "mutate2") X(MUTATE4, "mutate4") X(UNIFORM, "cross") \
    X(GROUP, "cross-group") X(CROSS_MUTATE, "cross-mutate") X(TRANSPLANT, "transplant") X(RANDOM, "random")

typedef enum {
#define X(name, word) OP_##name,
    OPERATORS(X)
#undef X
    OP_COUNT, OP_NEIGHBOUR = OP_COUNT, OP_SWEEP
} operator_kind;

static const char *const operator_word[] = {
#define X(name, word) word,
    OPERATORS(X)
#undef X
    "neighbour", "sweep"};

typedef struct {
    unsigned char v[GENES_MAX];       /* index of the value of each knob, then of the flags */
} genome;

typedef struct {
    genome g;
    enum { PENDING, MEASURED, FAILED } state;
    double score;
    int64_t id;
    int operator_used;
} point;

typedef struct {
    char hash[33];
    char *source;
    atn_knobs knobs;
    cpp_program *rules;
    int genes;                        /* knobs + 1 */
    genome home;                      /* as first seen */
    bool ordinal[GENES_MAX];
    double weight[GENES_MAX];         /* prior importance */
    int group[GENES_MAX];
    point *points;
    int n, room;
    int *table, table_size;           /* genome -> point + 1 */
    int elite[ELITE], n_elite;        /* measured points, best first */
    int measured, failed, since_gain;
    double reward[OP_COUNT];
    bool exhausted;
    /* the model, valid for model_of points learnt */
    int model_of;
    int *train, n_train;
    double *chol, *alpha, mean, variance[GENES_MAX], product_variance;
} family;

typedef struct {
    atn_proposer base;
    family *families[FAMILIES_MAX];
    int n;
    char *flags[FLAGS_MAX];           /* [0] is "" */
    int n_flags, n_own_flags, flags_good[FLAGS_MAX], flags_bad[FLAGS_MAX];
    double best;                      /* score over all */
    const atn_machine *machine;       /* that programs run on */
} searcher;

/* ---- families ---- */

static int gene_levels(const searcher *s, const family *f, int gene)
{
    return gene < f->knobs.count ? f->knobs.knob[gene].count : s->n_own_flags;
}

/* Choices are numbered 0, 1, 2, ...; sizes are anything else that goes up or down. */
static bool is_ordinal(const atn_knob *k)
{
    bool up = true, down = true, numbered = true;
    for (int i = 0; i < k->count; i++) {
        if (i) up &= k->values[i] > k->values[i - 1], down &= k->values[i] < k->values[i - 1];
        numbered &= k->values[i] == i;
    }
    return k->count >= 3 && (up || down) && !numbered;
}

static bool is_tile(const char *name)
{
    static const char *const parts[] = {"TILE", "BLOCK", "VEC", "WIDTH", "ROWS", "COLS", "ORIENT", "PACK", "LAYOUT"};
    if (strlen(name) <= 3) return true;
    for (int i = 0; i < ATN_COUNT(parts); i++)
        if (strstr(name, parts[i])) return true;
    return false;
}

/* What the compiler will define there, as hints for assertions such as `MR * NR <= VF_REGS`. */
static void add_hints(cpp_program *p, const atn_machine *m)
{
    static const char *const features[][2] = {{"avx", "__AVX__"}, {"avx2", "__AVX2__"}, {"fma", "__FMA__"},
                                              {"avx512f", "__AVX512F__"}, {"avx512vl", "__AVX512VL__"}};
    for (int i = 0; i < ATN_COUNT(features); i++)
        if (machine_lists(m, features[i][0])) cpp_predefine(p, features[i][1], "1");
    bool wide = machine_lists(m, "avx512f"), avx = machine_lists(m, "avx") || machine_lists(m, "avx2");
    bool own_bits = false;
    for (int i = 0; i < p->n_items; i++)
        own_bits |= p->items[i].name >= 0 && !strcmp(p->names[p->items[i].name], "ATN_VEC_BITS");
    if (!own_bits) cpp_predefine(p, "ATN_VEC_BITS", wide ? "512" : avx ? "256" : "128");
    cpp_predefine(p, "VL", "(ATN_VEC_BITS / 32)");
    cpp_predefine(p, "VF_REGS", wide || !strcmp(m->isa, "neon") ? "32" : "16");
}

static family *family_create(searcher *s, const char *source, const atn_knobs *knobs, const char hash[33])
{
    family *f = atn_alloc(sizeof *f);
    memcpy(f->hash, hash, 33);
    f->source = atn_strdup(source);
    f->knobs = *knobs;
    f->genes = knobs->count + 1;
    f->rules = cpp_parse(f->source, &f->knobs);
    add_hints(f->rules, s->machine);
    cpp_groups(f->rules, knobs->count, f->group);
    int tile = -1;
    for (int i = 0; i < knobs->count; i++) {
        const atn_knob *k = &knobs->knob[i];
        f->home.v[i] = (unsigned char)k->now;
        f->ordinal[i] = is_ordinal(k);
        f->weight[i] = is_tile(k->name) ? 2 : 1;
        if (!is_tile(k->name)) continue;
        if (tile < 0) tile = f->group[i];
        for (int j = 0, old = f->group[i]; j < knobs->count; j++)
            if (f->group[j] == old) f->group[j] = tile;
    }
    f->group[knobs->count] = knobs->count;
    f->weight[knobs->count] = 0.7;
    for (int i = 0; i < OP_COUNT; i++) f->reward[i] = 0.5;
    f->table_size = 256;
    f->table = atn_alloc(256 * sizeof *f->table);
    f->model_of = -1;
    s->families[s->n++] = f;
    return f;
}

static void family_free(family *f)
{
    cpp_free(f->rules);
    void *const owned[] = {f->source, f->points, f->table, f->train, f->chol, f->alpha, f};
    for (int i = 0; i < ATN_COUNT(owned); i++) free(owned[i]);
}

static void values_of(const family *f, const genome *g, long values[KNOBS_MAX])
{
    for (int i = 0; i < f->knobs.count; i++) values[i] = f->knobs.knob[i].values[g->v[i]];
}

/* Knobs that cannot matter at this point go home, so that equal programs are equal points. */
static void canonical(family *f, genome *g)
{
    long values[KNOBS_MAX];
    bool active[KNOBS_MAX];
    values_of(f, g, values);
    cpp_active(f->rules, values, f->knobs.count, active);
    for (int i = 0; i < f->knobs.count; i++)
        if (!active[i]) g->v[i] = f->home.v[i];
}

static bool allowed(family *f, const genome *g)
{
    long values[KNOBS_MAX];
    values_of(f, g, values);
    return cpp_allows(f->rules, values, NULL);
}

static int table_slot(const family *f, const genome *g)
{
    int mask = f->table_size - 1;
    for (int i = (int)(hash_bytes(g->v, (size_t)f->genes) & (uint64_t)mask);; i = (i + 1) & mask)
        if (!f->table[i] || !memcmp(f->points[f->table[i] - 1].g.v, g->v, (size_t)f->genes)) return i;
}

static point *find_point(const family *f, const genome *g)
{
    int i = f->table[table_slot(f, g)];
    return i ? &f->points[i - 1] : NULL;
}

static point *add_point(family *f, const genome *g)
{
    if (f->n == f->room) {
        f->room = f->room * 2 + 64;
        f->points = atn_realloc(f->points, (size_t)f->room * sizeof *f->points);
    }
    int slot = table_slot(f, g);
    f->points[f->n] = (point){.g = *g, .state = PENDING, .operator_used = -1};
    f->table[slot] = ++f->n;
    if (f->n * 2 > f->table_size) {
        free(f->table);
        f->table_size *= 2;
        f->table = atn_alloc((size_t)f->table_size * sizeof *f->table);
        for (int i = 0; i < f->n; i++) f->table[table_slot(f, &f->points[i].g)] = i + 1;
    }
    return &f->points[f->n - 1];
}

static double best_score(const family *f) { return f->n_elite ? f->points[f->elite[0]].score : -INFINITY; }

/* ---- learning ---- */

static int flags_index(searcher *s, const char *flags)
{
    flags = flags ? flags : "";
    for (int i = 0; i < s->n_flags; i++)
        if (!strcmp(s->flags[i], flags)) return i;
    if (s->n_flags == FLAGS_MAX) return -1;
    s->flags[s->n_flags] = atn_strdup(flags);
    return s->n_flags++;
}

/* The point that a source of the family is; false where a value list is full. */
static bool genome_of(searcher *s, family *f, const atn_knobs *k, const char *flags, genome *g)
{
    *g = (genome){{0}};
    for (int i = 0; i < k->count; i++) {
        atn_knob *mine = &f->knobs.knob[i];
        long value = k->knob[i].values[k->knob[i].now];
        int at = 0;
        while (at < mine->count && mine->values[at] != value) at++;
        if (at == KNOB_VALUES_MAX) return false;
        if (at == mine->count) mine->values[mine->count++] = value, f->exhausted = false;
        g->v[i] = (unsigned char)at;
    }
    int flag = flags_index(s, flags);
    g->v[k->count] = (unsigned char)(flag < 0 ? 0 : flag);
    return flag >= 0;
}

static int operator_of(const char *origin)
{
    if (!origin || strncmp(origin, "knobs/", 6)) return -1;
    for (int i = 0; i < ATN_COUNT(operator_word); i++)
        if (!strcmp(origin + 6, operator_word[i])) return i;
    return -1;
}

/* Rank that the point takes among the elite, or ELITE. */
static int enter_elite(family *f, int index)
{
    int at = 0;
    for (int i = 0; i < f->n_elite; i++)
        if (f->elite[i] == index) {
            memmove(f->elite + i, f->elite + i + 1, (size_t)(f->n_elite - i - 1) * sizeof *f->elite);
            f->n_elite--;
            break;
        }
    while (at < f->n_elite && f->points[f->elite[at]].score >= f->points[index].score) at++;
    if (at == ELITE) return at;
    if (f->n_elite < ELITE) f->n_elite++;
    memmove(f->elite + at + 1, f->elite + at, (size_t)(f->n_elite - at - 1) * sizeof *f->elite);
    f->elite[at] = index;
    return at;
}

static void learn_point(searcher *s, family *f, point *p, const atn_program_view *r)
{
    const atn_verdict *v = r->verdict;
    bool first = p->state == PENDING, exact = isfinite(r->score);
    p->id = r->id;
    p->operator_used = operator_of(r->origin);
    int rank = ELITE;
    if (exact || (v && v->correct && v->n_cases > 0 && isfinite(s->best) && isfinite(v->suite_log))) {
        p->state = MEASURED;
        p->score = exact ? r->score : s->best + fmin(v->suite_log, -0.02);
        if (exact) rank = enter_elite(f, (int)(p - f->points));
        f->measured += first;
    } else {
        p->state = FAILED;
        f->failed += first;
    }
    f->since_gain = rank == 0 ? 0 : f->since_gain + 1;
    if (first && p->operator_used >= 0 && p->operator_used < OP_COUNT) {
        double *reward = &f->reward[p->operator_used];
        *reward = OPERATOR_DECAY * *reward + (1 - OPERATOR_DECAY) * (rank < ELITE);
    }
    int flag = p->g.v[f->knobs.count];
    if (v && v->reason != ATN_REASON_OK && v->stage <= ATN_STAGE_BUILD) s->flags_bad[flag]++;
    else s->flags_good[flag]++;
    if (exact && r->score > s->best) s->best = r->score;
    f->model_of = -1;
}

/* The family of a program; a new one for a family that was never seen, if `add`. NULL: there is none. */
static family *family_of(searcher *s, const char *source, const atn_knobs *k, bool add)
{
    char hash[33];
    knobs_family_hash(source, hash);
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->families[i]->hash, hash)) return s->families[i];
    return add && s->n < FAMILIES_MAX ? family_create(s, source, k, hash) : NULL;
}

/* The point that a program is, made where it is the first that one hears of it. NULL: none. */
static point *point_of(searcher *s, const char *source, const char *flags, bool add_family, family **of)
{
    atn_knobs *k = atn_alloc(sizeof *k);
    point *p = NULL;
    genome g;
    bool parsed = source && knobs_parse(source, k, NULL) == ATN_OK;
    family *f = *of = parsed ? family_of(s, source, k, add_family) : NULL;
    if (f && genome_of(s, f, k, flags, &g)) {
        canonical(f, &g);
        p = find_point(f, &g);
        if (!p) p = add_point(f, &g);
    }
    free(k);
    return p;
}

static void search_learn(atn_proposer *base, const atn_program_view *r)
{
    searcher *s = (searcher *)base;
    family *f;
    point *p = point_of(s, r->source, r->flags, true, &f);
    if (p) learn_point(s, f, p, r);
}

/* Under way since before a restart: not proposed again, and counted as the search that did not end counts it. */
static void search_pending(atn_proposer *base, const char *source, const char *flags)
{
    family *f;
    point_of((searcher *)base, source, flags, false, &f);
}

/* ---- the model: a Gaussian process whose kernel is a sum over genes (ridge on one-hot genes, with steps of an ordinal
 * gene alike) and a product over genes (what nearest neighbours know) ---- */

static double alike(const family *f, int gene, int a, int b)
{
    static const double step[] = {1, 0.46, 0.24, 0.12, 0.06, 0.03};      /* 0.9 exp(-d / 1.5) */
    int d = abs(a - b);
    return a == b ? 1 : f->ordinal[gene] && d < ATN_COUNT(step) ? step[d] : 0;
}

static double product(const family *f, const genome *a, const genome *b)
{
    double distance = 0;
    for (int i = 0; i < f->genes; i++) distance += f->weight[i] * (1 - alike(f, i, a->v[i], b->v[i]));
    return exp(-distance / REACH);
}

static double kernel(const family *f, const genome *a, const genome *b)
{
    double k = f->product_variance * product(f, a, b);
    for (int i = 0; i < f->genes; i++) k += f->variance[i] * alike(f, i, a->v[i], b->v[i]);
    return k;
}

/* A = L L' in the lower triangle; false where A is not positive definite. */
static bool cholesky(double *a, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double *x = a + (size_t)i * n, *y = a + (size_t)j * n, k = x[j];
            for (int m = 0; m < j; m++) k -= x[m] * y[m];
            if (i == j && !(k > 0)) return false;
            x[j] = i == j ? sqrt(k) : k / y[j];
        }
    return true;
}

static void solve_lower(const double *l, int n, double *x)
{
    for (int i = 0; i < n; i++) {
        for (int m = 0; m < i; m++) x[i] -= l[(size_t)i * n + m] * x[m];
        x[i] /= l[(size_t)i * n + i];
    }
}

static void solve_upper(const double *l, int n, double *x)
{
    for (int i = n; i-- > 0;) {
        x[i] /= l[(size_t)i * n + i];
        for (int m = 0; m < i; m++) x[m] -= l[(size_t)i * n + m] * x[i];
    }
}

static void fill_kernel(const family *f, const int *points, const double *noise, int n, double *k)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++)
            k[(size_t)i * n + j] = kernel(f, &f->points[points[i]].g, &f->points[points[j]].g);
        k[(size_t)i * n + i] += noise[i] * noise[i];
    }
}

static double squeeze(double gap) { return BAD_SCALE * log1p(gap / BAD_SCALE); }

static void fit(family *f)
{
    int learnt = f->measured + f->failed, n = 0;
    if (f->model_of == learnt) return;
    f->model_of = learnt;
    f->train = atn_realloc(f->train, (size_t)(f->n + 1) * sizeof *f->train);
    int skip = ATN_MAX(0, learnt - MODEL_MAX);
    for (int i = 0; i < f->n; i++) {
        if (f->points[i].state == PENDING) continue;
        if (skip-- > 0) continue;
        f->train[n++] = i;
    }
    f->n_train = n;
    size_t cells = (size_t)n * (size_t)n;
    f->chol = atn_realloc(f->chol, (cells + 1) * sizeof *f->chol);
    f->alpha = atn_realloc(f->alpha, (size_t)(n + 1) * sizeof *f->alpha);
    double best = best_score(f), worst = 0, mean = 0, var = 0, *noise = atn_alloc((size_t)(n + 1) * sizeof *noise);
    int seen = 0;
    for (int i = 0; i < n; i++) {
        const point *p = &f->points[f->train[i]];
        if (p->state != MEASURED || !isfinite(best)) continue;
        f->alpha[i] = -squeeze(fmax(0, best - p->score));
        worst = fmin(worst, f->alpha[i]);
        mean += f->alpha[i];
        seen++;
    }
    mean = (mean - ELSEWHERE) / (seen + 1);
    for (int i = 0; i < n; i++) {
        const point *p = &f->points[f->train[i]];
        if (p->state != MEASURED || !isfinite(best)) f->alpha[i] = fmin(worst, -0.05);
        else var += (f->alpha[i] - mean) * (f->alpha[i] - mean);
    }
    double scale = fmax(0.02, sqrt((var + 0.05 * 0.05) / (seen + 1))), weights = 0;
    f->mean = mean;
    for (int i = 0; i < f->genes; i++) weights += f->weight[i];
    for (int i = 0; i < f->genes; i++) f->variance[i] = ADDITIVE * scale * scale * f->weight[i] / weights;
    f->product_variance = (1 - ADDITIVE) * scale * scale;
    for (int i = 0; i < n; i++) {
        noise[i] = f->points[f->train[i]].state == MEASURED ? NOISE - NOISE_SLOPE * f->alpha[i] : 0.5 * scale;
        f->alpha[i] -= mean;
    }
    fill_kernel(f, f->train, noise, n, f->chol);
    if (!cholesky(f->chol, n)) f->n_train = 0;      /* cannot be, noise being positive; then every point is as good */
    solve_lower(f->chol, f->n_train, f->alpha);
    solve_upper(f->chol, f->n_train, f->alpha);
    free(noise);
}

/* How much is to be hoped for from a point: expectation plus some of the uncertainty. */
static double promise(const family *f, const genome *g, double *column)
{
    int n = f->n_train;
    double mean = f->mean, var = f->product_variance;
    for (int i = 0; i < f->genes; i++) var += f->variance[i];
    for (int i = 0; i < n; i++) {
        column[i] = kernel(f, g, &f->points[f->train[i]].g);
        mean += column[i] * f->alpha[i];
    }
    solve_lower(f->chol, n, column);
    for (int i = 0; i < n; i++) var -= column[i] * column[i];
    return mean + KAPPA * sqrt(fmax(var, 0));
}

/* ---- candidate points ---- */

typedef struct {
    genome g;
    operator_kind op;
    int64_t parents[2];
} candidate;

typedef struct {
    candidate c[POOL + 64];
    int n, room;
} pool;

static bool untried(family *f, const genome *g) { return !find_point(f, g); }

static bool flag_allowed(const searcher *s, int flag)
{
    return flag < s->n_own_flags && !(s->flags_bad[flag] >= 2 && !s->flags_good[flag]);
}

/* Puts a point in where it is allowed, new and not there yet. */
static bool offer(searcher *s, family *f, pool *p, genome g, operator_kind op, int64_t a, int64_t b)
{
    if (p->n >= ATN_COUNT(p->c)) return false;
    if (!flag_allowed(s, g.v[f->knobs.count]) || !allowed(f, &g)) return false;
    canonical(f, &g);
    if (!untried(f, &g)) return false;
    for (int i = 0; i < p->n; i++)
        if (!memcmp(p->c[i].g.v, g.v, (size_t)f->genes)) return false;
    p->c[p->n++] = (candidate){g, op, {a, b}};
    return true;
}

/* A gene with a choice, heavier ones more often; -1: none. */
static int random_gene(const searcher *s, const family *f, atn_rng *r)
{
    double total = 0;
    for (int i = 0; i < f->genes; i++) total += gene_levels(s, f, i) > 1 ? f->weight[i] : 0;
    if (total <= 0) return -1;
    double at = rng_f64(r) * total;
    for (int i = 0; i < f->genes; i++) {
        if (gene_levels(s, f, i) < 2) continue;
        at -= f->weight[i];
        if (at < 0) return i;
    }
    return f->genes - 1;
}

static void mutate(const searcher *s, const family *f, genome *g, int times, atn_rng *r)
{
    for (int t = 0; t < times; t++) {
        int gene = random_gene(s, f, r);
        if (gene < 0) return;
        int levels = gene_levels(s, f, gene), now = g->v[gene], to;
        if (f->ordinal[gene] && rng_f64(r) < 0.7) to = now + (rng_below(r, 2) ? 1 : -1);
        else to = (now + 1 + (int)rng_below(r, (uint32_t)levels - 1)) % levels;
        if (to < 0) to = 1;
        if (to >= levels) to = ATN_MAX(0, levels - 2);
        g->v[gene] = (unsigned char)to;
    }
}

/* Rank-biased: the better half of the ranks gets three quarters of the picks. */
static int pick_elite(const family *f, atn_rng *r)
{
    double u = rng_f64(r);
    return f->elite[(int)(u * u * f->n_elite)];
}

/* Values of knobs that another family's elite has under the same names. */
static bool transplant(const searcher *s, const family *f, genome *g, int64_t *other_id, atn_rng *r)
{
    if (s->n < 2) return false;
    const family *o = s->families[rng_below(r, (uint32_t)s->n)];
    if (o == f || !o->n_elite) return false;
    const point *p = &o->points[pick_elite(o, r)];
    int changed = 0;
    for (int i = 0; i < f->knobs.count; i++)
        for (int j = 0; j < o->knobs.count; j++) {
            if (strcmp(f->knobs.knob[i].name, o->knobs.knob[j].name) || rng_f64(r) < 0.3) continue;
            long value = o->knobs.knob[j].values[p->g.v[j]];
            for (int a = 0; a < f->knobs.knob[i].count; a++)
                if (f->knobs.knob[i].values[a] == value && g->v[i] != a) g->v[i] = (unsigned char)a, changed++;
        }
    *other_id = p->id;
    return changed > 0;
}

static operator_kind pick_operator(const family *f, atn_rng *r)
{
    double total = 0, at = rng_f64(r);
    for (int i = 0; i < OP_COUNT; i++) total += f->reward[i];
    for (int i = 0; i < OP_COUNT; i++) {
        at -= OPERATOR_FLOOR + (1 - OP_COUNT * OPERATOR_FLOOR) * f->reward[i] / total;
        if (at < 0) return i;
    }
    return OP_MUTATE1;
}

static void breed(searcher *s, family *f, pool *p, const point *base, atn_rng *r)
{
    operator_kind op = pick_operator(f, r);
    const point *a = f->n_elite && rng_f64(r) < 0.5 ? &f->points[pick_elite(f, r)] : base;
    const point *b = f->n_elite ? &f->points[pick_elite(f, r)] : base;
    for (int t = 0; t < TRIES; t++) {
        genome g = a->g;
        int64_t other = 0;
        switch (op) {
        case OP_MUTATE1: mutate(s, f, &g, 1, r); break;
        case OP_MUTATE2: mutate(s, f, &g, 2, r); break;
        case OP_MUTATE4: mutate(s, f, &g, 4, r); break;
        case OP_UNIFORM:
        case OP_CROSS_MUTATE:
            for (int i = 0; i < f->genes; i++)
                if (rng_below(r, 2)) g.v[i] = b->g.v[i];
            if (op == OP_CROSS_MUTATE) mutate(s, f, &g, 1, r);
            other = b->id;
            break;
        case OP_GROUP: {
            int gene = random_gene(s, f, r);
            for (int i = 0; i < f->genes && gene >= 0; i++)
                if (f->group[i] == f->group[gene]) g.v[i] = b->g.v[i];
            other = b->id;
            break;
        }
        case OP_TRANSPLANT:
            if (!transplant(s, f, &g, &other, r)) return;
            break;
        default:
            for (int i = 0; i < f->genes; i++) g.v[i] = (unsigned char)rng_below(r, (uint32_t)gene_levels(s, f, i));
        }
        if (offer(s, f, p, g, op, a->id, other == a->id ? 0 : other)) return;
    }
}

/* A one-gene step that an assertion forbids, with the least step of a tied gene that makes it legal again. */
static bool repaired(searcher *s, family *f, pool *p, const point *base, genome g, int gene)
{
    for (int away = 1; away < 4; away++)
        for (int i = 0; i < f->knobs.count; i++) {
            if (i == gene || f->group[i] != f->group[gene]) continue;
            for (int sign = -1; sign <= 1; sign += 2) {
                int to = base->g.v[i] + sign * away;
                if (to < 0 || to >= gene_levels(s, f, i)) continue;
                genome h = g;
                h.v[i] = (unsigned char)to;
                if (allowed(f, &h)) return offer(s, f, p, h, OP_NEIGHBOUR, base->id, 0);
            }
        }
    return false;
}

/* All untried neighbours of base, in random order, as far as the pool has room. */
static void add_neighbours(searcher *s, family *f, pool *p, const point *base, int most, atn_rng *r)
{
    struct { unsigned char gene, level; } step[GENES_MAX * KNOB_VALUES_MAX];
    int n = 0;
    for (int i = 0; i < f->genes; i++)
        for (int l = 0; l < gene_levels(s, f, i); l++) {
            if (l == base->g.v[i]) continue;
            int at = (int)rng_below(r, (uint32_t)n + 1);
            step[n] = step[at];
            step[at].gene = (unsigned char)i;
            step[at].level = (unsigned char)l;
            n++;
        }
    for (int i = 0; i < n && p->n < most; i++) {
        genome g = base->g;
        g.v[step[i].gene] = step[i].level;
        if (!offer(s, f, p, g, OP_NEIGHBOUR, base->id, 0) && step[i].gene < f->knobs.count && !allowed(f, &g))
            repaired(s, f, p, base, g, step[i].gene);
    }
}

/* ---- which family ---- */

static double hope(const searcher *s, const family *f)
{
    double best = best_score(f);
    if (!isfinite(best)) best = (isfinite(s->best) ? s->best : 0) - 0.3 - 0.2 * f->failed;
    if (!f->knobs.count) return best;
    return best + 0.3 * exp(-f->n / 15.0) + 0.04 * exp(-f->since_gain / 15.0);
}

static family *choose_family(const searcher *s, const family *home, atn_rng *r)
{
    double u = rng_f64(r), most = -INFINITY;
    family *pick = NULL;
    for (int i = 0; i < s->n; i++) {
        family *f = s->families[i];
        if (f->exhausted) continue;
        double h = hope(s, f);
        if (!pick || h > most) pick = f, most = h;
    }
    if (!pick || u >= 0.25) return pick;
    if (home && !home->exhausted && u < 0.12 && best_score(home) > s->best - 0.35) return (family *)home;
    /* The floor: any family that is not hopeless. */
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        family *f = s->families[i];
        if (f->exhausted || !f->knobs.count || !(hope(s, f) > s->best - 0.7)) continue;
        n++;
        if (rng_below(r, (uint32_t)n) == 0) pick = f;
    }
    return pick;
}

/* ---- proposing ---- */

static point *point_by_id(searcher *s, int64_t id, family **of)
{
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j < s->families[i]->n; j++)
            if (s->families[i]->points[j].id == id) {
                if (of) *of = s->families[i];
                return &s->families[i]->points[j];
            }
    return NULL;
}

static void describe(const searcher *s, const family *f, const genome *from, const genome *to, char *out, size_t room)
{
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < f->genes && n < room; i++) {
        if (from->v[i] == to->v[i]) continue;
        const char *comma = n ? ", " : "";
        if (i == f->knobs.count)
            n += (size_t)snprintf(out + n, room - n, "%sflags '%s' -> '%s'", comma, s->flags[from->v[i]],
                                  s->flags[to->v[i]]);
        else {
            const atn_knob *k = &f->knobs.knob[i];
            n += (size_t)snprintf(out + n, room - n, "%s%s %ld -> %ld", comma, k->name, k->values[from->v[i]],
                                  k->values[to->v[i]]);
        }
    }
}

/* The candidates of one proposal; 0 where nothing new is left around the points that are known. */
static int fill_pool(searcher *s, family *f, pool *p, const point *base, int left, atn_rng *r)
{
    p->n = 0;
    int sweep = ATN_MIN(60, left < 0 ? 12 : ATN_MAX(12, left / 8));
    add_neighbours(s, f, p, base, sweep + 1, r);
    if (p->n > 0 && p->n <= sweep) {
        for (int i = 0; i < p->n; i++) p->c[i].op = OP_SWEEP;
        return p->n;
    }
    p->n = ATN_MIN(p->n, NEIGHBOURS);
    add_neighbours(s, f, p, base, NEIGHBOURS, r);
    for (int i = 0; i < 2 * POOL && p->n < POOL; i++) breed(s, f, p, base, r);
    return p->n;
}

/* Small spaces end: the first untried point in counting order, or false. */
static bool any_left(searcher *s, family *f, pool *p)
{
    genome g = {{0}};
    for (long steps = 0; steps < 20000; steps++) {
        p->n = 0;
        if (offer(s, f, p, g, OP_RANDOM, 0, 0)) return true;
        int i = 0;
        while (i < f->genes && ++g.v[i] >= gene_levels(s, f, i)) g.v[i++] = 0;
        if (i == f->genes) return false;
    }
    return false;
}

static propose_answer search_propose(atn_proposer *proposer, const atn_propose_context *c, atn_rng *rng,
                                     atn_proposal *out)
{
    searcher *s = (searcher *)proposer;
    if (!s->n) return PROPOSE_LATER;
    family *home = NULL, *f;
    point *own = c->incumbent ? point_by_id(s, c->incumbent->id, &home) : NULL;
    pool *p = atn_alloc(sizeof *p);
    while ((f = choose_family(s, home, rng))) {
        /* Around what: mostly the family's best; sometimes the island's own, which keeps islands apart. */
        const point *base = &f->points[f->n_elite ? f->elite[0] : 0];
        if (own && home == f && rng_f64(rng) < 0.25) base = own;
        if (fill_pool(s, f, p, base, c->iterations_left, rng) > 0 || any_left(s, f, p)) {
            int pick = (int)rng_below(rng, (uint32_t)p->n);
            if (rng_f64(rng) >= EPSILON) {
                fit(f);
                double *column = atn_alloc((size_t)(f->n_train + 1) * sizeof *column), most = -INFINITY;
                for (int i = 0; i < p->n; i++) {
                    double h = promise(f, &p->c[i].g, column);
                    if (h > most) most = h, pick = i;
                }
                free(column);
            }
            const candidate *w = &p->c[pick];
            int idx[KNOBS_MAX];
            for (int i = 0; i < f->knobs.count; i++) idx[i] = w->g.v[i];
            *out = (atn_proposal){0};
            out->source = knobs_apply(f->source, &f->knobs, idx);
            out->flags = atn_strdup(s->flags[w->g.v[f->knobs.count]]);
            out->parents[0] = w->parents[0] ? w->parents[0] : base->id;
            out->parents[1] = w->parents[1];
            const point *parent = point_by_id(s, out->parents[0], NULL);
            snprintf(out->origin, sizeof out->origin, "knobs/%s", operator_word[w->op]);
            describe(s, f, parent ? &parent->g : &base->g, &w->g, out->note, sizeof out->note);
            genome g = w->g;
            add_point(f, &g);
            free(p);
            return PROPOSE_OK;
        }
        f->exhausted = true;
    }
    free(p);
    return PROPOSE_EXHAUSTED;
}

static void search_destroy(atn_proposer *base)
{
    searcher *s = (searcher *)base;
    for (int i = 0; i < s->n; i++) family_free(s->families[i]);
    for (int i = 0; i < s->n_flags; i++) free(s->flags[i]);
    free(s);
}

/* Shares of the operators in the family that was searched most. */
static char *search_tell(const atn_proposer *base)
{
    const searcher *s = (const searcher *)base;
    const family *f = NULL;
    for (int i = 0; i < s->n; i++)
        if (!f || s->families[i]->n > f->n) f = s->families[i];
    if (!f || !(f->measured + f->failed)) return NULL;
    double total = 0;
    for (int i = 0; i < OP_COUNT; i++) total += f->reward[i];
    atn_text t = {0};
    text_addf(&t, "{\"proposer\":\"knobs\",\"tried\":%d,\"measured\":%d,\"failed\":%d,\"since_gain\":%d,\"arms\":[",
              f->measured + f->failed, f->measured, f->failed, f->since_gain);
    for (int i = 0; i < OP_COUNT; i++) {
        int n = 0;
        for (int k = 0; k < f->n; k++) n += f->points[k].operator_used == i;
        text_addf(&t, "%s{\"group\":\"operator\",\"name\":\"%s\",\"share\":%.4f,\"rate\":%.4f,\"n\":%d}", i ? "," : "",
                  operator_word[i],
                  OPERATOR_FLOOR + (1 - OP_COUNT * OPERATOR_FLOOR) * (total > 0 ? f->reward[i] / total : 1.0 / OP_COUNT),
                  f->reward[i], n);
    }
    text_add(&t, "]}");
    return text_take(&t);
}

/* Before anything is learnt: which flags are worth a try depends on it. */
static void use_machine(searcher *s, const atn_machine *m)
{
    s->machine = m;
    while (s->n_flags > 0) free(s->flags[--s->n_flags]);
    flags_index(s, "");
    flags_index(s, "-O2");
    flags_index(s, "-funroll-loops");
    if (machine_lists(m, "avx512f")) flags_index(s, "-mprefer-vector-width=256");
    s->n_own_flags = s->n_flags;
}

static void search_attach(atn_proposer *p, const propose_host *h)
{
    searcher *s = (searcher *)p;
    ATN_ASSERT(s->n == 0);
    if (h->machine) use_machine(s, h->machine);
}

atn_proposer *proposer_knobs_create(void)
{
    searcher *s = atn_alloc(sizeof *s);
    s->base = (atn_proposer){.name = "knobs", .propose = search_propose, .learn = search_learn, .pending = search_pending,
                             .destroy = search_destroy, .attach = search_attach, .tell = search_tell};
    s->best = -INFINITY;
    use_machine(s, machine_get());
    return &s->base;
}
