/* The supervisor's end of a run worker. See link.h.
 *
 * A call: the worker is stopped; outputs are poisoned; its CPU clock is read (c0) and then the wall clock (t0); the new
 * command number is stored and SIGCONT is the go; done comes by futex; t1, c1; SIGSTOP; once stopped, c2. c2 - c1 is
 * what it computed after it said done, and is added to its time where it is more than going to sleep needs. Now and
 * then the stop comes a little later, so that a worker that goes on working is seen to do so. Between c2 and the next
 * c0 it is stopped: nothing can be prepared early. A dead worker never wakes a futex, so every wait is in slices with a
 * look at the process. */
#include "judge/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "judge/sandbox.h"
#include "judge/wire.h"
#include "problem/reference.h"

enum {
    SLOTS_MAX = 16,
    CANARY = 0xc3,
    LATE_NS_FREE = 20000, /* an honest worker needs 1 to 5 us to go to sleep */
    LATE_NS_MAX = 150000,
    LATE_NS_THREAD = 10000, /* more of both for every further thread: a stop wakes them all (6 to 10 us each) */
    PATIENCE_NS = 400000, /* how long a worker is left alone after done, in its first calls and one call in 32; */
    PATIENCE_WAITS = 8,   /* on a busy machine, where it has no CPU to work or to go to sleep, twice as long again */
    PATIENT_CALLS = 3,
    LATE_PLAIN_TRIES = 2, /* a stolen time slice now and then is the machine's: nobody asks whose */
    LATE_STRIKES = 8,     /* late, and a worker of ours on the same CPU was not */
    LATE_TRIES_MAX = 64,  /* then the machine is too noisy to tell; nothing is gained: every try was charged */
    CALM_COMMANDS = 3,
    PATIENCE_MS_MAX = 64, /* of further tries, 1, 2, 4 ...: theft comes in bursts */
    IDLE_S_MAX = 20,      /* beyond a limit of CPU time, for what sleeps */
    STOP_YIELDS = 20,
    STOP_AGAIN_NS = 5000000,
    SPARES = 3,
    TASKS_MAX = 1 << 24,
};

static const char *const tensor_names[ATN_T_COUNT] = {"q", "k", "v", "o", "mask", "sinks", "alibi", "lse"};

typedef struct {
    wire_region where;
    int64_t offset, bytes; /* of the tensor in its region */
    int job, slot, tensor;
} placed;

typedef struct {
    int fd;
    char *map;
} buffer;

struct atn_arena {
    atn_job *jobs;
    atn_layout *layouts;
    wire_job *wire_jobs;
    placed *places;      /* in order of job, slot, tensor */
    atn_args *args;      /* per slot, this process's pointers to the inputs */
    atn_args *wire_args; /* per slot, offsets in the worker's reservation */
    int n_jobs, n_slots, n_places;
    int64_t in_bytes, out_bytes, va_bytes;
    buffer in;
    int in_readonly;      /* a read-only descriptor of the same memory: what workers get */
    buffer spare[SPARES]; /* output buffers of dead workers, to be used again: first touch is dear (4 us a page) */
    int n_spare;
};

struct atn_worker {
    atn_arena *arena;
    wire_ctl *ctl;
    int64_t ctl_bytes;
    buffer out;
    atn_args *args;  /* per slot, inputs and outputs by this process's pointers */
    atn_plan *plans; /* per job; phases 0: not asked yet */
    int *can_run;
    pid_t pid;
    bool reaped, stopped;
    siginfo_t end;
    clockid_t clock;
    int threads, prepared_job;
    int64_t workspace_bytes;
    uint32_t sequence;
    int64_t late_free, late_max;
    atn_rng chance;
    int calls, cpu;
    bool pinned, reuses_outputs;
};

/* The caller's own CPUs, to go back to when the last pinned worker ends. */
static cpu_set_t caller_cpus;
static int pinned_workers;

static int64_t page_bytes(void)
{
    static int64_t page;
    if (!page) page = sysconf(_SC_PAGESIZE);
    return page;
}

static int64_t whole_pages(int64_t bytes)
{
    return (bytes + page_bytes() - 1) & -page_bytes();
}

static void buffer_free(buffer *b, int64_t bytes)
{
    if (b->map && bytes) munmap(b->map, (size_t)bytes);
    if (b->fd >= 0) close(b->fd);
    *b = (buffer){-1, NULL};
}

