/* The statistics of the race, by simulation: synthetic noise shaped like a shared virtual machine's (one-sided,
 * bimodal, autocorrelated, with preemptions), and a recorded trace of a kernel against its own copy when
 * tests/judge/noise.txt is there. Each error rate that race.h states is counted here, with fixed seeds. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/status.h"
#include "judge/race.h"
#include "../skip.h"

/* One timed call: a neighbour comes and goes (1.4 x), jitter of a few percent, now and then a preemption. The chain's
 * memory is what was measured: 0.63 from one call to the next. */
typedef struct {
    atn_rng rng;
    bool slow;
} machine;

static double call_time(machine *m, double base)
{
    if (rng_f64(&m->rng) < 0.18) m->slow = !m->slow;
    double t = base * (m->slow ? 1.4 : 1.0) * exp(0.02 * fabs(rng_normal(&m->rng)) + 0.01 * rng_normal(&m->rng));
    return rng_f64(&m->rng) < 0.02 ? t * (1 + 10 * rng_f64(&m->rng)) : t;
}

/* `length` short calls in a row: a long call averages over the neighbour's comings and goings. */
static double long_call(machine *m, double base, int length)
{
    double t = 0;
    for (int i = 0; i < length; i++) t += call_time(m, base) / length;
    return t;
}

static const double SECOND = 1.03; /* who runs second pays that: measured up to 4 % */

static void make_pairs(machine *m, double gain, int length, double *d, int n)
{
    for (int i = 0; i < n; i++) {
        double first = long_call(m, race_order(i) ? 1 : 1 + gain, length);
        double second = SECOND * long_call(m, race_order(i) ? 1 + gain : 1, length);
        d[i] = race_order(i) ? log(second / first) : log(first / second);
    }
}

static race_decision whole_race(const double *d, int have, int *pairs)
{
    race_rules r = race_defaults();
    for (int n = 1; n <= have; n++) {
        double balanced[RACE_PAIRS_MAX];
        if ((n & (n - 1)) == 0) /* looks are at powers of two */
            race_balance(d, n, balanced);
        race_decision x = race_look(&r, balanced, n);
        *pairs = n;
        if (x != RACE_GO_ON) return x;
    }
    return RACE_TIE;
}

static int promotions(double gain, int races, double *mean_pairs)
{
    int promoted = 0, total = 0;
    for (int i = 0; i < races; i++) {
        machine m = {.rng = rng_make(7, (uint64_t)(gain * 1e6 + 1e6), (uint64_t)i)};
        double d[RACE_PAIRS_MAX];
        int pairs;
        make_pairs(&m, gain, 1, d, RACE_PAIRS_MAX);
        promoted += whole_race(d, RACE_PAIRS_MAX, &pairs) == RACE_PROMOTE;
        total += pairs;
    }
    *mean_pairs = (double)total / races;
    return promoted;
}

static void same_kernel_is_not_promoted(void **state)
{
    (void)state;
    double pairs;
    int n = promotions(0, 2000, &pairs);
    print_message("A against A: %d of 2000 promoted, %.0f pairs on average\n", n, pairs);
    assert_in_range(n, 0, 10);
    n = promotions(-0.02, 500, &pairs);
    print_message("-2 %%: %d of 500 promoted, %.0f pairs\n", n, pairs);
    assert_int_equal(n, 0);
}

static void true_wins_are_found(void **state)
{
    (void)state;
    static const struct {
        double gain;
        int least;
    } rows[] = {{0.02, 950}, {0.03, 980}, {0.05, 990}, {0.10, 999}};
    for (int i = 0; i < ATN_COUNT(rows); i++) {
        double pairs;
        int n = promotions(rows[i].gain, 1000, &pairs);
        print_message("%+.0f %%: %d of 1000 promoted, %.0f pairs on average\n", 100 * rows[i].gain, n, pairs);
        assert_in_range(n, rows[i].least, 1000);
    }
}

