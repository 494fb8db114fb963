/* The result of a run: the winner as a file that reads well, what is claimed of it, and the portfolio.
 *
 * The file written is the program measured (and a line that says on what, attune_judged): it is built again and its
 * object code compared; where pruning changed the code, it is judged again or not pruned. Every speedup printed comes
 * from the final comparison at full size; where that could not be made (interrupted, no budget) the record says that it
 * is the chained estimate of the run. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "evolve/engine.h"
#include "evolve/knobs.h"
#include "evolve/record.h"
#include "problem/kind.h"

static evolve_interval interval_of(const atn_verdict *v)
{
    return (evolve_interval){exp(v->suite_log), exp(v->suite_low), exp(v->suite_high)};
}

/* ---- the final comparison ---- */

/* A program raced against another at full size within `seconds`. False where it could not be done;
 * a warning says why. */
static bool compare(atn_engine *e, const char *kind, engine_program *a, engine_program *b, bool full_size,
                    double seconds, atn_verdict *v)
{
    build_result x, y;
    atn_error err = {0};
    memset(v, 0, sizeof *v);
    if (engine_stopping(e) || e->abandoned || seconds <= 0) return false;
    if (!engine_build(e, a, &x, &err)) goto failed;
    if (!engine_build(e, b, &y, &err)) {
        e->judge->build_release(e->judge->ctx, &x);
        goto failed;
    }
    atn_status st = engine_compare(e, &x, &y, 64, false, full_size, seconds, v, &err);
    if (e->abandoned) return false;
    e->judge->build_release(e->judge->ctx, &x);
    e->judge->build_release(e->judge->ctx, &y);
    if (st) goto failed;
    char *json = verdict_json(v);
    if (store_measurement_add(e->store, kind, a->id, b->id, engine_now(e), json, NULL) ||
        engine_store_pairs(e, kind, a->id, b->id, NULL))
        e->disk_full = e->disk_full || store_full(e->store);
    free(json);
    bool failing = v->reason != ATN_REASON_OK && v->reason != ATN_REASON_SLOWER && v->reason != ATN_REASON_NOT_BETTER &&
                   v->reason != ATN_REASON_UNCONFIRMED;
    if (failing)
        engine_warn(e, "final comparison of #%" PRId64 " with #%" PRId64 " failed: %s: %.400s", a->id, b->id,
                    reason_word(v->reason), v->evidence);
    return !failing && v->n_cases > 0;
failed:
    if (!engine_stopping(e)) engine_warn(e, "no final comparison (%s): %.800s", kind, err.text);
    return false;
}

/* What the run itself knows of the winner: the chain of incumbents, in the form of a comparison with the initial
 * program. */
static void chained(atn_engine *e, engine_program *winner, atn_verdict *v)
{
    const evolve_score *s = &e->incumbent_score;
    const atn_verdict *race = engine_verdict(e, winner);
    if (race) *v = *race;
    v->n_cases = e->kinds.n;
    for (int c = 0; c < e->kinds.n; c++) {
        atn_case_result *out = &v->cases[c], from = {.case_index = c};
        for (int i = 0; race && i < race->n_cases; i++)
            if (race->cases[i].case_index == c) from = race->cases[i];
        from.log_ratio = s->log[c];
        from.log_low = s->log_low[c];
        from.log_high = s->log_high[c];
        from.incumbent_ns_min = from.ns_min * exp(s->log[c]);
        *out = from;
    }
    v->suite_log = s->score;
    v->suite_low = s->low;
    v->suite_high = s->high;
}

