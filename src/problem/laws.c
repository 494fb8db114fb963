/* The laws of attention: relations between a kernel's own outputs that need no reference.
 *
 * Inputs lie on grids in [-2, 2] that leave a bit of their type's mantissa free, so that the derived inputs - a sum of
 * two V, keys moved by a vector - are exact, and all that is left is the kernel's own error.
 *
 * Features switch laws off:
 *                          sinks  softcap  alibi  float mask  bool mask  causal, window
 *   V constant               x
 *   linear in V
 *   key permutation                          x                              x
 *   key shift                x       x
 *   Q zero                   x               x        x
 *   masked keys appended     needs one of: mask, causal (something must mask them)
 *   GQA = MHA                needs Hq > Hkv
 *   halves merged            x               x                              x      needs Skv >= 2 and a kernel with lse
 * A derived problem that the kernel refuses (call returns false) leaves its law out. */
#include "problem/laws.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "problem/data.h"
#include "problem/half.h"
#include "problem/reference.h"

/* ---- inputs that own their memory ----------------------------------------------------------------------------- */

typedef struct {
    atn_problem p;
    atn_layout l;
    atn_args a;
    char *memory[ATN_T_COUNT];
} inputs;

static void inputs_create(inputs *in, const atn_problem *p)
{
    *in = (inputs){.p = *p};
    problem_layout(p, &in->l);
    in->a = in->l.args;
    for (int t = 0; t < ATN_T_COUNT; t++)
        if (in->l.bytes[t]) in->memory[t] = atn_alloc((size_t)in->l.bytes[t]);
    in->a.q.ptr = in->memory[ATN_T_Q];
    in->a.k.ptr = in->memory[ATN_T_K];
    in->a.v.ptr = in->memory[ATN_T_V];
    in->a.o.ptr = in->memory[ATN_T_O];
    in->a.mask.ptr = in->memory[ATN_T_MASK];
    in->a.sinks = (const float *)in->memory[ATN_T_SINKS];
    in->a.alibi = (const float *)in->memory[ATN_T_ALIBI];
    in->a.lse = (float *)in->memory[ATN_T_LSE];
}

static void inputs_free(inputs *in)
{
    for (int t = 0; t < ATN_T_COUNT; t++) free(in->memory[t]);
}

static void set(const atn_tensor *t, int b, int h, int row, int col, double value)
{
    char *p = (char *)t->ptr + b * t->sb + h * t->sh + row * t->sr + (int64_t)col * dtype_bytes(t->dtype);
    float x = (float)value;
    uint16_t u = t->dtype == ATN_BF16 ? bf16_of_f32(x) : f16_of_f32(x);
    if (t->dtype == ATN_F32) memcpy(p, &x, sizeof x);
    else if (t->dtype == ATN_BOOL) *p = value != 0;
    else memcpy(p, &u, sizeof u);
}

static double get(const atn_tensor *t, int b, int h, int row, int col) { return tensor_get(t, b, h, row, col); }

#define EACH(b, B, h, H, row, R, col, C)         \
    for (int b = 0; b < (B); b++)                \
        for (int h = 0; h < (H); h++)            \
            for (int row = 0; row < (R); row++)  \
                for (int col = 0; col < (C); col++)

/* A multiple of 1/step in [-2, 2]; the sum of two is below 4, so it needs 2 + log2(step) bits. */
static double grid(atn_rng *r, int dtype)
{
    int step = dtype == ATN_F32 ? 4096 : dtype == ATN_F16 ? 256 : 32;
    return ((double)rng_below(r, (uint32_t)(4 * step + 1)) - 2 * step) / step;
}

/* Mask, sinks and slopes as the data maker does it; then q, k, v on grids. Logits have a deviation of about 1.4. */
static void inputs_fill(inputs *in, atn_rng *rng)
{
    const atn_args *a = &in->a;
    data_fill(&in->p, &in->l, a, ATN_DATA_NORMAL, rng);
    EACH(b, a->B, h, a->Hq, i, a->Sq, d, a->D) set(&a->q, b, h, i, d, grid(rng, a->q.dtype));
    EACH(b, a->B, h, a->Hkv, j, a->Skv, d, a->D) set(&a->k, b, h, j, d, grid(rng, a->k.dtype));
    EACH(b, a->B, h, a->Hkv, j, a->Skv, d, a->Dv) set(&a->v, b, h, j, d, grid(rng, a->v.dtype));
}

/* Copies rows [0, rows) of q, k or v (and of mask: columns [0, cols)) where the two may have other sizes around
 * them. */
static void copy(const atn_tensor *to, const atn_tensor *from, int B, int H, int rows, int cols)
{
    EACH(b, B, h, H, row, rows, col, cols) set(to, b, h, row, col, get(from, b, h, row, col));
}

