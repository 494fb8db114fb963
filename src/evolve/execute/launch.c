/* Pilots as processes and connections: started, found in a folder, lost, ended. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "evolve/execute/fleet_int.h"

static const double RELAUNCH_S = 0.2, RELAUNCH_MOST_S = 30;
static const double SPOOL_DEAD_S = 120; /* a pilot that waits says so every few seconds */

/* ---- ends ---- */

bool launch_makes_jobs(const atn_fleet *f)
{
    return !strcmp(f->x.kind, "slurm") && !getenv("SLURM_JOB_ID");
}

/* A job outlives an srun that is killed, and is charged until its time limit. */
static void cancel_job(atn_fleet *f, const char *job)
{
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        execlp("scancel", "scancel", "-Q", job, (char *)NULL);
        _exit(127);
    }
    if (pid < 0) return;
    f->dying = atn_realloc(f->dying, (size_t)(f->n_dying + 1) * sizeof *f->dying);
    f->dying[f->n_dying++] = (dying_process){.pid = pid, .kill_at = clock_s() + 30, .told = true, .cancels = true};
}

void launch_reap(atn_fleet *f, bool now)
{
    for (int i = 0; i < f->n_dying; i++) {
        dying_process *d = &f->dying[i];
        double t = clock_s();
        bool end = now || t > d->kill_at;
        if (end && d->job[0]) {
            char job[sizeof d->job];
            memcpy(job, d->job, sizeof job);
            d->job[0] = 0;
            cancel_job(f, job);
            d = &f->dying[i]; /* moved */
        }
        bool leave = now && d->cancels; /* it ends by itself after us */
        if (end && !leave) kill(-d->pid, SIGKILL);
        else if (!d->told && t > d->term_at) kill(-d->pid, SIGTERM), d->told = true;
        if (!leave && waitpid(d->pid, NULL, now ? 0 : WNOHANG) == 0) continue;
        f->dying[i--] = f->dying[--f->n_dying];
    }
}

void launch_let_die(atn_fleet *f, fleet_pilot *p, double patience)
{
    if (p->pid > 0) {
        dying_process d = {.pid = p->pid, .term_at = clock_s() + patience, .kill_at = clock_s() + patience + 4};
        memcpy(d.job, p->job, sizeof d.job);
        f->dying = atn_realloc(f->dying, (size_t)(f->n_dying + 1) * sizeof *f->dying);
        f->dying[f->n_dying++] = d;
    }
    p->pid = 0;
    p->job[0] = 0;
}

void pilot_close(atn_fleet *f, fleet_pilot *p)
{
    pilot_busy(f, p);
    if (p->link.in >= 0) epoll_ctl(f->epoll, EPOLL_CTL_DEL, p->link.in, NULL);
    if (p->watched) epoll_ctl(f->epoll, EPOLL_CTL_DEL, p->link.out, NULL);
    p->watched = false;
    link_close(&p->link);
    launch_let_die(f, p, 0);
    if (p->node) p->node->pilots--;
    p->node = NULL;
    wire_texts_free(&p->sent);
    p->leaving = false;
}

void pilot_lost(atn_fleet *f, fleet_pilot *p, const char *why)
{
    fleet_task *t = p->task;
    bool was_there = p->state >= PILOT_OPENING;
    const char *node = p->node ? p->node->name : p->host ? p->host : "";
    if (was_there) f->counts.lost++;
    if (p->node) p->node->lost += !p->leaving;
    if (was_there && !p->leaving) fleet_note(f, p->cls, "pilot %d on %s is lost: %s", p->index, node, why);
    if (t && !p->leaving) t->losses++; /* who was told to go has not been taken down by what it judged */
    p->task = NULL;
    if (!was_there && !f->ever_ready) f->barren++;
    pilot_close(f, p);
    p->state = p->adopted ? PILOT_GONE : PILOT_ABSENT;
    p->launch_at = clock_s() + p->delay;
    p->delay = fmin(RELAUNCH_MOST_S, fmax(RELAUNCH_S, 2 * p->delay));
    if (t) task_ask_again(f, t);
}

/* ---- starts ---- */

static void shell(const char *command, const char *log, int in, int out)
{
    int err = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : open("/dev/null", O_WRONLY | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0); /* Ctrl-C is for the controller; and what is killed is killed whole */
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(126);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static char *command_of(const atn_fleet *f, const fleet_pilot *p)
{
    const execute_options *x = &f->x;
    const char *worker = x->worker ? x->worker : "attune", *more = x->launch ? x->launch : "";
    if (!strcmp(x->kind, "slurm"))
        return atn_format("exec srun -Q -u -N1 -n1 --job-name=attune %s %s %s worker --stdio",
                          launch_makes_jobs(f) ? "" : "--exact --kill-on-bad-exit=0", more, worker);
    if (!strcmp(x->kind, "ssh"))
        return atn_format("exec ssh -oBatchMode=yes -oServerAliveInterval=5 -oServerAliveCountMax=3 %s %s %s worker --stdio",
                          more, p->host, worker);
    return atn_strdup(more);
}

/* A connection to it stands: it has HELLO_S to say who it is. */
void pilot_begins(atn_fleet *f, fleet_pilot *p)
{
    p->state = PILOT_STARTING;
    p->heard = clock_s();
    f->counts.started++;
}

static void pilot_listen(atn_fleet *f, fleet_pilot *p, int in, int out)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = (uint32_t)p->index};
    link_pipes(&p->link, in, out);
    epoll_ctl(f->epoll, EPOLL_CTL_ADD, in, &ev);
    pilot_begins(f, p);
}

