/* A recorded campaign replayed: fifty answers of a mind through the mailbox, applied anew, judged by their recorded
 * verdicts, must lead to the recorded programs, the same decisions and the same archive. No clock takes part.
 *
 * The record: campaign/record.jsonl, written by campaign/record.py from a run's database. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "evolve/config.h"
#include "evolve/evolve.h"
#include "evolve/propose/answer.h"

static const char *program, *record_folder;
static json_t *lines;

#define fail_with(...) (print_error(__VA_ARGS__), print_error("\nrerun: %s '%s'\n", program, record_folder), fail())

static const char *text_at(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static int64_t int_at(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static char *read_in(const char *folder, const char *name)
{
    char *path = file_join(folder, name), *text = NULL;
    atn_error err = {0};
    if (file_read(path, 64 << 20, &text, NULL, &err)) fail_with("%s", err.text);
    free(path);
    return text;
}

static void write_in(const char *folder, const char *name, const char *text)
{
    char *path = file_join(folder, name);
    assert_int_equal(file_write(path, text, strlen(text), NULL), ATN_OK);
    free(path);
}

static int read_lines(void **state)
{
    (void)state;
    char *text = read_in(record_folder, "record.jsonl");
    lines = json_array();
    for (char *line = text, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        next += *next == '\n' ? (*next = 0, 1) : 0;
        json_t *o = json_loads(line, 0, NULL);
        if (!o) fail_with("a line of the record is no JSON: %.80s", line);
        json_array_append_new(lines, o);
    }
    free(text);
    return 0;
}

static int free_lines(void **state)
{
    (void)state;
    json_decref(lines);
    return 0;
}

/* The first line of that kind where `key` is `value` (key NULL: any). */
static const json_t *find(const char *kind, const char *key, const char *value)
{
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *o = json_array_get(lines, i);
        if (!strcmp(text_at(o, "kind"), kind) && (!key || !strcmp(text_at(o, key), value))) return o;
    }
    return NULL;
}

/* ---- a judge that knows its verdicts ---- */

struct evolve_build {
    build_result result;
};

static void verdict_of(const json_t *o, const char *key, atn_verdict *v)
{
    char *json = json_dumps(json_object_get(o, key), JSON_COMPACT);
    atn_error err = {0};
    if (!json || verdict_from_json(json, v, &err)) fail_with("%s: %s", key, err.text);
    free(json);
}

static atn_status start(void *ctx, const char *source, const char *flags, const char *original, evolve_build **out,
                        atn_error *err)
{
    (void)ctx, (void)flags, (void)original, (void)err;
    char sha[33];
    hash_hex(source, strlen(source), sha);
    const json_t *o = find("program", "sha", sha);
    evolve_build *b = atn_alloc(sizeof *b);
    b->result = (build_result){.stage = ATN_STAGE_BUILD, .reason = ATN_REASON_COMPILE, .so_fd = -1};
    snprintf(b->result.evidence, sizeof b->result.evidence, "no such program in the record");
    if (o) {
        atn_verdict v;
        verdict_of(o, "verdict", &v);
        bool failed = v.stage <= ATN_STAGE_BUILD && v.reason != ATN_REASON_OK;
        b->result.stage = failed ? v.stage : ATN_STAGE_BUILD;
        b->result.reason = failed ? v.reason : ATN_REASON_OK;
        snprintf(b->result.evidence, sizeof b->result.evidence, "%s", failed ? v.evidence : "");
        snprintf(b->result.object_hash, sizeof b->result.object_hash, "%s", text_at(o, "object_hash"));
    }
    *out = b;
    return ATN_OK;
}

static int no_fd(void *ctx, const evolve_build *b)
{
    (void)ctx, (void)b;
    return -1;
}

static bool step(void *ctx, evolve_build *b, build_result *out)
{
    (void)ctx;
    *out = b->result;
    free(b);
    return true;
}

static void cancel(void *ctx, evolve_build *b)
{
    (void)ctx;
    free(b);
}

static void release(void *ctx, build_result *r)
{
    (void)ctx;
    r->so_fd = -1;
}

static atn_status candidate(void *ctx, const build_result *x, const build_result *incumbent, atn_stage upto,
                            atn_verdict *v, atn_error *err)
{
    (void)ctx, (void)incumbent, (void)upto, (void)err;
    verdict_of(find("program", "object_hash", x->object_hash), "verdict", v);
    return ATN_OK;
}

