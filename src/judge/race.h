/* The paired, interleaved race as pure statistics: log-ratios in, decision out. No clocks, no processes: testable by
 * simulation.
 *
 * d_i = ln(t_incumbent / t_candidate) of pair i. Looks at 8, 16, 32, 64, 128, 256, 512 pairs; bounds from order
 * statistics (sign test) with a stated error per look. Drop when the upper bound < delta; promote when n >= 64 and
 * the lower bound > delta; tie at the last look. In simulation (tests/judge/t_race.c) A against A is promoted in at most
 * 5 of 1,000 races and +3 % is found in >= 95 of 100. On a 16-core Xeon with eight races at once, a trace of 1,000 races
 * each, which pairs_min was chosen on: A against A 0.3 %, +2 % found in 89 %, +3 % in 98 %. */
#ifndef ATN_JUDGE_RACE_H
#define ATN_JUDGE_RACE_H

#include <stdbool.h>

enum { RACE_PAIRS_MAX = 512 };
typedef enum { RACE_GO_ON, RACE_PROMOTE, RACE_DROP, RACE_TIE } race_decision;

typedef struct {
    double alpha;     /* per look, of dropping wrongly; and of the bounds that are reported; default 0.01 */
    double alpha_win; /* per look, of promoting wrongly: there are five looks, and 5 in 1,000 to spend; default 0.001 */
    double delta;     /* smallest win worth having, as a log-ratio; default 0.003 */
    int pairs_min;    /* before a promotion; default 64: at 32 pairs, four pairs of processes, most false wins happened */
    int pairs_max;    /* default 512 */
} race_rules;

race_rules race_defaults(void);
/* Who runs first in pair i: 0 the candidate, 1 the incumbent. The Thue-Morse sequence: every 2, 4, 8 ... pairs are balanced,
 * against drift, against drift of drift, and against what comes round every few pairs. */
int race_order(int i);
/* Takes the effect of order out of log-ratios of such pairs: who runs second finds other caches, by up to 4 %. out[i] =
 * d[i] -+ half the difference of the two orders' medians. Fewer than 8 pairs are copied as they are. */
void race_balance(const double *d, int n, double *out);
/* Median and order-statistic bounds of n log-ratios. Sorts a copy. n >= 1. */
void race_bounds(const double *d, int n, double alpha, double *median, double *low, double *high);
/* Looks only at n = 8, 16, 32, ...; RACE_GO_ON in between. */
race_decision race_look(const race_rules *r, const double *d, int n);

/* Mean over cases of their medians with one-sided bounds: d[c] has n[c] paired log-ratios; bootstrap over pairs,
 * seeded. */
void race_suite(const double *const *d, const int *n, int cases, double alpha, unsigned long long seed, double *mean,
                double *low, double *high);

/* Every pair of one campaign, case by case: what medians and bounds were made of. */
typedef struct {
    int case_index, n;
    double effect; /* of order, which race_balance took out: as measured, pair i was d[i] + effect where race_order(i) is 0 */
    float *d;
} race_case;
typedef struct {
    const char *kind; /* "screen", "race", "confirm": a word that lives as long as the program */
    int n;
    race_case *cases;
} race_pairs;
void race_pairs_free(race_pairs *p); /* NULL is fine */

#endif
