/* The portfolio: the best kernel for each class of problem in the suite, by the lower bound of its speedup there.
 *
 * A class is length x mask x head size x type x GQA x threads. A program competes in a class when all cases of the
 * class
 * were measured. Like the archive a pure function of the ordered list of judged programs. */
#ifndef ATN_EVOLVE_PORTFOLIO_H
#define ATN_EVOLVE_PORTFOLIO_H

#include "base/status.h"
#include "evolve/score.h"

enum { PORTFOLIO_CLASSES = 32, PORTFOLIO_TOP = 3 };

typedef struct {
    int64_t program;
    double mid, low, high; /* ln speedup over the initial program: means over the class's cases */
} portfolio_entry;

typedef struct {
    char key[64];
    int cases[ATN_CASES_MAX], n_cases;
    portfolio_entry top[PORTFOLIO_TOP]; /* best first */
    int n;
} portfolio_class;

typedef struct {
    portfolio_class cls[PORTFOLIO_CLASSES];
    int n;
} atn_portfolio;

void portfolio_init(atn_portfolio *p, const atn_suite *s, const suite_kinds *k, int threads);
void portfolio_add(atn_portfolio *p, int64_t program, const evolve_score *score);
void portfolio_remove(atn_portfolio *p, int64_t program);
bool portfolio_holds(const atn_portfolio *p, int64_t program);
/* Mean log-ratio of a class in a comparison of two programs, with the mean of its cases' bounds; false if a case is
 * missing. */
bool portfolio_compare(const portfolio_class *c, const atn_verdict *v, double *mid, double *low, double *high);

#endif
