/* Builds a candidate. See build.h. Gate first, then a compile worker (worker/compile.c), then the object's static
 * check.
 *
 * The scratch folder is in memory where there is a /dev/shm; the object leaves it only as a sealed memory file.
 *
 * What a build costs (gcc 12, flash_qvec.c): 0.66 s of CPU, of which parsing 0.02, assembling 0.006, linking 0.02, and
 * the sandbox 0.01; the rest is the optimiser. So there is no syntax pass ahead (cc1 stops there by itself), no -pipe,
 * no precompiled header: none of them would be seen. */
#include "judge/build.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/text.h"
#include "judge/elf.h"
#include "judge/gate.h"
#include "judge/sandbox.h"
#include "judge/wire.h"

enum { LOG_MAX = 65536, ARGS_MAX = 56 };

struct atn_build {
    build_result result;
    bool unchecked;
    bool finished; /* the result is complete: no worker was needed, or it has ended */
    pid_t pid;
    int result_fd; /* read: the worker's report */
    int life_fd;   /* write: closing it tells the worker to end */
    int log_fd, so_fd;
    char *folder, *source;
    int64_t started_ns;
};

/* --- the compiler --- */

/* ccache and its like take the compiler's name and look for the real one by PATH; the sandbox has no cache for them. */
static bool is_wrapper(const char *path)
{
    static const char *const wrappers[] = {"ccache", "sccache", "distcc", "icecc", "colorgcc"};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (int i = 0; i < ATN_COUNT(wrappers); i++)
        if (text_starts(name, wrappers[i])) return true;
    return false;
}

/* Absolute, links resolved: what lies behind /etc/alternatives is out of reach in the sandbox. NULL: not found. */
static char *compiler_path(const char *cc)
{
    if (strchr(cc, '/')) {
        char *real = realpath(cc, NULL);
        if (real && access(real, X_OK) == 0) return real;
        free(real);
        return NULL;
    }
    const char *path = getenv("PATH");
    char *copy = atn_strdup(path && *path ? path : "/usr/local/bin:/usr/bin:/bin"), *rest = copy, *found = NULL;
    for (char *folder; !found && (folder = strsep(&rest, ":"));) {
        char *full = file_join(*folder ? folder : ".", cc);
        if (access(full, X_OK) == 0) found = realpath(full, NULL);
        if (found && is_wrapper(found)) {
            free(found);
            found = NULL;
        }
        free(full);
    }
    free(copy);
    return found;
}

typedef struct {
    char name[64]; /* as asked for */
    char *path;
    char version[96]; /* "gcc 12.2.0" */
    bool clang;
} compiler;

/* Runs `path --version` and keeps the name and the first word that looks like a version. */
static bool ask_version(compiler *c)
{
    const char *asked = strrchr(c->name, '/') ? strrchr(c->name, '/') + 1 : c->name;
    int pipe_fd[2];
    char text[1024] = {0};
    if (pipe2(pipe_fd, O_CLOEXEC) != 0) return false;
    pid_t pid = fork();
    if (pid == 0) { /* only what is safe after fork with threads about */
        static char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", NULL};
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(pipe_fd[1], 1);
        dup2(null, 2);
        execle(c->path, c->path, "--version", (char *)NULL, environment);
        _exit(127);
    }
    close(pipe_fd[1]);
    size_t used = 0;
    ssize_t n;
    while (pid > 0 && used + 1 < sizeof text &&
           ((n = read(pipe_fd[0], text + used, sizeof text - 1 - used)) > 0 || (n < 0 && errno == EINTR)))
        used += n > 0 ? (size_t)n : 0;
    close(pipe_fd[0]);
    int status = 1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (pid <= 0 || used == 0) return false;
    c->clang = strstr(text, "clang") != NULL;
    char *line_end = strchr(text, '\n');
    if (line_end) *line_end = 0;
    const char *version = "";
    char *rest = text;
    for (char *w; (w = strsep(&rest, " "));)
        if (isdigit((unsigned char)w[0]) && strchr(w, '.')) version = w; /* the last one: Debian puts its own before */
    char clean[40];
    evidence_clean(clean, sizeof clean, version, strcspn(version, "-+)"));
    snprintf(c->version, sizeof c->version, "%.40s %s",
             c->clang                   ? "clang"
             : strcmp(asked, "cc") == 0 ? "gcc"
                                        : asked,
             clean);
    return true;
}

