/* A run as text for a terminal, and as one JSON object. */
#include "report/report.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "evolve/knobs.h"
#include "report/view.h"

static void add_interval(atn_text *t, evolve_interval i)
{
    text_addf(t, "%.2fx", i.median);
    if (i.low > 0 && isfinite(i.high)) text_addf(t, " [%.2f, %.2f]", i.low, i.high);
}

/* A number in a column, or a dash where it is not known. */
static void add_number(atn_text *t, const char *format, int width, double x)
{
    char s[40];
    if (!isfinite(x)) snprintf(s, sizeof s, "-");
    else snprintf(s, sizeof s, format, x);
    text_addf(t, " %*s", width, s);
}

static void add_ms(atn_text *t, double ms)
{
    add_number(t, ms < 1 ? "%.4f" : ms < 100 ? "%.3f" : "%.1f", 10, ms);
}

static void add_clock(atn_text *t, double seconds)
{
    long long s = seconds > 0 ? (long long)(seconds + 0.5) : 0;
    text_addf(t, "%lld:%02lld", s / 60, s % 60);
}

/* Candidates' text on a terminal or in a C comment: one line, nothing unseen, no end of comment. */
static void add_clean(atn_text *t, const char *s)
{
    atn_text seen = {0};
    text_add_visible(&seen, s, false);
    for (const char *p = seen.s; p && *p;) {
        const char *end = strstr(p, "*/");
        text_addn(t, p, end ? (size_t)(end + 1 - p) : strlen(p));
        if (end) text_add(t, " ");
        p = end ? end + 1 : p + strlen(p);
    }
    text_free(&seen);
}

/* The columns of the cases, and which of them go first where a terminal is narrow: the speedup with its bounds stays. */
typedef enum { C_INITIAL, C_BEST, C_SPEEDUP, C_GFLOPS, C_PEAK, C_ERROR, C_COUNT } case_column;
static const struct {
    const char *name;
    int wide;
} case_columns[C_COUNT] = {{"initial ms", 11}, {"best ms", 11}, {"speedup [low, high]", 25},
                           {"GFLOP/s", 9},     {"% peak", 8},   {"error", 10}};
static const case_column first_to_go[] = {C_INITIAL, C_GFLOPS, C_BEST, C_ERROR, C_PEAK};

static void add_case_cell(atn_text *t, const view_case *c, case_column k)
{
    char s[64];
    switch (k) {
    case C_INITIAL: add_ms(t, c->initial_ms); break;
    case C_BEST: add_ms(t, c->best_ms); break;
    case C_SPEEDUP:
        if (view_has_bounds(c))
            snprintf(s, sizeof s, "%.2fx [%.2f, %.2f]", c->speedup.median, c->speedup.low, c->speedup.high);
        else snprintf(s, sizeof s, "%.2fx [one pair]", c->speedup.median);
        text_addf(t, " %24s", s);
        break;
    case C_GFLOPS: add_number(t, "%.1f", 8, c->gflops); break;
    case C_PEAK: add_number(t, "%.1f", 7, 100 * c->peak_fraction); break;
    case C_ERROR: add_number(t, "%.1e", 9, c->error); break;
    case C_COUNT: break;
    }
}

