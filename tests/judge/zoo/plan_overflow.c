// expect: bad_plan
// behind: bad_plan
// alone
/* Asks for sizes whose sum overflows. */
#include "attune/kernel.h"
static int can_run(const atn_args *a)
{
    return a->D > 0;
}
static int plan(const atn_args *a, int threads, atn_plan *p)
{
    (void)a, (void)threads;
    p->phases = 1;
    p->tasks[0] = 1;
    p->shared_bytes = p->scratch_bytes = INT64_MAX;
    return 0;
}
static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)a, (void)p, (void)phase, (void)task, (void)shared, (void)scratch;
}
const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "animal", can_run, plan, run};
