/* attune worker: one pilot. attune worker-bundle: what it needs, for a machine without attune. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cmd.h"
#include "evolve/execute/pilot.h"
#include "judge/sandbox.h"

extern char **environ;

int cmd_worker(const atn_cli *c)
{
    atn_error err = {0};
    pilot_options o = {.in = STDIN_FILENO, .out = STDOUT_FILENO, .make = evolve_judge_create};
    o.spool = cli_text(c, "spool", NULL);
    o.silence_s = cli_real(c, "silence", 0);
    if (!o.spool == !cli_has(c, "stdio")) {
        atn_fail(&err, ATN_USAGE, "give either --stdio or --spool DIR; runs start workers by themselves (--executor)");
        return cli_fail(c, &err);
    }
    return pilot_run(&o);
}

/* ---- the bundle ---- */

static atn_status shell(char *const *argv, atn_error *err)
{
    pid_t pid;
    int status = 0, e = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
    if (e) return atn_fail(err, ATN_PROCESS, "cannot start %s: %s", argv[0], strerror(e));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (status) return atn_fail(err, ATN_PROCESS, "%s failed", argv[0]);
    return ATN_OK;
}

static atn_status copy(const char *from, const char *folder, const char *name, atn_error *err)
{
    char *to = file_join(folder, name);
    char *argv[] = {"cp", "-L", (char *)from, to, NULL};
    atn_status st = file_exists(from) ? shell(argv, err)
                                      : atn_fail(err, ATN_NOT_FOUND, "'%s' is missing; build it first (meson compile)", from);
    free(to);
    return st;
}

/* bundle/attune, bundle/attune-worker, bundle/include/attune: the home that attune finds is the folder itself. */
static atn_status fill(const char *folder, atn_error *err)
{
    static const char *const headers[] = {"attune/kernel.h", "attune/vec.h", "attune/amx.h", "attune/cut.h"};
    char *include = file_join(folder, "include/attune"), *pilot = file_beside_program("attune-pilot");
    atn_status st = file_mkdirs(include, err);
    if (!st) st = copy(pilot, folder, "attune", err);
    if (!st) st = copy(sandbox_worker_path(), folder, "attune-worker", err);
    for (int i = 0; i < ATN_COUNT(headers) && !st; i++) {
        char *sub = file_join("include", headers[i]), *from = file_join(file_home(), sub);
        st = copy(from, folder, sub, err);
        free(from);
        free(sub);
    }
    free(pilot);
    free(include);
    return st;
}

int cmd_worker_bundle(const atn_cli *c)
{
    atn_error err = {0};
    const char *out = c->n_args ? c->args[0] : "attune-worker-bundle.tar.gz";
    const int fd = open(out, O_WRONLY | O_CREAT | O_CLOEXEC, 0666); /* tar would say it in five lines */
    if (fd < 0) {
        atn_fail(&err, ATN_IO, "cannot write '%s': %s; check that the folder exists and may be written", out, strerror(errno));
        return cli_fail(c, &err);
    }
    close(fd);
    char top[] = "/tmp/attune-bundle.XXXXXX";
    if (!mkdtemp(top)) {
        atn_fail(&err, ATN_IO, "cannot make a folder in /tmp: %s", strerror(errno));
        return cli_fail(c, &err);
    }
    char *folder = file_join(top, "attune-worker-bundle");
    atn_status st = fill(folder, &err);
    char *argv[] = {"tar", "--owner=0", "--group=0", "-C", top, "-czf", (char *)out, "attune-worker-bundle", NULL};
    if (!st) st = shell(argv, &err);
    file_remove_tree(top, NULL);
    free(folder);
    if (st) return cli_fail(c, &err);
    printf("%s\n", out);
    return EXIT_VALID;
}
