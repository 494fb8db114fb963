/* Candidates in flight: from a proposal, committed before anything else happens, to a built object that waits for the
 * judge. */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/hash.h"
#include "evolve/engine.h"

static const double OVERTAKE_S = 5;
enum {
    READY_MAX = 3
}; /* built candidates that wait for the judge: enough to bridge a slow build, few enough to be fresh */

void engine_slot_clear(atn_engine *e, engine_slot *s)
{
    if (s->has_built && e->abandoned) s->has_built = false; /* the desk may still be using it */
    if (s->build) e->judge->build_cancel(e->judge->ctx, s->build);
    if (s->trial) e->judge->trial_cancel(e->judge->ctx, s->trial);
    wide_outcome_free(s->outcome);
    if (s->has_built) e->judge->build_release(e->judge->ctx, &s->built);
    free(s->made.proposer);
    free(s->made.origin);
    free(s->made.note);
    free(s->made.source);
    free(s->made.flags);
    memset(s, 0, sizeof *s);
}

static int slots_in(const atn_engine *e, slot_state state)
{
    int n = 0;
    for (int i = 0; i < e->n_slots; i++) n += e->slot[i].state == state;
    return n;
}

static bool has_markers(const char *source)
{
    return source && strstr(source, "EVOLVE-BLOCK-START");
}

/* Takes over m's strings. */
static atn_status slot_start(atn_engine *e, store_proposal *m, atn_error *err)
{
    engine_slot *s = NULL;
    for (int i = 0; i < e->n_slots && !s; i++)
        if (e->slot[i].state == SLOT_FREE) s = &e->slot[i];
    ATN_CHECK(s);
    s->made = *m;
    *m = (store_proposal){0};
    s->started = clock_s();
    if (e->window > 0 && e->initial) s->against = wide_against(e, &s->made);
    for (int i = 0; i < e->n_programs; i++) {
        const engine_program *p = e->program[i];
        if (strcmp(p->sha, s->made.sha) || strcmp(p->flags, s->made.flags ? s->made.flags : "")) continue;
        s->same_as = p->same_as ? p->same_as : p->id;
        s->state = SLOT_KNOWN;
        return ATN_OK;
    }
    engine_program *parent = engine_find(e, s->made.parent1);
    const char *original = parent ? engine_source(e, parent) : NULL;
    if (!has_markers(original)) original = NULL; /* a program without markers may be rewritten everywhere */
    atn_status st = e->judge->build_start(e->judge->ctx, s->made.source, s->made.flags, original, &s->build, err);
    if (st) engine_slot_clear(e, s);
    else s->state = SLOT_BUILDING;
    return st;
}

void engine_step_builds(atn_engine *e)
{
    for (int i = 0; i < e->n_slots; i++) {
        engine_slot *s = &e->slot[i];
        if (s->state != SLOT_BUILDING || !e->judge->build_step(e->judge->ctx, s->build, &s->built)) continue;
        s->build = NULL;
        s->has_built = true;
        s->state = SLOT_BUILT;
    }
}

static int64_t budget_left(const atn_engine *e)
{
    if (e->o->iterations <= 0) return INT64_MAX;
    int64_t flying = 0;
    for (int i = 0; i < e->n_slots; i++)
        flying += e->slot[i].state != SLOT_FREE && strcmp(e->slot[i].made.proposer, "start") != 0;
    return e->o->iterations - e->counts.evolved - flying;
}

/* Proposers take turns by weight; the one with most credit is asked first. */
static int next_proposer(const atn_engine *e, const bool *asked)
{
    int best = -1;
    for (int i = 0; i < e->o->n_proposers; i++)
        if (!asked[i] && !e->exhausted[i] && (best < 0 || e->credit[i] > e->credit[best])) best = i;
    return best;
}

static void make_context(atn_engine *e, int64_t number, atn_program_view *elites, atn_program_view *best,
                         atn_propose_context *c)
{
    int island = (int)(number % e->archive.islands);
    const archive_island *g = &e->archive.island[island];
    int n = 0;
    for (int i = 0; i < g->n; i++) {
        engine_view(e, engine_find(e, g->cell[i].program), &elites[n]);
        n += elites[n].source && elites[n].verdict;
    }
    engine_view(e, engine_find(e, e->incumbent), best);
    int64_t left = budget_left(e);
    *c = (atn_propose_context){.incumbent = n ? &elites[0] : best,
                               .elites = elites,
                               .n_elites = n,
                               .best = best,
                               .island = island,
                               .number = number,
                               .iterations_left = left > INT32_MAX ? -1 : (int)left};
}

