/* attune/vec.h - vectors of floats for attention kernels, over GCC/Clang vector extensions.
 *
 * VL floats per vector: 16 (AVX-512), 8 (AVX2), 4 (NEON, anything else). Define ATN_VEC_BITS (512, 256, 128) before the
 * include to choose a narrower one, e.g. 256 on a machine with AVX-512. No <immintrin.h>: parsing it costs more than
 * compiling a kernel. Everything is static inline; pointers need only the alignment of their element.
 *
 *     vf x = vf_load(p), y = vf_splat(2.0f);
 *     vf_store(p, vf_fma(x, y, vf_exp2(x - y, 5)));
 *
 * NaN: + - * and vf_exp2, vf_tanh keep it; vf_max(a, b) gives b where either is NaN, so carry NaN through the sum. */
#ifndef ATTUNE_VEC_H
#define ATTUNE_VEC_H

#include <stddef.h>
#include <stdint.h>

#ifndef ATN_VEC_BITS
#  if defined(__AVX512F__)
#    define ATN_VEC_BITS 512
#  elif defined(__AVX__)
#    define ATN_VEC_BITS 256
#  else
#    define ATN_VEC_BITS 128
#  endif
#endif
#define VL (ATN_VEC_BITS / 32)

/* Vector registers: what accumulators and operands of a register tile must fit in. */
#if defined(__AVX512VL__) || defined(__AVX512F__) || defined(__aarch64__)
#  define VF_REGS 32
#else
#  define VF_REGS 16
#endif

_Static_assert(VL == 4 || VL == 8 || VL == 16, "ATN_VEC_BITS is 128, 256 or 512");
#if defined(__x86_64__) && ATN_VEC_BITS == 512 && !defined(__AVX512F__)
#  error "ATN_VEC_BITS 512 needs AVX-512"
#elif defined(__x86_64__) && ATN_VEC_BITS == 256 && !defined(__AVX__)
#  error "ATN_VEC_BITS 256 needs AVX"
#endif

typedef float    vf __attribute__((vector_size(VL * 4)));
typedef int32_t  vi __attribute__((vector_size(VL * 4)));        /* also masks: 0 or -1 per lane */
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef float    vf_any __attribute__((vector_size(VL * 4), aligned(1), may_alias));
typedef int32_t  vi_any __attribute__((vector_size(VL * 4), aligned(1), may_alias));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));        /* f16 or bf16 bits */
typedef uint16_t vh_any __attribute__((vector_size(VL * 2), aligned(1), may_alias));
typedef uint8_t  vb_any __attribute__((vector_size(VL), aligned(1), may_alias));
typedef float    scalar_f32 __attribute__((aligned(1), may_alias));
typedef uint16_t scalar_u16 __attribute__((aligned(1), may_alias));
typedef int32_t  scalar_i32 __attribute__((aligned(1), may_alias));

#define ATN_INLINE static inline __attribute__((always_inline, unused))
#define VF_INF __builtin_inff()

/* Before a `for`: n rounds at once; or all of them, at most n, their number known to the compiler. The latter is what keeps
 * an array of vectors in registers, and clang does not do it for a count greater than the number of rounds. */
#define ATN_PRAGMA(x) _Pragma(#x)
#ifdef __clang__
#  define ATN_UNROLL(n) ATN_PRAGMA(clang loop unroll_count(n))
#  define ATN_UNROLL_ALL(n) ATN_PRAGMA(clang loop unroll(full))
#else
#  define ATN_UNROLL(n) ATN_PRAGMA(GCC unroll n)
#  define ATN_UNROLL_ALL(n) ATN_PRAGMA(GCC unroll n)
#endif

/* Hides a value from the optimiser, so that (x + big) - big survives -fassociative-math. Costs no instruction. */
#if defined(__AVX512F__)
#  define VF_OPAQUE(x) __asm__("" : "+v"(x))
#elif defined(__x86_64__)
#  define VF_OPAQUE(x) __asm__("" : "+x"(x))
#elif defined(__aarch64__)
#  define VF_OPAQUE(x) __asm__("" : "+w"(x))
#else
#  define VF_OPAQUE(x) __asm__("" : "+m"(x))
#endif

/* ---- load, store, make ---- */

