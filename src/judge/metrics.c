/* The seed's metrics under the seed's names, with definitions that mean something. OpenEvolve's example computed
 *
 *     combined = (0.50 accuracy + 0.25 performance + 0.15 memory + 0.10 stability) * success_rate
 *
 * and so do we. What differs is what goes in:
 *
 *     accuracy_score     1 within tolerance of fp64 on every check, else 0. No partial credit: there, zeros scored 0.95.
 *     performance_score  speedup over the reference program, geometric mean over the suite, at most 3 as in the seed.
 *     memory_efficiency  2 io / (io + workspace), mean over the suite: 2 for a kernel that needs no workspace, 1 where it
 *                        needs as much as the tensors themselves, near 0 for a stored score matrix. The seed read the
 *                        process's RSS, which swung 0.06 .. 1 with the allocator's luck.
 *     stability_score    share of the stability checks passed (huge, tiny, rising, equal, denormal, masked rows).
 *     success_rate       share of all checks passed, of those that the kernel's can_run accepted.
 *
 * A candidate that failed has no score: NaN, which is printed as null. */
#include <math.h>

#include "judge/judge.h"

static double io_bytes(const atn_problem *p)
{
    atn_layout l;
    double sum = 0;
    problem_layout(p, &l);
    for (int i = 0; i < ATN_T_COUNT; i++) sum += (double)l.bytes[i];
    return sum;
}

static double memory_efficiency(const atn_judge *j, const atn_verdict *v)
{
    double sum = 0;
    for (int i = 0; i < v->n_cases; i++) {
        double io = io_bytes(judge_case_problem(j, v->cases[i].case_index));
        sum += 2 * io / (io + (double)v->cases[i].workspace_bytes);
    }
    return v->n_cases ? sum / v->n_cases : NAN;
}

static double share(int part, int whole)
{
    return whole ? (double)part / whole : NAN;
}

void judge_seed_metrics(const atn_judge *j, const atn_verdict *v, seed_metrics *out)
{
    *out = (seed_metrics){NAN, NAN, NAN, NAN, NAN, NAN};
    if (!v->correct) return;
    out->accuracy_score = 1;
    out->success_rate = v->checks ? share(v->checks_passed, v->checks) : 1;
    out->stability_score = v->stability ? share(v->stability_passed, v->stability) : 1;
    if (!v->n_cases) return;
    out->performance_score = fmin(exp(v->suite_log), 3);
    out->memory_efficiency = memory_efficiency(j, v);
    out->combined_score = (0.50 * out->accuracy_score + 0.25 * out->performance_score + 0.15 * out->memory_efficiency +
                           0.10 * out->stability_score) *
                          out->success_rate;
}
