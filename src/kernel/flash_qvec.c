/* flash_qvec: attention with vectors along queries (S^T = K Q^T, O^T = V^T P^T).
 *
 * One lane is one query row, so maximum, sum, rescaling and masks are vertical and K and V are read as they lie, one
 * broadcast element at a time: nothing of them is packed or transposed. Only Q is transposed on the way in, O on the way
 * out. Rows of all query heads that share a kv head are one long list of lanes (grouped-query attention fills vectors).
 *
 *   task   = (b, kv head, super-block of row blocks); K and V tiles of BK keys are visited once per super-block
 *   block  = QV vectors of rows: Q^T [D][BQ], O^T [Dv][BQ], running maximum m and sum l in log2 units
 *   tile   = S^T [BK][BQ], exponentiated in place
 *
 * Invariant: after each tile, O^T and l of a lane are sums over the keys seen so far of 2^(s - m). */
#include "attune/kernel.h"
#include "attune/vec.h"

// EVOLVE-BLOCK-START
#define QV 3            // knob: 1 2 3 4 6 ; vectors of query rows in a register tile
#define KU 4            // knob: 2 3 4 5 6 8 10 12 ; keys in a register tile of S^T
#define DU 4            // knob: 2 4 6 8 12 16 ; output columns in a register tile of O^T
#define BK 128          // knob: 32 48 64 96 128 192 256 384 512 1024 2048 ; keys in a tile
#define NQB 4           // knob: 1 2 3 4 6 8 12 16 ; row blocks that share a visit of a tile
#define EXP_DEG 5       // knob: 4 5 6 ; degree of the polynomial for 2^x
#define EXP_UNROLL 2    // knob: 1 2 4 8
#define QK_UNROLL 2     // knob: 1 2 4 8 ; steps of D at once
#define PV_UNROLL 2     // knob: 1 2 4 8 ; keys at once
#define MAX_FUSED 1     // knob: 0 1 ; take the maximum while S^T is still in registers
#define HEAD_MAJOR 0    // knob: 0 1 ; lane order in a group: 0 token by token, 1 head by head
#define K_COPY 0        // knob: 0 1 ; 1: copy each K tile to contiguous scratch
#define V_COPY 0        // knob: 0 1
#define COPY_PAD 16     // knob: 0 4 16 32 ; floats between copied rows
#define FINE_DIAG 1     // knob: 0 1 ; leave out vectors that the causal edge or the window empties
#define LONGEST_FIRST 1 // knob: 0 1
#define PREFETCH 0      // knob: 0 1 2 ; 1: next K tile into L2 during softmax, 2: also V
#define TASKS_PER_THREAD 3 // knob: 1 2 3 4 6 8

#define BQ (QV * VL)
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f
#define ROUND_UP(x, m) (((x) + (m) - 1) / (m) * (m))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

_Static_assert(KU * QV + QV + 1 <= VF_REGS, "the register tile of S^T fits in the registers");
_Static_assert(DU * QV + QV + 1 <= VF_REGS, "the register tile of O^T fits in the registers");

#define STR(x) #x
#define UNROLL(n) _Pragma(STR(GCC unroll n))

typedef struct {
    int nv, rows;                    /* vectors in use, rows in use (the last vector may be partly empty) */
    int first;                       /* first row of the block in the list of G * Sq rows */
    int lo, hi;                      /* keys that some lane may see: lo <= j <= hi */
    int all_lo, all_hi;              /* keys that every lane may see */
    int vlo[QV], vhi[QV], alo[QV], ahi[QV]; /* the same per vector */
    int fresh;                       /* no tile added yet */
    vf m[QV], l[QV];
    vi lane_lo[QV], lane_hi[QV];
    vf pos[QV], slope[QV];           /* position p and ALiBi slope * log2(e) of each lane */
    const char *mask[BQ];            /* row of the mask of each lane */
} block;

typedef struct {
    int qt, ot, st, kc, vc;          /* byte offsets into scratch, blocks first */
    int64_t bytes;
    int kstride, vstride;            /* floats between rows of the copies */
    int dv_pad;
} layout;

static int copies_k(const atn_args *a) { return K_COPY || a->k.dtype != ATN_F32; }
static int copies_v(const atn_args *a) { return V_COPY || a->v.dtype != ATN_F32 || a->Dv % DU != 0; }

