/* flash_kvec: attention vectorised along keys, then along columns: S = Q K^T, O = P V, softmax along rows of S.
 *
 * In S a lane is a key, in O a column of V: broadcast elements of Q or P times a few vectors of K^T or V. V is read as
 * it lies; K is transposed once for all rows of a task. Masks lie as S does and are read straight; maxima and sums of a
 * row stay spread over lanes until they have to be known. Rows of all query heads that share a kv head are one list,
 * token by token (grouped-query attention shares what is packed, causal order stays).
 *
 *   task   = (b, kv head, super-block of row blocks); K and V tiles of BK keys are visited once, or once for each pass
 *   block  = BR rows: Q in groups of MR as [D][MR], scaled; O [BR][columns]
 *   tile   = K^T in panels [D][NV * VL], S [BR][BK], V in place, or copied to rows of floats where it is f16 or bf16,
 *            has odd columns, or has rows that meet in few sets of the first-level cache
 *   passes = 1: online, O rescaled where a maximum rises; 2: all scores of a row block, their maximum, then weights and
 *            O, never rescaled. All of K is packed first, and scores take BR * Skv floats: where that is more than
 *            SCORES_KB the problem is done online.
 *
 * Beside flash_qvec, which transposes nothing of K, it takes 1.04 times as long from 512 rows on (1.06 at most), less where 17
 * to 24 rows would leave half of a vector of them empty (src/run/dispatch.c).
 *
 * Scores are in units of log2 e (so that exp is exp2), or natural ones under an additive mask, whose -FLT_MAX must stay
 * finite. Invariant: after each tile (of the second pass), O and l of a row are sums over the keys seen so far of
 * e^(s - m). */
#include "attune/cut.h"
#include "attune/kernel.h"
#include "attune/vec.h"

// EVOLVE-BLOCK-START
#if VF_REGS >= 32
#define MR 8            // knob: 2 3 4 6 8 12 ; rows in a register tile of S
#define NV 3            // knob: 1 2 3 4 ; vectors of keys in it
#define PR 6            // knob: 1 2 3 4 6 8 12 ; rows in a register tile of O
#define PN 4            // knob: 1 2 3 4 ; vectors of columns in it
#define COPY_MIN 9999   // knob: 16 48 96 192 9999 ; rows from which on V is copied whose rows meet in L1
#else
#define MR 6            // knob: 2 3 4 6 8 12 ; rows in a register tile of S
#define NV 2            // knob: 1 2 3 4 ; vectors of keys in it
#define PR 6            // knob: 1 2 3 4 6 8 12 ; rows in a register tile of O
#define PN 2            // knob: 1 2 3 4 ; vectors of columns in it
#define COPY_MIN 48     // knob: 16 48 96 192 9999 ; rows from which on V is copied whose rows meet in L1
#endif
#define BR 48           // knob: 24 48 72 96 144 192 ; rows in a block
#define BK 384          // knob: 48 96 144 192 288 384 576 768 1152 ; keys in a tile
#define NB 16           // knob: 1 2 3 4 6 8 12 16 24 ; row blocks that share a visit of a tile
#define PASSES 1        // knob: 1 2
#define SCORES_KB 1024  // knob: 256 512 1024 2048 ; of a row block, in two passes
#define EXP_DEG 5       // knob: 4 5 6 ; degree of the polynomial for 2^x
#define EXP_UNROLL 4    // knob: 1 2 3 4 6 ; vectors in lockstep: chains of one after the other fill the scheduler
#define LAZY 6          // knob: 0 3 6 10 ; doublings by which the maximum may be exceeded before O and l are rescaled
#define QK_UNROLL 4     // knob: 1 2 4 8 ; steps of D at once
#define PV_UNROLL 4     // knob: 1 2 4 8 ; keys at once
#define PREFETCH 3      // knob: 0 1 2 3 ; 1: rows of K before they are packed, 2: also of Q, and of O, 3: also of V
#define LONGEST_FIRST 1 // knob: 0 1
#define TASKS_PER_THREAD 6 // knob: 1 2 3 4 6 8 ; at most

#define NW (NV * VL)    /* keys in a panel */
#define SS (BK + 16)    /* floats between rows of S: not a power of two */
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f
#define ROUND_UP(x, m) (((x) + (m) - 1) / (m) * (m))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

_Static_assert(MR * NV + NV + 1 <= VF_REGS, "the register tile of S fits in the registers");
_Static_assert(PR * PN + PN + 1 <= VF_REGS, "the register tile of O fits in the registers");
_Static_assert(BR % 24 == 0 && 24 % MR == 0 && 24 % PR == 0, "blocks are whole register tiles");
_Static_assert(BK % VL == 0, "tiles are whole vectors");