static void add_cases(atn_text *t, const run_view *v, const char *bold, const char *plain, int columns)
{
    if (!v->n_cases) return;
    int label = 4, wide = 0;
    bool shown[C_COUNT];
    for (int i = 0; i < v->n_cases; i++) label = ATN_MAX(label, (int)strlen(v->cases[i].label));
    for (int k = 0; k < C_COUNT; k++) wide += case_columns[k].wide, shown[k] = true;
    for (int i = 0; columns > 0 && i < ATN_COUNT(first_to_go) && label + wide > columns; i++) {
        shown[first_to_go[i]] = false;
        wide -= case_columns[first_to_go[i]].wide;
    }
    bool two_lines = columns > 0 && label + wide > columns; /* each case a line of its own above its numbers */
    if (two_lines) {
        label = 1;
        for (int i = ATN_COUNT(first_to_go) - 1; i >= 0; i--) {
            case_column k = first_to_go[i];
            if (label + wide + case_columns[k].wide > columns) continue;
            shown[k] = true;
            wide += case_columns[k].wide;
        }
    }
    text_addf(t, "%s%-*s", bold, label, two_lines ? "" : "case");
    for (int k = 0; k < C_COUNT; k++)
        if (shown[k]) text_addf(t, "%*s", case_columns[k].wide, case_columns[k].name);
    text_addf(t, "%s\n", plain);
    for (int i = 0; i < v->n_cases; i++) {
        const view_case *c = &v->cases[i];
        if (two_lines) text_addf(t, "%s\n%*s", c->label, label, "");
        else text_addf(t, "%-*s", label, c->label);
        for (int k = 0; k < C_COUNT; k++)
            if (shown[k]) add_case_cell(t, c, (case_column)k);
        text_add(t, "\n");
    }
}

/* Whose merit the speedup is: the ancestor's that was shipped or given, and what evolution added. */
static void add_provenance(atn_text *t, const run_view *v)
{
    if (!v->n_lineage) return;
    char root[128];
    view_root_words(v, root, sizeof root);
    int steps = v->n_lineage - 1;
    bool own = !strcmp(v->lineage[steps].origin, "initial");
    text_addf(t, "From      %s", root);
    if (!steps) text_addf(t, ", unchanged: %s\n", own ? "nothing better was found" : "evolution added nothing");
    else text_addf(t, ", in %d step%s:\n", steps, steps == 1 ? "" : "s");
    for (int i = steps - 1; i >= 0; i--) {
        const view_step *s = &v->lineage[i];
        if (steps > 8 && i < steps - 4 && i > 3) {
            if (i == 4) text_addf(t, "            ... %d more: `attune show` with --diff\n", steps - 8);
            continue;
        }
        text_addf(t, "            #%lld ", (long long)s->id);
        add_clean(t, s->origin);
        if (*s->note) text_add(t, ": ");
        add_clean(t, s->note);
        if (isfinite(s->speedup)) text_addf(t, " (%.2fx)", s->speedup);
        text_add(t, "\n");
    }
    if (steps && !own && v->ancestor.median > 0 && v->evolved.median > 0) {
        text_add(t, "            of this, the ancestor alone is ");
        add_interval(t, v->ancestor);
        text_add(t, "; evolved on top: ");
        add_interval(t, v->evolved);
        text_add(t, "\n");
    }
}

/* What the winner loses without each edit of its lineage. */
static void add_edits(atn_text *t, const run_view *v, const char *folder)
{
    atn_store *s = NULL;
    store_measurement *list = NULL;
    int n = 0, shown = 0;
    int64_t winner = v->n_lineage ? v->lineage[0].id : 0;
    if (store_open(folder, STORE_READ, NULL, 0, &s, NULL)) return;
    if (!store_measurements(s, "ablation", &list, &n, NULL)) {
        for (int i = 0; i < n; i++) {
            json_t *o = list[i].program == winner ? json_loads(list[i].json, 0, NULL) : NULL;
            const char *fate = json_string_value(json_object_get(o, "fate")),
                       *what = json_string_value(json_object_get(o, "what"));
            if (fate && what && strcmp(fate, "same") != 0) {
                text_addf(t, "%s#%lld ", shown++ ? "          " : "Edits     ", (long long)list[i].against);
                add_clean(t, what);
                double median = json_number_value(json_object_get(o, "median"));
                if (!strcmp(fate, "needed")) text_add(t, ": needed");
                else
                    text_addf(t, ": %.3fx [%.3f, %.3f]%s", median, json_number_value(json_object_get(o, "low")),
                              json_number_value(json_object_get(o, "high")),
                              json_is_true(json_object_get(o, "removed")) ? ", worth nothing: left out" : "");
                text_add(t, "\n");
            }
            json_decref(o);
        }
        store_measurements_free(list, n);
    }
    store_close(s);
}

