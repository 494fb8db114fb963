/* The engine's state: what a verdict changes in memory and on disk, and the events that tell of it.
 *
 * Everything that a verdict changes goes through engine_apply, live and on resume; on disk it is one transaction. */
#include "evolve/engine.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "evolve/record.h"

double engine_now(const atn_engine *e)
{
    return e->t_stopped > 0 ? e->t_stopped : e->t_base + clock_s() - e->clock_base;
}
bool engine_stopping(const atn_engine *e)
{
    return e->o->stop && *e->o->stop;
}

engine_program *engine_find(const atn_engine *e, int64_t id)
{
    return id > 0 && id < e->ids ? e->by_id[id] : NULL;
}

const char *engine_source(atn_engine *e, engine_program *p)
{
    if (!p->source) p->source = store_blob_get(e->store, p->sha);
    return p->source;
}

const atn_verdict *engine_verdict(atn_engine *e, engine_program *p)
{
    if (p->demoted) return p->demoted;
    if (p->verdict) return p->verdict;
    store_program stored;
    if (store_program_get(e->store, p->id, &stored, NULL)) return NULL;
    atn_verdict race, confirm;
    bool has_confirm = stored.confirm && !verdict_from_json(stored.confirm, &confirm, NULL);
    if (!verdict_from_json(stored.verdict, &race, NULL)) {
        p->verdict = atn_alloc(sizeof *p->verdict);
        engine_effective(&race, has_confirm ? &confirm : NULL, p->promoted, p->verdict);
    }
    store_program_clear(&stored);
    return p->verdict;
}

/* Sources and verdicts stay in memory only for programs that may become parents. */
void engine_forget(engine_program *p)
{
    free(p->source);
    free(p->verdict);
    p->source = NULL;
    p->verdict = NULL;
}

static double per_minute(const atn_engine *e, double now)
{
    const double window = 120;
    int n = 0;
    for (int i = e->n_programs - 1; i >= 0 && e->program[i]->t > now - window; i--) n++;
    double span = ATN_MIN(window, now);
    return span > 1 ? n * 60 / span : 0;
}

/* The final comparison's budget, or what is left of it; a quick suite needs less. */
static double comparison_left(const atn_engine *e)
{
    bool none = engine_stopping(e) || e->stop == EVOLVE_STOP_DISK_FULL || e->stop == EVOLVE_STOP_FAILED;
    double all = none ? 0 : ATN_MAX(0, e->o->final_seconds);
    double since = e->t_stopped > 0 ? e->t_base + clock_s() - e->clock_base - e->t_stopped : 0;
    return ATN_MAX(0, all - since);
}

/* Share of the limit that comes first, and the seconds until there is a result: until that limit, and what follows it. */
static void outlook(const atn_engine *e, double now, evolve_event *ev)
{
    const evolve_options *o = e->o;
    ev->done = 0;
    ev->seconds_left = -1;
    if (o->minutes > 0) {
        ev->done = now / (o->minutes * 60);
        ev->seconds_left = ATN_MAX(0, o->minutes * 60 - now);
    }
    if (o->iterations > 0) {
        double share = (double)e->counts.evolved / (double)o->iterations;
        double left =
            ev->counts.per_minute > 0 ? (double)(o->iterations - e->counts.evolved) * 60 / ev->counts.per_minute : -1;
        if (share > ev->done) ev->done = share;
        if (left >= 0 && (ev->seconds_left < 0 || left < ev->seconds_left)) ev->seconds_left = left;
    }
    ev->done = ATN_MIN(1, ev->done);
    if (e->t_stopped > 0) ev->seconds_left = 0;
    if (ev->seconds_left >= 0) ev->seconds_left += ev->type == EVOLVE_RESULT ? 0 : comparison_left(e);
}

void engine_emit(atn_engine *e, evolve_event *ev)
{
    double now = engine_now(e);
    ev->t = now;
    e->counts.seconds = now;
    e->counts.per_minute = per_minute(e, now);
    e->counts.building = e->counts.waiting = 0;
    for (int i = 0; i < e->n_slots; i++) {
        e->counts.building += e->slot[i].state == SLOT_BUILDING;
        e->counts.waiting += e->slot[i].state == SLOT_BUILT || e->slot[i].state == SLOT_JUDGED;
    }
    ev->counts = e->counts;
    outlook(e, now, ev);
    const engine_program *best = engine_find(e, e->incumbent);
    if (best) {
        ev->best = best->id;
        ev->best_speedup = exp(best->score);
        ev->best_low = exp(best->low);
        ev->best_high = exp(best->high);
    }
    if (!ev->text) ev->text = "";
    if (ev->type == EVOLVE_PHASE) snprintf(e->phase, sizeof e->phase, "%s", ev->text);
    engine_now_write(e, ev);
    e->last_tick = clock_s();
    if (ev->type != EVOLVE_TICK && !e->disk_full) {
        char *json = evolve_event_json(ev);
        atn_error err = {0};
        if (store_event_add(e->store, now, json, &err)) e->disk_full = e->disk_full || store_full(e->store);
        free(json);
    }
    if (e->o->event) e->o->event(e->o->event_ctx, ev);
}

