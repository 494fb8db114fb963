/* decode: attention of few query rows over many keys (one token, or a handful of speculative ones, over a long cache).
 *
 * Bound by reading K and V once, so the G query heads of a kv head and all Sq tokens are rows of one pass, vectors lie
 * along the head, and a tile of K, then one of V, is read in four streams, each from its first byte to its last: what
 * the prefetchers of a core follow best, also where a page ends. V of heads that take turns is fetched beside their K
 * and read in one. Keys are split among threads; each split leaves (m, l, O) per row, and a second phase merges them.
 * In a cache whose tokens hold the heads side by side, a task takes all heads of a tile before the next tile, so that
 * memory is walked once, in order.
 *
 *   phase 0: task = (b, kv heads, split): R = G * Sq rows of each, tiles of BK keys: scores [R][BK] -> P -> O [R][os]
 *   phase 1: task = (b, kv head): merge, where there is more than one split
 *
 * Where everything is bf16 and the machine has dot products of its pairs, both products are made of them: as in
 * flash_dot, P is rounded to bf16, its sum is not. On AMX they are tiles, from PAIR_ROWS rows on: 16 rows of K are one as
 * they lie, V is one once its keys are paired. Over dot products of vectors, which Intel makes half as fast as Zen 4, 4096
 * keys on an Emerald Rapids: 16 rows 4 times as fast, 8 rows 1.6 to 2.1, 5 rows 1.5; at 2 to 4 rows widening halves is
 * faster, 1.1 to 1.3 times, and tiles have 0.5 to 0.9 of that.
 *
 * Scores are in units of log2 e, or natural ones under an additive mask. Invariant: (m, l, O) of a row are the maximum
 * and the sums of e^(s - m) over the keys seen so far. */
#include "attune/amx.h"
#include "attune/kernel.h"
#include "attune/vec.h"

// EVOLVE-BLOCK-START
#define ROWS_DOT 4      // knob: 1 2 4 ; rows that share a visit of keys, at most
#define ROWS_SUM 4      // knob: 1 2 4 ; rows that share a visit of V, at most
#define TILE_BYTES 1048576 // knob: 65536 131072 262144 524288 1048576 2097152 ; of K in a tile
#define TILE_AGAIN 32768 // knob: 16384 32768 65536 131072 262144 ; of K that is visited again, or whose heads take turns
#define EXP_DEG 5       // knob: 3 4 5 6
#define QK_UNROLL 1     // knob: 1 2 4
#ifdef ATN_AMX
#define PAIR_ROWS 5     // knob: 1 2 3 4 5 6 8 12 99 ; rows from which on bf16 is by dot products of pairs, in tiles
#else
#define PAIR_ROWS 1     // knob: 1 2 3 4 5 6 8 12 99 ; rows from which on bf16 is by dot products of pairs, if there are any
#endif
#define AMX_BK 512      // knob: 64 128 256 512 1024 2048 ; keys in a tile of K and V that is multiplied by tiles of AMX
#define AMX_KEYS 32     // knob: 32 64 128 256 ; of V that are paired at once for them
#define TILE_CROSS 65536 // knob: 0 16384 32768 65536 131072 ; where K is fetched beside V and V beside K
#ifdef ATN_AMX
#define NEAR 512        // knob: 0 64 128 256 512 ; rows of so many bytes at most are prefetched
#else
#define NEAR 128        // knob: 0 64 128 256 512 ; rows of so many bytes at most are prefetched
#endif
#define NEAR_AHEAD 1024 // knob: 256 512 1024 2048 4096 ; by so many bytes
#define FIRST_LINES 32  // knob: 0 16 32 64 ; of V, K that are asked for before their turn comes
#define BLOCK 32768     // knob: 8192 16384 32768 65536 ; of V whose columns are visited one after the other
#define CHUNK_MIN 256   // knob: 64 128 256 512 1024 ; keys that a split must have
#define SPLITS_PER_THREAD 1 // knob: 1 2 3 4
#define TOGETHER 1      // knob: 0 1 2 ; kv heads in a task: 0 one, 1 all where tokens hold them side by side, 2 all

#define ROWS_MAX 256
#define BK_MAX 2048
#define CACHES (12 << 20) /* what K and V fit in */
#define STREAMS 4       /* of K and V: quarters of a tile */
#define WIDE (VF_REGS >= 32 ? 8 : 4) /* vectors of columns in a register tile of one or two rows */
#define NARROW (VF_REGS >= 32 ? 4 : 2) /* the same of four rows */
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f
#define ROUND_UP(x, m) (((x) + (m) - 1) / (m) * (m))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

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
    int heads, rows, qs, os, ss, bk; /* kv heads of a task, rows of each; floats between rows of Q, O, S; keys in a tile */
    int once;                        /* V is visited once */
    int cross;                       /* while K of a tile is read, its V is fetched, and so on */
    int kpairs, vpairs;              /* how K, V are read */
    float dot_scale;                 /* what PRODUCTS multiply sums by: Q is not scaled, which would round it again */
    int tiled;                       /* PRODUCTS by tiles of AMX */
    int64_t q, s, o, qt, pairs;      /* byte offsets into scratch; row states [heads][rows] first */
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
#define HAVE_DOTS (PAIR_ROWS <= ROWS_MAX)
#endif