static atn_status buffer_make(buffer *b, const char *name, int64_t bytes, atn_error *err)
{
    *b = (buffer){sandbox_memfd(name), NULL};
    if (b->fd < 0) return atn_fail(err, ATN_IO, "cannot make shared memory: %s", strerror(errno));
    if (bytes == 0) return ATN_OK;
    if (ftruncate(b->fd, bytes) == 0) b->map = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
    if (!b->map || b->map == MAP_FAILED) {
        int e = errno;
        b->map = NULL;
        buffer_free(b, 0);
        return atn_fail(err, ATN_MEMORY, "cannot map %lld MiB of shared memory: %s; use smaller problems",
                        (long long)(bytes >> 20), strerror(e));
    }
    fcntl(b->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    return ATN_OK;
}

/* --- the arena --- */

static bool is_output(int tensor)
{
    return tensor == ATN_T_O || tensor == ATN_T_LSE;
}

static int element_bytes(const atn_problem *p, int tensor)
{
    switch (tensor) {
    case ATN_T_Q:
    case ATN_T_O: return dtype_bytes(p->dtype_q);
    case ATN_T_K:
    case ATN_T_V: return dtype_bytes(p->dtype_kv);
    case ATN_T_MASK: return dtype_bytes(p->mask);
    default: return 4;
    }
}

/* Even slots end at the inaccessible page behind them, odd slots begin at the one before. */
static void place(atn_arena *a, int job, int slot, int tensor)
{
    const atn_problem *p = &a->jobs[job].problem;
    placed *x = &a->places[a->n_places++];
    int64_t shift = p->misalign ? element_bytes(p, tensor) : 0;
    *x = (placed){.bytes = a->layouts[job].bytes[tensor], .job = job, .slot = slot, .tensor = tensor};
    x->where.bytes = whole_pages(x->bytes + (shift ? 64 + shift : 0));
    x->where.va = a->va_bytes;
    x->where.out = is_output(tensor);
    x->where.file = x->where.out ? a->out_bytes : a->in_bytes;
    *(x->where.out ? &a->out_bytes : &a->in_bytes) += x->where.bytes;
    a->va_bytes += x->where.bytes + page_bytes();
    if (slot % 2) x->offset = shift;
    else x->offset = shift ? ((x->where.bytes - x->bytes - shift) & -64) + shift : x->where.bytes - x->bytes;
}

/* Sets the pointer of one tensor. */
static void point(atn_args *args, int tensor, void *p)
{
    switch (tensor) {
    case ATN_T_Q: args->q.ptr = p; break;
    case ATN_T_K: args->k.ptr = p; break;
    case ATN_T_V: args->v.ptr = p; break;
    case ATN_T_O: args->o.ptr = p; break;
    case ATN_T_MASK: args->mask.ptr = p; break;
    case ATN_T_SINKS: args->sinks = p; break;
    case ATN_T_ALIBI: args->alibi = p; break;
    case ATN_T_LSE: args->lse = p; break;
    }
}

atn_status arena_create(const atn_job *jobs, int n, atn_arena **out, atn_error *err)
{
    atn_arena *a = atn_alloc(sizeof *a);
    *out = NULL;
    a->in.fd = a->in_readonly = -1;
    for (int j = 0; j < n; j++) {
        ATN_CHECK(jobs[j].slots >= 1 && jobs[j].slots <= SLOTS_MAX);
        a->n_slots += jobs[j].slots;
    }
    a->n_jobs = n;
    a->jobs = atn_alloc(sizeof *a->jobs * (size_t)(n + 1));
    a->layouts = atn_alloc(sizeof *a->layouts * (size_t)(n + 1));
    a->wire_jobs = atn_alloc(sizeof *a->wire_jobs * (size_t)(n + 1));
    a->places = atn_alloc(sizeof *a->places * (size_t)(a->n_slots * ATN_T_COUNT + 1));
    a->args = atn_alloc(sizeof *a->args * (size_t)(a->n_slots + 1));
    a->wire_args = atn_alloc(sizeof *a->wire_args * (size_t)(a->n_slots + 1));
    a->va_bytes = page_bytes();
    int slots = 0;
    for (int j = 0; j < n; j++) {
        a->jobs[j] = jobs[j];
        problem_layout(&jobs[j].problem, &a->layouts[j]);
        a->wire_jobs[j] = (wire_job){.slots = jobs[j].slots, .first_slot = slots, .first_region = a->n_places};
        for (int s = 0; s < jobs[j].slots; s++)
            for (int t = 0; t < ATN_T_COUNT; t++)
                if (a->layouts[j].bytes[t] > 0) place(a, j, s, t);
        a->wire_jobs[j].regions = a->n_places - a->wire_jobs[j].first_region;
        slots += jobs[j].slots;
    }
    atn_status st = buffer_make(&a->in, "attune-inputs", a->in_bytes, err);
    if (st == ATN_OK) {
        /* Through a read-only descriptor no mapping can be made writable, whatever the worker tries. */
        char path[40];
        snprintf(path, sizeof path, "/proc/self/fd/%d", a->in.fd);
        a->in_readonly = open(path, O_RDONLY | O_CLOEXEC);
        if (a->in_readonly < 0)
            st = atn_fail(err, ATN_IO, "cannot open '%s': %s; is /proc mounted?", path, strerror(errno));
    }
    if (st != ATN_OK) {
        arena_free(a);
        return st;
    }
    for (int i = 0; i < a->n_slots; i++) a->args[i] = (atn_args){0};
    for (int j = 0; j < n; j++)
        for (int s = 0; s < jobs[j].slots; s++)
            a->args[a->wire_jobs[j].first_slot + s] = a->wire_args[a->wire_jobs[j].first_slot + s] = a->layouts[j].args;
    for (int i = 0; i < a->n_places; i++) {
        const placed *x = &a->places[i];
        int slot = a->wire_jobs[x->job].first_slot + x->slot;
        point(&a->wire_args[slot], x->tensor, (void *)(intptr_t)(x->where.va + x->offset));
        if (x->where.out) continue;
        char *region = a->in.map + x->where.file;
        point(&a->args[slot], x->tensor, region + x->offset);
        /* NaN bits around each input: what is read there shows in the output. */
        memset(region, 0xff, (size_t)x->offset);
        memset(region + x->offset + x->bytes, 0xff, (size_t)(x->where.bytes - x->offset - x->bytes));
    }
    *out = a;
    return ATN_OK;
}

void arena_free(atn_arena *a)
{
    if (!a) return;
    for (int i = 0; i < a->n_spare; i++) buffer_free(&a->spare[i], a->out_bytes);
    buffer_free(&a->in, a->in_bytes);
    if (a->in_readonly >= 0) close(a->in_readonly);
    free(a->jobs);
    free(a->layouts);
    free(a->wire_jobs);
    free(a->places);
    free(a->args);
    free(a->wire_args);
    free(a);
}

static int slot_index(const atn_arena *a, int job, int slot)
{
    ATN_CHECK(job >= 0 && job < a->n_jobs && slot >= 0 && slot < a->jobs[job].slots);
    return a->wire_jobs[job].first_slot + slot;
}

const atn_args *arena_args(const atn_arena *a, int job, int slot)
{
    return &a->args[slot_index(a, job, slot)];
}

const atn_layout *arena_layout(const atn_arena *a, int job)
{
    ATN_CHECK(job >= 0 && job < a->n_jobs);
    return &a->layouts[job];
}

const atn_args *worker_args(const atn_worker *w, int job, int slot)
{
    return &w->args[slot_index(w->arena, job, slot)];
}

/* --- what a dead worker died of --- */

static const char *syscall_name(int nr)
{
    static const struct {
        int nr;
        const char *name;
    } names[] = {
#define N(x) {SYS_##x, #x}
        N(read),
        N(write),
        N(openat),
        N(close),
        N(mmap),
        N(munmap),
        N(mremap),
        N(mprotect),
        N(futex),
        N(madvise),
        N(brk),
        N(clone),
        N(clone3),
        N(execve),
        N(exit),
        N(kill),
        N(tgkill),
        N(tkill),
        N(socket),
        N(connect),
        N(sendto),
        N(bind),
        N(ptrace),
        N(nanosleep),
        N(clock_nanosleep),
        N(clock_gettime),
        N(getpid),
        N(gettid),
        N(getppid),
        N(getcpu),
        N(rt_sigaction),
        N(rt_sigprocmask),
        N(prctl),
        N(seccomp),
        N(personality),
        N(memfd_create),
        N(io_uring_setup),
        N(bpf),
        N(userfaultfd),
        N(perf_event_open),
        N(process_vm_readv),
        N(process_vm_writev),
        N(sched_setaffinity),
        N(setpriority),
        N(setitimer),
        N(timer_create),
        N(shmget),
        N(shmat),
        N(pipe2),
        N(dup),
        N(dup3),
        N(ioctl),
        N(fcntl),
        N(getrandom),
        N(newfstatat),
        N(readlinkat),
        N(getdents64),
        N(unlinkat),
        N(mkdirat),
        N(keyctl),
        N(unshare),
        N(setns),
        N(mount),
        N(wait4),
        N(waitid),
        N(setrlimit),
        N(prlimit64),
        N(sigaltstack),
        N(pread64),
        N(pwrite64),
        N(writev),
        N(eventfd2),
        N(epoll_pwait),
        N(ppoll),
#ifdef SYS_open
        N(open),
        N(fork),
        N(vfork),
        N(poll),
        N(pause),
        N(alarm),
        N(time),
        N(arch_prctl),
        N(creat),
        N(unlink),
        N(stat),
#endif
#undef N
    };
    for (int i = 0; i < ATN_COUNT(names); i++)
        if (names[i].nr == nr) return names[i].name;
    return "not in our list";
}

/* Says where an offset in the reservation lies, in words. */
static void describe_address(const atn_worker *w, int64_t at, char *out, size_t room)
{
    const atn_arena *a = w->arena;
    snprintf(out, room, "outside its tensors");
    if (at >= a->va_bytes) {
        snprintf(out, room, "outside the workspace that its plan asked for");
        return;
    }
    const placed *nearest = NULL;
    int64_t least = INT64_MAX;
    for (int i = 0; i < a->n_places; i++) {
        const placed *x = &a->places[i];
        int64_t begin = x->where.va + x->offset, end = begin + x->bytes;
        int64_t distance = at >= end ? at - end : at < begin ? begin - at - 1 : -1;
        if (distance < least) least = distance, nearest = x;
    }
    if (!nearest) return;
    int64_t begin = nearest->where.va + nearest->offset, end = begin + nearest->bytes;
    char text[200];
    problem_print(&a->jobs[nearest->job].problem, text, sizeof text);
    const char *name = tensor_names[nearest->tensor];
    if (at >= end)
        snprintf(out, room, "%lld bytes past the end of %s (%s, slot %d)", (long long)(at - end), name, text,
                 nearest->slot);
    else if (at < begin)
        snprintf(out, room, "%lld bytes before the begin of %s (%s, slot %d)", (long long)(begin - at), name, text,
                 nearest->slot);
    else snprintf(out, room, "in %s at byte %lld (%s, slot %d)", name, (long long)(at - begin), text, nearest->slot);
}

static void explain_signal(const atn_worker *w, int sig, atn_verdict *v)
{
    wire_fault f = w->ctl->fault; /* a hint: the process could have written it */
    char where[400];
    const char *verb = f.write == 1 ? "wrote" : f.write == 0 ? "read" : "touched";
    switch (sig) {
    case SIGSEGV:
    case SIGBUS:
        if (f.signal == sig && f.clock) {
            verdict_fail(v, ATN_REASON_FORBIDDEN, "read the time-stamp counter; a kernel has no clock");
        } else if (f.signal == sig && f.inside) {
            describe_address(w, f.address, where, sizeof where);
            verdict_fail(v, ATN_REASON_OUT_OF_BOUNDS, "%s %s", verb, where);
        } else if (f.signal == sig && f.stack) {
            verdict_fail(v, ATN_REASON_CRASH, "stack overflow (8 MiB)");
        } else if (f.signal == sig) {
            verdict_fail(v, ATN_REASON_CRASH, "%s: %s address 0x%llx", strsignal(sig), verb,
                         (unsigned long long)f.address);
        } else {
            verdict_fail(v, ATN_REASON_CRASH, "%s", strsignal(sig));
        }
        break;
    case SIGSYS:
        verdict_fail(v, ATN_REASON_SYSCALL, "made system call %d (%s)", f.syscall, syscall_name(f.syscall));
        break;
    case SIGXCPU: verdict_fail(v, ATN_REASON_TIMEOUT, "used more CPU than its limit"); break;
    case SIGKILL: verdict_fail(v, ATN_REASON_MEMORY, "killed by the system, most likely for memory"); break;
    default: verdict_fail(v, ATN_REASON_CRASH, "%s", strsignal(sig));
    }
}

/* The process has ended; reaps it and fills v. */
static void explain_death(atn_worker *w, atn_verdict *v)
{
    if (!w->reaped) {
        while (waitid(P_PID, (id_t)w->pid, &w->end, WEXITED) != 0 && errno == EINTR) {}
        w->reaped = true;
    }
    wire_fault f = w->ctl->fault;
    if (w->end.si_code != CLD_EXITED) explain_signal(w, w->end.si_status, v);
    else if (f.signal && w->end.si_status == 128 + f.signal) explain_signal(w, f.signal, v); /* as its handler said */
    else verdict_fail(v, ATN_REASON_EXITED, "ended its process with status %d", w->end.si_status);
}

/* --- waiting, stopping --- */

/* True if the worker has ended; it stays unreaped. */
static bool has_ended(atn_worker *w)
{
    if (w->reaped) return true;
    siginfo_t info = {0};
    int rc = waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT);
    return rc == 0 ? info.si_pid == w->pid : errno == ECHILD;
}

