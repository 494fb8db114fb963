/* The whole loop on a synthetic landscape: it finds the hill, stops when told, survives kill -9 at any moment, and a
 * replay of what was recorded ends with the same archive.
 *
 * Seeds: T_RESUME_SEED=n reruns the kills of one failure. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "evolve/archive.h"
#include "base/text.h"
#include "evolve/evolve.h"
#include "fake.h"

static char folder[64];
static const int zero[8] = {0};
static uint64_t seed;

static int fresh_folder(void **state)
{
    (void)state;
    const char *s = getenv("T_RESUME_SEED");
    seed = s ? strtoull(s, NULL, 10) : (uint64_t)clock_ns() % 1000000;
    snprintf(folder, sizeof folder, "/tmp/t_resume.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

typedef struct {
    int events[EVOLVE_EVENT_COUNT];
    volatile sig_atomic_t stop;
    bool stop_slow; /* ... or the second tick */
    int ticks;
    int stop_after; /* judged programs until the "user" interrupts */
    double last_best;
    bool best_fell;
    int retries; /* judgements that were begun again */
} watcher;

static void watch(void *ctx, const evolve_event *e)
{
    watcher *w = ctx;
    w->events[e->type]++;
    w->retries += e->type == EVOLVE_WARNING && strstr(e->text, "trying again") != NULL;
    if (e->best && e->best_speedup < w->last_best) w->best_fell = true;
    if (e->best) w->last_best = e->best_speedup;
    if (w->stop_after && w->events[EVOLVE_JUDGED] == w->stop_after) w->stop = 1;
    if (w->stop_slow && e->type == EVOLVE_TICK && ++w->ticks == 2) w->stop = 1;
    char *json = evolve_event_json(e);
    ATN_CHECK(json && json[0] == '{');
    free(json);
}

/* One call of evolve_run with its own suite, judge and proposer. */
static atn_status go(evolve_options o, fake_judge *f, atn_proposer *p, watcher *w, evolve_result *r, atn_error *err)
{
    atn_suite suite;
    char *source = fake_source(zero);
    fake_suite(&suite);
    o.suite = &suite;
    o.initial_source = source;
    o.initial_path = "fake.c";
    o.n_shipped = o.shipped ? o.n_shipped : -1;
    o.proposers[0] = p;
    o.n_proposers = 1;
    o.event = watch;
    o.event_ctx = w;
    o.stop = &w->stop;
    atn_status st = evolve_run(&o, &f->face, r, err);
    p->destroy(p);
    free(source);
    suite_free(&suite);
    return st;
}

static evolve_options options(int64_t iterations)
{
    evolve_options o = evolve_defaults();
    o.folder = folder;
    o.iterations = iterations;
    o.seed = 7;
    o.migrate_every = 10;
    o.build_jobs = 1;
    return o;
}

static char *read_output(const char *name)
{
    char *path = file_join(folder, name), *text = NULL;
    if (file_read(path, 1 << 20, &text, NULL, NULL)) fail_msg("no %s", path);
    free(path);
    return text;
}

static void expect_in(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("'%s' not in: %s", part, text);
}

