/* attune/plan.h - for hosts: their threads, their memory, portions of an execution, and which kernel was chosen.
 *
 * Three ways to use several threads:
 *
 *   1. The host's parallel loop.      options.threads = 8, options.parallel_for = my_loop.
 *   2. The library's pool.            atn_pool_create(&pool_options, &pool, &err); options.pool = pool.
 *   3. Portions, for a host whose threads are already running side by side (ggml, OpenMP regions):
 *
 *          if (thread == 0) status = atn_execute_begin(plan, &args, workspace, &e, &err);
 *          barrier();
 *          for (int phase = 0; phase < info.phases; phase++) {     // info from atn_plan_info_get
 *              atn_execute_portion(&e, phase, thread);             // takes tasks until none is left
 *              barrier();
 *          }
 */
#ifndef ATTUNE_PLAN_H
#define ATTUNE_PLAN_H

#include <stddef.h>

#include "attune/attune.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- threads ---- */

typedef void (*atn_task_fn)(void *context, int task, int thread);

/* A parallel loop of the host: calls fn(context, task, thread) for each task in 0 .. tasks-1 exactly once, taking
 * tasks in ascending order, and returns when all have ended. `thread` is in 0 .. threads-1 and not used by two calls
 * at the same time. */
typedef void (*atn_parallel_for)(void *host, int tasks, int threads, atn_task_fn fn, void *context);

typedef struct atn_pool atn_pool;

typedef struct {
    uint32_t size;               /* sizeof(atn_pool_options) or 0 */
    int32_t threads;             /* with the caller of atn_execute; 0: one per CPU that the process may use; <= 1024 */
    int32_t pin;                 /* 1: pin the workers to CPUs (never the caller), 0: let the system move them */
    int32_t spin_us;             /* idle workers spin so long before they sleep; 0: 50, < 0: not at all */
} atn_pool_options;

/* Starts threads - 1 workers; the caller of atn_execute works too, as thread 0. While one execution is under way in a
 * pool the callers of others run theirs alone. Thread safe, allocates nothing then. options NULL: defaults. *out is the
 * caller's. ATN_USAGE, or ATN_MEMORY where the system gives no more threads. */
atn_status atn_pool_create(const atn_pool_options *options, atn_pool **out, atn_error *err);

/* Ends and joins the workers. NULL is fine. Nothing may be running in it. */
void atn_pool_free(atn_pool *pool);

/* ---- planning ---- */

struct atn_wisdom;

enum {
    ATN_PLAN_HOST_WORKSPACE = 1, /* the host gives one to each execution: the plan allocates none for itself */
    ATN_PLAN_NO_WISDOM = 2,      /* choose by rule alone */
    ATN_PLAN_REFERENCE = 4,      /* the plain kernel, slow, to compare with */
    ATN_PLAN_ANY_KIND = 8        /* options.table also for what it was not judged on: to measure it */
};

struct atn_plan_options {        /* all zero: the defaults */
    uint32_t size;               /* sizeof(atn_plan_options) or 0 */
    int32_t threads;             /* how many will work on it; 0: the pool's, else 1; <= 1024 */
    uint32_t flags;              /* ATN_PLAN_... */
    int32_t reserved;
    atn_parallel_for parallel_for; /* NULL: the pool, else the calling thread runs every task */
    void *host;                  /* first argument of parallel_for */
    atn_pool *pool;              /* must outlive the plan */
    const char *kernel;          /* this linked-in one, "name" or "name@isa", else ATN_UNSUPPORTED; NULL: the best */
    const char *isa;             /* not beyond generic, avx2, avx512, avx512bf16, amx, or neon, neonbf16; NULL: what the CPU
                                    has */
    const atn_kernel *table;     /* of the host's own (atn_kernel_load): used where it can run and, if it says what it was
                                    judged on (attune/kernel.h), for such problems; must outlive the plan */
    const struct atn_wisdom *wisdom; /* NULL: the process's own; must outlive the plan */
};

typedef enum { ATN_FROM_HOST, ATN_FROM_WISDOM, ATN_FROM_RULE, ATN_FROM_REFERENCE } atn_plan_origin;

typedef struct {
    uint32_t size;               /* sizeof(atn_plan_info), set by the caller */
    int32_t origin;              /* atn_plan_origin: who chose the kernel */
    int32_t threads;
    int32_t phases;
    int32_t tasks[ATN_PHASES_MAX];
    int64_t workspace_bytes;
    int64_t shared_bytes, scratch_bytes; /* parts of it: once, per thread */
    char kernel[64];             /* "flash_qvec@avx512" */
    char problem[128];           /* class of the problem, as in wisdom: "f32 g2 s512 d128 causal t1" */
    char kind[32];               /* "f32 decode": as in attune_judged */
    const char *passed_over;     /* why options.table was not taken; NULL: it was, or there was none. Static */
    char text[400];              /* all this in a line for people */
} atn_plan_info;

/* Fills *info up to info->size bytes. ATN_USAGE if that is not a size this library knows. Thread safe. */
atn_status atn_plan_info_get(const atn_planned *plan, atn_plan_info *info, atn_error *err);

/* Makes the plan fit other args (the next decode step has one key more) without a new plan: cheap where the class of
 * the problem is the same, and no allocation then unless its own workspace must grow; a workspace of the host's may have
 * to grow as well: ask atn_plan_workspace anew. On failure the plan is as before. Not while the plan is being executed. */
atn_status atn_plan_update(atn_planned *plan, const atn_args *args, atn_error *err);

/* ---- portions ---- */

typedef struct {                 /* the host's memory (a stack variable will do); read nothing in it */
    uint32_t size;
    int32_t next[ATN_PHASES_MAX];
    const atn_planned *plan;
    char *shared, *scratch;
    atn_args args;
} atn_execution;

/* Checks args as atn_execute does and prepares *e; runs nothing. workspace as atn_plan_workspace says, not NULL
 * unless that is 0. *e holds no resource: forget it when done. */
atn_status atn_execute_begin(const atn_planned *plan, const atn_args *args, void *workspace, atn_execution *e,
                             atn_error *err);

/* Runs one task. Each task of a phase must run exactly once, preferably in ascending order, and all of a phase must end
 * before the next phase begins. Two calls at the same time need different `thread`s in 0 .. threads-1. */
void atn_execute_task(const atn_execution *e, int phase, int task, int thread);

/* Runs tasks of the phase until none is left; the threads of a host call it side by side on the same *e. */
void atn_execute_portion(atn_execution *e, int phase, int thread);

/* ---- kernels ---- */

/* Name ("flash_qvec@avx512") of the i-th linked-in kernel, best instruction set first, the reference last; NULL past
 * the end. *table (may be NULL) gets its table; *usable (may be NULL) whether this CPU can run it: if not, do not
 * call it. Static. */
const char *atn_kernel_at(int i, const atn_kernel **table, int *usable);

/* Loads a kernel from a shared object that exports `attune_kernel`; or the kernels of a run from its folder, in which
 * `attune build FOLDER` has made the objects: plans then use the run's best kernel for each class of problem.
 * hash: 32 hex digits that the file must have (XXH3-128 of its bytes), NULL: any. The file must belong to this user or
 * root and not be writable by others: it is code that will run here. *out is static: it stays loaded. Loading the same
 * bytes twice gives the same table. Thread safe. */
atn_status atn_kernel_load(const char *path, const char *hash, const atn_kernel **out, atn_error *err);

#ifdef __cplusplus
}
#endif
#endif
