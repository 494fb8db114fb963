/* Half types without help from the compiler: f16 (IEEE binary16) and bf16, by integer arithmetic, rounded to nearest
 * even.
 *
 * Branch-free, so that loops over them vectorise on every target; all 65536 values of each type survive the way to
 * float and back (tests/unit/t_reference.c). */
#ifndef ATN_PROBLEM_HALF_H
#define ATN_PROBLEM_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t bits_of_f32(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float f32_of_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float f32_of_bf16(uint16_t h) { return f32_of_bits((uint32_t)h << 16); }

static inline uint16_t bf16_of_f32(float x)
{
    uint32_t u = bits_of_f32(x), a = u & 0x7fffffffu;
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
    uint32_t quiet = (u >> 16) | 0x40u;                    /* a NaN stays one, whatever its low payload */
    return (uint16_t)(a > 0x7f800000u ? quiet : rounded);
}

static inline float f32_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, a = h & 0x7fffu;
    uint32_t value = bits_of_f32(f32_of_bits(a << 13) * 0x1p112f); /* exponent bias 15 -> 127, denormals too: exact */
    uint32_t special = a >= 0x7c00u ? 0x7f800000u : 0;                 /* Inf, NaN */
    return f32_of_bits(value | special | sign);
}

static inline uint16_t f16_of_f32(float x)
{
    uint32_t u = bits_of_f32(x), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
    uint32_t normal = (a - 0x38000000u + 0x0fffu + ((a >> 13) & 1)) >> 13;
    /* Below the smallest normal, adding 0.5 (whose ulp is f16's denormal step) rounds for us. */
    uint32_t small = bits_of_f32(f32_of_bits(a) + 0.5f) - 0x3f000000u;
    uint32_t over = a > 0x7f800000u ? 0x7e00u | ((a >> 13) & 0x03ffu) : 0x7c00u;
    uint32_t r = a >= 0x477ff000u ? over : a >= 0x38800000u ? normal : small;   /* 65520 and up rounds to Inf */
    return (uint16_t)(r | sign);
}

#endif
