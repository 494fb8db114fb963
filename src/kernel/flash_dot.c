/* flash_dot: bf16 attention on dot products of pairs (vdpbf16ps of AVX512-BF16) or of fours (bfmmla of Arm's FEAT_BF16),
 * S^T = K Q^T and O^T = V^T P^T.
 *
 * flash_qvec's shape, with one 32-bit pair where that has a float: lanes are query rows, a row of K is a row of pairs
 * as it lies, Q^T is transposed pair by pair, V and P^T are paired key by key. On Zen 4 an instruction of 512 bits does
 * twice the work of an FMA in the same cycle; on Intel it does not, and tiles (flash_amx) are what is fast there.
 *
 *   task   = (b, kv head, super-block of row blocks); K and V tiles of BK keys are visited once per super-block
 *   block  = QV vectors of rows: Q^T [D / 2][BQ] pairs, O^T [Dv][BQ], running maximum m and sum l of each lane
 *   tile   = S^T [BK][BQ], from which P^T [BK / 2][BQ] pairs are made in place
 *   packed = K tile as [BK / KU][D / 2][KU] pairs, V tile as [Dv / PU][BK / 2][PU] pairs
 *
 * Where an instruction sums up fours (DEEP 4), it is fours instead of pairs, filled up with zeros: VL lanes of Q^T and P^T
 * are two vectors, in two rows of BQ, and rows of K and V^T go two by two into a product, which wants no broadcasts. Its
 * loops take 88 instructions per 1024 multiply-adds, 64 of them in vector pipes; made of bfdot 349 and 172, flash_qvec's of
 * FMAs 416 to 452 and 260 to 292 (gcc 12; clang 14: 85, 225, 333 to 388). Counted, not timed: no such machine was at hand.
 *
 * Q is not scaled, which would round it again: scores are, on their way into exp. P is rounded to bf16, its sum is not.
 * Ranges of keys begin and end at multiples of DEEP in the tile; keys too many are forbidden to every lane, their V is zero.
 * Scores are in units of log2 e, or natural ones under an additive mask, whose -FLT_MAX must stay finite. Invariant:
 * after each tile, O and l of a lane are sums over the keys seen so far of e^(s - m). */
#include "attune/cut.h"
#include "attune/kernel.h"
#include "attune/vec.h"

// EVOLVE-BLOCK-START
#if VL == 4
#define QV 2            // knob: 1 2 3 4 5 6 ; vectors of query rows in a register tile
#else
#define QV 3            // knob: 1 2 3 4 5 6 ; vectors of query rows in a register tile
#endif
#define KU 8            // knob: 2 3 4 5 6 7 8 9 10 12 14 ; keys in a register tile of S^T
#define PU 8            // knob: 2 3 4 5 6 7 8 9 10 12 14 ; columns in a register tile of O^T
#define BK 128          // knob: 16 32 48 64 96 128 192 256 384 512 1024 2048 ; keys in a tile
#define NQB 16          // knob: 1 2 3 4 6 8 12 16 24 ; row blocks that share a visit of a tile
#define PACK_MIN 8      // knob: 1 2 3 4 6 8 12 99 ; row blocks from which on tiles of K are packed
#define EXP_DEG 3       // knob: 2 3 4 5 ; degree of the polynomial for 2^x
#define EXP_UNROLL 2    // knob: 1 2 4 ; pairs of keys at once
#define QK_UNROLL 4     // knob: 1 2 4 8 ; pairs of D at once
#define PV_UNROLL 4     // knob: 1 2 4 8 ; pairs of keys at once
#define MAX_FUSED 1     // knob: 0 1 ; take the maximum while S^T is still in registers
#define FINE_DIAG 1     // knob: 0 1 ; leave out vectors that the causal edge or the window empties
#define LONGEST_FIRST 1 // knob: 0 1
#define PREFETCH 3      // knob: 0 1 2 3 ; 1: first tile of K and V, 2: also the next ones, 3: also rows of O and Q
#define TASKS_PER_THREAD 6 // knob: 1 2 3 4 6 8 ; at most

#if VL == 4             /* Arm: vf_mm_bf16 */
#define DEEP 4          /* elements of D, or keys, that an instruction sums up */
#else
#define DEEP 2
#endif
#define BQ (QV * VL)
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f
#define ROUND_UP(x, m) (((x) + (m) - 1) / (m) * (m))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define NOINLINE static __attribute__((noinline))

#ifdef VF_DOT_BF16
_Static_assert(BK % DEEP == 0, "whole pairs, or fours");
_Static_assert(KU % (DEEP / 2) == 0 && PU % (DEEP / 2) == 0, "as many rows as a product takes");
_Static_assert(KU * QV + DEEP / 2 * QV + 1 <= VF_REGS, "the register tile of S^T fits in the registers");
_Static_assert(PU * QV + DEEP / 2 * QV + 1 <= VF_REGS, "the register tile of O^T fits in the registers");