void engine_phase(atn_engine *e, const char *text)
{
    engine_emit(e, &(evolve_event){.type = EVOLVE_PHASE, .text = text});
}

void engine_warn(atn_engine *e, const char *format, ...)
{
    char text[1100];
    va_list va;
    va_start(va, format);
    vsnprintf(text, sizeof text, format, va);
    va_end(va);
    engine_emit(e, &(evolve_event){.type = EVOLVE_WARNING, .text = text});
}

void engine_tick(atn_engine *e)
{
    if (clock_s() - e->last_tick >= 1) {
        engine_emit(e, &(evolve_event){.type = EVOLVE_TICK});
        engine_beliefs_write(e, false);
        return;
    }
    if (!engine_now_due(e)) return;
    evolve_event ev = {.counts = e->counts};
    outlook(e, engine_now(e), &ev);
    engine_now_write(e, &ev);
}

/* ---- a verdict takes effect ---- */

/* Reasons that leave a program right: it only was not faster. */
bool engine_only_slower(atn_reason r)
{
    return r == ATN_REASON_OK || r == ATN_REASON_SLOWER || r == ATN_REASON_NOT_BETTER || r == ATN_REASON_UNCONFIRMED;
}

void engine_effective(const atn_verdict *v, const atn_verdict *confirm, bool promoted, atn_verdict *out)
{
    *out = *v;
    if (!confirm) return;
    out->stage = ATN_STAGE_CONFIRM;
    if (!engine_only_slower(confirm->reason)) {
        out->reason = confirm->reason;
        out->correct = out->promoted = false;
        memcpy(out->evidence, confirm->evidence, sizeof out->evidence);
        memcpy(out->reproduce, confirm->reproduce, sizeof out->reproduce);
        return;
    }
    /* The race chose this candidate because it looked fast; only the fresh measurement is free of that choice. */
    if (confirm->n_cases > 0) {
        out->n_cases = confirm->n_cases;
        memcpy(out->cases, confirm->cases, sizeof out->cases);
        out->suite_log = confirm->suite_log;
        out->suite_low = confirm->suite_low;
        out->suite_high = confirm->suite_high;
    }
    out->promoted = promoted;
    out->reason = promoted ? ATN_REASON_OK : ATN_REASON_UNCONFIRMED;
    if (!promoted && confirm->evidence[0]) memcpy(out->evidence, confirm->evidence, sizeof out->evidence);
}

static void remember(atn_engine *e, engine_program *p)
{
    e->program = atn_realloc(e->program, (size_t)(e->n_programs + 1) * sizeof *e->program);
    e->program[e->n_programs++] = p;
    if (p->id >= e->ids) {
        int64_t ids = ATN_MAX(64, 2 * p->id);
        e->by_id = atn_realloc(e->by_id, (size_t)ids * sizeof *e->by_id);
        memset(e->by_id + e->ids, 0, (size_t)(ids - e->ids) * sizeof *e->by_id);
        e->ids = ids;
    }
    ATN_CHECK(!e->by_id[p->id]);
    e->by_id[p->id] = p;
}

void engine_view(atn_engine *e, engine_program *p, atn_program_view *out)
{
    *out = (atn_program_view){.id = p->id,
                              .parent = p->parent1,
                              .island = p->island,
                              .source = engine_source(e, p),
                              .flags = p->flags ? p->flags : "",
                              .origin = p->origin,
                              .verdict = engine_verdict(e, p),
                              .score = p->valid ? p->low : -INFINITY};
}

const evolve_score *engine_score_against(const atn_engine *e, int64_t id)
{
    for (int i = e->n_reigns - 1; i >= 0; i--)
        if (e->reign[i].id == id) return &e->reign[i].score;
    return &e->incumbent_score;
}

