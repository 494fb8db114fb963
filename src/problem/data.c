/* Data makers: inputs of ten kinds, each of which breaks a different careless kernel.
 *
 * Every value is a pure function of (kind, rng, tensor, batch, head, row, column): a counter is hashed, so that filling
 * is branch-free, vectorises, and gives the same bits on every machine. The bell curve is the sum of a hash's four
 * bytes (Irwin-Hall, |x| < 3.5) plus its low bits, so that mantissas are full and f32 products do round. */
#include "problem/data.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "problem/half.h"

static const char *const NAMES[] = {
#define ATN_X(name, text) text,
    ATN_DATA_LIST(ATN_X)
#undef ATN_X
};

const char *data_name(atn_data kind)
{
    ATN_CHECK((int)kind >= 0 && kind < ATN_DATA_COUNT);
    return NAMES[kind];
}

/* ---- noise: counter -> hash -> float -------------------------------------------------------------------------- */

enum { CHUNK = 1024 };   /* floats made at a time before they are converted: stays in L1 */

#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t hash32(uint32_t i, uint32_t s0, uint32_t s1)
{
    uint32_t x = i + s0;                       /* constants: a low-bias search result published by C. Wellons */
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x = (x ^ (x >> 15) ^ s1) * 0x735a2d97u;
    return x ^ (x >> 15);
}

INLINE float bell(uint32_t x)
{
    uint32_t pairs = (x & 0x00ff00ffu) + ((x >> 8) & 0x00ff00ffu);
    int32_t sum = (int32_t)((pairs + (pairs >> 16)) & 0xffffu) - 510;
    return (float)sum * (1.0f / 147.80f) + (float)(int32_t)x * (0x1p-32f / 147.80f);
}

INLINE void noise_body(float *restrict out, int n, uint64_t seed, uint32_t first)
{
    uint32_t s0 = (uint32_t)seed + first, s1 = (uint32_t)(seed >> 32);
    for (int i = 0; i < n; i++) out[i] = bell(hash32((uint32_t)i, s0, s1));
}

INLINE void to_bf16_body(uint16_t *restrict out, const float *restrict x, int n)
{
    for (int i = 0; i < n; i++) out[i] = bf16_of_f32(x[i]);
}

INLINE void to_f16_body(uint16_t *restrict out, const float *restrict x, int n)
{
    for (int i = 0; i < n; i++) out[i] = f16_of_f32(x[i]);
}

/* The same bodies for wider vectors. Integers and single roundings only (contraction is off): equal bits on each. */
#if defined(__x86_64__) && defined(__GNUC__)
#define WIDE 1
__attribute__((target("avx2"))) static void noise_avx2(float *out, int n, uint64_t seed, uint32_t first)
{
    noise_body(out, n, seed, first);
}
__attribute__((target("avx2"))) static void to_bf16_avx2(uint16_t *out, const float *x, int n)
{
    to_bf16_body(out, x, n);
}
/* Every CPU with AVX2 has F16C, whose rounding is the same (a NaN aside, which no maker converts). */
__attribute__((target("avx2,f16c"))) static void to_f16_avx2(uint16_t *out, const float *x, int n)
{
    typedef float v8f __attribute__((vector_size(32)));
    typedef short v8h __attribute__((vector_size(16)));
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        v8f a;
        memcpy(&a, x + i, sizeof a);
        v8h h = (v8h)__builtin_ia32_vcvtps2ph256(a, 0);
        memcpy(out + i, &h, sizeof h);
    }
    to_f16_body(out + i, x + i, n - i);
}
static bool has_avx2(void) { return __builtin_cpu_supports("avx2"); }
#endif

static void noise(float *out, int n, uint64_t seed, uint32_t first)
{
#ifdef WIDE
    if (has_avx2()) { noise_avx2(out, n, seed, first); return; }
#endif
    noise_body(out, n, seed, first);
}

