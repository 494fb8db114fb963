/* Suites: named lists of problems. `seed`, `readme`, `models` (speed), `accuracy`, `stability`, `robustness` (small,
 * for correctness), `heldout`. */
#ifndef ATN_PROBLEM_SUITE_H
#define ATN_PROBLEM_SUITE_H

#include "problem/data.h"
#include "problem/problem.h"

typedef struct {
    char name[32];          /* short label for tables: "L512 h12" */
    atn_problem problem;
    atn_data data;          /* kind of data for correctness suites; NORMAL in speed suites */
} atn_case;

typedef struct {
    atn_case *cases;        /* owned by the suite; suite_free */
    int count;
} atn_suite;

/* Appends the cases of a named suite ("seed", "readme", "models", "accuracy", ...) to *s. NOT_FOUND names the valid
 * ones. */
atn_status suite_add(atn_suite *s, const char *name, atn_error *err);
/* Appends one custom case from its text form. */
atn_status suite_add_case(atn_suite *s, const char *text, atn_error *err);
void suite_free(atn_suite *s);
const char *const *suite_names(int *count);

#endif
