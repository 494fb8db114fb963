/* The threads that run a kernel's tasks. See pool.h.
 *
 * Tasks are handed out in ascending order from one counter. Waiting threads spin for some microseconds, then sleep; the
 * epoch counts phases. A thread counts itself a sleeper before it looks at the epoch for the last time, and the
 * caller advances the epoch before it counts sleepers, so no wake-up is lost. */
#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 4000 }; /* some 20 to 60 us */

static int n_threads = 1;
static const int32_t *thread_cpus;
static int (*prepare_thread)(void);
static pool_work work;
static int phase, n_tasks;
static _Alignas(64) _Atomic uint32_t epoch;
static _Alignas(64) atomic_int next_task;
static _Alignas(64) _Atomic uint32_t busy; /* threads still in the phase, the caller not counted */
static _Alignas(64) _Atomic uint32_t sleepers;
static atomic_int in_command; /* waiting threads may spin */
static atomic_int ready;
static _Atomic uint32_t fp_changed;

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static inline void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

#if defined __x86_64__
static uint32_t fp_get(void)
{
    uint16_t x87;
    __asm__ volatile("fnstcw %0" : "=m"(x87));
    return (__builtin_ia32_stmxcsr() & 0xffc0u) | (uint32_t)x87 << 16; /* without the sticky status flags */
}
void pool_fp_reset(void)
{
    uint16_t x87 = 0x37f;
    __asm__ volatile("fldcw %0" : : "m"(x87));
    __builtin_ia32_ldmxcsr(0x1f80);
}
#elif defined __aarch64__
static uint32_t fp_get(void)
{
    uint64_t v;
    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return (uint32_t)v;
}
void pool_fp_reset(void)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(0ull));
}
#else
static uint32_t fp_get(void)
{
    return 0;
}
void pool_fp_reset(void) {}
#endif

uint32_t pool_fp_changed(void)
{
    return atomic_exchange(&fp_changed, 0);
}

static void run_tasks(int me)
{
    pool_fp_reset();
    uint32_t before = fp_get();
    void *scratch = work.scratch[me];
    if (n_threads == 1) {
        for (int t = 0; t < n_tasks; t++) work.kernel->run(work.args, work.plan, phase, t, work.shared, scratch);
    } else {
        for (int t; (t = atomic_fetch_add_explicit(&next_task, 1, memory_order_relaxed)) < n_tasks;)
            work.kernel->run(work.args, work.plan, phase, t, work.shared, scratch);
    }
    uint32_t changed = before ^ fp_get();
    if (changed) {
        atomic_fetch_or(&fp_changed, changed);
        pool_fp_reset();
    }
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void *thread_main(void *arg)
{
    int me = (int)(intptr_t)arg;
    if (thread_cpus[me] >= 0) pin(thread_cpus[me]);
    if (prepare_thread() != 0) return NULL;
    uint32_t seen = 0;
    atomic_fetch_add(&ready, 1);
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load_explicit(&in_command, memory_order_relaxed); i++) {
            if (atomic_load_explicit(&epoch, memory_order_acquire) != seen) break;
            relax();
        }
        if (atomic_load(&epoch) == seen) {
            atomic_fetch_add(&sleepers, 1);
            while (atomic_load(&epoch) == seen) futex_wait(&epoch, seen);
            atomic_fetch_sub(&sleepers, 1);
        }
        seen = atomic_load_explicit(&epoch, memory_order_acquire);
        run_tasks(me);
        if (atomic_fetch_sub(&busy, 1) == 1) futex_wake(&busy);
    }
    return NULL;
}

int pool_start(int threads, const int32_t *cpus, int (*prepare)(void))
{
    n_threads = threads;
    thread_cpus = cpus;
    prepare_thread = prepare;
    if (cpus[0] >= 0) pin(cpus[0]);
    if (prepare() != 0) return -1;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 8 << 20);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (int i = 1; i < threads; i++) {
        pthread_t t;
        int e = pthread_create(&t, &attr, thread_main, (void *)(intptr_t)i);
        if (e) {
            errno = e;
            return -1;
        }
    }
    pthread_attr_destroy(&attr);
    for (int tries = 0; atomic_load(&ready) < threads - 1; tries++) {
        if (tries > 200000) { /* 20 s or more: the machine may have other things to do */
            errno = ETIMEDOUT;
            return -1;
        }
        usleep(100);
    }
    pool_park();
    return 0;
}

void pool_call(const pool_work *w)
{
    work = *w;
    if (n_threads > 1) atomic_store(&in_command, 1);
    for (int p = 0; p < w->plan->phases; p++) {
        phase = p;
        n_tasks = w->plan->tasks[p];
        if (n_threads == 1) {
            run_tasks(0);
            continue;
        }
        atomic_store(&next_task, 0);
        atomic_store(&busy, (uint32_t)n_threads - 1);
        atomic_fetch_add(&epoch, 1);
        if (atomic_load(&sleepers)) futex_wake(&epoch);
        run_tasks(0);
        uint32_t left;
        for (int i = 0; i < SPINS && atomic_load_explicit(&busy, memory_order_acquire); i++) relax();
        while ((left = atomic_load(&busy)) != 0) futex_wait(&busy, left);
    }
}

void pool_park(void)
{
    if (n_threads == 1) return;
    atomic_store(&in_command, 0);
    while (atomic_load(&sleepers) < (uint32_t)n_threads - 1) sched_yield();
}
