/* Falling back is said once, through the host's log; and each step down gives the right answer. */
#include "run_test.h"

typedef struct {
    int n;
    char text[16][300];
} log_lines;

static void keep(void *context, const char *text)
{
    log_lines *l = context;
    if (l->n < 16) snprintf(l->text[l->n], sizeof l->text[0], "%s", text);
    l->n++;
}

static int never(const atn_args *a)
{
    (void)a;
    return 0;
}

static int yes(const atn_args *a)
{
    (void)a;
    return 1;
}

static int bad_plan(const atn_args *a, int threads, atn_plan *p)
{
    (void)a, (void)threads;
    p->phases = 1; /* and no task */
    return 0;
}

static int absurd_plan(const atn_args *a, int threads, atn_plan *p)
{
    (void)a, (void)threads;
    *p = (atn_plan){.phases = 1, .tasks = {1}, .scratch_bytes = INT64_MAX};
    return 0;
}

static void no_run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch)
{
    (void)a, (void)p, (void)phase, (void)task, (void)shared, (void)scratch;
    abort();
}

static const atn_kernel refuses = {ATN_KERNEL_ABI, "refuses", never, bad_plan, no_run};
static const atn_kernel plans_nothing = {ATN_KERNEL_ABI, "plans_nothing", yes, bad_plan, no_run};
static const atn_kernel wants_all = {ATN_KERNEL_ABI, "wants_all", yes, absurd_plan, no_run};
static const atn_kernel old_abi = {ATN_KERNEL_ABI + 1, "old", yes, bad_plan, no_run};

static void plan_and_run(const char *text, const atn_plan_options *o, atn_plan_info *info)
{
    atn_error err;
    inputs in = data_of(text, 4);
    atn_planned *p;
    assert_ok(atn_plan_create(&in.a, o, &p, &err));
    *info = (atn_plan_info){.size = sizeof *info};
    assert_ok(atn_plan_info_get(p, info, &err));
    assert_ok(atn_execute(p, &in.a, NULL, &err));
    assert_right(&in, text);
    atn_plan_free(p);
    inputs_release(&in);
}

/* Beyond every family: only the plain kernel takes a head size of 20000. */
static void the_reference_is_announced_once(void **state)
{
    (void)state;
    log_lines lines = {0};
    atn_plan_info info;
    atn_log_set(keep, &lines);
    for (int i = 0; i < 5; i++) plan_and_run("f32 h1 s3 d20000", NULL, &info);
    assert_int_equal(info.origin, ATN_FROM_REFERENCE);
    assert_int_equal(lines.n, 1);
    assert_non_null(strstr(lines.text[0], "d20000"));
    assert_non_null(strstr(lines.text[0], "reference"));
    plan_and_run("f32 h1 s3 d20001", NULL, &info); /* another problem is another message */
    assert_int_equal(lines.n, 2);
    atn_log_set(NULL, NULL);
    plan_and_run("f32 h1 s3 d20002", NULL, &info); /* silence is allowed */
    assert_int_equal(lines.n, 2);
}

static void a_host_kernel_that_refuses_is_replaced(void **state)
{
    (void)state;
    const atn_kernel *const bad[] = {&refuses, &plans_nothing, &wants_all};
    for (int i = 0; i < ATN_COUNT(bad); i++) {
        log_lines lines = {0};
        atn_plan_info info;
        atn_log_set(keep, &lines);
        for (int again = 0; again < 3; again++)
            plan_and_run("f32 h4/2 s30 d64 causal", &(atn_plan_options){.table = bad[i], .flags = ATN_PLAN_NO_WISDOM},
                         &info);
        assert_int_equal(info.origin, ATN_FROM_RULE);
        assert_int_equal(lines.n, 1);
        assert_non_null(strstr(lines.text[0], bad[i]->name));
    }
    atn_error err;
    inputs in = data_of("f32 h1 s3 d64", 1);
    atn_planned *p;
    assert_refused(atn_plan_create(&in.a, &(atn_plan_options){.table = &old_abi}, &p, &err), ATN_USAGE, "ABI");
    inputs_release(&in);
    atn_log_set(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_is_announced_once),
        cmocka_unit_test(a_host_kernel_that_refuses_is_replaced),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
