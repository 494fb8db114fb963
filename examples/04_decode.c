/* 04: generating tokens with a key-value cache: one query row, one key more at each step.
 *
 *     cc 04_decode.c $(pkg-config --cflags --libs attune) -lm && ./a.out
 *
 * The cache has room for CAPACITY rows per head, so a head's stride stays while Skv grows. atn_plan_update makes the
 * plan fit the next step, without an allocation while the class of the problem stays the same. The log-sum-exp output
 * joins the parts of a cache that was attended to in two halves. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <attune/attune.h>
#include <attune/plan.h>

enum { HQ = 8, HKV = 2, D = 64, CAPACITY = 512, STEPS = 300 };

static void check(atn_status status, const atn_error *err)
{
    if (status == ATN_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static float random_float(void)
{
    return (float)rand() / (float)RAND_MAX * 2 - 1;
}

int main(void)
{
    float *k = malloc((size_t)HKV * CAPACITY * D * sizeof *k), *v = malloc((size_t)HKV * CAPACITY * D * sizeof *v);
    float q[HQ * D], o[HQ * D], lse[HQ];
    atn_error err;
    atn_args a;
    atn_args_init(&a);
    a.Hq = HQ, a.Hkv = HKV, a.Sq = 1, a.D = D, a.Skv = 1;
    a.causal = ATN_CAUSAL_BOTTOM_RIGHT; /* the one row is the newest token: it sees every key */
    a.k = (atn_tensor){.ptr = k, .sh = CAPACITY * D * sizeof *k, .sr = D * sizeof *k};
    a.v = (atn_tensor){.ptr = v, .sh = CAPACITY * D * sizeof *v, .sr = D * sizeof *v};
    a.q.ptr = q, a.o.ptr = o, a.lse = lse;

    atn_planned *plan;
    check(atn_plan_create(&a, NULL, &plan, &err), &err);
    for (int step = 0; step < STEPS; step++) {
        for (int h = 0; h < HKV; h++)
            for (int d = 0; d < D; d++) {
                k[(h * CAPACITY + step) * D + d] = random_float();
                v[(h * CAPACITY + step) * D + d] = random_float();
            }
        for (int i = 0; i < HQ * D; i++) q[i] = random_float();
        a.Skv = step + 1;
        check(atn_plan_update(plan, &a, &err), &err);
        check(atn_execute(plan, &a, NULL, &err), &err);
    }
    atn_plan_info info = {.size = sizeof info};
    atn_plan_info_get(plan, &info, NULL);
    printf("after %d steps: %s\n", STEPS, info.text);

    /* The last step again in two halves of the cache, joined by their log-sum-exp. */
    float half_o[2][HQ * D], half_lse[2][HQ];
    const int cut = 100;
    for (int half = 0; half < 2; half++) {
        atn_args part = a;
        part.causal = ATN_CAUSAL_NONE;
        part.Skv = half ? STEPS - cut : cut;
        part.k.ptr = k + (half ? cut * D : 0);
        part.v.ptr = v + (half ? cut * D : 0);
        part.o.ptr = half_o[half], part.lse = half_lse[half];
        check(atn_plan_update(plan, &part, &err), &err);
        check(atn_execute(plan, &part, NULL, &err), &err);
    }
    double worst = 0;
    for (int h = 0; h < HQ; h++) {
        const double w0 = exp((double)half_lse[0][h] - lse[h]), w1 = exp((double)half_lse[1][h] - lse[h]);
        for (int d = 0; d < D; d++) {
            const double joined = w0 * half_o[0][h * D + d] + w1 * half_o[1][h * D + d];
            worst = fmax(worst, fabs(joined - o[h * D + d]));
        }
    }
    printf("worst difference of the joined halves: %.1e\n", worst);
    atn_plan_free(plan);
    free(k);
    free(v);
    return !(worst < 1e-5);
}
