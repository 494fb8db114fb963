/* What each way of proposing cost and brought, and what models were paid: the tables of report.html. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/view.h"

typedef struct {
    const char *name;
    int n, failed, same, beat, best;
    double seconds, gain; /* gain: sum of log-ratios to the parent, of those that became the best */
} proposer;

static int by_number(const void *a, const void *b)
{
    const proposer *x = a, *y = b;
    return x->n != y->n ? y->n - x->n : strcmp(x->name, y->name);
}

static void add_program(proposer *g, const run_view *v, const store_program *p)
{
    const store_program *parent = view_program(v, p->made.parent1);
    bool compares = parent && isfinite(parent->score) && isfinite(p->score);
    g->n++;
    g->failed += !strcmp(p->state, "failed");
    g->same += !strcmp(p->state, "same");
    g->best += p->promoted;
    g->beat += compares && p->score > parent->score;
    g->seconds += p->seconds_build + p->seconds_judge;
    if (p->promoted && compares) g->gain += fmax(0, p->score - parent->score);
}

/* By origin ("knobs/mutate2"), most first; starting programs are nobody's proposals. Caller frees. */
static proposer *group(const run_view *v, int *n)
{
    proposer *g = atn_alloc(sizeof *g * (size_t)(v->n_programs + 1));
    *n = 0;
    for (int i = 0; i < v->n_programs; i++) {
        const store_program *p = &v->programs[i];
        const char *name = p->made.origin ? p->made.origin : "";
        int k = 0;
        if (p->made.proposer && !strcmp(p->made.proposer, "start")) continue;
        while (k < *n && strcmp(g[k].name, name) != 0) k++;
        if (k == *n) g[(*n)++] = (proposer){.name = name};
        add_program(&g[k], v, p);
    }
    qsort(g, (size_t)*n, sizeof *g, by_number);
    return g;
}

/* "12 % [8, 18]": a share with Wilson's 95 % interval. */
static void add_share(atn_text *t, int k, int n)
{
    const double z = 1.96, p = (double)k / n, d = 1 + z * z / n, middle = (p + z * z / (2 * n)) / d,
                 half = z / d * sqrt(p * (1 - p) / n + z * z / (4.0 * n * n));
    text_addf(t, "<td>%.0f %% [%.0f, %.0f]</td>", 100 * p, 100 * fmax(0, middle - half), 100 * fmin(1, middle + half));
}

typedef struct {
    const char *who, *model; /* of `record` */
    json_t *record;
    long long n, taken, tokens;
    double usd;
} asked;

static asked *read_asked(const run_view *v, int *n)
{
    enum { MOST = 64 };
    asked *a = atn_alloc(sizeof *a * MOST);
    atn_store *s = NULL;
    store_measurement *m = NULL;
    int answers = 0;
    *n = 0;
    if (!store_open(v->folder, STORE_READ, NULL, 0, &s, NULL) && !store_measurements(s, "answer", &m, &answers, NULL))
        for (int i = 0; i < answers; i++) {
            json_t *o = json_loads(m[i].json, 0, NULL);
            const char *who = json_string_value(json_object_get(o, "proposer")),
                       *model = json_string_value(json_object_get(o, "model"));
            int k = 0;
            while (k < *n && (strcmp(a[k].who, who ? who : "") != 0 || strcmp(a[k].model, model ? model : "") != 0))
                k++;
            if (k < MOST) {
                if (k == *n) a[(*n)++] = (asked){who ? who : "", model ? model : "", json_incref(o), 0, 0, 0, 0};
                a[k].n++;
                a[k].taken += json_is_string(json_object_get(o, "source"));
                a[k].tokens += json_integer_value(json_object_get(o, "tokens_in")) +
                               json_integer_value(json_object_get(o, "tokens_out"));
                a[k].usd += json_number_value(json_object_get(o, "usd"));
            }
            json_decref(o);
        }
    store_measurements_free(m, answers);
    store_close(s);
    return a;
}

static void add_asked(atn_text *t, const run_view *v)
{
    int n;
    asked *a = read_asked(v, &n);
    if (n)
        text_add(t, "<div class=\"scroll\"><table><thead><tr><th>who was asked<th>model<th>answers<th>became programs"
                    "<th>tokens<th>cost</tr></thead><tbody>\n");
    for (int i = 0; i < n; i++) {
        text_add(t, "<tr><td>");
        view_add_html(t, a[i].who);
        text_add(t, "</td><td>");
        view_add_html(t, *a[i].model ? a[i].model : "–");
        text_addf(t, "</td><td>%lld</td><td>%lld</td><td>%lld</td><td>$%.2f</td></tr>\n", a[i].n, a[i].taken,
                  a[i].tokens, a[i].usd);
        json_decref(a[i].record);
    }
    if (n) text_add(t, "</tbody></table></div>\n");
    free(a);
}

void proposers_html(atn_text *t, const run_view *v)
{
    enum { SHOWN = 24 };
    int n;
    proposer *g = group(v, &n);
    if (n)
        text_add(t,
                 "<h2>Proposers</h2>\n<p class=\"sub\">What each way of proposing cost and brought; shares with their "
                 "95 % interval.</p>\n<div class=\"scroll\"><table><thead><tr><th>proposer<th>proposed<th>failed"
                 "<th>same code<th>beat its parent<th>became best<th>brought<th>time</tr></thead><tbody>\n");
    for (int i = 0; i < n && i < SHOWN; i++) {
        text_add(t, "<tr><td>");
        view_add_html(t, g[i].name);
        text_addf(t, "</td><td>%d</td><td>%d</td><td>%d</td>", g[i].n, g[i].failed, g[i].same);
        add_share(t, g[i].beat, g[i].n);
        char brought[32]; /* percents of four digits are factors */
        snprintf(brought, sizeof brought, expm1(g[i].gain) < 10 ? "%+.1f %%" : "%.3g×",
                 expm1(g[i].gain) < 10 ? 100 * expm1(g[i].gain) : exp(g[i].gain));
        text_addf(t, "<td>%d</td><td>%s</td><td>%.0f s</td></tr>\n", g[i].best, brought,
                  g[i].seconds);
    }
    if (n) text_add(t, "</tbody></table></div>\n");
    if (n > SHOWN) text_addf(t, "<p class=\"sub\">and %d more.</p>\n", n - SHOWN);
    add_asked(t, v);
    free(g);
}
