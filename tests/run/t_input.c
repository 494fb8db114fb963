/* Bad input gets a status that names what is wrong, never a crash, and leaves the output alone. */
#include <math.h>

#include "run_test.h"

typedef struct {
    const char *word; /* that the message must hold */
    void (*spoil)(atn_args *a);
} bad;

#define BAD(name, word, statement)                                                                                     \
    static void name(atn_args *a)                                                                                      \
    {                                                                                                                  \
        statement;                                                                                                     \
    }
#define BAD_SHAPES(X)                                                                                                  \
    X(no_keys, "Skv", a->Skv = 0)                                                                                      \
    X(negative_keys, "Skv", a->Skv = -5)                                                                               \
    X(no_rows, "Sq", a->Sq = 0)                                                                                        \
    X(negative_batch, "B", a->B = -1)                                                                                  \
    X(no_heads, "Hq", a->Hq = 0)                                                                                       \
    X(negative_kv_heads, "Hkv", a->Hkv = -2)                                                                           \
    X(uneven_groups, "multiple", a->Hkv = 3)                                                                           \
    X(no_head_size, "D", a->D = 0)                                                                                     \
    X(huge_rows, "Sq", a->Sq = INT32_MAX)                                                                              \
    X(negative_head_size, "Dv", a->Dv = -64)                                                                           \
    X(scale_nan, "scale", a->scale = NAN)                                                                              \
    X(softcap_negative, "softcap", a->softcap = -1)                                                                    \
    X(softcap_nan, "softcap", a->softcap = NAN)                                                                        \
    X(causal_unknown, "causal", a->causal = 7)                                                                         \
    X(type_unknown, "q has type", a->q.dtype = 9)                                                                      \
    X(type_bool, "k has type", a->k.dtype = ATN_BOOL)                                                                  \
    X(mask_type, "mask has type", a->mask.dtype = ATN_BF16)                                                            \
    X(negative_stride, "k has a row stride", a->k.sr = -256)                                                           \
    X(zero_stride, "v has a head stride", a->v.sh = 0)                                                                 \
    X(odd_stride, "misaligned", a->q.sr += 2)                                                                          \
    X(absurd_stride, "absurd", a->k.sh = INT64_MAX / 2 / 4 * 4)                                                        \
    X(rows_overlap, "overlap each other", a->o.sr = 16)                                                                \
    X(elements_for_bytes, "strides are in bytes", a->q.sr = a->D)                                                      \
    X(zeroed, "atn_args_init", a->size = 0)                                                                            \
    X(size_wrong, "size", a->size = 12)
BAD_SHAPES(BAD)

#define BAD_POINTERS(X)                                                                                                \
    X(q_null, "q is NULL", a->q.ptr = NULL)                                                                            \
    X(o_null, "o is NULL", a->o.ptr = NULL)                                                                            \
    X(q_misaligned, "q is misaligned", a->q.ptr = (char *)a->q.ptr + 1)                                                \
    X(o_misaligned, "o is misaligned", a->o.ptr = (char *)a->o.ptr + 2)                                                \
    X(sinks_misaligned, "sinks", a->sinks = (const float *)((const char *)a->sinks + 1))                               \
    X(in_place, "o overlaps q", a->o.ptr = a->q.ptr)                                                                   \
    X(o_into_v, "o overlaps v", a->o.ptr = (char *)a->v.ptr + 64)                                                      \
    X(o_into_mask, "overlaps mask", a->o.ptr = a->mask.ptr)                                                            \
    X(lse_into_k, "lse overlaps k", a->lse = a->k.ptr)                                                                 \
    X(lse_into_o, "lse overlaps o", a->lse = a->o.ptr)                                                                 \
    X(mask_gone, "mask", a->mask.ptr = NULL)                                                                           \
    X(lse_gone, "lse", a->lse = NULL)                                                                                  \
    X(other_keys, "Skv", a->Skv -= 1)                                                                                  \
    X(other_window, "window", a->window_left = 3)                                                                      \
    X(other_type, "type", a->v.dtype = ATN_BF16)                                                                       \
    X(other_strides, "strides", a->v.sh += 64)
BAD_POINTERS(BAD)

#define ROW(name, word, statement) {word, name},
static const bad shapes[] = {BAD_SHAPES(ROW)}, pointers[] = {BAD_POINTERS(ROW)};

static const char *const TEXT = "f32 b2 h4/2 s20/30 d64 mask=f32 sinks lse";