static atn_status compare(void *ctx, const build_result *x, const build_result *y, int pairs, bool confirm,
                          bool full_size, double seconds, atn_verdict *v, atn_error *err)
{
    (void)ctx, (void)y, (void)pairs, (void)full_size, (void)seconds;
    const json_t *o = find("program", "object_hash", x->object_hash);
    if (!confirm || !json_object_get(o, "confirm"))
        return atn_fail(err, ATN_NOT_FOUND, "the record has no such comparison");
    verdict_of(o, "confirm", v);
    return ATN_OK;
}

/* ---- the replay ---- */

typedef struct {
    int warnings;
    char warning[300];
} watcher;

static void watch(void *ctx, const evolve_event *e)
{
    watcher *w = ctx;
    if (e->type == EVOLVE_WARNING && !w->warnings++) snprintf(w->warning, sizeof w->warning, "%s", e->text);
}

static void suite_of(const char *text, atn_suite *s)
{
    *s = (atn_suite){0};
    char *all = atn_strdup(text), *rest = all;
    for (char *one; (one = strsep(&rest, ";"));) {
        atn_error err = {0};
        while (*one == ' ') one++;
        if (suite_add_case(s, one, &err)) fail_with("%s", err.text);
    }
    free(all);
}

/* Replays the record in `from`; the run is left in `to`. */
static void replay(const char *from, const char *to, watcher *w)
{
    const json_t *run = find("run", NULL, NULL);
    atn_config *c = config_create();
    atn_suite suite;
    atn_error err = {0};
    evolve_result r;
    char *set = atn_format("replay.run=%s", from), *source = read_in(from, "initial_program.c");
    evolve_judge judge = {.build_start = start,
                          .build_fd = no_fd,
                          .build_step = step,
                          .build_cancel = cancel,
                          .build_release = release,
                          .candidate = candidate,
                          .compare = compare,
                          .version = "recorded"};
    snprintf(judge.compiler, sizeof judge.compiler, "%s", text_at(run, "compiler"));
    suite_of(text_at(run, "suite"), &suite);
    if (config_set(c, set, &err)) fail_with("%s", err.text);
    atn_proposer *p = proposer_replay_create(c, &err);
    if (!p) fail_with("%s", err.text);
    evolve_options o = evolve_defaults();
    o.folder = to;
    o.initial_source = source;
    o.initial_path = "initial_program.c";
    o.n_shipped = -1;
    o.suite = &suite;
    o.seed = (uint64_t)int_at(run, "seed");
    o.islands = (int)int_at(run, "islands");
    o.migrate_every = (int)int_at(run, "migrate_every");
    o.cells_max = (int)int_at(run, "cells");
    o.build_jobs = 1;
    o.final_seconds = 0;
    o.control_races = 0;
    o.proposers[0] = p;
    o.n_proposers = 1;
    o.event = watch;
    o.event_ctx = w;
    *w = (watcher){0};
    if (evolve_run(&o, &judge, &r, &err)) fail_with("%s", err.text);
    assert_int_equal(r.stop, EVOLVE_STOP_EXHAUSTED);
    evolve_result_free(&r);
    p->destroy(p);
    suite_free(&suite);
    config_free(c);
    free(source);
    free(set);
}

/* Programs in order of judgement with their fate, then the cells: what must be equal. */
static char *recorded(void)
{
    atn_text t = {0};
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *o = json_array_get(lines, i);
        if (!strcmp(text_at(o, "kind"), "program"))
            text_addf(&t, "%" PRId64 " %" PRId64 " %s %s %s %s %" PRId64 " %.17g\n", int_at(o, "id"), int_at(o, "seq"),
                      text_at(o, "sha"), text_at(o, "state"), text_at(o, "reason"), text_at(o, "cell"),
                      int_at(o, "promoted"),
                      json_is_number(json_object_get(o, "score_low"))
                          ? json_number_value(json_object_get(o, "score_low"))
                          : (double)-INFINITY);
        if (!strcmp(text_at(o, "kind"), "cell"))
            text_addf(&t, "%" PRId64 " %s: %" PRId64 "\n", int_at(o, "island"), text_at(o, "key"),
                      int_at(o, "program"));
    }
    return text_take(&t);
}

static char *replayed(const char *folder)
{
    atn_store *s;
    store_program *rows;
    store_cell *cells;
    int n, n_cells;
    atn_text t = {0};
    assert_int_equal(store_open(folder, STORE_READ, NULL, 0, &s, NULL), ATN_OK);
    assert_int_equal(store_programs(s, 0, false, &rows, &n, NULL), ATN_OK);
    assert_int_equal(store_cells(s, &cells, &n_cells, NULL), ATN_OK);
    for (int i = 0; i < n; i++)
        text_addf(&t, "%" PRId64 " %" PRId64 " %s %s %s %s %d %.17g\n", rows[i].made.id, rows[i].seq, rows[i].made.sha,
                  rows[i].state, rows[i].reason, rows[i].cell ? rows[i].cell : "", rows[i].promoted,
                  isnan(rows[i].score_low) ? (double)-INFINITY : rows[i].score_low);
    for (int i = 0; i < n_cells; i++)
        text_addf(&t, "%d %s: %" PRId64 "\n", cells[i].island, cells[i].key, cells[i].program);
    free(cells);
    store_programs_free(rows, n);
    store_close(s);
    return text_take(&t);
}