typedef enum { WAIT_OK, WAIT_DEAD, WAIT_TIMEOUT, WAIT_UNSTOPPED } wait_result;

static atomic_bool given_up;

void link_give_up(bool on)
{
    atomic_store(&given_up, on);
}

bool link_given_up(void)
{
    return atomic_load(&given_up);
}

/* Until *word == want; or_more: any value from there on will do (progress). The limit is the worker's own CPU time from
 * cpu_begin on: an honest kernel must not be refused because the machine is busy or stood still. The wall only ends
 * what sleeps, and no wait counts for much more than it was meant to last. */
static wait_result wait_word(atn_worker *w, uint32_t *word, uint32_t want, bool or_more, int64_t cpu_begin,
                             double timeout_s)
{
    int64_t cpu_end = cpu_begin + (int64_t)(timeout_s * 1e9), left = (int64_t)((timeout_s + IDLE_S_MAX) * 1e9);
    for (int64_t slice = 1000000;; slice = ATN_MIN(slice * 2, 20000000)) {
        if (link_given_up()) return WAIT_TIMEOUT;
        int64_t begin = clock_ns();
        uint32_t seen = __atomic_load_n(word, __ATOMIC_ACQUIRE);
        if (seen == want || (or_more && seen >= want)) return WAIT_OK;
        struct timespec t = {.tv_nsec = slice};
        long rc = syscall(SYS_futex, word, FUTEX_WAIT, seen, &t, NULL, 0);
        if (rc == 0 || errno == EAGAIN) {
            seen = __atomic_load_n(word, __ATOMIC_ACQUIRE);
            if (seen == want || (or_more && seen >= want)) return WAIT_OK;
        } else if (errno == ETIMEDOUT) {
            /* A batch system sends SIGCONT to every process of a job that it ends or resumes: a worker that was stopped
             * then sleeps for its next command instead, and our own SIGCONT does not wake it. */
            syscall(SYS_futex, &w->ctl->go, FUTEX_WAKE, 1, NULL, NULL, 0);
        }
        if (has_ended(w)) {
            seen = __atomic_load_n(word, __ATOMIC_ACQUIRE);
            return WAIT_DEAD;
        }
        left -= ATN_MIN(clock_ns() - begin, 2 * slice);
        if (left <= 0 || clock_of_ns(w->clock) >= cpu_end) return WAIT_TIMEOUT;
    }
}

