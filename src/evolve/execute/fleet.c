/* Pilots, their questions, and the judges that ask through them. */
#include "evolve/execute/fleet.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/text.h"
#include "evolve/execute/fleet_int.h"
#include "evolve/execute/pilot.h"
#include "evolve/record.h"

static const double TIMER_S = 0.1, RELAUNCH_S = 0.2, RELAUNCH_MOST_S = 30, HELLO_S = 60;
static const double SPOOL_DEAD_S = 120; /* a pilot that waits says so every few seconds */
enum { LOSSES_MAX = 5, ERRORS_MAX = 3, BARREN_LAUNCHES = 6 };

/* ---- words for people ---- */

void fleet_note(atn_fleet *f, int cls, const char *format, ...)
{
    char text[700];
    va_list va;
    va_start(va, format);
    vsnprintf(text, sizeof text, format, va);
    va_end(va);
    if (f->x.note) f->x.note(f->x.note_ctx, cls, text);
}

/* ---- texts, each held once while a task needs it ---- */

fleet_text *text_hold(atn_fleet *f, const char *text)
{
    char key[33];
    if (!text) return NULL;
    hash_hex(text, strlen(text), key);
    fleet_text **at = &f->texts[hash_bytes(key, 32) % ATN_COUNT(f->texts)];
    for (fleet_text *t = *at; t; t = t->next)
        if (!strcmp(t->key, key)) return t->held++, t;
    fleet_text *t = atn_alloc(sizeof *t);
    memcpy(t->key, key, sizeof key);
    t->text = atn_strdup(text);
    t->held = 1;
    t->next = *at;
    return *at = t;
}

static void text_drop(atn_fleet *f, fleet_text *t)
{
    if (!t || --t->held) return;
    fleet_text **at = &f->texts[hash_bytes(t->key, 32) % ATN_COUNT(f->texts)];
    while (*at != t) at = &(*at)->next;
    *at = t->next;
    free(t->text);
    free(t);
}

/* ---- tasks ---- */

static void queue_put(task_queue *q, fleet_task *t, bool front)
{
    if (front) {
        t->next = q->first;
        q->first = t;
        if (!q->last) q->last = t;
    } else {
        t->next = NULL;
        if (q->last) q->last->next = t;
        else q->first = t;
        q->last = t;
    }
}

static void queue_cut(task_queue *q, fleet_task *before, fleet_task *t)
{
    if (before) before->next = t->next;
    else q->first = t->next;
    if (q->last == t) q->last = before;
    t->next = NULL;
}

void task_free(atn_fleet *f, fleet_task *t)
{
    if (!t) return;
    text_drop(f, t->program);
    text_drop(f, t->original);
    text_drop(f, t->incumbent);
    free(t->flags);
    free(t->incumbent_flags);
    json_decref(t->more);
    json_decref(t->reply);
    free(t);
}

static void task_end(atn_fleet *f, fleet_task *t)
{
    t->state = TASK_DONE;
    t->pilot = NULL;
    f->ended++;
    if (t->cancelled) task_free(f, t);
}

static bool races(const fleet_task *t)
{
    return t->kind == TASK_COMPARE || (t->kind == TASK_JUDGE && t->checked);
}

static bool node_quiet(const fleet_pilot *p)
{
    return p->node->state == NODE_QUIET;
}

/* Right programs of a noisy node wait for a quiet one; everything else is taken as it comes. */
static bool may_take(const fleet_pilot *p, const fleet_task *t)
{
    return (t->only < 0 || t->only == p->index) && (node_quiet(p) || !races(t));
}

static fleet_task *queue_take(task_queue *q, const fleet_pilot *p)
{
    fleet_task *first = NULL, *before_first = NULL, *before = NULL;
    int looked = 0;
    for (fleet_task *t = q->first; t && looked < 16; before = t, t = t->next, looked++) {
        if (!may_take(p, t)) continue;
        if (t->prefer == p->index) {
            queue_cut(q, before, t);
            return t;
        }
        if (!first) first = t, before_first = before;
    }
    if (first) queue_cut(q, before_first, first);
    return first;
}

