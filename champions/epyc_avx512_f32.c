/* Program #21 of an attune run, evolved from champion:xeon_avx512_f32.c. Where it comes from and what was measured:
 * the .json beside it; since then, the cut into super-blocks for several threads is that of flash_qvec. Compiler: gcc 12.2.0,
 * extra flags -O2. */
/* Champion for Intel Xeon with AVX-512 (Sapphire Rapids class), f32, suite seed+readme: program #67 of an attune run, evolved
 * from flash_qvec.c in 6 steps (its 10.18x over the initial program became 10.46x; 141 candidates, 6.5 minutes).
 * Lineage, machine and figures: the .json beside it. Compiler: gcc 13.3.0, extra flags -mprefer-vector-width=256. */
/* flash_qvec: attention with scores vectorised along queries, S^T = K Q^T, and output along columns, O = P V.
 *
 * In S^T one lane is one query row, so maximum, sum and masks are vertical; K is read as it lies, one broadcast element
 * at a time, V as vectors: neither is packed or transposed, only Q on its way in. Rows of all query heads that share a
 * kv head are one list of lanes, token by token (grouped-query attention fills vectors, causal order stays).
 *
 *   task   = (b, kv head, super-block of row blocks); K and V tiles of BK keys are visited once per super-block
 *   block  = QV vectors of rows: Q^T [D][BQ], O [BQ][os], running maximum m and sum l of each lane
 *   tile   = S^T [BK][BQ], exponentiated in place
 *
 * Scores are in units of log2 e (so that exp is exp2), or natural ones under an additive mask, whose -FLT_MAX must stay
 * finite. Invariant: after each tile, O and l of a lane are sums over the keys seen so far of e^(s - m). */
#include "attune/cut.h"
#include "attune/kernel.h"
#include "attune/vec.h"

// EVOLVE-BLOCK-START
#define QV 3            // vectors of query rows in a register tile of S^T
#define KU 4            // knob: 2 3 4 5 6 8 10 12 ; keys in a register tile of S^T
#define PR 2            // knob: 2 3 4 5 6 8 12 ; rows in a register tile of O
#define PN 4            // vectors of columns in a register tile of O
#define BK 64           // knob: 16 32 48 64 96 128 192 256 384 512 1024 2048 ; keys in a tile
#define NQB 16           // knob: 1 2 3 4 6 8 12 16 ; row blocks that share a visit of a tile
#define EXP_DEG 5       // knob: 4 5 6 ; degree of the polynomial for 2^x
#define EXP_UNROLL 8    // knob: 1 2 4 8
#define QK_UNROLL 4     // knob: 1 2 4 8 ; steps of D at once
#define PV_UNROLL 2     // knob: 1 2 4 8 ; keys at once
#define MAX_FUSED 1     // knob: 0 1 ; take the maximum while S^T is still in registers
#define K_COPY 0        // knob: 0 1 ; 1: copy each K tile to contiguous scratch
#define V_COPY 0        // knob: 0 1
#define COPY_PAD 16     // knob: 0 4 16 32 ; floats between copied rows
#define FINE_DIAG 1     // knob: 0 1 ; leave out vectors and rows that the causal edge or the window empties
#define LONGEST_FIRST 1 // knob: 0 1
#define PREFETCH 3      // knob: 0 1 2 3 ; 1: first K tile while Q is packed, 2: also V, 3: next tiles too
#define TASKS_PER_THREAD 6 // knob: 1 2 3 4 6 8 ; at most

#define BQ (QV * VL)
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f
#define ROUND_UP(x, m) (((x) + (m) - 1) / (m) * (m))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

_Static_assert(KU * QV + QV + 1 <= VF_REGS, "the register tile of S^T fits in the registers");
_Static_assert(PR * PN + PN + 1 <= VF_REGS, "the register tile of O fits in the registers");

#define STR(x) #x
#define UNROLL(n) _Pragma(STR(GCC unroll n))
#define NOINLINE static __attribute__((noinline))

