/* What a candidate's object code says about its speed: evidence for proposers and people, never a verdict.
 *
 *     evidence_code e;
 *     evidence_of_object(built.so_fd, &e);
 *     puts(e.text);        // "512-bit vectors; 96 FMA, 0.38 loads each; 4 spill stores"  or  "skipped: no objdump here" */
#ifndef ATN_JUDGE_EVIDENCE_H
#define ATN_JUDGE_EVIDENCE_H

#include <stdbool.h>

typedef struct {
    bool known;           /* false: text says why */
    int vector_bits;      /* widest registers that a multiply-add uses; 0: none is vectorised */
    int fmas, fmas_packed;
    int tile_multiplies;  /* AMX */
    int vector_loads;     /* of memory into a vector register, operands of multiply-adds included */
    int spill_stores;     /* vector registers stored to the stack */
    int instructions;
    char text[200];
} evidence_code;

/* Counts are of instructions as they stand, not as often as they run. objdump reads the object in a process of its own
 * with limits on time and memory. */
void evidence_of_object(int so_fd, evidence_code *out);
/* The same from a disassembly (AT&T syntax of x86-64). */
void evidence_of_listing(const char *listing, evidence_code *out);

#endif
