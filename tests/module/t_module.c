/* The attention module: against transformers on shared weights, and against itself (prefill = decode, half caches). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/status.h"
#include "module/module.h"

typedef struct {
    const char *name;
    module_shape shape;
    const float *expected;       /* [BATCH][PROMPT + STEPS][hidden] */
} golden_case;

#include "golden.h"

/* As in make_golden.py. */
static float *made(int tensor, size_t n, double size, float plus)
{
    float *x = atn_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        uint64_t h = (i * 2654435761u + (uint64_t)tensor * 40503 + 12345) & 0xffffffff;
        h = ((h ^ (h >> 15)) * 2246822519u) & 0xffffffff;
        h = h ^ (h >> 13);
        x[i] = (float)(((double)(h >> 8) / (1 << 24) * 2 - 1) * size) + plus;
    }
    return x;
}

static module_weights weights_make(const module_shape *s)
{
    size_t q = (size_t)s->Hq * s->D * s->hidden, kv = (size_t)s->Hkv * s->D * s->hidden;
    float plus = s->norm_plus_one ? 0 : 1;
    module_weights w = {made(0, q, 0.25, 0), made(1, kv, 0.25, 0), made(2, kv, 0.25, 0), made(3, q, 0.25, 0), NULL, NULL};
    if (s->qk_norm) w.q_norm = made(4, (size_t)s->D, 0.5, plus), w.k_norm = made(5, (size_t)s->D, 0.5, plus);
    return w;
}

static void weights_free(module_weights *w)
{
    free((void *)w->q), free((void *)w->k), free((void *)w->v), free((void *)w->o);
    free((void *)w->q_norm), free((void *)w->k_norm);
}

/* Tokens [at, at + n) of each batch entry of x as a dense [BATCH][n][hidden]. */
static void slice(const float *x, int total, int hidden, int at, int n, float *out)
{
    for (int b = 0; b < BATCH; b++)
        memcpy(out + (size_t)b * n * hidden, x + ((size_t)b * total + at) * hidden, (size_t)n * hidden * sizeof *x);
}

static void unslice(float *y, int total, int hidden, int at, int n, const float *in)
{
    for (int b = 0; b < BATCH; b++)
        memcpy(y + ((size_t)b * total + at) * hidden, in + (size_t)b * n * hidden, (size_t)n * hidden * sizeof *y);
}

/* A prompt of `prompt` tokens, then one token at a time, as [BATCH][total][hidden]. */
static float *answers(const golden_case *g, int prompt, int cache_type, const atn_kernel *kernel)
{
    enum { TOTAL = PROMPT + STEPS };
    int hidden = g->shape.hidden;
    module_weights w = weights_make(&g->shape);
    float *x = made(9, (size_t)BATCH * TOTAL * hidden, 1, 0);
    float *y = atn_alloc((size_t)BATCH * TOTAL * hidden * sizeof *y);
    float *in = atn_alloc((size_t)BATCH * TOTAL * hidden * sizeof *y), *out = atn_alloc((size_t)BATCH * TOTAL * hidden * sizeof *y);
    atn_module *m;
    atn_error err = {0};
    module_options o = {.batch = BATCH, .capacity = TOTAL, .cache_type = cache_type, .kernel = kernel};
    if (module_create(&g->shape, &w, &o, &m, &err)) fail_msg("%s", err.text);
    for (int at = 0, n = prompt; at < TOTAL; at += n, n = 1) {
        slice(x, TOTAL, hidden, at, n, in);
        if (module_forward(m, in, n, out, &err)) fail_msg("%s: %s", g->name, err.text);
        unslice(y, TOTAL, hidden, at, n, out);
    }
    assert_int_equal(module_cached(m), TOTAL);
    if (module_forward(m, x, 1, out, &err) != ATN_USAGE) fail_msg("a full cache took one more token");
    module_stats stats;
    module_stats_get(m, &stats);
    assert_true(stats.tokens == BATCH * TOTAL && stats.attention_s > 0 && stats.attention_s < stats.total_s);
    if (kernel && !stats.own) fail_msg("the kernel given was not used, but %s", stats.kernel);
    module_free(m);
    weights_free(&w);
    free(x), free(in), free(out);
    return y;
}

static double relative(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(difference / size);
}

static void hold(const char *name, const char *what, const float *a, const float *b, size_t n, double tolerance)
{
    double error = relative(a, b, n);
    print_message("# %s, %s: relative L2 %.2e (allowed %.0e)\n", name, what, error, tolerance);
    if (!(error <= tolerance)) fail_msg("%s, %s: relative L2 %.2e, allowed %.0e", name, what, error, tolerance);
}

