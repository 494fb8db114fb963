/* The cascade: QUICK, FULL, SCREEN, RACE, CONFIRM, each stage's campaign in fresh worker processes.
 *
 * A stage that fails ends the cascade with its verdict. The timing lock is held from SCREEN to RACE and no longer.
 * What is decided here about speed is decided by bounds: the suite's mean log-ratio must lie above delta with its
 * lower bound, and no case may be surely more than 5 % slower. */
#include "judge/judge.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "judge/accuracy.h"
#include "judge/control.h"
#include "judge/link.h"
#include "judge/timing.h"

static const double SCREEN_CASE_SECONDS = 0.09;
enum { SCREEN_CASES = 3, SCREEN_PAIRS = 20, SURE_PAIRS = 3, CONTROL_CALLS = 33 };
static const double SCREEN_FLOPS_MAX = 0.6e9; /* longer cases wait for the race */
static const double SCREEN_SLACK = -0.02;     /* clearly slower: the upper bound of the mean lies below this */
static const double HOPELESS = -0.41;         /* 1.5 x slower after three pairs, or 4 x after two: not worth a fourth */
static const double HOPELESS_AT_ONCE = -1.39;
/* A case surely 5 % slower forbids promotion. At 2 % wins of 3.8 % [3.0, 4.5] over 18 cases were lost to one case each;
 * the portfolio serves such a case by its own best anyway. */
static const double INFERIOR = -0.0513;
static const double FUTILE_EARLY = -0.005; /* at 16 pairs a mean below this, at 32 one below delta, is given up */
static const double CONTROL_NS = 0.6e6;
static const double RACE_CASES_TIME = 8; /* a race lasts no longer than that many cases at their cap */
static const double LANDSLIDE = 0.095;   /* a lower bound beyond +10 % need not wait for pairs_min */

struct atn_judge {
    judge_options o;
    atn_peaks peaks;
    atn_problem *problems; /* as timed, one per case */
    uint64_t seed, campaigns;
    int cpu;
    atomic_int stage; /* for who asks from another thread */
    race_pairs *pairs; /* of the last timed campaign; NULL: none, or taken */
    atn_verdict incumbent; /* its failure in the last call, where it had one */
};

judge_options judge_defaults(void)
{
    return (judge_options){.threads = 1, .tolerance = 1, .case_seconds_max = 0.5, .rules = race_defaults()};
}

/* ---- the judge --------------------------------------------------------------------------------------------------- */

static atn_problem cut_to_one_group(atn_problem p)
{
    p.B = 1;
    p.Hq /= p.Hkv;
    p.Hkv = 1;
    return p;
}

/* CPUs cpu .. cpu + threads - 1, the last of those allowed; -1 where there are not enough. */
static int first_cpu(int threads)
{
    int first = judge_cpu() - threads + 1;
    return threads <= machine_get()->cpus && first >= 0 ? first : -1;
}

atn_status judge_create(const judge_options *o, atn_judge **out, atn_error *err)
{
    *out = NULL;
    if (o->timing && o->timing->count > ATN_CASES_MAX)
        return atn_fail(err, ATN_USAGE, "%d timing cases; at most %d can be judged at once", o->timing->count,
                        ATN_CASES_MAX);
    char layers[300];
    if (isolation_probe(layers, sizeof layers) == ISOLATION_NONE && !o->unsafe)
        return atn_fail(err, ATN_UNSUPPORTED,
                        "this machine offers no isolation for untrusted kernels (%s); --unsafe runs them without",
                        layers);
    atn_judge *j = atn_alloc(sizeof *j);
    j->o = *o;
    j->cpu = first_cpu(o->threads);
    j->seed = o->seed ? o->seed : rng_secret();
    int n = o->timing ? o->timing->count : 0;
    j->problems = atn_alloc(sizeof *j->problems * (size_t)ATN_MAX(n, 1));
    for (int i = 0; i < n; i++) {
        const atn_problem *p = &o->timing->cases[i].problem;
        j->problems[i] = o->full_size ? *p : cut_to_one_group(*p);
    }
    machine_measure(0.15, &j->peaks);
    *out = j;
    return ATN_OK;
}

