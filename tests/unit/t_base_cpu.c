/* What the program believes about the machine agrees with itself and, where possible, with the system. */
#include "test.h"

#include "base/clock.h"
#include "base/cpu.h"

static void the_machine_is_described(void **state)
{
    (void)state;
    const atn_machine *m = machine_get();
    assert_true(m == machine_get());
    assert_true(m->cpu[0] && m->isa[0] && m->cpus >= 1 && m->l1d_bytes >= 4096 && m->l2_bytes >= m->l1d_bytes);
    assert_non_null(strstr(m->signature, m->cpu));
    assert_non_null(strstr(m->signature, m->isa));
    assert_false(machine_has("avx51") || machine_has("no_such_feature"));
#if defined(__x86_64__)
    assert_int_equal(machine_has("avx2"), __builtin_cpu_supports("avx2") != 0);
    assert_int_equal(machine_has("avx512f"), __builtin_cpu_supports("avx512f") != 0);
    assert_int_equal(machine_has("fma"), __builtin_cpu_supports("fma") != 0);
#endif
}

static void clocks_go_forward(void **state)
{
    (void)state;
    int64_t a = clock_ns(), c = clock_cpu_ns();
    double s = clock_s();
    volatile double x = 0;
    for (int i = 0; i < 1000000; i++) x = x + i;
    assert_true(clock_ns() > a && clock_cpu_ns() > c && clock_s() > s);
}

/* Bounds that any machine meets; a peak that the compiler optimised away, or did not vectorise, does not. */
static void limits_are_plausible(void **state)
{
    (void)state;
    atn_peaks p;
    machine_measure(0.3, &p);
    print_message("# FMA peak %.1f GFLOP/s (256 bit: %.1f), read %.1f GB/s\n", p.fma_peak_gflops, p.fma_peak_256_gflops,
                  p.read_bandwidth_gbs);
    assert_true(p.fma_peak_gflops >= 2 && p.fma_peak_gflops < 2000);
    assert_true(p.read_bandwidth_gbs > 0.2 && p.read_bandwidth_gbs < 2000);
    assert_true(p.fma_peak_256_gflops <= p.fma_peak_gflops);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_machine_is_described),
    cmocka_unit_test(clocks_go_forward),
    cmocka_unit_test(limits_are_plausible),
};
TEST_MAIN(tests)