static void watch(atn_fleet *f, fleet_pilot *p)
{
    bool want = link_due(&p->link);
    if (p->link.out < 0 || want == p->watched) return;
    struct epoll_event ev = {.events = EPOLLOUT, .data.u32 = (uint32_t)p->index};
    if (epoll_ctl(f->epoll, want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, p->link.out, &ev) == 0) p->watched = want;
}

static void tell(atn_fleet *f, fleet_pilot *p, json_t *message)
{
    f->counts.messages++;
    link_send(&p->link, message);
    watch(f, p);
}

static void send_text(atn_fleet *f, fleet_pilot *p, const fleet_text *t)
{
    if (!t || wire_texts_has(&p->sent, t->key)) return;
    wire_texts_put(&p->sent, t->key, NULL);
    tell(f, p, json_pack("{s:s,s:s,s:o}", "t", "text", "key", t->key, "data", record_text(t->text)));
}

static json_t *program(const fleet_text *text, const char *flags, const fleet_text *original)
{
    json_t *o = json_pack("{s:s,s:s}", "text", text->key, "flags", flags ? flags : "");
    if (original) json_object_set_new(o, "original", json_string(original->key));
    return o;
}

static void ask(atn_fleet *f, fleet_pilot *p, fleet_task *t)
{
    static const char *const words[] = {"build", "judge", "candidate", "compare", "controls", "metrics"};
    t->state = TASK_ASKED;
    t->pilot = p;
    t->asked = clock_s();
    t->untimed = !node_quiet(p);
    p->task = t;
    for (int i = 0; i < 3; i++) { /* a text that is sent pushes an old one out: perhaps one that is needed here */
        send_text(f, p, t->program);
        send_text(f, p, t->original);
        send_text(f, p, t->incumbent);
    }
    json_t *q = t->more ? json_deep_copy(t->more) : json_object();
    json_object_set_new(q, "t", json_string(words[t->kind]));
    json_object_set_new(q, "id", json_integer(t->id));
    if (t->program) json_object_set_new(q, "program", program(t->program, t->flags, t->original));
    if (t->incumbent) json_object_set_new(q, "incumbent", program(t->incumbent, t->incumbent_flags, NULL));
    if (t->kind == TASK_JUDGE) json_object_set_new(q, "timed", json_boolean(!t->untimed));
    tell(f, p, q);
}

fleet_task *task_new(atn_fleet *f, task_kind kind, int cls)
{
    fleet_task *t = atn_alloc(sizeof *t);
    t->id = ++f->last_id;
    t->kind = kind;
    t->cls = cls;
    t->prefer = t->only = -1;
    return t;
}

static void pilot_busy(atn_fleet *f, fleet_pilot *p)
{
    if (p->idle) p->idle = false, f->n_idle--;
}

static void prove_node(atn_fleet *f, fleet_pilot *p)
{
    fleet_task *t = task_new(f, TASK_CONTROLS, p->cls);
    p->node->state = NODE_PROVING;
    t->program = text_hold(f, f->o->initial_source);
    t->more = json_pack("{s:i}", "races", f->o->control_races);
    t->proves = p->node;
    t->only = p->index;
    ask(f, p, t);
}

/* The pilot is free: what may it do? */
static void pilot_free(atn_fleet *f, fleet_pilot *p)
{
    if (p->state != PILOT_READY || p->task || p->leaving) return;
    if (p->node->state == NODE_UNKNOWN) {
        if (f->o->control_races <= 0) p->node->state = NODE_QUIET;
        else {
            prove_node(f, p);
            return;
        }
    }
    fleet_task *t = NULL;
    fleet_class *c = &f->cls[p->cls];
    for (int i = 0; i < 2 && !t; i++) t = queue_take(&c->queue[i], p);
    if (t) ask(f, p, t);
    else if (!p->idle) p->idle = true, f->n_idle++;
}

