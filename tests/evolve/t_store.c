/* The run database: what was put in comes out, nothing is lost, and what must not be mixed is refused in words. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "fake.h"
#include "store/store.h"

static char folder[64];
static const store_pair here[] = {{"machine", "cpu A avx2"}, {"threads", "1"}, {"suite", "f32 h1 s1 d64"}};

static int fresh_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/t_store.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

static atn_store *open_ok(store_mode mode)
{
    atn_store *s;
    atn_error err = {0};
    if (store_open(folder, mode, here, 3, &s, &err)) fail_msg("%s", err.text);
    return s;
}

static int64_t propose(atn_store *s, const char *source, int64_t parent)
{
    store_proposal p = {.island = 2,
                        .parent1 = parent,
                        .proposer = "knobs",
                        .origin = "knobs/mutate1",
                        .note = "BR 48 -> 64",
                        .source = (char *)source,
                        .flags = "-O2",
                        .t = 1.5};
    atn_error err = {0};
    if (store_proposal_add(s, &p, &err)) fail_msg("%s", err.text);
    return p.id;
}

static store_program program_of(int64_t id, int64_t seq, store_case *c)
{
    *c = (store_case){.case_index = 3,
                      .log_ratio = 0.25,
                      .log_low = 0.125,
                      .log_high = 1.0 / 3,
                      .log_speedup = 2.5,
                      .pairs = 64,
                      .ns_min = 1234.5,
                      .incumbent_ns_min = NAN,
                      .error = 1e-7,
                      .workspace_bytes = 1 << 20};
    return (store_program){.made = {.id = id},
                           .seq = seq,
                           .generation = 4,
                           .incumbent = 1,
                           .object_hash = "abc",
                           .correct = true,
                           .promoted = seq == 2,
                           .screened = true,
                           .state = "right",
                           .stage = "race",
                           .reason = "not_better",
                           .evidence = "it's \"so\"",
                           .reproduce = "attune eval x.c",
                           .compiler = "gcc 12.2.0",
                           .score = 0.1 + 0.2,
                           .score_low = -1.0 / 3,
                           .score_high = NAN,
                           .error = 3e-7,
                           .workspace_bytes = 77,
                           .profile = NAN,
                           .decode = -0.5,
                           .cell = "p+1 w7 d+0",
                           .t = 9.25,
                           .seconds_build = 1,
                           .seconds_judge = 2,
                           .verdict = "{\"a\":1}",
                           .cases = c,
                           .n_cases = 1};
}

static void round_trip(void **state)
{
    (void)state;
    atn_store *s = open_ok(STORE_CREATE);
    atn_error err = {0};
    int64_t a = propose(s, "int x;\n", 0), b = propose(s, "int y;\n", a), c = propose(s, "int x;\n", b);
    assert_int_equal(a, 1);
    assert_int_equal(c, 3);
    store_proposal *open;
    int n;
    assert_int_equal(store_proposals_open(s, &open, &n, &err), ATN_OK);
    assert_int_equal(n, 3);
    assert_string_equal(open[2].source, "int x;\n");
    assert_string_equal(open[0].sha, open[2].sha);
    assert_int_equal(open[1].parent1, a);
    store_proposals_free(open, n);

    store_case kase;
    store_program p = program_of(b, 1, &kase);
    assert_int_equal(store_begin(s, &err), ATN_OK);
    assert_int_equal(store_program_add(s, &p, &err), ATN_OK);
    assert_int_equal(store_cell_add(s, 1, 0, "k1", b, &err), ATN_OK);
    assert_int_equal(store_cell_add(s, 1, 0, "k2", b, &err), ATN_OK);
    assert_int_equal(store_cell_add(s, 1, 1, "k1", b, &err), ATN_OK);
    assert_int_equal(store_cell_add(s, 2, 0, "k1", a, &err), ATN_OK);
    assert_int_equal(store_cell_add(s, 2, 0, "k2", 0, &err), ATN_OK);
    assert_int_equal(store_commit(s, &err), ATN_OK);
    assert_int_equal(store_event_add(s, 20, "{\"event\":\"x\"}", &err), ATN_OK);
    assert_int_equal(store_measurement_add(s, "control", b, 0, 3, "{}", &err), ATN_OK);
    store_close(s);

    s = open_ok(STORE_READ);
    store_program q;
    assert_int_equal(store_program_get(s, b, &q, &err), ATN_OK);
    assert_true(q.score == p.score && q.score_low == p.score_low && isnan(q.score_high) && isnan(q.profile));
    assert_true(q.screened && q.correct && !q.promoted && q.generation == 4 && q.incumbent == 1 && q.same_as == 0);
    assert_string_equal(q.evidence, p.evidence);
    assert_string_equal(q.made.source, "int y;\n");
    assert_string_equal(q.made.note, "BR 48 -> 64");
    assert_string_equal(q.verdict, p.verdict);
    assert_null(q.confirm);
    assert_int_equal(q.n_cases, 1);
    assert_true(q.cases[0].log_high == kase.log_high && isnan(q.cases[0].incumbent_ns_min));
    store_program_clear(&q);
    assert_int_equal(store_program_get(s, c, &q, &err), ATN_NOT_FOUND);
    store_cell *cells;
    assert_int_equal(store_cells(s, &cells, &n, &err), ATN_OK);
    assert_int_equal(n, 2);
    assert_true(cells[0].island == 0 && cells[0].program == a && !strcmp(cells[0].key, "k1"));
    assert_true(cells[1].island == 1 && cells[1].program == b);
    free(cells);
    store_progress g;
    assert_int_equal(store_progress_get(s, &g, &err), ATN_OK);
    assert_true(g.programs == 1 && g.proposals == 3 && g.seq_last == 1 && g.t_last == 20 && g.incumbent == 0);
    store_measurement *m;
    assert_int_equal(store_measurements(s, "control", &m, &n, &err), ATN_OK);
    assert_int_equal(n, 1);
    store_measurements_free(m, n);
    store_event *ev;
    assert_int_equal(store_events(s, 0, 0, &ev, &n, &err), ATN_OK);
    assert_int_equal(n, 1);
    store_events_free(ev, n);
    store_close(s);
}

/* Pairs come back bit for bit, in order of case and time; a database of the first schema reads as having none and is
 * brought up to date by a resume. */
