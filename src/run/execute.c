/* Running a plan: checks the pointers, lays out the workspace, hands tasks to the host's loop. Allocates nothing.
 *
 * Everything that one execution changes is in its atn_execution and its workspace, so a plan may be executed by several
 * threads at once. */
#include <string.h>

#include "run/run_int.h"

/* workspace: the host's, or the plan's own after it was claimed. */
static atn_status begin(const atn_planned *p, const atn_args *args, void *workspace, atn_execution *e, atn_error *err)
{
    const char *what;
    atn_args a;
    atn_status st = args_resolve(args, &a, err);
    if (st) return st;
    if (!args_same_shape(&p->args, &a, &what))
        return atn_fail(err, ATN_USAGE, "the plan was made for other args: %s differs; use atn_plan_update", what);
    if ((st = args_check_pointers(&a, workspace, p->workspace_bytes, err)) != ATN_OK) return st;
    if (p->workspace_bytes && (!workspace || (uintptr_t)workspace % ALIGN))
        return atn_fail(err, ATN_USAGE, "the workspace (%p) is %s; give %lld bytes aligned to %d", workspace,
                        workspace ? "misaligned" : "missing", (long long)p->workspace_bytes, ALIGN);
    *e = (atn_execution){.size = sizeof *e, .plan = p, .shared = workspace, .args = a};
    e->scratch = workspace ? (char *)workspace + p->shared_bytes : NULL;
    return ATN_OK;
}

atn_status atn_execute_begin(const atn_planned *p, const atn_args *args, void *workspace, atn_execution *e,
                             atn_error *err)
{
    if (!p || !e) return atn_fail(err, ATN_USAGE, "plan or execution is NULL");
    return begin(p, args, workspace, e, err);
}

void atn_execute_task(const atn_execution *e, int phase, int task, int thread)
{
    const atn_planned *p = e->plan;
    ATN_ASSERT(phase >= 0 && phase < p->division.phases);
    ATN_ASSERT(task >= 0 && task < p->division.tasks[phase]);
    ATN_ASSERT(thread >= 0 && thread < p->threads);
    char *scratch = e->scratch ? e->scratch + thread * p->scratch_bytes : NULL;
    p->kernel->run(&e->args, &p->division, phase, task, e->shared, scratch);
}

void atn_execute_portion(atn_execution *e, int phase, int thread)
{
    const int tasks = e->plan->division.tasks[phase];
    for (int task; (task = __atomic_fetch_add(&e->next[phase], 1, __ATOMIC_RELAXED)) < tasks;)
        atn_execute_task(e, phase, task, thread);
}

typedef struct {
    const atn_execution *e;
    int phase;
} phase_context;

static void run_task(void *context, int task, int thread)
{
    const phase_context *c = context;
    atn_execute_task(c->e, c->phase, task, thread);
}

atn_status atn_execute(const atn_planned *p, const atn_args *args, void *workspace, atn_error *err)
{
    if (!p) return atn_fail(err, ATN_USAGE, "plan is NULL");
    const bool own = !workspace && p->workspace_bytes > 0;
    if (own) {
        if (!p->own)
            return atn_fail(err, ATN_USAGE,
                            "no workspace was given, and the plan has none of its own (ATN_PLAN_HOST_WORKSPACE)");
        if (__atomic_exchange_n(p->own_busy, 1, __ATOMIC_ACQUIRE))
            return atn_fail(err, ATN_BUSY,
                            "the plan's own workspace is in use by another thread; give each execution its own");
        workspace = p->own;
    }
    atn_execution e;
    atn_status st = begin(p, args, workspace, &e, err);
    for (int phase = 0; st == ATN_OK && phase < p->division.phases; phase++)
        p->parallel_for(p->host, p->division.tasks[phase], p->threads, run_task, &(phase_context){&e, phase});
    if (own) __atomic_store_n(p->own_busy, 0, __ATOMIC_RELEASE);
    return st;
}
