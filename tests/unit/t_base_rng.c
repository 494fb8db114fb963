/* Random numbers: the same everywhere, independent across streams, and distributed as their names say. */
#include "test.h"

#include <math.h>

#include "base/hash.h"
#include "base/rng.h"

/* These numbers are in users' records (seeds); they must never change. */
static void sequences_are_for_ever(void **state)
{
    (void)state;
    assert_int_equal(rng_mix(0), 0xe220a8397b1dcdafu);           /* SplitMix64's published first output for seed 0 */
    atn_rng a = rng_make(1, 2, 3), b = rng_make(1, 2, 3);
    for (int i = 0; i < 100; i++) assert_int_equal(rng_u64(&a), rng_u64(&b));
}

static void xoshiro_is_the_published_one(void **state)
{
    (void)state;
    atn_rng r = {{1, 2, 3, 4}};                                  /* first outputs of xoshiro256++ from this state */
    assert_int_equal(rng_u64(&r), 41943041u);
    assert_int_equal(rng_u64(&r), 58720359u);
    assert_int_equal(rng_u64(&r), 3588806011781223u);
}

static void streams_differ(void **state)
{
    (void)state;
    uint64_t seen[300];
    int n = 0;
    for (uint64_t seed = 0; seed < 6; seed++)
        for (uint64_t stream = 0; stream < 6; stream++)
            for (uint64_t index = 0; index < 6; index++) {
                atn_rng r = rng_make(seed, stream, index);
                seen[n++] = rng_u64(&r);
            }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) assert_true(seen[i] != seen[j]);
}

static void below_is_unbiased(void **state)
{
    (void)state;
    atn_rng r = rng_make(4, 0, 0);
    int count[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint32_t x = rng_below(&r, 7);
        assert_true(x < 7);
        count[x]++;
    }
    for (int i = 0; i < 7; i++) assert_true(abs(count[i] - 10000) < 500);   /* 5 sigma */
    for (int i = 0; i < 100; i++) assert_int_equal(rng_below(&r, 1), 0);
    for (int i = 0; i < 1000; i++) assert_true(rng_below(&r, 0x80000001u) <= 0x80000000u);
}

static void reals_have_their_moments(void **state)
{
    (void)state;
    atn_rng r = rng_make(9, 0, 0);
    double u = 0, n1 = 0, n2 = 0;
    enum { N = 200000 };
    for (int i = 0; i < N; i++) {
        double x = rng_f64(&r), z = rng_normal(&r);
        assert_true(x >= 0 && x < 1 && isfinite(z));
        u += x / N;
        n1 += z / N;
        n2 += z * z / N;
    }
    assert_true(fabs(u - 0.5) < 0.004 && fabs(n1) < 0.012 && fabs(n2 - 1) < 0.02);
}

static void secrets_differ(void **state)
{
    (void)state;
    assert_true(rng_secret() != rng_secret());
}

static void hashes_tell_apart(void **state)
{
    (void)state;
    char a[33], b[33];
    assert_true(hash_bytes("abc", 3) != hash_bytes("abd", 3));
    assert_int_equal(hash_bytes("", 0), 0x2d06800538d394c2u);    /* XXH3's published hash of nothing */
    hash_hex("abc", 3, a);
    hash_hex("abd", 3, b);
    assert_int_equal(strlen(a), 32);
    assert_true(strspn(a, "0123456789abcdef") == 32 && strcmp(a, b));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(sequences_are_for_ever), cmocka_unit_test(xoshiro_is_the_published_one),
    cmocka_unit_test(streams_differ),         cmocka_unit_test(below_is_unbiased),
    cmocka_unit_test(reals_have_their_moments), cmocka_unit_test(secrets_differ),
    cmocka_unit_test(hashes_tell_apart),
};
TEST_MAIN(tests)
