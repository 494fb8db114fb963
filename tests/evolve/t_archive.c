/* Islands, cells, migration, scores and portfolio: pure functions of the ordered list of verdicts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "evolve/archive.h"
#include "evolve/portfolio.h"
#include "evolve/score.h"
#include "fake.h"

static void cells(void **state)
{
    (void)state;
    atn_archive a;
    archive_log log = {0};
    archive_init(&a, 2, 0, 3);
    archive_add(&a, 1, -1, "k", 0.0, &log);
    assert_int_equal(log.n_changes, 2);
    assert_true(a.island[0].n == 1 && a.island[1].n == 1);
    archive_add(&a, 2, 0, "k", 0.0, &log);
    assert_int_equal(a.island[0].cell[0].program, 1); /* an equal one does not displace */
    archive_add(&a, 3, 0, "k", 0.1, &log);
    assert_int_equal(a.island[0].cell[0].program, 3);
    archive_add(&a, 4, 0, NULL, NAN, &log); /* a failed one only counts */
    archive_add(&a, 5, 0, "n", NAN, &log);
    assert_int_equal(a.count, 5);
    archive_add(&a, 6, 0, "m", 0.5, &log);
    archive_add(&a, 7, 0, "o", 0.2, &log);
    assert_int_equal(a.island[0].n, 3); /* the worst left */
    assert_true(archive_holds(&a, 6) && archive_holds(&a, 7) && archive_holds(&a, 3));
    assert_int_equal(a.island[0].cell[0].program, 6);
    archive_log_free(&log);
    archive_free(&a);
}

static void migration(void **state)
{
    (void)state;
    atn_archive a;
    archive_log log = {0};
    archive_init(&a, 3, 4, 10);
    archive_add(&a, 1, 0, "x", 1.0, &log);
    archive_add(&a, 2, 1, "y", 2.0, &log);
    archive_add(&a, 3, 2, "x", 3.0, &log);
    assert_int_equal(log.n_moves, 0);
    archive_add(&a, 4, 2, NULL, 0, &log);
    /* 0 -> 1, 1 -> 2, 2 -> 0, each its best of before: what comes to island 0 does not travel on. */
    assert_int_equal(log.n_moves, 3);
    assert_true(a.island[0].cell[0].program == 3 && a.island[0].n == 1);
    assert_true(a.island[1].n == 2 && a.island[1].cell[1].program == 1);
    assert_true(a.island[2].n == 2 && a.island[2].cell[1].program == 2);
    archive_log_free(&log);
    archive_free(&a);
}

/* The changes that a log reports, applied to a map, give the archive itself; the same list gives the same archive. */
static void log_and_order(void **state)
{
    (void)state;
    enum { N = 3000, KEYS = 40, ISLANDS = 4 };
    static int64_t owner[ISLANDS][KEYS];
    memset(owner, 0, sizeof owner);
    atn_archive a, b;
    archive_init(&a, ISLANDS, 24, 16);
    archive_init(&b, ISLANDS, 24, 16);
    for (int i = 1; i <= N; i++) {
        atn_rng r = rng_make(5, 1, (uint64_t)i);
        char key[ARCHIVE_KEY];
        snprintf(key, sizeof key, "%u", rng_below(&r, KEYS));
        bool failed = rng_below(&r, 4) == 0;
        double rank = (double)rng_below(&r, 400);
        archive_log log = {0};
        archive_add(&a, i, i % ISLANDS, failed ? NULL : key, rank, &log);
        archive_add(&b, i, i % ISLANDS, failed ? NULL : key, rank, NULL);
        for (int k = 0; k < log.n_changes; k++)
            owner[log.change[k].island][atoi(log.change[k].key)] = log.change[k].program;
        archive_log_free(&log);
    }
    for (int i = 0; i < ISLANDS; i++) {
        int owned = 0;
        assert_int_equal(a.island[i].n, 16);
        assert_memory_equal(a.island[i].cell, b.island[i].cell, 16 * sizeof *a.island[i].cell);
        for (int k = 0; k < KEYS; k++) owned += owner[i][k] != 0;
        assert_int_equal(owned, 16);
        for (int k = 0; k < 16; k++) {
            assert_int_equal(owner[i][atoi(a.island[i].cell[k].key)], a.island[i].cell[k].program);
            assert_true(!k || a.island[i].cell[k].rank <= a.island[i].cell[k - 1].rank);
        }
    }
    archive_free(&a);
    archive_free(&b);
}

static atn_verdict raced(const int *which, int n, double ratio)
{
    atn_verdict v;
    memset(&v, 0, sizeof v);
    v.correct = true;
    v.n_cases = n;
    for (int i = 0; i < n; i++)
        v.cases[i] = (atn_case_result){.case_index = which[i],
                                       .log_ratio = ratio,
                                       .log_low = ratio - 0.1,
                                       .log_high = ratio + 0.1};
    v.suite_log = ratio, v.suite_low = ratio - 0.05, v.suite_high = ratio + 0.05;
    return v;
}

