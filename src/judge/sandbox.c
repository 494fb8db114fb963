/* Starting workers. See sandbox.h. */
#include "judge/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "judge/wire.h"

enum { FD_MIN = 40 }; /* descriptors are moved above this one before they get their numbers in the child */

const char *sandbox_worker_path(void)
{
    static char *path;
    if (path) return path;
    const char *env = getenv("ATTUNE_WORKER");
    if (env && *env) return path = atn_strdup(env);
    path = file_beside_program("attune-worker");
    if (!file_exists(path)) { /* a test program in tests/judge/ of the build tree */
        char *near = file_beside_program("../../worker/attune-worker");
        if (file_exists(near)) {
            free(path);
            path = near;
        } else {
            free(near);
        }
    }
    return path;
}

int sandbox_memfd(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || fd >= FD_MIN) return fd;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_MIN);
    if (high < 0) return fd;
    close(fd);
    return high;
}

atn_status sandbox_spawn(const char *const *args, const int *fds, int n_fds, pid_t *pid, atn_error *err)
{
    const char *path = sandbox_worker_path();
    char *argv[64] = {(char *)"attune-worker"};
    for (int i = 0; args[i]; i++) {
        ATN_CHECK(i + 2 < ATN_COUNT(argv));
        argv[i + 1] = (char *)args[i];
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    /* What asks attune to end is not for its workers: a batch system sends it to every process of a job, and a candidate
     * whose compiler or worker went with it would be said to have crashed. */
    static const int for_attune[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP};
    sigset_t blocked, all;
    sigemptyset(&blocked);
    for (int i = 0; i < ATN_COUNT(for_attune); i++) sigaddset(&blocked, for_attune[i]);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attr, &blocked);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0); /* Ctrl-C on the terminal is for attune alone */
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int moved[16], e = 0;
    ATN_CHECK(n_fds <= ATN_COUNT(moved));
    for (int i = 0; i < n_fds; i++) {
        moved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FD_MIN);
        if (moved[i] < 0) e = errno;
        else posix_spawn_file_actions_adddup2(&actions, moved[i], i);
    }
    char *const empty[] = {NULL};
    if (!e) e = posix_spawn(pid, path, &actions, &attr, argv, empty);
    for (int i = 0; i < n_fds; i++)
        if (moved[i] >= 0) close(moved[i]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    if (e)
        return atn_fail(err, ATN_PROCESS, "cannot start '%s': %s; build it (meson compile) or set ATTUNE_WORKER", path,
                        strerror(e));
    return ATN_OK;
}

void sandbox_kill(pid_t pid)
{
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
}

static int left_out;
void sandbox_leave_out(int layers)
{
    left_out |= layers;
}

static int probe_layers(void)
{
    int layers = 0;
    int pipe_fd[2];
    if (pipe2(pipe_fd, O_CLOEXEC) != 0) return 0;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t pid;
    const char *const args[] = {"probe", NULL};
    const int fds[] = {null, null, null, pipe_fd[1]};
    atn_status st = null < 0 ? ATN_IO : sandbox_spawn(args, fds, 4, &pid, NULL);
    close(pipe_fd[1]);
    if (null >= 0) close(null);
    if (st == ATN_OK) {
        int found = 0, status = 0;
        ssize_t n;
        while ((n = read(pipe_fd[0], &found, sizeof found)) < 0 && errno == EINTR) {}
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        if (n == sizeof found) layers = found;
    }
    close(pipe_fd[0]);
    return layers;
}

int sandbox_layers(void)
{
    static int layers = -1;
    if (layers < 0) layers = probe_layers();
    return layers & ~left_out;
}

int sandbox_uid(void)
{
    /* 60578 .. 61183 belongs to nobody (systemd's table of uids); one per attune process, so that RLIMIT_NPROC counts
     * its own. */
    return geteuid() == 0 && (sandbox_layers() & LAYER_UID) ? 60578 + (int)(getpid() % 600) : 0;
}

static int timing_cpu = -1;
void sandbox_set_timing_cpu(int cpu)
{
    timing_cpu = cpu;
}
int sandbox_timing_cpu(void)
{
    return timing_cpu;
}

/* --- the scratch folder --- */

static char *scratch;
static int scratch_lock = -1;
static pid_t scratch_owner;

static void scratch_remove(void)
{
    if (!scratch || scratch_owner != getpid()) return;
    file_remove_tree(scratch, NULL);
    if (scratch_lock >= 0) close(scratch_lock);
    free(scratch);
    scratch = NULL;
}

