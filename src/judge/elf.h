/* Static check of a candidate's shared object, before any loader sees it: bounds-checked, reads only what a loader
 * would.
 *
 * The object's contents are untrusted. elf_check never reads outside data[0..n). */
#ifndef ATN_JUDGE_ELF_H
#define ATN_JUDGE_ELF_H

#include <stddef.h>

#include "judge/verdict.h"

typedef struct {
    atn_reason reason; /* OK, SYMBOLS, STATE or LOAD */
    char evidence[400];
    char hash[33]; /* of all that is loaded: equal code and constants, equal hash */
} elf_report;

void elf_check(const void *data, size_t n, elf_report *out);

#endif