void pilot_launch(atn_fleet *f, fleet_pilot *p)
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC)) return;
    if (pipe2(from, O_CLOEXEC)) {
        close(to[0]), close(to[1]);
        return;
    }
    char *command = command_of(f, p), *name = atn_format("pilot-%d.log", p->index);
    char *log = f->x.logs ? file_join(f->x.logs, name) : NULL, slot[16];
    snprintf(slot, sizeof slot, "%d", p->index);
    setenv("ATTUNE_SLOT", slot, 1);
    setenv("ATTUNE_OWN_JOB", launch_makes_jobs(f) ? "1" : "", 1); /* for one whose srun dies before it is spoken to */
    pid_t pid = fork();
    if (pid == 0) shell(command, log, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    if (pid > 0) setpgid(pid, pid);
    free(command);
    free(name);
    free(log);
    if (pid < 0) {
        close(to[1]), close(from[0]);
        p->launch_at = clock_s() + 1;
        return;
    }
    p->pid = pid;
    pilot_listen(f, p, from[0], to[1]);
}

fleet_pilot *pilot_new(atn_fleet *f)
{
    fleet_pilot *p = atn_alloc(sizeof *p);
    f->pilot = atn_realloc(f->pilot, (size_t)(f->n_pilots + 1) * sizeof *f->pilot);
    p->index = f->n_pilots;
    p->cls = -1;
    p->link = (atn_link){.in = -1, .out = -1};
    return f->pilot[f->n_pilots++] = p;
}

void fleet_adopt(atn_fleet *f, int in, int out)
{
    fleet_pilot *p = pilot_new(f);
    p->adopted = true;
    pilot_listen(f, p, in, out);
}

atn_status launch_slots(atn_fleet *f, atn_error *err)
{
    const execute_options *x = &f->x;
    int slots = x->spool ? 0 : x->slots;
    if (!strcmp(x->kind, "ssh")) {
        if (!x->n_hosts) return atn_fail(err, ATN_USAGE, "--executor ssh needs hosts: --set 'executor.hosts=[node1, node2*4]'");
        for (int i = 0; i < x->n_hosts; i++) {
            const char *star = strchr(x->hosts[i], '*');
            int times = star ? atoi(star + 1) : 1;
            if (x->hosts[i][0] == '-' || times < 1 || times > 1024)
                return atn_fail(err, ATN_USAGE, "'%s' is no host; write node1, user@node2 or node3*4", x->hosts[i]);
            for (int k = 0; k < times; k++)
                pilot_new(f)->host = star ? atn_strndup(x->hosts[i], (size_t)(star - x->hosts[i])) : atn_strdup(x->hosts[i]);
        }
        return ATN_OK;
    }
    for (int i = 0; i < slots; i++) pilot_new(f);
    return ATN_OK;
}

/* The last words of a launcher that failed. */
void launch_last_words(const atn_fleet *f, char *out, size_t room)
{
    *out = 0;
    for (int i = 0; f->x.logs && i < f->n_pilots && !*out; i++) {
        char *name = atn_format("pilot-%d.log", i), *path = file_join(f->x.logs, name), *text = NULL;
        if (file_read(path, 1 << 20, &text, NULL, NULL) == ATN_OK) {
            size_t n = strlen(text);
            while (n && isspace((unsigned char)text[n - 1])) text[--n] = 0;
            char *line = strrchr(text, '\n');
            snprintf(out, room, "%s", line ? line + 1 : text);
        }
        free(text);
        free(path);
        free(name);
    }
}

/* ---- the folder ---- */

/* What time it is where the folder lies: its clock may be far from ours, and it is the one that dates the pilots' files. */
static time_t spool_now(const char *folder)
{
    char *path = file_join(folder, ".clock");
    struct stat s;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool told = fd >= 0 && write(fd, "\n", 1) == 1 && fsync(fd) == 0 && fstat(fd, &s) == 0;
    if (fd >= 0) close(fd);
    free(path);
    return told ? s.st_mtime : time(NULL);
}

/* A pilot that nobody talks to has written its hello and nobody has written to it. */
void launch_spool(atn_fleet *f)
{
    if (clock_s() < f->spool_at) return;
    f->spool_at = clock_s() + 1;
    DIR *d = opendir(f->x.spool);
    time_t now = d ? spool_now(f->x.spool) : 0;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        size_t n = strlen(entry->d_name);
        struct stat s;
        if (n < 5 || strcmp(entry->d_name + n - 4, ".out")) continue;
        char *name = atn_strndup(entry->d_name, n - 4);
        char *base = file_join(f->x.spool, name), *from = atn_format("%s.out", base), *to = atn_format("%s.in", base);
        bool dead = stat(from, &s) || s.st_uid != geteuid() || now - s.st_mtime > SPOOL_DEAD_S;
        int fd = dead ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); /* one controller gets it */
        if (fd >= 0) {
            close(fd);
            fleet_pilot *p = NULL;
            for (int i = 0; i < f->n_pilots && !p; i++)
                if (f->pilot[i]->state == PILOT_GONE) p = f->pilot[i];
            if (!p) p = pilot_new(f);
            p->adopted = true;
            link_files(&p->link, from, to);
            pilot_begins(f, p);
        }
        free(to);
        free(from);
        free(base);
        free(name);
    }
    if (d) closedir(d);
}