static layout make_layout(const atn_args *a, int nqb)
{
    layout y;
    int bk = MIN(BK, a->Skv);
    y.dv_pad = ROUND_UP(ROUND_UP(a->Dv, VL), DU);
    y.kstride = ROUND_UP(a->D, 16) + COPY_PAD;
    y.vstride = ROUND_UP(a->Dv, DU) + COPY_PAD;
    int64_t at = ROUND_UP((int64_t)sizeof(block) * nqb, 64);
    y.qt = (int)at, at += (int64_t)nqb * a->D * BQ * 4;
    y.ot = (int)at, at += (int64_t)nqb * y.dv_pad * BQ * 4;
    y.st = (int)at, at += (int64_t)(bk + KU) * BQ * 4;
    y.kc = (int)at, at += copies_k(a) ? ROUND_UP((int64_t)bk * y.kstride * 4, 64) : 0;
    y.vc = (int)at, at += copies_v(a) ? ROUND_UP((int64_t)bk * y.vstride * 4, 64) : 0;
    y.bytes = at;
    return y;
}

static int can_run(const atn_args *a)
{
    return a->D <= 1024 && a->Dv <= 1024 && (int64_t)(a->Hq / a->Hkv) * a->Sq < (1 << 30);
}

static int plan(const atn_args *a, int threads, atn_plan *p)
{
    int64_t rows = (int64_t)(a->Hq / a->Hkv) * a->Sq, heads = (int64_t)a->B * a->Hkv;
    int nvec = (int)((rows + VL - 1) / VL), nblk = (nvec + QV - 1) / QV, nqb = MIN(NQB, nblk);
    int64_t want = threads > 1 ? (int64_t)threads * TASKS_PER_THREAD : 1;
    while (nqb > 1 && heads * ((nblk + nqb - 1) / nqb) < want) nqb--;
    int nsb = (nblk + nqb - 1) / nqb;
    if (heads * nsb > INT32_MAX) return -1;
    p->phases = 1;
    p->tasks[0] = (int32_t)(heads * nsb);
    p->scratch_bytes = make_layout(a, nqb).bytes;
    p->user[0] = nqb, p->user[1] = nsb, p->user[2] = nblk, p->user[3] = nvec;
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

/* o[d][v] = o[d][v] * alpha[v] + sum_j x[j][d] p[j][v]; alpha NULL: o starts from zero. */
ATN_INLINE void pv_tile(const int nv, int n, int dv, const char *x, int64_t xs, const float *p, float *o, const vf *alpha)
{
    for (int d = 0; d < dv; d += DU, o += DU * BQ) {
        vf acc[DU][QV];
        if (alpha) {
            UNROLL(16) for (int r = 0; r < DU; r++)
                UNROLL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_load(o + r * BQ + v * VL) * alpha[v];
        } else {
            UNROLL(16) for (int r = 0; r < DU; r++)
                UNROLL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_zero();
        }
        const char *row = x + (int64_t)d * 4;
        const float *pj = p;
        UNROLL(PV_UNROLL)
        for (int j = 0; j < n; j++, row += xs, pj += BQ) {
            vf y[QV];
            UNROLL(8) for (int v = 0; v < nv; v++) y[v] = vf_load(pj + v * VL);
            UNROLL(16) for (int r = 0; r < DU; r++) {
                vf z = vf_splat(((const scalar_f32 *)row)[r]);
                UNROLL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_fma(z, y[v], acc[r][v]);
            }
        }
        UNROLL(16) for (int r = 0; r < DU; r++)
            UNROLL(8) for (int v = 0; v < nv; v++) vf_store(o + r * BQ + v * VL, acc[r][v]);
    }
}

#define TILES(NV)                                                                                                     \
    static __attribute__((noinline)) void qk_##NV(int n, int D, const char *k, int64_t ks, const float *q, float *s,  \
                                                  vf *mx)                                                             \
    {                                                                                                                 \
        qk_tile(NV, n, D, k, ks, q, s, mx);                                                                           \
    }                                                                                                                 \
    static __attribute__((noinline)) void pv_##NV(int n, int dv, const char *x, int64_t xs, const float *p, float *o, \
                                                  const vf *alpha)                                                    \
    {                                                                                                                 \
        pv_tile(NV, n, dv, x, xs, p, o, alpha);                                                                       \
    }
TILES(1)
#if QV >= 2
TILES(2)
#endif
#if QV >= 3
TILES(3)
#endif
#if QV >= 4
TILES(4)
#endif
#if QV >= 5
TILES(5)
TILES(6)
#endif

