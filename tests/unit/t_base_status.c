/* Errors and the allocators that do not fail. */
#include "test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"

static void every_status_has_a_text(void **state)
{
    (void)state;
#define ATN_X(name, code, text)                                                                                        \
    assert_int_equal(ATN_##name, code), assert_string_equal(status_text(ATN_##name), text);
    ATN_STATUS_LIST(ATN_X)
#undef ATN_X
    assert_non_null(status_text((atn_status)-999));
}

static void failing_fills_and_returns(void **state)
{
    (void)state;
    atn_error err = {0};
    assert_int_equal(atn_fail(&err, ATN_IO, "cannot open '%s'", "x"), ATN_IO);
    assert_int_equal(err.code, ATN_IO);
    assert_string_equal(err.text, "cannot open 'x'");
    assert_int_equal(atn_fail(NULL, ATN_BUSY, "nobody listens"), ATN_BUSY);
    atn_error_prefix(&err, "line %d", 7);
    assert_string_equal(err.text, "line 7: cannot open 'x'");
    atn_error_prefix(NULL, "nothing");
}

static void long_errors_are_cut_not_overrun(void **state)
{
    (void)state;
    char big[3000];
    struct {
        atn_error err;
        char guard[16];
    } x = {.guard = "guard"};
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = 0;
    atn_fail(&x.err, ATN_IO, "%s", big);
    assert_int_equal(strlen(x.err.text), sizeof x.err.text - 1);
    atn_error_prefix(&x.err, "%s", big);
    assert_true(strlen(x.err.text) < sizeof x.err.text);
    atn_error_prefix(&x.err, "short");
    assert_true(strncmp(x.err.text, "short: xxx", 10) == 0);
    assert_string_equal(x.guard, "guard");
}

static void allocations_are_zeroed_and_copies_are_whole(void **state)
{
    (void)state;
    char *p = atn_alloc(1000), *none = atn_alloc(0), *s = atn_strdup("abc"), *t = atn_strndup("abcdef", 4),
         *f = atn_format("%d-%s", 5, "x");
    for (int i = 0; i < 1000; i++) assert_int_equal(p[i], 0);
    assert_non_null(none);
    assert_string_equal(s, "abc");
    assert_string_equal(t, "abcd");
    assert_string_equal(f, "5-x");
    p = atn_realloc(p, 5000);
    assert_int_equal(p[999], 0);
    free(p), free(none), free(s), free(t), free(f);
}

static void a_broken_invariant_aborts(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(3);
        ATN_CHECK(1 + 1 == 3);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_status_has_a_text),
    cmocka_unit_test(failing_fills_and_returns),
    cmocka_unit_test(long_errors_are_cut_not_overrun),
    cmocka_unit_test(allocations_are_zeroed_and_copies_are_whole),
    cmocka_unit_test(a_broken_invariant_aborts),
};
TEST_MAIN(tests)
