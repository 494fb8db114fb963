/* decode: attention of few query rows over many keys (one token, or a handful of speculative ones, over a long cache).
 *
 * Bound by reading K and V once, so the G query heads of a kv head and all Sq tokens are rows of one pass, vectors lie
 * along the head, and V of a tile is prefetched while its K is in use. Keys are split among threads; each split leaves
 * (m, l, O) per row, and a second phase merges them. In a cache whose tokens hold the heads side by side, a task takes
 * all heads of a tile before the next tile, so that memory is walked once, in order.
 *
 *   phase 0: task = (b, kv heads, split): R = G * Sq rows of each, tiles of BK keys: scores [R][BK] -> P -> O [R][os]
 *   phase 1: task = (b, kv head): merge, where there is more than one split
 *
 * Where everything is bf16 and the machine has dot products of its pairs, both products are made of them: as in
 * flash_dot, P is rounded to bf16, its sum is not.
 *
 * Scores are in units of log2 e, or natural ones under an additive mask. Invariant: (m, l, O) of a row are the maximum
 * and the sums of e^(s - m) over the keys seen so far. */
#include "attune/kernel.h"
#include "attune/vec.h"

// EVOLVE-BLOCK-START
#define ROWS_DOT 4      // knob: 1 2 4 ; rows that share a visit of keys, at most
#define ROWS_SUM 4      // knob: 1 2 4 ; rows that share a visit of V, at most
#define TILE_BYTES 32768 // knob: 4096 8192 16384 32768 65536 ; of K in a tile
#define EXP_DEG 5       // knob: 3 4 5 6
#define PV_UNROLL 2     // knob: 1 2 4
#define QK_UNROLL 2     // knob: 1 2 4
#define PAIRS 1         // knob: 0 1 ; bf16 by pairs: even and odd elements of one load, in place of widening
#define DOTS 1          // knob: 0 1 ; bf16 throughout by dot products of pairs, where the machine has them
#define AHEAD_V 1       // knob: 0 1 ; prefetch V of the tile during its K
#define AHEAD_K 1       // knob: 0 1 ; prefetch K of the next tile during V
#define SPREAD 0        // knob: 0 1 ; keys of a register tile: neighbours, or as far apart as the tile allows: streams
#define LEVEL 2         // knob: 2 3 ; cache to prefetch to: 3 all levels, 2 all but the first
#define CHUNK_MIN 256   // knob: 64 128 256 512 1024 ; keys that a split must have
#define SPLITS_PER_THREAD 1 // knob: 1 2 3 4
#define TOGETHER 1      // knob: 0 1 2 ; kv heads in a task: 0 one, 1 all where tokens hold them side by side, 2 all

#define ROWS_MAX 256
#define BK_MAX 1024
#define STREAMS 4       /* of V, where SPREAD */
#define WIDE (VF_REGS >= 32 ? 8 : 4) /* vectors of columns in a register tile of one or two rows */
#define NARROW (VF_REGS >= 32 ? 4 : 2) /* the same of four rows */
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f
#define ROUND_UP(x, m) (((x) + (m) - 1) / (m) * (m))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

_Static_assert(ROWS_DOT <= VL, "a register tile has a key at least");

#define NOINLINE static __attribute__((noinline))

/* How rows of K and V are read. */
enum {
    PLAIN,                           /* VL elements at a time */
    HALVES,                          /* bf16: even and odd elements of 2 VL; Q, O lie accordingly */
    PRODUCTS                         /* bf16: dot products of pairs; Q as it came, P is rounded, O lies as for HALVES */
};

typedef struct {
    int i, h;                        /* token, query head */
    int lo, hi;                      /* keys lo <= j <= hi that the row may see, mask aside */
    float m, l, slope, pos;
    const char *mask;
} row_state;

typedef struct {
    int heads, rows, qs, os, bk;     /* kv heads of a task, rows of each; floats between rows of Q, O; keys in a tile */
    int kpairs, vpairs;              /* how K, V are read */
    float dot_scale;                 /* what PRODUCTS multiply sums by: Q is not scaled, which would round it again */
    int64_t q, s, o;                 /* byte offsets into scratch; row states [heads][rows] first */
    int64_t bytes, part;             /* scratch; bytes of a task's result in shared: [heads][rows][os + 2] floats */
} layout;

static int elem_of(int dtype) { return dtype == ATN_F32 ? 4 : dtype == ATN_BOOL ? 1 : 2; }

static int natural(const atn_args *a) { return a->mask.ptr && a->mask.dtype != ATN_BOOL; }
static float unit(const atn_args *a) { return natural(a) ? 1.0f : LOG2E; }
static float score_scale(const atn_args *a) { return a->softcap > 0 ? a->scale / a->softcap : a->scale * unit(a); }

#ifndef VF_DOT_BF16                  /* never called */
static vf vf_dot_bf16(vf sum, vi x, vi y) { return (void)x, (void)y, sum; }
static vh vf_round_bf16(vf x) { return vf_to_bf16(x); }
#define HAVE_DOTS 0
#else
#define HAVE_DOTS DOTS
#endif

