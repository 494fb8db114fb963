/* Judgement: one candidate after the other through the judge, promotions confirmed, controls, and what the engine does
 * meanwhile. */
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "evolve/engine.h"

static const double STOP_GRACE_S = 0.4; /* a call of the judge that ends within that after Ctrl-C still counts */
static const double CANCEL_S = 1.5;     /* a judge that may be cancelled ends a call in that time */
static const double LATE_S = 30;        /* a call may end that long after its time */

/* ---- calls ---- */

/* One call of the judge, on the desk. */
typedef struct {
    evolve_judge *judge;
    enum { CALL_CANDIDATE, CALL_COMPARE, CALL_CONTROLS } what;
    build_result candidate, incumbent;
    bool has_incumbent, confirm, full_size;
    atn_stage upto;
    int pairs;
    double seconds;
    atn_verdict verdict, incumbent_failure;
    bool incumbent_failed;
    race_pairs *race_pairs;
    char *evidence;
    atn_controls controls;
    atn_status status;
    atn_error err;
} judge_call;

static void call_judge(void *arg)
{
    judge_call *c = arg;
    evolve_judge *j = c->judge;
    const build_result *incumbent = c->has_incumbent ? &c->incumbent : NULL;
    if (c->what == CALL_CANDIDATE)
        c->status = j->candidate(j->ctx, &c->candidate, incumbent, c->upto, &c->verdict, &c->err);
    else if (c->what == CALL_COMPARE)
        c->status = j->compare(j->ctx, &c->candidate, incumbent, c->pairs, c->confirm, c->full_size, c->seconds,
                               &c->verdict, &c->err);
    else {
        c->status = j->controls(j->ctx, &c->candidate, c->pairs, &c->controls, &c->err);
        return;
    }
    if (j->take_pairs) c->race_pairs = j->take_pairs(j->ctx);
    const atn_verdict *failure = c->status == ATN_PROCESS && j->incumbent_failure ? j->incumbent_failure(j->ctx) : NULL;
    if ((c->incumbent_failed = failure != NULL)) c->incumbent_failure = *failure;
    if (c->what == CALL_CANDIDATE && j->evidence && c->status == ATN_OK && c->verdict.correct && c->verdict.n_cases)
        c->evidence = j->evidence(j->ctx, &c->candidate, &c->verdict);
}

