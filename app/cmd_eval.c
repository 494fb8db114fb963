/* attune eval: one kernel through the judge, with a table for people and one JSON object for scripts.
 *
 * Stages: 1 quick, 2 full correctness, 3 a short race, 4 the whole suite beside the reference program (the initial
 * program, or --against). With --data it checks just the given cases on that kind of data and --seed: what reproduce
 * lines call.
 *
 * Cases are timed as one kv group (all query heads of one kv head of one batch entry; groups are independent and
 * equal) unless there are more threads than one; tokens/s are of the whole problem, groups one after the other. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "cmd.h"
#include "evolve/config.h"
#include "judge/accuracy.h"
#include "judge/gate.h"
#include "judge/judge.h"
#include "judge/timing.h"

enum { PAIRS = 20, SOURCE_MAX = 256 << 20 };

typedef struct {
    const atn_cli *cli;
    atn_config *config;
    atn_suite suite;
    char *suite_name;
    atn_judge *judge;
    build_result program, reference;
    const char *path;
    atn_text said;     /* the path as a shell reads it, for lines that say what to type */
    char *reference_path;
    bool same_code;
    bool checked_only; /* --data: correctness of the given cases, nothing timed */
    int stage;
    atn_verdict v;
    seed_metrics metrics;
    atn_evidence evidence; /* of a right program that was timed: n_cases > 0 */
    json_t *module; /* --module: what attune-module printed, an array; else NULL */
    double start;
} evaluation;

static void progress(const evaluation *e, const char *text)
{
    if (!e->cli->quiet && !e->cli->json && term_live(stderr))
        fprintf(stderr, "\r\033[K%s%s%s", term_set(stderr, TERM_DIM), text, term_set(stderr, TERM_PLAIN));
}

/* ---- what the user asked for ------------------------------------------------------------------------------------- */

static atn_status data_kind(const char *name, atn_data *out, atn_error *err)
{
    const char *names[ATN_DATA_COUNT];
    for (int i = 0; i < ATN_DATA_COUNT; i++) {
        names[i] = data_name((atn_data)i);
        if (!strcmp(names[i], name)) {
            *out = (atn_data)i;
            return ATN_OK;
        }
    }
    const char *near = text_nearest(name, names, ATN_DATA_COUNT);
    return atn_fail(err, ATN_USAGE, "--data: no kind of data is called '%s'; %s '%s'?", name,
                    near ? "did you mean" : "why not", near ? near : names[0]);
}

static atn_status read_settings(evaluation *e, atn_error *err)
{
    const atn_cli *c = e->cli;
    const char *file = cli_text(c, "config", NULL);
    atn_status s = file ? config_read(e->config, file, err) : ATN_OK;
    for (int i = 0; !s && i < cli_count(c, "set"); i++) s = config_set(e->config, cli_item(c, "set", i), err);
    if (!s && (cli_count(c, "suite") || cli_count(c, "case"))) { /* the command line replaces the file's list */
        config_clear(e->config, "judge.suites");
        config_clear(e->config, "judge.cases");
    }
    for (int i = 0; !s && i < cli_count(c, "suite"); i++)
        s = config_put(e->config, "judge.suites", cli_item(c, "suite", i), "--suite", err);
    for (int i = 0; !s && i < cli_count(c, "case"); i++)
        s = config_put(e->config, "judge.cases", cli_item(c, "case", i), "--case", err);
    if (!s && cli_has(c, "tolerance"))
        s = config_put(e->config, "judge.tolerance", cli_text(c, "tolerance", ""), "--tolerance", err);
    if (!s && cli_has(c, "threads"))
        s = config_put(e->config, "judge.threads", cli_text(c, "threads", ""), "--threads", err);
    if (!s && cli_has(c, "cc")) s = config_put(e->config, "judge.compiler", cli_text(c, "cc", ""), "--cc", err);
    if (!s) s = config_check(e->config, err);
    if (!s) s = config_suite(e->config, &e->suite, &e->suite_name, err);
    e->stage = (int)cli_int(c, "stage", 4);
    e->checked_only = cli_has(c, "data");
    atn_data kind;
    return s ? s : data_kind(cli_text(c, "data", "normal"), &kind, err); /* said before anything is built */
}

