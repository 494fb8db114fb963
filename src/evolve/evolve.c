/* The loop: proposals become builds, builds become verdicts, verdicts change the archive.
 *
 * Order of commits is the whole of crash safety: a proposal is committed before its build starts (flight.c); a verdict
 * is
 * committed with everything that it changed (engine.c), before the next judgement starts (court.c). Whatever a kill
 * leaves
 * behind is a proposal without a verdict, and is judged on resume (start.c), where memory is rebuilt by the code that
 * made it. */
#include "evolve/evolve.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "evolve/engine.h"

evolve_options evolve_defaults(void)
{
    return (evolve_options){.folder = "attune_output",
                            .threads = 1,
                            .tolerance = 1,
                            .seed = 1,
                            .islands = 4,
                            .migrate_every = 24,
                            .cells_max = 64,
                            .final_seconds = 40,
                            .control_races = 3,
                            .suite_name = "custom"};
}

static evolve_stop why_stop(const atn_engine *e)
{
    const evolve_options *o = e->o;
    if (engine_stopping(e)) return EVOLVE_STOP_INTERRUPTED;
    if (e->disk_full) return EVOLVE_STOP_DISK_FULL;
    if (!e->initial) return EVOLVE_STOP_NONE;
    if (o->iterations > 0 && e->counts.evolved >= o->iterations) return EVOLVE_STOP_ITERATIONS;
    if (o->minutes > 0 && engine_now(e) >= o->minutes * 60) return EVOLVE_STOP_MINUTES;
    if (o->target_speedup > 0 && e->incumbent_score.score >= log(o->target_speedup)) return EVOLVE_STOP_TARGET;
    if (o->plateau > 0 && !engine_starting(e) && e->counts.since_best >= o->plateau) return EVOLVE_STOP_PLATEAU;
    return EVOLVE_STOP_NONE;
}

/* A failure of the world (not of a candidate) in the judge: another try may work, three in a row will not. Where it was
 * the incumbent's, the next best takes its place and the candidate is tried again. */
static atn_status world_failed(atn_engine *e, engine_slot *s, atn_status st, const atn_error *why)
{
    bool last = ++e->judge_failures >= 3, demoted = false;
    if (!e->initial || e->store_failed) return st;
    atn_error err = {0};
    atn_status other = e->incumbent_failed ? engine_demote_failed(e, last, &demoted, &err) : ATN_OK;
    if (other) engine_warn(e, "%s", err.text);
    if (demoted) e->judge_failures = 0;
    if (demoted || e->abandoned || engine_stopping(e)) return ATN_OK;
    if (last) return st;
    engine_warn(e, "could not judge #%" PRId64 ": %s; trying again", s->made.id, why->text);
    return ATN_OK;
}

enum { MANY_SLOTS = 256 };

static atn_status turn_here(atn_engine *e, bool *idle, atn_error *err)
{
    engine_step_builds(e);
    atn_status st = e->service_status;
    if (st && err) *err = e->service_error;
    if (!st) st = engine_fill(e, idle, err);
    if (st) return st;
    engine_slot *s = engine_ready_slot(e);
    if (s) {
        *idle = false;
        st = engine_judge_slot(e, s, NULL, err);
        if (st == ATN_CANCELLED && e->abandoned) return (e->stop = why_stop(e)) == EVOLVE_STOP_NONE ? ATN_BUSY : st;
        if (st == ATN_CANCELLED) return ATN_OK;
        if (st && (st = world_failed(e, s, st, err))) return st;
        if (!st) e->judge_failures = s->state == SLOT_FREE ? 0 : e->judge_failures;
    } else if (!*idle) {
        engine_wait(e, false, 200);
    }
    return st;
}

/* Elsewhere: nothing is looked at while nothing has ended; but proposers may have something to say. */
static atn_status turn_elsewhere(atn_engine *e, bool *idle, atn_error *err)
{
    evolve_judge *j = e->judge;
    if (!j->turn(j->ctx, err)) return err && err->code ? err->code : ATN_PROCESS;
    int64_t ended = j->ended(j->ctx);
    double rest = e->n_slots > MANY_SLOTS ? 0.02 : 0; /* a thousand slots are looked at for several answers together */
    bool due = clock_s() > e->last_turn + (ended != e->ended ? rest : 0.1);
    if (!due) return ATN_OK;
    e->ended = ended;
    e->last_turn = clock_s();
    return wide_turn(e, idle, err);
}