typedef struct {
    int nv, rows;                    /* vectors in use, rows in use (the last vector may be partly empty) */
    int first;                       /* first row of the block in the list of G * Sq rows */
    int lo, hi;                      /* keys that some lane may see: lo <= j <= hi */
    int all_lo, all_hi;              /* keys that every lane may see */
    int vlo[QV], vhi[QV], alo[QV], ahi[QV]; /* the same per vector */
    int fresh;                       /* no tile added yet */
    int banded;                      /* lanes' lo and hi are all that the mask says */
    mask_span seen;                  /* what the mask leaves of the tile at hand */
    vf m[QV], l[QV];
    vf alpha[QV];                    /* what the tile at hand rescales O by */
    int32_t lane_lo[BQ], lane_hi[BQ]; /* ascending; empty where lo > hi */
    int32_t i[BQ], h[BQ];            /* token and query head of each lane */
    float pos[BQ], slope[BQ];        /* ALiBi */
    const char *mask[BQ];            /* row of the mask of each lane */
    const char *q[BQ];               /* row of Q of each lane */
    char *out[BQ];                   /* row of O of each lane */
} block;

/* Memory wanted soon, prefetched a few rows per group of keys: in one burst it holds up the loads behind it (96 lines
 * at once: 3.5 % of the time on a Xeon). */
typedef struct {
    const char *k, *v;               /* rows of the tile after this one */
    int left, at_once;               /* of K and of V; per group of keys */
    char *const *out;                /* rows of O, where this is the last tile of a block */
    int out_left, out_at_once;
    const char *const *q;            /* rows of Q of the block after this one, where it is new */
    int q_left, q_at_once;
} ahead;

/* A tile of K and V: keys [o0, o1), of which a block takes [j0, j1). */
typedef struct {
    const char *k, *v;               /* key o0 */
    int64_t ks, vs;                  /* K: bytes from key to key; packed, and V: from group to group */
    int k_packed;
    int o0, o1, j0, j1;
    ahead *soon;
} tile;

typedef struct {
    int64_t qt, o, st, kp, vp;       /* byte offsets into scratch, blocks first */
    int64_t bytes;
    int k_packed;
    int vrows;                       /* pairs (or fours) of keys that a group of packed V has room for */
} layout;

/* Of D, filled up to whole fours where there are such. */
static int pairs_of(const atn_args *a) { return ROUND_UP(a->D, DEEP) / 2; }

static layout make_layout(const atn_args *a, int nqb)
{
    layout y;
    int bk = MIN(BK, a->Skv), dv = MAX(ROUND_UP(a->Dv, PU), ROUND_UP(a->Dv, VL));
    y.k_packed = nqb >= PACK_MIN || a->D % DEEP;                 /* rows as they lie are not filled up */
    y.vrows = (bk + DEEP - 1) / DEEP + (VL + PU - 1) / PU;
    int64_t at = ROUND_UP((int64_t)sizeof(block) * nqb, 64);
    y.qt = at, at += (int64_t)nqb * pairs_of(a) * BQ * 4;
    y.o = at, at += (int64_t)nqb * dv * BQ * 4;
    y.st = at, at += MAX((int64_t)(bk + KU + DEEP - 2) * BQ, (int64_t)dv) * 4 + 64;
    y.kp = at, at += y.k_packed ? ROUND_UP((int64_t)ROUND_UP(bk, 2 * KU) * pairs_of(a) * 4, 64) + VL * DEEP * 2 : 0;
    y.vp = at, at += ROUND_UP((int64_t)ROUND_UP(a->Dv, PU) * y.vrows * DEEP * 2, 64) + VL * DEEP * 2;
    y.bytes = at;
    return y;
}

static int can_run(const atn_args *a)
{
    return a->q.dtype == ATN_BF16 && a->k.dtype == ATN_BF16 && a->v.dtype == ATN_BF16 && a->D % 2 == 0 && a->D <= 4096
           && a->Dv <= 4096 && a->scale > 0 && (int64_t)(a->Hq / a->Hkv) * a->Sq < (1 << 28) && a->Skv < (1 << 28);
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

/* Inlined by force: gcc takes a function that only prefetches for one without effect, and drops its calls. */
ATN_INLINE void prefetch_row(const char *p, int n)
{
    for (int c = 0; c < n * 2; c += 64) __builtin_prefetch(p + c, 0, 2);
}

ATN_INLINE void prefetch_some(const atn_args *a, ahead *n)
{
    for (int j = 0; j < n->at_once && n->left > 0; j++, n->left--) {
        prefetch_row(n->k, a->D), n->k += a->k.sr;
        prefetch_row(n->v, a->Dv), n->v += a->v.sr;
    }
    for (int j = 0; j < n->out_at_once && n->out_left > 0; j++) {
        const char *p = n->out[--n->out_left];
        int bytes = a->Dv * (a->o.dtype == ATN_F32 ? 4 : 2);
        for (int c = 0; c < bytes; c += 64) __builtin_prefetch(p + c, 1, 3);
    }
    for (int j = 0; j < n->q_at_once && n->q_left > 0; j++) prefetch_row(n->q[--n->q_left], a->D);
}

/* ---- the two register tiles; nv and packed are constants at each call ---- */

#if DEEP == 4
/* Four elements of row y0 and of y1. */
ATN_INLINE vi two_rows(const scalar_i32 *y0, const scalar_i32 *y1)
{
    typedef int32_t two __attribute__((vector_size(8), aligned(1), may_alias));
    return __builtin_shufflevector(*(const two *)y0, *(const two *)y1, 0, 1, 2, 3);
}

/* Sums of two rows as products leave them, lanes 0 and 1 of both, then 2 and 3 of both; to rows and back. */
ATN_INLINE void swap_halves(vf *a, vf *b)
{
    vf low = __builtin_shufflevector(*a, *b, 0, 1, 4, 5);
    *b = __builtin_shufflevector(*a, *b, 2, 3, 6, 7), *a = low;
}
#endif

/* acc[r][v] += y[r] . x[v] for n rows and nv vectors, DEEP elements of each; rows of y at their own places, or (packed)
 * one after the other. */
ATN_INLINE void products(const int n, const int nv, const int packed, const scalar_i32 *const *row, int64_t d,
                         const scalar_i32 *group, const float *xd, vf (*acc)[QV])
{
    vi x[DEEP / 2][QV];
    ATN_UNROLL_ALL(2) for (int h = 0; h < DEEP / 2; h++)
        ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) x[h][v] = vi_load(xd + h * BQ + v * VL);
    ATN_UNROLL_ALL(16) for (int r = 0; r < n; r += DEEP / 2) {
#if DEEP == 4
        vi y = packed ? vi_load(group + 2 * r) : two_rows(row[r] + 2 * d, row[r + 1] + 2 * d);
        ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) {
            acc[r][v] = vf_mm_bf16(acc[r][v], y, x[0][v]);
            acc[r + 1][v] = vf_mm_bf16(acc[r + 1][v], y, x[1][v]);
        }
#else
        vi y = vi_splat(packed ? group[r] : row[r][d]);
        ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_dot_bf16(acc[r][v], y, x[0][v]);
#endif
    }
}