/* Sleeps until the judge, a build or a proposer has something, at most `most_ms`. */
void engine_wait(atn_engine *e, bool judging, int most_ms)
{
    struct pollfd p[ENGINE_SLOTS + EVOLVE_PROPOSERS_MAX + 1];
    nfds_t n = 0;
    if (judging) p[n++] = (struct pollfd){.fd = desk_fd(e->desk), .events = POLLIN};
    if (e->judge->width) p[n++] = (struct pollfd){.fd = e->judge->fd(e->judge->ctx), .events = POLLIN};
    for (int i = 0; i < e->n_slots && !e->judge->width; i++) {
        if (e->slot[i].state != SLOT_BUILDING) continue;
        int fd = e->judge->build_fd(e->judge->ctx, e->slot[i].build);
        if (fd >= 0) p[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
        else most_ms = 2;
    }
    for (int i = 0; i < e->o->n_proposers && e->serving; i++) {
        atn_proposer *q = e->o->proposers[i];
        int fd = q->poll_fd ? q->poll_fd(q) : -1;
        if (fd >= 0) p[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    poll(p, n, most_ms);
}

/* When a call is given up: another program may hold the machine's timing lock for long. */
static double deadline(const atn_engine *e, const judge_call *c)
{
    if (c->seconds > 0) return clock_s() + 3 * c->seconds + LATE_S;
    if (e->o->minutes > 0 && e->serving) return clock_s() + ATN_MAX(0, e->o->minutes * 60 - engine_now(e)) + LATE_S;
    return e->serving ? INFINITY : clock_s() + LATE_S;
}

/* Ends the call, or leaves it alone where the judge cannot; *ended: nothing of it goes on. */
static atn_status give_up(atn_engine *e, bool *ended, atn_error *err)
{
    evolve_judge *j = e->judge;
    *ended = false;
    if (j->cancel) {
        j->cancel(j->ctx, true);
        for (double end = clock_s() + CANCEL_S; !(*ended = desk_done(e->desk)) && clock_s() < end;)
            poll(&(struct pollfd){.fd = desk_fd(e->desk), .events = POLLIN}, 1, 50);
        if (*ended) j->cancel(j->ctx, false);
    }
    e->abandoned = j->abandoned = !*ended;
    if (engine_stopping(e)) return atn_fail(err, ATN_CANCELLED, "interrupted");
    engine_warn(e, "the judge did not get its turn in time; is another program holding the machine's timing lock?");
    return atn_fail(err, ATN_CANCELLED, "the judge did not get its turn in time");
}

/* Hands the call to the desk and keeps everything else going until it ends. Takes c; on
 * ATN_CANCELLED the desk keeps it. */
static atn_status judge_wait(atn_engine *e, judge_call *c, atn_error *err)
{
    double stop_at = 0, late_at = deadline(e, c);
    if (c->what == CALL_CONTROLS) engine_now_at(e, 0, "controls");
    else if (c->full_size) engine_now_at(e, 0, "final comparison");
    /* Elsewhere: it only waits for somebody's answer, and heeds the user's wish for an end itself. */
    if (e->judge->width) call_judge(c);
    else desk_start(e->desk, call_judge, c);
    while (!e->judge->width && !desk_done(e->desk)) {
        bool idle;
        if (engine_stopping(e) && stop_at == 0) stop_at = clock_s() + STOP_GRACE_S;
        if ((stop_at > 0 && clock_s() >= stop_at) || clock_s() > late_at) {
            bool ended;
            atn_status st = give_up(e, &ended, err);
            if (!ended) return st;
            break;
        }
        if (e->serving) {
            engine_step_builds(e);
            if (!e->service_status && stop_at == 0) e->service_status = engine_fill(e, &idle, &e->service_error);
        }
        engine_wait(e, true, stop_at > 0 ? 20 : 200);
        engine_tick(e);
    }
    if (c->what == CALL_CONTROLS || c->full_size) engine_now_at(e, 0, NULL);
    if (c->status && err) *err = c->err;
    return c->status;
}

static judge_call *new_call(atn_engine *e, int what, const build_result *candidate, const build_result *incumbent)
{
    judge_call *c = atn_alloc(sizeof *c);
    c->judge = e->judge;
    c->what = what;
    c->candidate = *candidate;
    if ((c->has_incumbent = incumbent != NULL)) c->incumbent = *incumbent;
    return c;
}

static atn_status judged(atn_engine *e, judge_call *c, atn_verdict *v, atn_error *err)
{
    atn_status st = judge_wait(e, c, err);
    if (e->abandoned) return st;
    *v = c->verdict;
    if ((e->incumbent_failed = c->incumbent_failed)) e->incumbent_failure = c->incumbent_failure;
    if (c->race_pairs) e->pairs[e->n_pairs++] = c->race_pairs;
    if (c->evidence) {
        free(e->evidence);
        e->evidence = c->evidence;
    }
    free(c);
    return st;
}

void engine_clear_pairs(atn_engine *e)
{
    while (e->n_pairs > 0) race_pairs_free(e->pairs[--e->n_pairs]);
    free(e->evidence);
    e->evidence = NULL;
}

atn_status engine_store_pairs(atn_engine *e, const char *kind, int64_t program, int64_t against, atn_error *err)
{
    atn_status st = ATN_OK;
    for (int i = 0; i < e->n_pairs; i++)
        for (int c = 0; c < e->pairs[i]->n && !st; c++) {
            const race_case *x = &e->pairs[i]->cases[c];
            store_race r = {.program = program, .against = against, .case_index = x->case_index};
            r.n = x->n;
            r.effect = x->effect;
            r.d = x->d;
            snprintf(r.kind, sizeof r.kind, "%s", kind ? kind : e->pairs[i]->kind);
            st = store_race_add(e->store, &r, err);
        }
    return st;
}

atn_status engine_candidate(atn_engine *e, const build_result *candidate, const build_result *incumbent, atn_stage upto,
                            atn_verdict *v, atn_error *err)
{
    if (e->abandoned) return ATN_CANCELLED;
    judge_call *c = new_call(e, CALL_CANDIDATE, candidate, incumbent);
    engine_clear_pairs(e);
    c->upto = upto;
    return judged(e, c, v, err);
}

atn_status engine_compare(atn_engine *e, const build_result *candidate, const build_result *incumbent, int pairs,
                          bool confirm, bool full_size, double seconds, atn_verdict *v, atn_error *err)
{
    if (e->abandoned) return ATN_CANCELLED;
    judge_call *c = new_call(e, CALL_COMPARE, candidate, incumbent);
    if (!confirm || e->n_pairs == ATN_COUNT(e->pairs)) engine_clear_pairs(e);
    c->pairs = pairs;
    c->confirm = confirm;
    c->full_size = full_size;
    c->seconds = seconds;
    return judged(e, c, v, err);
}

/* ---- candidates ---- */

int64_t engine_same_code(const atn_engine *e, const build_result *b)
{
    for (int i = 0; b->reason == ATN_REASON_OK && b->object_hash[0] && i < e->n_programs; i++)
        if (!e->program[i]->same_as && !strcmp(e->program[i]->object_hash, b->object_hash)) return e->program[i]->id;
    return 0;
}

static void build_verdict(const build_result *b, atn_verdict *v)
{
    memset(v, 0, sizeof *v);
    v->stage = b->stage;
    v->reason = b->reason;
    snprintf(v->evidence, sizeof v->evidence, "%s", b->evidence);
    v->seconds_build = b->seconds;
}

static bool confirmed(const atn_verdict *c)
{
    return engine_only_slower(c->reason) && c->suite_low > 0 && c->reason == ATN_REASON_OK;
}

/* The verdict of a built candidate into *race, and *confirm with its fresh races where the first one was won. */
static atn_status judge_built(atn_engine *e, engine_slot *s, atn_verdict *race, atn_verdict *confirm, bool *has_confirm,
                              bool *promoted, atn_error *err)
{
    const build_result *incumbent = e->incumbent ? &e->incumbent_built : NULL;
    memset(race, 0, sizeof *race);
    *has_confirm = *promoted = false;
    engine_now_at(e, s->made.id, "candidate");
    atn_status st = engine_candidate(e, &s->built, incumbent, ATN_STAGE_RACE, race, err);
    engine_now_at(e, 0, NULL);
    race->seconds_build = s->built.seconds;
    if (st || !race->correct || !race->promoted || !incumbent) return st;
    if (engine_stopping(e))
        return ATN_CANCELLED; /* a win without its confirmation is no verdict: judged again on resume */
    memset(confirm, 0, sizeof *confirm);
    engine_now_at(e, s->made.id, "confirm");
    st = engine_compare(e, &s->built, incumbent, score_confirm_pairs(race), true, false, 0, confirm, err);
    engine_now_at(e, 0, NULL);
    *has_confirm = !st;
    *promoted = !st && confirmed(confirm);
    return st;
}

/* While the initial program is the incumbent, both names stand for one build. */
bool engine_shares_initial(const atn_engine *e)
{
    return e->has_initial_built && e->incumbent_built.so_fd == e->initial_built.so_fd;
}

static void keep_incumbent(atn_engine *e, engine_slot *s)
{
    if (e->has_incumbent_built && !engine_shares_initial(e))
        e->judge->build_release(e->judge->ctx, &e->incumbent_built);
    e->incumbent_built = s->built;
    e->has_incumbent_built = true;
    s->has_built = false; /* moved */
    if (e->incumbent != e->initial) return;
    e->initial_built = e->incumbent_built;
    e->has_initial_built = true;
}

atn_status engine_judge_slot(atn_engine *e, engine_slot *s, evolve_outcome *elsewhere, atn_error *err)
{
    atn_verdict race, confirm;
    bool has_confirm = false, promoted = false, first = e->initial == 0;
    double t0 = clock_s();
    atn_status st = ATN_OK;
    if (s->has_built && !s->same_as) s->same_as = engine_same_code(e, &s->built);
    if (s->same_as) {
        engine_program *same = engine_find(e, s->same_as);
        const atn_verdict *v = engine_verdict(e, same);
        if (!v) return atn_fail(err, ATN_IO, "cannot read the verdict of program #%" PRId64 " again", s->same_as);
        race = *v;
        race.promoted = false;
        if (same->id != e->incumbent && !archive_holds(&e->archive, same->id)) engine_forget(same);
    } else if (s->built.reason != ATN_REASON_OK) {
        build_verdict(&s->built, &race);
    } else if (elsewhere) {
        race = elsewhere->race;
        if ((has_confirm = elsewhere->has_confirm)) confirm = elsewhere->confirm;
        promoted = has_confirm && confirmed(&confirm);
        wide_keep(e, elsewhere);
    } else {
        st = judge_built(e, s, &race, &confirm, &has_confirm, &promoted, err);
        if (st) return st;
    }
    if (first && !(race.correct && race.reason == ATN_REASON_OK) && !(race.correct && engine_only_slower(race.reason)))
        return atn_fail(
            err, ATN_FORMAT,
            "the initial program '%s' is not right, so there is nothing to measure against: %s at stage %s: %.500s; "
            "see 'attune eval %s'",
            e->o->initial_path ? e->o->initial_path : "", reason_word(race.reason), stage_name(race.stage),
            race.evidence, e->o->initial_path ? e->o->initial_path : "");
    engine_judgement j = {.slot = s,
                          .race = &race,
                          .confirm = has_confirm ? &confirm : NULL,
                          .promoted = promoted,
                          .seconds_judge = elsewhere ? elsewhere->seconds : clock_s() - t0};
    st = engine_conclude(e, &j, err);
    e->store_failed = st != ATN_OK;
    if (!st && (promoted || first)) keep_incumbent(e, s);
    engine_slot_clear(e, s);
    return st;
}

/* ---- controls ---- */

void engine_nodes(atn_engine *e)
{
    char *json = e->judge->nodes ? e->judge->nodes(e->judge->ctx) : NULL;
    if (json && store_measurement_add(e->store, "nodes", 0, 0, engine_now(e), json, NULL))
        e->disk_full = e->disk_full || store_full(e->store);
    free(json);
}

void engine_control(atn_engine *e, bool at_end)
{
    if (e->o->control_races <= 0 || !e->judge->controls || !e->has_incumbent_built || engine_stopping(e) ||
        e->abandoned)
        return;
    atn_error err = {0};
    judge_call *call = new_call(e, CALL_CONTROLS, &e->incumbent_built, NULL);
    call->pairs = e->o->control_races;
    atn_status st = judge_wait(e, call, &err);
    if (e->abandoned) return;
    atn_controls c = call->controls;
    free(call);
    if (st) {
        engine_warn(e, "control races failed: %s", err.text);
        return;
    }
    if (at_end) e->controls_end = c, e->has_controls_end = true;
    else e->controls_start = c, e->has_controls_start = true;
    char *json = controls_json(&c);
    if (store_measurement_add(e->store, at_end ? "control_end" : "control", e->incumbent, e->incumbent, engine_now(e),
                              json, &err))
        e->disk_full = e->disk_full || store_full(e->store);
    free(json);
    engine_nodes(e);
    char text[200] = "";
    if (c.aa_promoted > 0)
        snprintf(text, sizeof text,
                 "this machine is noisy: a kernel raced against its own copy was called faster %d of %d times",
                 c.aa_promoted, c.aa_races);
    else if (c.plus_races > 0 && c.plus_promoted < c.plus_races)
        snprintf(text, sizeof text, "this machine is noisy: a known gain was seen only %d of %d times", c.plus_promoted,
                 c.plus_races);
    engine_emit(e, &(evolve_event){.type = EVOLVE_CONTROL, .controls = &c, .at_end = at_end, .text = text});
}
