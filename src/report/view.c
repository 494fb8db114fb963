/* Reads a run from its store. What the run's end measured is one JSON record of it ("result"); where that is missing or
 * older than the present winner, the run's own chained estimates stand in, and the view says so. */
#include "report/view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "problem/problem.h"
#include "report/peers.h"

/* ---- JSON that we wrote: numbers, or the words of numbers that JSON lacks ---- */

static double real_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (json_is_number(v)) return json_number_value(v);
    const char *s = json_string_value(v);
    return s && !strcmp(s, "inf") ? (double)INFINITY : s && !strcmp(s, "-inf") ? -(double)INFINITY : (double)NAN;
}

static evolve_interval interval_of(const json_t *o)
{
    evolve_interval i = {real_of(o, "median"), real_of(o, "low"), real_of(o, "high")};
    if (!isfinite(i.median)) i = (evolve_interval){0};
    return i;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static char *meta(atn_store *s, const char *key)
{
    char *v = store_meta_get(s, key);
    return v ? v : atn_strdup("");
}

/* ---- parts ---- */

static void read_controls(atn_store *s, const char *kind, atn_controls *c, bool *has)
{
    store_measurement *m;
    int n;
    *has = false;
    if (store_measurements(s, kind, &m, &n, NULL)) return;
    json_t *o = n ? json_loads(m[n - 1].json, 0, NULL) : NULL;
    if (o) {
        *c = (atn_controls){.aa_races = (int)json_integer_value(json_object_get(o, "aa_races")),
                            .aa_promoted = (int)json_integer_value(json_object_get(o, "aa_promoted")),
                            .plus_races = (int)json_integer_value(json_object_get(o, "plus_races")),
                            .plus_promoted = (int)json_integer_value(json_object_get(o, "plus_promoted")),
                            .aa_spread = real_of(o, "aa_spread"),
                            .can_see_percent = real_of(o, "can_see_percent")};
        *has = true;
        json_decref(o);
    }
    store_measurements_free(m, n);
}

/* The record of the run's end, if it is about the present winner. */
static void read_result(atn_store *s, run_view *v)
{
    store_measurement *m;
    int n;
    if (store_measurements(s, "result", &m, &n, NULL)) return;
    if (n && m[n - 1].program == v->winner) v->info = json_loads(m[n - 1].json, 0, NULL);
    store_measurements_free(m, n);
}

const store_program *view_program(const run_view *v, int64_t id)
{
    for (int i = 0; i < v->n_programs; i++)
        if (v->programs[i].made.id == id) return &v->programs[i];
    return NULL;
}

static void read_lineage(atn_store *s, run_view *v)
{
    const store_program *p = view_program(v, v->winner);
    while (p && v->n_lineage < v->n_programs) { /* a parent is older than its child, so this ends */
        v->lineage = atn_realloc(v->lineage, sizeof *v->lineage * (size_t)(v->n_lineage + 1));
        char *source = store_blob_get(s, p->made.sha);
        v->lineage[v->n_lineage++] = (view_step){.id = p->made.id,
                                                 .generation = p->generation,
                                                 .origin = atn_strdup(p->made.origin ? p->made.origin : ""),
                                                 .note = atn_strdup(p->made.note ? p->made.note : ""),
                                                 .source = source ? source : atn_strdup(""),
                                                 .speedup = isfinite(p->score) ? exp(p->score) : (double)NAN,
                                                 .t = p->t};
        int64_t parent = p->made.parent1;
        p = parent && parent != p->made.id ? view_program(v, parent) : NULL;
    }
}

static void count_states(run_view *v)
{
    for (int i = 0; i < v->n_programs; i++) {
        const store_program *p = &v->programs[i];
        if (!strcmp(p->state, "better")) v->better++;
        else if (!strcmp(p->state, "right")) v->right++;
        else if (!strcmp(p->state, "same")) v->same++;
        else v->failed++;
        if (strcmp(p->state, "failed") != 0) continue;
        for (int r = 0; r < ATN_REASON_COUNT; r++) v->reasons[r] += !strcmp(p->reason, reason_word((atn_reason)r));
    }
}

static void cases_of_result(run_view *v)
{
    const json_t *list = json_object_get(v->info, "cases");
    v->cases = atn_alloc(sizeof *v->cases * (json_array_size(list) + 1));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        view_case *c = &v->cases[v->n_cases++];
        snprintf(c->label, sizeof c->label, "%s", text_of(o, "case"));
        c->speedup = (evolve_interval){real_of(o, "speedup"), real_of(o, "speedup_low"), real_of(o, "speedup_high")};
        c->best_ms = real_of(o, "ns") * 1e-6;
        c->initial_ms = c->best_ms * c->speedup.median;
        c->gflops = real_of(o, "gflops");
        c->peak_fraction = real_of(o, "peak_fraction");
        c->tokens_per_s = real_of(o, "tokens_per_s");
        c->error = real_of(o, "error");
        c->workspace_bytes = json_integer_value(json_object_get(o, "workspace_bytes"));
    }
}