#ifdef ATN_AMX
#define HAVE_AMX HAVE_DOTS
#else
#define HAVE_AMX 0
#endif

/* Bytes of Q^T of a head in tiles. */
static int64_t amx_q_bytes(const layout *y, int D) { return y->tiled ? ROUND_UP(y->rows, 16) * (int64_t)D * 2 : 0; }

static layout make_layout(const atn_args *a, int heads)
{
    layout y;
    y.heads = heads, y.rows = a->Hq / a->Hkv * a->Sq;
    y.qs = ROUND_UP(a->D, 2 * VL), y.os = ROUND_UP(a->Dv, VL);
    y.kpairs = a->k.dtype == ATN_BF16 ? HALVES : PLAIN;
    y.vpairs = a->v.dtype == ATN_BF16 ? HALVES : PLAIN;
    if (HAVE_DOTS && y.rows >= PAIR_ROWS && y.kpairs && y.vpairs && a->q.dtype == ATN_BF16 && a->D % (2 * VL) == 0
        && a->Dv % (2 * VL) == 0)
        y.kpairs = y.vpairs = PRODUCTS;
    y.tiled = HAVE_AMX && y.kpairs == PRODUCTS;
    /* K is fetched beside V and V beside K where streams alone are slower: rows with gaps between them, and short rows
     * from memory with so much work on each that a core does not look far ahead. Against streams alone (TILE_CROSS 0) 1.75x
     * at bf16 h16/8 s1/4096 d128 layout=bshd, 1.33x at f32 h32/8 s1/4096 d64; at f32 h9/3 it is level (Zen 4). */
    int row = a->D * elem_of(a->k.dtype), busy = y.kpairs == PRODUCTS || y.rows == ROWS_SUM;
    y.once = y.rows <= ROWS_SUM && a->Dv <= (y.rows > 2 ? NARROW : WIDE) * VL;
    y.cross = TILE_CROSS && !y.tiled && a->D == a->Dv && a->k.dtype == a->v.dtype && a->k.sr == a->v.sr && (heads > 1
        || (busy && row > NEAR && row <= 256 && (int64_t)a->B * a->Hkv * a->Skv * row > CACHES / 2));
    /* Streams that are a quarter of a page out of step do not all meet ends of pages, nor the same sets of a cache. */
    int page = MAX(4096 / row, 1), most = y.rows > 64 ? 256 : BK_MAX;
    int bytes = heads > 1 || y.rows > ROWS_DOT ? TILE_AGAIN : y.cross ? TILE_CROSS
              : y.once ? TILE_BYTES : TILE_BYTES / 4;
    int pages = MIN(bytes / 4096, most / page) / STREAMS;
    y.bk = y.tiled ? MIN(AMX_BK, most) : STREAMS * (MAX(pages, 1) * page + MAX(page / 4, 1));
    y.ss = ROUND_UP(y.bk, 16) + (y.tiled ? 16 : 0);              /* rows a power of two apart would meet in caches */
    y.dot_scale = score_scale(a);
    int64_t all = (int64_t)heads * y.rows, at = ROUND_UP((int64_t)sizeof(row_state) * all, 64);
    y.q = at, at += all * y.qs * 4;
    y.qt = at, at += heads * amx_q_bytes(&y, a->D);
    y.pairs = at, at += y.tiled ? 2 * AMX_KEYS * a->Dv * 2 : 0;
    y.o = at, at += all * y.os * 4;
    y.s = at, at += (int64_t)y.rows * y.ss * 4;
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

/* FOLD_n: of each 2n lanes n take sums from a, n from b. Four keys of a register tile fold into one vector whose
 * quarters are their sums; VL / 4 of these fold within the quarters. */
#if VL == 16
/* gcc 12 keeps halves by a permutation as well, where it sees that they are halves. */
ATN_INLINE vf fold_8(vf a, vf b)
{
    const vi upper = {0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1};
    return vf_sel(upper, b, a)
        + __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23);
}
#define FOLD_4(a, b) FOLD(a, b, LIST(0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31), \
                          LIST(4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 24, 25, 26, 27))
#define FOLD_2(a, b) FOLD(a, b, LIST(0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31), \
                          LIST(2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29))
#define FOLD_1(a, b) FOLD(a, b, LIST(0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31), \
                          LIST(1, 16, 3, 18, 5, 20, 7, 22, 9, 24, 11, 26, 13, 28, 15, 30))
