/* Questions, answers, and what was learnt from them. Everything that is paid for goes to disk before it is looked at.
 */
#include "evolve/propose/mind.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "evolve/config.h"
#include "evolve/knobs.h"
#include "evolve/propose/bandit.h"
#include "evolve/propose/novelty.h"
#include "evolve/propose/prompt.h"
#include "store/store.h"

enum {
    HISTORY = 512,
    LESSON_GAINS = 6,
    LESSON_FAILURES = 5,
    FAMILY_POINTS = 256,
    REPAIRS_MAX = 1,
    EVIDENCE_MAX = 4000,
    LESSONS_S = 2,
    REVIEWS_MAX = 4, /* that wait: an opinion on an old program is not worth its price */
    REVIEW_BYTES = 1500,
    CHANGE_LEAST = 60 /* new runs of tokens below which a change is too small to call two alike */
};

static const double CHANGE_ALIKE = 0.8; /* share of the new runs of tokens, by MinHash */

static const char *const op_word[MIND_OPERATORS + 1] = {"diff", "full", "cross", "fix", "review"};

/* One judged program. */
typedef struct {
    int64_t id, parent;
    novelty_sketch sketch, change; /* change: over its parent */
    bool changed;                  /* by more than a few tokens: `change` says something */
    double score, gain; /* gain over its parent, ln; NAN where one of them has no score */
    atn_reason reason;
    bool correct, asked, fixed; /* asked: came from somebody's answer; fixed: a fix was asked for */
    char family[33];
    char note[160];
} memory;

/* A program that we proposed and that has no verdict yet. */
typedef struct {
    uint64_t hash; /* of source */
    int64_t number;
    int model, repairs, island;
    mind_operator op;
} pending;

typedef struct {
    atn_proposal p;
    pending of;
} ready;

struct mind {
    char name[24];
    propose_host host;
    const atn_config *config;
    char *templates;
    bandit ops, models;
    char model_name[MIND_MODELS][64];
    memory *past;
    int n_past;
    int64_t *children_of; /* by program id: how often asked to improve it */
    int64_t n_children;
    bool reviewing;
    mind_question **reviews; /* to be asked */
    int n_reviews;
    int64_t *fixed; /* programs that sessions before this one asked to fix */
    int n_fixed;
    pending *pending;
    int n_pending;
    ready *ready;
    int n_ready;
    mind_question **repairs;
    int n_repairs;
    int64_t asked;
    int useless; /* answers in a row that led to no program */
    double spent;
    double lessons_written;
    char *contract, *vectors;
};

/* ---- life ---- */

