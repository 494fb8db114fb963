/* attune build: one kernel through the gate and the sandboxed compiler, kept as a shared object that hosts load
 * (atn_kernel_load, the Python package, the ggml plug-in). It is not judged: `attune eval` does that. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/file.h"
#include "cmd.h"
#include "judge/build.h"
#include "judge/gate.h"

enum { SOURCE_MAX = 4 << 20 };

static atn_status read_object(int fd, char **data, size_t *n, atn_error *err)
{
    struct stat s;
    if (fstat(fd, &s) || s.st_size <= 0) return atn_fail(err, ATN_IO, "cannot read the object: %s", strerror(errno));
    *data = atn_alloc((size_t)s.st_size);
    *n = 0;
    while (*n < (size_t)s.st_size) {
        const ssize_t got = pread(fd, *data + *n, (size_t)s.st_size - *n, (off_t)*n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return atn_fail(err, ATN_IO, "cannot read the object: %s", strerror(errno));
        *n += (size_t)got;
    }
    return ATN_OK;
}

/* Whole or not at all: a host may be loading an older one of that name. */
static atn_status keep(int fd, const char *path, atn_error *err)
{
    char *data = NULL, *draft = atn_format("%s.%ld.tmp", path, (long)getpid());
    size_t n = 0;
    atn_status s = read_object(fd, &data, &n, err);
    int to = s ? -1 : open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (!s && to < 0) s = atn_fail(err, ATN_IO, "cannot write '%s': %s", path, strerror(errno));
    for (size_t at = 0; !s && at < n;) {
        const ssize_t put = write(to, data + at, n - at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) s = atn_fail(err, ATN_IO, "cannot write '%s': %s", path, strerror(errno));
        else at += (size_t)put;
    }
    if (to >= 0 && close(to) && !s) s = atn_fail(err, ATN_IO, "cannot write '%s': %s", path, strerror(errno));
    if (!s && rename(draft, path)) s = atn_fail(err, ATN_IO, "cannot write '%s': %s", path, strerror(errno));
    if (s && to >= 0) unlink(draft);
    free(draft);
    free(data);
    return s;
}

int cmd_build(const atn_cli *c)
{
    const char *path = c->args[0];
    char *source = NULL, *own = NULL;
    build_result r = {.so_fd = -1};
    atn_error err = {0};
    build_options o = {.cc = cli_text(c, "cc", NULL), .whole_file = true};
    char *flags = NULL;
    int code = EXIT_VALID;

    const char *out = cli_text(c, "output", NULL);
    if (!out) {
        const size_t n = strlen(path), stem = n > 2 && !strcmp(path + n - 2, ".c") ? n - 2 : n;
        out = own = atn_format("%.*s.so", (int)stem, path);
    }
    atn_status s = file_read_text(path, SOURCE_MAX, &source, &err);
    if (!s) o.flags = flags = gate_heading_flags(source); /* as the evolution judged it */
    if (!s) s = build_run(&o, source, NULL, &r, &err);
    if (s) {
        code = cli_fail(c, &err);
        goto done;
    }
    if (r.reason != ATN_REASON_OK) {
        atn_fail(&err, ATN_PROCESS, "'%s' does not build: %s", path, r.evidence);
        code = cli_fail(c, &err);
        goto done;
    }
    if (keep(r.so_fd, out, &err)) {
        code = cli_fail(c, &err);
        goto done;
    }
    if (c->json) {
        json_t *j = json_pack("{s:s s:s s:s s:s}", "object", out, "code_hash", r.object_hash, "compiler", r.compiler,
                              "flags", r.flags);
        json_dumpf(j, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(j);
    } else printf("%s\n", out);
done:
    build_release(&r);
    free(flags);
    free(source);
    free(own);
    return code;
}
