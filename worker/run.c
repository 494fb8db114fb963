/* The run worker: maps what a kernel may touch, locks itself down, loads one kernel, then obeys commands.
 *
 * Nothing here defends against the kernel once it is loaded: it shares this process. The defence is that this process
 * can do nothing but compute, and that the supervisor believes only what it checks. The order of the steps matters:
 * each closes what the next ones no longer need. Commands come as a new number in ctl->go; the supervisor keeps this
 * process stopped (SIGSTOP) whenever no command is under way. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "judge/wire.h"
#include "lock.h"
#include "pool.h"
#include "worker.h"

static wire_ctl *ctl;
static char *base; /* of the reservation */
static int64_t reserved_bytes, page;
static const atn_kernel *kernel;
static atn_args *args; /* of all slots, with real pointers */
static wire_job *jobs;
static wire_region *regions;
static int threads, layers;
static atn_plan plan_now;
static void *shared, *scratch[POOL_THREADS_MAX];
static char *workspace; /* reservation + va_bytes */

static _Noreturn void fail(const char *step)
{
    ctl->error = errno;
    snprintf(ctl->text, sizeof ctl->text, "%s", step);
    _exit(97);
}

/* --- faults: tell the supervisor where, then end --- */

static void on_fault(int sig, siginfo_t *info, void *context)
{
    wire_fault f = {.signal = sig, .write = -1};
    uintptr_t address = (uintptr_t)info->si_addr, sp = 0;
    ucontext_t *u = context;
#if defined __x86_64__
    sp = (uintptr_t)u->uc_mcontext.gregs[REG_RSP];
    if (sig == SIGSEGV) f.write = (u->uc_mcontext.gregs[REG_ERR] & 2) != 0;
    const unsigned char *at = (const unsigned char *)u->uc_mcontext.gregs[REG_RIP];
    enum { GENERAL_PROTECTION = 13 };
    if (sig == SIGSEGV && u->uc_mcontext.gregs[REG_TRAPNO] == GENERAL_PROTECTION)
        f.clock = at[0] == 0x0f && (at[1] == 0x31 || (at[1] == 0x01 && at[2] == 0xf9)); /* rdtsc, rdtscp */
#elif defined __aarch64__
    sp = u->uc_mcontext.sp;
#else
    (void)u;
#endif
    if (sig == SIGSYS) {
        f.syscall = info->si_syscall;
    } else if (address >= (uintptr_t)base && address < (uintptr_t)base + (uintptr_t)reserved_bytes) {
        f.inside = 1;
        f.address = (int64_t)(address - (uintptr_t)base);
    } else {
        f.address = (int64_t)address;
        f.stack = address - (sp - 65536) < 131072;
    }
    /* Two threads may fault at once: the first one's story is kept, and it must be whole before anybody ends the
     * process. */
    static int telling;
    if (__atomic_exchange_n(&telling, 1, __ATOMIC_SEQ_CST)) {
        while (ctl->fault.signal == 0) {}
    } else {
        int told = f.signal;
        f.signal = 0;
        ctl->fault = f;
        __atomic_store_n(&ctl->fault.signal, told, __ATOMIC_RELEASE);
    }
    _exit(128 + ctl->fault.signal);
}

static int prepare_thread(void)
{
    size_t size = 256 << 10; /* AMX state alone is 8 KiB */
    stack_t stack = {.ss_size = size};
    stack.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return stack.ss_sp == MAP_FAILED ? -1 : sigaltstack(&stack, NULL);
}

static void catch_faults(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS};
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        if (sigaction(signals[i], &a, NULL) != 0) fail("signal handlers");
    }
}

/* --- memory --- */