/* "a; b; c" of the store's identity: the text of case i. */
static void suite_item(const char *suite, int i, char *out, size_t room)
{
    for (; i > 0 && suite; i--) suite = strstr(suite, "; ") ? strstr(suite, "; ") + 2 : NULL;
    size_t n = suite ? strcspn(suite, ";") : 0;
    snprintf(out, room, "%.*s", (int)n, suite ? suite : "");
}

static void cases_of_run(atn_store *s, run_view *v)
{
    store_program p;
    if (!v->winner || store_program_get(s, v->winner, &p, NULL)) return;
    char *suite = meta(s, "identity.suite");
    v->cases = atn_alloc(sizeof *v->cases * (size_t)(p.n_cases + 1));
    for (int i = 0; i < p.n_cases; i++) {
        const store_case *x = &p.cases[i];
        view_case *c = &v->cases[v->n_cases++];
        double before = x->log_speedup - x->log_ratio;
        /* The timed problem may have been cut to one kv group, so its milliseconds are not those of the label. */
        *c = (view_case){.speedup = {exp(x->log_speedup), exp(before + x->log_low), exp(before + x->log_high)},
                         .initial_ms = NAN,
                         .best_ms = NAN,
                         .gflops = NAN,
                         .peak_fraction = NAN,
                         .tokens_per_s = NAN,
                         .error = x->error,
                         .workspace_bytes = x->workspace_bytes};
        suite_item(suite, x->case_index, c->label, sizeof c->label);
    }
    free(suite);
    store_program_clear(&p);
}

static void read_cells(atn_store *s, run_view *v)
{
    store_cell *list;
    int n;
    if (store_cells(s, &list, &n, NULL)) return;
    v->cells = atn_alloc(sizeof *v->cells * (size_t)(n + 1));
    for (int i = 0; i < n; i++) {
        view_cell c = {.island = list[i].island, .program = list[i].program};
        if (sscanf(list[i].key, "p%d w%d d%d", &c.profile, &c.workspace, &c.decode) != 3) continue;
        const store_program *p = view_program(v, c.program);
        c.score = p ? p->score : (double)NAN;
        v->cells[v->n_cells++] = c;
    }
    free(list);
}

/* ---- limits and peers: the same lines as web/limits.js draws ---- */

static void add_line(run_view *v, view_line l)
{
    if (v->n_lines < VIEW_LINES_MAX && isfinite(l.y)) v->lines[v->n_lines++] = l;
}

/* What whole calls of a case take at the machine's limits; the comparison may have timed fewer heads. */
typedef struct {
    double whole_ns, fma_ns, memory_ns;
    bool known, cut;
} case_limits;