static void scores(void **state)
{
    (void)state;
    atn_suite suite;
    suite_kinds k;
    fake_suite(&suite);
    suite_kinds_of(&suite, &k);
    assert_true(k.has_decode && k.has_short && k.has_long && k.has_prefill);
    assert_true(k.decode[7] && !k.decode[0] && !k.is_long[0] && k.is_long[5] && !k.is_long[7]);
    const int all[] = {0, 1, 2, 3, 4, 5, 6, 7}, few[] = {0, 3, 7};
    evolve_score initial, first, second, third, bad;
    atn_verdict v = raced(all, 8, 0);
    score_make(&k, &v, NULL, &initial);
    assert_true(initial.valid && initial.score == 0 && !initial.screened);
    v = raced(all, 8, 1.0);
    v.cases[0].log_ratio = 3.0;
    v.suite_log = 1.25, v.suite_low = 1.2, v.suite_high = 1.3;
    score_make(&k, &v, &initial, &first);
    assert_float_equal(first.score, 10.0 / 8, 1e-12);
    assert_float_equal(first.low, 1.2, 1e-12); /* the judge's own bound is inside the cases' bounds */
    assert_float_equal(first.log[0], 3.0, 1e-12);
    assert_float_equal(first.profile, 6.0 / 4 - 1.0, 1e-12);
    assert_float_equal(first.decode, 1.0 - 9.0 / 7, 1e-12);
    v = raced(all, 8, 0.5);
    score_make(&k, &v, &first, &second); /* the chain */
    assert_float_equal(second.score, 10.0 / 8 + 0.5, 1e-12);
    assert_float_equal(second.log[0], 3.5, 1e-12);
    v = raced(few, 3, -0.25);
    score_make(&k, &v, &second, &third);
    assert_true(third.screened && third.measured[3] && !third.measured[4]);
    assert_float_equal(third.score, second.score - 0.25, 1e-12);
    assert_float_equal(third.log[4], second.log[4] - 0.25, 1e-12);
    v.correct = false;
    score_make(&k, &v, &second, &bad);
    assert_true(!bad.valid && isnan(bad.score));
    v = raced(few, 0, 0);
    score_make(&k, &v, &second, &bad);
    assert_true(!bad.valid);
    char cell[48];
    score_cell(&first, 1 << 17, cell, sizeof cell);
    assert_string_equal(cell, "p+4 w17 d-2");
    score_cell(&initial, 0, cell, sizeof cell);
    assert_string_equal(cell, "p+0 w0 d+0");
    suite_free(&suite);
}

static void portfolio(void **state)
{
    (void)state;
    atn_suite suite;
    suite_kinds k;
    atn_portfolio p;
    fake_suite(&suite);
    suite_kinds_of(&suite, &k);
    portfolio_init(&p, &suite, &k, 1);
    assert_int_equal(p.n, 7);
    assert_string_equal(p.cls[0].key, "short full d64 f32 mha t1");
    assert_int_equal(p.cls[0].n_cases, 2);
    assert_string_equal(p.cls[6].key, "decode full d64 f32 gqa2 t1");
    evolve_score s = {.valid = true};
    for (int c = 0; c < 8; c++) s.measured[c] = true, s.log[c] = 1, s.log_low[c] = 0.9, s.log_high[c] = 1.1;
    portfolio_add(&p, 10, &s);
    s.log_low[7] = 2, s.log[7] = 2.1;
    s.measured[1] = false;
    s.log_low[0] = 5;
    portfolio_add(&p, 11, &s);
    assert_int_equal(p.cls[6].top[0].program, 11);
    assert_int_equal(p.cls[6].top[1].program, 10);
    assert_int_equal(p.cls[0].top[0].program, 10); /* 11 was not measured on all cases of the class */
    assert_int_equal(p.cls[0].n, 1);
    assert_int_equal(p.cls[1].top[0].program, 10); /* equal: the earlier one */
    for (int i = 12; i < 20; i++) {
        s.log_low[7] = i;
        portfolio_add(&p, i, &s);
    }
    assert_true(p.cls[6].n == 3 && p.cls[6].top[0].program == 19 && p.cls[6].top[2].program == 17);
    s.valid = false;
    s.log_low[7] = 99;
    portfolio_add(&p, 50, &s);
    assert_false(portfolio_holds(&p, 50));
    suite_free(&suite);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells),  cmocka_unit_test(migration), cmocka_unit_test(log_and_order),
        cmocka_unit_test(scores), cmocka_unit_test(portfolio),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
