/* One operator of ggml's as attune's arguments: the same for both ways in. */
#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <math.h>
#include <string.h>

#include "ggml_plugin.h"

static int dtype_of(const host_tensor *t)
{
    return t->type == LAYOUT_F32 ? ATN_F32 : t->type == LAYOUT_F16 ? ATN_F16 : t->type == LAYOUT_BF16 ? ATN_BF16 : -1;
}

static atn_tensor tensor_of(const host_tensor *t)
{
    return (atn_tensor){.ptr = t->data, .dtype = dtype_of(t), .sr = (int64_t)t->nb[1], .sh = (int64_t)t->nb[2],
                        .sb = (int64_t)t->nb[3]};
}

static const int dtype_bytes[] = {4, 2, 2, 1};

enum { BLOCK_BYTES = 32 << 20, COLUMNS = 512 };

static void sloped_mask(atn_args *a, node_block *block)
{
    const int64_t row = (int64_t)a->B * a->Hq * a->Skv * 4, fit = BLOCK_BYTES / row;
    block->mask = a->mask;
    block->rows = fit < 1 ? 1 : fit < a->Sq ? (int)fit : a->Sq;
    block->bytes = (row * block->rows + 63) / 64 * 64;
    a->mask.dtype = ATN_F32;
    a->mask.sr = (int64_t)a->Skv * 4;
    a->mask.sh = a->mask.sr * block->rows;
    a->mask.sb = a->mask.sh * a->Hq;
}

static float half_value(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    union { uint32_t bits; float value; } x = {rest}, special = {sign | 0x7f800000 | rest};
    x.value *= 0x1p112f;
    x.bits |= sign;
    return (h & 0x7c00) == 0x7c00 ? special.value : x.value;
}

/* ggml's slopes: powers of 2^(-bias/n) for the first n heads, n a power of two, and those halfway between for the rest. */
static float slope_of(int head, int heads, float max_bias)
{
    int n = 1;
    while (2 * n <= heads) n *= 2;
    return head < n ? powf(powf(2, -max_bias / (float)n), (float)(head + 1))
                    : powf(powf(2, -max_bias / 2 / (float)n), (float)(2 * (head - n) + 1));
}

static float max_bias_of(const host_tensor *dst)
{
    float x;
    memcpy(&x, &dst->op_params[1], 4);
    return x;
}

void node_masks(const host_tensor *dst, const atn_args *a, const node_block *block, int first, int n, float *out, int ith,
                int nth)
{
    const int parts = (a->Skv + COLUMNS - 1) / COLUMNS;
    const float max_bias = max_bias_of(dst);
    float value[COLUMNS];
    for (int unit = ith; unit < a->B * n * parts; unit += nth) {
        const int b = unit / parts / n, i = unit / parts % n, j0 = unit % parts * COLUMNS;
        const int width = a->Skv - j0 < COLUMNS ? a->Skv - j0 : COLUMNS;
        for (int h = 0; h < a->Hq; h++) {
            if (h == 0 || block->mask.sh) {
                const char *row = (const char *)block->mask.ptr + b * block->mask.sb + h * block->mask.sh +
                                  (first + i) * block->mask.sr;
                for (int j = 0; j < width; j++)
                    value[j] = block->mask.dtype == ATN_F16 ? half_value(((const uint16_t *)row)[j0 + j])
                                                            : ((const float *)row)[j0 + j];
            }
            const float slope = slope_of(h, a->Hq, max_bias);
            float *to = out + (((int64_t)b * a->Hq + h) * block->rows + i) * a->Skv + j0;
            for (int j = 0; j < width; j++) to[j] = slope * value[j];
        }
    }
}

/* dst f32 [Dv, Hq, Sq, B] = q [D, Sq, Hq, B], k [D, Skv, Hkv, B], v [Dv, Skv, Hkv, B], mask [Skv, Sq, 1|Hq, 1|B], sinks [Hq]
 * (fastest dimension first). Pointers may still be NULL when the host asks early. */
