/* attune evolve: settings to options, the engine's run, the result as tables.
 *
 * Settings come from the config file, then --set, then the options of the command line; each later one wins. */
#include <ctype.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attune/plan.h"
#include "base/cpu.h"
#include "base/file.h"
#include "cmd.h"
#include "elsewhere.h"
#include "evolve/config.h"
#include "evolve/evolve.h"
#include "judge/accuracy.h"
#include "progress.h"
#include "report/report.h"
#include "store/store.h"

static atn_proposer *create_knobs(const atn_config *config, atn_error *err)
{
    (void)config, (void)err;
    return proposer_knobs_create();
}

/* Who can propose. Names as in CONFIG_PROPOSERS. */
static const struct {
    const char *name;
    atn_proposer *(*create)(const atn_config *config, atn_error *err);
    bool asks; /* shows programs to somebody: the llm and prompt settings act */
} proposers[] = {
    {"knobs", create_knobs, false},           {"llm", proposer_llm_create, true},
    {"mailbox", proposer_mailbox_create, true}, {"exec", proposer_exec_create, true},
    {"replay", proposer_replay_create, false},
};

/* ---- settings ---- */

/* What the command line names replaces what the config names: suites and cases go together. */
static atn_status settings_read(const atn_cli *c, atn_config *config, atn_error *err)
{
    const char *file = cli_text(c, "config", NULL);
    atn_status st = file ? config_read(config, file, err) : ATN_OK;
    for (int i = 0; !st && i < cli_count(c, "set"); i++) st = config_set(config, cli_item(c, "set", i), err);
    if (st) return st;
    if (cli_count(c, "suite") || cli_count(c, "case")) {
        config_clear(config, "judge.suites");
        config_clear(config, "judge.cases");
    }
    if (cli_count(c, "proposer")) config_clear(config, "proposers");
    return cli_config(c, config, err);
}

/* What makes scores comparable is the run's own where nobody says otherwise, so that --resume needs no repeated
 * options: the cases, threads, tolerance, compiler, initial program. A run that cannot be read says so when opened. */
static atn_status settings_of_run(const char *folder, atn_config *config, char **initial, atn_error *err)
{
    enum { LISTS = 2 };
    static const char *const kept[] = {"judge.suites", "judge.cases", "judge.threads", "judge.tolerance",
                                       "judge.compiler"};
    atn_store *store = NULL;
    if (store_open(folder, STORE_READ, NULL, 0, &store, NULL)) return ATN_OK;
    char *text = store_meta_get(store, "config"), *path = store_meta_get(store, "initial");
    store_close(store);
    json_t *settings = text ? json_loads(text, 0, NULL) : NULL, *value;
    const char *key;
    bool given[ATN_COUNT(kept)];
    for (int i = 0; i < ATN_COUNT(kept); i++) given[i] = config_has(config, kept[i]);
    given[0] = given[1] = given[0] || given[1];
    atn_status st = ATN_OK;
    json_object_foreach(settings, key, value)
        for (int i = 0; i < ATN_COUNT(kept) && !st; i++)
            if (!given[i] && json_is_string(value) && text_starts(key, kept[i]) &&
                key[strlen(kept[i])] == (i < LISTS ? '[' : 0))
                st = config_put(config, kept[i], json_string_value(value), "the run in the output folder", err);
    if (!*initial && path && *path) *initial = atn_strdup(path);
    json_decref(settings);
    free(text);
    free(path);
    return st;
}

static volatile sig_atomic_t *stop_flag(void)
{
    return &interrupted;
}

/* The markers of a start program, read as the judge reads them, but said with file and line before anything runs. */
static atn_status check_markers(const char *path, const char *source, atn_error *err)
{
    int line = 0, open = 0, blocks = 0;
    for (const char *p = source; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        line++;
        size_t n = strcspn(p, "\n");
        char *text = atn_strndup(p, n);
        const char *start = strstr(text, "EVOLVE-BLOCK-START"), *end = strstr(text, "EVOLVE-BLOCK-END");
        const char *marker = start ? start : end;
        bool comment = marker && (strstr(text, "//") || strstr(text, "/*")) &&
                       (strstr(text, "//") ? strstr(text, "//") : strstr(text, "/*")) < marker;
        free(text);
        if (!marker || !comment) continue;
        if (start && open)
            return atn_fail(err, ATN_USAGE,
                            "%s:%d: EVOLVE-BLOCK-START inside the block that line %d begins; end that one first", path,
                            line, open);
        if (!start && !open)
            return atn_fail(err, ATN_USAGE,
                            "%s:%d: EVOLVE-BLOCK-END without a start; put '// EVOLVE-BLOCK-START' above it", path,
                            line);
        if (start) open = line;
        else open = 0, blocks++;
    }
    if (open)
        return atn_fail(err, ATN_USAGE,
                        "%s:%d: EVOLVE-BLOCK-START has no end; put '// EVOLVE-BLOCK-END' after the block", path, open);
    if (!blocks)
        return atn_fail(
            err, ATN_USAGE,
            "%s: no EVOLVE-BLOCK; put '// EVOLVE-BLOCK-START' and '// EVOLVE-BLOCK-END' around what may change", path);
    return ATN_OK;
}