static void store(void *out, int dtype, const float *x, int n)
{
    if (dtype == ATN_F32) { memcpy(out, x, (size_t)n * sizeof *x); return; }
#ifdef WIDE
    if (has_avx2()) { (dtype == ATN_BF16 ? to_bf16_avx2 : to_f16_avx2)(out, x, n); return; }
#endif
    if (dtype == ATN_BF16) to_bf16_body(out, x, n);
    else to_f16_body(out, x, n);
}

/* n values of noise as dtype: the fast path, no kinds. A block of 2^32 values repeats; none is that long. */
static void fill_block(void *out, int dtype, int64_t n, uint64_t seed)
{
    float chunk[CHUNK];
    for (int64_t i = 0; i < n; i += CHUNK) {
        int m = (int)ATN_MIN(n - i, CHUNK);
        if (dtype == ATN_F32) noise((float *)out + i, m, seed, (uint32_t)i);
        else {
            noise(chunk, m, seed, (uint32_t)i);
            store((uint16_t *)out + i, dtype, chunk, m);
        }
    }
}

/* ---- kinds ---------------------------------------------------------------------------------------------------- */

/* Logits that the kinds aim at; tolerance.c derives its bounds from them. */
static const float NEEDLE_LOGIT = 30, HUGE_LOGIT_STD = 2500;
static const float RISING_LOGITS[] = {6, 20, 40, 60};
enum { NEEDLE_BLOCK = 16 };            /* query rows that share a needle */

typedef struct {
    const atn_problem *p;
    const atn_args *a;
    atn_data kind;
    uint64_t seed[ATN_T_COUNT], special;
} maker;

static uint64_t mix3(uint64_t seed, int b, int h, int64_t row)
{
    return rng_mix(seed ^ rng_mix(((uint64_t)b << 44) ^ ((uint64_t)h << 20)) ^
                   rng_mix((uint64_t)row + 0x5851f42d4c957f2du));
}

static char *row_at(const atn_tensor *t, int b, int h, int row)
{
    return (char *)t->ptr + b * t->sb + h * t->sh + row * t->sr;
}

/* x += g * a vector of +-1 that depends on seed only: the direction in which a query and its key agree. */
static void add_direction(float *x, int n, int first, uint64_t seed, float g)
{
    for (int i = 0; i < n; i++)
        x[i] += hash32((uint32_t)(first + i), (uint32_t)seed, (uint32_t)(seed >> 32)) & 0x100 ? g : -g;
}

static void scale_row(float *x, int n, float by)
{
    for (int i = 0; i < n; i++) x[i] *= by;
}

/* Bell to [0, 1): the hash again, this time as it is. */
static void uniform_row(float *x, int n, uint64_t seed, uint32_t first)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)(hash32((uint32_t)i, (uint32_t)seed + first, (uint32_t)(seed >> 32)) >> 8) * 0x1p-24f;
}

/* 1e-6, but in f16, whose normal numbers end at 6e-5, a size that its products and means still hold. */
static float tiny_of(int dtype) { return dtype == ATN_F16 ? 1e-2f : 1e-6f; }

/* f32: below FLT_MIN. f16: below 6.1e-5. bf16: small but normal, because bf16 dot instructions (AVX512-BF16, AMX) flush
 * denormals by definition, which is no fault of a kernel that uses them. */
static float denormal_of(int dtype) { return dtype == ATN_F16 ? 3e-5f : dtype == ATN_BF16 ? 1e-30f : 1e-39f; }

/* |scale| * D * g * g = logit for q and k that are both g times one direction of +-1. */
static float needle_gain(const atn_args *a) { return sqrtf(NEEDLE_LOGIT / (fabsf(a->scale) * (float)a->D)); }

static float huge_gain(const atn_args *a)
{
    float g = sqrtf(HUGE_LOGIT_STD / (fabsf(a->scale) * sqrtf((float)a->D)));
    return fminf(g, 1.5e4f);                   /* inside f16 */
}

static float rising_total(const maker *m, int b, int hkv)
{
    return RISING_LOGITS[mix3(m->special, b, hkv, 1) % ATN_COUNT(RISING_LOGITS)];
}

