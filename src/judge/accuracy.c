/* Stages QUICK and FULL: candidate outputs against fp64, laws of attention, and the same bits twice.
 *
 * Nothing here looks at time. The candidate sees inputs that no other run has seen (secret seeds), at addresses that
 * it has seen before with other contents. Every test is written !(x <= tolerance), so that NaN fails. */
#include "judge/accuracy.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "judge/link.h"
#include "problem/laws.h"
#include "problem/reference.h"
#include "problem/suite.h"

enum { RANDOM_SHAPES = 8, ROWS_OF_LARGE = 96 };
static const double ALL_ROWS_FLOPS = 3e7, AGAIN_FLOPS = 3e6;

bool accuracy_mandatory(const atn_problem *p)
{
    return p->dtype_q == ATN_F32 && p->dtype_kv == ATN_F32 && p->causal != ATN_CAUSAL_TOP_LEFT && p->window_left < 0 &&
           p->window_right < 0 && p->mask < 0 && p->softcap == 0 && !p->sinks && !p->alibi && !p->lse &&
           p->D == p->Dv && p->D <= 256;
}

static bool is_decode(const atn_problem *p)
{
    return p->Sq <= 16 && p->Skv >= 4 * p->Sq;
}

bool accuracy_special(const atn_suite *scope)
{
    for (int i = 0; scope && i < scope->count; i++)
        if (accuracy_mandatory(&scope->cases[i].problem) && !is_decode(&scope->cases[i].problem)) return false;
    return scope && scope->count > 0;
}

/* Of the same kind as a timed case: types, features and head sizes, and no more rows per kv head where all is
 * decode. */
static bool same_kind(const atn_problem *p, const atn_problem *timed)
{
    bool rows = !is_decode(timed) ||
                (int64_t)(p->Hq / p->Hkv) * p->Sq <= (int64_t)(timed->Hq / timed->Hkv) * timed->Sq;
    return rows && p->dtype_q == timed->dtype_q && p->dtype_kv == timed->dtype_kv && p->D == timed->D &&
           p->Dv == timed->Dv && p->causal == timed->causal && p->mask == timed->mask && p->sinks == timed->sinks &&
           p->alibi == timed->alibi && p->lse == timed->lse && (p->softcap > 0) == (timed->softcap > 0) &&
           (p->window_left >= 0) == (timed->window_left >= 0) && (p->window_right >= 0) == (timed->window_right >= 0);
}

bool accuracy_in_scope(const check_context *c, const atn_problem *p)
{
    if (c->specialist) return false;
    if (!accuracy_special(c->scope)) return accuracy_mandatory(p);
    for (int i = 0; i < c->scope->count; i++)
        if (same_kind(p, &c->scope->cases[i].problem)) return true;
    return false;
}