void judge_free(atn_judge *j)
{
    if (!j) return;
    race_pairs_free(j->pairs);
    free(j->problems);
    free(j);
}

const atn_peaks *judge_peaks(const atn_judge *j)
{
    return &j->peaks;
}
const atn_problem *judge_case_problem(const atn_judge *j, int case_index)
{
    return &j->problems[case_index];
}

/* Every campaign has inputs of its own. */
static check_context context(atn_judge *j, bool pinned)
{
    return (check_context){.tolerance = j->o.tolerance,
                           .threads = j->o.threads,
                           .cpu = pinned ? j->cpu : -1,
                           .seed = rng_mix(j->seed + j->campaigns++),
                           .program = j->o.program,
                           .scope = j->o.timing,
                           .incumbent = &j->incumbent};
}

static int by_flops(const void *a, const void *b, void *j)
{
    double x = problem_flops(&((atn_judge *)j)->problems[*(const int *)a]);
    double y = problem_flops(&((atn_judge *)j)->problems[*(const int *)b]);
    return (x > y) - (x < y);
}

int judge_screen_cases(const atn_judge *j, int out[ATN_CASES_MAX])
{
    int order[ATN_CASES_MAX], n = j->o.timing ? j->o.timing->count : 0, last = n - 1;
    for (int i = 0; i < n; i++) order[i] = i;
    qsort_r(order, (size_t)n, sizeof *order, by_flops, (void *)j);
    while (last > 0 && problem_flops(&j->problems[order[last]]) > SCREEN_FLOPS_MAX) last--;
    if (n <= SCREEN_CASES) {
        memcpy(out, order, sizeof *order * (size_t)n);
        return n;
    }
    last = ATN_MAX(last, SCREEN_CASES - 1);
    for (int i = 0; i < SCREEN_CASES; i++) out[i] = order[(int)((double)last * i / (SCREEN_CASES - 1) + 0.5)];
    return SCREEN_CASES;
}

/* ---- timed stages ------------------------------------------------------------------------------------------------ */

typedef struct {
    atn_judge *j;
    atn_timing *t;            /* NULL: the candidate failed at the start */
    int which[ATN_CASES_MAX]; /* index into the suite */
    int n;
    bool alone;
    double deadline; /* no case is begun after it */
    check_context c;
} field;

static atn_status field_open(field *f, atn_judge *j, atn_stage stage, int candidate_fd, int incumbent_fd,
                             atn_verdict *v, atn_error *err)
{
    timing_case cases[ATN_CASES_MAX];
    for (int i = 0; i < f->n; i++) cases[i] = (timing_case){.problem = j->problems[f->which[i]]};
    f->j = j;
    f->alone = incumbent_fd < 0;
    f->deadline = INFINITY;
    f->c = context(j, true);
    return timing_open(&f->c, stage, &j->peaks, cases, f->n, candidate_fd, incumbent_fd, &f->t, v, err);
}

static void whole_suite(const atn_judge *j, field *f)
{
    *f = (field){.n = j->o.timing ? j->o.timing->count : 0};
    for (int i = 0; i < f->n; i++) f->which[i] = i;
}

/* What is known so far into the verdict: cases that have at least one pair, and the mean over them. */
static void field_score(const field *f, const race_rules *rules, atn_verdict *v)
{
    double alpha = rules->alpha, unused_mean, unused_high;
    const double *d[ATN_CASES_MAX];
    int n[ATN_CASES_MAX];
    v->n_cases = 0;
    for (int i = 0; i < f->n; i++) {
        const timing_samples *s = timing_get(f->t, i);
        if (s->n == 0) continue;
        atn_case_result *r = &v->cases[v->n_cases];
        *r = (atn_case_result){.case_index = f->which[i],
                               .pairs = s->n,
                               .ns_min = s->ns_min,
                               .error = s->error,
                               .workspace_bytes = s->workspace_bytes};
        r->incumbent_ns_min = f->alone ? 0 : s->incumbent_ns_min;
        race_bounds(s->d, s->n, alpha, &r->log_ratio, &r->log_low, &r->log_high);
        v->workspace_bytes = ATN_MAX(v->workspace_bytes, s->workspace_bytes);
        d[v->n_cases] = s->d;
        n[v->n_cases++] = s->n;
    }
    v->late_cpu_us = ATN_MAX(v->late_cpu_us, timing_late_us(f->t));
    if (v->n_cases && !f->alone) {
        race_suite(d, n, v->n_cases, alpha, f->c.seed, &v->suite_log, &v->suite_low, &v->suite_high);
        /* The lower bound is what wins are decided and programs are ranked by. */
        race_suite(d, n, v->n_cases, rules->alpha_win, f->c.seed, &unused_mean, &v->suite_low, &unused_high);
    }
}