static layout make_layout(const atn_args *a, int heads)
{
    layout y;
    y.heads = heads, y.rows = a->Hq / a->Hkv * a->Sq;
    y.qs = ROUND_UP(a->D, VL), y.os = ROUND_UP(a->Dv, VL);
    y.bk = MIN(MAX(TILE_BYTES / (a->D * elem_of(a->k.dtype)) / 16 * 16, 16), y.rows > 64 ? 256 : BK_MAX);
    y.kpairs = PAIRS && a->k.dtype == ATN_BF16 && a->D % (2 * VL) == 0 ? HALVES : PLAIN;
    y.vpairs = PAIRS && a->v.dtype == ATN_BF16 && a->Dv % (2 * VL) == 0 ? HALVES : PLAIN;
    if (HAVE_DOTS && y.kpairs && y.vpairs && a->q.dtype == ATN_BF16) y.kpairs = y.vpairs = PRODUCTS;
    y.dot_scale = score_scale(a);
    int64_t all = (int64_t)heads * y.rows, at = ROUND_UP((int64_t)sizeof(row_state) * all, 64);
    y.q = at, at += all * y.qs * 4;
    y.o = at, at += all * y.os * 4;
    y.s = at, at += (int64_t)y.rows * y.bk * 4;
    y.bytes = at;
    y.part = ROUND_UP(all * (y.os + 2) * 4, 64);
    return y;
}

static int can_run(const atn_args *a)
{
    return (int64_t)(a->Hq / a->Hkv) * a->Sq <= ROWS_MAX && a->D <= 4096 && a->Dv <= 4096 && a->Skv < (1 << 28)
        && (int64_t)a->B * a->Hq * a->Sq < (1 << 28);
}

static int splits_for(const atn_args *a, int threads, int sets)
{
    int splits = threads > 1 ? (threads * SPLITS_PER_THREAD + sets - 1) / sets : 1;
    /* 3 heads for 2 threads are 2 and 1: half as many keys a task leave no thread waiting (waste above an eighth) */
    while (splits < threads && (sets * splits + threads - 1) / threads * threads * 8 > sets * splits * 9) splits++;
    return MAX(1, MIN(splits, a->Skv / CHUNK_MIN));
}

static int plan(const atn_args *a, int threads, atn_plan *p)
{
    int heads = 1, side_by_side = a->k.sh < a->k.sr && a->v.sh < a->v.sr;
    if (a->Hq * a->Sq <= ROWS_MAX && (TOGETHER == 2 || (TOGETHER == 1 && side_by_side))) heads = a->Hkv;
    if (a->B * splits_for(a, threads, a->B) < MIN(threads, a->B * a->Hkv)) heads = 1;  /* too few keys to divide */
    int sets = a->B * a->Hkv / heads, splits = splits_for(a, threads, sets);
    layout y = make_layout(a, heads);
    p->phases = splits > 1 ? 2 : 1;
    p->tasks[0] = sets * splits, p->tasks[1] = a->B * a->Hkv;
    p->scratch_bytes = y.bytes;
    p->shared_bytes = splits > 1 ? y.part * sets * splits : 0;
    p->user[0] = splits, p->user[1] = heads;
    return 0;
}

/* ---- register tiles; the type is a constant at each call ---- */

ATN_INLINE vf load_part(const char *p, const int dtype, int d, int width)
{
    const char *at = p + d * elem_of(dtype);
    return d + VL <= width ? vf_load_as(at, dtype) : vf_load_as_n(at, dtype, width - d);
}

/* Half of a, half of b, and what they lack of themselves beside it: a blend and one permutation, where cutting both in
 * halves costs two; permutations have one port, which the products need as well. */
#define FOLD(a, b, KEEP, CROSS) (__builtin_shufflevector(a, b, KEEP) + __builtin_shufflevector(a, b, CROSS))
#define LIST(...) __VA_ARGS__

/* VL vectors to one whose lane i is the sum of x[i]. */
ATN_INLINE vf sum_each(vf x[VL])
{
#if VL == 16
    ATN_UNROLL_ALL(8) for (int i = 0; i < 8; i++)
        x[i] = FOLD(x[i], x[i + 8], LIST(0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31),
                    LIST(8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23));
    ATN_UNROLL_ALL(4) for (int i = 0; i < 4; i++)
        x[i] = FOLD(x[i], x[i + 4], LIST(0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31),
                    LIST(4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 24, 25, 26, 27));
    ATN_UNROLL_ALL(2) for (int i = 0; i < 2; i++)
        x[i] = FOLD(x[i], x[i + 2], LIST(0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31),
                    LIST(2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29));
    return FOLD(x[0], x[1], LIST(0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31),
                LIST(1, 16, 3, 18, 5, 20, 7, 22, 9, 24, 11, 26, 13, 28, 15, 30));
#elif VL == 8
    ATN_UNROLL_ALL(4) for (int i = 0; i < 4; i++)
        x[i] = FOLD(x[i], x[i + 4], LIST(0, 1, 2, 3, 12, 13, 14, 15), LIST(4, 5, 6, 7, 8, 9, 10, 11));
    ATN_UNROLL_ALL(2) for (int i = 0; i < 2; i++)
        x[i] = FOLD(x[i], x[i + 2], LIST(0, 1, 10, 11, 4, 5, 14, 15), LIST(2, 3, 8, 9, 6, 7, 12, 13));
    return FOLD(x[0], x[1], LIST(0, 9, 2, 11, 4, 13, 6, 15), LIST(1, 8, 3, 10, 5, 12, 7, 14));
#else
    ATN_UNROLL_ALL(2) for (int i = 0; i < 2; i++)
        x[i] = FOLD(x[i], x[i + 2], LIST(0, 1, 6, 7), LIST(2, 3, 4, 5));
    return FOLD(x[0], x[1], LIST(0, 5, 2, 7), LIST(1, 4, 3, 6));
#endif
}

