/* What a run came to, for people: tables for the terminal, report.html, one program with its story.
 *
 *     report_write("attune_output", "attune_output/report.html", &err);
 *     report_tables("attune_output", "./attune", &(report_style){"", "", 80}, &text, &err);
 *
 * Everything is read from the folder: run.db, and best/best_program_info.json for the comparison at the end. So a table
 * printed now and one printed from an old folder are the same, and a run that was killed can be looked at too. Sources,
 * notes and evidence are a candidate's or a model's text: they are escaped, never interpreted. */
#ifndef ATN_REPORT_REPORT_H
#define ATN_REPORT_REPORT_H

#include <stdint.h>

#include "base/status.h"
#include "base/text.h"

/* Writes the report as one HTML file without scripts or links to other files. */
atn_status report_write(const char *folder, const char *html_path, atn_error *err);

/* What text is for: bold and plain switch the terminal, or "". Columns: how wide it is; 0 for a file, where lines are as
 * long as they need be. */
typedef struct {
    const char *bold, *plain;
    int columns;
} report_style;

/* The tables of a run. `program` is the word by which the user calls attune. */
atn_status report_tables(const char *folder, const char *program, const report_style *style, atn_text *out,
                         atn_error *err);
/* Speedup over time, shares of the peak, archive and verdicts as drawings of plain characters; nothing where there are
 * too few programs to draw. */
atn_status report_charts(const char *folder, const report_style *style, atn_text *out, atn_error *err);
/* The tables as one JSON object on one line. */
atn_status report_json(const char *folder, atn_text *out, atn_error *err);

/* One program of the run: verdict, parents, source. NOT_FOUND where there is none of that id. */
atn_status report_program(const char *folder, int64_t id, atn_text *out, atn_error *err);
/* The diff of each step of the winner's lineage, root first. */
atn_status report_diffs(const char *folder, atn_text *out, atn_error *err);

#endif