static void limits_of(const run_view *v, case_limits *out)
{
    double threads = fmax(1, atof(v->threads));
    for (int i = 0; i < v->n_cases; i++) {
        const view_case *c = &v->cases[i];
        atn_problem p;
        out[i] = (case_limits){0};
        if (problem_parse(c->label, &p, NULL) || !(c->gflops > 0) || !(c->speedup.median > 0)) continue;
        double flops = problem_flops(&p);
        out[i] = (case_limits){.whole_ns = flops / c->gflops,
                               .fma_ns = flops / (v->fma_peak_gflops * threads),
                               .memory_ns = v->read_bandwidth_gbs > 0 ? problem_bytes(&p) / v->read_bandwidth_gbs : 0,
                               .known = true};
        out[i].cut = fabs(c->best_ms * 1e6 / out[i].whole_ns - 1) > 0.02;
    }
}

static view_line roof(const run_view *v, const case_limits *c, bool memory)
{
    double y = 0, low = 0, high = 0;
    int n = 0;
    for (int i = 0; i < v->n_cases; i++) {
        if (!c[i].known || !(c[i].fma_ns > 0)) continue;
        const evolve_interval *s = &v->cases[i].speedup;
        double far = log(c[i].whole_ns / (memory ? fmax(c[i].fma_ns, c[i].memory_ns) : c[i].fma_ns));
        y += far + log(s->median);
        low += far + log(s->low > 0 ? s->low : s->median);
        high += far + log(isfinite(s->high) && s->high > 0 ? s->high : s->median);
        n++;
    }
    return (view_line){.y = n ? exp(y / n) : (double)NAN,
                       .low = exp(low / ATN_MAX(n, 1)),
                       .high = exp(high / ATN_MAX(n, 1))};
}

static const view_case *case_named(const run_view *v, const case_limits *c, const char *label)
{
    for (int i = 0; i < v->n_cases; i++)
        if (c[i].known && !c[i].cut && !strcmp(v->cases[i].label, label)) return &v->cases[i];
    return NULL;
}

/* The winner's speedup times the mean ratio of its time to the peer's, on the cases that both were timed on. */
static void add_peer(run_view *v, const case_limits *c, const peer_table *t, const char *name)
{
    double y = 0, low = 0, high = 0;
    int n = 0;
    for (int i = 0; i < v->n_cases; i++) {
        const peer_row *best = NULL;
        for (int k = 0; k < t->n; k++)
            if (!strcmp(t->rows[k].name, name) && case_named(v, c, t->rows[k].label) == &v->cases[i] &&
                (!best || t->rows[k].ms < best->ms))
                best = &t->rows[k];
        if (!best) continue;
        y += log(v->cases[i].best_ms / best->ms);
        low += log(best->low > 0 ? best->low : 1);
        high += log(best->high > 0 ? best->high : 1);
        n++;
    }
    if (!n) return;
    y = log(v->speedup.median) + y / n;
    view_line l = {.peer = true, .y = exp(y), .low = exp(y + low / n), .high = exp(y + high / n)};
    if (n < v->n_cases) snprintf(l.name, sizeof l.name, "%.2fx %s, on %d of %d cases", l.y, name, n, v->n_cases);
    else snprintf(l.name, sizeof l.name, "%.2fx %s", l.y, name);
    add_line(v, l);
}

static void read_lines(atn_store *s, run_view *v)
{
    if (!v->info || v->from_chain || !v->n_cases) return;
    case_limits *c = atn_alloc(sizeof *c * (size_t)v->n_cases);
    limits_of(v, c);
    if (v->fma_peak_gflops > 0) {
        view_line fma = roof(v, c, false), both = roof(v, c, true);
        snprintf(fma.name, sizeof fma.name, "%.1fx FMA peak of this machine, %.0f GFLOP/s a core", fma.y,
                 v->fma_peak_gflops);
        snprintf(both.name, sizeof both.name, "%.1fx roofline with memory, %.1f GB/s", both.y, v->read_bandwidth_gbs);
        add_line(v, fma);
        if (both.y < 0.99 * fma.y) add_line(v, both);
    }
    char *machine = meta(s, "identity.machine");
    peer_table t;
    peers_read(v->folder, machine, atoi(v->threads), &t);
    for (int i = 0; i < t.n; i++) {
        bool seen = false;
        for (int k = 0; k < i && !seen; k++) seen = !strcmp(t.rows[k].name, t.rows[i].name);
        if (!seen) add_peer(v, c, &t, t.rows[i].name);
    }
    if (t.n) snprintf(v->peers_source, sizeof v->peers_source, "%s", t.source);
    peers_free(&t);
    free(machine);
    free(c);
}