/* Stops the worker and waits until it is stopped. A SIGCONT that somebody else sends it in between takes our SIGSTOP
 * away unseen, so that is sent again, and nobody waits for ever. */
static wait_result stop(atn_worker *w)
{
    int64_t left = (int64_t)IDLE_S_MAX * 1000000000, slice = 0;
    for (int tries = 0;; tries++) {
        int64_t begin = clock_ns();
        if (tries == 0 || slice == STOP_AGAIN_NS) kill(w->pid, SIGSTOP);
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)w->pid, &info, WSTOPPED | WEXITED | WNOHANG) != 0 && errno != EINTR) return WAIT_DEAD;
        if (info.si_pid == w->pid) {
            w->stopped = info.si_code == CLD_STOPPED;
            if (w->stopped) return WAIT_OK;
            w->end = info;
            w->reaped = true;
            return WAIT_DEAD;
        }
        if (tries < STOP_YIELDS) { /* most often it shares this CPU and needs it once */
            sched_yield();
            continue;
        }
        if (left <= 0 || link_given_up()) return WAIT_UNSTOPPED;
        slice = ATN_MIN(slice ? 2 * slice : 20000, STOP_AGAIN_NS);
        nanosleep(&(struct timespec){.tv_nsec = slice}, NULL);
        left -= ATN_MIN(clock_ns() - begin, 2 * slice);
    }
}

typedef struct {
    int64_t wall, cpu, late;
} clocks;

/* Whether the main thread of the process sleeps; true where nobody says. */
static bool is_asleep(pid_t pid)
{
    char path[40], text[256] = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) close(fd);
    const char *name_end = n > 0 ? strrchr(text, ')') : NULL;
    return !name_end || name_end[1] != ' ' || name_end[2] != 'R';
}

