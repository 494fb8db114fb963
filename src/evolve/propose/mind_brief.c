/* What a prompt says: the machine, the contract, the parent with its verdict in plain words, evidence, elites, knobs.
 * What candidates say is quoted (prompt.h); nothing of it reaches the system part. */
#include "evolve/propose/mind_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "evolve/knobs.h"
#include "problem/reference.h"

enum { FAMILY_POINTS = 256, REVIEW_BYTES = 1500, ELITE_MOST = 24000 };

static void say_machine(const mind *m, atn_text *t)
{
    const atn_machine *c = m->host.machine ? m->host.machine : machine_get();
    const atn_peaks *p = &m->host.peaks;
    text_addf(t, "%s, %s (%s), %d CPUs; the kernel runs on %d thread%s.\n", c->cpu, c->isa, c->features, c->cpus,
              m->host.threads, m->host.threads == 1 ? "" : "s");
    text_addf(t, "L1d %lld KiB, L2 %lld KiB, L3 %lld KiB.", (long long)c->l1d_bytes >> 10, (long long)c->l2_bytes >> 10,
              (long long)c->l3_bytes >> 10);
    if (p->fma_peak_gflops > 0)
        text_addf(t, " One core, measured: %.0f GFLOP/s of f32 FMA, %.1f GB/s from memory.", p->fma_peak_gflops,
                  p->read_bandwidth_gbs);
    text_add(t, "\n");
}

static const atn_problem *problem_of(const mind *m, int c)
{
    if (!m->host.suite || c < 0 || c >= m->host.suite->count) return NULL;
    return m->host.problem ? m->host.problem(m->host.ctx, c) : &m->host.suite->cases[c].problem;
}

static void say_cases(const mind *m, atn_text *t)
{
    for (int i = 0; m->host.suite && i < m->host.suite->count; i++) {
        char text[200];
        problem_print(problem_of(m, i), text, sizeof text);
        text_addf(t, "%d. %s; relative L2 error at most %.2g\n", i + 1, text,
                  tolerance_for(problem_of(m, i), ATN_DATA_NORMAL, config_real(m->config, "judge.tolerance")).rel_l2);
    }
}

/* The verdict as a person would tell it: times, shares of the peak and what bounds them, case by case. */
static void say_verdict(const mind *m, const atn_program_view *p, bool brief, atn_text *t)
{
    const atn_verdict *v = p->verdict;
    if (!isfinite(p->score)) {
        text_addf(t, "Not right: %s (stage %s).\n", reason_text(v->reason), stage_name(v->stage));
        return;
    }
    bool initial = !strcmp(p->origin, "initial");
    if (initial) text_add(t, "Right; it is the initial program, over which speedups are counted");
    else text_addf(t, "Right. At least %.3f times as fast as the initial program over ", exp(p->score));
    int all = m->host.suite ? m->host.suite->count : v->n_cases;
    if (!initial && v->n_cases >= all) text_add(t, "all cases");
    if (!initial && v->n_cases < all) /* the race was over before the others had their turn */
        text_addf(t, "the %d of %d cases that it was timed on before it was dropped", v->n_cases, all);
    text_addf(t, "; error %.2g of 1 allowed; workspace %lld KiB.\n", v->error_of_tolerance,
              (long long)v->workspace_bytes >> 10);
    if (brief) return;
    store_program row = {0};
    bool stored = m->host.store && !store_program_get(m->host.store, p->id, &row, NULL);
    double peak = m->host.peaks.fma_peak_gflops * m->host.threads, read = m->host.peaks.read_bandwidth_gbs;
    for (int i = 0; i < ATN_CASES_MAX; i++) { /* in the order of the list of cases; races take them in their own */
        const atn_case_result *c = NULL;
        for (int k = 0; k < v->n_cases; k++)
            if (v->cases[k].case_index == i) c = &v->cases[k];
        const atn_problem *q = c ? problem_of(m, i) : NULL;
        if (!q || !(c->ns_min > 0)) continue;
        char text[200];
        problem_print(q, text, sizeof text);
        text_addf(t, "- case %d, %s: %.1f us", c->case_index + 1, text, c->ns_min / 1e3);
        for (int k = 0; stored && !initial && k < row.n_cases; k++)
            if (row.cases[k].case_index == c->case_index && isfinite(row.cases[k].log_speedup))
                text_addf(t, ", %.2fx [%.2f, %.2f] over the initial program", exp(row.cases[k].log_speedup),
                          exp(row.cases[k].log_speedup + c->log_low - c->log_ratio),
                          exp(row.cases[k].log_speedup + c->log_high - c->log_ratio));
        double gflops = problem_flops(q) / c->ns_min, gbs = problem_bytes(q) / c->ns_min;
        if (peak > 0 && read > 0) {
            bool compute = problem_flops(q) / peak > problem_bytes(q) / read;
            text_addf(t, ", %.1f GFLOP/s = %.0f %% of peak; at best limited by %s", gflops, 100 * gflops / peak,
                      compute ? "arithmetic" : "memory");
            if (!compute) text_addf(t, " (%.1f of %.1f GB/s)", gbs, read);
        }
        text_add(t, "\n");
    }
    if (stored) store_program_clear(&row);
}

