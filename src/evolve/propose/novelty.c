/* Sketches: the least of each of 128 hash functions over all runs of five tokens, comments apart. */
#include "evolve/propose/novelty.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "base/status.h"
#include "evolve/knobs.h"
#include "evolve/lex.h"

enum { SHINGLE = 5 };

static void add_shingle(novelty_sketch *out, uint64_t h)
{
    uint32_t a = (uint32_t)h, b = (uint32_t)(h >> 32) | 1;
    for (int i = 0; i < NOVELTY_HASHES; i++) { /* double hashing, then mixed: cheap and good enough for a sketch */
        uint32_t x = (a + (uint32_t)i * b) * 0x9e3779b1u;
        x ^= x >> 15;
        if (x < out->least[i]) out->least[i] = x;
    }
}

/* Hashes of all runs of SHINGLE tokens; *calls names the functions that are called. The caller frees. */
static uint64_t *shingles(const char *source, int *n, uint64_t *calls)
{
    uint64_t last[SHINGLE] = {0}, *out = NULL;
    int tokens = 0, room = 0;
    bool name = false;
    *n = 0;
    *calls = 0;
    lex_state l = lex_start(source);
    for (lex_token t = lex_next(&l); t.kind != LEX_END; t = lex_next(&l)) {
        if (t.kind == LEX_COMMENT || t.kind == LEX_NEWLINE) continue;
        /* The shape forgets names; which function is called is no mere name. */
        if (name && lex_is(source, t, "(")) *calls = rng_mix(*calls ^ last[SHINGLE - 1]);
        name = t.kind == LEX_NAME;
        memmove(last, last + 1, sizeof last - sizeof *last);
        last[SHINGLE - 1] = hash_bytes(source + t.at, t.end - t.at);
        if (++tokens < SHINGLE) continue;
        if (*n == room) out = atn_realloc(out, sizeof *out * (size_t)(room = room ? 2 * room : 1024));
        out[(*n)++] = hash_bytes(last, sizeof last);
    }
    return out;
}

void novelty_make(const char *source, novelty_sketch *out)
{
    int n;
    uint64_t calls, *all = shingles(source, &n, &calls);
    memset(out->least, 0xff, sizeof out->least);
    for (int i = 0; i < n; i++) add_shingle(out, all[i]);
    out->shape = rng_mix(program_shape_hash(source) ^ calls);
    free(all);
}

static int by_hash(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

bool novelty_make_change(const char *source, const char *parent, int least, novelty_sketch *out)
{
    int n, m, fresh = 0;
    uint64_t calls, *mine = shingles(source, &n, &calls), *theirs = shingles(parent, &m, &calls);
    memset(out->least, 0xff, sizeof out->least);
    out->shape = 0;
    if (m) qsort(theirs, (size_t)m, sizeof *theirs, by_hash);
    for (int i = 0; i < n; i++) {
        if (m && bsearch(&mine[i], theirs, (size_t)m, sizeof *theirs, by_hash)) continue;
        add_shingle(out, mine[i]);
        fresh++;
    }
    free(mine);
    free(theirs);
    return fresh >= least;
}

double novelty_alike(const novelty_sketch *a, const novelty_sketch *b)
{
    int same = 0;
    if (a->shape && a->shape == b->shape) return 1;
    for (int i = 0; i < NOVELTY_HASHES; i++) same += a->least[i] == b->least[i];
    return (double)same / (NOVELTY_HASHES + 1); /* 1 is for equal shapes alone */
}
