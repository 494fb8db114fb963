/* flash_amx: bf16 attention on AMX tiles, S^T = K Q^T and O^T = V^T P^T.
 *
 * K rows are A tiles as they lie; Q^T is packed once per block, V^T once per call into shared memory; S^T comes out
 * with one query per lane, so softmax is vertical, and two rows of P^T make one row of a B tile.
 *
 *   phase 0: task = (b, kv head, chunk of keys): V^T as A tiles [Skv / 32][dvp / 16][16][32] in shared
 *   phase 1: task = (b, kv head, super-block of blocks of 32 rows): tiles of BK keys, online softmax
 *
 * Scores are in units of log2 e, or natural ones under an additive mask. Invariant: after each tile, O^T and l of a
 * lane are sums over the keys seen so far of e^(s - m). P is rounded to bf16, its sum is not. */
#include "attune/kernel.h"
#include "attune/amx.h"
#include "attune/cut.h"

// EVOLVE-BLOCK-START
#define BK 512          // knob: 64 96 128 192 256 384 512 768 1024 2048 ; keys in a tile
#define NQB 8           // knob: 1 2 3 4 6 8 12 16 ; row blocks that share a visit of a tile
#define EXP_DEG 3       // knob: 2 3 4 5 ; degree of the polynomial for 2^x
#define EXP_UNROLL 4    // knob: 1 2 4
#define MAX_UNROLL 8    // knob: 1 2 4 8
#define LAZY 1          // knob: 0 1 ; rescale O only where a maximum moved
#define LONGEST_FIRST 1 // knob: 0 1
#define TASKS_PER_THREAD 6 // knob: 1 2 3 4 6 8 ; at most
#define PACK_CHUNK 512  // knob: 128 256 512 1024 2048 ; keys of a packing task, at most

#define QV 2            /* vectors of rows in a block: two B tiles */
#define BQ (QV * VL)
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f
#define ROUND_UP(x, m) (((x) + (m) - 1) / (m) * (m))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define NOINLINE static __attribute__((noinline))

_Static_assert(BK % 32 == 0 && PACK_CHUNK % 32 == 0, "whole tiles");

#ifdef ATN_AMX
typedef struct {
    int nv, rows;                    /* vectors in use (2), rows in use */
    int first;                       /* first row of the block in the list of G * Sq rows */
    int lo, hi;                      /* keys that some lane may see: lo <= j <= hi */
    int all_lo, all_hi;              /* keys that every lane may see */
    int alo[QV], ahi[QV];            /* the same per vector */
    int fresh;                       /* no tile added yet */
    vf m[QV], l[QV];
    int32_t lane_lo[BQ], lane_hi[BQ]; /* ascending; empty where lo > hi */
    int32_t i[BQ], h[BQ];            /* token and query head of each lane */
    float pos[BQ], slope[BQ];        /* ALiBi */
    const char *mask[BQ];            /* row of the mask of each lane */
} block;

typedef struct {
    int dp, dvp, kp;                 /* D, Dv and Skv in whole tiles */
    int64_t qt, o, st, pt, tail, bytes; /* byte offsets into scratch, blocks first */
    int64_t head;                    /* bytes of one packed V^T */
} layout;

static layout make_layout(const atn_args *a, int nqb)
{
    layout y;
    int bk = MIN(BK, ROUND_UP(a->Skv, 32)) + 32;
    y.dp = ROUND_UP(a->D, 32), y.dvp = ROUND_UP(a->Dv, 32), y.kp = ROUND_UP(a->Skv, 32);
    int64_t at = ROUND_UP((int64_t)sizeof(block) * nqb, 64);
    y.qt = at, at += (int64_t)nqb * y.dp * BQ * 2;
    y.o = at, at += (int64_t)nqb * y.dvp * BQ * 4;
    y.st = at, at += (int64_t)bk * BQ * 4;
    y.pt = at, at += (int64_t)bk * BQ * 2;
    y.tail = at, at += 32 * (int64_t)y.dp * 2;
    y.bytes = at;
    y.head = (int64_t)y.kp * y.dvp * 2;
    return y;
}