ATN_INLINE vf vf_load(const void *p) { return *(const vf_any *)p; }
ATN_INLINE void vf_store(void *p, vf x) { *(vf_any *)p = x; }
ATN_INLINE vf vf_splat(float x) { return x - (vf){0}; }
ATN_INLINE vi vi_splat(int32_t x) { return x - (vi){0}; }
ATN_INLINE vi vi_load(const void *p) { return *(const vi_any *)p; }
ATN_INLINE vf vf_zero(void) { return (vf){0}; }

ATN_INLINE vi vi_iota(void)
{
#if VL == 16
    return (vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif VL == 8
    return (vi){0, 1, 2, 3, 4, 5, 6, 7};
#else
    return (vi){0, 1, 2, 3};
#endif
}

#define VF_FIRST(n) ((unsigned short)((1u << ((n) > VL ? VL : (n) < 0 ? 0 : (n))) - 1))  /* lanes, for the masks of AVX-512 */

/* The first n lanes, 0 <= n <= VL; other lanes are 0 and their memory is not touched. */
ATN_INLINE vf vf_load_n(const void *p, int n)
{
#if defined(__AVX512F__) && ATN_VEC_BITS == 512
    return (vf)__builtin_ia32_loadups512_mask((void *)p, (vf){0}, VF_FIRST(n));
#else
    vf r = {0};
    for (int i = 0; i < VL; i++)
        if (i < n) r[i] = ((const scalar_f32 *)p)[i];
    return r;
#endif
}

/* The mask by name where there is one: gcc 12 turns the plain loop into a masked extract to memory, which faults on lanes
 * that it does not store (seen at the end of a page with -march=native and 256-bit preference). */
ATN_INLINE void vf_store_n(void *p, vf x, int n)
{
#if defined(__AVX512F__) && ATN_VEC_BITS == 512
    __builtin_ia32_storeups512_mask((void *)p, x, VF_FIRST(n));
#else
    for (int i = 0; i < VL; i++)
        if (i < n) ((scalar_f32 *)p)[i] = x[i];
#endif
}

/* The lower half of the lanes to one place, the upper to another. */
ATN_INLINE void vf_store_halves(float *low, float *high, vf x)
{
    typedef float half __attribute__((vector_size(VL * 2), aligned(1), may_alias));
#if VL == 16
    *(half *)low = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7);
    *(half *)high = __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
#elif VL == 8
    *(half *)low = __builtin_shufflevector(x, x, 0, 1, 2, 3);
    *(half *)high = __builtin_shufflevector(x, x, 4, 5, 6, 7);
#else
    *(half *)low = __builtin_shufflevector(x, x, 0, 1);
    *(half *)high = __builtin_shufflevector(x, x, 2, 3);
#endif
}

/* ---- arithmetic ---- */

ATN_INLINE vf vf_fma(vf a, vf b, vf c) { return a * b + c; }     /* one instruction under -ffp-contract=fast */

/* sum + x * y in this register and no other order: where a sum is long, compilers that may reassociate add products up
 * elsewhere first and run out of registers, and gcc 12 copies accumulators about. Against vf_fma in decode.c, f32, K and V in
 * caches (Zen 4): h32/8 s1/512 d64 1.47x, h16/8 s1/512 d128 1.19x, h4/1 s1/512 d256 1.56x. */
ATN_INLINE vf vf_add_product(vf sum, vf x, vf y)
{
#if defined(__AVX512F__)
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
#elif defined(__FMA__)
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "x"(y));
#else
    sum = vf_fma(x, y, sum);
    VF_OPAQUE(sum);
#endif
    return sum;
}

/* x * y - m, where m is such a product, rounded: the exponent of a weight. Fused, it leaves what rounding took from m, a
 * factor of all weights of a row; where m is beyond VF_FAR (`far`) that may be more than exponents hold, and the product
 * is rounded as well. */
#define VF_FAR 1048576.0f
ATN_INLINE vf vf_product_less(vf x, vf y, vf m, const int far)
{
    if (!far) return vf_fma(x, y, -m);
    x *= y;
    VF_OPAQUE(x);
    return x - m;
}

ATN_INLINE vf vf_sel(vi m, vf a, vf b) { return (vf)((m & (vi)a) | (~m & (vi)b)); }
ATN_INLINE vi vi_sel(vi m, vi a, vi b) { return (m & a) | (~m & b); }

