/* The threads that run a kernel's tasks. All of them exist before the process locks itself down.
 *
 * Between commands every thread but the caller is asleep in a futex: a command that is over uses no CPU. */
#ifndef ATN_WORKER_POOL_H
#define ATN_WORKER_POOL_H

#include <stdint.h>

#include "attune/kernel.h"

enum { POOL_THREADS_MAX = 256 };

typedef struct {
    const atn_kernel *kernel;
    const atn_args *args;
    const atn_plan *plan;
    void *shared;
    void *const *scratch; /* one block per thread */
} pool_work;

/* Starts threads - 1 threads, each pinned to its own of `cpus`, the caller to the first (< 0: not). `prepare` runs on each
 * first (signal stacks). */
int pool_start(int threads, const int32_t *cpus, int (*prepare)(void));
/* Runs all phases of one call. */
void pool_call(const pool_work *w);
/* Returns when all other threads sleep. After the last call of a command. */
void pool_park(void);
/* Bits of the floating-point control word that tasks left changed since the last call of this function. */
uint32_t pool_fp_changed(void);
void pool_fp_reset(void);

#endif
