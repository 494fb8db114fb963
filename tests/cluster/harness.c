/* Runs with synthetic pilots, and what they left, as text.
 *
 *     harness run FOLDER ITERATIONS [--resume] [--slots N] [--window N] [--kind K] [--worker W] [--spool DIR] [--host H]...
 *             [--lost S] [--controls N] [--launch COMMAND]
 *     harness dump FOLDER       every program in order of judgement, then the archive: equal runs give equal texts
 *
 * Notes of the fleet go to stderr; the last line of `run` on stdout is a JSON object of counts. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evolve/execute/run.h"
#include "fake.h"

static volatile sig_atomic_t stop;

static void on_signal(int s)
{
    (void)s;
    stop = 1;
}

static atn_status proposers(void *ctx, evolve_options *o, atn_error *err)
{
    (void)ctx, (void)err;
    o->proposers[0] = fake_proposer();
    o->n_proposers = 1;
    return ATN_OK;
}

static void on_event(void *ctx, const evolve_event *e)
{
    (void)ctx;
    if (e->type == EVOLVE_DEMOTED) fprintf(stderr, "demoted: %s\n", e->text);
    if (e->type == EVOLVE_WARNING) fprintf(stderr, "warning: %s\n", e->text);
}

static void note(void *ctx, int cls, const char *text)
{
    (void)ctx, (void)cls;
    fprintf(stderr, "note: %s\n", text);
}

static int run(int argc, char **argv)
{
    static const char *hosts[64];
    static evolve_result r;
    execute_options x = {.kind = "exec", .slots = 4, .hosts = hosts, .beat_s = 0.25};
    evolve_options o = evolve_defaults();
    atn_suite suite;
    atn_fleet *f = NULL;
    atn_error err = {0};
    o.folder = argv[2];
    o.iterations = atoll(argv[3]);
    o.control_races = 1;
    o.final_seconds = 1;
    for (int i = 4; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(a, "--resume")) {
            o.resume = true;
            continue;
        }
        if (!strcmp(a, "--slots")) x.slots = atoi(v);
        if (!strcmp(a, "--window")) x.window = atoi(v);
        if (!strcmp(a, "--kind")) x.kind = v;
        if (!strcmp(a, "--worker")) x.worker = v;
        if (!strcmp(a, "--spool")) x.spool = v;
        if (!strcmp(a, "--host")) hosts[x.n_hosts++] = v;
        if (!strcmp(a, "--lost")) x.lost_s = atof(v);
        if (!strcmp(a, "--controls")) o.control_races = atoi(v);
        if (!strcmp(a, "--launch")) x.launch = v;
        if (!strcmp(a, "--logs")) x.logs = v;
        if (!strcmp(a, "--minutes")) o.minutes = atof(v);
        i++;
    }
    static const int zero[8] = {0};
    char *source = fake_source(zero);
    fake_suite(&suite);
    o.suite = &suite;
    o.initial_source = source;
    o.initial_path = "fake.c";
    o.n_shipped = -1;
    o.event = on_event;
    o.stop = &stop;
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    const execute_hooks h = {.proposers = proposers, .note = note};
    atn_status st = fleet_open(&x, &o, &f, &err);
    if (!st) st = execute_over(f, &o, &h, &r, &err);
    if (st) fprintf(stderr, "harness: %s\n", err.text);
    if (f) {
        fleet_counts c = fleet_count(f);
        printf("{\"judged\":%" PRId64 ",\"started\":%" PRId64 ",\"lost\":%" PRId64 ",\"asked_again\":%" PRId64
               ",\"answers\":%" PRId64 ",\"classes\":%d}\n",
               r.counts.judged, c.started, c.lost, c.asked_again, c.answers, fleet_classes(f));
    }
    fleet_close(f);
    suite_free(&suite);
    free(source);
    return st ? 1 : 0;
}

/* The pairs of its races and its evidence: of a candidate that was asked twice they are there once. */
static int dump_races(atn_store *s, int64_t id)
{
    store_race *r;
    atn_error err = {0};
    int n;
    if (store_races(s, id, NULL, &r, &n, &err)) {
        fprintf(stderr, "harness: %s\n", err.text);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        const char *k = r[i].kind; /* comparisons at the end are made again where a run was ended in their midst */
        if (strcmp(k, "screen") && strcmp(k, "race") && strcmp(k, "confirm")) continue;
        double sum = 0;
        for (int k = 0; k < r[i].n; k++) sum += r[i].d[k] * (k + 1);
        printf("  %s case %d against #%" PRId64 " %d pairs %.9g %.9g\n", r[i].kind, r[i].case_index, r[i].against, r[i].n,
               r[i].effect, sum);
    }
    store_races_free(r, n);
    char *evidence = store_evidence_get(s, id);
    printf("  evidence %s\n", evidence ? evidence : "none");
    free(evidence);
    return 0;
}

static int dump(const char *folder)
{
    atn_store *s;
    atn_error err = {0};
    store_program *p;
    store_cell *c;
    int n, m;
    if (store_open(folder, STORE_READ, NULL, 0, &s, &err) || store_programs(s, 0, false, &p, &n, &err) ||
        store_cells(s, &c, &m, &err)) {
        fprintf(stderr, "harness: %s\n", err.text);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        printf("%" PRId64 " #%" PRId64 " of #%" PRId64 " against #%" PRId64 " same #%" PRId64 " %s %s %s %s %.17g %.17g %s\n",
               p[i].seq, p[i].made.id, p[i].made.parent1, p[i].incumbent, p[i].same_as, p[i].made.sha, p[i].state,
               p[i].stage, p[i].reason, p[i].score, p[i].score_low, p[i].cell);
        if (dump_races(s, p[i].made.id)) return 1;
    }
    for (int i = 0; i < m; i++) printf("island %d %s #%" PRId64 "\n", c[i].island, c[i].key, c[i].program);
    store_programs_free(p, n);
    free(c);
    store_close(s);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 4 && !strcmp(argv[1], "run")) return run(argc, argv);
    if (argc == 3 && !strcmp(argv[1], "dump")) return dump(argv[2]);
    fprintf(stderr, "usage: harness run FOLDER ITERATIONS ... | dump FOLDER\n");
    return 2;
}
