/* The truth: attention in fp64, row by row, and the comparison of an output with it.
 *
 * Compiled strictly. Reads inputs through args (any strides and types), never writes to them. */
#ifndef ATN_PROBLEM_REFERENCE_H
#define ATN_PROBLEM_REFERENCE_H

#include "base/rng.h"
#include "problem/problem.h"

/* One output row in fp64: out[Dv] and, where lse is not NULL, its log-sum-exp. `work` holds Skv doubles. */
void reference_row(const atn_args *a, int b, int h, int i, double *out, double *lse, double *work);

/* One element of a tensor as double. */
double tensor_get(const atn_tensor *t, int b, int h, int row, int col);

typedef struct {
    double rel_l2;          /* ||out - ref|| / ||ref|| over the rows compared (absolute where ref is 0) */
    double row_worst;       /* worst row: ||out_row - ref_row|| / max(||ref_row||, 1e-3 * typical row norm) */
    double abs_worst;       /* worst |out - ref| / max|v| of the rows compared (max over 64 keys) */
    double lse_worst;       /* worst |lse - ref| / max(1, |ref|) where lse is present */
    int64_t rows;           /* rows compared */
    int64_t poison;         /* elements of o (or lse) that still hold the poison pattern, over ALL rows */
    int64_t nonfinite;      /* NaN or Inf where the reference is finite (rows compared) */
    int worst_b, worst_h, worst_i;
    char detail[200];       /* the worst element in words: "b0 h3 row 17 col 5: got 0, want 0.0312" */
} atn_compare;

/* Compares rows of args->o (and lse) with the reference: all rows if rows_max <= 0 or covers them, else rows_max rows
 * drawn by rng (first and last row of a random head always among them). NaN in the reference must meet NaN in the
 * output. */
void reference_compare(const atn_args *a, int64_t rows_max, atn_rng *rng, atn_compare *out);

/* Poison: NaN of a bit pattern that arithmetic does not produce, for every output type. Strided padding included. */
void poison_fill(void *p, int64_t bytes);
int64_t poison_count(const atn_args *a);   /* elements of o and lse that still hold it */

/* What a kernel of this problem's types may differ from the truth: relative L2; worst row is allowed 8 x as much.
 * `factor` (normally 1) scales it: the user's --tolerance. See tolerance.c for the derivation and measurements. */
typedef struct {
    double rel_l2, row_worst, lse;
} atn_tolerance;
atn_tolerance tolerance_for(const atn_problem *p, int data_kind, double factor);

/* How far a log-sum-exp is from what is wanted, relative where that is beyond 1. Infinite where only one is a number, 0 where
 * both are the same infinity or NaN. */
double lse_apart(double got, double want);

/* The row in which two outputs of the same inputs lie farthest apart, and how far, in tolerances (of a row, or of its
 * log-sum-exp). Quick, and no judge: where two differ by half a tolerance or more, reference_row says who is right. */
typedef struct {
    double tolerances; /* infinite where only one is a number */
    int b, h, i;
} atn_apart;
atn_apart outputs_apart(const atn_args *x, const atn_args *y, const atn_tolerance *t);

/* NULL if within tolerance, else a static word for what failed: "unwritten", "nonfinite", "error", "row", "lse". Every
 * test is !(x <= tol). */
const char *tolerance_verdict(const atn_compare *c, const atn_tolerance *t);

#endif
