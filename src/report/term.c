/* Charts for the terminal, in plain characters: readable in a log file too. Each stands for the same picture of the
 * dashboard and of report.html. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/report.h"
#include "report/view.h"

enum { COLUMNS = 64, ROWS = 9 };

/* Log-speedup to a row, 0 on top; what is below the axis is on the last row. */
static int row_of(double x, double low, double high)
{
    int r = (int)lround((high - x) / (high - low) * (ROWS - 1));
    return r < 0 ? 0 : r >= ROWS ? ROWS - 1 : r;
}

static void add_progress(atn_text *t, const run_view *v)
{
    char grid[ROWS][COLUMNS + 1], fell[COLUMNS + 1];
    double low = 0, high = 0.1, best = NAN, span = fmax(v->seconds, 1);
    memset(grid, ' ', sizeof grid);
    memset(fell, ' ', sizeof fell);
    for (int r = 0; r < ROWS; r++) grid[r][COLUMNS] = 0;
    fell[COLUMNS] = 0;
    for (int i = 0; i < v->n_programs; i++) {
        span = fmax(span, v->programs[i].t);
        if (isfinite(v->programs[i].score)) high = fmax(high, v->programs[i].score);
    }
    int column = 0;
    for (int i = 0; i < v->n_programs; i++) {
        const store_program *p = &v->programs[i];
        int c = ATN_MIN((int)(p->t / span * COLUMNS), COLUMNS - 1);
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
    for (; column < COLUMNS && isfinite(best); column++) grid[row_of(best, low, high)][column] = '=';
    text_add(t, "\nSpeedup over time: = the best, . one program, x a failed one; logarithmic\n");
    for (int r = 0; r < ROWS; r++) {
        bool named = r == 0 || r == ROWS - 1 || r == ROWS / 2;
        if (named) text_addf(t, "%8.2fx |%s\n", exp(high - (high - low) * r / (ROWS - 1)), grid[r]);
        else text_addf(t, "          |%s\n", grid[r]);
    }
    text_addf(t, "   failed |%s\n", fell);
    text_addf(t, "          +%.*s %.0f %s\n", COLUMNS - 10,
              "----------------------------------------------------------------", span > 180 ? span / 60 : span,
              span > 180 ? "minutes" : "seconds");
}

static void add_verdicts(atn_text *t, const run_view *v)
{
    int most = ATN_MAX(ATN_MAX(v->better, v->right), ATN_MAX(v->same, v->failed));
    const struct {
        const char *word;
        int n;
    } rows[] = {{"better", v->better}, {"right", v->right}, {"same code", v->same}, {"failed", v->failed}};
    text_add(t, "\nVerdicts\n");
    for (int i = 0; i < ATN_COUNT(rows); i++) {
        if (!rows[i].n) continue;
        int bar = ATN_MAX(1, (int)lround(48.0 * rows[i].n / ATN_MAX(most, 1)));
        text_addf(t, "%9s  ", rows[i].word);
        for (int k = 0; k < bar; k++) text_add(t, "#");
        text_addf(t, " %d\n", rows[i].n);
    }
}

atn_status report_charts(const char *folder, atn_text *out, atn_error *err)
{
    run_view v;
    atn_status st = view_read(folder, &v, err);
    if (st) return st;
    if (v.n_programs >= 3) {
        add_progress(out, &v);
        add_verdicts(out, &v);
    }
    view_free(&v);
    return ATN_OK;
}
