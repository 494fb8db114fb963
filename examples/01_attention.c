/* 01: attention by the fastest kernel known for this machine, in four functions.
 *
 *     cc 01_attention.c $(pkg-config --cflags --libs attune) -lm && ./a.out
 *
 * Prints which kernel was chosen, and how far one row of the result is from the formula in double precision. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <attune/attune.h>
#include <attune/plan.h>

enum { HQ = 8, HKV = 2, S = 200, D = 64 };

/* o = softmax(q k^T / sqrt(D)) v for the last row of the last head, as the formula says. */
static double error_of_last_row(const float *q, const float *k, const float *v, const float *o)
{
    const float *row = q + ((HQ - 1) * S + S - 1) * D, *key = k + (HKV - 1) * S * D, *value = v + (HKV - 1) * S * D;
    double weight[S], top = -INFINITY, sum = 0, worst = 0;
    for (int j = 0; j < S; j++) {
        double dot = 0;
        for (int d = 0; d < D; d++) dot += (double)row[d] * key[j * D + d];
        weight[j] = dot / sqrt(D);
        top = fmax(top, weight[j]);
    }
    for (int j = 0; j < S; j++) sum += weight[j] = exp(weight[j] - top);
    for (int d = 0; d < D; d++) {
        double want = 0;
        for (int j = 0; j < S; j++) want += weight[j] / sum * value[j * D + d];
        worst = fmax(worst, fabs(want - o[((HQ - 1) * S + S - 1) * D + d]));
    }
    return worst;
}

static float *random_floats(int n)
{
    float *x = malloc((size_t)n * sizeof *x);
    for (int i = 0; i < n; i++) x[i] = (float)rand() / (float)RAND_MAX * 2 - 1;
    return x;
}

int main(void)
{
    float *q = random_floats(HQ * S * D);  /* [HQ ][S][D] */
    float *k = random_floats(HKV * S * D); /* [HKV][S][D]; query heads 0..3 share the first, 4..7 the second */
    float *v = random_floats(HKV * S * D);
    float *o = malloc(HQ * S * D * sizeof *o);

    atn_args a;
    atn_args_init(&a);
    a.Hq = HQ, a.Hkv = HKV, a.Sq = a.Skv = S, a.D = D;
    a.causal = ATN_CAUSAL_BOTTOM_RIGHT;
    a.q.ptr = q, a.k.ptr = k, a.v.ptr = v, a.o.ptr = o;

    atn_planned *plan;
    atn_error err;
    if (atn_plan_create(&a, NULL, &plan, &err) != ATN_OK || atn_execute(plan, &a, NULL, &err) != ATN_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    atn_plan_info info = {.size = sizeof info};
    atn_plan_info_get(plan, &info, NULL);
    const double error = error_of_last_row(q, k, v, o);
    printf("%s\nworst error of the last row: %.1e\n", info.text, error);
    atn_plan_free(plan);
    free(q);
    free(k);
    free(v);
    free(o);
    return !(error < 1e-5);
}