/* Leaves a worker alone that has said that it is done: until it sleeps or was seen to work. */
static void be_patient(const atn_worker *w, int64_t ns, int64_t cpu_done)
{
    for (int i = 0; i < PATIENCE_WAITS; i++, ns = ATN_MIN(ns * 2, 100000000)) {
        nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
        if (is_asleep(w->pid) || clock_of_ns(w->clock) - cpu_done > w->late_max || link_given_up()) return;
    }
}

/* One command: go, done, stop. */
static wait_result command(atn_worker *w, wire_command c, int job, int first, int count, int64_t patience_ns,
                           double timeout_s, clocks *out)
{
    ATN_ASSERT(w->stopped);
    w->ctl->command = c;
    w->ctl->job = job;
    w->ctl->first = first;
    w->ctl->count = count;
    w->ctl->fp_changed = 0;
    __atomic_store_n(&w->ctl->go, ++w->sequence, __ATOMIC_RELEASE);
    int64_t c0 = clock_of_ns(w->clock), t0 = clock_ns();
    w->stopped = false;
    kill(w->pid, SIGCONT);
    /* The worker shares this CPU and has most often ended a short command by now. Where it has not, it gets the CPU at
     * once: to go to sleep and be woken takes 12 us more (the 90th percentile of one thread was 28 us, now 16). */
    if (w->pinned && __atomic_load_n(&w->ctl->done, __ATOMIC_ACQUIRE) != w->sequence) sched_yield();
    wait_result r = wait_word(w, &w->ctl->done, w->sequence, false, c0, timeout_s);
    int64_t t1 = clock_ns();
    if (r != WAIT_OK) return r;
    int64_t c1 = clock_of_ns(w->clock);
    if (patience_ns) be_patient(w, patience_ns, c1);
    r = stop(w);
    if (r != WAIT_OK) return r;
    int64_t c2 = clock_of_ns(w->clock);
    int64_t late = c2 - c1, charged = late > w->late_free ? late - w->late_free : 0;
    *out = (clocks){.wall = t1 - t0 + charged, .cpu = c1 - c0 + charged, .late = late};
    return WAIT_OK;
}

/* Ends a failed worker and says why it failed. Always false, for `return`. */
static bool give_up(atn_worker *w, wait_result r, double timeout_s, atn_verdict *v)
{
    if (r == WAIT_DEAD) {
        explain_death(w, v);
    } else {
        sandbox_kill(w->pid);
        w->reaped = true;
        w->end = (siginfo_t){.si_code = CLD_KILLED};
        w->end.si_status = SIGKILL;
        if (r == WAIT_UNSTOPPED)
            verdict_fail(v, ATN_REASON_TIMEOUT,
                         "could not be stopped for %d s after it was done: somebody else sends it SIGCONT", IDLE_S_MAX);
        else
            verdict_fail(v, ATN_REASON_TIMEOUT, "did not finish within %.3g s of CPU time (%.3g s in all)", timeout_s,
                         timeout_s + IDLE_S_MAX);
    }
    return false;
}

/* --- starting --- */

/* The CPU of each thread: the given one, and those that follow it among the caller's own, round and round. */
static void choose_cpus(int first, int32_t *cpus, int n)
{
    cpu_set_t own = caller_cpus;
    if (pinned_workers == 0 && sched_getaffinity(0, sizeof own, &own) != 0) CPU_ZERO(&own);
    for (int i = 0, cpu = first; i < n; i++) {
        cpus[i] = first < 0 ? -1 : cpu;
        for (int tries = 0; first >= 0 && tries < CPU_SETSIZE; tries++) {
            cpu = (cpu + 1) % CPU_SETSIZE;
            if (CPU_ISSET(cpu, &own)) break;
        }
    }
}

static atn_status fill_ctl(atn_worker *w, const worker_options *o, bool null_worker, int *fd, atn_error *err)
{
    const atn_arena *a = w->arena;
    int64_t at = (int64_t)(sizeof(wire_ctl) + 63) & -64;
    wire_config c = {.magic = WIRE_MAGIC,
                     .threads = w->threads,
                     .uid = sandbox_uid(),
                     .layers = sandbox_layers(),
                     .parent = (int)getpid(),
                     .jobs = a->n_jobs,
                     .slots = a->n_slots,
                     .regions = a->n_places,
                     .null_worker = null_worker,
                     .va_bytes = a->va_bytes,
                     .workspace_bytes = w->workspace_bytes};
    c.cpu_seconds = (int64_t)ceil((o->cpu_seconds > 0 ? o->cpu_seconds : 60) * w->threads);
    c.jobs_at = at;
    c.slots_at = (c.jobs_at + (int64_t)sizeof(wire_job) * a->n_jobs + 63) & -64;
    c.regions_at = (c.slots_at + (int64_t)sizeof(atn_args) * a->n_slots + 63) & -64;
    c.cpus_at = c.regions_at + (int64_t)sizeof(wire_region) * a->n_places;
    c.ctl_bytes = whole_pages(c.cpus_at + (int64_t)sizeof(int32_t) * w->threads);
    buffer b;
    atn_status st = buffer_make(&b, "attune-control", c.ctl_bytes, err);
    if (st != ATN_OK) return st;
    w->ctl = (wire_ctl *)b.map;
    w->ctl_bytes = c.ctl_bytes;
    *fd = b.fd;
    w->ctl->config = c;
    if (a->n_jobs) memcpy(b.map + c.jobs_at, a->wire_jobs, sizeof(wire_job) * (size_t)a->n_jobs);
    if (a->n_slots) memcpy(b.map + c.slots_at, a->wire_args, sizeof(atn_args) * (size_t)a->n_slots);
    wire_region *regions = (wire_region *)(b.map + c.regions_at);
    for (int i = 0; i < a->n_places; i++) regions[i] = a->places[i].where;
    choose_cpus(o->cpu, (int32_t *)(b.map + c.cpus_at), w->threads);
    return ATN_OK;
}