/* n columns from `first` of row `row` of q, k or v, as floats. */
static void make_columns(const maker *m, int tensor, int b, int h, int row, int first, int n, float *x)
{
    const atn_args *a = m->a;
    int hkv = tensor == ATN_T_Q ? h / (a->Hq / a->Hkv) : h;
    int dtype = tensor == ATN_T_Q ? m->p->dtype_q : m->p->dtype_kv;
    uint64_t seed = mix3(m->seed[tensor], b, h, m->kind == ATN_DATA_EQUAL && tensor == ATN_T_K ? 0 : row);
    noise(x, n, seed, (uint32_t)first);
    switch (m->kind) {
    case ATN_DATA_UNIFORM: uniform_row(x, n, seed, (uint32_t)first); break;
    case ATN_DATA_TINY: scale_row(x, n, tiny_of(dtype)); break;
    case ATN_DATA_PEAKED:
        if (tensor == ATN_T_Q) scale_row(x, n, 4);
        break;
    case ATN_DATA_HUGE:
        if (tensor != ATN_T_V) scale_row(x, n, huge_gain(a));
        break;
    case ATN_DATA_NEEDLE:                      /* the keys' half is planted afterwards */
        if (tensor == ATN_T_Q)
            add_direction(x, n, first, mix3(m->special, b, hkv, 2 + row / NEEDLE_BLOCK), needle_gain(a));
        break;
    case ATN_DATA_RISING: {
        uint64_t direction = mix3(m->special, b, hkv, 0);
        if (tensor == ATN_T_Q) {
            scale_row(x, n, 0.25f);
            add_direction(x, n, first, direction, 1);
        } else if (tensor == ATN_T_K) {
            float along = a->Skv > 1 ? (float)row / (float)(a->Skv - 1) : 1;
            add_direction(x, n, first, direction, rising_total(m, b, hkv) * along / (a->scale * (float)a->D));
        }
        break;
    }
    case ATN_DATA_DENORMAL:
        if (tensor == ATN_T_V) scale_row(x, n, denormal_of(dtype));
        break;
    case ATN_DATA_OFFSET:
        if (tensor == ATN_T_V)
            for (int i = 0; i < n; i++) x[i] += 100;
        break;
    default: break;
    }
}

static void make_tensor(const maker *m, int tensor, const atn_tensor *t, int H, int rows, int last)
{
    float x[CHUNK];
    for (int b = 0; b < m->p->B; b++)
        for (int h = 0; h < H; h++)
            for (int row = 0; row < rows; row++)
                for (int c = 0; c < last; c += CHUNK) {
                    int n = ATN_MIN(last - c, CHUNK);
                    make_columns(m, tensor, b, h, row, c, n, x);
                    store(row_at(t, b, h, row) + (int64_t)c * dtype_bytes(t->dtype), t->dtype, x, n);
                }
}

static float load_one(const char *p, int dtype)
{
    if (dtype == ATN_F32) {
        float x;
        memcpy(&x, p, sizeof x);
        return x;
    }
    uint16_t u;
    memcpy(&u, p, sizeof u);
    return dtype == ATN_BF16 ? f32_of_bf16(u) : f32_of_f16(u);
}

/* Which key the rows of a block shall find; -1 where no key is allowed to all of them. Ends are as likely as all
 * else. */
static int needle_key(const atn_args *a, int block, uint64_t r)
{
    int lo, hi, lo2, hi2;
    attention_row_range(a, block * NEEDLE_BLOCK, &lo, &hi);
    attention_row_range(a, ATN_MIN(a->Sq, (block + 1) * NEEDLE_BLOCK) - 1, &lo2, &hi2);
    lo = ATN_MAX(lo, lo2);
    hi = ATN_MIN(hi, hi2);
    if (lo >= hi) return -1;
    switch (r & 3) {
    case 0: return lo;
    case 1: return hi - 1;
    default: return lo + (int)((r >> 8) % (uint64_t)(hi - lo));
    }
}