char *mind_verdict_words(const mind *m, const atn_program_view *p)
{
    atn_text t = {0};
    const mind_memory *parent = mind_recall(m, p->parent);
    say_verdict(m, p, false, &t);
    if (isfinite(p->score) && parent && parent->correct)
        text_addf(&t, "Its parent #%" PRId64 ": at least %.3f times.\n", parent->id, exp(parent->score));
    if (p->verdict->evidence[0]) text_addf(&t, "\n%s\n", p->verdict->evidence);
    return text_take(&t);
}

/* Timings of the parent's knobs: for each value the best speedup that was seen with it. */
static void say_knobs(const mind *m, const char *source, atn_text *t)
{
    atn_knobs mine;
    char family[33];
    if (knobs_parse(source, &mine, NULL) || !mine.count || !m->host.store) return;
    knobs_family_hash(source, family);
    double best[KNOBS_MAX][KNOB_VALUES_MAX];
    int n = 0;
    for (int k = 0; k < KNOBS_MAX; k++)
        for (int i = 0; i < KNOB_VALUES_MAX; i++) best[k][i] = -INFINITY;
    for (int i = m->n_past - 1, seen = 0; i >= 0 && seen < FAMILY_POINTS; i--) {
        const mind_memory *x = &m->past[i];
        if (strcmp(x->family, family)) continue;
        seen++;
        store_program row;
        if (!x->correct || store_program_get(m->host.store, x->id, &row, NULL)) continue;
        atn_knobs k;
        if (row.made.source && !knobs_parse(row.made.source, &k, NULL) && k.count == mine.count) {
            n++;
            for (int j = 0; j < k.count; j++)
                for (int l = 0; l < mine.knob[j].count; l++)
                    if (mine.knob[j].values[l] == k.knob[j].values[k.knob[j].now] && x->score > best[j][l])
                        best[j][l] = x->score;
        }
        store_program_clear(&row);
    }
    if (n < 2) return;
    text_addf(t, "# Knobs of this program, from %d timed settings: the best speedup seen with each value\n", n);
    for (int j = 0; j < mine.count; j++) {
        text_addf(t, "- %s (now %ld):", mine.knob[j].name, mine.knob[j].values[mine.knob[j].now]);
        for (int l = 0; l < mine.knob[j].count; l++)
            if (isfinite(best[j][l])) text_addf(t, " %ld -> %.3fx;", mine.knob[j].values[l], exp(best[j][l]));
        text_add(t, "\n");
    }
    text_add(t, "\n");
}

/* From the first marker to the last one, as one text; NULL: there are none. The caller frees. */
static char *marked_part(const char *source)
{
    const char *from = strstr(source, "EVOLVE-BLOCK-START"), *to = NULL;
    for (const char *p = source; (p = strstr(p, "EVOLVE-BLOCK-END")); p++) to = p;
    if (!from || !to || to < from) return NULL;
    while (from > source && from[-1] != '\n') from--;
    return atn_format("%.*s", (int)(to - from + (long)strcspn(to, "\n")), from);
}