ATN_INLINE vf vf_max(vf a, vf b)                                 /* b where either is NaN */
{
#if defined(__AVX512F__) && ATN_VEC_BITS == 512 && defined(__clang__)
    return (vf)__builtin_ia32_maxps512(a, b, 4);
#elif defined(__AVX512F__) && ATN_VEC_BITS == 512
    return (vf)__builtin_ia32_maxps512_mask(a, b, a, (unsigned short)-1, 4);
#elif defined(__AVX__) && ATN_VEC_BITS == 256
    return (vf)__builtin_ia32_maxps256(a, b);
#elif defined(__SSE__) && ATN_VEC_BITS == 128
    return (vf)__builtin_ia32_maxps(a, b);
#else
    return vf_sel((vi)(a > b), a, b);
#endif
}

ATN_INLINE vf vf_min(vf a, vf b) { return vf_sel((vi)(a < b), a, b); }
ATN_INLINE vf vf_abs(vf a) { return (vf)((vi)a & 0x7fffffff); }

/* 2^f for -1/2 <= f <= 1/2, relative error 1.7e-3, 7.5e-5, 2.6e-6, 2e-7, 1e-7 for degree 2, 3, 4, 5, 6 (minimax). */
ATN_INLINE vf vf_exp2_part(vf f, int degree)
{
    vf p;
    if (degree <= 2) {
        p = vf_splat(0.2384289355f);
        p = vf_fma(p, f, vf_splat(0.703448006f));
        p = vf_fma(p, f, vf_splat(1.000443142f));
    } else if (degree == 3) {
        p = vf_splat(0.05517167233f);
        p = vf_fma(p, f, vf_splat(0.2426111224f));
        p = vf_fma(p, f, vf_splat(0.6932609847f));
        p = vf_fma(p, f, vf_splat(0.9999280736f));
    } else if (degree == 4) {
        p = vf_splat(0.009570101863f);
        p = vf_fma(p, f, vf_splat(0.05591786034f));
        p = vf_fma(p, f, vf_splat(0.2402474483f));
        p = vf_fma(p, f, vf_splat(0.6931218147f));
        p = vf_fma(p, f, vf_splat(0.9999992614f));
    } else if (degree == 5) {
        p = vf_splat(0.001327647263f);
        p = vf_fma(p, f, vf_splat(0.009675541343f));
        p = vf_fma(p, f, vf_splat(0.05550713272f));
        p = vf_fma(p, f, vf_splat(0.2402211972f));
        p = vf_fma(p, f, vf_splat(0.6931469671f));
        p = vf_fma(p, f, vf_splat(1.000000072f));
    } else {
        p = vf_splat(0.0001534581216f);
        p = vf_fma(p, f, vf_splat(0.001339993118f));
        p = vf_fma(p, f, vf_splat(0.009618488956f));
        p = vf_fma(p, f, vf_splat(0.05550328777f));
        p = vf_fma(p, f, vf_splat(0.2402264689f));
        p = vf_fma(p, f, vf_splat(0.6931472057f));
        p = vf_fma(p, f, vf_splat(1.000000001f));
    }
    return p;
}

/* 2^x for x <= 127, with the error of vf_exp2_part. Exactly 0 for x <= -127, also for -inf; NaN stays NaN. The 127 of
 * the exponent bias sits in the constant that rounds, so that the low bits of t, shifted up, are the float 2^n. */
#define VF_EXP2_MAGIC (12582912.0f + 127.0f)
ATN_INLINE vf vf_exp2(vf x, int degree)
{
    const vf magic = vf_splat(VF_EXP2_MAGIC);
    x = vf_max(vf_splat(-127.0f), x);
    vf t = x + magic;
    VF_OPAQUE(t);
    vf n = t - magic;
    VF_OPAQUE(n);
    return vf_exp2_part(x - n, degree) * (vf)((vi)t << 23);
}

/* tanh, relative error below 3e-7: an odd polynomial near 0, where 1 - 2 / (1 + e^2x) would cancel. */
ATN_INLINE vf vf_tanh(vf x)
{
    vf a = vf_abs(x), z = x * x;
    vf p = vf_splat(-0.005659992064f);
    p = vf_fma(p, z, vf_splat(0.02059099118f));
    p = vf_fma(p, z, vf_splat(-0.05372106894f));
    p = vf_fma(p, z, vf_splat(0.1333112755f));
    p = vf_fma(p, z, vf_splat(-0.3333326053f));
    p = vf_fma(p, z, vf_splat(0.9999999961f)) * x;
    vf e = vf_exp2(a * vf_splat(-2.885390082f), 6);              /* e^-2|x| */
    vf q = (1.0f - e) / (1.0f + e);
    q = (vf)((vi)q | ((vi)x & vi_splat((int32_t)0x80000000u)));
    return vf_sel((vi)(a < vf_splat(0.625f)), p, q);
}