void engine_reign_begin(atn_engine *e, const engine_program *p, const evolve_score *score)
{
    e->incumbent = p->id;
    e->incumbent_score = *score;
    e->reign = atn_realloc(e->reign, (size_t)(e->n_reigns + 1) * sizeof *e->reign);
    e->reign[e->n_reigns++] = (engine_reign){p->id, e->n_programs, *score};
}

/* The next program in order of judgement. `v` is its effective verdict; *log says what the archive changed. */
void engine_apply(atn_engine *e, engine_program *p, const atn_verdict *v, evolve_score *score, archive_log *log)
{
    bool initial = e->initial == 0;
    p->seq = e->n_programs + 1;
    const engine_program *same = engine_find(e, p->same_as), *parent = engine_find(e, p->parent1);
    p->generation = parent ? parent->generation + 1 : 0;
    if (same) {
        *score = (evolve_score){.valid = same->valid, .score = same->score, .low = same->low, .high = same->high};
        memcpy(p->cell, same->cell, sizeof p->cell);
    } else {
        score_make(&e->kinds, v, initial ? NULL : engine_score_against(e, p->against), score);
        if (score->valid) score_cell(score, v->workspace_bytes, p->cell, sizeof p->cell);
    }
    p->valid = score->valid;
    p->score = score->score;
    p->low = score->low;
    p->high = score->high;
    remember(e, p);

    bool enters = p->valid && !same;
    archive_add(&e->archive, p->id, initial ? -1 : p->island, enters ? p->cell : NULL, p->low, log);
    if (enters) portfolio_add(&e->portfolio, p->id, score);
    e->counts.judged++;
    e->counts.evolved += !p->start;
    e->counts.failed += !p->valid;
    e->counts.same += same != NULL;
    e->counts.since_best++;
    if (initial) e->initial = p->id;
    if (initial || p->promoted) {
        engine_reign_begin(e, p, score);
        e->counts.promoted += !initial;
        e->counts.since_best = 0;
        memset(e->exhausted, 0, sizeof e->exhausted);
    }
}

/* Programs that left the archive give up their memory. */
void engine_trim(atn_engine *e, const archive_log *log, engine_program *newest)
{
    if (!archive_holds(&e->archive, newest->id) && newest->id != e->incumbent) engine_forget(newest);
    if (!log->n_changes) return;
    for (int i = 0; i < e->n_programs; i++) {
        engine_program *p = e->program[i];
        if (p->source && p->id != e->incumbent && !archive_holds(&e->archive, p->id)) engine_forget(p);
    }
}

void engine_learn(atn_engine *e, engine_program *p)
{
    atn_program_view view;
    if (p->start && !p->valid) return; /* refused as it came: no family worth searching */
    engine_view(e, p, &view);
    if (!view.source || !view.verdict) return;
    for (int i = 0; i < e->o->n_proposers; i++) {
        atn_proposer *q = e->o->proposers[i];
        if (q->learn) q->learn(q, &view);
    }
}

engine_program *engine_program_make(const store_proposal *m)
{
    engine_program *p = atn_alloc(sizeof *p);
    p->id = m->id;
    p->parent1 = m->parent1;
    p->parent2 = m->parent2;
    p->island = m->island;
    p->start = !strcmp(m->proposer, "start");
    p->flags = atn_strdup(m->flags ? m->flags : "");
    memcpy(p->sha, m->sha, sizeof p->sha);
    snprintf(p->origin, sizeof p->origin, "%s", m->origin);
    snprintf(p->note, sizeof p->note, "%s", m->note);
    return p;
}

/* ---- storing ---- */

static int cases_of(const atn_verdict *v, const evolve_score *score, store_case *out)
{
    for (int i = 0; i < v->n_cases; i++) {
        const atn_case_result *r = &v->cases[i];
        bool known = r->case_index >= 0 && r->case_index < ATN_CASES_MAX && score->valid;
        out[i] = (store_case){.case_index = r->case_index,
                              .log_ratio = r->log_ratio,
                              .log_low = r->log_low,
                              .log_high = r->log_high,
                              .log_speedup = known ? score->log[r->case_index] : (double)NAN,
                              .pairs = r->pairs,
                              .ns_min = r->ns_min,
                              .incumbent_ns_min = r->incumbent_ns_min,
                              .error = r->error,
                              .workspace_bytes = r->workspace_bytes};
    }
    return v->n_cases;
}