/* Sums from rows to what products take, and back. */
ATN_INLINE void turn(const int n, const int nv, vf (*acc)[QV])
{
#if DEEP == 4
    ATN_UNROLL_ALL(16) for (int r = 0; r < n; r += 2)
        ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) swap_halves(&acc[r][v], &acc[r + 1][v]);
#else
    (void)n, (void)nv, (void)acc;
#endif
}

/* DEEP / 2 vectors of pairs as products take them: VL lanes of fours are two vectors, the second so many floats further. */
ATN_INLINE void store_deep(float *to, int64_t further, const vf *pairs)
{
#if DEEP == 4
    vf_store(to, __builtin_shufflevector(pairs[0], pairs[1], 0, 4, 1, 5));
    vf_store(to + further, __builtin_shufflevector(pairs[0], pairs[1], 2, 6, 3, 7));
#else
    (void)further;
    vf_store(to, pairs[0]);
#endif
}

/* s[j][v] = sum_d k[j][d] q[d][v] for n keys, of which the rows of `real` exist and stand for those after them;
 * mx[v] = max over them. s has room for KU rows more than n. */
ATN_INLINE void qk_tile(const int nv, const int packed, const atn_args *a, int n, int real, const char *k,
                        int64_t ks, const float *q, float *s, vf *mx, ahead *soon)
{
    int steps = pairs_of(a) / (DEEP / 2);
    vf top[QV];
    ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) top[v] = mx[v];
    for (int j = 0; j < n; j += KU, s += KU * BQ) {
        const scalar_i32 *row[KU], *group = (const scalar_i32 *)k;
        ATN_UNROLL_ALL(16) for (int r = 0; r < KU; r++) row[r] = (const scalar_i32 *)(k + MIN(j + r, real - 1) * ks);
        vf acc[KU][QV];
        ATN_UNROLL_ALL(16) for (int r = 0; r < KU; r++)
            ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_zero();
        const float *qd = q;
        if (PREFETCH > 1) prefetch_some(a, soon);
        ATN_UNROLL(QK_UNROLL)
        for (int64_t d = 0; d < steps; d++, qd += DEEP / 2 * BQ, group += DEEP / 2 * KU)
            products(KU, nv, packed, row, d, group, qd, acc);
        if (packed) k += ks;
        turn(KU, nv, acc);
        ATN_UNROLL_ALL(16) for (int r = 0; r < KU; r++)
            ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) {
                vf_store(s + r * BQ + v * VL, acc[r][v]);
                if (MAX_FUSED) top[v] = vf_max(top[v], acc[r][v]);
            }
    }
    ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) mx[v] = top[v];
}

/* o[c][v] = o[c][v] * alpha[v] + sum_j x[j][c] p[j][v] for all columns, j over n times DEEP keys; alpha NULL: from zero. */
ATN_INLINE void pv_tile(const int nv, int n, int columns, const char *x, int64_t xs, const float *p, float *o,
                        const vf *alpha)
{
    for (int c = 0; c < columns; c += PU, o += PU * BQ, x += xs) {
        vf acc[PU][QV];
        if (alpha) {
            ATN_UNROLL_ALL(16) for (int r = 0; r < PU; r++)
                ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_load(o + r * BQ + v * VL) * alpha[v];
            turn(PU, nv, acc);
        } else {
            ATN_UNROLL_ALL(16) for (int r = 0; r < PU; r++)
                ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_zero();
        }
        const char *xj = x;
        const float *pj = p;
        ATN_UNROLL(PV_UNROLL)
        for (int j = 0; j < n; j++, xj += PU * DEEP * 2, pj += DEEP / 2 * BQ)
            products(PU, nv, 1, NULL, 0, (const scalar_i32 *)xj, pj, acc);
        turn(PU, nv, acc);
        ATN_UNROLL_ALL(16) for (int r = 0; r < PU; r++)
            ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) vf_store(o + r * BQ + v * VL, acc[r][v]);
    }
}