#define NOINLINE static __attribute__((noinline))

typedef struct {
    int first, rows;                 /* in the list of G * Sq rows */
    int lanes;                       /* the same with what fills register tiles, which repeats the last */
    int lo, hi;                      /* keys that some row may see: lo <= j <= hi */
    int all_lo, all_hi;              /* keys that every row may see */
    int fresh;                       /* no tile added yet */
    int banded;                      /* rows' lo and hi are all that the mask says */
    mask_span seen;                  /* what the mask leaves of the tile at hand */
    vf top[BR], l[BR];               /* of each row: its maximum and its sum, lane by lane */
    float m[BR];                     /* the maximum, or up to LAZY below it; a whole number where it can be one */
    int32_t row_lo[BR], row_hi[BR];  /* ascending; empty where lo > hi */
    int32_t i[BR], h[BR];            /* token and query head of each row */
    float pos[BR], slope[BR];        /* ALiBi */
    const char *mask[BR], *q[BR];    /* rows of the mask, of Q, of O */
    char *out[BR];
} block;

/* Keys from o0 on, of which a block takes [j0, j1). */
typedef struct {
    const float *k;                  /* panels from key o0 on */
    const char *v;                   /* key o0 */
    int64_t vs;                      /* bytes from key to key */
    int o0, j0, j1;
    int near;                        /* bytes of rows of V that are to be fetched beside K, or 0 */
} tile;

typedef struct {
    int64_t q, o, s, k, v, bytes;    /* byte offsets into scratch, blocks first */
    int64_t s_tile, k_tile, v_tile;  /* floats from tile to tile, bytes for V; 0 in one pass */
    int os;                          /* floats between rows of O */
    int v_row;                       /* bytes of a row of a copy of V, or 0 */
} layout;

static layout make_layout(const atn_args *a, int nb, int two)
{
    layout y;
    const int bk = MIN(BK, ROUND_UP(a->Skv, VL)), meet = a->v.sr % 4096 == 0 && a->Hq / a->Hkv * a->Sq >= COPY_MIN;
    y.os = ROUND_UP(a->Dv, VL);
    y.v_row = a->v.dtype != ATN_F32 || a->Dv % VL != 0 || meet ? ROUND_UP(a->Dv * 4, 64) + 64 : 0;
    y.s_tile = BR * SS, y.k_tile = (int64_t)ROUND_UP(bk, NW) * a->D, y.v_tile = (int64_t)bk * y.v_row;
    const int tiles = two ? (a->Skv + BK - 1) / BK : 1;
    int64_t at = ROUND_UP((int64_t)sizeof(block) * nb, 64);
    y.q = at, at += ROUND_UP((int64_t)nb * a->D * BR * 4, 64) + VL * 4;
    y.o = at, at += (int64_t)nb * y.os * BR * 4;
    y.s = at, at += tiles * y.s_tile * 4;
    y.k = at, at += tiles * y.k_tile * 4;
    y.v = at, at += tiles * y.v_tile;
    if (!two) y.s_tile = y.k_tile = y.v_tile = 0;
    y.bytes = at;
    return y;
}

static int can_run(const atn_args *a)
{
    return a->D <= 4096 && a->Dv <= 4096 && (int64_t)(a->Hq / a->Hkv) * a->Sq < (1 << 28) && a->Skv < (1 << 28);
}

static int plan(const atn_args *a, int threads, atn_plan *p)
{
    const int64_t rows = (int64_t)(a->Hq / a->Hkv) * a->Sq, heads = (int64_t)a->B * a->Hkv;
    const int two = PASSES == 2 && (a->Skv + BK - 1) / BK <= SCORES_KB * 256 / (BR * SS);
    const int groups = (int)((rows + MR - 1) / MR);
    const row_cut c = cut_rows(a, heads, groups, threads, (cut_limits){BR / MR, NB, TASKS_PER_THREAD, MR});
    if (heads * c.n > INT32_MAX) return -1;
    p->phases = 1;
    p->tasks[0] = (int32_t)(heads * c.n);
    p->scratch_bytes = make_layout(a, c.blocks, two).bytes;
    p->user[0] = c.blocks, p->user[1] = c.n, p->user[2] = c.tapered, p->user[3] = groups, p->user[4] = two;
    return 0;
}

/* ---- the two register tiles; nv and pn are constants at each call ---- */