#define FOLD_KEYS(x) FOLD_4(fold_8((x)[0], (x)[2]), fold_8((x)[1], (x)[3]))
#define FOLD_REST(x) FOLD_1(FOLD_2((x)[0], (x)[2]), FOLD_2((x)[1], (x)[3]))
#elif VL == 8
#define FOLD_4(a, b) FOLD(a, b, LIST(0, 1, 2, 3, 12, 13, 14, 15), LIST(4, 5, 6, 7, 8, 9, 10, 11))
#define FOLD_2(a, b) FOLD(a, b, LIST(0, 1, 10, 11, 4, 5, 14, 15), LIST(2, 3, 8, 9, 6, 7, 12, 13))
#define FOLD_1(a, b) FOLD(a, b, LIST(0, 9, 2, 11, 4, 13, 6, 15), LIST(1, 8, 3, 10, 5, 12, 7, 14))
#define FOLD_KEYS(x) FOLD_2(FOLD_4((x)[0], (x)[2]), FOLD_4((x)[1], (x)[3]))
#define FOLD_REST(x) FOLD_1((x)[0], (x)[1])
#else
#define FOLD_2(a, b) FOLD(a, b, LIST(0, 1, 6, 7), LIST(2, 3, 4, 5))
#define FOLD_1(a, b) FOLD(a, b, LIST(0, 5, 2, 7), LIST(1, 4, 3, 6))
#define FOLD_KEYS(x) FOLD_1(FOLD_2((x)[0], (x)[2]), FOLD_2((x)[1], (x)[3]))
#define FOLD_REST(x) ((x)[0])
#endif

/* Even and odd elements of 2 VL bf16: one load and one operation each, where widening VL at a time costs two. */
ATN_INLINE vf pair_even(vu x) { return (vf)(x << 16); }
ATN_INLINE vf pair_odd(vu x) { return (vf)(x & 0xffff0000u); }

/* Element d of a row of Q, scaled. */
static float q_at(const layout *y, const float *q, int d)
{
    if (y->kpairs == PRODUCTS) return vf_load_as_n((const char *)q + d * 2, ATN_BF16, 1)[0] * y->dot_scale;
    return q[y->kpairs ? d / (2 * VL) * (2 * VL) + d % 2 * VL + d % (2 * VL) / 2 : d];
}

/* A row of n elements in place, but what is left over of multiples of 2 VL: to even and odd, and back. */
static void split_pairs(float *x, int n)
{
    for (int d = 0; d + 2 * VL <= n; d += 2 * VL) {
        float t[2 * VL];
        __builtin_memcpy(t, x + d, sizeof t);
        for (int i = 0; i < VL; i++) x[d + i] = t[2 * i], x[d + VL + i] = t[2 * i + 1];
    }
}

static void join_pairs(float *x, int n)
{
    for (int d = 0; d + 2 * VL <= n; d += 2 * VL) {
        float t[2 * VL];
        __builtin_memcpy(t, x + d, sizeof t);
        for (int i = 0; i < VL; i++) x[d + 2 * i] = t[i], x[d + 2 * i + 1] = t[VL + i];
    }
}

/* acc[c][e] += q[c] . k[e] for as many columns as one vector of K holds, 2 VL of pairs. */
ATN_INLINE void dot_step(const int RU, const int dtype, const int pairs, const char *k0, const char *k1, const char *k2,
                         const char *k3, const float *q, int qs, vf acc[4][4])
{
    const char *const k[4] = {k0, k1, k2, k3};
    ATN_UNROLL_ALL(4) for (int e = 0; e < 4; e++) {
        if (pairs == PRODUCTS) {
            vi z = vi_load(k[e]);
            ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++)
                acc[c][e] = vf_dot_bf16(acc[c][e], z, vi_load(q + c * qs));
        } else if (pairs == HALVES) {
            vu z = (vu)vi_load(k[e]);
            vf even = pair_even(z), odd = pair_odd(z);
            ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++) {
                acc[c][e] = vf_add_product(acc[c][e], even, vf_load(q + c * qs));
                acc[c][e] = vf_add_product(acc[c][e], odd, vf_load(q + c * qs + VL));
            }
        } else {
            vf z = vf_load_as(k[e], dtype);
            ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++)
                acc[c][e] = vf_add_product(acc[c][e], z, vf_load(q + c * qs));
        }
    }
}

/* What is left of four rows, less than a vector, and zeros. */
NOINLINE void pad_ends(const char *k0, const char *k1, const char *k2, const char *k3, int bytes, char (*to)[VL * 4])
{
    const char *const k[4] = {k0, k1, k2, k3};
    for (int e = 0; e < 4; e++) {
        vf_store(to[e], vf_load_n(k[e], bytes / 4));
        if (bytes % 4) *(scalar_u16 *)(to[e] + bytes - 2) = *(const scalar_u16 *)(k[e] + bytes - 2);
    }
}

/* Sums of q[c] . k[e] for RU rows and four keys, far from each other: the e-th quarter of sum[c] adds up to that of e.
 * What lies `far` from these is fetched, into the first cache where it is near. */
