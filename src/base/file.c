/* Files: whole reads, atomic writes, folders, locks. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

atn_status file_read(const char *path, size_t bytes_max, char **data, size_t *n, atn_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe that nobody writes to is empty, not waited for */
    if (fd >= 0) fcntl(fd, F_SETFL, 0);
    if (fd < 0) return atn_fail(err, errno == ENOENT ? ATN_NOT_FOUND : ATN_IO, "cannot open '%s': %s", path, strerror(errno));
    size_t room = 65536, used = 0;
    char *buffer = atn_alloc(room);
    for (;;) {
        if (used + 1 >= room) buffer = atn_realloc(buffer, room *= 2);
        ssize_t got = read(fd, buffer + used, room - used - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 || used + (size_t)got > bytes_max) {
            int e = errno;
            close(fd);
            free(buffer);
            if (got < 0) return atn_fail(err, ATN_IO, "cannot read '%s': %s", path, strerror(e));
            return atn_fail(err, ATN_FORMAT, "'%s' is larger than %zu bytes", path, bytes_max);
        }
        if (got == 0) break;
        used += (size_t)got;
    }
    close(fd);
    buffer[used] = 0;
    *data = buffer;
    if (n) *n = used;
    return ATN_OK;
}

atn_status file_read_text(const char *path, size_t bytes_max, char **text, atn_error *err)
{
    size_t n;
    atn_status st = file_read(path, bytes_max, text, &n, err);
    if (st || strlen(*text) == n) return st;
    free(*text);
    *text = NULL;
    return atn_fail(err, ATN_FORMAT, "'%s' is no text: it holds a zero byte", path);
}

atn_status file_write(const char *path, const void *data, size_t n, atn_error *err)
{
    struct stat s;
    char *real = realpath(path, NULL);                          /* the file behind a link is replaced, not the link */
    const char *to = real ? real : path;
    const bool straight = stat(to, &s) == 0 && !S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode); /* /dev/stdout, a pipe */
    /* Threads and processes may write side by side, also in containers, whose numbers of threads are the same. */
    char *temp = straight ? NULL : atn_format("%s.%d-%llx.tmp", to, (int)gettid(), (unsigned long long)clock_ns());
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK; /* a pipe that nobody reads is an error */
    int fd = open(straight ? to : temp, flags, 0666);
    if (fd < 0) {
        atn_fail(err, ATN_IO, "cannot write '%s': %s; check that the folder exists and may be written", path, strerror(errno));
        free(temp);
        free(real);
        return ATN_IO;
    }
    fcntl(fd, F_SETFL, 0);
    const char *p = data;
    size_t left = n;
    int e = 0;
    while (left && !e) {
        ssize_t put = write(fd, p, left);
        if (put > 0) p += put, left -= (size_t)put;
        else if (put == 0 || errno != EINTR) e = put == 0 ? ENOSPC : errno;
    }
    if (!e && fsync(fd) != 0 && errno != EINVAL && errno != EROFS) e = errno;
    if (close(fd) != 0 && !e) e = errno;
    if (!e && temp && rename(temp, to) != 0) e = errno;
    if (e) {
        if (temp) unlink(temp);
        atn_fail(err, ATN_IO, "cannot write '%s': %s%s%s", path, strerror(e), e == ENOSPC ? " (free some space and run again)" : "",
                 temp ? "; the old file, if any, is untouched" : "");
    }
    free(temp);
    free(real);
    return e ? ATN_IO : ATN_OK;
}

atn_status file_mkdirs(const char *path, atn_error *err)
{
    if (!*path) return atn_fail(err, ATN_USAGE, "cannot make a folder without a name");
    char *copy = atn_strdup(path);
    atn_status st = ATN_OK;
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != 0) continue;
        char c = *p;
        *p = 0;
        struct stat s;
        if (mkdir(copy, 0777) != 0 && (errno != EEXIST || stat(copy, &s) != 0 || !S_ISDIR(s.st_mode))) {
            st = atn_fail(err, ATN_IO, "cannot make folder '%s': %s", copy, errno == EEXIST ? "a file is in the way" : strerror(errno));
            break;
        }
        *p = c;
        if (!c) break;
    }
    free(copy);
    return st;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *w)
{
    (void)s, (void)kind, (void)w;
    return remove(path);
}

atn_status file_remove_tree(const char *path, atn_error *err)
{
    if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return atn_fail(err, ATN_IO, "cannot remove '%s': %s", path, strerror(errno));
    return ATN_OK;
}

atn_status file_lock(const char *path, int wait_ms, int *fd, atn_error *err)
{
    int f = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (f < 0) return atn_fail(err, ATN_IO, "cannot open lock '%s': %s", path, strerror(errno));
    int64_t deadline = clock_ns() + (int64_t)wait_ms * 1000000;
    while (flock(f, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            int e = errno;
            close(f);
            return atn_fail(err, ATN_IO, "cannot lock '%s': %s", path, strerror(e));
        }
        if (wait_ms >= 0 && clock_ns() >= deadline) {
            close(f);
            return atn_fail(err, ATN_BUSY, "'%s' is held by another process", path);
        }
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    *fd = f;
    return ATN_OK;
}

char *file_shipped(const char *name)
{
    char *here = realpath(name, NULL), *whole = file_join(file_home(), name), *there = realpath(whole, NULL);
    const bool same = here && there && !strcmp(here, there);
    free(here);
    free(there);
    if (!same) return whole;
    free(whole);
    return atn_strdup(name);
}

char *file_join(const char *folder, const char *name) { return atn_format("%s/%s", folder, name); }

static char *program_folder(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return atn_strdup(".");
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (slash) *slash = 0;
    return atn_strdup(path);
}

char *file_beside_program(const char *name)
{
    char *folder = program_folder(), *path = file_join(folder, name);
    if (!file_exists(path)) {
        char *libexec = atn_format("%s/../libexec/attune/%s", folder, name);
        if (file_exists(libexec)) {
            free(path);
            path = libexec;
        } else {
            char *worker = atn_format("%s/../worker/%s", folder, name);   /* the build tree */
            free(libexec);
            if (file_exists(worker)) {
                free(path);
                path = worker;
            } else {
                free(worker);
            }
        }
    }
    free(folder);
    return path;
}

static bool is_home(const char *folder)
{
    char *probe = file_join(folder, "examples/attention/initial_program.c"); /* /usr has include/attune as well, with the -dev package */
    bool yes = file_exists(probe);
    free(probe);
    return yes;
}

const char *file_home(void)
{
    static char *home;
    if (home) return home;
    const char *env = getenv("ATTUNE_HOME");
    if (env && *env) return home = atn_strdup(env);
    char *folder = program_folder();
    static const char *const places[] = {"../..", "..", "../share/attune"};
    for (int i = 0; i < ATN_COUNT(places) && !home; i++) {
        char *candidate = file_join(folder, places[i]), *real = realpath(candidate, NULL);
        if (real && is_home(real)) home = real;
        else free(real);
        free(candidate);
    }
    free(folder);
    if (!home) home = atn_strdup(ATN_DATADIR);
    return home;
}
