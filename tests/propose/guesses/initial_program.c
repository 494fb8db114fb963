/* initial_program.c: attention in three plain passes. `attune evolve` starts here.
 *
 * What evolves is the function between the EVOLVE-BLOCK markers, the seed's five lines written out in C:
 *
 *     scores = matmul(queries, transpose(keys))
 *     scores = scores * scale
 *     if mask is not None: scores = scores + mask
 *     weights = softmax(scores, axis=-1)
 *     output = matmul(weights, values)
 *
 * Rules for whoever rewrites it:
 *   - Same results: the error against the fp64 reference stays within the tolerance of the problem's types.
 *   - Include attune/kernel.h and attune/vec.h only. No allocation, thread, system call, static data that changes, or
 *     memory other than what the arguments give. `plan` says how much scratch each task needs.
 *   - A number worth trying others for is a knob: a #define whose line comment reads "knob:" and then its allowed values.
 *   - Helpful: skip keys that causal order or the window forbids, tile for the caches, keep several rows of output in
 *     registers, never materialise all scores, share one visit of K and V among the query heads of a group.
 *
 * What is fixed, below and around it: reading tensors of every type, which keys a row may see, the task table. */
#include "attune/kernel.h"

#include <math.h>

/* One (batch, head) pair as plain matrices. Outputs go to o and lse. */
typedef struct {
    int Sq, Skv, D, Dv;
    float scale, softcap, slope;     /* softcap 0: none; slope 0: no ALiBi */
    const float *q;                  /* [Sq][D] */
    const float *k;                  /* [Skv][D] */
    const float *v;                  /* [Skv][Dv] */
    const float *sink;               /* one extra logit without a value, or NULL */
    const char *mask;                /* row 0 of the mask, or NULL */
    int64_t mask_stride;
    int mask_type;
    const atn_args *args;
    float *o;                        /* [Sq][Dv] */
    float *lse;                      /* [Sq] */
} head;

/* Row i sees keys lo <= j < hi, before masks. */
static void visible(const head *x, int i, int *lo, int *hi)
{
    const atn_args *a = x->args;
    int64_t p = (int64_t)i + (a->causal == ATN_CAUSAL_TOP_LEFT ? 0 : a->Skv - a->Sq), first = 0, last = a->Skv - 1;
    if (a->causal != ATN_CAUSAL_NONE && last > p) last = p;
    if (a->window_right >= 0 && last > p + a->window_right) last = p + a->window_right;
    if (a->window_left >= 0 && first < p - a->window_left) first = p - a->window_left;
    if (last < first) first = 0, last = -1;
    *lo = (int)first, *hi = (int)last + 1;
}

static float from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, f = h & 0x3ff;
    union { uint32_t u; float f; } x;
    if (e == 0) return (sign ? -1.0f : 1.0f) * (float)f * 0x1p-24f;
    x.u = sign | (e == 31 ? 0x7f800000u : (e + 112) << 23) | f << 13;
    return x.f;
}

static uint16_t to_f16(float y)
{
    union { uint32_t u; float f; } x = {.f = y};
    uint32_t sign = x.u >> 16 & 0x8000, a = x.u & 0x7fffffff;
    if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (a >= 0x47800000) return (uint16_t)(sign | 0x7c00);
    if (a >= 0x38800000) return (uint16_t)(sign | (a + 0xfff + (a >> 13 & 1) - 0x38000000) >> 13);
    x.u = a;
    return (uint16_t)(sign | (uint32_t)lrintf(x.f * 0x1p24f));
}

static float get(const void *p, int dtype, int64_t i)
{
    union { uint32_t u; float f; } x;
    switch (dtype) {
    case ATN_F32: return ((const float *)p)[i];
    case ATN_F16: return from_f16(((const uint16_t *)p)[i]);
    case ATN_BOOL: return ((const uint8_t *)p)[i] ? 0.0f : -INFINITY;
    default: x.u = (uint32_t)((const uint16_t *)p)[i] << 16; return x.f;
    }
}

static void put(void *p, int dtype, int64_t i, float y)
{
    union { uint32_t u; float f; } x = {.f = y};
    uint32_t bf16 = y == y ? (x.u + 0x7fff + (x.u >> 16 & 1)) >> 16 : x.u >> 16 | 0x40;
    if (dtype == ATN_F32) ((float *)p)[i] = y;
    else ((uint16_t *)p)[i] = dtype == ATN_F16 ? to_f16(y) : (uint16_t)bf16;
}