ATN_INLINE void dot_four(const int RU, const int dtype, const int pairs, int D, const char *const at[4],
                         const float *q, int qs, int64_t far, vf sum[4])
{
    const int step = pairs ? 2 * VL : VL, elem = elem_of(dtype);
    char end[4][VL * 4];
    vf acc[4][4];
    ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++)
        ATN_UNROLL_ALL(4) for (int e = 0; e < 4; e++) acc[c][e] = vf_zero();
    for (int c = 0; far == NEAR_AHEAD && c < D * elem; c += 64)
        ATN_UNROLL_ALL(4) for (int e = 0; e < 4; e++) __builtin_prefetch(at[e] + NEAR_AHEAD + c, 0, 3);
    for (int c = 0; far && far != NEAR_AHEAD && c < D * elem; c += 64)
        ATN_UNROLL_ALL(4) for (int e = 0; e < 4; e++) __builtin_prefetch(at[e] + far + c, 0, 2);
    const int whole = D & -step, q_size = pairs == PRODUCTS ? 2 : 1;
    ATN_UNROLL(QK_UNROLL)
    for (int d = 0; d < whole; d += step)
        dot_step(RU, dtype, pairs, at[0] + d * elem, at[1] + d * elem, at[2] + d * elem, at[3] + d * elem,
                 q + d / q_size, qs, acc);
    if (whole < D) {
        const int from = whole * elem;
        pad_ends(at[0] + from, at[1] + from, at[2] + from, at[3] + from, (D - whole) * elem, end);
        dot_step(RU, dtype, pairs, end[0], end[1], end[2], end[3], q + whole / q_size, qs, acc);
    }
    ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++) sum[c] = FOLD_KEYS(acc[c]);
}

/* The same for one row and fewer keys than a vector holds. */
NOINLINE void dots_of_few(const atn_args *a, const layout *y, int n, const char *k, const float *q, float *s)
{
    for (int j = 0; j < n; j++, k += a->k.sr) {
        float sum = 0;
        for (int d = 0; d < a->D; d++)
            sum += vf_load_as_n(k + d * elem_of(a->k.dtype), a->k.dtype, 1)[0] * q_at(y, q, d);
        s[j] = sum;
    }
}

/* s[r][j] for RU rows and n keys, in streams of `apart` keys; the last may begin before the one before it has ended. */
ATN_INLINE void dots(const int RU, const int dtype, const int pairs, const atn_args *a, const layout *y,
                     int n, const char *k, const float *q, float *s, int64_t far)
{
    if (n < VL) {
        for (int c = 0; c < RU; c++) dots_of_few(a, y, n, k, q + c * y->qs, s + c * y->ss);
        return;
    }
    const int apart = (n + 3) / 4;
    int start[4];
    int64_t begin[4];
    ATN_UNROLL_ALL(4) for (int e = 0; e < 4; e++)
        start[e] = MIN(e * apart, n - apart), begin[e] = start[e] * a->k.sr;
    for (int i = 0; i < apart; i += VL / 4) {
        const int j = MIN(i, apart - VL / 4);
        const char *at[4];
        ATN_UNROLL_ALL(4) for (int e = 0; e < 4; e++) at[e] = k + j * a->k.sr + begin[e];
        vf part[4][VL / 4];
        ATN_UNROLL(1)
        for (int g = 0; g < VL / 4; g++) {
            vf one[4];
            dot_four(RU, dtype, pairs, a->D, at, q, y->qs, far, one);
            ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++) part[c][g] = one[c];
            ATN_UNROLL_ALL(4) for (int e = 0; e < 4; e++) at[e] += a->k.sr;
        }
        ATN_UNROLL_ALL(4) for (int c = 0; c < RU; c++) {
            vf sum = FOLD_REST(part[c]);
            float sums[VL];
            vf_store(sums, pairs == PRODUCTS ? sum * y->dot_scale : sum);
            ATN_UNROLL_ALL(4) for (int e = 0; e < 4; e++)
                __builtin_memcpy(s + c * y->ss + start[e] + j, sums + e * (VL / 4), VL);
        }
    }
}

/* acc[c] += p[c] v for PR rows and PN vectors of columns: one key. */
ATN_INLINE void sum_key(const int PR, const int PN, const int dtype, const int pairs, const char *v,
                        const float *const p[4], int j, vf acc[4][8])
{
    vf w[4];
    ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) w[c] = vf_splat(p[c][j]);
    ATN_UNROLL_ALL(8) for (int e = 0; e < PN; e += pairs ? 2 : 1) {
        if (pairs == HALVES) {
            vu z = (vu)vi_load(v + e * VL * 2);
            vf even = pair_even(z), odd = pair_odd(z);
            ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) {
                acc[c][e] = vf_add_product(acc[c][e], w[c], even);
                acc[c][e + 1] = vf_add_product(acc[c][e + 1], w[c], odd);
            }
        } else {
            vf z = vf_load_as(v + e * VL * elem_of(dtype), dtype);
            ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) acc[c][e] = vf_add_product(acc[c][e], w[c], z);
        }
    }
}