typedef struct {
    int nv, rows;                    /* vectors in use, rows in use (the last vector may be partly empty) */
    int first;                       /* first row of the block in the list of G * Sq rows */
    int lo, hi;                      /* keys that some lane may see: lo <= j <= hi */
    int all_lo, all_hi;              /* keys that every lane may see */
    int vlo[QV], vhi[QV], alo[QV], ahi[QV]; /* the same per vector */
    int fresh;                       /* no tile added yet */
    vf m[QV], l[QV];
    int32_t lane_lo[BQ], lane_hi[BQ]; /* ascending; empty where lo > hi */
    int32_t i[BQ], h[BQ];            /* token and query head of each lane */
    float pos[BQ], slope[BQ];        /* ALiBi */
    const char *mask[BQ];            /* row of the mask of each lane */
    float alpha[BQ + PR];            /* what the tile at hand rescales O by */
} block;

typedef struct {
    int64_t qt, o, st, kc, vc;       /* byte offsets into scratch, blocks first */
    int64_t bytes;
    int kstride, vstride;            /* floats between rows of the copies */
    int os;                          /* floats between rows of O */
} layout;

static int copies_k(const atn_args *a) { return K_COPY || a->k.dtype != ATN_F32; }
static int copies_v(const atn_args *a) { return V_COPY || a->v.dtype != ATN_F32 || a->Dv % VL != 0; }

static layout make_layout(const atn_args *a, int nqb)
{
    layout y;
    int bk = MIN(BK, a->Skv);
    y.os = ROUND_UP(a->Dv, VL);
    y.kstride = ROUND_UP(a->D, 16) + COPY_PAD;
    y.vstride = y.os + COPY_PAD;
    int64_t at = ROUND_UP((int64_t)sizeof(block) * nqb, 64);
    y.qt = at, at += (int64_t)nqb * a->D * BQ * 4;
    y.o = at, at += (int64_t)nqb * y.os * (BQ + PR) * 4;
    y.st = at, at += (int64_t)(bk + KU) * BQ * 4 + 64;
    y.kc = at, at += copies_k(a) ? ROUND_UP((int64_t)bk * y.kstride * 4, 64) : 0;
    y.vc = at, at += copies_v(a) ? ROUND_UP((int64_t)bk * y.vstride * 4, 64) : 0;
    y.bytes = at;
    return y;
}

static int can_run(const atn_args *a)
{
    return a->D <= 4096 && a->Dv <= 4096 && (int64_t)(a->Hq / a->Hkv) * a->Sq < (1 << 28) && a->Skv < (1 << 28);
}

static int plan(const atn_args *a, int threads, atn_plan *p)
{
    int64_t rows = (int64_t)(a->Hq / a->Hkv) * a->Sq, heads = (int64_t)a->B * a->Hkv;
    const int nvec = (int)((rows + VL - 1) / VL);
    const row_cut c = cut_rows(a, heads, nvec, threads, (cut_limits){QV, NQB, TASKS_PER_THREAD, VL});
    if (heads * c.n > INT32_MAX) return -1;
    p->phases = 1;
    p->tasks[0] = (int32_t)(heads * c.n);
    p->scratch_bytes = make_layout(a, c.blocks).bytes;
    p->user[0] = c.blocks, p->user[1] = c.n, p->user[2] = c.tapered, p->user[3] = nvec;
    return 0;
}

/* ---- the two register tiles; nv is a constant at each call ---- */

/* s[j][v] = sum_d k[j][d] q[d][v] for n keys; mx[v] = max over them. s has room for KU rows more than n. */
ATN_INLINE void qk_tile(const int nv, int n, int D, const char *k, int64_t ks, const float *q, float *s, vf *mx)
{
    vf top[QV];
    UNROLL(8) for (int v = 0; v < nv; v++) top[v] = mx[v];
    for (int j = 0; j < n; j += KU, s += KU * BQ) {
        const scalar_f32 *row[KU];
        UNROLL(16) for (int r = 0; r < KU; r++) row[r] = (const scalar_f32 *)(k + MIN(j + r, n - 1) * ks);
        vf acc[KU][QV];
        UNROLL(16) for (int r = 0; r < KU; r++)
            UNROLL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_zero();
        const float *qd = q;
        UNROLL(QK_UNROLL)
        for (int64_t d = 0; d < D; d++, qd += BQ) {
            vf x[QV];
            UNROLL(8) for (int v = 0; v < nv; v++) x[v] = vf_load(qd + v * VL);
            UNROLL(16) for (int r = 0; r < KU; r++) {
                vf y = vf_splat(row[r][d]);
                UNROLL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_fma(y, x[v], acc[r][v]);
            }
        }
        UNROLL(16) for (int r = 0; r < KU; r++)
            UNROLL(8) for (int v = 0; v < nv; v++) {
                vf_store(s + r * BQ + v * VL, acc[r][v]);
                if (MAX_FUSED) top[v] = vf_max(top[v], acc[r][v]);
            }
    }
    UNROLL(8) for (int v = 0; v < nv; v++) mx[v] = top[v];
}