static void plant_needles(const maker *m)
{
    const atn_args *a = m->a;
    int blocks = (a->Sq + NEEDLE_BLOCK - 1) / NEEDLE_BLOCK, e = dtype_bytes(a->k.dtype);
    float g = needle_gain(a) * (a->scale < 0 ? -1 : 1), x[CHUNK];
    for (int b = 0; b < a->B; b++)
        for (int h = 0; h < a->Hkv; h++)
            for (int block = 0; block < blocks; block++) {
                uint64_t direction = mix3(m->special, b, h, 2 + block);
                int j = needle_key(a, block, rng_mix(direction));
                for (int c = 0; j >= 0 && c < a->D; c += CHUNK) {
                    int n = ATN_MIN(a->D - c, CHUNK);
                    char *at = row_at(&a->k, b, h, j) + (int64_t)c * e;
                    for (int i = 0; i < n; i++) x[i] = load_one(at + (int64_t)i * e, a->k.dtype);
                    add_direction(x, n, c, direction, g);
                    store(at, a->k.dtype, x, n);
                }
            }
}

/* One NaN for each head, in a place drawn anew: in q, where one row is lost, or in k or v, at a key that every row sees. (At
 * a key that some rows do not see, plain programs give NaN to those as well: nought times NaN. Nobody is hurt by that.)
 * Where a window or a mask leaves no key that is known to be seen by all, in q. */
static void plant_nans(const maker *m)
{
    const atn_args *a = m->a;
    const float nan = NAN;
    int first, end, lo_last, hi_last;
    attention_row_range(a, 0, &first, &end);
    attention_row_range(a, a->Sq - 1, &lo_last, &hi_last);
    const int from = ATN_MAX(first, lo_last), to = ATN_MIN(end, hi_last); /* both ends of a range never go back */
    const bool shared = from < to && !a->mask.ptr;
    for (int b = 0; b < m->p->B; b++)
        for (int h = 0; h < a->Hkv; h++) {
            uint64_t r = mix3(m->special, b, h, 1);
            const atn_tensor *t = r % 3 == 0 ? &a->q : r % 3 == 1 ? &a->k : &a->v;
            if (!shared) t = &a->q;
            const int lo = t == &a->q ? 0 : from, hi = t == &a->q ? a->Sq : to, last = t == &a->v ? a->Dv : a->D;
            int head = t == &a->q ? h * (a->Hq / a->Hkv) : h;
            int row = lo + (int)((r >> 8) % (uint64_t)(hi - lo)), c = (int)((r >> 40) % (uint64_t)last);
            store(row_at(t, b, head, row) + (int64_t)c * dtype_bytes(t->dtype), t->dtype, &nan, 1);
        }
}

/* ---- masks, sinks, slopes ------------------------------------------------------------------------------------- */

/* One row of a mask as floats: 0 or a bias where allowed, -inf where forbidden. About a third is forbidden, and one row
 * in twelve wholly. One float row in four forbids with the most negative finite number, as PyTorch programs do; such a
 * row keeps an allowed key, because without one the two conventions differ. */
static void mask_row(const atn_args *a, int i, atn_rng *rng, float *x)
{
    uint64_t style = rng_u64(rng), seed = rng_u64(rng);
    bool nothing = style % 12 == 0, biased = style >> 8 & 1,
         finite = a->mask.dtype != ATN_BOOL && (style >> 9 & 3) == 0;
    float no = !finite ? -INFINITY : a->mask.dtype == ATN_F16 ? -65504.0f : -FLT_MAX;
    int lo, hi;
    attention_row_range(a, i, &lo, &hi);
    if (nothing || lo >= hi) no = -INFINITY;
    for (int j = 0; j < a->Skv; j++) {
        uint32_t r = hash32((uint32_t)j, (uint32_t)seed, (uint32_t)(seed >> 32));
        x[j] = nothing || r % 3 == 0 ? no : biased ? bell(r * 0x9e3779b1u) : 0;
    }
    if (!nothing && finite && lo < hi) x[lo + (int)((style >> 16) % (uint64_t)(hi - lo))] = 0;
}