static atn_status build_file(evaluation *e, const char *path, build_result *out, atn_error *err)
{
    char *source = NULL;
    const char *cc = config_text(e->config, "judge.compiler");
    char version[96];
    atn_status s = file_read_text(path, SOURCE_MAX, &source, err);
    if (!s) s = build_compiler(cc, version, sizeof version, err);
    char *flags = s ? NULL : gate_heading_flags(source); /* as the evolution judged it */
    build_options o = {.cc = cc, .whole_file = true, .flags = flags};
    if (!s) s = build_run(&o, source, NULL, out, err);
    free(flags);
    free(source);
    return s;
}

/* ---- the work ---------------------------------------------------------------------------------------------------- */

static atn_status make_judge(evaluation *e, atn_error *err)
{
    judge_options o = judge_defaults();
    o.timing = &e->suite;
    o.threads = (int)config_int(e->config, "judge.threads");
    o.tolerance = config_real(e->config, "judge.tolerance");
    o.seed = (uint64_t)cli_int(e->cli, "seed", 0);
    o.full_size = o.threads > 1;
    o.unsafe = config_bool(e->config, "judge.unsafe") || cli_has(e->cli, "unsafe");
    o.program = e->said.s;
    return judge_create(&o, &e->judge, err);
}

static atn_status check_given_cases(evaluation *e, atn_error *err)
{
    check_context c = {.tolerance = config_real(e->config, "judge.tolerance"),
                       .threads = (int)config_int(e->config, "judge.threads"),
                       .cpu = -1,
                       .seed = rng_secret(),
                       .program = e->said.s};
    atn_data kind = ATN_DATA_NORMAL;
    atn_status s = data_kind(cli_text(e->cli, "data", "normal"), &kind, err);
    if (s) return s;
    uint64_t seed = cli_has(e->cli, "seed") ? (uint64_t)cli_int(e->cli, "seed", 0) : rng_secret() >> 16;
    check_item *items = atn_alloc(sizeof *items * (size_t)ATN_MAX(e->suite.count, 1));
    for (int i = 0; i < e->suite.count; i++)
        items[i] =
            (check_item){.problem = e->suite.cases[i].problem, .data = kind, .seed = seed, .group = CHECK_ACCURACY};
    atn_verdict *v = &e->v;
    *v = (atn_verdict){.stage = e->program.stage, .reason = e->program.reason, .seconds_build = e->program.seconds};
    snprintf(v->evidence, sizeof v->evidence, "%s", e->program.evidence);
    if (v->reason == ATN_REASON_OK)
        s = accuracy_items(&c, ATN_STAGE_FULL, e->program.so_fd, items, e->suite.count, v, err);
    v->correct = v->reason == ATN_REASON_OK;
    free(items);
    return s;
}

static atn_status race_reference(evaluation *e, atn_error *err)
{
    atn_status s;
    progress(e, "building the reference program");
    if ((s = build_file(e, e->reference_path, &e->reference, err))) return s;
    if (e->reference.reason != ATN_REASON_OK)
        return atn_fail(err, ATN_FORMAT, "the reference program '%s' does not build: %s: %.600s", e->reference_path,
                        reason_word(e->reference.reason), e->reference.evidence);
    e->same_code = !strcmp(e->program.object_hash, e->reference.object_hash);
    if (e->stage == 3) {
        progress(e, "a short race");
        return judge_candidate(e->judge, &e->program, &e->reference, ATN_STAGE_SCREEN, &e->v, err);
    }
    progress(e, "checking against fp64");
    if ((s = judge_candidate(e->judge, &e->program, NULL, ATN_STAGE_FULL, &e->v, err)) || !e->v.correct) return s;
    progress(e, "racing beside the reference program");
    atn_verdict timed, full = e->v;
    if ((s = judge_compare(e->judge, &e->program, &e->reference, PAIRS, false, &timed, err))) return s;
    /* Correctness counts are the full stage's, everything timed is the race's. */
    timed.error = full.error;
    timed.error_of_tolerance = full.error_of_tolerance;
    timed.checks = full.checks, timed.checks_passed = full.checks_passed;
    timed.stability = full.stability, timed.stability_passed = full.stability_passed;
    timed.robustness = full.robustness, timed.robustness_passed = full.robustness_passed;
    timed.refused = full.refused, timed.seconds_check = full.seconds_check;
    e->v = timed;
    return s;
}