#define TILES(NV) \
    NOINLINE void qk_##NV(int packed, const atn_args *a, int n, int real, const char *k, int64_t ks, const float *q, \
                          float *s, vf *mx, ahead *soon) \
    { \
        if (packed) qk_tile(NV, 1, a, n, real, k, ks, q, s, mx, soon); \
        else qk_tile(NV, 0, a, n, real, k, ks, q, s, mx, soon); \
    } \
    NOINLINE void pv_##NV(int n, int columns, const char *x, int64_t xs, const float *p, float *o, const vf *alpha) \
    { \
        pv_tile(NV, n, columns, x, xs, p, o, alpha); \
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
#endif
#if QV >= 6
TILES(6)
#endif

#if QV >= 6
#define CASE_6(call) case 6: call(6); break;
#else
#define CASE_6(call)
#endif
#if QV >= 5
#define CASE_5(call) case 5: call(5); break;
#else
#define CASE_5(call)
#endif
#if QV >= 4
#define CASE_4(call) case 4: call(4); break;
#else
#define CASE_4(call)
#endif
#if QV >= 3
#define CASE_3(call) case 3: call(3); break;
#else
#define CASE_3(call)
#endif
#if QV >= 2
#define CASE_2(call) case 2: call(2); break;
#else
#define CASE_2(call)
#endif
#define BY_VECTORS(nv, call) \
    switch (nv) { CASE_6(call) CASE_5(call) CASE_4(call) CASE_3(call) CASE_2(call) default: call(1); }

/* S^T of nv vectors and the keys [ja, jb) of a tile. Groups of packed keys are computed whole: keys of the tile before
 * ja and after jb may be written too, with their true scores. */
static void qk(const atn_args *a, int nv, const tile *t, int ja, int jb, const float *q, float *st, vf *mx)
{
    int off = ja - t->o0;
    if (t->k_packed) off -= off % KU;
    const char *k = t->k + (t->k_packed ? off / KU : off) * t->ks;
    float *s = st + off * BQ;
    int n = jb - t->o0 - off, real = t->o1 - t->o0 - off;
#define CALL(NV) qk_##NV(t->k_packed, a, n, real, k, t->ks, q, s, mx, t->soon)
    BY_VECTORS(nv, CALL)
#undef CALL
}

static void pv(int nv, const tile *t, int ja, int jb, int columns, const float *st, float *o, const vf *alpha)
{
    int off = ja - t->o0, n = (jb - ja) / DEEP;
    const char *v = t->v + off * PU * 2;
    const float *p = st + off / 2 * BQ;
#define CALL(NV) pv_##NV(n, columns, v, t->vs, p, o, alpha)
    BY_VECTORS(nv, CALL)
#undef CALL
}

/* ---- rows in, rows out ---- */

static int natural(const atn_args *a) { return a->mask.ptr && a->mask.dtype != ATN_BOOL; }
static float unit(const atn_args *a) { return natural(a) ? 1.0f : LOG2E; }

static int mask_elem(const atn_args *a) { return a->mask.dtype == ATN_F32 ? 4 : a->mask.dtype == ATN_BOOL ? 1 : 2; }

/* Which lane is which row, and what it may see. */
static void open_block(const atn_args *a, block *x, int b, int kvh)
{
    int group = a->Hq / a->Hkv, shift = a->Skv - a->Sq, lanes = x->nv * VL;
    int span = a->Sq + a->Skv, p_shift = a->causal == ATN_CAUSAL_TOP_LEFT ? 0 : shift;
    int left = a->window_left >= 0 ? MIN(a->window_left, span) : 2 * span;
    int right = a->window_right >= 0 ? MIN(a->window_right, span) : 2 * span;
    if (a->causal != ATN_CAUSAL_NONE) right = 0;
    const char *q = (const char *)a->q.ptr + b * a->q.sb + kvh * group * a->q.sh;
    int i = x->first / group, g = x->first % group;
    for (int c = 0; c < lanes; c++) {
        x->i[c] = i, x->h[c] = kvh * group + g;
        x->q[c] = q + i * a->q.sr + g * a->q.sh;
        x->out[c] = (char *)a->o.ptr + b * a->o.sb + x->h[c] * a->o.sh + i * a->o.sr;
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
    x->banded = a->mask.ptr && mask_bands(x->mask, lanes, a->mask.dtype, a->Skv, x->lane_lo, x->lane_hi);
    x->fresh = 1;
    x->lo = x->lane_lo[0], x->hi = x->lane_hi[lanes - 1];
    x->all_lo = x->lane_lo[lanes - 1], x->all_hi = x->lane_hi[0];
    for (int v = 0; v < x->nv; v++) {
        int first = v * VL, last = first + VL - 1;
        x->vlo[v] = x->lane_lo[first], x->vhi[v] = x->lane_hi[last];
        x->alo[v] = x->lane_lo[last], x->ahi[v] = x->lane_hi[first];
        x->m[v] = vf_splat(-VF_INF), x->l[v] = vf_zero();
    }
}

/* Q^T of a block, in pairs. */
static void load_q(const atn_args *a, const block *x, float *qt)
{
    int D2 = a->D / 2;
    for (int first = 0; first < x->nv * VL; first += VL)
        for (int d = 0; d < D2; d += VL) {
            const char *const *row = x->q + first;
            vf t[VL];
            int w = MIN(VL, D2 - d);
            if (w == VL) {
                ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) t[c] = vf_load(row[c] + d * 4);
            } else {
                for (int c = 0; c < VL; c++) t[c] = vf_load_n(row[c] + d * 4, w);
            }
            vf_transpose(t);
            ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c += DEEP / 2)
                if (c < w) store_deep(qt + (d + c) * BQ + first, BQ, t + c);
        }
}