/* ---- whole ---- */

atn_status view_read(const char *folder, run_view *v, atn_error *err)
{
    *v = (run_view){.folder = atn_strdup(folder)};
    atn_store *s = NULL;
    store_progress progress = {0};
    atn_status st = store_open(folder, STORE_READ, NULL, 0, &s, err);
    if (!st) st = store_progress_get(s, &progress, err);
    if (!st) st = store_programs(s, 0, false, &v->programs, &v->n_programs, err);
    if (st) goto out;
    v->db_path = atn_strdup(store_path(s));
    v->cpu = meta(s, "cpu");
    v->isa = meta(s, "isa");
    v->compiler = meta(s, "identity.compiler");
    v->threads = meta(s, "identity.threads");
    v->suite = meta(s, "suite");
    v->initial = meta(s, "initial");
    v->started = meta(s, "started");
    v->version = meta(s, "version");
    v->seed = meta(s, "seed");
    v->seconds = progress.t_last;
    v->winner = progress.incumbent;
    for (int i = 0; i < v->n_programs && !v->winner; i++) /* nothing was better: the initial program stands */
        if (v->programs[i].correct && !strcmp(v->programs[i].made.origin, "initial"))
            v->winner = v->programs[i].made.id;
    count_states(v);
    read_result(s, v);
    read_lineage(s, v);
    read_controls(s, "control", &v->controls[0], &v->has_controls[0]);
    read_controls(s, "control_end", &v->controls[1], &v->has_controls[1]);
    const store_program *w = view_program(v, v->winner);
    v->error = w ? w->error : (double)NAN;
    if (v->info) {
        const json_t *machine = json_object_get(v->info, "machine"), *p = json_object_get(v->info, "provenance");
        v->fma_peak_gflops = real_of(machine, "fma_peak_gflops");
        v->read_bandwidth_gbs = real_of(machine, "read_bandwidth_gbs");
        v->speedup = interval_of(json_object_get(v->info, "speedup"));
        v->ancestor = interval_of(json_object_get(p, "ancestor_speedup"));
        v->evolved = interval_of(json_object_get(p, "evolved_speedup"));
        v->from_chain = text_starts(text_of(v->info, "speedup_is"), "chained");
        cases_of_result(v);
    } else if (w && isfinite(w->score)) {
        v->speedup = (evolve_interval){exp(w->score), exp(w->score_low), exp(w->score_high)};
        v->from_chain = true;
        cases_of_run(s, v);
    }
    read_cells(s, v);
    read_lines(s, v);
out:
    store_close(s);
    if (st) view_free(v);
    return st;
}

void view_free(run_view *v)
{
    char *texts[] = {v->folder,  v->db_path, v->cpu,     v->isa,  v->compiler, v->suite,
                     v->initial, v->started, v->version, v->seed, v->threads};
    for (int i = 0; i < ATN_COUNT(texts); i++) free(texts[i]);
    for (int i = 0; i < v->n_lineage; i++) {
        free(v->lineage[i].origin);
        free(v->lineage[i].note);
        free(v->lineage[i].source);
    }
    free(v->lineage);
    free(v->cells);
    free(v->cases);
    store_programs_free(v->programs, v->n_programs);
    json_decref(v->info);
    *v = (run_view){0};
}

