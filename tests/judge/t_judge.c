/* The cascade, end to end, on kernels whose right verdict is known: the initial program, and copies of it spoiled by
 * a few lines after or around its run(). The suite of three small cases has sizes that no correctness suite has (151
 * and 155: random ones have up to 150 queries), so that spoiled only on those sizes is spoiled only while timed. */
#include "kernels.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "judge/judge.h"
#include "judge/timing.h"

/* The initial program with another table, whose run is `body`; run() in it is the honest one, and `shared` has SPARE
 * more bytes than it asks for, at `spare`. */
#define SPARE "(4 << 20)"
static char *spoiled(const char *can, const char *body)
{
    const char *source = honest_source(), *table = strstr(source, "const atn_kernel attune_kernel");
    assert_non_null(table);
    return atn_format(
        "%.*s\n"
        "static int can(const atn_args *a) { return %s; }\n"
        "static int sized(const atn_args *a, int threads, atn_plan *p)\n"
        "{ int rc = plan(a, threads, p); p->shared_bytes = (p->shared_bytes + 63 & -64) + " SPARE "; return rc; }\n"
        "static void twisted(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)\n"
        "{\nint *spare = (int *)((char *)shared + p->shared_bytes - " SPARE ");\n(void)spare;\n%s\n}\n"
        "const atn_kernel attune_kernel = {ATN_KERNEL_ABI, \"spoiled\", can, sized, twisted};\n",
        (int)(table - source), source, can, body);
}

#define HONEST "run(a, p, phase, task, shared, scratch);"
#define SWEEP "for (int i = 1; i < " SPARE " / 4; i += 16) spare[i] += i;"
#define TIMES(n) "for (int r = 0; r < (" n "); r++) " HONEST

typedef struct {
    atn_suite suite;
    atn_judge *judge;
} fixture;

static int set_up(void **state)
{
    fixture *f = atn_alloc(sizeof *f);
    static const char *const cases[] = {"f32 h1 s51 d64 causal", "f32 h2/1 s155 d64", "f32 h1 s151 d64 causal"};
    atn_error err = {0};
    for (int i = 0; i < ATN_COUNT(cases); i++)
        if (suite_add_case(&f->suite, cases[i], &err) != ATN_OK) fail_msg("%s", err.text);
    judge_options o = judge_defaults();
    o.timing = &f->suite;
    o.program = "spoiled.c";
    if (judge_create(&o, &f->judge, &err) != ATN_OK) fail_msg("%s", err.text);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    judge_free(f->judge);
    suite_free(&f->suite);
    free(f);
    return 0;
}

static void build_spoiled(const char *can, const char *body, build_result *r)
{
    char *text = spoiled(can, body);
    build_kernel(text, r);
    free(text);
}

/* Judges `body` against `incumbent`, both as bodies of run; can NULL: always. */
static void judge_bodies(void **state, const char *can, const char *body, const char *incumbent, atn_stage upto,
                         atn_verdict *v)
{
    fixture *f = *state;
    atn_error err = {0};
    build_result a, b;
    build_spoiled(can ? can : "a->D > 0", body, &a);
    build_spoiled("a->D > 0", incumbent, &b);
    if (judge_candidate(f->judge, &a, &b, upto, v, &err) != ATN_OK) fail_msg("%s", err.text);
    build_release(&a);
    build_release(&b);
}

static void expect(const atn_verdict *v, atn_stage stage, atn_reason reason)
{
    if (v->stage != stage || v->reason != reason)
        fail_msg("wanted %s %s, got %s %s: %s", stage_name(stage), reason_word(reason), stage_name(v->stage),
                 reason_word(v->reason), v->evidence);
    if (reason != ATN_REASON_OK && !strstr(v->reproduce, "attune eval spoiled.c"))
        fail_msg("reproduce line: '%s'", v->reproduce);
}

/* What only shows while timed shows in the screening or, where its few pairs had no such data, in the race. */
static void expect_while_timed(const atn_verdict *v, atn_reason reason)
{
    expect(v, v->stage == ATN_STAGE_RACE ? ATN_STAGE_RACE : ATN_STAGE_SCREEN, reason);
    assert_false(v->promoted);
}

/* What is no better may look slower in screening on a busy machine, and may win once in 200 races (race.h); twice in a
 * row, once in 40,000, is what it must not do. */
