/* Controls: races whose right outcome is known. A kernel against its own copy must not be promoted; a kernel against
 * itself with more work of the same kind must be seen to be faster by just that much.
 *
 * The handicap is calls: a slice of the incumbent is 34 calls where the candidate's is 33 (3.03 % more work), in the
 * same code on the same inputs in the same memory. Nothing spins and nothing is scaled afterwards. (34 heads against
 * 33 looks as honest and is not: two sets of inputs differ in where they lie, by more than what is to be seen.) */
#ifndef ATN_JUDGE_CONTROL_H
#define ATN_JUDGE_CONTROL_H

#include "judge/timing.h"

typedef struct {
    race_decision decision;
    int pairs;
    double seconds; /* of racing: process start excluded */
    double setup_seconds;
    double median, low, high; /* at the last look */
    double d[RACE_PAIRS_MAX];
} control_race;

/* Picks the sequence length at which `calls` calls, a slice, take about `ns`. */
atn_status control_length(const check_context *c, const atn_peaks *peaks, int so_fd, int calls, double ns, int *length,
                          atn_error *err);

/* One race in fresh processes on fresh inputs: `calls` in a slice of the candidate, `calls_incumbent` in one of the
 * incumbent. */
atn_status control_run(const check_context *c, const atn_peaks *peaks, const race_rules *rules, int so_fd, int length,
                       int calls, int calls_incumbent, control_race *out, atn_error *err);

typedef struct {
    int races, promoted, dropped, tied;
    double median_seconds; /* of the races that were decided (promoted or dropped), process start excluded */
    double median_pairs, median_setup_seconds;
    double median_log;      /* median over races of the measured log-ratio: what handicap was seen */
    double spread;          /* robust spread of the medians of the first 64 pairs */
    double can_see_percent; /* smallest gain that pairs_max pairs still promote 19 times in 20: delta + twice half the
                                   width of the bounds, as they were in these races */
    control_race *each;     /* races of them; control_series_free */
} control_series;

/* Up to `races` races, fewer where `seconds` pass before. The caller holds the timing lock. */
atn_status control_many(const check_context *c, const atn_peaks *peaks, const race_rules *rules, int so_fd, int length,
                        int calls, int calls_incumbent, int races, double seconds, control_series *out, atn_error *err);
void control_series_free(control_series *s);

#endif