/* Lanes that are NaN or infinite, by bits: the flags of kernels fold x * 0 and x - x away. */
ATN_INLINE vi vf_nonfinite(vf x) { return (vi)(((vi)x & 0x7f800000) == vi_splat(0x7f800000)); }

/* ---- across lanes ---- */

#if VL == 16
#  define VF_ROT8(x) __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#  define VF_ROT4(x) __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#  define VF_ROT2(x) __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#  define VF_ROT1(x) __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#elif VL == 8
#  define VF_ROT4(x) __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3)
#  define VF_ROT2(x) __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5)
#  define VF_ROT1(x) __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6)
#else
#  define VF_ROT2(x) __builtin_shufflevector(x, x, 2, 3, 0, 1)
#  define VF_ROT1(x) __builtin_shufflevector(x, x, 1, 0, 3, 2)
#endif

ATN_INLINE int mask_any(vi m)                                    /* whether a mask has any lane set */
{
#if VL == 16
    m |= VF_ROT8(m);
#endif
#if VL >= 8
    m |= VF_ROT4(m);
#endif
    m |= VF_ROT2(m);
    m |= VF_ROT1(m);
    return m[0] != 0;
}

ATN_INLINE float vf_hsum(vf x)
{
#if VL == 16
    x += VF_ROT8(x);
#endif
#if VL >= 8
    x += VF_ROT4(x);
#endif
    x += VF_ROT2(x);
    x += VF_ROT1(x);
    return x[0];
}

ATN_INLINE float vf_hmax(vf x)
{
#if VL == 16
    x = vf_max(x, VF_ROT8(x));
#endif
#if VL >= 8
    x = vf_max(x, VF_ROT4(x));
#endif
    x = vf_max(x, VF_ROT2(x));
    x = vf_max(x, VF_ROT1(x));
    return x[0];
}

