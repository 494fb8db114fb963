/* Charts as inline SVG. Coordinates are in a view box 900 wide, which the page scales to its column. */
#include "report/svg.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 900 };

static void begin(atn_text *t, int height, const char *label)
{
    text_addf(t, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", WIDTH, height, label);
}

void svg_label(atn_text *t, double x, double y, const char *anchor, const char *class, const char *s)
{
    text_addf(t, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor, class);
    view_add_html(t, s);
    text_add(t, "</text>\n");
}

void svg_line(atn_text *t, double x1, double y1, double x2, double y2, const char *class)
{
    text_addf(t, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class);
}

static void bar(atn_text *t, double x, double y, double w, double h, const char *class, const char *title)
{
    text_addf(t, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\" class=\"%s\"><title>", x, y,
              fmax(w, 0.5), h, class);
    view_add_html(t, title);
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
    svg_label(t, LEFT, 14, "start", "head", "speedup over the initial program");
    if (peaks) svg_label(t, peak_left, 14, "start", "head", "% of the measured peak");
    double step = nice_step(most, 5);
    for (double x = 0; x <= most; x += step)
        svg_line(t, LEFT + x * scale, TOP - 4, LEFT + x * scale, height - 8, "grid");
    svg_line(t, LEFT + scale, TOP - 4, LEFT + scale, height - 8, "one");
    for (int i = 0; i < v->n_cases; i++) {
        const view_case *c = &v->cases[i];
        double y = TOP + ROW * i, middle = y + 9;
        char s[200];
        svg_label(t, LEFT - 10, y + 13, "end", "name", c->label);
        snprintf(s, sizeof s, "%s: %.2fx, between %.2fx and %.2fx", c->label, c->speedup.median, c->speedup.low,
                 c->speedup.high);
        bar(t, LEFT, y + 2, c->speedup.median * scale, 14, "best", s);
        if (view_has_bounds(c) && isfinite(c->speedup.low) && isfinite(c->speedup.high)) {
            double a = LEFT + fmax(0, c->speedup.low) * scale, b = LEFT + c->speedup.high * scale;
            svg_line(t, a, middle, b, middle, "whisker");
            svg_line(t, a, middle - 4, a, middle + 4, "whisker");
            svg_line(t, b, middle - 4, b, middle + 4, "whisker");
        }
        snprintf(s, sizeof s, "%.1fx", c->speedup.median);
        svg_label(t, LEFT + fmax(c->speedup.median, isfinite(c->speedup.high) ? c->speedup.high : 0) * scale + 6,
                  y + 13, "start", "value", s);
        if (!isfinite(c->peak_fraction)) continue;
        snprintf(s, sizeof s, "%s: %.1f GFLOP/s", c->label, c->gflops);
        bar(t, peak_left, y + 2, peak_width, 14, "track", s);
        bar(t, peak_left, y + 2, peak_width * fmin(1, fmax(0, c->peak_fraction)), 14, "peak", s);
        snprintf(s, sizeof s, "%.0f %%", 100 * c->peak_fraction);
        svg_label(t, peak_left + peak_width + 6, y + 13, "start", "value", s);
    }
    text_add(t, "</svg>\n");
}

/* The interval of the best so far: along its upper bounds, and back along the lower ones. */
static void add_band(atn_text *t, const run_view *v, double left, double w, double span, double top, double h,
                     double low, double high)
{
    double *x = atn_alloc(sizeof *x * (size_t)(v->n_programs + 1)),
           *up = atn_alloc(sizeof *up * (size_t)(v->n_programs + 1)),
           *down = atn_alloc(sizeof *down * (size_t)(v->n_programs + 1));
    int n = 0;
    for (int i = 0; i < v->n_programs; i++) {
        const store_program *p = &v->programs[i];
        if (strcmp(p->state, "better") != 0 || !isfinite(p->score_low) || !isfinite(p->score_high)) continue;
        x[n] = left + w * p->t / span;
        up[n] = top + h * (high - fmin(high, fmax(low, p->score_high))) / (high - low);
        down[n++] = top + h * (high - fmin(high, fmax(low, p->score_low))) / (high - low);
    }
    if (n) text_addf(t, "<path class=\"interval\" d=\"M%.1f %.1f", x[0], up[0]);
    for (int i = 1; i < n; i++) text_addf(t, "H%.1fV%.1f", x[i], up[i]);
    if (n) text_addf(t, "H%.1fV%.1f", left + w, down[n - 1]);
    for (int i = n - 1; i > 0; i--) text_addf(t, "H%.1fV%.1f", x[i], down[i - 1]);
    if (n) text_addf(t, "H%.1fZ\"><title>interval of the best so far</title></path>\n", x[0]);
    free(x);
    free(up);
    free(down);
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
    for (int i = 0; i < v->n_lines; i++) high = fmax(high, log(v->lines[i].y));
    low = fmax(low, -log(4));
    double room = (high - low) * 0.06;
    high += room;
    begin(t, HEIGHT, "Speedup of every judged program over time");
    for (double f = 0.25; log(f) <= high; f *= 2) { /* doublings: the axis is logarithmic */
        if (log(f) < low - 1e-9) continue;
        double y = TOP + h * (high - log(f)) / (high - low);
        char s[24];
        snprintf(s, sizeof s, "%gx", f);
        svg_line(t, LEFT, y, WIDTH - RIGHT, y, f == 1 ? "one" : "grid");
        svg_label(t, LEFT - 8, y + 4, "end", "value", s);
    }
    double unit = span > 180 ? 60 : 1, step = fmax(nice_step(span / unit, 8), span / unit > 8 ? 1 : 0.1);
    for (double x = 0; x * unit <= span * 1.0001; x += step) {
        char s[24];
        snprintf(s, sizeof s, "%g", x);
        svg_label(t, LEFT + w * x * unit / span, HEIGHT - BOTTOM + 34, "middle", "value", s);
    }
    svg_label(t, LEFT + w / 2, HEIGHT - 4, "middle", "head",
              unit == 60 ? "minutes; ticks on the axis are failed candidates"
                         : "seconds; ticks on the axis are failed candidates");
    double lowest = -1e9;
    for (int i = 0; i < v->n_lines; i++) { /* limits of the machine, then peers, from the top down */
        const view_line *l = &v->lines[i];
        double y = TOP + h * (high - log(l->y)) / (high - low), a = TOP + h * (high - log(l->high)) / (high - low),
               b = TOP + h * (high - log(l->low)) / (high - low), at = fmax(fmax(y - 4, TOP + 4), lowest + 13);
        bar(t, LEFT, fmax(a, TOP), w, fmax(1, fmin(b, TOP + h) - fmax(a, TOP)), l->peer ? "band peer" : "band roof",
            l->name);
        svg_line(t, LEFT, y, WIDTH - RIGHT, y, l->peer ? "limit peer" : "limit roof");
        svg_label(t, WIDTH - RIGHT - 4, at, "end", l->peer ? "on-line peer" : "on-line roof", l->name);
        lowest = at;
    }
    atn_text path = {0};
    bool drawn = false;
    add_band(t, v, LEFT, w, span, TOP, h, low, high);
    for (int i = 0; i < v->n_programs; i++) {
        const store_program *p = &v->programs[i];
        double x = LEFT + w * p->t / span;
        if (!isfinite(p->score)) {
            svg_line(t, x, HEIGHT - BOTTOM + 6, x, HEIGHT - BOTTOM + 16, "failed");
            continue;
        }
        double y = TOP + h * (high - fmin(high, fmax(low, p->score))) / (high - low);
        bool best = !strcmp(p->state, "better");
        if (best) {
            if (!drawn) text_addf(&path, "M%.1f %.1f", x, y);
            else text_addf(&path, "H%.1fV%.1f", x, y);
            drawn = true;
        }
        text_addf(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" class=\"%s\"><title>#%lld ", x, y, best ? "4" : "2.5",
                  best ? "dot-best" : "dot", (long long)p->made.id);
        view_add_html(t, p->made.origin ? p->made.origin : "");
        if (p->made.note && *p->made.note) text_add(t, ": ");
        view_add_html(t, p->made.note ? p->made.note : "");
        text_addf(t, " (%.2fx%s)</title></circle>\n", exp(p->score), p->screened ? ", estimated" : "");
    }
    if (drawn) text_addf(t, "<path d=\"%sH%.1f\" class=\"step\"><title>best so far</title></path>\n", path.s, LEFT + w);
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
        svg_line(t, x, TOP - 4, x, height - 8, "grid");
        svg_label(t, x, 14, "middle", "value", s);
    }
    for (int i = 0; i < v->n_cases; i++) {
        const view_case *c = &v->cases[i];
        double y = TOP + ROW * i;
        char s[40];
        svg_label(t, LEFT - 10, y + 13, "end", "name", c->label);
        if (!isfinite(c->error)) continue;
        double x = LEFT + w * log(fmax(c->error, low) / low) / log(high / low);
        svg_line(t, LEFT, y + 9, x, y + 9, "stem");
        text_addf(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" class=\"dot-best\"/>\n", x, y + 9);
        snprintf(s, sizeof s, "%.1e", c->error);
        svg_label(t, x + 9, y + 13, "start", "value", s);
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
        svg_label(t, LEFT - 10, y + 15, "end", "name", row[i].name);
        bar(t, LEFT, y + 4, w, 14, row[i].class, row[i].words);
        snprintf(s, sizeof s, "%d", row[i].n);
        svg_label(t, LEFT + fmax(w, 0.5) + 6, y + 15, "start", "value", s);
        svg_label(t, WIDTH - RIGHT + 10, y + 15, "start", "note", row[i].words);
    }
    text_add(t, "</svg>\n");
}

