/* attune/amx.h without tiles: what its instructions do, in plain C, so that kernels that use them are tested on machines
 * that have only the vectors beside them (AVX-512 with bf16). Stands before the real one in the include path.
 *
 * Shapes that the CPU would refuse trap. Sums are taken in the order of pairs; the CPU's rounding within one is not
 * imitated. Where the compiler may use real tiles, they are used. */
#ifdef __AMX_BF16__
#include "../../../../include/attune/amx.h"
#endif
#ifndef ATTUNE_AMX_H
#define ATTUNE_AMX_H

#include <string.h>

#include "attune/vec.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && ATN_VEC_BITS == 512
#define ATN_AMX 1

static __thread struct {
    int rows[8], bytes[8];
    unsigned char at[8][16][64];
} tiles;

#define amx_zero(t) memset(tiles.at[t], 0, sizeof tiles.at[t])
#define amx_load(t, p, stride) tile_load(t, (const char *)(p), stride)
#define amx_store(t, p, stride) tile_store(t, (char *)(p), stride)
#define amx_dot(c, a, b) tile_dot(c, a, b)

static __attribute__((noinline, unused)) void tile_load(int t, const char *p, int64_t stride)
{
    amx_zero(t);
    for (int r = 0; r < tiles.rows[t]; r++) memcpy(tiles.at[t][r], p + r * stride, (size_t)tiles.bytes[t]);
}

static __attribute__((noinline, unused)) void tile_store(int t, char *p, int64_t stride)
{
    for (int r = 0; r < tiles.rows[t]; r++) memcpy(p + r * stride, tiles.at[t][r], (size_t)tiles.bytes[t]);
}

static __attribute__((noinline, unused)) void tile_dot(int c, int a, int b)
{
    if (tiles.rows[c] != tiles.rows[a] || tiles.bytes[c] != tiles.bytes[b] || tiles.bytes[a] != 4 * tiles.rows[b])
        __builtin_trap();
    for (int r = 0; r < tiles.rows[c]; r++)
        for (int n = 0; n < tiles.bytes[c]; n += 4) {
            float sum, x, y;
            memcpy(&sum, tiles.at[c][r] + n, 4);
            for (int k = 0; k < tiles.bytes[a]; k += 2) {
                const unsigned char *l = tiles.at[a][r] + k, *m = tiles.at[b][k / 4] + n + k % 4;
                const uint32_t left = ((uint32_t)l[1] << 8 | l[0]) << 16, right = ((uint32_t)m[1] << 8 | m[0]) << 16;
                memcpy(&x, &left, 4), memcpy(&y, &right, 4);
                sum += x * y;
            }
            memcpy(tiles.at[c][r] + n, &sum, 4);
        }
}

ATN_INLINE void amx_begin_for(int rows)
{
    memset(&tiles, 0, sizeof tiles);
    for (int t = 0; t < 8; t++) {
        tiles.rows[t] = t < 6 ? rows : 16;
        tiles.bytes[t] = 64;
    }
}

ATN_INLINE void amx_begin(void) { amx_begin_for(16); }
ATN_INLINE void amx_end(void) { memset(&tiles, 0, sizeof tiles); } /* a tile that is used after it has no rows */

ATN_INLINE vi amx_pair_bits(vh a, vh b)
{
    return (vi)(__builtin_convertvector(a, vu) | __builtin_convertvector(b, vu) << 16);
}

ATN_INLINE vi amx_pair(vf a, vf b) { return amx_pair_bits(vf_to_bf16(a), vf_to_bf16(b)); }
#endif
#endif