/* Overlapping windows of a recorded A/A trace; a gain is applied by shifting. */
static void recorded_noise(void **state)
{
    (void)state;
    char *path = file_join(file_home(), "tests/judge/noise.txt");
    FILE *f = fopen(path, "r");
    free(path);
    if (!f) SKIP_TEST("no tests/judge/noise.txt below ATTUNE_HOME");
    static double d[65536];
    int n = 0, ppm;
    char line[200];
    while (n < ATN_COUNT(d) && fgets(line, sizeof line, f))
        if (sscanf(line, "%d", &ppm) == 1) d[n++] = ppm * 1e-6;
    fclose(f);
    assert_true(n >= 4 * RACE_PAIRS_MAX);
    static const struct {
        double gain;
        int least, most;
    } rows[] = {{0, 0, 5}, {0.02, 950, 1000}, {0.03, 950, 1000}, {-0.02, 0, 0}};
    for (int i = 0; i < ATN_COUNT(rows); i++) {
        int promoted = 0;
        for (int race = 0; race < 1000; race++) {
            int start = (int)((int64_t)race * (n - RACE_PAIRS_MAX) / 1000), pairs;
            double x[RACE_PAIRS_MAX];
            for (int k = 0; k < RACE_PAIRS_MAX; k++) x[k] = d[start + k] + log1p(rows[i].gain);
            promoted += whole_race(x, RACE_PAIRS_MAX, &pairs) == RACE_PROMOTE;
        }
        print_message("recorded noise, %+.0f %%: %d of 1000 promoted\n", 100 * rows[i].gain, promoted);
        assert_in_range(promoted, rows[i].least, rows[i].most);
    }
}

/* Exact ranks of the sign test (tables of the binomial): at 0.01, n = 8: 1st; 16: 3rd (P = 0.0021); 32: 9th; 64:
 * 23rd. */
static void bounds_are_order_statistics(void **state)
{
    (void)state;
    static const struct {
        int n, rank;
    } rows[] = {{7, 1}, {8, 1}, {16, 3}, {32, 9}, {64, 23}, {128, 51}, {256, 109}, {512, 230}, {3, 1}, {1, 1}};
    double d[RACE_PAIRS_MAX], median, low, high;
    for (int i = 0; i < ATN_COUNT(rows); i++) {
        int n = rows[i].n;
        for (int k = 0; k < n; k++) d[k] = (k * 7919) % n + 1; /* 1..n, shuffled: 7919 is prime and larger than any n */
        race_bounds(d, n, 0.01, &median, &low, &high);
        assert_true(median == 0.5 * (n + 1));
        assert_true(low == rows[i].rank);
        assert_true(high == n + 1 - rows[i].rank);
    }
}

/* The true median lies under the lower bound in at most alpha of all samples, whatever the tail. */
static void bounds_cover(void **state)
{
    (void)state;
    int below = 0, above = 0, rounds = 20000;
    for (int i = 0; i < rounds; i++) {
        atn_rng r = rng_make(11, 0, (uint64_t)i);
        double d[64], median, low, high;
        for (int k = 0; k < 64; k++) d[k] = tan(3.14159265358979 * (rng_f64(&r) - 0.5)); /* Cauchy: no mean */
        race_bounds(d, 64, 0.01, &median, &low, &high);
        below += high < 0;
        above += low > 0;
    }
    print_message("Cauchy noise: bounds miss the median %d + %d times in %d (nominal 200 + 200)\n", below, above,
                  rounds);
    assert_in_range(below, 0, 260);
    assert_in_range(above, 0, 260);
}

enum { CASES = 12 };

typedef struct {
    double d[CASES][RACE_PAIRS_MAX];
    int most[CASES];
} suite_trace;