/* ---- archive ---- */

static int by_place(const void *a, const void *b)
{
    const view_cell *x = a, *y = b;
    if (x->island != y->island) return x->island - y->island;
    if (x->decode != y->decode) return x->decode - y->decode;
    return x->workspace != y->workspace ? y->workspace - x->workspace : x->profile - y->profile;
}

static void bytes_text(int log2, char *out, size_t room)
{
    if (log2 >= 20) snprintf(out, room, "%lld MB", 1LL << (log2 - 20));
    else if (log2 >= 10) snprintf(out, room, "%lld kB", 1LL << (log2 - 10));
    else snprintf(out, room, "%lld B", 1LL << log2);
}

typedef struct {
    int row[64], rows; /* log2 of workspace, from the top; -1: a gap of rows that nobody uses */
    int p_low, p_high;
    double low, high; /* scores, for shades */
} grid;

static void grid_of(const run_view *v, grid *g)
{
    bool used[64] = {false};
    *g = (grid){.p_low = 999, .p_high = -999, .low = INFINITY, .high = -INFINITY};
    int top = 0, bottom = 63;
    for (int i = 0; i < v->n_cells; i++) {
        const view_cell *c = &v->cells[i];
        int w = ATN_MAX(0, ATN_MIN(63, c->workspace));
        used[w] = true;
        top = ATN_MAX(top, w), bottom = ATN_MIN(bottom, w);
        g->p_low = ATN_MIN(g->p_low, c->profile), g->p_high = ATN_MAX(g->p_high, c->profile);
        if (isfinite(c->score)) g->low = fmin(g->low, c->score), g->high = fmax(g->high, c->score);
    }
    g->low = fmax(g->low, g->high - 0.5);
    g->p_high = ATN_MIN(g->p_high, g->p_low + 23);
    for (int w = top; w >= bottom;) {
        int free_rows = 0;
        while (w - free_rows >= bottom && !used[w - free_rows]) free_rows++;
        if (free_rows > 2) {
            g->row[g->rows++] = -1;
            w -= free_rows;
        } else g->row[g->rows++] = w--;
    }
}