/* One that idles looks again: its node may time now, or has lost who was about to find out. */
static void pilot_again(atn_fleet *f, fleet_pilot *p)
{
    if (!p->idle) return;
    pilot_busy(f, p);
    pilot_free(f, p);
}

static fleet_pilot *idle_for(atn_fleet *f, const fleet_task *t)
{
    fleet_pilot *best = NULL;
    for (int i = 0; i < f->n_pilots && f->n_idle; i++) {
        fleet_pilot *p = f->pilot[i];
        if (!p->idle || p->cls != t->cls || p->leaving || !may_take(p, t)) continue;
        if (p->index == t->prefer) return p;
        if (!best || (node_quiet(p) && !node_quiet(best))) best = p;
    }
    return best;
}

void task_submit(atn_fleet *f, fleet_task *t, bool front)
{
    t->state = TASK_QUEUED;
    t->pilot = NULL;
    fleet_pilot *p = idle_for(f, t);
    if (p) {
        pilot_busy(f, p);
        ask(f, p, t);
    } else {
        queue_put(&f->cls[t->cls].queue[t->kind == TASK_BUILD], t, front);
    }
}

void task_cancel(atn_fleet *f, fleet_task *t)
{
    if (t->state == TASK_ASKED) {
        t->cancelled = true; /* its pilot goes on; the answer is dropped */
        return;
    }
    for (int i = 0; i < 2 && t->state == TASK_QUEUED; i++) {
        task_queue *q = &f->cls[t->cls].queue[i];
        for (fleet_task *x = q->first, *before = NULL; x; before = x, x = x->next)
            if (x == t) {
                queue_cut(q, before, t);
                break;
            }
    }
    task_free(f, t);
}

/* Asked in vain. Who takes pilots down with it again and again is answered for. */
static void ask_again(atn_fleet *f, fleet_task *t)
{
    f->counts.asked_again++;
    if (t->proves && t->proves->state == NODE_PROVING) t->proves->state = NODE_UNKNOWN;
    if (t->only >= 0 && !t->waited_for) t->cancelled = true;
    if (t->cancelled || t->only >= 0 || t->losses >= LOSSES_MAX || t->errors >= ERRORS_MAX) task_end(f, t);
    else task_submit(f, t, true);
}

/* ---- pilots ---- */

static void reap(atn_fleet *f, bool now)
{
    for (int i = 0; i < f->n_dying; i++) {
        dying_process *d = &f->dying[i];
        double t = clock_s();
        if (now || t > d->kill_at) kill(-d->pid, SIGKILL);
        else if (!d->told && t > d->term_at) kill(-d->pid, SIGTERM), d->told = true;
        if (waitpid(d->pid, NULL, now ? 0 : WNOHANG) == 0) continue;
        f->dying[i--] = f->dying[--f->n_dying];
    }
}

static void let_die(atn_fleet *f, pid_t pid, double patience)
{
    if (pid <= 0) return;
    f->dying = atn_realloc(f->dying, (size_t)(f->n_dying + 1) * sizeof *f->dying);
    f->dying[f->n_dying++] = (dying_process){pid, clock_s() + patience, clock_s() + patience + 4, false};
}

static void pilot_close(atn_fleet *f, fleet_pilot *p)
{
    pilot_busy(f, p);
    if (p->link.in >= 0) epoll_ctl(f->epoll, EPOLL_CTL_DEL, p->link.in, NULL);
    if (p->watched) epoll_ctl(f->epoll, EPOLL_CTL_DEL, p->link.out, NULL);
    p->watched = false;
    link_close(&p->link);
    let_die(f, p->pid, 0);
    p->pid = 0;
    if (p->node) p->node->pilots--;
    p->node = NULL;
    wire_texts_free(&p->sent);
    p->leaving = false;
}

