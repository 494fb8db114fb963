/* Reads a run from its store. What the run's end measured is one JSON record of it ("result"); where that is missing or
 * older than the present winner, the run's own chained estimates stand in, and the view says so. */
#include "report/view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "problem/problem.h"

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

static const store_program *program_of(const run_view *v, int64_t id)
{
    for (int i = 0; i < v->n_programs; i++)
        if (v->programs[i].made.id == id) return &v->programs[i];
    return NULL;
}

static void read_lineage(atn_store *s, run_view *v)
{
    const store_program *p = program_of(v, v->winner);
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
        p = parent && parent != p->made.id ? program_of(v, parent) : NULL;
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
    const store_program *w = program_of(v, v->winner);
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
