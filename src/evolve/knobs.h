/* Knobs: the tunable constants that a program declares where they stand.
 *
 *     #define BR 48        // knob: 16 24 32 48 64 96
 *     #define EXP_DEG 5    // knob: 3 4 5 6 ; polynomial degree
 *
 * A program with its knobs is a small search space; a point of it is one value (index) per knob. */
#ifndef ATN_EVOLVE_KNOBS_H
#define ATN_EVOLVE_KNOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { KNOBS_MAX = 64, KNOB_VALUES_MAX = 32 };

typedef struct {
    char name[48];
    long values[KNOB_VALUES_MAX];   /* as listed; the present value is added if it is not among them */
    int count;
    int now;                        /* index of the present value */
    int line;                       /* 1-based */
    char note[96];                  /* text after ';' */
} atn_knob;

typedef struct {
    atn_knob knob[KNOBS_MAX];
    int count;
} atn_knobs;

/* Finds the knobs of a source. FORMAT (with the line) for a knob comment that is malformed. No knobs is fine. */
atn_status knobs_parse(const char *source, atn_knobs *out, atn_error *err);
/* The source with the values at idx[0..count) put in; everything else byte for byte the same. Caller frees. */
char *knobs_apply(const char *source, const atn_knobs *k, const int *idx);
/* The source with all knob values replaced by the first listed one: equal families (same text, other values) give equal hashes. */
void knobs_family_hash(const char *source, char out[33]);

/* For people: knobs fixed at their present values, `#if`/`#elif`/`#else` branches that depend only on knobs and integer
 * constants resolved, dead branches and unused knobs removed, knob comments kept on the knobs that remain meaningful.
 * Compiles to the same code. Caller frees. */
char *program_prune(const char *source);

/* Unified diff (3 lines of context) of two texts, "" if equal. Caller frees. */
char *program_diff(const char *before, const char *after, const char *name_before, const char *name_after);

/* Structural fingerprint for "same program but for names, blanks and comments". */
uint64_t program_shape_hash(const char *source);

#endif