void view_root_words(const run_view *v, char *out, size_t room)
{
    const char *origin = v->n_lineage ? v->lineage[v->n_lineage - 1].origin : "";
    if (text_starts(origin, "shipped:"))
        snprintf(out, room, "%s, which comes with attune", origin + strlen("shipped:"));
    else if (!strcmp(origin, "initial")) snprintf(out, room, "the initial program");
    else snprintf(out, room, "%s", origin);
}

void demotions_text(const char *folder, atn_text *out)
{
    atn_store *s = NULL;
    store_measurement *list = NULL;
    int n = 0;
    if (!store_open(folder, STORE_READ, NULL, 0, &s, NULL) && !store_measurements(s, "demotion", &list, &n, NULL))
        for (int i = 0; i < n; i++) {
            json_t *o = json_loads(list[i].json, 0, NULL), *v = json_object_get(o, "verdict");
            const char *reason = json_string_value(json_object_get(v, "reason")),
                       *words = json_string_value(json_object_get(v, "evidence"));
            text_addf(out, "%s#%lld failed after %lld verdicts (%s: %.160s), #%lld took its place", i ? "; " : "",
                      (long long)list[i].program, (long long)json_integer_value(json_object_get(o, "after")),
                      reason ? reason : "?", words ? words : "", (long long)list[i].against);
            json_decref(o);
        }
    store_measurements_free(list, n);
    store_close(s);
}

void view_add_html(atn_text *t, const char *s)
{
    atn_text seen = {0};
    text_add_visible(&seen, s, true);
    if (seen.s) text_add_html(t, seen.s);
    text_free(&seen);
}

/* Bytes of the character at s, with a terminal style ("\033[1m") before it; *columns grows by what it takes. */
static size_t step_of(const char *s, int *columns)
{
    if (*s == '\033') {
        size_t n = strcspn(s, "m");
        return n + (s[n] == 'm');
    }
    size_t k = text_utf8(s, strnlen(s, 4));
    ++*columns;
    return k ? k : 1;
}

int view_columns_of(const char *s)
{
    int n = 0;
    while (*s) s += step_of(s, &n);
    return n;
}

/* Where the text of a line begins: after its title, if it has one, which two or more spaces follow. */
static int indent_of(const char *line, int columns)
{
    int lead = (int)strspn(line, " ");
    const char *gap = strstr(line + lead, "  ");
    int deep = gap ? (int)(gap - line + (long)strspn(gap, " ")) : 0;
    if (lead == 0 && deep > 0 && deep <= 14 && deep <= columns / 3) return deep;
    return ATN_MIN(lead + 2, columns / 3);
}

static void wrap_line(atn_text *t, const char *line, int columns)
{
    int indent = indent_of(line, columns), at = 0;
    size_t from = 0, i = 0, space = 0;
    while (line[i]) {
        size_t k = step_of(line + i, &at);
        if (at > columns) {
            bool hard = space <= from;
            size_t end = hard ? i : space;
            text_addn(t, line + from, end - from);
            text_addf(t, "\n%*s", indent, "");
            from = i = hard ? end : end + strspn(line + end, " ");
            space = from;
            at = indent;
            continue;
        }
        if (line[i] == ' ' && i > from && at > indent + 1) space = i;
        i += k;
    }
    text_add(t, line + from);
}

void view_add_wrapped(atn_text *t, const char *s, int columns)
{
    while (s && *s) {
        size_t n = strcspn(s, "\n");
        char *line = atn_strndup(s, n);
        if (columns > 0 && view_columns_of(line) > columns) wrap_line(t, line, columns);
        else text_add(t, line);
        free(line);
        s += n;
        if (*s) text_add(t, "\n"), s++;
    }
}

double view_best_peak_fraction(const run_view *v)
{
    double best = NAN;
    for (int i = 0; i < v->n_cases; i++)
        if (!(v->cases[i].peak_fraction <= best)) best = v->cases[i].peak_fraction;
    return best;
}

bool view_has_bounds(const view_case *c)
{
    return c->speedup.median == 1 || c->speedup.low < c->speedup.high;
}