static void copy_vectors(inputs *to, const inputs *from)
{
    for (int t = ATN_T_SINKS; t <= ATN_T_ALIBI; t++)
        if (to->memory[t]) memcpy(to->memory[t], from->memory[t], (size_t)to->l.bytes[t]);
}

static void copy_all(inputs *to, const inputs *from)
{
    const atn_args *a = &from->a;
    copy(&to->a.q, &a->q, a->B, a->Hq, a->Sq, a->D);
    copy(&to->a.k, &a->k, a->B, a->Hkv, a->Skv, a->D);
    copy(&to->a.v, &a->v, a->B, a->Hkv, a->Skv, a->Dv);
    if (a->mask.ptr) copy(&to->a.mask, &a->mask, a->B, 1, a->Sq, a->Skv);
    copy_vectors(to, from);
}

/* May row i see key j, by position and by mask? */
static bool allowed(const atn_args *a, int b, int h, int i, int j)
{
    int lo, hi;
    attention_row_range(a, i, &lo, &hi);
    if (j < lo || j >= hi) return false;
    if (!a->mask.ptr) return true;
    double m = get(&a->mask, b, h, i, j);
    return a->mask.dtype == ATN_BOOL ? m != 0 : m > -INFINITY;
}

/* ---- running and measuring ------------------------------------------------------------------------------------ */

typedef struct {
    const atn_problem *p;
    law_call call;
    void *ctx;
    inputs base;            /* filled; base.a.o holds the kernel's output for them */
    atn_rng rng;
} bench;

static bool run(const bench *t, const inputs *in)
{
    poison_fill(in->a.o.ptr, in->l.bytes[ATN_T_O]);
    if (in->a.lse) poison_fill(in->a.lse, in->l.bytes[ATN_T_LSE]);
    return t->call(t->ctx, &in->a);
}

typedef struct {
    double diff2, want2;
} norm;

static void meet(norm *n, double got, double want)
{
    double d = got - want;
    n->diff2 += d * d;                         /* NaN stays, and fails the law */
    n->want2 += want * want;
}

static double relative(const norm *n) { return n->want2 > 0 ? sqrt(n->diff2 / n->want2) : sqrt(n->diff2); }

/* ||o of x - o of the base|| over the base's rows */
static double against_base(const bench *t, const inputs *x)
{
    const atn_args *a = &t->base.a;
    norm n = {0};
    EACH(b, a->B, h, a->Hq, i, a->Sq, d, a->Dv) meet(&n, get(&x->a.o, b, h, i, d), get(&a->o, b, h, i, d));
    return relative(&n);
}

/* ---- the laws: each returns false where it does not apply ----------------------------------------------------- */

static bool v_constant(bench *t, inputs *x, double *error)
{
    const atn_args *a = &x->a;
    if (t->p->sinks) return false;
    copy_all(x, &t->base);
    EACH(b, a->B, h, a->Hkv, j, a->Skv, d, a->Dv) set(&a->v, b, h, j, d, (double)((b + 2 * h + 3 * d) % 15 - 7) / 8);
    if (!run(t, x)) return false;
    norm n = {0};
    for (int b = 0; b < a->B; b++)
        for (int h = 0; h < a->Hq; h++)
            for (int i = 0; i < a->Sq; i++) {
                int hkv = h / (a->Hq / a->Hkv);
                bool any = false;
                for (int j = 0; j < a->Skv && !any; j++) any = allowed(a, b, h, i, j);
                for (int d = 0; d < a->Dv; d++)
                    meet(&n, get(&a->o, b, h, i, d), any ? get(&a->v, b, hkv, 0, d) : 0);
            }
    *error = relative(&n);
    return true;
}

static bool linear_in_v(bench *t, inputs *x, double *error)
{
    const atn_args *a = &x->a;
    inputs sum;
    copy_all(x, &t->base);
    EACH(b, a->B, h, a->Hkv, j, a->Skv, d, a->Dv) set(&a->v, b, h, j, d, grid(&t->rng, a->v.dtype));
    inputs_create(&sum, &x->p);
    copy_all(&sum, x);
    EACH(b, a->B, h, a->Hkv, j, a->Skv, d, a->Dv)
        set(&sum.a.v, b, h, j, d, get(&a->v, b, h, j, d) + get(&t->base.a.v, b, h, j, d));
    bool ok = run(t, x) && run(t, &sum);
    norm n = {0};
    EACH(b, a->B, h, a->Hq, i, a->Sq, d, a->Dv)
        meet(&n, get(&sum.a.o, b, h, i, d), get(&a->o, b, h, i, d) + get(&t->base.a.o, b, h, i, d));
    *error = relative(&n);
    inputs_free(&sum);
    return ok;
}