/* Even and odd elements of 2 VL bf16: one load and one operation each, where widening VL at a time costs two. */
ATN_INLINE vf pair_even(vu x) { return (vf)(x << 16); }
ATN_INLINE vf pair_odd(vu x) { return (vf)(x & 0xffff0000u); }

/* Element d of a row of Q, scaled. */
static float q_at(const layout *y, const float *q, int d)
{
    if (y->kpairs == PRODUCTS) return vf_load_as_n((const char *)q + d * 2, ATN_BF16, 1)[0] * y->dot_scale;
    return q[y->kpairs ? d / (2 * VL) * (2 * VL) + d % 2 * VL + d % (2 * VL) / 2 : d];
}

/* A row of n elements, a multiple of 2 VL, in place: to even and odd, and back. */
static void split_pairs(float *x, int n)
{
    for (int d = 0; d < n; d += 2 * VL) {
        float t[2 * VL];
        __builtin_memcpy(t, x + d, sizeof t);
        for (int i = 0; i < VL; i++) x[d + i] = t[2 * i], x[d + VL + i] = t[2 * i + 1];
    }
}

static void join_pairs(float *x, int n)
{
    for (int d = 0; d < n; d += 2 * VL) {
        float t[2 * VL];
        __builtin_memcpy(t, x + d, sizeof t);
        for (int i = 0; i < VL; i++) x[d + 2 * i] = t[i], x[d + 2 * i + 1] = t[VL + i];
    }
}

/* A stream to prefetch while something else is computed, row by row; past its end it does no harm. */
typedef struct {
    const char *at;
    int64_t stride;
    int lines;                       /* of 64 bytes in a row */
} ahead;

/* Keys of a register tile: some neighbours in each of so many places, so that several pages of K are read at once. */
ATN_INLINE int streams_of(int keys) { return !SPREAD ? 1 : keys % 4 ? keys : 4; }

/* Keys from a stream to the next: an odd number of steps, since at 4096 bytes they would meet in the L1 cache. */
ATN_INLINE int apart_of(int n, int keys, int streams) { return keys / streams * ((n / keys - 1) | 1); }

/* s[r][j] = q[r] . k[j] for RU rows and VL / RU keys, in streams that are `apart` keys from each other; rows of K are
 * `ks` bytes, of s `ss` floats. Fetches the rows of the stream x that lie as far on as these keys in their tile. Where
 * rows follow each other without a gap, lines are asked for in squares of 4 x 4, 256 bytes between one and the next. On
 * a Xeon, against asking row by row: 1.05x at f32 h4/1 s1/16384 d256, 1.00x at d128, 0.90x at f16 h32/8 s1/16384 d64
 * (`attune bench OLD.c NEW.c --against attune`). */
ATN_INLINE void dot_tile(const int RU, const int streams, const int dtype, const int pairs, int D, float scale,
                         const char *k, int64_t ks, int apart, const float *q, int qs, float *s, int ss, const ahead *x,
                         int j)
{
    const int KU = VL / RU, per = KU / streams, step = pairs ? 2 * VL : VL, solid = x->stride == x->lines * 64;
    const int64_t near = solid ? 256 : x->stride, far = solid ? 1024 : 4 * x->stride;
    int whole = D / step * step, first = j / KU * x->lines;
    vf acc[VL];
    ATN_UNROLL_ALL(16) for (int e = 0; e < VL; e++) acc[e] = vf_zero();
    ATN_UNROLL(QK_UNROLL)
    for (int d = 0; d < whole; d += step) {
        if (AHEAD_V && d * elem_of(dtype) % 64 == 0) {
            int t = first + d * elem_of(dtype) / 64;
            const char *at = x->at + (solid ? t / 4 * (KU * 256) + t % 4 * 64 : j * x->stride + d * elem_of(dtype));
            ATN_UNROLL_ALL(16) for (int e = 0; e < KU; e++)
                __builtin_prefetch(at + e % 4 * near + e / 4 * far, 0, LEVEL);
        }
        ATN_UNROLL_ALL(16) for (int e = 0; e < KU; e++) {
            const char *at = k + (e / per * apart + e % per) * ks + d * elem_of(dtype);
            if (pairs == PRODUCTS) {
                vi z = vi_load(at);
                ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++)
                    acc[c * KU + e] = vf_dot_bf16(acc[c * KU + e], z, vi_load(q + c * qs + d / 2));
            } else if (pairs == HALVES) {
                vu z = (vu)vi_load(at);
                vf even = pair_even(z), odd = pair_odd(z);
                ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++) {
                    acc[c * KU + e] = vf_fma(even, vf_load(q + c * qs + d), acc[c * KU + e]);
                    acc[c * KU + e] = vf_fma(odd, vf_load(q + c * qs + d + VL), acc[c * KU + e]);
                }
            } else {
                vf z = vf_load_as(at, dtype);
                ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++)
                    acc[c * KU + e] = vf_fma(z, vf_load(q + c * qs + d), acc[c * KU + e]);
            }
        }
    }
    if (whole < D)
        ATN_UNROLL_ALL(16) for (int e = 0; e < KU; e++) {
            vf z = load_part(k + (e / per * apart + e % per) * ks, dtype, whole, D);
            ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++) acc[c * KU + e] += z * vf_load(q + c * qs + whole);
        }
    float sums[VL];
    vf sum = sum_each(acc);
    vf_store(sums, pairs == PRODUCTS ? sum * scale : sum);
    ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++)
        ATN_UNROLL_ALL(16) for (int e = 0; e < KU; e += per)
            __builtin_memcpy(s + c * ss + e / per * apart, sums + c * KU + e, (unsigned)per * 4);
}