static const compiler *compiler_get(const char *cc, atn_error *err)
{
    static compiler known[8];
    static int n_known;
    static const char *const usual[] = {"gcc", "clang", "cc"};
    const char *const *names = cc && *cc ? &cc : usual;
    int n = cc && *cc ? 1 : ATN_COUNT(usual);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < n_known; k++)
            if (strcmp(known[k].name, names[i]) == 0) return &known[k];
        if (strlen(names[i]) >= sizeof known[0].name || n_known == ATN_COUNT(known)) continue;
        compiler c = {.path = compiler_path(names[i])};
        snprintf(c.name, sizeof c.name, "%s", names[i]);
        if (c.path && ask_version(&c)) {
            known[n_known] = c;
            return &known[n_known++];
        }
        free(c.path);
    }
    atn_fail(err, ATN_NOT_FOUND,
             "no C compiler%s%s%s; install gcc or clang (Debian: apt install gcc; Fedora: dnf install gcc)",
             cc ? " '" : "", cc ? cc : "", cc ? "'" : "");
    return NULL;
}

atn_status build_compiler(const char *cc, char *out, size_t room, atn_error *err)
{
    const compiler *c = compiler_get(cc, err);
    if (!c) return ATN_NOT_FOUND;
    snprintf(out, room, "%s", c->version);
    return ATN_OK;
}

/* --- the command line --- */

/* fast-math without -ffinite-math-only (it folds isnan to 0 and breaks masked softmax), and never -ffast-math itself:
 * on the link line it brings crtfastmath.o, which turns denormals off in whoever loads the object. */
static const char base_flags[] =
    "-std=gnu17 -O3 -march=native -fPIC -fno-math-errno -fno-trapping-math -fno-signed-zeros -fassociative-math "
    "-freciprocal-math "
    "-ffp-contract=fast -fvisibility=hidden -fno-stack-protector -fno-asynchronous-unwind-tables -fno-ident -g0 -w";
static const char link_flags[] =
    "-U_FORTIFY_SOURCE -shared -nostartfiles -s "
    "-Wl,-z,now,-z,relro,-z,noexecstack,-z,defs,--hash-style=sysv,--build-id=none,--as-needed";

/* The compiler's words on its loops: 0.04 s of a build of 0.8 s (gcc 12, flash_qvec.c), and the same object. gcc writes
 * them to a file, clang among its messages. */
#define REPORT_FILE "loops.txt"
static const char *const report_flags[2][4] = {
    {"-fopt-info-vec-optimized-missed=" REPORT_FILE},
    {"-fno-caret-diagnostics", "-Rpass=loop-vectorize", "-Rpass-missed=loop-vectorize",
     "-Rpass-analysis=loop-vectorize"}};

static void flag_line(const build_options *o, char *out, size_t room)
{
    bool wide = machine_has("avx512f");
    snprintf(out, room, "%s%s%s%s", base_flags, wide ? " -mprefer-vector-width=512" : "",
             o->flags && *o->flags ? " " : "", o->flags ? o->flags : "");
}

typedef struct {
    const char *args[ARGS_MAX + 24];
    int n;
    char *owned[4];
    int n_owned;
} arguments;

static void add(arguments *a, const char *s)
{
    ATN_CHECK(a->n + 1 < ATN_COUNT(a->args));
    a->args[a->n++] = s;
}

static void add_words(arguments *a, const char *line)
{
    char *copy = a->owned[a->n_owned++] = atn_strdup(line), *rest = copy;
    for (char *w; (w = strtok_r(rest, " ", &rest));) add(a, w);
}

static void arguments_free(arguments *a)
{
    for (int i = 0; i < a->n_owned; i++) free(a->owned[i]);
}

/* May a private uid reach this file? Every folder on the way must let others through. */
static bool others_reach(const char *path)
{
    char *copy = atn_strdup(path);
    bool yes = true;
    struct stat s;
    for (char *slash = copy; yes && (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        yes = stat(copy, &s) == 0 && (s.st_mode & S_IXOTH);
        *slash = '/';
    }
    yes = yes && stat(copy, &s) == 0 && (s.st_mode & S_IXOTH);
    free(copy);
    return yes;
}

/* The folder that a compiler is installed under: /opt/gcc-13 for /opt/gcc-13/bin/gcc. */
static char *prefix_of(const char *path)
{
    char *copy = atn_strdup(path);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(copy, '/');
        if (slash && slash != copy) *slash = 0;
    }
    return copy;
}

