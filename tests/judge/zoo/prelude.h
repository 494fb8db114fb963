/* The body that most animals share: honest f32 attention over the whole contract, slow and plain, with places to spoil
 * it. The zoo's runner puts this text before an animal that does not say "alone". */
#include "attune/kernel.h"
#include <math.h>
#include <string.h>

/* What an animal changes. All zero: honest. */
typedef struct {
    int no_causal;   /* forgets the causal mask */
    int window;      /* looks at that many last keys only */
    int tile;        /* drops the last incomplete tile of keys */
    int drop;        /* drops every drop-th key */
    int half;        /* rounds every partial sum to 11 bits */
    int mean;        /* all weights equal */
    int no_max;      /* exponentials without their maximum */
    float scale_off; /* relative error of the scale */
    int only_head0;  /* computes head 0 for all */
    int no_lse;
} spoil;

#define SKV_MAX 65536

static int plan_bytes(const atn_args *a)
{
    return 4 * a->Skv + 4096;
}
static int can_run(const atn_args *a)
{
    return a->q.dtype == ATN_F32 && a->k.dtype == ATN_F32 && a->v.dtype == ATN_F32 && a->Skv <= SKV_MAX;
}
static int plan(const atn_args *a, int threads, atn_plan *p)
{
    (void)threads;
    p->phases = 1;
    p->tasks[0] = a->B * a->Hq;
    p->scratch_bytes = plan_bytes(a);
    p->shared_bytes = 256;
    return 0;
}

static float f16_to_f32(unsigned short h)
{
    unsigned e = h >> 10 & 31, f = h & 1023;
    float x = e == 0 ? f * 0x1p-24f : e == 31 ? (f ? NAN : INFINITY) : ldexpf(1024 + f, (int)e - 25);
    return h >> 15 ? -x : x;
}
static float to_half(float x)
{
    if (x == 0) return x;
    int e;
    float m = frexpf(x, &e);
    return ldexpf(rintf(m * 2048), e - 11);
}

static void attend_row(const atn_args *a, int b, int h, int i, float *s, const spoil *z)
{
    int hk = (z->only_head0 ? 0 : h) / (a->Hq / a->Hkv);
    const float *q =
        (const float *)((const char *)a->q.ptr + b * a->q.sb + (z->only_head0 ? 0 : h) * a->q.sh + i * a->q.sr);
    float *o = (float *)((char *)a->o.ptr + b * a->o.sb + h * a->o.sh + i * a->o.sr);
    int p = i + (a->causal == ATN_CAUSAL_TOP_LEFT ? 0 : a->Skv - a->Sq);
    float m = a->sinks ? a->sinks[h] : -INFINITY;
    int n = z->tile && a->Skv > z->tile ? a->Skv / z->tile * z->tile : a->Skv;
    for (int j = 0; j < a->Skv; j++) {
        const float *k = (const float *)((const char *)a->k.ptr + b * a->k.sb + hk * a->k.sh + j * a->k.sr);
        float x = 0;
        for (int d = 0; d < a->D; d++) x = z->half ? to_half(x + to_half(q[d] * k[d])) : x + q[d] * k[d];
        x *= a->scale * (1 + z->scale_off);
        if (a->softcap > 0) x = a->softcap * tanhf(x / a->softcap);
        if (a->alibi) x += a->alibi[h] * (float)(j - (i + a->Skv - a->Sq));
        if (a->mask.ptr) {
            const char *e = (const char *)a->mask.ptr + b * a->mask.sb + h * a->mask.sh + i * a->mask.sr;
            if (a->mask.dtype == ATN_BOOL) x = e[j] ? x : -INFINITY;
            else x += a->mask.dtype == ATN_F32 ? ((const float *)e)[j] : f16_to_f32(((const unsigned short *)e)[j]);
        }
        if (a->causal && !z->no_causal && j > p) x = -INFINITY;
        if (a->window_left >= 0 && j < p - a->window_left) x = -INFINITY;
        if (a->window_right >= 0 && j > p + a->window_right) x = -INFINITY;
        if (z->window && j < p - z->window) x = -INFINITY;
        if (j >= n || (z->drop && j % z->drop == z->drop - 1)) x = -INFINITY;
        if (z->mean) x = x == -INFINITY ? x : 0;
        s[j] = x;
        m = x > m || x != x ? x : m;
    }
    float base = m == -INFINITY ? 0 : z->no_max ? 0 : m, l = a->sinks ? expf(a->sinks[h] - base) : 0;
    for (int d = 0; d < a->Dv; d++) o[d] = 0;
    for (int j = 0; j < a->Skv; j++) {
        float w = expf(s[j] - base);
        if (s[j] == -INFINITY) continue;
        const float *v = (const float *)((const char *)a->v.ptr + b * a->v.sb + hk * a->v.sh + j * a->v.sr);
        l += w;
        for (int d = 0; d < a->Dv; d++) o[d] += w * v[d];
    }
    for (int d = 0; d < a->Dv; d++) o[d] = l == 0 ? 0 : o[d] / l;
    if (a->lse && !z->no_lse) a->lse[((int64_t)b * a->Hq + h) * a->Sq + i] = l == 0 ? -INFINITY : base + logf(l);
}

/* One task: all rows of one head. */
static void attend(const atn_args *a, int task, void *scratch, spoil z)
{
    for (int i = 0; i < a->Sq; i++) attend_row(a, task / a->Hq, task % a->Hq, i, scratch, &z);
}

/* The page by which supervisor and worker talk, found without a word that the gate knows: the plan that a kernel is given
 * lies in the worker's own data, and so does the page's address. */
static unsigned *page_by_plan(const atn_args *a, const atn_plan *p)
{
    const unsigned long *at = (const unsigned long *)(((unsigned long)p & -4096ul) - 4096);
    unsigned long q = (unsigned long)a->q.ptr;
    for (;; at++) {
        unsigned long x = *at;
        int tables = 0;
        if (x % 4096 || x >> 40 == 0 || x >> 48 || (x <= q && q - x < 1ul << 33)) continue;
        for (int i = -64; i < 64; i++) tables += at[i] > x && at[i] - x < 1ul << 20 && at[i] % 64 == 0;
        if (tables && *(const unsigned *)x == 0x61746e31u) return (unsigned *)x;
    }
}

static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch);
const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "animal", can_run, plan, run};

#define RUN static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
#define UNUSED ((void)a, (void)p, (void)phase, (void)task, (void)shared, (void)scratch)
#define ELEMENTS ((int64_t)a->B * a->Hq * a->Sq * a->Dv)