bool node_args(const host_tensor *dst, atn_args *a, node_block *block)
{
    *block = (node_block){0};
    const host_tensor *q = dst->src[0], *k = dst->src[1], *v = dst->src[2], *mask = dst->src[3], *sinks = dst->src[4];
    float scale, softcap;
    memcpy(&scale, &dst->op_params[0], 4);
    memcpy(&softcap, &dst->op_params[2], 4);
    const host_tensor *const t[] = {q, k, v};
    for (int i = 0; i < 3; i++)
        if (!t[i] || dtype_of(t[i]) < 0 || t[i]->nb[0] != (size_t)dtype_bytes[dtype_of(t[i])]) return false;
    if (dst->type != LAYOUT_F32 || q->ne[2] % k->ne[2] || k->ne[2] != v->ne[2] || k->ne[3] != q->ne[3] ||
        v->ne[3] != q->ne[3] || k->ne[1] != v->ne[1])
        return false;
    atn_args_init(a);
    a->B = (int)q->ne[3], a->Hq = (int)q->ne[2], a->Hkv = (int)k->ne[2];
    a->Sq = (int)q->ne[1], a->Skv = (int)k->ne[1], a->D = (int)q->ne[0], a->Dv = (int)v->ne[0];
    a->softcap = softcap;
    a->scale = scale;
    a->q = tensor_of(q), a->k = tensor_of(k), a->v = tensor_of(v);
    a->o = (atn_tensor){.ptr = dst->data, .dtype = ATN_F32, .sh = (int64_t)dst->nb[1], .sr = (int64_t)dst->nb[2],
                        .sb = (int64_t)dst->nb[3]};
    if (mask) {
        if ((mask->type != LAYOUT_F16 && mask->type != LAYOUT_F32) || mask->ne[0] < a->Skv || mask->ne[1] < a->Sq ||
            a->Hq % mask->ne[2] || a->B % mask->ne[3] || (mask->ne[2] > 1 && mask->ne[2] != a->Hq) ||
            (mask->ne[3] > 1 && mask->ne[3] != a->B))
            return false;
        a->mask = tensor_of(mask);
        if (mask->ne[2] == 1) a->mask.sh = 0;
        if (mask->ne[3] == 1) a->mask.sb = 0;
        if (!a->mask.ptr) a->mask.ptr = (void *)64; /* planned before it has memory */
        if (max_bias_of(dst) > 0) sloped_mask(a, block);
    }
    if (sinks) {
        if (sinks->type != LAYOUT_F32 || sinks->ne[0] != a->Hq) return false;
        a->sinks = sinks->data ? sinks->data : (const float *)64;
    }
    return true;
}

void node_take_rows(atn_args *a, const node_block *block, int first)
{
    if (!block->rows) return;
    a->Sq = a->Sq - first < block->rows ? a->Sq - first : block->rows;
    a->q.ptr = a->q.ptr ? (char *)a->q.ptr + first * a->q.sr : NULL;
    a->o.ptr = a->o.ptr ? (char *)a->o.ptr + first * a->o.sr : NULL;
}

/* Bytes of the workspace for rows first ..; -1: no kernel covers them. */
static int64_t workspace_of(atn_args a, const node_block *block, int first, int threads)
{
    node_take_rows(&a, block, first);
    planned *p = planner_acquire(plugin.plans, &a, threads, NULL);
    if (!p) return -1;
    const int64_t bytes = atn_plan_workspace(planned_plan(p));
    planner_release(plugin.plans, p, -1);
    return bytes;
}

int64_t node_room(const atn_args *a, const node_block *block, int threads)
{
    int64_t bytes = workspace_of(*a, block, 0, threads);
    if (bytes >= 0 && block->rows && a->Sq % block->rows) { /* the last block is another problem */
        const int64_t last = workspace_of(*a, block, a->Sq / block->rows * block->rows, threads);
        bytes = last < 0 || last > bytes ? last : bytes;
    }
    return bytes < 0 ? -1 : block->bytes + bytes;
}

/* Every thread asks for every operator at the same moment, once a layer: a lock there would put one of them to sleep each
 * time. So a thread remembers what was covered, and the layers of a model ask the same. */
static bool covered(const atn_args *a, const node_block *block)
{
    static __thread atn_args last[4]; /* of size 0: none yet */
    static __thread unsigned next;
    const atn_args key = planner_key(a);
    for (int i = 0; i < 4; i++)
        if (!memcmp(&last[i], &key, sizeof key)) return true;
    if (workspace_of(*a, block, 0, 1) < 0) return false;
    last[next] = key;
    next = (next + 1) % 4;
    return true;
}

bool node_taken(const host_tensor *op)
{
    atn_args a;
    node_block block;
    if (op->op != plugin.flash_attn || !atomic_load_explicit(&plugin.enabled, memory_order_relaxed)) return false;
    if (node_args(op, &a, &block) && covered(&a, &block)) return true;
    atomic_fetch_add(&plugin.declined, 1);
    return false;
}

/* ---- tiles ---- */

#ifdef __x86_64__
static bool counts_tiles(void) /* this CPU has tiles, and says whether they are in use */
{
    static atomic_int known; /* 0 not yet, 1 no, 2 yes */
    unsigned a, b, c, d;
    if (!known) {
        const bool has = __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & 1u << 24;
        known = has && __get_cpuid_count(13, 1, &a, &b, &c, &d) && a & 1u << 2 ? 2 : 1;
    }
    return known == 2;
}

void node_tiles_keep(node_tiles *t)
{
    unsigned in_use = 0, high;
    t->kept = false;
    if (!counts_tiles()) return;
    __asm__ volatile("xgetbv" : "=a"(in_use), "=d"(high) : "c"(1));
    if (!(in_use & 1u << 17)) return;
    __asm__ volatile("sttilecfg %0" : "=m"(t->config));
    t->kept = true;
}

void node_tiles_give_back(const node_tiles *t)
{
    if (t->kept) __asm__ volatile("ldtilecfg %0" : : "m"(t->config));
}
#else
void node_tiles_keep(node_tiles *t)
{
    t->kept = false;
}

void node_tiles_give_back(const node_tiles *t)
{
    (void)t;
}
#endif