void svg_archive(atn_text *t, const run_view *v)
{
    enum { CH = 26, LEFT = 76, TOP = 40, GAP = 12, BOTTOM = 34, SIDE = WIDTH / 2 };
    if (!v->n_cells) return;
    view_cell *cells = atn_alloc(sizeof *cells * (size_t)v->n_cells);
    memcpy(cells, v->cells, sizeof *cells * (size_t)v->n_cells);
    qsort(cells, (size_t)v->n_cells, sizeof *cells, by_place);
    grid g;
    grid_of(v, &g);
    int maps = 0, columns = g.p_high - g.p_low + 1;
    for (int i = 0; i < v->n_cells; i++)
        maps += !i || cells[i].island != cells[i - 1].island || cells[i].decode != cells[i - 1].decode;
    double cw = fmin(64, (SIDE - LEFT - 20.0) / columns), tall = TOP + BOTTOM;
    for (int r = 0; r < g.rows; r++) tall += g.row[r] < 0 ? GAP : CH;
    begin(t, (int)(tall * ((maps + 1) / 2)), "Archive: the best program of each measured behaviour, island by island");
    for (int i = 0, map = 0; i < v->n_cells; map++) {
        int from = i;
        while (i < v->n_cells && cells[i].island == cells[from].island && cells[i].decode == cells[from].decode) i++;
        double x0 = map % 2 * SIDE + LEFT, y0 = map / 2 * tall + TOP, y = y0;
        char s[200];
        if (cells[from].decode)
            snprintf(s, sizeof s, "island %d, decode against prefill %+d", cells[from].island, cells[from].decode);
        else snprintf(s, sizeof s, "island %d", cells[from].island);
        svg_label(t, x0, y0 - 22, "start", "head", s);
        svg_label(t, x0 - 10, y0 - 6, "end", "value", "workspace");
        for (int r = 0; r < g.rows; r++) {
            if (g.row[r] >= 0) {
                bytes_text(g.row[r], s, sizeof s);
                svg_label(t, x0 - 8, y + CH / 2 + 4, "end", "value", s);
            }
            for (int p = 0; g.row[r] >= 0 && p < columns; p++) {
                const view_cell *c = NULL;
                for (int k = from; k < i; k++)
                    if (cells[k].workspace == g.row[r] && cells[k].profile == g.p_low + p) c = &cells[k];
                if (!c) {
                    text_addf(t,
                              "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"2\" class=\"track\"/>\n",
                              x0 + cw * p + 1, y + 1, cw - 2, CH - 2);
                    continue;
                }
                double shade =
                    isfinite(c->score) && g.high > g.low ? fmax(0, (c->score - g.low) / (g.high - g.low)) : 1;
                const store_program *who = view_program(v, c->program);
                text_addf(t,
                          "<g><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"2\" class=\"cell%s\" "
                          "fill-opacity=\"%.2f\"/>",
                          x0 + cw * p + 1, y + 1, cw - 2, CH - 2, c->program == v->winner ? " winner" : "",
                          shade < 0.5 ? 0.12 + 0.6 * shade : 0.82 + 0.36 * (shade - 0.5)); /* a text is read on each of them */
                snprintf(s, sizeof s, isfinite(c->score) ? "%.2fx" : "-", exp(c->score));
                svg_label(t, x0 + cw * (p + 0.5), y + CH / 2 + 4, "middle", shade < 0.5 ? "in-cell" : "on-cell", s);
                text_addf(t, "<title>#%lld ", (long long)c->program);
                view_add_html(t, who && who->made.origin ? who->made.origin : "");
                text_add(t, "</title></g>\n");
            }
            y += g.row[r] < 0 ? GAP : CH;
        }
        for (int p = 0; p < columns; p++) {
            snprintf(s, sizeof s, "%+d", g.p_low + p);
            svg_label(t, x0 + cw * (p + 0.5), y + 14, "middle", "value", g.p_low + p ? s : "0");
        }
        svg_label(t, x0, y + 28, "start", "value", "better on long (-) or on short (+) cases");
    }
    free(cells);
    text_add(t, "</svg>\n");
}