/* s[r][j] for RU rows and n keys. The last register tile may begin before the last ended; fewer keys than one fills are
 * taken one by one. */
ATN_INLINE void dots(const int RU, const int dtype, const int pairs, const atn_args *a, const layout *y, int n,
                     const char *k, const float *q, float *s, const ahead *x)
{
    const int KU = VL / RU;
    if (n >= KU) {
        const int streams = streams_of(KU), apart = apart_of(n, KU, streams), spread = SPREAD ? streams * apart : 0;
        for (int j = 0; j < spread; j += KU)
            dot_tile(RU, streams, dtype, pairs, a->D, y->dot_scale, k + j / streams * a->k.sr, a->k.sr, apart, q,
                     y->qs, s + j / streams, y->bk, x, j);
        for (int j = spread; j < n; j += KU) {
            int at = MIN(j, n - KU);
            dot_tile(RU, 1, dtype, pairs, a->D, y->dot_scale, k + at * a->k.sr, a->k.sr, 0, q, y->qs, s + at, y->bk,
                     x, j);
        }
        return;
    }
    for (int j = 0; j < n; j++)
        for (int c = 0; c < RU; c++) {
            float sum = 0;
            for (int d = 0; d < a->D; d++)
                sum += vf_load_as_n(k + j * a->k.sr + d * elem_of(dtype), dtype, 1)[0] * q_at(y, q + c * y->qs, d);
            s[c * y->bk + j] = sum;
        }
}

/* acc[c] += p[c] v for PR rows and PN vectors of columns: one key. */
ATN_INLINE void sum_key(const int PR, const int PN, const int dtype, const int pairs, const char *v, const float *p,
                        int ps, vf acc[4][8])
{
    vf w[4];
    ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) w[c] = vf_splat(p[c * ps]);
    ATN_UNROLL_ALL(8) for (int e = 0; e < PN; e += pairs ? 2 : 1) {
        if (pairs == HALVES) {
            vu z = (vu)vi_load(v + e * VL * 2);
            vf even = pair_even(z), odd = pair_odd(z);
            ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) {
                acc[c][e] = vf_fma(w[c], even, acc[c][e]);
                acc[c][e + 1] = vf_fma(w[c], odd, acc[c][e + 1]);
            }
        } else {
            vf z = vf_load_as(v + e * VL * elem_of(dtype), dtype);
            ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) acc[c][e] = vf_fma(w[c], z, acc[c][e]);
        }
    }
}

/* acc[c] += p[c].low v + p[c].high w for PR rows and PN vectors of columns: two keys, of which w may be missing. */
ATN_INLINE void sum_two_keys(const int PR, const int PN, const char *v, const char *w, const float *p, int ps,
                             vf acc[4][8])
{
    vi pair[4];
    ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) pair[c] = vi_splat(((const scalar_i32 *)p)[c * ps]);
    ATN_UNROLL_ALL(8) for (int e = 0; e < PN; e += 2) {
        vu x = (vu)vi_load(v + e * VL * 2), z = w ? (vu)vi_load(w + e * VL * 2) : (vu)vi_splat(0);
        vi even = (vi)((x & 0xffffu) | z << 16), odd = (vi)(x >> 16 | (z & 0xffff0000u));
        ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) {
            acc[c][e] = vf_dot_bf16(acc[c][e], even, pair[c]);
            acc[c][e + 1] = vf_dot_bf16(acc[c][e + 1], odd, pair[c]);
        }
    }
}

/* o[r] = o[r] * alpha[r] + sum_j p[r][j] v[j] for PR rows and PN vectors of columns. */
ATN_INLINE void sum_tile(const int PR, const int PN, const int dtype, const int pairs, int n, const char *v, int64_t vs,
                         const float *p, int ps, float *o, int os, const float *alpha, const ahead *x)
{
    vf acc[4][8];
    ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++)
        ATN_UNROLL_ALL(8) for (int e = 0; e < PN; e++) acc[c][e] = vf_load(o + c * os + e * VL) * alpha[c];
    const char *fetch = x->at;
    const int lines = AHEAD_K ? x->lines : 0, products = pairs == PRODUCTS;
    const int apart = SPREAD && !products && n >= STREAMS ? apart_of(n, STREAMS, STREAMS) : 0;
    for (int j = 0; products && j + 1 < n; j += 2) {
        ATN_UNROLL_ALL(2) for (int e = 0; e < 2; e++, fetch += x->stride)
            for (int c = 0; c < lines; c++) __builtin_prefetch(fetch + c * 64, 0, LEVEL);
        sum_two_keys(PR, PN, v + j * vs, v + (j + 1) * vs, p + j / 2, ps, acc);
    }
    if (products && n % 2) sum_two_keys(PR, PN, v + (n - 1) * vs, NULL, p + n / 2, ps, acc);
    for (int j = 0; j < apart; j++)
        ATN_UNROLL_ALL(STREAMS) for (int e = 0; e < STREAMS; e++, fetch += x->stride) {
            for (int c = 0; c < lines; c++) __builtin_prefetch(fetch + c * 64, 0, LEVEL);
            sum_key(PR, PN, dtype, pairs, v + (e * apart + j) * vs, p + e * apart + j, ps, acc);
        }
    ATN_UNROLL(PV_UNROLL)
    for (int j = apart * STREAMS; !products && j < n; j++, fetch += x->stride) {
        for (int c = 0; c < lines; c++) __builtin_prefetch(fetch + c * 64, 0, LEVEL);
        sum_key(PR, PN, dtype, pairs, v + j * vs, p + j, ps, acc);
    }
    ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++)
        ATN_UNROLL_ALL(8) for (int e = 0; e < PN; e++) vf_store(o + c * os + e * VL, acc[c][e]);
}

