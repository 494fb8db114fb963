/* Laws of attention: properties that hold without any reference, so good for sizes where fp64 is too slow.
 *
 * Each law runs the kernel on one or two derived inputs through `call` and checks the relation within tolerance. */
#ifndef ATN_PROBLEM_LAWS_H
#define ATN_PROBLEM_LAWS_H

#include "problem/problem.h"

/* Runs the kernel under test on args (all pointers set); returns false if it could not run. */
typedef bool (*law_call)(void *ctx, const atn_args *args);

typedef struct {
    const char *name; /* "V constant", "linear in V", "key permutation", "key shift", "Q zero", "masked keys appended",
                         "GQA = MHA", "halves merged" */
    bool applies;           /* some features switch a law off (softcap, sinks, masks) */
    double error;           /* how far the relation is off, relative */
    bool holds;             /* !(error <= tolerance) is false */
} atn_law;

/* Checks every law that applies to the problem; returns how many were violated. out has room for ATN_LAWS entries. */
enum { ATN_LAWS = 8 };
int laws_check(const atn_problem *p, uint64_t seed, double tolerance_factor, law_call call, void *ctx,
               atn_law out[ATN_LAWS]);

#endif