static atn_status evaluate(evaluation *e, atn_error *err)
{
    atn_status s;
    if ((s = read_settings(e, err))) return s;
    const char *against = cli_text(e->cli, "against", NULL);
    e->reference_path = against ? program_file(against) : file_join(file_home(), "examples/attention/initial_program.c");
    progress(e, "building");
    if ((s = build_file(e, e->path, &e->program, err))) return s;
    if (e->checked_only) return check_given_cases(e, err);
    if ((s = make_judge(e, err))) return s;
    progress(e, "checking");
    if (e->stage <= 2)
        s = judge_candidate(e->judge, &e->program, NULL, e->stage == 1 ? ATN_STAGE_QUICK : ATN_STAGE_FULL, &e->v, err);
    else s = race_reference(e, err);
    /* A quick stage that passed is as correct as it claims to be. */
    if (!s && e->stage == 1) e->v.correct = e->v.reason == ATN_REASON_OK;
    if (!s) judge_seed_metrics(e->judge, &e->v, &e->metrics);
    if (!s && e->v.correct && e->v.n_cases) s = judge_evidence(e->judge, &e->program, &e->v, &e->evidence, err);
    return s;
}

/* Slower than the reference is a finding, not a failure. */
static bool is_valid(const evaluation *e)
{
    return e->v.correct &&
           (e->v.reason == ATN_REASON_OK || e->v.reason == ATN_REASON_SLOWER || e->v.reason == ATN_REASON_NOT_BETTER);
}

/* ---- the module around the kernel ---------------------------------------------------------------------------------- */

/* Starts attune-module with both objects; its lines come through *out. A program of its own: no candidate is loaded here. */
static atn_status module_start(const evaluation *e, pid_t *pid, FILE **out, atn_error *err)
{
    extern char **environ;
    char *path = file_beside_program("attune-module"), threads[16], objects[2][32], (*texts)[200] = NULL;
    if (!file_exists(path)) {
        free(path);
        path = file_beside_program("../src/module/attune-module");
    }
    int pipe_ends[2], fds[2] = {e->program.so_fd, e->reference.so_fd}, n = 0;
    const char **argv = atn_alloc(sizeof *argv * (size_t)(e->suite.count + 8));
    texts = atn_alloc(sizeof *texts * (size_t)ATN_MAX(e->suite.count, 1));
    snprintf(threads, sizeof threads, "%lld", config_int(e->config, "judge.threads"));
    argv[n++] = "attune-module", argv[n++] = threads, argv[n++] = "0.4";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 2; i++) {
        snprintf(objects[i], sizeof objects[i], "/proc/self/fd/%d", 3 + i);
        posix_spawn_file_actions_adddup2(&actions, fds[i], 3 + i);
        argv[n++] = objects[i];
    }
    argv[n++] = "--";
    for (int i = 0; i < e->suite.count; i++) {
        problem_print(&e->suite.cases[i].problem, texts[i], sizeof texts[i]);
        argv[n++] = texts[i];
    }
    atn_status s = ATN_OK;
    int failed = pipe2(pipe_ends, O_CLOEXEC) ? errno : 0;
    if (!failed) {
        posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
        failed = posix_spawn(pid, path, &actions, NULL, (char **)argv, environ);
        close(pipe_ends[1]);
        if (failed) close(pipe_ends[0]);
    }
    if (failed) s = atn_fail(err, ATN_PROCESS, "cannot start '%s': %s; is attune installed whole?", path, strerror(failed));
    else *out = fdopen(pipe_ends[0], "r");
    posix_spawn_file_actions_destroy(&actions);
    free(argv);
    free(texts);
    free(path);
    return s;
}

