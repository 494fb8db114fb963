/* Races with a known outcome, and what they say about this machine now. */
#include "judge/control.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"

/* A small problem that the program must cover: plain f32, or of the first timed case's kind in a run for special cases. */
static timing_case control_case(const check_context *c, int length, int calls, int calls_incumbent)
{
    atn_problem p = problem_default();
    p.Sq = p.Skv = length;
    p.D = p.Dv = 64;
    if (accuracy_special(c->scope)) {
        const atn_problem *timed = &c->scope->cases[0].problem;
        p = *timed;
        p.B = p.Hkv = 1, p.Hq = timed->Hq / timed->Hkv;
        p.Sq = ATN_MIN(timed->Sq, length), p.Skv = length;
        p.cache_rows = 0;
    }
    return (timing_case){.problem = p, .calls = {calls, calls_incumbent}};
}

static atn_status candidate_failed(const atn_verdict *v, atn_error *err)
{
    return atn_fail(err, ATN_PROCESS, "the control program fails: %s: %.800s", reason_word(v->reason), v->evidence);
}

atn_status control_length(const check_context *c, const atn_peaks *peaks, int so_fd, int calls, double ns, int *length,
                          atn_error *err)
{
    *length = 48;
    for (int round = 0; round < 2; round++) {
        atn_verdict v = {0};
        atn_timing *t = NULL;
        timing_case one = control_case(c, *length, calls, calls);
        atn_status s = timing_open(c, ATN_STAGE_RACE, peaks, &one, 1, so_fd, -1, &t, &v, err);
        if (s == ATN_OK && t) s = timing_pairs(t, 0, 4, 0.2, &v, err);
        double got = t ? timing_get(t, 0)->ns_min : 0;
        timing_close(t);
        if (s != ATN_OK) return s;
        if (v.reason != ATN_REASON_OK) return candidate_failed(&v, err);
        *length = (int)ATN_MAX(8, ATN_MIN(256, *length * sqrt(ns / calls / got)));
    }
    return ATN_OK;
}

atn_status control_run(const check_context *c, const atn_peaks *peaks, const race_rules *rules, int so_fd, int length,
                       int calls, int calls_incumbent, control_race *out, atn_error *err)
{
    atn_verdict v = {0};
    atn_timing *t = NULL;
    timing_case one = control_case(c, length, calls, calls_incumbent);
    double start = clock_s();
    *out = (control_race){.decision = RACE_GO_ON};
    atn_status s = timing_open(c, ATN_STAGE_RACE, peaks, &one, 1, so_fd, so_fd, &t, &v, err);
    out->setup_seconds = clock_s() - start;
    start = clock_s();
    for (int n = 8; s == ATN_OK && t && v.reason == ATN_REASON_OK && out->decision == RACE_GO_ON; n += 8) {
        s = timing_pairs(t, 0, ATN_MIN(n, rules->pairs_max), 60, &v, err);
        if (s == ATN_OK && v.reason == ATN_REASON_OK && n < rules->pairs_max) s = timing_restart(t, &v, err);
        if (s != ATN_OK || v.reason != ATN_REASON_OK) break;
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

static double median_of(const double *x, int n)
{
    if (n == 0) return NAN;
    double *copy = atn_alloc((size_t)n * sizeof *copy);
    memcpy(copy, x, (size_t)n * sizeof *copy);
    qsort(copy, (size_t)n, sizeof *copy, compare_doubles);
    double m = n % 2 ? copy[n / 2] : 0.5 * (copy[n / 2 - 1] + copy[n / 2]);
    free(copy);
    return m;
}

static void summarise(control_series *s, const race_rules *rules)
{
    size_t bytes = sizeof(double) * (size_t)ATN_MAX(s->races, 1);
    double *seconds = atn_alloc(bytes), *pairs = atn_alloc(bytes), *setup = atn_alloc(bytes), *logs = atn_alloc(bytes);
    double *early = atn_alloc(bytes), *half = atn_alloc(bytes), low, high;
    int decided = 0;
    for (int i = 0; i < s->races; i++) {
        const control_race *r = &s->each[i];
        s->promoted += r->decision == RACE_PROMOTE;
        s->dropped += r->decision == RACE_DROP;
        s->tied += r->decision == RACE_TIE;
        if (r->decision != RACE_TIE) seconds[decided++] = r->seconds;
        pairs[i] = r->pairs;
        setup[i] = r->setup_seconds;
        logs[i] = r->median;
        race_bounds(r->d, ATN_MIN(64, r->pairs), rules->alpha, &early[i], &low, &high);
        half[i] = 0.5 * (r->high - r->low) * sqrt((double)r->pairs / rules->pairs_max);
    }
    s->median_seconds = median_of(seconds, decided);
    s->median_pairs = median_of(pairs, s->races);
    s->median_setup_seconds = median_of(setup, s->races);
    s->median_log = median_of(logs, s->races);
    double centre = median_of(early, s->races);
    for (int i = 0; i < s->races; i++) early[i] = fabs(early[i] - centre);
    s->spread = 1.4826 * median_of(early, s->races);
    s->can_see_percent = 100 * expm1(rules->delta + 2 * median_of(half, s->races));
    free(seconds);
    free(pairs);
    free(setup);
    free(logs);
    free(early);
    free(half);
}

atn_status control_many(const check_context *c, const atn_peaks *peaks, const race_rules *rules, int so_fd, int length,
                        int calls, int calls_incumbent, int races, double seconds, control_series *out, atn_error *err)
{
    double start = clock_s();
    atn_status s = ATN_OK;
    *out = (control_series){.each = atn_alloc(sizeof(control_race) * (size_t)ATN_MAX(races, 1))};
    while (out->races < races && s == ATN_OK && (out->races == 0 || clock_s() - start < seconds)) {
        check_context fresh = *c;
        fresh.seed = rng_mix(c->seed + (uint64_t)out->races);
        s = control_run(&fresh, peaks, rules, so_fd, length, calls, calls_incumbent, &out->each[out->races], err);
        out->races += s == ATN_OK;
    }
    summarise(out, rules);
    return s;
}

void control_series_free(control_series *s)
{
    free(s->each);
    s->each = NULL;
}
