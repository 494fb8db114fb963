/* Tables and pictures for the terminal: they fit it, and nothing that a candidate wrote steers it. First argument:
 * make_run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/report.h"
#include "report/view.h"

static char dir[] = "/tmp/attune-report-XXXXXX";
static const char *make_run;

static char *make(const char *name, const char *args)
{
    char *folder = file_join(dir, name), *command = atn_format("%s %s %s", make_run, folder, args);
    if (system(command)) fail_msg("%s", command);
    free(command);
    return folder;
}

static atn_text all_of(const char *folder, int columns)
{
    atn_text t = {0};
    atn_error err = {0};
    report_style style = {"\033[1m", "\033[0m", columns};
    if (report_tables(folder, "attune", &style, &t, &err) || report_charts(folder, &style, &t, &err))
        fail_msg("%s", err.text);
    return t;
}

/* Paths and commands stay whole, to be copied: from "Winner" to the end of "Next". */
static void test_fits(void **state)
{
    (void)state;
    char *folder = make("small", "60");
    const int columns[] = {20, 40, 60, 80, 100, 200};
    for (int i = 0; i < ATN_COUNT(columns); i++) {
        atn_text t = all_of(folder, columns[i]);
        bool may_be_long = false;
        char *rest = t.s;
        for (char *line; (line = strsep(&rest, "\n"));) {
            if (text_starts(line, "Records ")) may_be_long = true;
            if (text_starts(line, "Speedup over")) may_be_long = false;
            int least = columns[i] < 40 ? 40 : columns[i]; /* a speedup with its bounds is never left out */
            if (!may_be_long && view_columns_of(line) > least) fail_msg("%d columns: '%s'", columns[i], line);
        }
        text_free(&t);
    }
    atn_text wide = all_of(folder, 0);
    const char *const parts[] = {"initial ms",        "GFLOP/s", "error",    "Judged",
                                 "Speedup over time", "Archive", "Verdicts", "FMA peak"};
    for (int i = 0; i < ATN_COUNT(parts); i++)
        if (!strstr(wide.s, parts[i])) fail_msg("no '%s' in a table for a file", parts[i]);
    text_free(&wide);
    free(folder);
}

static void assert_harmless(const char *s, bool styled)
{
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        if (styled && (text_starts((const char *)p, "\033[1m") || text_starts((const char *)p, "\033[0m"))) continue;
        if ((*p < 32 && *p != '\n') || *p == 127) fail_msg("byte %d in: %.60s", *p, (const char *)p);
        assert_false(text_starts((const char *)p, "\u202e") || text_starts((const char *)p, "\u200b") || *p == 0xff);
    }
}

static void test_hostile(void **state)
{
    (void)state;
    char *folder = make("hostile", "40 hostile");
    const int columns[] = {0, 40, 120};
    for (int i = 0; i < ATN_COUNT(columns); i++) {
        atn_text t = all_of(folder, columns[i]);
        assert_harmless(t.s, true);
        text_free(&t);
    }
    for (int id = 2; id <= 13; id++) { /* the comment with a program's story ends where we end it */
        atn_text t = {0};
        assert_int_equal(report_program(folder, id, &t, NULL), ATN_OK);
        char *end = strstr(t.s, "*/");
        assert_non_null(end);
        *end = 0;
        assert_harmless(t.s, false);
        text_free(&t);
    }
    free(folder);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    make_run = argv[1];
    if (!mkdtemp(dir)) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fits), cmocka_unit_test(test_hostile)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    file_remove_tree(dir, NULL);
    return failed;
}