/* Elements of two keys as pairs: the even columns, the odd ones. */
ATN_INLINE void pair_two_keys(vu x, vu z, vi *even, vi *odd)
{
#if VL == 4 /* trn1 and trn2 of Arm, for six instructions */
    typedef uint16_t eight __attribute__((vector_size(16)));
    *even = (vi)__builtin_shufflevector((eight)x, (eight)z, 0, 8, 2, 10, 4, 12, 6, 14);
    *odd = (vi)__builtin_shufflevector((eight)x, (eight)z, 1, 9, 3, 11, 5, 13, 7, 15);
#else
    *even = (vi)((x & 0xffffu) | z << 16), *odd = (vi)(x >> 16 | (z & 0xffff0000u));
#endif
}

/* acc[c] += p[c].low v + p[c].high w for PR rows and PN vectors of columns: two keys. */
ATN_INLINE void sum_two_keys(const int PR, const int PN, const char *v, const char *w, const float *const p[4], int j,
                             vf acc[4][8])
{
    vi pair[4];
    ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) pair[c] = vi_splat(((const scalar_i32 *)p[c])[j / 2]);
    ATN_UNROLL_ALL(8) for (int e = 0; e < PN; e += 2) {
        vi even, odd;
        pair_two_keys((vu)vi_load(v + e * VL * 2), (vu)vi_load(w + e * VL * 2), &even, &odd);
        ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) {
            acc[c][e] = vf_dot_bf16(acc[c][e], even, pair[c]);
            acc[c][e + 1] = vf_dot_bf16(acc[c][e + 1], odd, pair[c]);
        }
    }
}

/* o[r] = o[r] * alpha[r] + sum_j p[r][j] v[j] for the columns from c on, fewer than two vectors. */
NOINLINE void rest_of_rows(const atn_args *a, const layout *y, int c, int n, const char *v, const float *p, float *o,
                           const float *alpha)
{
    for (int r = 0; r < y->rows; r++)
        for (int d = c; d < a->Dv; d += VL) {
            vf sum = vf_load(o + r * y->os + d) * (alpha ? alpha[r] : 1);
            for (int j = 0; j < n; j++)
                sum = vf_fma(load_part(v + j * a->v.sr, a->v.dtype, d, a->Dv), vf_splat(p[r * y->ss + j]), sum);
            vf_store(o + r * y->os + d, sum);
        }
}

/* o[r] = o[r] * alpha[r] + sum_j p[r][j] v[j] for PR rows and PN vectors of columns, of keys in so many streams. Rows
 * beyond `last` are that one again. */
ATN_INLINE void sum_tile(const int PR, const int PN, const int dtype, const int pairs, const int last, int n,
                         const char *v, int64_t vs, const float *p, int ps, float *o, int os, const float *alpha,
                         int64_t far, int streams)
{
    static const char nothing[8 * VL * 2] = {0};
    const int each = pairs == PRODUCTS ? 2 : 1, bytes = PN * VL * elem_of(dtype);
    const float *weights[4];
    vf acc[4][8];
    ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++) {
        weights[c] = p + MIN(c, last) * ps;
        ATN_UNROLL_ALL(8) for (int e = 0; e < PN; e++)
            acc[c][e] = vf_load(o + MIN(c, last) * os + e * VL) * alpha[MIN(c, last)];
    }
    for (int first = 0, apart; first < n; first += streams * apart, streams = 1) {
        apart = streams == 1 ? n - first : n / STREAMS / each * each;
        for (int i = first; i < first + apart; i += each)
            ATN_UNROLL(1)
            for (int e = 0, j = i; e < streams; e++, j += apart) {
                const char *from = v + j * vs;
                if (far == NEAR_AHEAD)
                    for (int c = 0; c < each * bytes; c += 64) __builtin_prefetch(from + NEAR_AHEAD + c, 0, 3);
                else if (far)
                    ATN_UNROLL_ALL(2) for (int i = 0; i < each; i++)
                        ATN_UNROLL_ALL(8) for (int c = 0; c < bytes; c += 64)
                            __builtin_prefetch(from + far + i * vs + c, 0, 2);
                if (pairs == PRODUCTS) sum_two_keys(PR, PN, from, j + 1 < n ? from + vs : nothing, weights, j, acc);
                else sum_key(PR, PN, dtype, pairs, from, weights, j, acc);
            }
    }
    ATN_UNROLL_ALL(4) for (int c = 0; c < PR; c++)
        ATN_UNROLL_ALL(8) for (int e = 0; e < PN; e++) vf_store(o + MIN(c, last) * os + e * VL, acc[c][e]);
}

/* How many of `left` rows the next register tile takes: threes where they leave nobody alone. */
static int rows_at_once(int left, int most)
{
    int rows = left == 3 || left == 6 || left == 9 ? 3 : left > 2 ? 4 : left;
    return rows <= most ? rows : most > 2 ? 2 : most;
}

