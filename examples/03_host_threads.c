/* 03: a host that has its own threads: the plan tells phases and tasks, the host's threads take portions.
 *
 *     cc 03_host_threads.c $(pkg-config --cflags --libs attune) -lpthread && ./a.out
 *
 * This is how an inference engine runs attention among its other operators: all its threads arrive here together, work,
 * and meet at a barrier between phases. The workspace is the host's too. Nothing is allocated and no thread is made. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <attune/attune.h>
#include <attune/plan.h>

enum { THREADS = 3, H = 4, S = 300, D = 128 };

/* What the threads of this host share. */
typedef struct {
    const atn_planned *plan;
    atn_args args;
    void *workspace;
    atn_execution execution;
    atn_status status;
    int phases;
    pthread_barrier_t barrier;
} operator;

typedef struct {
    operator* op;
    int index;
    pthread_t thread;
} host_thread;

static void *run_operator(void *arg)
{
    const host_thread *me = arg;
    operator* op = me->op;
    if (me->index == 0) op->status = atn_execute_begin(op->plan, &op->args, op->workspace, &op->execution, NULL);
    pthread_barrier_wait(&op->barrier);
    if (op->status != ATN_OK) return NULL;
    for (int phase = 0; phase < op->phases; phase++) {
        atn_execute_portion(&op->execution, phase, me->index); /* takes tasks until none is left */
        pthread_barrier_wait(&op->barrier);
    }
    return NULL;
}

int main(void)
{
    const int n = H * S * D;
    float *data = malloc(4 * (size_t)n * sizeof *data);
    for (int i = 0; i < 3 * n; i++) data[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int i = 2 * n; i < 3 * n; i++) data[i] = 3; /* v is constant, so every average of it is that constant */

    operator op = {.status = ATN_OK};
    atn_args_init(&op.args);
    op.args.Hq = H, op.args.Sq = op.args.Skv = S, op.args.D = D;
    op.args.window_left = 63; /* each row sees itself and the 63 keys before it */
    op.args.causal = ATN_CAUSAL_BOTTOM_RIGHT;
    op.args.q.ptr = data, op.args.k.ptr = data + n, op.args.v.ptr = data + 2 * n, op.args.o.ptr = data + 3 * n;

    atn_plan_options options = {0};
    options.threads = THREADS;
    options.flags = ATN_PLAN_HOST_WORKSPACE;
    atn_planned *plan;
    atn_error err;
    if (atn_plan_create(&op.args, &options, &plan, &err) != ATN_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    atn_plan_info info = {.size = sizeof info};
    atn_plan_info_get(plan, &info, NULL);
    printf("%s\n", info.text);
    op.plan = plan;
    op.phases = info.phases;
    op.workspace = aligned_alloc(64, (size_t)atn_plan_workspace(plan) + 64);

    host_thread threads[THREADS];
    pthread_barrier_init(&op.barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = (host_thread){.op = &op, .index = i};
        pthread_create(&threads[i].thread, NULL, run_operator, &threads[i]);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i].thread, NULL);
    pthread_barrier_destroy(&op.barrier);

    int wrong = op.status != ATN_OK;
    for (int i = 3 * n; i < 4 * n; i++) wrong += !(data[i] > 2.9999f && data[i] < 3.0001f);
    printf("%d wrong elements of %d\n", wrong, n);
    free(op.workspace);
    free(data);
    atn_plan_free(plan);
    return wrong != 0;
}
