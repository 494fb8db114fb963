/* Random numbers with a seed in every record: counter-based streams, so that no generator state is ever stored.
 *
 * rng_make(seed, stream, index) gives the same sequence on every machine; independent (stream, index) pairs give
 * independent sequences (SplitMix64 mixing feeding xoshiro256++, Blackman and Vigna 2019). */
#ifndef ATN_BASE_RNG_H
#define ATN_BASE_RNG_H

#include <stdint.h>

typedef struct {
    uint64_t s[4];
} atn_rng;

atn_rng rng_make(uint64_t seed, uint64_t stream, uint64_t index);
uint64_t rng_u64(atn_rng *r);
uint32_t rng_below(atn_rng *r, uint32_t n);   /* 0 .. n-1, unbiased; n >= 1 */
double rng_f64(atn_rng *r);                   /* [0, 1) */
double rng_normal(atn_rng *r);                /* mean 0, variance 1 */
uint64_t rng_secret(void);                    /* from the kernel's entropy: for judge inputs that nobody may guess */
uint64_t rng_mix(uint64_t x);                 /* SplitMix64 finaliser */

#endif