/* s[r][v] = sum_d q[d][r] k[d][v] for MR rows; top[r] their maximum, lane by lane, beside what it was. */
ATN_INLINE void qk_tile(const int nv, int D, const float *q, const float *k, float *s, vf *top)
{
    vf acc[MR][NV];
    ATN_UNROLL_ALL(16) for (int r = 0; r < MR; r++)
        ATN_UNROLL_ALL(4) for (int v = 0; v < nv; v++) acc[r][v] = vf_zero();
    ATN_UNROLL(QK_UNROLL)
    for (int d = 0; d < D; d++, q += MR, k += NW) {
        vf y[NV];
        ATN_UNROLL_ALL(4) for (int v = 0; v < nv; v++) y[v] = vf_load(k + v * VL);
        ATN_UNROLL_ALL(16) for (int r = 0; r < MR; r++) {
            vf x = vf_splat(q[r]);
            ATN_UNROLL_ALL(4) for (int v = 0; v < nv; v++) acc[r][v] = vf_fma(x, y[v], acc[r][v]);
        }
    }
    ATN_UNROLL_ALL(16) for (int r = 0; r < MR; r++) {
        vf t = top[r];
        ATN_UNROLL_ALL(4) for (int v = 0; v < nv; v++) {
            vf_store(s + r * SS + v * VL, acc[r][v]);
            t = vf_max(t, acc[r][v]);
        }
        top[r] = t;
    }
}

/* o[r][c] += sum_j p[r][j] v[j][c] for PR rows and n keys, or from zero (fresh). */
ATN_INLINE void pv_tile(const int pn, int n, const char *v, int64_t vs, const float *p, float *o, int os, int fresh)
{
    vf acc[PR][PN];
    if (fresh) {
        ATN_UNROLL_ALL(16) for (int r = 0; r < PR; r++)
            ATN_UNROLL_ALL(4) for (int c = 0; c < pn; c++) acc[r][c] = vf_zero();
    } else {
        ATN_UNROLL_ALL(16) for (int r = 0; r < PR; r++)
            ATN_UNROLL_ALL(4) for (int c = 0; c < pn; c++) acc[r][c] = vf_load(o + r * os + c * VL);
    }
    ATN_UNROLL(PV_UNROLL)
    for (int j = 0; j < n; j++, v += vs, p++) {
        vf y[PN];
        ATN_UNROLL_ALL(4) for (int c = 0; c < pn; c++) y[c] = vf_load(v + c * VL * 4);
        ATN_UNROLL_ALL(16) for (int r = 0; r < PR; r++) {
            vf x = vf_splat(p[r * SS]);
            ATN_UNROLL_ALL(4) for (int c = 0; c < pn; c++) acc[r][c] = vf_fma(x, y[c], acc[r][c]);
        }
    }
    ATN_UNROLL_ALL(16) for (int r = 0; r < PR; r++)
        ATN_UNROLL_ALL(4) for (int c = 0; c < pn; c++) vf_store(o + r * os + c * VL, acc[r][c]);
}

/* For 1 to 4 vectors; those that no register tile has are never called. */
#define TILES(N) \
    NOINLINE void qk_##N(int D, const float *q, const float *k, float *s, vf *top) \
    { \
        qk_tile(N <= NV ? N : 1, D, q, k, s, top); \
    } \
    NOINLINE void pv_##N(int n, const char *v, int64_t vs, const float *p, float *o, int os, int fresh) \
    { \
        pv_tile(N <= PN ? N : 1, n, v, vs, p, o, os, fresh); \
    }
TILES(1)
TILES(2)
TILES(3)
TILES(4)
static void (*const qk_of[])(int, const float *, const float *, float *, vf *) = {qk_1, qk_2, qk_3, qk_4};
static void (*const pv_of[])(int, const char *, int64_t, const float *, float *, int, int) = {pv_1, pv_2, pv_3, pv_4};

/* ---- rows in, rows out ---- */

static int natural(const atn_args *a) { return a->mask.ptr && a->mask.dtype != ATN_BOOL; }
static float unit(const atn_args *a) { return natural(a) ? 1.0f : LOG2E; }
static int elem_of(int dtype) { return dtype == ATN_F32 ? 4 : dtype == ATN_BOOL ? 1 : 2; }

/* VL rows, transposed and scaled: a vector for each of D columns, `step` floats from one to the next. Where that is
 * less than a vector, its surplus is overwritten by the next; or its upper half goes elsewhere. */
