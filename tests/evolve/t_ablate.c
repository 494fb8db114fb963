/* The winner's diff taken apart, on a judge whose speeds are a formula: edits that pay are found with what they are worth,
 * edits that pay nothing are left out of the result, and edits without which nothing builds are called needed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "evolve/evolve.h"

/* A program is lines "pay N": each present one makes it N % faster; "idle" lines change the code and nothing else; "base"
 * needs "user" and the other way round; "wrong" is wrong. */
struct evolve_build {
    build_result result;
};

#define GAP "/* 1 */\n/* 2 */\n/* 3 */\n/* 4 */\n/* 5 */\n/* 6 */\n/* 7 */\n/* 8 */\n"
static const char initial[] = "start\n" GAP "middle\n" GAP "end\n" GAP "last\n" GAP "tail\n";
static const char winner[] =
    "start\npay 10\n" GAP "middle\nidle a\n" GAP "end\nbase\n" GAP "last\nuser\n" GAP "tail\npay 20\n";

static int pay_of(const char *code)
{
    int sum = 0;
    for (const char *p = code; (p = strstr(p, "pay ")); p += 4) sum += atoi(p + 4);
    return sum;
}

static atn_status start(void *ctx, const char *source, const char *flags, const char *original, evolve_build **out,
                        atn_error *err)
{
    (void)ctx, (void)flags, (void)original, (void)err;
    evolve_build *b = atn_alloc(sizeof *b);
    bool alone = !strstr(source, "\nbase\n") != !strstr(source, "\nuser\n");
    b->result =
        (build_result){.stage = ATN_STAGE_BUILD, .reason = alone ? ATN_REASON_COMPILE : ATN_REASON_OK, .so_fd = -1};
    /* The "object code": what counts of it, so that compare need not see the source. */
    snprintf(b->result.object_hash, sizeof b->result.object_hash, "pay %d %d%d", pay_of(source),
             strstr(source, "idle") != NULL, strstr(source, "\nbase\n") != NULL);
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

static void race(const build_result *a, const build_result *b, atn_verdict *v)
{
    double x = b ? (pay_of(a->object_hash) - pay_of(b->object_hash)) / 100.0 : 0;
    memset(v, 0, sizeof *v);
    v->correct = true;
    v->stage = ATN_STAGE_RACE;
    v->n_cases = 1;
    v->cases[0] =
        (atn_case_result){.log_ratio = x, .log_low = x - 0.008, .log_high = x + 0.008, .pairs = 8, .ns_min = 1000};
    v->suite_log = x;
    v->suite_low = x - 0.008;
    v->suite_high = x + 0.008;
    v->promoted = b && v->suite_low > 0.003;
    v->reason = !b || v->promoted ? ATN_REASON_OK : ATN_REASON_NOT_BETTER;
}

static atn_status candidate(void *ctx, const build_result *x, const build_result *incumbent, atn_stage upto,
                            atn_verdict *v, atn_error *err)
{
    (void)ctx, (void)upto, (void)err;
    race(x, incumbent, v);
    return ATN_OK;
}

static atn_status compare(void *ctx, const build_result *x, const build_result *y, int pairs, bool confirm,
                          bool full_size, double seconds, atn_verdict *v, atn_error *err)
{
    (void)ctx, (void)pairs, (void)confirm, (void)full_size, (void)seconds, (void)err;
    race(x, y, v);
    return ATN_OK;
}

static int proposed;

/* Proposes the winner once. */
static propose_answer once(atn_proposer *p, const atn_propose_context *c, atn_rng *rng, atn_proposal *out)
{
    (void)p, (void)rng;
    if (proposed++) return PROPOSE_EXHAUSTED;
    *out = (atn_proposal){.source = atn_strdup(winner),
                          .parents = {c->best->id},
                          .origin = "test/diff",
                          .note = "all at once"};
    return PROPOSE_OK;
}

static const evolve_edit *find(const evolve_result *r, const char *what)
{
    for (int i = 0; i < r->n_edits; i++)
        if (strstr(r->edits[i].what, what)) return &r->edits[i];
    fail_msg("no edit '%s'", what);
    return NULL;
}

static void takes_apart(void **state)
{
    (void)state;
    char folder[] = "/tmp/t_ablate.XXXXXX";
    assert_non_null(mkdtemp(folder));
    evolve_judge judge = {.build_start = start,
                          .build_fd = no_fd,
                          .build_step = step,
                          .build_cancel = cancel,
                          .build_release = release,
                          .candidate = candidate,
                          .compare = compare,
                          .compiler = "fake",
                          .version = "fake"};
    atn_proposer p = {.name = "test", .propose = once};
    atn_suite suite = {0};
    atn_error err = {0};
    evolve_result r;
    assert_int_equal(suite_add_case(&suite, "f32 h2 s64 d64", &err), ATN_OK);
    evolve_options o = evolve_defaults();
    o.folder = folder;
    o.initial_source = initial;
    o.initial_path = "initial.c";
    o.n_shipped = -1;
    o.suite = &suite;
    o.control_races = 0;
    o.final_seconds = 20;
    o.iterations = 1;
    o.proposers[0] = &p;
    o.n_proposers = 1;
    if (evolve_run(&o, &judge, &r, &err)) fail_msg("%s", err.text);
    assert_int_equal(r.counts.promoted, 1);
    const evolve_edit *ten = find(&r, "pay 10"), *twenty = find(&r, "pay 20"), *idle = find(&r, "idle a");
    assert_int_equal(ten->fate, EVOLVE_FATE_PAID);
    assert_true(fabs(log(ten->gain.median) - 0.10) < 1e-9 && ten->gain.low < ten->gain.median &&
                ten->gain.median < ten->gain.high);
    assert_int_equal(twenty->fate, EVOLVE_FATE_PAID);
    assert_true(fabs(log(twenty->gain.median) - 0.20) < 1e-9);
    assert_int_equal(idle->fate, EVOLVE_FATE_NOTHING);
    assert_true(idle->removed && !ten->removed && !twenty->removed);
    assert_int_equal(find(&r, "base")->fate, EVOLVE_FATE_NEEDED);
    char *path = file_join(folder, "best/best_program.c"), *text = NULL, *info = NULL;
    assert_int_equal(file_read(path, 1 << 20, &text, NULL, NULL), ATN_OK);
    assert_null(strstr(text, "idle a"));
    assert_non_null(strstr(text, "pay 10"));
    assert_non_null(strstr(text, "pay 20"));
    assert_non_null(strstr(text, "\nbase\n"));
    free(path);
    path = file_join(folder, "best/best_program_info.json");
    assert_int_equal(file_read(path, 1 << 20, &info, NULL, NULL), ATN_OK);
    assert_non_null(strstr(info, "\"fate\": \"nothing\""));
    evolve_result_free(&r);
    suite_free(&suite);
    file_remove_tree(folder, NULL);
    free(path);
    free(text);
    free(info);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(takes_apart)};
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