/* False: the winner failed at full size and is the winner no longer. */
static bool final_comparisons(atn_engine *e, evolve_result *r, engine_program *winner, engine_program *root)
{
    const evolve_interval one = {1, 1, 1};
    engine_program *initial = engine_find(e, e->initial);
    double seconds = e->stop == EVOLVE_STOP_DISK_FULL || e->stop == EVOLVE_STOP_FAILED ? 0 : e->o->final_seconds;
    const atn_verdict *alone = engine_verdict(e, initial);
    for (int i = 0; alone && e->judge->initial_ns && i < alone->n_cases; i++)
        e->judge->initial_ns(e->judge->ctx, alone->cases[i].case_index, alone->cases[i].ns_min);
    if (seconds > 0 && !engine_stopping(e)) engine_phase(e, "final comparison");
    if (winner != initial)
        r->has_versus_initial = compare(e, "final", winner, initial, true, seconds * 0.45, &r->versus_initial);
    if (!engine_only_slower(r->versus_initial.reason) && engine_demote(e, &r->versus_initial, NULL)) return false;
    if (!r->has_versus_initial) {
        chained(e, winner, &r->versus_initial);
        r->final_from_chain = winner != initial;
    }
    r->speedup = winner == initial ? one : interval_of(&r->versus_initial);
    r->ancestor_speedup = root == initial ? one : r->speedup;
    r->evolved_speedup = root == initial ? r->speedup : one;
    if (root == winner || root == initial) return true;
    r->has_versus_ancestor = compare(e, "final_ancestor", winner, root, true, seconds * 0.15, &r->versus_ancestor);
    r->has_ancestor_versus_initial =
        compare(e, "ancestor", root, initial, true, seconds * 0.25, &r->ancestor_versus_initial);
    if (r->has_versus_ancestor) {
        r->evolved_speedup = interval_of(&r->versus_ancestor);
    } else {
        double d = winner->score - root->score;
        r->evolved_speedup = (evolve_interval){exp(d), exp(winner->low - root->high), exp(winner->high - root->low)};
    }
    if (r->has_ancestor_versus_initial) r->ancestor_speedup = interval_of(&r->ancestor_versus_initial);
    else r->ancestor_speedup = (evolve_interval){exp(root->score), exp(root->low), exp(root->high)};
    return true;
}

/* ---- files ---- */

/* The winner for people: dead branches removed where that leaves the object code as it is, or else leaves it right and
 * as fast. */
static char *readable(atn_engine *e, engine_program *winner, const char *ablated, bool *pruned)
{
    const char *source = ablated ? ablated : engine_source(e, winner);
    *pruned = false;
    if (!source) return NULL;
    char *text = program_prune(source);
    if (!text || !strcmp(text, source) || engine_stopping(e)) {
        free(text);
        return atn_strdup(source);
    }
    build_result b, w;
    bool good = false;
    if (engine_build_source(e, text, winner->flags, &b, NULL)) {
        good = !ablated && !strcmp(b.object_hash, winner->object_hash);
        if (!good && e->stop != EVOLVE_STOP_DISK_FULL && engine_build(e, winner, &w, NULL)) {
            atn_verdict v, c;
            memset(&v, 0, sizeof v);
            memset(&c, 0, sizeof c);
            good = engine_candidate(e, &b, NULL, ATN_STAGE_FULL, &v, NULL) == ATN_OK && v.correct &&
                   engine_compare(e, &b, &w, 32, false, false, 5, &c, NULL) == ATN_OK && c.n_cases > 0 &&
                   c.suite_low > -0.01;
            if (!e->abandoned) e->judge->build_release(e->judge->ctx, &w);
        }
        if (!e->abandoned) e->judge->build_release(e->judge->ctx, &b);
    }
    if (good) {
        *pruned = true;
        return text;
    }
    free(text);
    return atn_strdup(source);
}

/* The kinds of problem that the run's suite times: a program that goes on is for these (attune/kernel.h). */
static char *judged_line(const atn_engine *e)
{
    atn_text t = {0};
    text_add(&t, "const char attune_judged[] = \"");
    const size_t head = t.n;
    for (int c = 0; c < e->kinds.n; c++) {
        const atn_problem *p = &e->o->suite->cases[c].problem;
        char types[TYPES_ROOM], kind[KIND_ROOM];
        types_print(dtype_name(p->dtype_q), dtype_name(p->dtype_kv), dtype_name(p->dtype_kv), types);
        kind_print(types, e->kinds.decode[c], kind);
        if (!kind_listed(t.s + head, kind)) text_addf(&t, "%s%s", t.n > head ? ", " : "", kind);
    }
    text_add(&t, "\";\n");
    return text_take(&t);
}

/* Without the line of the run that it began with: this run judged it on its own cases. */
static char *without_judged(const char *source)
{
    static const char begin[] = "const char attune_judged[] =";
    atn_text t = {0};
    for (const char *p = source, *end; *p; p = end) {
        end = p + strcspn(p, "\n");
        end += *end == '\n';
        if (strncmp(p, begin, sizeof begin - 1)) text_addn(&t, p, (size_t)(end - p));
    }
    return text_take(&t);
}