static void add_controls(atn_text *t, const run_view *v)
{
    for (int i = 0; i < 2; i++) {
        if (!v->has_controls[i]) continue;
        const atn_controls *c = &v->controls[i];
        text_addf(t, "%s%s: %d of %d races of a program with its own copy called a win",
                  i && v->has_controls[0] ? "          " : "Control   ", i ? "after" : "before", c->aa_promoted,
                  c->aa_races);
        if (c->plus_races) text_addf(t, ", %d of %d known gains seen", c->plus_promoted, c->plus_races);
        if (isfinite(c->can_see_percent) && c->can_see_percent > 0)
            text_addf(t, "; gains above %.1f %% are seen", c->can_see_percent);
        text_add(t, "\n");
    }
}

static void add_demotions(atn_text *t, const run_view *v)
{
    atn_text demoted = {0};
    demotions_text(v->folder, &demoted);
    if (demoted.n) {
        text_add(t, "Demoted   ");
        add_clean(t, demoted.s);
        text_add(t, "\n");
    }
    text_free(&demoted);
}

static void add_nodes(atn_text *t, const run_view *v)
{
    atn_text nodes = {0}, others = {0}, cost = {0};
    nodes_text(v->folder, &nodes);
    nodes_others(v->folder, &others);
    if (nodes.n) {
        text_add(t, "Nodes     ");
        add_clean(t, nodes.s);
        nodes_cost(v, &cost);
        text_addf(t, "\n          %s\n", cost.s);
    }
    if (others.n)
        text_addf(t, "          other kinds of machine have runs of their own, not to be compared: %s\n", others.s);
    text_free(&nodes);
    text_free(&others);
    text_free(&cost);
}

static void add_counts(atn_text *t, const run_view *v)
{
    text_addf(t, "Judged    %d program%s in ", v->n_programs, v->n_programs == 1 ? "" : "s");
    add_clock(t, v->seconds);
    text_addf(t, ": %d better, %d right, %d the same code, %d failed", v->better, v->right, v->same, v->failed);
    int listed = 0;
    for (int r = 0; r < ATN_REASON_COUNT; r++)
        if (v->reasons[r]) text_addf(t, "%s%s %d", listed++ ? ", " : " (", reason_word((atn_reason)r), v->reasons[r]);
    text_add(t, listed ? ")\n" : "\n");
}

static void add_files(atn_text *t, const run_view *v)
{
    static const struct {
        const char *title, *path, *what;
    } files[] = {
        {"Winner", "best/best_program.c", ""},
        {"", "best/best_program_info.json", ""},
        {"Portfolio", "portfolio/dispatch.txt", "the best kernel for each kind of problem"},
        {"Report", "report.html", "charts, lineage with diffs"},
        {"Records", "run.db", "SQLite; nothing is ever deleted"},
    };
    for (int i = 0; i < ATN_COUNT(files); i++) {
        char *path = atn_format("%s/%s", v->folder, files[i].path);
        if (access(path, F_OK) == 0)
            text_addf(t, "%-9s %s%s%s\n", files[i].title, path, *files[i].what ? "  " : "", files[i].what);
        free(path);
    }
}

/* What the run was for, as options of eval: without them it would judge the winner at the default suites, which a kernel
 * for other sizes or types may rightly refuse. */
static void add_what(atn_text *t, const run_view *v)
{
    enum { CASES_SHOWN = 2 };
    if (*v->threads && strcmp(v->threads, "1") != 0) text_addf(t, " -j %s", v->threads);
    if (!strcmp(v->suite, "seed+readme")) return;
    if (*v->suite && !strpbrk(v->suite, " 0123456789")) {
        for (const char *p = v->suite; *p; p += strcspn(p, "+"), p += *p == '+')
            text_addf(t, " --suite %.*s", (int)strcspn(p, "+"), p);
        return;
    }
    for (int i = 0; i < v->n_cases && i < CASES_SHOWN; i++) text_addf(t, " --case \"%s\"", v->cases[i].label);
    if (v->n_cases > CASES_SHOWN) text_addf(t, "  # %d of its %d cases", CASES_SHOWN, v->n_cases);
}

