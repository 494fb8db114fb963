/* attune serve: the dashboard of a run, live over HTTP or as files. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cmd.h"
#include "serve/serve.h"

static int write_static(const atn_cli *c, const serve_options *o)
{
    atn_error err = {0};
    const char *folder = cli_text(c, "static", NULL);
    int files = 0;
    if (serve_static(o, folder, &files, &err)) return cli_fail(c, &err);
    char *path = file_join(folder, "index.html");
    printf("%s\n", path);
    free(path);
    return EXIT_VALID;
}

static int is_folder(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

/* A run over several classes of machine keeps a run for each of the others in machines/: they are shown beside it. Their
 * names are kept until the program ends. */
static void add_machines(serve_options *o)
{
    char *machines = file_join(o->folders[0], "machines");
    struct dirent **list = NULL;
    int n = scandir(machines, &list, is_folder, alphasort);
    for (int i = 0; i < n; i++) {
        char *folder = file_join(machines, list[i]->d_name), *db = file_join(folder, "run.db");
        if (o->n_folders < SERVE_RUNS_MAX && file_exists(db)) o->folders[o->n_folders++] = folder;
        else free(folder);
        free(db);
        free(list[i]);
    }
    free(list);
    free(machines);
}

int cmd_serve(const atn_cli *c)
{
    atn_error err = {0};
    serve_options o = {.folders = {"attune_output"},
                       .n_folders = c->n_args ? c->n_args : 1,
                       .listen = cli_text(c, "listen", NULL),
                       .port = (int)cli_int(c, "port", 0)};
    for (int i = 0; i < c->n_args; i++) o.folders[i] = c->args[i];
    for (int i = 0; i < o.n_folders; i++) {
        struct stat sb;
        if (!stat(o.folders[i], &sb)) continue;
        atn_fail(&err, ATN_NOT_FOUND, "no folder '%s'; start a run with: %s evolve -o %s", o.folders[i], cli_program(),
                 o.folders[i]);
        return cli_fail(c, &err);
    }
    add_machines(&o);
    if (cli_has(c, "static")) return write_static(c, &o);
    serve *s = NULL;
    if (serve_start(&o, &s, &err)) return cli_fail(c, &err);
    if (!serve_is_loopback(s))
        fprintf(stderr,
                "attune serve: other machines can reach this address; whoever has the token can read the run\n");
    printf("%s\n", serve_url(s));
    fflush(stdout);
    if (!c->quiet && isatty(STDERR_FILENO)) fprintf(stderr, "Open it in a browser. Ctrl-C ends it; the run goes on.\n");
    interrupt_catch();
    while (!interrupted) usleep(100000);
    serve_stop(s);
    return EXIT_VALID;
}