#if QV >= 5
#  define PICK(f, nv, ...) \
    ((nv) == 6 ? f##6(__VA_ARGS__) : (nv) == 5 ? f##5(__VA_ARGS__) : (nv) == 4 ? f##4(__VA_ARGS__) : \
     (nv) == 3 ? f##3(__VA_ARGS__) : (nv) == 2 ? f##2(__VA_ARGS__) : f##1(__VA_ARGS__))
#elif QV == 4
#  define PICK(f, nv, ...) ((nv) == 4 ? f##4(__VA_ARGS__) : (nv) == 3 ? f##3(__VA_ARGS__) : \
                            (nv) == 2 ? f##2(__VA_ARGS__) : f##1(__VA_ARGS__))
#elif QV == 3
#  define PICK(f, nv, ...) ((nv) == 3 ? f##3(__VA_ARGS__) : (nv) == 2 ? f##2(__VA_ARGS__) : f##1(__VA_ARGS__))
#elif QV == 2
#  define PICK(f, nv, ...) ((nv) == 2 ? f##2(__VA_ARGS__) : f##1(__VA_ARGS__))
#else
#  define PICK(f, nv, ...) f##1(__VA_ARGS__)
#endif

/* ---- rows in, rows out ---- */

typedef struct { int i, h; } row_id; /* query row and query head inside the group */

static row_id row_of(const atn_args *a, int group, int r)
{
    return HEAD_MAJOR ? (row_id){r % a->Sq, r / a->Sq} : (row_id){r / group, r % group};
}

/* Fills lane limits, positions and slopes of a block, and its Q^T, scaled. */
static void open_block(const atn_args *a, block *x, int b, int kvh, float *qt)
{
    int group = a->Hq / a->Hkv, shift = a->Skv - a->Sq, last = x->first + x->rows - 1;
    float scale = a->softcap > 0 ? a->scale / a->softcap : a->scale * LOG2E;
    x->fresh = 1;
    x->lo = INT32_MAX, x->hi = -1, x->all_lo = 0, x->all_hi = a->Skv - 1;
    int elem = a->q.dtype == ATN_F32 ? 4 : 2;
    for (int v = 0; v < x->nv; v++) {
        const char *row[VL];
        x->vlo[v] = INT32_MAX, x->vhi[v] = -1, x->alo[v] = 0, x->ahi[v] = a->Skv - 1;
        x->m[v] = vf_splat(-VF_INF), x->l[v] = vf_zero(), x->slope[v] = vf_zero();
        for (int c = 0; c < VL; c++) {
            row_id id = row_of(a, group, MIN(x->first + v * VL + c, last));
            int h = kvh * group + id.h, p = id.i + (a->causal == ATN_CAUSAL_TOP_LEFT ? 0 : shift);
            int lo = 0, hi = a->Skv - 1;
            if (a->window_left >= 0) lo = MAX(lo, (int)MIN((int64_t)p - a->window_left, a->Skv));
            if (a->window_right >= 0) hi = (int)MIN((int64_t)hi, (int64_t)p + a->window_right);
            if (a->causal != ATN_CAUSAL_NONE) hi = MIN(hi, p);
            if (hi < lo) hi = -1, lo = a->Skv;
            row[c] = (const char *)a->q.ptr + b * a->q.sb + h * a->q.sh + id.i * a->q.sr;
            x->lane_lo[v][c] = lo, x->lane_hi[v][c] = hi;
            x->pos[v][c] = (float)(id.i + shift);
            if (a->alibi) x->slope[v][c] = a->alibi[h] * LOG2E;
            if (a->mask.ptr)
                x->mask[v * VL + c] = (const char *)a->mask.ptr + b * a->mask.sb + h * a->mask.sh + id.i * a->mask.sr;
            x->vlo[v] = MIN(x->vlo[v], lo), x->vhi[v] = MAX(x->vhi[v], hi);
            x->alo[v] = MAX(x->alo[v], lo), x->ahi[v] = MIN(x->ahi[v], hi);
        }
        x->lo = MIN(x->lo, x->vlo[v]), x->hi = MAX(x->hi, x->vhi[v]);
        x->all_lo = MAX(x->all_lo, x->alo[v]), x->all_hi = MIN(x->all_hi, x->ahi[v]);
        for (int d = 0; d < a->D; d += VL) {
            vf t[VL];
            int w = MIN(VL, a->D - d);
            for (int c = 0; c < VL; c++)
                t[c] = w == VL ? vf_load_as(row[c] + d * elem, a->q.dtype) : vf_load_as_n(row[c] + d * elem, a->q.dtype, w);
            vf_transpose(t);
            for (int c = 0; c < w; c++) vf_store(qt + (d + c) * BQ + v * VL, t[c] * scale);
        }
    }
}

/* Sinks, 1 / l, log-sum-exp, and O^T back to rows. */
static void close_block(const atn_args *a, block *x, int b, int kvh, const float *ot)
{
    int group = a->Hq / a->Hkv, elem = a->o.dtype == ATN_F32 ? 4 : 2;
    for (int v = 0; v < x->nv; v++) {
        char *row[VL];
        int count = MIN(VL, x->rows - v * VL);
        vf m = x->m[v], l = x->l[v], factor = vf_splat(1.0f);
        for (int c = 0; c < count; c++) {
            row_id id = row_of(a, group, x->first + v * VL + c);
            int h = kvh * group + id.h;
            row[c] = (char *)a->o.ptr + b * a->o.sb + h * a->o.sh + id.i * a->o.sr;
            if (a->sinks) {
                float sink = a->sinks[h] * LOG2E, top = m[c] > sink ? m[c] : sink;
                if (top > -VF_INF) {
                    factor[c] = __builtin_exp2f(m[c] - top);
                    l[c] = l[c] * factor[c] + __builtin_exp2f(sink - top);
                    m[c] = top;
                }
            }
            if (a->lse) a->lse[((int64_t)b * a->Hq + h) * a->Sq + id.i] = (m[c] + __builtin_log2f(l[c])) * LN2;
        }
        vi none = (vi)(l == vf_zero());
        factor = vf_sel(none, vf_zero(), factor / vf_sel(none, vf_splat(1.0f), l));
        for (int d = 0; d < a->Dv; d += VL) {
            vf t[VL];
            int w = MIN(VL, a->Dv - d);
            for (int c = 0; c < VL; c++)
                t[c] = x->fresh ? vf_zero() : vf_load(ot + (d + c) * BQ + v * VL) * factor;
            vf_transpose(t);
            for (int c = 0; c < VL; c++) {
                if (c >= count) break;
                if (w == VL) vf_store_as(row[c] + d * elem, t[c], a->o.dtype);
                else vf_store_as_n(row[c] + d * elem, t[c], a->o.dtype, w);
            }
        }
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
                t[c] = (w == VL ? vf_load_as(row, dtype) : vf_load_as_n(row, dtype, w)) * LOG2E;
            } else {
                vi keep = vi_splat(0);
                if (w == VL) keep = __builtin_convertvector(*(const vb_any *)row, vi);
                else for (int e = 0; e < w; e++) keep[e] = row[e];
                t[c] = vf_sel((vi)(keep != 0), vf_zero(), vf_splat(-VF_INF));
            }
        }
        vf_transpose(t);
        float *at = s + j * BQ + v * VL;
        for (int e = 0; e < w; e++) {
            vf y = vf_load(at + e * BQ);
            vf_store(at + e * BQ, dtype == ATN_BOOL ? vf_sel((vi)(t[e] < vf_zero()), t[e], y) : vf_sel((vi)(t[e] == vf_splat(-VF_INF)), t[e], y + t[e]));
        }
    }
}

