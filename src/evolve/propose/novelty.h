/* Is a program new? Its shape (names, blanks and comments apart) and a MinHash sketch of its tokens. Decided before a build. */
#ifndef ATN_EVOLVE_NOVELTY_H
#define ATN_EVOLVE_NOVELTY_H

#include <stdint.h>

enum { NOVELTY_HASHES = 128 };

typedef struct {
    uint64_t shape;
    uint32_t least[NOVELTY_HASHES];
} novelty_sketch;

void novelty_make(const char *source, novelty_sketch *out);
double novelty_alike(const novelty_sketch *a,
                     const novelty_sketch *b); /* share of common shingles, estimated; 1 for equal shapes */

#endif