/* The score of one lane and key, in f32; for repair. */
static float score(const atn_args *a, const block *x, int c, const char *krow, int j)
{
    float s = 0;
    for (int d = 0; d < a->D; d++)
        s += vf_load_as_n(krow + d * 2, ATN_BF16, 1)[0] * vf_load_as_n(x->q[c] + d * 2, ATN_BF16, 1)[0];
    s *= a->scale;
    if (a->softcap > 0) s = vf_tanh(vf_splat(s / a->softcap))[0] * a->softcap;
    s *= unit(a);
    if (a->alibi) s += x->slope[c] * ((float)j - x->pos[c]);
    return s;
}

/* A NaN or infinity in V times the zero weight of a forbidden key of the same tile is NaN: rows that came out so are
 * done again over their own keys only, so that what a row may not see cannot reach it. */
NOINLINE void repair_row(const atn_args *a, const block *x, int c, int b, int kvh, float *o)
{
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh;
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
    float m = x->m[c / VL][c % VL], up = natural(a) ? LOG2E : 1.0f;
    for (int d = 0; d < a->Dv; d++) o[d] = 0;
    for (int j = x->lane_lo[c]; j <= x->lane_hi[c]; j++) {
        float add = 0;
        if (natural(a)) add = vf_load_as_n(x->mask[c] + (int64_t)j * mask_elem(a), a->mask.dtype, 1)[0];
        else if (a->mask.ptr && !x->mask[c][j]) continue;
        if (add == -VF_INF) continue;
        float s = score(a, x, c, k + j * a->k.sr, j) + add, w = vf_exp2(vf_splat((s - m) * up), EXP_DEG)[0];
        for (int d = 0; d < a->Dv; d++) o[d] += w * vf_load_as_n(v + j * a->v.sr + d * 2, ATN_BF16, 1)[0];
    }
}

/* Sinks, 1 / l, log-sum-exp, and O^T out; spare has room for a row. */
static void close_block(const atn_args *a, block *x, int b, int kvh, const float *o, float *spare)
{
    int exact = x->all_lo == 0 && x->all_hi == a->Skv - 1 && !a->mask.ptr, elem = a->o.dtype == ATN_F32 ? 4 : 2;
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
    for (int v = 0; v < x->nv; v++) {
        int first = v * VL, lanes = MIN(x->rows - first, VL);
        vi bad = vi_splat(0);
        vf f = vf_load(factor + first);
        char *const *out = x->out + first;
        for (int d = 0; d < a->Dv; d += VL) {
            vf t[VL];
            int w = MIN(VL, a->Dv - d);
            if (x->fresh) {
                for (int c = 0; c < VL; c++) t[c] = vf_zero();
            } else {                                     /* rows of O^T beyond Dv are there, and are not stored */
                ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) {
                    t[c] = vf_load(o + (d + c) * BQ + first) * f;
                    if (c < w) bad |= vf_nonfinite(t[c]);
                }
            }
            vf_transpose(t);
            if (w == VL && a->o.dtype == ATN_BF16 && lanes == VL) {
                ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) *(vh_any *)(out[c] + d * 2) = vf_round_bf16(t[c]);
            } else if (w == VL) {
                for (int c = 0; c < lanes; c++) vf_store_as(out[c] + d * elem, t[c], a->o.dtype);
            } else {
                for (int c = 0; c < lanes; c++) vf_store_as_n(out[c] + d * elem, t[c], a->o.dtype, w);
            }
        }
        if (exact || !mask_any(bad)) continue;
        for (int c = 0; c < lanes; c++) {
            if (!bad[c]) continue;
            repair_row(a, x, first + c, b, kvh, spare);
            for (int d = 0; d < a->Dv; d += VL) {
                int w = MIN(VL, a->Dv - d);
                vf_store_as_n(out[c] + d * elem, vf_load_n(spare + d, w) * factor[first + c], a->o.dtype, w);
            }
        }
    }
}

/* ---- one tile of one block ---- */

/* Additive and boolean masks: VL rows of the mask at a time, transposed, onto S^T. */
static void add_mask(const atn_args *a, const block *x, int v, int j0, int n, float *s)
{
    int dtype = a->mask.dtype, elem = mask_elem(a);
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
        vi changes = vi_splat(0);
        for (int c = 0; c < VL; c++) changes |= (vi)t[c];
        if (!mask_any(changes)) continue;                        /* keys that every row sees, beside the edge */
        vf_transpose(t);
        float *at = s + j * BQ + v * VL;
        for (int e = 0; e < w; e++) {                            /* -inf wins over NaN */
            vf y = vf_load(at + e * BQ) + t[e];
            vf_store(at + e * BQ, vf_sel((vi)(t[e] == vf_splat(-VF_INF)), t[e], y));
        }
    }
}