/* o[r][c] = o[r][c] * alpha[r] + sum_j p[j][r] x[j][c] for PR rows and nv vectors of columns; alpha NULL: from zero. */
ATN_INLINE void pv_tile(const int nv, int n, const char *x, int64_t xs, const float *p, float *o, int os,
                        const float *alpha)
{
    vf acc[PR][PN];
    if (alpha) {
        UNROLL(16) for (int r = 0; r < PR; r++)
            UNROLL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_load(o + r * os + v * VL) * alpha[r];
    } else {
        UNROLL(16) for (int r = 0; r < PR; r++)
            UNROLL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_zero();
    }
    UNROLL(PV_UNROLL)
    for (int j = 0; j < n; j++, x += xs, p += BQ) {
        vf y[PN];
        UNROLL(8) for (int v = 0; v < nv; v++) y[v] = vf_load(x + v * VL * 4);
        UNROLL(16) for (int r = 0; r < PR; r++) {
            vf z = vf_splat(p[r]);
            UNROLL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_fma(z, y[v], acc[r][v]);
        }
    }
    UNROLL(16) for (int r = 0; r < PR; r++)
        UNROLL(8) for (int v = 0; v < nv; v++) vf_store(o + r * os + v * VL, acc[r][v]);
}

#define QK(NV) \
    NOINLINE void qk_##NV(int n, int D, const char *k, int64_t ks, const float *q, float *s, vf *mx) \
    { \
        qk_tile(NV, n, D, k, ks, q, s, mx); \
    }
#define PV(NV) \
    NOINLINE void pv_##NV(int n, const char *x, int64_t xs, const float *p, float *o, int os, const float *alpha) \
    { \
        pv_tile(NV, n, x, xs, p, o, os, alpha); \
    }
QK(1)
PV(1)
QK(2)
QK(3)
PV(2)
PV(3)
PV(4)

static void qk(int nv, int n, int D, const char *k, int64_t ks, const float *q, float *s, vf *mx)
{
    switch (nv) {
    case 3: qk_3(n, D, k, ks, q, s, mx); return;
    case 2: qk_2(n, D, k, ks, q, s, mx); return;
    default: qk_1(n, D, k, ks, q, s, mx);
    }
}

/* O of a block for the tile at hand: n keys from key j0, v and p at key j0. Rows that see fewer keys take fewer. */
static void pv(block *x, int j0, int n, int edge, int columns, const char *v, int64_t vs, const float *p, float *o,
               int os)
{
    for (int c = 0; c < columns; c += PN * VL) {
        int nv = MIN(PN, (columns - c) / VL);
        for (int r = 0; r < x->rows; r += PR) {
            int a = 0, len = n;
            if (edge && FINE_DIAG) {
                int last = MIN(r + PR, x->rows) - 1;
                a = MIN(MAX(x->lane_lo[r] - j0, 0), n);
                len = MAX(MIN(x->lane_hi[last] - j0 + 1, n) - a, 0);
            }
            const char *vv = v + a * vs + c * 4;
            const float *pp = p + a * BQ + r, *alpha = x->fresh ? NULL : x->alpha + r;
            float *oo = o + (int64_t)r * os + c;
            switch (nv) {
            case 4: pv_4(len, vv, vs, pp, oo, os, alpha); break;
            case 3: pv_3(len, vv, vs, pp, oo, os, alpha); break;
            case 2: pv_2(len, vv, vs, pp, oo, os, alpha); break;
            default: pv_1(len, vv, vs, pp, oo, os, alpha);
            }
        }
    }
    x->fresh = 0;
}

/* ---- rows in, rows out ---- */

