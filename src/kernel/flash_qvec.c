/* flash_qvec: attention with everything vectorised along queries: S^T = K Q^T, O^T = V^T P^T.
 *
 * One lane is one query row in every product, so maximum, sum, rescaling and masks are vertical, and both products are
 * the same loop: one broadcast element of K or V times a few vectors of Q^T or P^T. Q is transposed on its way in and
 * O on its way out. Rows of all query heads that share a kv head are one list of lanes, token by token (grouped-query
 * attention fills vectors, causal order stays).
 *
 *   task   = (b, kv head, super-block of row blocks); K and V tiles of BK keys are visited once per super-block
 *   block  = QV vectors of rows: Q^T [D][BQ], O^T [Dv][BQ], running maximum m and sum l of each lane
 *   tile   = S^T [BK][BQ], exponentiated in place
 *   packed = K tile as [BK / KU][D][KU], V tile as [Dv / PU][BK][PU]: the broadcasts are one stream. Worth it where
 *            several blocks share it and rows lie a multiple of 2 KB apart, which meet in few sets of the first-level
 *            cache (EPYC, h16/8 s512 d128 by token: 1.15 times as fast). Others are 0.98 as fast packed there; on a
 *            Xeon the register tile reaches 0.90 of the FMA peak packed, 0.86 from rows.
 *   f16 and bf16 are widened to rows of floats, which are then packed where an odd width of V asks for it.
 *
 * Scores are in units of log2 e (so that exp is exp2), or natural ones under an additive mask, whose -FLT_MAX must stay
 * finite. Invariant: after each tile, O and l of a lane are sums over the keys seen so far of e^(s - m). */
#include "attune/cut.h"
#include "attune/kernel.h"
#include "attune/vec.h"

// EVOLVE-BLOCK-START
#define QV 3            // knob: 1 2 3 4 5 6 ; vectors of query rows in a register tile
#if VF_REGS >= 32
#define KU 8            // knob: 2 3 4 5 6 7 8 9 10 12 14 ; keys in a register tile of S^T
#define PU 8            // knob: 2 3 4 5 6 7 8 9 10 12 14 ; columns in a register tile of O^T
#define BK 192          // knob: 16 32 48 64 96 128 192 256 384 512 1024 2048 ; keys in a tile
#else
#define KU 4            // knob: 2 3 4 5 6 7 8 9 10 12 14 ; keys in a register tile of S^T
#define PU 4            // knob: 2 3 4 5 6 7 8 9 10 12 14 ; columns in a register tile of O^T
#define BK 128          // knob: 16 32 48 64 96 128 192 256 384 512 1024 2048 ; keys in a tile
#endif
#define TILE_KB 256     // knob: 64 128 256 512 1024 4096 ; of K and V in a tile as floats, at most
#define NQB 16          // knob: 1 2 3 4 6 8 12 16 24 ; row blocks that share a visit of a tile
#define PACK_MIN 8      // knob: 1 2 3 4 6 8 12 99 ; row blocks from which on tiles are packed whose rows meet in L1
#define PACK_ANY 99     // knob: 3 4 6 8 12 16 99 ; the same for other tiles
#define EXP_DEG 5       // knob: 4 5 6 ; degree of the polynomial for 2^x
#define EXP_UNROLL 4    // knob: 1 2 3 4 6 ; keys in lockstep: chains of one after the other fill the scheduler
#define LAZY 6          // knob: 0 3 6 10 ; doublings by which the maximum may be exceeded before O and l are rescaled
#define QK_UNROLL 4     // knob: 1 2 4 8 ; steps of D at once
#define PV_UNROLL 4     // knob: 1 2 4 8 ; keys at once
#define MAX_FUSED 1     // knob: 0 1 ; take the maximum while S^T is still in registers
#define FINE_DIAG 1     // knob: 0 1 ; leave out vectors that the causal edge or the window empties
#define LONGEST_FIRST 1 // knob: 0 1
#define PREFETCH 3      // knob: 0 1 2 3 ; 1: first tile of K and V, 2: also the next ones, 3: also rows of O and Q
#define TASKS_PER_THREAD 6 // knob: 1 2 3 4 6 8 ; at most

#define BQ (QV * VL)
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f
#define ROUND_UP(x, m) (((x) + (m) - 1) / (m) * (m))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