/* The pairs outlive the campaign: they are evidence. */
static void keep_pairs(field *f, atn_stage stage)
{
    atn_judge *j = f->j;
    race_pairs_free(j->pairs);
    j->pairs = NULL;
    if (!f->t || f->alone) return;
    j->pairs = atn_alloc(sizeof *j->pairs);
    *j->pairs = (race_pairs){.kind = stage_name(stage), .cases = atn_alloc((size_t)ATN_MAX(f->n, 1) * sizeof(race_case))};
    for (int i = 0; i < f->n; i++) {
        const timing_samples *s = timing_get(f->t, i);
        if (s->n == 0) continue;
        race_case *c = &j->pairs->cases[j->pairs->n++];
        *c = (race_case){.case_index = f->which[i], .n = s->n, .effect = s->raw[0] - s->d[0]};
        c->d = atn_alloc((size_t)s->n * sizeof *c->d);
        for (int k = 0; k < s->n; k++) c->d[k] = (float)s->d[k];
    }
}

static void field_close(field *f, atn_stage stage)
{
    keep_pairs(f, stage);
    timing_close(f->t);
    f->t = NULL;
}

race_pairs *judge_take_pairs(atn_judge *j)
{
    race_pairs *p = j->pairs;
    j->pairs = NULL;
    return p;
}

static void say_speed(const atn_judge *j, const atn_verdict *v, char *out, size_t room)
{
    int least = RACE_PAIRS_MAX, most = 0;
    for (int i = 0; i < v->n_cases; i++) {
        least = ATN_MIN(least, v->cases[i].pairs);
        most = ATN_MAX(most, v->cases[i].pairs);
    }
    (void)j;
    snprintf(out, room, "%.3fx the incumbent [%.3f, %.3f] over %d cases, %d to %d pairs", exp(v->suite_log),
             exp(v->suite_low), exp(v->suite_high), v->n_cases, least, most);
}

/* The first case that is surely slower than the incumbent by INFERIOR; NULL: none. */
static const atn_case_result *inferior_case(const atn_verdict *v)
{
    for (int i = 0; i < v->n_cases; i++)
        if (v->cases[i].pairs >= 5 && v->cases[i].log_high < INFERIOR) return &v->cases[i];
    return NULL;
}

/* Whether some case may yet turn out to be: then a landslide of the others does not end the race (on a busy machine a
 * kernel 1.5 x slower on one case and 9 x faster on two had bounds too wide for inferior_case at 8 pairs). */
static bool may_be_inferior(const atn_verdict *v)
{
    for (int i = 0; i < v->n_cases; i++)
        if (!(v->cases[i].log_low > INFERIOR)) return true;
    return false;
}

static void decide_slower(const field *f, atn_verdict *v, const char *why)
{
    char speed[200];
    say_speed(f->j, v, speed, sizeof speed);
    v->reason = ATN_REASON_SLOWER;
    snprintf(v->evidence, sizeof v->evidence, "%s: %s", why, speed);
    snprintf(v->reproduce, sizeof v->reproduce, "attune eval %s --against INCUMBENT.c",
             f->j->o.program ? f->j->o.program : "PROGRAM.c");
}

typedef enum { GO_ON, HOPELESSLY_SLOW, FAR_FASTER } outlook;

