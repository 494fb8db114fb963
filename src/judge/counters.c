/* Hardware counters on a worker, where the machine has them and lets us: perf events, user mode only.
 *
 * Counted in a run of its own, never while timed: switching counters on interrupts the worker's CPU. A virtual machine
 * often has no counters (ENOENT); perf_event_paranoid or a worker under another uid may forbid them (EACCES, EPERM).
 * Either is said, and nothing is guessed. */
#include "judge/evidence.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#endif

enum { INSTRUCTIONS, CYCLES, BRANCH_MISSES, L1_MISSES, LAST_MISSES, COUNTERS };

struct counter_group {
    int fd[COUNTERS]; /* -1: this one is not to be had */
};

#ifdef __linux__
/* Each counter stands alone, so that one that the machine lacks does not cost the others; scaled where the kernel had to
 * take turns. */
static int open_one(pid_t pid, int which)
{
    static const struct {
        uint32_t type;
        uint64_t config;
    } events[COUNTERS] = {
        {PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
        {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
        {PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES},
        {PERF_TYPE_HW_CACHE,
         PERF_COUNT_HW_CACHE_L1D | PERF_COUNT_HW_CACHE_OP_READ << 8 | PERF_COUNT_HW_CACHE_RESULT_MISS << 16},
        {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
    };
    struct perf_event_attr a = {.type = events[which].type,
                                .config = events[which].config,
                                .size = sizeof a,
                                .disabled = 1,
                                .exclude_kernel = 1,
                                .exclude_hv = 1,
                                .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING};
    return (int)syscall(SYS_perf_event_open, &a, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static double read_one(int fd)
{
    uint64_t got[3]; /* value, time enabled, time running */
    if (fd < 0 || read(fd, got, sizeof got) != sizeof got || got[2] == 0) return -1;
    return (double)got[0] * (double)got[1] / (double)got[2];
}
#endif

static void say_why(int error, char *text, size_t room)
{
    if (error == ENOENT || error == ENODEV || error == EOPNOTSUPP)
        snprintf(text, room, "not here: this machine (often a virtual one) offers no hardware counters");
    else if (error == EACCES || error == EPERM)
        snprintf(text, room, "not permitted: %s; /proc/sys/kernel/perf_event_paranoid or a container forbids them",
                 strerror(error));
    else if (error == ENOSYS) snprintf(text, room, "not here: this system has no perf events");
    else snprintf(text, room, "not here: %s", strerror(error));
}

counter_group *counters_open(pid_t pid, evidence_counters *out)
{
    *out = (evidence_counters){0};
#ifdef __linux__
    counter_group *g = atn_alloc(sizeof *g);
    for (int i = 0; i < COUNTERS; i++) g->fd[i] = -1;
    errno = 0;
    if ((g->fd[INSTRUCTIONS] = open_one(pid, INSTRUCTIONS)) < 0) {
        say_why(errno, out->text, sizeof out->text);
        free(g);
        return NULL;
    }
    for (int i = 1; i < COUNTERS; i++) g->fd[i] = open_one(pid, i);
    return g;
#else
    (void)pid;
    say_why(ENOSYS, out->text, sizeof out->text);
    return NULL;
#endif
}

void counters_start(counter_group *g)
{
#ifdef __linux__
    for (int i = 0; i < COUNTERS; i++)
        if (g->fd[i] >= 0) {
            ioctl(g->fd[i], PERF_EVENT_IOC_RESET, 0);
            ioctl(g->fd[i], PERF_EVENT_IOC_ENABLE, 0);
        }
#else
    (void)g;
#endif
}

static double per_call(double x, int calls)
{
    return x < 0 ? -1 : x / calls;
}

static void say_rate(char *text, size_t room, const char *name, double misses, double instructions)
{
    size_t n = strlen(text);
    if (misses >= 0 && n < room)
        snprintf(text + n, room - n, ", %.2g %s", 1000 * misses / instructions, name);
}

void counters_stop(counter_group *g, int calls, evidence_counters *out)
{
    double x[COUNTERS] = {-1, -1, -1, -1, -1};
#ifdef __linux__
    for (int i = 0; i < COUNTERS; i++)
        if (g->fd[i] >= 0) {
            ioctl(g->fd[i], PERF_EVENT_IOC_DISABLE, 0);
            x[i] = read_one(g->fd[i]);
        }
#else
    (void)g;
#endif
    out->instructions = per_call(x[INSTRUCTIONS], calls);
    out->cycles = per_call(x[CYCLES], calls);
    out->branch_misses = per_call(x[BRANCH_MISSES], calls);
    out->l1_misses = per_call(x[L1_MISSES], calls);
    out->last_misses = per_call(x[LAST_MISSES], calls);
    out->known = out->instructions > 0;
    if (!out->known) {
        snprintf(out->text, sizeof out->text, "not here: the counters did not count");
        return;
    }
    int n = snprintf(out->text, sizeof out->text, "%.3g million instructions a call", out->instructions * 1e-6);
    if (out->cycles > 0)
        snprintf(out->text + n, sizeof out->text - (size_t)n, ", %.2f a cycle; per 1000 instructions",
                 out->instructions / out->cycles);
    else snprintf(out->text + n, sizeof out->text - (size_t)n, "; per 1000 instructions");
    say_rate(out->text, sizeof out->text, "branch misses", out->branch_misses, out->instructions);
    say_rate(out->text, sizeof out->text, "L1 misses", out->l1_misses, out->instructions);
    say_rate(out->text, sizeof out->text, "last-level misses", out->last_misses, out->instructions);
}

void counters_close(counter_group *g)
{
    if (!g) return;
    for (int i = 0; i < COUNTERS; i++)
        if (g->fd[i] >= 0) close(g->fd[i]);
    free(g);
}

bool counters_probe(char *text, size_t room)
{
    evidence_counters e;
    counter_group *g = counters_open(getpid(), &e);
    if (!g) {
        snprintf(text, room, "%s", e.text);
        return false;
    }
    volatile double x = 1;
    counters_start(g);
    for (int i = 0; i < 10000; i++) x = x * 1.0001;
    counters_stop(g, 1, &e);
    counters_close(g);
    snprintf(text, room, "%s", e.known ? "hardware counters" : e.text);
    return e.known;
}