/* ---- lineage ---- */

typedef struct {
    int parent, size, depth, next; /* next: where its next child begins, in leaves */
} twig;

static int index_of(const run_view *v, int64_t id)
{
    const store_program *p = id ? view_program(v, id) : NULL;
    return p ? (int)(p - v->programs) : -1;
}

void svg_tree(atn_text *t, const run_view *v)
{
    enum { LEFT = 24, RIGHT = 24, TOP = 16, BOTTOM = 30 };
    static const char *const kinds[] = {"failed", "right", "same", "better"};
    if (v->n_programs < 2) return;
    int n = v->n_programs, leaves = 0, deepest = 1;
    twig *w = atn_alloc(sizeof *w * (size_t)n);
    double *x = atn_alloc(sizeof *x * (size_t)n), *y = atn_alloc(sizeof *y * (size_t)n);
    bool *lit = atn_alloc(sizeof *lit * (size_t)n);
    for (int i = 0; i < n; i++) {
        int parent = index_of(v, v->programs[i].made.parent1);
        w[i] = (twig){.parent = parent >= 0 && parent < i ? parent : -1}; /* a parent was judged before its child */
        w[i].depth = w[i].parent >= 0 ? w[w[i].parent].depth + 1 : 0;
        deepest = ATN_MAX(deepest, w[i].depth);
    }
    for (int i = n - 1; i >= 0; i--) {
        w[i].size = ATN_MAX(1, w[i].size);
        if (w[i].parent >= 0) w[w[i].parent].size += w[i].size;
        else leaves += w[i].size;
    }
    for (int i = 0, at = 0; i < n; i++) {
        int from = w[i].parent >= 0 ? w[w[i].parent].next : at;
        if (w[i].parent >= 0) w[w[i].parent].next += w[i].size;
        else at += w[i].size;
        w[i].next = from;
        y[i] = from + w[i].size / 2.0;
    }
    int height = ATN_MAX(160, ATN_MIN(640, leaves * 14 + TOP + BOTTOM));
    for (int i = 0; i < n; i++) {
        x[i] = LEFT + (WIDTH - LEFT - RIGHT) * (double)w[i].depth / deepest;
        y[i] = TOP + (height - TOP - BOTTOM) * y[i] / leaves;
    }
    for (int i = index_of(v, v->winner); i >= 0; i = w[i].parent) lit[i] = true;
    begin(t, height, "Every program under its parent; the path to the winner is lit");
    for (int path = 0; path < 2; path++) {
        bool any = false;
        for (int i = 0; i < n; i++) {
            int p = w[i].parent;
            if (p < 0 || (lit[i] && lit[p]) != path) continue;
            if (!any) text_addf(t, "<path class=\"%s\" d=\"", path ? "lit" : "edge");
            any = true;
            double m = (x[p] + x[i]) / 2;
            text_addf(t, "M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x[p], y[p], m, y[p], m, y[i], x[i], y[i]);
        }
        if (any) text_add(t, "\"/>\n");
    }
    for (int k = 0; k < ATN_COUNT(kinds); k++)
        for (int i = 0; i < n; i++) {
            const store_program *p = &v->programs[i];
            if (strcmp(p->state, kinds[k]) != 0) continue;
            text_addf(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" class=\"node %s\"><title>#%lld ", x[i], y[i],
                      lit[i] ? "5" : "2.6", kinds[k], (long long)p->made.id);
            view_add_html(t, p->made.origin ? p->made.origin : "");
            if (p->made.note && *p->made.note) text_add(t, ": ");
            view_add_html(t, p->made.note ? p->made.note : "");
            if (isfinite(p->score)) text_addf(t, " (%.2fx)", exp(p->score));
            else {
                text_add(t, " (");
                view_add_html(t, p->reason ? p->reason : "");
                text_add(t, ")");
            }
            text_add(t, "</title></circle>\n");
        }
    double room = 1e9;
    for (int i = n - 1; i >= 0; i--) {
        char s[32];
        if (!lit[i] || x[i] > room) continue;
        snprintf(s, sizeof s, "#%lld", (long long)v->programs[i].made.id);
        svg_label(t, x[i], y[i] - 9, "middle", "strong", s);
        room = x[i] - 46;
    }
    int every = (deepest + 11) / 12;
    for (int d = 0; d <= deepest; d += every) {
        char s[32];
        snprintf(s, sizeof s, d ? "step %d" : "start", d);
        svg_label(t, LEFT + (WIDTH - LEFT - RIGHT) * (double)d / deepest, height - 8,
                  d ? d == deepest ? "end" : "middle" : "start", "value", s);
    }
    free(w);
    free(x);
    free(y);
    free(lit);
    text_add(t, "</svg>\n");
}
