/* Charts as inline SVG, drawn by hand: no library, no script. Colours are CSS variables of the page, so that light and
 * dark follow the reader. Each function of a run appends one <svg> element. */
#ifndef ATN_REPORT_SVG_H
#define ATN_REPORT_SVG_H

#include "report/view.h"

/* Parts of a drawing, for drawings elsewhere too; `s` is escaped, `class` is not. */
void svg_label(atn_text *t, double x, double y, const char *anchor, const char *class, const char *s);
void svg_line(atn_text *t, double x1, double y1, double x2, double y2, const char *class);

void svg_cases(atn_text *t, const run_view *v);    /* speedup and % of peak for each case */
void svg_progress(atn_text *t, const run_view *v); /* every judged program over time, and the best so far */
void svg_errors(atn_text *t, const run_view *v);   /* error of each case, logarithmic */
void svg_archive(atn_text *t, const run_view *v); /* the archive's cells, island by island; nothing where it is empty */
void svg_tree(atn_text *t, const run_view *v);    /* every program under its parent */
void svg_verdicts(atn_text *t, const run_view *v); /* how many fell where */

#endif