/* --- start --- */

static atn_status write_source(const char *folder, const char *source, atn_error *err)
{
    char *path = file_join(folder, "kernel.c");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    size_t n = strlen(source);
    atn_status st = ATN_OK;
    if (fd < 0 || write(fd, source, n) != (ssize_t)n)
        st = atn_fail(err, ATN_IO, "cannot write '%s': %s", path, strerror(errno));
    if (fd >= 0) {
        fchmod(fd, 0644);
        close(fd);
    }
    free(path);
    return st;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void build_free(atn_build *b)
{
    if (!b) return;
    close_fd(&b->life_fd); /* the worker sees it, ends the compiler, reaps it, ends */
    if (b->pid > 0) {
        int status;
        while (waitpid(b->pid, &status, 0) < 0 && errno == EINTR) {}
    }
    close_fd(&b->result_fd);
    close_fd(&b->log_fd);
    close_fd(&b->so_fd);
    if (b->folder) file_remove_tree(b->folder, NULL);
    free(b->folder);
    free(b->source);
    free(b);
}

static atn_status start_compiler(atn_build *b, const build_options *o, const compiler *cc, const char *source,
                                 atn_error *err)
{
    static unsigned counter;
    const char *scratch = sandbox_scratch(err);
    if (!scratch) return ATN_IO;
    b->folder = atn_format("%s/b%u", scratch, counter++);
    if (mkdir(b->folder, 0700) != 0) return atn_fail(err, ATN_IO, "cannot make '%s': %s", b->folder, strerror(errno));
    atn_status st = write_source(b->folder, source, err);
    if (st != ATN_OK) return st;
    int uid = others_reach(cc->path) && others_reach(scratch) ? sandbox_uid() : 0;
    if (uid && chown(b->folder, (uid_t)uid, (gid_t)uid) != 0)
        return atn_fail(err, ATN_IO, "cannot give away '%s': %s", b->folder, strerror(errno));

    int pipe_result[2] = {-1, -1}, pipe_life[2] = {-1, -1}, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    b->log_fd = sandbox_memfd("attune-messages");
    b->so_fd = sandbox_memfd("attune-kernel");
    if (null < 0 || b->log_fd < 0 || b->so_fd < 0 || pipe2(pipe_result, O_CLOEXEC) != 0 ||
        pipe2(pipe_life, O_CLOEXEC) != 0) {
        st = atn_fail(err, ATN_IO, "cannot open pipes and memory files: %s", strerror(errno));
    } else {
        b->result_fd = pipe_result[0];
        b->life_fd = pipe_life[1];
        fcntl(b->result_fd, F_SETFL, O_NONBLOCK);
        char timeout[16], uid_text[16], layers[16], cpu[16], *include = file_join(scratch, "include"),
                                                             *prefix = prefix_of(cc->path);
        snprintf(timeout, sizeof timeout, "%d", (int)((o->timeout_s > 0 ? o->timeout_s : 20) * 1000));
        snprintf(uid_text, sizeof uid_text, "%d", uid);
        snprintf(layers, sizeof layers, "%d", sandbox_layers());
        snprintf(cpu, sizeof cpu, "%d", sandbox_timing_cpu());
        arguments a = {.n = 0};
        const char *const head[] = {"compile", b->folder, timeout, uid_text, layers, cpu};
        for (int i = 0; i < ATN_COUNT(head); i++) add(&a, head[i]);
        const char *const readable[] = {"/usr", "/lib", "/lib64", "/nix/store", "/proc/cpuinfo", prefix, include};
        for (int i = 0; i < ATN_COUNT(readable); i++) {
            if (strcmp(readable[i], "/") == 0) continue;
            add(&a, "-r");
            add(&a, readable[i]);
        }
        add(&a, "--");
        add(&a, cc->path);
        add_words(&a, b->result.flags);
        add_words(&a, link_flags);
        if (o->unchecked) add(&a, "-Wl,-z,undefs");
        add(&a, cc->clang ? "-ferror-limit=5" : "-fmax-errors=5");
        for (int i = 0; i < ATN_COUNT(report_flags[0]); i++)
            if (report_flags[cc->clang][i]) add(&a, report_flags[cc->clang][i]);
        add(&a, "-I../include");
        add(&a, "kernel.c");
        add(&a, "-o");
        add(&a, "kernel.so");
        add(&a, "-lm");
        add(&a, NULL);
        const int fds[BUILD_FD_COUNT] = {null,
                                         b->log_fd,
                                         b->log_fd,
                                         [BUILD_FD_RESULT] = pipe_result[1],
                                         [BUILD_FD_LIFE] = pipe_life[0],
                                         [BUILD_FD_SO] = b->so_fd};
        st = sandbox_spawn(a.args, fds, BUILD_FD_COUNT, &b->pid, err);
        arguments_free(&a);
        free(include);
        free(prefix);
    }
    close_fd(&pipe_result[1]);
    close_fd(&pipe_life[0]);
    if (null >= 0) close(null);
    return st;
}

atn_status build_start(const build_options *o, const char *source, const char *original, atn_build **out,
                       atn_error *err)
{
    *out = NULL;
    const compiler *cc = compiler_get(o->cc, err);
    if (!cc) return ATN_NOT_FOUND;
    atn_build *b = atn_alloc(sizeof *b);
    b->result_fd = b->life_fd = b->log_fd = b->so_fd = b->result.so_fd = -1;
    b->started_ns = clock_ns();
    b->unchecked = o->unchecked;
    b->source = atn_strdup(source);
    b->result.stage = ATN_STAGE_GATE;
    snprintf(b->result.compiler, sizeof b->result.compiler, "%s", cc->version);
    gate_report g;
    gate_check_flags(o->flags, &g);
    flag_line(o, b->result.flags, sizeof b->result.flags);
    if (g.reason == ATN_REASON_OK && !o->unchecked) gate_check(source, original, o->whole_file, &g);
    atn_status st = ATN_OK;
    if (g.reason != ATN_REASON_OK) {
        b->result.reason = g.reason;
        snprintf(b->result.evidence, sizeof b->result.evidence, "%s", g.evidence);
        b->finished = true;
        b->result_fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* always readable */
    } else {
        b->result.stage = ATN_STAGE_BUILD;
        st = start_compiler(b, o, cc, source, err);
    }
    if (st != ATN_OK) build_free(b);
    else *out = b;
    return st;
}

int build_fd(const atn_build *b)
{
    return b->result_fd;
}

void build_cancel(atn_build *b)
{
    build_free(b);
}

/* --- the end --- */

static bool mentions(const char *text, const char *const *words, int n)
{
    for (int i = 0; i < n; i++)
        if (strstr(text, words[i])) return true;
    return false;
}

static void fail_build(build_result *r, atn_reason reason, const char *text)
{
    r->reason = reason;
    evidence_clean(r->evidence, sizeof r->evidence, text, strlen(text));
}

static void judge_messages(build_result *r, const build_report *report, const char *log)
{
    static const char *const limits[] = {"out of memory",
                                         "virtual memory exhausted",
                                         "Cannot allocate memory",
                                         "CPU time limit",
                                         "Killed signal",
                                         "File size limit",
                                         "File too large",
                                         "No space left",
                                         "memory exhausted",
                                         "bad_alloc",
                                         "cannot allocate",
                                         "unable to execute command",
                                         "too large",
                                         "LLVM ERROR"};
    if (report->timed_out) {
        fail_build(r, ATN_REASON_COMPILE_LIMIT, "the compiler did not finish in time");
    } else if (!WIFEXITED(report->status)) {
        fail_build(r, ATN_REASON_COMPILE_LIMIT, "the compiler was killed");
    } else {
        fail_build(r, mentions(log, limits, ATN_COUNT(limits)) ? ATN_REASON_COMPILE_LIMIT : ATN_REASON_COMPILE,
                   *log ? log : "no message");
    }
}

static void check_object(atn_build *b, const build_report *report)
{
    build_result *r = &b->result;
    if (report->error) {
        fail_build(r, report->error == EFBIG ? ATN_REASON_TOO_LARGE : ATN_REASON_COMPILE,
                   report->error == EFBIG ? "the object has more than 4 MiB" : "the compiler left no object");
        return;
    }
    fchmod(b->so_fd, 0555); /* a memory file is made writable by all, which no loader of kernels accepts */
    fcntl(b->so_fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    struct stat s;
    void *p = fstat(b->so_fd, &s) == 0 && s.st_size > 0
                  ? mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, b->so_fd, 0)
                  : MAP_FAILED;
    if (p == MAP_FAILED) {
        fail_build(r, ATN_REASON_LOAD, "the object is empty");
        return;
    }
    elf_report e;
    elf_check(p, (size_t)s.st_size, &e);
    munmap(p, (size_t)s.st_size);
    if (e.reason != ATN_REASON_OK && !b->unchecked) {
        fail_build(r, e.reason, e.evidence);
        return;
    }
    r->reason = ATN_REASON_OK;
    memcpy(r->object_hash, e.hash, sizeof r->object_hash);
    r->so_fd = b->so_fd;
    b->so_fd = -1;
}

/* The file was made by a process that had read the candidate: it may be a link, a pipe, endless. */
static void read_loops(atn_build *b, char *log)
{
    if (strstr(b->result.compiler, "clang") == NULL) {
        char *path = file_join(b->folder, REPORT_FILE);
        int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat s;
        ssize_t n = fd >= 0 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode) ? read(fd, log, LOG_MAX) : -1;
        if (fd >= 0) close(fd);
        free(path);
        if (n < 0) return;
        log[n] = 0;
    }
    evidence_of_report(log, b->source, &b->result.loops);
}