static void races(void **state)
{
    (void)state;
    atn_store *s = open_ok(STORE_CREATE);
    atn_error err = {0};
    int64_t a = propose(s, "int x;\n", 0), b = propose(s, "int y;\n", a);
    store_case kase;
    store_program first = program_of(a, 1, &kase), second = program_of(b, 2, &kase);
    assert_int_equal(store_program_add(s, &first, &err), ATN_OK);
    assert_int_equal(store_program_add(s, &second, &err), ATN_OK);
    float d[512];
    for (int i = 0; i < 512; i++) d[i] = 0.01f * (float)(i % 7) - 0.03f;
    store_race add[] = {{b, a, "confirm", 1, 512, 0.25, d}, {b, a, "race", 1, 8, -0.5, d + 1}, {b, a, "race", 0, 3, 0, d + 9}};
    for (int i = 0; i < 3; i++) assert_int_equal(store_race_add(s, &add[i], &err), ATN_OK);
    assert_int_equal(store_evidence_add(s, b, "{\"x\":1}", &err), ATN_OK);
    store_close(s);
    s = open_ok(STORE_READ);
    store_race *r;
    int n;
    assert_int_equal(store_races(s, b, NULL, &r, &n, &err), ATN_OK);
    assert_int_equal(n, 3);
    assert_true(r[0].case_index == 0 && r[0].n == 3 && !memcmp(r[0].d, d + 9, 3 * sizeof *d));
    assert_true(!strcmp(r[1].kind, "confirm") && r[1].effect == 0.25 && !memcmp(r[1].d, d, sizeof d));
    assert_true(r[2].against == a && r[2].program == b && r[2].n == 8);
    store_races_free(r, n);
    assert_int_equal(store_races(s, b, "race", &r, &n, &err), ATN_OK);
    assert_int_equal(n, 2);
    store_races_free(r, n);
    assert_int_equal(store_races(s, a, NULL, &r, &n, &err), ATN_OK);
    assert_int_equal(n, 0);
    char *json = store_evidence_get(s, b);
    assert_string_equal(json, "{\"x\":1}");
    free(json);
    assert_null(store_evidence_get(s, a));
    store_close(s);

    char *db = file_join(folder, "run.db");
    char *command = atn_format("sqlite3 '%s' 'DROP TABLE race; DROP TABLE evidence; PRAGMA user_version=1' 2>/dev/null", db);
    if (system(command) != 0) {
        print_message("# older schema not tested: no sqlite3 command\n");
    } else {
        s = open_ok(STORE_READ);
        assert_int_equal(store_races(s, b, NULL, &r, &n, &err), ATN_OK);
        assert_int_equal(n, 0);
        assert_null(store_evidence_get(s, b));
        store_close(s);
        s = open_ok(STORE_RESUME);
        assert_int_equal(store_race_add(s, &add[0], &err), ATN_OK);
        assert_int_equal(store_races(s, b, NULL, &r, &n, &err), ATN_OK);
        assert_int_equal(n, 1);
        store_races_free(r, n);
        store_program got;
        assert_int_equal(store_program_get(s, b, &got, &err), ATN_OK);
        store_program_clear(&got);
        store_close(s);
    }
    free(command);
    free(db);
}

