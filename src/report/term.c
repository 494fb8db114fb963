/* Charts for the terminal, in plain characters: readable in a log file too. Each stands for the same picture of the
 * dashboard and of report.html. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"
#include "report/view.h"

enum { MOST = 64, LEAST = 8, ROWS = 9 };

/* Columns for a picture with `beside` columns of words. */
static int room_of(int columns, int beside, int most)
{
    return columns > 0 ? ATN_MAX(LEAST, ATN_MIN(most, columns - beside)) : most;
}

/* Log-speedup to a row, 0 on top; what is below the axis is on the last row. */
static int row_of(double x, double low, double high)
{
    int r = (int)lround((high - x) / (high - low) * (ROWS - 1));
    return r < 0 ? 0 : r >= ROWS ? ROWS - 1 : r;
}

static void add_progress(atn_text *t, const run_view *v, int columns)
{
    const int wide = room_of(columns, 11, MOST);
    char grid[ROWS][MOST + 1], fell[MOST + 1];
    double low = 0, high = 0.1, best = NAN, span = fmax(v->seconds, 1);
    memset(grid, ' ', sizeof grid);
    memset(fell, ' ', sizeof fell);
    for (int r = 0; r < ROWS; r++) grid[r][wide] = 0;
    fell[wide] = 0;
    for (int i = 0; i < v->n_programs; i++) {
        span = fmax(span, v->programs[i].t);
        if (isfinite(v->programs[i].score)) high = fmax(high, v->programs[i].score);
    }
    int column = 0;
    for (int i = 0; i < v->n_programs; i++) {
        const store_program *p = &v->programs[i];
        int c = ATN_MIN((int)(p->t / span * wide), wide - 1);
        for (; column < c; column++) /* the best of that moment holds until the next */
            if (isfinite(best)) grid[row_of(best, low, high)][column] = '=';
        if (!isfinite(p->score)) {
            fell[c] = 'x';
            continue;
        }
        char *at = &grid[row_of(p->score, low, high)][c];
        if (*at == ' ') *at = '.';
        if (p->promoted || !isfinite(best)) best = p->score;
    }
    for (; column < wide && isfinite(best); column++) grid[row_of(best, low, high)][column] = '=';
    text_add(t, "\nSpeedup over time: = the best, . one program, x a failed one; logarithmic\n");
    for (int r = 0; r < ROWS; r++) {
        bool named = r == 0 || r == ROWS - 1 || r == ROWS / 2;
        if (named) text_addf(t, "%8.2fx |%s\n", exp(high - (high - low) * r / (ROWS - 1)), grid[r]);
        else text_addf(t, "          |%s\n", grid[r]);
    }
    text_addf(t, "   failed |%s\n", fell);
    char end[40];
    snprintf(end, sizeof end, " %.0f %s", span > 180 ? span / 60 : span, span > 180 ? "minutes" : "seconds");
    text_add(t, "          +");
    for (int i = (int)strlen(end); i < wide; i++) text_add(t, "-");
    text_addf(t, "%s\n", end);
}

/* Share of the machine's peak, case by case; speedups stand in the table above. */
static void add_peaks(atn_text *t, const run_view *v, int columns)
{
    bool any = false;
    for (int i = 0; i < v->n_cases; i++) any |= isfinite(v->cases[i].peak_fraction);
    if (!any) return;
    int width = 0;
    for (int i = 0; i < v->n_cases; i++) width = ATN_MAX(width, (int)strlen(v->cases[i].label));
    bool above = columns > 0 && width + 28 > columns; /* names above their bars */
    if (above) width = 0;
    const int wide = room_of(columns, width + 9, 50);
    text_addf(t, "\nShare of the measured FMA peak: # the winner, | 100 %%\n");
    for (int i = 0; i < v->n_cases; i++) {
        double f = v->cases[i].peak_fraction;
        if (!isfinite(f)) continue;
        int bar = (int)lround(wide * fmin(1, fmax(0, f)));
        if (above) text_addf(t, "%s\n  ", v->cases[i].label);
        else text_addf(t, "%-*s  ", width, v->cases[i].label);
        for (int k = 0; k < wide; k++) text_add(t, k < bar ? "#" : ".");
        text_addf(t, "| %.0f %%\n", 100 * f);
    }
}