/* Everything that changes scores after the dot product, for keys [ja, jb) of vector v. */
static void edit_scores(const atn_args *a, const block *x, int v, int j0, int ja, int jb, float *s)
{
    float *at = s + v * VL;
    if (a->softcap > 0) {
        vf cap = vf_splat(a->softcap * LOG2E);
        for (int j = ja; j < jb; j++) vf_store(at + (j - j0) * BQ, vf_tanh(vf_load(at + (j - j0) * BQ)) * cap);
    }
    if (a->alibi)
        for (int j = ja; j < jb; j++) {
            float *y = at + (j - j0) * BQ;
            vf_store(y, vf_fma(x->slope[v], vf_splat((float)j) - x->pos[v], vf_load(y)));
        }
    if (a->mask.ptr) add_mask(a, x, v, ja, jb - ja, s + (ja - j0) * BQ);
    for (int j = ja; j < jb; j++) {
        if (j >= x->alo[v] && j <= x->ahi[v]) {
            j = MIN(jb - 1, x->ahi[v]);
            continue;
        }
        vi in = (vi)(x->lane_lo[v] <= vi_splat(j)) & (vi)(x->lane_hi[v] >= vi_splat(j));
        float *y = at + (j - j0) * BQ;
        vf_store(y, vf_sel(in, vf_load(y), vf_splat(-VF_INF)));
    }
}

