/* A plain, honest f32 kernel, and the same kernel with one mistake: what the judge's tolerances are measured
 * against. */
#ifndef ATN_TEST_HONEST_H
#define ATN_TEST_HONEST_H

#include <math.h>

#include "base/status.h"
#include "problem/half.h"
#include "problem/reference.h"

/* Mistakes that people, compilers and models make. Each must be refused by some case of the correctness suites. */
#define MUTANT_LIST(X)                                                                      \
    X(NONE, "none")                                                                         \
    X(DROP_ONE, "drops one key of 2048")                                                    \
    X(DROP_LAST, "drops the last key")                                                      \
    X(DROP_TAIL, "drops keys beyond the last whole tile of 16")                             \
    X(SCALE, "scale off by 1e-3")                                                           \
    X(SCALE_DV, "scale from Dv, not D, ignoring args")                                      \
    X(MASK_BIT, "one mask entry read wrong")                                                \
    X(CAUSAL_LATE, "causal shows one key too many")                                         \
    X(CAUSAL_EARLY, "causal hides one key too many")                                        \
    X(CAUSAL_ALIGN, "causal aligned top-left where bottom-right is asked")                  \
    X(HEAD_SWAP, "first two heads swapped")                                                 \
    X(GQA_MODULO, "kv head = h % Hkv")                                                      \
    X(WINDOW_LATE, "window one key too wide")                                               \
    X(NO_WINDOW, "window ignored")                                                          \
    X(NO_MAX, "no maximum subtracted")                                                      \
    X(MAX_ZERO, "maximum starts at 0")                                                      \
    X(LAZY_8, "maximum of the first 16 keys serves for all")                                \
    X(MASKED_NAN, "0 / 0 in rows without keys")                                             \
    X(MASKED_MEAN, "rows without keys give the mean of V")                                  \
    X(NO_SINK, "sinks ignored")                                                             \
    X(NO_SOFTCAP, "softcap ignored")                                                        \
    X(SOFTCAP_LATE, "softcap after the mask and slopes")                                    \
    X(ALIBI_ALIGN, "slopes count from j - i")                                               \
    X(LSE_BASE2, "lse in base 2")                                                           \
    X(LSE_NO_MAX, "lse without the maximum")                                                \
    X(READS_PADDING, "multiplies padding rows of a cache by 0")                             \
    X(FAST_EXP, "exp to 1e-4 only")                                                         \
    X(SKIP_SMALL, "keys of weight below 1e-3 skipped")                                      \
    X(LOCAL, "only the nearest 64 keys")                                                    \
    X(FLUSH, "denormals flushed to 0")                                                      \
    X(HALF_INPUTS, "inputs rounded to bf16")                                                \
    X(UNWRITTEN, "last row not written")                                                    \
    X(ZEROS, "all zeros")                                                                   \
    X(MEAN_V, "mean of V")                                                                  \
    X(BATCH_0, "every batch reads batch 0")                                                 \
    X(BHSD, "row stride taken for granted")

typedef enum {
#define X(name, text) MUTANT_##name,
    MUTANT_LIST(X)
#undef X
    MUTANT_COUNT
} mutant;

static const char *const MUTANT_TEXT[] = {
#define X(name, text) text,
    MUTANT_LIST(X)
#undef X
};

typedef struct {
    mutant wrong;
    bool round_p;            /* weights rounded to the type of v before they meet it, as matrix units want it */
    float *k, *v, *q;        /* one kv head and one query row as floats: [Skv][D], [Skv + 1][Dv], [D] */
} honest;

static inline float rounded(float x, int dtype)
{
    return dtype == ATN_BF16 ? f32_of_bf16(bf16_of_f32(x)) : dtype == ATN_F16 ? f32_of_f16(f16_of_f32(x)) : x;
}

static inline float read1(const honest *o, const atn_tensor *given, int last, int b, int h, int row, int col)
{
    atn_tensor t = *given;
    if (o->wrong == MUTANT_BATCH_0) b = 0;
    if (o->wrong == MUTANT_BHSD) t.sr = last * dtype_bytes(t.dtype);
    float x = (float)tensor_get(&t, b, h, row, col);
    if (o->wrong == MUTANT_HALF_INPUTS) x = rounded(x, ATN_BF16);
    if (o->wrong == MUTANT_FLUSH && fabsf(x) < 0x1p-126f) x = 0;
    return x;
}

