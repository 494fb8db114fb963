/* The compile worker: runs one compiler under limits, ends everything that it started, hands back the object.
 *
 *   attune-worker compile FOLDER TIMEOUT_MS UID LAYERS CPU [-r PATH]... -- CC ARGS...
 *
 * This process itself is our code only: it waits, kills and reaps, also when attune is gone (its pipe BUILD_FD_LIFE
 * hangs up). The compiler runs in a child, in a process group of its own that it cannot leave (setpgid and setsid do
 * not pass the filter). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "judge/wire.h"
#include "lock.h"
#include "worker.h"

enum { SO_BYTES_MAX = 4 << 20, PATHS_MAX = 32 };

typedef struct {
    const char *folder;
    int timeout_ms, uid, layers, cpu;
    lock_path paths[PATHS_MAX];
    int n_paths;
    char **command;
} job;

/* Leaves the timing CPU to the races, and makes way for them where it cannot. */
static void stay_off(int cpu)
{
    cpu_set_t set;
    if (cpu < 0 || sched_getaffinity(0, sizeof set, &set) != 0) return;
    /* attune may be pinned to that CPU while it times: begin from all that the system has. */
    CPU_ZERO(&set);
    long n = sysconf(_SC_NPROCESSORS_CONF);
    for (long i = 0; i < n && i < CPU_SETSIZE; i++)
        if (i != cpu) CPU_SET((int)i, &set);
    if (n > 1) sched_setaffinity(0, sizeof set, &set);
}

static _Noreturn void child(const job *j, int error_pipe)
{
    static char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=.", "LC_ALL=C",
                                        "SOURCE_DATE_EPOCH=0", NULL};
    const char *step = "process group";
    if (setpgid(0, 0) != 0) goto fail;
    step = "descriptors";
    if (fcntl(error_pipe, F_SETFD, FD_CLOEXEC) != 0 || dup2(error_pipe, 3) < 0 || fcntl(3, F_SETFD, FD_CLOEXEC) != 0)
        goto fail;
    error_pipe = 3;
    lock_close_from(4);
    step = "folder";
    if (chdir(j->folder) != 0) goto fail;
    stay_off(j->cpu);
    setpriority(PRIO_PROCESS, 0, 5);
    step = "limits";
    if (lock_limit(RLIMIT_AS, 2ull << 30) || lock_limit(RLIMIT_CPU, (uint64_t)(j->timeout_ms + 999) / 1000) ||
        lock_limit(RLIMIT_FSIZE, 64 << 20) || lock_limit(RLIMIT_CORE, 0) || lock_limit(RLIMIT_NOFILE, 64))
        goto fail;
    step = "namespaces";
    if ((j->layers & LAYER_NAMESPACES) && lock_namespaces() != 0) goto fail;
    step = "uid";
    if (j->uid && (lock_limit(RLIMIT_NPROC, 64) != 0 || lock_uid(j->uid) != 0)) goto fail;
    step = "no-new-privileges";
    if (lock_no_new_privs() != 0) goto fail;
    step = "Landlock";
    if ((j->layers & LAYER_LANDLOCK) && lock_landlock(j->paths, j->n_paths) != 0) goto fail;
    step = "seccomp";
    if ((j->layers & LAYER_SECCOMP) && lock_filter(FILTER_COMPILE) != 0) goto fail;
    step = "exec";
    execve(j->command[0], j->command, environment);
fail:;
    build_report r = {.error = errno};
    snprintf(r.text, sizeof r.text, "%s", step);
    if (write(error_pipe, &r, sizeof r) < 0) _exit(98);
    _exit(97);
}

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Ends the whole group and reaps it: this process is the subreaper, so nobody slips away to process 1. */
static void end_group(pid_t group)
{
    kill(-group, SIGKILL);
    for (;;) {
        pid_t p = waitpid(-1, NULL, 0);
        if (p < 0 && errno == ECHILD) return;
    }
}

/* Copies the object into the supervisor's memory file. The file belongs to the compiler: it may be a link, a pipe,
 * endless. */
static void hand_over(const job *j, build_report *r)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/kernel.so", j->folder);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0) {
        r->error = errno;
    } else if (!S_ISREG(s.st_mode)) {
        r->error = EINVAL;
    } else if (s.st_size > SO_BYTES_MAX) {
        r->error = EFBIG;
    } else {
        static char buffer[65536];
        ssize_t n;
        while (r->so_bytes < SO_BYTES_MAX && (n = read(fd, buffer, sizeof buffer)) > 0) {
            if (write(BUILD_FD_SO, buffer, (size_t)n) != n) {
                r->error = errno ? errno : EIO;
                break;
            }
            r->so_bytes += n;
        }
    }
    if (fd >= 0) close(fd);
}

int compile_main(int argc, char **argv)
{
    job j = {0};
    int i = 5;
    if (argc < 7) return 2;
    j.folder = argv[0];
    j.timeout_ms = atoi(argv[1]);
    j.uid = atoi(argv[2]);
    j.layers = atoi(argv[3]);
    j.cpu = atoi(argv[4]);
    for (; i + 1 < argc && strcmp(argv[i], "-r") == 0 && j.n_paths < PATHS_MAX - 1; i += 2)
        j.paths[j.n_paths++] = (lock_path){argv[i + 1], 0};
    j.paths[j.n_paths++] = (lock_path){j.folder, 1};
    if (i + 1 >= argc || strcmp(argv[i], "--") != 0) return 2;
    j.command = argv + i + 1;

    lock_close_from(BUILD_FD_COUNT);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    build_report r = {.magic = WIRE_MAGIC, .status = -1};
    int errors[2];
    if (pipe2(errors, O_CLOEXEC) != 0) return 2;
    /* The limit is the compiler's own CPU time; the wall only ends what sleeps: an honest kernel must not be refused because
     * the machine is busy (17 builds at once on 16 cores took three times as long). */
    enum { WALL = 6 };
    long deadline = now_ms() + WALL * j.timeout_ms;
    pid_t pid = fork();
    if (pid == 0) child(&j, errors[1]);
    if (pid < 0) return 2;
    setpgid(pid, pid); /* in case we are first to need the group */
    close(errors[1]);
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    for (;;) {
        struct pollfd p[2] = {{.fd = BUILD_FD_LIFE, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
        long left = deadline - now_ms();
        int slice = left < 0 ? 0 : pidfd < 0 && left > 2 ? 2 : (int)left;
        poll(p, 2, slice);
        if (p[0].revents) { /* attune is gone or no longer interested */
            end_group(pid);
            return 1;
        }
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid) break;
        if (now_ms() >= deadline) {
            r.timed_out = 1;
            kill(-pid, SIGKILL);
            waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
            break;
        }
    }
    waitpid(pid, &r.status, 0);
    end_group(pid);
    struct rusage use;
    getrusage(RUSAGE_CHILDREN, &use);
    r.cpu_us =
        use.ru_utime.tv_sec * 1000000 + use.ru_utime.tv_usec + use.ru_stime.tv_sec * 1000000 + use.ru_stime.tv_usec;
    r.peak_kib = use.ru_maxrss;
    build_report failed;
    if (read(errors[0], &failed, sizeof failed) == sizeof failed) {
        r.status = -1;
        r.error = failed.error;
        memcpy(r.text, failed.text, sizeof r.text);
    } else if (WIFEXITED(r.status) && WEXITSTATUS(r.status) == 0 && !r.timed_out) {
        hand_over(&j, &r);
    }
    return write(BUILD_FD_RESULT, &r, sizeof r) == sizeof r ? 0 : 1;
}
