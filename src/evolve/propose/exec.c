/* exec: a command of the user's gets the prompt on stdin and prints the answer.
 *
 * Each run is a process group of its own with files for stdin and stdout, so that nothing can block on a pipe; past its
 * time, or with too long an answer, the whole group is killed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "evolve/config.h"
#include "evolve/propose/mind.h"

enum { JOBS_MAX = 64, FAILURES_MAX = 8 };

extern char **environ;

typedef struct {
    mind_question *q;
    pid_t pid;
    int out; /* an unlinked file */
    double since;
} job;

typedef struct {
    atn_proposer base;
    mind *m;
    char *command;
    double timeout;
    int parallel, failures; /* failures: in a row */
    job jobs[JOBS_MAX];
    int n;
} runner;

static int unlinked_file(const char *text)
{
    char path[] = "/tmp/attune-exec-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) return -1;
    unlink(path);
    for (size_t n = text ? strlen(text) : 0, at = 0; at < n;) {
        ssize_t w = write(fd, text + at, n - at);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) {
            close(fd);
            return -1;
        }
        at += (size_t)w;
    }
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static bool start(runner *r, mind_question *q)
{
    char *text = atn_format("%s\n\n%s", q->system, q->prompt);
    int in = unlinked_file(text), out = unlinked_file(NULL), rc = -1;
    pid_t pid = -1;
    free(text);
    if (in >= 0 && out >= 0) {
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attr;
        sigset_t none, usual;
        sigemptyset(&none);
        sigfillset(&usual);
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_adddup2(&files, in, 0);
        posix_spawn_file_actions_adddup2(&files, out, 1);
        posix_spawnattr_init(&attr);
        posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawnattr_setpgroup(&attr, 0);
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setsigdefault(&attr, &usual);
        char *const argv[] = {"sh", "-c", r->command, NULL};
        rc = posix_spawn(&pid, "/bin/sh", &files, &attr, argv, environ);
        posix_spawn_file_actions_destroy(&files);
        posix_spawnattr_destroy(&attr);
    }
    if (in >= 0) close(in);
    if (rc) {
        if (out >= 0) close(out);
        mind_lost(r->m, q, &(mind_answer){0}, "the command could not be started");
        mind_question_free(q);
        r->failures++;
        return false;
    }
    r->jobs[r->n++] = (job){.q = q, .pid = pid, .out = out, .since = clock_s()};
    return true;
}

static char *read_all(int fd)
{
    struct stat s;
    if (fstat(fd, &s) || s.st_size > ANSWER_BYTES_MAX) return NULL;
    char *text = atn_alloc((size_t)s.st_size + 1);
    ssize_t n = pread(fd, text, (size_t)s.st_size, 0);
    text[n > 0 ? n : 0] = 0;
    return text;
}

static void finish(runner *r, int i, int status, const char *killed)
{
    job j = r->jobs[i];
    char *text = read_all(j.out), why[120];
    r->jobs[i] = r->jobs[--r->n];
    mind_answer a = {.text = text, .model = "exec", .seconds = clock_s() - j.since, .tries = 1};
    bool good = !killed && WIFEXITED(status) && WEXITSTATUS(status) == 0 && text;
    if (good) {
        mind_take(r->m, j.q, &a, false, NULL, 0);
        r->failures = 0;
    } else {
        if (killed) snprintf(why, sizeof why, "%s", killed);
        else if (!text) snprintf(why, sizeof why, "the answer is longer than %d bytes", ANSWER_BYTES_MAX);
        else if (WIFSIGNALED(status)) snprintf(why, sizeof why, "the command died by signal %d", WTERMSIG(status));
        else snprintf(why, sizeof why, "the command ended with exit code %d", WEXITSTATUS(status));
        mind_lost(r->m, j.q, &a, why);
        char *say = atn_format("exec: %s", why);
        mind_host(r->m)->warn(mind_host(r->m)->ctx, say);
        free(say);
        r->failures++;
    }
    free(text);
    close(j.out);
    mind_question_free(j.q);
}

static void kill_group(const job *j)
{
    int status;
    kill(-j->pid, SIGKILL);
    waitpid(j->pid, &status, 0);
}

static void exec_service(atn_proposer *p)
{
    runner *r = (runner *)p;
    for (int i = r->n - 1; i >= 0; i--) {
        job *j = &r->jobs[i];
        int status = 0;
        struct stat s;
        if (waitpid(j->pid, &status, WNOHANG) == j->pid) {
            kill(-j->pid, SIGKILL); /* what it left behind */
            finish(r, i, status, NULL);
        } else if (clock_s() - j->since > r->timeout) {
            char why[80];
            snprintf(why, sizeof why, "no answer within %g s; killed", r->timeout);
            kill_group(j);
            finish(r, i, 0, why);
        } else if (fstat(j->out, &s) == 0 && s.st_size > ANSWER_BYTES_MAX) {
            kill_group(j);
            finish(r, i, 0, "the answer is too long; killed");
        }
    }
}

static propose_answer exec_propose(atn_proposer *p, const atn_propose_context *c, atn_rng *rng, atn_proposal *out)
{
    runner *r = (runner *)p;
    if (mind_next(r->m, out)) return PROPOSE_OK;
    if (r->failures >= FAILURES_MAX) return r->n ? PROPOSE_LATER : PROPOSE_EXHAUSTED;
    mind_patience patience = mind_tired(r->m, c, r->n > 0);
    if (patience == MIND_STOP) return PROPOSE_EXHAUSTED;
    if (patience == MIND_WAIT) return PROPOSE_LATER;
    int most = c->iterations_left >= 0 ? ATN_MIN(r->parallel, c->iterations_left) : r->parallel;
    while (r->n < most) {
        mind_question *q = mind_repair(r->m);
        if (!q) q = mind_ask(r->m, c, rng, NULL);
        if (!q || !start(r, q)) break;
    }
    return PROPOSE_LATER;
}

static void exec_learn(atn_proposer *p, const atn_program_view *v)
{
    mind_learn(((runner *)p)->m, v);
}
static void exec_attach(atn_proposer *p, const propose_host *h)
{
    mind_attach(((runner *)p)->m, h);
}

static char *exec_tell(const atn_proposer *p)
{
    return mind_tell(((const runner *)p)->m);
}

static void exec_destroy(atn_proposer *p)
{
    runner *r = (runner *)p;
    for (int i = 0; i < r->n; i++) {
        kill_group(&r->jobs[i]);
        close(r->jobs[i].out);
        mind_question_free(r->jobs[i].q);
    }
    mind_free(r->m);
    free(r->command);
    free(r);
}

atn_proposer *proposer_exec_create(const struct atn_config *c, atn_error *err)
{
    runner *r = atn_alloc(sizeof *r);
    r->base = (atn_proposer){.name = "exec",
                             .propose = exec_propose,
                             .learn = exec_learn,
                             .destroy = exec_destroy,
                             .attach = exec_attach,
                             .service = exec_service,
                             .tell = exec_tell};
    r->timeout = config_real(c, "exec.timeout");
    r->parallel = ATN_MIN((int)config_int(c, "exec.parallel"), JOBS_MAX);
    const char *command = config_text(c, "exec.command");
    atn_status st = command ? ATN_OK
                            : atn_fail(err, ATN_USAGE,
                                       "the exec proposer needs a command that reads the prompt from stdin "
                                       "and prints the answer: --set exec.command='...'");
    if (!st) r->command = atn_strdup(command);
    if (!st) st = mind_create("exec", c, &r->m, err);
    if (!st) return &r->base;
    exec_destroy(&r->base);
    return NULL;
}