static const float ones[4] = {1, 1, 1, 1};

#define EACH(CALL, most) \
    for (int r = 0, rows; r < y->rows; r += rows) { \
        rows = rows_at_once(y->rows - r, most); \
        if (rows == 4) { CALL(4) } \
        else if (rows == 3) { CALL(3) } \
        else if (rows == 2) { CALL(2) } \
        else { CALL(1) } \
    }
#define DOT_ROWS(rows) dots(rows, dtype, pairs, a, y, n, k, q + r * y->qs, s + r * y->ss, r ? 0 : far);
#define TILE(rows, vectors, last) \
    sum_tile(rows, vectors, dtype, pairs, last, m, v + c * elem_of(dtype), a->v.sr, \
             p + (pairs == PRODUCTS ? j / 2 : j) + r * y->ss, y->ss, o + r * y->os + c, y->os, \
             j ? ones : alpha + r, r ? 0 : far, y->once && !(y->cross && y->heads > 1) ? STREAMS : 1)
#define SUM_ROWS(rows) \
    const int most = rows > 2 ? NARROW : WIDE; \
    int c = 0; \
    for (; c + most * VL <= a->Dv; c += most * VL) TILE(rows, most, rows - 1); \
    if (most > NARROW && c + NARROW * VL <= a->Dv) TILE(rows, NARROW, rows - 1);
#define TYPED(name, DTYPE, PAIRS) \
    NOINLINE void scores_##name(const atn_args *a, const layout *y, int n, const char *k, const float *q, float *s, \
                                int64_t far) \
    { \
        const int dtype = DTYPE, pairs = PAIRS; \
        EACH(DOT_ROWS, ROWS_DOT) \
    } \
    NOINLINE void values_##name(const atn_args *a, const layout *y, int n, const char *v, const float *p, float *o, \
                                const float *alpha, int64_t far) \
    { \
        const int dtype = DTYPE, pairs = PAIRS, size = a->Dv * elem_of(dtype); \
        const int block = y->once ? n : MAX(BLOCK / size / 2 * 2, 8); \
        if (!y->once && !y->cross) far = block * a->v.sr; \
        for (int j = 0, m; j < n; j += m, v += m * a->v.sr) { \
            m = MIN(block, n - j); \
            EACH(SUM_ROWS, ROWS_SUM) \
            const int c = a->Dv / (NARROW * VL) * (NARROW * VL); \
            if (c == a->Dv) continue; \
            const int rows = NARROW > 2 && c + 2 * VL <= a->Dv ? y->rows : 0; \
            for (int r = 0; r < rows; r += 4) TILE(4, 2, MIN(rows - r, 4) - 1); \
            rest_of_rows(a, y, a->Dv / (2 * VL) * (2 * VL), m, v, p + j, o, j ? NULL : alpha); \
        } \
    }
TYPED(f32, ATN_F32, PLAIN)
TYPED(f16, ATN_F16, PLAIN)
TYPED(halves, ATN_BF16, HALVES)
#if HAVE_DOTS
TYPED(products, ATN_BF16, PRODUCTS)
#else
#define scores_products scores_halves
#define values_products values_halves
#endif

/* ---- the same by tiles of AMX ---- */