/* The columns of a stream that a visit of V, to columns [c, c + w) of Dv, fetches: its share of the tile's n rows. */
static ahead share_of(const ahead *x, int n, int c, int w, int Dv)
{
    int first = x->lines * c / Dv, lines = x->lines * (c + w) / Dv - first;
    if (x->stride != x->lines * 64) return (ahead){x->at + first * 64, x->stride, lines};
    return (ahead){x->at + (int64_t)n * first * 64, lines * 64, lines};
}

/* The same for all columns. */
ATN_INLINE void sums(const int PR, const int dtype, const int pairs, const atn_args *a, const layout *y, int n,
                     const char *v, const float *p, float *o, const float *alpha, const ahead *x)
{
    const int most = PR > 2 ? NARROW : WIDE, less = PR > 2 ? 2 : NARROW, whole = a->Dv / VL * VL;
    ahead part;
    int c = 0;
#define VISIT(PN, PAIRS_OF) \
    (part = share_of(x, n, c, (PN) * VL, a->Dv), \
     sum_tile(PR, PN, dtype, PAIRS_OF, n, v + c * elem_of(dtype), a->v.sr, p, y->bk, o + c, y->os, alpha, &part))
    for (; c + most * VL <= whole; c += most * VL) VISIT(most, pairs);
    for (; c + less * VL <= whole; c += less * VL) VISIT(less, pairs);
    for (; pairs && c + 2 * VL <= whole; c += 2 * VL) VISIT(2, pairs);
    for (; !pairs && c + VL <= whole; c += VL) VISIT(1, 0);
#undef VISIT
    if (c == y->os) return;
    for (int r = 0; r < PR; r++) {
        vf sum = vf_load(o + r * y->os + c) * alpha[r];
        for (int j = 0; j < n; j++)
            sum = vf_fma(load_part(v + j * a->v.sr, dtype, c, a->Dv), vf_splat(p[r * y->bk + j]), sum);
        vf_store(o + r * y->os + c, sum);
    }
}

/* How many of `left` rows the next register tile takes: threes where they leave nobody alone. */
static int rows_at_once(int left, int most)
{
    int rows = left == 3 || left == 6 || left == 9 ? 3 : left > 2 ? 4 : left;
    return rows <= most ? rows : most > 2 ? 2 : most;
}

#define TYPED(name, dtype, pairs) \
    NOINLINE void scores_##name(const atn_args *a, const layout *y, int n, const char *k, const float *q, float *s, \
                                const ahead *x) \
    { \
        for (int r = 0, rows; r < y->rows; r += rows) { \
            rows = rows_at_once(y->rows - r, ROWS_DOT); \
            if (rows == 4) dots(4, dtype, pairs, a, y, n, k, q + r * y->qs, s + r * y->bk, x); \
            else if (rows == 3) dots(3, dtype, pairs, a, y, n, k, q + r * y->qs, s + r * y->bk, x); \
            else if (rows == 2) dots(2, dtype, pairs, a, y, n, k, q + r * y->qs, s + r * y->bk, x); \
            else dots(1, dtype, pairs, a, y, n, k, q + r * y->qs, s + r * y->bk, x); \
        } \
    } \
    NOINLINE void values_##name(const atn_args *a, const layout *y, int n, const char *v, const float *p, float *o, \
                                const float *alpha, const ahead *x) \
    { \
        const ahead none = {0}; \
        for (int r = 0, rows; r < y->rows; r += rows, x = &none) { \
            rows = rows_at_once(y->rows - r, ROWS_SUM); \
            if (rows == 4) sums(4, dtype, pairs, a, y, n, v, p + r * y->bk, o + r * y->os, alpha + r, x); \
            else if (rows == 3) sums(3, dtype, pairs, a, y, n, v, p + r * y->bk, o + r * y->os, alpha + r, x); \
            else if (rows == 2) sums(2, dtype, pairs, a, y, n, v, p + r * y->bk, o + r * y->os, alpha + r, x); \
            else sums(1, dtype, pairs, a, y, n, v, p + r * y->bk, o + r * y->os, alpha + r, x); \
        } \
    }
TYPED(f32, ATN_F32, PLAIN)
TYPED(f16, ATN_F16, PLAIN)
TYPED(bf16, ATN_BF16, PLAIN)
TYPED(halves, ATN_BF16, HALVES)
#if HAVE_DOTS
TYPED(products, ATN_BF16, PRODUCTS)
#else
#define scores_products scores_halves
#define values_products values_halves
#endif

/* ---- softmax of a row of scores ---- */