_Static_assert(KU * QV + QV + 1 <= VF_REGS, "the register tile of S^T fits in the registers");
_Static_assert(PU * QV + QV + 1 <= VF_REGS, "the register tile of O^T fits in the registers");

#define NOINLINE static __attribute__((noinline))

typedef struct {
    int nv, rows;                    /* vectors in use, rows in use (the last vector may be partly empty) */
    int first;                       /* first row of the block in the list of G * Sq rows */
    int lo, hi;                      /* keys that some lane may see: lo <= j <= hi */
    int all_lo, all_hi;              /* keys that every lane may see */
    int vlo[QV], vhi[QV], alo[QV], ahi[QV]; /* the same per vector */
    int fresh;                       /* no tile added yet */
    int banded;                      /* lanes' lo and hi are all that the mask says */
    mask_span seen;                  /* what the mask leaves of the tile at hand */
    vf m[QV], l[QV];                 /* m: the maximum, or up to LAZY below it; a whole number where it can be one */
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
    int64_t ks, vs;                  /* bytes from key to key; packed: from group to group */
    int k_packed, v_packed;
    int o0, o1, j0, j1;
    ahead *soon;
} tile;

typedef struct {
    int64_t qt, o, st, kp, vp, wide; /* byte offsets into scratch, blocks first */
    int64_t bytes;
    int bk;                          /* keys in a tile */
    int k_packed, v_packed;
    int k_row, v_row;                /* f16 and bf16: bytes of a widened row, else 0 */
    int vrows;                       /* keys that a group of packed V has room for */
} layout;

static layout make_layout(const atn_args *a, int nqb)
{
    layout y;
    const int bk = MIN(MIN(BK, MAX(TILE_KB * 256 / (a->D + a->Dv), 16)), a->Skv);
    const int dv = MAX(ROUND_UP(a->Dv, PU), ROUND_UP(a->Dv, VL));
    y.bk = bk;
    y.k_packed = nqb >= (a->k.dtype == ATN_F32 && a->k.sr % 2048 == 0 ? PACK_MIN : PACK_ANY);
    y.v_packed = nqb >= (a->v.dtype == ATN_F32 && a->v.sr % 2048 == 0 ? PACK_MIN : PACK_ANY) || a->Dv % PU != 0;
    y.k_row = a->k.dtype == ATN_F32 ? 0 : ROUND_UP(a->D * 4, 64) + 64;     /* rows a power of two apart would meet in */
    y.v_row = a->v.dtype == ATN_F32 ? 0 : ROUND_UP(a->Dv * 4, 64) + 64;    /* the first-level cache */
    y.vrows = bk + (VL + PU - 1) / PU;
    int64_t at = ROUND_UP((int64_t)sizeof(block) * nqb, 64);
    y.qt = at, at += (int64_t)nqb * a->D * BQ * 4;
    y.o = at, at += (int64_t)nqb * dv * BQ * 4;
    y.st = at, at += MAX(MAX((int64_t)(bk + KU) * BQ, (int64_t)VL * VL), (int64_t)dv) * 4 + 64;
    y.kp = at, at += y.k_packed ? ROUND_UP((int64_t)ROUND_UP(bk, 2 * KU) * a->D * 4, 64) + VL * 4
                                : (int64_t)bk * y.k_row;
    y.vp = at, at += y.v_packed ? ROUND_UP((int64_t)ROUND_UP(a->Dv, PU) * y.vrows * 4, 64) + VL * 4
                                : (int64_t)bk * y.v_row;
    y.wide = at, at += (int64_t)bk * MAX(y.k_packed ? y.k_row : 0, y.v_packed ? y.v_row : 0);
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

/* Inlined by force: gcc takes a function that only prefetches for one without effect, and drops its calls. */
ATN_INLINE void prefetch_row(const char *p, int n, int dtype)
{
    int bytes = dtype == ATN_F32 ? n * 4 : n * 2;
    for (int c = 0; c < bytes; c += 64) __builtin_prefetch(p + c, 0, 2);
}

ATN_INLINE void prefetch_some(const atn_args *a, ahead *n)
{
    for (int j = 0; j < n->at_once && n->left > 0; j++, n->left--) {
        prefetch_row(n->k, a->D, a->k.dtype), n->k += a->k.sr;
        prefetch_row(n->v, a->Dv, a->v.dtype), n->v += a->v.sr;
    }
    for (int j = 0; j < n->out_at_once && n->out_left > 0; j++) {
        const char *p = n->out[--n->out_left];
        int bytes = a->Dv * (a->o.dtype == ATN_F32 ? 4 : 2);
        for (int c = 0; c < bytes; c += 64) __builtin_prefetch(p + c, 1, 3);
    }
    for (int j = 0; j < n->q_at_once && n->q_left > 0; j++) prefetch_row(n->q[--n->q_left], a->D, a->q.dtype);
}

/* ---- the two register tiles; nv and packed are constants at each call ---- */

/* s[j][v] = sum_d k[j][d] q[d][v] for n keys; mx[v] = max over them. s has room for KU rows more than n. */
ATN_INLINE void qk_tile(const int nv, const int packed, const atn_args *a, int n, const char *k, int64_t ks,
                        const float *q, float *s, vf *mx, ahead *soon)
{
    int D = a->D;
    vf top[QV];
    ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) top[v] = mx[v];
    for (int j = 0; j < n; j += KU, s += KU * BQ) {
        const scalar_f32 *row[KU], *group = (const scalar_f32 *)k;
        ATN_UNROLL_ALL(16) for (int r = 0; r < KU; r++) row[r] = (const scalar_f32 *)(k + MIN(j + r, n - 1) * ks);
        vf acc[KU][QV];
        ATN_UNROLL_ALL(16) for (int r = 0; r < KU; r++)
            ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_zero();
        const float *qd = q;
        if (PREFETCH > 1) prefetch_some(a, soon);
        ATN_UNROLL(QK_UNROLL)
        for (int64_t d = 0; d < D; d++, qd += BQ, group += KU) {
            vf x[QV];
            ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) x[v] = vf_load(qd + v * VL);
            ATN_UNROLL_ALL(16) for (int r = 0; r < KU; r++) {
                vf y = vf_splat(packed ? group[r] : row[r][d]);
                ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_fma(y, x[v], acc[r][v]);
            }
        }
        if (packed) k += ks;
        ATN_UNROLL_ALL(16) for (int r = 0; r < KU; r++)
            ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) {
                vf_store(s + r * BQ + v * VL, acc[r][v]);
                if (MAX_FUSED) top[v] = vf_max(top[v], acc[r][v]);
            }
    }
    ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) mx[v] = top[v];
}