static void pilot_lost(atn_fleet *f, fleet_pilot *p, const char *why)
{
    fleet_task *t = p->task;
    bool was_there = p->state >= PILOT_OPENING;
    const char *node = p->node ? p->node->name : p->host ? p->host : "";
    if (was_there) f->counts.lost++;
    if (p->node) p->node->lost += !p->leaving;
    if (was_there && !p->leaving) fleet_note(f, p->cls, "pilot %d on %s is lost: %s", p->index, node, why);
    if (t) t->losses++;
    p->task = NULL;
    if (!was_there && !f->ever_ready) f->barren++;
    pilot_close(f, p);
    p->state = p->adopted ? PILOT_GONE : PILOT_ABSENT;
    p->launch_at = clock_s() + p->delay;
    p->delay = fmin(RELAUNCH_MOST_S, fmax(RELAUNCH_S, 2 * p->delay));
    if (t) ask_again(f, t);
}

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
                          getenv("SLURM_JOB_ID") ? "--exact --kill-on-bad-exit=0" : "", more, worker);
    if (!strcmp(x->kind, "ssh"))
        return atn_format("exec ssh -oBatchMode=yes -oServerAliveInterval=5 -oServerAliveCountMax=3 %s %s %s worker --stdio",
                          more, p->host, worker);
    return atn_strdup(more);
}

/* A connection to it stands: it has HELLO_S to say who it is. */
static void pilot_begins(atn_fleet *f, fleet_pilot *p)
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

static void pilot_launch(atn_fleet *f, fleet_pilot *p)
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

static fleet_pilot *pilot_new(atn_fleet *f)
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

static fleet_node *node_of(atn_fleet *f, const char *name, int cls)
{
    for (int i = 0; i < f->n_nodes; i++)
        if (f->node[i]->cls == cls && !strcmp(f->node[i]->name, name)) return f->node[i];
    f->node = atn_realloc(f->node, (size_t)(f->n_nodes + 1) * sizeof *f->node);
    fleet_node *n = f->node[f->n_nodes++] = atn_alloc(sizeof *n);
    snprintf(n->name, sizeof n->name, "%s", name);
    n->cls = cls;
    return n;
}

static void refuse(atn_fleet *f, fleet_pilot *p, const char *why)
{
    fleet_note(f, -1, "a pilot on %s was sent away: %s", *p->name ? p->name : "an unknown node", why);
    tell(f, p, json_pack("{s:s}", "t", "bye"));
    pilot_close(f, p);
    p->state = PILOT_GONE;
    f->refused++;
    snprintf(f->why_refused, sizeof f->why_refused, "%s", why);
}

static void on_hello(atn_fleet *f, fleet_pilot *p, const json_t *m)
{
    char why[300] = "";
    snprintf(p->name, sizeof p->name, "%s", field_text(m, "node"));
    wire_machine_from(m, &p->machine);
    if (field_int(m, "protocol") != PILOT_PROTOCOL || strcmp(field_text(m, "version"), ATTUNE_VERSION))
        snprintf(why, sizeof why, "it is attune %.40s with protocol %d, this is %s with %d; install the same version "
                 "(attune worker-bundle)", field_text(m, "version"), (int)field_int(m, "protocol"), ATTUNE_VERSION,
                 PILOT_PROTOCOL);
    else if (p->machine.cpus < f->o->threads)
        snprintf(why, sizeof why, "it may use %d CPU, kernels run on %d threads; ask for --cpus-per-task=%d",
                 p->machine.cpus, f->o->threads, f->o->threads);
    if (*why) {
        refuse(f, p, why);
        return;
    }
    p->state = PILOT_OPENING;
    json_t *q = json_pack("{s:s,s:O,s:i,s:f,s:b,s:f}", "t", "open", "suite", f->suite, "threads", f->o->threads,
                          "tolerance", f->o->tolerance, "unsafe", f->o->unsafe, "beat_s", f->x.beat_s);
    if (f->o->cc) json_object_set_new(q, "cc", record_text(f->o->cc));
    tell(f, p, q);
}

