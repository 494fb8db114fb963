/* your_program: your own evolved kernel, called from your own program.
 *
 *     attune build attune_output/best/best_program.c -o best_program.so
 *     cc your_program.c $(pkg-config --cflags --libs attune) -o your_program && ./your_program ./best_program.so */
#include <attune/attune.h>
#include <attune/plan.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    enum { H = 8, S = 256, D = 64, N = H * S * D };
    float *x = malloc(4 * N * sizeof *x); /* q, k, v, o: [H][S][D] each */
    for (int i = 0; i < 3 * N; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    atn_args a;
    atn_args_init(&a);
    a.Hq = H, a.Sq = a.Skv = S, a.D = D, a.causal = ATN_CAUSAL_BOTTOM_RIGHT;
    a.q.ptr = x, a.k.ptr = x + N, a.v.ptr = x + 2 * N, a.o.ptr = x + 3 * N;

    atn_plan_options options = {0};
    atn_planned *plan = NULL;
    atn_error err = {0};
    if (argc < 2 || atn_kernel_load(argv[1], NULL, &options.table, &err) || atn_plan_create(&a, &options, &plan, &err) ||
        atn_execute(plan, &a, NULL, &err)) return fprintf(stderr, "%s\n", argc < 2 ? "which .so?" : err.text), 1;
    atn_plan_info info = {.size = sizeof info};
    atn_plan_info_get(plan, &info, NULL);
    printf("%s\nfirst row begins with %g, as v does with %g\n", info.text, x[3 * N], x[2 * N]); /* causal: row 0 sees key 0 */
    atn_plan_free(plan);
    return !(info.origin == ATN_FROM_HOST && x[3 * N] - x[2 * N] < 1e-6f && x[2 * N] - x[3 * N] < 1e-6f);
}