static void judge_no_better(void **state, const char *body, const char *incumbent, atn_verdict *v)
{
    *v = (atn_verdict){0};
    for (int i = 0; i < 2 && (i == 0 || v->promoted); i++)
        judge_bodies(state, NULL, body, incumbent, ATN_STAGE_RACE, v);
    expect_while_timed(v, v->stage == ATN_STAGE_SCREEN ? ATN_REASON_SLOWER : ATN_REASON_NOT_BETTER);
}

static void own_copy_is_not_better(void **state)
{
    atn_verdict v;
    judge_no_better(state, HONEST, HONEST, &v);
    assert_true(v.correct);
    assert_true(v.stage == ATN_STAGE_SCREEN || v.n_cases == 3);
    assert_true(v.checks > 80 && v.checks_passed == v.checks && v.stability > 10);
    assert_true(v.error > 0 && v.error < 5e-6 && v.error_of_tolerance < 1);
    assert_true(v.suite_low <= v.suite_log && v.suite_log <= v.suite_high);
    for (int i = 0; i < v.n_cases; i++) {
        assert_true(v.cases[i].ns_min > 0 && isfinite(v.cases[i].ns_min) && v.cases[i].error < 1e-5);
        assert_true(v.cases[i].log_low <= v.cases[i].log_ratio && v.cases[i].log_ratio <= v.cases[i].log_high);
    }
}

static void faster_is_promoted_and_confirmed(void **state)
{
    atn_verdict v;
    judge_bodies(state, NULL, HONEST, TIMES("3"), ATN_STAGE_CONFIRM, &v);
    expect(&v, ATN_STAGE_CONFIRM, ATN_REASON_OK);
    assert_true(v.correct && v.promoted);
    assert_true(v.suite_low > 0 && v.suite_log <= v.suite_high);
}

static void slower_is_dropped_in_screening(void **state)
{
    atn_verdict v;
    judge_bodies(state, NULL, TIMES("2"), HONEST, ATN_STAGE_RACE, &v);
    expect(&v, ATN_STAGE_SCREEN, ATN_REASON_SLOWER);
    assert_true(v.correct);
    assert_false(v.promoted);
    assert_true(v.suite_high < 0);
    judge_bodies(state, NULL, TIMES("30"), HONEST, ATN_STAGE_RACE, &v);
    expect(&v, ATN_STAGE_SCREEN, ATN_REASON_SLOWER);
    assert_true(v.cases[0].pairs <= 8);
}

static void faster_on_average_but_slower_somewhere(void **state)
{
    atn_verdict v;
    /* 1.25 x slower there: well clear of the 1.5 x at which the screen gives a kernel up. */
    judge_bodies(state, NULL, TIMES("a->Sq == 151 ? 5 : 1"), TIMES("a->Sq == 151 ? 4 : 9"), ATN_STAGE_RACE, &v);
    expect(&v, ATN_STAGE_RACE, ATN_REASON_NOT_BETTER);
    assert_false(v.promoted);
    assert_true(v.suite_low > 0);
    assert_non_null(strstr(v.evidence, "specialised"));
}

static void wrong_only_while_timed(void **state)
{
    atn_verdict v;
    judge_bodies(state, NULL,
                 HONEST
                 "if (a->Sq == 155) for (int i = 0; i < 155; i++) *(float *)((char *)a->o.ptr + i * a->o.sr) += 1e-3f;",
                 HONEST, ATN_STAGE_RACE, &v);
    expect_while_timed(&v, ATN_REASON_WRONG);
    assert_false(v.correct);
    assert_non_null(strstr(v.evidence, "while timed"));
}

static void unwritten_only_while_timed(void **state)
{
    atn_verdict v;
    judge_bodies(state, NULL, "if (a->Sq != 151) " HONEST, HONEST, ATN_STAGE_RACE, &v);
    expect_while_timed(&v, ATN_REASON_UNWRITTEN);
    assert_false(v.correct);
}

/* Half of the keys get no weight, and only in calls like the timed ones. */
static void skipped_keys_while_timed(void **state)
{
    atn_verdict v;
    judge_bodies(state, NULL,
                 "atn_args b = *a; if (a->Sq == 155) b.Skv = 100; run(&b, p, phase, task, shared, scratch);", HONEST,
                 ATN_STAGE_RACE, &v);
    expect_while_timed(&v, ATN_REASON_WRONG);
}

/* Pushing what the incumbent will need out of the caches costs more than it takes from the incumbent; now and then, so
 * that medians do not see the cost, it costs the incumbent as rarely. Then both have the same code, which alone is
 * worth percents: spare is -1 everywhere, so the one sweeps in every 16th task and the other never. */
