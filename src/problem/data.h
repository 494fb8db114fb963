/* Data makers: fresh inputs for a problem, of a kind that stresses something. */
#ifndef ATN_PROBLEM_DATA_H
#define ATN_PROBLEM_DATA_H

#include "base/rng.h"
#include "problem/problem.h"

#define ATN_DATA_LIST(X)                                                                  \
    X(NORMAL, "normal")        /* N(0,1): logits of std about 1 */                        \
    X(PEAKED, "peaked")        /* q x 4: few keys dominate; catches skipped keys */       \
    X(NEEDLE, "needle")        /* one dominating key, planted in a random place per row block, ends included */ \
    X(UNIFORM, "uniform")      /* U[0,1) */                                               \
    X(TINY, "tiny")            /* N(0,1) x 1e-6 (1e-2 in f16, which ends at 6e-8) */          \
    X(HUGE, "huge")            /* logits to +-1e4 (f16: within range) */                  \
    X(RISING, "rising")        /* maxima rise slowly along the keys: lazy rescaling */    \
    X(EQUAL, "equal")          /* all scores equal */                                     \
    X(DENORMAL, "denormal")    /* V of denormals (bf16: small normals, see data.c) */         \
    X(OFFSET, "offset")        /* V with a large mean: cancellation */                    \
    X(INVALID, "nan")          /* one NaN in each head of q, of k or of v: it must come out in the rows it reaches */

typedef enum {
#define ATN_X(name, text) ATN_DATA_##name,
    ATN_DATA_LIST(ATN_X)
#undef ATN_X
    ATN_DATA_COUNT
} atn_data;

const char *data_name(atn_data kind);

/* Fills the tensors that tensor pointers in args name (q, k, v, and mask, sinks, alibi where present), whole storage
 * included (padding rows of a cache get NaN, which a kernel must never use). Random masks forbid about a third of
 * the keys and, with some probability, whole rows. Deterministic in (kind, rng). Cost about 1 ns per element. */
void data_fill(const atn_problem *p, const atn_layout *l, const atn_args *args, atn_data kind, atn_rng *rng);

/* Only for timing: NORMAL data from a fast generator (a few bits of entropy per value are enough), about 0.4 ns per
 * element. Padding rows of a cache are left as they are: call data_fill once before, so that they hold NaN. */
void data_fill_fast(const atn_problem *p, const atn_layout *l, const atn_args *args, uint64_t seed);

#endif
