/* The machine's measured limits: FMA rate and read bandwidth of one core. */
#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"

#if defined(__aarch64__)
#define VREG "+w"
#elif defined(__x86_64__)
#define VREG "+x"
#else
#define VREG "+m"
#endif

/* Enough independent chains to cover latency x ports: 12 accumulators fill 2 ports x 4-5 cycles and fit 16 registers. */
#define CHAINS 12
#define DEFINE_PEAK(name, bits, attribute)                                                              \
    typedef float name##_v __attribute__((vector_size(bits / 8)));                                      \
    attribute static double name(int64_t rounds)                                                        \
    {                                                                                                   \
        name##_v acc[CHAINS], x, y;                                                                     \
        for (int i = 0; i < bits / 32; i++) x[i] = 0.999f, y[i] = 0.001f;                               \
        for (int i = 0; i < CHAINS; i++) acc[i] = x + (float)i;                                         \
        __asm__ volatile("" : VREG(x), VREG(y));                                                        \
        int64_t t0 = clock_ns();                                                                        \
        for (int64_t r = 0; r < rounds; r++)                                                            \
            for (int i = 0; i < CHAINS; i++) acc[i] = acc[i] * x + y;                                   \
        int64_t t1 = clock_ns();                                                                        \
        float sink = 0;                                                                                 \
        for (int i = 0; i < CHAINS; i++) sink += acc[i][0];                                             \
        __asm__ volatile("" : : "g"(sink));                                                             \
        return 2.0 * CHAINS * (bits / 32) * (double)rounds / (double)(t1 - t0);                         \
    }

#if defined(__x86_64__)
#define TARGET(t) __attribute__((target(t), optimize("O3,unroll-loops,fp-contract=fast"), noinline))
#ifdef __clang__
#undef TARGET
#define TARGET(t) __attribute__((target(t), noinline))
#pragma STDC FP_CONTRACT ON
#endif
DEFINE_PEAK(peak_512, 512, TARGET("avx512f"))
DEFINE_PEAK(peak_256, 256, TARGET("avx2,fma"))
DEFINE_PEAK(peak_128, 128, __attribute__((noinline)))
#else
DEFINE_PEAK(peak_128, 128, __attribute__((noinline)))
#endif

static double best_rate(double (*f)(int64_t), double seconds)
{
    double best = 0, until = clock_s() + seconds;
    for (int64_t rounds = 2000; clock_s() < until;) {
        double t = clock_s(), rate = f(rounds);
        if (rate > best) best = rate;
        if (clock_s() - t < 100e-6) rounds *= 2;   /* bursts of 0.1 to 0.2 ms: long for the clock, short for preemption */
    }
    return best;
}

static double read_bandwidth(double seconds)
{
    size_t bytes = 256u << 20;
    typedef uint64_t v __attribute__((vector_size(64), aligned(64)));
    v *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return 0;
    madvise(p, bytes, MADV_HUGEPAGE);
    memset(p, 1, bytes);
    double best = 0, until = clock_s() + seconds;
    size_t n = bytes / sizeof(v), chunk = n / 16;
    do {
        for (size_t c = 0; c < n; c += chunk) {
            v a = {0}, b = {0}, d = {0}, e = {0};
            int64_t t0 = clock_ns();
            for (size_t i = c; i < c + chunk; i += 4) a += p[i], b += p[i + 1], d += p[i + 2], e += p[i + 3];
            int64_t t1 = clock_ns();
            a += b + d + e;
            __asm__ volatile("" : : "r"(a[0]));
            double rate = (double)(chunk * sizeof(v)) / (double)(t1 - t0);
            if (rate > best) best = rate;
        }
    } while (clock_s() < until);
    munmap(p, bytes);
    return best;
}

void machine_measure(double seconds, atn_peaks *out)
{
    *out = (atn_peaks){0};
    double share = seconds / 3;
#if defined(__x86_64__)
    if (machine_has("avx2") && machine_has("fma")) out->fma_peak_256_gflops = best_rate(peak_256, share);
    if (machine_has("avx512f")) out->fma_peak_gflops = best_rate(peak_512, share);
    if (out->fma_peak_gflops < out->fma_peak_256_gflops) out->fma_peak_gflops = out->fma_peak_256_gflops;
#endif
    if (out->fma_peak_gflops == 0) out->fma_peak_gflops = best_rate(peak_128, share);
    out->read_bandwidth_gbs = read_bandwidth(share);
}