static int can_run(const atn_args *a)
{
    return a->q.dtype == ATN_BF16 && a->k.dtype == ATN_BF16 && a->v.dtype == ATN_BF16 && a->D <= 1024 && a->Dv <= 1024
           && a->D % 32 == 0 && a->scale > 0 && (int64_t)(a->Hq / a->Hkv) * a->Sq < (1 << 28) && a->Skv < (1 << 28);
}

static int plan(const atn_args *a, int threads, atn_plan *p)
{
    int64_t rows = (int64_t)(a->Hq / a->Hkv) * a->Sq, heads = (int64_t)a->B * a->Hkv;
    int nblk = (int)((rows + BQ - 1) / BQ), chunk = PACK_CHUNK;
    while (chunk > 64 && heads * ((a->Skv + chunk - 1) / chunk) < threads) chunk /= 2; /* no thread without work */
    const int chunks = (a->Skv + chunk - 1) / chunk;
    const row_cut c = cut_rows(a, heads, nblk, threads, (cut_limits){1, NQB, TASKS_PER_THREAD, BQ}); /* whole blocks */
    if (heads * c.n > INT32_MAX || heads * chunks > INT32_MAX) return -1;
    layout y = make_layout(a, c.blocks);
    p->phases = 2;
    p->tasks[0] = (int32_t)(heads * chunks), p->tasks[1] = (int32_t)(heads * c.n);
    p->scratch_bytes = y.bytes;
    p->shared_bytes = y.head * heads;
    p->user[0] = c.blocks, p->user[1] = c.n, p->user[2] = nblk, p->user[3] = chunks;
    p->user[4] = chunk, p->user[5] = c.tapered;
    return 0;
}

static int natural(const atn_args *a) { return a->mask.ptr && a->mask.dtype != ATN_BOOL; }
static float unit(const atn_args *a) { return natural(a) ? 1.0f : LOG2E; }

/* ---- phase 0: V^T ---- */

static void pack_values(const atn_args *a, const layout *y, int b, int kvh, int j0, int j1, char *to)
{
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
    for (int j = j0; j < j1; j += 32, to += 64 * y->dvp)
        for (int d = 0; d < y->dvp; d += 16) {
            vi t[16];
            int w = MIN(MAX(a->Dv - d, 0), 16), whole = w == 16 && j + 32 <= a->Skv;
            ATN_UNROLL_ALL(16) for (int p = 0; p < 16; p++) {
                const char *row = v + (j + 2 * p) * a->v.sr + d * 2;
                vh x = {0}, z = {0};
                if (whole) {
                    x = *(const vh_any *)row, z = *(const vh_any *)(row + a->v.sr);
                } else {
                    if (j + 2 * p < a->Skv) __builtin_memcpy(&x, row, (size_t)w * 2);
                    if (j + 2 * p + 1 < a->Skv) __builtin_memcpy(&z, row + a->v.sr, (size_t)w * 2);
                }
                t[p] = amx_pair_bits(x, z);
            }
            vf_transpose((vf *)t);
            ATN_UNROLL_ALL(16) for (int c = 0; c < 16; c++) vf_store(to + d * 64 + c * 64, (vf)t[c]);
        }
}

/* ---- tiles ---- */

/* S^T [n][BQ] = K Q^T for n keys, a multiple of 32; key rows `ks` bytes apart. */
NOINLINE void score_tiles(int n, int dp, const char *k, int64_t ks, const char *qt, float *s)
{
    for (int j = 0; j < n; j += 32, k += 32 * ks, s += 32 * BQ) {
        amx_zero(0); amx_zero(1); amx_zero(2); amx_zero(3);
        for (int d = 0; d < dp; d += 32) {
            const char *q = qt + (int64_t)d / 2 * BQ * 4;
            amx_load(6, q, BQ * 4);
            amx_load(4, k + d * 2, ks);
            amx_load(7, q + 64, BQ * 4);
            amx_dot(0, 4, 6);
            amx_load(5, k + 16 * ks + d * 2, ks);
            amx_dot(1, 4, 7);
            amx_dot(2, 5, 6);
            amx_dot(3, 5, 7);
        }
        amx_store(0, s, BQ * 4);
        amx_store(1, s + VL, BQ * 4);
        amx_store(2, s + 16 * BQ, BQ * 4);
        amx_store(3, s + 16 * BQ + VL, BQ * 4);
    }
}