NOINLINE void pack(const char *const *row, int dtype, int D, float scale, float *to, float *upper, int step)
{
    const int elem = elem_of(dtype);
    float spare[VL * VL];
    for (int d = 0; d < D; d += VL) {
        const int w = MIN(VL, D - d);
        vf t[VL];
        if (w == VL && dtype == ATN_F32) {
            ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) t[c] = vf_load(row[c] + d * 4);
        } else {                     /* by way of memory, which takes little code */
            ATN_UNROLL(1)
            for (int c = 0; c < VL; c++) vf_store(spare + c * VL, vf_load_as_n(row[c] + d * elem, dtype, w));
            ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) t[c] = vf_load(spare + c * VL);
        }
        vf_transpose(t);
        ATN_UNROLL_ALL(16) for (int c = 0; c < VL; c++) {
            const int64_t at = (int64_t)(d + c) * step;
            if (c >= w) continue;
            if (upper) vf_store_halves(to + at, upper + at, t[c] * scale);
            else vf_store(to + at, t[c] * scale);
        }
    }
}

/* Inlined by force: gcc takes a function that only prefetches for one without effect, and drops its calls. */
ATN_INLINE void prefetch_row(const char *p, int bytes)
{
    for (int c = 0; c < bytes; c += 64) __builtin_prefetch(p + c, 0, 2);
}

/* n rows of K as panels; the last vector is filled up with the last key. */
static void pack_k(const atn_args *a, const char *from, int n, float *to)
{
    const int bytes = a->D * elem_of(a->k.dtype);
    for (int j = 0; j < n; j += VL) {
        const char *row[VL];
        for (int e = 0; e < VL; e++) row[e] = from + MIN(j + e, n - 1) * a->k.sr;
        for (int e = VL; e < 2 * VL && j + e < n && PREFETCH; e++) prefetch_row(from + (j + e) * a->k.sr, bytes);
        pack(row, a->k.dtype, a->D, 1, to + (int64_t)(j / NW) * NW * a->D + j % NW, NULL, NW);
    }
}

/* Two groups at a time where they fill a vector. Of a group that is more than a vector the last comes first: its
 * surplus belongs to the first. */
static void pack_q(const atn_args *a, const block *x, float *to)
{
    enum { STEP = MR * 2 == VL && BR % VL == 0 ? VL : MR };
    const float scale = a->softcap > 0 ? a->scale / a->softcap : a->scale * unit(a);
    const int bytes = a->D * elem_of(a->q.dtype), out = a->Dv * elem_of(a->o.dtype);
    for (int r = 0; r < x->rows; r += STEP, to += (int64_t)STEP * a->D) {
        for (int e = r; e < MIN(r + STEP, x->rows) && PREFETCH > 1; e++) {
            prefetch_row(x->out[e], out);
            if (e + STEP < x->rows) prefetch_row(x->q[e + STEP], bytes);
        }
        for (int part = (STEP - 1) / VL * VL; part >= 0; part -= VL) {
            const char *row[VL];
            for (int e = 0; e < VL; e++) row[e] = x->q[MIN(r + MIN(part + e, STEP - 1), x->rows - 1)];
            pack(row, a->q.dtype, a->D, scale, to + part, STEP > MR ? to + (int64_t)MR * a->D : NULL, MR);
        }
    }
}

/* n rows of V as rows of floats, their last vectors filled up with zeros. */
NOINLINE void copy_v(const atn_args *a, const char *from, int n, char *to, int row)
{
    for (int j = 0; j < n; j++, from += a->v.sr, to += row)
        for (int d = 0; d < a->Dv; d += VL)
            vf_store(to + d * 4, vf_load_as_n(from + d * elem_of(a->v.dtype), a->v.dtype, MIN(VL, a->Dv - d)));
}

/* Which row is which, and what it may see. */
static void open_block(const atn_args *a, block *x, int b, int kvh)
{
    const int group = a->Hq / a->Hkv, shift = a->Skv - a->Sq;
    const int span = a->Sq + a->Skv, p_shift = a->causal == ATN_CAUSAL_TOP_LEFT ? 0 : shift;
    const int left = a->window_left >= 0 ? MIN(a->window_left, span) : 2 * span;
    const int right = a->causal != ATN_CAUSAL_NONE ? 0 : a->window_right >= 0 ? MIN(a->window_right, span) : 2 * span;
    for (int r = 0, i = x->first / group, g = x->first % group; r < x->lanes; r++) {
        const int h = kvh * group + g;
        x->i[r] = i, x->h[r] = h, x->m[r] = -VF_INF, x->top[r] = vf_splat(-VF_INF), x->l[r] = vf_zero();
        x->row_lo[r] = MAX(i + p_shift - left, 0), x->row_hi[r] = MIN(i + p_shift + right, a->Skv - 1);
        x->q[r] = (const char *)a->q.ptr + b * a->q.sb + h * a->q.sh + i * a->q.sr;
        x->out[r] = (char *)a->o.ptr + b * a->o.sb + h * a->o.sh + i * a->o.sr;
        if (a->alibi) x->pos[r] = (float)(i + shift), x->slope[r] = a->alibi[h] * unit(a);
        if (a->mask.ptr) x->mask[r] = (const char *)a->mask.ptr + b * a->mask.sb + h * a->mask.sh + i * a->mask.sr;
        if (r < x->rows - 1 && ++g == group) g = 0, i++;
    }
    x->banded = a->mask.ptr && mask_bands(x->mask, x->lanes, a->mask.dtype, a->Skv, x->row_lo, x->row_hi);
    x->fresh = 1;
    x->lo = x->row_lo[0], x->hi = x->row_hi[x->lanes - 1];
    x->all_lo = x->row_lo[x->lanes - 1], x->all_hi = x->row_hi[0];
}

