/* Time in nanoseconds. */
#ifndef ATN_BASE_CLOCK_H
#define ATN_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_of_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t clock_ns(void) { return clock_of_ns(CLOCK_MONOTONIC); }
static inline int64_t clock_cpu_ns(void) { return clock_of_ns(CLOCK_PROCESS_CPUTIME_ID); }
static inline double clock_s(void) { return (double)clock_ns() * 1e-9; }

#endif
