/* plain: attention as the contract states it, one query row at a time, two passes over its keys.
 *
 * Covers everything in attune/kernel.h: what no faster kernel takes runs here, and every fast kernel has this twin.
 * Plain C that any compiler vectorises where it can; a key that the row may not see is never read. */
#include "attune/kernel.h"
#include "attune/vec.h"

#include <math.h>

#define ROWS 16                      /* rows of a task */

static int can_run(const atn_args *a)
{
    (void)a;
    return 1;
}

static int plan(const atn_args *a, int threads, atn_plan *p)
{
    (void)threads;
    int64_t blocks = (a->Sq + ROWS - 1) / ROWS, tasks = blocks * a->B * a->Hq;
    if (tasks > INT32_MAX) return -1;
    p->phases = 1;
    p->tasks[0] = (int32_t)tasks;
    p->scratch_bytes = ((int64_t)a->Skv + 2 * (int64_t)a->D + 2 * (int64_t)a->Dv) * 4;
    return 0;
}

static int elem_of(int dtype) { return dtype == ATN_F32 ? 4 : dtype == ATN_BOOL ? 1 : 2; }

static float get(const char *p, int dtype) { return vf_load_as_n(p, dtype, 1)[0]; }

/* A row as floats: itself, or converted into room. */
static const float *row_of(const atn_tensor *t, int b, int h, int i, int width, float *room)
{
    const char *p = (const char *)t->ptr + b * t->sb + h * t->sh + i * t->sr;
    if (t->dtype == ATN_F32) return (const float *)p;
    int d = 0;
    for (; d + VL <= width; d += VL) vf_store(room + d, vf_load_as(p + d * 2, t->dtype));
    for (; d < width; d++) room[d] = get(p + d * 2, t->dtype);
    return room;
}

/* Scores s[j - lo] of the keys that causal order and window allow; -inf where the mask forbids. */
static void scores(const atn_args *a, int b, int h, int i, int lo, int hi, const float *q, float *room, float *s)
{
    int kvh = h / (a->Hq / a->Hkv);
    const char *mask = (const char *)a->mask.ptr;
    if (mask) mask += b * a->mask.sb + h * a->mask.sh + i * a->mask.sr;
    for (int j = lo; j < hi; j++) {
        const char *m = mask + (int64_t)j * elem_of(a->mask.dtype);
        float add = 0;
        if (mask) add = a->mask.dtype == ATN_BOOL ? (*m ? 0.0f : -INFINITY) : get(m, a->mask.dtype);
        if (add == -INFINITY) {
            s[j - lo] = add;
            continue;
        }
        const float *k = row_of(&a->k, b, kvh, j, a->D, room);
        float dot = 0;
        for (int d = 0; d < a->D; d++) dot += q[d] * k[d];
        dot *= a->scale;
        if (a->softcap > 0) dot = a->softcap * tanhf(dot / a->softcap);
        if (a->alibi) dot += a->alibi[h] * (float)(j - (i + a->Skv - a->Sq));
        s[j - lo] = dot + add;
    }
}

static void one_row(const atn_args *a, int b, int h, int i, float *s, float *q_room, float *room, float *o)
{
    int64_t p = (int64_t)i + (a->causal == ATN_CAUSAL_TOP_LEFT ? 0 : a->Skv - a->Sq), first = 0, last = a->Skv - 1;
    if (a->causal != ATN_CAUSAL_NONE && last > p) last = p;
    if (a->window_right >= 0 && last > p + a->window_right) last = p + a->window_right;
    if (a->window_left >= 0 && first < p - a->window_left) first = p - a->window_left;
    int lo = (int)(first <= last ? first : 0), hi = (int)(first <= last ? last + 1 : 0);
    const float *q = row_of(&a->q, b, h, i, a->D, q_room);
    scores(a, b, h, i, lo, hi, q, room, s);

    float m = -INFINITY, l = 0;
    for (int j = 0; j < hi - lo; j++) m = s[j] > m ? s[j] : m;
    if (a->sinks && a->sinks[h] > m) m = a->sinks[h];
    float base = m == -INFINITY ? 0 : m;
    for (int d = 0; d < a->Dv; d++) o[d] = 0;
    for (int j = 0; j < hi - lo; j++) {
        if (s[j] == -INFINITY) continue;
        float w = expf(s[j] - base);
        const float *v = row_of(&a->v, b, h / (a->Hq / a->Hkv), lo + j, a->Dv, room);
        l += w;
        for (int d = 0; d < a->Dv; d++) o[d] += w * v[d];
    }
    if (a->sinks) l += expf(a->sinks[h] - base);
    if (a->lse) a->lse[((int64_t)b * a->Hq + h) * a->Sq + i] = l == 0 ? -INFINITY : m + logf(l);
    char *to = (char *)a->o.ptr + b * a->o.sb + h * a->o.sh + i * a->o.sr;
    float factor = l == 0 ? 0 : 1 / l;
    for (int d = 0; d < a->Dv; d++)
        vf_store_as_n(to + (int64_t)d * elem_of(a->o.dtype), vf_splat(o[d] * factor), a->o.dtype, 1);
}

static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)p, (void)phase, (void)shared;
    int blocks = (a->Sq + ROWS - 1) / ROWS, block = task % blocks, bh = task / blocks;
    float *s = scratch, *q = s + a->Skv, *room = q + a->D, *o = room + (a->D > a->Dv ? a->D : a->Dv);
    for (int i = block * ROWS; i < (block + 1) * ROWS && i < a->Sq; i++)
        one_row(a, bh / a->Hq, bh % a->Hq, i, s, q, room, o);
}

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "plain", can_run, plan, run};