static void slug(const char *cpu, const char *isa, const char *compiler, char *out, size_t room)
{
    char all[300];
    size_t n = 0;
    snprintf(all, sizeof all, "%s %s %s", cpu, isa, compiler);
    for (const char *c = all; *c && n + 1 < room; c++) {
        if (isalnum((unsigned char)*c) || *c == '.') out[n++] = (char)tolower((unsigned char)*c);
        else if (n && out[n - 1] != '-') out[n++] = '-';
    }
    while (n && out[n - 1] == '-') n--;
    out[n] = 0;
}

static int class_of(atn_fleet *f, const fleet_pilot *p, const json_t *m)
{
    const char *compiler = field_text(m, "compiler");
    for (int i = 0; i < f->n_classes; i++)
        if (!strcmp(f->cls[i].machine.signature, p->machine.signature) && !strcmp(f->cls[i].judge.compiler, compiler))
            return i;
    if (f->n_classes == FLEET_CLASSES_MAX) return -1;
    fleet_class *c = &f->cls[f->n_classes];
    c->machine = p->machine;
    c->peaks = (atn_peaks){field_real(m, "fma_gflops"), field_real(m, "fma_256_gflops"), field_real(m, "read_gbs")};
    slug(c->machine.cpu, c->machine.isa, compiler, c->word, sizeof c->word);
    for (int i = 0; i < f->n_classes; i++)
        if (!strcmp(f->cls[i].word, c->word)) { /* the same name, other caches */
            size_t n = strlen(c->word);
            snprintf(c->word + n, sizeof c->word - n, "-%d", f->n_classes + 1);
        }
    const json_t *cases = json_object_get(m, "cases");
    for (size_t i = 0; i < json_array_size(cases) && i < ATN_CASES_MAX; i++)
        c->has_case[i] = problem_parse(json_string_value(json_array_get(cases, i)), &c->cases[i], NULL) == ATN_OK;
    judge_init(f, f->n_classes, compiler, field_text(m, "judge"));
    return f->n_classes++;
}

static void on_ready(atn_fleet *f, fleet_pilot *p, const json_t *m)
{
    if (*field_text(m, "error")) {
        refuse(f, p, field_text(m, "error"));
        return;
    }
    p->cls = class_of(f, p, m);
    if (p->cls < 0) {
        refuse(f, p, "there are more kinds of machines than one run can keep apart");
        return;
    }
    if (strcmp(field_text(m, "judge"), f->cls[p->cls].judge.version)) {
        refuse(f, p, "it judges by other rules");
        return;
    }
    p->node = node_of(f, p->name, p->cls);
    p->node->pilots++;
    p->node->cpus = p->machine.cpus;
    p->node->fma_gflops = field_real(m, "fma_gflops");
    p->state = PILOT_READY;
    p->delay = 0;
    f->ever_ready = true;
    pilot_free(f, p);
}

static void node_proved(atn_fleet *f, fleet_node *n, const atn_controls *c)
{
    bool noisy = c->aa_promoted > 0 || (c->plus_races > 0 && 2 * c->plus_promoted < c->plus_races);
    if (!n->has_start) n->start = *c, n->has_start = true;
    else n->end = *c, n->has_end = true;
    n->state = noisy ? NODE_NOISY : NODE_QUIET;
    if (noisy)
        fleet_note(f, n->cls, "%s is noisy (a kernel beat its own copy %d of %d times, a known gain was seen %d of %d times): it "
                   "builds and checks, and does not time", n->name, c->aa_promoted, c->aa_races, c->plus_promoted,
                   c->plus_races);
    bool quiet = false;
    for (int i = 0; i < f->n_nodes; i++)
        quiet |= f->node[i]->cls == n->cls && f->node[i]->state != NODE_NOISY;
    if (!quiet && noisy)
        fleet_note(f, n->cls, "no node of this kind is quiet: races wait; ask for --exclusive nodes, or for fewer slots on each");
}

