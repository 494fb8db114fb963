/* Questions: which pilot may take which, and what is sent to ask it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/hash.h"
#include "evolve/execute/fleet_int.h"
#include "evolve/record.h"

enum { LOSSES_MAX = 5 };

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

void text_drop(atn_fleet *f, fleet_text *t)
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

void task_end(atn_fleet *f, fleet_task *t)
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

/* Those that this pilot prepared come first; `others`: after them what another one did, which it must prepare again. */
static fleet_task *queue_take(task_queue *q, const fleet_pilot *p, bool others)
{
    fleet_task *first = NULL, *before_first = NULL, *before = NULL;
    int looked = 0;
    for (fleet_task *t = q->first; t && looked < 16; before = t, t = t->next, looked++) {
        if (!may_take(p, t)) continue;
        if (t->prefer == p->index) {
            queue_cut(q, before, t);
            return t;
        }
        if (!first && (others || t->prefer < 0)) first = t, before_first = before;
    }
    if (first) queue_cut(q, before_first, first);
    return first;
}

void pilot_watch(atn_fleet *f, fleet_pilot *p)
{
    bool want = link_due(&p->link);
    if (p->link.out < 0 || want == p->watched) return;
    struct epoll_event ev = {.events = EPOLLOUT, .data.u32 = (uint32_t)p->index};
    if (epoll_ctl(f->epoll, want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, p->link.out, &ev) == 0) p->watched = want;
}

void pilot_tell(atn_fleet *f, fleet_pilot *p, json_t *message)
{
    f->counts.messages++;
    link_send(&p->link, message);
    pilot_watch(f, p);
}

static void send_text(atn_fleet *f, fleet_pilot *p, const fleet_text *t)
{
    if (!t || wire_texts_has(&p->sent, t->key)) return;
    wire_texts_put(&p->sent, t->key, NULL);
    pilot_tell(f, p, json_pack("{s:s,s:s,s:o}", "t", "text", "key", t->key, "data", record_text(t->text)));
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
    pilot_tell(f, p, q);
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

void pilot_busy(atn_fleet *f, fleet_pilot *p)
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
void pilot_offer(atn_fleet *f, fleet_pilot *p)
{
    if (p->state != PILOT_READY || p->task || p->leaving) return;
    if (p->node->state == NODE_UNKNOWN) {
        if (f->o->control_races <= 0) p->node->state = NODE_QUIET;
        else {
            prove_node(f, p);
            return;
        }
    }
    /* A judgement where its object lies; else a build; and only where there is nothing to build, the judgement of what another
     * one built and is too busy to judge: that one is built twice, as nearly all were when judgements always came first. */
    fleet_class *c = &f->cls[p->cls];
    fleet_task *t = queue_take(&c->queue[0], p, false);
    if (!t) t = queue_take(&c->queue[1], p, true);
    if (!t) t = queue_take(&c->queue[0], p, true);
    if (t) ask(f, p, t);
    else if (!p->idle) p->idle = true, f->n_idle++;
}

/* One that idles looks again: its node may time now, or has lost who was about to find out. */
void pilot_again(atn_fleet *f, fleet_pilot *p)
{
    if (!p->idle) return;
    pilot_busy(f, p);
    pilot_offer(f, p);
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
void task_ask_again(atn_fleet *f, fleet_task *t)
{
    f->counts.asked_again++;
    t->prefer = -1; /* whoever is free first */
    if (t->proves && t->proves->state == NODE_PROVING) t->proves->state = NODE_UNKNOWN;
    if (t->only >= 0 && !t->waited_for) t->cancelled = true;
    if (t->cancelled || t->only >= 0 || t->losses >= LOSSES_MAX || t->errors >= FLEET_ERRORS_MAX) task_end(f, t);
    else task_submit(f, t, true);
}
