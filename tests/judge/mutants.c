/* Right attention with one mistake: what people, compilers and models do wrong. `attune doctor --judge` builds this file
 * once for each row and wants each refused by the correctness campaign; MUTANT 0 is right and must pass.
 *
 * The rows, which the doctor reads:
 * mutant 1: drops one key of 2048
 * mutant 2: drops the last key
 * mutant 3: drops keys beyond the last whole tile of 16
 * mutant 4: scale off by 1e-3
 * mutant 5: scale from the head size, ignoring args
 * mutant 6: one mask entry read wrong
 * mutant 7: causal shows one key too many
 * mutant 8: causal hides one key too many
 * mutant 9: causal aligned top-left where bottom-right is asked
 * mutant 10: first two heads swapped
 * mutant 11: kv head = h % Hkv
 * mutant 12: window one key too wide
 * mutant 13: window ignored
 * mutant 14: no maximum subtracted
 * mutant 15: maximum starts at 0
 * mutant 16: maximum of the first 16 keys serves for all
 * mutant 17: 0 / 0 in rows without keys
 * mutant 18: rows without keys give the mean of V
 * mutant 19: sinks ignored
 * mutant 20: softcap ignored
 * mutant 21: softcap after the mask and slopes
 * mutant 22: slopes count from j - i
 * mutant 23: lse in base 2
 * mutant 24: lse without the maximum
 * mutant 25: exp to 1e-4 only
 * mutant 26: keys of weight below 1e-3 skipped
 * mutant 27: only the nearest 64 keys
 * mutant 28: denormals flushed to 0
 * mutant 29: inputs rounded to bf16
 * mutant 30: last row not written
 * mutant 31: all zeros
 * mutant 32: mean of V
 * mutant 33: every batch reads batch 0
 * mutant 34: row stride taken for granted
 * mutant 35: first two rows swapped
 * mutant 36: last column not written
 * mutant 37: last head computed as the one before
 * mutant 38: sums of weights in bf16
 * mutant 39: two adjacent values of V swapped
 * mutant 40: first key counted twice */
#include "attune/kernel.h"
#include "attune/vec.h"

#include <math.h>

#define MUTANT 0
#define IS(n) (MUTANT == (n))
#define ROWS 16

static int can_run(const atn_args *a)
{
    return a->Skv <= 65536;
}

static int plan(const atn_args *a, int threads, atn_plan *p)
{
    (void)threads;
    int64_t tasks = (int64_t)((a->Sq + ROWS - 1) / ROWS) * a->B * a->Hq;
    if (tasks > INT32_MAX) return -1;
    p->phases = 1;
    p->tasks[0] = (int32_t)tasks;
    p->scratch_bytes = ((int64_t)a->Skv + 2 * (int64_t)a->D + 2 * (int64_t)a->Dv) * 4;
    return 0;
}

static int elem_of(int dtype) { return dtype == ATN_F32 ? 4 : dtype == ATN_BOOL ? 1 : 2; }

static float get(const char *p, int dtype) { return vf_load_as_n(p, dtype, 1)[0]; }

static float to_bf16(float x)
{
    union {
        float f;
        uint32_t u;
    } v = {x};
    v.u = (v.u + 0x7fff + (v.u >> 16 & 1)) & 0xffff0000u;
    return x == x ? v.f : x;
}

/* Row i of a tensor as floats. */
static const float *row_of(const atn_tensor *t, int b, int h, int i, int width, float *room)
{
    int64_t sr = IS(34) ? (int64_t)width * elem_of(t->dtype) : t->sr;
    const char *p = (const char *)t->ptr + (IS(33) ? 0 : b) * t->sb + h * t->sh + i * sr;
    for (int d = 0; d < width; d++) {
        float x = get(p + (int64_t)d * elem_of(t->dtype), t->dtype);
        if (IS(29)) x = to_bf16(x);
        if (IS(28) && fabsf(x) < 0x1p-126f) x = 0;
        room[d] = x;
    }
    return room;
}

static int kv_head(const atn_args *a, int h)
{
    return IS(11) ? h % a->Hkv : h / (a->Hq / a->Hkv);
}

static void range(const atn_args *a, int i, int *lo, int *hi)
{
    int top = a->causal == ATN_CAUSAL_TOP_LEFT || (IS(9) && a->causal != ATN_CAUSAL_NONE), wide = IS(12);
    int64_t p = (int64_t)i + (top ? 0 : a->Skv - a->Sq), first = 0, last = a->Skv - 1;
    if (a->causal != ATN_CAUSAL_NONE) {
        int64_t end = p + (IS(7) ? 1 : 0) - (IS(8) ? 1 : 0);
        if (last > end) last = end;
    }
    if (a->window_right >= 0 && !IS(13) && last > p + a->window_right + wide) last = p + a->window_right + wide;
    if (a->window_left >= 0 && !IS(13) && first < p - a->window_left - wide) first = p - a->window_left - wide;
    if (IS(27) && first < p - 63) first = p - 63;
    if (IS(2) && a->Skv > 1 && last == a->Skv - 1) last--;
    if (IS(3) && a->Skv > 16 && last >= a->Skv / 16 * 16) last = a->Skv / 16 * 16 - 1;
    if (first < 0) first = 0;
    *lo = (int)(first <= last ? first : 0), *hi = (int)(first <= last ? last + 1 : 0);
}