static size_t size_of(const golden_case *g) { return (size_t)BATCH * (PROMPT + STEPS) * g->shape.hidden; }

static void as_transformers(void **state)
{
    (void)state;
    for (int i = 0; i < ATN_COUNT(golden); i++) {
        float *y = answers(&golden[i], PROMPT, ATN_F32, NULL);
        hold(golden[i].name, "as transformers", y, golden[i].expected, size_of(&golden[i]), 1e-6);
        free(y);
    }
}

/* The comparison sees what it must see: each of these is a module that is wrong in one way. */
static void wrong_modules_differ(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 6; wrong++) {
        golden_case g = golden[wrong == 4 ? 2 : 0];
        if (wrong == 0) g.shape.rope_theta = 1e4f;
        if (wrong == 1) g.shape.qk_norm = false;
        if (wrong == 2) g.shape.causal = false;
        if (wrong == 3) g.shape.norm_eps = 0.1f;
        if (wrong == 4) g.shape.window = 6;
        if (wrong == 5) g.shape.scale = 0.26f;
        float *y = answers(&g, PROMPT, ATN_F32, NULL);
        double error = relative(y, g.expected, size_of(&g));
        if (!(error > 1e-3)) fail_msg("module %d, wrong on purpose, is within %.1e of the right one", wrong, error);
        free(y);
    }
}

static void prefill_is_decode(void **state)
{
    (void)state;
    for (int i = 0; i < ATN_COUNT(golden); i++) {
        float *a = answers(&golden[i], PROMPT + STEPS, ATN_F32, NULL), *b = answers(&golden[i], 1, ATN_F32, NULL);
        hold(golden[i].name, "one by one as at once", b, a, size_of(&golden[i]), 1e-6);
        free(a), free(b);
    }
}

static void half_caches(void **state)
{
    (void)state;
    for (int i = 0; i < ATN_COUNT(golden); i++) {
        float *f16 = answers(&golden[i], PROMPT, ATN_F16, NULL), *bf16 = answers(&golden[i], PROMPT, ATN_BF16, NULL);
        hold(golden[i].name, "f16 cache", f16, golden[i].expected, size_of(&golden[i]), 1e-3);
        hold(golden[i].name, "bf16 cache", bf16, golden[i].expected, size_of(&golden[i]), 8e-3);
        if (relative(bf16, golden[i].expected, size_of(&golden[i])) < 1e-5) fail_msg("the cache is not bf16");
        free(f16), free(bf16);
    }
}

/* A kernel from outside (here the plain one as a table) does the work in the middle. */
static void any_kernel(void **state)
{
    (void)state;
    const atn_kernel *plain = NULL;
    const char *name;
    for (int i = 0; (name = atn_kernel_at(i, NULL, NULL)) != NULL; i++)
        if (!strcmp(name, "plain@generic")) atn_kernel_at(i, &plain, NULL);
    assert_non_null(plain);
    for (int i = 0; i < ATN_COUNT(golden); i++) {
        float *y = answers(&golden[i], PROMPT, ATN_F32, plain);
        hold(golden[i].name, "plain kernel", y, golden[i].expected, size_of(&golden[i]), 1e-6);
        free(y);
    }
}

static void bad_input(void **state)
{
    (void)state;
    atn_module *m;
    atn_error err;
    module_shape s = golden[0].shape;
    module_weights w = weights_make(&s);
    module_options o = {.capacity = 4};
    s.Hkv = 3;
    assert_int_equal(module_create(&s, &w, &o, &m, &err), ATN_USAGE);
    s.Hkv = 2, o.capacity = 0;
    assert_int_equal(module_create(&s, &w, &o, &m, &err), ATN_USAGE);
    o.capacity = 4;
    float *norm = (float *)w.q_norm;
    w.q_norm = NULL;
    assert_int_equal(module_create(&s, &w, &o, &m, &err), ATN_USAGE);
    w.q_norm = norm;
    assert_int_equal(module_create(&s, &w, &o, &m, &err), ATN_OK);
    float x[5 * 24] = {0}, y[5 * 24];
    assert_int_equal(module_forward(m, x, 5, y, &err), ATN_USAGE);
    assert_int_equal(module_forward(m, x, 0, y, &err), ATN_USAGE);
    assert_int_equal(module_forward(m, x, 3, y, &err), ATN_OK);
    module_rewind(m, 2);
    assert_int_equal(module_cached(m), 1);
    module_free(m);
    weights_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_transformers), cmocka_unit_test(wrong_modules_differ),
                                       cmocka_unit_test(prefill_is_decode), cmocka_unit_test(half_caches),
                                       cmocka_unit_test(any_kernel), cmocka_unit_test(bad_input)};
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