/* Whether what is known of a case says that the rest of its pairs would be wasted. One slice that the machine stole
 * from looks hopeless too, so the second must say the same, however long it takes. */
static atn_status look_at_case(field *f, int i, outlook *what, atn_verdict *v, atn_error *err)
{
    atn_status s = ATN_OK;
    const timing_samples *x = timing_get(f->t, i);
    double median, low, high, alpha = f->j->o.rules.alpha;
    race_bounds(x->d, x->n, alpha, &median, &low, &high);
    if (x->n == 1 && high < HOPELESS_AT_ONCE) {
        s = timing_pairs(f->t, i, 2, INFINITY, v, err);
        race_bounds(x->d, x->n, alpha, &median, &low, &high);
    }
    *what = (x->n >= 3 && high < HOPELESS) || (x->n >= 2 && high < HOPELESS_AT_ONCE) ? HOPELESSLY_SLOW
            : x->n >= 3 && low > -HOPELESS                                          ? FAR_FASTER
                                                                                    : GO_ON;
    return s;
}

/* Before a candidate is dropped as slower: a case so long that its time was up after a pair or two gets a third, since
 * the median of less is no more than what the machine was doing at that moment. */
static atn_status screen_surely(field *f, atn_verdict *v, atn_error *err)
{
    atn_status s = ATN_OK;
    for (int i = 0; i < f->n && s == ATN_OK && v->reason == ATN_REASON_OK; i++)
        s = timing_pairs(f->t, i, SURE_PAIRS, INFINITY, v, err);
    if (s == ATN_OK && v->reason == ATN_REASON_OK) field_score(f, &f->j->o.rules, v);
    return s;
}

/* SCREEN: few pairs on few cases; a slow candidate is dropped after two calls. */
static atn_status screen(atn_judge *j, int candidate_fd, int incumbent_fd, atn_verdict *v, atn_error *err)
{
    field f = {0};
    f.n = judge_screen_cases(j, f.which);
    atn_status s = field_open(&f, j, ATN_STAGE_SCREEN, candidate_fd, incumbent_fd, v, err);
    for (int i = 0; i < f.n && s == ATN_OK && f.t && v->reason == ATN_REASON_OK; i++) {
        static const int steps[] = {1, 3, 8, SCREEN_PAIRS};
        for (int k = 0; k < ATN_COUNT(steps) && s == ATN_OK && v->reason == ATN_REASON_OK; k++) {
            outlook what = GO_ON;
            s = timing_pairs(f.t, i, steps[k], SCREEN_CASE_SECONDS, v, err);
            if (s == ATN_OK && v->reason == ATN_REASON_OK) s = look_at_case(&f, i, &what, v, err);
            if (s != ATN_OK || v->reason != ATN_REASON_OK) break;
            if (what == HOPELESSLY_SLOW) {
                field_score(&f, &j->o.rules, v);
                decide_slower(&f, v, "far slower at once");
            }
            if (what == FAR_FASTER) break; /* the race will say by how much */
        }
    }
    if (s == ATN_OK && f.t && v->reason == ATN_REASON_OK) {
        field_score(&f, &j->o.rules, v);
        if (v->suite_high < SCREEN_SLACK) s = screen_surely(&f, v, err);
        if (s == ATN_OK && v->reason == ATN_REASON_OK && v->suite_high < SCREEN_SLACK)
            decide_slower(&f, v, "clearly slower in screening");
    }
    field_close(&f, ATN_STAGE_SCREEN);
    return s;
}