/* A program beside the one that was quoted already: what is the same in both is not said twice. */
static void quote_beside(atn_text *t, const char *source, const char *beside, size_t most)
{
    char *part = marked_part(source), *diff = NULL;
    bool same_around = part && strstr(beside, "EVOLVE-BLOCK-START") && answer_keeps_outside(beside, source);
    if (same_around) {
        text_add(t, "Its marked part; around that it is the program above:\n");
        prompt_quote(t, "c", part, most);
    } else {
        diff = program_diff(beside, source, "above", "this");
        bool shorter = diff && *diff && 2 * strlen(diff) < strlen(source);
        if (shorter) text_add(t, "As a difference to the program above:\n");
        prompt_quote(t, shorter ? "diff" : "c", shorter ? diff : source, most);
    }
    free(part);
    free(diff);
}

/* Elites unlike the parent and each other: what they do better, then the text of the first few. */
static void say_elites(const mind *m, const atn_program_view *parent, const atn_propose_context *c, bool texts,
                       atn_text *t)
{
    int top = (int)config_int(m->config, "prompt.num_top_programs"),
        diverse = (int)config_int(m->config, "prompt.num_diverse_programs");
    const atn_program_view *chosen[16];
    novelty_sketch of[17];
    int n = 0, room = texts ? ATN_MIN(diverse, 3) : 0;
    novelty_make(parent->source, &of[0]);
    for (int round = 0; round < ATN_MIN(top + diverse, 12); round++) {
        double best = -1;
        int at = -1;
        novelty_sketch its;
        for (int i = 0; i < c->n_elites; i++) {
            if (c->elites[i].id == parent->id) continue;
            novelty_sketch s;
            novelty_make(c->elites[i].source, &s);
            double alike = 0;
            for (int k = 0; k <= n; k++) alike = fmax(alike, novelty_alike(&s, &of[k]));
            double value =
                round < top ? 1 - 0.01 * i - (alike > 0.97) : 1 - alike; /* the best first, then the strangest */
            if (alike < 1 && value > best) best = value, at = i, its = s;
        }
        if (at < 0) break;
        of[n + 1] = its;
        chosen[n++] = &c->elites[at];
    }
    if (n) text_add(t, "# Other programs of this run\n");
    for (int i = 0; i < n; i++) {
        const mind_memory *x = mind_recall(m, chosen[i]->id);
        text_addf(t, "- #%" PRId64 " (%s): ", chosen[i]->id, chosen[i]->origin);
        say_verdict(m, chosen[i], true, t);
        int ahead = 0;
        for (int a = 0; a < chosen[i]->verdict->n_cases; a++)
            for (int b = 0; b < parent->verdict->n_cases; b++) {
                const atn_case_result *u = &chosen[i]->verdict->cases[a], *w = &parent->verdict->cases[b];
                if (u->case_index != w->case_index || !(u->ns_min > 0) || !(u->ns_min < 0.97 * w->ns_min)) continue;
                text_addf(t, "%s case %d %.2fx", ahead++ ? "," : "  Ahead of the program above on", u->case_index + 1,
                          w->ns_min / u->ns_min);
            }
        if (ahead) text_add(t, ".\n");
        if (x && x->note[0]) {
            text_add(t, "  ");
            prompt_word(t, x->note, 150);
            text_add(t, "\n");
        }
        if (i < room && strlen(chosen[i]->source) < ELITE_MOST)
            quote_beside(t, chosen[i]->source, parent->source, ELITE_MOST);
    }
    if (n) text_add(t, "\n");
}

static char *header(char **cache, const char *name)
{
    if (!*cache) {
        char *path = file_join(file_home(), name);
        if (file_read(path, 1 << 20, cache, NULL, NULL)) *cache = atn_strdup("(see the header)\n");
        free(path);
    }
    atn_text t = {0};
    prompt_quote(&t, "c", *cache, 32 << 10);
    return text_take(&t);
}