/* A NaN or infinity in V times the zero weight of a forbidden key of the same tile is NaN: rows that came out so are
 * done again over their own keys only, so that what a row may not see cannot reach it. */
NOINLINE void repair_row(const atn_args *a, const block *x, int r, int b, int kvh, const float *q, float *o)
{
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh;
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
    const int ke = elem_of(a->k.dtype), ve = elem_of(a->v.dtype);
    q += (int64_t)(r / MR) * MR * a->D + r % MR;
    for (int d = 0; d < a->Dv; d++) o[d] = 0;
    for (int j = x->row_lo[r]; j <= x->row_hi[r]; j++) {
        float add = 0, s = 0;
        if (natural(a)) add = vf_load_as_n(x->mask[r] + (int64_t)j * elem_of(a->mask.dtype), a->mask.dtype, 1)[0];
        else if (a->mask.ptr && !x->mask[r][j]) continue;
        if (add == -VF_INF) continue;
        for (int d = 0; d < a->D; d++) s += vf_load_as_n(k + j * a->k.sr + d * ke, a->k.dtype, 1)[0] * q[d * MR];
        if (a->softcap > 0) s = vf_tanh(vf_splat(s))[0] * a->softcap * unit(a);
        if (a->alibi) s += x->slope[r] * ((float)j - x->pos[r]);
        const float w = vf_exp2(vf_splat((s + add - x->m[r]) * (natural(a) ? LOG2E : 1.0f)), EXP_DEG)[0];
        for (int d = 0; d < a->Dv; d++) o[d] += w * vf_load_as_n(v + j * a->v.sr + d * ve, a->v.dtype, 1)[0];
    }
}

/* Sinks, 1 / l, log-sum-exp, and O out. */
static void close_block(const atn_args *a, const block *x, int b, int kvh, const float *q, float *o, int os)
{
    const int exact = x->all_lo <= x->lo && x->all_hi >= x->hi && !a->mask.ptr, elem = elem_of(a->o.dtype);
    const float up = natural(a) ? LOG2E : 1.0f, down = natural(a) ? 1.0f : LN2;
    for (int r = 0; r < x->rows; r++, o += os) {
        const int64_t at = ((int64_t)b * a->Hq + x->h[r]) * a->Sq + x->i[r];
        float l = vf_hsum(x->l[r]), m = x->m[r], factor = l == 0 ? 0 : 1 / l;
        if (a->sinks) {
            const float sink = a->sinks[x->h[r]] * unit(a), top = m > sink ? m : sink;
            if (top != -VF_INF) {
                const float older = __builtin_exp2f((m - top) * up);
                l = l * older + __builtin_exp2f((sink - top) * up);
                factor = older / l, m = top;
            }
        }
        if (a->lse) a->lse[at] = l == 0 ? -VF_INF : m * down + __builtin_log2f(l) * LN2;
        vi bad = vi_splat(0);
        for (int d = 0; d < os; d += VL) {
            if (x->fresh) vf_store(o + d, vf_zero());
            else bad |= vf_nonfinite(vf_load(o + d));
        }
        if (!exact && mask_any(bad)) repair_row(a, x, r, b, kvh, q, o);
        for (int d = 0; d < a->Dv; d += VL) {
            const vf t = vf_load(o + d) * factor;
            if (d + VL <= a->Dv) vf_store_as(x->out[r] + d * elem, t, a->o.dtype);
            else vf_store_as_n(x->out[r] + d * elem, t, a->o.dtype, a->Dv - d);
        }
    }
}

/* ---- one tile of one block ---- */