static atn_status read_initial(const char *path, char **source, atn_error *err)
{
    atn_status st = file_read_text(path, 1 << 20, source, err);
    if (st == ATN_NOT_FOUND) return atn_fail(err, ATN_NOT_FOUND, "there is no initial program '%s'", path);
    return st ? st : check_markers(path, *source, err);
}

static void settings_apply(const atn_config *config, evolve_options *o)
{
    o->seed = (uint64_t)config_int(config, "random_seed");
    o->threads = (int)config_int(config, "judge.threads");
    o->tolerance = config_real(config, "judge.tolerance");
    o->cc = config_text(config, "judge.compiler");
    o->unsafe = config_bool(config, "judge.unsafe");
    o->iterations = config_int(config, "max_iterations");
    o->minutes = config_real(config, "evolve.minutes");
    o->target_speedup = config_real(config, "evolve.target_speedup");
    o->plateau = config_int(config, "evolve.plateau");
    if (!o->plateau && config_int(config, "early_stopping_patience") > 0)
        o->plateau = config_int(config, "early_stopping_patience");
    o->final_seconds = config_real(config, "evolve.final_seconds");
    o->control_races = (int)config_int(config, "evolve.control_races");
    o->islands = (int)config_int(config, "database.num_islands");
    o->cells_max = (int)config_int(config, "database.archive_size");
    o->migrate_every = (int)config_int(config, "database.migration_interval");
    o->build_jobs = (int)config_int(config, "evaluator.parallel_evaluations");
    if (!config_bool(config, "evolve.shipped")) o->n_shipped = -1;
    bool endless = !o->iterations && o->minutes <= 0 && o->target_speedup <= 0 && !o->plateau;
    if (endless && !config_has(config, "evolve.minutes") && !config_has(config, "max_iterations")) o->minutes = 2.5;
}

/* ATTUNE_MINUTES: no run longer than that, whatever file and command line say; its comparison and its controls are cut in
 * proportion. For scripts that run commands as others wrote them. */
static atn_status settings_bound(evolve_options *o, atn_error *err)
{
    const char *text = getenv("ATTUNE_MINUTES");
    char *end;
    if (!text || !*text) return ATN_OK;
    const double most = strtod(text, &end);
    if (*end || !(most > 0)) return atn_fail(err, ATN_USAGE, "ATTUNE_MINUTES is '%s'; it takes a number of minutes above 0", text);
    if (!(o->minutes > 0 && o->minutes <= most)) o->minutes = most;
    o->final_seconds = fmin(o->final_seconds, 60 * most);
    if (most < 1) o->control_races = 0;
    return ATN_OK;
}

static atn_status proposers_create(const atn_config *config, evolve_options *o, bool *asks, atn_error *err)
{
    for (int i = 0; i < config_count(config, "proposers") && o->n_proposers < EVOLVE_PROPOSERS_MAX; i++) {
        for (int j = 0; j < ATN_COUNT(proposers); j++) {
            if (strcmp(proposers[j].name, config_item(config, "proposers", i)) != 0) continue;
            atn_proposer *p = proposers[j].create(config, err);
            if (!p) return ATN_USAGE;
            *asks |= proposers[j].asks;
            o->proposers[o->n_proposers++] = p;
        }
    }
    ATN_CHECK(o->n_proposers > 0); /* config_check knows the same names */
    return ATN_OK;
}

/* A family that is linked in is asked itself whether it takes what the judge will ask of it: no build is needed for that.
 * Its place is the library's. */
static int serves(const char *path, const atn_suite *suite)
{
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path, *name;
    const size_t n = strcspn(file, ".");
    const atn_kernel *table;
    for (int i = 0, usable; (name = atn_kernel_at(i, &table, &usable)); i++)
        if (usable && !strncmp(name, file, n) && name[n] == '@')
            return accuracy_takes_all(suite, table->can_run) ? i + 1 : 0;
    return INT_MAX;
}

/* ---- the run ---- */

/* A path as people write it: relative where it lies below the present folder. */
static char *shortened(char *path)
{
    char here[4096];
    size_t n = getcwd(here, sizeof here) ? strlen(here) : 0;
    if (n > 1 && !strncmp(path, here, n) && path[n] == '/') {
        char *below = atn_strdup(path + n + 1);
        free(path);
        return below;
    }
    return path;
}

