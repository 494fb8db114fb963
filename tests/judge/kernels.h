/* What the judge's tests share: cmocka, kernels as text, and building them. */
#ifndef ATN_TESTS_JUDGE_KERNELS_H
#define ATN_TESTS_JUDGE_KERNELS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/file.h"
#include "judge/build.h"
#include "judge/link.h"
#include "problem/data.h"
#include "problem/reference.h"

/* The initial program. */
static inline const char *honest_source(void)
{
    static char *text;
    if (!text) {
        char *path = file_join(file_home(), "examples/attention/initial_program.c");
        atn_error err;
        if (file_read(path, 1 << 20, &text, NULL, &err) != ATN_OK) fail_msg("%s", err.text);
        free(path);
    }
    return text;
}

/* A kernel whose run() is `body`. */
static inline char *kernel_of(const char *body)
{
    return atn_format(
        "#include \"attune/kernel.h\"\n"
        "static int can_run(const atn_args *a) { return a->D > 0; }\n"
        "static int plan(const atn_args *a, int threads, atn_plan *p)\n"
        "{ (void)a, (void)threads; p->phases = 1; p->tasks[0] = 1; p->shared_bytes = 64; p->scratch_bytes = 64; return "
        "0; }\n"
        "static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)\n"
        "{ (void)a, (void)p, (void)phase, (void)task, (void)shared, (void)scratch;\n%s\n}\n"
        "const atn_kernel attune_kernel = {ATN_KERNEL_ABI, \"test\", can_run, plan, run};\n",
        body);
}

static inline void build_kernel(const char *source, build_result *r)
{
    atn_error err;
    if (build_run(&(build_options){.whole_file = true}, source, NULL, r, &err) != ATN_OK) fail_msg("%s", err.text);
    if (r->reason != ATN_REASON_OK) fail_msg("%s: %s", reason_word(r->reason), r->evidence);
}

static inline int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

#endif
