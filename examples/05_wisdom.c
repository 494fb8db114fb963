/* 05: wisdom: measure the kernels on a problem of yours, keep the winner, use it from then on.
 *
 *     cc 05_wisdom.c $(pkg-config --cflags --libs attune) && ./a.out [FILE]
 *
 * This loop keeps the least of a few times; attune's own judge races candidates in pairs and is harder to fool. With FILE
 * the wisdom is written there and read again; the same file of another machine, library version or compiler would be
 * refused whole, with the reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <attune/attune.h>
#include <attune/plan.h>
#include <attune/wisdom.h>

enum { H = 4, S = 384, D = 64 };

static void check(atn_status status, const atn_error *err)
{
    if (status == ATN_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Least time of a few executions. */
static double time_of(const atn_planned *plan, const atn_args *a)
{
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        const double start = seconds();
        atn_execute(plan, a, NULL, NULL);
        const double t = seconds() - start;
        if (t < best) best = t;
    }
    return best;
}

int main(int argc, char **argv)
{
    const int n = H * S * D;
    float *data = malloc(4 * (size_t)n * sizeof *data);
    for (int i = 0; i < 3 * n; i++) data[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    atn_args a;
    atn_args_init(&a);
    a.Hq = H, a.Sq = a.Skv = S, a.D = D;
    a.q.ptr = data, a.k.ptr = data + n, a.v.ptr = data + 2 * n, a.o.ptr = data + 3 * n;

    atn_error err;
    atn_wisdom *wisdom;
    check(atn_wisdom_create(&wisdom, &err), &err);
    atn_wisdom_row best = {.size = sizeof best, .gflops = 0};
    check(atn_wisdom_class(&a, 1, best.problem, sizeof best.problem, &err), &err);

    const double gflop = 2.0 * H * S * S * (D + D) * 1e-9;
    const char *name;
    int usable;
    for (int i = 0; (name = atn_kernel_at(i, NULL, &usable)) != NULL; i++) {
        atn_plan_options options = {0};
        options.kernel = name;
        atn_planned *plan;
        if (!usable || atn_plan_create(&a, &options, &plan, &err) != ATN_OK) {
            printf("%-28s cannot run it here\n", name);
            continue;
        }
        const double speed = gflop / time_of(plan, &a);
        printf("%-28s %7.1f GFLOP/s\n", name, speed);
        if (speed > best.gflops) {
            best.gflops = speed;
            snprintf(best.kernel, sizeof best.kernel, "%s", name);
        }
        atn_plan_free(plan);
    }
    check(atn_wisdom_add(wisdom, &best, &err), &err);
    if (argc > 1) {
        check(atn_wisdom_export(wisdom, argv[1], &err), &err);
        check(atn_wisdom_forget(wisdom, NULL, &err), &err);
        check(atn_wisdom_import(wisdom, argv[1], &err), &err);
    }

    atn_plan_options options = {0};
    options.wisdom = wisdom;
    atn_planned *plan;
    check(atn_plan_create(&a, &options, &plan, &err), &err);
    atn_plan_info info = {.size = sizeof info};
    atn_plan_info_get(plan, &info, NULL);
    printf("%s\n", info.text);
    const int from_wisdom = info.origin == ATN_FROM_WISDOM && strcmp(info.kernel, best.kernel) == 0;
    atn_plan_free(plan);
    atn_wisdom_free(wisdom);
    free(data);
    return !from_wisdom;
}
