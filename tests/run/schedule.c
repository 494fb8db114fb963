/* Not a test: how evenly a kernel's plan keeps threads at work, on a machine that need not have them. Every task is timed
 * alone on this core, one thread's plan and that of THREADS in turns, the fastest of many passes counts; then tasks are
 * handed out as the pool does, to whoever is free first. The share is what that leaves of THREADS times one thread's
 * speed; what real cores do to each other is not in it.
 *
 *     schedule THREADS KERNEL@ISA CASE ...          schedule 16 flash_qvec@avx512 "f32 h4 s128 d64"
 *
 * Prints a line a case: tasks, time on one thread, work of all tasks beside it, share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attune/plan.h"
#include "base/clock.h"
#include "base/rng.h"
#include "problem/data.h"

enum { PASSES_LEAST = 12, THREADS_MOST = 1024 };
static const double SECONDS = 1; /* of a case, at least */

static void *room(int64_t bytes)
{
    void *p = aligned_alloc(4096, (size_t)(bytes + 8191) / 4096 * 4096);
    if (!p) abort();
    return memset(p, 0, (size_t)bytes);
}

typedef struct {
    atn_plan plan;
    int threads;
    void *shared, *scratch;
    double *best; /* ns of each task, phase after phase */
} schedule;

static int tasks_of(const schedule *s)
{
    int n = 0;
    for (int phase = 0; phase < s->plan.phases; phase++) n += s->plan.tasks[phase];
    return n;
}

static void open_schedule(schedule *s, const atn_kernel *k, const atn_args *a, int threads)
{
    *s = (schedule){.threads = threads};
    if (k->plan(a, threads, &s->plan) != 0) abort();
    s->shared = room(s->plan.shared_bytes);
    s->scratch = room(s->plan.scratch_bytes);
    s->best = calloc((size_t)tasks_of(s), sizeof *s->best);
}

static void close_schedule(schedule *s)
{
    free(s->shared);
    free(s->scratch);
    free(s->best);
}

static void pass(schedule *s, const atn_kernel *k, const atn_args *a)
{
    double *best = s->best;
    for (int phase = 0; phase < s->plan.phases; phase++)
        for (int task = 0; task < s->plan.tasks[phase]; task++, best++) {
            const int64_t t0 = clock_ns();
            k->run(a, &s->plan, phase, task, s->shared, s->scratch);
            const double t = (double)(clock_ns() - t0);
            if (*best == 0 || t < *best) *best = t;
        }
}

/* When the last thread is done; *work is the time of all tasks. */
static double span(const schedule *s, double *work)
{
    double all = 0;
    const double *t = s->best;
    *work = 0;
    for (int phase = 0; phase < s->plan.phases; phase++) {
        double busy[THREADS_MOST] = {0}, last = 0;
        for (int task = 0; task < s->plan.tasks[phase]; task++, t++) {
            int first = 0;
            for (int i = 1; i < s->threads; i++)
                if (busy[i] < busy[first]) first = i;
            busy[first] += *t;
            *work += *t;
            if (busy[first] > last) last = busy[first];
        }
        all += last;
    }
    return all;
}

static const atn_kernel *kernel_named(const char *name)
{
    const atn_kernel *table;
    const char *known;
    for (int i = 0, usable; (known = atn_kernel_at(i, &table, &usable)); i++)
        if (!strcmp(known, name) && usable) return table;
    return NULL;
}

static void play(const atn_kernel *k, const char *text, const atn_problem *p, int threads)
{
    atn_layout l;
    problem_layout(p, &l);
    atn_args a = l.args;
    void *m[ATN_T_COUNT];
    for (int i = 0; i < ATN_T_COUNT; i++) m[i] = l.bytes[i] ? room(l.bytes[i]) : NULL;
    a.q.ptr = m[ATN_T_Q], a.k.ptr = m[ATN_T_K], a.v.ptr = m[ATN_T_V], a.o.ptr = m[ATN_T_O], a.mask.ptr = m[ATN_T_MASK];
    a.sinks = m[ATN_T_SINKS], a.alibi = m[ATN_T_ALIBI], a.lse = m[ATN_T_LSE];
    atn_rng rng = rng_make(1, 0, 0);
    data_fill(p, &l, &a, ATN_DATA_NORMAL, &rng);
    if (!k->can_run(&a)) {
        printf("%-32s the kernel does not take it\n", text);
    } else {
        schedule one, many;
        double work1, work;
        open_schedule(&one, k, &a, 1);
        open_schedule(&many, k, &a, threads);
        const double until = clock_s() + SECONDS;
        for (int i = 0; i < PASSES_LEAST || clock_s() < until; i++) pass(&one, k, &a), pass(&many, k, &a);
        const double t1 = span(&one, &work1), t = span(&many, &work);
        printf("%-32s %5d tasks, one thread %9.1f us, work %.3f of it, share of %d threads %.2f\n", text, tasks_of(&many),
               t1 / 1e3, work / work1, threads, t1 / t / threads);
        close_schedule(&one);
        close_schedule(&many);
    }
    for (int i = 0; i < ATN_T_COUNT; i++) free(m[i]);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 0;
    const atn_kernel *k = argc > 2 ? kernel_named(argv[2]) : NULL;
    if (argc < 4 || threads < 1 || threads > THREADS_MOST || !k) {
        fprintf(stderr, "schedule: THREADS (1 to %d) KERNEL@ISA CASE ...; the first lines of schedule.c say what for\n",
                THREADS_MOST);
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        atn_problem p;
        atn_error err = {0};
        if (problem_parse(argv[i], &p, &err) != ATN_OK) {
            fprintf(stderr, "schedule: %s\n", err.text);
            return 2;
        }
        play(k, argv[i], &p, threads);
    }
    return 0;
}
