/* The real judge behind the engine's vtable, and a second one for comparisons at full size.
 *
 * Races during the run are cut to one kv group, so that they are quick. The final comparison runs the suite as given;
 * where the initial program is so slow that a case would not fit the budget, that case gets fewer heads and batches,
 * never
 * another length or head size (case_problem says what was timed). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evolve/evolve.h"

static const char *const JUDGE_RULES = "3"; /* counts up when a change of the judge makes old scores incomparable */
enum { FINAL_CALLS = 4 };                   /* calls of the initial program that a final case must afford */

struct evolve_build {
    atn_build *build;
};

typedef struct {
    build_options build;
    char *cc;
    judge_options options;
    atn_judge *judge, *final;
    atn_suite suite, final_suite; /* own copies: an abandoned call may outlive the caller's */
    double initial_ns[ATN_CASES_MAX];
    race_pairs *pairs; /* of the last call, whichever judge did it */
    atn_verdict incumbent_failure; /* the same; OK: none */
    bool has_final;
} real_judge;

static atn_status real_build_start(void *ctx, const char *source, const char *flags, const char *original,
                                   evolve_build **out, atn_error *err)
{
    real_judge *r = ctx;
    build_options o = r->build;
    o.flags = flags && *flags ? flags : NULL;
    o.whole_file = !original;
    atn_build *b = NULL;
    atn_status st = build_start(&o, source, original, &b, err);
    if (st) return st;
    *out = atn_alloc(sizeof **out);
    (*out)->build = b;
    return ATN_OK;
}

static int real_build_fd(void *ctx, const evolve_build *b)
{
    (void)ctx;
    return build_fd(b->build);
}

static bool real_build_step(void *ctx, evolve_build *b, build_result *out)
{
    (void)ctx;
    if (!build_step(b->build, out)) return false;
    free(b);
    return true;
}

static void real_build_cancel(void *ctx, evolve_build *b)
{
    (void)ctx;
    build_cancel(b->build);
    free(b);
}

static void real_build_release(void *ctx, build_result *r)
{
    (void)ctx;
    build_release(r);
}

/* What outlives the call, and perhaps the judge that did it. */
static void keep_record(real_judge *r, atn_judge *j)
{
    const atn_verdict *failure = judge_incumbent_failure(j);
    race_pairs_free(r->pairs);
    r->pairs = judge_take_pairs(j);
    if (failure) r->incumbent_failure = *failure;
    else r->incumbent_failure.reason = ATN_REASON_OK;
}

static atn_status real_candidate(void *ctx, const build_result *candidate, const build_result *incumbent,
                                 atn_stage upto, atn_verdict *v, atn_error *err)
{
    real_judge *r = ctx;
    atn_status st = judge_candidate(r->judge, candidate, incumbent, upto, v, err);
    keep_record(r, r->judge);
    return st;
}

static atn_stage real_stage(void *ctx)
{
    return judge_stage(((real_judge *)ctx)->judge);
}

static race_pairs *real_take_pairs(void *ctx)
{
    real_judge *r = ctx;
    race_pairs *p = r->pairs;
    r->pairs = NULL;
    return p;
}

static void real_cancel(void *ctx, bool on)
{
    (void)ctx;
    judge_cancel(on);
}

static const atn_verdict *real_incumbent_failure(void *ctx)
{
    const atn_verdict *v = &((real_judge *)ctx)->incumbent_failure;
    return v->reason == ATN_REASON_OK ? NULL : v;
}

static char *real_evidence(void *ctx, const build_result *candidate, const atn_verdict *v)
{
    atn_evidence e;
    atn_error err = {0};
    return judge_evidence(((real_judge *)ctx)->judge, candidate, v, &e, &err) == ATN_OK ? evidence_json(&e) : NULL;
}

static void real_initial_ns(void *ctx, int c, double ns)
{
    if (c >= 0 && c < ATN_CASES_MAX) ((real_judge *)ctx)->initial_ns[c] = ns;
}

/* The largest part of a case, in whole kv groups, that the initial program runs FINAL_CALLS times within `seconds`. */
static atn_problem affordable(const real_judge *r, int c, double seconds)
{
    atn_problem p = r->options.timing->cases[c].problem;
    double ns = r->initial_ns[c];
    int64_t groups = (int64_t)p.B * p.Hkv, may = groups;
    if (ns > 0 && seconds * 1e9 / (FINAL_CALLS * ns) < (double)groups)
        may = (int64_t)(seconds * 1e9 / (FINAL_CALLS * ns));
    may = ATN_MAX(may, ATN_MIN(groups, r->options.threads));
    if (may >= groups) return p;
    int ratio = p.Hq / p.Hkv;
    p.Hkv = (int32_t)ATN_MIN(p.Hkv, may);
    p.Hq = p.Hkv * ratio;
    p.B = (int32_t)ATN_MAX(1, may / p.Hkv);
    return p;
}