static atn_status take_output(atn_worker *w, atn_error *err)
{
    atn_arena *a = w->arena;
    if (a->n_spare) {
        w->out = a->spare[--a->n_spare];
        return ATN_OK;
    }
    return buffer_make(&w->out, "attune-outputs", a->out_bytes, err);
}

/* The caller sleeps while the worker computes, so both share the CPU: a wake-up on another, idle CPU takes longer. */
static void pin_caller(atn_worker *w, int cpu)
{
    if (cpu < 0) return;
    sandbox_set_timing_cpu(cpu);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (pinned_workers == 0 && sched_getaffinity(0, sizeof caller_cpus, &caller_cpus) != 0) return;
    w->pinned = sched_setaffinity(0, sizeof set, &set) == 0;
    pinned_workers += w->pinned;
}

static atn_status start(const worker_options *o, int so_fd, bool null_worker, atn_arena *arena, atn_worker **out,
                        atn_verdict *v, atn_error *err)
{
    atn_worker *w = atn_alloc(sizeof *w);
    *out = NULL;
    w->arena = arena;
    w->out.fd = -1;
    w->reaped = true;
    w->prepared_job = -1;
    w->chance = rng_make(rng_secret(), 0, 0);
    w->threads = ATN_MAX(1, ATN_MIN(o->threads, 256));
    w->cpu = o->cpu;
    w->late_free = LATE_NS_FREE + (w->threads - 1) * LATE_NS_THREAD;
    w->late_max = LATE_NS_MAX + (w->threads - 1) * LATE_NS_THREAD;
    w->workspace_bytes = o->memory_bytes > 0 ? o->memory_bytes : (int64_t)1 << 30;
    w->plans = atn_alloc(sizeof *w->plans * (size_t)(arena->n_jobs + 1));
    w->can_run = atn_alloc(sizeof *w->can_run * (size_t)(arena->n_jobs + 1));
    w->args = atn_alloc(sizeof *w->args * (size_t)(arena->n_slots + 1));
    int ctl_fd = -1, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    atn_status st = null < 0 ? atn_fail(err, ATN_IO, "cannot open '/dev/null': %s", strerror(errno)) : ATN_OK;
    if (st == ATN_OK) st = fill_ctl(w, o, null_worker, &ctl_fd, err);
    if (st == ATN_OK) st = take_output(w, err);
    if (st != ATN_OK) goto done;
    memcpy(w->args, arena->args, sizeof *w->args * (size_t)arena->n_slots);
    for (int i = 0; i < arena->n_places; i++) {
        const placed *x = &arena->places[i];
        if (x->where.out)
            point(&w->args[slot_index(arena, x->job, x->slot)], x->tensor, w->out.map + x->where.file + x->offset);
    }
    const char *const args[] = {"run", NULL};
    const int fds[WIRE_FD_COUNT] = {null,
                                    null,
                                    null,
                                    [WIRE_FD_CTL] = ctl_fd,
                                    [WIRE_FD_IN] = arena->in_readonly,
                                    [WIRE_FD_OUT] = w->out.fd,
                                    [WIRE_FD_SO] = null_worker ? null : so_fd};
    pin_caller(w, o->cpu);
    st = sandbox_spawn(args, fds, WIRE_FD_COUNT, &w->pid, err);
    if (st != ATN_OK) goto done;
    w->reaped = false;
    if (clock_getcpuclockid(w->pid, &w->clock) != 0) {
        st = atn_fail(err, ATN_PROCESS, "cannot read the CPU clock of a worker: %s", strerror(errno));
        goto done;
    }
    const double timeout_s = 20;
    wait_result r = wait_word(w, &w->ctl->progress, WIRE_READY, true, 0, timeout_s);
    uint32_t progress = __atomic_load_n(&w->ctl->progress, __ATOMIC_ACQUIRE);
    char text[sizeof w->ctl->text];
    evidence_clean(text, sizeof text, w->ctl->text, sizeof w->ctl->text);
    if (r == WAIT_OK && progress == WIRE_READY) {
        r = stop(w);
        if (r == WAIT_OK) *out = w;
        else if (v) give_up(w, r, timeout_s, v);
    } else if (progress < WIRE_LOCKED) {
        int e = w->ctl->error;
        st = atn_fail(err, ATN_PROCESS, "a worker could not lock itself down (%s: %s); run 'attune doctor'",
                      text[0]             ? text
                      : r == WAIT_TIMEOUT ? "timed out"
                                          : "died",
                      e ? strerror(e) : "no more is known");
    } else if (v) {
        if (v->stage < ATN_STAGE_QUICK) v->stage = ATN_STAGE_QUICK;
        if (r == WAIT_OK) verdict_fail(v, ATN_REASON_LOAD, "%s", text);
        else give_up(w, r, timeout_s, v);
    } else {
        st = atn_fail(err, ATN_PROCESS, "a worker died while it loaded");
    }
done:
    if (null >= 0) close(null);
    if (ctl_fd >= 0) close(ctl_fd);
    if (!*out) worker_free(w);
    return st;
}

atn_status worker_start(const worker_options *o, int so_fd, atn_arena *arena, atn_worker **out, atn_verdict *v,
                        atn_error *err)
{
    ATN_CHECK(so_fd >= 0 && v);
    return start(o, so_fd, false, arena, out, v, err);
}

pid_t worker_pid(const atn_worker *w)
{
    return w->pid;
}

