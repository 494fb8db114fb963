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

#endif