/* The keys that some of `step` rows from r on may see in a tile; empty where *from >= *to. */
static void range_of(const block *x, const tile *t, int r, int step, int *from, int *to)
{
    *from = MAX(t->j0, x->row_lo[r]);
    *to = MIN(t->j1, x->row_hi[r + step - 1] + 1);
}

/* S of a block: each panel of K stays in the first-level cache while all rows pass by. As many rows of V are fetched beside
 * it, a few for each register tile: f32 h16/8 s10/4096 d128, tokens side by side, 1.15 times as fast (Zen 4). */
static void all_scores(const atn_args *a, block *x, const tile *t, const float *q, float *s, vf *top)
{
    for (int first = (t->j0 - t->o0) / NW * NW; first < t->j1 - t->o0; first += NW)
        for (int r = 0, from, to; r < x->rows; r += MR) {
            range_of(x, t, r, MR, &from, &to);
            const int v0 = MAX(from - t->o0 - first, 0) / VL, v1 = MIN((to - t->o0 - first + VL - 1) / VL, NV);
            if (from >= to || v0 >= v1) continue;
            for (int j = r; j < r + MR && t->near > 0; j++)
                for (int e = j; e < NW && first + e < t->j1 - t->o0; e += x->rows)
                    prefetch_row(t->v + (first + e) * t->vs, t->near);
            qk_of[v1 - v0 - 1](a->D, q + (int64_t)r * a->D, t->k + (int64_t)first * a->D + v0 * VL,
                               s + r * SS + first + v0 * VL, top + r);
        }
}

/* Softcap, ALiBi, mask and what row r may not see, on its scores of keys [from, to): whole vectors, key o0 is s[0]. */
static void edit_row(const atn_args *a, const block *x, int r, const tile *t, int from, int to, float *s)
{
    const int first = (from - t->o0) / VL * VL, end = to - t->o0, dtype = a->mask.dtype;
    const int lo = MAX(x->row_lo[r], t->j0) - t->o0, hi = MIN(x->row_hi[r], t->j1 - 1) - t->o0;
    const vf none = vf_splat(-VF_INF), cap = vf_splat(a->softcap * unit(a)), slope = vf_splat(x->slope[r]);
    for (int j = first; j < end && a->softcap > 0; j += VL) vf_store(s + j, vf_tanh(vf_load(s + j)) * cap);
    for (int j = first; j < end && a->alibi; j += VL) {
        const vf d = __builtin_convertvector(vi_iota() + (t->o0 + j), vf) - x->pos[r];
        vf_store(s + j, vf_fma(slope, d, vf_load(s + j)));
    }
    for (int j = first; j < end && a->mask.ptr && !x->banded && !x->seen.plain; j += VL) {
        const char *at = x->mask[r] + (int64_t)(t->o0 + j) * elem_of(dtype);
        const int w = MIN(VL, a->Skv - t->o0 - j);
        vf y;
        if (dtype != ATN_BOOL) {
            y = w == VL ? vf_load_as(at, dtype) : vf_load_as_n(at, dtype, w);
        } else {
            vi keep = vi_splat(0);
            if (w == VL) keep = __builtin_convertvector(*(const vb_any *)at, vi);
            else for (int e = 0; e < w; e++) keep[e] = at[e];
            y = vf_sel((vi)(keep != 0), vf_zero(), none);
        }
        vf_store(s + j, vf_sel((vi)(y == none), none, vf_load(s + j) + y)); /* -inf wins over NaN */
    }
    for (int j = first; j < end; j += VL) {
        if (j >= lo && j + VL - 1 <= hi) {
            j += (hi + 1 - j) / VL * VL - VL;                    /* past all that are whole */
            continue;
        }
        const vi at = vi_iota() + j, in = (vi)(at >= vi_splat(lo)) & (vi)(at <= vi_splat(hi));
        vf_store(s + j, vf_sel(in, vf_load(s + j), none));
    }
}

/* The maximum of each row, where it exceeds the old one by more than LAZY; O and l are rescaled. */
static void raise_maxima(const atn_args *a, block *x, float *o, int os)
{
    const float up = natural(a) ? LOG2E : 1.0f, lazy = LAZY / up;
    vi risen = vi_splat(0);
    for (int r = 0; r < x->rows; r++) risen |= (vi)(x->top[r] > vf_splat(x->m[r] + lazy));
    if (!mask_any(risen)) return;
    for (int r = 0; r < x->rows; r++) {
        const float top = vf_hmax(x->top[r]), old = x->m[r];
        if (!(top > old + lazy)) continue;
        const float m = natural(a) || !(__builtin_fabsf(top) < VF_FAR) ? top : __builtin_rintf(top);
        x->m[r] = m > old ? m : old;
        if (x->fresh) continue;
        const float alpha = vf_exp2(vf_splat((old - x->m[r]) * up), 6)[0];
        x->l[r] *= alpha;
        for (int c = 0; c < os; c += VL) vf_store(o + r * os + c, vf_load(o + r * os + c) * alpha);
    }
}