static void finds_the_hill(void **state)
{
    (void)state;
    fake_judge f;
    watcher w = {0};
    evolve_result r;
    atn_error err = {0};
    fake_init(&f);
    if (go(options(300), &f, fake_proposer(), &w, &r, &err)) fail_msg("%s", err.text);
    assert_int_equal(r.stop, EVOLVE_STOP_ITERATIONS);
    assert_int_equal(r.counts.evolved, 300);
    assert_int_equal(r.counts.judged, 301);
    assert_true(r.counts.same > 0 && r.counts.failed > 0 && r.counts.promoted > 3);
    assert_int_equal(w.events[EVOLVE_JUDGED], 301);
    assert_int_equal(w.events[EVOLVE_BEST], r.counts.promoted);
    assert_true(w.events[EVOLVE_MIGRATION] > 0 && w.events[EVOLVE_RESULT] == 1 && w.events[EVOLVE_CONTROL] == 2);
    assert_false(w.best_fell);
    /* Identical code is judged once: judgements, less than programs by the known ones and failed builds. */
    assert_true(f.candidates < 301 - r.counts.same + 1);
    assert_true(r.speedup.median > 3 && r.speedup.low < r.speedup.median);
    assert_true(r.n_lineage > 3 && !strcmp(r.root_origin, "initial") && r.evolved_speedup.median == r.speedup.median);
    char *source = read_output("best/best_program.c"), *info = read_output("best/best_program_info.json"),
         *table = read_output("portfolio/dispatch.txt");
    expect_in(source, "int digits[8]");
    const char *keys[] = {"\"valid\": true",  "\"combined_score\"",  "\"parent_id\": \"",   "\"generation\"",
                          "\"saved_at\"",     "\"language\": \"c\"", "\"fma_peak_gflops\"", "\"candidates\": 301",
                          "\"tokens_per_s\"", "\"evolved_speedup\"", "\"controls\""};
    for (int i = 0; i < ATN_COUNT(keys); i++) expect_in(info, keys[i]);
    expect_in(table, "decode full d64 f32 gqa2 t1");
    expect_in(table, "default");
    free(source);
    free(info);
    free(table);
    evolve_result_free(&r);
}

static void stops(void **state)
{
    (void)state;
    fake_judge f;
    watcher w = {.stop_after = 20};
    evolve_result r;
    atn_error err = {0};
    evolve_options o = options(0);
    fake_init(&f);
    if (go(o, &f, fake_proposer(), &w, &r, &err)) fail_msg("%s", err.text);
    assert_int_equal(r.stop, EVOLVE_STOP_INTERRUPTED);
    assert_int_equal(r.counts.judged, 20);
    assert_true(r.final_from_chain && r.winner && r.speedup.median > 1);
    free(read_output("best/best_program.c"));
    int64_t judged = r.counts.judged;

    o.resume = true;
    o.plateau = 60;
    w = (watcher){0};
    if (go(o, &f, fake_proposer(), &w, &r, &err)) fail_msg("%s", err.text);
    assert_int_equal(r.stop, EVOLVE_STOP_PLATEAU);
    assert_true(r.counts.judged > judged && r.counts.since_best >= 60);

    o.plateau = 0;
    o.target_speedup = 1.5;
    if (go(o, &f, fake_proposer(), &w, &r, &err)) fail_msg("%s", err.text);
    assert_int_equal(r.stop, EVOLVE_STOP_TARGET);

    o.target_speedup = 0;
    o.minutes = r.minutes + 0.01;
    double before = clock_s();
    if (go(o, &f, fake_proposer(), &w, &r, &err)) fail_msg("%s", err.text);
    assert_int_equal(r.stop, EVOLVE_STOP_MINUTES);
    assert_true(clock_s() - before < 3 && r.minutes >= o.minutes);
}

/* Ctrl-C while the judge is busy (or waits for the machine's timing lock): the run ends within a second, and nothing of
 * what
 * was under way is taken for a verdict. */
static void stops_while_judging_if(bool cancellable)
{
    static fake_judge judges[2]; /* an abandoned call still uses its own */
    fake_judge *f = &judges[cancellable];
    watcher w = {.stop_slow = true};
    evolve_result r;
    atn_error err = {0};
    evolve_options o = options(0);
    fake_init(f);
    f->slow_after = 5;
    f->face.cancel = cancellable ? fake_cancel : NULL;
    double before = clock_s();
    if (go(o, f, fake_proposer(), &w, &r, &err)) fail_msg("%s", err.text);
    assert_true(clock_s() - before < 4); /* the call takes 30 s */
    assert_int_equal(f->face.abandoned, !cancellable);
    assert_false(f->cancelled);
    f->cancelled = true; /* whatever was left behind ends */
    assert_int_equal(r.stop, EVOLVE_STOP_INTERRUPTED);
    assert_true(r.winner > 0);
    free(read_output("best/best_program.c"));
    atn_error err2 = {0};
    static fake_judge g;
    fake_init(&g);
    o.resume = true;
    o.iterations = 30;
    w = (watcher){0};
    if (go(o, &g, fake_proposer(), &w, &r, &err2)) fail_msg("%s", err2.text);
    assert_int_equal(r.counts.evolved, 30);
}

