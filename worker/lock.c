/* Locking a process down. See lock.h. The filters are written as classic BPF by hand: a list of system calls that may
 * pass, some with a condition on one argument. They stack: the later, narrower one never widens the earlier. */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void lock_close_from(int fd)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)fd, ~0u, 0) == 0) return;
#endif
    long most = sysconf(_SC_OPEN_MAX);
    for (long i = fd; i < (most > 0 && most < 65536 ? most : 65536); i++) close((int)i);
}

int lock_no_new_privs(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int lock_limit(int resource, uint64_t value)
{
    struct rlimit now;
    if (getrlimit(resource, &now) == 0 && now.rlim_max != RLIM_INFINITY && now.rlim_max < value) value = now.rlim_max;
    struct rlimit limit = {value, value};
    return setrlimit(resource, &limit);
}

int lock_with_parent(int parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return -1;
    if (getppid() == parent || getppid() == 0) return 0; /* 0: the parent is outside our pid namespace */
    errno = ESRCH;
    return -1;
}

int lock_uid(int uid)
{
    if (setgroups(0, NULL) != 0 || setresgid((gid_t)uid, (gid_t)uid, (gid_t)uid) != 0) return -1;
    return setresuid((uid_t)uid, (uid_t)uid, (uid_t)uid);
}

int lock_namespaces(void)
{
    int flags = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS;
    return unshare(geteuid() == 0 ? flags : flags | CLONE_NEWUSER);
}

/* --- Landlock; own struct, since distributions' headers lag behind the kernel --- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_REG = 1 << 8,
    FS_TRUNCATE = 1 << 14,
};

struct landlock_ruleset {
    uint64_t fs, net, scoped;
};
struct landlock_beneath {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));

int lock_landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
    return abi < 0 ? 0 : (int)abi;
}

int lock_landlock(const lock_path *paths, int n)
{
    int abi = lock_landlock_abi();
    if (abi == 0) return -1;
    uint64_t known = (1u << 13) - 1; /* ABI 1; then refer, truncate, ioctl on devices */
    if (abi >= 2) known |= 1u << 13;
    if (abi >= 3) known |= 1u << 14;
    if (abi >= 5) known |= 1u << 15;
    struct landlock_ruleset rules = {.fs = known, .net = abi >= 4 ? 3 : 0, .scoped = abi >= 6 ? 3 : 0};
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    int set = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (set < 0) return -1;
    for (int i = 0; i < n; i++) {
        int fd = open(paths[i].path, O_PATH | O_CLOEXEC);
        if (fd < 0) continue; /* not there: nothing to allow */
        struct stat s;
        uint64_t may = FS_EXECUTE | FS_READ_FILE;
        if (fstat(fd, &s) == 0 && S_ISDIR(s.st_mode)) {
            may |= FS_READ_DIR;
            if (paths[i].writable)
                may = (may & ~(uint64_t)FS_EXECUTE) | FS_WRITE_FILE | FS_REMOVE_FILE | FS_MAKE_REG | FS_TRUNCATE;
        }
        struct landlock_beneath rule = {may & known, fd};
        long rc = syscall(SYS_landlock_add_rule, set, 1, &rule, 0);
        int e = errno;
        close(fd);
        if (rc != 0) {
            close(set);
            errno = e;
            return -1;
        }
    }
    long rc = syscall(SYS_landlock_restrict_self, set, 0);
    int e = errno;
    close(set);
    errno = e;
    return (int)rc;
}

/* --- seccomp --- */

#if defined __x86_64__
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define OUR_ARCH AUDIT_ARCH_AARCH64
#elif defined __riscv && __riscv_xlen == 64
#define OUR_ARCH AUDIT_ARCH_RISCV64
#else
#define OUR_ARCH 0
#endif

typedef struct {
    int nr;
    int arg;            /* -1: no condition */
    uint32_t forbidden; /* these bits of the argument's low word must be 0 */
} allowed;

#define PASS(nr)                                                                                                       \
    {                                                                                                                  \
        nr, -1, 0                                                                                                      \
    }

/* futex: WAIT and WAKE only, shared or private; madvise: DONTNEED only. */
static const allowed run_list[] = {
    {SYS_futex, 1, ~129u}, PASS(SYS_exit_group),         PASS(SYS_rt_sigreturn), PASS(SYS_restart_syscall),
    PASS(SYS_sched_yield), {SYS_mprotect, 2, PROT_EXEC}, {SYS_madvise, 2, ~4u},
};

static const allowed load_list[] = {
    PASS(SYS_futex),          PASS(SYS_exit_group), PASS(SYS_rt_sigreturn), PASS(SYS_restart_syscall),
    PASS(SYS_sched_yield),    PASS(SYS_mprotect),   PASS(SYS_madvise),      PASS(SYS_brk),
    PASS(SYS_mmap),           PASS(SYS_munmap),     PASS(SYS_mremap),       PASS(SYS_openat),
    PASS(SYS_read),           PASS(SYS_pread64),    PASS(SYS_fstat),        PASS(SYS_newfstatat),
    PASS(SYS_lseek),          PASS(SYS_close),      PASS(SYS_fcntl),        PASS(SYS_getrandom),
    PASS(SYS_rt_sigprocmask), PASS(SYS_getpid),     PASS(SYS_gettid),       PASS(SYS_clock_gettime),
    PASS(SYS_seccomp),        PASS(SYS_exit),
#ifdef SYS_open
    PASS(SYS_open),           PASS(SYS_stat),
#endif
};

/* CLONE_NEWTIME .. CLONE_NEWNET: no new namespaces for a compiler. */
#define CLONE_NEW_ANY 0x7e020080u

