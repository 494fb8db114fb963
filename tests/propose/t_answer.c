/* Answers: every form, every way to be wrong, and no byte outside the markers ever changed whatever the answer is.
 * `PROGRAM [SEED]` runs the random cases with another seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/status.h"
#include "base/text.h"
#include "evolve/propose/answer.h"

static uint64_t seed = 1;
static const char *program;

static const char parent[] = "#include \"attune/kernel.h\"\n"
                             "static int before = 1;\n"
                             "// EVOLVE-BLOCK-START\n"
                             "static void f(int *a)\n"
                             "{\n"
                             "    for (int i = 0; i < 4; i++) {\n"
                             "        a[i] = 1;\n"
                             "        a[i] += 2;   \n"
                             "    }\n"
                             "    a[0] = 7;\n"
                             "    a[0] = 7;\n"
                             "}\n"
                             "// EVOLVE-BLOCK-END\n"
                             "static int after = 2;\n"
                             "const atn_kernel attune_kernel = {0};\n";

typedef struct {
    const char *name, *answer;
    answer_outcome outcome;
    const char *holds; /* in the new program, or in the words of the refusal */
} row;

#define BLOCK(a, b) "<<<<<<< SEARCH\n" a "=======\n" b ">>>>>>> REPLACE\n"

static const row rows[] = {
    {"exact", "Unroll.\n\n" BLOCK("        a[i] = 1;\n", "        a[i] = 9;\n"), ANSWER_OK, "        a[i] = 9;\n"},
    {"in a fence", "```c\n" BLOCK("        a[i] = 1;\n", "        a[i] = 9;\n") "```\n", ANSWER_OK, "a[i] = 9;"},
    {"crlf", "<<<<<<< SEARCH\r\n        a[i] = 1;\r\n=======\r\n        a[i] = 9;\r\n>>>>>>> REPLACE\r\n", ANSWER_OK,
     "        a[i] = 9;\n"},
    {"trailing blanks", BLOCK("        a[i] += 2;\n    }\n", "        a[i] += 3;\n    }\n"), ANSWER_OK, "a[i] += 3;\n"},
    {"shifted",
     BLOCK("for (int i = 0; i < 4; i++) {\n    a[i] = 1;\n", "for (int i = 0; i < 5; i++) {\n    a[i] = 9;\n"),
     ANSWER_OK, "    for (int i = 0; i < 5; i++) {\n        a[i] = 9;\n"},
    {"two blocks",
     BLOCK("        a[i] = 1;\n", "        a[i] = 9;\n") BLOCK("        a[i] = 9;\n", "        a[i] = 10;\n"),
     ANSWER_OK, "a[i] = 10;"},
    {"deleting", BLOCK("        a[i] = 1;\n", ""), ANSWER_OK, "i++) {\n        a[i] += 2;"},
    {"marker as context",
     BLOCK("// EVOLVE-BLOCK-START\nstatic void f(int *a)\n",
           "// EVOLVE-BLOCK-START\nstatic int g;\nstatic void f(int *a)\n"),
     ANSWER_OK, "START\nstatic int g;\n"},
    {"second block misses", BLOCK("        a[i] = 1;\n", "x\n") BLOCK("        a[j] = 1;\n", "y\n"), ANSWER_NO_MATCH,
     "block 2 of 2"},
    {"nearest line", BLOCK("    for (int i = 0; i < 4; i++) {\n        a[i] = 3;\n", "x\n"), ANSWER_NO_MATCH,
     "'a[i] = 1;'"},
    {"ambiguous", BLOCK("    a[0] = 7;\n", "    a[0] = 8;\n"), ANSWER_AMBIGUOUS, "lines 10 and 11"},
    {"outside", BLOCK("static int before = 1;\n", "static int before = 2;\n"), ANSWER_OUTSIDE, "line 2"},
    {"after", BLOCK("static int after = 2;\n", "static int after = 3;\n"), ANSWER_OUTSIDE, "outside"},
    {"marker moved", BLOCK("    a[0] = 7;\n}\n", "    a[0] = 7;\n// EVOLVE-BLOCK-END\n}\n"), ANSWER_OUTSIDE, "marker"},
    {"marker removed", BLOCK("}\n// EVOLVE-BLOCK-END\n", "}\n"), ANSWER_OUTSIDE, "outside"},
    {"before the block", BLOCK("// EVOLVE-BLOCK-START\n", "int x;\n// EVOLVE-BLOCK-START\n"), ANSWER_OUTSIDE, ""},
    {"empty search", BLOCK("\n", "x\n"), ANSWER_MALFORMED, "empty"},
    {"cut off", "<<<<<<< SEARCH\n        a[i] = 1;\n=======\n        a[i]", ANSWER_MALFORMED, "cut off"},
    {"no divider", "<<<<<<< SEARCH\n        a[i] = 1;\n>>>>>>> REPLACE\n", ANSWER_MALFORMED, "======="},
    {"nested", "<<<<<<< SEARCH\n<<<<<<< SEARCH\n", ANSWER_MALFORMED, "second"},
    {"prose", "I would unroll the loop.", ANSWER_EMPTY, "no SEARCH"},
    {"nothing", "", ANSWER_EMPTY, ""},
    {"no change", BLOCK("        a[i] = 1;\n", "        a[i] = 1;\n"), ANSWER_SAME, "nothing"},
    {"unified diff",
     "--- a.c\n+++ b.c\n@@ -99,3 +99,3 @@ f\n     for (int i = 0; i < 4; i++) {\n-        a[i] = 1;\n+        a[i] = "
     "9;\n",
     ANSWER_OK, "a[i] = 9;"},
    {"diff outside",
     "@@ -1,2 +1,2 @@\n #include \"attune/kernel.h\"\n-static int before = 1;\n+static int before = 5;\n",
     ANSWER_OUTSIDE, "line 2"},
    {"only the block", "```c\nstatic void f(int *a) { a[0] = 1; }\n```\n", ANSWER_OK,
     "START\nstatic void f(int *a) { a[0] = 1; }\n// EVOLVE"},
    {"whole",
     "Here.\n```c\n#include \"attune/kernel.h\"\nstatic int before = 1;\n// EVOLVE-BLOCK-START\nstatic void f(int *a) "
     "{ }\n"
     "// EVOLVE-BLOCK-END\nstatic int after = 2;\nconst atn_kernel attune_kernel = {0};\n```\n",
     ANSWER_OK, "static void f(int *a) { }\n"},
    {"whole, outside changed",
     "```c\n#include \"attune/kernel.h\"\nstatic int before = 3;\n// EVOLVE-BLOCK-START\nint x;\n// EVOLVE-BLOCK-END\n"
     "static int after = 2;\nconst atn_kernel attune_kernel = {0};\n```\n",
     ANSWER_OUTSIDE, "before = 3"},
    {"whole, more after",
     "```c\n#include \"attune/kernel.h\"\nstatic int before = 1;\n// EVOLVE-BLOCK-START\nint x;\n// EVOLVE-BLOCK-END\n"
     "static int after = 2;\nconst atn_kernel attune_kernel = {0};\nint more;\n```\n",
     ANSWER_OUTSIDE, "after the last"},
    {"whole without markers", "```c\n#include <x>\nconst atn_kernel attune_kernel = {0};\n```\n", ANSWER_OUTSIDE,
     "marker"},
    {"open fence", "```c\nstatic void f(int *a) { a[0]", ANSWER_MALFORMED, "cut off"},
    {"thoughts", "<think>" BLOCK("x\n", "y\n") "</think>" BLOCK("        a[i] = 1;\n", "        a[i] = 9;\n"),
     ANSWER_OK, "a[i] = 9;"},
    {"unicode", "Größer → schneller 🚀\n" BLOCK("        a[i] = 1;\n", "        a[i] = 9; // größer\n"), ANSWER_OK,
     "größer"},
};

