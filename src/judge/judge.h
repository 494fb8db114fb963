/* The judge: one candidate through the cascade. Used by the tests, `attune eval` and the evolution alike.
 *
 * Holds the timing suite, the tolerances, the secret seeds and the machine's timing lock while it times. One judge per
 * process; not thread safe. It never loads a candidate into this process. */
#ifndef ATN_JUDGE_JUDGE_H
#define ATN_JUDGE_JUDGE_H

#include "base/cpu.h"
#include "judge/build.h"
#include "judge/race.h"
#include "judge/verdict.h"
#include "problem/suite.h"

typedef struct {
    const atn_suite *timing; /* speed cases; borrowed for the judge's life */
    int threads;             /* default 1 */
    double tolerance;        /* factor on tolerances; default 1 */
    double case_seconds_max; /* cap for one case of one race; default 0.5 */
    race_rules rules;
    uint64_t seed;       /* 0: secret; else inputs repeat (debugging only) */
    bool full_size;      /* false: timing cases are cut to one kv group (B = 1, Hkv = 1) so that races are quick */
    bool unsafe;         /* allow running without isolation */
    const char *program; /* name used in reproduce lines */
} judge_options;

typedef struct atn_judge atn_judge;

judge_options judge_defaults(void);
atn_status judge_create(const judge_options *o, atn_judge **out, atn_error *err);
void judge_free(atn_judge *j);
const atn_peaks *judge_peaks(const atn_judge *j); /* the machine's limits, measured when the judge was created */
/* The problem that is really timed for a timing case (cut to one kv group unless full_size). */
const atn_problem *judge_case_problem(const atn_judge *j, int case_index);
/* Cases used for screening: the shortest, the longest and some between. */
int judge_screen_cases(const atn_judge *j, int out[ATN_CASES_MAX]);

/* Takes a built candidate through QUICK .. upto. `incumbent` is needed from SCREEN on (NULL: stops after FULL, then
 * times the candidate alone and fills ns_min for all cases with log_ratio 0). ATN_OK whatever the verdict; status
 * only when the world fails. */
atn_status judge_candidate(atn_judge *j, const build_result *candidate, const build_result *incumbent, atn_stage upto,
                           atn_verdict *v, atn_error *err);

/* How far the judge_candidate of now has come; any thread may ask. For people only. */
atn_stage judge_stage(const atn_judge *j);

/* Races two correct programs on the whole suite to the given number of pairs per case (fresh processes, fresh
 * seeds): for final tables and for CONFIRM. Held-out sizes are checked for correctness first when `confirm`. */
atn_status judge_compare(atn_judge *j, const build_result *candidate, const build_result *incumbent, int pairs,
                         bool confirm, atn_verdict *v, atn_error *err);

/* Any thread: the call in progress, if there is one, and all that follow end with ATN_CANCELLED, within about a second and
 * with their workers gone; off: calls are answered again. */
void judge_cancel(bool on);

/* Why the last of these calls ended with ATN_PROCESS, where the incumbent failed in two races on end, in new processes
 * each: its verdict. NULL: it did not. Valid until the next call. */
const atn_verdict *judge_incumbent_failure(const atn_judge *j);

/* Every pair of the last timed stage of the last call of judge_candidate or judge_compare; NULL: nothing was raced. The
 * caller takes it (race_pairs_free); a second call gives NULL. */
race_pairs *judge_take_pairs(atn_judge *j);

/* Everything that explains the speed of a right program: object code, the compiler's words, the verdict's timed cases
 * against the machine's limits, and hardware counters of one case (in a run of its own; 10 to 60 ms). */
atn_status judge_evidence(atn_judge *j, const build_result *candidate, const atn_verdict *v, atn_evidence *out,
                          atn_error *err);

/* Controls: A against A (its own copy) and A against A slowed by a known factor, `races` each; fills promoted
 * counts. */
typedef struct {
    int aa_races, aa_promoted, plus_races, plus_promoted;
    double aa_spread;       /* robust spread of A/A log-ratios at 64 pairs */
    double can_see_percent; /* smallest gain this machine resolves now in pairs_max pairs */
} atn_controls;
atn_status judge_controls(atn_judge *j, const build_result *program, int races, atn_controls *out, atn_error *err);

/* The seed's metrics from a verdict and the comparison with the reference program. */
typedef struct {
    double accuracy_score, performance_score, memory_efficiency, stability_score, success_rate, combined_score;
} seed_metrics;
void judge_seed_metrics(const atn_judge *j, const atn_verdict *v, seed_metrics *out);

#endif