/* o[c][v] += sum_j x[j][c] p[j][v] for all columns, or from zero (fresh). Vector v takes the first n[v] keys, and later
 * vectors no fewer: under causal order the edge of a tile is a staircase, and O is read and written once for all of it.
 * xk and xc: bytes from key to key and from PU columns to the next. */
ATN_INLINE void pv_tile(const int nv, const int *n, int columns, const char *x, int64_t xk, int64_t xc, const float *p,
                        float *o, int fresh)
{
    for (int c = 0; c < columns; c += PU, o += PU * BQ, x += xc) {
        vf acc[PU][QV];
        if (fresh) {
            ATN_UNROLL_ALL(16) for (int r = 0; r < PU; r++)
                ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_zero();
        } else {
            ATN_UNROLL_ALL(16) for (int r = 0; r < PU; r++)
                ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_load(o + r * BQ + v * VL);
        }
        const char *xj = x;
        const float *pj = p;
        int j = 0;
        ATN_UNROLL(PV_UNROLL)
        for (; j < n[0]; j++, xj += xk, pj += BQ) {
            vf y[QV];
            ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) y[v] = vf_load(pj + v * VL);
            ATN_UNROLL_ALL(16) for (int r = 0; r < PU; r++) {
                vf z = vf_splat(((const scalar_f32 *)xj)[r]);
                ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) acc[r][v] = vf_fma(z, y[v], acc[r][v]);
            }
        }
        ATN_UNROLL_ALL(8) for (int from = 1; from < nv; from++)
            for (; j < n[from]; j++, xj += xk, pj += BQ) {
                vf y[QV];
                ATN_UNROLL_ALL(8) for (int v = from; v < nv; v++) y[v] = vf_load(pj + v * VL);
                ATN_UNROLL_ALL(16) for (int r = 0; r < PU; r++) {
                    vf z = vf_splat(((const scalar_f32 *)xj)[r]);
                    ATN_UNROLL_ALL(8) for (int v = from; v < nv; v++) acc[r][v] = vf_fma(z, y[v], acc[r][v]);
                }
            }
        ATN_UNROLL_ALL(16) for (int r = 0; r < PU; r++)
            ATN_UNROLL_ALL(8) for (int v = 0; v < nv; v++) vf_store(o + r * BQ + v * VL, acc[r][v]);
    }
}

