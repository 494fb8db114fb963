/* The ratios of a bench as one SVG file that stands alone, light and dark. */
#ifndef ATN_APP_BENCH_SVG_H
#define ATN_APP_BENCH_SVG_H

#include "base/text.h"

typedef struct {
    const char *name, *kernel, *peer;
    double ratio, low, high;       /* of times: peer's over ours */
} bench_bar;

void svg_bench(atn_text *t, const char *heading, const bench_bar *bars, int n);

#endif
