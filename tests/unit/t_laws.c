/* The laws hold for the reference itself and for an honest kernel, whatever the features; each law is broken by some
 * mistake that breaks nothing else about it. */
#include "test.h"

#include "honest.h"
#include "problem/laws.h"

typedef struct {
    honest kernel;
    bool no_lse;            /* refuses problems with lse */
    int calls;
} subject;

static bool call_honest(void *ctx, const atn_args *a)
{
    subject *s = ctx;
    s->calls++;
    if (s->no_lse && a->lse) return false;
    honest_run(&s->kernel, a);
    return true;
}

/* fp64, rounded to the output type once: as right as can be. */
static bool call_reference(void *ctx, const atn_args *a)
{
    double *out = malloc(((size_t)a->Dv + (size_t)a->Skv) * sizeof *out), lse;
    (void)ctx;
    for (int b = 0; b < a->B; b++)
        for (int h = 0; h < a->Hq; h++)
            for (int i = 0; i < a->Sq; i++) {
                reference_row(a, b, h, i, out, &lse, out + a->Dv);
                for (int d = 0; d < a->Dv; d++) write1(a, b, h, i, d, (float)out[d]);
                if (a->lse) a->lse[((int64_t)b * a->Hq + h) * a->Sq + i] = (float)lse;
            }
    free(out);
    return true;
}

static const char *const TEXTS[] = {
    "f32 h4/2 s33 d64",
    "f32 b2 h4/2 s17/40 d24/16 causal",
    "f32 h2 s40/17 d64 causal",
    "f32 h2 s20 d64 causal=top lse",
    "f32 h2 s30/12 d64 causal=top",
    "f32 h2 s30 d64 window=5,3",
    "f32 h4/1 s30 d64 mask=f32",
    "f32 h4/1 s30/50 d64 mask=bool lse",
    "f32 h2 s30 d64 causal mask=f16 softcap=10",
    "f32 h4/2 s30 d64 causal sinks alibi lse",
    "f32 h2 s30 d64 softcap=5 sinks",
    "f32 h4/2 s1/77 d128 alibi",
    "f32 b2 h4/2 s9/30 d64 cache=40 layout=bshd",
    "f32 h1 s1 d8",
    "f16 h4/2 s33 d64",
    "bf16 h4/2 s33 d64 causal",
    "bf16 h4/2 s20 d64 mask=bool",
    "f32:bf16 h4/2 s33 d64",
    "f32:f16 h2 s1/50 d64 sinks",
};

static void laws_hold_for_whoever_is_right(void **state)
{
    (void)state;
    int applied[ATN_LAWS] = {0};
    for (int t = 0; t < ATN_COUNT(TEXTS); t++)
        for (int who = 0; who < 2; who++) {
            atn_problem p = problem_of(TEXTS[t]);
            atn_law laws[ATN_LAWS];
            subject s = {0};
            int n = laws_check(&p, (uint64_t)t, 1, who ? call_honest : call_reference, &s, laws);
            for (int i = 0; i < ATN_LAWS; i++) {
                if (!laws[i].holds) fail_with("'%s': law '%s' is off by %.3g", TEXTS[t], laws[i].name, laws[i].error);
                applied[i] += laws[i].applies;
            }
            assert_int_equal(n, 0);
        }
    for (int i = 0; i < ATN_LAWS; i++) assert_true(applied[i] >= 4);
}

static bool broken(const char *text, honest kernel, const char *law)
{
    atn_problem p = problem_of(text);
    atn_law laws[ATN_LAWS];
    subject s = {.kernel = kernel};
    int n = laws_check(&p, 5, 1, call_honest, &s, laws), counted = 0;
    bool found = false;
    for (int i = 0; i < ATN_LAWS; i++) {
        counted += !laws[i].holds;
        if (!strcmp(laws[i].name, law)) found = laws[i].applies && !laws[i].holds;
        assert_true(laws[i].applies || laws[i].holds);
    }
    assert_int_equal(n, counted);
    return found;
}