static void stops_while_judging(void **state)
{
    (void)state;
    stops_while_judging_if(false);
}

static void stops_and_cancels(void **state)
{
    (void)state;
    stops_while_judging_if(true);
}

static void refuses(void **state)
{
    (void)state;
    fake_judge f;
    watcher w = {0};
    evolve_result r;
    atn_error err = {0};
    evolve_options o = options(5);
    fake_init(&f);
    o.resume = true;
    assert_int_equal(go(o, &f, fake_proposer(), &w, &r, &err), ATN_NOT_FOUND);
    o.resume = false;
    if (go(o, &f, fake_proposer(), &w, &r, &err)) fail_msg("%s", err.text);
    o.resume = true;
    o.tolerance = 2;
    assert_int_equal(go(o, &f, fake_proposer(), &w, &r, &err), ATN_MISMATCH);
    expect_in(err.text, "another evaluator: its tolerance is '1', here it is '2'");
    o.tolerance = 1;
    snprintf(f.face.compiler, sizeof f.face.compiler, "fake 2");
    assert_int_equal(go(o, &f, fake_proposer(), &w, &r, &err), ATN_MISMATCH);
    expect_in(err.text, "compiler is 'fake 1'");
}

/* ---- the stored run ---- */

static atn_store *open_run(void)
{
    atn_store *s;
    atn_error err = {0};
    if (store_open(folder, STORE_READ, NULL, 0, &s, &err)) fail_msg("%s", err.text);
    return s;
}

/* The stored grid, one line per cell, programs named by their order of judgement. */
static char *grid_of(atn_store *s, const store_program *rows, int n)
{
    store_cell *cells;
    int n_cells;
    atn_text t = {0};
    assert_int_equal(store_cells(s, &cells, &n_cells, NULL), ATN_OK);
    for (int i = 0; i < n_cells; i++) {
        int64_t seq = 0;
        for (int k = 0; k < n; k++)
            if (rows[k].made.id == cells[i].program) seq = rows[k].seq;
        text_addf(&t, "%d %s %" PRId64 "\n", cells[i].island, cells[i].key, seq);
    }
    free(cells);
    return text_take(&t);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The archive rebuilt from the stored programs alone, in the same form. */
static char *rebuilt(const store_program *rows, int n)
{
    atn_archive a;
    archive_init(&a, 4, 10, 64);
    for (int i = 0; i < n; i++)
        archive_add(&a, rows[i].seq, i ? rows[i].made.island : -1,
                    rows[i].correct && !rows[i].same_as ? rows[i].cell : NULL, rows[i].score_low, NULL);
    char *line[1024];
    int lines = 0;
    for (int i = 0; i < a.islands; i++)
        for (int k = 0; k < a.island[i].n; k++)
            line[lines++] = atn_format("%d %s %" PRId64 "\n", i, a.island[i].cell[k].key, a.island[i].cell[k].program);
    qsort(line, (size_t)lines, sizeof *line, by_text);
    atn_text t = {0};
    for (int i = 0; i < lines; i++) {
        text_add(&t, line[i]);
        free(line[i]);
    }
    archive_free(&a);
    return text_take(&t);
}

static void check_run(atn_store *s, const store_program *rows, int n)
{
    for (int i = 0; i < n; i++) assert_int_equal(rows[i].seq, i + 1);
    char *a = grid_of(s, rows, n), *b = rebuilt(rows, n);
    assert_true(strlen(a) > 10);
    if (strcmp(a, b)) fail_msg("stored grid:\n%srebuilt:\n%s", a, b);
    free(a);
    free(b);
}

/* Runs the child that evolves until it is killed or done; true: done. */
static bool killed_after(double seconds, bool resume, int64_t iterations)
{
    pid_t child = fork();
    if (child == 0) {
        fake_judge f;
        watcher w = {0};
        evolve_result r;
        atn_error err = {0};
        evolve_options o = options(iterations);
        fake_init(&f);
        f.judge_us = 300;
        o.resume = resume;
        atn_status st = go(o, &f, fake_proposer(), &w, &r, &err);
        if (st) fprintf(stderr, "# %s\n", err.text);
        _exit(st == ATN_OK ? 0 : 1);
    }
    nanosleep(&(struct timespec){.tv_nsec = (long)(seconds * 1e9)}, NULL);
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status)) fail_msg("the child failed (T_RESUME_SEED=%" PRIu64 ")", seed);
    return WIFEXITED(status);
}

