/* What explains a candidate's speed: evidence for proposers and people, never a verdict.
 *
 *     atn_evidence e;
 *     judge_evidence(j, &built, &verdict, &e, &err);    // judge.h: all of it, for a right program
 *     char *text = evidence_text(&e);                  // for prompts and terminals; caller frees
 *     char *json = evidence_json(&e);                  // for the store (store_evidence_add) and scripts; caller frees
 *
 * The text is 3 to 14 lines of plain ASCII, at most EVIDENCE_TEXT bytes, each line "what: figures":
 *
 *     object code: 512-bit vectors; 96 FMA (96 packed), 0.38 loads each; 4 spill stores; 7362 instructions; 38.6 KiB
 *     compiler: 9 loops vectorised, 3 not
 *       line 108: control flow in loop | for (int t = 0; t < ATN_T_COUNT; t++)
 *     speed: bound by compute in 6 of 8 cases (44 to 71 % of FMA peak), by overhead in 2
 *       f32 s64 d64: overhead, 9 % of peak, 3 % of memory bandwidth
 *     counters: 3.1 instructions a cycle; per 1000 instructions 0.2 branch misses, 41 L1 misses, 0.9 last-level misses
 *
 * In a run every right program has it in the store: store_evidence_get(store, id) (for a program that is the same code as
 * another, under that one's id) is the JSON below; its member "text" is the text above.
 *
 * What could not be had says so in its line ("counters: not here: ..."). The JSON: {"object", "text", "code": {...} or null,
 * "loops": {"vectorised", "missed", "text"} or null, "cases": [{"case", "bound", "peak", "bandwidth"}], "counters": {...} or
 * null, "counters_text"}. */
#ifndef ATN_JUDGE_EVIDENCE_H
#define ATN_JUDGE_EVIDENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cpu.h"
#include "judge/verdict.h"
#include "problem/problem.h"

enum { EVIDENCE_TEXT = 4096 };

/* ---- object code ---- */

typedef struct {
    bool known;           /* false: text says why */
    int vector_bits;      /* widest registers that a multiply-add uses; 0: none is vectorised */
    int fmas, fmas_packed;
    int tile_multiplies;  /* AMX */
    int vector_loads;     /* of memory into a vector register, operands of multiply-adds included */
    int spill_stores;     /* vector registers stored to the stack */
    int instructions;
    int64_t bytes;        /* of the whole object; 0: not known */
    char text[200];
} evidence_code;

/* Counts are of instructions as they stand, not as often as they run. objdump reads the object in a process of its own
 * with limits on time and memory. */
void evidence_of_object(int so_fd, evidence_code *out);
/* The same from a disassembly (AT&T syntax of x86-64). */
void evidence_of_listing(const char *listing, evidence_code *out);

/* ---- what the compiler says of its loops ---- */

typedef struct {
    bool known;
    int vectorised, missed; /* innermost loops of the candidate's own file, each place counted once */
    char text[700];         /* a line for each missed loop, the first few: "  line 108: control flow in loop | for (...)" */
} evidence_loops;

/* From gcc's -fopt-info-vec-optimized-missed or clang's -Rpass=loop-vectorize and its sisters. `source` (may be NULL)
 * gives the text of the lines. The report was written by a process that had read the candidate: it is cleaned and capped. */
void evidence_of_report(const char *report, const char *source, evidence_loops *out);

/* ---- roofline ---- */

typedef enum {
    BOUND_UNKNOWN,
    BOUND_COMPUTE,   /* multiply-adds at the measured peak would take the larger part, and at least 30 % of the time */
    BOUND_BANDWIDTH, /* the same of bytes at the measured bandwidth of memory */
    BOUND_OVERHEAD   /* neither explains 30 % of it: exponentials, packing, edges, latency, scalar code */
} evidence_bound;

typedef struct {
    int case_index;
    evidence_bound bound;
    double peak, bandwidth; /* fractions of the machine's measured limits; data in caches may exceed memory's */
    char name[96];          /* the case as text */
} evidence_case;

const char *bound_word(evidence_bound b);
/* One call of `ns` on `threads` cores. */
void evidence_roofline(const atn_problem *p, const atn_peaks *peaks, int threads, double ns, evidence_case *out);

/* ---- counters ---- */

typedef struct {
    bool known; /* false: text says why */
    double instructions, cycles, branch_misses, l1_misses, last_misses; /* user mode, of one call; < 0: not counted here */
    char name[96]; /* the case that was run for it */
    char text[200];
} evidence_counters;

typedef struct counter_group counter_group;
/* Counters on a process (its first thread). NULL with *out saying why: no such hardware, not permitted. */
counter_group *counters_open(pid_t pid, evidence_counters *out);
void counters_start(counter_group *g);
void counters_stop(counter_group *g, int calls, evidence_counters *out);
void counters_close(counter_group *g); /* NULL is fine */
/* Can this machine count, in words: for `attune doctor`. */
bool counters_probe(char *text, size_t room);

/* ---- all of it ---- */

typedef struct {
    char object_hash[33];
    evidence_code code;
    evidence_loops loops;
    evidence_counters counters;
    int n_cases;
    evidence_case cases[ATN_CASES_MAX];
} atn_evidence;

char *evidence_text(const atn_evidence *e);
char *evidence_json(const atn_evidence *e);

#endif
