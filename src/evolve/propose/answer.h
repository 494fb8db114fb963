/* An answer in words becomes a program: edits in SEARCH/REPLACE form, a unified diff, or a whole rewrite in a fence.
 *
 *     answer_program a;
 *     if (answer_apply(text, parent, &(answer_limits){0}, &a)) use(a.source);     // whole text of the new program
 *     else say(a.problem);                                  // which block, why, and the nearest line: for a repair
 *     answer_free(&a);
 *
 * Nothing is guessed: an edit that fits nowhere or twice, or that changes a line outside the EVOLVE-BLOCK markers, refuses
 * the whole answer. A parent without markers may be edited everywhere. Answers are untrusted: any bytes, any length. */
#ifndef ATN_EVOLVE_ANSWER_H
#define ATN_EVOLVE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

enum { ANSWER_BYTES_MAX = 4 << 20, ANSWER_BLOCKS_MAX = 200 };

typedef enum {
    ANSWER_OK,
    ANSWER_EMPTY,     /* no edit and no program in it */
    ANSWER_MALFORMED, /* a block or a fence that does not end, a delimiter out of place */
    ANSWER_NO_MATCH,
    ANSWER_AMBIGUOUS,
    ANSWER_OUTSIDE,
    ANSWER_TOO_LARGE,
    ANSWER_SAME /* changes nothing */
} answer_outcome;

typedef enum { ANSWER_EDITS, ANSWER_DIFF, ANSWER_REWRITE } answer_form;

typedef struct {
    size_t source_max; /* characters of a program; 0: 256 KiB */
} answer_limits;

typedef struct {
    char *source; /* NULL unless OK */
    answer_outcome outcome;
    answer_form form;
    int blocks;
    char problem[700]; /* in words */
    char note[200];    /* the answer's first sentence outside code, cleaned; "" */
} answer_program;

bool answer_apply(const char *answer, const char *parent, const answer_limits *limits, answer_program *out);
void answer_free(answer_program *a);
const char *answer_word(answer_outcome o);
/* Whether both have the same EVOLVE-BLOCK markers and the same lines around them; true where the parent has none. */
bool answer_keeps_outside(const char *parent, const char *source);

#endif