static void each_form(void **state)
{
    (void)state;
    for (int i = 0; i < ATN_COUNT(rows); i++) {
        answer_program a;
        bool ok = answer_apply(rows[i].answer, parent, NULL, &a);
        const char *text = ok ? a.source : a.problem;
        if (ok != (rows[i].outcome == ANSWER_OK) || a.outcome != rows[i].outcome || !strstr(text, rows[i].holds))
            fail_msg("%s: %s: %s\nrerun: %s", rows[i].name, answer_word(a.outcome), text, program);
        answer_free(&a);
    }
}

static void notes_and_caps(void **state)
{
    (void)state;
    answer_program a;
    assert_true(answer_apply(rows[0].answer, parent, NULL, &a));
    assert_string_equal(a.note, "Unroll.");
    answer_free(&a);
    assert_false(answer_apply(rows[0].answer, parent, &(answer_limits){.source_max = 100}, &a));
    assert_int_equal(a.outcome, ANSWER_TOO_LARGE);
    char *huge = malloc(ANSWER_BYTES_MAX + 2);
    memset(huge, 'x', ANSWER_BYTES_MAX + 1);
    huge[ANSWER_BYTES_MAX + 1] = 0;
    assert_false(answer_apply(huge, parent, NULL, &a));
    assert_int_equal(a.outcome, ANSWER_TOO_LARGE);
    free(huge);
}

/* Everything but what stands between the markers. */
static char *outside_of(const char *s)
{
    const char *start = strstr(s, "EVOLVE-BLOCK-START"), *end = start ? strstr(start, "// EVOLVE-BLOCK-END") : NULL;
    assert_non_null(end);
    atn_text t = {0};
    text_addn(&t, s, (size_t)(start - s) + 19);
    text_add(&t, end);
    return text_take(&t);
}

static void mangled(void **state)
{
    (void)state;
    char *outside = outside_of(parent);
    int taken = 0;
    for (int n = 0; n < 20000; n++) {
        atn_rng r = rng_make(seed, 7, (uint64_t)n);
        const char *from = rows[rng_below(&r, ATN_COUNT(rows))].answer,
                   *other = rows[rng_below(&r, ATN_COUNT(rows))].answer;
        atn_text t = {0};
        size_t len = strlen(from), at = len ? rng_below(&r, (uint32_t)len) : 0;
        text_addn(&t, from, at);
        if (rng_below(&r, 2)) text_add(&t, other + (strlen(other) ? rng_below(&r, (uint32_t)strlen(other)) : 0));
        if (rng_below(&r, 2)) text_addn(&t, &"\n\0`<=>/*@ \xff"[rng_below(&r, 10)], 1);
        if (rng_below(&r, 2)) text_add(&t, from + at);
        char *answer = text_take(&t);
        answer_program a;
        if (answer_apply(answer, parent, NULL, &a)) {
            char *now = outside_of(a.source);
            if (strcmp(now, outside))
                fail_msg("case %d changed what is outside:\n%s\nrerun: %s %llu", n, answer, program,
                         (unsigned long long)seed);
            free(now);
            taken++;
        } else {
            assert_true(a.problem[0]);
            assert_null(a.source);
        }
        answer_free(&a);
        free(answer);
    }
    assert_true(taken > 100);
    free(outside);
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc > 1) seed = strtoull(argv[1], NULL, 0);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_form), cmocka_unit_test(notes_and_caps),
                                       cmocka_unit_test(mangled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
