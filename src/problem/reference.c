/* The truth in fp64, one query row at a time, and the comparison of a kernel's output with it.
 *
 * Every sum has a fixed order (sixteen interleaved partial sums, then a tree) and nothing is contracted, so the
 * reference gives the same bits whatever vector width runs it. It is plain on purpose: three passes over a row, no
 * blocking. */
#include "problem/reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "problem/half.h"

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 4 };
typedef double v4d __attribute__((vector_size(LANES * sizeof(double))));
typedef float v4f __attribute__((vector_size(LANES * sizeof(float))));

/* ---- loads ---------------------------------------------------------------------------------------------------- */

static const char *row_at(const atn_tensor *t, int b, int h, int row)
{
    return (const char *)t->ptr + b * t->sb + h * t->sh + row * t->sr;
}

double tensor_get(const atn_tensor *t, int b, int h, int row, int col)
{
    const char *p = row_at(t, b, h, row) + (int64_t)col * dtype_bytes(t->dtype);
    uint16_t u = 0;
    float x = 0;
    if (t->dtype == ATN_F32) memcpy(&x, p, sizeof x);
    else if (t->dtype != ATN_BOOL) memcpy(&u, p, sizeof u);
    switch (t->dtype) {
    case ATN_F32: return x;
    case ATN_F16: return f32_of_f16(u);
    case ATN_BF16: return f32_of_bf16(u);
    default: return *(const uint8_t *)p != 0;
    }
}

/* A row as floats: the row itself where it is f32 (4-byte aligned, all that a float load needs), else converted into
 * room. */
INLINE const float *row_f32(const void *p, int dtype, int n, float *restrict room)
{
    const uint16_t *restrict u = p;
    if (dtype == ATN_F32) return p;
    if (dtype == ATN_F16)
        for (int i = 0; i < n; i++) room[i] = f32_of_f16(u[i]);
    else
        for (int i = 0; i < n; i++) room[i] = f32_of_bf16(u[i]);
    return room;
}

/* ---- one row -------------------------------------------------------------------------------------------------- */

INLINE void load4(v4d *out, const float *p)
{
    v4f x;
    memcpy(&x, p, sizeof x);
    *out = __builtin_convertvector(x, v4d);
}

INLINE double dot(const double *q, const float *k, int n)
{
    v4d s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, x, y;
    int d = 0;
#define STEP(s, at) (memcpy(&x, q + (at), sizeof x), load4(&y, k + (at)), s += x * y)
    for (; d + 4 * LANES <= n; d += 4 * LANES) {
        STEP(s0, d);
        STEP(s1, d + LANES);
        STEP(s2, d + 2 * LANES);
        STEP(s3, d + 3 * LANES);
    }
#undef STEP
    s0 = (s0 + s1) + (s2 + s3);
    double tail = 0;
    for (; d < n; d++) tail += q[d] * (double)k[d];
    return ((s0[0] + s0[2]) + (s0[1] + s0[3])) + tail;
}

/* out += p[0..4) x four rows of v. */
INLINE void add_rows4(double *restrict out, const double *p, const float *const v[4], int n)
{
    int d = 0;
    for (; d + LANES <= n; d += LANES) {
        v4d o, x[4];
        memcpy(&o, out + d, sizeof o);
        for (int t = 0; t < 4; t++) load4(&x[t], v[t] + d);
        o += (p[0] * x[0] + p[1] * x[1]) + (p[2] * x[2] + p[3] * x[3]);
        memcpy(out + d, &o, sizeof o);
    }
    for (; d < n; d++)
        out[d] += (p[0] * (double)v[0][d] + p[1] * (double)v[1][d]) + (p[2] * (double)v[2][d] + p[3] * (double)v[3][d]);
}

/* Pass 1: scores of keys [lo, hi) by q.k alone. q is in doubles, room holds D floats. */
INLINE void dots_body(const atn_args *a, int b, int hkv, int lo, int hi, const double *q, double *s, float *room)
{
    for (int j = lo; j < hi; j++) s[j] = dot(q, row_f32(row_at(&a->k, b, hkv, j), a->k.dtype, a->D, room), a->D);
}

/* Pass 3: out = sum of p[j] v[j]. A forbidden key (p is -0.0) is not read, as it may hold anything; one whose weight
 * has underflowed to 0 is, so that a NaN in its value reaches the row. */
