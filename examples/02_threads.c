/* 02: several threads, by the library's pool; a token-major layout; tensors of two types.
 *
 *     cc 02_threads.c $(pkg-config --cflags --libs attune) && ./a.out
 *
 * The pool is the only thing in the library that starts threads, and only because it was asked to. One pool serves all
 * plans. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <attune/attune.h>
#include <attune/plan.h>

enum { B = 2, H = 8, S = 256, D = 64 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static unsigned short to_bf16(float x)
{
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* [B][S][H][D]: the heads of a token lie side by side, as projections leave them. Strides are in bytes. */
static atn_tensor token_major(void *ptr, int dtype, int bytes)
{
    return (
        atn_tensor){.ptr = ptr, .dtype = dtype, .sb = (int64_t)S * H * D * bytes, .sh = D * bytes, .sr = H * D * bytes};
}

int main(void)
{
    const int n = B * S * H * D;
    float *q = malloc((size_t)n * sizeof *q), *one = malloc((size_t)n * sizeof *one),
          *many = malloc((size_t)n * sizeof *many);
    unsigned short *k = malloc((size_t)n * sizeof *k), *v = malloc((size_t)n * sizeof *v); /* a bf16 cache */
    for (int i = 0; i < n; i++) {
        q[i] = (float)rand() / (float)RAND_MAX - 0.5f;
        k[i] = to_bf16((float)rand() / (float)RAND_MAX - 0.5f);
        v[i] = to_bf16((float)rand() / (float)RAND_MAX - 0.5f);
    }
    atn_args a;
    atn_args_init(&a);
    a.B = B, a.Hq = H, a.Sq = a.Skv = S, a.D = D;
    a.q = token_major(q, ATN_F32, 4);
    a.k = token_major(k, ATN_BF16, 2);
    a.v = token_major(v, ATN_BF16, 2);

    atn_error err;
    atn_pool *pool;
    if (atn_pool_create(NULL, &pool, &err) != ATN_OK) { /* NULL: one thread per CPU */
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (int with_pool = 0; with_pool < 2; with_pool++) {
        atn_plan_options options = {0};
        if (with_pool) options.pool = pool;
        a.o = token_major(with_pool ? many : one, ATN_F32, 4);
        atn_planned *plan;
        if (atn_plan_create(&a, &options, &plan, &err) != ATN_OK || atn_execute(plan, &a, NULL, &err) != ATN_OK) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        const double start = seconds();
        for (int i = 0; i < 10; i++) atn_execute(plan, &a, NULL, NULL);
        atn_plan_info info = {.size = sizeof info};
        atn_plan_info_get(plan, &info, NULL);
        printf("%8.2f ms  %s\n", (seconds() - start) * 100, info.text);
        atn_plan_free(plan);
    }
    atn_pool_free(pool);

    double worst = 0; /* another division may add in another order, no more */
    for (int i = 0; i < n; i++) {
        const double difference = one[i] > many[i] ? one[i] - many[i] : many[i] - one[i];
        if (!(difference <= worst)) worst = difference;
    }
    printf("worst difference: %.1e\n", worst);
    free(q);
    free(k);
    free(v);
    free(one);
    free(many);
    return !(worst < 1e-3);
}