static bool key_permutation(bench *t, inputs *x, double *error)
{
    const atn_args *a = &x->a, *from = &t->base.a;
    if (t->p->alibi || t->p->causal || t->p->window_left >= 0 || t->p->window_right >= 0) return false;
    copy_all(x, &t->base);
    int *order = atn_alloc((size_t)a->Skv * sizeof *order);
    for (int j = 0; j < a->Skv; j++) {         /* Fisher and Yates, inside out */
        int k = (int)rng_below(&t->rng, (uint32_t)j + 1);
        order[j] = order[k];
        order[k] = j;
    }
    EACH(b, a->B, h, a->Hkv, j, a->Skv, d, a->D) set(&a->k, b, h, j, d, get(&from->k, b, h, order[j], d));
    EACH(b, a->B, h, a->Hkv, j, a->Skv, d, a->Dv) set(&a->v, b, h, j, d, get(&from->v, b, h, order[j], d));
    if (a->mask.ptr)
        EACH(b, a->B, h, 1, i, a->Sq, j, a->Skv) set(&a->mask, b, h, i, j, get(&from->mask, b, h, i, order[j]));
    free(order);
    if (!run(t, x)) return false;
    *error = against_base(t, x);
    return true;
}

static bool key_shift(bench *t, inputs *x, double *error)
{
    const atn_args *a = &x->a;
    if (t->p->softcap > 0 || t->p->sinks) return false;
    copy_all(x, &t->base);
    for (int d = 0; d < a->D; d++) {
        double by = grid(&t->rng, a->k.dtype);
        for (int b = 0; b < a->B; b++)
            for (int h = 0; h < a->Hkv; h++)
                for (int j = 0; j < a->Skv; j++) set(&a->k, b, h, j, d, get(&a->k, b, h, j, d) + by);
    }
    if (!run(t, x)) return false;
    *error = against_base(t, x);
    return true;
}

static bool q_zero(bench *t, inputs *x, double *error)
{
    const atn_args *a = &x->a;
    if (t->p->sinks || t->p->alibi || (a->mask.ptr && a->mask.dtype != ATN_BOOL)) return false;
    copy_all(x, &t->base);
    EACH(b, a->B, h, a->Hq, i, a->Sq, d, a->D) set(&a->q, b, h, i, d, 0);
    if (!run(t, x)) return false;
    norm n = {0};
    double *mean = atn_alloc((size_t)a->Dv * sizeof *mean);
    for (int b = 0; b < a->B; b++)
        for (int h = 0; h < a->Hq; h++)
            for (int i = 0; i < a->Sq; i++) {
                int keys = 0;
                for (int d = 0; d < a->Dv; d++) mean[d] = 0;
                for (int j = 0; j < a->Skv; j++) {
                    if (!allowed(a, b, h, i, j)) continue;
                    keys++;
                    for (int d = 0; d < a->Dv; d++) mean[d] += get(&a->v, b, h / (a->Hq / a->Hkv), j, d);
                }
                for (int d = 0; d < a->Dv; d++) meet(&n, get(&a->o, b, h, i, d), keys ? mean[d] / keys : 0);
            }
    free(mean);
    *error = relative(&n);
    return true;
}

/* As many query rows are appended as keys, so that bottom-right alignment leaves the old rows where they are. */
static bool keys_appended(bench *t, inputs *unused, double *error)
{
    enum { EXTRA = 5 };
    const atn_args *a = &t->base.a;
    (void)unused;
    if (!t->p->causal && t->p->mask < 0) return false;
    if (t->p->mask < 0 && t->p->causal == ATN_CAUSAL_TOP_LEFT && a->Sq > a->Skv)
        return false; /* old rows would see them */
    atn_problem p = *t->p;
    p.Sq += EXTRA;
    p.Skv += EXTRA;
    if (p.cache_rows) p.cache_rows += EXTRA;
    inputs x;
    inputs_create(&x, &p);
    inputs_fill(&x, &t->rng);
    copy_all(&x, &t->base);
    if (x.a.mask.ptr)
        for (int b = 0; b < a->B; b++)
            for (int i = 0; i < a->Sq; i++)
                for (int j = a->Skv; j < x.a.Skv; j++)
                    set(&x.a.mask, b, 0, i, j, x.a.mask.dtype == ATN_BOOL ? 0 : -INFINITY);
    bool ok = run(t, &x);
    if (ok) *error = against_base(t, &x);
    inputs_free(&x);
    return ok;
}

