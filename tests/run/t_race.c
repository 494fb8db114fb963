/* Built with ThreadSanitizer, library and kernels included: one const plan executed by many threads, pools shared by
 * many callers, plans made while wisdom changes. The sanitizer makes the exit status non-zero where it saw a race. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attune/plan.h"
#include "attune/wisdom.h"
#include "base/status.h"

enum { CALLERS = 3, H = 4, S = 40, D = 32, N = H * S * D };

static float q[N], k[N], v[N], want[N];
static atn_pool *pool;
static const atn_planned *shared_plan;
static atn_wisdom *wisdom;
static int failures;

static void complain(const char *what, const char *text)
{
    fprintf(stderr, "t_race: %s: %s\n", what, text);
    __atomic_add_fetch(&failures, 1, __ATOMIC_SEQ_CST);
}

static atn_args args_with(float *o)
{
    atn_args a;
    atn_args_init(&a);
    a.Hq = H, a.Sq = a.Skv = S, a.D = D, a.causal = ATN_CAUSAL_BOTTOM_RIGHT;
    a.q.ptr = q, a.k.ptr = k, a.v.ptr = v, a.o.ptr = o;
    return a;
}

static void *caller(void *arg)
{
    const int index = *(int *)arg;
    atn_error err;
    float *o = aligned_alloc(64, sizeof want);
    void *workspace = aligned_alloc(64, (size_t)atn_plan_workspace(shared_plan) + 64);
    const atn_args a = args_with(o);
    for (int round = 0; round < 20; round++) {
        memset(o, 0xff, sizeof want);
        atn_status st = atn_execute(shared_plan, &a, round % 2 ? workspace : NULL, &err);
        if (st == ATN_BUSY && round % 2 == 0) st = atn_execute(shared_plan, &a, workspace, &err);
        if (st) complain("execute", err.text);
        if (memcmp(o, want, sizeof want) != 0) complain("execute", "another result than alone");

        atn_wisdom_row row = {.gflops = round, .problem = "f32 g1 s64 d32 causal t1", .kernel = "plain"};
        if (round % 4 == index && atn_wisdom_add(wisdom, &row, &err)) complain("wisdom", err.text);
        if (round % 5 == index) atn_wisdom_forget(wisdom, NULL, NULL);
        atn_planned *p;
        if (atn_plan_create(&a, &(atn_plan_options){.wisdom = wisdom}, &p, &err)) complain("plan", err.text);
        else if (atn_execute(p, &a, NULL, &err)) complain("own plan", err.text);
        else atn_plan_free(p);
    }
    free(workspace);
    free(o);
    return NULL;
}

int main(void)
{
    atn_error err;
    for (int i = 0; i < N; i++)
        q[i] = (float)(i % 13) / 7 - 1, k[i] = (float)(i % 17) / 9 - 1, v[i] = (float)(i % 19) / 10;
    atn_log_set(NULL, NULL);
    if (atn_pool_create(&(atn_pool_options){.threads = 3}, &pool, &err) || atn_wisdom_create(&wisdom, &err)) {
        fprintf(stderr, "t_race: %s\n", err.text);
        return 1;
    }
    for (int i = 0; atn_kernel_at(i, NULL, NULL); i++) { /* every family, without races inside it too */
        const atn_args a = args_with(want);
        atn_planned *p;
        atn_plan_options o = {.pool = pool, .kernel = atn_kernel_at(i, NULL, NULL)};
        const atn_status st = atn_plan_create(&a, &o, &p, &err);
        if (st == ATN_UNSUPPORTED) continue;
        if (st || atn_execute(p, &a, NULL, &err)) {
            fprintf(stderr, "t_race: %s\n", err.text);
            return 1;
        }
        shared_plan = p;
        pthread_t threads[CALLERS];
        int index[CALLERS];
        for (int t = 0; t < CALLERS; t++) {
            index[t] = t;
            pthread_create(&threads[t], NULL, caller, &index[t]);
        }
        for (int t = 0; t < CALLERS; t++) pthread_join(threads[t], NULL);
        atn_plan_free(p);
        printf("# %s: %d callers, %d failures\n", o.kernel, CALLERS, failures);
    }
    atn_pool_free(pool);
    atn_wisdom_free(wisdom);
    return failures != 0;
}
