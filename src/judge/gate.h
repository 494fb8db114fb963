/* The gate: a candidate's text before any compiler sees it. Size, markers, constructs that a kernel may not contain.
 *
 * It is there for quick and plain feedback. It is never the defence: what slips through meets the sandbox. */
#ifndef ATN_JUDGE_GATE_H
#define ATN_JUDGE_GATE_H

#include "judge/verdict.h"

enum { GATE_SOURCE_MAX = 256 << 10 };

typedef struct {
    atn_reason reason;  /* OK, TOO_LARGE, MARKERS or FORBIDDEN */
    char evidence[400]; /* "line 12: inline assembly (asm)" */
} gate_report;

/* `original` (may be NULL): the text whose lines outside the markers must be the same. whole_file: no markers needed.
 */
void gate_check(const char *source, const char *original, bool whole_file, gate_report *out);

/* Compiler flags that a proposer chose: each word from the allow-list. */
void gate_check_flags(const char *flags, gate_report *out);
/* The extra flags that a program's heading names ("Compiler: gcc 12.2.0, extra flags -mprefer-vector-width=256."
 * at the end of its first comment, as an evolution writes it), or NULL: none, or none that the allow-list knows. Caller frees. */
char *gate_heading_flags(const char *source);

#endif
