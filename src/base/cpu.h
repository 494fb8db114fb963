/* The machine in front of us: what it is, what it can do, and its measured limits.
 *
 * A machine's signature (atn_machine.signature) names everything that makes two machines' timings incomparable: CPU
 * model, ISA level, cache sizes. Scores of different signatures are never mixed. */
#ifndef ATN_BASE_CPU_H
#define ATN_BASE_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct {
    char cpu[96];             /* model name as the CPU tells it */
    char isa[16];             /* best family: avx512, avx2, neon, generic */
    char features[256];       /* space separated: avx2 fma f16c avx512f avx512bf16 amx_bf16 ... */
    int cpus;                 /* that this process may run on (affinity) */
    int64_t l1d_bytes, l2_bytes, l3_bytes;
    char signature[256];
} atn_machine;

/* Fills what can be known without measuring. Cached: the same pointer each time. */
const atn_machine *machine_get(void);
bool machine_has(const char *feature);
bool machine_lists(const atn_machine *m, const char *feature); /* the same of any machine */

typedef struct {
    double fma_peak_gflops;        /* f32 FMA, one core, widest vectors */
    double fma_peak_256_gflops;    /* the same with 256-bit vectors (0 where absent) */
    double read_bandwidth_gbs;     /* one core, from memory: in no cache before */
} atn_peaks;

/* Measures for about `seconds` (best of many short bursts, so that a busy neighbour does not lower it). */
void machine_measure(double seconds, atn_peaks *out);
double machine_fma_peak(double seconds); /* fma_peak_gflops again, on the CPU that this thread runs on */

/* A loop of FMAs in registers and nothing else, 12 of the widest vectors a round. */
void machine_fma(int64_t rounds);

/* Reads n bytes and does nothing else. `way` is one of several loops, of which one or another is the fastest. */
enum { READ_WAYS = 3 };
void memory_read(const void *p, size_t n, int way);

#endif
