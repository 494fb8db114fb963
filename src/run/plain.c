/* The plain reference kernel: one query row at a time, loops as in the formula of attune/kernel.h. Slow and always
 * right; what libattune falls back to, so it covers every problem that passes the checks of args.c.
 *
 *   task    = (b, h, block of ROWS query rows)
 *   scratch = the row's scores [Skv], one row of q [D], the output row [Dv]
 *
 * Compiled with the project's strict floating point; sums of a row in double. */
#include <math.h>
#include <stddef.h>

#include "attune/kernel.h"

enum { ROWS = 8 };

static float from_f16(uint16_t h)
{
    const int exponent = h >> 10 & 31, fraction = h & 0x3ff;
    const float magnitude = exponent == 31  ? (fraction ? NAN : INFINITY)
                            : exponent == 0 ? ldexpf((float)fraction, -24)
                                            : ldexpf((float)(fraction + 1024), exponent - 25);
    return h >> 15 ? -magnitude : magnitude;
}

/* Round to nearest, ties to even. */
static uint16_t to_f16(float x)
{
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    x = fabsf(x);
    if (x != x) return sign | 0x7e00;
    if (x >= 65520.0f) return sign | 0x7c00;
    /* subnormal; 1024 is the least normal */
    if (x < 0x1p-14f) return (uint16_t)(sign | (uint16_t)rintf(x * 0x1p24f));
    int exponent;
    const float m = frexpf(x, &exponent); /* 0.5 <= m < 1 */
    return (uint16_t)(sign | (uint16_t)((exponent + 13) * 1024 + (int)rintf(m * 2048)));
}

static float from_bf16(uint16_t h)
{
    const union {
        uint32_t u;
        float f;
    } x = {.u = (uint32_t)h << 16};
    return x.f;
}

static uint16_t to_bf16(float y)
{
    const union {
        float f;
        uint32_t u;
    } x = {.f = y};
    if (y != y) return (uint16_t)(x.u >> 16 | 0x40);
    return (uint16_t)((x.u + 0x7fff + (x.u >> 16 & 1)) >> 16);
}

static float get(const void *row, int dtype, int i)
{
    if (dtype == ATN_F32) return ((const float *)row)[i];
    if (dtype == ATN_BOOL) return ((const uint8_t *)row)[i] ? 0 : -INFINITY;
    const uint16_t h = ((const uint16_t *)row)[i];
    return dtype == ATN_F16 ? from_f16(h) : from_bf16(h);
}

static void put(void *row, int dtype, int i, float x)
{
    if (dtype == ATN_F32) ((float *)row)[i] = x;
    else ((uint16_t *)row)[i] = dtype == ATN_F16 ? to_f16(x) : to_bf16(x);
}

static char *row_of(const atn_tensor *t, int b, int h, int row)
{
    return (char *)t->ptr + b * t->sb + h * t->sh + row * t->sr;
}

/* Keys first <= j < end that causal order and the window allow row i. */
static void visible(const atn_args *a, int i, int *first, int *end)
{
    const int64_t p = a->causal == ATN_CAUSAL_TOP_LEFT ? i : (int64_t)i + a->Skv - a->Sq;
    int64_t lo = 0, hi = (int64_t)a->Skv - 1;
    if (a->causal != ATN_CAUSAL_NONE && hi > p) hi = p;
    if (a->window_right >= 0 && hi > p + a->window_right) hi = p + a->window_right;
    if (a->window_left >= 0 && lo < p - a->window_left) lo = p - a->window_left;
    *first = (int)lo;
    *end = hi < lo ? (int)lo : (int)hi + 1;
}

/* s[j] and the maximum; keys that a boolean mask hides are -inf. */
static float score_row(const atn_args *a, int b, int h, int i, int first, int end, const float *q, float *s)
{
    const int kvh = h / (a->Hq / a->Hkv);
    const char *mask = a->mask.ptr ? row_of(&a->mask, b, h, i) : NULL;
    float top = -INFINITY;
    for (int j = first; j < end; j++) {
        const char *k = row_of(&a->k, b, kvh, j);
        double dot = 0;
        for (int d = 0; d < a->D; d++) dot += (double)q[d] * get(k, a->k.dtype, d);
        double x = dot * a->scale;
        if (a->softcap > 0) x = a->softcap * tanh(x / a->softcap);
        if (a->alibi) x += (double)a->alibi[h] * (j - (i + a->Skv - a->Sq));
        if (mask) {
            const float m = get(mask, a->mask.dtype, j);
            x = m == -INFINITY ? -INFINITY : x + m; /* hidden stays hidden, whatever the score was */
        }
        s[j] = (float)x;
        if (s[j] > top || s[j] != s[j]) top = s[j];
    }
    return top;
}

static void attend_row(const atn_args *a, int b, int h, int i, float *s, float *q, double *o)
{
    const int kvh = h / (a->Hq / a->Hkv);
    int first, end;
    visible(a, i, &first, &end);
    const char *qrow = row_of(&a->q, b, h, i);
    for (int d = 0; d < a->D; d++) q[d] = get(qrow, a->q.dtype, d);
    float top = score_row(a, b, h, i, first, end, q, s);
    if (a->sinks && !(top >= a->sinks[h])) top = top != top ? top : a->sinks[h];

    double sum = 0;
    for (int d = 0; d < a->Dv; d++) o[d] = 0;
    for (int j = first; j < end; j++) {
        if (s[j] == -INFINITY) continue; /* a hidden key: not even its NaN counts */
        const double p = exp((double)s[j] - top);
        const char *v = row_of(&a->v, b, kvh, j);
        sum += p;
        for (int d = 0; d < a->Dv; d++) o[d] += p * get(v, a->v.dtype, d);
    }
    if (a->sinks) sum += exp((double)a->sinks[h] - top);

    char *orow = row_of(&a->o, b, h, i);
    for (int d = 0; d < a->Dv; d++) put(orow, a->o.dtype, d, top == -INFINITY ? 0 : (float)(o[d] / sum));
    if (a->lse) a->lse[((int64_t)b * a->Hq + h) * a->Sq + i] = top == -INFINITY ? -INFINITY : (float)(top + log(sum));
}

static int can_run(const atn_args *a)
{
    const int64_t blocks = ((int64_t)a->Sq + ROWS - 1) / ROWS;
    return (int64_t)a->B * a->Hq <= INT32_MAX && (int64_t)a->B * a->Hq * blocks <= INT32_MAX;
}

static int plan(const atn_args *a, int threads, atn_plan *p)
{
    (void)threads;
    const int blocks = (a->Sq + ROWS - 1) / ROWS;
    p->phases = 1;
    p->tasks[0] = a->B * a->Hq * blocks;
    p->scratch_bytes = 8 * (int64_t)a->Dv + 4 * ((int64_t)a->Skv + a->D);
    p->user[0] = blocks;
    return 0;
}

static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)phase, (void)shared;
    const int blocks = (int)p->user[0], heads = task / blocks;
    const int block = blocks - 1 - task % blocks; /* the longest rows of a causal problem first */
    double *o = scratch;
    float *s = (float *)(o + a->Dv), *q = s + a->Skv;
    for (int i = block * ROWS; i < a->Sq && i < (block + 1) * ROWS; i++)
        attend_row(a, heads / a->Hq, heads % a->Hq, i, s, q, o);
}

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "plain", can_run, plan, run};
