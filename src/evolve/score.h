/* Scores: what a verdict is worth, as ln speedup over the initial program.
 *
 * Candidates race against the incumbent of their moment, so a speedup over the initial program is a chain: what the
 * incumbent had, plus the log-ratio measured against it, case by case. A program that was only screened has a score
 * estimated from the screening cases. A failed program has none. A pure function of verdicts: no clock, no state. */
#ifndef ATN_EVOLVE_SCORE_H
#define ATN_EVOLVE_SCORE_H

#include <stdbool.h>

#include "judge/verdict.h"
#include "problem/suite.h"

/* What kind of case each timing case is; decides the axes of the archive and the classes of the portfolio. */
typedef struct {
    int n;
    bool decode[ATN_CASES_MAX];  /* few query rows against a long cache */
    bool is_long[ATN_CASES_MAX]; /* more keys than the suite's middle; decode cases are neither short nor long */
    bool has_decode, has_prefill, has_short, has_long;
} suite_kinds;

void suite_kinds_of(const atn_suite *s, suite_kinds *out);
/* "long causal d128 f32 gqa2 t1": the class of a case. */
void suite_class_of(const atn_suite *s, const suite_kinds *k, int case_index, int threads, char *out, size_t room);

typedef struct {
    bool valid;                /* false: failed, everything else is NAN or 0 */
    bool screened;             /* estimated from the screening cases */
    double score, low, high;   /* mean over the suite and its bounds */
    double log[ATN_CASES_MAX]; /* per case; of unmeasured cases the incumbent's plus the mean of the measured */
    double log_low[ATN_CASES_MAX], log_high[ATN_CASES_MAX];
    bool measured[ATN_CASES_MAX];
    double profile, decode; /* axes; NAN where the suite has no such cases */
} evolve_score;

/* incumbent NULL: the initial program itself, 0 in every case. */
void score_make(const suite_kinds *k, const atn_verdict *v, const evolve_score *incumbent, evolve_score *out);

/* The archive cell of a score and a workspace: "p-2 w17 d+1". */
void score_cell(const evolve_score *s, int64_t workspace_bytes, char *out, size_t room);

/* Pairs of the confirmation of a race that was won. */
int score_confirm_pairs(const atn_verdict *race);

#endif