/* Softcap, ALiBi, mask and what the row may not see, on n scores that start at key j0; n padded to VL with -inf. */
static void edit_row(const atn_args *a, const row_state *x, int j0, int n, float *s)
{
    int full = ROUND_UP(n, VL), lo = x->lo - j0, hi = x->hi - j0;
    vf cap = vf_splat(a->softcap * unit(a)), slope = vf_splat(x->slope), none = vf_splat(-VF_INF);
    for (int j = 0; j < full && a->softcap > 0; j += VL) vf_store(s + j, vf_tanh(vf_load(s + j)) * cap);
    for (int j = 0; j < full && a->alibi; j += VL) {
        vf d = __builtin_convertvector(vi_iota() + (j0 + j), vf) - x->pos;
        vf_store(s + j, vf_fma(slope, d, vf_load(s + j)));
    }
    for (int j = 0; j < n && a->mask.ptr; j += VL) {
        vf y = vf_load(s + j), t;
        int w = MIN(VL, n - j);
        const char *at = x->mask + (int64_t)(j0 + j) * elem_of(a->mask.dtype);
        if (a->mask.dtype == ATN_BOOL) {
            vi keep = vi_splat(0);
            for (int e = 0; e < w; e++) keep[e] = at[e];
            t = vf_sel((vi)(keep != 0), vf_zero(), none);
        } else {
            t = w == VL ? vf_load_as(at, a->mask.dtype) : vf_load_as_n(at, a->mask.dtype, w);
        }
        vf_store(s + j, vf_sel((vi)(t == none), none, y + t));   /* -inf wins over NaN */
    }
    if (lo <= 0 && hi >= n - 1 && full == n) return;
    hi = MIN(hi, n - 1);
    for (int j = 0; j < full; j += VL) {
        vi at = vi_iota() + j, in = (vi)(at >= vi_splat(lo)) & (vi)(at <= vi_splat(hi));
        vf_store(s + j, vf_sel(in, vf_load(s + j), none));
    }
}

/* Scores to weights in place, as pairs of bf16 for PRODUCTS; the factor for what came before. */
ATN_INLINE float softmax_row(const atn_args *a, row_state *x, int n, float *s, const int products)
{
    int full = ROUND_UP(n, VL);
    vf top = vf_splat(-VF_INF), sum = vf_zero();
    for (int j = 0; j < full; j += VL) top = vf_max(top, vf_load(s + j));
    float up = natural(a) ? LOG2E : 1.0f, tile_max = vf_hmax(top), m = x->m > tile_max ? x->m : tile_max;
    float base = m == -VF_INF ? 0 : m;
    for (int j = 0; j < full; j += VL) {
        vf p = vf_exp2((vf_load(s + j) - base) * up, EXP_DEG);
        if (products) *(vh_any *)((char *)s + j * 2) = vf_round_bf16(p);
        else vf_store(s + j, p);
        sum += p;
    }
    float alpha = vf_exp2(vf_splat((x->m - base) * up), 6)[0];
    x->l = x->l * alpha + vf_hsum(sum);
    x->m = m;
    return alpha;
}

/* ---- phase 0 ---- */

static void open_rows(const atn_args *a, const layout *y, int b, int kvh, row_state *rows, float *q, float *o)
{
    int group = a->Hq / a->Hkv, shift = a->Skv - a->Sq, elem = elem_of(a->q.dtype);
    float scale = score_scale(a);
    for (int r = 0; r < y->rows; r++) {
        int i = r / group, h = kvh * group + r % group;
        int64_t p = (int64_t)i + (a->causal == ATN_CAUSAL_TOP_LEFT ? 0 : shift), lo = 0, hi = a->Skv - 1;
        if (a->causal != ATN_CAUSAL_NONE) hi = MIN(hi, p);
        if (a->window_right >= 0) hi = MIN(hi, p + a->window_right);
        if (a->window_left >= 0) lo = MAX(lo, p - a->window_left);
        if (lo > hi) lo = a->Skv, hi = -1;
        rows[r] = (row_state){.i = i, .h = h, .lo = (int)lo, .hi = (int)hi, .m = -VF_INF, .pos = (float)(i + shift)};
        if (a->alibi) rows[r].slope = a->alibi[h] * unit(a);
        if (a->mask.ptr) rows[r].mask = (const char *)a->mask.ptr + b * a->mask.sb + h * a->mask.sh + i * a->mask.sr;
        const char *from = (const char *)a->q.ptr + b * a->q.sb + h * a->q.sh + i * a->q.sr;
        if (y->kpairs == PRODUCTS) __builtin_memcpy(q + r * y->qs, from, (size_t)a->D * 2);
        for (int d = 0; d < a->D && y->kpairs != PRODUCTS; d += VL)
            vf_store(q + r * y->qs + d, vf_load_as_n(from + d * elem, a->q.dtype, MIN(VL, a->D - d)) * scale);
        if (y->kpairs == HALVES) split_pairs(q + r * y->qs, a->D);
    }
    for (int d = 0; d < y->rows * y->os; d += VL) vf_store(o + d, vf_zero());
}