/* Everything that changes scores after the dot product, and their scale, for keys [ja, jb) of vector v. */
static void edit_scores(const atn_args *a, const block *x, int v, const tile *t, int ja, int jb, float *s)
{
    int j0 = t->o0;
    float *at = s + v * VL, scale = a->softcap > 0 ? a->scale / a->softcap : a->scale * unit(a);
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
    if (a->mask.ptr && !x->banded) add_mask(a, x, v, ja, MIN(jb, t->o1) - ja, s + (ja - j0) * BQ);
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

/* The maximum over n keys of one vector, four chains at once. */
static vf max_column(const float *s, int n)
{
    vf t[4];
    for (int c = 0; c < 4; c++) t[c] = vf_splat(-VF_INF);
    int j = 0;
    for (; j + 4 <= n; j += 4)
        ATN_UNROLL_ALL(4) for (int c = 0; c < 4; c++) t[c] = vf_max(t[c], vf_load(s + (j + c) * BQ));
    for (; j < n; j++) t[0] = vf_max(t[0], vf_load(s + j * BQ));
    return vf_max(vf_max(t[0], t[1]), vf_max(t[2], t[3]));
}

/* P^T in pairs (fours) from n scores of one vector, n a multiple of DEEP: e^(s c - m), into rows from `to` on; the sum. */
ATN_INLINE vf exp_keys(const float *s, float *to, int n, vf m, float c, const int is_natural, const int far)
{
    vf sum0 = vf_zero(), sum1 = vf_zero(), scale = vf_splat(c);
    ATN_UNROLL(EXP_UNROLL)
    for (int j = 0; j < n; j += DEEP, to += DEEP / 2 * BQ) {
        vf pairs[DEEP / 2];
        ATN_UNROLL_ALL(2) for (int h = 0; h < DEEP / 2; h++, s += 2 * BQ) {
            vf x = vf_product_less(vf_load(s), scale, m, far), y = vf_product_less(vf_load(s + BQ), scale, m, far);
            x = vf_exp2(is_natural ? x * LOG2E : x, EXP_DEG), y = vf_exp2(is_natural ? y * LOG2E : y, EXP_DEG);
            sum0 += x, sum1 += y;
            pairs[h] = (vf)vf_pair_bf16(x, y);
        }
        store_deep(to, BQ, pairs);
    }
    return sum0 + sum1;
}

NOINLINE vf exp_log2(const float *s, float *to, int n, vf m, float c) { return exp_keys(s, to, n, m, c, 0, 0); }
NOINLINE vf exp_natural(const float *s, float *to, int n, vf m, float c) { return exp_keys(s, to, n, m, c, 1, 1); }
NOINLINE vf exp_far(const float *s, float *to, int n, vf m, float c) { return exp_keys(s, to, n, m, c, 0, 1); }

/* New maximum of vector v from `top`, both in units of 1 / c; sum and maximum updated, P^T of n scores at row `off` of
 * the tile in their place, the factor for older sums in alpha. */
static void softmax_column(const atn_args *a, block *x, int v, vf top, float c, float *st, int off, int n)
{
    const float *s = st + off * BQ + v * VL;
    float *to = st + off / 2 * BQ + v * VL;
    vf m = vf_max(x->m[v], top * c), safe = vf_sel((vi)(m == vf_splat(-VF_INF)), vf_zero(), m);
    vf alpha = vf_exp2((x->m[v] - safe) * (natural(a) ? LOG2E : 1.0f), 6);
    x->m[v] = m;
    vf sum = natural(a)                                          ? exp_natural(s, to, n, safe, c)
             : mask_any((vi)(vf_abs(safe) > vf_splat(VF_FAR))) ? exp_far(s, to, n, safe, c)
                                                                 : exp_log2(s, to, n, safe, c);
    x->l[v] = vf_fma(x->l[v], alpha, sum);
    x->alpha[v] = alpha;
}

/* What n keys lack of a multiple of DEEP. */
static int fill(int n) { return ROUND_UP(n, DEEP) - n; }

/* Every lane sees every key of the tile. */
static void full_tile(const atn_args *a, block *x, const tile *t, const float *qt, float *o, float *st)
{
    int n = t->j1 - t->j0, nv = x->nv;
    float *s = st + (t->j0 - t->o0) * BQ, c = a->scale * unit(a);
    vf top[QV];
    for (int v = 0; v < nv; v++) top[v] = vf_splat(-VF_INF);
    qk(a, nv, t, t->j0, t->j1, qt, st, top);
    for (int v = 0; v < nv; v++) {
        if (!MAX_FUSED) top[v] = max_column(s + v * VL, n);
        softmax_column(a, x, v, top[v], c, st, t->j0 - t->o0, n);
    }
    pv(nv, t, t->j0, t->j1, a->Dv, st, o, x->fresh ? NULL : x->alpha);
    x->fresh = 0;
}

/* The next key after j where the set of vectors in use changes, and that set [va, vb) from j on. */
static int next_run(int nv, const int *ja, const int *jb, int j, int end, int *va, int *vb)
{
    int next = end;
    *va = nv, *vb = 0;
    for (int v = 0; v < nv; v++) {
        if (ja[v] > j) next = MIN(next, ja[v]);
        if (jb[v] > j) next = MIN(next, jb[v]);
        if (ja[v] <= j && jb[v] > j) *va = MIN(*va, v), *vb = v + 1;
    }
    return next;
}

/* A tile that some lane sees only in part, or whose scores are edited. */
static void edge_tile(const atn_args *a, block *x, const tile *t, int edited, const float *qt, float *o, float *st)
{
    int nv = x->nv, va, vb, ja[QV], jb[QV], both_lo = t->j0, both_hi = t->j1;
    float c = edited ? 1.0f : a->scale * unit(a);                /* -inf stays -inf under it */
    vf ignored[QV], one[QV];
    for (int v = 0; v < nv; v++) {
        ja[v] = FINE_DIAG ? MIN(MAX(t->j0, x->vlo[v]), t->j1) : t->j0;
        jb[v] = FINE_DIAG ? MAX(MIN(t->j1, x->vhi[v] + 1), ja[v]) : t->j1;
        ja[v] -= (ja[v] - t->o0) % DEEP, jb[v] += fill(jb[v] - t->o0);
        both_lo = MAX(both_lo, ja[v]), both_hi = MIN(both_hi, jb[v]);
        ignored[v] = vf_zero(), one[v] = vf_splat(1.0f);
    }
    for (int j = t->j0, next; j < t->j1; j = next) {
        next = next_run(nv, ja, jb, j, t->j1, &va, &vb);
        if (va < vb) qk(a, vb - va, t, j, next, qt + va * VL, st + va * VL, ignored);
    }
    for (int v = 0; v < nv; v++) {
        int n = jb[v] - ja[v];
        float *s = st + (ja[v] - t->o0) * BQ;
        if (edited) edit_scores(a, x, v, t, ja[v], jb[v], st);
        forbid(x, v, t->o0, ja[v], jb[v], st);
        softmax_column(a, x, v, max_column(s + v * VL, n), c, st, ja[v] - t->o0, n);
    }
    /* The keys that all vectors take rescale O on the way; where there are none, it is done before. */
    if (both_lo < both_hi) {
        pv(nv, t, both_lo, both_hi, a->Dv, st, o, x->fresh ? NULL : x->alpha);
    } else {
        both_lo = both_hi = t->j0;
        for (int c = 0; c < ROUND_UP(a->Dv, PU); c++)
            for (int v = 0; v < nv; v++) {
                float *y = o + c * BQ + v * VL;
                vf_store(y, x->fresh ? vf_zero() : vf_load(y) * x->alpha[v]);
            }
    }
    x->fresh = 0;
    for (int j = t->j0, next; j < t->j1; j = next) {
        if (j == both_lo && both_lo < both_hi) {
            next = both_hi;
            continue;
        }
        next = next_run(nv, ja, jb, j, t->j1, &va, &vb);
        if (va < vb) pv(vb - va, t, j, next, a->Dv, st + va * VL, o + va * VL, one);
    }
}

/* ---- a task ---- */

/* n rows of K as [n / KU][D / 2][KU] pairs, or fours; a last group is filled up with the last key. Where a group is half
 * a vector, two at a time; else each transposed vector is stored whole, and its surplus overwritten by the next. */
NOINLINE void pack_k(const char *from, int64_t stride, int n, int D2, float *to)
{
    enum { PAIR = KU * 2 == VL, PARTS = PAIR ? 1 : (KU + VL - 1) / VL, STEP = PAIR ? VL : KU };
    const int64_t filled = ROUND_UP(D2, DEEP / 2);
    for (int j = 0; j < n; j += STEP, to += filled * STEP) {
        for (int d = 0; d < D2; d += VL) {
            int w = MIN(VL, D2 - d);
            vf t[PARTS][VL];
            ATN_UNROLL_ALL(8) for (int g = 0; g < PARTS; g++) {
                ATN_UNROLL_ALL(16) for (int r = 0; r < VL; r++) {
                    if (g * VL + r >= STEP) {
                        t[g][r] = vf_zero();
                        continue;
                    }
                    const char *at = from + MIN(j + g * VL + r, n - 1) * stride + d * 4;
                    t[g][r] = w == VL ? vf_load(at) : vf_load_n(at, w);
                }
                vf_transpose(t[g]);
            }
            ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c += DEEP / 2) {
                if (c >= w) continue;
                float *at = to + (int64_t)(d + c) * KU;
                if (PAIR && DEEP == 2) vf_store_halves(at, at + filled * KU, t[0][c]);
                else if (PAIR) store_deep(at, filled * KU, t[0] + c);
                else ATN_UNROLL_ALL(8) for (int g = 0; g < PARTS; g++) store_deep(at + g * VL * (DEEP / 2), VL, t[g] + c);
            }
        }
    }
}

