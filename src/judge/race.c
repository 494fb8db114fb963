/* The statistics of the paired race: order-statistic bounds, sequential looks, the suite's mean. Pure functions.
 *
 * Timing noise here is one-sided, bimodal and autocorrelated, so nothing assumes a distribution: bounds of a median
 * come from the sign test, and are exact whatever the noise, as long as pairs are exchangeable. Where neighbours
 * resemble each other, n is replaced by an effective number of pairs; a race that is decided only thanks to
 * autocorrelation is not. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/status.h"
#include "judge/race.h"

enum { BOOTSTRAP_ROUNDS = 2000, CASES_MAX = 256, GUIDE = 64 };

race_rules race_defaults(void)
{
    return (
        race_rules){.alpha = 0.01, .alpha_win = 0.001, .delta = 0.003, .pairs_min = 64, .pairs_max = RACE_PAIRS_MAX};
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double *sorted_copy(const double *d, int n)
{
    double *x = atn_alloc((size_t)n * sizeof *x);
    memcpy(x, d, (size_t)n * sizeof *x);
    qsort(x, (size_t)n, sizeof *x, compare_doubles);
    return x;
}

static double median_of_sorted(const double *x, int n)
{
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

/* Largest k >= 0 with P(Binomial(n, 1/2) <= k - 1) <= alpha: the k-th smallest value is a lower bound of the median.
 * 0: none exists. */
static int sign_rank(int n, double alpha)
{
    double term = ldexp(1.0, -n), tail = 0;
    int k = 0;
    while (k < n && tail + term <= alpha) {
        tail += term;
        k++;
        term *= (double)(n - k + 1) / k;
    }
    return k;
}

int race_order(int i)
{
    return __builtin_parity((unsigned)i);
}

void race_balance(const double *d, int n, double *out)
{
    ATN_ASSERT(n <= RACE_PAIRS_MAX);
    double half[2][RACE_PAIRS_MAX / 2 + 2], effect = 0;
    int count[2] = {0, 0};
    for (int i = 0; i < n; i++) half[race_order(i)][count[race_order(i)]++] = d[i];
    if (n >= 8) {
        for (int side = 0; side < 2; side++) qsort(half[side], (size_t)count[side], sizeof half[0][0], compare_doubles);
        effect = 0.5 * (median_of_sorted(half[0], count[0]) - median_of_sorted(half[1], count[1]));
    }
    for (int i = 0; i < n; i++) out[i] = race_order(i) ? d[i] + effect : d[i] - effect;
}

/* With fewer pairs than alpha needs (7 at 0.01) the extremes are all there is: one-sided confidence 1 - 2^-n. */
void race_bounds(const double *d, int n, double alpha, double *median, double *low, double *high)
{
    ATN_ASSERT(n >= 1 && n <= RACE_PAIRS_MAX);
    double *x = sorted_copy(d, n);
    int k = ATN_MAX(sign_rank(n, alpha), 1);
    *median = median_of_sorted(x, n);
    *low = x[k - 1];
    *high = x[n - k];
    free(x);
}

/* How many independent pairs n autocorrelated ones are worth: n / (1 + 2 x the sum of the autocorrelations of the signs
 * around the median, which heavy tails do not move), up to the first lag at which there is none that chance would not
 * show. Neighbours resemble each other for as long as a pair of processes lives, since where its pages lie is worth up to
 * 1.5 %: on a quiet machine that is most of the spread, and all pairs between two restarts are worth about one (lag 1
 * alone, as it was, promoted 16 of 875 A/A races on a 16-core Xeon). */
static double effective_pairs(const double *d, int n, double median)
{
    if (n < 8) return n;
    signed char sign[RACE_PAIRS_MAX];
    double sum = 0, noise = 1.0 / sqrt((double)n);
    for (int i = 0; i < n; i++) sign[i] = (signed char)((d[i] > median) - (d[i] < median));
    for (int lag = 1; lag <= n / 4; lag++) {
        int same = 0;
        for (int i = lag; i < n; i++) same += sign[i] * sign[i - lag];
        double rho = (double)same / (n - lag);
        if (rho < noise) break;
        sum += rho;
    }
    return ATN_MAX(n / (1 + 2 * sum), 1.0);
}

static bool is_look(int n)
{
    return n >= 8 && (n & (n - 1)) == 0;
}

race_decision race_look(const race_rules *r, const double *d, int n)
{
    if (!is_look(n) && n < r->pairs_max) return RACE_GO_ON;
    double *x = sorted_copy(d, n), median = median_of_sorted(x, n);
    int m = (int)effective_pairs(d, n, median);
    /* The rank that m pairs would have, carried over to n: the same quantiles, a wider interval. */
    int up = sign_rank(m, r->alpha_win) * n / m, down = sign_rank(m, r->alpha) * n / m;
    double low = up >= 1 ? x[up - 1] : -INFINITY, high = down >= 1 ? x[n - down] : INFINITY;
    free(x);
    if (high < r->delta) return RACE_DROP;
    if (n >= r->pairs_min && low > r->delta) return RACE_PROMOTE;
    return n >= r->pairs_max ? RACE_TIE : RACE_GO_ON;
}