static int natural(const atn_args *a) { return a->mask.ptr && a->mask.dtype != ATN_BOOL; }
static float unit(const atn_args *a) { return natural(a) ? 1.0f : LOG2E; }

/* Which lane is which row, what it may see, and Q^T, scaled. */
static void open_block(const atn_args *a, block *x, int b, int kvh, float *qt)
{
    int group = a->Hq / a->Hkv, shift = a->Skv - a->Sq, lanes = x->nv * VL, elem = a->q.dtype == ATN_F32 ? 4 : 2;
    int span = a->Sq + a->Skv, p_shift = a->causal == ATN_CAUSAL_TOP_LEFT ? 0 : shift;
    int left = a->window_left >= 0 ? MIN(a->window_left, span) : 2 * span;
    int right = a->window_right >= 0 ? MIN(a->window_right, span) : 2 * span;
    if (a->causal != ATN_CAUSAL_NONE) right = 0;
    float scale = a->softcap > 0 ? a->scale / a->softcap : a->scale * unit(a);
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
        x->vlo[v] = x->lane_lo[first], x->vhi[v] = x->lane_hi[last];
        x->alo[v] = x->lane_lo[last], x->ahi[v] = x->lane_hi[first];
        x->m[v] = vf_splat(-VF_INF), x->l[v] = vf_zero();
        for (int d = 0; d < a->D; d += VL) {
            vf t[VL];
            int w = MIN(VL, a->D - d);
            if (a->q.dtype == ATN_F32 && w == VL) {
                UNROLL(16) for (int c = 0; c < VL; c++) t[c] = vf_load(row[first + c] + d * 4);
            } else {
                for (int c = 0; c < VL; c++) t[c] = vf_load_as_n(row[first + c] + d * elem, a->q.dtype, w);
            }
            vf_transpose(t);
            UNROLL(16) for (int c = 0; c < VL; c++)
                if (c < w) vf_store(qt + (d + c) * BQ + first, t[c] * scale);
        }
    }
}

/* The score of one lane and key, as the tiles compute it; for repair. */
static float score(const atn_args *a, const block *x, int c, const char *krow, int j, const float *qt)
{
    float s = 0;
    int elem = a->k.dtype == ATN_F32 ? 4 : 2;
    for (int d = 0; d < a->D; d++) s += vf_load_as_n(krow + d * elem, a->k.dtype, 1)[0] * qt[d * BQ + c];
    if (a->softcap > 0) s = vf_tanh(vf_splat(s))[0] * a->softcap * unit(a);
    if (a->alibi) s += x->slope[c] * ((float)j - x->pos[c]);
    return s;
}

/* A NaN or infinity in V times the zero weight of a forbidden key of the same tile is NaN: rows that came out so are
 * done again over their own keys only, so that what a row may not see cannot reach it. */