/* Columns from c on of DEEP rows as pairs, w of VL columns: the others are zero. */
ATN_INLINE void pair_columns(const char *const *row, const vu *keep, int c, int w, vf *pairs)
{
    vh x[DEEP];
    ATN_UNROLL_ALL(4) for (int i = 0; i < DEEP; i++) {
        x[i] = (vh){0};
        if (w == VL) x[i] = *(const vh_any *)(row[i] + c * 2);
        else if (w > 0) __builtin_memcpy(&x[i], row[i] + c * 2, (size_t)w * 2);
    }
    ATN_UNROLL_ALL(2) for (int h = 0; h < DEEP; h += 2) {
        vu low = __builtin_convertvector(x[h], vu) & keep[h], high = __builtin_convertvector(x[h + 1], vu) & keep[h + 1];
        pairs[h / 2] = (vf)(low | high << 16);
    }
}

/* n rows of V as [Dv / PU][vrows][PU] pairs of keys, or fours, columns beyond Dv and keys beyond n zero; a vector's surplus
 * is overwritten by the next one's. Row by row: group by group, rows a power of two apart push each other out of the
 * first-level cache. */
NOINLINE void pack_v(const char *from, int64_t stride, int n, int Dv, float *to, int vrows)
{
    const int64_t group = (int64_t)vrows * PU * (DEEP / 2);
    for (int j = 0; j < n; j += DEEP, from += DEEP * stride, to += PU * (DEEP / 2)) {
        const char *row[DEEP];
        vu keep[DEEP];
        ATN_UNROLL_ALL(4) for (int i = 0; i < DEEP; i++) {
            row[i] = j + i < n ? from + i * stride : from;
            keep[i] = (vu)vi_splat(i == 0 || j + i < n ? -1 : 0);
        }
        float *at = to;
        int c = 0;
        for (; PU * 2 == VL && c + VL <= Dv; c += VL, at += 2 * group) {
            vf pairs[DEEP / 2];
            pair_columns(row, keep, c, VL, pairs);
            if (DEEP == 2) vf_store_halves(at, at + group, pairs[0]);
            else store_deep(at, group, pairs);
        }
        for (; c < Dv; c += PU, at += group)
            ATN_UNROLL_ALL(4) for (int r = 0; r < PU; r += VL) {
                vf pairs[DEEP / 2];
                pair_columns(row, keep, c + r, MIN(VL, Dv - c - r), pairs);
                store_deep(at + r * (DEEP / 2), VL, pairs);
            }
    }
}

