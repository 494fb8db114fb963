/* The initial program with one fault, to show that the conformance runner can fail. -DWRONG=N chooses it:
 *     1 output off by 2e-5   2 reads past the end of v   3 writes to q   4 counts on the order of tasks   5 writes past
 * o 6 counts on zeroed scratch */
#define attune_kernel right_kernel
#include "../../examples/attention/initial_program.c"
#undef attune_kernel

static int calls;

static int plan_wrong(const atn_args *a, int threads, atn_plan *p)
{
    int bad = right_kernel.plan(a, threads, p);
    if (p->scratch_bytes < 64) p->scratch_bytes = 64;
    calls = 0;
    return bad;
}

static void run_wrong(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    float seen = *(float *)scratch, *o = a->o.ptr;
    float *last =
        (float *)((char *)o + (a->B - 1) * a->o.sb + (a->Hq - 1) * a->o.sh + (a->Sq - 1) * a->o.sr) + a->Dv - 1;
    volatile float sink;
    right_kernel.run(a, p, phase, task, shared, scratch);
    if (a->o.dtype != ATN_F32 || phase + 1 < p->phases) return;
    (void)seen, (void)sink, (void)calls, (void)last;
#if WRONG == 1
    for (int d = 0; d < a->Dv; d++) o[d] *= 1.00002f;
#elif WRONG == 2
    sink = *(float *)((char *)a->v.ptr + (a->B - 1) * a->v.sb + (a->Hkv - 1) * a->v.sh + (a->Skv - 1) * a->v.sr +
                      a->Dv * 4L);
#elif WRONG == 3
    ((char *)a->q.ptr)[0] ^= 1;
#elif WRONG == 4
    if (calls++ == 0 && task != 0) *last *= 1.0000003f;
#elif WRONG == 5
    last[1] = 0;
#elif WRONG == 6
    o[0] += seen;
#endif
}

static int can_run_wrong(const atn_args *a) { return right_kernel.can_run(a); }
extern const atn_kernel attune_kernel;
const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "wrong", can_run_wrong, plan_wrong, run_wrong};