static char *with_heading(const atn_engine *e, const engine_program *p, const char *root, const char *source)
{
    char *judged = judged_line(e), *rest = without_judged(source);
    char *full = atn_format("/* Program #%" PRId64
                      " of an attune run, evolved from %s. Where it comes from and what was measured:\n"
                      " * the .json beside it. Compiler: %s%s%s. */\n%s%s%s",
                      p->id, root, e->judge->compiler, p->flags && *p->flags ? ", extra flags " : "",
                      p->flags ? p->flags : "", rest, *rest && rest[strlen(rest) - 1] == '\n' ? "" : "\n", judged);
    free(judged);
    free(rest);
    return full;
}

static atn_status write_text(const char *folder, const char *sub, const char *name, const char *text, char *path,
                             size_t room, atn_error *err)
{
    char *dir = file_join(folder, sub), *full = file_join(dir, name);
    atn_status st = file_mkdirs(dir, err);
    if (!st) st = file_write(full, text, strlen(text), err);
    if (path) snprintf(path, room, "%s", full);
    free(full);
    free(dir);
    return st;
}

static int64_t lines_of(const char *s)
{
    int64_t n = 0;
    for (; *s; s++) n += *s == '\n';
    return n;
}

/* ---- portfolio ---- */

/* What the winner reached on a class in the run. */
static double class_mid(const atn_engine *e, const portfolio_class *c)
{
    double mid = 0;
    for (int i = 0; i < c->n_cases; i++) mid += e->incumbent_score.log[c->cases[i]] / c->n_cases;
    return mid;
}

/* Class winners other than the run's winner must beat it again, on this class, in a fresh comparison. */
static void portfolio_classes(atn_engine *e, evolve_result *r, engine_program *winner)
{
    enum { RIVALS = 3 };
    struct {
        int64_t id;
        bool done;
        atn_verdict v;
    } rival[RIVALS];
    int n = 0;
    bool may = e->stop != EVOLVE_STOP_DISK_FULL && e->stop != EVOLVE_STOP_FAILED;
    double seconds = may ? e->o->final_seconds * 0.15 / RIVALS : 0;
    for (int i = 0; i < e->portfolio.n && r->n_classes < EVOLVE_CLASSES_MAX; i++) {
        portfolio_class *c = &e->portfolio.cls[i];
        evolve_class *out = &r->classes[r->n_classes++];
        double mid = 0, low = 0, high = 0, m, l, h;
        *out = (evolve_class){.program = winner->id, .cases = c->n_cases};
        snprintf(out->key, sizeof out->key, "%s", c->key);
        if (portfolio_compare(c, &r->versus_initial, &m, &l, &h)) mid = m, low = l, high = h;
        int64_t best = c->n ? c->top[0].program : 0;
        if (best && best != winner->id && c->top[0].low > class_mid(e, c)) {
            int k = 0;
            while (k < n && rival[k].id != best) k++;
            if (k == n && n < RIVALS) {
                rival[n++].id = best;
                rival[k].done = compare(e, "portfolio", engine_find(e, best), winner, false, seconds, &rival[k].v);
            }
            if (k < n && rival[k].done && portfolio_compare(c, &rival[k].v, &m, &l, &h) && l > 0.003) {
                out->program = best;
                out->confirmed = true;
                mid += m, low += l, high += h;
            }
        }
        out->speedup = exp(mid);
        out->low = exp(low);
        out->high = exp(high);
    }
}

static const char *file_stem(const char *origin, char *out, size_t room)
{
    const char *name = strrchr(origin, ':');
    snprintf(out, room, "%s", name ? name + 1 : "program");
    char *dot = strrchr(out, '.');
    if (dot) *dot = 0;
    for (char *p = out; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *p)) *p = '_';
    return out;
}

