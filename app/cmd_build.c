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
#include "run/run_int.h"

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

/* *r is the caller's to release in any case. */
static atn_status build_one(const atn_cli *c, const char *path, const char *out, build_result *r, atn_error *err)
{
    char *source = NULL, *flags = NULL;
    build_options o = {.cc = cli_text(c, "cc", NULL), .whole_file = true};
    *r = (build_result){.so_fd = -1};
    atn_status s = file_read_text(path, SOURCE_MAX, &source, err);
    if (!s) o.flags = flags = gate_heading_flags(source); /* as the evolution judged it */
    if (!s) s = build_run(&o, source, NULL, r, err);
    if (!s && r->reason != ATN_REASON_OK) s = atn_fail(err, ATN_PROCESS, "'%s' does not build: %s", path, r->evidence);
    if (!s) s = keep(r->so_fd, out, err);
    free(flags);
    free(source);
    return s;
}

/* ---- the folder of a run: each program that dispatch.txt names ---- */

/* The file that a line of dispatch.txt names: the word that ends in .c; NULL: none. Writes into the line. */
static const char *named_file(char *line)
{
    if (*line == '#') return NULL;
    for (char *w; (w = strsep(&line, " "));)
        if (strlen(w) > 2 && !strcmp(w + strlen(w) - 2, ".c") && !strchr(w, '/')) return w;
    return NULL;
}

static atn_status build_named(const atn_cli *c, const char *place, const char *out, const char *name, atn_error *err)
{
    build_result r = {.so_fd = -1};
    char *from = file_join(place, name), *to = file_join(out, name), *object = kernel_object(to);
    const atn_status s = build_one(c, from, object, &r, err);
    if (!s && !c->json) printf("%s\n", object);
    build_release(&r);
    free(object);
    free(to);
    free(from);
    return s;
}

static int build_folder(const atn_cli *c, const char *folder)
{
    atn_error err = {0};
    char place[4200], *text = portfolio_text(folder, place, sizeof place, &err), *done[64], *whole = NULL;
    const char *out = cli_text(c, "output", place);
    int n = 0;
    atn_status s = text ? ATN_OK : err.code;
    if (!s) s = file_mkdirs(out, &err);
    if (!s) whole = atn_strdup(text);
    for (char *rest = text, *line; !s && (line = strsep(&rest, "\n"));) {
        const char *name = named_file(line);
        bool known = !name;
        for (int i = 0; i < n && !known; i++) known = !strcmp(done[i], name);
        if (known || n == ATN_COUNT(done)) continue;
        done[n++] = atn_strdup(name);
        s = build_named(c, place, out, name, &err);
    }
    if (!s && !n) s = atn_fail(&err, ATN_FORMAT, "dispatch.txt of '%s' names no program beside it", place);
    if (!s && strcmp(out, place)) { /* last: who finds it finds the objects */
        char *copy = file_join(out, "dispatch.txt");
        s = file_write(copy, whole, strlen(whole), &err);
        free(copy);
    }
    if (!s && c->json) {
        json_t *j = json_pack("{s:s s:i}", "folder", out, "programs", n);
        json_dumpf(j, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(j);
    }
    for (int i = 0; i < n; i++) free(done[i]);
    free(whole);
    free(text);
    return s ? cli_fail(c, &err) : EXIT_VALID;
}

int cmd_build(const atn_cli *c)
{
    const char *path = c->args[0];
    char *own = NULL;
    build_result r = {.so_fd = -1};
    atn_error err = {0};
    struct stat st;
    int code = EXIT_VALID;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return build_folder(c, path);
    const char *out = cli_text(c, "output", NULL);
    if (!out) out = own = kernel_object(path);
    if (build_one(c, path, out, &r, &err)) {
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
    free(own);
    return code;
}
