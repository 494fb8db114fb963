/* A pool of pthreads for atn_parallel_for: workers spin for a while, then sleep on a futex.
 *
 * One 64-bit word holds the open job: threads allowed and tasks left. Whoever lowers it owns a task, and a job's
 * fields do not change while an owned task runs, because the caller leaves only when as many tasks have ended as
 * there were. So late workers need no acknowledgement and a short job never waits for a sleeping thread to wake. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#include "base/clock.h"
#include "base/cpu.h"
#include "run/run_int.h"

typedef struct {
    struct atn_pool *pool;
    pthread_t thread;
    int index; /* 1 .. threads-1; 0 is the caller */
} worker;

struct atn_pool {
    _Alignas(128) _Atomic uint64_t word;  /* threads << 32 | tasks left to take */
    _Alignas(128) _Atomic uint32_t epoch; /* counts jobs and the end; workers sleep on it */
    _Atomic int sleepers;
    _Alignas(128) _Atomic uint32_t left; /* tasks of the job not yet ended; the caller sleeps on it */
    _Atomic int caller_sleeps;
    _Alignas(128) atomic_int busy; /* a caller is inside */
    atomic_int stop;
    atn_task_fn fn; /* the job: written before word, read after taking from it */
    void *context;
    int tasks;
    int threads, spin_us;
    int started; /* workers running */
    worker *workers;
};

/* ---- sleeping ---- */

#ifdef __linux__
static void sleep_while(_Atomic uint32_t *p, uint32_t value)
{
    syscall(SYS_futex, p, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static void wake(_Atomic uint32_t *p, int n)
{
    syscall(SYS_futex, p, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}
#else
static void sleep_while(_Atomic uint32_t *p, uint32_t value)
{
    if (atomic_load(p) == value) nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}
static void wake(_Atomic uint32_t *p, int n)
{
    (void)p, (void)n;
}
#endif

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Spins until *p is no longer value or the time is up; true: it changed. */
static bool spin_while(_Atomic uint32_t *p, uint32_t value, int spin_us)
{
    if (spin_us <= 0) return atomic_load(p) != value;
    const int64_t end = clock_ns() + (int64_t)spin_us * 1000;
    do {
        for (int i = 0; i < 64; i++) {
            if (atomic_load_explicit(p, memory_order_acquire) != value) return true;
            relax();
        }
    } while (clock_ns() < end);
    return atomic_load(p) != value;
}

/* ---- tasks ---- */

static uint64_t job_word(int threads, int tasks)
{
    return (uint64_t)(uint32_t)threads << 32 | (uint32_t)tasks;
}

/* Takes tasks and runs them until the job has none for this thread. */
static void work(atn_pool *p, int index)
{
    uint64_t w = atomic_load_explicit(&p->word, memory_order_acquire);
    for (;;) {
        const uint32_t remaining = (uint32_t)w;
        if (remaining == 0 || index >= (int)(w >> 32)) return;
        /* acq_rel: success orders the reads of the job after its publication */
        if (!atomic_compare_exchange_weak_explicit(&p->word, &w, w - 1, memory_order_acq_rel, memory_order_acquire))
            continue;
        p->fn(p->context, p->tasks - (int)remaining, index);
        if (atomic_fetch_sub(&p->left, 1) == 1 && atomic_load(&p->caller_sleeps)) wake(&p->left, 1);
        w = atomic_load_explicit(&p->word, memory_order_acquire);
    }
}

static void *worker_main(void *arg)
{
    const worker *me = arg;
    atn_pool *p = me->pool;
    for (;;) {
        const uint32_t epoch = atomic_load(&p->epoch);
        if (atomic_load(&p->stop)) return NULL;
        work(p, me->index);
        if (spin_while(&p->epoch, epoch, p->spin_us)) continue;
        atomic_fetch_add(&p->sleepers, 1);
        if (atomic_load(&p->epoch) == epoch) sleep_while(&p->epoch, epoch);
        atomic_fetch_sub(&p->sleepers, 1);
    }
}

void pool_run(void *pool, int tasks, int threads, atn_task_fn fn, void *context)
{
    atn_pool *p = pool;
    if (tasks <= 0) return;
    int idle = 0;
    if (threads > p->threads) threads = p->threads;
    if (threads <= 1 || tasks == 1 || !p->started || !atomic_compare_exchange_strong(&p->busy, &idle, 1)) {
        for (int i = 0; i < tasks; i++) fn(context, i, 0);
        return;
    }
    p->fn = fn;
    p->context = context;
    p->tasks = tasks;
    atomic_store(&p->left, (uint32_t)tasks);
    atomic_store(&p->word, job_word(threads, tasks));
    atomic_fetch_add(&p->epoch, 1);
    /* Sleepers check the epoch again after they have counted themselves, so none is missed. Which thread wakes is the
     * system's choice: wake all, the superfluous ones go back. */
    if (atomic_load(&p->sleepers) > 0)
        wake(&p->epoch, threads < p->threads ? p->threads : ATN_MIN(tasks - 1, p->threads - 1));
    work(p, 0);
    for (uint32_t left; (left = atomic_load(&p->left)) != 0;) {
        if (spin_while(&p->left, left, p->spin_us)) continue;
        atomic_store(&p->caller_sleeps, 1);
        left = atomic_load(&p->left);
        if (left) sleep_while(&p->left, left);
        atomic_store(&p->caller_sleeps, 0);
    }
    atomic_store(&p->busy, 0);
}

/* ---- life ---- */

int pool_threads(const atn_pool *p)
{
    return p->threads;
}

static void pin_worker(pthread_t thread, int index)
{
#ifdef __linux__
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < 1) return;
    int want = index % CPU_COUNT(&all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all) || want-- > 0) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(thread, sizeof one, &one); /* a wish: failing costs speed only */
        return;
    }
#else
    (void)thread, (void)index;
#endif
}