/* A command that takes the run's folder, which is left out where it is the default. */
static void add_command(atn_text *t, const run_view *v, const char *title, const char *program, const char *rest,
                        const char *option)
{
    text_addf(t, "  %-18s %s %s", title, program, rest);
    if (strcmp(v->folder, "attune_output") != 0) {
        text_add(t, option);
        text_add_word(t, v->folder);
    }
    text_add(t, "\n");
}

static void add_next(atn_text *t, const run_view *v, const char *program)
{
    char *best = atn_format("%s/best/best_program.c", v->folder);
    text_add(t, "\nNext\n");
    add_command(t, v, "look at it", program, "serve", " ");
    if (access(best, F_OK) == 0) {
        text_addf(t, "  check it again     %s eval ", program);
        text_add_word(t, best);
        add_what(t, v);
        text_addf(t, "\n  use it from C      %s build ", program);
        text_add_word(t, best);
        char *example = file_shipped("examples/attention/your_program.c");
        text_addf(t, " -o best.so   # then see %s\n", example);
        free(example);
        text_add(t, "  from Python        attune.mlx, attune.torch: docs/integrations.md\n");
        text_add(t, "  from llama.cpp     the plug-in libggml-attune.so: docs/integrations.md\n");
    }
    add_command(t, v, "evolve on", program, "evolve --resume --minutes 10", " -o ");
    add_command(t, v, "ask a model", program, "evolve --resume --minutes 10 --proposer knobs,llm -c YOUR.yaml", " -o ");
    text_addf(t, "  your own sizes     %s evolve --case \"f32 h32/8 s4096 d128 causal\" -o my_output\n", program);
    free(best);
}

/* All but the table of cases and the commands, which must stay whole to be copied. */
static void add_facts(atn_text *t, const run_view *v, const char *bold, const char *plain)
{
    text_addf(t, "%sSpeedup   ", bold);
    add_interval(t, v->speedup);
    text_addf(t, "%s over the initial program, geometric mean of %s%s\n", plain, v->suite,
              v->from_chain ? " (estimate of the run: no comparison at the end)" : "");
    text_addf(t, "Machine   %s, %s, %s thread%s; ", v->cpu, v->isa, v->threads, strcmp(v->threads, "1") ? "s" : "");
    if (v->fma_peak_gflops > 0) text_addf(t, "measured peak %.0f GFLOP/s a core", v->fma_peak_gflops);
    if (v->fma_peak_gflops > 0 && v->read_bandwidth_gbs > 0) text_addf(t, ", %.1f GB/s", v->read_bandwidth_gbs);
    if (v->fma_peak_gflops > 0) text_add(t, "; ");
    text_addf(t, "%s\n", v->compiler);
    add_provenance(t, v);
    add_edits(t, v, v->folder);
    add_controls(t, v);
    add_demotions(t, v);
    add_nodes(t, v);
    add_counts(t, v);
}

atn_status report_tables(const char *folder, const char *program, const report_style *style, atn_text *out,
                         atn_error *err)
{
    run_view v;
    atn_text facts = {0};
    atn_status st = view_read(folder, &v, err);
    if (st) return st;
    if (v.winner) {
        text_add(out, "\n");
        add_cases(out, &v, style->bold, style->plain, style->columns);
        text_add(out, "\n");
        add_facts(&facts, &v, style->bold, style->plain);
        view_add_wrapped(out, facts.s, style->columns);
        add_files(out, &v);
        add_next(out, &v, program);
    } else if (v.n_programs) {
        text_addf(&facts, "%s: %d programs judged, none of them right\n", folder, v.n_programs);
        add_counts(&facts, &v);
        view_add_wrapped(out, facts.s, style->columns);
    } else {
        text_addf(out, "%s: no program has been judged yet; go on with: %s evolve --resume -o ", folder, program);
        text_add_word(out, folder);
        text_add(out, "\n");
    }
    text_free(&facts);
    view_free(&v);
    return ATN_OK;
}

