/* Is a program new? Its shape (names, blanks and comments apart) and a MinHash sketch of its tokens. Decided before a build.
 *
 * Two programs of one family are always alike; what matters is whether the change is. So there is a sketch of what a
 * program has that its parent has not: the same edit again, in other words, has the same. */
#ifndef ATN_EVOLVE_NOVELTY_H
#define ATN_EVOLVE_NOVELTY_H

#include <stdbool.h>
#include <stdint.h>

enum { NOVELTY_HASHES = 128 };

typedef struct {
    uint64_t shape;
    uint32_t least[NOVELTY_HASHES];
} novelty_sketch;

void novelty_make(const char *source, novelty_sketch *out);
/* Of the tokens of `source` that do not stand so in `parent`; shape is 0. False: there are fewer than `least`. */
bool novelty_make_change(const char *source, const char *parent, int least, novelty_sketch *out);
double novelty_alike(const novelty_sketch *a,
                     const novelty_sketch *b); /* share of common shingles, estimated; 1 for equal shapes */

#endif
