// expect: timeout
// behind: timeout
// alone
/* Never ends planning. */
#include "attune/kernel.h"
static int can_run(const atn_args *a)
{
    return a->D > 0;
}
static int plan(const atn_args *a, int threads, atn_plan *p)
{
    (void)a, (void)threads;
    for (;;) {}
    return 0;
}
static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)a, (void)p, (void)phase, (void)task, (void)shared, (void)scratch;
}
const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "animal", can_run, plan, run};