static void expect_refusal(store_mode mode, const store_pair *id, int n, atn_status want, const char *word,
                           const char *word2)
{
    atn_store *s = NULL;
    atn_error err = {0};
    atn_status st = store_open(folder, mode, id, n, &s, &err);
    assert_null(s);
    if (st != want || !strstr(err.text, word) || !strstr(err.text, word2))
        fail_msg("status %d (want %d), text: %s", st, want, err.text);
}

static void refusals(void **state)
{
    (void)state;
    char *db = file_join(folder, "run.db");
    expect_refusal(STORE_RESUME, here, 3, ATN_NOT_FOUND, "no run to resume", "without --resume");
    expect_refusal(STORE_READ, here, 3, ATN_NOT_FOUND, "no run in", folder);
    /* What a kill before the first commit leaves is no run; a new one may start there. */
    assert_int_equal(file_write(db, "", 0, NULL), ATN_OK);
    expect_refusal(STORE_RESUME, here, 3, ATN_NOT_FOUND, "before it recorded anything", "--resume");
    atn_store *s = open_ok(STORE_CREATE);
    expect_refusal(STORE_RESUME, here, 3, ATN_BUSY, "another attune is running", "-o");
    store_close(s);

    store_pair other[3];
    memcpy(other, here, sizeof other);
    other[0].value = "cpu B avx512";
    expect_refusal(STORE_RESUME, other, 3, ATN_MISMATCH, "another machine", "cpu B avx512");
    expect_refusal(STORE_CREATE, other, 3, ATN_MISMATCH, "'cpu A avx2'", "--resume on that machine");
    memcpy(other, here, sizeof other);
    other[1].value = "2";
    expect_refusal(STORE_RESUME, other, 3, ATN_MISMATCH, "threads is '1', here it is '2'", "-o");

    /* The same machine and evaluator: an earlier run is kept aside, never overwritten. */
    s = open_ok(STORE_CREATE);
    assert_non_null(store_kept_aside(s));
    assert_true(file_exists(store_kept_aside(s)));
    store_close(s);

    char *command = atn_format("sqlite3 '%s' 'PRAGMA user_version=99' 2>/dev/null", db);
    if (system(command) == 0) expect_refusal(STORE_RESUME, here, 3, ATN_MISMATCH, "newer attune", "schema 99");
    else print_message("# newer schema not tested: no sqlite3 command\n");
    free(command);

    char noise[8192];
    memset(noise, 'x', sizeof noise);
    assert_int_equal(file_write(db, noise, sizeof noise, NULL), ATN_OK);
    expect_refusal(STORE_RESUME, here, 3, ATN_FORMAT, "not a run database", "-o");
    expect_refusal(STORE_CREATE, here, 3, ATN_FORMAT, "not a run database", "-o");
    expect_refusal(STORE_READ, here, 3, ATN_FORMAT, "not a run database", "-o");
    free(db);
}