atn_status mind_create(const char *proposer, const atn_config *c, mind **out, atn_error *err)
{
    mind *m = atn_alloc(sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", proposer);
    m->lessons_written = -LESSONS_S;
    m->config = c;
    m->templates = config_text(c, "prompt.template_dir") ? atn_strdup(config_text(c, "prompt.template_dir")) : NULL;
    m->reviewing = config_bool(c, "evaluator.use_llm_feedback") && !strcmp(proposer, "llm");
    bool diff = config_bool(c, "diff_based_evolution"), full = config_bool(c, "allow_full_rewrites");
    static const double prior[MIND_OPERATORS] = {0.6, 0.3, 0.1, 0.15};
    m->ops.n = MIND_OPERATORS;
    for (int i = 0; i < MIND_OPERATORS; i++) m->ops.arm[i].prior = prior[i];
    if (!diff) m->ops.arm[MIND_DIFF].prior = 0;
    if (diff && !full) m->ops.arm[MIND_FULL].prior = 0.1;
    static const char *const needed[] = {"system",   "task",        "task_diff",   "task_full",  "task_cross",
                                         "task_fix", "task_repair", "task_review", "format_diff", "format_full"};
    atn_status st = ATN_OK;
    for (int i = 0; i < ATN_COUNT(needed) && !st; i++) {
        char *text = NULL;
        st = prompt_template(m->templates, needed[i], &text, err);
        free(text);
    }
    if (st) {
        mind_free(m);
        return st;
    }
    *out = m;
    return ATN_OK;
}

static void ready_clear(ready *r)
{
    free(r->p.source);
    free(r->p.flags);
}

void mind_question_free(mind_question *q)
{
    if (!q) return;
    free(q->source);
    free(q->flags);
    free(q->system);
    free(q->prompt);
    free(q);
}

void mind_free(mind *m)
{
    if (!m) return;
    for (int i = 0; i < m->n_ready; i++) ready_clear(&m->ready[i]);
    for (int i = 0; i < m->n_repairs; i++) mind_question_free(m->repairs[i]);
    for (int i = 0; i < m->n_reviews; i++) mind_question_free(m->reviews[i]);
    free(m->reviews);
    free(m->ready);
    free(m->repairs);
    free(m->pending);
    free(m->past);
    free(m->children_of);
    free(m->fixed);
    free(m->templates);
    free(m->contract);
    free(m->vectors);
    free(m);
}

void mind_models(mind *m, const char *const *names, const double *weights, int n)
{
    m->models.n = ATN_MIN(n, MIND_MODELS);
    for (int i = 0; i < m->models.n; i++) {
        snprintf(m->model_name[i], sizeof m->model_name[i], "%s", names[i]);
        m->models.arm[i].prior = weights[i];
    }
}

const propose_host *mind_host(const mind *m)
{
    return &m->host;
}
int mind_ready(const mind *m)
{
    return m->n_ready;
}
int mind_repairs(const mind *m)
{
    return m->n_repairs;
}
int mind_useless(const mind *m)
{
    return m->useless;
}
double mind_spent_usd(const mind *m)
{
    return m->spent;
}
int64_t mind_asked(const mind *m)
{
    return m->asked;
}
void mind_number_from(mind *m, int64_t last)
{
    m->asked = ATN_MAX(m->asked, last);
}

/* ---- memory ---- */

static const memory *recall(const mind *m, int64_t id)
{
    for (int i = m->n_past - 1; i >= 0 && id > 0; i--)
        if (m->past[i].id == id) return &m->past[i];
    return NULL;
}

static void add_ready(mind *m, char *source, const char *flags, const mind_question *q, const char *note)
{
    m->ready = atn_realloc(m->ready, sizeof *m->ready * (size_t)(m->n_ready + 1));
    ready *r = &m->ready[m->n_ready++];
    *r = (ready){.p = {.source = source, .flags = atn_strdup(flags ? flags : "")},
                 .of = {.hash = hash_bytes(source, strlen(source)),
                        .number = q->number,
                        .model = q->model,
                        .repairs = q->repairs,
                        .island = q->island,
                        .op = q->op}};
    r->p.parents[0] = q->parents[0];
    r->p.parents[1] = q->parents[1];
    snprintf(r->p.origin, sizeof r->p.origin, "%s/%s%s", m->name, op_word[q->op], q->repairs ? "-repair" : "");
    const char *model = q->model >= 0 ? m->model_name[q->model] : "";
    snprintf(r->p.note, sizeof r->p.note, "%s%s%s", model, *model ? ": " : "", note);
}

static bool is_proposed(atn_store *s, const char *sha, const store_program *list, int n, const store_proposal *open,
                        int n_open)
{
    (void)s;
    for (int i = 0; i < n; i++)
        if (!strcmp(list[i].made.sha, sha)) return true;
    for (int i = 0; i < n_open; i++)
        if (!strcmp(open[i].sha, sha)) return true;
    return false;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* A session before asked for a fix of that program: it is not asked for again. */
static void note_fixed(mind *m, int64_t id)
{
    m->fixed = atn_realloc(m->fixed, sizeof *m->fixed * (size_t)(m->n_fixed + 1));
    m->fixed[m->n_fixed++] = id;
}

/* Answers of sessions before: what they cost, and those that were paid and not used. */
static void resume_answers(mind *m)
{
    atn_store *s = m->host.store;
    store_measurement *list;
    store_program *programs = NULL;
    store_proposal *open = NULL;
    int n, n_programs = 0, n_open = 0;
    if (!s || store_measurements(s, "answer", &list, &n, NULL)) return;
    if (n) store_programs(s, 0, false, &programs, &n_programs, NULL), store_proposals_open(s, &open, &n_open, NULL);
    for (int i = 0; i < n; i++) {
        json_t *o = json_loads(list[i].json, 0, NULL);
        const char *sha = text_of(o, "source");
        if (!strcmp(text_of(o, "proposer"), m->name)) {
            m->asked = ATN_MAX(m->asked, json_integer_value(json_object_get(o, "number")));
            m->spent += json_number_value(json_object_get(o, "usd"));
            if (*sha && !is_proposed(s, sha, programs, n_programs, open, n_open)) {
                char *source = store_blob_get(s, sha);
                mind_question q = {.number = json_integer_value(json_object_get(o, "number")),
                                   .model = -1,
                                   .repairs = (int)json_integer_value(json_object_get(o, "repairs")),
                                   .parents = {list[i].program, list[i].against}};
                for (int k = 0; k < MIND_OPERATORS; k++)
                    if (!strcmp(text_of(o, "op"), op_word[k])) q.op = (mind_operator)k;
                if (source) add_ready(m, source, text_of(o, "flags"), &q, text_of(o, "note"));
            }
        }
        json_decref(o);
    }
    if (n) store_programs_free(programs, n_programs), store_proposals_free(open, n_open);
    store_measurements_free(list, n);
    if (!store_measurements(s, "question", &list, &n, NULL)) {
        for (int i = 0; i < n; i++) {
            json_t *o = json_loads(list[i].json, 0, NULL);
            if (!strcmp(text_of(o, "proposer"), m->name)) {
                m->asked = ATN_MAX(m->asked, json_integer_value(json_object_get(o, "number")));
                if (!strcmp(text_of(o, "op"), op_word[MIND_FIX])) note_fixed(m, list[i].program);
            }
            json_decref(o);
        }
        store_measurements_free(list, n);
    }
}

void mind_attach(mind *m, const propose_host *h)
{
    m->host = *h;
    resume_answers(m);
}

static int asked_model(const mind *m, const char *note)
{
    for (int i = 0; i < m->models.n; i++) {
        size_t n = strlen(m->model_name[i]);
        if (!strncmp(note, m->model_name[i], n) && note[n] == ':') return i;
    }
    return -1;
}

/* What an answer was worth: nothing where wrong, a little for right, the rest for the gain over its parent. */
static double worth(const memory *x)
{
    if (!x->correct) return 0;
    double gain = isnan(x->gain) ? 0 : x->gain;
    return 0.1 + 0.9 * (1 - exp(-8 * fmax(0, gain)));
}

static const pending *pending_of(const mind *m, const atn_program_view *r)
{
    uint64_t h = hash_bytes(r->source, strlen(r->source));
    for (int i = 0; i < m->n_pending; i++)
        if (m->pending[i].hash == h) return &m->pending[i];
    return NULL;
}

int64_t mind_question_of(const mind *m, const atn_program_view *r)
{
    const pending *p = pending_of(m, r);
    return p ? p->number : 0;
}

static void write_lessons(mind *m);
static json_t *answer_record(mind *m, const mind_question *q, const mind_answer *a, const char *outcome);
static mind_question *make_question(mind *m, mind_operator op, const atn_program_view *parent,
                                    const atn_program_view *second, const atn_propose_context *c, int model, int island,
                                    int repairs, const char *problem);

static bool repairable(atn_reason r)
{
    return r == ATN_REASON_COMPILE || r == ATN_REASON_WRONG || r == ATN_REASON_NONFINITE || r == ATN_REASON_UNWRITTEN ||
           r == ATN_REASON_FORBIDDEN || r == ATN_REASON_OUT_OF_BOUNDS || r == ATN_REASON_CRASH || r == ATN_REASON_LAW ||
           r == ATN_REASON_SYMBOLS || r == ATN_REASON_BAD_PLAN || r == ATN_REASON_REFUSED;
}

static void add_repair(mind *m, mind_question *q)
{
    m->repairs = atn_realloc(m->repairs, sizeof *m->repairs * (size_t)(m->n_repairs + 1));
    m->repairs[m->n_repairs++] = q;
}

/* The caller frees; NULL where it cannot be read. */
static char *source_of(const mind *m, int64_t id)
{
    store_program row;
    if (!m->host.store || store_program_get(m->host.store, id, &row, NULL)) return NULL;
    char *source = row.made.source ? atn_strdup(row.made.source) : NULL;
    store_program_clear(&row);
    return source;
}

void mind_learn(mind *m, const atn_program_view *r)
{
    m->past = atn_realloc(m->past, sizeof *m->past * (size_t)(m->n_past + 1));
    memory *x = &m->past[m->n_past];
    const memory *parent = recall(m, r->parent);
    *x = (memory){.id = r->id,
                  .parent = r->parent,
                  .score = r->score,
                  .gain = NAN,
                  .reason = r->verdict->reason,
                  .correct = isfinite(r->score)};
    if (parent && x->correct && parent->correct) x->gain = x->score - parent->score;
    novelty_make(r->source, &x->sketch);
    knobs_family_hash(r->source, x->family);
    for (int i = 0; i < m->n_fixed; i++) x->fixed |= m->fixed[i] == x->id;
    size_t prefix = strlen(m->name);
    x->asked = !strncmp(r->origin, m->name, prefix) && r->origin[prefix] == '/';
    m->n_past++;
    const pending *of = pending_of(m, r);
    if (m->host.store) { /* notes live in the store */
        store_program row;
        if (!store_program_get(m->host.store, r->id, &row, NULL)) {
            snprintf(x->note, sizeof x->note, "%s", row.made.note);
            store_program_clear(&row);
        }
    }
    if (!x->asked) return;
    char *before = source_of(m, r->parent);
    x->changed = before && novelty_make_change(r->source, before, CHANGE_LEAST, &x->change);
    free(before);
    for (int i = 0; i < MIND_OPERATORS; i++)
        if (!strncmp(r->origin + prefix + 1, op_word[i], strlen(op_word[i]))) bandit_reward(&m->ops, i, worth(x));
    bandit_reward(&m->models, asked_model(m, x->note), worth(x));
    write_lessons(m);
    if (of && x->correct && m->reviewing && m->n_reviews < REVIEWS_MAX) {
        m->reviews = atn_realloc(m->reviews, sizeof *m->reviews * (size_t)(m->n_reviews + 1));
        m->reviews[m->n_reviews++] = make_question(m, MIND_REVIEW, r, NULL, NULL, of->model, of->island, 0, NULL);
    }
    if (!of || x->correct || of->repairs >= REPAIRS_MAX || !repairable(x->reason)) return;
    atn_text why = {0};
    text_addf(&why, "it was judged wrong: %s, at stage %s (the evidence is above).", reason_text(x->reason),
              stage_name(r->verdict->stage));
    add_repair(m, make_question(m, MIND_FIX, r, NULL, NULL, of->model, of->island, of->repairs + 1, why.s));
    x->fixed = true;
    text_free(&why);
}

/* ---- prompts ---- */

static void say_machine(const mind *m, atn_text *t)
{
    const atn_machine *c = m->host.machine ? m->host.machine : machine_get();
    const atn_peaks *p = &m->host.peaks;
    text_addf(t, "%s, %s (%s), %d CPUs; the kernel runs on %d thread%s.\n", c->cpu, c->isa, c->features, c->cpus,
              m->host.threads, m->host.threads == 1 ? "" : "s");
    text_addf(t, "L1d %lld KiB, L2 %lld KiB, L3 %lld KiB.", (long long)c->l1d_bytes >> 10, (long long)c->l2_bytes >> 10,
              (long long)c->l3_bytes >> 10);
    if (p->fma_peak_gflops > 0)
        text_addf(t, " One core, measured: %.0f GFLOP/s of f32 FMA, %.1f GB/s from memory.", p->fma_peak_gflops,
                  p->read_bandwidth_gbs);
    text_add(t, "\n");
}

static const atn_problem *problem_of(const mind *m, int c)
{
    if (!m->host.suite || c < 0 || c >= m->host.suite->count) return NULL;
    return m->host.problem ? m->host.problem(m->host.ctx, c) : &m->host.suite->cases[c].problem;
}

static void say_cases(const mind *m, atn_text *t)
{
    for (int i = 0; m->host.suite && i < m->host.suite->count; i++) {
        char text[200];
        problem_print(problem_of(m, i), text, sizeof text);
        text_addf(t, "%d. %s\n", i + 1, text);
    }
}

/* The verdict as a person would tell it: times, shares of the peak and what bounds them, case by case. */
static void say_verdict(const mind *m, const atn_program_view *p, bool brief, atn_text *t)
{
    const atn_verdict *v = p->verdict;
    if (!isfinite(p->score)) {
        text_addf(t, "Not right: %s (stage %s).\n", reason_text(v->reason), stage_name(v->stage));
        return;
    }
    text_addf(t,
              "Right. At least %.3f times as fast as the initial program over all cases; error %.2g of 1 allowed; "
              "workspace %lld KiB.\n",
              exp(p->score), v->error_of_tolerance, (long long)v->workspace_bytes >> 10);
    if (brief) return;
    store_program row = {0};
    bool stored = m->host.store && !store_program_get(m->host.store, p->id, &row, NULL);
    double peak = m->host.peaks.fma_peak_gflops * m->host.threads, read = m->host.peaks.read_bandwidth_gbs;
    for (int i = 0; i < v->n_cases; i++) {
        const atn_case_result *c = &v->cases[i];
        const atn_problem *q = problem_of(m, c->case_index);
        if (!q || !(c->ns_min > 0)) continue;
        char text[200];
        problem_print(q, text, sizeof text);
        text_addf(t, "- case %d, %s: %.1f us", c->case_index + 1, text, c->ns_min / 1e3);
        for (int k = 0; stored && k < row.n_cases; k++)
            if (row.cases[k].case_index == c->case_index && isfinite(row.cases[k].log_speedup))
                text_addf(t, ", %.2fx [%.2f, %.2f] over the initial program", exp(row.cases[k].log_speedup),
                          exp(row.cases[k].log_speedup + c->log_low - c->log_ratio),
                          exp(row.cases[k].log_speedup + c->log_high - c->log_ratio));
        double gflops = problem_flops(q) / c->ns_min, gbs = problem_bytes(q) / c->ns_min;
        if (peak > 0 && read > 0) {
            bool compute = problem_flops(q) / peak > problem_bytes(q) / read;
            text_addf(t, ", %.1f GFLOP/s = %.0f %% of peak; at best limited by %s", gflops, 100 * gflops / peak,
                      compute ? "arithmetic" : "memory");
            if (!compute) text_addf(t, " (%.1f of %.1f GB/s)", gbs, read);
        }
        text_add(t, "\n");
    }
    if (stored) store_program_clear(&row);
}

static int by_gain(const void *a, const void *b)
{
    double x = (*(const memory *const *)a)->gain, y = (*(const memory *const *)b)->gain;
    return (x < y) - (x > y);
}

/* What paid and what failed so far. Notes are somebody's words: one line each, cleaned. */
static void say_lessons(const mind *m, atn_text *t)
{
    const memory **gains = atn_alloc(sizeof *gains * (size_t)(m->n_past + 1));
    int n = 0, reasons[64] = {0};
    for (int i = ATN_MAX(0, m->n_past - HISTORY); i < m->n_past; i++) {
        const memory *x = &m->past[i];
        if (!isnan(x->gain) && x->gain > 0.002 && x->note[0]) gains[n++] = x;
        if (x->asked && !x->correct) reasons[x->reason]++;
    }
    qsort(gains, (size_t)n, sizeof *gains, by_gain);
    text_add(t, "# Lessons of this run\n");
    size_t empty = t->n;
    for (int i = 0; i < ATN_MIN(n, LESSON_GAINS); i++) {
        text_addf(t, "- paid %.2fx over its parent: ", exp(gains[i]->gain));
        prompt_word(t, gains[i]->note, 150);
        text_add(t, "\n");
    }
    for (int i = m->n_past - 1, k = 0; i >= 0 && k < LESSON_FAILURES; i--) {
        const memory *x = &m->past[i];
        if (!x->asked || !x->note[0] || (x->correct && !(x->gain < -0.01))) continue;
        text_addf(t, "- did not pay (%s): ", x->correct ? "slower than its parent" : reason_text(x->reason));
        prompt_word(t, x->note, 150);
        text_add(t, "\n");
        k++;
    }
    for (int r = 1; r < 64; r++)
        if (reasons[r] > 1) text_addf(t, "- %d answers failed this way: %s\n", reasons[r], reason_text((atn_reason)r));
    if (t->n == empty) {
        t->n -= strlen("# Lessons of this run\n");
        t->s[t->n] = 0;
    } else {
        text_add(t, "\n");
    }
    free(gains);
}

/* For people, beside the run; at most every few seconds. */
static void write_lessons(mind *m)
{
    double now = m->host.now ? m->host.now(m->host.ctx) : 0;
    if (!m->host.folder || now < m->lessons_written + LESSONS_S) return;
    m->lessons_written = now;
    atn_text t = {0};
    say_lessons(m, &t);
    char *path = file_join(m->host.folder, "lessons.md");
    if (t.n) file_write(path, t.s, t.n, NULL);
    free(path);
    text_free(&t);
}

static void tell_arms(json_t *arms, const char *group, const bandit *b, const char *(*name)(const mind *, int),
                      const mind *m)
{
    double share[BANDIT_ARMS];
    bandit_shares(b, NULL, share);
    for (int i = 0; i < b->n; i++) {
        json_t *o = json_pack("{s:s,s:f,s:f,s:f,s:f,s:i,s:f}", "group", group, "prior", b->arm[i].prior, "share", share[i],
                              "rate", b->arm[i].n > 0 ? b->arm[i].reward / b->arm[i].n : 0, "n", b->arm[i].n, "pulls",
                              b->arm[i].pulls, "cost", b->arm[i].cost);
        json_t *n = json_string(name(m, i));
        json_object_set_new(o, "name", n ? n : json_string("?"));
        json_array_append_new(arms, o);
    }
}
static const char *name_of_op(const mind *m, int i)
{
    (void)m;
    return op_word[i];
}
static const char *name_of_model(const mind *m, int i)
{
    return m->model_name[i];
}

char *mind_tell(const mind *m)
{
    if (!m->asked) return NULL;
    json_t *o = json_object(), *arms = json_array();
    atn_text lessons = {0};
    say_lessons(m, &lessons);
    tell_arms(arms, "operator", &m->ops, name_of_op, m);
    tell_arms(arms, "model", &m->models, name_of_model, m);
    json_object_set_new(o, "proposer", json_string(m->name));
    json_object_set_new(o, "asked", json_integer(m->asked));
    json_object_set_new(o, "usd", json_real(m->spent));
    json_object_set_new(o, "arms", arms);
    json_t *said = json_string(lessons.n ? lessons.s : "");
    json_object_set_new(o, "lessons", said ? said : json_string(""));
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(o);
    text_free(&lessons);
    return text;
}

/* Timings of the parent's knobs: for each value the best speedup that was seen with it. */
static void say_knobs(const mind *m, const char *source, atn_text *t)
{
    atn_knobs mine;
    char family[33];
    if (knobs_parse(source, &mine, NULL) || !mine.count || !m->host.store) return;
    knobs_family_hash(source, family);
    double best[KNOBS_MAX][KNOB_VALUES_MAX];
    int n = 0;
    for (int k = 0; k < KNOBS_MAX; k++)
        for (int i = 0; i < KNOB_VALUES_MAX; i++) best[k][i] = -INFINITY;
    for (int i = m->n_past - 1, seen = 0; i >= 0 && seen < FAMILY_POINTS; i--) {
        const memory *x = &m->past[i];
        if (strcmp(x->family, family)) continue;
        seen++;
        store_program row;
        if (!x->correct || store_program_get(m->host.store, x->id, &row, NULL)) continue;
        atn_knobs k;
        if (row.made.source && !knobs_parse(row.made.source, &k, NULL) && k.count == mine.count) {
            n++;
            for (int j = 0; j < k.count; j++)
                for (int l = 0; l < mine.knob[j].count; l++)
                    if (mine.knob[j].values[l] == k.knob[j].values[k.knob[j].now] && x->score > best[j][l])
                        best[j][l] = x->score;
        }
        store_program_clear(&row);
    }
    if (n < 2) return;
    text_addf(t, "# Knobs of this program, from %d timed settings: the best speedup seen with each value\n", n);
    for (int j = 0; j < mine.count; j++) {
        text_addf(t, "- %s (now %ld):", mine.knob[j].name, mine.knob[j].values[mine.knob[j].now]);
        for (int l = 0; l < mine.knob[j].count; l++)
            if (isfinite(best[j][l])) text_addf(t, " %ld -> %.3fx;", mine.knob[j].values[l], exp(best[j][l]));
        text_add(t, "\n");
    }
    text_add(t, "\n");
}

/* Elites unlike the parent and each other: what they do better, then their text where there is room. */
static void say_elites(const mind *m, const atn_program_view *parent, const atn_propose_context *c, atn_text *t)
{
    int top = (int)config_int(m->config, "prompt.num_top_programs"),
        diverse = (int)config_int(m->config, "prompt.num_diverse_programs");
    const atn_program_view *chosen[16];
    novelty_sketch of[17];
    int n = 0, room = ATN_MIN(diverse, 3);
    novelty_make(parent->source, &of[0]);
    for (int round = 0; round < ATN_MIN(top + diverse, 12); round++) {
        double best = -1;
        int at = -1;
        novelty_sketch its;
        for (int i = 0; i < c->n_elites; i++) {
            if (c->elites[i].id == parent->id) continue;
            novelty_sketch s;
            novelty_make(c->elites[i].source, &s);
            double alike = 0;
            for (int k = 0; k <= n; k++) alike = fmax(alike, novelty_alike(&s, &of[k]));
            double value =
                round < top ? 1 - 0.01 * i - (alike > 0.97) : 1 - alike; /* the best first, then the strangest */
            if (alike < 1 && value > best) best = value, at = i, its = s;
        }
        if (at < 0) break;
        of[n + 1] = its;
        chosen[n++] = &c->elites[at];
    }
    if (n) text_add(t, "# Other programs of this run\n");
    for (int i = 0; i < n; i++) {
        const memory *x = recall(m, chosen[i]->id);
        text_addf(t, "- #%" PRId64 " (%s): ", chosen[i]->id, chosen[i]->origin);
        say_verdict(m, chosen[i], true, t);
        int ahead = 0;
        for (int a = 0; a < chosen[i]->verdict->n_cases; a++)
            for (int b = 0; b < parent->verdict->n_cases; b++) {
                const atn_case_result *u = &chosen[i]->verdict->cases[a], *w = &parent->verdict->cases[b];
                if (u->case_index != w->case_index || !(u->ns_min > 0) || !(u->ns_min < 0.97 * w->ns_min)) continue;
                text_addf(t, "%s case %d %.2fx", ahead++ ? "," : "  Ahead of the program above on", u->case_index + 1,
                          w->ns_min / u->ns_min);
            }
        if (ahead) text_add(t, ".\n");
        if (x && x->note[0]) {
            text_add(t, "  ");
            prompt_word(t, x->note, 150);
            text_add(t, "\n");
        }
        if (i < room && strlen(chosen[i]->source) < 24000) prompt_quote(t, "c", chosen[i]->source, 24000);
    }
    if (n) text_add(t, "\n");
}

static char *header(char **cache, const char *name)
{
    if (!*cache) {
        char *path = file_join(file_home(), name);
        if (file_read(path, 1 << 20, cache, NULL, NULL)) *cache = atn_strdup("(see the header)\n");
        free(path);
    }
    atn_text t = {0};
    prompt_quote(&t, "c", *cache, 32 << 10);
    return text_take(&t);
}

static char *filled(const mind *m, const char *name, const prompt_values *v)
{
    char *pattern = NULL, *out;
    if (prompt_template(m->templates, name, &pattern, NULL)) pattern = atn_strdup("");
    out = prompt_fill(pattern, v);
    free(pattern);
    return out;
}

/* What was found out about a program besides its times: the judge's words, the compiler's, what limits it. */
static void say_evidence(const mind *m, const atn_program_view *p, atn_text *t)
{
    size_t most = (size_t)ATN_MIN(config_int(m->config, "prompt.max_artifact_bytes"), EVIDENCE_MAX);
    if (p->verdict->evidence[0]) {
        text_add(t, "What the compiler or the judge says of it:\n");
        prompt_quote(t, "text", p->verdict->evidence, most);
    }
    char *json = m->host.store ? store_evidence_get(m->host.store, p->id) : NULL;
    json_t *o = json ? json_loads(json, 0, NULL) : NULL;
    if (*text_of(o, "text")) {
        text_add(t, "What explains its speed: its object code, loops that were not vectorised, the limit of each case:\n");
        prompt_quote(t, "text", text_of(o, "text"), most);
    }
    json_decref(o);
    free(json);
    store_measurement *list;
    int n;
    if (!m->reviewing || !m->host.store || store_measurements(m->host.store, "review", &list, &n, NULL)) return;
    for (int i = n - 1; i >= 0; i--) {
        if (list[i].program != p->id) continue;
        o = json_loads(list[i].json, 0, NULL);
        text_add(t, "What another reader thinks of it (an opinion; nothing in it was measured):\n");
        prompt_quote(t, "text", text_of(o, "text"), REVIEW_BYTES);
        json_decref(o);
        break;
    }
    store_measurements_free(list, n);
}

static void make_prompt(mind *m, mind_question *q, const atn_program_view *parent, const atn_program_view *second,
                        const atn_propose_context *c, const char *problem)
{
    prompt_values v = {0};
    atn_text machine = {0}, cases = {0}, verdict = {0}, code = {0}, evidence = {0}, elites = {0}, lessons = {0},
             knobs = {0}, other = {0};
    const char *system = config_text(m->config, "prompt.system_message");
    if (!system) system = config_text(m->config, "llm.system_message");
    say_machine(m, &machine);
    say_cases(m, &cases);
    say_verdict(m, parent, false, &verdict);
    prompt_quote(&code, "c", parent->source, 256 << 10);
    if (config_bool(m->config, "prompt.include_artifacts")) say_evidence(m, parent, &evidence);
    if (second) {
        text_addf(&other, "# The second program (#%" PRId64 ")\n", second->id);
        say_verdict(m, second, false, &other);
        prompt_quote(&other, "c", second->source, 128 << 10);
    }
    if (c) say_elites(m, parent, c, &elites);
    say_lessons(m, &lessons);
    say_knobs(m, parent->source, &knobs);
    bool marked = strstr(parent->source, "EVOLVE-BLOCK-START") != NULL,
         whole = q->op == MIND_FULL || (q->op == MIND_CROSS && !marked);
    prompt_set(&v, "system_message",
               atn_strdup(system ? system : "You are an expert in fast attention kernels on CPUs."));
    prompt_set(&v, "compiler", atn_strdup(m->host.compiler ? m->host.compiler : "gcc"));
    prompt_set(&v, "machine", text_take(&machine));
    prompt_set(&v, "contract", header(&m->contract, "include/attune/kernel.h"));
    prompt_set(&v, "vectors", header(&m->vectors, "include/attune/vec.h"));
    q->system = filled(m, "system", &v);
    prompt_set(&v, "cases", text_take(&cases));
    prompt_set(&v, "parent_id", atn_format("%" PRId64, parent->id));
    prompt_set(&v, "parent_origin", atn_strdup(parent->origin));
    prompt_set(&v, "verdict", text_take(&verdict));
    prompt_set(&v, "parent", text_take(&code));
    prompt_set(&v, "evidence", text_take(&evidence));
    prompt_set(&v, "second", text_take(&other));
    prompt_set(&v, "knobs", text_take(&knobs));
    prompt_set(&v, "elites", text_take(&elites));
    prompt_set(&v, "lessons", text_take(&lessons));
    atn_text quoted = {0};
    if (problem) prompt_quote(&quoted, "text", problem, EVIDENCE_MAX);
    prompt_set(&v, "problem", text_take(&quoted));
    prompt_set(&v, "markers",
               atn_strdup(
                   marked
                       ? "Only lines between EVOLVE-BLOCK-START and EVOLVE-BLOCK-END may change; everything else, the "
                         "marker lines included, stays as it is: an answer that changes it is refused."
                       : "Every line may change; the table attune_kernel must stay."));
    char name[32];
    snprintf(name, sizeof name, "task_%s", op_word[q->op]);
    char *task = filled(m, name, &v), *repair = problem ? filled(m, "task_repair", &v) : atn_strdup("");
    prompt_set(&v, "task", atn_format("%s%s%s", task, *repair ? "\n" : "", repair));
    prompt_set(&v, "format",
               q->op == MIND_REVIEW ? atn_strdup("") : filled(m, whole ? "format_full" : "format_diff", &v));
    q->prompt = filled(m, "task", &v);
    free(task);
    free(repair);
    prompt_clear(&v);
}

/* ---- questions ---- */

static json_t *record_of(const mind *m, const mind_question *q)
{
    return json_pack("{s:s, s:I, s:s, s:i, s:i, s:s}", "proposer", m->name, "number", (json_int_t)q->number, "op",
                     op_word[q->op], "island", q->island, "repairs", q->repairs, "flags", q->flags);
}

static void keep(mind *m, const char *kind, const mind_question *q, json_t *o)
{
    char *json = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    atn_error err = {0};
    if (m->host.store &&
        store_measurement_add(m->host.store, kind, q->parents[0], q->parents[1], m->host.now(m->host.ctx), json, &err))
        m->host.warn(m->host.ctx, err.text);
    free(json);
    json_decref(o);
}

static void keep_text(mind *m, json_t *o, const char *key, const char *text)
{
    char sha[33];
    if (m->host.store && !store_blob_add(m->host.store, text, sha, NULL)) json_object_set_new(o, key, json_string(sha));
}

static mind_question *make_question(mind *m, mind_operator op, const atn_program_view *parent,
                                    const atn_program_view *second, const atn_propose_context *c, int model, int island,
                                    int repairs, const char *problem)
{
    mind_question *q = atn_alloc(sizeof *q);
    *q = (mind_question){.number = ++m->asked,
                         .island = island,
                         .model = model,
                         .repairs = repairs,
                         .op = op,
                         .parents = {parent->id, second ? second->id : 0},
                         .source = atn_strdup(parent->source),
                         .flags = atn_strdup(parent->flags ? parent->flags : "")};
    make_prompt(m, q, parent, second, c, problem);
    json_t *o = record_of(m, q);
    keep_text(m, o, "system", q->system);
    keep_text(m, o, "prompt", q->prompt);
    keep_text(m, o, "on", q->source);
    if (model >= 0) json_object_set_new(o, "model", json_string(m->model_name[model]));
    keep(m, "question", q, o);
    return q;
}

static int64_t children(const mind *m, int64_t id)
{
    return id >= 0 && id < m->n_children ? m->children_of[id] : 0;
}

static void count_child(mind *m, int64_t id)
{
    if (id >= m->n_children) {
        int64_t n = ATN_MAX(64, 2 * id);
        m->children_of = atn_realloc(m->children_of, sizeof *m->children_of * (size_t)n);
        memset(m->children_of + m->n_children, 0, sizeof *m->children_of * (size_t)(n - m->n_children));
        m->n_children = n;
    }
    m->children_of[id]++;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Good ones more often, and those that were not asked for much yet: sigmoid((score - median) / MAD) / (1 + children).
 * The best of all islands is among them: many questions may be asked before the engine turns to the next island. */
static const atn_program_view *pick_parent(const mind *m, const atn_propose_context *c, atn_rng *rng, int64_t not_this)
{
    const atn_program_view *from[257];
    double sorted[257], weight[257], sum = 0;
    int n = 0;
    bool has_best = false;
    for (int i = 0; i < ATN_MIN(c->n_elites, 256); i++) {
        from[n++] = &c->elites[i];
        has_best |= c->best && c->elites[i].id == c->best->id;
    }
    if (!n) return c->incumbent && c->incumbent->source && c->incumbent->verdict ? c->incumbent : NULL;
    if (c->best && !has_best && c->best->source && c->best->verdict) from[n++] = c->best;
    for (int i = 0; i < n; i++) sorted[i] = from[i]->score;
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    double median = sorted[n / 2];
    for (int i = 0; i < n; i++) sorted[i] = fabs(sorted[i] - median);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    double mad = fmax(sorted[n / 2], 0.01);
    for (int i = 0; i < n; i++) {
        double s = fmin(30, fmax(-30, 3 * (from[i]->score - median) / mad));
        weight[i] = from[i]->id == not_this ? 0 : 1 / (1 + exp(-s)) / (1 + (double)children(m, from[i]->id));
        sum += weight[i];
    }
    if (!(sum > 0)) return NULL;
    double u = rng_f64(rng) * sum;
    for (int i = 0; i < n; i++)
        if ((u -= weight[i]) < 0) return from[i];
    return from[0];
}

/* A wrong answer whose repair was not asked for yet. */
static memory *pick_broken(mind *m)
{
    for (int i = m->n_past - 1; i >= 0 && i >= m->n_past - 40; i--) {
        memory *x = &m->past[i];
        if (x->asked && !x->correct && !x->fixed && repairable(x->reason)) return x;
    }
    return NULL;
}

static mind_question *ask_fix(mind *m, memory *x, const atn_propose_context *c, int model)
{
    store_program row;
    if (!m->host.store || store_program_get(m->host.store, x->id, &row, NULL)) return NULL;
    atn_verdict *v = atn_alloc(sizeof *v);
    v->reason = x->reason;
    v->stage = ATN_STAGE_BUILD;
    for (int s = 0; s < ATN_STAGE_COUNT; s++)
        if (!strcmp(stage_name((atn_stage)s), row.stage)) v->stage = (atn_stage)s;
    snprintf(v->evidence, sizeof v->evidence, "%s", row.evidence);
    atn_program_view view = {.id = x->id,
                             .parent = x->parent,
                             .island = row.made.island,
                             .source = row.made.source,
                             .flags = row.made.flags,
                             .origin = row.made.origin,
                             .verdict = v,
                             .score = -INFINITY};
    mind_question *q = row.made.source ? make_question(m, MIND_FIX, &view, NULL, c, model, c->island, 0, NULL) : NULL;
    x->fixed = true;
    free(v);
    store_program_clear(&row);
    return q;
}

mind_question *mind_ask(mind *m, const atn_propose_context *c, atn_rng *rng, const bool *able)
{
    const atn_program_view *parent = pick_parent(m, c, rng, 0);
    if (!parent) return NULL;
    int model = m->models.n ? bandit_pick(&m->models, able, rng) : -1;
    if (m->models.n && model < 0) return NULL;
    const atn_program_view *second = c->n_elites > 0 ? pick_parent(m, c, rng, parent->id) : NULL;
    memory *broken = pick_broken(m);
    bool ops[MIND_OPERATORS] = {m->ops.arm[MIND_DIFF].prior > 0, m->ops.arm[MIND_FULL].prior > 0, second != NULL,
                                broken != NULL};
    mind_operator op = (mind_operator)bandit_pick(&m->ops, ops, rng);
    if (op == MIND_FIX) {
        mind_question *q = ask_fix(m, broken, c, model);
        if (q) return q;
        op = MIND_DIFF;
    }
    count_child(m, parent->id);
    return make_question(m, op, parent, op == MIND_CROSS ? second : NULL, c, model, c->island, 0, NULL);
}

mind_question *mind_review(mind *m)
{
    return m->n_reviews ? m->reviews[--m->n_reviews] : NULL; /* the newest: older ones lose their point */
}

void mind_reviewed(mind *m, const mind_question *q, const mind_answer *a)
{
    json_t *o = answer_record(m, q, a, "review"), *text = json_string(a->text);
    keep_text(m, o, "answer", a->text);
    keep(m, "answer", q, o);
    o = json_object();
    json_object_set_new(o, "text", text ? text : json_string(""));
    if (a->model) json_object_set_new(o, "model", json_string(a->model));
    keep(m, "review", q, o);
}

mind_question *mind_repair(mind *m)
{
    if (!m->n_repairs) return NULL;
    mind_question *q = m->repairs[0];
    memmove(m->repairs, m->repairs + 1, sizeof *m->repairs * (size_t)--m->n_repairs);
    return q;
}

/* ---- answers ---- */

/* The program that it is the same as but for names, blanks and comments; -1: one on its way; 0: new. */
static int64_t known_as(const mind *m, const char *source)
{
    novelty_sketch s;
    novelty_make(source, &s);
    for (int i = m->n_past - 1; i >= 0; i--)
        if (m->past[i].sketch.shape == s.shape) return m->past[i].id;
    for (int i = 0; i < m->n_ready; i++)
        if (!strcmp(m->ready[i].p.source, source)) return -1;
    uint64_t h = hash_bytes(source, strlen(source));
    for (int i = 0; i < m->n_pending; i++)
        if (m->pending[i].hash == h) return -1; /* proposed, and no verdict yet, or it would be among the past */
    return 0;
}

/* A right program that made nearly the same change to the same parent; 0: none. Small changes say nothing: one number may
 * be all that matters. */
static int64_t tried_as(const mind *m, const mind_question *q, const char *source)
{
    novelty_sketch change;
    if (q->op == MIND_FIX || !novelty_make_change(source, q->source, CHANGE_LEAST, &change)) return 0;
    for (int i = m->n_past - 1; i >= 0; i--) {
        const memory *x = &m->past[i];
        if (x->changed && x->correct && x->parent == q->parents[0] && novelty_alike(&x->change, &change) >= CHANGE_ALIKE) return x->id;
    }
    return 0;
}

static json_t *answer_record(mind *m, const mind_question *q, const mind_answer *a, const char *outcome)
{
    json_t *o = record_of(m, q);
    json_object_set_new(o, "outcome", json_string(outcome));
    if (a->model) json_object_set_new(o, "model", json_string(a->model));
    if (a->tokens_in || a->tokens_out) {
        json_object_set_new(o, "tokens_in", json_integer(a->tokens_in));
        json_object_set_new(o, "tokens_out", json_integer(a->tokens_out));
    }
    json_object_set_new(o, "usd", json_real(a->usd));
    json_object_set_new(o, "seconds", json_real(a->seconds));
    json_object_set_new(o, "tries", json_integer(a->tries));
    m->spent += a->usd;
    if (q->model >= 0) bandit_cost(&m->models, q->model, a->usd);
    return o;
}

void mind_lost(mind *m, const mind_question *q, const mind_answer *a, const char *why)
{
    json_t *o = answer_record(m, q, a, "lost");
    json_t *text = json_string(why);
    json_object_set_new(o, "why", text ? text : json_string("?"));
    if (a->text && *a->text) keep_text(m, o, "answer", a->text);
    keep(m, "answer", q, o);
}

mind_outcome mind_take(mind *m, const mind_question *q, const mind_answer *a, bool patient, char *problem, size_t room)
{
    answer_program p;
    answer_limits limits = {.source_max = (size_t)config_int(m->config, "max_code_length")};
    bool ok = answer_apply(a->text, q->source, &limits, &p);
    int64_t known = ok ? known_as(m, p.source) : 0;
    int64_t tried = ok && !known ? tried_as(m, q, p.source) : 0;
    if (tried)
        snprintf(p.problem, sizeof p.problem, "nearly the same change was made to the same program as #%" PRId64, tried);
    if (known < 0) snprintf(p.problem, sizeof p.problem, "the same program was proposed a moment ago");
    if (known > 0)
        snprintf(p.problem, sizeof p.problem,
                 "the program is the same as #%" PRId64 " but for names, blanks and comments", known);
    if (tried) known = tried;
    json_t *o = answer_record(m, q, a, tried ? "tried" : known ? "known" : answer_word(p.outcome));
    keep_text(m, o, "answer", a->text);
    keep_text(m, o, "on", q->source);
    json_t *note = json_string(p.note);
    json_object_set_new(o, "note", note ? note : json_string(""));
    if (ok && !known) keep_text(m, o, "source", p.source);
    else {
        json_t *said = json_string(p.problem);
        json_object_set_new(o, "problem", said ? said : json_string(""));
    }
    keep(m, "answer", q, o);
    if (problem && room) snprintf(problem, room, "%s", p.problem);
    if (ok && !known) {
        m->useless = 0;
        add_ready(m, p.source, q->flags, q, p.note);
        return MIND_PROPOSED;
    }
    m->useless++;
    answer_free(&p);
    bandit_reward(&m->ops, (int)q->op, 0);
    bandit_reward(&m->models, q->model, 0);
    if (patient || q->repairs >= REPAIRS_MAX || known) return MIND_REFUSED;
    /* The same question once more, with what was wrong with the answer. */
    mind_question *again = atn_alloc(sizeof *again);
    *again = *q;
    again->number = ++m->asked;
    again->repairs = q->repairs + 1;
    again->source = atn_strdup(q->source);
    again->flags = atn_strdup(q->flags);
    again->system = atn_strdup(q->system);
    prompt_values v = {0};
    atn_text quoted = {0};
    prompt_quote(&quoted, "text", p.problem, EVIDENCE_MAX);
    prompt_set(&v, "problem", text_take(&quoted));
    char *repair = filled(m, "task_repair", &v);
    again->prompt = atn_format("%s\n%s", q->prompt, repair);
    prompt_clear(&v);
    free(repair);
    json_t *record = record_of(m, again);
    keep_text(m, record, "prompt", again->prompt);
    keep_text(m, record, "on", again->source);
    keep(m, "question", again, record);
    add_repair(m, again);
    return MIND_REPAIRING;
}

bool mind_next(mind *m, atn_proposal *out)
{
    if (!m->n_ready) return false;
    ready r = m->ready[0];
    memmove(m->ready, m->ready + 1, sizeof *m->ready * (size_t)--m->n_ready);
    m->pending = atn_realloc(m->pending, sizeof *m->pending * (size_t)(m->n_pending + 1));
    m->pending[m->n_pending++] = r.of;
    *out = r.p;
    return true;
}