static void suite_make(double gain, uint64_t seed, suite_trace *t)
{
    for (int c = 0; c < CASES; c++) {
        bool is_long = c == CASES - 1; /* one case of long calls, a quarter of the pairs */
        machine m = {.rng = rng_make(13, seed, (uint64_t)c)};
        t->most[c] = is_long ? RACE_PAIRS_MAX / 4 : RACE_PAIRS_MAX;
        make_pairs(&m, gain, is_long ? 50 : 1, t->d[c], t->most[c]);
    }
}

static void suite_at(const suite_trace *t, int pairs, double alpha, double *mean, double *low, double *high)
{
    static double d[CASES][RACE_PAIRS_MAX];
    const double *rows[CASES];
    int n[CASES];
    for (int c = 0; c < CASES; c++) {
        n[c] = ATN_MAX((int)((int64_t)pairs * t->most[c] / RACE_PAIRS_MAX), 8);
        race_balance(t->d[c], n[c], d[c]);
        rows[c] = d[c];
    }
    race_suite(rows, n, CASES, alpha, (uint64_t)pairs, mean, low, high);
}

static void suite_bounds_cover(void **state)
{
    (void)state;
    static suite_trace t;
    for (int pairs = 8; pairs <= 128; pairs *= 4) {
        int rounds = 400, below = 0, above = 0;
        double width = 0;
        for (int i = 0; i < rounds; i++) {
            double mean, low, high;
            suite_make(0, (uint64_t)i, &t);
            suite_at(&t, pairs, race_defaults().alpha, &mean, &low, &high);
            assert_true(low <= mean && mean <= high);
            above += low > 0;
            below += high < 0;
            width += (high - low) / rounds;
        }
        print_message("suite of %d cases, %d pairs: bounds miss 0 %d + %d times in %d (nominal 4 + 4), width %.2f %%\n",
                      CASES, pairs, below, above, rounds, 100 * width);
        assert_in_range(below, 0, 12);
        assert_in_range(above, 0, 12);
    }
}

/* Sequential looks at 32 .. 512 pairs, as the judge takes them. */
static int suite_promotions(double gain, int races, uint64_t seed)
{
    static suite_trace t;
    int promoted = 0;
    for (int i = 0; i < races; i++) {
        suite_make(gain, seed + (uint64_t)i, &t);
        for (int pairs = race_defaults().pairs_min; pairs <= RACE_PAIRS_MAX; pairs *= 2) {
            double mean, low, high;
            suite_at(&t, pairs, race_defaults().alpha, &mean, &low, &high);
            if (high < race_defaults().delta) break;
            suite_at(&t, pairs, race_defaults().alpha_win, &mean, &low, &high);
            if (low > race_defaults().delta) {
                promoted++;
                break;
            }
        }
    }
    return promoted;
}

static void suite_error_rates(void **state)
{
    (void)state;
    int same = suite_promotions(0, 1000, 0), two = suite_promotions(0.02, 200, 5000),
        three = suite_promotions(0.03, 200, 9000);
    print_message("suite race: A/A %d of 1000 promoted, +2 %% %d of 200, +3 %% %d of 200\n", same, two, three);
    assert_in_range(same, 0, 5);
    assert_in_range(two, 190, 200);
    assert_in_range(three, 196, 200);
}

static void suite_repeats(void **state)
{
    (void)state;
    static suite_trace t;
    double a[3], b[3];
    suite_make(0.01, 1, &t);
    suite_at(&t, 32, 0.01, &a[0], &a[1], &a[2]);
    suite_at(&t, 32, 0.01, &b[0], &b[1], &b[2]);
    assert_memory_equal(a, b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_order_statistics),
        cmocka_unit_test(bounds_cover),
        cmocka_unit_test(same_kernel_is_not_promoted),
        cmocka_unit_test(true_wins_are_found),
        cmocka_unit_test(recorded_noise),
        cmocka_unit_test(suite_bounds_cover),
        cmocka_unit_test(suite_error_rates),
        cmocka_unit_test(suite_repeats),
    };
    return cmocka_run_group_tests_name("judge/race", tests, NULL, NULL);
}