#define TILES(NV) \
    NOINLINE void qk_##NV(int packed, const atn_args *a, int n, const char *k, int64_t ks, const float *q, float *s, \
                          vf *mx, ahead *soon) \
    { \
        if (packed) qk_tile(NV, 1, a, n, k, ks, q, s, mx, soon); \
        else qk_tile(NV, 0, a, n, k, ks, q, s, mx, soon); \
    } \
    NOINLINE void pv_##NV(const int *n, int columns, const char *x, int64_t xk, int64_t xc, const float *p, float *o, \
                          int fresh) \
    { \
        pv_tile(NV, n, columns, x, xk, xc, p, o, fresh); \
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
    int n = jb - t->o0 - off;
#define CALL(NV) qk_##NV(t->k_packed, a, n, k, t->ks, q, s, mx, t->soon)
    BY_VECTORS(nv, CALL)
#undef CALL
}

/* O^T of nv vectors and the keys from ja on, n[v] of them for vector v. */
static void pv(int nv, const tile *t, int ja, const int *n, int columns, const float *st, float *o, int fresh)
{
    const int64_t xk = t->v_packed ? PU * 4 : t->vs, xc = t->v_packed ? t->vs : PU * 4;
    const char *v = t->v + (ja - t->o0) * xk;
    const float *p = st + (ja - t->o0) * BQ;
#define CALL(NV) pv_##NV(n, columns, v, xk, xc, p, o, fresh)
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
    char *out = (char *)a->o.ptr + b * a->o.sb + kvh * group * a->o.sh;
    int i = x->first / group, g = x->first % group;
    q += i * a->q.sr + g * a->q.sh, out += i * a->o.sr + g * a->o.sh;
    for (int c = 0; c < lanes; c++) {
        x->i[c] = i, x->h[c] = kvh * group + g, x->q[c] = q, x->out[c] = out;
        if (c >= x->rows - 1) continue;                  /* lanes without a row repeat the last */
        q += a->q.sh, out += a->o.sh;
        if (++g == group) g = 0, i++, q += a->q.sr - group * a->q.sh, out += a->o.sr - group * a->o.sh;
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

/* w elements of VL rows, from `at` (bytes) on, as a vector for each. All but whole vectors of f32 come by way of `spare`,
 * VL * VL floats, which takes little code: unrolled conversions were half of what a compiler had to do here. */
ATN_INLINE void load_rows(const char *const *row, int at, int dtype, int w, float *spare, vf *t)
{
    if (w == VL && dtype == ATN_F32) {
        ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) t[c] = vf_load(row[c] + at);
        return;
    }
    if (w < VL) {
        ATN_UNROLL(1) for (int c = 0; c < VL; c++) vf_store(spare + c * VL, vf_load_as_n(row[c] + at, dtype, w));
    } else if (dtype == ATN_F16) {
        ATN_UNROLL(4) for (int c = 0; c < VL; c++) vf_store(spare + c * VL, vf_load_as(row[c] + at, ATN_F16));
    } else {
        ATN_UNROLL(4) for (int c = 0; c < VL; c++) vf_store(spare + c * VL, vf_load_as(row[c] + at, ATN_BF16));
    }
    ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) t[c] = vf_load(spare + c * VL);
}

/* Q^T of a block, scaled. */
static void load_q(const atn_args *a, const block *x, float *qt)
{
    int elem = a->q.dtype == ATN_F32 ? 4 : 2;
    float scale = a->softcap > 0 ? a->scale / a->softcap : a->scale * unit(a), spare[VL * VL];
    for (int first = 0; first < x->nv * VL; first += VL)
        for (int d = 0; d < a->D; d += VL) {
            vf t[VL];
            int w = MIN(VL, a->D - d);
            load_rows(x->q + first, d * elem, a->q.dtype, w, spare, t);
            vf_transpose(t);
            ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++)
                if (c < w) vf_store(qt + (d + c) * BQ + first, t[c] * scale);
        }
}