static inline void write1(const atn_args *a, int b, int h, int i, int d, float x)
{
    char *p = (char *)a->o.ptr + b * a->o.sb + h * a->o.sh + i * a->o.sr + (int64_t)d * dtype_bytes(a->o.dtype);
    uint16_t u = a->o.dtype == ATN_BF16 ? bf16_of_f32(x) : f16_of_f32(x);
    if (a->o.dtype == ATN_F32) memcpy(p, &x, sizeof x);
    else memcpy(p, &u, sizeof u);
}

static inline float honest_exp(const honest *o, float x)
{
    float y = expf(x);
    return o->wrong == MUTANT_FAST_EXP ? y * (1 + 1e-4f * sinf(40 * x)) : y;
}

/* Which keys the mutant thinks the row may see. */
static inline void honest_range(const honest *o, const atn_args *given, int i, int *lo, int *hi)
{
    atn_args a = *given;
    if (o->wrong == MUTANT_CAUSAL_ALIGN && a.causal == ATN_CAUSAL_BOTTOM_RIGHT) a.causal = ATN_CAUSAL_TOP_LEFT;
    if (o->wrong == MUTANT_WINDOW_LATE && a.window_left >= 0) a.window_left++;
    if (o->wrong == MUTANT_WINDOW_LATE && a.window_right >= 0) a.window_right++;
    if (o->wrong == MUTANT_NO_WINDOW) a.window_left = a.window_right = -1;
    attention_row_range(&a, i, lo, hi);
    if (a.causal && o->wrong == MUTANT_CAUSAL_LATE && *hi < a.Skv) ++*hi;
    if (a.causal && o->wrong == MUTANT_CAUSAL_EARLY && *hi > *lo) --*hi;
    if (o->wrong == MUTANT_DROP_LAST && *hi == a.Skv && *hi > *lo) --*hi;
    if (o->wrong == MUTANT_DROP_TAIL && *hi > 16) *hi = ATN_MAX(*lo, ATN_MIN(*hi, a.Skv / 16 * 16));
    if (o->wrong == MUTANT_LOCAL) *lo = ATN_MAX(*lo, *hi - 64);
}

static inline float honest_score(const honest *o, const atn_args *a, int b, int h, int i, int j)
{
    float s = 0, scale = a->scale;
    for (int d = 0; d < a->D; d++) s += o->q[d] * o->k[(int64_t)j * a->D + d];
    if (o->wrong == MUTANT_SCALE) scale *= 1.001f;
    if (o->wrong == MUTANT_SCALE_DV) scale = 1 / sqrtf((float)a->Dv);
    s *= scale;
    bool cap = a->softcap > 0 && o->wrong != MUTANT_NO_SOFTCAP;
    if (cap && o->wrong != MUTANT_SOFTCAP_LATE) s = a->softcap * tanhf(s / a->softcap);
    if (a->alibi) s += a->alibi[h] * (float)(j - (o->wrong == MUTANT_ALIBI_ALIGN ? i : i + a->Skv - a->Sq));
    if (a->mask.ptr) {
        float m = (float)tensor_get(&a->mask, b, h, i, j);
        if (a->mask.dtype == ATN_BOOL) m = m != 0 ? 0 : -INFINITY;
        if (o->wrong == MUTANT_MASK_BIT && i == a->Sq / 2 && j == a->Skv / 3) m = m < 0 ? 0 : -INFINITY;
        s += m;
    }
    if (cap && o->wrong == MUTANT_SOFTCAP_LATE) s = a->softcap * tanhf(s / a->softcap);
    return s;
}