NOINLINE void repair_row(const atn_args *a, const block *x, int c, int b, int kvh, const float *qt, float *o)
{
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh;
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
    int mask_elem = a->mask.dtype == ATN_F32 ? 4 : 2, elem = a->v.dtype == ATN_F32 ? 4 : 2;
    float m = x->m[c / VL][c % VL], up = natural(a) ? LOG2E : 1.0f;
    for (int d = 0; d < a->Dv; d++) o[d] = 0;
    for (int j = x->lane_lo[c]; j <= x->lane_hi[c]; j++) {
        float add = 0;
        if (natural(a)) add = vf_load_as_n(x->mask[c] + (int64_t)j * mask_elem, a->mask.dtype, 1)[0];
        else if (a->mask.ptr && !x->mask[c][j]) continue;
        if (add == -VF_INF) continue;
        float s = score(a, x, c, k + j * a->k.sr, j, qt) + add, w = vf_exp2(vf_splat((s - m) * up), EXP_DEG)[0];
        for (int d = 0; d < a->Dv; d++) o[d] += w * vf_load_as_n(v + j * a->v.sr + d * elem, a->v.dtype, 1)[0];
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

static char *row_out(const atn_args *a, const block *x, int b, int c)
{
    return (char *)a->o.ptr + b * a->o.sb + x->h[c] * a->o.sh + x->i[c] * a->o.sr;
}

/* Sinks, 1 / l, log-sum-exp, and O out. */
static void close_block(const atn_args *a, block *x, int b, int kvh, const float *qt, float *o, int os)
{
    int exact = x->all_lo <= x->lo && x->all_hi >= x->hi && !a->mask.ptr;
    float up = natural(a) ? LOG2E : 1.0f, down = natural(a) ? 1.0f : LN2, factor[BQ], m[BQ], l[BQ];
    for (int v = 0; v < x->nv; v++) {
        vi none = (vi)(x->l[v] == vf_zero());
        vf_store(factor + v * VL, vf_sel(none, vf_zero(), 1.0f / vf_sel(none, vf_splat(1.0f), x->l[v])));
        vf_store(m + v * VL, x->m[v]), vf_store(l + v * VL, x->l[v]);
    }
    for (int c = 0; c < x->rows && (a->sinks || a->lse); c++) {
        if (a->sinks) {
            float sink = a->sinks[x->h[c]] * unit(a), top = m[c] > sink ? m[c] : sink;
            if (top != -VF_INF) {
                float older = __builtin_exp2f((m[c] - top) * up);
                l[c] = l[c] * older + __builtin_exp2f((sink - top) * up);
                factor[c] = older / l[c];
                m[c] = top;
            }
        }
        if (!a->lse) continue;
        float lse = l[c] == 0 ? -VF_INF : m[c] * down + __builtin_log2f(l[c]) * LN2;
        a->lse[((int64_t)b * a->Hq + x->h[c]) * a->Sq + x->i[c]] = lse;
    }
    vi bad = vi_splat(0);
    for (int c = 0; c < x->rows; c++) {
        float *y = o + (int64_t)c * os;
        if (x->fresh)
            for (int d = 0; d < os; d += VL) vf_store(y + d, vf_zero());
        store_row(a, row_out(a, x, b, c), y, factor[c], &bad);
    }
    if (exact || !mask_any(bad)) return;
    for (int c = 0; c < x->rows; c++) {
        float *y = o + (int64_t)c * os;
        bad = vi_splat(0);
        store_row(a, row_out(a, x, b, c), y, factor[c], &bad);
        if (!mask_any(bad)) continue;
        repair_row(a, x, c, b, kvh, qt, y);
        store_row(a, row_out(a, x, b, c), y, factor[c], &bad);
    }
}

/* ---- one tile of one block ---- */

typedef struct {
    const char *k, *v;               /* first key row of the tile */
    int64_t ks, vs;
    int j0, j1;
} tile;

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

/* Everything that changes scores after the dot product, for keys [ja, jb) of vector v. */
static void edit_scores(const atn_args *a, const block *x, int v, int j0, int ja, int jb, float *s)
{
    float *at = s + v * VL;
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

/* The maximum over n keys of one vector, four chains at once. */
static vf max_column(const float *s, int n)
{
    vf t[4];
    for (int c = 0; c < 4; c++) t[c] = vf_splat(-VF_INF);
    int j = 0;
    for (; j + 4 <= n; j += 4)
        UNROLL(4) for (int c = 0; c < 4; c++) t[c] = vf_max(t[c], vf_load(s + (j + c) * BQ));
    for (; j < n; j++) t[0] = vf_max(t[0], vf_load(s + j * BQ));
    return vf_max(vf_max(t[0], t[1]), vf_max(t[2], t[3]));
}

/* p = e^(s - m) in place for n keys of one vector; the sum. */
ATN_INLINE vf exp_keys(float *s, int n, vf m, const int is_natural)
{
    vf sum = vf_zero();
    UNROLL(EXP_UNROLL)
    for (int j = 0; j < n; j++, s += BQ) {
        vf x = vf_load(s) - m, p = vf_exp2(is_natural ? x * LOG2E : x, EXP_DEG);
        vf_store(s, p);
        sum += p;
    }
    return sum;
}

NOINLINE vf exp_log2(float *s, int n, vf m) { return exp_keys(s, n, m, 0); }
NOINLINE vf exp_natural(float *s, int n, vf m) { return exp_keys(s, n, m, 1); }

/* New maximum of vector v from `top`, sum and maximum updated, P in place, the factor for older sums in alpha. */
static void softmax_column(const atn_args *a, block *x, int v, vf top, float *s, int n)
{
    vf m = vf_max(x->m[v], top), safe = vf_sel((vi)(m == vf_splat(-VF_INF)), vf_zero(), m);
    vf alpha = vf_exp2((x->m[v] - safe) * (natural(a) ? LOG2E : 1.0f), 6);
    x->m[v] = m;
    x->l[v] = vf_fma(x->l[v], alpha, natural(a) ? exp_natural(s + v * VL, n, safe) : exp_log2(s + v * VL, n, safe));
    vf_store(x->alpha + v * VL, alpha);
}

/* Every lane sees every key of the tile. */
static void full_tile(const atn_args *a, block *x, const tile *t, const float *qt, float *o, int os, float *st)
{
    int n = t->j1 - t->j0, nv = x->nv;
    vf top[QV];
    for (int v = 0; v < nv; v++) top[v] = vf_splat(-VF_INF);
    qk(nv, n, a->D, t->k, t->ks, qt, st, top);
    if (!MAX_FUSED)
        for (int v = 0; v < nv; v++) top[v] = max_column(st + v * VL, n);
    for (int v = 0; v < nv; v++) softmax_column(a, x, v, top[v], st, n);
    pv(x, t->j0, n, 0, os, t->v, t->vs, st, o, os);
}

/* A tile that some lane sees only in part, or whose scores are edited. */
static void edge_tile(const atn_args *a, block *x, const tile *t, const float *qt, float *o, int os, float *st)
{
    int n = t->j1 - t->j0, nv = x->nv, ja[QV], jb[QV];
    vf ignored[QV];
    for (int v = 0; v < nv; v++) {
        ja[v] = FINE_DIAG ? MIN(MAX(t->j0, x->vlo[v]), t->j1) : t->j0;
        jb[v] = FINE_DIAG ? MAX(MIN(t->j1, x->vhi[v] + 1), ja[v]) : t->j1;
        ignored[v] = vf_zero();
    }
    /* Runs of keys with the same vectors in use [va, vb): each end of a vector's range ends a run. */
    for (int j = t->j0, next; j < t->j1; j = next) {
        int va = nv, vb = 0;
        next = t->j1;
        for (int v = 0; v < nv; v++) {
            if (ja[v] > j) next = MIN(next, ja[v]);
            if (jb[v] > j) next = MIN(next, jb[v]);
            if (ja[v] <= j && jb[v] > j) va = MIN(va, v), vb = v + 1;
        }
        if (va < vb)
            qk(vb - va, next - j, a->D, t->k + (j - t->j0) * t->ks, t->ks, qt + va * VL,
               st + (j - t->j0) * BQ + va * VL, ignored);
    }
    for (int v = 0; v < nv; v++) {
        float *col = st + v * VL;
        for (int j = 0; j < ja[v] - t->j0; j++) vf_store(col + j * BQ, vf_zero());
        for (int j = jb[v] - t->j0; j < n; j++) vf_store(col + j * BQ, vf_zero());
        edit_scores(a, x, v, t->j0, ja[v], jb[v], st);
        vf top = max_column(col + (ja[v] - t->j0) * BQ, jb[v] - ja[v]);
        softmax_column(a, x, v, top, st + (ja[v] - t->j0) * BQ, jb[v] - ja[v]);
    }
    pv(x, t->j0, n, 1, os, t->v, t->vs, st, o, os);
}

/* ---- a task ---- */

/* n rows of `width` elements as floats, zero up to a multiple of VL. */
ATN_INLINE void copy_as(const int dtype, const char *from, int64_t stride, int n, int width, float *to, int to_stride)
{
    int elem = dtype == ATN_F32 ? 4 : 2;
    for (int j = 0; j < n; j++, from += stride, to += to_stride) {
        int d = 0;
        for (; d + VL <= width; d += VL) vf_store(to + d, vf_load_as(from + d * elem, dtype));
        if (d < width) vf_store(to + d, vf_load_as_n(from + d * elem, dtype, width - d));
    }
}

NOINLINE void copy_rows(const char *from, int64_t stride, int dtype, int n, int width, float *to, int to_stride)
{
    if (dtype == ATN_F32) copy_as(ATN_F32, from, stride, n, width, to, to_stride);
    else if (dtype == ATN_F16) copy_as(ATN_F16, from, stride, n, width, to, to_stride);
    else copy_as(ATN_BF16, from, stride, n, width, to, to_stride);
}

static void prefetch_rows(const atn_args *a, const char *k, const char *v, int from, int to)
{
    int kb = a->D * (a->k.dtype == ATN_F32 ? 4 : 2), vb = a->Dv * (a->v.dtype == ATN_F32 ? 4 : 2);
    for (int j = from; j < to; j++) {
        for (int c = 0; c < kb; c += 64) __builtin_prefetch(k + j * a->k.sr + c, 0, 2);
        for (int c = 0; c < vb && PREFETCH > 1; c += 64) __builtin_prefetch(v + j * a->v.sr + c, 0, 2);
    }
}

static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)phase, (void)shared;
    int nqb = (int)p->user[0], nsb = (int)p->user[1], tapered = (int)p->user[2], nvec = (int)p->user[3];
    int heads = a->B * a->Hkv, bh = task % heads, sb = task / heads;
    if (LONGEST_FIRST) sb = nsb - 1 - sb;
    int b = bh / a->Hkv, kvh = bh % a->Hkv, rows = a->Hq / a->Hkv * a->Sq;
    layout y = make_layout(a, nqb);
    block *blocks = (block *)scratch;
    float *qt = (float *)((char *)scratch + y.qt), *o = (float *)((char *)scratch + y.o);
    float *st = (float *)((char *)scratch + y.st);
    float *kc = (float *)((char *)scratch + y.kc), *vc = (float *)((char *)scratch + y.vc);
    int os = y.os, qsize = a->D * BQ, osize = os * (BQ + PR);
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh;
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
    if (PREFETCH > 0 && a->window_left < 0) prefetch_rows(a, k, v, 0, MIN(BK, a->Skv));

    const int first = cut_first(nvec, nsb, QV, tapered, sb), all = cut_first(nvec, nsb, QV, tapered, sb + 1) - first;
    const int count = (all + QV - 1) / QV;
    int lo = INT32_MAX, hi = -1;
    for (int i = 0; i < count; i++) {
        block *x = blocks + i;
        const int v0 = first + all * i / count, v1 = first + all * (i + 1) / count;
        x->first = v0 * VL, x->nv = v1 - v0, x->rows = MIN(rows, v1 * VL) - x->first;
        open_block(a, x, b, kvh, qt + i * qsize);
        lo = MIN(lo, x->lo), hi = MAX(hi, x->hi);
    }
    int edited = a->softcap > 0 || a->alibi || a->mask.ptr;
    for (int j0 = lo; j0 <= hi; j0 += BK) {
        int j1 = MIN(j0 + BK, hi + 1);
        tile all = {k + j0 * a->k.sr, v + j0 * a->v.sr, a->k.sr, a->v.sr, j0, j1};
        if (copies_k(a)) {
            copy_rows(all.k, a->k.sr, a->k.dtype, j1 - j0, a->D, kc, y.kstride);
            all.k = (const char *)kc, all.ks = (int64_t)y.kstride * 4;
        }
        if (copies_v(a)) {
            copy_rows(all.v, a->v.sr, a->v.dtype, j1 - j0, a->Dv, vc, y.vstride);
            all.v = (const char *)vc, all.vs = (int64_t)y.vstride * 4;
        }
        if (PREFETCH > 2) prefetch_rows(a, k, v, j1, MIN(j1 + BK, hi + 1));
        for (int i = 0; i < count; i++) {
            block *x = blocks + i;
            tile t = all;
            t.j0 = MAX(j0, x->lo), t.j1 = MIN(j1, x->hi + 1);
            if (t.j0 >= t.j1) continue;
            t.k += (t.j0 - j0) * t.ks, t.v += (t.j0 - j0) * t.vs;
            if (!edited && t.j0 >= x->all_lo && t.j1 - 1 <= x->all_hi)
                full_tile(a, x, &t, qt + i * qsize, o + i * osize, os, st);
            else
                edge_tile(a, x, &t, qt + i * qsize, o + i * osize, os, st);
        }
    }
    for (int i = 0; i < count; i++) close_block(a, blocks + i, b, kvh, qt + i * qsize, o + i * osize, os);
}
// EVOLVE-BLOCK-END

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "flash_qvec", can_run, plan, run};
const char attune_judged[] = "f32 prefill";