void worker_free(atn_worker *w)
{
    if (!w) return;
    if (!w->reaped) sandbox_kill(w->pid);
    atn_arena *a = w->arena;
    if (w->out.fd >= 0 && a->n_spare < SPARES) a->spare[a->n_spare++] = w->out; /* nobody else maps it now */
    else buffer_free(&w->out, a->out_bytes);
    if (w->ctl) munmap(w->ctl, (size_t)w->ctl_bytes);
    if (w->pinned && --pinned_workers == 0) sched_setaffinity(0, sizeof caller_cpus, &caller_cpus);
    free(w->plans);
    free(w->can_run);
    free(w->args);
    free(w);
}

/* --- plans and calls --- */

static bool check_plan(const atn_worker *w, const atn_plan *p, atn_verdict *v)
{
    if (p->phases < 1 || p->phases > ATN_PHASES_MAX) {
        verdict_fail(v, ATN_REASON_BAD_PLAN, "plan asks for %d phases, may be 1 to %d", p->phases, ATN_PHASES_MAX);
        return false;
    }
    for (int i = 0; i < p->phases; i++) {
        if (p->tasks[i] >= 1 && p->tasks[i] <= TASKS_MAX) continue;
        verdict_fail(v, ATN_REASON_BAD_PLAN, "plan asks for %d tasks in phase %d, may be 1 to %d", p->tasks[i], i,
                     TASKS_MAX);
        return false;
    }
    int64_t most = w->workspace_bytes;
    if (p->shared_bytes < 0 || p->shared_bytes > most || p->scratch_bytes < 0 || p->scratch_bytes > most ||
        p->shared_bytes + p->scratch_bytes * w->threads > most) {
        verdict_fail(v, ATN_REASON_BAD_PLAN,
                     "plan asks for %lld bytes of shared and %d x %lld bytes of scratch memory, may be %lld in all",
                     (long long)p->shared_bytes, w->threads, (long long)p->scratch_bytes, (long long)most);
        return false;
    }
    return true;
}

bool worker_plan(atn_worker *w, int job, int *can_run, atn_plan *plan, atn_verdict *v)
{
    ATN_CHECK(job >= 0 && job < w->arena->n_jobs);
    *plan = (atn_plan){0};
    *can_run = 0;
    if (w->reaped) {
        explain_death(w, v);
        return false;
    }
    const double timeout_s = 2;
    clocks unused;
    wait_result r = command(w, WIRE_PLAN, job, 0, 0, 0, timeout_s, &unused);
    if (r != WAIT_OK) return give_up(w, r, timeout_s, v);
    *can_run = w->can_run[job] = w->ctl->can_run != 0;
    if (!*can_run) return true;
    if (w->ctl->plan_rc != 0) {
        verdict_fail(v, ATN_REASON_BAD_PLAN, "plan returned %d for a problem that can_run accepts", w->ctl->plan_rc);
        return false;
    }
    *plan = w->ctl->planned;
    if (!check_plan(w, plan, v)) return false;
    w->plans[job] = *plan;
    w->prepared_job = -1;
    return true;
}

static bool prepare(atn_worker *w, int job, atn_verdict *v)
{
    if (w->plans[job].phases == 0) {
        int can;
        atn_plan plan;
        if (!worker_plan(w, job, &can, &plan, v)) return false;
        if (!can) {
            verdict_fail(v, ATN_REASON_REFUSED, "can_run says no");
            return false;
        }
    }
    if (w->prepared_job == job) return true;
    w->ctl->plan = w->plans[job];
    const double timeout_s = 30;
    clocks unused;
    wait_result r = command(w, WIRE_PREPARE, job, 0, 0, 0, timeout_s, &unused);
    if (r != WAIT_OK) return give_up(w, r, timeout_s, v);
    if (w->ctl->error != 0) {
        verdict_fail(v, ATN_REASON_MEMORY, "its workspace of %lld bytes could not be allocated: %s",
                     (long long)(w->plans[job].shared_bytes + w->threads * w->plans[job].scratch_bytes),
                     strerror(w->ctl->error));
        return false;
    }
    w->prepared_job = job;
    return true;
}

static bool holds(const char *p, int64_t n, unsigned char value, int64_t *at)
{
    for (*at = 0; *at < n; ++*at)
        if ((unsigned char)p[*at] != value) return false;
    return true;
}

void worker_reuse_outputs(atn_worker *w, bool on)
{
    w->reuses_outputs = on;
}

/* The sign is the last bit of every type that outputs have. */
static void turn_signs(char *p, int64_t bytes, int element)
{
    for (int64_t i = element - 1; i < bytes; i += element) p[i] = (char)(p[i] ^ 0x80);
}

/* Visits the outputs of slots first .. first + n - 1: poisons them, or verifies the slack around them. */
static bool outputs(atn_worker *w, int job, int first, int n, bool check, atn_verdict *v)
{
    const atn_arena *a = w->arena;
    const wire_job *j = &a->wire_jobs[job];
    for (int i = 0; i < j->regions; i++) {
        const placed *x = &a->places[j->first_region + i];
        if (!x->where.out || x->slot < first || x->slot >= first + n) continue;
        char *region = w->out.map + x->where.file, *end = region + x->offset + x->bytes;
        int64_t before = x->offset, after = x->where.bytes - x->offset - x->bytes, at;
        if (!check) {
            memset(region, CANARY, (size_t)before);
            if (w->reuses_outputs)
                turn_signs(region + before, x->bytes, element_bytes(&a->jobs[job].problem, x->tensor));
            else poison_fill(region + before, x->bytes);
            memset(end, CANARY, (size_t)after);
        } else if (!holds(region, before, CANARY, &at)) {
            verdict_fail(v, ATN_REASON_OUT_OF_BOUNDS, "wrote %lld bytes before the begin of %s",
                         (long long)(before - at), tensor_names[x->tensor]);
            return false;
        } else if (!holds(end, after, CANARY, &at)) {
            verdict_fail(v, ATN_REASON_OUT_OF_BOUNDS, "wrote %lld bytes past the end of %s", (long long)at,
                         tensor_names[x->tensor]);
            return false;
        }
    }
    return true;
}

