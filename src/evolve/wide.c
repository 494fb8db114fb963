/* Judgements elsewhere, many at once, with the archive of one after the other.
 *
 * Answers come in any order; they take effect in order of proposal, and after each one proposal is made, so that with the
 * same answers the run is the same run, however fast or short-lived whoever gives them. A candidate is raced against the
 * incumbent that was known `window` verdicts ago; who wins against one that has been replaced since is raced against its
 * successor, and so on: against each in turn, whenever it was known, so that neither opponents nor verdicts depend on
 * time. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "evolve/engine.h"

int64_t wide_against(const atn_engine *e, const store_proposal *m)
{
    bool start = !strcmp(m->proposer, "start");
    int64_t known = start ? 1 : ATN_MAX(e->starts, m->id - e->window), id = e->initial;
    for (int i = 0; i < e->n_reigns && e->reign[i].seq <= known; i++) id = e->reign[i].id;
    return id;
}

void wide_outcome_free(evolve_outcome *o)
{
    if (!o) return;
    for (int i = 0; i < ATN_COUNT(o->pairs); i++) race_pairs_free(o->pairs[i]);
    free(o->evidence);
    free(o);
}

void wide_keep(atn_engine *e, evolve_outcome *o)
{
    engine_clear_pairs(e);
    for (int i = 0; i < ATN_COUNT(o->pairs); i++) {
        if (o->pairs[i]) e->pairs[e->n_pairs++] = o->pairs[i];
        o->pairs[i] = NULL;
    }
    e->evidence = o->evidence;
    o->evidence = NULL;
}

static atn_status trial_begin(atn_engine *e, engine_slot *s, atn_error *err)
{
    engine_program *against = engine_find(e, s->against), *parent = engine_find(e, s->made.parent1);
    const char *incumbent = against ? engine_source(e, against) : NULL;
    const char *original = parent ? engine_source(e, parent) : NULL;
    if (original && !strstr(original, "EVOLVE-BLOCK-START")) original = NULL;
    if (against && !incumbent)
        return atn_fail(err, ATN_IO, "cannot read the source of program #%lld again", (long long)s->against);
    atn_status st = e->judge->trial_start(e->judge->ctx, s->made.source, s->made.flags, original, incumbent,
                                          against ? against->flags : NULL, &s->trial, err);
    if (st) return st;
    wide_outcome_free(s->outcome); /* of the race against an earlier incumbent */
    s->outcome = NULL;
    s->state = SLOT_JUDGING;
    return ATN_OK;
}

/* A win that still has to stand against a later incumbent; 0: none. */
static int64_t next_opponent(const atn_engine *e, const engine_slot *s)
{
    const evolve_outcome *o = s->outcome;
    if (s->state != SLOT_JUDGED || !o->has_confirm || o->confirm.reason != ATN_REASON_OK) return 0;
    if (s->against == e->incumbent) return 0;
    for (int i = e->n_reigns - 2; i >= 0; i--) /* who was the best twice has the last successor */
        if (e->reign[i].id == s->against) return e->reign[i + 1].id;
    return 0;
}

static atn_status slot_step(atn_engine *e, engine_slot *s, atn_error *err)
{
    evolve_judge *j = e->judge;
    if (s->state == SLOT_BUILDING && j->build_step(j->ctx, s->build, &s->built)) {
        s->build = NULL;
        s->has_built = true;
        s->state = SLOT_BUILT;
    }
    if (s->state == SLOT_BUILT && s->built.reason == ATN_REASON_OK && (e->initial || s->made.id == 1) &&
        !engine_same_code(e, &s->built)) {
        if (!s->against && e->initial) s->against = wide_against(e, &s->made);
        return trial_begin(e, s, err);
    }
    if (s->state == SLOT_JUDGING) {
        if (!s->outcome) s->outcome = atn_alloc(sizeof *s->outcome);
        if (!j->trial_step(j->ctx, s->trial, s->outcome)) return ATN_OK;
        s->trial = NULL;
        s->state = SLOT_JUDGED;
        s->outcome->race.seconds_build = s->built.seconds;
        if (s->outcome->status && err) *err = s->outcome->err;
        if (s->outcome->status) return s->outcome->status;
    }
    int64_t next = next_opponent(e, s);
    if (!next || engine_same_code(e, &s->built)) return ATN_OK;
    s->against = next;
    return trial_begin(e, s, err);
}