double accuracy_timeout(const atn_problem *p)
{
    return 1 + problem_flops(p) / 2e7;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static void reproduce_line(atn_verdict *v, const check_context *c, const check_item *item)
{
    char text[200];
    problem_print(&item->problem, text, sizeof text);
    int n =
        snprintf(v->reproduce, sizeof v->reproduce, "attune eval %s --case \"%s\" --data %s --seed %llu",
                 c->program ? c->program : "PROGRAM.c", text, data_name(item->data), (unsigned long long)item->seed);
    if (c->threads > 1 && n > 0 && (size_t)n < sizeof v->reproduce)
        snprintf(v->reproduce + n, sizeof v->reproduce - (size_t)n, " --threads %d", c->threads);
}

void check_fail(atn_verdict *v, atn_stage stage, atn_reason reason, const check_context *c, const check_item *item,
                const char *format, ...)
{
    char text[200], words[1200];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    problem_print(&item->problem, text, sizeof text);
    v->stage = stage;
    v->reason = reason;
    snprintf(v->evidence, sizeof v->evidence, "%s, data %s: %s", text, data_name(item->data), words);
    reproduce_line(v, c, item);
}

void check_locate(atn_verdict *v, atn_stage stage, const check_context *c, const check_item *item)
{
    char words[1200];
    snprintf(words, sizeof words, "%.1199s", v->evidence);
    check_fail(v, stage, v->reason, c, item, "%s", words[0] ? words : reason_text(v->reason));
}

/* ---- one check --------------------------------------------------------------------------------------------------- */

typedef struct {
    const check_context *c;
    atn_stage stage;
    atn_arena *arena;
    atn_worker *worker;
    atn_verdict *v;
} campaign;

static bool call(campaign *k, int job, const check_item *item)
{
    worker_time t;
    bool ok = worker_call(k->worker, job, 0, 1, accuracy_timeout(&item->problem), &t, k->v);
    if (!ok) check_locate(k->v, k->stage, k->c, item);
    return ok;
}

static bool compare(campaign *k, int job, const check_item *item)
{
    const atn_args *args = worker_args(k->worker, job, 0);
    atn_rng rng = rng_make(k->c->seed, 77, (uint64_t)job);
    bool small = problem_flops(&item->problem) <= ALL_ROWS_FLOPS;
    atn_compare r;
    reference_compare(args, small ? 0 : ROWS_OF_LARGE, &rng, &r);
    atn_tolerance tol = tolerance_for(&item->problem, item->data, k->c->tolerance);
    atn_verdict *v = k->v;
    if (accuracy_in_scope(k->c, &item->problem) && item->group == CHECK_ACCURACY && !(r.rel_l2 <= v->error))
        v->error = r.rel_l2;
    double share = ATN_MAX(r.rel_l2 / tol.rel_l2, r.row_worst / tol.row_worst);
    if (!(share <= v->error_of_tolerance)) v->error_of_tolerance = share;
    const char *what = tolerance_verdict(&r, &tol);
    if (!what) return true;
    if (strcmp(what, "unwritten") == 0)
        check_fail(v, k->stage, ATN_REASON_UNWRITTEN, k->c, item, "%lld output elements never written",
                   (long long)r.poison);
    else if (strcmp(what, "nonfinite") == 0)
        check_fail(v, k->stage, ATN_REASON_NONFINITE, k->c, item,
                   "%lld elements NaN or Inf where fp64 is not, or the reverse; %s", (long long)r.nonfinite, r.detail);
    else
        check_fail(v, k->stage, ATN_REASON_WRONG, k->c, item,
                   "relative L2 error %.3g (allowed %.3g), worst row %.3g (allowed %.3g), lse %.3g (allowed %.3g); %s",
                   r.rel_l2, tol.rel_l2, r.row_worst, tol.row_worst, r.lse_worst, tol.lse, r.detail);
    return false;
}

static bool fill_call_compare(campaign *k, int job, const check_item *item)
{
    atn_rng rng = rng_make(item->seed, 0, 0);
    data_fill(&item->problem, arena_layout(k->arena, job), arena_args(k->arena, job, 0), item->data, &rng);
    return call(k, job, item) && compare(k, job, item);
}

static bool same_rows(const atn_args *a, const atn_args *b)
{
    size_t row = (size_t)a->Dv * (size_t)dtype_bytes(a->o.dtype);
    for (int n = 0; n < a->B; n++)
        for (int h = 0; h < a->Hq; h++)
            for (int i = 0; i < a->Sq; i++) {
                int64_t at = n * a->o.sb + h * a->o.sh + i * a->o.sr;
                if (memcmp((char *)a->o.ptr + at, (char *)b->o.ptr + at, row) != 0) return false;
            }
    return !a->lse || memcmp(a->lse, b->lse, sizeof *a->lse * (size_t)a->B * (size_t)a->Hq * (size_t)a->Sq) == 0;
}

/* Same inputs, same bits. Where the first call found poison the second finds the first one's outputs, signs turned: a
 * kernel that skips it, or that works for whoever poisons, is seen too. */
static bool same_bits_again(campaign *k, int job, const check_item *item)
{
    const atn_layout *l = arena_layout(k->arena, job);
    const atn_args *args = worker_args(k->worker, job, 0);
    size_t o = (size_t)l->bytes[ATN_T_O], lse = (size_t)l->bytes[ATN_T_LSE];
    atn_args before = *args;
    char *first = atn_alloc(o + lse);
    before.o.ptr = memcpy(first, args->o.ptr, o);
    if (lse) before.lse = memcpy(first + o, args->lse, lse);
    worker_reuse_outputs(k->worker, true);
    bool ok = call(k, job, item);
    worker_reuse_outputs(k->worker, false);
    if (ok && !same_rows(args, &before)) {
        check_fail(k->v, k->stage, ATN_REASON_NONDETERMINISTIC, k->c, item,
                   "two calls on the same inputs gave different bits (the second found old results in its output, the "
                   "first poison)");
        ok = false;
    }
    free(first);
    return ok;
}

static bool check(campaign *k, int job, const check_item *item)
{
    int can_run = 0;
    atn_plan plan;
    if (!worker_plan(k->worker, job, &can_run, &plan, k->v)) {
        check_locate(k->v, k->stage, k->c, item);
        return false;
    }
    if (!can_run && accuracy_in_scope(k->c, &item->problem)) {
        check_fail(k->v, k->stage, ATN_REASON_REFUSED, k->c, item, "can_run says no; every kernel must cover %s",
                   accuracy_special(k->c->scope) ? "problems of the timed cases' kinds" : "plain f32 attention");
        return false;
    }
    if (!can_run) {
        k->v->refused++;
        return true;
    }
    k->v->checks++;
    k->v->stability += item->group == CHECK_STABILITY;
    k->v->robustness += item->group == CHECK_ROBUSTNESS;
    if (!fill_call_compare(k, job, item) || !same_bits_again(k, job, item)) return false;
    if (problem_flops(&item->problem) <= AGAIN_FLOPS) {
        check_item other = *item;
        other.seed = rng_mix(item->seed + 1);
        if (!fill_call_compare(k, job, &other)) return false;
    }
    k->v->checks_passed++;
    k->v->stability_passed += item->group == CHECK_STABILITY;
    k->v->robustness_passed += item->group == CHECK_ROBUSTNESS;
    return true;
}

/* Arena and worker for a list of jobs; *worker NULL with ATN_OK: the candidate failed and v says how. */
static atn_status campaign_open(campaign *k, int so_fd, const atn_job *jobs, int n, atn_error *err)
{
    worker_options o = {.threads = k->c->threads, .cpu = k->c->cpu};
    atn_status s = arena_create(jobs, n, &k->arena, err);
    if (s == ATN_OK) s = worker_start(&o, so_fd, k->arena, &k->worker, k->v, err);
    if (s == ATN_OK && !k->worker) k->v->stage = k->stage;
    return s;
}

static void campaign_close(campaign *k)
{
    worker_free(k->worker);
    arena_free(k->arena);
}

atn_status accuracy_items(const check_context *c, atn_stage stage, int so_fd, const check_item *items, int n,
                          atn_verdict *v, atn_error *err)
{
    campaign k = {.c = c, .stage = stage, .v = v};
    atn_job *jobs = atn_alloc((size_t)n * sizeof *jobs);
    for (int i = 0; i < n; i++) jobs[i] = (atn_job){.problem = items[i].problem, .slots = 1};
    v->stage = stage;
    atn_status s = campaign_open(&k, so_fd, jobs, n, err);
    for (int i = 0; i < n && s == ATN_OK && k.worker; i++)
        if (!check(&k, i, &items[i])) break;
    campaign_close(&k);
    free(jobs);
    return s;
}

/* ---- laws -------------------------------------------------------------------------------------------------------- */

/* The laws derive problems of other shapes, but a worker's jobs are fixed when it starts. So each law list is played
 * twice: once to learn the shapes that it asks for, once for real. */
typedef struct {
    campaign *k;
    check_item item;
    atn_job *jobs;
    int n, at;
    bool recording;
} law_player;

static atn_problem problem_of_args(const atn_args *a)
{
    atn_problem p = problem_default();
    p.B = a->B, p.Hq = a->Hq, p.Hkv = a->Hkv, p.Sq = a->Sq, p.Skv = a->Skv, p.D = a->D, p.Dv = a->Dv;
    p.dtype_q = a->q.dtype, p.dtype_kv = a->k.dtype;
    p.causal = a->causal, p.window_left = a->window_left, p.window_right = a->window_right;
    p.mask = a->mask.ptr ? a->mask.dtype : -1;
    p.scale = a->scale, p.softcap = a->softcap;
    p.sinks = a->sinks != NULL, p.alibi = a->alibi != NULL, p.lse = a->lse != NULL;
    return p;
}

static void copy_tensor(const atn_tensor *to, const atn_tensor *from, int B, int H, int rows, int last)
{
    size_t bytes = (size_t)last * (size_t)dtype_bytes(from->dtype);
    for (int b = 0; b < B; b++)
        for (int h = 0; h < H; h++)
            for (int i = 0; i < rows; i++)
                memcpy((char *)to->ptr + b * to->sb + h * to->sh + i * to->sr,
                       (const char *)from->ptr + b * from->sb + h * from->sh + i * from->sr, bytes);
}

static void copy_inputs(const atn_args *to, const atn_args *from)
{
    copy_tensor(&to->q, &from->q, from->B, from->Hq, from->Sq, from->D);
    copy_tensor(&to->k, &from->k, from->B, from->Hkv, from->Skv, from->D);
    copy_tensor(&to->v, &from->v, from->B, from->Hkv, from->Skv, from->Dv);
    if (from->mask.ptr) copy_tensor(&to->mask, &from->mask, from->B, from->Hq, from->Sq, from->Skv);
    if (from->sinks) memcpy((float *)to->sinks, from->sinks, (size_t)from->Hq * sizeof(float));
    if (from->alibi) memcpy((float *)to->alibi, from->alibi, (size_t)from->Hq * sizeof(float));
}

static bool law_run(void *ctx, const atn_args *a)
{
    law_player *p = ctx;
    if (p->recording) {
        p->jobs = atn_realloc(p->jobs, (size_t)(p->n + 1) * sizeof *p->jobs);
        p->jobs[p->n++] = (atn_job){.problem = problem_of_args(a), .slots = 1};
        return true;
    }
    ATN_CHECK(p->at < p->n);
    int job = p->at++;
    copy_inputs(arena_args(p->k->arena, job, 0), a);
    p->item.problem = p->jobs[job].problem;
    if (!call(p->k, job, &p->item)) return false;
    const atn_args *out = worker_args(p->k->worker, job, 0);
    copy_tensor(&a->o, &out->o, a->B, a->Hq, a->Sq, a->Dv);
    if (a->lse) memcpy(a->lse, out->lse, sizeof(float) * (size_t)a->B * (size_t)a->Hq * (size_t)a->Sq);
    return true;
}

static bool laws_plannable(law_player *p)
{
    for (int i = 0; i < p->n; i++) {
        int can_run = 0;
        atn_plan plan;
        p->item.problem = p->jobs[i].problem;
        if (!worker_plan(p->k->worker, i, &can_run, &plan, p->k->v)) {
            check_locate(p->k->v, p->k->stage, p->k->c, &p->item);
            return false;
        }
        if (!can_run) return false;
    }
    return true;
}

static atn_status check_laws(const check_context *c, const atn_problem *given, int so_fd, atn_verdict *v,
                             atn_error *err)
{
    campaign k = {.c = c, .stage = ATN_STAGE_FULL, .v = v};
    law_player p = {.k = &k, .recording = true, .item = {.data = ATN_DATA_NORMAL, .seed = c->seed}};
    atn_problem problem = *given;
    atn_law laws[ATN_LAWS];
    atn_status s;
    laws_check(&problem, c->seed, c->tolerance, law_run, &p, laws);
    p.recording = false;
    s = p.n ? campaign_open(&k, so_fd, p.jobs, p.n, err) : ATN_OK;
    if (s != ATN_OK || !k.worker) goto end;
    if (!laws_plannable(&p)) {
        v->refused += v->reason == ATN_REASON_OK;
        goto end;
    }
    v->checks++;
    int broken = laws_check(&problem, c->seed, c->tolerance, law_run, &p, laws);
    for (int i = 0; i < ATN_LAWS && broken && v->reason == ATN_REASON_OK; i++) {
        p.item.problem = problem;
        if (laws[i].applies && !laws[i].holds)
            check_fail(v, ATN_STAGE_FULL, ATN_REASON_LAW, c, &p.item, "law \"%s\" is off by %.3g", laws[i].name,
                       laws[i].error);
    }
    v->checks_passed += v->reason == ATN_REASON_OK;
end:
    campaign_close(&k);
    free(p.jobs);
    return s;
}

/* ---- stages ------------------------------------------------------------------------------------------------------ */

typedef struct {
    check_item *items;
    int n;
    uint64_t seed;
} item_list;

static void add_item(item_list *l, const atn_problem *p, atn_data data, check_group group)
{
    l->items = atn_realloc(l->items, (size_t)(l->n + 1) * sizeof *l->items);
    /* 48 bits: a seed that a person can type, that every JSON reader keeps exact, and that nobody guesses. */
    l->items[l->n] =
        (check_item){.problem = *p, .data = data, .group = group, .seed = rng_mix(l->seed + (uint64_t)l->n) >> 16};
    l->n++;
}

static atn_status add_suite(item_list *l, const char *name, check_group group, atn_error *err)
{
    atn_suite suite = {0};
    atn_status s = suite_add(&suite, name, err);
    for (int i = 0; i < suite.count && s == ATN_OK; i++)
        add_item(l, &suite.cases[i].problem, suite.cases[i].data, group);
    suite_free(&suite);
    return s;
}

/* A plain problem in the kind of a timed case: its types, mask and features; its head sizes for 64, the suites' usual
 * one. */
static atn_problem in_kind_of(atn_problem p, const atn_problem *timed)
{
    p.dtype_q = timed->dtype_q, p.dtype_kv = timed->dtype_kv;
    p.mask = timed->mask, p.mask_shape = timed->mask_shape, p.softcap = timed->softcap;
    p.sinks = timed->sinks, p.alibi = timed->alibi, p.lse = timed->lse;
    if (p.D == 64) p.D = timed->D, p.Dv = timed->Dv;
    if (timed->causal != p.causal && p.Sq > 1) p.causal = timed->causal;
    if (timed->window_left >= 0) p.window_left = ATN_MIN(timed->window_left, p.Skv / 3);
    if (timed->window_right >= 0) p.window_right = ATN_MIN(timed->window_right, p.Skv / 3);
    if (is_decode(timed)) p.Hq = p.Hkv * (timed->Hq / timed->Hkv), p.Sq = ATN_MIN(p.Sq, timed->Sq);
    return p;
}

/* In a run for special cases: every plain problem of the list once more, in the kind of one of the timed cases. */
static void add_kinds(item_list *l, const check_context *c)
{
    if (!accuracy_special(c->scope)) return;
    for (int i = 0, n = l->n, k = 0; i < n; i++) {
        if (!accuracy_mandatory(&l->items[i].problem)) continue;
        atn_problem p = in_kind_of(l->items[i].problem, &c->scope->cases[k++ % c->scope->count].problem);
        if (problem_check(&p, NULL) == ATN_OK) add_item(l, &p, l->items[i].data, l->items[i].group);
    }
}

/* Shapes that nobody lists: a kernel that is right only for the sizes of the suites falls here. */
static void add_random_shapes(item_list *l, int count)
{
    atn_rng r = rng_make(l->seed, 3, 0);
    for (int i = 0; i < count; i++) {
        atn_problem p = problem_default();
        p.B = 1 + (int)rng_below(&r, 2);
        p.Hkv = 1 + (int)rng_below(&r, 3);
        p.Hq = p.Hkv * (1 + (int)rng_below(&r, 4));
        p.Sq = 1 + (int)rng_below(&r, i % 2 ? 40 : 150);
        p.Skv = i % 3 ? p.Sq + (int)rng_below(&r, 120) : 1 + (int)rng_below(&r, 200);
        p.D = p.Dv = i % 4 == 3 ? 1 + (int)rng_below(&r, 140) : 16 * (1 + (int)rng_below(&r, 8));
        p.causal = rng_below(&r, 2) ? ATN_CAUSAL_BOTTOM_RIGHT : ATN_CAUSAL_NONE;
        p.misalign = rng_below(&r, 3) == 0;
        add_item(l, &p, rng_below(&r, 2) ? ATN_DATA_NEEDLE : ATN_DATA_PEAKED, CHECK_ROBUSTNESS);
    }
}

atn_status accuracy_quick(const check_context *c, int so_fd, atn_verdict *v, atn_error *err)
{
    static const struct {
        const char *text;
        atn_data data;
    } rows[] = {{"f32 h2/1 s33 d64 causal", ATN_DATA_NORMAL}, {"f32 h2 s17/70 d64", ATN_DATA_NEEDLE}};
    item_list l = {.seed = c->seed};
    atn_verdict counts = *v;
    for (int i = 0; i < ATN_COUNT(rows); i++) {
        atn_problem p;
        ATN_CHECK(problem_parse(rows[i].text, &p, NULL) == ATN_OK);
        add_item(&l, &p, rows[i].data, CHECK_ACCURACY);
    }
    add_kinds(&l, c);
    atn_status s = accuracy_items(c, ATN_STAGE_QUICK, so_fd, l.items, l.n, v, err);
    if (v->reason == ATN_REASON_OK) { /* FULL counts again, from nothing */
        v->checks = counts.checks;
        v->checks_passed = counts.checks_passed;
    }
    free(l.items);
    return s;
}

atn_status accuracy_full(const check_context *c, int so_fd, atn_verdict *v, atn_error *err)
{
    static const char *const law_problems[] = {"f32 h4/2 s40/72 d64 causal", "f32 h2 s33/65 d32 lse"};
    item_list l = {.seed = rng_mix(c->seed)};
    atn_status s = add_suite(&l, "accuracy", CHECK_ACCURACY, err);
    if (s == ATN_OK) s = add_suite(&l, "stability", CHECK_STABILITY, err);
    if (s == ATN_OK) s = add_suite(&l, "robustness", CHECK_ROBUSTNESS, err);
    if (s == ATN_OK) {
        add_random_shapes(&l, RANDOM_SHAPES);
        add_kinds(&l, c);
        s = accuracy_items(c, ATN_STAGE_FULL, so_fd, l.items, l.n, v, err);
    }
    for (int i = 0; i < ATN_COUNT(law_problems) && s == ATN_OK && v->reason == ATN_REASON_OK; i++) {
        atn_problem p;
        ATN_CHECK(problem_parse(law_problems[i], &p, NULL) == ATN_OK);
        s = check_laws(c, &p, so_fd, v, err);
        if (i || !accuracy_special(c->scope) || s != ATN_OK || v->reason != ATN_REASON_OK) continue;
        p = in_kind_of(p, &c->scope->cases[0].problem);
        s = check_laws(c, &p, so_fd, v, err);
    }
    free(l.items);
    return s;
}

static bool takes(int (*can_run)(const atn_args *), const atn_problem *p)
{
    static float there[16]; /* what is absent has no address; nobody reads what is present */
    atn_layout l;
    problem_layout(p, &l);
    atn_args *a = &l.args;
    a->q.ptr = a->k.ptr = a->v.ptr = a->o.ptr = there;
    if (l.bytes[ATN_T_MASK]) a->mask.ptr = there;
    if (p->sinks) a->sinks = there;
    if (p->alibi) a->alibi = there;
    if (p->lse) a->lse = there;
    return can_run(a) != 0;
}

bool accuracy_takes_all(const atn_suite *scope, int (*can_run)(const atn_args *))
{
    const check_context c = {.scope = scope};
    item_list l = {0};
    bool all = add_suite(&l, "accuracy", CHECK_ACCURACY, NULL) == ATN_OK;
    if (!all) return true;
    add_kinds(&l, &c);
    for (int i = 0; i < l.n && all; i++)
        if (accuracy_in_scope(&c, &l.items[i].problem)) all = takes(can_run, &l.items[i].problem);
    free(l.items);
    return all;
}

atn_status accuracy_heldout(const check_context *c, int so_fd, atn_verdict *v, atn_error *err)
{
    item_list l = {.seed = rng_mix(c->seed + 5)};
    atn_status s = add_suite(&l, "heldout", CHECK_HELDOUT, err);
    if (s == ATN_OK) {
        add_random_shapes(&l, 2 * RANDOM_SHAPES);
        add_kinds(&l, c);
        s = accuracy_items(c, ATN_STAGE_CONFIRM, so_fd, l.items, l.n, v, err);
    }
    free(l.items);
    return s;
}