static atn_status write_portfolio(atn_engine *e, evolve_result *r, engine_program *winner, const char *winner_text,
                                  atn_error *err)
{
    atn_text t = {0};
    atn_status st = ATN_OK;
    text_add(&t, "# attune portfolio 1: the best kernel for each class of problem, over the initial program [low .. high].\n"
                 "# Another class: the kernel of `default`. decode: few query rows against many keys; long, short: by keys.\n"
                 "# `attune build` of this folder makes a .so of each; hosts are then given the folder.\n");
    text_addf(&t, "# machine: %s; compiler: %s; threads: %d\n", engine_machine(e)->signature, e->judge->compiler,
              e->o->threads);
    int most = 0;
    for (int c = 0; c < e->kinds.n; c++)
        if (!e->kinds.decode[c] && !e->kinds.is_long[c]) most = ATN_MAX(most, e->o->suite->cases[c].problem.Skv);
    if (most) text_addf(&t, "%-40s up to %d keys\n", "short", most);
    for (int i = 0; i < r->n_classes && !st; i++) {
        evolve_class *c = &r->classes[i];
        engine_program *p = engine_find(e, c->program);
        evolve_ancestor chain[EVOLVE_LINEAGE_MAX];
        char stem[64], *text = NULL;
        bool pruned, known = false;
        int n = lineage_of(e, p->id, chain, EVOLVE_LINEAGE_MAX);
        snprintf(c->file, sizeof c->file, "%s_%" PRId64 ".c", file_stem(chain[n - 1].origin, stem, sizeof stem), p->id);
        for (int k = 0; k < i; k++) known = known || r->classes[k].program == c->program;
        if (!known) {
            text = p == winner ? atn_strdup(winner_text) : readable(e, p, NULL, &pruned);
            char *full = text ? with_heading(e, p, chain[n - 1].origin, text) : NULL;
            if (full) st = write_text(e->o->folder, "portfolio", c->file, full, NULL, 0, err);
            free(full);
            free(text);
        }
        text_addf(&t, "%-40s %-40s %.2fx [%.2f .. %.2f]\n", c->key, c->file, c->speedup, c->low, c->high);
    }
    for (int i = 0; i < r->n_classes && !st; i++) {
        if (r->classes[i].program != winner->id) continue;
        text_addf(&t, "%-40s %-40s\n", "default", r->classes[i].file);
        break;
    }
    if (!st) st = write_text(e->o->folder, "portfolio", "dispatch.txt", t.s, NULL, 0, err);
    text_free(&t);
    return st;
}

/* ---- best_program_info.json ---- */

static json_t *interval_object(evolve_interval i)
{
    return json_pack("{s:o,s:o,s:o}", "median", record_real(i.median), "low", record_real(i.low), "high",
                     record_real(i.high));
}

static json_t *cases_array(const evolve_options *o, const evolve_judge *j, const evolve_result *r,
                           const atn_peaks *peaks)
{
    json_t *a = json_array();
    const atn_verdict *v = &r->versus_initial;
    for (int i = 0; i < v->n_cases; i++) {
        const atn_case_result *c = &v->cases[i];
        if (c->case_index < 0 || c->case_index >= o->suite->count) continue;
        const atn_problem *given = &o->suite->cases[c->case_index].problem, *timed = given;
        if (j->case_problem && j->case_problem(j->ctx, c->case_index, r->has_versus_initial))
            timed = j->case_problem(j->ctx, c->case_index, r->has_versus_initial);
        char text[200];
        problem_print(given, text, sizeof text);
        double s = c->ns_min * 1e-9, gflops = s > 0 ? problem_flops(timed) / s * 1e-9 : 0;
        double peak = peaks->fma_peak_gflops * o->threads;
        json_t *x = json_object();
        json_object_set_new(x, "case", json_string(text));
        json_object_set_new(x, "error", record_real(c->error));
        json_object_set_new(x, "speedup", record_real(exp(c->log_ratio)));
        json_object_set_new(x, "speedup_low", record_real(exp(c->log_low)));
        json_object_set_new(x, "speedup_high", record_real(exp(c->log_high)));
        json_object_set_new(x, "gflops", record_real(gflops));
        json_object_set_new(x, "peak_fraction", record_real(peak > 0 ? gflops / peak : 0));
        json_object_set_new(x, "tokens_per_s", record_real(s > 0 ? problem_tokens(timed) / s : 0));
        json_object_set_new(x, "ns", record_real(c->ns_min));
        json_object_set_new(x, "workspace_bytes", json_integer(c->workspace_bytes));
        json_array_append_new(a, x);
    }
    return a;
}

static json_t *lineage_array(const evolve_result *r)
{
    json_t *a = json_array();
    for (int i = 0; i < r->n_lineage; i++) {
        const evolve_ancestor *p = &r->lineage[i];
        json_t *x = json_pack("{s:I,s:i,s:I}", "id", (json_int_t)p->id, "generation", p->generation, "iteration",
                              (json_int_t)p->seq);
        json_object_set_new(x, "origin", record_text(p->origin));
        json_object_set_new(x, "note", record_text(p->note));
        json_object_set_new(x, "speedup", record_real(exp(p->score)));
        json_array_append_new(a, x);
    }
    return a;
}