/* Asks the proposers for one candidate, records it and starts its build. *got false: nobody has one now. */
static atn_status propose_one(atn_engine *e, int64_t number, bool *got, atn_error *err)
{
    bool asked[EVOLVE_PROPOSERS_MAX] = {0};
    atn_program_view *elites = atn_alloc((size_t)(e->o->cells_max + 1) * sizeof *elites), best;
    atn_propose_context c;
    atn_status st = ATN_OK;
    make_context(e, number, elites, &best, &c);
    *got = false;
    for (int i; !*got && (i = next_proposer(e, asked)) >= 0;) {
        atn_proposer *p = e->o->proposers[i];
        atn_proposal out = {0};
        atn_rng rng = rng_make(e->o->seed, hash_bytes(p->name, strlen(p->name)), (uint64_t)number);
        propose_answer a = p->propose(p, &c, &rng, &out);
        asked[i] = true;
        if (a == PROPOSE_EXHAUSTED) e->exhausted[i] = true;
        if (a != PROPOSE_OK) continue;
        ATN_CHECK(out.source);
        *got = true;
        for (int k = 0; k < e->o->n_proposers; k++)
            e->credit[k] += e->o->proposer_weight[k] > 0 ? e->o->proposer_weight[k] : 1;
        double all = 0;
        for (int k = 0; k < e->o->n_proposers; k++) all += e->o->proposer_weight[k] > 0 ? e->o->proposer_weight[k] : 1;
        e->credit[i] -= all;
        store_proposal m = {.island = c.island,
                            .parent1 = out.parents[0],
                            .parent2 = out.parents[1],
                            .proposer = atn_strdup(p->name),
                            .origin = atn_strdup(out.origin),
                            .note = atn_strdup(out.note),
                            .source = out.source,
                            .flags = out.flags ? out.flags : atn_strdup(""),
                            .t = engine_now(e)};
        st = store_proposal_add(e->store, &m, err);
        if (!st) {
            e->proposals = m.id;
            st = slot_start(e, &m, err);
        } else {
            e->disk_full = e->disk_full || store_full(e->store);
            store_proposals_free(memcpy(atn_alloc(sizeof m), &m, sizeof m), 1);
        }
    }
    free(elites);
    return st;
}

int engine_build_jobs(const atn_engine *e)
{
    int jobs = e->o->build_jobs > 0 ? e->o->build_jobs : machine_get()->cpus - 1;
    return ATN_MAX(1, ATN_MIN(jobs, ENGINE_SLOTS / 2));
}

/* Starting programs still on their way: proposers wait for them, because parents come from what they show. */
bool engine_starting(const atn_engine *e)
{
    if (e->next_start < e->n_start) return true;
    for (int i = 0; i < e->n_slots; i++)
        if (e->slot[i].state != SLOT_FREE && !strcmp(e->slot[i].made.proposer, "start")) return true;
    return false;
}

/* *idle: nothing is under way and nobody has anything to propose. */
atn_status engine_fill(atn_engine *e, bool *idle, atn_error *err)
{
    int jobs = engine_build_jobs(e);
    atn_status st = ATN_OK;
    *idle = false;
    engine_service(e);
    for (;;) {
        int building = slots_in(e, SLOT_BUILDING), ready = slots_in(e, SLOT_BUILT) + slots_in(e, SLOT_KNOWN);
        int away = slots_in(e, SLOT_JUDGING) + slots_in(e, SLOT_JUDGED);
        if (e->window > 0 ? building + ready + away >= e->window
                          : building >= jobs || building + ready >= jobs + READY_MAX)
            return ATN_OK;
        if (e->next_start < e->n_start) {
            if ((st = slot_start(e, &e->start[e->next_start++], err))) return st;
            continue;
        }
        if (engine_starting(e) || budget_left(e) <= 0) return ATN_OK;
        bool got;
        if ((st = propose_one(e, e->proposals + 1, &got, err))) return st;
        if (got) continue;
        bool all = true;
        for (int i = 0; i < e->o->n_proposers; i++) all = all && e->exhausted[i];
        *idle = all && building + ready + away == 0;
        return ATN_OK;
    }
}

/* The next candidate in order of proposal, or NULL while its build goes on: in order, so that a replay meets the same
 * order.
 * Only a build that takes very long is overtaken. */
engine_slot *engine_ready_slot(atn_engine *e)
{
    engine_slot *best = NULL;
    for (int i = 0; i < e->n_slots; i++) {
        engine_slot *s = &e->slot[i];
        bool slow = s->state == SLOT_BUILDING && e->initial && clock_s() - s->started > OVERTAKE_S;
        if (s->state == SLOT_FREE || slow) continue;
        if (!best || s->made.id < best->made.id) best = s;
    }
    return best && best->state != SLOT_BUILDING ? best : NULL;
}

/* ---- builds that the engine waits for ---- */

bool engine_build_source(atn_engine *e, const char *source, const char *flags, build_result *out, atn_error *err)
{
    evolve_judge *j = e->judge;
    evolve_build *b = NULL;
    if (!source || j->build_start(j->ctx, source, flags, NULL, &b, err)) return false;
    while (!j->build_step(j->ctx, b, out)) {
        struct pollfd p = {.fd = j->build_fd(j->ctx, b), .events = POLLIN};
        if (p.fd >= 0) poll(&p, 1, 100);
        else nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        bool gone = j->turn && !j->turn(j->ctx, err);
        if (gone || engine_stopping(e)) {
            j->build_cancel(j->ctx, b);
            if (gone) return false;
            atn_fail(err, ATN_CANCELLED, "interrupted");
            return false;
        }
    }
    if (out->reason == ATN_REASON_OK) return true;
    atn_fail(err, ATN_PROCESS, "a program that was built before does not build now: %.600s", out->evidence);
    j->build_release(j->ctx, out);
    return false;
}

bool engine_build(atn_engine *e, engine_program *p, build_result *out, atn_error *err)
{
    if (p->id == e->incumbent && e->has_incumbent_built) {
        *out = e->incumbent_built;
        out->so_fd = fcntl(e->incumbent_built.so_fd, F_DUPFD_CLOEXEC, 0);
        return true;
    }
    if (p->id == e->initial && e->has_initial_built) {
        *out = e->initial_built;
        out->so_fd = fcntl(e->initial_built.so_fd, F_DUPFD_CLOEXEC, 0);
        return true;
    }
    if (!engine_build_source(e, engine_source(e, p), p->flags, out, err)) return false;
    if (p->object_hash[0] && strcmp(p->object_hash, out->object_hash))
        engine_warn(e, "program #%" PRId64 " builds to other code than before: has the compiler changed?", p->id);
    return true;
}
