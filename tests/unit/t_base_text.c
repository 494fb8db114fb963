/* Growable text, distances, numbers. */
#include "test.h"

#include <math.h>

#include "base/status.h"
#include "base/text.h"

static void grows_and_stays_terminated(void **state)
{
    (void)state;
    atn_text t = {0};
    for (int i = 0; i < 5000; i++) {
        text_addf(&t, "%d,", i);
        assert_int_equal(t.s[t.n], 0);
        assert_true(t.n < t.room);
    }
    assert_int_equal(t.n, strlen(t.s));
    assert_true(text_starts(t.s, "0,1,2,3,"));
    assert_string_equal(t.s + t.n - 5, "4999,");
    text_addn(&t, "ab\0cd", 5);
    assert_int_equal(t.s[t.n - 3], 0);
    text_free(&t);
    assert_null(t.s);
}

static void strangers_text_is_made_visible(void **state)
{
    (void)state;
    const struct {
        const char *in, *lines, *line;
    } cases[] = {{"plain \u00fc \u4e2d \U0001f600", "plain \u00fc \u4e2d \U0001f600", "plain \u00fc \u4e2d \U0001f600"},
                 {"a\tb\nc", "a\tb\nc", "a b c"},
                 {"\033[2J\007", "\\u001b[2J\\u0007", "\\u001b[2J\\u0007"},
                 {"\u202egnp.exe\u200b\ufeff", "\\u202egnp.exe\\u200b\\ufeff", "\\u202egnp.exe\\u200b\\ufeff"},
                 {"\xc2\x9b" "31m", "\\u009b31m", "\\u009b31m"}, /* CSI in one character */
                 {"\xff\xc0\x80\xed\xa0\x80|", "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd|", "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd|"},
                 {"cut \xe4\xb8", "cut \ufffd\ufffd", "cut \ufffd\ufffd"}};
    for (int i = 0; i < ATN_COUNT(cases); i++)
        for (int lines = 0; lines < 2; lines++) {
            atn_text t = {0};
            text_add_visible(&t, cases[i].in, lines);
            assert_string_equal(t.s, lines ? cases[i].lines : cases[i].line);
            text_free(&t);
        }
}

static void take_hands_over_and_empties(void **state)
{
    (void)state;
    atn_text t = {0};
    char *empty = text_take(&t);
    assert_string_equal(empty, "");
    text_add(&t, "x");
    char *s = text_take(&t);
    assert_string_equal(s, "x");
    assert_true(t.s == NULL && t.n == 0 && t.room == 0);
    free(empty);
    free(s);
}

static void csv_has_one_field_for_one_text(void **state)
{
    (void)state;
    static const char *const in[] = {"", "f32 h2 s64 d64", "a, b", "say \"no\"\n", "=1+1", "-3", "v1;2"},
                             *const out[] = {"", "f32 h2 s64 d64", "\"a, b\"", "\"say \"\"no\"\" \"", "\"'=1+1\"",
                                             "\"'-3\"", "v1;2"};
    for (int i = 0; i < ATN_COUNT(in); i++) {
        atn_text t = {0};
        text_add(&t, "");
        text_add_csv(&t, in[i]);
        assert_string_equal(t.s, out[i]);
        text_free(&t);
    }
}

static void html_cannot_break_out(void **state)
{
    (void)state;
    atn_text t = {0};
    text_add_html(&t, "<a href='x\"&\x01\n");
    assert_string_equal(t.s, "&lt;a href=&#39;x&quot;&amp;\xef\xbf\xbd\n");
    text_free(&t);
}

static void distance_is_a_metric_of_typos(void **state)
{
    (void)state;
    assert_int_equal(text_distance("causal", "causal"), 0);
    assert_int_equal(text_distance("casual", "causal"), 1);      /* a transposition */
    assert_int_equal(text_distance("windw", "window"), 1);
    assert_int_equal(text_distance("", "abc"), 3);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
    char a[200], b[200];
    memset(a, 'a', sizeof a), memset(b, 'b', sizeof b);
    a[199] = b[199] = 0;
    assert_true(text_distance(a, b) >= 60);                      /* long strings are cut, not overrun */
}

static void nearest_suggests_only_what_is_near(void **state)
{
    (void)state;
    static const char *const names[] = {"iterations", "minutes", "proposer", "resume"};
    assert_string_equal(text_nearest("iteratons", names, 4), "iterations");
    assert_string_equal(text_nearest("minute", names, 4), "minutes");
    assert_null(text_nearest("banana", names, 4));
    assert_null(text_nearest("x", names, 0));
}

static void numbers_are_whole_strings(void **state)
{
    (void)state;
    long long i = 77;
    double x = 77;
    assert_true(text_to_i64("-12", &i) && i == -12);
    assert_true(text_to_i64("9223372036854775807", &i) && i == INT64_MAX);
    static const char *const bad[] = {"", "12x", "x", "9223372036854775808", "1.5", " "};
    for (int k = 0; k < ATN_COUNT(bad); k++) {
        i = 77;
        if (text_to_i64(bad[k], &i) || i != 77) fail_with("'%s' was read as %lld", bad[k], i);
    }
    assert_true(text_to_f64("1e-3", &x) && x == 1e-3);
    assert_true(text_to_f64("-0.5", &x) && x == -0.5);
    assert_true(text_to_f64("1e-320", &x) && x > 0);             /* a denormal is a number */
    assert_false(text_to_f64("1e999", &x) || text_to_f64("", &x) || text_to_f64("1,5", &x) || text_to_f64("5k", &x));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(grows_and_stays_terminated),         cmocka_unit_test(take_hands_over_and_empties),
    cmocka_unit_test(strangers_text_is_made_visible),
    cmocka_unit_test(csv_has_one_field_for_one_text),
    cmocka_unit_test(html_cannot_break_out),              cmocka_unit_test(distance_is_a_metric_of_typos),
    cmocka_unit_test(nearest_suggests_only_what_is_near), cmocka_unit_test(numbers_are_whole_strings),
};
TEST_MAIN(tests)
