/* What the tests of program texts share: cmocka speaking TAP, files of the checkout, running a compiler. */
#ifndef ATN_TEST_EVOLVE_COMMON_H
#define ATN_TEST_EVOLVE_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "evolve/knobs.h"

#define TEST_MAIN(tests)                                                                  \
    int main(int argc, char **argv)                                                       \
    {                                                                                     \
        test_program = argv[0];                                                           \
        test_root = argc > 1 ? argv[1] : file_home();                                     \
        test_seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;                            \
        cmocka_set_message_output(CM_OUTPUT_TAP);                                         \
        return cmocka_run_group_tests(tests, NULL, NULL);                                 \
    }

/* `PROGRAM [ROOT [SEED]]`: the line that a failing test prints runs the same cases again. */
static const char *test_program, *test_root;
static uint64_t test_seed;

#define fail_with(...)                                                                                    \
    (print_error(__VA_ARGS__), print_error("\nrerun: %s '%s' %llu\n", test_program, test_root,            \
                                           (unsigned long long)test_seed), fail())

/* Shipped kernels and the initial program; the text is the caller's to free, NULL past the last. */
static inline char *shipped_source(int i, const char **name)
{
    static const char *const names[] = {"src/kernel/flash_qvec.c", "src/kernel/decode.c",
                                        "examples/attention/initial_program.c", "src/kernel/flash_kvec.c",
                                        "src/kernel/rows.c", "src/kernel/bf16.c"};
    for (int k = 0; k < ATN_COUNT(names); k++) {
        char *path = file_join(test_root, names[k]), *text = NULL;
        if (!file_exists(path) || i-- > 0) {
            free(path);
            continue;
        }
        *name = names[k];
        assert_int_equal(file_read(path, 1 << 24, &text, NULL, NULL), ATN_OK);
        free(path);
        return text;
    }
    return NULL;
}

/* A text with some spans cut, doubled or replaced by bytes that lexers trip over. */
static inline char *mangle(const char *source, atn_rng *r)
{
    static const char *const bits[] = {
        "\\\n", "/*", "*/", "//", "\"", "'", "#if ", "#endif\n", "#else\n", "#define ", "##", "\r\n", "\xff", "(", ")",
        " knob: 1 2 3\n", "// knob:", "#elif 1\n", "\\", "0x", "1e+"};
    atn_text t = {0};
    size_t n = strlen(source);
    for (size_t at = 0; at < n;) {
        size_t step = 1 + rng_below(r, 400);
        if (step > n - at) step = n - at;
        uint32_t what = rng_below(r, 12);
        if (what != 0) text_addn(&t, source + at, step);
        if (what == 1) text_addn(&t, source + at, step);
        if (what == 2) text_add(&t, bits[rng_below(r, ATN_COUNT(bits))]);
        at += step;
    }
    return text_take(&t);
}

#endif