atn_status atn_pool_create(const atn_pool_options *options, atn_pool **out, atn_error *err)
{
    atn_pool_options o = {0};
    if (options) {
        if (options->size != 0 && options->size != sizeof o)
            return atn_fail(err, ATN_USAGE, "pool options of size %u: this library knows %zu", options->size, sizeof o);
        o = *options;
    }
    if (!out) return atn_fail(err, ATN_USAGE, "no place for the pool was given");
    if (o.threads < 0 || o.threads > THREADS_MAX)
        return atn_fail(err, ATN_USAGE, "a pool of %d threads: it must be 1 to %d, or 0 for one per CPU", o.threads,
                        THREADS_MAX);
    const int cpus = machine_get()->cpus;
    if (o.threads == 0) o.threads = ATN_MIN(ATN_MAX(cpus, 1), THREADS_MAX);

    atn_pool *p = NULL;
    if (posix_memalign((void **)&p, 128, sizeof *p) != 0) return atn_fail(err, ATN_MEMORY, "no memory for a pool");
    memset(p, 0, sizeof *p);
    p->threads = o.threads;
    /* Spinning takes the CPU from the thread waited for where there are more threads than CPUs. */
    p->spin_us = o.threads > cpus || o.spin_us < 0 ? 0 : o.spin_us ? o.spin_us : 50;
    p->workers = calloc((size_t)o.threads, sizeof *p->workers);
    if (!p->workers) {
        free(p);
        return atn_fail(err, ATN_MEMORY, "no memory for a pool of %d threads", o.threads);
    }
    for (int i = 1; i < o.threads; i++) {
        worker *w = &p->workers[i];
        *w = (worker){.pool = p, .index = i};
        int e = pthread_create(&w->thread, NULL, worker_main, w);
        if (e) {
            atn_pool_free(p);
            return atn_fail(err, ATN_MEMORY, "cannot start thread %d of %d: %s; ask for fewer", i + 1, o.threads,
                            strerror(e));
        }
        p->started++;
        if (o.pin) pin_worker(w->thread, i);
    }
    *out = p;
    return ATN_OK;
}

void atn_pool_free(atn_pool *p)
{
    if (!p) return;
    atomic_store(&p->stop, 1);
    atomic_fetch_add(&p->epoch, 1);
    wake(&p->epoch, THREADS_MAX);
    for (int i = 1; i <= p->started; i++) pthread_join(p->workers[i].thread, NULL);
    free(p->workers);
    free(p);
}