static void laws_are_broken_by_who_is_wrong(void **state)
{
    (void)state;
    assert_true(broken("f32 h2 s40 d64 causal", (honest){.wrong = MUTANT_ZEROS}, "V constant"));
    assert_true(broken("f32 h2 s40/20 d64 causal", (honest){.wrong = MUTANT_MASKED_MEAN}, "V constant"));
    assert_true(broken("f32 h2 s40 d64", (honest){.wrong = MUTANT_DROP_LAST}, "key permutation"));
    assert_true(broken("f32 h2 s40/100 d64", (honest){.wrong = MUTANT_LOCAL}, "key permutation"));
    assert_true(broken("f32 h2 s40 d64", (honest){.wrong = MUTANT_SKIP_SMALL}, "key permutation") ||
                broken("f32 h2 s40 d64", (honest){.wrong = MUTANT_SKIP_SMALL}, "key shift") ||
                broken("f32 h2 s40 d64", (honest){.wrong = MUTANT_SKIP_SMALL}, "halves merged"));
    assert_true(broken("f32 h2 s40 d64 causal", (honest){.wrong = MUTANT_HALF_INPUTS}, "key shift"));
    assert_true(broken("f32 h2 s4/12 d64", (honest){.wrong = MUTANT_FAST_EXP}, "halves merged"));
    assert_true(broken("f32 h2 s40 d64 causal", (honest){.wrong = MUTANT_CAUSAL_LATE}, "masked keys appended"));
    assert_true(broken("f32 h2 s40 d64 causal", (honest){.wrong = MUTANT_DROP_LAST}, "Q zero"));
    assert_true(broken("f32 h2 s40 d64", (honest){.wrong = MUTANT_ZEROS}, "Q zero"));
    assert_true(broken("f32 h4/2 s40 d64", (honest){.wrong = MUTANT_GQA_MODULO}, "GQA = MHA"));
    assert_true(broken("f32 h2 s40 d64", (honest){.wrong = MUTANT_LSE_BASE2}, "halves merged"));
    assert_true(broken("f32 h2 s40 d64", (honest){.wrong = MUTANT_DROP_TAIL}, "halves merged"));
}

/* "linear in V" is the law that a kernel breaks whose weights depend on V: the zoo's favourite is one that caches
 * outputs. */
static bool call_cached(void *ctx, const atn_args *a)
{
    static float kept[2 * 40 * 64];
    subject *s = ctx;
    honest_run(&s->kernel, a);
    if (s->calls++ == 0) memcpy(kept, a->o.ptr, sizeof kept);
    memcpy(a->o.ptr, kept, sizeof kept);
    return true;
}

static void a_cached_answer_is_not_linear(void **state)
{
    (void)state;
    atn_problem p = problem_of("f32 h2 s40 d64");
    atn_law laws[ATN_LAWS];
    subject s = {0};
    assert_true(laws_check(&p, 5, 1, call_cached, &s, laws) >= 2);
    assert_string_equal(laws[1].name, "linear in V");
    assert_true(laws[1].applies && !laws[1].holds);
}

static void a_refusal_is_no_violation(void **state)
{
    (void)state;
    atn_problem p = problem_of("f32 h2 s40 d64");
    atn_law laws[ATN_LAWS];
    subject s = {.no_lse = true};
    assert_int_equal(laws_check(&p, 5, 1, call_honest, &s, laws), 0);
    assert_string_equal(laws[7].name, "halves merged");
    assert_false(laws[7].applies);
    assert_true(laws[0].applies && laws[1].applies);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(laws_hold_for_whoever_is_right),
    cmocka_unit_test(laws_are_broken_by_who_is_wrong),
    cmocka_unit_test(a_cached_answer_is_not_linear),
    cmocka_unit_test(a_refusal_is_no_violation),
};
TEST_MAIN(tests)