/* w elements of each of n rows of O, from `at` (bytes) on; as load_rows. */
ATN_INLINE void store_rows(char *const *row, int n, int at, int dtype, int w, float *spare, const vf *t)
{
    if (w == VL && n == VL && dtype == ATN_F32) {
        ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) vf_store(row[c] + at, t[c]);
        return;
    }
    ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) vf_store(spare + c * VL, t[c]);
    if (w < VL || dtype == ATN_F32) {
        ATN_UNROLL(1) for (int c = 0; c < n; c++) vf_store_as_n(row[c] + at, vf_load(spare + c * VL), dtype, w);
    } else if (dtype == ATN_F16) {
        ATN_UNROLL(4) for (int c = 0; c < n; c++) vf_store_as(row[c] + at, vf_load(spare + c * VL), ATN_F16);
    } else {
        ATN_UNROLL(4) for (int c = 0; c < n; c++) vf_store_as(row[c] + at, vf_load(spare + c * VL), ATN_BF16);
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
    int elem = a->v.dtype == ATN_F32 ? 4 : 2;
    float m = x->m[c / VL][c % VL], up = natural(a) ? LOG2E : 1.0f;
    for (int d = 0; d < a->Dv; d++) o[d] = 0;
    for (int j = x->lane_lo[c]; j <= x->lane_hi[c]; j++) {
        float add = 0;
        if (natural(a)) add = vf_load_as_n(x->mask[c] + (int64_t)j * mask_elem(a), a->mask.dtype, 1)[0];
        else if (a->mask.ptr && !x->mask[c][j]) continue;
        if (add == -VF_INF) continue;
        float s = score(a, x, c, k + j * a->k.sr, j, qt) + add, w = vf_exp2(vf_splat((s - m) * up), EXP_DEG)[0];
        for (int d = 0; d < a->Dv; d++) o[d] += w * vf_load_as_n(v + j * a->v.sr + d * elem, a->v.dtype, 1)[0];
    }
}

