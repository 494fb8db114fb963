/* A judge whose pilots are elsewhere: evolve_judge for one class of machine in the fleet.
 *
 * A build's object stays where it was made. Its result here holds the program's text in place of the object (so_fd), which
 * is what a later question has to name. */
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "evolve/execute/fleet_int.h"
#include "evolve/record.h"

struct evolve_build {
    fleet_task *task;
};
struct evolve_trial {
    fleet_task *task;
};

/* ---- programs as files: flags, a zero byte, the text, a zero byte ---- */

static int program_file(const char *source, const char *flags)
{
    int fd = memfd_create("attune-program", MFD_CLOEXEC);
    size_t n = strlen(flags) + 1, m = strlen(source) + 1;
    if (fd >= 0 && (write(fd, flags, n) != (ssize_t)n || write(fd, source, m) != (ssize_t)m)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Fills a task's program, or its incumbent. */
static bool program_of(atn_fleet *f, const build_result *b, fleet_text **text, char **flags)
{
    off_t n = lseek(b->so_fd, 0, SEEK_END);
    if (n <= 2) return false;
    char *all = atn_alloc((size_t)n + 1);
    bool ok = pread(b->so_fd, all, (size_t)n, 0) == n;
    if (ok) {
        *text = text_hold(f, all + strlen(all) + 1);
        *flags = atn_strdup(all);
    }
    free(all);
    return ok;
}

static atn_status unreadable(fleet_task *t, atn_fleet *f, atn_error *err)
{
    task_free(f, t);
    return atn_fail(err, ATN_IO, "cannot read a program's text again");
}

/* ---- builds ---- */

static atn_status remote_build_start(void *ctx, const char *source, const char *flags, const char *original,
                                     evolve_build **out, atn_error *err)
{
    struct class_view *v = ctx;
    (void)err;
    fleet_task *t = task_new(v->fleet, TASK_BUILD, v->cls);
    t->program = text_hold(v->fleet, source);
    t->original = text_hold(v->fleet, original);
    t->flags = atn_strdup(flags ? flags : "");
    *out = atn_alloc(sizeof **out);
    (*out)->task = t;
    task_submit(v->fleet, t, false);
    return ATN_OK;
}

static int remote_build_fd(void *ctx, const evolve_build *b)
{
    (void)b;
    return fleet_fd(((struct class_view *)ctx)->fleet);
}

/* A build that nobody could make: for the engine a candidate that takes its compiler down. */
static void unbuilt(const fleet_task *t, build_result *out)
{
    *out = (build_result){.stage = ATN_STAGE_BUILD, .reason = ATN_REASON_COMPILE_LIMIT, .so_fd = -1};
    snprintf(out->evidence, sizeof out->evidence, "%s",
             *t->error ? t->error : "every machine that was to build it was lost");
}

static bool remote_build_step(void *ctx, evolve_build *b, build_result *out)
{
    struct class_view *v = ctx;
    fleet_task *t = b->task;
    if (t->state != TASK_DONE) return false;
    if (!t->reply || !wire_built_from(json_object_get(t->reply, "built"), out)) unbuilt(t, out);
    if (out->reason == ATN_REASON_OK && (out->so_fd = program_file(t->program->text, t->flags)) < 0) {
        out->reason = ATN_REASON_COMPILE_LIMIT;
        snprintf(out->evidence, sizeof out->evidence, "out of file descriptors or memory");
    }
    v->fleet->built_by = t->prefer;
    task_free(v->fleet, t);
    free(b);
    return true;
}

static void remote_build_cancel(void *ctx, evolve_build *b)
{
    task_cancel(((struct class_view *)ctx)->fleet, b->task);
    free(b);
}

static void remote_build_release(void *ctx, build_result *r)
{
    (void)ctx;
    if (r->so_fd >= 0) close(r->so_fd);
    r->so_fd = -1;
}

/* ---- judgements ---- */

static atn_status trial_start(void *ctx, const char *source, const char *flags, const char *original,
                              const char *incumbent, const char *incumbent_flags, evolve_trial **out, atn_error *err)
{
    struct class_view *v = ctx;
    (void)err;
    fleet_task *t = task_new(v->fleet, TASK_JUDGE, v->cls);
    t->program = text_hold(v->fleet, source);
    t->original = text_hold(v->fleet, original);
    t->flags = atn_strdup(flags ? flags : "");
    t->incumbent = text_hold(v->fleet, incumbent);
    if (incumbent) t->incumbent_flags = atn_strdup(incumbent_flags ? incumbent_flags : "");
    t->prefer = v->fleet->built_by;
    *out = atn_alloc(sizeof **out);
    (*out)->task = t;
    task_submit(v->fleet, t, false);
    return ATN_OK;
}

static bool trial_step(void *ctx, evolve_trial *x, evolve_outcome *out)
{
    struct class_view *v = ctx;
    fleet_task *t = x->task;
    if (t->state != TASK_DONE) return false;
    memset(out, 0, sizeof *out);
    v->fleet->cls[v->cls].trials++;
    if (!t->reply && t->losses) { /* it is the candidate that ends them, or it might as well be */
        out->race.stage = ATN_STAGE_QUICK;
        out->race.reason = ATN_REASON_CRASH;
        snprintf(out->race.evidence, sizeof out->race.evidence, "%d machines were lost while they judged it", t->losses);
    } else if (!t->reply) {
        out->status = atn_fail(&out->err, t->status ? t->status : ATN_PROCESS, "%s", t->error);
    } else if (*field_text(t->reply, "incumbent_failed")) {
        out->incumbent_failed = true;
        out->status = verdict_from_json(field_text(t->reply, "incumbent_failed"), &out->incumbent_failure, &out->err);
    } else {
        out->status = verdict_from_json(field_text(t->reply, "race"), &out->race, &out->err);
        out->has_confirm = json_object_get(t->reply, "confirm") != NULL;
        if (!out->status && out->has_confirm)
            out->status = verdict_from_json(field_text(t->reply, "confirm"), &out->confirm, &out->err);
        out->seconds = field_real(t->reply, "seconds");
        const char *evidence = field_text(t->reply, "evidence");
        if (*evidence) out->evidence = atn_strdup(evidence);
        out->pairs[0] = wire_pairs_from(json_object_get(t->reply, "race_pairs"));
        out->pairs[1] = wire_pairs_from(json_object_get(t->reply, "confirm_pairs"));
    }
    task_free(v->fleet, t);
    free(x);
    return true;
}

static void trial_cancel(void *ctx, evolve_trial *x)
{
    task_cancel(((struct class_view *)ctx)->fleet, x->task);
    free(x);
}

/* ---- calls that are waited for ---- */

/* Takes the answer into *reply (to be released by the caller); t is gone afterwards. */
static atn_status wait_for(struct class_view *v, fleet_task *t, json_t **reply, atn_error *err)
{
    atn_fleet *f = v->fleet;
    *reply = NULL;
    t->waited_for = true;
    if (t->state != TASK_ASKED) task_submit(f, t, true);
    while (t->state != TASK_DONE) {
        struct pollfd p = {.fd = f->epoll, .events = POLLIN};
        if (f->o->stop && *f->o->stop) {
            task_cancel(f, t);
            return atn_fail(err, ATN_CANCELLED, "interrupted");
        }
        if (!fleet_turn(f, err)) {
            task_cancel(f, t);
            return ATN_PROCESS;
        }
        poll(&p, 1, 50);
    }
    atn_status st = ATN_OK;
    f->answered_by = t->prefer;
    if (t->reply) *reply = json_incref(t->reply);
    else
        st = atn_fail(err, t->status ? t->status : ATN_PROCESS, "%s",
                      *t->error ? t->error : "every machine that was asked was lost");
    task_free(f, t);
    return st;
}

static atn_status remote_candidate(void *ctx, const build_result *candidate, const build_result *incumbent,
                                   atn_stage upto, atn_verdict *v, atn_error *err)
{
    struct class_view *w = ctx;
    json_t *reply;
    fleet_task *t = task_new(w->fleet, TASK_CANDIDATE, w->cls);
    if (!program_of(w->fleet, candidate, &t->program, &t->flags) ||
        (incumbent && !program_of(w->fleet, incumbent, &t->incumbent, &t->incumbent_flags)))
        return unreadable(t, w->fleet, err);
    t->more = json_pack("{s:i}", "upto", (int)upto);
    atn_status st = wait_for(w, t, &reply, err);
    if (!st) st = verdict_from_json(field_text(reply, "verdict"), v, err);
    json_decref(reply);
    return st;
}

static void take_cases(fleet_class *c, const json_t *cases)
{
    for (size_t i = 0; i < json_array_size(cases) && i < ATN_CASES_MAX; i++)
        c->has_final[i] = problem_parse(json_string_value(json_array_get(cases, i)), &c->final_cases[i], NULL) == ATN_OK;
}

static atn_status remote_compare(void *ctx, const build_result *candidate, const build_result *incumbent, int pairs,
                                 bool confirm, bool full_size, double seconds, atn_verdict *v, atn_error *err)
{
    struct class_view *w = ctx;
    fleet_class *c = &w->fleet->cls[w->cls];
    json_t *reply, *ns = json_array();
    fleet_task *t = task_new(w->fleet, TASK_COMPARE, w->cls);
    if (!program_of(w->fleet, candidate, &t->program, &t->flags) ||
        !program_of(w->fleet, incumbent, &t->incumbent, &t->incumbent_flags)) {
        json_decref(ns);
        return unreadable(t, w->fleet, err);
    }
    for (int i = 0; i < w->fleet->o->suite->count; i++) json_array_append_new(ns, json_real(c->initial_ns[i]));
    t->more = json_pack("{s:i,s:b,s:b,s:f,s:o}", "pairs", pairs, "confirm", confirm, "full_size", full_size, "seconds",
                        seconds, "initial_ns", ns);
    t->prefer = c->compared_by; /* the sizes of final cases are one pilot's decision */
    atn_status st = wait_for(w, t, &reply, err);
    if (!st) st = verdict_from_json(field_text(reply, "verdict"), v, err);
    if (!st && full_size) take_cases(c, json_object_get(reply, "cases"));
    if (!st) c->compared_by = w->fleet->answered_by;
    race_pairs_free(c->pairs);
    c->pairs = wire_pairs_from(json_object_get(reply, "pairs"));
    json_decref(reply);
    return st;
}

static race_pairs *remote_take_pairs(void *ctx)
{
    struct class_view *w = ctx;
    fleet_class *c = &w->fleet->cls[w->cls];
    race_pairs *p = c->pairs;
    c->pairs = NULL;
    return p;
}

static void add_controls(atn_controls *sum, const atn_controls *c)
{
    sum->aa_races += c->aa_races;
    sum->aa_promoted += c->aa_promoted;
    sum->plus_races += c->plus_races;
    sum->plus_promoted += c->plus_promoted;
    sum->aa_spread = fmax(sum->aa_spread, c->aa_spread);
    sum->can_see_percent = fmax(sum->can_see_percent, c->can_see_percent);
}

/* Before the run: what the nodes showed when they came. After it: once more, on each node that timed. The worst spread
 * stands for all. */
static atn_status remote_controls(void *ctx, const build_result *program, int races, atn_controls *out, atn_error *err)
{
    struct class_view *w = ctx;
    atn_fleet *f = w->fleet;
    bool again = f->cls[w->cls].trials > 0;
    *out = (atn_controls){0};
    for (int i = 0; i < f->n_nodes; i++) {
        fleet_node *n = f->node[i];
        if (n->cls != w->cls || n->state != NODE_QUIET || !n->has_start) continue;
        fleet_task *t = again ? task_new(f, TASK_CONTROLS, w->cls) : NULL;
        if (t) {
            json_t *reply;
            fleet_pilot *p = NULL;
            for (int k = 0; k < f->n_pilots && !p; k++)
                if (f->pilot[k]->node == n && !f->pilot[k]->leaving) p = f->pilot[k];
            if (!p || !program_of(f, program, &t->program, &t->flags)) {
                task_free(f, t);
                continue;
            }
            t->more = json_pack("{s:i}", "races", races);
            t->proves = n;
            t->only = p->index;
            if (wait_for(w, t, &reply, err) == ATN_CANCELLED) return ATN_CANCELLED;
            json_decref(reply);
        }
        if (again ? n->has_end : n->has_start) add_controls(out, again ? &n->end : &n->start);
    }
    return ATN_OK;
}

static void remote_peaks(void *ctx, atn_peaks *out)
{
    struct class_view *w = ctx;
    *out = w->fleet->cls[w->cls].peaks;
}

static void remote_metrics(void *ctx, const atn_verdict *v, seed_metrics *out)
{
    struct class_view *w = ctx;
    json_t *reply;
    fleet_task *t = task_new(w->fleet, TASK_METRICS, w->cls);
    char *s = verdict_json(v);
    t->more = json_pack("{s:s}", "verdict", s);
    free(s);
    *out = (seed_metrics){NAN, NAN, NAN, NAN, NAN, NAN};
    if (wait_for(w, t, &reply, NULL)) return;
    wire_metrics_from(json_object_get(reply, "metrics"), out);
    json_decref(reply);
}

static const atn_problem *remote_case_problem(void *ctx, int c, bool final)
{
    struct class_view *w = ctx;
    fleet_class *k = &w->fleet->cls[w->cls];
    if (c < 0 || c >= ATN_CASES_MAX) return NULL;
    if (final) return k->has_final[c] ? &k->final_cases[c] : NULL;
    return k->has_case[c] ? &k->cases[c] : NULL;
}

static void remote_initial_ns(void *ctx, int c, double ns)
{
    struct class_view *w = ctx;
    if (c >= 0 && c < ATN_CASES_MAX) w->fleet->cls[w->cls].initial_ns[c] = ns;
}

static bool remote_turn(void *ctx, atn_error *err)
{
    return fleet_turn(((struct class_view *)ctx)->fleet, err);
}

static int64_t remote_ended(void *ctx)
{
    return ((struct class_view *)ctx)->fleet->ended;
}

static int remote_fd(void *ctx)
{
    return ((struct class_view *)ctx)->fleet->epoll;
}

static char *remote_nodes(void *ctx)
{
    struct class_view *w = ctx;
    return fleet_nodes_json(w->fleet, w->cls);
}

void judge_init(atn_fleet *f, int cls, const char *compiler, const char *version)
{
    fleet_class *c = &f->cls[cls];
    c->view = (struct class_view){f, cls};
    c->compared_by = -1;
    c->judge = (evolve_judge){.ctx = &c->view,
                              .build_start = remote_build_start,
                              .build_fd = remote_build_fd,
                              .build_step = remote_build_step,
                              .build_cancel = remote_build_cancel,
                              .build_release = remote_build_release,
                              .candidate = remote_candidate,
                              .take_pairs = remote_take_pairs,
                              .compare = remote_compare,
                              .controls = remote_controls,
                              .peaks = remote_peaks,
                              .metrics = remote_metrics,
                              .case_problem = remote_case_problem,
                              .initial_ns = remote_initial_ns,
                              .width = f->width,
                              .window = f->window,
                              .trial_start = trial_start,
                              .trial_step = trial_step,
                              .trial_cancel = trial_cancel,
                              .turn = remote_turn,
                              .ended = remote_ended,
                              .fd = remote_fd,
                              .nodes = remote_nodes,
                              .machine = &c->machine};
    snprintf(c->judge.compiler, sizeof c->judge.compiler, "%s", compiler);
    snprintf(c->judge.version, sizeof c->judge.version, "%s", version);
}