INLINE void sum_body(const atn_args *a, int b, int hkv, int lo, int hi, const double *p, double *out, float *room)
{
    double w[4];
    const float *rows[4];
    int n = 0;
    for (int d = 0; d < a->Dv; d++) out[d] = 0;
    for (int j = lo; j < hi; j++) {
        if (p[j] == 0 && signbit(p[j])) continue;
        w[n] = p[j];
        rows[n] = row_f32(row_at(&a->v, b, hkv, j), a->v.dtype, a->Dv, room + (int64_t)n * a->Dv);
        if (++n < 4) continue;
        add_rows4(out, w, rows, a->Dv);
        n = 0;
    }
    for (int t = 0; t < n; t++)
        for (int d = 0; d < a->Dv; d++) out[d] += w[t] * (double)rows[t][d];
}

#if defined(__x86_64__) && defined(__GNUC__)
#define WIDE 1
#define AT_AVX2 __attribute__((target("avx2")))
AT_AVX2 static void dots_avx2(const atn_args *a, int b, int hkv, int lo, int hi, const double *q, double *s,
                              float *room)
{
    dots_body(a, b, hkv, lo, hi, q, s, room);
}
AT_AVX2 static void sum_avx2(const atn_args *a, int b, int hkv, int lo, int hi, const double *p, double *out,
                             float *room)
{
    sum_body(a, b, hkv, lo, hi, p, out, room);
}
#endif

static void dots(const atn_args *a, int b, int hkv, int lo, int hi, const double *q, double *s, float *room)
{
#ifdef WIDE
    if (__builtin_cpu_supports("avx2")) { dots_avx2(a, b, hkv, lo, hi, q, s, room); return; }
#endif
    dots_body(a, b, hkv, lo, hi, q, s, room);
}

static void sum_values(const atn_args *a, int b, int hkv, int lo, int hi, const double *p, double *out, float *room)
{
#ifdef WIDE
    if (__builtin_cpu_supports("avx2")) { sum_avx2(a, b, hkv, lo, hi, p, out, room); return; }
#endif
    sum_body(a, b, hkv, lo, hi, p, out, room);
}

/* Pass 2a: a dot product to a score, in the contract's order: scale, softcap, alibi, mask. */
static double score(const atn_args *a, int b, int h, int i, int j, double dot)
{
    double s = (double)a->scale * dot;
    if (a->softcap > 0) s = (double)a->softcap * tanh(s / (double)a->softcap);
    if (a->alibi) s += (double)a->alibi[h] * (double)(j - ((int64_t)i + a->Skv - a->Sq));
    if (!a->mask.ptr) return s;
    double m = tensor_get(&a->mask, b, h, i, j);
    if (a->mask.dtype == ATN_BOOL) return m != 0 ? s : -INFINITY;
    return m == -INFINITY ? m : s + m;         /* a forbidden key stays so even where its dot product is NaN */
}

/* Pass 2b: scores [lo, hi) to weights that sum to 1 (less the sink's share), in place; a forbidden key gets -0.0.
 * Returns the log-sum-exp. */
static double softmax(double *s, int lo, int hi, const float *sink)
{
    double m = sink ? (double)*sink : -INFINITY, l = 0;
    bool nan = isnan(m);
    for (int j = lo; j < hi; j++) {
        nan = nan || isnan(s[j]);
        m = fmax(m, s[j]);
    }
    if (nan) m = NAN;
    for (int j = lo; j < hi; j++) {
        s[j] = s[j] == -INFINITY ? -0.0 : exp(s[j] - m);
        l += s[j];
    }
    if (sink) l += exp((double)*sink - m);
    if (m == -INFINITY) return m;              /* every key is forbidden */
    for (int j = lo; j < hi; j++) s[j] /= l;
    return m + log(l);
}

void reference_row(const atn_args *a, int b, int h, int i, double *out, double *lse, double *work)
{
    int lo, hi, hkv = h / (a->Hq / a->Hkv);
    attention_row_range(a, i, &lo, &hi);
    size_t room_floats = (size_t)ATN_MAX(a->D, 4 * (int64_t)a->Dv);
    double q_few[512], *q = a->D <= 512 ? q_few : atn_alloc((size_t)a->D * sizeof *q);
    float few[2048], *room = room_floats <= 2048 ? few : atn_alloc(room_floats * sizeof *room);
    for (int d = 0; d < a->D; d++) q[d] = tensor_get(&a->q, b, h, i, d);
    dots(a, b, hkv, lo, hi, q, work, room);
    for (int j = lo; j < hi; j++) work[j] = score(a, b, h, i, j, work[j]);
    double sum = softmax(work, lo, hi, a->sinks ? &a->sinks[h] : NULL);
    sum_values(a, b, hkv, lo, hi, work, out, room);
    if (lse) *lse = sum;
    if (q != q_few) free(q);
    if (room != few) free(room);
}