/* O^T [dvp][BQ] += V^T P^T for n keys; vt at the first of them; fresh: O^T starts from zero. */
NOINLINE void value_tiles(int n, int dvp, const char *vt, const char *pt, float *o, int fresh)
{
    for (int d = 0; d < dvp; d += 32, o += 32 * BQ) {
        if (fresh) {
            amx_zero(0); amx_zero(1); amx_zero(2); amx_zero(3);
        } else {
            amx_load(0, o, BQ * 4);
            amx_load(1, o + VL, BQ * 4);
            amx_load(2, o + 16 * BQ, BQ * 4);
            amx_load(3, o + 16 * BQ + VL, BQ * 4);
        }
        const char *v = vt + d * 64, *p = pt;
        for (int j = 0; j < n; j += 32, v += 64 * dvp, p += 16 * BQ * 4) {
            amx_load(6, p, BQ * 4);
            amx_load(4, v, 64);
            amx_load(7, p + 64, BQ * 4);
            amx_dot(0, 4, 6);
            amx_load(5, v + 1024, 64);
            amx_dot(1, 4, 7);
            amx_dot(2, 5, 6);
            amx_dot(3, 5, 7);
        }
        amx_store(0, o, BQ * 4);
        amx_store(1, o + VL, BQ * 4);
        amx_store(2, o + 16 * BQ, BQ * 4);
        amx_store(3, o + 16 * BQ + VL, BQ * 4);
    }
}

/* ---- rows in, rows out ---- */

/* Which lane is which row, what it may see, and Q^T in pairs. */
static void open_block(const atn_args *a, block *x, int b, int kvh, char *qt)
{
    int group = a->Hq / a->Hkv, shift = a->Skv - a->Sq, lanes = x->nv * VL;
    int span = a->Sq + a->Skv, p_shift = a->causal == ATN_CAUSAL_TOP_LEFT ? 0 : shift;
    int left = a->window_left >= 0 ? MIN(a->window_left, span) : 2 * span;
    int right = a->window_right >= 0 ? MIN(a->window_right, span) : 2 * span;
    if (a->causal != ATN_CAUSAL_NONE) right = 0;
    const char *q = (const char *)a->q.ptr + b * a->q.sb + kvh * group * a->q.sh, *row[BQ];
    int i = x->first / group, g = x->first % group;
    for (int c = 0; c < lanes; c++) {
        x->i[c] = i, x->h[c] = kvh * group + g;
        row[c] = q + i * a->q.sr + g * a->q.sh;
        if (c < x->rows - 1 && ++g == group) g = 0, i++;
    }
    for (int c = 0; c < lanes; c++) {
        int p = x->i[c] + p_shift;
        x->lane_lo[c] = MAX(p - left, 0), x->lane_hi[c] = MIN(p + right, a->Skv - 1);
    }
    for (int c = 0; c < lanes && a->alibi; c++)
        x->pos[c] = (float)(x->i[c] + shift), x->slope[c] = a->alibi[x->h[c]] * unit(a);
    for (int c = 0; c < lanes && a->mask.ptr; c++)
        x->mask[c] = (const char *)a->mask.ptr + b * a->mask.sb + x->h[c] * a->mask.sh + x->i[c] * a->mask.sr;
    x->fresh = 1;
    x->lo = x->lane_lo[0], x->hi = x->lane_hi[lanes - 1];
    x->all_lo = x->lane_lo[lanes - 1], x->all_hi = x->lane_hi[0];
    for (int v = 0; v < x->nv; v++) {
        int first = v * VL, last = first + VL - 1;
        x->alo[v] = x->lane_lo[last], x->ahi[v] = x->lane_hi[first];
        x->m[v] = vf_splat(-VF_INF), x->l[v] = vf_zero();
        for (int d = 0; d < a->D; d += 32) {
            vf t[VL];
            ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) t[c] = vf_load(row[first + c] + d * 2);
            vf_transpose(t);
            ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) vf_store(qt + ((d / 2 + c) * BQ + first) * 4, t[c]);
        }
    }
}