char *mind_filled(const mind *m, const char *name, const prompt_values *v)
{
    char *pattern = NULL, *out;
    if (prompt_template(m->templates, name, &pattern, NULL)) pattern = atn_strdup("");
    out = prompt_fill(pattern, v);
    free(pattern);
    return out;
}

/* One line of focus.md, another for each question about the same program: or those who are asked at the same time
 * would all answer the same. "" for the first. */
static char *focus_of(const mind *m, const mind_question *q)
{
    char *lines = NULL, *line = NULL, *rest;
    int n = 0;
    if (q->nth < 1 || q->op == MIND_FIX || q->op == MIND_REVIEW || prompt_template(m->templates, "focus", &lines, NULL))
        return atn_strdup("");
    for (const char *p = lines; *p; p++) n += *p == '\n' && p > lines && p[-1] != '\n';
    rest = lines;
    for (int64_t k = n ? (q->nth - 1) % n : -1; k >= 0 && (line = strsep(&rest, "\n"));) k -= *line != 0;
    char *said = NULL;
    if (line && *line) {
        prompt_values v = {0};
        prompt_set(&v, "focus", atn_strdup(line));
        said = mind_filled(m, "task_focus", &v);
        prompt_clear(&v);
    }
    free(lines);
    return said ? said : atn_strdup("");
}

/* What was found out about a program besides its times: the judge's words, the compiler's, what limits it. */
static void say_evidence(const mind *m, const atn_program_view *p, atn_text *t)
{
    size_t most = (size_t)config_int(m->config, "prompt.max_artifact_bytes");
    if (p->verdict->evidence[0]) {
        text_add(t, "What the compiler or the judge says of it:\n");
        prompt_quote(t, "text", p->verdict->evidence, most);
    }
    char *json = m->host.store ? store_evidence_get(m->host.store, p->id) : NULL;
    json_t *o = json ? json_loads(json, 0, NULL) : NULL;
    if (*mind_text_of(o, "text")) {
        text_add(t, "What explains its speed: its object code, loops that were not vectorised, the limit of each case "
                    "(overhead: neither arithmetic nor memory is near its limit):\n");
        prompt_quote(t, "text", mind_text_of(o, "text"), most);
    }
    json_decref(o);
    free(json);
    store_measurement *list;
    int n;
    if (!m->reviewing || !m->host.store || store_measurements(m->host.store, "review", &list, &n, NULL)) return;
    for (int i = n - 1; i >= 0; i--) {
        if (list[i].program != p->id) continue;
        o = json_loads(list[i].json, 0, NULL);
        text_add(t, "What another reader thinks of it (an opinion; nothing in it was measured):\n");
        prompt_quote(t, "text", mind_text_of(o, "text"), REVIEW_BYTES);
        json_decref(o);
        break;
    }
    store_measurements_free(list, n);
}