static void full_disk(void **state)
{
    (void)state;
    atn_store *s = open_ok(STORE_CREATE);
    atn_error err = {0};
    char big[20000];
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = 0;
    int64_t ok = propose(s, "int first;\n", 0);
    store_limit_pages(s, 40);
    atn_status st = ATN_OK;
    int64_t kept = ok;
    for (int i = 0; i < 100 && !st; i++) {
        big[0] = (char)('0' + i % 10);
        big[1] = (char)('0' + i / 10);
        store_proposal p = {.proposer = "x", .origin = "x", .note = "", .source = big, .flags = ""};
        st = store_proposal_add(s, &p, &err);
        if (!st) kept = p.id;
    }
    assert_int_equal(st, ATN_IO);
    assert_true(store_full(s));
    if (!strstr(err.text, "disk is full") || !strstr(err.text, "--resume")) fail_msg("%s", err.text);
    store_close(s);
    s = open_ok(STORE_RESUME);
    store_proposal *open;
    int n;
    assert_int_equal(store_proposals_open(s, &open, &n, &err), ATN_OK);
    assert_int_equal(n, kept);
    store_proposals_free(open, n);
    store_close(s);
}

/* Every field of a verdict survives, odd numbers and cut text included. */
static void verdicts(void **state)
{
    (void)state;
    atn_verdict v, w;
    memset(&v, 0, sizeof v);
    v = (atn_verdict){.stage = ATN_STAGE_RACE,
                      .reason = ATN_REASON_LATE_WORK,
                      .correct = true,
                      .promoted = true,
                      .evidence = "a \"b\"\n\\",
                      .reproduce = "attune eval",
                      .error = 0.1 + 0.2,
                      .error_of_tolerance = INFINITY,
                      .checks = 3,
                      .checks_passed = 2,
                      .stability = 5,
                      .stability_passed = 4,
                      .robustness = 7,
                      .robustness_passed = 6,
                      .refused = 1,
                      .workspace_bytes = (int64_t)1 << 40,
                      .n_cases = 2,
                      .suite_log = -1.0 / 3,
                      .suite_low = -INFINITY,
                      .suite_high = 5e-324,
                      .seconds_build = 1,
                      .seconds_check = 2,
                      .seconds_race = 3,
                      .late_cpu_us = 4};
    v.cases[1] = (atn_case_result){.case_index = 9,
                                   .log_ratio = 1.0 / 7,
                                   .log_low = -0.0,
                                   .log_high = 2,
                                   .pairs = 256,
                                   .ns_min = 1e300,
                                   .incumbent_ns_min = 1e-300,
                                   .error = 4,
                                   .workspace_bytes = 5};
    char *json = verdict_json(&v);
    atn_error err = {0};
    assert_int_equal(verdict_from_json(json, &w, &err), ATN_OK);
    char *again = verdict_json(&w);
    assert_string_equal(json, again);
    assert_true(w.suite_log == v.suite_log && w.suite_high == v.suite_high && isinf(w.suite_low) && w.error == v.error);
    assert_memory_equal(v.cases, w.cases, 2 * sizeof *v.cases);
    assert_string_equal(v.evidence, w.evidence);
    free(json);
    free(again);
    v.error = NAN;
    snprintf(v.evidence, sizeof v.evidence, "cut \xc3");
    json = verdict_json(&v);
    assert_int_equal(verdict_from_json(json, &w, &err), ATN_OK);
    assert_true(isnan(w.error) && !strcmp(w.evidence, "cut ?"));
    free(json);
    assert_int_equal(verdict_from_json("{\"stage\":\"race\",\"reason\":\"bribed\"}", &w, &err), ATN_FORMAT);
    assert_int_equal(verdict_from_json("{", &w, &err), ATN_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(refusals, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(races, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(full_disk, fresh_folder, remove_folder),
        cmocka_unit_test(verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