static atn_status measure_module(evaluation *e, atn_error *err)
{
    pid_t pid = -1;
    FILE *out = NULL;
    char line[1024];
    int status = 0, lock = -1;
    progress(e, "waiting for the timing lock");
    atn_status s = timing_lock(&lock, err);
    if (s) return s;
    progress(e, "timing whole modules");
    s = module_start(e, &pid, &out, err);
    if (!s) {
        e->module = json_array();
        while (fgets(line, sizeof line, out)) {
            json_t *row = json_loads(line, 0, NULL);
            if (row) json_array_append_new(e->module, row);
        }
        fclose(out);
        waitpid(pid, &status, 0);
        if (WIFSIGNALED(status))
            s = atn_fail(err, ATN_PROCESS, "attune-module was ended by signal %d (%s)", WTERMSIG(status),
                         strsignal(WTERMSIG(status)));
        else if (status) s = atn_fail(err, ATN_PROCESS, "attune-module failed; what it said stands above");
    }
    if (lock >= 0) close(lock);
    return s;
}

/* For a program and its reference in turn: rows come as program, reference, program, reference ... or one skipped row. */
static void print_module(const evaluation *e)
{
    size_t i;
    json_t *row;
    const char *blas = "";
    printf("\nwhole modules (projections, norms, RoPE, cache, output projection) around this kernel and around the reference\n");
    printf("%-34s %11s %9s %10s %14s %9s %12s\n", "case", "tokens/s", "ms", "attention", "its reference", "speedup",
           "most possible");
    json_array_foreach(e->module, i, row) {
        const char *text = json_string_value(json_object_get(row, "case")),
                   *skipped = json_string_value(json_object_get(row, "skipped"));
        if (skipped) {
            printf("%-34s %s\n", text, skipped);
            continue;
        }
        const json_t *other = json_array_get(e->module, i + 1);
        if (json_integer_value(json_object_get(row, "object")) != 0 || !other) continue;
        double share = json_number_value(json_object_get(row, "attention_share")),
               before = json_number_value(json_object_get(other, "attention_share"));
        blas = json_string_value(json_object_get(row, "blas"));
        printf("%-34s %11.0f %9.3f %9.1f%% %13.1f%% %8.2fx %11.2fx", text,
               json_number_value(json_object_get(row, "tokens_per_s")), json_number_value(json_object_get(row, "ms")),
               100 * share, 100 * before, json_number_value(json_object_get(row, "speedup")), 1 / (1 - before));
        if (!json_is_true(json_object_get(row, "own")))
            printf("  (by %s, of this kernel: %s)", json_string_value(json_object_get(row, "kernel")),
                   json_string_value(json_object_get(row, "why")));
        putchar('\n');
    }
    printf("attention: its share of the module's time. most possible: with attention for nothing. projections by %s\n", blas);
}

/* ---- figures of a case ------------------------------------------------------------------------------------------- */

typedef struct {
    char text[200];
    double speedup, low, high, error, tokens_per_s, gflops, peak_fraction, tokens_per_mb, workspace, ms;
} figures;