/* Sinks, 1 / l, log-sum-exp, and O^T out; spare has room for a row, and for VL vectors. */
static void close_block(const atn_args *a, block *x, int b, int kvh, const float *qt, float *o, float *spare)
{
    int exact = x->all_lo <= x->lo && x->all_hi >= x->hi && !a->mask.ptr, elem = a->o.dtype == ATN_F32 ? 4 : 2;
    float up = natural(a) ? LOG2E : 1.0f, down = natural(a) ? 1.0f : LN2, factor[BQ], m[BQ], l[BQ];
    for (int v = 0; v < x->nv; v++) {
        vi none = (vi)(x->l[v] == vf_zero());
        vf_store(factor + v * VL, vf_sel(none, vf_zero(), 1.0f / vf_sel(none, vf_splat(1.0f), x->l[v])));
        vf_store(m + v * VL, x->m[v]), vf_store(l + v * VL, x->l[v]);
    }
    for (int c = 0; c < a->Dv * BQ && x->fresh; c++) o[c] = 0;
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
            ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) {    /* rows of O^T beyond Dv are there, and are not stored */
                t[c] = vf_load(o + (d + c) * BQ + first) * f;
                if (c < w) bad |= vf_nonfinite(t[c]);
            }
            vf_transpose(t);
            store_rows(out, lanes, d * elem, a->o.dtype, w, spare, t);
        }
        if (exact || !mask_any(bad)) continue;
        for (int c = 0; c < lanes; c++) {
            if (!bad[c]) continue;
            repair_row(a, x, first + c, b, kvh, qt, spare);
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
    if (a->mask.ptr && !x->banded) add_mask(a, x, v, ja, jb - ja, s + (ja - j0) * BQ);
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

/* p = 2^(s - m) in place for n keys of one vector; the sum. m is whole and below MANY, and goes into the constant that
 * rounds s: as vf_exp2, but an operation less, and s - m is never rounded. */
#define MANY 1048576.0f
#define P(c, step) ATN_UNROLL_ALL(8) for (int e = 0; e < c; e++) { step; }
#define EXP_STEPS(c) \
    vf x[c], t[c], p[c]; \
    P(c, x[e] = vf_max(least, vf_load(s + e * BQ))) \
    P(c, t[e] = x[e] + magic; VF_OPAQUE(t[e])) \
    P(c, vf n = t[e] - magic; VF_OPAQUE(n); x[e] = x[e] - n) \
    P(c, p[e] = vf_exp2_part(x[e], EXP_DEG) * (vf)((vi)t[e] << 23); vf_store(s + e * BQ, p[e])) \
    P(c, sum[e] += p[e])
NOINLINE vf exp_whole(float *s, int n, vf m)
{
    vf magic = vf_splat(VF_EXP2_MAGIC) - m, least = m - 127.0f, sum[EXP_UNROLL];
    VF_OPAQUE(magic);
    P(EXP_UNROLL, sum[e] = vf_zero())
    int j = 0;
    for (; j + EXP_UNROLL <= n; j += EXP_UNROLL, s += EXP_UNROLL * BQ) { EXP_STEPS(EXP_UNROLL) }
    for (; j < n; j++, s += BQ) { EXP_STEPS(1) }
    vf all = sum[0];
    for (int e = 1; e < EXP_UNROLL; e++) all += sum[e];
    return all;
}
#undef EXP_STEPS
#undef P

/* p = e^((s - m) / up) for any m. */
NOINLINE vf exp_any(float *s, int n, vf m, float up)
{
    vf sum = vf_zero();
    for (int j = 0; j < n; j++, s += BQ) {
        vf p = vf_exp2((vf_load(s) - m) * up, EXP_DEG);
        vf_store(s, p);
        sum += p;
    }
    return sum;
}

/* P in place for n keys of vector v, whose maximum is `top`; sum and maximum updated, O rescaled where it must be. */
static void softmax_column(const atn_args *a, block *x, int v, vf top, float *s, int n, float *o)
{
    float up = natural(a) ? LOG2E : 1.0f;
    vf m = x->m[v];
    if (mask_any((vi)(top > m + LAZY / up))) {
        vf whole = top + 12582912.0f;
        VF_OPAQUE(whole);
        whole = natural(a) ? top : vf_sel((vi)(vf_abs(top) < vf_splat(MANY)), whole - 12582912.0f, top);
        m = vf_max(m, whole);
        if (!x->fresh) {
            vf alpha = vf_exp2((x->m[v] - vf_sel((vi)(m == vf_splat(-VF_INF)), vf_zero(), m)) * up, 6);
            x->l[v] *= alpha;
            for (int c = 0; c < a->Dv; c++, o += BQ) vf_store(o + v * VL, vf_load(o + v * VL) * alpha);
        }
        x->m[v] = m;
    }
    vf safe = vf_sel((vi)(m == vf_splat(-VF_INF)), vf_zero(), m);
    int any = natural(a) || mask_any(~(vi)(vf_abs(safe) < vf_splat(MANY)));
    x->l[v] += any ? exp_any(s + v * VL, n, safe, up) : exp_whole(s + v * VL, n, safe);
}

/* Every lane sees every key of the tile. */
static void full_tile(const atn_args *a, block *x, const tile *t, const float *qt, float *o, float *st)
{
    int n = t->j1 - t->j0, nv = x->nv, each[QV];
    float *s = st + (t->j0 - t->o0) * BQ;
    vf top[QV];
    for (int v = 0; v < nv; v++) top[v] = vf_splat(-VF_INF), each[v] = n;
    qk(a, nv, t, t->j0, t->j1, qt, st, top);
    for (int v = 0; v < nv; v++) {
        if (!MAX_FUSED) top[v] = max_column(s + v * VL, n);
        softmax_column(a, x, v, top[v], s, n, o);
    }
    pv(nv, t, t->j0, each, a->Dv, st, o, x->fresh);
    x->fresh = 0;
}

/* The vectors [*va, *vb) that take a key of [j, j + step) of a tile, and the first key after them, in steps, where that
 * set is another; vector v takes [ja[v], jb[v]). */
static int next_run(int nv, const int *ja, const int *jb, int j, int step, int end, int *va, int *vb)
{
    for (int first = 1;; first = 0, j += step) {
        int a = nv, b = 0;
        for (int v = 0; v < nv; v++)
            if (ja[v] < j + step && jb[v] > MAX(j, ja[v])) a = MIN(a, v), b = v + 1;
        if (first) *va = a, *vb = b;
        else if (a != *va || b != *vb || j >= end) return MIN(j, end);
    }
}

/* A tile that some lane sees only in part, or whose scores are edited. */
static void edge_tile(const atn_args *a, block *x, const tile *t, const float *qt, float *o, float *st)
{
    int nv = x->nv, va, vb, ja[QV], jb[QV], all = t->j0, n[QV];
    vf ignored[QV];
    for (int v = 0; v < nv; v++) {
        ja[v] = FINE_DIAG ? MIN(MAX(t->j0, x->vlo[v]), t->j1) : t->j0;
        jb[v] = FINE_DIAG ? MAX(MIN(t->j1, x->vhi[v] + 1), ja[v]) : t->j1;
        all = MAX(all, ja[v]);
        ignored[v] = vf_zero();
    }
    for (int j = t->j0 - (t->k_packed ? (t->j0 - t->o0) % KU : 0), next; j < t->j1; j = next) {
        next = next_run(nv, ja, jb, j, KU, t->j1, &va, &vb);
        if (va < vb) qk(a, vb - va, t, j, next, qt + va * VL, st + va * VL, ignored);
    }
    for (int v = 0; v < nv; v++) {
        float *s = st + (ja[v] - t->o0) * BQ;
        edit_scores(a, x, v, t->o0, ja[v], jb[v], st);
        softmax_column(a, x, v, max_column(s + v * VL, jb[v] - ja[v]), s, jb[v] - ja[v], o);
    }
    /* From the first key that all vectors take, in one go; before it, and where there is none, by what takes what. */
    int together = all < jb[0];
    for (int v = 0; v < nv; v++) n[v] = together ? jb[v] - all : 0;
    if (together || x->fresh) pv(nv, t, all, n, a->Dv, st, o, x->fresh);
    x->fresh = 0;
    for (int j = t->j0, next, end = together ? all : t->j1; j < end; j = next) {
        next = next_run(nv, ja, jb, j, 1, end, &va, &vb);
        for (int v = va; v < vb; v++) n[v - va] = next - j;
        if (va < vb) pv(vb - va, t, j, n, a->Dv, st + va * VL, o + va * VL, 0);
    }
}

/* ---- a task ---- */

/* n rows of K as [n / KU][D][KU] floats; a last group is filled up with the last key. Where a group is half a vector,
 * two at a time; else each transposed vector is stored whole, and its surplus overwritten by the next. */
NOINLINE void pack_k(const char *from, int64_t stride, int n, int D, float *to)
{
    enum { PAIR = KU * 2 == VL, PARTS = PAIR ? 1 : (KU + VL - 1) / VL, STEP = PAIR ? VL : KU };
    float spare[VL * VL];
    for (int j = 0; j < n; j += STEP, to += (int64_t)D * STEP) {
        const char *row[PARTS][VL];
        for (int r = 0; r < PARTS * VL; r++) row[r / VL][r % VL] = from + MIN(j + MIN(r, STEP - 1), n - 1) * stride;
        for (int d = 0; d < D; d += VL) {
            int w = MIN(VL, D - d);
            vf t[PARTS][VL];
            ATN_UNROLL_ALL(8) for (int g = 0; g < PARTS; g++) {
                load_rows(row[g], d * 4, ATN_F32, w, spare, t[g]);
                vf_transpose(t[g]);
            }
            ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) {
                if (c >= w) continue;
                float *at = to + (int64_t)(d + c) * KU;
                if (PAIR) vf_store_halves(at, at + (int64_t)D * KU, t[0][c]);
                else ATN_UNROLL_ALL(8) for (int g = 0; g < PARTS; g++) vf_store(at + g * VL, t[g][c]);
            }
        }
    }
}