static void map_memory(void)
{
    const wire_config *c = &ctl->config;
    jobs = (wire_job *)((char *)ctl + c->jobs_at);
    regions = (wire_region *)((char *)ctl + c->regions_at);
    reserved_bytes = c->va_bytes + c->workspace_bytes + (int64_t)(c->threads + 2) * (2 * page + 64);
    reserved_bytes = (reserved_bytes + page - 1) & -page;
    base = mmap(NULL, (size_t)reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) fail("address space for the campaign");
    for (int i = 0; i < c->regions; i++) {
        const wire_region *r = &regions[i];
        void *p = mmap(base + r->va, (size_t)r->bytes, r->out ? PROT_READ | PROT_WRITE : PROT_READ,
                       MAP_SHARED | MAP_FIXED, r->out ? WIRE_FD_OUT : WIRE_FD_IN, r->file);
        if (p == MAP_FAILED) fail("mapping a tensor");
        if (!r->out && (layers & LAYER_MSEAL) && syscall(462, p, (size_t)r->bytes, 0) != 0) fail("sealing a tensor");
    }
    workspace = base + c->va_bytes;
    args = calloc((size_t)(c->slots ? c->slots : 1), sizeof *args);
    if (!args) fail("memory");
    const atn_args *given = (const atn_args *)((char *)ctl + c->slots_at);
    for (int i = 0; i < c->slots; i++) {
        args[i] = given[i];
#define REAL(p) ((p) = (p) ? (void *)(base + (intptr_t)(p)) : NULL)
        REAL(args[i].q.ptr);
        REAL(args[i].k.ptr);
        REAL(args[i].v.ptr);
        REAL(args[i].o.ptr);
        REAL(args[i].mask.ptr);
        REAL(args[i].sinks);
        REAL(args[i].alibi);
        REAL(args[i].lse);
#undef REAL
    }
}

/* Blocks for a plan, each with its end at an inaccessible page; filled with NaN bits: contents are undefined, so a
 * kernel that uses them shows it. */
static char *place_block(char *at, int64_t bytes, void **out)
{
    int64_t whole = (bytes + 63 + page) & -page;
    if (bytes == 0) whole = page; /* a NULL here could pass for a flag */
    if (mprotect(at, (size_t)whole, PROT_READ | PROT_WRITE) != 0) return NULL;
    memset(at, 0xff, (size_t)whole);
    *out = (void *)(((uintptr_t)at + (uintptr_t)whole - (uintptr_t)bytes) & ~(uintptr_t)63);
    if (bytes == 0) *out = at + whole - 64;
    return at + whole + page;
}

static int place_workspace(const atn_plan *plan)
{
    int64_t all = reserved_bytes - ctl->config.va_bytes - page;
    if (mprotect(workspace, (size_t)all, PROT_NONE) != 0) return errno;
    madvise(workspace, (size_t)all, MADV_DONTNEED);
    char *at = place_block(workspace, plan->shared_bytes, &shared);
    for (int t = 0; t < threads && at; t++) at = place_block(at, plan->scratch_bytes, &scratch[t]);
    return at ? 0 : ENOMEM;
}

/* Brings the job's tensors into this process's page tables before anything is timed. */
static void touch(const wire_job *j)
{
    for (int i = 0; i < j->regions; i++) {
        const wire_region *r = &regions[j->first_region + i];
        for (int64_t b = 0; b < r->bytes; b += page) (void)*(volatile char *)(base + r->va + b);
    }
}

/* --- commands --- */

static void obey(void)
{
    int job = ctl->job;
    const wire_job *j = &jobs[job];
    switch (ctl->command) {
    case WIRE_PLAN: {
        const atn_args *a = &args[j->first_slot];
        atn_plan p = {0};
        int can = kernel->can_run(a), rc = 0;
        if (can) rc = kernel->plan(a, threads, &p);
        ctl->can_run = can;
        ctl->plan_rc = rc;
        ctl->planned = p;
        break;
    }
    case WIRE_PREPARE:
        plan_now = ctl->plan;
        ctl->error = place_workspace(&plan_now);
        touch(j);
        break;
    case WIRE_CALL:
        for (int i = 0; i < ctl->count; i++)
            pool_call(&(pool_work){kernel, &args[j->first_slot + ctl->first + i], &plan_now, shared, scratch});
        pool_park();
        ctl->fp_changed |= pool_fp_changed();
        break;
    default: break;
    }
}

static void publish(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void ask_for_amx(void)
{
#ifdef __x86_64__
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    ctl->amx = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#endif
}

/* rdtsc faults from here on, in this thread and in those that it starts: who can read a clock can find out that it is timed.
 * Nothing of ours reads one in this process. */
static void hide_the_clock(void)
{
#ifdef __x86_64__
    prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
#endif
}

static int64_t address_space(void)
{
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    char text[64] = {0};
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) close(fd);
    return n > 0 ? strtoll(text, NULL, 10) * page : -1;
}