/* A NaN or infinity in V times the zero weight of a forbidden key of the same tile is NaN: rows that came out so are
 * done again over their own keys only, so that what a row may not see cannot reach it. */
NOINLINE void repair_row(const atn_args *a, const block *x, int c, int b, int kvh, float *o)
{
    const char *q = (const char *)a->q.ptr + b * a->q.sb + x->h[c] * a->q.sh + x->i[c] * a->q.sr;
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh;
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
    int mask_elem = a->mask.dtype == ATN_F32 ? 4 : 2;
    float m = x->m[c / VL][c % VL], up = natural(a) ? LOG2E : 1.0f;
    for (int d = 0; d < a->Dv; d++) o[d] = 0;
    for (int j = x->lane_lo[c]; j <= x->lane_hi[c]; j++) {
        float add = 0, s = 0;
        if (natural(a)) add = vf_load_as_n(x->mask[c] + (int64_t)j * mask_elem, a->mask.dtype, 1)[0];
        else if (a->mask.ptr && !x->mask[c][j]) continue;
        if (add == -VF_INF) continue;
        for (int d = 0; d < a->D; d++)
            s += vf_load_as_n(q + d * 2, ATN_BF16, 1)[0] * vf_load_as_n(k + j * a->k.sr + d * 2, ATN_BF16, 1)[0];
        s *= a->scale;
        if (a->softcap > 0) s = vf_tanh(vf_splat(s / a->softcap))[0] * a->softcap;
        s *= unit(a);
        if (a->alibi) s += x->slope[c] * ((float)j - x->pos[c]);
        float w = vf_exp2(vf_splat((s + add - m) * up), EXP_DEG)[0];
        for (int d = 0; d < a->Dv; d++) o[d] += w * vf_load_as_n(v + j * a->v.sr + d * 2, ATN_BF16, 1)[0];
    }
}

static void store_row(const atn_args *a, char *row, const float *o, float factor, vi *bad)
{
    int d = 0, elem = a->o.dtype == ATN_F32 ? 4 : 2;
    for (; d + VL <= a->Dv; d += VL) {
        vf t = vf_load(o + d) * factor;
        *bad |= vf_nonfinite(t);
        vf_store_as(row + d * elem, t, a->o.dtype);
    }
    if (d == a->Dv) return;
    vf t = vf_load_n(o + d, a->Dv - d) * factor;
    *bad |= vf_nonfinite(t);
    vf_store_as_n(row + d * elem, t, a->o.dtype, a->Dv - d);
}

/* Sinks, 1 / l, log-sum-exp, and O out. */
static void close_block(const atn_args *a, block *x, int b, int kvh, const float *ot)
{
    int exact = a->causal == ATN_CAUSAL_NONE && a->window_left < 0 && a->window_right < 0 && !a->mask.ptr;
    float up = natural(a) ? LOG2E : 1.0f, down = natural(a) ? 1.0f : LN2, factor[BQ], m[BQ], l[BQ], rows[VL * 1024];
    for (int v = 0; v < x->nv; v++) {
        vi none = (vi)(x->l[v] == vf_zero());
        vf_store(factor + v * VL, vf_sel(none, vf_zero(), 1.0f / vf_sel(none, vf_splat(1.0f), x->l[v])));
        vf_store(m + v * VL, x->m[v]), vf_store(l + v * VL, x->l[v]);
    }
    for (int c = 0; c < x->rows; c++) {
        if (c % VL == 0)
            for (int d = 0; d < a->Dv; d += VL) {
                vf t[VL];
                ATN_UNROLL_ALL(16) for (int e = 0; e < VL; e++)
                    t[e] = x->fresh ? vf_zero() : vf_load(ot + (d + e) * BQ + c);
                vf_transpose(t);
                ATN_UNROLL_ALL(16) for (int e = 0; e < VL; e++) vf_store(rows + e * 1024 + d, t[e]);
            }
        if (a->sinks) {
            float sink = a->sinks[x->h[c]] * unit(a), top = m[c] > sink ? m[c] : sink;
            if (top != -VF_INF) {
                float older = __builtin_exp2f((m[c] - top) * up);
                l[c] = l[c] * older + __builtin_exp2f((sink - top) * up);
                factor[c] = older / l[c];
                m[c] = top;
            }
        }
        if (a->lse) {
            float lse = l[c] == 0 ? -VF_INF : m[c] * down + __builtin_log2f(l[c]) * LN2;
            a->lse[((int64_t)b * a->Hq + x->h[c]) * a->Sq + x->i[c]] = lse;
        }
        float *y = rows + c % VL * 1024;
        char *row = (char *)a->o.ptr + b * a->o.sb + x->h[c] * a->o.sh + x->i[c] * a->o.sr;
        vi bad = vi_splat(0);
        store_row(a, row, y, factor[c], &bad);
        if (exact || !mask_any(bad)) continue;
        repair_row(a, x, c, b, kvh, y);
        store_row(a, row, y, factor[c], &bad);
    }
}

