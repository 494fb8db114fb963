/* Races with a known outcome, and what they say about this machine now. */
#include "judge/control.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static timing_case control_case(int length, int heads, int heads_incumbent)
{
    atn_problem p = problem_default();
    p.Sq = p.Skv = length;
    p.D = p.Dv = 64;
    p.Hq = p.Hkv = heads;
    timing_case t = {.problem = p, .incumbent = p, .own_inputs = heads != heads_incumbent};
    t.incumbent.Hq = t.incumbent.Hkv = heads_incumbent;
    return t;
}

static atn_status candidate_failed(const atn_verdict *v, atn_error *err)
{
    return atn_fail(err, ATN_PROCESS, "the control program fails: %s: %.800s", reason_word(v->reason), v->evidence);
}

atn_status control_length(const check_context *c, const atn_peaks *peaks, int so_fd, int heads, double ns, int *length, atn_error *err)
{
    *length = 64;
    for (int round = 0; round < 2; round++) {
        atn_verdict v = {0};
        atn_timing *t = NULL;
        timing_case one = control_case(*length, heads, heads);
        atn_status s = timing_open(c, ATN_STAGE_RACE, peaks, &one, 1, so_fd, -1, &t, &v, err);
        if (s == ATN_OK && t)
            s = timing_pairs(t, 0, 4, 0.2, &v, err);
        double got = t ? timing_get(t, 0)->ns_min : 0;
        timing_close(t);
        if (s != ATN_OK)
            return s;
        if (v.reason != ATN_REASON_OK)
            return candidate_failed(&v, err);
        *length = (int)ATN_MAX(8, ATN_MIN(256, *length * sqrt(ns / got)));
    }
    return ATN_OK;
}

atn_status control_run(const check_context *c, const atn_peaks *peaks, const race_rules *rules, int so_fd, int length, int heads,
                       int heads_incumbent, control_race *out, atn_error *err)
{
    atn_verdict v = {0};
    atn_timing *t = NULL;
    timing_case one = control_case(length, heads, heads_incumbent);
    double start = clock_s();
    *out = (control_race){.decision = RACE_GO_ON};
    atn_status s = timing_open(c, ATN_STAGE_RACE, peaks, &one, 1, so_fd, so_fd, &t, &v, err);
    out->setup_seconds = clock_s() - start;
    start = clock_s();
    for (int n = 8; s == ATN_OK && t && v.reason == ATN_REASON_OK && out->decision == RACE_GO_ON; n *= 2) {
        s = timing_pairs(t, 0, ATN_MIN(n, rules->pairs_max), 60, &v, err);
        if (s != ATN_OK || v.reason != ATN_REASON_OK)
            break;
        const timing_samples *x = timing_get(t, 0);
        out->pairs = x->n;
        memcpy(out->d, x->d, sizeof out->d);
        race_bounds(x->d, x->n, rules->alpha, &out->median, &out->low, &out->high);
        out->decision = race_look(rules, x->d, x->n);
    }
    out->seconds = clock_s() - start;
    timing_close(t);
    return s == ATN_OK && v.reason != ATN_REASON_OK ? candidate_failed(&v, err) : s;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, compare_doubles);
    return n ? x[n / 2] : NAN;
}

double control_can_see(const control_race *races, int n, const race_rules *rules)
{
    double *half = atn_alloc(sizeof *half * (size_t)ATN_MAX(n, 1));
    for (int i = 0; i < n; i++)
        half[i] = 0.5 * (races[i].high - races[i].low) * sqrt((double)races[i].pairs / rules->pairs_max);
    double percent = 100 * expm1(rules->delta + 2 * median_of(half, n));
    free(half);
    return percent;
}

double control_spread(const control_race *races, int n, int pairs)
{
    double *m = atn_alloc(sizeof *m * (size_t)ATN_MAX(n, 1)), low, high;
    for (int i = 0; i < n; i++) {
        race_bounds(races[i].d, ATN_MIN(pairs, races[i].pairs), 0.01, &m[i], &low, &high);
        m[i] = fabs(m[i]);
    }
    double spread = 1.4826 * median_of(m, n);
    free(m);
    return spread;
}