static void on_done(atn_fleet *f, fleet_pilot *p, json_t *m)
{
    fleet_task *t = p->task;
    if (!t || t->id != field_int(m, "id")) return; /* answered before, or not asked */
    fleet_node *node = p->node;
    bool proof = t->proves != NULL;
    p->task = NULL;
    f->counts.answers++;
    if (*field_text(m, "error")) {
        t->errors++;
        t->status = field_int(m, "status") ? (atn_status)field_int(m, "status") : ATN_PROCESS;
        snprintf(t->error, sizeof t->error, "%s: %.500s", node->name, field_text(m, "error"));
        fleet_note(f, p->cls, "pilot %d on %s could not do its work: %.500s", p->index, node->name, field_text(m, "error"));
        bool bad = ++p->errors >= ERRORS_MAX;
        if (bad) {
            p->delay = 5;
            pilot_lost(f, p, "three failures in a row");
        }
        ask_again(f, t);
        if (!bad) pilot_free(f, p);
        return;
    }
    p->errors = 0;
    t->status = ATN_OK;
    if (t->proves) {
        atn_controls c;
        if (controls_from_json(field_text(m, "controls"), &c)) node_proved(f, t->proves, &c);
    }
    atn_verdict v;
    if (t->kind == TASK_JUDGE && t->untimed && !verdict_from_json(field_text(m, "race"), &v, NULL) && v.correct) {
        t->checked = true; /* right: now it wants a quiet node */
        if (t->cancelled) task_end(f, t);
        else task_submit(f, t, true);
    } else {
        t->reply = json_incref(m);
        t->prefer = p->index;
        bool own = t->proves && !t->waited_for; /* asked by ourselves: nobody takes the answer */
        t->cancelled |= own;
        task_end(f, t);
    }
    for (int i = 0; i < f->n_pilots && proof && f->n_idle; i++) pilot_again(f, f->pilot[i]);
    pilot_free(f, p);
}

static void on_message(atn_fleet *f, fleet_pilot *p, json_t *m)
{
    const char *word = field_text(m, "t");
    f->counts.messages++;
    if (!strcmp(word, "beat")) tell(f, p, json_pack("{s:s}", "t", "beat"));
    else if (!strcmp(word, "hello") && p->state == PILOT_STARTING) on_hello(f, p, m);
    else if (!strcmp(word, "ready") && p->state == PILOT_OPENING) on_ready(f, p, m);
    else if (!strcmp(word, "done") && p->state == PILOT_READY) on_done(f, p, m);
    else if (!strcmp(word, "leaving")) {
        p->leaving = true; /* what it has begun it may still end */
        pilot_busy(f, p);
    }
}

static bool link_open(const fleet_pilot *p)
{
    return p->state == PILOT_STARTING || p->state == PILOT_OPENING || p->state == PILOT_READY;
}

static void pilot_hear(atn_fleet *f, fleet_pilot *p)
{
    if (!link_open(p)) return;
    if (link_read(&p->link)) p->heard = clock_s();
    for (json_t *m; link_open(p) && (m = link_next(&p->link));) {
        on_message(f, p, m);
        json_decref(m);
    }
    if (link_open(p) && p->link.ended) pilot_lost(f, p, p->leaving ? "it left" : "the connection ended");
}

/* ---- the folder ---- */