static void replay_gives_the_same(const store_program *rows, int n, char *const *sources, const char *grid)
{
    fake_judge f;
    watcher w = {0};
    evolve_result r;
    atn_error err = {0};
    char first[64];
    memcpy(first, folder, sizeof first);
    snprintf(folder, sizeof folder, "%.40s/replay", first);
    evolve_options o = options(0);
    fake_init(&f);
    f.rows = rows;
    f.n_rows = n;
    o.control_races = 0;
    o.final_seconds = 0;
    if (go(o, &f, fake_replayer(rows, n, sources), &w, &r, &err)) fail_msg("%s", err.text);
    assert_int_equal(r.stop, EVOLVE_STOP_EXHAUSTED);
    atn_store *s = open_run();
    store_program *again;
    int m;
    assert_int_equal(store_programs(s, 0, false, &again, &m, NULL), ATN_OK);
    assert_int_equal(m, n);
    for (int i = 0; i < n; i++) {
        bool equal =
            !memcmp(&rows[i].score, &again[i].score, sizeof(double)) || (isnan(rows[i].score) && isnan(again[i].score));
        if (!equal || strcmp(rows[i].made.sha, again[i].made.sha) || rows[i].promoted != again[i].promoted)
            fail_msg("program %d differs in the replay: %.17g, %.17g (T_RESUME_SEED=%" PRIu64 ")", i + 1, rows[i].score,
                     again[i].score, seed);
    }
    char *g = grid_of(s, again, m);
    if (strcmp(g, grid)) fail_msg("grid:\n%sreplayed:\n%s", grid, g);
    free(g);
    store_programs_free(again, m);
    store_close(s);
    memcpy(folder, first, sizeof folder);
}

static void survives_kills(void **state)
{
    (void)state;
    enum { KILLS = 30, ITERATIONS = 2000 };
    int64_t seen = 0;
    double last_score = NAN;
    int done = 0, kills = 0;
    atn_rng rng = rng_make(seed, 3, 0);
    /* Below 2 ms a kill may come before the run exists. */
    while (!file_exists(folder) || kills < KILLS) {
        char *db = file_join(folder, "run.db");
        bool resume = seen > 0 || (file_exists(db) && kills > 3);
        free(db);
        if (killed_after(0.03 + 0.09 * rng_f64(&rng), resume, ITERATIONS)) {
            done++;
            break;
        }
        kills++;
        atn_store *s = NULL;
        if (store_open(folder, STORE_READ, NULL, 0, &s, NULL)) {
            assert_int_equal(seen, 0);
            continue;
        }
        store_program *rows;
        int n;
        assert_int_equal(store_programs(s, 0, false, &rows, &n, NULL), ATN_OK);
        if (n < seen)
            fail_msg("%" PRId64 " programs were judged, %d are left (T_RESUME_SEED=%" PRIu64 ")", seen, n, seed);
        if (seen && (rows[seen - 1].score != last_score && !isnan(last_score)))
            fail_msg("program %" PRId64 " changed its score (T_RESUME_SEED=%" PRIu64 ")", seen, seed);
        if (n) {
            check_run(s, rows, n);
            seen = n;
            last_score = rows[n - 1].score;
        }
        store_programs_free(rows, n);
        store_close(s);
    }
    print_message("# %d kills, %" PRId64 " programs judged before the last (T_RESUME_SEED=%" PRIu64 ")\n", kills, seen,
                  seed);
    assert_true(kills >= 20 || done);
    assert_true(seen > 20);
    /* Undisturbed to the end. */
    fake_judge f;
    watcher w = {0};
    evolve_result r;
    atn_error err = {0};
    evolve_options o = options(seen + 40);
    fake_init(&f);
    o.resume = true;
    if (go(o, &f, fake_proposer(), &w, &r, &err)) fail_msg("%s", err.text);
    assert_int_equal(r.counts.evolved, seen + 40);
    atn_store *s = open_run();
    store_program *rows;
    store_proposal *left;
    int n, n_left;
    assert_int_equal(store_programs(s, 0, false, &rows, &n, NULL), ATN_OK);
    assert_int_equal(n, r.counts.judged);
    assert_int_equal(store_proposals_open(s, &left, &n_left, NULL), ATN_OK);
    assert_int_equal(n_left, 0);
    store_proposals_free(left, n_left);
    check_run(s, rows, n);
    char *grid = grid_of(s, rows, n), **sources = atn_alloc((size_t)n * sizeof *sources);
    for (int i = 0; i < n; i++) sources[i] = store_blob_get(s, rows[i].made.sha);
    store_close(s);
    replay_gives_the_same(rows, n, sources, grid);
    for (int i = 0; i < n; i++) free(sources[i]);
    free(sources);
    free(grid);
    store_programs_free(rows, n);
}

