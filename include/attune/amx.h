/* attune/amx.h - bf16 matrix tiles of x86 (AMX) for attention kernels, next to attune/vec.h (512-bit vectors).
 *
 *     amx_begin();                                   once per task: eight tiles of 16 rows x 64 bytes
 *     amx_zero(0); amx_load(4, a, 64); amx_load(6, b, 64);
 *     amx_dot(0, 4, 6);                              tile0[r][c] += sum over pairs a[r][2p..2p+1] . b[p][c][0..1]
 *     amx_store(0, out, 64);
 *     amx_end();                                     before the task returns
 *
 * A tiles hold 16 rows of 32 bf16; B tiles hold 16 pairs: row p has, for each of 16 columns, elements 2p and 2p + 1.
 * Tile numbers are literals. The host process has asked the kernel for permission to use the tiles. */
#ifndef ATTUNE_AMX_H
#define ATTUNE_AMX_H

#include "attune/vec.h"

#if (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__AVX512BF16__) && defined(__AVX512BW__) \
    && ATN_VEC_BITS == 512
#define ATN_AMX 1

#define amx_zero(t) __asm__ volatile("tilezero %%tmm" #t ::: "memory")
#define amx_load(t, p, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"((const void *)(p)), "r"((int64_t)(stride)) : "memory")
#define amx_store(t, p, stride) \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"((void *)(p)), "r"((int64_t)(stride)) : "memory")
#define amx_dot(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory")

/* Sums, tiles 0 to 3, and A, 4 and 5, have so many rows: no memory is needed for others. B is 6 and 7. */
ATN_INLINE void amx_begin_for(int rows)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } c = {.palette = 1};
    for (int i = 0; i < 8; i++) c.bytes[i] = 64, c.rows[i] = (uint8_t)(i < 6 ? rows : 16);
    __asm__ volatile("ldtilecfg %0" ::"m"(c) : "memory");
}

ATN_INLINE void amx_begin(void) { amx_begin_for(16); }
ATN_INLINE void amx_end(void) { __asm__ volatile("tilerelease" ::: "memory"); }

/* bf16(a) in the low half of each lane, bf16(b) in the high half: one row of a B tile from two rows of floats. */
ATN_INLINE vi amx_pair(vf a, vf b)
{
    typedef short s32 __attribute__((vector_size(64)));
#ifdef __clang__
    s32 x = (s32)__builtin_ia32_cvtne2ps2bf16_512(b, a);
#elif __GNUC__ >= 13
    s32 x = (s32)__builtin_ia32_cvtne2ps2bf16_v32bf(b, a);
#else
    s32 x = (s32)__builtin_ia32_cvtne2ps2bf16_v32hi(b, a);
#endif
    return (vi)__builtin_shufflevector(x, x, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10,
                                       26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/* The same from bf16 bits. */
ATN_INLINE vi amx_pair_bits(vh a, vh b)
{
    return (vi)(__builtin_convertvector(a, vu) | __builtin_convertvector(b, vu) << 16);
}
#endif
#endif