/* The profiles low .. high of one island, workspace downwards. */
static void add_island(atn_text *t, const run_view *v, int island, int decode, int low, int high)
{
    text_add(t, "     workspace");
    for (int p = low; p <= high; p++) text_addf(t, "  %+6d", p);
    text_add(t, "\n");
    for (int w = 63; w >= 0; w--) {
        char row[8][16] = {{0}};
        bool any = false;
        for (int i = 0; i < v->n_cells; i++) {
            const view_cell *c = &v->cells[i];
            if (c->island != island || c->decode != decode || c->workspace != w || c->profile < low ||
                c->profile > high)
                continue;
            any = true;
            snprintf(row[c->profile - low], sizeof row[0], "%.2fx%s", exp(c->score),
                     c->program == v->winner ? "*" : "");
        }
        if (!any) continue;
        text_addf(t, "%11lld %s", 1LL << w % 10,
                  w >= 60   ? "EB"
                  : w >= 50 ? "PB"
                  : w >= 40 ? "TB"
                  : w >= 30 ? "GB"
                  : w >= 20 ? "MB"
                  : w >= 10 ? "kB"
                            : "B ");
        for (int p = 0; p <= high - low; p++) text_addf(t, "%8s", row[p][0] ? row[p] : ".");
        text_add(t, "\n");
    }
}

/* The archive, island by island: how fast the owner of each cell is; in parts where the terminal is narrow. */
static void add_archive(atn_text *t, const run_view *v, int columns)
{
    int low = 999, high = -999, islands = 0;
    for (int i = 0; i < v->n_cells; i++) {
        low = ATN_MIN(low, v->cells[i].profile), high = ATN_MAX(high, v->cells[i].profile);
        islands = ATN_MAX(islands, v->cells[i].island + 1);
    }
    if (!v->n_cells || islands > 64) return;
    int at_once = columns > 0 ? ATN_MAX(1, ATN_MIN(8, (columns - 14) / 8)) : 8;
    text_add(t,
             "\nArchive: speedup of the best program of each behaviour, from better on long (-) to better on short (+) "
             "cases; * the winner\n");
    for (int d = -9; d <= 9; d++)
        for (int g = 0; g < islands; g++) {
            int from = 999, to = -999;
            for (int i = 0; i < v->n_cells; i++)
                if (v->cells[i].island == g && v->cells[i].decode == d)
                    from = ATN_MIN(from, v->cells[i].profile), to = ATN_MAX(to, v->cells[i].profile);
            if (to < from) continue;
            if (high - low < at_once) from = low, to = high; /* islands under each other where they fit */
            text_addf(t, "island %d%s", g, d ? ", decode against prefill " : "");
            if (d) text_addf(t, "%+d", d);
            text_add(t, "\n");
            for (int p = from; p <= to; p += at_once) add_island(t, v, g, d, p, ATN_MIN(to, p + at_once - 1));
        }
}

static void add_verdicts(atn_text *t, const run_view *v, int columns)
{
    const int wide = room_of(columns, 18, 48);
    int most = ATN_MAX(ATN_MAX(v->better, v->right), ATN_MAX(v->same, v->failed));
    const struct {
        const char *word;
        int n;
    } rows[] = {{"better", v->better}, {"right", v->right}, {"same code", v->same}, {"failed", v->failed}};
    text_add(t, "\nVerdicts\n");
    for (int i = 0; i < ATN_COUNT(rows); i++) {
        if (!rows[i].n) continue;
        int bar = ATN_MAX(1, (int)lround((double)wide * rows[i].n / ATN_MAX(most, 1)));
        text_addf(t, "%9s  ", rows[i].word);
        for (int k = 0; k < bar; k++) text_add(t, "#");
        text_addf(t, " %d\n", rows[i].n);
    }
}

atn_status report_charts(const char *folder, const report_style *style, atn_text *out, atn_error *err)
{
    run_view v;
    atn_text t = {0};
    atn_status st = view_read(folder, &v, err);
    if (st) return st;
    if (v.n_programs >= 3) {
        add_progress(&t, &v, style->columns);
        add_peaks(&t, &v, style->columns);
        add_archive(&t, &v, style->columns);
        add_verdicts(&t, &v, style->columns);
        view_add_wrapped(out, t.s, style->columns);
    }
    text_free(&t);
    view_free(&v);
    return ATN_OK;
}