/* p = 2^(s - m) in place for n keys of one vector; the sum. */
static __attribute__((noinline)) vf exp_column(float *s, int n, vf m)
{
    vf sum = vf_zero();
    UNROLL(EXP_UNROLL)
    for (int j = 0; j < n; j++, s += BQ) {
        vf p = vf_exp2(vf_load(s) - m, EXP_DEG);
        vf_store(s, p);
        sum += p;
    }
    return sum;
}

/* New maximum of vector v from `top`, sum and maximum updated, P in place; gives the factor for older sums. */
ATN_INLINE vf softmax_column(block *x, int v, vf top, float *s, int n)
{
    vf m = vf_max(x->m[v], top), safe = vf_sel((vi)(m == vf_splat(-VF_INF)), vf_zero(), m);
    vf alpha = vf_exp2(x->m[v] - safe, 6);
    x->m[v] = m;
    x->l[v] = vf_fma(x->l[v], alpha, exp_column(s + v * VL, n, safe));
    return alpha;
}

static void full_tile(const atn_args *a, block *x, const tile *t, const float *qt, float *ot, float *st, int dv)
{
    int n = t->j1 - t->j0, nv = x->nv;
    vf top[QV], alpha[QV];
    for (int v = 0; v < nv; v++) top[v] = vf_splat(-VF_INF);
    PICK(qk_, nv, n, a->D, t->k, t->ks, qt, st, top);
    if (!MAX_FUSED)
        for (int v = 0; v < nv; v++)
            for (int j = 0; j < n; j++) top[v] = vf_max(top[v], vf_load(st + j * BQ + v * VL));
    for (int v = 0; v < nv; v++) alpha[v] = softmax_column(x, v, top[v], st, n);
    PICK(pv_, nv, n, dv, t->v, t->vs, st, ot, x->fresh ? NULL : alpha);
    x->fresh = 0;
}

/* A tile that some lane sees only in part, or whose scores are edited. */
static void edge_tile(const atn_args *a, block *x, const tile *t, const float *qt, float *ot, float *st, int dv)
{
    int n = t->j1 - t->j0, nv = x->nv, ja[QV], jb[QV];
    vf alpha[QV], scratch[QV], one[QV];
    for (int v = 0; v < nv; v++) {
        ja[v] = FINE_DIAG ? MIN(MAX(t->j0, x->vlo[v]), t->j1) : t->j0;
        jb[v] = FINE_DIAG ? MAX(MIN(t->j1, x->vhi[v] + 1), ja[v]) : t->j1;
        scratch[v] = vf_zero(), one[v] = vf_splat(1.0f);
    }
    /* Runs of keys with the same vectors in use [va, vb): each end of a vector's range ends a run. */
    int start[2 * QV + 2], from[2 * QV + 2], to[2 * QV + 2], runs = 0;
    for (int j = t->j0; j < t->j1;) {
        int next = t->j1, va = nv, vb = 0;
        for (int v = 0; v < nv; v++) {
            if (ja[v] > j) next = MIN(next, ja[v]);
            if (jb[v] > j) next = MIN(next, jb[v]);
            if (ja[v] <= j && jb[v] > j) va = MIN(va, v), vb = v + 1;
        }
        start[runs] = j, from[runs] = va, to[runs] = vb, runs++;
        j = next;
    }
    start[runs] = t->j1;
    for (int r = 0; r < runs; r++) {
        int va = from[r], w = to[r] - va, at = start[r] - t->j0, len = start[r + 1] - start[r];
        if (w > 0)
            PICK(qk_, w, len, a->D, t->k + at * t->ks, t->ks, qt + va * VL, st + at * BQ + va * VL, scratch);
    }
    for (int v = 0; v < nv; v++) {
        float *col = st + v * VL;
        for (int j = 0; j < ja[v] - t->j0; j++) vf_store(col + j * BQ, vf_zero());
        for (int j = jb[v] - t->j0; j < n; j++) vf_store(col + j * BQ, vf_zero());
        edit_scores(a, x, v, t->j0, ja[v], jb[v], st);
        vf top = vf_splat(-VF_INF);
        for (int j = ja[v] - t->j0; j < jb[v] - t->j0; j++) top = vf_max(top, vf_load(col + j * BQ));
        alpha[v] = softmax_column(x, v, top, st + (ja[v] - t->j0) * BQ, jb[v] - ja[v]);
    }
    int whole = from[0] == 0 && to[0] == nv;                     /* then the first run can rescale, or start from zero */
    if (!whole)
        for (int d = 0; d < dv; d++)
            for (int v = 0; v < nv; v++) {
                float *y = ot + d * BQ + v * VL;
                vf_store(y, x->fresh ? vf_zero() : vf_load(y) * alpha[v]);
            }
    for (int r = 0; r < runs; r++) {
        int va = from[r], w = to[r] - va, at = start[r] - t->j0, len = start[r + 1] - start[r];
        const vf *factor = r > 0 || !whole ? one : x->fresh ? NULL : alpha;
        if (w > 0)
            PICK(pv_, w, len, dv, t->v + at * t->vs, t->vs, st + at * BQ + va * VL, ot + va * VL, factor);
    }
    x->fresh = 0;
}