static atn_status store_all(atn_engine *e, const store_program *row, const archive_log *log, atn_error *err)
{
    atn_status st = store_begin(e->store, err);
    if (!st) st = store_program_add(e->store, row, err);
    if (!st && row->incumbent) st = engine_store_pairs(e, NULL, row->made.id, row->incumbent, err);
    if (!st && e->evidence && !row->same_as) st = store_evidence_add(e->store, row->made.id, e->evidence, err);
    engine_clear_pairs(e);
    for (int i = 0; i < log->n_changes && !st; i++) {
        const archive_change *c = &log->change[i];
        st = store_cell_add(e->store, row->seq, c->island, c->key, c->program, err);
    }
    for (int i = 0; i < log->n_moves && !st; i++)
        st = store_migration_add(e->store, row->seq, log->move[i].from, log->move[i].to, log->move[i].program, err);
    if (!st) st = store_commit(e->store, err);
    if (st) {
        store_rollback(e->store);
        e->disk_full = e->disk_full || store_full(e->store);
    }
    return st;
}

static const char *state_of(const engine_program *p)
{
    return p->same_as                                     ? "same"
           : !p->valid                                    ? "failed"
           : p->promoted || !strcmp(p->origin, "initial") ? "better"
                                                          : "right";
}

/* A verdict is final: memory, disk, events, proposers, in this order. */
atn_status engine_conclude(atn_engine *e, const engine_judgement *j, atn_error *err)
{
    const engine_slot *s = j->slot;
    engine_program *p = engine_program_make(&s->made);
    atn_verdict v;
    evolve_score score;
    archive_log log = {0};
    store_case cases[ATN_CASES_MAX];
    engine_effective(j->race, j->confirm, j->promoted, &v);
    p->promoted = j->promoted;
    p->same_as = s->same_as;
    p->t = engine_now(e);
    p->source = atn_strdup(s->made.source);
    p->verdict = atn_alloc(sizeof v);
    *p->verdict = v;
    if (s->has_built) memcpy(p->object_hash, s->built.object_hash, sizeof p->object_hash);
    else if (s->same_as) memcpy(p->object_hash, engine_find(e, s->same_as)->object_hash, sizeof p->object_hash);
    int64_t incumbent = p->against = s->against ? s->against : e->incumbent;
    engine_apply(e, p, &v, &score, &log);

    char *race_json = verdict_json(j->race), *confirm_json = j->confirm ? verdict_json(j->confirm) : NULL;
    store_program row = {.made = s->made,
                         .seq = p->seq,
                         .generation = p->generation,
                         .incumbent = p->same_as ? 0 : incumbent,
                         .same_as = p->same_as,
                         .correct = p->valid,
                         .promoted = p->promoted,
                         .screened = score.screened,
                         .state = (char *)state_of(p),
                         .stage = (char *)stage_name(v.stage),
                         .reason = (char *)reason_word(v.reason),
                         .evidence = v.evidence,
                         .reproduce = v.reproduce,
                         .compiler = s->has_built ? (char *)s->built.compiler : (char *)e->judge->compiler,
                         .score = p->score,
                         .score_low = p->low,
                         .score_high = p->high,
                         .error = v.error,
                         .workspace_bytes = v.workspace_bytes,
                         .profile = score.profile,
                         .decode = score.decode,
                         .cell = p->cell,
                         .t = p->t,
                         .seconds_build = s->has_built ? s->built.seconds : 0,
                         .seconds_judge = j->seconds_judge,
                         .verdict = race_json,
                         .confirm = confirm_json,
                         .cases = cases,
                         .n_cases = p->same_as ? 0 : cases_of(&v, &score, cases)};
    memcpy(row.object_hash, p->object_hash, sizeof row.object_hash);
    atn_status st = store_all(e, &row, &log, err);
    if (!st) {
        char text[96] = "";
        if (p->same_as) snprintf(text, sizeof text, "same code as #%" PRId64, p->same_as);
        engine_emit(e, &(evolve_event){.type = EVOLVE_JUDGED, .program = &row, .verdict = &v, .text = text});
        if (p->promoted) engine_emit(e, &(evolve_event){.type = EVOLVE_BEST, .program = &row, .verdict = &v});
        for (int i = 0; i < log.n_moves; i++)
            engine_emit(e, &(evolve_event){.type = EVOLVE_MIGRATION,
                                           .from_island = log.move[i].from,
                                           .to_island = log.move[i].to});
        engine_learn(e, p);
        engine_trim(e, &log, p);
    }
    free(race_json);
    free(confirm_json);
    archive_log_free(&log);
    return st;
}