/* n rows of V as [Dv / PU][vrows][PU] floats, columns beyond Dv zero; a vector's surplus is overwritten by the next
 * row's. Row by row: group by group, rows a power of two apart push each other out of the first-level cache. */
NOINLINE void pack_v(const char *from, int64_t stride, int n, int Dv, float *to, int vrows)
{
    for (int j = 0; j < n; j++, from += stride, to += PU) {
        float *at = to;
        int c = 0;
        for (; c + PU <= Dv; c += PU, at += (int64_t)vrows * PU) __builtin_memcpy(at, from + c * 4, PU * 4);
        if (c == Dv) continue;
        ATN_UNROLL_ALL(4) for (int r = 0; r < PU; r += VL)
            vf_store(at + r, vf_load_n(from + (c + r) * 4, MAX(Dv - c - r, 0)));
    }
}

/* n rows of f16 or bf16 as rows of floats, `row` bytes apart: for packing, or instead of it. */
ATN_INLINE void widen_as(const int dtype, const char *from, int64_t stride, int n, int width, char *to, int row)
{
    for (int j = 0; j < n; j++, from += stride, to += row)
        for (int d = 0; d < width; d += VL) {
            const int w = MIN(VL, width - d);
            vf_store(to + d * 4, w == VL ? vf_load_as(from + d * 2, dtype) : vf_load_as_n(from + d * 2, dtype, w));
        }
}