/* n rows of `width` elements as floats, zero up to a multiple of DU. */
static void copy_rows(const char *from, int64_t stride, int dtype, int n, int width, float *to, int to_stride)
{
    int elem = dtype == ATN_F32 ? 4 : 2, pad = MIN(ROUND_UP(width, DU), to_stride);
    for (int j = 0; j < n; j++, from += stride, to += to_stride) {
        int d = 0;
        for (; d + VL <= width; d += VL) vf_store(to + d, vf_load_as(from + d * elem, dtype));
        if (d < width) vf_store_n(to + d, vf_load_as_n(from + d * elem, dtype, width - d), width - d);
        for (d = width; d < pad; d++) to[d] = 0;
    }
}

static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)phase, (void)shared;
    int nqb = (int)p->user[0], nsb = (int)p->user[1], nblk = (int)p->user[2], nvec = (int)p->user[3];
    int heads = a->B * a->Hkv, bh = task % heads, sb = task / heads;
    if (LONGEST_FIRST) sb = nsb - 1 - sb;
    int b = bh / a->Hkv, kvh = bh % a->Hkv, rows = a->Hq / a->Hkv * a->Sq;
    layout y = make_layout(a, nqb);
    block *blocks = (block *)scratch;
    float *qt = (float *)((char *)scratch + y.qt), *ot = (float *)((char *)scratch + y.ot);
    float *st = (float *)((char *)scratch + y.st);
    float *kc = (float *)((char *)scratch + y.kc), *vc = (float *)((char *)scratch + y.vc);
    int dv = ROUND_UP(a->Dv, DU), qsize = a->D * BQ, osize = y.dv_pad * BQ;

    int first = (int)((int64_t)nblk * sb / nsb), count = (int)((int64_t)nblk * (sb + 1) / nsb) - first;
    int lo = INT32_MAX, hi = -1;
    for (int i = 0; i < count; i++) {
        block *x = blocks + i;
        int v0 = (int)((int64_t)nvec * (first + i) / nblk), v1 = (int)((int64_t)nvec * (first + i + 1) / nblk);
        x->first = v0 * VL, x->nv = v1 - v0, x->rows = MIN(rows, v1 * VL) - x->first;
        open_block(a, x, b, kvh, qt + i * qsize);
        lo = MIN(lo, x->lo), hi = MAX(hi, x->hi);
    }
    int edited = a->softcap > 0 || a->alibi || a->mask.ptr;
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh;
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
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
        if (PREFETCH > 0 && j1 <= hi)
            for (int j = j1; j < MIN(j1 + BK, hi + 1); j++)
                for (int c = 0; c < a->D * 4; c += 64) {
                    __builtin_prefetch(k + j * a->k.sr + c, 0, 2);
                    if (PREFETCH > 1) __builtin_prefetch(v + j * a->v.sr + c, 0, 2);
                }
        for (int i = 0; i < count; i++) {
            block *x = blocks + i;
            tile t = all;
            t.j0 = MAX(j0, x->lo), t.j1 = MIN(j1, x->hi + 1);
            if (t.j0 >= t.j1) continue;
            t.k += (t.j0 - j0) * t.ks, t.v += (t.j0 - j0) * t.vs;
            if (!edited && t.j0 >= x->all_lo && t.j1 - 1 <= x->all_hi)
                full_tile(a, x, &t, qt + i * qsize, ot + i * osize, st, dv);
            else
                edge_tile(a, x, &t, qt + i * qsize, ot + i * osize, st, dv);
        }
    }
    for (int i = 0; i < count; i++) close_block(a, blocks + i, b, kvh, ot + i * osize);
}
// EVOLVE-BLOCK-END

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "flash_qvec", can_run, plan, run};