/* ---- the suite: mean over cases of medians ---- */

/* The bootstrap of a median without resampling: the median of m draws (m odd) from n sorted values is the value at
 * index <= j when at least (m+1)/2 of the draws fall there; cdf[j] is that binomial tail. */
static void median_index_cdf(int n, int m, double *cdf)
{
    int half = (m + 1) / 2;
    double log_choose = lgamma(m + 1.0) - lgamma(half + 1.0) - lgamma(m - half + 1.0);
    for (int j = 0; j < n - 1; j++) {
        if (j > n - 2 - j) { /* m is odd: as many ways for the upper half as for the lower */
            cdf[j] = 1 - cdf[n - 2 - j];
            continue;
        }
        /* From the middle of m on each term is smaller than the one before. */
        double p = (double)(j + 1) / n, odds = p / (1 - p), sum = 0;
        double term = exp(log_choose + half * log(p) + (m - half) * log1p(-p));
        for (int i = half; i <= m && term > 1e-18 * sum; i++) {
            sum += term;
            term *= odds * (m - i) / (i + 1);
        }
        cdf[j] = sum;
    }
    cdf[n - 1] = 1;
}

/* First index whose cdf reaches u. guide[k] is that of k / GUIDE, so that few steps are left. */
static int draw_index(const double *cdf, const short *guide, double u)
{
    int i = guide[(int)(u * GUIDE)];
    while (cdf[i] < u) i++;
    return i;
}

/* Robust spread of the residuals of all cases: stands in for cases too short to show a spread of their own. */
static double pooled_spread(const double *const *d, const int *n, const double *median, int cases)
{
    int total = 0, at = 0;
    for (int c = 0; c < cases; c++) total += n[c];
    double *r = atn_alloc((size_t)ATN_MAX(total, 1) * sizeof *r);
    for (int c = 0; c < cases; c++)
        for (int i = 0; i < n[c] && n[c] > 1; i++) r[at++] = fabs(d[c][i] - median[c]);
    qsort(r, (size_t)at, sizeof *r, compare_doubles);
    double s = at ? 1.4826 * r[at / 2] : 0.02; /* one pair per case everywhere: this machine's usual 2 % */
    free(r);
    return s;
}

typedef struct {
    double *sorted, *cdf;
    short guide[GUIDE];
    double median;
    int n;
} case_sample;

static void sample_weigh(case_sample *s, int m)
{
    s->cdf = atn_alloc((size_t)s->n * sizeof(double));
    median_index_cdf(s->n, m, s->cdf);
    for (int k = 0, i = 0; k < GUIDE; k++) {
        while (s->cdf[i] < (double)k / GUIDE) i++;
        s->guide[k] = (short)i;
    }
}

void race_suite(const double *const *d, const int *n, int cases, double alpha, unsigned long long seed, double *mean,
                double *low, double *high)
{
    ATN_ASSERT(cases >= 1 && cases <= CASES_MAX);
    enum { FEW = 5 };
    case_sample s[CASES_MAX];
    double medians[CASES_MAX], sum = 0;
    for (int c = 0; c < cases; c++) {
        ATN_ASSERT(n[c] >= 1 && n[c] <= RACE_PAIRS_MAX);
        s[c] = (case_sample){.sorted = sorted_copy(d[c], n[c]), .n = n[c]};
        s[c].median = medians[c] = median_of_sorted(s[c].sorted, n[c]);
        sum += s[c].median;
        if (n[c] < FEW) continue;
        int m = (int)effective_pairs(d[c], n[c], s[c].median);
        m -= m % 2 == 0;
        sample_weigh(&s[c], m);
    }
    double spread = pooled_spread(d, n, medians, cases);
    double *means = atn_alloc(BOOTSTRAP_ROUNDS * sizeof *means);
    atn_rng r = rng_make(seed, 0x5175, (uint64_t)cases);
    for (int b = 0; b < BOOTSTRAP_ROUNDS; b++) {
        double t = 0;
        for (int c = 0; c < cases; c++) {
            if (s[c].cdf) t += s[c].sorted[draw_index(s[c].cdf, s[c].guide, rng_f64(&r))];
            else t += s[c].median + 1.2533 * spread / sqrt(s[c].n) * rng_normal(&r);
        }
        means[b] = t / cases;
    }
    qsort(means, BOOTSTRAP_ROUNDS, sizeof *means, compare_doubles);
    int k = (int)(alpha * BOOTSTRAP_ROUNDS);
    *mean = sum / cases;
    *low = ATN_MIN(means[k], *mean);
    *high = ATN_MAX(means[BOOTSTRAP_ROUNDS - 1 - k], *mean);
    free(means);
    for (int c = 0; c < cases; c++) {
        free(s[c].sorted);
        free(s[c].cdf);
    }
}

void race_pairs_free(race_pairs *p)
{
    if (!p) return;
    for (int i = 0; i < p->n; i++) free(p->cases[i].d);
    free(p->cases);
    free(p);
}
