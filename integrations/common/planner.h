/* Plans kept between calls, for hosts that see one attention call after another: what a model's layers ask for repeats,
 * and a decode step differs from the last one by one key.
 *
 *     planner *p = planner_new(&(planner_options){.threads = 2, .pool = pool}, &err);
 *     planner_run(p, &args, &err);                      // finds or makes the plan, executes, counts
 *
 *     planned *e = planner_acquire(p, &args, threads, &err);   // hosts with threads of their own: portions
 *     ... atn_execute_begin(planned_plan(e), ...) ...
 *     planner_release(p, e, ns);
 *
 * Invariant: a plan is used by one call at a time; calls side by side get plans of their own. Thread safe. */
#ifndef ATN_INTEGRATIONS_PLANNER_H
#define ATN_INTEGRATIONS_PLANNER_H

#include "attune/attune.h"
#include "attune/plan.h"

typedef struct planner planner;
typedef struct planned planned;

typedef struct {
    const atn_kernel *table;       /* the evolved kernel; NULL: the library chooses */
    const char *kernel;            /* or a linked-in one by name; NULL */
    atn_parallel_for parallel_for; /* NULL: the pool, else one thread */
    void *host;
    atn_pool *pool;
    int host_workspace;            /* 1: the host gives workspaces (planner_acquire only) */
    int own_pools;                 /* 1: pools of the planner's own, one for each number of threads asked for */
} planner_options;

typedef struct {                   /* read by Python: 8-byte fields only */
    int64_t calls;                 /* executed by us */
    int64_t evolved;               /* of these by options.table */
    int64_t refused;               /* problems that no kernel covers */
    int64_t ns;                    /* wall time in execution */
    int64_t plans;                 /* made so far */
} planner_counts;

atn_status planner_new(const planner_options *o, planner **out, atn_error *err);
void planner_free(planner *p);
void planner_read(planner *p, planner_counts *out);

/* How often each call is computed: 1. 0: never (what a zero-cost attention would give), n: on purpose n times slower. */
void planner_repeat(planner *p, int n);
int planner_repeats(const planner *p);

/* The args without what a plan does not depend on: pointers count only by whether they are there. For memcmp. */
atn_args planner_key(const atn_args *a);

planned *planner_acquire(planner *p, const atn_args *args, int threads, atn_error *err);
void planner_release(planner *p, planned *e, int64_t ns); /* ns < 0: was not executed */
const atn_planned *planned_plan(const planned *e);
int planned_phases(const planned *e);

atn_status planner_run(planner *p, const atn_args *args, int threads, atn_error *err);

/* What computed the calls, as a JSON array, the most often used first:
 * [{"kernel": "flash_qvec", "for": "f32 prefill", "evolved": true, "calls": 30},
 *  {"kernel": "decode@avx512", "for": "f32 decode", "evolved": false, "calls": 390, "why": "it was not judged on such problems"}] */
void planner_kernels(planner *p, char *out, int room);

/* Name of the kernel used last, "" before the first. */
void planner_kernel(planner *p, char *out, int room);

int64_t planner_clock(void);

#endif
