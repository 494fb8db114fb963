/* The supervisor's end of a run worker: shared memory, the hand-shake, the clocks.
 *
 * A campaign is a list of jobs (a problem, and how many distinct input/output slots it has), fixed when the worker
 * starts, so that every mapping and guard page exists before the worker locks itself down. Inputs live in an *arena*:
 * sealed memory that the supervisor writes and every worker of the campaign sees read-only; candidate and
 * incumbent share one, so both sides of a pair see the same inputs. Outputs are each worker's own; each tensor ends at a
 * PROT_NONE page (begins after one in every second job slot).
 *
 * Nothing that a worker writes is trusted but its outputs, which are checked. Times are read here: wall by this process's
 * clock around the futex hand-shake, CPU by the kernel's clock of the worker process. Not thread safe. */
#ifndef ATN_JUDGE_LINK_H
#define ATN_JUDGE_LINK_H

#include <sys/types.h>

#include "judge/verdict.h"
#include "problem/problem.h"

typedef struct {
    atn_problem problem;
    int slots;                 /* >= 1; up to 16 */
} atn_job;

typedef struct atn_arena atn_arena;
typedef struct atn_worker atn_worker;

/* Memory for the inputs of all slots of all jobs, mapped read-write here. */
atn_status arena_create(const atn_job *jobs, int n, atn_arena **out, atn_error *err);
void arena_free(atn_arena *a);
/* Inputs of a slot with supervisor-side pointers; o and lse are NULL. The caller fills them (problem/data.h). */
const atn_args *arena_args(const atn_arena *a, int job, int slot);
const atn_layout *arena_layout(const atn_arena *a, int job);

typedef struct {
    int threads;               /* pool size in the worker, 1 = the calling thread only */
    int cpu;                   /* pin to this CPU and the following ones; -1: do not pin */
    int64_t memory_bytes;      /* address space limit beyond the campaign's own memory; 0: default 1 GiB */
    double cpu_seconds;        /* total CPU limit for the worker's life; 0: default 60 */
} worker_options;

/* What isolation this machine allows, found by trying once. */
typedef enum { ISOLATION_NONE, ISOLATION_REDUCED, ISOLATION_FULL } atn_isolation;
atn_isolation isolation_probe(char *text, size_t room);   /* text: the layers in words */

/* Starts a worker and loads the kernel from the sealed memfd so_fd. On a candidate's failure (does not load, dies, bad table) returns
 * ATN_OK with *out NULL and v filled (stage, reason, evidence). Other failures: status. */
atn_status worker_start(const worker_options *o, int so_fd, atn_arena *arena, atn_worker **out, atn_verdict *v, atn_error *err);
void worker_free(atn_worker *w);   /* kills it; NULL is fine */
pid_t worker_pid(const atn_worker *w); /* for counters */

/* Asks can_run and plan for a job. Returns false with v filled if the worker failed. *can_run may be 0: then plan is empty. */
bool worker_plan(atn_worker *w, int job, int *can_run, atn_plan *plan, atn_verdict *v);

/* Outputs of a slot with supervisor-side pointers (inputs as in the arena): for poison and comparison. */
const atn_args *worker_args(const atn_worker *w, int job, int slot);

typedef struct {
    int64_t wall_ns;           /* go to done, hand-shake included, for all n calls; with those that were late before */
    int64_t cpu_ns;            /* worker process CPU between go and done, likewise */
    int64_t late_ns;           /* worker process CPU between the last done and its stop */
} worker_time;

/* Runs `n` calls on slots first .. first+n-1 of a job. Before: outputs of these slots are poisoned by this function (outside the timed part)
 * and the worker is idle and stopped. After: the worker is stopped again, output guards (slack around each output) are verified. Returns false with v filled
 * when the worker died, used more than timeout_s of CPU time (or slept far longer), or broke a rule (late work, FP state, writes outside). Calls after
 * which the worker went on computing are made again, up to a verdict or to one that is not late. */
bool worker_call(atn_worker *w, int job, int first, int n, double timeout_s, worker_time *t, atn_verdict *v);

/* While on, a call finds in its outputs not poison but what the call before it left there, every sign turned: memory as
 * a program has it, so that no kernel tells its judge by what it finds. */
void worker_reuse_outputs(atn_worker *w, bool on);

/* While on, no worker is waited for: whoever waits, or begins to, is told that it ran out of time. Any thread. */
void link_give_up(bool on);
bool link_given_up(void);

/* The hand-shake's own cost in ns, from many null calls: medians, which are subtracted, and the least, which no call can
 * have cost less than. Depends on where the worker runs (on another CPU than the caller it takes twice as long) and on how
 * many threads a stop and a go must reach. The last answer is kept. */
typedef struct {
    double wall, cpu, least_wall, least_cpu;
} link_cost;
link_cost link_overhead(int threads, int cpu);

#endif
