/* JSON helpers of the engine: numbers that may be NaN, text that may not be UTF-8. Internal to src/evolve. */
#ifndef ATN_EVOLVE_RECORD_H
#define ATN_EVOLVE_RECORD_H

#include <jansson.h>
#include <stdbool.h>

#include "judge/judge.h"

json_t *record_real(double x);      /* a number, or "nan", "inf", "-inf" */
json_t *record_text(const char *s); /* never NULL */
char *record_dump(json_t *j);       /* compact, 17 digits; takes j */
bool controls_from_json(const char *json, atn_controls *c);

#endif