/* p = 2^(s - m) in place for n scores, whole vectors; the sum. m is whole and below VF_FAR, and goes into the constant
 * that rounds s: as vf_exp2, but an operation less, and s - m is never rounded. */
#define E(c, step) ATN_UNROLL_ALL(8) for (int e = 0; e < c; e++) { step; }
#define EXP_STEPS(c) \
    vf x[c], t[c], p[c]; \
    E(c, x[e] = vf_max(least, vf_load(s + e * VL))) \
    E(c, t[e] = x[e] + magic; VF_OPAQUE(t[e])) \
    E(c, vf n = t[e] - magic; VF_OPAQUE(n); x[e] = x[e] - n) \
    E(c, p[e] = vf_exp2_part(x[e], EXP_DEG) * (vf)((vi)t[e] << 23); vf_store(s + e * VL, p[e])) \
    E(c, sum[e] += p[e])
NOINLINE vf exp_whole(float *s, int n, float m)
{
    vf magic = vf_splat(VF_EXP2_MAGIC - m), least = vf_splat(m - 127.0f), sum[EXP_UNROLL];
    VF_OPAQUE(magic);
    E(EXP_UNROLL, sum[e] = vf_zero())
    for (; n >= EXP_UNROLL * VL; n -= EXP_UNROLL * VL, s += EXP_UNROLL * VL) { EXP_STEPS(EXP_UNROLL) }
    for (; n > 0; n -= VL, s += VL) { EXP_STEPS(1) }
    vf all = sum[0];
    for (int e = 1; e < EXP_UNROLL; e++) all += sum[e];
    return all;
}
#undef EXP_STEPS
#undef E

/* p = e^((s - m) / up) for any m. */
NOINLINE vf exp_any(float *s, int n, float m, float up)
{
    vf sum = vf_zero();
    for (int j = 0; j < n; j += VL) {
        const vf p = vf_exp2((vf_load(s + j) - m) * up, EXP_DEG);
        vf_store(s + j, p);
        sum += p;
    }
    return sum;
}

/* Scores of a tile, and the rows' maxima. */
static void score_tile(const atn_args *a, block *x, const tile *t, const float *q, float *s)
{
    const int edited = a->softcap > 0 || a->alibi || (a->mask.ptr && !x->banded && !x->seen.plain);
    const int whole = (t->j0 - t->o0) % VL == 0 && (t->j1 - t->o0) % VL == 0;
    vf unused[BR];
    if (!edited && whole && t->j0 >= x->all_lo && t->j1 - 1 <= x->all_hi) {
        all_scores(a, x, t, q, s, x->top);
        return;
    }
    all_scores(a, x, t, q, s, unused);
    for (int r = 0, from, to; r < x->rows; r++, s += SS) {
        range_of(x, t, r / PR * PR, PR, &from, &to);
        if (from >= to) continue;
        edit_row(a, x, r, t, from, to, s);
        for (int j = (from - t->o0) / VL * VL; j < to - t->o0; j += VL) x->top[r] = vf_max(x->top[r], vf_load(s + j));
    }
}

/* Weights of a tile in place of its scores, and O. So many columns of V stay in the first-level cache while all rows
 * pass by. */
static void weigh_tile(const atn_args *a, block *x, const tile *t, float *s, float *o, int os)
{
    int from, to;
    for (int r = 0; r < x->rows; r++) {
        range_of(x, t, r / PR * PR, PR, &from, &to);
        const int first = (from - t->o0) / VL * VL, n = ROUND_UP(to - t->o0, VL) - first;
        if (from >= to) continue;
        float *at = s + r * SS + first, m = x->m[r] == -VF_INF ? 0 : x->m[r];
        if (natural(a) || !(__builtin_fabsf(m) < VF_FAR)) x->l[r] += exp_any(at, n, m, natural(a) ? LOG2E : 1.0f);
        else x->l[r] += exp_whole(at, n, m);
    }
    for (int r = x->rows; r % PR; r++)
        for (int j = 0; j < BK; j += VL) vf_store(s + r * SS + j, vf_zero());
    for (int c = 0, left; (left = os / VL - c) > 0; c += PN)
        for (int r = 0; r < x->rows; r += PR) {
            range_of(x, t, r, PR, &from, &to);
            if (from >= to && !x->fresh) continue;
            pv_of[MIN(left, PN) - 1](MAX(to - from, 0), t->v + (from - t->o0) * t->vs + c * VL * 4, t->vs,
                                     s + r * SS + from - t->o0, o + r * os + c * VL, os, x->fresh);
        }
    x->fresh = 0;
}

