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

void machine_fma(int64_t rounds)
{
    double (*f)(int64_t) = peak_128;
#if defined(__x86_64__)
    if (machine_has("avx512f")) f = peak_512;
    else if (machine_has("avx2") && machine_has("fma")) f = peak_256;
#endif
    (void)f(rounds);
}

/* A machine that is stolen from for all the seconds says nothing of its peak: so a least number of bursts. */
static double best_rate(double (*f)(int64_t), double seconds)
{
    enum { LEAST = 40 };
    double best = 0, until = clock_s() + seconds;
    int bursts = 0;
    for (int64_t rounds = 2000; bursts < LEAST || clock_s() < until; bursts++) {
        double t = clock_s(), rate = f(rounds);
        if (rate > best) best = rate;
        if (clock_s() - t < 100e-6) rounds *= 2;   /* bursts of 0.1 to 0.2 ms: long for the clock, short for preemption */
    }
    return best;
}

/* ---- reading ---- */

/* What limits a core's reading is how many lines are on their way to it. Which loop keeps most of them there differs
 * by machine, by cache and by size of page (a core's prefetchers stop at its end). So there are several, and the best
 * counts: one stream asked for AHEAD bytes before, one as the prefetchers like it, four at once. */
enum { STEP = 256, AHEAD = 2048 };
#define DEFINE_READ(name, bytes, attribute)                                                                            \
    typedef uint64_t name##_v __attribute__((vector_size(bytes), aligned(1), may_alias));                              \
    attribute static uint64_t name(const char *p, size_t n, int streams, int ahead)                                    \
    {                                                                                                                  \
        name##_v sum[4] = {{0}, {0}, {0}, {0}};                                                                        \
        const size_t part = n / (size_t)streams / STEP * STEP;                                                         \
        uint64_t rest = 0;                                                                                             \
        for (size_t at = 0; at < part; at += STEP)                                                                     \
            for (int s = 0; s < streams; s++) {                                                                        \
                const char *from = p + (size_t)s * part + at;                                                          \
                for (int i = 0; i < STEP && ahead; i += 64) __builtin_prefetch(from + i + ahead, 0, 3);                \
                for (int i = 0; i < STEP / (int)sizeof *sum; i++) sum[i % 4] += ((const name##_v *)from)[i];           \
            }                                                                                                          \
        for (size_t at = part * (size_t)streams; at < n; at++) rest += (unsigned char)p[at];                           \
        sum[0] += sum[1] + sum[2] + sum[3];                                                                            \
        return sum[0][0] + rest;                                                                                       \
    }

#if defined(__x86_64__)
DEFINE_READ(read_512, 64, TARGET("avx512f"))
DEFINE_READ(read_256, 32, TARGET("avx2"))
#endif
DEFINE_READ(read_128, 16, __attribute__((noinline)))

void memory_read(const void *p, size_t n, int way)
{
    static const struct { int streams, ahead; } ways[READ_WAYS] = {{1, AHEAD}, {1, 0}, {4, 0}};
    uint64_t (*f)(const char *, size_t, int, int) = read_128;
#if defined(__x86_64__)
    if (machine_has("avx512f")) f = read_512;
    else if (machine_has("avx2")) f = read_256;
#endif
    uint64_t sink = f(p, n, ways[way].streams, ways[way].ahead);
    __asm__ volatile("" : : "r"(sink));
}

/* Out of every cache; false: this CPU has no instruction for it. */
static bool flush(const char *p, size_t n)
{
#if defined(__x86_64__)
    for (size_t i = 0; i < n; i += 64) __asm__ volatile("clflush (%0)" : : "r"(p + i) : "memory");
    __asm__ volatile("mfence" : : : "memory");
    return true;
#elif defined(__aarch64__)
    for (size_t i = 0; i < n; i += 64) __asm__ volatile("dc civac, %0" : : "r"(p + i) : "memory");
    __asm__ volatile("dsb sy" : : : "memory");
    return true;
#else
    (void)p, (void)n;
    return false;
#endif
}

/* From memory, whatever the size of the last cache: a virtual machine may be told that of a whole host. */
static double read_bandwidth(double seconds)
{
    const size_t bytes = 256u << 20, chunk = 8u << 20;
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return 0;
    madvise(p, bytes, MADV_HUGEPAGE);
    double best = 0;
    size_t made = 0, at = 0;
    double until = clock_s() + seconds;
    for (int i = 0; i < READ_WAYS || clock_s() < until; i++, at = (at + chunk) % bytes) {
        if (at >= made) memset(p + at, 1, chunk), made = at + chunk;
        if (!flush(p + at, chunk) && made < bytes) memset(p + made, 1, bytes - made), made = bytes;
        int64_t t0 = clock_ns();
        memory_read(p + at, chunk, i % READ_WAYS);
        int64_t t1 = clock_ns();
        best = best > (double)chunk / (double)(t1 - t0) ? best : (double)chunk / (double)(t1 - t0);
    }
    munmap(p, bytes);
    return best;
}

static void fma_peaks(double share, atn_peaks *out)
{
    *out = (atn_peaks){0};
#if defined(__x86_64__)
    if (machine_has("avx2") && machine_has("fma")) out->fma_peak_256_gflops = best_rate(peak_256, share);
    if (machine_has("avx512f")) out->fma_peak_gflops = best_rate(peak_512, share);
    if (out->fma_peak_gflops < out->fma_peak_256_gflops) out->fma_peak_gflops = out->fma_peak_256_gflops;
#endif
    if (out->fma_peak_gflops == 0) out->fma_peak_gflops = best_rate(peak_128, share);
}

double machine_fma_peak(double seconds)
{
    atn_peaks p;
    fma_peaks(seconds / 2, &p);
    return p.fma_peak_gflops;
}

void machine_measure(double seconds, atn_peaks *out)
{
    double share = seconds / 3;
    fma_peaks(share, out);
    out->read_bandwidth_gbs = read_bandwidth(share);
}