static void slow_for_the_incumbent(void **state)
{
    atn_verdict v;
    judge_bodies(state, NULL, HONEST SWEEP, HONEST, ATN_STAGE_RACE, &v);
    expect(&v, ATN_STAGE_SCREEN, ATN_REASON_SLOWER);
    judge_no_better(state, HONEST "if (++*spare % 16 - spare[2] == 1) " SWEEP,
                    HONEST "if (++*spare % 16 - spare[2] == 0) " SWEEP, &v);
}

/* `pairs` pairs of two kernels on one case. */
static void time_pairs(const char *text, const build_result *a, const build_result *b, int pairs, atn_verdict *v)
{
    atn_error err = {0};
    atn_timing *t;
    timing_case one = {0};
    const atn_peaks unknown = {0};
    check_context c = {.tolerance = 1, .threads = 1, .cpu = judge_cpu(), .seed = rng_secret(), .program = "spoiled.c"};
    *v = (atn_verdict){0};
    assert_int_equal(problem_parse(text, &one.problem, &err), ATN_OK);
    if (timing_open(&c, ATN_STAGE_RACE, &unknown, &one, 1, a->so_fd, b->so_fd, &t, v, &err) != ATN_OK)
        fail_msg("%s", err.text);
    if (!t) fail_msg("%s", v->evidence);
    if (timing_pairs(t, 0, pairs, INFINITY, v, &err) != ATN_OK) fail_msg("%s", err.text);
    timing_close(t);
}

/* Every row of every timed output is looked at, and every log-sum-exp: one of 151 is found in the first pair. A kernel
 * that works only where it finds a judge's poison falls when a pair has none, one in four. */
static void one_row_of_many_while_timed(void **state)
{
    (void)state;
    static const char plain[] = "f32 h1 s151 d64", lse[] = "f32 h1 s151 d64 lse";
    atn_verdict v;
    build_result honest, row, polite;
    build_kernel(honest_source(), &honest);
    build_spoiled("a->D > 0", HONEST "*(a->lse ? &a->lse[77] : (float *)((char *)a->o.ptr + 77 * a->o.sr)) += 0.01f;",
                  &row);
    build_spoiled("a->D > 0",
                  "float *last = (float *)((char *)a->o.ptr + (a->Sq - 1) * a->o.sr); if (*last != *last) " HONEST,
                  &polite);
    time_pairs(lse, &honest, &honest, 64, &v);
    expect(&v, ATN_STAGE_RACE, ATN_REASON_OK);
    time_pairs(plain, &row, &honest, 1, &v);
    expect(&v, ATN_STAGE_RACE, ATN_REASON_WRONG);
    if (!strstr(v.evidence, " row 77 ")) fail_msg("%s", v.evidence);
    time_pairs(lse, &row, &honest, 1, &v);
    expect(&v, ATN_STAGE_RACE, ATN_REASON_WRONG);
    if (!strstr(v.evidence, "log-sum-exp") || !strstr(v.evidence, " row 77 ")) fail_msg("%s", v.evidence);
    time_pairs(plain, &polite, &honest, 64, &v);
    expect(&v, ATN_STAGE_RACE, ATN_REASON_WRONG);
    build_release(&honest);
    build_release(&row);
    build_release(&polite);
}

static void refusing_plain_attention(void **state)
{
    atn_verdict v;
    judge_bodies(state, "a->Skv != 64", HONEST, HONEST, ATN_STAGE_RACE, &v);
    expect(&v, ATN_STAGE_FULL, ATN_REASON_REFUSED);
    judge_bodies(state, "a->Sq != 151", HONEST, HONEST, ATN_STAGE_RACE, &v);
    expect(&v, ATN_STAGE_SCREEN, ATN_REASON_REFUSED);
    assert_false(v.correct);
    judge_bodies(state, "a->softcap == 0 && !a->sinks", HONEST, HONEST, ATN_STAGE_FULL, &v);
    expect(&v, ATN_STAGE_FULL, ATN_REASON_OK);
    assert_true(v.correct && v.refused > 0);
}

static void stages_stop_where_asked(void **state)
{
    atn_verdict v;
    judge_bodies(state, NULL, HONEST, HONEST, ATN_STAGE_QUICK, &v);
    expect(&v, ATN_STAGE_QUICK, ATN_REASON_OK);
    assert_int_equal(v.n_cases, 0);
    assert_false(v.correct); /* nothing is correct before FULL */
    judge_bodies(state, NULL, HONEST, HONEST, ATN_STAGE_SCREEN, &v);
    assert_int_equal(v.stage, ATN_STAGE_SCREEN);
    assert_true(v.correct && v.n_cases == 3);
}