static void say_start(atn_progress *p, const evolve_options *o, const evolve_judge *j)
{
    const atn_machine *m = j->machine ? j->machine : machine_get();
    atn_peaks peaks = {0};
    if (j->peaks) j->peaks(j->ctx, &peaks);
    progress_say(p, "%s%s%s, %s, %d CPU%s: %.0f GFLOP/s, %.1f GB/s a core; %s", term_set(stderr, TERM_BOLD), m->cpu,
                 term_set(stderr, TERM_PLAIN), m->isa, m->cpus, m->cpus == 1 ? "" : "s", peaks.fma_peak_gflops,
                 peaks.read_bandwidth_gbs, j->compiler);
    char until[96] = "";
    size_t n = 0;
    if (o->iterations) n += (size_t)snprintf(until + n, sizeof until - n, " %lld candidate%s", (long long)o->iterations,
                                         o->iterations == 1 ? "" : "s");
    if (o->minutes > 0) n += (size_t)snprintf(until + n, sizeof until - n, "%s %g min", n ? " or" : "", o->minutes);
    if (o->target_speedup > 0) snprintf(until + n, sizeof until - n, "%s %gx", n ? " or" : "", o->target_speedup);
    char cases[24] = "";
    if (!isdigit((unsigned char)o->suite_name[0])) snprintf(cases, sizeof cases, " (%d cases)", o->suite->count);
    progress_say(p, "evolving from %s for %s%s,%s; Ctrl-C stops cleanly", o->initial_path, o->suite_name, cases,
                 *until ? until : " without a limit");
}

/* Where to look for the questions: nothing else happens until somebody answers. */
static void say_mailbox(atn_progress *p, const evolve_options *o, const atn_config *config)
{
    for (int i = 0; i < o->n_proposers; i++) {
        if (strcmp(o->proposers[i]->name, "mailbox") != 0) continue;
        const char *own = config_text(config, "mailbox.folder");
        progress_say(p, "questions appear in %s%s; attune mail list, show and answer%s%s", own ? own : o->folder,
                     own ? "" : "/mailbox", own ? " --mailbox " : " -o ", own ? own : o->folder);
    }
}

static int finish(const atn_cli *c, const evolve_options *o, const evolve_result *r)
{
    atn_error err = {0};
    char *html = file_join(o->folder, "report.html");
    atn_status st = report_write(o->folder, html, &err);
    free(html);
    if (st) fprintf(stderr, "attune evolve: no report: %s\n", err.text);
    if (!c->json) {
        atn_text t = {0};
        err = (atn_error){0};
        report_style style = term_report(stdout);
        if (report_tables(o->folder, cli_program(), &style, &t, &err))
            fprintf(stderr, "attune evolve: %s\n", err.text);
        if (t.s) fputs(t.s, stdout);
        text_free(&t);
    }
    if (r->stop == EVOLVE_STOP_INTERRUPTED) return EXIT_INTERRUPTED;
    return r->winner ? EXIT_VALID : EXIT_INVALID;
}

int cmd_evolve(const atn_cli *c)
{
    atn_error err = {0};
    atn_config *config = config_create();
    evolve_options o = evolve_defaults();
    evolve_judge *judge = NULL;
    evolve_result *result = atn_alloc(sizeof *result);
    atn_suite suite = {0};
    char *suite_name = NULL, *source = NULL, *config_text_json = NULL;
    char *initial = c->n_args ? program_file(c->args[0]) : NULL;
    atn_progress progress = {0};
    int code = EXIT_USAGE;

    atn_status st = settings_read(c, config, &err);
    o.folder = cli_text(c, "output", "attune_output");
    o.resume = cli_has(c, "resume");
    if (!st && o.resume) st = settings_of_run(o.folder, config, &initial, &err);
    if (!initial) initial = shortened(file_join(file_home(), "examples/attention/initial_program.c"));
    if (!st) st = config_check(config, &err);
    if (!st) st = config_suite(config, &suite, &suite_name, &err);
    if (!st) st = read_initial(initial, &source, &err);
    if (st) goto failed;

    settings_apply(config, &o);
    if (settings_bound(&o, &err)) goto failed;
    config_text_json = config_json(config);
    o.initial_path = initial;
    o.initial_source = source;
    o.suite = &suite;
    o.suite_name = suite_name;
    o.config_json = config_text_json;
    o.serves = serves;
    o.stop = stop_flag();
    o.event = progress_event;
    o.event_ctx = &progress;
    bool asks = false;
    if (proposers_create(config, &o, &asks, &err)) goto failed;
    if (!c->quiet) {
        atn_text notes = {0};
        config_notes(config, asks, &notes);
        term_notes(notes.s);
        text_free(&notes);
    }

    interrupt_catch();
    progress_begin(&progress, c->json, c->quiet);
    progress.options = &o;
    if (elsewhere_wanted(config)) {
        const elsewhere x = {config, &progress, proposers_create, say_start};
        st = elsewhere_run(&x, &o, result, &err);
    } else {
        st = evolve_judge_create(&o, &judge, &err);
        if (st) goto failed;
        progress.judge = judge;
        say_start(&progress, &o, judge);
        say_mailbox(&progress, &o, config);
        st = evolve_run(&o, judge, result, &err);
    }
    progress_end(&progress);
    if (st) goto failed;
    code = finish(c, &o, result);
    goto out;

failed:
    progress_end(&progress);
    code = interrupted ? EXIT_INTERRUPTED : cli_fail(c, &err);
out:
    evolve_result_free(result);
    free(result);
    evolve_judge_free(judge);
    for (int i = 0; i < o.n_proposers; i++) o.proposers[i]->destroy(o.proposers[i]);
    suite_free(&suite);
    free(suite_name);
    free(source);
    free(config_text_json);
    free(initial);
    config_free(config);
    return code;
}
