/* attune workloads: real prompts through a real model, with attune's attention and with the runtime's own. The work is
 * done by integrations/python/attune/workloads.py in the peers' virtual environment; this hands it the command line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cmd.h"
#include "peers.h"

enum { ARGUMENTS = 64 };

/* The folder of the built or installed libraries, found from where this program lies: build/app, or PREFIX/bin. */
static char *library_folder(void)
{
    char self[4096];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0) return NULL;
    self[n] = 0;
    static const char *const relative[] = {"../integrations", "../lib/attune", "../lib64/attune",
                                           "../lib/x86_64-linux-gnu/attune", "../lib/aarch64-linux-gnu/attune"};
    char *end = strrchr(self, '/');
    if (!end) return NULL;
    *end = 0;
    for (int i = 0; i < ATN_COUNT(relative); i++) {
        char *folder = atn_format("%s/%s", self, relative[i]), *so = atn_format("%s/libattune-python.so", folder);
        const bool found = file_exists(so);
        free(so);
        if (found) return folder;
        free(folder);
    }
    return NULL;
}

static void put_before(const char *variable, const char *value)
{
    const char *old = getenv(variable);
    char *both = old && *old ? atn_format("%s:%s", value, old) : atn_strdup(value);
    setenv(variable, both, 1);
    free(both);
}

int cmd_workloads(const atn_cli *c)
{
    static const char *const given[] = {"model",      "runtime",    "evolved-program", "rounds",
                                        "new-tokens", "max-prompt", "prompt-tokens",   "generate",
                                        "prompt",     "threads",    "svg",             "only",
                                        "layers"};
    const char *argv[ARGUMENTS];
    char *python, *path;
    atn_error err = {0};
    int n = 0;

    if (!cli_text(c, "model", NULL)) {
        atn_fail(&err, ATN_USAGE, "--model is missing: a model folder (mlx, torch) or a GGUF file (llama)");
        return cli_fail(c, &err);
    }
    if (runtime_python(&python, &err)) return cli_fail(c, &err);
    argv[n++] = python;
    argv[n++] = "-m";
    argv[n++] = "attune.workloads";
    for (int i = 0; i < ATN_COUNT(given); i++) {
        if (!cli_has(c, given[i])) continue;
        argv[n++] = atn_format("--%s", given[i]); /* lives until exec */
        argv[n++] = cli_text(c, given[i], NULL);
    }
    for (int i = 0; i < cli_count(c, "workload") && n < ARGUMENTS - 4; i++) {
        argv[n++] = "--workload";
        argv[n++] = cli_item(c, "workload", i);
    }
    if (c->json) argv[n++] = "--json";
    argv[n] = NULL;

    path = file_join(file_home(), "integrations/python");
    put_before("PYTHONPATH", path);
    free(path);
    char *folder = library_folder();
    if (folder && !getenv("ATTUNE_LIB")) setenv("ATTUNE_LIB", folder, 1);
    free(folder);
    fflush(NULL);
    execv(python, (char *const *)argv);
    atn_fail(&err, ATN_PROCESS, "cannot start '%s': %s", python, strerror(errno));
    return cli_fail(c, &err);
}