static void bad_shapes(void **state)
{
    (void)state;
    atn_error err;
    inputs in = data_of(TEXT, 1);
    for (int i = 0; i < ATN_COUNT(shapes); i++) {
        atn_args a = in.a;
        atn_planned *p = (void *)&in;
        char class[128];
        shapes[i].spoil(&a);
        assert_refused(atn_plan_create(&a, NULL, &p, &err), ATN_USAGE, shapes[i].word);
        assert_true(p == (void *)&in); /* results untouched */
        assert_refused(atn_wisdom_class(&a, 1, class, sizeof class, &err), ATN_USAGE, shapes[i].word);
        assert_int_equal(atn_plan_create(&a, NULL, &p, NULL), ATN_USAGE); /* err may be NULL */
    }
    assert_refused(atn_plan_create(NULL, NULL, (atn_planned *[]){NULL}, &err), ATN_USAGE, "NULL");
    assert_refused(atn_plan_create(&in.a, NULL, NULL, &err), ATN_USAGE, "place");
    inputs_release(&in);
}

static void bad_pointers(void **state)
{
    (void)state;
    atn_error err;
    inputs in = data_of(TEXT, 1);
    atn_planned *p;
    atn_execution e;
    assert_ok(atn_plan_create(&in.a, NULL, &p, &err));
    void *workspace = aligned_alloc(64, (size_t)atn_plan_workspace(p) + 64);
    for (int i = 0; i < ATN_COUNT(pointers); i++) {
        atn_args a = in.a;
        pointers[i].spoil(&a);
        assert_refused(atn_execute(p, &a, NULL, &err), ATN_USAGE, pointers[i].word);
        assert_refused(atn_execute(p, &a, workspace, &err), ATN_USAGE, pointers[i].word);
        assert_refused(atn_execute_begin(p, &a, workspace, &e, &err), ATN_USAGE, pointers[i].word);
    }
    assert_int_equal(poison_count(&in.a), (20 * 64 + 20) * 4 * 2); /* nothing was written by any of them */
    assert_ok(atn_execute(p, &in.a, NULL, &err));                  /* and the plan is as good as before */
    assert_right(&in, TEXT);
    assert_refused(atn_execute(NULL, &in.a, NULL, &err), ATN_USAGE, "plan");
    void *const theirs[] = {in.a.o.ptr, in.a.q.ptr, in.a.lse};
    for (int i = 0; i < ATN_COUNT(theirs) && atn_plan_workspace(p) > 0; i++)
        assert_refused(atn_execute(p, &in.a, theirs[i], &err), ATN_USAGE, "the workspace overlaps");
    assert_right(&in, TEXT);
    assert_int_equal(atn_plan_workspace(NULL), 0);
    free(workspace);
    atn_plan_free(p);
    inputs_release(&in);
}

/* Views interleaved in one buffer do not overlap: q, k, v and o as columns of one token-major array. */
static void interleaved_views_are_fine(void **state)
{
    (void)state;
    atn_error err;
    enum { S = 24, H = 2, D = 32, WIDTH = 4 * H * D };
    float *all = aligned_alloc(64, S * WIDTH * sizeof *all);
    for (int i = 0; i < S * WIDTH; i++) all[i] = (float)(i * 37 % 101) / 50 - 1;
    atn_args a;
    atn_args_init(&a);
    a.Hq = H, a.Sq = a.Skv = S, a.D = D;
    atn_tensor *t[] = {&a.q, &a.k, &a.v, &a.o};
    for (int i = 0; i < 4; i++) *t[i] = (atn_tensor){.ptr = all + i * H * D, .sh = D * 4, .sr = WIDTH * 4};
    atn_planned *p;
    assert_ok(atn_plan_create(&a, NULL, &p, &err));
    assert_ok(atn_execute(p, &a, NULL, &err));
    a.o.ptr = all + 3 * H * D - 8; /* eight columns into v */
    assert_refused(atn_execute(p, &a, NULL, &err), ATN_USAGE, "overlaps v");
    atn_plan_free(p);
    free(all);
}

/* A row may see no key at all; that is a problem like any other. */
static void rows_without_keys_are_zero(void **state)
{
    (void)state;
    atn_error err;
    inputs in = data_of("f32 h2 s40/10 d64 causal lse", 2);
    atn_planned *p;
    assert_ok(atn_plan_create(&in.a, NULL, &p, &err));
    assert_ok(atn_execute(p, &in.a, NULL, &err));
    assert_right(&in, "causal with fewer keys than rows");
    assert_true(((const float *)in.a.o.ptr)[5] == 0 && in.a.lse[0] == -INFINITY);
    atn_plan_free(p);
    inputs_release(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_shapes),
        cmocka_unit_test(bad_pointers),
        cmocka_unit_test(interleaved_views_are_fine),
        cmocka_unit_test(rows_without_keys_are_zero),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