/* NaN or infinity in V times the zero weight of a forbidden key is NaN: such a row is done again over its own keys. */
NOINLINE void repair_row(const atn_args *a, const layout *y, const row_state *x, int j0, int j1, int b, int kvh,
                         const float *q, float *o)
{
    const char *k = (const char *)a->k.ptr + b * a->k.sb + kvh * a->k.sh;
    const char *v = (const char *)a->v.ptr + b * a->v.sb + kvh * a->v.sh;
    for (int d = 0; d < a->Dv; d++) o[d] = 0;
    for (int j = MAX(j0, x->lo); j < j1 && j <= x->hi; j++) {
        float s[VL] = {0};
        for (int d = 0; d < a->D; d++)
            s[0] += q_at(y, q, d) * vf_load_as_n(k + j * a->k.sr + d * elem_of(a->k.dtype), a->k.dtype, 1)[0];
        edit_row(a, x, j, 1, s);
        if (s[0] == -VF_INF) continue;
        float w = vf_exp2(vf_splat((s[0] - x->m) * (natural(a) ? LOG2E : 1.0f)), EXP_DEG)[0];
        for (int d = 0; d < a->Dv; d++)
            o[d] += w * vf_load_as_n(v + j * a->v.sr + d * elem_of(a->v.dtype), a->v.dtype, 1)[0];
    }
}

/* Sink, division, log-sum-exp, output. */
static void close_row(const atn_args *a, const row_state *x, int b, float m, float l, const float *o)
{
    float up = natural(a) ? LOG2E : 1.0f, down = natural(a) ? 1.0f : LN2, factor = l == 0 ? 0 : 1 / l;
    if (a->sinks) {
        float sink = a->sinks[x->h] * unit(a), top = m > sink ? m : sink;
        if (top != -VF_INF) {
            float older = __builtin_exp2f((m - top) * up);
            l = l * older + __builtin_exp2f((sink - top) * up);
            factor = older / l, m = top;
        }
    }
    if (a->lse)
        a->lse[((int64_t)b * a->Hq + x->h) * a->Sq + x->i] = l == 0 ? -VF_INF : m * down + __builtin_log2f(l) * LN2;
    char *to = (char *)a->o.ptr + b * a->o.sb + x->h * a->o.sh + x->i * a->o.sr;
    for (int d = 0; d < a->Dv; d += VL) {
        vf t = vf_load_n(o + d, MIN(VL, a->Dv - d)) * factor;
        if (d + VL <= a->Dv) vf_store_as(to + d * elem_of(a->o.dtype), t, a->o.dtype);
        else vf_store_as_n(to + d * elem_of(a->o.dtype), t, a->o.dtype, a->Dv - d);
    }
}

/* What the mask leaves of the keys [j0, j0 + n) to any row. Rows of heads that share a mask follow each other. */
static mask_span look(const atn_args *a, const row_state *rows, int n_rows, int j0, int n)
{
    mask_span left = {n, 0, 0};
    for (int r = 0; r < n_rows && (left.lo > 0 || left.hi < n); r++)
        if (r == 0 || rows[r].mask != rows[r - 1].mask)
            mask_look(&left, rows[r].mask + (int64_t)j0 * elem_of(a->mask.dtype), a->mask.dtype, n);
    return left;
}

/* One kv head of a task: where it begins in K, V, scratch and the task's part of shared. */
typedef struct {
    int kvh;
    const char *k, *v;
    row_state *rows;
    float *q, *o, *part;
} one_head;

static one_head head_at(const atn_args *a, const layout *y, int task, int b, int kvh, int h, char *shared,
                        char *scratch)
{
    int64_t first = (int64_t)h * y->rows;
    return (one_head){
        .kvh = kvh + h,
        .k = (const char *)a->k.ptr + b * a->k.sb + (kvh + h) * a->k.sh,
        .v = (const char *)a->v.ptr + b * a->v.sb + (kvh + h) * a->v.sh,
        .rows = (row_state *)scratch + first,
        .q = (float *)(scratch + y->q) + first * y->qs,
        .o = (float *)(scratch + y->o) + first * y->os,
        .part = (float *)(shared + y->part * task) + first * (y->os + 2),
    };
}

/* n keys from j0 on. K of what follows begins at `next` and has so many lines a row. */
static void one_tile(const atn_args *a, const layout *y, const one_head *x, int j0, int n, const char *next,
                     int next_lines, float *s)
{
    float alpha[ROWS_MAX];
    const char *k = x->k + j0 * a->k.sr, *v = x->v + j0 * a->v.sr;
    const ahead vx = {v, a->v.sr, a->Dv * elem_of(a->v.dtype) / 64}, kx = {next, a->k.sr, next_lines};
    if (a->mask.ptr && look(a, x->rows, y->rows, j0, n).hi == 0) return;
    if (y->kpairs == PRODUCTS) scores_products(a, y, n, k, x->q, s, &vx);
    else if (y->kpairs) scores_halves(a, y, n, k, x->q, s, &vx);
    else if (a->k.dtype == ATN_F32) scores_f32(a, y, n, k, x->q, s, &vx);
    else if (a->k.dtype == ATN_F16) scores_f16(a, y, n, k, x->q, s, &vx);
    else scores_bf16(a, y, n, k, x->q, s, &vx);
    for (int r = 0; r < y->rows; r++) {
        edit_row(a, x->rows + r, j0, n, s + r * y->bk);
        alpha[r] = y->vpairs == PRODUCTS ? softmax_row(a, x->rows + r, n, s + r * y->bk, 1)
                                         : softmax_row(a, x->rows + r, n, s + r * y->bk, 0);
    }
    if (y->vpairs == PRODUCTS) values_products(a, y, n, v, s, x->o, alpha, &kx);
    else if (y->vpairs) values_halves(a, y, n, v, s, x->o, alpha, &kx);
    else if (a->v.dtype == ATN_F32) values_f32(a, y, n, v, s, x->o, alpha, &kx);
    else if (a->v.dtype == ATN_F16) values_f16(a, y, n, v, s, x->o, alpha, &kx);
    else values_bf16(a, y, n, v, s, x->o, alpha, &kx);
}

