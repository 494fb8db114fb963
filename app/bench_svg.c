/* Bars of ratios with their intervals, a group for each case, on a logarithmic axis: twice as fast and half as fast are
 * equally far from one. A page of its own, unlike the drawings of src/report, so the colours come with it. */
#include "bench_svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/svg.h"

enum { WIDTH = 960, LEFT = 330, RIGHT = 70, TOP = 58, ROW = 17, GAP = 7, NAME_MOST = 34 }; /* letters beside a peer */

static const char style[] =
    "svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#1d2733}.soft{fill:#66717d;font-size:11px}"
    ".name{font:11px ui-monospace,monospace}.grid{stroke:#dfe4ea}.one{stroke:#66717d;stroke-dasharray:3 3}"
    ".won{fill:#2f7d5b}.lost{fill:#b3413a}.whisker{stroke:#1d2733;stroke-width:1.2}"
    "@media(prefers-color-scheme:dark){svg{background:#14181d}text{fill:#e4e9ee}.soft{fill:#98a3ae}.grid{stroke:#"
    "2b323a}"
    ".one{stroke:#98a3ae}.won{fill:#4fae85}.lost{fill:#d9736c}.whisker{stroke:#e4e9ee}}";

void svg_bench(atn_text *t, const char *heading, const bench_bar *bars, int n)
{
    double low = 0, high = 1; /* in doublings */
    int groups = 0, lines = 0;
    for (int i = 0; i < n; i++) {
        low = fmin(low, log2(fmin(bars[i].ratio, bars[i].low)));
        high = fmax(high, log2(fmax(bars[i].ratio, bars[i].high)));
        const bool first = i == 0 || strcmp(bars[i].name, bars[i - 1].name);
        groups += first;
        lines += first && strlen(bars[i].name) > NAME_MOST;
    }
    low = floor(low), high = ceil(high);
    const double unit = (WIDTH - LEFT - RIGHT) / (high - low), one = LEFT - low * unit;
    const int height = TOP + (n + lines) * ROW + groups * GAP + 16;
    text_addf(t,
              "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\"><style>%s</style>\n<title>",
              WIDTH, height, style);
    text_add_html(t, heading);
    text_add(t, "</title>\n");
    svg_label(t, 12, 20, "start", "", heading);
    for (int k = (int)low; k <= (int)high; k++) {
        char s[24];
        snprintf(s, sizeof s, "%gx", exp2(k));
        svg_line(t, one + k * unit, TOP - 8, one + k * unit, height - 12, k ? "grid" : "one");
        svg_label(t, one + k * unit, TOP - 13, "middle", "soft", s);
    }
    double y = TOP;
    for (int i = 0; i < n; i++, y += ROW) {
        const bench_bar *b = &bars[i];
        if (i == 0 || strcmp(b->name, bars[i - 1].name)) {
            y += i ? GAP : 0;
            svg_label(t, 12, y + 11, "start", "name", b->name);
            if (strlen(b->name) > NAME_MOST) y += ROW; /* a line of its own */
        }
        const double x = one + log2(b->ratio) * unit, from = one + log2(b->low) * unit, to = one + log2(b->high) * unit;
        char s[300];
        svg_label(t, LEFT - 10, y + 11, "end", "soft", b->peer);
        snprintf(s, sizeof s, "%s, %s over %s: %.2fx, between %.2fx and %.2fx", b->name, b->kernel, b->peer, b->ratio,
                 b->low, b->high);
        text_addf(t, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"12\" rx=\"2\" class=\"%s\"><title>",
                  fmin(x, one), y + 1, fmax(fabs(x - one), 0.5), b->ratio >= 1 ? "won" : "lost");
        text_add_html(t, s);
        text_add(t, "</title></rect>\n");
        svg_line(t, from, y + 7, to, y + 7, "whisker");
        snprintf(s, sizeof s, "%.2fx", b->ratio);
        svg_label(t, fmax(to, fmax(x, one)) + 6, y + 11, "start", "soft", s);
    }
    text_add(t, "</svg>\n");
}