/* clang's remarks are no error messages. */
static void drop_remarks(char *log)
{
    char *to = log;
    for (char *line = log, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        end += *end == '\n';
        char *remark = strstr(line, ": remark: ");
        if (remark && remark < end) continue;
        memmove(to, line, (size_t)(end - line));
        to += end - line;
    }
    *to = 0;
}

static void finish(atn_build *b, const build_report *report)
{
    char *log = atn_alloc(LOG_MAX + 1);
    ssize_t n = pread(b->log_fd, log, LOG_MAX, 0);
    log[n > 0 ? n : 0] = 0;
    if (report->magic != WIRE_MAGIC || report->status == -1) {
        char text[300];
        if (report->magic == WIRE_MAGIC)
            snprintf(text, sizeof text, "the compiler could not be started in its sandbox (%.100s: %s); run 'attune doctor'",
                     report->text, strerror(report->error));
        else snprintf(text, sizeof text, "the process that watches the compiler was killed");
        fail_build(&b->result, ATN_REASON_COMPILE, text);
    } else if (report->timed_out || !WIFEXITED(report->status) || WEXITSTATUS(report->status) != 0) {
        drop_remarks(log);
        judge_messages(&b->result, report, log);
    } else {
        check_object(b, report);
        if (b->result.reason == ATN_REASON_OK) read_loops(b, log);
    }
    free(log);
}

bool build_step(atn_build *b, build_result *out)
{
    if (!b->finished) {
        build_report report = {0};
        ssize_t n = read(b->result_fd, &report, sizeof report);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
        if (n != sizeof report) report = (build_report){0};
        finish(b, &report);
    }
    b->result.seconds = (double)(clock_ns() - b->started_ns) * 1e-9;
    *out = b->result;
    build_free(b);
    return true;
}

atn_status build_run(const build_options *o, const char *source, const char *original, build_result *out,
                     atn_error *err)
{
    atn_build *b;
    atn_status st = build_start(o, source, original, &b, err);
    if (st != ATN_OK) return st;
    while (!build_step(b, out)) {
        struct timespec t = {.tv_nsec = 1000000};
        fd_set set;
        FD_ZERO(&set);
        if (build_fd(b) < FD_SETSIZE) {
            FD_SET(build_fd(b), &set);
            if (select(build_fd(b) + 1, &set, NULL, NULL, NULL) < 0 && errno != EINTR) nanosleep(&t, NULL);
        } else {
            nanosleep(&t, NULL);
        }
    }
    return ATN_OK;
}

void build_release(build_result *r)
{
    if (r->so_fd >= 0) close(r->so_fd);
    r->so_fd = -1;
}