static void lock_down(void)
{
    const wire_config *c = &ctl->config;
    int64_t used = address_space();
    int64_t stacks = (int64_t)(threads - 1) * ((8 << 20) + (512 << 10));
    int64_t arenas = (int64_t)threads * (128 << 20); /* libc reserves (only) one per thread that allocates */
    if (lock_limit(RLIMIT_CORE, 0) || lock_limit(RLIMIT_FSIZE, 0) || lock_limit(RLIMIT_MEMLOCK, 0) ||
        lock_limit(RLIMIT_CPU, (uint64_t)c->cpu_seconds) || lock_limit(RLIMIT_NOFILE, 32))
        fail("limits");
    if (used > 0 && lock_limit(RLIMIT_AS, (uint64_t)(used + stacks + arenas + (64 << 20))) != 0)
        fail("limit of address space");
    if ((layers & LAYER_NAMESPACES) && lock_namespaces() != 0) fail("namespaces");
    if (c->uid && lock_uid(c->uid) != 0) fail("private uid");
    if (lock_with_parent(c->parent) != 0) fail("parent");
    if (prctl(PR_SET_DUMPABLE, 0) != 0) fail("dumpable");
    if (lock_no_new_privs() != 0) fail("no-new-privileges");
    if ((layers & LAYER_LANDLOCK) && lock_landlock(NULL, 0) != 0) fail("Landlock");
    if (pool_start(threads, (const int32_t *)((char *)ctl + c->cpus_at), prepare_thread) != 0) fail("threads");
    if (lock_limit(RLIMIT_NPROC, 1) != 0) fail("limit of processes");
    catch_faults();
    if ((layers & LAYER_SECCOMP) && lock_filter(FILTER_LOAD) != 0) fail("seccomp");
}

static _Noreturn void refuse(wire_progress why, const char *text)
{
    snprintf(ctl->text, sizeof ctl->text, "%s", text ? text : "");
    publish(&ctl->progress, why);
    _exit(96);
}

static void load(void)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", WIRE_FD_SO);
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!so) refuse(WIRE_BAD_OBJECT, dlerror());
    kernel = dlsym(so, "attune_kernel");
    if (!kernel) refuse(WIRE_BAD_OBJECT, "no symbol attune_kernel");
    if (kernel->abi != ATN_KERNEL_ABI) refuse(WIRE_BAD_TABLE, "abi of the table is not ATN_KERNEL_ABI");
    if (!kernel->can_run || !kernel->plan || !kernel->run) refuse(WIRE_BAD_TABLE, "can_run, plan or run is NULL");
}

int run_main(void)
{
    page = sysconf(_SC_PAGESIZE);
    struct stat s;
    if (fstat(WIRE_FD_CTL, &s) != 0 || s.st_size < (off_t)sizeof(wire_ctl)) return 2;
    ctl = mmap(NULL, (size_t)s.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, WIRE_FD_CTL, 0);
    if (ctl == MAP_FAILED || ctl->config.magic != WIRE_MAGIC) return 2;
    threads = ctl->config.threads;
    layers = ctl->config.layers;
    ctl->progress = WIRE_STARTED;
    lock_close_from(WIRE_FD_COUNT);
    int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); /* if memory runs out, this process goes first */
    if (oom >= 0) {
        if (write(oom, "1000", 4) < 0) {}
        close(oom);
    }
    map_memory();
    ask_for_amx();
    ctl->progress = WIRE_MAPPED;
    hide_the_clock();
    lock_down();
    ctl->progress = WIRE_LOCKED;
    close(WIRE_FD_CTL);
    close(WIRE_FD_IN);
    close(WIRE_FD_OUT);
    if (!ctl->config.null_worker) load();
    close(WIRE_FD_SO);
    pool_fp_reset();
    if ((layers & LAYER_SECCOMP) && lock_filter(FILTER_RUN) != 0) fail("seccomp, second phase");
    publish(&ctl->progress, WIRE_READY);
    for (uint32_t seen = 0;;) {
        uint32_t go;
        while ((go = __atomic_load_n(&ctl->go, __ATOMIC_ACQUIRE)) == seen)
            syscall(SYS_futex, &ctl->go, FUTEX_WAIT, seen, NULL, NULL, 0);
        seen = go;
        obey();
        publish(&ctl->done, seen);
    }
}