static inline void honest_row(const honest *o, const atn_args *a, int b, int h, int i, float *s, float *acc)
{
    int lo, hi;
    int to = o->wrong == MUTANT_HEAD_SWAP && a->Hq > 1 && h < 2 ? 1 - h : h;
    bool sink = a->sinks && o->wrong != MUTANT_NO_SINK, all = o->wrong == MUTANT_MEAN_V;
    float m = sink ? a->sinks[h] : -INFINITY, l = 0;
    honest_range(o, a, i, &lo, &hi);
    if (o->wrong == MUTANT_MAX_ZERO) m = fmaxf(m, 0);
    for (int j = lo; j < hi; j++) {
        s[j] = honest_score(o, a, b, h, i, j);
        if (o->wrong == MUTANT_DROP_ONE && a->Skv >= 2048 && j == 1234) s[j] = -INFINITY;
        if (o->wrong != MUTANT_LAZY_8 || j < lo + 16) m = fmaxf(m, s[j]);
    }
    if (o->wrong == MUTANT_NO_MAX) m = 0;
    bool nothing = m == -INFINITY;
    for (int d = 0; d < a->Dv; d++) acc[d] = 0;
    for (int j = lo; j < hi && (!nothing || o->wrong == MUTANT_MASKED_NAN || all); j++) {
        float p = all ? 1 : honest_exp(o, s[j] - m);
        if (o->wrong == MUTANT_SKIP_SMALL && p < 1e-3f) p = 0;
        l += p;
        if (o->round_p) p = rounded(p, a->v.dtype);
        for (int d = 0; d < a->Dv; d++) acc[d] += p * o->v[(int64_t)j * a->Dv + d];
    }
    if (o->wrong == MUTANT_READS_PADDING)
        for (int d = 0; d < a->Dv; d++) acc[d] += 0 * o->v[(int64_t)a->Skv * a->Dv + d];
    if (sink) l += honest_exp(o, a->sinks[h] - m);
    if (o->wrong == MUTANT_MASKED_MEAN && nothing && !sink) {
        for (int j = 0; j < a->Skv; j++)
            for (int d = 0; d < a->Dv; d++) acc[d] += o->v[(int64_t)j * a->Dv + d];
        l = (float)a->Skv;
    }
    bool zero = l == 0 && o->wrong != MUTANT_MASKED_NAN;
    if (o->wrong == MUTANT_UNWRITTEN && i == a->Sq - 1) return;
    for (int d = 0; d < a->Dv; d++) {
        float x = zero || o->wrong == MUTANT_ZEROS ? 0 : acc[d] / l;
        if (o->wrong == MUTANT_FLUSH && fabsf(x) < 0x1p-126f) x = 0;
        write1(a, b, to, i, d, x);
    }
    if (!a->lse) return;
    float lse = nothing ? m : m + logf(l);
    if (o->wrong == MUTANT_LSE_BASE2) lse *= 1.44269504f;
    if (o->wrong == MUTANT_LSE_NO_MAX) lse -= nothing ? 0 : m;
    a->lse[((int64_t)b * a->Hq + to) * a->Sq + i] = lse;
}

static inline void honest_load(const honest *o, const atn_args *a, int b, int hkv)
{
    bool more = o->wrong == MUTANT_READS_PADDING && a->v.sh > a->Skv * a->v.sr; /* a cache with room behind this head */
    for (int j = 0; j < a->Skv; j++)
        for (int d = 0; d < a->D; d++) o->k[(int64_t)j * a->D + d] = read1(o, &a->k, a->D, b, hkv, j, d);
    for (int j = 0; j < a->Skv + more; j++)
        for (int d = 0; d < a->Dv; d++) o->v[(int64_t)j * a->Dv + d] = read1(o, &a->v, a->Dv, b, hkv, j, d);
}

static inline void honest_run(const honest *given, const atn_args *a)
{
    honest o = *given;
    size_t keys = (size_t)a->Skv + 1, floats = keys * (size_t)(a->D + a->Dv + 1) + (size_t)(a->D + a->Dv);
    float *memory = calloc(floats, sizeof *memory), *s, *acc;
    o.k = memory;
    o.v = o.k + keys * (size_t)a->D;
    s = o.v + keys * (size_t)a->Dv;
    o.q = s + keys;
    acc = o.q + a->D;
    for (int b = 0; b < a->B; b++)
        for (int h = 0; h < a->Hq; h++) {
            honest_load(&o, a, b, o.wrong == MUTANT_GQA_MODULO ? h % a->Hkv : h / (a->Hq / a->Hkv));
            for (int i = 0; i < a->Sq; i++) {
                for (int d = 0; d < a->D; d++) o.q[d] = read1(&o, &a->q, a->D, b, h, i, d);
                honest_row(&o, a, b, h, i, s, acc);
            }
        }
    free(memory);
}

#endif