static const allowed compile_list[] = {
    PASS(SYS_read),
    PASS(SYS_write),
    PASS(SYS_readv),
    PASS(SYS_writev),
    PASS(SYS_pread64),
    PASS(SYS_pwrite64),
    PASS(SYS_openat),
    PASS(SYS_close),
    PASS(SYS_fstat),
    PASS(SYS_newfstatat),
    PASS(SYS_statx),
    PASS(SYS_faccessat),
    PASS(SYS_readlinkat),
    PASS(SYS_getcwd),
    PASS(SYS_lseek),
    PASS(SYS_mmap),
    PASS(SYS_mprotect),
    PASS(SYS_munmap),
    PASS(SYS_mremap),
    PASS(SYS_brk),
    PASS(SYS_madvise),
    PASS(SYS_rt_sigaction),
    PASS(SYS_rt_sigprocmask),
    PASS(SYS_rt_sigreturn),
    PASS(SYS_sigaltstack),
    {SYS_clone, 0, CLONE_NEW_ANY},
    PASS(SYS_execve),
    PASS(SYS_wait4),
    PASS(SYS_waitid),
    PASS(SYS_exit),
    PASS(SYS_exit_group),
    PASS(SYS_pipe2),
    PASS(SYS_dup),
    PASS(SYS_dup3),
    PASS(SYS_fcntl),
    PASS(SYS_unlinkat),
    PASS(SYS_renameat2),
    PASS(SYS_ftruncate),
    PASS(SYS_umask),
    PASS(SYS_fchmod),
    PASS(SYS_fchmodat),
    PASS(SYS_getpid),
    PASS(SYS_getppid),
    PASS(SYS_gettid),
    PASS(SYS_getuid),
    PASS(SYS_geteuid),
    PASS(SYS_getgid),
    PASS(SYS_getegid),
    PASS(SYS_prlimit64),
    PASS(SYS_getrusage),
    PASS(SYS_sysinfo),
    PASS(SYS_uname),
    PASS(SYS_times),
    PASS(SYS_clock_gettime),
    PASS(SYS_clock_getres),
    PASS(SYS_gettimeofday),
    PASS(SYS_getrandom),
    PASS(SYS_set_tid_address),
    PASS(SYS_set_robust_list),
    PASS(SYS_futex),
    PASS(SYS_sched_getaffinity),
    PASS(SYS_sched_yield),
    PASS(SYS_clock_nanosleep),
    PASS(SYS_nanosleep),
    PASS(SYS_ppoll),
    PASS(SYS_fadvise64),
    PASS(SYS_fallocate),
    PASS(SYS_getdents64),
    PASS(SYS_restart_syscall),
    PASS(SYS_copy_file_range),
    PASS(SYS_rseq),
#ifdef SYS_faccessat2
    PASS(SYS_faccessat2),
#endif
#ifdef SYS_renameat
    PASS(SYS_renameat),
#endif
#ifdef SYS_open
    PASS(SYS_open),
    PASS(SYS_stat),
    PASS(SYS_lstat),
    PASS(SYS_access),
    PASS(SYS_readlink),
    PASS(SYS_fork),
    PASS(SYS_vfork),
    PASS(SYS_pipe),
    PASS(SYS_dup2),
    PASS(SYS_unlink),
    PASS(SYS_rename),
    PASS(SYS_chmod),
    PASS(SYS_getrlimit),
    PASS(SYS_setrlimit),
    PASS(SYS_time),
    PASS(SYS_poll),
    PASS(SYS_getdents),
    PASS(SYS_arch_prctl),
#endif
};

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define ARG_LOW(i)                                                                                                     \
    ((uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)(i))) /* little-endian only, as OUR_ARCH */

int lock_filter(lock_filter_kind kind)
{
    static const struct {
        const allowed *list;
        int n;
        uint32_t otherwise;
    } kinds[] = {
        [FILTER_COMPILE] = {compile_list, sizeof compile_list / sizeof *compile_list, SECCOMP_RET_ERRNO | EPERM},
        [FILTER_LOAD] = {load_list, sizeof load_list / sizeof *load_list, SECCOMP_RET_TRAP},
        [FILTER_RUN] = {run_list, sizeof run_list / sizeof *run_list, SECCOMP_RET_TRAP},
    };
    if (OUR_ARCH == 0) {
        errno = ENOSYS;
        return -1;
    }
    struct sock_filter code[512];
    int n = 0;
#define EMIT(...) (code[n++] = (struct sock_filter)__VA_ARGS__)
    EMIT(LOAD(offsetof(struct seccomp_data, arch)));
    EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0));
    EMIT(RETURN(SECCOMP_RET_KILL_PROCESS));
    EMIT(LOAD(offsetof(struct seccomp_data, nr))); /* x32 numbers match no entry below */
    for (int i = 0; i < kinds[kind].n; i++) {
        const allowed *a = &kinds[kind].list[i];
        if (a->arg < 0) {
            EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)a->nr, 0, 1));
            EMIT(RETURN(SECCOMP_RET_ALLOW));
        } else {
            EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)a->nr, 0, 4));
            EMIT(LOAD(ARG_LOW(a->arg)));
            EMIT(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, a->forbidden, 1, 0));
            EMIT(RETURN(SECCOMP_RET_ALLOW));
            EMIT(RETURN(kinds[kind].otherwise));
        }
    }
#ifdef SYS_clone3
    if (kind == FILTER_COMPILE) { /* its flags lie in memory, out of reach: libc falls back to clone */
        EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1));
        EMIT(RETURN(SECCOMP_RET_ERRNO | ENOSYS));
    }
#endif
    EMIT(RETURN(kinds[kind].otherwise));
#undef EMIT
    struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (rc > 0) { /* a thread that could not be brought along */
        errno = ESRCH;
        return -1;
    }
    return (int)rc;
}
