/* Runs over pilots on other machines. */
#include "elsewhere.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "evolve/execute/run.h"
#include "report/report.h"

bool elsewhere_wanted(const atn_config *config)
{
    return strcmp(config_text(config, "executor.kind"), "local") != 0;
}

static void note(void *ctx, int cls, const char *text)
{
    (void)cls;
    const elsewhere *x = ctx;
    if (x->progress->mode != PROGRESS_QUIET) progress_say(x->progress, "%s", text);
}

static atn_status proposers(void *ctx, evolve_options *o, atn_error *err)
{
    const elsewhere *x = ctx;
    bool asks = false;
    o->n_proposers = 0;
    return x->proposers(x->config, o, &asks, err);
}

static void begins(void *ctx, const evolve_options *o, evolve_judge *j, bool first)
{
    const elsewhere *x = ctx;
    if (!first) progress_say(x->progress, "another kind of machine has come: it evolves for itself, in %s", o->folder);
    else x->progress->judge = j;
    x->start(x->progress, o, j);
}

/* Only the first kind of machine has the progress line; of others one hears by their folder. */
static void ended(void *ctx, const evolve_options *o, const evolve_result *r, bool first)
{
    const elsewhere *x = ctx;
    if (first) return;
    atn_error err = {0};
    char *html = file_join(o->folder, "report.html");
    if (report_write(o->folder, html, &err)) progress_say(x->progress, "no report in %s: %s", o->folder, err.text);
    else progress_say(x->progress, "%s: %.2fx the initial program there; see attune show %s", o->folder, r->speedup.median,
                      o->folder);
    free(html);
}

/* The path of this program, as a shell reads it: what a cluster with a shared file system calls it as well. */
static char *own_path(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return atn_strdup("attune");
    atn_text t = {0};
    text_add(&t, "'");
    for (ssize_t i = 0; i < n; i++)
        if (path[i] == '\'') text_add(&t, "'\\''");
        else text_addf(&t, "%c", path[i]);
    text_add(&t, "'");
    return t.s;
}

atn_status elsewhere_run(const elsewhere *x, const evolve_options *o, evolve_result *r, atn_error *err)
{
    const atn_config *c = x->config;
    const char *kind = config_text(c, "executor.kind"), *worker = config_text(c, "executor.worker");
    char *own = own_path(), *logs = file_join(o->folder, "pilots"), *spool = file_join(o->folder, "spool");
    const char **hosts = atn_alloc((size_t)(config_count(c, "executor.hosts") + 1) * sizeof *hosts);
    execute_options e = {.kind = kind,
                         .slots = (int)config_int(c, "executor.slots"),
                         .launch = config_text(c, "executor.options"),
                         .worker = worker ? worker : strcmp(kind, "ssh") ? own : "attune",
                         .hosts = hosts,
                         .logs = logs,
                         .window = (int)config_int(c, "executor.window"),
                         .beat_s = config_real(c, "executor.heartbeat")};
    for (int i = 0; i < config_count(c, "executor.hosts"); i++) hosts[e.n_hosts++] = config_item(c, "executor.hosts", i);
    if (!strcmp(kind, "spool")) e.spool = config_text(c, "executor.spool") ? config_text(c, "executor.spool") : spool;
    const execute_hooks h = {.ctx = (void *)x, .proposers = proposers, .begins = begins, .note = note, .ended = ended};
    atn_status st = ATN_OK;
    if (!strcmp(kind, "exec") && !e.launch)
        st = atn_fail(err, ATN_USAGE, "--executor exec needs a command: --set 'executor.options=attune worker --stdio'");
    if (!st) progress_say(x->progress, "waiting for machines (%s)", kind);
    if (!st) st = execute_run(&e, o, &h, r, err);
    x->progress->judge = NULL; /* was the fleet's */
    free(hosts);
    free(spool);
    free(logs);
    free(own);
    return st;
}