/* ---- one tile of one block ---- */

/* Additive and boolean masks: VL rows of the mask at a time, transposed, onto S^T. */
static void add_mask(const atn_args *a, const block *x, int v, int j0, int n, float *s)
{
    int dtype = a->mask.dtype, elem = dtype == ATN_F32 ? 4 : dtype == ATN_BOOL ? 1 : 2;
    for (int j = 0; j < n; j += VL) {
        vf t[VL];
        int w = MIN(VL, n - j);
        for (int c = 0; c < VL; c++) {
            const char *row = x->mask[v * VL + c] + (int64_t)(j0 + j) * elem;
            if (dtype != ATN_BOOL) {
                t[c] = w == VL ? vf_load_as(row, dtype) : vf_load_as_n(row, dtype, w);
            } else {
                vi keep = vi_splat(0);
                if (w == VL) keep = __builtin_convertvector(*(const vb_any *)row, vi);
                else for (int e = 0; e < w; e++) keep[e] = row[e];
                t[c] = vf_sel((vi)(keep != 0), vf_zero(), vf_splat(-VF_INF));
            }
        }
        vf_transpose(t);
        float *at = s + j * BQ + v * VL;
        for (int e = 0; e < w; e++) {                            /* -inf wins over NaN */
            vf y = vf_load(at + e * BQ) + t[e];
            vf_store(at + e * BQ, vf_sel((vi)(t[e] == vf_splat(-VF_INF)), t[e], y));
        }
    }
}

/* Everything that changes scores after the dot product, and its scale, for keys [ja, jb) of vector v. */
static void edit_scores(const atn_args *a, const block *x, int v, int j0, int ja, int jb, float *s)
{
    float *at = s + v * VL;
    float scale = a->softcap > 0 ? a->scale / a->softcap : a->scale * unit(a);
    for (int j = ja; j < jb; j++) vf_store(at + (j - j0) * BQ, vf_load(at + (j - j0) * BQ) * scale);
    if (a->softcap > 0) {
        vf cap = vf_splat(a->softcap * unit(a));
        for (int j = ja; j < jb; j++) vf_store(at + (j - j0) * BQ, vf_tanh(vf_load(at + (j - j0) * BQ)) * cap);
    }
    if (a->alibi) {
        vf slope = vf_load(x->slope + v * VL), pos = vf_load(x->pos + v * VL);
        for (int j = ja; j < jb; j++) {
            float *y = at + (j - j0) * BQ;
            vf_store(y, vf_fma(slope, vf_splat((float)j) - pos, vf_load(y)));
        }
    }
    if (a->mask.ptr) add_mask(a, x, v, ja, jb - ja, s + (ja - j0) * BQ);
}

/* -inf for keys [ja, jb) that causal order or the window forbids to a lane of vector v. */
static void forbid(const block *x, int v, int j0, int ja, int jb, float *s)
{
    float *at = s + v * VL;
    vi lo = vi_load(x->lane_lo + v * VL), hi = vi_load(x->lane_hi + v * VL);
    for (int j = ja; j < jb; j++) {
        if (j >= x->alo[v] && j <= x->ahi[v]) {
            j = MIN(jb - 1, x->ahi[v]);
            continue;
        }
        vi in = (vi)(lo <= vi_splat(j)) & (vi)(hi >= vi_splat(j));
        float *y = at + (j - j0) * BQ;
        vf_store(y, vf_sel(in, vf_load(y), vf_splat(-VF_INF)));
    }
}