/* ---- poison --------------------------------------------------------------------------------------------------- */

/* 0x7fa5 is NaN as f16 and as bf16, and twice it is a signalling NaN as f32: no operation gives that as its result. */
static const uint16_t POISON = 0x7fa5;

void poison_fill(void *p, int64_t bytes)
{
    char *out = p;
    for (int64_t i = 0; i + 1 < bytes; i += 2) memcpy(out + i, &POISON, sizeof POISON);
    if (bytes & 1) out[bytes - 1] = (char)0xa5;
}

static int64_t count_poison(const void *p, int bytes, int64_t n)
{
    const uint32_t wide = (uint32_t)POISON << 16 | POISON;
    const uint32_t *x4 = p;
    const uint16_t *x2 = p;
    int64_t found = 0;
    if (bytes == 4)
        for (int64_t i = 0; i < n; i++) found += x4[i] == wide;
    else
        for (int64_t i = 0; i < n; i++) found += x2[i] == POISON;
    return found;
}

int64_t poison_count(const atn_args *a)
{
    int64_t found = 0;
    for (int b = 0; b < a->B; b++)
        for (int h = 0; h < a->Hq; h++)
            for (int i = 0; i < a->Sq; i++)
                found += count_poison(row_at(&a->o, b, h, i), dtype_bytes(a->o.dtype), a->Dv);
    if (a->lse) found += count_poison(a->lse, 4, (int64_t)a->B * a->Hq * a->Sq);
    return found;
}

/* ---- comparison ----------------------------------------------------------------------------------------------- */

typedef struct {
    int b, h, i, col;             /* col: where the row is off most */
    double ref2, diff2, diff_max; /* squared norms; diff2 infinite where finite, NaN do not meet */
    double got, want;             /* at col */
} row_result;

/* max |v| of a head, over 64 keys where there are more: it only serves as a unit. */
static double v_magnitude(const atn_args *a, int b, int hkv)
{
    double most = 0;
    int step = ATN_MAX(1, a->Skv / 64);
    for (int j = 0; j < a->Skv; j += step)
        for (int d = 0; d < a->Dv; d++) most = fmax(most, fabs(tensor_get(&a->v, b, hkv, j, d)));
    return most;
}

static double difference(double got, double want)
{
    if (isnan(want) && isnan(got)) return 0;
    if (got == want) return 0;                 /* equal infinities */
    double d = fabs(got - want);
    return isnan(d) ? INFINITY : d;
}

double lse_apart(double got, double want)
{
    return difference(got, want) / (isfinite(want) ? fmax(1, fabs(want)) : 1);
}

static void compare_row(const atn_args *a, row_result *r, double *ref, double *work, atn_compare *out)
{
    double lse;
    reference_row(a, r->b, r->h, r->i, ref, a->lse ? &lse : NULL, work);
    r->diff_max = -1;
    for (int d = 0; d < a->Dv; d++) {
        double got = tensor_get(&a->o, r->b, r->h, r->i, d), diff = difference(got, ref[d]);
        if (!isfinite(got) && isfinite(ref[d])) out->nonfinite++;
        if (isfinite(ref[d])) r->ref2 += ref[d] * ref[d];
        r->diff2 += diff * diff;
        if (diff > r->diff_max) {
            r->diff_max = diff;
            r->col = d;
            r->got = got;
            r->want = ref[d];
        }
    }
    if (!a->lse) return;
    double got = (double)a->lse[((int64_t)r->b * a->Hq + r->h) * a->Sq + r->i];
    if (!isfinite(got) && isfinite(lse)) out->nonfinite++;
    out->lse_worst = fmax(out->lse_worst, lse_apart(got, lse));
}

/* Which rows to compare: all of them, or the first and last row of a random head and then any. */
static int64_t choose_rows(const atn_args *a, int64_t rows_max, atn_rng *rng, row_result **rows)
{
    int64_t all = (int64_t)a->B * a->Hq * a->Sq, n = rows_max <= 0 || rows_max >= all ? all : rows_max;
    row_result *r = *rows = atn_alloc((size_t)n * sizeof *r);
    for (int64_t k = 0; k < n; k++) {
        if (n == all) {
            r[k] = (row_result){.b = (int)(k / a->Sq / a->Hq), .h = (int)(k / a->Sq % a->Hq), .i = (int)(k % a->Sq)};
            continue;
        }
        r[k] = (row_result){.b = (int)rng_below(rng, (uint32_t)a->B), .h = (int)rng_below(rng, (uint32_t)a->Hq),
                            .i = (int)rng_below(rng, (uint32_t)a->Sq)};
        if (k == 0) r[k].i = 0;
        if (k == 1) r[k] = (row_result){.b = r[0].b, .h = r[0].h, .i = a->Sq - 1};
    }
    return n;
}