/* Results of a head: to the output, or to shared for the merge. */
static void end_head(const atn_args *a, const layout *y, const one_head *x, int b, int begin, int end, int exact,
                     int whole)
{
    for (int r = 0; r < y->rows; r++) {
        row_state *row = x->rows + r;
        float *o = x->o + r * y->os;
        vi bad = vi_splat(0);
        if (y->vpairs) join_pairs(o, a->Dv);
        for (int d = 0; d < y->os && !exact; d += VL) bad |= vf_nonfinite(vf_load(o + d));
        if (!exact && mask_any(bad)) repair_row(a, y, row, begin, end, b, x->kvh, x->q + r * y->qs, o);
        if (whole) {
            close_row(a, row, b, row->m, row->l, o);
            continue;
        }
        float *to = x->part + (int64_t)r * (y->os + 2);
        to[0] = row->m, to[1] = row->l;
        for (int d = 0; d < y->os; d += VL) vf_store(to + 2 + d, vf_load(o + d));
    }
}

static void one_split(const atn_args *a, const atn_plan *p, int task, char *shared, char *scratch)
{
    int splits = (int)p->user[0], heads = (int)p->user[1], split = task % splits, set = task / splits * heads;
    int b = set / a->Hkv, kvh = set % a->Hkv, lines = a->D * elem_of(a->k.dtype) / 64;
    layout y = make_layout(a, heads);
    float *s = (float *)(scratch + y.s);

    one_head x = {0};
    for (int h = heads - 1; h >= 0; h--) {
        x = head_at(a, &y, task, b, kvh, h, shared, scratch);
        open_rows(a, &y, b, x.kvh, x.rows, x.q, x.o);
    }
    int lo = a->Skv, hi = -1, exact = !a->mask.ptr;                  /* the same for each head */
    for (int r = 0; r < y.rows; r++) lo = MIN(lo, x.rows[r].lo), hi = MAX(hi, x.rows[r].hi);
    for (int r = 0; r < y.rows; r++) exact &= x.rows[r].lo == lo && x.rows[r].hi == hi;
    if (a->mask.ptr && lo <= hi) {                                   /* the empty end of a cache is nobody's share */
        mask_span left = look(a, x.rows, heads * y.rows, lo, hi + 1 - lo);
        hi = lo + left.hi - 1, lo += MIN(left.lo, left.hi);
    }
    int all = MAX(hi + 1 - lo, 0), begin = lo + (int)((int64_t)all * split / splits);
    int end = lo + (int)((int64_t)all * (split + 1) / splits);

    const char *first = x.k;
    for (int j0 = begin, n; j0 < end; j0 += n) {
        n = MIN(y.bk, end - j0);
        for (int h = 0; h < heads; h++) {
            x = head_at(a, &y, task, b, kvh, h, shared, scratch);
            const char *next = h + 1 < heads ? x.k + a->k.sh + j0 * a->k.sr : first + (j0 + n) * a->k.sr;
            one_tile(a, &y, &x, j0, n, next, h + 1 < heads || j0 + n < end ? lines : 0, s);
        }
    }
    for (int h = 0; h < heads; h++) {
        x = head_at(a, &y, task, b, kvh, h, shared, scratch);
        end_head(a, &y, &x, b, begin, end, exact, splits == 1);
    }
}

/* ---- phase 1 ---- */

static void merge(const atn_args *a, const atn_plan *p, int task, char *shared, char *scratch)
{
    int splits = (int)p->user[0], heads = (int)p->user[1], group = a->Hq / a->Hkv;
    int b = task / a->Hkv, kvh = task % a->Hkv;
    layout y = make_layout(a, heads);
    one_head x = head_at(a, &y, task / heads * splits, b, kvh - kvh % heads, kvh % heads, shared, scratch);
    float up = natural(a) ? LOG2E : 1.0f;
    for (int r = 0; r < y.rows; r++) {
        const char *first = (const char *)(x.part + (int64_t)r * (y.os + 2));
        float m = -VF_INF, l = 0;
        for (int t = 0; t < splits; t++) {
            float mt = *(const float *)(first + y.part * t);
            m = mt > m || mt != mt ? mt : m;
        }
        for (int d = 0; d < y.os; d += VL) vf_store(x.o + d, vf_zero());
        for (int t = 0; t < splits; t++) {
            const float *part = (const float *)(first + y.part * t);
            if (part[1] == 0) continue;                          /* a split without a visible key */
            float w = __builtin_exp2f((part[0] - m) * up);
            l += part[1] * w;
            for (int d = 0; d < y.os; d += VL)
                vf_store(x.o + d, vf_fma(vf_splat(w), vf_load(part + 2 + d), vf_load(x.o + d)));
        }
        row_state row = {.i = r / group, .h = kvh * group + r % group};
        close_row(a, &row, b, m, l, x.o);
    }
}

static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    if (phase == 0) one_split(a, p, task, shared, scratch);
    else merge(a, p, task, shared, scratch);
}
// EVOLVE-BLOCK-END

const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "decode", can_run, plan, run};