/* What the mask leaves of the keys [j0, j1) to each block, and how many of them to any. Rows of heads that share a mask
 * follow each other. */
static int look_at_mask(const atn_args *a, block *blocks, int count, int j0, int j1)
{
    int n = j1 - j0, any = 0;
    for (int i = 0; i < count; i++) {
        block *x = blocks + i;
        x->seen = (mask_span){x->banded ? 0 : n, x->banded ? MAX(MIN(j1, x->hi + 1) - j0, 0) : 0, 1};
        if (!x->banded) mask_look_rows(&x->seen, x->mask, x->rows, j0, a->mask.dtype, n);
        any = MAX(any, x->seen.hi);
    }
    return any;
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
    float *kp = (float *)((char *)scratch + y.kp), *vp = (float *)((char *)scratch + y.vp);
    int qsize = pairs_of(a) * BQ, osize = MAX(ROUND_UP(a->Dv, PU), ROUND_UP(a->Dv, VL)) * BQ;
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh;
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
    ahead soon = {.k = k, .v = v, .left = MIN(BK, a->Skv), .at_once = 4};

    const int first = cut_first(nvec, nsb, QV, tapered, sb), all = cut_first(nvec, nsb, QV, tapered, sb + 1) - first;
    const int count = (all + QV - 1) / QV;
    int lo = INT32_MAX, hi = -1;
    for (int i = 0; i < count; i++) {
        block *x = blocks + i;
        const int v0 = first + all * i / count, v1 = first + all * (i + 1) / count;
        x->first = v0 * VL, x->nv = v1 - v0, x->rows = MIN(rows, v1 * VL) - x->first;
        if (PREFETCH > 0 && a->window_left < 0) prefetch_some(a, &soon);
        open_block(a, x, b, kvh);
        lo = MIN(lo, x->lo), hi = MAX(hi, x->hi);
    }
    for (int j0 = lo, after; j0 <= hi; j0 = after) {
        after = MIN(j0 + BK, hi + 1);
        int j1 = a->mask.ptr ? j0 + look_at_mask(a, blocks, count, j0, after) : after, groups = (j1 - j0 + KU - 1) / KU;
        if (j1 == j0) continue;
        tile t = {k + j0 * a->k.sr, (const char *)vp, a->k.sr, (int64_t)y.vrows * PU * DEEP * 2, y.k_packed,
                  j0, j1, j0, j1, &soon};
        if (y.k_packed) {
            pack_k(t.k, a->k.sr, j1 - j0, a->D / 2, kp);
            t.k = (const char *)kp, t.ks = (int64_t)pairs_of(a) * KU * 4;
        }
        pack_v(v + j0 * a->v.sr, a->v.sr, j1 - j0, a->Dv, vp, y.vrows);
        soon.k = k + after * a->k.sr, soon.v = v + after * a->v.sr, soon.left = MIN(BK, hi + 1 - after);
        soon.at_once = (soon.left + count * groups - 1) / (count * groups);
        for (int i = 0; i < count; i++) {
            block *x = blocks + i;
            t.j0 = MAX(j0, x->lo), t.j1 = MIN(j1, x->hi + 1);
            if (a->mask.ptr) t.j0 = MAX(t.j0, j0 + x->seen.lo), t.j1 = MIN(t.j1, j0 + x->seen.hi);
            if (t.j0 >= t.j1) continue;
            int odd = fill(t.j1 - j0);
            t.j0 -= (t.j0 - j0) % DEEP, t.j1 += odd;
            int own = (t.j1 - t.j0 + KU - 1) / KU;
            if (PREFETCH > 2 && after > x->hi)
                soon.out = x->out, soon.out_left = x->rows, soon.out_at_once = (x->rows + own - 1) / own;
            if (PREFETCH > 2 && i + 1 < count && x[1].fresh)
                soon.q = x[1].q, soon.q_left = x[1].rows, soon.q_at_once = (x[1].rows + own - 1) / own;
            if (x->fresh) load_q(a, x, qt + i * qsize);
            int whole = !y.k_packed || ((t.j0 - j0) % KU == 0 && (t.j1 == j1 || (t.j1 - j0) % KU == 0));
            int edited = a->softcap > 0 || a->alibi || (a->mask.ptr && !x->seen.plain);
            if (!edited && whole && !odd && t.j0 >= x->all_lo && t.j1 - 1 <= x->all_hi)
                full_tile(a, x, &t, qt + i * qsize, o + i * osize, st);
            else
                edge_tile(a, x, &t, edited, qt + i * qsize, o + i * osize, st);
        }
    }
    for (int i = 0; i < count; i++) close_block(a, blocks + i, b, kvh, o + i * osize, st);
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

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "flash_dot", can_run, plan, run};