static engine_slot *oldest(atn_engine *e)
{
    engine_slot *best = NULL;
    for (int i = 0; i < e->n_slots; i++) {
        engine_slot *s = &e->slot[i];
        if (s->state != SLOT_FREE && (!best || s->made.id < best->made.id)) best = s;
    }
    return best;
}

static bool blames(const engine_slot *s)
{
    return s->state == SLOT_JUDGED && s->outcome->incumbent_failed;
}

/* The one it was raced against failed beside it: the next best takes its place, and the candidate is raced again. Only in
 * its turn, so that a demotion stands between the same two verdicts however early its news came. Where the opponent does
 * well alone, three failures in a row are taken for one. */
static atn_status race_again(atn_engine *e, engine_slot *s, atn_error *err)
{
    atn_status st = ATN_OK;
    if (s->against == e->incumbent) {
        bool demoted = false, last = ++e->judge_failures >= 3;
        e->incumbent_failure = s->outcome->incumbent_failure;
        st = engine_demote_failed(e, last, &demoted, err);
        if (demoted) e->judge_failures = 0;
        else if (!st && last)
            st = atn_fail(err, ATN_PROCESS, "program #%lld, the best so far, fails in races and nobody can take its place: %.500s",
                          (long long)e->incumbent, e->incumbent_failure.evidence);
    }
    if (st) return st;
    s->against = e->incumbent;
    return trial_begin(e, s, err);
}

/* Its verdict depends on nothing that is still to come. */
static bool settles(atn_engine *e, const engine_slot *s)
{
    if (s->state == SLOT_KNOWN || s->state == SLOT_JUDGED) return true;
    return s->state == SLOT_BUILT && (s->built.reason != ATN_REASON_OK || engine_same_code(e, &s->built));
}

atn_status wide_turn(atn_engine *e, bool *idle, atn_error *err)
{
    atn_status st = ATN_OK;
    for (int i = 0; i < e->n_slots && !st; i++)
        if (e->slot[i].state != SLOT_FREE) st = slot_step(e, &e->slot[i], err);
    if (!st) st = engine_fill(e, idle, err);
    engine_slot *s = st ? NULL : oldest(e);
    while (!st && s && settles(e, s)) {
        if (blames(s) && !engine_same_code(e, &s->built)) {
            st = race_again(e, s, err);
            break;
        }
        if (next_opponent(e, s) && !engine_same_code(e, &s->built)) {
            st = slot_step(e, s, err);
            break;
        }
        engine_clear_pairs(e);
        st = engine_judge_slot(e, s, s->outcome, err);
        if (!st) e->judge_failures = 0;
        if (!st && e->o->iterations > 0 && e->counts.evolved >= e->o->iterations) break;
        if (!st) st = engine_fill(e, idle, err);
        s = oldest(e);
    }
    return st;
}

atn_status engine_admit(atn_engine *e, const char *source, const char *flags, const char *origin, const char *note,
                        atn_error *err)
{
    char sha[33];
    bool known = false;
    hash_hex(source, strlen(source), sha);
    if (!flags) flags = "";
    for (int i = 0; i < e->n_programs && !known; i++)
        known = !strcmp(e->program[i]->sha, sha) && !strcmp(e->program[i]->flags, flags);
    for (int i = 0; i < e->n_slots && !known; i++)
        known = e->slot[i].state != SLOT_FREE && !strcmp(e->slot[i].made.sha, sha);
    for (int i = e->next_start; i < e->n_start && !known; i++) known = !strcmp(e->start[i].sha, sha);
    if (known) return ATN_OK;
    store_proposal m = {.island = (int)(e->proposals % e->archive.islands), .t = engine_now(e)};
    m.proposer = atn_strdup("immigrant");
    m.origin = atn_strdup(origin);
    m.note = atn_strdup(note);
    m.source = atn_strdup(source);
    m.flags = atn_strdup(flags);
    atn_status st = store_proposal_add(e->store, &m, err);
    if (st) {
        store_proposals_free(memcpy(atn_alloc(sizeof m), &m, sizeof m), 1);
        return st;
    }
    e->proposals = m.id;
    e->start = atn_realloc(e->start, (size_t)(e->n_start + 1) * sizeof *e->start);
    e->start[e->n_start++] = m;
    return ATN_OK;
}