static void summarise(const atn_args *a, const row_result *rows, int64_t n, atn_compare *out)
{
    double ref2 = 0, diff2 = 0;
    for (int64_t k = 0; k < n; k++) {
        ref2 += rows[k].ref2;
        diff2 += rows[k].diff2;
    }
    double typical = sqrt(ref2 / (double)n), v_most = -1;
    const row_result *worst = &rows[0];
    out->rel_l2 = ref2 > 0 ? sqrt(diff2 / ref2) : sqrt(diff2);
    out->row_worst = -1;
    for (int64_t k = 0, last = -1; k < n; k++) {
        const row_result *r = &rows[k];
        double norm = fmax(sqrt(r->ref2), 1e-3 * typical), err = norm > 0 ? sqrt(r->diff2) / norm : sqrt(r->diff2);
        int hkv = r->h / (a->Hq / a->Hkv);
        if (last != (int64_t)r->b * a->Hkv + hkv) v_most = v_magnitude(a, r->b, hkv);
        last = (int64_t)r->b * a->Hkv + hkv;
        out->abs_worst = fmax(out->abs_worst, v_most > 0 ? r->diff_max / v_most : r->diff_max);
        if (err > out->row_worst) {
            out->row_worst = err;
            worst = r;
        }
    }
    out->worst_b = worst->b;
    out->worst_h = worst->h;
    out->worst_i = worst->i;
    snprintf(out->detail, sizeof out->detail, "b%d h%d row %d col %d: got %.9g, want %.9g", worst->b, worst->h,
             worst->i, worst->col, worst->got, worst->want);
}

void reference_compare(const atn_args *a, int64_t rows_max, atn_rng *rng, atn_compare *out)
{
    row_result *rows;
    int64_t n = choose_rows(a, rows_max, rng, &rows);
    double *work = atn_alloc(((size_t)a->Skv + (size_t)a->Dv) * sizeof *work), *ref = work + a->Skv;
    *out = (atn_compare){.rows = n, .poison = poison_count(a)};
    for (int64_t k = 0; k < n; k++) compare_row(a, &rows[k], ref, work, out);
    summarise(a, rows, n, out);
    free(work);
    free(rows);
}

/* ---- two outputs of the same inputs ------------------------------------------------------------------------------ */

typedef float v8f __attribute__((vector_size(32)));

/* Relative L2 in f32: what overflows here is far off, and what is not a number stays so. */
static double rows_apart(const float *x, const float *y, int n)
{
    v8f diff = {0}, norm = {0};
    float diff2 = 0, norm2 = 0;
    int d = 0;
    for (; d + 8 <= n; d += 8) {
        v8f p, q;
        memcpy(&p, x + d, sizeof p);
        memcpy(&q, y + d, sizeof q);
        p -= q;
        diff += p * p;
        norm += q * q;
    }
    for (int k = 0; k < 8; k++) diff2 += diff[k], norm2 += norm[k];
    for (; d < n; d++) diff2 += (x[d] - y[d]) * (x[d] - y[d]), norm2 += y[d] * y[d];
    return norm2 > 0 ? sqrt((double)diff2 / (double)norm2) : sqrt((double)diff2);
}

atn_apart outputs_apart(const atn_args *x, const atn_args *y, const atn_tolerance *t)
{
    atn_apart worst = {0};
    float *room = atn_alloc(2 * sizeof *room * (size_t)x->Dv);
    for (int b = 0; b < x->B; b++)
        for (int h = 0; h < x->Hq; h++)
            for (int i = 0; i < x->Sq; i++) {
                const float *p = row_f32(row_at(&x->o, b, h, i), x->o.dtype, x->Dv, room);
                const float *q = row_f32(row_at(&y->o, b, h, i), y->o.dtype, y->Dv, room + x->Dv);
                double far = rows_apart(p, q, x->Dv) / t->row_worst;
                if (isnan(far)) far = INFINITY;
                if (x->lse) {
                    int64_t at = ((int64_t)b * x->Hq + h) * x->Sq + i;
                    far = fmax(far, lse_apart((double)x->lse[at], (double)y->lse[at]) / t->lse); /* it knows no NaN */
                }
                if (far > worst.tolerances) worst = (atn_apart){far, b, h, i};
            }
    free(room);
    return worst;
}
