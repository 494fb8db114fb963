/* Best programs per class of problem. */
#include "evolve/portfolio.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void portfolio_init(atn_portfolio *p, const atn_suite *s, const suite_kinds *k, int threads)
{
    *p = (atn_portfolio){0};
    for (int c = 0; c < k->n; c++) {
        char key[64];
        suite_class_of(s, k, c, threads, key, sizeof key);
        int i = 0;
        while (i < p->n && strcmp(p->cls[i].key, key)) i++;
        if (i == PORTFOLIO_CLASSES) i--; /* more classes than a table can show: the last takes the rest */
        if (i == p->n) snprintf(p->cls[p->n++].key, sizeof key, "%s", key);
        p->cls[i].cases[p->cls[i].n_cases++] = c;
    }
}

static void insert(portfolio_class *c, portfolio_entry e)
{
    int i = c->n < PORTFOLIO_TOP ? c->n++ : PORTFOLIO_TOP;
    for (; i > 0 && e.low > c->top[i - 1].low; i--)
        if (i < PORTFOLIO_TOP) c->top[i] = c->top[i - 1];
    if (i < PORTFOLIO_TOP) c->top[i] = e;
}

void portfolio_add(atn_portfolio *p, int64_t program, const evolve_score *s)
{
    if (!s->valid) return;
    for (int i = 0; i < p->n; i++) {
        portfolio_class *c = &p->cls[i];
        portfolio_entry e = {.program = program};
        bool all = true;
        for (int j = 0; j < c->n_cases; j++) {
            int k = c->cases[j];
            all = all && s->measured[k];
            e.mid += s->log[k] / c->n_cases;
            e.low += s->log_low[k] / c->n_cases;
            e.high += s->log_high[k] / c->n_cases;
        }
        if (all) insert(c, e);
    }
}

void portfolio_remove(atn_portfolio *p, int64_t program)
{
    for (int i = 0; i < p->n; i++) {
        portfolio_class *c = &p->cls[i];
        int kept = 0;
        for (int j = 0; j < c->n; j++)
            if (c->top[j].program != program) c->top[kept++] = c->top[j];
        c->n = kept;
    }
}

bool portfolio_holds(const atn_portfolio *p, int64_t program)
{
    for (int i = 0; i < p->n; i++)
        for (int j = 0; j < p->cls[i].n; j++)
            if (p->cls[i].top[j].program == program) return true;
    return false;
}

bool portfolio_compare(const portfolio_class *c, const atn_verdict *v, double *mid, double *low, double *high)
{
    *mid = *low = *high = 0;
    for (int j = 0; j < c->n_cases; j++) {
        int i = 0;
        while (i < v->n_cases && v->cases[i].case_index != c->cases[j]) i++;
        if (i == v->n_cases) return false;
        *mid += v->cases[i].log_ratio / c->n_cases;
        *low += v->cases[i].log_low / c->n_cases;
        *high += v->cases[i].log_high / c->n_cases;
    }
    return c->n_cases > 0;
}