static char folder[64];

static int fresh_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/t_campaign.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

static void enough_answers(void **state)
{
    (void)state;
    int answers = 0, failed = 0, better = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *o = json_array_get(lines, i);
        answers += !strcmp(text_at(o, "kind"), "answer") && *text_at(o, "prompt") && *text_at(o, "answer");
        failed += !strcmp(text_at(o, "state"), "failed");
        better += !strcmp(text_at(o, "state"), "better");
    }
    assert_true(answers >= 40);
    assert_true(failed > 0 && better > 3);
}

static void same_archive(void **state)
{
    (void)state;
    watcher w;
    replay(record_folder, folder, &w);
    if (w.warnings) fail_with("%s", w.warning);
    char *want = recorded(), *got = replayed(folder);
    if (strcmp(want, got)) fail_with("the replay differs\nrecorded:\n%s\nreplayed:\n%s", want, got);
    free(want);
    free(got);
}

/* Every answer says again what it said then, refused ones too. */
static void same_reading(void **state)
{
    (void)state;
    watcher w;
    atn_store *s;
    int n = 0;
    replay(record_folder, folder, &w);
    assert_int_equal(store_open(folder, STORE_READ, NULL, 0, &s, NULL), ATN_OK);
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *o = json_array_get(lines, i);
        if (strcmp(text_at(o, "kind"), "answer") != 0) continue;
        char *name = atn_format("answers/%s", text_at(o, "answer")), *text = read_in(record_folder, name),
             *on = store_blob_get(s, text_at(o, "on")), sha[33] = "";
        if (!on) fail_with("%s: the program that it was about is not in the replay", name);
        answer_program a;
        bool ok = answer_apply(text, on, NULL, &a);
        if (ok) hash_hex(a.source, strlen(a.source), sha);
        const char *was = text_at(o, "outcome");
        if (ok ? strcmp(was, "ok") && strcmp(was, "known") : strcmp(was, answer_word(a.outcome)))
            fail_with("%s was '%s', is '%s': %s", name, was, answer_word(a.outcome), a.problem);
        if (!strcmp(was, "ok") && strcmp(sha, text_at(o, "source")))
            fail_with("%s leads to another program than recorded", name);
        answer_free(&a);
        free(on);
        free(text);
        free(name);
        n++;
    }
    assert_true(n >= 40);
    store_close(s);
}

/* The test can fail: one character of one answer, and the replay says so and ends elsewhere. */
static void another_answer(void **state)
{
    (void)state;
    watcher w;
    char *copy = file_join(folder, "record"), *answers = file_join(copy, "answers"), *run = file_join(folder, "run");
    assert_int_equal(file_mkdirs(answers, NULL), ATN_OK);
    static const char *const whole[] = {"record.jsonl", "initial_program.c"};
    for (int i = 0; i < ATN_COUNT(whole); i++) {
        char *text = read_in(record_folder, whole[i]);
        write_in(copy, whole[i], text);
        free(text);
    }
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *o = json_array_get(lines, i);
        if (strcmp(text_at(o, "kind"), "answer") != 0) continue;
        char *name = atn_format("answers/%s", text_at(o, "answer")), *text = read_in(record_folder, name);
        if (int_at(o, "number") == 14) {
            size_t at = 0;
            while (strncmp(text + at, "#define RB 6", 12) != 0) assert_true(text[at++] != 0);
            text[at + 11] = '4';
        }
        write_in(copy, name, text);
        free(text);
        free(name);
    }
    replay(copy, run, &w);
    char *want = recorded(), *got = replayed(run);
    assert_true(w.warnings > 0 && strstr(w.warning, "leads to another program"));
    assert_string_not_equal(want, got);
    free(want);
    free(got);
    free(run);
    free(answers);
    free(copy);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enough_answers),
        cmocka_unit_test_setup_teardown(same_archive, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(same_reading, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(another_answer, fresh_folder, remove_folder),
    };
    program = argv[0];
    record_folder = argc > 1 ? argv[1] : "tests/propose/campaign";
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, read_lines, free_lines);
}