static void case_figures(const evaluation *e, const atn_case_result *r, figures *f)
{
    const atn_problem *whole = &e->suite.cases[r->case_index].problem,
                      *timed = judge_case_problem(e->judge, r->case_index);
    double groups = (double)whole->B * whole->Hkv / ((double)timed->B * timed->Hkv);
    double peak = judge_peaks(e->judge)->fma_peak_gflops * (double)config_int(e->config, "judge.threads");
    problem_print(whole, f->text, sizeof f->text);
    f->speedup = exp(r->log_ratio), f->low = exp(r->log_low), f->high = exp(r->log_high);
    f->error = r->error;
    f->ms = r->ns_min * groups * 1e-6;
    f->tokens_per_s = problem_tokens(whole) / (f->ms * 1e-3);
    f->gflops = problem_flops(timed) / r->ns_min;
    f->peak_fraction = peak > 0 ? f->gflops / peak : 0;
    f->workspace = (double)r->workspace_bytes;
    f->tokens_per_mb = problem_tokens(timed) / ((problem_bytes(timed) + f->workspace) * 1e-6);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *machine_json(const evaluation *e)
{
    const atn_machine *m = machine_get();
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "cpu", m->cpu, "isa", m->isa, "compiler", e->program.compiler,
                          "signature", m->signature);
    if (e->judge) {
        json_object_set_new(o, "fma_peak_gflops", number(judge_peaks(e->judge)->fma_peak_gflops));
        json_object_set_new(o, "read_bandwidth_gbs", number(judge_peaks(e->judge)->read_bandwidth_gbs));
    }
    return o;
}

static json_t *case_json(const evaluation *e, const atn_case_result *r)
{
    figures f;
    case_figures(e, r, &f);
    json_t *o = json_pack("{s:s, s:s, s:i, s:I}", "case", f.text, "name", e->suite.cases[r->case_index].name, "pairs",
                          r->pairs, "workspace_bytes", (json_int_t)r->workspace_bytes);
    const struct {
        const char *name;
        double value;
    } rows[] = {{"error", f.error},
                {"speedup", f.speedup},
                {"low", f.low},
                {"high", f.high},
                {"gflops", f.gflops},
                {"peak_fraction", f.peak_fraction},
                {"tokens_per_s", f.tokens_per_s},
                {"tokens_per_mb", f.tokens_per_mb},
                {"ms", f.ms}};
    for (int i = 0; i < ATN_COUNT(rows); i++) json_object_set_new(o, rows[i].name, number(rows[i].value));
    return o;
}

static void add_metrics(const evaluation *e, json_t *o)
{
    const seed_metrics *m = &e->metrics;
    const struct {
        const char *name;
        double value;
    } rows[] = {{"accuracy_score", m->accuracy_score},       {"performance_score", m->performance_score},
                {"memory_efficiency", m->memory_efficiency}, {"stability_score", m->stability_score},
                {"success_rate", m->success_rate},           {"combined_score", m->combined_score}};
    for (int i = 0; i < ATN_COUNT(rows); i++) json_object_set_new(o, rows[i].name, number(rows[i].value));
}