/* A pilot that nobody talks to has written its hello and nobody has written to it. */
static void spool_look(atn_fleet *f)
{
    if (clock_s() < f->spool_at) return;
    f->spool_at = clock_s() + 1;
    DIR *d = opendir(f->x.spool);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        size_t n = strlen(entry->d_name);
        struct stat s;
        if (n < 5 || strcmp(entry->d_name + n - 4, ".out")) continue;
        char *name = atn_strndup(entry->d_name, n - 4);
        char *base = file_join(f->x.spool, name), *from = atn_format("%s.out", base), *to = atn_format("%s.in", base);
        bool dead = stat(from, &s) || s.st_uid != geteuid() || time(NULL) - s.st_mtime > SPOOL_DEAD_S;
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

/* ---- the turn ---- */

static void timers(atn_fleet *f)
{
    double now = clock_s();
    for (int i = 0; i < f->n_pilots; i++) {
        fleet_pilot *p = f->pilot[i];
        if (p->link.from && link_open(p)) pilot_hear(f, p);
        if (p->link.to) link_flush(&p->link);
        double limit = p->state == PILOT_STARTING ? (p->adopted || strcmp(f->x.kind, "slurm") ? HELLO_S : INFINITY)
                       : p->state == PILOT_OPENING ? fmax(HELLO_S, f->x.lost_s) : f->x.lost_s;
        if (link_open(p) && now > p->heard + limit) pilot_lost(f, p, "it fell silent");
        else if (p->task && now > p->task->asked + f->x.task_s) pilot_lost(f, p, "an answer took too long");
        if (p->idle && p->node->state == NODE_UNKNOWN) pilot_again(f, p);
        if (p->state == PILOT_ABSENT && now >= p->launch_at && (f->ever_ready || f->barren < BARREN_LAUNCHES))
            pilot_launch(f, p);
    }
    if (f->x.spool) spool_look(f);
    reap(f, false);
}

/* The last words of a launcher that failed. */
static void last_words(const atn_fleet *f, char *out, size_t room)
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

bool fleet_turn(atn_fleet *f, atn_error *err)
{
    struct epoll_event ev[128];
    int n;
    do {
        n = epoll_wait(f->epoll, ev, ATN_COUNT(ev), 0);
        for (int i = 0; i < n; i++) {
            fleet_pilot *p = f->pilot[ev[i].data.u32];
            if (ev[i].events & EPOLLOUT) {
                link_flush(&p->link);
                watch(f, p);
            }
            if (ev[i].events & ~(uint32_t)EPOLLOUT) pilot_hear(f, p);
        }
    } while (n == ATN_COUNT(ev));
    if (clock_s() >= f->timer_at) {
        f->timer_at = clock_s() + TIMER_S;
        timers(f);
    }
    bool alive = f->x.spool != NULL;
    for (int i = 0; i < f->n_pilots && !alive; i++) alive = link_open(f->pilot[i]);
    if (alive || (f->n_pilots && f->ever_ready)) return true;
    bool hope = false;
    for (int i = 0; i < f->n_pilots && !hope; i++) hope = f->pilot[i]->state == PILOT_ABSENT;
    if (hope && f->barren < BARREN_LAUNCHES) return true;
    char words[300];
    last_words(f, words, sizeof words);
    if (f->refused) atn_fail(err, ATN_UNSUPPORTED, "no machine can be used: %s", f->why_refused);
    else
        atn_fail(err, ATN_PROCESS, "no pilot came up: %s ended at once %d times%s%s; see the logs in '%s'",
                 !strcmp(f->x.kind, "slurm") ? "srun" : !strcmp(f->x.kind, "ssh") ? "ssh" : "the command", f->barren,
                 *words ? ": " : "", words, f->x.logs ? f->x.logs : "(none)");
    return false;
}

int fleet_fd(const atn_fleet *f)
{
    return f->epoll;
}

int fleet_classes(const atn_fleet *f)
{
    return f->n_classes;
}

evolve_judge *fleet_judge(atn_fleet *f, int cls)
{
    return &f->cls[cls].judge;
}

const char *fleet_class_word(const atn_fleet *f, int cls)
{
    return f->cls[cls].word;
}

int fleet_ready(const atn_fleet *f, int cls)
{
    int n = 0;
    for (int i = 0; i < f->n_pilots; i++) n += f->pilot[i]->state == PILOT_READY && f->pilot[i]->cls == cls;
    return n;
}

fleet_counts fleet_count(const atn_fleet *f)
{
    return f->counts;
}

/* ---- its life ---- */

static atn_status make_pilots(atn_fleet *f, atn_error *err)
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

atn_status fleet_open(const execute_options *x, const evolve_options *o, atn_fleet **out, atn_error *err)
{
    *out = NULL;
    atn_fleet *f = atn_alloc(sizeof *f);
    f->x = *x;
    f->o = o;
    if (f->x.beat_s <= 0) f->x.beat_s = 2;
    if (f->x.lost_s <= 0) f->x.lost_s = 6 * f->x.beat_s;
    if (f->x.task_s <= 0) f->x.task_s = 900;
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    f->last_id = (int64_t)(rng_secret() >> 24); /* a late answer to an earlier controller names nothing of ours */
    f->suite = json_array();
    for (int i = 0; i < o->suite->count; i++) {
        char text[200];
        problem_print(&o->suite->cases[i].problem, text, sizeof text);
        json_array_append_new(f->suite, json_string(text));
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max; /* two for each pilot */
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    atn_status st = f->epoll < 0 ? atn_fail(err, ATN_IO, "cannot wait for pilots: %s", strerror(errno)) : ATN_OK;
    if (!st && x->logs) st = file_mkdirs(x->logs, err);
    if (!st && x->spool) st = file_mkdirs(x->spool, err);
    if (!st) st = make_pilots(f, err);
    f->width = ATN_MAX(1, x->spool || !f->n_pilots ? x->slots : f->n_pilots);
    f->window = x->window > 0 ? x->window : f->width + ATN_MIN(f->width, 32) + 1;
    if (st) fleet_close(f);
    else *out = f;
    return st;
}

void fleet_close(atn_fleet *f)
{
    if (!f) return;
    for (int i = 0; i < f->n_pilots; i++) {
        fleet_pilot *p = f->pilot[i];
        if (!link_open(p)) continue;
        tell(f, p, json_pack("{s:s}", "t", "bye"));
        if (p->link.in >= 0) epoll_ctl(f->epoll, EPOLL_CTL_DEL, p->link.in, NULL);
        link_close(&p->link);
        let_die(f, p->pid, p->state == PILOT_STARTING ? 0 : 2);
        p->pid = 0;
    }
    for (double until = clock_s() + 5; f->n_dying && clock_s() < until; reap(f, false)) poll(NULL, 0, 20);
    reap(f, true);
    for (int i = 0; i < f->n_pilots; i++) {
        if (f->pilot[i]->task && f->pilot[i]->task->cancelled) task_free(f, f->pilot[i]->task);
        else if (f->pilot[i]->task && f->pilot[i]->task->proves) task_free(f, f->pilot[i]->task);
        link_close(&f->pilot[i]->link);
        wire_texts_free(&f->pilot[i]->sent);
        free(f->pilot[i]->host);
        free(f->pilot[i]);
    }
    for (int i = 0; i < f->n_nodes; i++) free(f->node[i]);
    for (int i = 0; i < f->n_classes; i++) race_pairs_free(f->cls[i].pairs);
    for (int i = 0; i < ATN_COUNT(f->texts); i++)
        while (f->texts[i]) f->texts[i]->held = 1, text_drop(f, f->texts[i]);
    if (f->epoll >= 0) close(f->epoll);
    json_decref(f->suite);
    free(f->pilot);
    free(f->node);
    free(f->dying);
    free(f);
}

char *fleet_nodes_json(const atn_fleet *f, int cls)
{
    static const char *const words[] = {"unknown", "unknown", "quiet", "noisy"};
    json_t *a = json_array();
    for (int i = 0; i < f->n_nodes; i++) {
        const fleet_node *n = f->node[i];
        if (n->cls != cls) continue;
        json_t *o = json_pack("{s:s,s:s,s:i,s:i,s:i,s:f}", "node", n->name, "timing", words[n->state], "cpus", n->cpus,
                              "pilots", n->pilots, "lost", n->lost, "fma_gflops", n->fma_gflops);
        for (int k = 0; k < 2; k++) {
            char *s = (k ? n->has_end : n->has_start) ? controls_json(k ? &n->end : &n->start) : NULL;
            if (s) json_object_set_new(o, k ? "controls_end" : "controls_start", json_loads(s, 0, NULL));
            free(s);
        }
        json_array_append_new(a, o);
    }
    return record_dump(a);
}

void fleet_notes_to(atn_fleet *f, void (*note)(void *ctx, int cls, const char *text), void *ctx)
{
    f->x.note = note;
    f->x.note_ctx = ctx;
}