void mind_brief(mind *m, mind_question *q, const atn_program_view *parent, const atn_program_view *second,
                const atn_propose_context *c, const char *problem)
{
    prompt_values v = {0};
    atn_text machine = {0}, cases = {0}, verdict = {0}, code = {0}, evidence = {0}, elites = {0}, lessons = {0},
             knobs = {0}, other = {0};
    const char *system = q->model >= 0 ? m->model_system[q->model] : NULL;
    if (!system) system = config_text(m->config, "prompt.system_message");
    if (!system) system = config_text(m->config, "llm.system_message");
    say_machine(m, &machine);
    say_cases(m, &cases);
    say_verdict(m, parent, false, &verdict);
    prompt_quote(&code, "c", parent->source, 256 << 10);
    if (config_bool(m->config, "prompt.include_artifacts")) say_evidence(m, parent, &evidence);
    if (second) {
        text_addf(&other, "# The second program (#%" PRId64 ")\n", second->id);
        say_verdict(m, second, false, &other);
        quote_beside(&other, second->source, parent->source, 128 << 10);
    }
    if (c) say_elites(m, parent, c, true, &elites);
    mind_say_lessons(m, &lessons);
    say_knobs(m, parent->source, &knobs);
    bool marked = strstr(parent->source, "EVOLVE-BLOCK-START") != NULL,
         whole = q->op == MIND_FULL || (q->op == MIND_CROSS && !marked);
    char *contract = header(&m->contract, "include/attune/kernel.h"),
         *vectors = header(&m->vectors, "include/attune/vec.h");
    /* Too long for the models that are asked: first the texts of other programs go, then the vector header. */
    size_t most = (size_t)config_int(m->config, "prompt.max_chars");
    size_t others = strlen(contract) + code.n + evidence.n + other.n + lessons.n + 2000; /* 2000: our own words */
    if (most && others + elites.n + strlen(vectors) > most && c) {
        text_free(&elites);
        elites = (atn_text){0};
        say_elites(m, parent, c, false, &elites);
    }
    if (most && others + elites.n + strlen(vectors) > most) {
        free(vectors);
        vectors =
            atn_strdup("(Left out for want of room. It has vectors `vf` of VL floats with vf_load, vf_store, vf_splat, "
                       "vf_zero, vf_fma(a, b, c), vf_max, vf_hsum, vf_exp2(x, 5).)\n");
    }
    prompt_set(&v, "system_message",
               atn_strdup(system ? system : "You are an expert in fast attention kernels on CPUs."));
    prompt_set(&v, "compiler", atn_strdup(m->host.compiler ? m->host.compiler : "gcc"));
    prompt_set(&v, "machine", text_take(&machine));
    prompt_set(&v, "contract", contract);
    prompt_set(&v, "vectors", vectors);
    q->system = mind_filled(m, "system", &v);
    prompt_set(&v, "cases", text_take(&cases));
    prompt_set(&v, "parent_id", atn_format("%" PRId64, parent->id));
    prompt_set(&v, "parent_origin", atn_strdup(parent->origin));
    prompt_set(&v, "verdict", text_take(&verdict));
    prompt_set(&v, "parent", text_take(&code));
    prompt_set(&v, "evidence", text_take(&evidence));
    prompt_set(&v, "second", text_take(&other));
    prompt_set(&v, "knobs", text_take(&knobs));
    prompt_set(&v, "elites", text_take(&elites));
    prompt_set(&v, "lessons", text_take(&lessons));
    atn_text quoted = {0};
    if (problem) prompt_quote(&quoted, "text", problem, MIND_EVIDENCE_MAX);
    prompt_set(&v, "problem", text_take(&quoted));
    prompt_set(&v, "markers",
               atn_strdup(
                   marked
                       ? "Only lines between EVOLVE-BLOCK-START and EVOLVE-BLOCK-END may change; everything else, the "
                         "marker lines included, stays as it is: an answer that changes it is refused."
                       : "Every line may change; the table attune_kernel must stay."));
    char name[32];
    snprintf(name, sizeof name, "task_%s", mind_op_word[q->op]);
    char *task = mind_filled(m, name, &v), *repair = problem ? mind_filled(m, "task_repair", &v) : atn_strdup("");
    atn_text stalled = {0};
    if (q->op != MIND_REVIEW && q->op != MIND_FIX) mind_say_stalled(m, &stalled);
    char *focus = problem ? atn_strdup("") : focus_of(m, q);
    prompt_set(&v, "task",
               atn_format("%s%s%s%s%s%s", task, *focus ? "\n" : "", focus, stalled.n ? stalled.s : "",
                          *repair ? "\n" : "", repair));
    free(focus);
    text_free(&stalled);
    prompt_set(&v, "format",
               q->op == MIND_REVIEW ? atn_strdup("") : mind_filled(m, whole ? "format_full" : "format_diff", &v));
    q->prompt = mind_filled(m, "task", &v);
    free(task);
    free(repair);
    prompt_clear(&v);
}