/* A worker of ours beside one that was late. */
typedef struct {
    atn_arena *arena;
    atn_worker *worker;
} witness;

static void witness_free(witness *x)
{
    worker_free(x->worker);
    arena_free(x->arena);
}

/* Whether CPU time is now what a process used, and not what the machine took from it. A hypervisor's theft counts as
 * the victim's CPU time, and strikes where a CPU wakes another, which is when a worker says that it is done: an honest
 * kernel was three times late in a row. So a worker without a kernel is asked whether it is late too. */
static bool machine_is_calm(const atn_worker *w, witness *x)
{
    if (!x->worker) {
        if (!x->arena && arena_create(NULL, 0, &x->arena, NULL) != ATN_OK) return true;
        worker_options o = {.threads = w->threads, .cpu = w->cpu};
        if (start(&o, -1, true, x->arena, &x->worker, NULL, NULL) != ATN_OK || !x->worker) return true;
    }
    for (int i = 0; i < CALM_COMMANDS; i++) {
        clocks c;
        if (command(x->worker, WIRE_NULL, 0, 0, 0, PATIENCE_NS, 1, &c) != WAIT_OK) {
            worker_free(x->worker);
            x->worker = NULL;
            return false;
        }
        if (c.late > w->late_max) return false;
    }
    return true;
}

/* How long after done a worker is left alone. One that went to sleep computes nothing in any time. */
static int64_t patience(atn_worker *w, int tries)
{
    if (tries > 1) return ATN_MIN((int64_t)1 << ATN_MIN(tries - 2, 10), PATIENCE_MS_MAX) * 1000000;
    return w->calls++ < PATIENT_CALLS || rng_below(&w->chance, 32) == 0 ? PATIENCE_NS : 0;
}

/* Calls until the worker is not late; adds up what all tries took, or the answer of one could be used in the next. */
static bool call_in_time(atn_worker *w, int job, int first, int n, double timeout_s, clocks *sum, atn_verdict *v)
{
    witness beside = {0};
    bool good = false;
    for (int tries = 1, strikes = 0;; tries++) {
        clocks c;
        outputs(w, job, first, n, false, NULL);
        wait_result r = command(w, WIRE_CALL, job, first, n, patience(w, tries), timeout_s, &c);
        if (r != WAIT_OK) {
            give_up(w, r, timeout_s, v);
            break;
        }
        *sum = (clocks){.wall = sum->wall + c.wall, .cpu = sum->cpu + c.cpu, .late = c.late};
        good = c.late <= w->late_max || tries == LATE_TRIES_MAX;
        if (good) break;
        strikes += tries > LATE_PLAIN_TRIES && machine_is_calm(w, &beside);
        if (strikes == LATE_STRIKES) {
            verdict_fail(v, ATN_REASON_LATE_WORK,
                         "used %lld us of CPU after it said that it was done, and so in all of %d calls",
                         (long long)(c.late / 1000), tries);
            break;
        }
    }
    witness_free(&beside);
    return good;
}

bool worker_call(atn_worker *w, int job, int first, int n, double timeout_s, worker_time *t, atn_verdict *v)
{
    ATN_CHECK(job >= 0 && job < w->arena->n_jobs && first >= 0 && n >= 1 && first + n <= w->arena->jobs[job].slots);
    if (w->reaped) {
        explain_death(w, v);
        return false;
    }
    clocks c = {0};
    if (!prepare(w, job, v) || !call_in_time(w, job, first, n, timeout_s, &c, v)) return false;
    *t = (worker_time){.wall_ns = c.wall, .cpu_ns = c.cpu, .late_ns = c.late};
    if (v->late_cpu_us < (double)c.late * 1e-3) v->late_cpu_us = (double)c.late * 1e-3;
    uint32_t fp = w->ctl->fp_changed;
    if (fp) {
        verdict_fail(v, ATN_REASON_STATE, "left the floating-point control word changed (bits 0x%x)", fp);
        return false;
    }
    return outputs(w, job, first, n, true, v);
}

/* --- the hand-shake's own cost --- */

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

link_cost link_overhead(int threads, int cpu)
{
    enum { N = 1001 };
    static int64_t walls[N], cpus[N];
    static link_cost known;
    static int known_threads, known_cpu;
    if (known_threads == threads && known_cpu == cpu) return known;
    int n = 0;
    atn_arena *a;
    atn_worker *w = NULL;
    if (arena_create(NULL, 0, &a, NULL) != ATN_OK) return (link_cost){0};
    worker_options o = {.threads = threads, .cpu = cpu};
    if (start(&o, -1, true, a, &w, NULL, NULL) == ATN_OK && w) {
        clocks c;
        while (n < N && command(w, WIRE_NULL, 0, 0, 0, 0, 1, &c) == WAIT_OK) {
            walls[n] = c.wall;
            cpus[n++] = c.cpu;
        }
    }
    worker_free(w);
    arena_free(a);
    if (n == 0) return (link_cost){0};
    qsort(walls, (size_t)n, sizeof *walls, compare_i64);
    qsort(cpus, (size_t)n, sizeof *cpus, compare_i64);
    known_threads = threads, known_cpu = cpu;
    return known = (link_cost){(double)walls[n / 2], (double)cpus[n / 2], (double)walls[0], (double)cpus[0]};
}