static void print_json(const evaluation *e)
{
    const atn_verdict *v = &e->v;
    bool timed = v->n_cases > 0, valid = is_valid(e);
    json_t *o = json_pack("{s:b, s:s, s:s, s:s}", "valid", valid, "program", e->path, "stage", stage_name(v->stage),
                          "reason", reason_word(v->reason));
    if (v->evidence[0]) json_object_set_new(o, "evidence", json_stringn_nocheck(v->evidence, strlen(v->evidence)));
    if (!valid) json_object_set_new(o, "reproduce", json_string(v->reproduce));
    add_metrics(e, o);
    json_object_set_new(o, "error", valid || v->error > 0 ? number(v->error) : json_null());
    json_object_set_new(o, "error_of_tolerance", number(v->error_of_tolerance));
    json_object_set_new(o, "checks",
                        json_pack("{s:i, s:i, s:i}", "run", v->checks, "passed", v->checks_passed, "refused",
                                  v->refused));
    json_t *speedup = json_object();
    json_object_set_new(speedup, "median", timed ? number(exp(v->suite_log)) : json_null());
    json_object_set_new(speedup, "low", timed ? number(exp(v->suite_low)) : json_null());
    json_object_set_new(speedup, "high", timed ? number(exp(v->suite_high)) : json_null());
    json_object_set_new(o, "speedup", speedup);
    if (timed) json_object_set_new(o, "speedup_over", json_string(e->reference_path));
    json_t *cases = json_array();
    for (int i = 0; i < v->n_cases; i++) json_array_append_new(cases, case_json(e, &v->cases[i]));
    json_object_set_new(o, "cases", cases);
    if (e->evidence.n_cases) {
        char *json = evidence_json(&e->evidence);
        json_object_set_new(o, "speed_evidence", json_loads(json, 0, NULL));
        free(json);
    }
    if (e->module) json_object_set(o, "module", e->module);
    json_object_set_new(o, "machine", machine_json(e));
    json_object_set_new(o, "run",
                        json_pack("{s:i, s:f, s:[]}", "candidates", 1, "minutes", (clock_s() - e->start) / 60,
                                  "proposers"));
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static void print_cases(const evaluation *e)
{
    const atn_verdict *v = &e->v;
    printf("%-34s %9s %24s %11s %9s %7s %10s %9s\n", "case", "error", "speedup [low, high]", "tokens/s", "GFLOP/s",
           "% peak", "workspace", "tokens/MB");
    for (int i = 0; i < v->n_cases; i++) {
        figures f;
        char interval[64], bytes[32];
        case_figures(e, &v->cases[i], &f);
        snprintf(interval, sizeof interval, "%.2fx [%.2f, %.2f]", f.speedup, f.low, f.high);
        snprintf(bytes, sizeof bytes, f.workspace < 10240 ? "%.0f B" : "%.0f KiB",
                 f.workspace < 10240 ? f.workspace : f.workspace / 1024);
        printf("%-34s %9.1e %24s %11.0f %9.1f %6.1f%% %10s %9.0f\n", f.text, f.error, interval, f.tokens_per_s,
               f.gflops, 100 * f.peak_fraction, bytes, f.tokens_per_mb);
    }
}

static void print_score(const char *name, double value, const char *meaning)
{
    if (isfinite(value)) printf("  %-18s %7.4f   %s\n", name, value, meaning);
    else printf("  %-18s %7s   %s\n", name, "-", meaning);
}

static void print_scores(const evaluation *e)
{
    const seed_metrics *m = &e->metrics;
    const atn_verdict *v = &e->v;
    char checks[100], stability[100];
    snprintf(checks, sizeof checks, "%d of %d checks; %d more refused by can_run", v->checks_passed, v->checks,
             v->refused);
    snprintf(stability, sizeof stability, "%d of %d stability checks", v->stability_passed, v->stability);
    printf("\nthe seed's names\n");
    print_score("accuracy_score", m->accuracy_score, "1 within tolerance of fp64 everywhere, else none");
    print_score("performance_score", m->performance_score, "speedup over the reference program, at most 3");
    print_score("memory_efficiency", m->memory_efficiency, "2 io / (io + workspace)");
    print_score("stability_score", m->stability_score, stability);
    print_score("success_rate", m->success_rate, checks);
    print_score("combined_score", m->combined_score,
                "(0.50 accuracy + 0.25 performance + 0.15 memory + 0.10 stability) x success");
}

static void print_evidence(const evaluation *e)
{
    char *text = evidence_text(&e->evidence);
    printf("\n%swhat explains it%s\n", term_set(stdout, TERM_BOLD), term_set(stdout, TERM_PLAIN));
    for (char *line = text, *rest; *line; line = rest) {
        rest = line + strcspn(line, "\n");
        rest += *rest == '\n';
        printf("  %.*s", (int)(rest - line), line);
    }
    free(text);
}

static void print_machine(const evaluation *e)
{
    const atn_machine *m = machine_get();
    printf("%s, %s, %s", m->cpu, m->isa, e->program.compiler);
    if (e->judge)
        printf("; measured: FMA peak %.1f GFLOP/s and %.1f GB/s on one core", judge_peaks(e->judge)->fma_peak_gflops,
               judge_peaks(e->judge)->read_bandwidth_gbs);
    printf("\n");
}

static void print_verdict_failed(const evaluation *e)
{
    const atn_verdict *v = &e->v;
    printf("%snot valid%s: stage %s, %s (%s)\n", term_set(stdout, TERM_RED), term_set(stdout, TERM_PLAIN),
           stage_name(v->stage), reason_word(v->reason), reason_text(v->reason));
    if (v->evidence[0]) printf("  %s\n", v->evidence);
    if (v->reproduce[0]) printf("reproduce: %s\n", v->reproduce);
}

static void print_table(const evaluation *e)
{
    const atn_verdict *v = &e->v;
    if (!is_valid(e)) {
        print_verdict_failed(e);
        return;
    }
    if (!e->cli->quiet) print_machine(e);
    if (v->n_cases) {
        if (!e->cli->quiet) {
            int threads = (int)config_int(e->config, "judge.threads");
            printf("speedup over %s%s; %d thread%s, %s, fresh inputs for every call\n\n", e->reference_path,
                   e->same_code ? " (the same code)" : "", threads, threads > 1 ? "s" : "",
                   threads > 1 ? "whole problems" : "timed as one kv group");
            print_cases(e);
        }
        bool all = v->n_cases == e->suite.count;
        printf("\nspeedup %s%.3fx%s [%.3f, %.3f], geometric mean of %s%s\n", term_set(stdout, TERM_BOLD),
               exp(v->suite_log), term_set(stdout, TERM_PLAIN), exp(v->suite_low), exp(v->suite_high),
               all ? "" : "some cases of ", e->suite_name);
    }
    printf("%svalid%s: error %.2e relative L2 against fp64, at worst %.0f %% of what is allowed",
           term_set(stdout, TERM_GREEN), term_set(stdout, TERM_PLAIN), v->error, 100 * v->error_of_tolerance);
    printf(e->stage == 1 ? " (quick stage only)\n" : "\n");
    if (!e->checked_only && e->stage > 1) print_scores(e);
    if (e->evidence.n_cases && !e->cli->quiet) print_evidence(e);
    if (e->module) print_module(e);
    if (!e->cli->quiet)
        printf("\n%.1f s building, %.1f s checking, %.1f s timing\n", v->seconds_build, v->seconds_check,
               v->seconds_race);
}

int cmd_eval(const atn_cli *c)
{
    atn_error err = {0};
    char *path = program_file(c->args[0]);
    evaluation e = {.cli = c,
                    .config = config_create(),
                    .path = path,
                    .program = {.so_fd = -1},
                    .reference = {.so_fd = -1},
                    .metrics = {NAN, NAN, NAN, NAN, NAN, NAN},
                    .start = clock_s()};
    text_add_word(&e.said, e.path);
    atn_status s = evaluate(&e, &err);
    if (!s && cli_has(c, "module") && e.stage == 4 && !e.checked_only && is_valid(&e)) s = measure_module(&e, &err);
    progress(&e, "");
    int code;
    if (s) {
        code = cli_fail(c, &err);
        if (code != EXIT_INTERRUPTED) code = EXIT_USAGE; /* 1 says "judged and not valid", and nothing was judged */
    } else {
        if (c->json) print_json(&e);
        else print_table(&e);
        code = is_valid(&e) ? EXIT_VALID : EXIT_INVALID;
    }
    build_release(&e.program);
    build_release(&e.reference);
    json_decref(e.module);
    judge_free(e.judge);
    suite_free(&e.suite);
    config_free(e.config);
    free(e.suite_name);
    free(e.reference_path);
    text_free(&e.said);
    free(path);
    return code;
}