static bool gqa_is_mha(bench *t, inputs *unused, double *error)
{
    const atn_args *a = &t->base.a;
    int group = a->Hq / a->Hkv;
    (void)unused;
    if (group == 1) return false;
    atn_problem p = *t->p;
    p.Hkv = p.Hq;
    inputs x;
    inputs_create(&x, &p);
    copy(&x.a.q, &a->q, a->B, a->Hq, a->Sq, a->D);
    EACH(b, a->B, h, a->Hq, j, a->Skv, d, a->D) set(&x.a.k, b, h, j, d, get(&a->k, b, h / group, j, d));
    EACH(b, a->B, h, a->Hq, j, a->Skv, d, a->Dv) set(&x.a.v, b, h, j, d, get(&a->v, b, h / group, j, d));
    if (a->mask.ptr) copy(&x.a.mask, &a->mask, a->B, 1, a->Sq, a->Skv);
    copy_vectors(&x, &t->base);
    bool ok = run(t, &x);
    if (ok) *error = against_base(t, &x);
    inputs_free(&x);
    return ok;
}

/* The kernel on keys [first, first + n) of the base, with its log-sum-exp. */
static bool run_part(bench *t, int first, int n, inputs *x)
{
    const atn_args *a = &t->base.a;
    atn_problem p = *t->p;
    p.Skv = n;
    p.cache_rows = 0;
    p.lse = true;
    inputs_create(x, &p);
    copy(&x->a.q, &a->q, a->B, a->Hq, a->Sq, a->D);
    EACH(b, a->B, h, a->Hkv, j, n, d, a->D) set(&x->a.k, b, h, j, d, get(&a->k, b, h, first + j, d));
    EACH(b, a->B, h, a->Hkv, j, n, d, a->Dv) set(&x->a.v, b, h, j, d, get(&a->v, b, h, first + j, d));
    if (a->mask.ptr) EACH(b, a->B, h, 1, i, a->Sq, j, n) set(&x->a.mask, b, h, i, j, get(&a->mask, b, h, i, first + j));
    return run(t, x);
}

static bool halves_merged(bench *t, inputs *unused, double *error)
{
    const atn_args *a = &t->base.a;
    (void)unused;
    if (t->p->sinks || t->p->alibi || t->p->causal || t->p->window_left >= 0 || t->p->window_right >= 0 || a->Skv < 2)
        return false;
    int at = 1 + (int)rng_below(&t->rng, (uint32_t)a->Skv - 1);
    inputs x = {0}, y = {0};
    bool ok = run_part(t, 0, at, &x) && run_part(t, at, a->Skv - at, &y);
    norm n = {0};
    for (int b = 0; ok && b < a->B; b++)
        for (int h = 0; h < a->Hq; h++)
            for (int i = 0; i < a->Sq; i++) {
                int64_t row = ((int64_t)b * a->Hq + h) * a->Sq + i;
                double lx = (double)x.a.lse[row], ly = (double)y.a.lse[row], m = fmax(lx, ly);
                double wx = m > -INFINITY ? exp(lx - m) : 0, wy = m > -INFINITY ? exp(ly - m) : 0, w = wx + wy;
                for (int d = 0; d < a->Dv; d++)
                    meet(&n, get(&a->o, b, h, i, d),
                         w > 0 ? (wx * get(&x.a.o, b, h, i, d) + wy * get(&y.a.o, b, h, i, d)) / w : 0);
            }
    *error = relative(&n);
    inputs_free(&x);
    inputs_free(&y);
    return ok;
}

static const struct {
    const char *name;
    bool (*check)(bench *, inputs *room, double *error);
} LAWS[ATN_LAWS] = {
    {"V constant", v_constant},           {"linear in V", linear_in_v},
    {"key permutation", key_permutation}, {"key shift", key_shift},
    {"Q zero", q_zero},                   {"masked keys appended", keys_appended},
    {"GQA = MHA", gqa_is_mha},            {"halves merged", halves_merged},
};

int laws_check(const atn_problem *p, uint64_t seed, double tolerance_factor, law_call call, void *ctx,
               atn_law out[ATN_LAWS])
{
    bench t = {.p = p, .call = call, .ctx = ctx, .rng = rng_make(seed, 0x1a35, 0)};
    int violated = 0;
    inputs_create(&t.base, p);
    inputs_fill(&t.base, &t.rng);
    bool runs = run(&t, &t.base);
    /* Each side of a relation carries its own error; logits of shifted keys are twice as large; sums of outputs may
     * cancel. Logits spread wider than NORMAL and less than PEAKED data. */
    double tolerance = 2 * tolerance_for(p, ATN_DATA_PEAKED, tolerance_factor).rel_l2;
    for (int i = 0; i < ATN_LAWS; i++) {
        inputs room;
        inputs_create(&room, p);
        out[i] = (atn_law){.name = LAWS[i].name, .holds = true};
        out[i].applies = runs && LAWS[i].check(&t, &room, &out[i].error);
        if (out[i].applies) out[i].holds = out[i].error <= tolerance;
        else out[i].error = 0;
        violated += !out[i].holds;
        inputs_free(&room);
    }
    inputs_free(&t.base);
    return violated;
}
