/* xoshiro256++ seeded by SplitMix64 from (seed, stream, index). */
#include "base/rng.h"

#include <math.h>
#include <sys/random.h>

#include "base/status.h"

uint64_t rng_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

atn_rng rng_make(uint64_t seed, uint64_t stream, uint64_t index)
{
    atn_rng r;
    uint64_t x = rng_mix(rng_mix(rng_mix(seed) ^ stream) ^ index);
    for (int i = 0; i < 4; i++) r.s[i] = x = rng_mix(x);
    return r;
}

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

uint64_t rng_u64(atn_rng *r)
{
    uint64_t *s = r->s, result = rotl(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint32_t rng_below(atn_rng *r, uint32_t n)
{
    ATN_ASSERT(n > 0);
    uint64_t m = (uint64_t)(uint32_t)(rng_u64(r) >> 32) * n;
    if ((uint32_t)m < n) {                     /* Lemire 2019: reject the few values that would bias */
        uint32_t floor = -n % n;
        while ((uint32_t)m < floor) m = (uint64_t)(uint32_t)(rng_u64(r) >> 32) * n;
    }
    return (uint32_t)(m >> 32);
}

double rng_f64(atn_rng *r) { return (double)(rng_u64(r) >> 11) * 0x1p-53; }

double rng_normal(atn_rng *r)
{
    double u = 1.0 - rng_f64(r), v = rng_f64(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

uint64_t rng_secret(void)
{
    uint64_t x;
    ATN_CHECK(getrandom(&x, sizeof x, 0) == sizeof x);
    return x;
}