#if HAVE_AMX
/* Sums of 16 keys, [16][16], to rows of scores: four rows at a time, as quarters of vectors. */
ATN_INLINE void put_sums(const layout *y, int rows, const float *sum, float *s)
{
    typedef float quarter __attribute__((vector_size(16), aligned(4), may_alias));
#define QUARTER(j) (*(const quarter *)(sum + (j) * VL))
#define HALF(j) __builtin_shufflevector(QUARTER(j), QUARTER((j) + 1), 0, 1, 2, 3, 4, 5, 6, 7)
#define FIRST LIST(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29)
#define SECOND LIST(2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31)
#define LOW LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define HIGH LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
    for (int r = 0; r < rows; r += 4, sum += 4, s += 4 * y->ss) {
        vf t[4], x[4];
        ATN_UNROLL_ALL(4) for (int g = 0; g < 4; g++)
            t[g] = __builtin_shufflevector(HALF(4 * g), HALF(4 * g + 2), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        vf a = __builtin_shufflevector(t[0], t[1], FIRST), b = __builtin_shufflevector(t[2], t[3], FIRST);
        vf c = __builtin_shufflevector(t[0], t[1], SECOND), d = __builtin_shufflevector(t[2], t[3], SECOND);
        x[0] = __builtin_shufflevector(a, b, LOW), x[1] = __builtin_shufflevector(a, b, HIGH);
        x[2] = __builtin_shufflevector(c, d, LOW), x[3] = __builtin_shufflevector(c, d, HIGH);
        ATN_UNROLL_ALL(4) for (int i = 0; i < 4; i++)
            if (r + i < rows) vf_store(s + i * y->ss, x[i] * y->dot_scale);
    }
}

/* s[r][j] of all rows and n >= 64 keys, which are A tiles as they lie: four sums are four streams. */
NOINLINE void scores_amx(const atn_args *a, const layout *y, int n, const char *k, const char *qt, float *s)
{
    const int apart = (n + 3) / 4;
    const int64_t ks = a->k.sr;
    float sum[2][4][16 * VL] __attribute__((aligned(64)));
    amx_begin();
    for (int r = 0; r < y->rows; r += 16, qt += a->D * 32)
        for (int i = 0, turn = 0, before = 0; i < apart; i += 16, turn ^= 1) {
            const int j = MIN(i, apart - 16), rows = MIN(y->rows - r, 16);
            const char *at[4];
            ATN_UNROLL_ALL(4) for (int e = 0; e < 4; e++) at[e] = k + (MIN(e * apart, n - apart) + j) * ks;
            amx_zero(0); amx_zero(1); amx_zero(2); amx_zero(3);
            for (int d = 0; d < a->D; d += 32) {
                amx_load(6, qt + d * 32, 64);
                amx_load(4, at[0] + d * 2, ks); amx_dot(0, 4, 6);
                amx_load(5, at[1] + d * 2, ks); amx_dot(1, 5, 6);
                amx_load(4, at[2] + d * 2, ks); amx_dot(2, 4, 6);
                amx_load(5, at[3] + d * 2, ks); amx_dot(3, 5, 6);
            }
#define PUT(turn, j) \
            ATN_UNROLL(1) \
            for (int e = 0; e < 4; e++) \
                put_sums(y, rows, sum[turn][e], s + r * y->ss + MIN(e * apart, n - apart) + (j));
            if (i > 0) PUT(turn ^ 1, before)                     /* what is in memory by now */
            amx_store(0, sum[turn][0], 64); amx_store(1, sum[turn][1], 64);
            amx_store(2, sum[turn][2], 64); amx_store(3, sum[turn][3], 64);
            if (i + 16 >= apart) PUT(turn, j)
            before = j;
        }
    amx_end();
}

/* B tiles [32 keys][Dv / 16][16 pairs][16] of m keys of V, even columns of 32 in one, odd ones in the next. */
static void pair_keys(const atn_args *a, int m, const char *v, char *to)
{
    static const char nothing[64] = {0};
    const int64_t vs = a->v.sr;
    for (int j = 0; j < ROUND_UP(m, 32); j += 2, v += 2 * vs) {
        char *row = to + j / 32 * 64 * a->Dv + j % 32 * 32;
        for (int c = 0; c < a->Dv; c += 32, row += 2048) {
            const char *from = v + c * 2;
            vi even, odd;
            pair_two_keys((vu)vi_load(j < m ? from : nothing), (vu)vi_load(j + 1 < m ? from + vs : nothing), &even, &odd);
            vf_store(row, (vf)even), vf_store(row + 1024, (vf)odd);
        }
    }
}

/* o[r] = o[r] * alpha[r] + sum_j p[r][j] v[j] for all rows and columns. */
NOINLINE void values_amx(const atn_args *a, const layout *y, int n, const char *v, float *p, float *o,
                           const float *alpha, char *pairs)
{
    const int64_t ps = y->ss * 4, os = y->os * 4;
    for (int r = 0; r < y->rows; r++) {
        for (int d = 0; d < y->os; d += VL) vf_store(o + r * y->os + d, vf_load(o + r * y->os + d) * alpha[r]);
        for (int j = n; j < ROUND_UP(n, 32); j++) ((scalar_u16 *)(p + r * y->ss))[j] = 0;
    }
    const int stay = a->Dv <= 64 && y->rows <= 16, size = AMX_KEYS * a->Dv * 2;
    if (y->rows <= 16) amx_begin_for(y->rows);
    pair_keys(a, MIN(AMX_KEYS, n), v, pairs);
    for (int j0 = 0, turn = 0, m; j0 < n; j0 += AMX_KEYS, turn ^= 1) {
        m = MIN(AMX_KEYS, n - j0), v += m * a->v.sr;
        if (j0 + m < n) pair_keys(a, MIN(AMX_KEYS, n - j0 - m), v, pairs + (turn ^ 1) * size);
        for (int r = 0; r < y->rows; r += 16) {
            const char *left = (const char *)(p + r * y->ss) + j0 * 2;
            if (y->rows > 16) amx_begin_for(MIN(y->rows - r, 16));
            for (int c = 0; c < a->Dv; c += 64) {
                const int wide = c + 64 <= a->Dv;
                float *sum = o + r * y->os + c;
                if (!stay || j0 == 0) {
                    amx_load(0, sum, os); amx_load(1, sum + 16, os);
                    if (wide) { amx_load(2, sum + 32, os); amx_load(3, sum + 48, os); }
                }
                for (int j = 0; j < m; j += 32) {
                    const char *right = pairs + turn * size + (j * a->Dv + 32 * c) * 2;
                    amx_load(4, left + j * 2, ps);
                    amx_load(6, right, 64); amx_dot(0, 4, 6);
                    amx_load(7, right + 1024, 64); amx_dot(1, 4, 7);
                    if (!wide) continue;
                    amx_load(6, right + 2048, 64); amx_dot(2, 4, 6);
                    amx_load(7, right + 3072, 64); amx_dot(3, 4, 7);
                }
                if (!stay || j0 + m == n) {
                    amx_store(0, sum, os); amx_store(1, sum + 16, os);
                    if (wide) { amx_store(2, sum + 32, os); amx_store(3, sum + 48, os); }
                }
            }
        }
    }
    amx_end();
}
#else                                /* never called */
#define scores_amx(...) ((void)0)
#define values_amx(...) ((void)0)
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

static void open_rows(const atn_args *a, const layout *y, int b, int kvh, row_state *rows, float *q, char *qt, float *o)
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
        for (int d = 0; d < y->qs && y->kpairs != PRODUCTS; d += VL)
            vf_store(q + r * y->qs + d, vf_load_as_n(from + d * elem, a->q.dtype, MAX(MIN(VL, a->D - d), 0)) * scale);
        if (y->kpairs == HALVES) split_pairs(q + r * y->qs, y->qs);
    }
    for (int d = 0; d < a->D / 2 && y->tiled; d++)               /* Q^T in tiles of pairs */
        for (int r = 0; r < ROUND_UP(y->rows, 16); r++) {
            int32_t pair = r < y->rows ? ((const scalar_i32 *)(q + r * y->qs))[d] : 0;
            ((scalar_i32 *)qt)[(r / 16 * (a->D / 2) + d) * 16 + r % 16] = pair;
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
    char *qt;
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
        .qt = scratch + y->qt + h * amx_q_bytes(y, a->D),
        .o = (float *)(scratch + y->o) + first * y->os,
        .part = (float *)(shared + y->part * task) + first * (y->os + 2),
    };
}