/* x[r] lane c <-> x[c] lane r, in place: log2(VL) rounds of exchanging halves of distance 8, 4, 2, 1. */
ATN_INLINE void vf_transpose(vf x[VL])
{
#define ATN_EXCHANGE(s, LO, HI)                                                     \
    for (int i = 0; i < VL; i++)                                                    \
        if (!(i & (s))) {                                                           \
            vf a = x[i], b = x[i + (s)];                                            \
            x[i] = __builtin_shufflevector(a, b, LO);                               \
            x[i + (s)] = __builtin_shufflevector(a, b, HI);                         \
        }
#define ATN_LIST(...) __VA_ARGS__
#if VL == 16
    ATN_UNROLL_ALL(16)
    ATN_EXCHANGE(8, ATN_LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
                 ATN_LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
    ATN_UNROLL_ALL(16)
    ATN_EXCHANGE(4, ATN_LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
                 ATN_LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
    ATN_UNROLL_ALL(16)
    ATN_EXCHANGE(2, ATN_LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
                 ATN_LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
    ATN_UNROLL_ALL(16)
    ATN_EXCHANGE(1, ATN_LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
                 ATN_LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
#elif VL == 8
    ATN_UNROLL_ALL(8)
    ATN_EXCHANGE(4, ATN_LIST(0, 1, 2, 3, 8, 9, 10, 11), ATN_LIST(4, 5, 6, 7, 12, 13, 14, 15))
    ATN_UNROLL_ALL(8)
    ATN_EXCHANGE(2, ATN_LIST(0, 1, 8, 9, 4, 5, 12, 13), ATN_LIST(2, 3, 10, 11, 6, 7, 14, 15))
    ATN_UNROLL_ALL(8)
    ATN_EXCHANGE(1, ATN_LIST(0, 8, 2, 10, 4, 12, 6, 14), ATN_LIST(1, 9, 3, 11, 5, 13, 7, 15))
#else
    ATN_UNROLL_ALL(4)
    ATN_EXCHANGE(2, ATN_LIST(0, 1, 4, 5), ATN_LIST(2, 3, 6, 7))
    ATN_UNROLL_ALL(4)
    ATN_EXCHANGE(1, ATN_LIST(0, 4, 2, 6), ATN_LIST(1, 5, 3, 7))
#endif
#undef ATN_EXCHANGE
#undef ATN_LIST
}

/* ---- f16 and bf16 ---- */

ATN_INLINE vf vf_from_bf16(vh h) { return (vf)(__builtin_convertvector(h, vu) << 16); }

ATN_INLINE vh vf_to_bf16(vf x)                                   /* round to nearest even, NaN stays NaN */
{
    vu b = (vu)x, top = b >> 16, r = (b + 0x7fffu + (top & 1u)) >> 16;
    return __builtin_convertvector((vu)vi_sel((vi)(x != x), (vi)(top | 0x40u), (vi)r), vh);
}

ATN_INLINE vf vf_from_f16(vh h)
{
#if defined(__F16C__) && ATN_VEC_BITS == 256
    typedef short s8 __attribute__((vector_size(16)));
    return (vf)__builtin_ia32_vcvtph2ps256((s8)h);
#elif defined(__AVX512F__) && ATN_VEC_BITS == 512
    typedef short s16 __attribute__((vector_size(32)));
    return (vf)__builtin_ia32_vcvtph2ps512_mask((s16)h, (vf){0}, (unsigned short)-1, 4);
#elif defined(__aarch64__) && ATN_VEC_BITS == 128                /* gcc 12 makes 10 instructions of a convertvector */
    vf x;
    __asm__("fcvtl %0.4s, %1.4h" : "=w"(x) : "w"(h));
    return x;
#else
    vu w = __builtin_convertvector(h, vu), em = (w & 0x7fffu) << 13;
    vu top = (vu)(em >= (0x7c00u << 13)) & 0x7f800000u;          /* infinity and NaN */
    vf m = (vf)em * 0x1p112f;                                    /* rebias; also makes denormals normal */
    return (vf)((((vu)m & ~(vu)(em >= (0x7c00u << 13))) | (em & (vu)(em >= (0x7c00u << 13))) | top)
                | ((w & 0x8000u) << 16));
#endif
}

ATN_INLINE vh vf_to_f16(vf x)                                    /* round to nearest even */
{
#if defined(__F16C__) && ATN_VEC_BITS == 256
    return (vh)__builtin_ia32_vcvtps2ph256(x, 0);
#elif defined(__AVX512F__) && ATN_VEC_BITS == 512
    typedef short s16 __attribute__((vector_size(32)));
    return (vh)__builtin_ia32_vcvtps2ph512_mask(x, 0, (s16){0}, (unsigned short)-1);
#elif defined(__aarch64__) && ATN_VEC_BITS == 128
    vh h;
    __asm__("fcvtn %0.4h, %1.4s" : "=w"(h) : "w"(x));
    return h;
#else
    vu b = (vu)x, a = b & 0x7fffffffu, sign = (b >> 16) & 0x8000u;
    vu normal = (a + 0xfffu + ((a >> 13) & 1u) - (112u << 23)) >> 13;
    vf half = vf_splat(0.5f), tiny = (vf)a + half;               /* 0.5 has the ulp of an f16 denormal */
    VF_OPAQUE(tiny);
    vu r = normal, m = (vu)(a < (113u << 23));
    r = (m & ((vu)tiny - (vu)half)) | (~m & r);
    m = (vu)(a >= (143u << 23));
    r = (m & 0x7c00u) | (~m & r);
    m = (vu)(a > 0x7f800000u);
    r = (m & 0x7e00u) | (~m & r);
    return __builtin_convertvector(r | sign, vh);
#endif
}

/* Dot products of pairs of bf16, where the machine has them. A vector of pairs holds in each lane two bf16, the first in
 * the low half. By assembly: the builtins of compilers differ in name and types. Denormals count as zero.
 *
 * On Arm, sums are rounded to odd unless FPCR.EBF says otherwise: toward zero, then the last bit set where that was not
 * exact. Up to one ulp of f32 where nearest leaves half of one, as often up as down: far below what rounding to bf16 has
 * left in the operands, whose products are exact. Infinity stays infinity, a NaN comes out as the default one. */
#if defined(__AVX512BF16__) && ATN_VEC_BITS == 512
#define VF_DOT_BF16 1
ATN_INLINE vf vf_dot_bf16(vf sum, vi x, vi y)                    /* sum + x.low * y.low + x.high * y.high */
{
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
    return sum;
}

ATN_INLINE vi vf_pair_bf16(vf low, vf high)                      /* rounded to nearest even */
{
    typedef short s32 __attribute__((vector_size(64)));
    s32 x;
    __asm__("vcvtne2ps2bf16 %2, %1, %0" : "=v"(x) : "v"(high), "v"(low));
    return (vi)__builtin_shufflevector(x, x, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10,
                                       26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

ATN_INLINE vh vf_round_bf16(vf x)                                /* vf_to_bf16 in one instruction */
{
    vh h;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(h) : "v"(x));
    return h;
}
#elif defined(__aarch64__) && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) && ATN_VEC_BITS == 128
#define VF_DOT_BF16 1
ATN_INLINE vf vf_dot_bf16(vf sum, vi x, vi y)
{
    __asm__("bfdot %0.4s, %1.8h, %2.8h" : "+w"(sum) : "w"(x), "w"(y));
    return sum;
}

ATN_INLINE vh vf_round_bf16(vf x)
{
    vh h;
    __asm__("bfcvtn %0.4h, %1.4s" : "=w"(h) : "w"(x));
    return h;
}

ATN_INLINE vi vf_pair_bf16(vf low, vf high)
{
    vh a = vf_round_bf16(low), b = vf_round_bf16(high);
    return (vi)__builtin_shufflevector(a, b, 0, 4, 1, 5, 2, 6, 3, 7);
}

/* Two rows of x by two of y, of four bf16 each: lanes of the sum are 0 . 0, 0 . 1, 1 . 0, 1 . 1. An instruction of twice
 * the work of vf_dot_bf16 on the same pipes: both issue twice a cycle in LLVM's scheduling model of the Neoverse N2. */
ATN_INLINE vf vf_mm_bf16(vf sum, vi x, vi y)
{
    __asm__("bfmmla %0.4s, %1.8h, %2.8h" : "+w"(sum) : "w"(x), "w"(y));
    return sum;
}
#endif

/* ---- masks ---- */

/* Whether the elements at p, so many bytes, repeat the 32-bit word w, which is one element or equal ones. */
ATN_INLINE int mask_repeats(const char *p, int bytes, uint32_t w)
{
    vi differs = vi_splat(0), word = vi_splat((int32_t)w);
    const int whole = bytes >= VL * 4;
    for (; bytes >= VL * 4; bytes -= VL * 4, p += VL * 4) differs |= vi_load(p) ^ word;
    if (whole && bytes) differs |= vi_load(p + bytes - VL * 4) ^ word; /* any element may begin a word */
    int rest = 0;
    for (int i = 0; i < bytes && !whole; i++) rest |= (unsigned char)p[i] ^ (w >> i % 4 * 8 & 255);
    return !rest && !mask_any(differs);
}

/* What a mask leaves of n keys to some rows, so that a kernel need not compute what is forbidden: outside [lo, hi), in
 * steps of 32 keys, every row is forbidden every key (0 in a boolean mask, -inf in others); plain: it changes nothing in
 * any of them. Begin with {n, 0, 1} and look at each row; while rows agree that is one pass over them, and a stretch
 * where they do not ends it. `row` is the row's mask at the first of the n keys. */
typedef struct {
    int lo, hi, plain;
} mask_span;

static __attribute__((noinline, unused)) void mask_look(mask_span *s, const char *row, int dtype, int n)
{
    enum { STEP = 32 };
    const int elem = dtype == 0 ? 4 : dtype == 3 ? 1 : 2;
    const uint32_t no = dtype == 0 ? 0xff800000u : dtype == 3 ? 0 : 0xfc00fc00u, yes = dtype == 3 ? 0x01010101u : 0;
    int j = 0;
    while (j < s->lo && mask_repeats(row + j * elem, (n - j < STEP ? n - j : STEP) * elem, no)) j += STEP;
    if (j < s->lo) s->lo = j;
    for (j = (n - 1) / STEP * STEP; j >= s->hi; j -= STEP)
        if (!mask_repeats(row + j * elem, (n - j < STEP ? n - j : STEP) * elem, no)) {
            s->hi = n - j < STEP ? n : j + STEP;
            break;
        }
    for (j = 0; j < n && s->plain; j += STEP) s->plain = mask_repeats(row + j * elem, (n - j < STEP ? n - j : STEP) * elem, yes);
}

/* The same of so many rows, from key `first` of their masks on; rows of heads that share a mask follow each other. */
static __attribute__((noinline, unused)) void mask_look_rows(mask_span *s, const char *const *row, int rows, int first,
                                                             int dtype, int n)
{
    const int elem = dtype == 0 ? 4 : dtype == 3 ? 1 : 2;
    for (int c = rows - 1; c >= 0; c--) {
        if (c + 1 < rows && row[c] == row[c + 1]) continue;
        mask_look(s, row[c] + (int64_t)first * elem, dtype, n);
        if (s->lo == 0 && s->hi == n && !s->plain) break;
    }
}

/* Whether `row` shuts all of n keys but lo <= j <= hi and leaves these as they are: a causal order or a window that came as
 * a mask. lo > hi: it shuts all. */
static __attribute__((noinline, unused)) int mask_band(const char *row, int dtype, int n, int *lo, int *hi)
{
    const int elem = dtype == 0 ? 4 : dtype == 3 ? 1 : 2;
    const unsigned shut = dtype == 0 ? 0xff800000u : dtype == 3 ? 0 : 0xfc00u;
    mask_span s = {n, 0, 0};
    mask_look(&s, row, dtype, n);
#define SHUT(j) \
    ((dtype == 0 ? (unsigned)((const scalar_i32 *)row)[j] : dtype == 3 ? (unsigned char)row[j] \
      : ((const scalar_u16 *)row)[j]) == shut)
    while (s.lo < s.hi && SHUT(s.lo)) s.lo++;
    while (s.lo < s.hi && SHUT(s.hi - 1)) s.hi--;
#undef SHUT
    *lo = s.lo < s.hi ? s.lo : 0, *hi = s.hi - 1;
    return mask_repeats(row + (int64_t)s.lo * elem, (s.hi > s.lo ? s.hi - s.lo : 0) * elem, dtype == 3 ? 0x01010101u : 0);
}

/* Narrows the keys lo[r] <= j <= hi[r] of so many rows to what such masks leave of them. 0, and nothing is changed, where a
 * row is left other keys than a range of them, or the ranges do not ascend. */
static __attribute__((noinline, unused)) int mask_bands(const char *const *row, int rows, int dtype, int n, int32_t *lo,
                                                        int32_t *hi)
{
    enum { MOST = 256 };
    int32_t from[MOST], to[MOST];
    int first = 0, last = 0;
    for (int r = 0; r < rows; r++) {
        if (rows > MOST || ((r == 0 || row[r] != row[r - 1]) && !mask_band(row[r], dtype, n, &first, &last))) return 0;
        from[r] = first > lo[r] ? first : lo[r], to[r] = last < hi[r] ? last : hi[r];
        if (r > 0 && (from[r] < from[r - 1] || to[r] < to[r - 1])) return 0;
    }
    for (int r = 0; r < rows; r++) lo[r] = from[r], hi[r] = to[r];
    return 1;
}

/* VL elements of type dtype (0 f32, 1 f16, 2 bf16: attune/kernel.h's order), and the first n of them. */
ATN_INLINE vf vf_load_as(const void *p, int dtype)
{
    if (dtype == 0) return vf_load(p);
    vh h = *(const vh_any *)p;
    return dtype == 1 ? vf_from_f16(h) : vf_from_bf16(h);
}

ATN_INLINE void vf_store_as(void *p, vf x, int dtype)
{
    if (dtype == 0) vf_store(p, x);
    else *(vh_any *)p = dtype == 1 ? vf_to_f16(x) : vf_to_bf16(x);
}

ATN_INLINE vf vf_load_as_n(const void *p, int dtype, int n)
{
    if (n >= VL) return vf_load_as(p, dtype);
    if (dtype == 0) return vf_load_n(p, n);
    vh h = {0};
#if defined(__AVX512BW__) && defined(__AVX512VL__) && ATN_VEC_BITS == 512
    typedef short s16 __attribute__((vector_size(32)));
    h = (vh)__builtin_ia32_loaddquhi256_mask((void *)p, (s16){0}, VF_FIRST(n));
#else
    for (int i = 0; i < VL; i++)
        if (i < n) h[i] = ((const scalar_u16 *)p)[i];
#endif
    return dtype == 1 ? vf_from_f16(h) : vf_from_bf16(h);
}

ATN_INLINE void vf_store_as_n(void *p, vf x, int dtype, int n)
{
    if (dtype == 0) {
        vf_store_n(p, x, n);
        return;
    }
    vh h = dtype == 1 ? vf_to_f16(x) : vf_to_bf16(x);
    for (int i = 0; i < VL; i++)
        if (i < n) ((scalar_u16 *)p)[i] = h[i];
}

#endif
