/* Demotion: the best program of the run turns out to fail, in a race or in the final comparison, and the next best
 * takes its place.
 *
 * On disk it is one transaction: a measurement "demotion" (program: who fell, against: who follows; as JSON the failure
 * and after how many verdicts), and the cells that it left. Verdicts stay as they were given; on resume the demotion
 * takes effect again between the same two of them, so that the archive is a function of verdicts and demotions in order. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evolve/engine.h"

static bool reigned(const atn_engine *e, int64_t id)
{
    for (int i = 0; i < e->n_reigns; i++)
        if (e->reign[i].id == id) return true;
    return false;
}

/* The best of those that were raced and are still held by the archive, or were the best before. The initial program is
 * the last: below it nothing can be measured. */
static engine_program *successor(atn_engine *e)
{
    engine_program *best = NULL;
    for (int i = 0; i < e->n_programs && e->incumbent != e->initial; i++) {
        engine_program *p = e->program[i];
        if (!p->valid || p->same_as || p->id == e->incumbent || (best && !(p->low > best->low))) continue;
        if (!reigned(e, p->id) && !archive_holds(&e->archive, p->id)) continue;
        const atn_verdict *v = engine_verdict(e, p);
        if (v && v->stage >= ATN_STAGE_RACE) best = p;
    }
    return best;
}

static void take_effect(atn_engine *e, engine_program *fallen, engine_program *next, const atn_verdict *why,
                        archive_log *log)
{
    const atn_verdict *v = engine_verdict(e, next);
    const evolve_score *against = next->id == e->initial ? NULL : engine_score_against(e, next->against);
    evolve_score score;
    score_make(&e->kinds, v, against, &score);
    fallen->valid = false;
    fallen->demoted = memcpy(atn_alloc(sizeof *why), why, sizeof *why);
    fallen->demoted->correct = fallen->demoted->promoted = false;
    archive_remove(&e->archive, fallen->id, log);
    portfolio_remove(&e->portfolio, fallen->id);
    engine_reign_begin(e, next, &score);
}

static atn_status record(atn_engine *e, const engine_program *fallen, const engine_program *next,
                         const archive_log *log, atn_error *err)
{
    char *verdict = verdict_json(fallen->demoted),
         *json = atn_format("{\"after\":%d,\"verdict\":%s}", e->n_programs, verdict);
    atn_status st = store_begin(e->store, err);
    if (!st) st = store_measurement_add(e->store, "demotion", fallen->id, next->id, engine_now(e), json, err);
    for (int i = 0; i < log->n_changes && !st; i++)
        st = store_cell_add(e->store, e->n_programs, log->change[i].island, log->change[i].key, 0, err);
    if (!st) st = store_commit(e->store, err);
    if (st) {
        store_rollback(e->store);
        e->store_failed = true;
        e->disk_full = e->disk_full || store_full(e->store);
    }
    free(json);
    free(verdict);
    return st;
}

bool engine_demote(atn_engine *e, const atn_verdict *why, atn_error *err)
{
    engine_program *fallen = engine_find(e, e->incumbent), *next = successor(e);
    build_result built;
    archive_log log = {0};
    if (!next || !engine_verdict(e, next) || !engine_build(e, next, &built, err)) return false;
    take_effect(e, fallen, next, why, &log);
    if (e->has_incumbent_built && !engine_shares_initial(e))
        e->judge->build_release(e->judge->ctx, &e->incumbent_built);
    e->incumbent_built = built;
    e->has_incumbent_built = true;
    atn_status st = record(e, fallen, next, &log, err);
    archive_log_free(&log);
    if (st) return false;
    char text[700];
    snprintf(text, sizeof text, "#%" PRId64 " is the best no longer, it failed: %s at stage %s: %.400s; #%" PRId64
             ", %.2fx, takes its place", fallen->id, reason_word(why->reason), stage_name(why->stage), why->evidence,
             next->id, exp(next->score));
    engine_emit(e, &(evolve_event){.type = EVOLVE_DEMOTED, .text = text});
    return true;
}

atn_status engine_demote_failed(atn_engine *e, bool at_once, bool *done, atn_error *err)
{
    atn_verdict why = e->incumbent_failure;
    *done = false;
    if (e->incumbent == e->initial || !e->has_incumbent_built) return ATN_OK;
    if (!at_once) {
        atn_verdict alone = {0};
        atn_status st = engine_candidate(e, &e->incumbent_built, NULL, ATN_STAGE_RACE, &alone, err);
        if (st || (alone.correct && alone.reason == ATN_REASON_OK)) return st;
        why = alone;
    }
    *done = engine_demote(e, &why, err);
    return *done || !err || !err->code ? ATN_OK : err->code;
}

atn_status engine_demote_again(atn_engine *e, const store_measurement *list, int n, int *next, atn_error *err)
{
    atn_status st = ATN_OK;
    for (; *next < n && !st; ++*next) {
        const store_measurement *m = &list[*next];
        json_t *o = json_loads(m->json, 0, NULL), *verdict = json_object_get(o, "verdict");
        bool due = json_integer_value(json_object_get(o, "after")) <= e->n_programs;
        engine_program *fallen = engine_find(e, m->program), *heir = engine_find(e, m->against);
        char *text = verdict ? json_dumps(verdict, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
        atn_verdict why;
        archive_log log = {0};
        if (due && (!fallen || !heir || fallen->id != e->incumbent || !engine_verdict(e, heir)))
            st = atn_fail(err, ATN_FORMAT, "'%s' is damaged: the demotion of program #%" PRId64
                          " does not follow from the verdicts before it; choose another -o", store_path(e->store),
                          m->program);
        if (due && !st) st = verdict_from_json(text, &why, err);
        if (due && !st) take_effect(e, fallen, heir, &why, &log);
        archive_log_free(&log);
        free(text);
        json_decref(o);
        if (!due) break;
    }
    return st;
}