atn_status report_json(const char *folder, atn_text *out, atn_error *err)
{
    run_view v;
    atn_status st = view_read(folder, &v, err);
    if (st) return st;
    json_t *o = v.info ? json_incref(v.info) : json_object();
    if (!v.info) { /* the run has not ended: what is known */
        json_object_set_new(o, "valid", json_boolean(v.winner != 0));
        json_object_set_new(o, "id", json_sprintf("%lld", (long long)v.winner));
        if (v.winner)
            json_object_set_new(o, "speedup",
                                json_pack("{s:f, s:f, s:f}", "median", v.speedup.median, "low", v.speedup.low, "high",
                                          v.speedup.high));
    }
    json_object_set_new(o, "ended", json_boolean(v.info != NULL));
    json_object_set_new(o, "judged",
                        json_pack("{s:i, s:i, s:i, s:i}", "better", v.better, "right", v.right, "same", v.same,
                                  "failed", v.failed));
    char *s = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9));
    text_addf(out, "%s\n", s ? s : "{}");
    free(s);
    json_decref(o);
    view_free(&v);
    return ATN_OK;
}

atn_status report_program(const char *folder, int64_t id, atn_text *out, atn_error *err)
{
    atn_store *s = NULL;
    store_program p;
    atn_status st = store_open(folder, STORE_READ, NULL, 0, &s, err);
    if (!st) st = store_program_get(s, id, &p, err);
    if (!st) {
        char *source = store_blob_get(s, p.made.sha);
        text_addf(out, "/* program #%lld, generation %d, ", (long long)id, p.generation);
        add_clean(out, p.made.origin);
        if (p.made.parent1) text_addf(out, ", from #%lld", (long long)p.made.parent1);
        if (p.made.parent2) text_addf(out, " and #%lld", (long long)p.made.parent2);
        if (*p.made.note) text_add(out, ": ");
        add_clean(out, p.made.note);
        text_addf(out, "\n * %s at stage %s", p.reason, p.stage);
        if (isfinite(p.score))
            text_addf(out, ", %.3fx over the initial program [%.3f, %.3f]", exp(p.score), exp(p.score_low),
                      exp(p.score_high));
        if (*p.evidence) text_add(out, "\n * ");
        add_clean(out, p.evidence);
        if (*p.reproduce) text_add(out, "\n * reproduce: ");
        add_clean(out, p.reproduce);
        text_add(out, " */\n");
        text_add(out, source ? source : "");
        free(source);
        store_program_clear(&p);
    }
    store_close(s);
    return st;
}

atn_status report_diffs(const char *folder, atn_text *out, atn_error *err)
{
    run_view v;
    atn_status st = view_read(folder, &v, err);
    if (st) return st;
    for (int i = v.n_lineage - 2; i >= 0; i--) {
        const view_step *a = &v.lineage[i + 1], *b = &v.lineage[i];
        char from[40], to[40];
        snprintf(from, sizeof from, "#%lld", (long long)a->id);
        snprintf(to, sizeof to, "#%lld", (long long)b->id);
        char *diff = program_diff(a->source, b->source, from, to);
        add_clean(out, b->origin);
        text_add(out, ": ");
        add_clean(out, b->note);
        text_addf(out, "\n%s\n", diff);
        free(diff);
    }
    if (v.n_lineage < 2) text_add(out, "the winner has no ancestors in this run: nothing changed\n");
    view_free(&v);
    return ATN_OK;
}
