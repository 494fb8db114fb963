/* A small honest object: what fuzzing of the object check starts from. */
#include "attune/kernel.h"

static int can_run(const atn_args *a) { return a->D > 0; }
static int plan(const atn_args *a, int threads, atn_plan *p)
{
    (void)a, (void)threads;
    p->phases = p->tasks[0] = 1;
    return 0;
}
static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)a, (void)p, (void)phase, (void)task, (void)shared, (void)scratch;
}
const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "seed", can_run, plan, run};