static json_t *edits_array(const evolve_result *r)
{
    json_t *a = json_array();
    for (int i = 0; i < r->n_edits; i++) {
        const evolve_edit *x = &r->edits[i];
        json_t *o = json_pack("{s:I,s:s,s:b,s:o}", "step", (json_int_t)x->program, "fate", evolve_fate_word(x->fate),
                              "removed", x->removed, "what", record_text(x->what));
        if (x->gain.median > 0) json_object_set_new(o, "gain", interval_object(x->gain));
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *metrics_object(const evolve_judge *j, const evolve_result *r)
{
    atn_verdict v = r->verdict;
    seed_metrics m = {0};
    v.n_cases = r->versus_initial.n_cases;
    memcpy(v.cases, r->versus_initial.cases, sizeof v.cases);
    v.suite_log = r->versus_initial.suite_log;
    v.suite_low = r->versus_initial.suite_low;
    v.suite_high = r->versus_initial.suite_high;
    if (j->metrics) j->metrics(j->ctx, &v, &m);
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "accuracy_score", m.accuracy_score, "performance_score",
                     m.performance_score, "memory_efficiency", m.memory_efficiency, "stability_score",
                     m.stability_score, "success_rate", m.success_rate, "combined_score", m.combined_score);
}

/* One sentence on whose merit the speedup is. */
static char *provenance(const evolve_result *r)
{
    if (r->winner_is_initial) return atn_strdup("the initial program itself: nothing faster was found");
    if (r->n_lineage == 1)
        return atn_format("%s as shipped, unchanged: all of the %.2fx is its own, evolution added nothing",
                          r->root_origin, r->speedup.median);
    if (!strcmp(r->root_origin, "initial"))
        return atn_format("evolved from the initial program in %d step%s: all of the %.2fx was evolved here",
                          r->n_lineage - 1, r->n_lineage == 2 ? "" : "s", r->speedup.median);
    return atn_format("from %s in %d step%s: it was %.2fx as shipped, evolution made that %.3fx faster", r->root_origin,
                      r->n_lineage - 1, r->n_lineage == 2 ? "" : "s", r->ancestor_speedup.median,
                      r->evolved_speedup.median);
}

char *evolve_result_json(const evolve_options *o, const evolve_judge *j, const evolve_result *r)
{
    json_t *x = json_object();
    atn_peaks peaks = {0};
    const atn_machine *m = j->machine ? j->machine : machine_get();
    double now = (double)time(NULL);
    if (j->peaks) j->peaks(j->ctx, &peaks);
    const evolve_ancestor *w = &r->lineage[0];
    json_object_set_new(x, "valid", json_boolean(r->winner != 0));
    json_object_set_new(x, "id", json_sprintf("%" PRId64, r->winner));
    json_object_set_new(x, "generation", json_integer(r->n_lineage ? w->generation : 0));
    json_object_set_new(x, "iteration", json_integer(r->n_lineage ? w->seq : 0));
    json_object_set_new(x, "timestamp", json_real(now));
    json_object_set_new(x, "parent_id", r->n_lineage > 1 ? json_sprintf("%" PRId64, r->lineage[1].id) : json_null());
    json_object_set_new(x, "metrics", metrics_object(j, r));
    json_object_set_new(x, "language", json_string("c"));
    json_object_set_new(x, "saved_at", json_real(now));
    json_object_set_new(x, "error", record_real(r->verdict.error));
    json_object_set_new(x, "speedup", interval_object(r->speedup));
    json_object_set_new(x, "speedup_is",
                        json_string(r->has_versus_initial ? "final comparison, full size"
                                    : r->final_from_chain ? "chained races of the run"
                                                          : "the initial program"));
    json_object_set_new(x, "suite", record_text(o->suite_name));
    json_object_set_new(x, "threads", json_integer(o->threads));
    json_object_set_new(x, "cases", cases_array(o, j, r, &peaks));
    json_t *machine = json_object();
    json_object_set_new(machine, "cpu", record_text(m->cpu));
    json_object_set_new(machine, "isa", record_text(m->isa));
    json_object_set_new(machine, "signature", record_text(m->signature));
    json_object_set_new(machine, "cpus", json_integer(m->cpus));
    json_object_set_new(machine, "fma_peak_gflops", record_real(peaks.fma_peak_gflops));
    json_object_set_new(machine, "read_bandwidth_gbs", record_real(peaks.read_bandwidth_gbs));
    json_object_set_new(machine, "compiler", record_text(j->compiler));
    json_object_set_new(x, "machine", machine);
    json_t *run = json_object();
    json_object_set_new(run, "candidates", json_integer(r->counts.judged));
    json_object_set_new(run, "failed", json_integer(r->counts.failed));
    json_object_set_new(run, "promoted", json_integer(r->counts.promoted));
    json_object_set_new(run, "minutes", record_real(r->minutes));
    json_object_set_new(run, "proposers", record_text(r->proposers));
    json_object_set_new(run, "stop", json_string(evolve_stop_word(r->stop)));
    json_object_set_new(x, "run", run);
    json_t *p = json_object();
    char *sentence = provenance(r);
    json_object_set_new(p, "summary", record_text(sentence));
    free(sentence);
    json_object_set_new(p, "root", record_text(r->root_origin));
    json_object_set_new(p, "ancestor_speedup", interval_object(r->ancestor_speedup));
    json_object_set_new(p, "evolved_speedup", interval_object(r->evolved_speedup));
    json_object_set_new(p, "lineage", lineage_array(r));
    json_object_set_new(p, "edits", edits_array(r));
    json_object_set_new(x, "provenance", p);
    json_object_set_new(x, "pruned", json_boolean(r->pruned));
    json_t *controls = json_object();
    const atn_controls *c[2] = {r->has_controls_start ? &r->controls_start : NULL,
                                r->has_controls_end ? &r->controls_end : NULL};
    for (int i = 0; i < 2; i++) {
        if (!c[i]) continue;
        char *text = controls_json(c[i]);
        json_object_set_new(controls, i ? "end" : "start", json_loads(text, 0, NULL));
        free(text);
    }
    json_object_set_new(x, "controls", controls);
    char *text = json_dumps(x, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(x);
    return text;
}

/* ---- all of it ---- */

static void fill_basics(atn_engine *e, evolve_result *r)
{
    r->stop = e->stop;
    r->counts = e->counts;
    r->minutes = engine_now(e) / 60;
    r->controls_start = e->controls_start;
    r->controls_end = e->controls_end;
    r->has_controls_start = e->has_controls_start;
    r->has_controls_end = e->has_controls_end;
    snprintf(r->db_path, sizeof r->db_path, "%s", store_path(e->store));
    size_t n = 0;
    for (int i = 0; i < e->o->n_proposers && n < sizeof r->proposers; i++)
        n +=
            (size_t)snprintf(r->proposers + n, sizeof r->proposers - n, "%s%s", i ? " " : "", e->o->proposers[i]->name);
}

atn_status result_make(atn_engine *e, evolve_result *r, atn_error *err)
{
    fill_basics(e, r);
    engine_program *winner, *root;
    do {
        if (!(winner = engine_find(e, e->incumbent))) return ATN_OK;
        r->winner = winner->id;
        r->winner_is_initial = e->incumbent == e->initial;
        r->n_lineage = lineage_of(e, winner->id, r->lineage, EVOLVE_LINEAGE_MAX);
        root = engine_find(e, r->lineage[r->n_lineage - 1].id);
        memcpy(r->root_origin, root->origin, sizeof r->root_origin);
        if (engine_verdict(e, winner)) r->verdict = *engine_verdict(e, winner);
    } while (!final_comparisons(e, r, winner, root));
    portfolio_classes(e, r, winner);

    bool may = e->stop != EVOLVE_STOP_DISK_FULL && e->stop != EVOLVE_STOP_FAILED;
    char *ablated = may ? ablate_winner(e, winner, e->o->final_seconds * 0.4, r) : NULL;
    char *text = readable(e, winner, ablated, &r->pruned);
    if (!text) return atn_fail(err, ATN_IO, "cannot read the winner's source from '%s'", store_path(e->store));
    char root_words[128];
    snprintf(root_words, sizeof root_words, "%s%s", r->root_origin,
             ablated ? ", without edits that paid nothing" : "");
    free(ablated);
    char *full = with_heading(e, winner, root_words, text), *json = NULL;
    r->source_lines = lines_of(full);
    atn_status st = write_text(e->o->folder, "best", "best_program.c", full, r->best_path, sizeof r->best_path, err);
    if (!st) {
        json = evolve_result_json(e->o, e->judge, r);
        st = write_text(e->o->folder, "best", "best_program_info.json", json, r->info_path, sizeof r->info_path, err);
    }
    if (!st) st = write_portfolio(e, r, winner, text, err);
    if (!st) {
        store_measurement_add(e->store, "result", winner->id, e->initial, engine_now(e), json, NULL);
        engine_emit(e, &(evolve_event){.type = EVOLVE_RESULT, .result = r});
    }
    free(json);
    free(full);
    free(text);
    return st;
}