/* A folder is stale if its lock can be taken: the kernel frees locks of the dead. */
static void remove_stale(const char *root)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "attune-build-%u-", (unsigned)geteuid());
    DIR *d = opendir(root);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        if (strncmp(e->d_name, prefix, strlen(prefix)) != 0) continue;
        char *folder = file_join(root, e->d_name), *lock = file_join(folder, "lock");
        struct stat s;
        if (lstat(folder, &s) == 0 && S_ISDIR(s.st_mode) && s.st_uid == geteuid()) {
            int fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
            /* No lock file yet: perhaps being made this moment; stale only when older than a minute. */
            bool stale = fd < 0 && errno == ENOENT && s.st_mtime + 60 < time(NULL);
            /* A lock file of this moment belongs to somebody who is about to lock it. */
            if (fd >= 0 && fstat(fd, &s) == 0 && s.st_mtime + 2 < time(NULL)) stale = flock(fd, LOCK_EX | LOCK_NB) == 0;
            if (stale) file_remove_tree(folder, NULL);
            if (fd >= 0) close(fd);
        }
        free(folder);
        free(lock);
    }
    closedir(d);
}

static bool usable(const char *root)
{
    struct statvfs s;
    return root && root[0] == '/' && access(root, W_OK | X_OK) == 0 && statvfs(root, &s) == 0 &&
           (uint64_t)s.f_bavail * s.f_frsize >= ((uint64_t)48 << 20);
}

/* Copies HOME/include/attune to FOLDER/include/attune: the build sees the headers as they were at its start, and a
 * private uid can read them wherever the checkout lies. */
static atn_status copy_headers(const char *folder, atn_error *err)
{
    char *from = file_join(file_home(), "include/attune"), *to = file_join(folder, "include/attune");
    atn_status st = file_mkdirs(to, err);
    DIR *d = st == ATN_OK ? opendir(from) : NULL;
    if (st == ATN_OK && !d)
        st = atn_fail(err, ATN_NOT_FOUND, "cannot open '%s': %s; set ATTUNE_HOME to attune's checkout", from,
                      strerror(errno));
    for (struct dirent *e; st == ATN_OK && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n < 3 || strcmp(e->d_name + n - 2, ".h") != 0) continue;
        char *source = file_join(from, e->d_name), *target = file_join(to, e->d_name), *text = NULL;
        size_t bytes = 0;
        st = file_read(source, 4 << 20, &text, &bytes, err);
        int fd = st == ATN_OK ? open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644) : -1;
        if (st == ATN_OK && (fd < 0 || write(fd, text, bytes) != (ssize_t)bytes))
            st = atn_fail(err, ATN_IO, "cannot write '%s': %s", target, strerror(errno));
        if (fd >= 0) {
            fchmod(fd, 0644);
            close(fd);
        }
        free(source);
        free(target);
        free(text);
    }
    if (d) closedir(d);
    char *include = file_join(folder, "include");
    chmod(include, 0755);
    chmod(to, 0755);
    free(include);
    free(from);
    free(to);
    return st;
}

const char *sandbox_scratch(atn_error *err)
{
    if (scratch && scratch_owner == getpid()) return scratch;
    const char *roots[] = {getenv("ATTUNE_SCRATCH"), "/dev/shm", getenv("TMPDIR"), "/tmp"};
    const char *root = NULL;
    for (int i = 0; i < ATN_COUNT(roots) && !root; i++)
        if (usable(roots[i])) root = roots[i];
    if (!root) {
        atn_fail(err, ATN_IO,
                 "no folder for builds with 48 MiB free among /dev/shm, $TMPDIR, /tmp; set ATTUNE_SCRATCH");
        return NULL;
    }
    remove_stale(root);
    char *folder = atn_format("%s/attune-build-%u-XXXXXX", root, (unsigned)geteuid());
    if (!mkdtemp(folder)) {
        atn_fail(err, ATN_IO, "cannot make '%s': %s", folder, strerror(errno));
        free(folder);
        return NULL;
    }
    char *lock = file_join(folder, "lock");
    int fd;
    atn_status st = file_lock(lock, 0, &fd, err);
    free(lock);
    if (st == ATN_OK) {
        chmod(folder, 0711); /* a private uid passes through, and lists nothing */
        scratch = folder;
        scratch_lock = fd;
        scratch_owner = getpid();
        st = copy_headers(folder, err);
        if (st != ATN_OK) scratch_remove();
    } else {
        file_remove_tree(folder, NULL);
        free(folder);
    }
    if (st != ATN_OK) return NULL;
    static bool registered;
    if (!registered) atexit(scratch_remove);
    registered = true;
    return scratch;
}