/* One level of the race: every case gets up to `pairs` pairs, in an order drawn anew. */
static atn_status race_level(field *f, int pairs, double case_seconds, atn_verdict *v, atn_error *err)
{
    int order[ATN_CASES_MAX];
    atn_rng r = rng_make(f->c.seed, 21, (uint64_t)pairs);
    for (int i = 0; i < f->n; i++) {
        int at = (int)rng_below(&r, (uint32_t)i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    atn_status s = ATN_OK;
    for (int i = 0; i < f->n && s == ATN_OK && v->reason == ATN_REASON_OK && clock_s() < f->deadline; i++)
        s = timing_pairs(f->t, order[i], pairs, case_seconds, v, err);
    return s;
}

/* The same in new processes that have changed places: see timing_restart. */
static atn_status race_restarted(field *f, int pairs, double case_seconds, atn_verdict *v, atn_error *err)
{
    atn_status s = timing_restart(f->t, v, err);
    return s == ATN_OK && v->reason == ATN_REASON_OK ? race_level(f, pairs, case_seconds, v, err) : s;
}

typedef enum { UNDECIDED, BETTER, NOT_BETTER } suite_decision;

static suite_decision suite_look(const race_rules *r, const atn_verdict *v, int pairs)
{
    if (v->suite_high < r->delta) return NOT_BETTER;
    /* Futility only ever costs wins, never makes one: ties took 60 of 100 s of racing before (54 candidates, 16-core Xeon). */
    if (pairs >= 32 ? v->suite_log < r->delta : pairs >= 16 && v->suite_log < FUTILE_EARLY) return NOT_BETTER;
    bool enough = pairs >= r->pairs_min || (v->suite_low > LANDSLIDE && !may_be_inferior(v));
    if (enough && v->suite_low > r->delta) return inferior_case(v) ? NOT_BETTER : BETTER;
    return UNDECIDED;
}

/* RACE: the whole suite, in levels of 8, 16, 32 ... pairs, until the bound of the mean decides or time is up. */
static atn_status race(atn_judge *j, int candidate_fd, int incumbent_fd, atn_verdict *v, atn_error *err)
{
    field f;
    suite_decision decision = UNDECIDED;
    whole_suite(j, &f);
    double most = j->o.case_seconds_max;
    atn_status s = field_open(&f, j, ATN_STAGE_RACE, candidate_fd, incumbent_fd, v, err);
    double start = clock_s();
    for (int pairs = 8; s == ATN_OK && f.t && decision == UNDECIDED; pairs *= 2) {
        double seconds = pairs >= 32 ? most : most * pairs / 32;
        if (pairs > 8) s = race_restarted(&f, pairs * 3 / 4, seconds, v, err);
        if (s == ATN_OK && v->reason == ATN_REASON_OK)
            s = pairs > 16 ? race_restarted(&f, pairs, seconds, v, err) : race_level(&f, pairs, seconds, v, err);
        if (s != ATN_OK || v->reason != ATN_REASON_OK) break;
        f.deadline = start + RACE_CASES_TIME * most; /* from here on: the first level is always whole */
        field_score(&f, &j->o.rules, v);
        decision = suite_look(&j->o.rules, v, pairs);
        if (pairs >= j->o.rules.pairs_max || clock_s() > f.deadline) break;
    }
    if (s == ATN_OK && f.t && v->reason == ATN_REASON_OK) {
        char speed[200];
        const atn_case_result *slow = inferior_case(v);
        say_speed(j, v, speed, sizeof speed);
        v->promoted = decision == BETTER;
        v->reason = v->promoted ? ATN_REASON_OK : ATN_REASON_NOT_BETTER;
        if (slow && v->suite_low > j->o.rules.delta)
            snprintf(v->evidence, sizeof v->evidence, "%s, but %.3fx [%.3f, %.3f] on '%s': specialised", speed,
                     exp(slow->log_ratio), exp(slow->log_low), exp(slow->log_high),
                     j->o.timing->cases[slow->case_index].name);
        else snprintf(v->evidence, sizeof v->evidence, "%s", speed);
    }
    field_close(&f, ATN_STAGE_RACE);
    return s;
}

/* A fixed number of pairs on the whole suite. */
static atn_status measure(atn_judge *j, atn_stage stage, int candidate_fd, int incumbent_fd, int pairs, atn_verdict *v,
                          atn_error *err)
{
    field f;
    whole_suite(j, &f);
    atn_status s = field_open(&f, j, stage, candidate_fd, incumbent_fd, v, err);
    for (int level = ATN_MIN(8, pairs); s == ATN_OK && f.t && v->reason == ATN_REASON_OK;) {
        s = race_level(&f, level, j->o.case_seconds_max, v, err);
        if (level >= pairs || s != ATN_OK || v->reason != ATN_REASON_OK) break;
        level = ATN_MIN(level + 8, pairs);
        if (incumbent_fd >= 0) s = timing_restart(f.t, v, err);
    }
    if (s == ATN_OK && f.t && v->reason == ATN_REASON_OK) field_score(&f, &j->o.rules, v);
    field_close(&f, stage);
    return s;
}

/* ---- the cascade ------------------------------------------------------------------------------------------------- */

static void verdict_start(atn_verdict *v, const build_result *candidate)
{
    memset(v, 0, sizeof *v);
    v->stage = candidate->stage;
    v->reason = candidate->reason;
    v->seconds_build = candidate->seconds;
    memcpy(v->evidence, candidate->evidence, sizeof v->evidence);
}

/* Nothing of the call before is left. */
static void call_start(atn_judge *j, atn_verdict *v, const build_result *candidate)
{
    verdict_start(v, candidate);
    race_pairs_free(judge_take_pairs(j));
    j->incumbent.reason = ATN_REASON_OK;
}

const atn_verdict *judge_incumbent_failure(const atn_judge *j)
{
    return j->incumbent.reason == ATN_REASON_OK ? NULL : &j->incumbent;
}

/* A failure without a reproduce line of its own is seen again by evaluating the whole program. */
static void verdict_end(const atn_judge *j, atn_verdict *v)
{
    if (v->reason != ATN_REASON_OK && !v->reproduce[0])
        snprintf(v->reproduce, sizeof v->reproduce, "attune eval %s", j->o.program ? j->o.program : "PROGRAM.c");
}

static void stage_is(atn_judge *j, atn_stage stage)
{
    atomic_store_explicit(&j->stage, (int)stage, memory_order_relaxed);
}

atn_stage judge_stage(const atn_judge *j)
{
    return (atn_stage)atomic_load_explicit(&j->stage, memory_order_relaxed);
}

void judge_cancel(bool on)
{
    link_give_up(on);
}

/* What a call came to; given up, nothing that it found is to be trusted. */
static atn_status call_end(atn_status s, atn_error *err)
{
    return link_given_up() ? atn_fail(err, ATN_CANCELLED, "the judgement was given up") : s;
}

static atn_status raced_stages(atn_judge *j, int candidate_fd, int incumbent_fd, atn_stage upto, atn_verdict *v,
                               atn_error *err)
{
    stage_is(j, ATN_STAGE_SCREEN);
    atn_status s = screen(j, candidate_fd, incumbent_fd, v, err);
    if (s != ATN_OK || v->reason != ATN_REASON_OK || upto < ATN_STAGE_RACE) return s;
    stage_is(j, ATN_STAGE_RACE);
    return race(j, candidate_fd, incumbent_fd, v, err);
}

static atn_status timed_stages(atn_judge *j, const build_result *candidate, const build_result *incumbent,
                               atn_stage upto, atn_verdict *v, atn_error *err)
{
    int lock = -1;
    atn_status s = timing_lock(&lock, err);
    double start = clock_s();
    if (s == ATN_OK && !incumbent) {
        stage_is(j, ATN_STAGE_RACE);
        s = measure(j, ATN_STAGE_RACE, candidate->so_fd, -1, 8, v, err);
    } else if (s == ATN_OK) {
        const atn_verdict before = *v;
        s = raced_stages(j, candidate->so_fd, incumbent->so_fd, upto, v, err);
        /* An incumbent that fails while timed was right before: once may be the machine, so both run again. */
        if (s == ATN_PROCESS && !link_given_up()) {
            *v = before;
            j->incumbent.reason = ATN_REASON_OK;
            s = raced_stages(j, candidate->so_fd, incumbent->so_fd, upto, v, err);
        }
    }
    v->seconds_race = clock_s() - start;
    if (lock >= 0) close(lock);
    return s;
}

/* The champion's second race, in fresh processes on fresh inputs, after sizes that nobody was shown. */
static atn_status confirm_win(atn_judge *j, const build_result *candidate, const build_result *incumbent,
                              atn_verdict *v, atn_error *err)
{
    atn_verdict again;
    atn_status s = judge_compare(j, candidate, incumbent, j->o.rules.pairs_min, true, &again, err);
    v->stage = ATN_STAGE_CONFIRM;
    v->seconds_race += again.seconds_race;
    v->seconds_check += again.seconds_check;
    if (s != ATN_OK || again.reason == ATN_REASON_OK) return s;
    v->promoted = false;
    v->reason = again.reason;
    v->correct = again.correct;
    memcpy(v->evidence, again.evidence, sizeof v->evidence);
    memcpy(v->reproduce, again.reproduce, sizeof v->reproduce);
    return s;
}

atn_status judge_candidate(atn_judge *j, const build_result *candidate, const build_result *incumbent, atn_stage upto,
                           atn_verdict *v, atn_error *err)
{
    call_start(j, v, candidate);
    atn_status s = ATN_OK;
    if (v->reason == ATN_REASON_OK && upto >= ATN_STAGE_QUICK) {
        double start = clock_s();
        check_context c = context(j, false);
        stage_is(j, ATN_STAGE_QUICK);
        s = accuracy_quick(&c, candidate->so_fd, v, err);
        if (s == ATN_OK && v->reason == ATN_REASON_OK && upto >= ATN_STAGE_FULL) {
            stage_is(j, ATN_STAGE_FULL);
            s = accuracy_full(&c, candidate->so_fd, v, err);
            v->correct = s == ATN_OK && v->reason == ATN_REASON_OK;
        }
        v->seconds_check = clock_s() - start;
    }
    if (s == ATN_OK && v->correct && upto >= ATN_STAGE_SCREEN && j->o.timing && j->o.timing->count)
        s = timed_stages(j, candidate, incumbent, upto, v, err);
    /* Whoever is wrong while timed, or impossibly fast, was never right. */
    if (v->reason != ATN_REASON_OK && v->reason != ATN_REASON_SLOWER && v->reason != ATN_REASON_NOT_BETTER)
        v->correct = false;
    if (s == ATN_OK && v->promoted && upto >= ATN_STAGE_CONFIRM) s = confirm_win(j, candidate, incumbent, v, err);
    verdict_end(j, v);
    return call_end(s, err);
}

atn_status judge_compare(atn_judge *j, const build_result *candidate, const build_result *incumbent, int pairs,
                         bool confirm, atn_verdict *v, atn_error *err)
{
    atn_stage stage = confirm ? ATN_STAGE_CONFIRM : ATN_STAGE_RACE;
    int lock = -1;
    atn_status s = ATN_OK;
    call_start(j, v, candidate);
    if (v->reason == ATN_REASON_OK && confirm) {
        double start = clock_s();
        check_context c = context(j, false);
        s = accuracy_heldout(&c, candidate->so_fd, v, err);
        v->seconds_check = clock_s() - start;
    }
    v->correct = s == ATN_OK && v->reason == ATN_REASON_OK;
    if (v->correct && (s = timing_lock(&lock, err)) == ATN_OK) {
        double start = clock_s();
        const atn_verdict before = *v;
        s = measure(j, stage, candidate->so_fd, incumbent->so_fd, pairs, v, err);
        if (s == ATN_PROCESS && !link_given_up()) { /* as in timed_stages */
            *v = before;
            j->incumbent.reason = ATN_REASON_OK;
            s = measure(j, stage, candidate->so_fd, incumbent->so_fd, pairs, v, err);
        }
        v->seconds_race = clock_s() - start;
        close(lock);
        v->correct = v->reason == ATN_REASON_OK;
    }
    if (s == ATN_OK && v->correct) {
        v->promoted = v->suite_low > j->o.rules.delta && !inferior_case(v);
        if (confirm && !(v->suite_low > 0)) {
            char speed[200];
            say_speed(j, v, speed, sizeof speed);
            v->reason = ATN_REASON_UNCONFIRMED;
            snprintf(v->evidence, sizeof v->evidence, "second race: %s", speed);
        }
    }
    verdict_end(j, v);
    return call_end(s, err);
}

/* ---- evidence ---------------------------------------------------------------------------------------------------- */

/* One timed case, the middle one of the screening cases, run alone under counters. Never an error of the candidate: it
 * was judged. */
static atn_status count_events(atn_judge *j, const build_result *candidate, evidence_counters *out, atn_error *err)
{
    char why[200];
    atn_verdict v = {0};
    field f = {0};
    int lock = -1, screen[ATN_CASES_MAX], n = judge_screen_cases(j, screen);
    if (!counters_probe(why, sizeof why) || n == 0) {
        snprintf(out->text, sizeof out->text, "%s", n ? why : "no timed case");
        return ATN_OK;
    }
    f.n = 1;
    f.which[0] = screen[n / 2];
    atn_status s = timing_lock(&lock, err);
    if (s == ATN_OK) s = field_open(&f, j, ATN_STAGE_RACE, candidate->so_fd, -1, &v, err);
    if (s == ATN_OK && f.t) s = timing_pairs(f.t, 0, 1, 1, &v, err); /* warm, and calls per slice known */
    counter_group *g = s == ATN_OK && f.t && v.reason == ATN_REASON_OK ? counters_open(timing_pid(f.t), out) : NULL;
    if (g) {
        int before = timing_get(f.t, 0)->n;
        counters_start(g);
        s = timing_pairs(f.t, 0, before + 4, 10, &v, err);
        counters_stop(g, ATN_MAX(1, (timing_get(f.t, 0)->n - before) * timing_get(f.t, 0)->calls), out);
        problem_print(&j->problems[f.which[0]], out->name, sizeof out->name);
    } else if (!out->text[0]) {
        snprintf(out->text, sizeof out->text, "not here: the program did not run again");
    }
    counters_close(g);
    timing_close(f.t);
    if (lock >= 0) close(lock);
    return s;
}

atn_status judge_evidence(atn_judge *j, const build_result *candidate, const atn_verdict *v, atn_evidence *out,
                          atn_error *err)
{
    memset(out, 0, sizeof *out);
    memcpy(out->object_hash, candidate->object_hash, sizeof out->object_hash);
    evidence_of_object(candidate->so_fd, &out->code);
    out->loops = candidate->loops;
    for (int i = 0; i < v->n_cases; i++) {
        const atn_case_result *r = &v->cases[i];
        evidence_case *c = &out->cases[out->n_cases++];
        c->case_index = r->case_index;
        evidence_roofline(&j->problems[r->case_index], &j->peaks, j->o.threads, r->ns_min, c);
    }
    return call_end(count_events(j, candidate, &out->counters, err), err);
}

/* ---- controls ---------------------------------------------------------------------------------------------------- */

atn_status judge_controls(atn_judge *j, const build_result *program, int races, atn_controls *out, atn_error *err)
{
    memset(out, 0, sizeof *out);
    control_series same = {0}, plus = {0};
    check_context c = context(j, true), d = context(j, true);
    int length = 0, lock = -1, fd = program->so_fd;
    atn_status s = timing_lock(&lock, err);
    if (s == ATN_OK) s = control_length(&c, &j->peaks, fd, CONTROL_CALLS, CONTROL_NS, &length, err);
    if (s == ATN_OK)
        s = control_many(&c, &j->peaks, &j->o.rules, fd, length, CONTROL_CALLS, CONTROL_CALLS, races, 1e9, &same, err);
    if (s == ATN_OK)
        s = control_many(&d, &j->peaks, &j->o.rules, fd, length, CONTROL_CALLS, CONTROL_CALLS + 1, races, 1e9, &plus,
                         err);
    if (lock >= 0) close(lock);
    *out = (atn_controls){.aa_races = same.races,
                          .aa_promoted = same.promoted,
                          .plus_races = plus.races,
                          .plus_promoted = plus.promoted,
                          .aa_spread = same.spread,
                          .can_see_percent = same.can_see_percent};
    control_series_free(&same);
    control_series_free(&plus);
    return call_end(s, err);
}
