/* attune show: the tables of a run, its winner's lineage as diffs, or one of its programs. */
#include "cmd.h"
#include "report/report.h"

int cmd_show(const atn_cli *c)
{
    atn_error err = {0};
    atn_text t = {0};
    const char *folder = c->n_args ? c->args[0] : "attune_output";
    report_style style = term_report(stdout);
    atn_status st;
    if (cli_has(c, "program")) st = report_program(folder, cli_int(c, "program", 0), &t, &err);
    else if (cli_has(c, "diff")) st = report_diffs(folder, &t, &err);
    else if (c->json) st = report_json(folder, &t, &err);
    else {
        st = report_tables(folder, cli_program(), &style, &t, &err);
        if (!st) st = report_charts(folder, &style, &t, &err);
    }
    if (!st && t.s && style.columns && (cli_has(c, "program") || cli_has(c, "diff"))) {
        atn_text seen = {0}; /* a candidate's source must not steer the terminal; in a file it stays as it is */
        text_add_visible(&seen, t.s, true);
        fputs(seen.s, stdout);
        text_free(&seen);
    } else if (!st && t.s) fputs(t.s, stdout);
    text_free(&t);
    return st ? cli_fail(c, &err) : EXIT_VALID;
}
