/* Sketches: the least of each of 128 hash functions over all runs of five tokens, comments apart. */
#include "evolve/propose/novelty.h"

#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "evolve/knobs.h"
#include "evolve/lex.h"

enum { SHINGLE = 5 };

void novelty_make(const char *source, novelty_sketch *out)
{
    uint64_t last[SHINGLE] = {0}, calls = 0;
    int n = 0;
    bool name = false;
    memset(out->least, 0xff, sizeof out->least);
    lex_state l = lex_start(source);
    for (lex_token t = lex_next(&l); t.kind != LEX_END; t = lex_next(&l)) {
        if (t.kind == LEX_COMMENT || t.kind == LEX_NEWLINE) continue;
        /* The shape forgets names; which function is called is no mere name. */
        if (name && lex_is(source, t, "(")) calls = rng_mix(calls ^ last[SHINGLE - 1]);
        name = t.kind == LEX_NAME;
        memmove(last, last + 1, sizeof last - sizeof *last);
        last[SHINGLE - 1] = hash_bytes(source + t.at, t.end - t.at);
        if (++n < SHINGLE) continue;
        uint64_t h = hash_bytes(last, sizeof last);
        uint32_t a = (uint32_t)h, b = (uint32_t)(h >> 32) | 1;
        for (int i = 0; i < NOVELTY_HASHES; i++) { /* double hashing, then mixed: cheap and good enough for a sketch */
            uint32_t x = (a + (uint32_t)i * b) * 0x9e3779b1u;
            x ^= x >> 15;
            if (x < out->least[i]) out->least[i] = x;
        }
    }
    out->shape = rng_mix(program_shape_hash(source) ^ calls);
}

double novelty_alike(const novelty_sketch *a, const novelty_sketch *b)
{
    int same = 0;
    if (a->shape == b->shape) return 1;
    for (int i = 0; i < NOVELTY_HASHES; i++) same += a->least[i] == b->least[i];
    return (double)same / (NOVELTY_HASHES + 1); /* 1 is for equal shapes alone */
}