/* Every demotion is on record, its program holds no cell, and the store's incumbent is `winner`. */
static void check_demotions(int demoted, int64_t winner)
{
    atn_store *s = open_run();
    store_measurement *m;
    store_cell *cells;
    store_progress progress;
    int n, n_cells;
    assert_int_equal(store_measurements(s, "demotion", &m, &n, NULL), ATN_OK);
    assert_int_equal(n, demoted);
    assert_int_equal(store_cells(s, &cells, &n_cells, NULL), ATN_OK);
    for (int i = 0; i < n; i++) {
        expect_in(m[i].json, "row 5 is off");
        for (int k = 0; k < n_cells; k++) assert_int_not_equal(cells[k].program, m[i].program);
    }
    assert_int_equal(store_progress_get(s, &progress, NULL), ATN_OK);
    assert_int_equal(progress.incumbent, winner);
    free(cells);
    store_measurements_free(m, n);
    store_close(s);
}

/* Most programs begin to fail once they are the best: the run goes on with the next best, and resumed twice it agrees
 * with what it did. Where the best fails only beside others, it may try three times. */
static void demotes_the_best(bool fails_alone)
{
    enum { FROM = 40, MORE = 30 };
    fake_judge f;
    watcher w = {0};
    evolve_result r;
    atn_error err = {0};
    evolve_options o = options(60);
    fake_init(&f);
    f.fails_from = FROM;
    f.fails_alone = fails_alone;
    for (int part = 0; part < 3; part++, o.resume = true, o.iterations += MORE) {
        if (go(o, &f, fake_proposer(), &w, &r, &err)) fail_msg("part %d: %s", part, err.text);
        assert_int_equal(r.stop, EVOLVE_STOP_ITERATIONS);
        assert_int_equal(r.counts.evolved, o.iterations);
        check_demotions(w.events[EVOLVE_DEMOTED], r.winner);
        char *source = read_output("best/best_program.c");
        assert_int_equal(source[strcspn(source, "{") + 1], '0');
        free(source);
        evolve_result_free(&r);
    }
    assert_true(w.events[EVOLVE_DEMOTED] > 3 && w.best_fell);
    if (fails_alone) assert_int_equal(w.retries, 0);
    else assert_true(w.retries >= 2);
}

static void demotes(void **state)
{
    (void)state;
    demotes_the_best(true);
}

static void demotes_after_three(void **state)
{
    (void)state;
    demotes_the_best(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_the_hill, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(stops, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(stops_while_judging, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(stops_and_cancels, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(refuses, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(demotes, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(demotes_after_three, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(survives_kills, fresh_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