static void alone_is_timed_without_a_ratio(void **state)
{
    fixture *f = *state;
    atn_verdict v;
    atn_error err = {0};
    build_result a;
    build_kernel(honest_source(), &a);
    if (judge_candidate(f->judge, &a, NULL, ATN_STAGE_RACE, &v, &err) != ATN_OK) fail_msg("%s", err.text);
    build_release(&a);
    assert_true(v.correct && v.reason == ATN_REASON_OK && v.n_cases == 3);
    for (int i = 0; i < 3; i++) {
        assert_true(v.cases[i].ns_min > timing_floor_ns(judge_case_problem(f->judge, i), judge_peaks(f->judge), 1));
        assert_true(v.cases[i].log_ratio == 0 && v.cases[i].workspace_bytes > 0);
    }
}

/* An incumbent that fails at a size that only timing has: the world's failure, named, after a second try; not the
 * candidate's; and the judge works on. */
static void incumbent_fails_while_timed(void **state)
{
    fixture *f = *state;
    atn_verdict v;
    atn_error err = {0};
    build_result good, bad;
    build_kernel(honest_source(), &good);
    build_spoiled("a->D > 0", HONEST " if (a->Skv == 155) *(volatile int *)((char *)a->q.ptr + (1 << 30)) = 1;", &bad);
    for (int compare = 0; compare < 2; compare++) {
        err = (atn_error){0};
        atn_status s = compare ? judge_compare(f->judge, &good, &bad, 8, false, &v, &err)
                               : judge_candidate(f->judge, &good, &bad, ATN_STAGE_RACE, &v, &err);
        assert_int_equal(s, ATN_PROCESS);
        assert_true(v.reason == ATN_REASON_OK && v.correct && !v.promoted);
        if (!strstr(err.text, "the incumbent, judged correct before, failed while timed")) fail_msg("%s", err.text);
        const atn_verdict *why = judge_incumbent_failure(f->judge);
        if (!why) fail_msg("the incumbent's failure is not told");
        if (why->reason == ATN_REASON_OK || !strstr(why->evidence, " s155 ") || !why->reproduce[0])
            fail_msg("%s: %s; %s", reason_word(why->reason), why->evidence, why->reproduce);
    }
    if (judge_compare(f->judge, &good, &good, 8, false, &v, &err) != ATN_OK) fail_msg("%s", err.text);
    assert_true(v.correct && v.n_cases == 3 && !judge_incumbent_failure(f->judge));
    build_release(&good);
    build_release(&bad);
}

static void *cancel_soon(void *arg)
{
    (void)arg;
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    judge_cancel(true);
    return NULL;
}

static bool has_children(void)
{
    return waitpid(-1, NULL, WNOHANG) == 0;
}

/* Given up from another thread: in a race, where the kernel does not return, and where somebody else holds the timing
 * lock. No worker is left, and the judge works on. */
static void is_given_up(void **state)
{
    fixture *f = *state;
    atn_verdict v;
    build_result good, endless;
    build_kernel(honest_source(), &good);
    build_spoiled("a->D > 0", HONEST " for (volatile int i = 0; a->Skv == 155;) i++;", &endless);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        atn_error err = {0};
        int lock = -1;
        if (i == 2) assert_int_equal(timing_lock(&lock, &err), ATN_OK);
        assert_int_equal(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
        atn_status s;
        do s = judge_compare(f->judge, i == 1 ? &endless : &good, &good, 512, false, &v, &err);
        while (s == ATN_OK && i == 0); /* it may end before it is given up */
        pthread_join(thread, NULL);
        judge_cancel(false);
        if (lock >= 0) close(lock);
        if (s != ATN_CANCELLED) fail_msg("%d: status %d: %s", i, s, err.text);
        assert_false(has_children());
    }
    atn_error err = {0};
    if (judge_compare(f->judge, &good, &good, 8, false, &v, &err) != ATN_OK) fail_msg("%s", err.text);
    assert_true(v.correct && v.n_cases == 3);
    build_release(&good);
    build_release(&endless);
}

