/* The fleet's life and its turns. */
#include "evolve/execute/fleet.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/text.h"
#include "evolve/execute/fleet_int.h"
#include "evolve/record.h"

static const double TIMER_S = 0.1, HELLO_S = 60;
enum { BARREN_LAUNCHES = 6 };

void fleet_note(atn_fleet *f, int cls, const char *format, ...)
{
    char text[700];
    va_list va;
    va_start(va, format);
    vsnprintf(text, sizeof text, format, va);
    va_end(va);
    if (f->x.note) f->x.note(f->x.note_ctx, cls, text);
}

/* ---- the turn ---- */

static void timers(atn_fleet *f)
{
    double now = clock_s();
    for (int i = 0; i < f->n_pilots; i++) {
        fleet_pilot *p = f->pilot[i];
        if (p->link.from && pilot_open(p)) pilot_hear(f, p);
        if (p->link.to) link_flush(&p->link);
        double limit = p->state == PILOT_STARTING ? (p->adopted || strcmp(f->x.kind, "slurm") ? HELLO_S : INFINITY)
                       : p->state == PILOT_OPENING ? fmax(HELLO_S, f->x.lost_s) : f->x.lost_s;
        if (pilot_open(p) && now > p->heard + limit) pilot_lost(f, p, "it fell silent");
        else if (p->task && now > p->task->asked + f->x.task_s) pilot_lost(f, p, "an answer took too long");
        if (p->idle && p->node->state == NODE_UNKNOWN) pilot_again(f, p);
        if (p->state == PILOT_ABSENT && now >= p->launch_at && (f->ever_ready || f->barren < BARREN_LAUNCHES))
            pilot_launch(f, p);
    }
    if (f->x.spool) launch_spool(f);
    launch_reap(f, false);
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
                pilot_watch(f, p);
            }
            if (ev[i].events & ~(uint32_t)EPOLLOUT) pilot_hear(f, p);
        }
    } while (n == ATN_COUNT(ev));
    if (clock_s() >= f->timer_at) {
        f->timer_at = clock_s() + TIMER_S;
        timers(f);
    }
    bool alive = f->x.spool != NULL;
    for (int i = 0; i < f->n_pilots && !alive; i++) alive = pilot_open(f->pilot[i]);
    if (alive || (f->n_pilots && f->ever_ready)) return true;
    bool hope = false;
    for (int i = 0; i < f->n_pilots && !hope; i++) hope = f->pilot[i]->state == PILOT_ABSENT;
    if (hope && f->barren < BARREN_LAUNCHES) return true;
    char words[300];
    launch_last_words(f, words, sizeof words);
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
    if (!st) st = launch_slots(f, err);
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
        if (!pilot_open(p)) continue;
        pilot_tell(f, p, json_pack("{s:s}", "t", "bye"));
        if (p->link.in >= 0) epoll_ctl(f->epoll, EPOLL_CTL_DEL, p->link.in, NULL);
        link_close(&p->link);
        launch_let_die(f, p, p->state == PILOT_STARTING ? 0 : 2);
    }
    for (double until = clock_s() + 5; f->n_dying && clock_s() < until; launch_reap(f, false)) poll(NULL, 0, 20);
    launch_reap(f, true);
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