NOINLINE void widen(const char *from, int64_t stride, int dtype, int n, int width, float *to, int row)
{
    if (dtype == ATN_F16) widen_as(ATN_F16, from, stride, n, width, (char *)to, row);
    else widen_as(ATN_BF16, from, stride, n, width, (char *)to, row);
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
    float *wide = (float *)((char *)scratch + y.wide);
    int qsize = a->D * BQ, osize = MAX(ROUND_UP(a->Dv, PU), ROUND_UP(a->Dv, VL)) * BQ;
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh;
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
    ahead soon = {.k = k, .v = v, .left = y.bk, .at_once = 4};

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
    int edited = a->softcap > 0 || a->alibi;
    for (int j0 = lo, after; j0 <= hi; j0 = after) {
        after = MIN(j0 + y.bk, hi + 1);
        int j1 = a->mask.ptr ? j0 + look_at_mask(a, blocks, count, j0, after) : after, groups = (j1 - j0 + KU - 1) / KU;
        if (j1 == j0) continue;
        tile t = {k + j0 * a->k.sr, v + j0 * a->v.sr, a->k.sr, a->v.sr, y.k_packed, y.v_packed, j0, j1, j0, j1, &soon};
        if (y.k_row) {
            float *to = y.k_packed ? wide : kp;
            widen(t.k, a->k.sr, a->k.dtype, j1 - j0, a->D, to, y.k_row);
            t.k = (const char *)to, t.ks = y.k_row;
        }
        if (y.k_packed) {
            pack_k(t.k, t.ks, j1 - j0, a->D, kp);
            t.k = (const char *)kp, t.ks = (int64_t)a->D * KU * 4;
        }
        if (y.v_row) {
            float *to = y.v_packed ? wide : vp;
            widen(t.v, a->v.sr, a->v.dtype, j1 - j0, a->Dv, to, y.v_row);
            t.v = (const char *)to, t.vs = y.v_row;
        }
        if (y.v_packed) {
            pack_v(t.v, t.vs, j1 - j0, a->Dv, vp, y.vrows);
            t.v = (const char *)vp, t.vs = (int64_t)y.vrows * PU * 4;
        }
        soon.k = k + after * a->k.sr, soon.v = v + after * a->v.sr, soon.left = MIN(y.bk, hi + 1 - after);
        soon.at_once = (soon.left + count * groups - 1) / (count * groups);
        for (int i = 0; i < count; i++) {
            block *x = blocks + i;
            t.j0 = MAX(j0, x->lo), t.j1 = MIN(j1, x->hi + 1);
            if (a->mask.ptr) t.j0 = MAX(t.j0, j0 + x->seen.lo), t.j1 = MIN(t.j1, j0 + x->seen.hi);
            if (t.j0 >= t.j1) continue;
            int own = (t.j1 - t.j0 + KU - 1) / KU;
            if (PREFETCH > 2 && after > x->hi)
                soon.out = x->out, soon.out_left = x->rows, soon.out_at_once = (x->rows + own - 1) / own;
            if (PREFETCH > 2 && i + 1 < count && x[1].fresh)
                soon.q = x[1].q, soon.q_left = x[1].rows, soon.q_at_once = (x[1].rows + own - 1) / own;
            if (x->fresh) load_q(a, x, qt + i * qsize);
            int whole = !y.k_packed || ((t.j0 - j0) % KU == 0 && (t.j1 == j1 || (t.j1 - j0) % KU == 0));
            if (!edited && (!a->mask.ptr || x->seen.plain) && whole && t.j0 >= x->all_lo && t.j1 - 1 <= x->all_hi)
                full_tile(a, x, &t, qt + i * qsize, o + i * osize, st);
            else
                edge_tile(a, x, &t, qt + i * qsize, o + i * osize, st);
        }
    }
    for (int i = 0; i < count; i++) close_block(a, blocks + i, b, kvh, qt + i * qsize, o + i * osize, st);
}
// EVOLVE-BLOCK-END

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "flash_qvec", can_run, plan, run};