// EVOLVE-BLOCK-START
/* s is room for scores, [Sq][Skv]. */
static void attention(const head *x, float *restrict s)
{
    int Sq = x->Sq, Skv = x->Skv, D = x->D, Dv = x->Dv;

    /* scores = queries . keys^T * scale */
    for (int i = 0; i < Sq; i++)
        for (int j = 0; j < Skv; j++) {
            float dot = 0;
            for (int d = 0; d < D; d++) dot += x->q[(int64_t)i * D + d] * x->k[(int64_t)j * D + d];
            s[(int64_t)i * Skv + j] = dot * x->scale;
        }

    /* scores = scores + mask, forbidden keys -inf */
    for (int i = 0; i < Sq; i++) {
        float *row = s + (int64_t)i * Skv;
        int lo, hi;
        visible(x, i, &lo, &hi);
        if (x->softcap > 0)
            for (int j = 0; j < Skv; j++) row[j] = x->softcap * tanhf(row[j] / x->softcap);
        if (x->slope != 0)
            for (int j = 0; j < Skv; j++) row[j] += x->slope * (float)(j - (i + Skv - Sq));
        if (x->mask)
            for (int j = 0; j < Skv; j++) {
                float m = get(x->mask + i * x->mask_stride, x->mask_type, j);
                row[j] = m == -INFINITY ? m : row[j] + m;
            }
        for (int j = 0; j < lo; j++) row[j] = -INFINITY;
        for (int j = hi; j < Skv; j++) row[j] = -INFINITY;
    }

    /* weights = softmax(scores) */
    for (int i = 0; i < Sq; i++) {
        float *row = s + (int64_t)i * Skv, top = -INFINITY, sum = 0;
        for (int j = 0; j < Skv; j++) top = row[j] > top ? row[j] : top;
        if (x->sink && *x->sink > top) top = *x->sink;
        float base = top == -INFINITY ? 0 : top;
        for (int j = 0; j < Skv; j++) {
            row[j] = expf(row[j] - base);
            sum += row[j];
        }
        if (x->sink) sum += expf(*x->sink - base);
        for (int j = 0; j < Skv; j++) row[j] = sum == 0 ? 0 : row[j] / sum;
        x->lse[i] = top + logf(sum);
    }

    /* output = weights . values */
    for (int i = 0; i < Sq; i++) {
        float *restrict o = x->o + (int64_t)i * Dv;
        for (int d = 0; d < Dv; d++) o[d] = 0;
        for (int j = 0; j < Skv; j++) {
            float p = s[(int64_t)i * Skv + j];
            for (int d = 0; d < Dv; d++) o[d] += p * x->v[(int64_t)j * Dv + d];
        }
    }
}
// EVOLVE-BLOCK-END

/* A [rows][width] part of a tensor as floats: itself where it is that already, else a copy in `room`. */
static const float *matrix(const atn_tensor *t, int b, int h, int rows, int width, float *room)
{
    const char *from = (const char *)t->ptr + b * t->sb + h * t->sh;
    if (t->dtype == ATN_F32 && t->sr == (int64_t)width * 4) return (const float *)from;
    for (int i = 0; i < rows; i++)
        for (int d = 0; d < width; d++) room[(int64_t)i * width + d] = get(from + i * t->sr, t->dtype, d);
    return room;
}

static int can_run(const atn_args *a)
{
    (void)a;
    return 1;
}

static int plan(const atn_args *a, int threads, atn_plan *p)
{
    (void)threads;
    int64_t floats = (int64_t)a->Sq * a->D + (int64_t)a->Skv * a->D + (int64_t)a->Skv * a->Dv + (int64_t)a->Sq * a->Dv
                     + a->Sq + (int64_t)a->Sq * a->Skv;
    p->phases = 1;
    p->tasks[0] = a->B * a->Hq;
    p->scratch_bytes = floats * 4;
    return 0;
}

static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)p, (void)phase, (void)shared;
    int b = task / a->Hq, h = task % a->Hq, kvh = h / (a->Hq / a->Hkv);
    float *q = scratch, *k = q + (int64_t)a->Sq * a->D, *v = k + (int64_t)a->Skv * a->D;
    float *o = v + (int64_t)a->Skv * a->Dv, *lse = o + (int64_t)a->Sq * a->Dv, *s = lse + a->Sq;
    head x = {
        .Sq = a->Sq, .Skv = a->Skv, .D = a->D, .Dv = a->Dv,
        .scale = a->scale, .softcap = a->softcap, .slope = a->alibi ? a->alibi[h] : 0,
        .q = matrix(&a->q, b, h, a->Sq, a->D, q),
        .k = matrix(&a->k, b, kvh, a->Skv, a->D, k),
        .v = matrix(&a->v, b, kvh, a->Skv, a->Dv, v),
        .sink = a->sinks ? a->sinks + h : 0,
        .mask = a->mask.ptr ? (const char *)a->mask.ptr + b * a->mask.sb + h * a->mask.sh : 0,
        .mask_stride = a->mask.sr, .mask_type = a->mask.dtype,
        .args = a, .o = o, .lse = a->lse ? a->lse + ((int64_t)b * a->Hq + h) * a->Sq : lse,
    };
    attention(&x, s);
    for (int i = 0; i < a->Sq; i++) {
        char *row = (char *)a->o.ptr + b * a->o.sb + h * a->o.sh + i * a->o.sr;
        for (int d = 0; d < a->Dv; d++) put(row, a->o.dtype, d, o[(int64_t)i * a->Dv + d]);
    }
}

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "initial_program", can_run, plan, run};