atn_status engine_turn(atn_engine *e, bool *more, atn_error *err)
{
    bool idle = false;
    *more = false;
    if ((e->stop = why_stop(e)) == EVOLVE_STOP_NONE) {
        atn_status st = e->judge->width ? turn_elsewhere(e, &idle, err) : turn_here(e, &idle, err);
        if (st == ATN_CANCELLED && (e->abandoned || engine_stopping(e))) {
            e->stop = why_stop(e);
            return ATN_OK;
        }
        if (st) return st;
        if (idle) e->stop = EVOLVE_STOP_EXHAUSTED;
        if (e->initial && !engine_starting(e) && !e->announced) {
            if (!e->has_controls_start) engine_control(e, false);
            e->announced = true;
            engine_phase(e, "evolving");
        }
        engine_tick(e);
        *more = e->stop == EVOLVE_STOP_NONE;
    }
    return e->stop == EVOLVE_STOP_DISK_FULL
               ? atn_fail(err, ATN_IO,
                          "the disk is full: everything recorded in '%s' before is safe; free some space and go on "
                          "with --resume",
                          store_path(e->store))
               : ATN_OK;
}

static void engine_close(atn_engine *e)
{
    for (int i = 0; i < e->n_slots; i++) engine_slot_clear(e, &e->slot[i]);
    desk_close(e->desk, e->abandoned);
    if (e->abandoned) e->has_initial_built = e->has_incumbent_built = false;
    if (e->has_initial_built && !(e->has_incumbent_built && engine_shares_initial(e)))
        e->judge->build_release(e->judge->ctx, &e->initial_built);
    if (e->has_incumbent_built) e->judge->build_release(e->judge->ctx, &e->incumbent_built);
    for (int i = 0; i < e->n_programs; i++) {
        engine_forget(e->program[i]);
        free(e->program[i]->demoted);
        free(e->program[i]->flags);
        free(e->program[i]);
    }
    free(e->program);
    free(e->by_id);
    free(e->reign);
    free(e->slot);
    free(e->starts_from);
    engine_clear_pairs(e);
    store_proposals_free(e->start, e->n_start);
    archive_free(&e->archive);
    store_close(e->store);
}

atn_status engine_create(const evolve_options *o, evolve_judge *j, atn_engine **out, atn_error *err)
{
    ATN_CHECK(o->suite && o->suite->count > 0 && o->initial_source);
    *out = NULL;
    if (o->suite->count > ATN_CASES_MAX)
        return atn_fail(err, ATN_USAGE, "the suite has %d cases, at most %d are possible", o->suite->count,
                        ATN_CASES_MAX);
    atn_engine *e = atn_alloc(sizeof *e);
    e->o = o;
    e->judge = j;
    e->clock_base = clock_s();
    suite_kinds_of(o->suite, &e->kinds);
    portfolio_init(&e->portfolio, o->suite, &e->kinds, o->threads);
    atn_status st = desk_open(&e->desk, err);
    if (!st) st = engine_open(e, err);
    if (st) {
        engine_close(e);
        free(e);
        return st;
    }
    if (store_kept_aside(e->store)) engine_warn(e, "the earlier run is kept as %s", store_kept_aside(e->store));
    engine_emit(e, &(evolve_event){.type = EVOLVE_START, .resumed = o->resume, .text = e->starts_from});
    if (engine_starting(e)) engine_phase(e, "judging the starting programs");
    e->serving = true;
    *out = e;
    return ATN_OK;
}

atn_status engine_finish(atn_engine *e, atn_status st, evolve_result *r, atn_error *err)
{
    *r = (evolve_result){0};
    e->serving = false;
    if (st && e->stop == EVOLVE_STOP_NONE) e->stop = e->disk_full ? EVOLVE_STOP_DISK_FULL : EVOLVE_STOP_FAILED;
    e->t_stopped = engine_now(e); /* what follows is not evolving, and a resumed run has not spent it */
    engine_beliefs_write(e, true);
    engine_emit(e, &(evolve_event){.type = EVOLVE_STOP, .stop = e->stop, .text = evolve_stop_text(e->stop)});
    for (int i = 0; i < e->n_slots; i++)
        engine_slot_clear(e, &e->slot[i]); /* in the store, judged by the next --resume */
    if (!st) engine_control(e, true);
    atn_error late = {0};
    atn_status made = result_make(e, r, &late);
    if (!st && made) {
        st = made;
        if (err) *err = late;
    }
    engine_close(e);
    free(e);
    return st;
}

atn_status evolve_run(const evolve_options *o, evolve_judge *j, evolve_result *r, atn_error *err)
{
    atn_engine *e;
    bool more = true;
    *r = (evolve_result){0};
    atn_status st = engine_create(o, j, &e, err);
    if (st) return st;
    while (!st && more) {
        st = engine_turn(e, &more, err);
        if (!st && more && j->width) engine_wait(e, false, 100);
    }
    return engine_finish(e, st, r, err);
}

void evolve_result_free(evolve_result *r)
{
    (void)r;
}