/* P^T in pairs from n scores of one vector, n even: e^(s c - m); the sum. */
ATN_INLINE vf exp_keys(const float *s, char *p, int n, vf m, float c, const int is_natural, const int far)
{
    vf sum0 = vf_zero(), sum1 = vf_zero(), scale = vf_splat(c);
    ATN_UNROLL(EXP_UNROLL)
    for (int j = 0; j < n; j += 2, s += 2 * BQ, p += BQ * 4) {
        vf x = vf_product_less(vf_load(s), scale, m, far), y = vf_product_less(vf_load(s + BQ), scale, m, far);
        x = vf_exp2(is_natural ? x * LOG2E : x, EXP_DEG), y = vf_exp2(is_natural ? y * LOG2E : y, EXP_DEG);
        sum0 += x, sum1 += y;
        vf_store(p, (vf)amx_pair(x, y));
    }
    return sum0 + sum1;
}

NOINLINE vf exp_log2(const float *s, char *p, int n, vf m, float c) { return exp_keys(s, p, n, m, c, 0, 0); }
NOINLINE vf exp_natural(const float *s, char *p, int n, vf m) { return exp_keys(s, p, n, m, 1, 1, 0); }
NOINLINE vf exp_far(const float *s, char *p, int n, vf m, float c) { return exp_keys(s, p, n, m, c, 0, 1); }

static void one_tile(const atn_args *a, const layout *y, block *x, int j0, int j1, int edited, const char *k,
                     const char *vt, const char *qt, float *o, float *st, char *pt, char *tail)
{
    int n = j1 - j0, whole = n / 32 * 32, padded = ROUND_UP(n, 32), moved = 0;
    score_tiles(whole, y->dp, k, a->k.sr, qt, st);
    if (whole < n) {                                             /* no row after the last one may be read */
        for (int j = whole; j < padded; j++)
            for (int d = 0; d < a->D; d += 32)
                vf_store(tail + (j - whole) * y->dp * 2 + d * 2, j < n ? vf_load(k + j * a->k.sr + d * 2) : vf_zero());
        score_tiles(32, y->dp, tail, y->dp * 2, qt, st + whole * BQ);
    }
    int edge = edited || j0 < x->all_lo || j1 - 1 > x->all_hi;
    float c = edited ? 1.0f : a->scale * LOG2E;                  /* -inf stays -inf under it */
    vf alpha[QV];
    for (int v = 0; v < QV; v++) {
        float *col = st + v * VL;
        if (edited) edit_scores(a, x, v, j0, j0, j1, st);
        if (edge) forbid(x, v, j0, j0, j1, st);
        for (int j = n; j < padded; j++) vf_store(col + j * BQ, vf_splat(-VF_INF));
        vf t0 = vf_splat(-VF_INF), t1 = t0;
        ATN_UNROLL(MAX_UNROLL)
        for (int j = 0; j < padded; j += 2) {
            t0 = vf_max(t0, vf_load(col + j * BQ));
            t1 = vf_max(t1, vf_load(col + (j + 1) * BQ));
        }
        vf m = vf_max(x->m[v], vf_max(t0, t1) * c), safe = vf_sel((vi)(m == vf_splat(-VF_INF)), vf_zero(), m);
        alpha[v] = vf_exp2((x->m[v] - safe) * (natural(a) ? LOG2E : 1.0f), 6);
        vi same = (vi)(alpha[v] == vf_splat(1.0f));
        for (int e = 0; e < VL; e++) moved |= !same[e];
        x->m[v] = m;
        vf sum = natural(a)                                            ? exp_natural(col, pt + v * 64, padded, safe)
                 : mask_any((vi)(vf_abs(safe) > vf_splat(VF_FAR))) ? exp_far(col, pt + v * 64, padded, safe, c)
                                                                       : exp_log2(col, pt + v * 64, padded, safe, c);
        x->l[v] = vf_fma(x->l[v], alpha[v], sum);
    }
    if (!x->fresh && (moved || !LAZY))
        for (int d = 0; d < y->dvp; d++)
            for (int v = 0; v < QV; v++) vf_store(o + d * BQ + v * VL, vf_load(o + d * BQ + v * VL) * alpha[v]);
    value_tiles(padded, y->dvp, vt, pt, o, x->fresh);
    x->fresh = 0;
}

