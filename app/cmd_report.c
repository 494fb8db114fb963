/* attune report: writes report.html of a run again. */
#include <stdlib.h>

#include "base/file.h"
#include "cmd.h"
#include "report/report.h"

int cmd_report(const atn_cli *c)
{
    atn_error err = {0};
    const char *folder = c->n_args ? c->args[0] : "attune_output";
    char *path = cli_has(c, "output") ? atn_strdup(cli_text(c, "output", NULL)) : file_join(folder, "report.html");
    atn_status st = report_write(folder, path, &err);
    if (!st) printf("%s\n", path);
    free(path);
    return st ? cli_fail(c, &err) : EXIT_VALID;
}