static float score(const atn_args *a, int b, int h, int i, int j, const float *q, float *room)
{
    const char *mask = (const char *)a->mask.ptr;
    float add = 0, scale = IS(5) ? 1 / sqrtf((float)a->D) : IS(4) ? a->scale * 1.001f : a->scale;
    if (mask) {
        mask += b * a->mask.sb + h * a->mask.sh + i * a->mask.sr + (int64_t)j * elem_of(a->mask.dtype);
        add = a->mask.dtype == ATN_BOOL ? (*mask ? 0.0f : -INFINITY) : get(mask, a->mask.dtype);
        if (IS(6) && i == a->Sq / 2 && j == a->Skv / 3) add = add < 0 ? 0 : -INFINITY;
    }
    if (IS(1) && a->Skv >= 2048 && j == 1234) add = -INFINITY;
    if (add == -INFINITY) return add;
    const float *k = row_of(&a->k, b, kv_head(a, h), j, a->D, room);
    float dot = 0;
    for (int d = 0; d < a->D; d++) dot += q[d] * k[d];
    dot *= scale;
    if (a->softcap > 0 && !IS(20) && !IS(21)) dot = a->softcap * tanhf(dot / a->softcap);
    if (a->alibi) dot += a->alibi[h] * (float)(j - (IS(22) ? i : i + a->Skv - a->Sq));
    dot += add;
    if (a->softcap > 0 && IS(21)) dot = a->softcap * tanhf(dot / a->softcap);
    return dot;
}

static float weight(float x)
{
    float w = expf(x);
    if (IS(25)) w *= 1 + 1e-4f * sinf(40 * x);
    return IS(26) && w < 1e-3f ? 0 : w;
}

static void write_row(const atn_args *a, int b, int h, int i, const float *o, float factor)
{
    int width = IS(36) && a->Dv > 1 ? a->Dv - 1 : a->Dv;
    char *to = (char *)a->o.ptr + b * a->o.sb + h * a->o.sh + i * a->o.sr;
    for (int d = 0; d < width; d++) {
        float x = IS(31) ? 0 : o[IS(39) && a->Dv > 1 && d < 2 ? 1 - d : d] * factor;
        vf_store_as_n(to + (int64_t)d * elem_of(a->o.dtype), vf_splat(x), a->o.dtype, 1);
    }
}

static void add_row(const atn_args *a, int b, int h, int j, float w, float *room, float *o)
{
    const float *v = row_of(&a->v, b, kv_head(a, h), j, a->Dv, room);
    for (int d = 0; d < a->Dv; d++) o[d] += w * v[d];
}

static void one_row(const atn_args *a, int b, int h, int i, float *s, float *q_room, float *room, float *o)
{
    int lo, hi, sinks = a->sinks && !IS(19);
    int to_h = IS(10) && a->Hq > 1 && h < 2 ? 1 - h : h, to_i = IS(35) && a->Sq > 1 && i < 2 ? 1 - i : i;
    if (IS(37) && a->Hq > 1 && h == a->Hq - 1) h--;
    range(a, i, &lo, &hi);
    const float *q = row_of(&a->q, b, h, i, a->D, q_room);
    float m = sinks ? a->sinks[h] : -INFINITY, l = 0;
    if (IS(15) && m < 0) m = 0;
    for (int j = lo; j < hi; j++) {
        s[j - lo] = score(a, b, h, i, j, q, room);
        if (!IS(16) || j < lo + 16) m = s[j - lo] > m ? s[j - lo] : m;
    }
    float base = m == -INFINITY || IS(14) ? 0 : m;
    for (int d = 0; d < a->Dv; d++) o[d] = 0;
    for (int j = lo; j < hi; j++) {
        if (s[j - lo] == -INFINITY) continue;
        float w = IS(32) ? 1 : weight(s[j - lo] - base);
        if (IS(40) && j == 0) w *= 2;
        l += w;
        if (IS(38)) l = to_bf16(l);
        add_row(a, b, h, j, w, room, o);
    }
    if (sinks) l += weight(a->sinks[h] - base);
    if (IS(18) && l == 0) {
        for (int j = 0; j < a->Skv; j++) add_row(a, b, h, j, 1, room, o);
        l = (float)a->Skv;
    }
    if (a->lse) {
        float lse = l == 0 ? -INFINITY : (IS(24) ? 0 : base) + logf(l);
        a->lse[((int64_t)b * a->Hq + to_h) * a->Sq + to_i] = IS(23) ? lse * 1.44269504f : lse;
    }
    if (IS(30) && i == a->Sq - 1) return;
    write_row(a, b, to_h, to_i, o, l == 0 && !IS(17) ? 0 : 1 / l);
}

static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)p, (void)phase, (void)shared;
    int blocks = (a->Sq + ROWS - 1) / ROWS, block = task % blocks, bh = task / blocks;
    float *s = scratch, *q = s + a->Skv, *room = q + a->D, *o = room + (a->D > a->Dv ? a->D : a->Dv);
    for (int i = block * ROWS; i < (block + 1) * ROWS && i < a->Sq; i++)
        one_row(a, bh / a->Hq, bh % a->Hq, i, s, q, room, o);
}

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "mutant", can_run, plan, run};
