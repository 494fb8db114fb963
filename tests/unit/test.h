/* What the unit tests share: cmocka with TAP output, problems from text, inputs that own their memory. */
#ifndef ATN_TEST_H
#define ATN_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "problem/data.h"
#include "problem/problem.h"

/* main of a test program; the array is the program's list of tests. */
#define TEST_MAIN(tests)                                   \
    int main(void)                                         \
    {                                                      \
        cmocka_set_message_output(CM_OUTPUT_TAP);          \
        return cmocka_run_group_tests(tests, NULL, NULL);  \
    }

#define fail_with(...) (print_error(__VA_ARGS__), print_error("\n"), fail())

static inline atn_problem problem_of(const char *text)
{
    atn_problem p;
    atn_error err;
    if (problem_parse(text, &p, &err) != ATN_OK) fail_with("'%s' does not parse: %s", text, err.text);
    return p;
}

typedef struct {
    atn_problem p;
    atn_layout l;
    atn_args a;
    char *memory[ATN_T_COUNT];
} inputs;

static inline inputs inputs_of(const atn_problem *p)
{
    inputs in = {.p = *p};
    char *at[ATN_T_COUNT] = {0};
    problem_layout(p, &in.l);
    for (int t = 0; t < ATN_T_COUNT; t++) {
        int off = !p->misalign ? 0 : t <= ATN_T_MASK && in.l.args.q.dtype != ATN_F32 ? 2 : 4;
        if (!in.l.bytes[t]) continue;
        in.memory[t] = aligned_alloc(64, (size_t)(in.l.bytes[t] + 127) / 64 * 64);
        at[t] = in.memory[t] + off;
    }
    in.a = in.l.args;
    in.a.q.ptr = at[ATN_T_Q];
    in.a.k.ptr = at[ATN_T_K];
    in.a.v.ptr = at[ATN_T_V];
    in.a.o.ptr = at[ATN_T_O];
    in.a.mask.ptr = at[ATN_T_MASK];
    in.a.sinks = (float *)at[ATN_T_SINKS];
    in.a.alibi = (float *)at[ATN_T_ALIBI];
    in.a.lse = (float *)at[ATN_T_LSE];
    return in;
}

static inline void inputs_release(inputs *in)
{
    for (int t = 0; t < ATN_T_COUNT; t++) free(in->memory[t]);
}

#endif