/* ---- a task ---- */

/* What the mask leaves of the keys [j0, j1) to each block, and how many of them to any. Rows of heads that share a mask
 * follow each other. */
static int look_at_mask(const atn_args *a, block *blocks, int count, int j0, int j1)
{
    const int n = j1 - j0;
    int any = 0;
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
    const int nb = (int)p->user[0], nsb = (int)p->user[1], tapered = (int)p->user[2], groups = (int)p->user[3];
    const int two = PASSES == 2 && p->user[4], heads = a->B * a->Hkv, bh = task % heads;
    const int sb = LONGEST_FIRST ? nsb - 1 - task / heads : task / heads;
    const int b = bh / a->Hkv, kvh = bh % a->Hkv, rows = a->Hq / a->Hkv * a->Sq;
    const layout y = make_layout(a, nb, two);
    block *blocks = (block *)scratch;
    float *q = (float *)((char *)scratch + y.q), *o = (float *)((char *)scratch + y.o);
    float *s = (float *)((char *)scratch + y.s), *kt = (float *)((char *)scratch + y.k);
    char *vt = (char *)scratch + y.v;
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh;
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
    const int64_t q_block = (int64_t)BR * a->D, o_block = (int64_t)BR * y.os;

    const int first = cut_first(groups, nsb, BR / MR, tapered, sb);
    const int all = cut_first(groups, nsb, BR / MR, tapered, sb + 1) - first, count = (all + BR / MR - 1) / (BR / MR);
    int lo = INT32_MAX, hi = -1;
    for (int i = 0; i < count; i++) {
        block *x = blocks + i;
        const int g0 = first + all * i / count, g1 = first + all * (i + 1) / count;
        x->first = g0 * MR, x->rows = MIN(rows, g1 * MR) - x->first, x->lanes = ROUND_UP(x->rows, 24);
        open_block(a, x, b, kvh);
        pack_q(a, x, q + i * q_block);
        lo = MIN(lo, x->lo), hi = MAX(hi, x->hi);
    }
    /* One turn, or one that packs and two for each block: its scores, its weights. */
    for (int turn = 0, turns = two ? 1 + 2 * count : 1; turn < turns; turn++) {
        const int from = two ? (turn - 1) / 2 : 0, to = !two ? count : turn ? from + 1 : 0;
        for (int j0 = lo, after, n = 0; j0 <= hi; j0 = after, n++) {
            after = MIN(j0 + BK, hi + 1);
            const int masked = a->mask.ptr && from < to;
            const int j1 = masked ? j0 + look_at_mask(a, blocks + from, to - from, j0, after) : after;
            if (j1 == j0) continue;
            float *kn = kt + n * y.k_tile;
            char *vn = vt + n * y.v_tile;
            tile t = {kn, y.v_row ? vn : v + j0 * a->v.sr, y.v_row ? y.v_row : a->v.sr, j0, j0, j1, 0};
            if (turn == 0) pack_k(a, k + j0 * a->k.sr, j1 - j0, kn);
            if (turn == 0 && y.v_row) copy_v(a, v + j0 * a->v.sr, j1 - j0, vn, y.v_row);
            for (int i = from; i < to; i++) {
                block *x = blocks + i;
                float *sn = s + n * y.s_tile, *ot = o + i * o_block;
                t.j0 = MAX(j0, x->lo), t.j1 = MIN(j1, x->hi + 1);
                if (masked) t.j0 = MAX(t.j0, j0 + x->seen.lo), t.j1 = MIN(t.j1, j0 + x->seen.hi);
                if (t.j0 >= t.j1) continue;
                t.near = PREFETCH > 2 && i == from && !y.v_row ? a->Dv * 4 : 0;
                if (!two || turn % 2) score_tile(a, x, &t, q + i * q_block, sn);
                if (two && turn % 2) continue;
                if (!two || x->fresh) raise_maxima(a, x, ot, y.os);
                weigh_tile(a, x, &t, sn, ot, y.os);
            }
        }
    }
    for (int i = 0; i < count; i++) close_block(a, blocks + i, b, kvh, q + i * q_block, o + i * o_block, y.os);
}
// EVOLVE-BLOCK-END

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "flash_kvec", can_run, plan, run};