/* The judge for final comparisons; the first one decides the sizes, later ones keep them. */
static atn_status final_judge(real_judge *r, double seconds, atn_error *err)
{
    const atn_suite *given = r->options.timing;
    double share = seconds / given->count;
    if (!r->has_final) {
        r->final_suite =
            (atn_suite){.cases = atn_alloc((size_t)given->count * sizeof *given->cases), .count = given->count};
        for (int c = 0; c < given->count; c++) {
            r->final_suite.cases[c] = given->cases[c];
            r->final_suite.cases[c].problem = affordable(r, c, share);
        }
        r->has_final = true;
    }
    judge_free(r->final);
    r->final = NULL;
    judge_options o = r->options;
    o.timing = &r->final_suite;
    o.full_size = true;
    o.case_seconds_max = share;
    return judge_create(&o, &r->final, err);
}

static atn_status real_compare(void *ctx, const build_result *candidate, const build_result *incumbent, int pairs,
                               bool confirm, bool full_size, double seconds, atn_verdict *v, atn_error *err)
{
    real_judge *r = ctx;
    if (full_size || seconds <= 0) {
        atn_status st = full_size ? final_judge(r, seconds > 0 ? seconds : 30, err) : ATN_OK;
        atn_judge *by = full_size ? r->final : r->judge;
        if (!st) st = judge_compare(by, candidate, incumbent, pairs, confirm, v, err);
        if (by) keep_record(r, by);
        return st;
    }
    judge_options o = r->options;
    o.case_seconds_max = seconds / o.timing->count;
    atn_judge *j = NULL;
    atn_status st = judge_create(&o, &j, err);
    if (!st) st = judge_compare(j, candidate, incumbent, pairs, confirm, v, err);
    if (j) keep_record(r, j);
    judge_free(j);
    return st;
}

static atn_status real_controls(void *ctx, const build_result *program, int races, atn_controls *out, atn_error *err)
{
    return judge_controls(((real_judge *)ctx)->judge, program, races, out, err);
}

static void real_peaks(void *ctx, atn_peaks *out)
{
    *out = *judge_peaks(((real_judge *)ctx)->judge);
}

static void real_metrics(void *ctx, const atn_verdict *v, seed_metrics *out)
{
    judge_seed_metrics(((real_judge *)ctx)->judge, v, out);
}

static const atn_problem *real_case_problem(void *ctx, int c, bool final)
{
    real_judge *r = ctx;
    if (final) return r->has_final ? &r->final_suite.cases[c].problem : NULL;
    return judge_case_problem(r->judge, c);
}

static void real_destroy(void *ctx)
{
    real_judge *r = ctx;
    judge_free(r->judge);
    judge_free(r->final);
    race_pairs_free(r->pairs);
    free(r->final_suite.cases);
    free(r->suite.cases);
    free(r->cc);
    free(r);
}

atn_status evolve_judge_create(const evolve_options *o, evolve_judge **out, atn_error *err)
{
    *out = NULL;
    real_judge *r = atn_alloc(sizeof *r);
    r->cc = o->cc && *o->cc ? atn_strdup(o->cc) : NULL;
    r->build = (build_options){.cc = r->cc};
    r->options = judge_defaults();
    r->suite =
        (atn_suite){.cases = atn_alloc((size_t)o->suite->count * sizeof *o->suite->cases), .count = o->suite->count};
    memcpy(r->suite.cases, o->suite->cases, (size_t)o->suite->count * sizeof *o->suite->cases);
    r->options.timing = &r->suite;
    r->options.threads = o->threads;
    r->options.tolerance = o->tolerance;
    r->options.unsafe = o->unsafe;
    evolve_judge *j = atn_alloc(sizeof *j);
    *j = (evolve_judge){.ctx = r,
                        .build_start = real_build_start,
                        .build_fd = real_build_fd,
                        .build_step = real_build_step,
                        .build_cancel = real_build_cancel,
                        .build_release = real_build_release,
                        .candidate = real_candidate,
                        .take_pairs = real_take_pairs,
                        .evidence = real_evidence,
                        .cancel = real_cancel,
                        .incumbent_failure = real_incumbent_failure,
                        .stage = real_stage,
                        .compare = real_compare,
                        .controls = real_controls,
                        .peaks = real_peaks,
                        .metrics = real_metrics,
                        .case_problem = real_case_problem,
                        .initial_ns = real_initial_ns,
                        .destroy = real_destroy};
    snprintf(j->version, sizeof j->version, "%s", JUDGE_RULES);
    atn_status st = build_compiler(r->cc, j->compiler, sizeof j->compiler, err);
    if (!st) st = judge_create(&r->options, &r->judge, err);
    if (st) evolve_judge_free(j);
    else *out = j;
    return st;
}

void evolve_judge_free(evolve_judge *j)
{
    if (!j || j->abandoned) return;
    if (j->destroy) j->destroy(j->ctx);
    free(j);
}
