/* Charts as inline SVG. Coordinates are in a view box 900 wide, which the page scales to its column. */
#include "report/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 900 };

static void begin(atn_text *t, int height, const char *label)
{
    text_addf(t, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", WIDTH, height, label);
}

static void label(atn_text *t, double x, double y, const char *anchor, const char *class, const char *s)
{
    text_addf(t, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor, class);
    text_add_html(t, s);
    text_add(t, "</text>\n");
}

static void line(atn_text *t, double x1, double y1, double x2, double y2, const char *class)
{
    text_addf(t, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class);
}

static void bar(atn_text *t, double x, double y, double w, double h, const char *class, const char *title)
{
    text_addf(t, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\" class=\"%s\"><title>", x, y,
              fmax(w, 0.5), h, class);
    text_add_html(t, title);
    text_add(t, "</title></rect>\n");
}

/* A step of 1, 2 or 5 times a power of ten that cuts `range` into about `n`. */
static double nice_step(double range, int n)
{
    double raw = range / n, power = pow(10, floor(log10(raw))), f = raw / power;
    return power * (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10);
}

void svg_cases(atn_text *t, const run_view *v)
{
    enum { ROW = 24, TOP = 26, LEFT = 250, SPEED = 350, GAP = 70 };
    const double peak_left = LEFT + SPEED + GAP, peak_width = WIDTH - peak_left - 45;
    double most = 1;
    bool peaks = false;
    for (int i = 0; i < v->n_cases; i++) {
        most = fmax(most, fmax(v->cases[i].speedup.median,
                               isfinite(v->cases[i].speedup.high) ? v->cases[i].speedup.high : 0));
        peaks |= isfinite(v->cases[i].peak_fraction);
    }
    double scale = SPEED / (most * 1.02);
    int height = TOP + ROW * v->n_cases + 8;
    begin(t, height, "Speedup over the initial program and share of the machine's peak for each case");
    label(t, LEFT, 14, "start", "head", "speedup over the initial program");
    if (peaks) label(t, peak_left, 14, "start", "head", "% of the measured peak");
    double step = nice_step(most, 5);
    for (double x = 0; x <= most; x += step) line(t, LEFT + x * scale, TOP - 4, LEFT + x * scale, height - 8, "grid");
    line(t, LEFT + scale, TOP - 4, LEFT + scale, height - 8, "one");
    for (int i = 0; i < v->n_cases; i++) {
        const view_case *c = &v->cases[i];
        double y = TOP + ROW * i, middle = y + 9;
        char s[200];
        label(t, LEFT - 10, y + 13, "end", "name", c->label);
        snprintf(s, sizeof s, "%s: %.2fx, between %.2fx and %.2fx", c->label, c->speedup.median, c->speedup.low,
                 c->speedup.high);
        bar(t, LEFT, y + 2, c->speedup.median * scale, 14, "best", s);
        if (view_has_bounds(c) && isfinite(c->speedup.low) && isfinite(c->speedup.high)) {
            double a = LEFT + fmax(0, c->speedup.low) * scale, b = LEFT + c->speedup.high * scale;
            line(t, a, middle, b, middle, "whisker");
            line(t, a, middle - 4, a, middle + 4, "whisker");
            line(t, b, middle - 4, b, middle + 4, "whisker");
        }
        snprintf(s, sizeof s, "%.1fx", c->speedup.median);
        label(t, LEFT + fmax(c->speedup.median, isfinite(c->speedup.high) ? c->speedup.high : 0) * scale + 6, y + 13,
              "start", "value", s);
        if (!isfinite(c->peak_fraction)) continue;
        snprintf(s, sizeof s, "%s: %.1f GFLOP/s", c->label, c->gflops);
        bar(t, peak_left, y + 2, peak_width, 14, "track", s);
        bar(t, peak_left, y + 2, peak_width * fmin(1, fmax(0, c->peak_fraction)), 14, "peak", s);
        snprintf(s, sizeof s, "%.0f %%", 100 * c->peak_fraction);
        label(t, peak_left + peak_width + 6, y + 13, "start", "value", s);
    }
    text_add(t, "</svg>\n");
}

void svg_progress(atn_text *t, const run_view *v)
{
    enum { HEIGHT = 300, LEFT = 56, RIGHT = 20, TOP = 14, BOTTOM = 56 };
    const double w = WIDTH - LEFT - RIGHT, h = HEIGHT - TOP - BOTTOM;
    double low = 0, high = log(2), span = fmax(v->seconds, 1);
    for (int i = 0; i < v->n_programs; i++) {
        const store_program *p = &v->programs[i];
        span = fmax(span, p->t);
        if (!isfinite(p->score)) continue;
        low = fmin(low, p->score);
        high = fmax(high, p->score);
    }
    low = fmax(low, -log(4));
    double room = (high - low) * 0.06;
    high += room;
    begin(t, HEIGHT, "Speedup of every judged program over time");
    for (double f = 0.25; log(f) <= high; f *= 2) { /* doublings: the axis is logarithmic */
        if (log(f) < low - 1e-9) continue;
        double y = TOP + h * (high - log(f)) / (high - low);
        char s[24];
        snprintf(s, sizeof s, "%gx", f);
        line(t, LEFT, y, WIDTH - RIGHT, y, f == 1 ? "one" : "grid");
        label(t, LEFT - 8, y + 4, "end", "value", s);
    }
    double unit = span > 180 ? 60 : 1, step = fmax(nice_step(span / unit, 8), span / unit > 8 ? 1 : 0.1);
    for (double x = 0; x * unit <= span * 1.0001; x += step) {
        char s[24];
        snprintf(s, sizeof s, "%g", x);
        label(t, LEFT + w * x * unit / span, HEIGHT - BOTTOM + 34, "middle", "value", s);
    }
    label(t, LEFT + w / 2, HEIGHT - 4, "middle", "head",
          unit == 60 ? "minutes; ticks on the axis are failed candidates"
                     : "seconds; ticks on the axis are failed candidates");
    atn_text path = {0};
    bool drawn = false;
    double last_y = 0;
    for (int i = 0; i < v->n_programs; i++) {
        const store_program *p = &v->programs[i];
        double x = LEFT + w * p->t / span;
        if (!isfinite(p->score)) {
            line(t, x, HEIGHT - BOTTOM + 6, x, HEIGHT - BOTTOM + 16, "failed");
            continue;
        }
        double y = TOP + h * (high - fmin(high, fmax(low, p->score))) / (high - low);
        bool best = !strcmp(p->state, "better");
        if (best) {
            if (!drawn) text_addf(&path, "M%.1f %.1f", x, y);
            else text_addf(&path, "H%.1fV%.1f", x, y);
            drawn = true;
            last_y = y;
        }
        text_addf(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" class=\"%s\"><title>#%lld ", x, y, best ? "4" : "2.5",
                  best ? "dot-best" : "dot", (long long)p->made.id);
        text_add_html(t, p->made.origin ? p->made.origin : "");
        if (p->made.note && *p->made.note) text_add(t, ": ");
        text_add_html(t, p->made.note ? p->made.note : "");
        text_addf(t, " (%.2fx%s)</title></circle>\n", exp(p->score), p->screened ? ", estimated" : "");
    }
    if (drawn) text_addf(t, "<path d=\"%sH%.1f\" class=\"step\"><title>best so far</title></path>\n", path.s, LEFT + w);
    (void)last_y;
    text_free(&path);
    text_add(t, "</svg>\n");
}

void svg_errors(atn_text *t, const run_view *v)
{
    enum { ROW = 20, TOP = 26, LEFT = 250, RIGHT = 80 };
    const double w = WIDTH - LEFT - RIGHT;
    double low = 1e-8, high = 1e-4;
    for (int i = 0; i < v->n_cases; i++) {
        double e = v->cases[i].error;
        if (!(e > 0) || !isfinite(e)) continue;
        while (e < low) low /= 10;
        while (e > high) high *= 10;
    }
    int height = TOP + ROW * v->n_cases + 8;
    begin(t, height, "Error of each case against the fp64 reference");
    for (double e = low; e <= high * 1.001; e *= 10) {
        double x = LEFT + w * log(e / low) / log(high / low);
        char s[24];
        snprintf(s, sizeof s, "%.0e", e);
        line(t, x, TOP - 4, x, height - 8, "grid");
        label(t, x, 14, "middle", "value", s);
    }
    for (int i = 0; i < v->n_cases; i++) {
        const view_case *c = &v->cases[i];
        double y = TOP + ROW * i;
        char s[40];
        label(t, LEFT - 10, y + 13, "end", "name", c->label);
        if (!isfinite(c->error)) continue;
        double x = LEFT + w * log(fmax(c->error, low) / low) / log(high / low);
        line(t, LEFT, y + 9, x, y + 9, "stem");
        text_addf(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" class=\"dot-best\"/>\n", x, y + 9);
        snprintf(s, sizeof s, "%.1e", c->error);
        label(t, x + 9, y + 13, "start", "value", s);
    }
    text_add(t, "</svg>\n");
}

void svg_verdicts(atn_text *t, const run_view *v)
{
    enum { ROW = 22, LEFT = 250, RIGHT = 400, ROWS = ATN_REASON_COUNT + 3 };
    struct {
        const char *name, *words, *class;
        int n;
    } row[ROWS];
    int rows = 0, most = 1;
    const struct {
        const char *name, *words, *class;
        int n;
    } good[] = {{"better", "became the best of its time, the initial program included", "best", v->better},
                {"right", "correct, not shown to be faster", "right", v->right},
                {"same code", "compiles to code that was judged before", "right", v->same}};
    for (int i = 0; i < ATN_COUNT(good); i++) {
        row[rows].name = good[i].name, row[rows].words = good[i].words, row[rows].class = good[i].class;
        row[rows++].n = good[i].n;
    }
    for (int r = 0; r < ATN_REASON_COUNT; r++) {
        if (!v->reasons[r]) continue;
        row[rows].name = reason_word((atn_reason)r), row[rows].words = reason_text((atn_reason)r),
        row[rows].class = "bad";
        row[rows++].n = v->reasons[r];
    }
    for (int i = 0; i < rows; i++) most = ATN_MAX(most, row[i].n);
    begin(t, rows * ROW + 6, "How many candidates got which verdict");
    for (int i = 0; i < rows; i++) {
        double y = ROW * i, w = (WIDTH - LEFT - RIGHT - 40) * (double)row[i].n / most;
        char s[24];
        label(t, LEFT - 10, y + 15, "end", "name", row[i].name);
        bar(t, LEFT, y + 4, w, 14, row[i].class, row[i].words);
        snprintf(s, sizeof s, "%d", row[i].n);
        label(t, LEFT + fmax(w, 0.5) + 6, y + 15, "start", "value", s);
        label(t, WIDTH - RIGHT + 10, y + 15, "start", "note", row[i].words);
    }
    text_add(t, "</svg>\n");
}