static void metrics_of_verdicts(void **state)
{
    fixture *f = *state;
    seed_metrics m;
    atn_verdict v = {.stage = ATN_STAGE_FULL, .reason = ATN_REASON_WRONG};
    judge_seed_metrics(f->judge, &v, &m);
    assert_true(isnan(m.combined_score) && isnan(m.accuracy_score)); /* no score, never 0 */
    v = (atn_verdict){.correct = true,
                      .checks = 10,
                      .checks_passed = 10,
                      .stability = 4,
                      .stability_passed = 4,
                      .n_cases = 1,
                      .suite_log = log(10)};
    judge_seed_metrics(f->judge, &v, &m);
    assert_true(m.accuracy_score == 1 && m.performance_score == 3 && m.stability_score == 1 && m.success_rate == 1);
    assert_true(fabs(m.memory_efficiency - 2) < 1e-12); /* no workspace at all */
    assert_true(fabs(m.combined_score - (0.5 + 0.75 + 0.3 + 0.1)) < 1e-12);
}

/* A physical minimum that honest fast code does not cross, and that counts what must be read. */
static void floor_is_physical(void **state)
{
    (void)state;
    atn_peaks peaks = {.fma_peak_gflops = 100};
    atn_problem p;
    assert_int_equal(problem_parse("f32 h1 s1024 d64", &p, NULL), ATN_OK);
    assert_true(fabs(timing_floor_ns(&p, &peaks, 1) - problem_flops(&p) / 100) < 1);
    assert_true(fabs(timing_floor_ns(&p, &peaks, 2) - problem_flops(&p) / 200) < 1);
    assert_int_equal(problem_parse("f32 h1 s64 d64 mask=bool", &p, NULL), ATN_OK);
    assert_true(timing_floor_ns(&p, &peaks, 1) == 0);
}

#ifdef WRAPS_PEAK
static double peak_again;
double __wrap_machine_fma_peak(double seconds);
double __wrap_machine_fma_peak(double seconds)
{
    (void)seconds;
    return peak_again;
}

/* An honest kernel against a peak that a neighbour spoiled: only what is impossible beside the second peak is. */
static void impossible_is_measured_twice(void **state)
{
    (void)state;
    build_result b;
    build_kernel(honest_source(), &b);
    for (int still = 0; still < 2; still++) {
        const atn_peaks low = {.fma_peak_gflops = 1e-3};
        peak_again = still ? low.fma_peak_gflops : 1e6;
        atn_verdict v = {0};
        atn_error err = {0};
        atn_timing *t;
        timing_case one = {0};
        assert_int_equal(problem_parse("f32 h1 s64 d64", &one.problem, &err), ATN_OK);
        check_context c = {.tolerance = 1, .threads = 1, .cpu = judge_cpu(), .seed = 5, .program = "spoiled.c"};
        if (timing_open(&c, ATN_STAGE_RACE, &low, &one, 1, b.so_fd, -1, &t, &v, &err) != ATN_OK)
            fail_msg("%s", err.text);
        if (!t) fail_msg("%s", v.evidence);
        if (timing_pairs(t, 0, 3, 1, &v, &err) != ATN_OK) fail_msg("%s", err.text);
        double floor = timing_floor_ns(&one.problem, &(atn_peaks){.fma_peak_gflops = peak_again}, 1);
        assert_true(fabs(timing_get(t, 0)->floor_ns - floor) < 1e-6 * floor);
        assert_true(timing_get(t, 0)->ns_min < timing_floor_ns(&one.problem, &low, 1));
        expect(&v, ATN_STAGE_RACE, still ? ATN_REASON_IMPOSSIBLE : ATN_REASON_OK);
        if (still) assert_non_null(strstr(v.evidence, "at this machine's measured peak"));
        timing_close(t);
    }
    build_release(&b);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floor_is_physical),
        cmocka_unit_test(metrics_of_verdicts),
        cmocka_unit_test(stages_stop_where_asked),
        cmocka_unit_test(refusing_plain_attention),
        cmocka_unit_test(own_copy_is_not_better),
        cmocka_unit_test(faster_is_promoted_and_confirmed),
        cmocka_unit_test(slower_is_dropped_in_screening),
        cmocka_unit_test(faster_on_average_but_slower_somewhere),
        cmocka_unit_test(wrong_only_while_timed),
        cmocka_unit_test(unwritten_only_while_timed),
        cmocka_unit_test(skipped_keys_while_timed),
        cmocka_unit_test(one_row_of_many_while_timed),
        cmocka_unit_test(slow_for_the_incumbent),
#ifdef WRAPS_PEAK
        cmocka_unit_test(impossible_is_measured_twice),
#endif
        cmocka_unit_test(alone_is_timed_without_a_ratio),
        cmocka_unit_test(incumbent_fails_while_timed),
        cmocka_unit_test(is_given_up),
    };
    return cmocka_run_group_tests_name("judge/judge", tests, set_up, tear_down);
}
