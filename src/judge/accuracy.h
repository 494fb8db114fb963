/* The correctness campaign: does a built candidate compute attention? Stages QUICK and FULL, and held-out sizes.
 *
 *     check_context c = {.tolerance = 1, .threads = 1, .seed = rng_secret(), .program = "k.c"};
 *     status = accuracy_full(&c, so_fd, &verdict, &err);          // verdict.reason == ATN_REASON_OK: right
 *
 * A check fills fresh inputs, runs the kernel in a worker with poisoned outputs, compares every row with fp64 (many
 * rows where the problem is large), and runs it once more: same inputs must give the same bits. Small problems are
 * run again at the same addresses with other contents. The first failure ends the campaign. */
#ifndef ATN_JUDGE_ACCURACY_H
#define ATN_JUDGE_ACCURACY_H

#include "base/status.h"
#include "judge/verdict.h"
#include "problem/data.h"
#include "problem/problem.h"
#include "problem/suite.h"

typedef struct {
    double tolerance; /* factor on the tolerances */
    int threads;
    int cpu;             /* pin the worker there; -1: anywhere */
    uint64_t seed;       /* of this campaign */
    const char *program; /* for reproduce lines */
    bool specialist;     /* may refuse everything: checked on what it takes */
    const atn_suite *scope; /* the timed cases; NULL or with one plain f32 prefill among them: every plain f32 problem
                             * must be covered. Else (bf16, decode only, windows ...) what must be covered are problems
                             * of the timed cases' kinds, and the suites are played in those kinds as well */
    atn_verdict *incumbent; /* gets the incumbent's failure while timed; may be NULL */
} check_context;

typedef enum { CHECK_ACCURACY, CHECK_STABILITY, CHECK_ROBUSTNESS, CHECK_HELDOUT } check_group;

typedef struct {
    atn_problem problem;
    atn_data data;
    uint64_t seed; /* data_fill gets rng_make(seed, 0, 0): what `attune eval --case --data --seed` repeats */
    check_group group;
} check_item;

atn_status accuracy_quick(const check_context *c, int so_fd, atn_verdict *v, atn_error *err);
atn_status accuracy_full(const check_context *c, int so_fd, atn_verdict *v, atn_error *err);
atn_status accuracy_heldout(const check_context *c, int so_fd, atn_verdict *v, atn_error *err);
/* Any list of checks; counts and errors are added to *v, whose stage is set. */
atn_status accuracy_items(const check_context *c, atn_stage stage, int so_fd, const check_item *items, int n,
                          atn_verdict *v, atn_error *err);

/* Problems that every kernel must cover: f32, full or causal attention of any sizes and strides up to head size 256. */
bool accuracy_mandatory(const atn_problem *p);
/* The same in a run whose timed cases ask for less, or for something else: see check_context.scope. */
bool accuracy_special(const atn_suite *scope);
bool accuracy_in_scope(const check_context *c, const atn_problem *p);
/* Whether a kernel takes all that the checks will ask in such a run. false: it is refused, so it need not be built. */
bool accuracy_takes_all(const atn_suite *scope, int (*can_run)(const atn_args *args));
/* A generous time for one call: what 20 MFLOP/s would need, and a second. */
double accuracy_timeout(const atn_problem *p);

/* For whoever makes verdicts: sets stage, reason, evidence ("CASE, data KIND: words") and the reproduce line. */
void check_fail(atn_verdict *v, atn_stage stage, atn_reason reason, const check_context *c, const check_item *item,
                const char *format, ...) __attribute__((format(printf, 6, 7)));
/* The same for a failure that the worker link has already described: puts the case before its evidence. */
void check_locate(atn_verdict *v, atn_stage stage, const check_context *c, const check_item *item);

#endif