/* What programs build: zeros in one stretch of keys, -inf around it. */
static void mask_row_shaped(const atn_problem *p, int b, int i, float *x)
{
    int begin, end;
    problem_mask_range(p, b, i, &begin, &end);
    for (int j = 0; j < p->Skv; j++) x[j] = j >= begin && j < end ? 0 : -INFINITY;
}

static void make_mask(const atn_problem *p, const atn_args *a, atn_rng *rng)
{
    float *x = atn_alloc((size_t)a->Skv * sizeof *x);
    for (int b = 0; b < a->B; b++)
        for (int i = 0; i < a->Sq; i++) {
            if (p->mask_shape == ATN_MASK_RANDOM) mask_row(a, i, rng, x);
            else mask_row_shaped(p, b, i, x);
            char *out = row_at(&a->mask, b, 0, i);
            if (a->mask.dtype != ATN_BOOL) store(out, a->mask.dtype, x, a->Skv);
            else
                for (int j = 0; j < a->Skv; j++) out[j] = x[j] > -INFINITY;
        }
    free(x);
}

static void make_per_head(const atn_args *a, atn_rng *rng)
{
    for (int h = 0; a->sinks && h < a->Hq; h++) ((float *)a->sinks)[h] = (float)(3 * rng_normal(rng));
    for (int h = 0; a->alibi && h < a->Hq; h++) ((float *)a->alibi)[h] = exp2f(-8.0f * (float)(h + 1) / (float)a->Hq);
}

void data_fill(const atn_problem *p, const atn_layout *l, const atn_args *args, atn_data kind, atn_rng *rng)
{
    maker m = {.p = p, .a = args, .kind = kind};
    ATN_CHECK((int)kind >= 0 && kind < ATN_DATA_COUNT);
    for (int t = 0; t < ATN_T_COUNT; t++) m.seed[t] = rng_u64(rng);
    m.special = rng_u64(rng);
    if (p->cache_rows > p->Skv) {              /* all bits set is NaN in every type */
        memset(args->k.ptr, 0xff, (size_t)l->bytes[ATN_T_K]);
        memset(args->v.ptr, 0xff, (size_t)l->bytes[ATN_T_V]);
    }
    make_tensor(&m, ATN_T_Q, &args->q, p->Hq, p->Sq, p->D);
    make_tensor(&m, ATN_T_K, &args->k, p->Hkv, p->Skv, p->D);
    make_tensor(&m, ATN_T_V, &args->v, p->Hkv, p->Skv, p->Dv);
    if (kind == ATN_DATA_NEEDLE) plant_needles(&m);
    if (kind == ATN_DATA_INVALID) plant_nans(&m);
    if (args->mask.ptr) make_mask(p, args, rng);
    make_per_head(args, rng);
}

/* Rows in use of one tensor, block by contiguous block. */
static void fill_used(const atn_tensor *t, int B, int H, int64_t rows, int64_t last, bool token_major, uint64_t seed)
{
    if (token_major)                            /* one block per batch holds all heads */
        for (int b = 0; b < B; b++) fill_block(row_at(t, b, 0, 0), t->dtype, rows * H * last, mix3(seed, b, 0, 0));
    else
        for (int b = 0; b < B; b++)
            for (int h = 0; h < H; h++) fill_block(row_at(t, b, h, 0), t->dtype, rows * last, mix3(seed, b, h, 0));
}

void data_fill_fast(const atn_problem *p, const atn_layout *l, const atn_args *args, uint64_t seed)
{
    (void)l;
    atn_rng rng = rng_make(seed, 0xfa57, 0);
    fill_used(&args->q, p->B, p->Hq, p->Sq, p->D, p->token_major, rng_u64(&rng));
    fill_used(&args->k, p->B, p->Hkv, p->Skv, p->D, p->token_major, rng_u64(&rng));
    fill_used(&args->v, p->B, p->Hkv, p->Skv, p->Dv, p->token_major, rng_u64(&rng));
    if (args->mask.ptr) make_mask(p, args, &rng);
    make_per_head(args, &rng);
}