/* The first lines of each stream of a tile of K or V: while the scores of one become weights, nothing else is read. */
ATN_INLINE void ask_for(const char *from, int64_t bytes)
{
    for (int e = 0; e < STREAMS; e++)
        for (int i = 0; i < FIRST_LINES / STREAMS; i++)
            __builtin_prefetch(from + bytes / STREAMS * e + i * 64, 0, 2);
}

/* n keys from j0 on; K of what follows begins at `next`. */
static void one_tile(const atn_args *a, const layout *y, const one_head *x, int j0, int n, const char *next,
                     char *scratch)
{
    float alpha[ROWS_MAX], *s = (float *)(scratch + y->s);
    const char *k = x->k + j0 * a->k.sr, *v = x->v + j0 * a->v.sr;
    const int row = a->D * elem_of(a->k.dtype), near = row <= NEAR ? NEAR_AHEAD : 0;
    const int64_t fk = y->cross ? v - k : near, fv = y->cross ? next - v : near;
    if (a->mask.ptr && look(a, x->rows, y->rows, j0, n).hi == 0) return;
    if (y->tiled && n >= 64) scores_amx(a, y, n, k, x->qt, s);
    else if (y->kpairs == PRODUCTS) scores_products(a, y, n, k, x->q, s, fk);
    else if (a->k.dtype == ATN_F32) scores_f32(a, y, n, k, x->q, s, fk);
    else if (a->k.dtype == ATN_F16) scores_f16(a, y, n, k, x->q, s, fk);
    else scores_halves(a, y, n, k, x->q, s, fk);
    ask_for(v, n * a->v.sr);
    for (int r = 0; r < y->rows; r++) {
        edit_row(a, x->rows + r, j0, n, s + r * y->ss);
        alpha[r] = y->vpairs == PRODUCTS ? softmax_row(a, x->rows + r, n, s + r * y->ss, 1)
                                         : softmax_row(a, x->rows + r, n, s + r * y->ss, 0);
    }
    if (y->tiled && n >= 64) values_amx(a, y, n, v, s, x->o, alpha, scratch + y->pairs);
    else if (y->vpairs == PRODUCTS) values_products(a, y, n, v, s, x->o, alpha, fv);
    else if (a->v.dtype == ATN_F32) values_f32(a, y, n, v, s, x->o, alpha, fv);
    else if (a->v.dtype == ATN_F16) values_f16(a, y, n, v, s, x->o, alpha, fv);
    else values_halves(a, y, n, v, s, x->o, alpha, fv);
    ask_for(next, n * a->k.sr);
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
    int b = set / a->Hkv, kvh = set % a->Hkv;
    layout y = make_layout(a, heads);

    one_head x = {0};
    for (int h = heads - 1; h >= 0; h--) {
        x = head_at(a, &y, task, b, kvh, h, shared, scratch);
        open_rows(a, &y, b, x.kvh, x.rows, x.q, x.qt, x.o);
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
            one_tile(a, &y, &x, j0, n, next, scratch);
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