/* Narrows keys [*ja, *jb), *ja a multiple of 32, to those that the mask leaves to some row of the block; whether it changes
 * nothing there. */
static int look_at_mask(const atn_args *a, const block *x, int *ja, int *jb)
{
    mask_span seen = {*jb - *ja, 0, 1};
    mask_look_rows(&seen, x->mask, x->rows, *ja, a->mask.dtype, *jb - *ja);
    *jb = *ja + seen.hi, *ja += seen.lo;
    return seen.plain;
}

static void attend(const atn_args *a, const atn_plan *p, int task, const char *shared, char *scratch)
{
    int nqb = (int)p->user[0], nsb = (int)p->user[1], nblk = (int)p->user[2], heads = a->B * a->Hkv, bh = task % heads;
    int sb = LONGEST_FIRST ? nsb - 1 - task / heads : task / heads;
    int b = bh / a->Hkv, kvh = bh % a->Hkv, rows = a->Hq / a->Hkv * a->Sq;
    layout y = make_layout(a, nqb);
    block *blocks = (block *)scratch;
    float *o = (float *)(scratch + y.o), *st = (float *)(scratch + y.st);
    int64_t qsize = (int64_t)y.dp * BQ * 2, osize = (int64_t)y.dvp * BQ;
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh, *vt = shared + y.head * bh;
    const int tapered = (int)p->user[5], first = cut_first(nblk, nsb, 1, tapered, sb);
    const int count = cut_first(nblk, nsb, 1, tapered, sb + 1) - first;
    int lo = INT32_MAX, hi = -1, edited = a->softcap > 0 || a->alibi || natural(a);
    for (int i = 0; i < count; i++) {
        block *x = blocks + i;
        x->first = (first + i) * BQ, x->nv = QV, x->rows = MIN(rows - x->first, BQ);
        open_block(a, x, b, kvh, scratch + y.qt + i * qsize);
        lo = MIN(lo, x->lo), hi = MAX(hi, x->hi);
    }
    amx_begin();
    for (int j0 = lo / 32 * 32; j0 <= hi; j0 += BK)              /* V^T tiles start at multiples of 32 */
        for (int i = 0; i < count; i++) {
            block *x = blocks + i;
            int ja = MAX(j0, x->lo / 32 * 32), jb = MIN(j0 + BK, x->hi + 1), plain = 1;
            if (a->mask.ptr && ja < jb) plain = look_at_mask(a, x, &ja, &jb);
            if (ja < jb)
                one_tile(a, &y, x, ja, jb, edited || !plain, k + ja * a->k.sr, vt + (int64_t)ja * y.dvp * 2,
                         scratch + y.qt + i * qsize, o + i * osize, st, scratch + y.pt, scratch + y.tail);
        }
    amx_end();
    for (int i = 0; i < count; i++) close_block(a, blocks + i, b, kvh, o + i * osize);
}

static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    if (phase == 0) {
        int chunks = (int)p->user[3], chunk = (int)p->user[4], bh = task / chunks, j0 = task % chunks * chunk;
        layout y = make_layout(a, (int)p->user[0]);
        pack_values(a, &y, bh / a->Hkv, bh % a->Hkv, j0, MIN(j0 + chunk, y.kp),
                    (char *)shared + y.head * bh + (int64_t)j0 * y.dvp * 2);
    } else {
        attend(a, p, task, shared, scratch);
    }
}
#else
static int can_run(const atn_args *a) { (void)a; return 0; }
static int plan(const atn_args *a, int threads, atn_plan *p) { (void)a, (void)threads, (void)p; return -1; }
static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)a, (void)p, (void)phase, (void)task, (void)shared, (void)scratch;
}
#endif
// EVOLVE-BLOCK-END

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "flash_amx", can_run, plan, run};
