/* The loop: proposals become builds, builds become verdicts, verdicts change the archive.
 *
 * Order of commits is the whole of crash safety: a proposal is committed before its build starts; a verdict is committed
 * with everything that it changed, before the next judgement starts. Whatever a kill leaves behind is a proposal without
 * a verdict, and is judged on resume. State in memory is rebuilt by the code that made it (engine_apply). */
#include "evolve/evolve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "evolve/engine.h"
#include "evolve/record.h"

static const double OVERTAKE_S = 5, STOP_GRACE_S = 0.4;
static const double LANDSLIDE = 0.5;             /* a race won by 1.6 x and more is confirmed by few pairs: the loser may be very slow */
enum { CONFIRM_PAIRS = 32, CONFIRM_PAIRS_FEW = 8 };
enum { READY_MAX = 3 };         /* built candidates that wait for the judge: enough to bridge a slow build, few enough to be fresh */

/* ---- options ---- */

evolve_options evolve_defaults(void)
{
    return (evolve_options){.folder = "attune_output", .threads = 1, .tolerance = 1, .seed = 1, .islands = 4,
                            .migrate_every = 24, .cells_max = 64, .final_seconds = 40, .control_races = 3,
                            .suite_name = "custom"};
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int kernels_in(const char *folder, char **paths, int n)
{
    DIR *d = opendir(folder);
    if (!d) return n;
    int first = n;
    for (struct dirent *f; (f = readdir(d)) && n < EVOLVE_SHIPPED_MAX;) {
        size_t len = strlen(f->d_name);
        if (len < 3 || strcmp(f->d_name + len - 2, ".c") || f->d_name[0] == '.') continue;
        char *path = file_join(folder, f->d_name), *text = NULL;
        /* A kernel is a file that defines the table; helpers beside it are not starting points. */
        bool kernel = file_read(path, 1 << 20, &text, NULL, NULL) == ATN_OK && strstr(text, "atn_kernel attune_kernel");
        free(text);
        if (kernel) paths[n++] = path;
        else free(path);
    }
    closedir(d);
    qsort(paths + first, (size_t)(n - first), sizeof *paths, by_name);
    return n;
}

int evolve_shipped(char *paths[EVOLVE_SHIPPED_MAX])
{
    static const char *const folders[] = {"champions", "src/kernel", "kernels"};
    int n = 0;
    for (int i = 0; i < ATN_COUNT(folders); i++) {
        char *folder = file_join(file_home(), folders[i]);
        n = kernels_in(folder, paths, n);
        free(folder);
    }
    return n;
}

/* ---- small things ---- */

double engine_now(const atn_engine *e)
{
    return e->t_stopped > 0 ? e->t_stopped : e->t_base + clock_s() - e->clock_base;
}
bool engine_stopping(const atn_engine *e) { return e->o->stop && *e->o->stop; }

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
static void forget(engine_program *p)
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

/* Share of the limit that comes first, and the seconds until it. */
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
        double left = ev->counts.per_minute > 0 ? (double)(o->iterations - e->counts.evolved) * 60 / ev->counts.per_minute : -1;
        if (share > ev->done) ev->done = share;
        if (left >= 0 && (ev->seconds_left < 0 || left < ev->seconds_left)) ev->seconds_left = left;
    }
    ev->done = ATN_MIN(1, ev->done);
}

void engine_emit(atn_engine *e, evolve_event *ev)
{
    double now = engine_now(e);
    ev->t = now;
    e->counts.seconds = now;
    e->counts.per_minute = per_minute(e, now);
    e->counts.building = e->counts.waiting = 0;
    for (int i = 0; i < ENGINE_SLOTS; i++) {
        e->counts.building += e->slot[i].state == SLOT_BUILDING;
        e->counts.waiting += e->slot[i].state == SLOT_BUILT;
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
    e->last_tick = clock_s();
    if (ev->type != EVOLVE_TICK && !e->disk_full) {
        char *json = evolve_event_json(ev);
        atn_error err = {0};
        if (store_event_add(e->store, now, json, &err)) e->disk_full = e->disk_full || store_full(e->store);
        free(json);
    }
    if (e->o->event) e->o->event(e->o->event_ctx, ev);
}

void engine_phase(atn_engine *e, const char *text) { engine_emit(e, &(evolve_event){.type = EVOLVE_PHASE, .text = text}); }

void engine_warn(atn_engine *e, const char *format, ...)
{
    char text[1100];
    va_list va;
    va_start(va, format);
    vsnprintf(text, sizeof text, format, va);
    va_end(va);
    engine_emit(e, &(evolve_event){.type = EVOLVE_WARNING, .text = text});
}

static void tick(atn_engine *e)
{
    if (clock_s() - e->last_tick >= 1) engine_emit(e, &(evolve_event){.type = EVOLVE_TICK});
}

/* ---- a verdict takes effect ---- */

/* Reasons that leave a program right: it only was not faster. */
static bool only_slower(atn_reason r)
{
    return r == ATN_REASON_OK || r == ATN_REASON_SLOWER || r == ATN_REASON_NOT_BETTER || r == ATN_REASON_UNCONFIRMED;
}

void engine_effective(const atn_verdict *v, const atn_verdict *confirm, bool promoted, atn_verdict *out)
{
    *out = *v;
    if (!confirm) return;
    out->stage = ATN_STAGE_CONFIRM;
    if (!only_slower(confirm->reason)) {
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

static void view_of(atn_engine *e, engine_program *p, atn_program_view *out)
{
    *out = (atn_program_view){.id = p->id, .parent = p->parent1, .island = p->island, .source = engine_source(e, p),
                              .flags = p->flags ? p->flags : "", .origin = p->origin, .verdict = engine_verdict(e, p),
                              .score = p->valid ? p->low : -INFINITY};
}

/* The next program in order of judgement. `v` is its effective verdict; *log says what the archive changed. */
static void engine_apply(atn_engine *e, engine_program *p, const atn_verdict *v, evolve_score *score, archive_log *log)
{
    bool initial = e->initial == 0;
    p->seq = e->n_programs + 1;
    const engine_program *same = engine_find(e, p->same_as), *parent = engine_find(e, p->parent1);
    p->generation = parent ? parent->generation + 1 : 0;
    if (same) {
        *score = (evolve_score){.valid = same->valid, .score = same->score, .low = same->low, .high = same->high};
        memcpy(p->cell, same->cell, sizeof p->cell);
    } else {
        score_make(&e->kinds, v, initial ? NULL : &e->incumbent_score, score);
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
        e->incumbent = p->id;
        e->incumbent_score = *score;
        e->counts.promoted += !initial;
        e->counts.since_best = 0;
        memset(e->exhausted, 0, sizeof e->exhausted);
    }
}

/* Programs that left the archive give up their memory. */
static void trim(atn_engine *e, const archive_log *log, engine_program *newest)
{
    if (!archive_holds(&e->archive, newest->id) && newest->id != e->incumbent) forget(newest);
    if (!log->n_changes) return;
    for (int i = 0; i < e->n_programs; i++) {
        engine_program *p = e->program[i];
        if (p->source && p->id != e->incumbent && !archive_holds(&e->archive, p->id)) forget(p);
    }
}

static void learn(atn_engine *e, engine_program *p)
{
    atn_program_view view;
    if (p->start && !p->valid) return;   /* refused as it came: no family worth searching */
    view_of(e, p, &view);
    if (!view.source || !view.verdict) return;
    for (int i = 0; i < e->o->n_proposers; i++) {
        atn_proposer *q = e->o->proposers[i];
        if (q->learn) q->learn(q, &view);
    }
}

static engine_program *program_make(const store_proposal *m)
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
        out[i] = (store_case){.case_index = r->case_index, .log_ratio = r->log_ratio, .log_low = r->log_low,
                              .log_high = r->log_high, .log_speedup = known ? score->log[r->case_index] : (double)NAN,
                              .pairs = r->pairs, .ns_min = r->ns_min, .incumbent_ns_min = r->incumbent_ns_min,
                              .error = r->error, .workspace_bytes = r->workspace_bytes};
    }
    return v->n_cases;
}

static atn_status store_all(atn_engine *e, const store_program *row, const archive_log *log, atn_error *err)
{
    atn_status st = store_begin(e->store, err);
    if (!st) st = store_program_add(e->store, row, err);
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

typedef struct {
    const engine_slot *slot;
    const atn_verdict *race, *confirm;     /* as the judge gave them; confirm may be NULL */
    bool promoted;
    double seconds_judge;
} judgement;

static const char *state_of(const engine_program *p)
{
    return p->same_as ? "same" : !p->valid ? "failed" : p->promoted || !strcmp(p->origin, "initial") ? "better" : "right";
}

/* A verdict is final: memory, disk, events, proposers, in this order. */
static atn_status conclude(atn_engine *e, const judgement *j, atn_error *err)
{
    const engine_slot *s = j->slot;
    engine_program *p = program_make(&s->made);
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
    int64_t incumbent = e->incumbent;
    engine_apply(e, p, &v, &score, &log);

    char *race_json = verdict_json(j->race), *confirm_json = j->confirm ? verdict_json(j->confirm) : NULL;
    store_program row = {.made = s->made, .seq = p->seq, .generation = p->generation,
                         .incumbent = p->same_as ? 0 : incumbent, .same_as = p->same_as, .correct = p->valid,
                         .promoted = p->promoted, .screened = score.screened, .state = (char *)state_of(p),
                         .stage = (char *)stage_name(v.stage), .reason = (char *)reason_word(v.reason),
                         .evidence = v.evidence, .reproduce = v.reproduce,
                         .compiler = s->has_built ? (char *)s->built.compiler : (char *)e->judge->compiler,
                         .score = p->score, .score_low = p->low, .score_high = p->high, .error = v.error,
                         .workspace_bytes = v.workspace_bytes, .profile = score.profile, .decode = score.decode,
                         .cell = p->cell, .t = p->t, .seconds_build = s->has_built ? s->built.seconds : 0,
                         .seconds_judge = j->seconds_judge, .verdict = race_json, .confirm = confirm_json,
                         .cases = cases, .n_cases = p->same_as ? 0 : cases_of(&v, &score, cases)};
    memcpy(row.object_hash, p->object_hash, sizeof row.object_hash);
    atn_status st = store_all(e, &row, &log, err);
    if (!st) {
        char text[96] = "";
        if (p->same_as) snprintf(text, sizeof text, "same code as #%" PRId64, p->same_as);
        engine_emit(e, &(evolve_event){.type = EVOLVE_JUDGED, .program = &row, .verdict = &v, .text = text});
        if (p->promoted) engine_emit(e, &(evolve_event){.type = EVOLVE_BEST, .program = &row, .verdict = &v});
        for (int i = 0; i < log.n_moves; i++)
            engine_emit(e, &(evolve_event){.type = EVOLVE_MIGRATION, .from_island = log.move[i].from,
                                           .to_island = log.move[i].to});
        learn(e, p);
        trim(e, &log, p);
    }
    free(race_json);
    free(confirm_json);
    archive_log_free(&log);
    return st;
}

/* ---- slots: from proposal to built candidate ---- */

static void slot_clear(atn_engine *e, engine_slot *s)
{
    if (s->has_built && e->abandoned) s->has_built = false;   /* the desk may still be using it */
    if (s->build) e->judge->build_cancel(e->judge->ctx, s->build);
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
    for (int i = 0; i < ENGINE_SLOTS; i++) n += e->slot[i].state == state;
    return n;
}

static bool has_markers(const char *source) { return source && strstr(source, "EVOLVE-BLOCK-START"); }

/* Takes over m's strings. */
static atn_status slot_start(atn_engine *e, store_proposal *m, atn_error *err)
{
    engine_slot *s = NULL;
    for (int i = 0; i < ENGINE_SLOTS && !s; i++)
        if (e->slot[i].state == SLOT_FREE) s = &e->slot[i];
    ATN_CHECK(s);
    s->made = *m;
    *m = (store_proposal){0};
    s->started = clock_s();
    for (int i = 0; i < e->n_programs; i++) {
        const engine_program *p = e->program[i];
        if (strcmp(p->sha, s->made.sha) || strcmp(p->flags, s->made.flags ? s->made.flags : "")) continue;
        s->same_as = p->same_as ? p->same_as : p->id;
        s->state = SLOT_KNOWN;
        return ATN_OK;
    }
    engine_program *parent = engine_find(e, s->made.parent1);
    const char *original = parent ? engine_source(e, parent) : NULL;
    if (!has_markers(original)) original = NULL;   /* a program without markers may be rewritten everywhere */
    atn_status st = e->judge->build_start(e->judge->ctx, s->made.source, s->made.flags, original, &s->build, err);
    if (st) slot_clear(e, s);
    else s->state = SLOT_BUILDING;
    return st;
}

static void step_builds(atn_engine *e)
{
    for (int i = 0; i < ENGINE_SLOTS; i++) {
        engine_slot *s = &e->slot[i];
        if (s->state != SLOT_BUILDING || !e->judge->build_step(e->judge->ctx, s->build, &s->built)) continue;
        s->build = NULL;
        s->has_built = true;
        s->state = SLOT_BUILT;
    }
}

/* A judged program with the same object code; 0: none. */
static int64_t same_code(const atn_engine *e, const build_result *b)
{
    for (int i = 0; b->reason == ATN_REASON_OK && b->object_hash[0] && i < e->n_programs; i++)
        if (!e->program[i]->same_as && !strcmp(e->program[i]->object_hash, b->object_hash)) return e->program[i]->id;
    return 0;
}

static int64_t budget_left(const atn_engine *e)
{
    if (e->o->iterations <= 0) return INT64_MAX;
    int64_t flying = 0;
    for (int i = 0; i < ENGINE_SLOTS; i++)
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
        view_of(e, engine_find(e, g->cell[i].program), &elites[n]);
        n += elites[n].source && elites[n].verdict;
    }
    view_of(e, engine_find(e, e->incumbent), best);
    int64_t left = budget_left(e);
    *c = (atn_propose_context){.incumbent = n ? &elites[0] : best, .elites = elites, .n_elites = n, .best = best,
                               .island = island, .number = number,
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
        store_proposal m = {.island = c.island, .parent1 = out.parents[0], .parent2 = out.parents[1],
                            .proposer = atn_strdup(p->name), .origin = atn_strdup(out.origin), .note = atn_strdup(out.note),
                            .source = out.source, .flags = out.flags ? out.flags : atn_strdup(""), .t = engine_now(e)};
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

static int build_jobs(const atn_engine *e)
{
    int jobs = e->o->build_jobs > 0 ? e->o->build_jobs : machine_get()->cpus - 1;
    return ATN_MAX(1, ATN_MIN(jobs, ENGINE_SLOTS / 2));
}

/* Starting programs still on their way: proposers wait for them, because parents come from what they show. */
static bool starting(const atn_engine *e)
{
    if (e->next_start < e->n_start) return true;
    for (int i = 0; i < ENGINE_SLOTS; i++)
        if (e->slot[i].state != SLOT_FREE && !strcmp(e->slot[i].made.proposer, "start")) return true;
    return false;
}

/* *idle: nothing is under way and nobody has anything to propose. */
static atn_status fill(atn_engine *e, bool *idle, atn_error *err)
{
    int jobs = build_jobs(e);
    atn_status st = ATN_OK;
    *idle = false;
    for (;;) {
        int building = slots_in(e, SLOT_BUILDING), ready = slots_in(e, SLOT_BUILT) + slots_in(e, SLOT_KNOWN);
        if (building >= jobs || building + ready >= jobs + READY_MAX) return ATN_OK;
        if (e->next_start < e->n_start) {
            if ((st = slot_start(e, &e->start[e->next_start++], err))) return st;
            continue;
        }
        if (starting(e) || budget_left(e) <= 0) return ATN_OK;
        bool got;
        if ((st = propose_one(e, e->proposals + 1, &got, err))) return st;
        if (got) continue;
        bool all = true;
        for (int i = 0; i < e->o->n_proposers; i++) all = all && e->exhausted[i];
        *idle = all && building + ready == 0;
        return ATN_OK;
    }
}

/* ---- judging ---- */

/* The next candidate in order of proposal, or NULL while its build goes on: in order, so that a replay meets the same order.
 * Only a build that takes very long is overtaken. */
static engine_slot *ready_slot(atn_engine *e)
{
    engine_slot *best = NULL;
    for (int i = 0; i < ENGINE_SLOTS; i++) {
        engine_slot *s = &e->slot[i];
        bool slow = s->state == SLOT_BUILDING && e->initial && clock_s() - s->started > OVERTAKE_S;
        if (s->state == SLOT_FREE || slow) continue;
        if (!best || s->made.id < best->made.id) best = s;
    }
    return best && best->state != SLOT_BUILDING ? best : NULL;
}

static void build_verdict(const build_result *b, atn_verdict *v)
{
    memset(v, 0, sizeof *v);
    v->stage = b->stage;
    v->reason = b->reason;
    snprintf(v->evidence, sizeof v->evidence, "%s", b->evidence);
    v->seconds_build = b->seconds;
}

/* One call of the judge, on the desk. */
typedef struct {
    evolve_judge *judge;
    enum { CALL_CANDIDATE, CALL_COMPARE, CALL_CONTROLS } what;
    build_result candidate, incumbent;
    bool has_incumbent, confirm, full_size;
    atn_stage upto;
    int pairs;
    double seconds;
    atn_verdict verdict;
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
        c->status = j->compare(j->ctx, &c->candidate, incumbent, c->pairs, c->confirm, c->full_size, c->seconds, &c->verdict,
                               &c->err);
    else
        c->status = j->controls(j->ctx, &c->candidate, c->pairs, &c->controls, &c->err);
}

/* Sleeps until the judge, a build or a proposer has something, at most `most_ms`. */
static void wait_for_work(atn_engine *e, bool judging, int most_ms)
{
    struct pollfd p[ENGINE_SLOTS + EVOLVE_PROPOSERS_MAX + 1];
    nfds_t n = 0;
    if (judging) p[n++] = (struct pollfd){.fd = desk_fd(e->desk), .events = POLLIN};
    for (int i = 0; i < ENGINE_SLOTS; i++) {
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

/* Hands the call to the desk and keeps everything else going until it ends. Takes c; on ATN_CANCELLED it is lost to the desk. */
static atn_status judge_wait(atn_engine *e, judge_call *c, atn_error *err)
{
    double stop_at = 0;
    desk_start(e->desk, call_judge, c);
    while (!desk_done(e->desk)) {
        bool idle;
        if (engine_stopping(e) && stop_at == 0) stop_at = clock_s() + STOP_GRACE_S;
        if (stop_at > 0 && clock_s() >= stop_at) {
            e->abandoned = e->judge->abandoned = true;
            return atn_fail(err, ATN_CANCELLED, "interrupted");
        }
        if (e->serving) {
            step_builds(e);
            if (!e->service_status && stop_at == 0) e->service_status = fill(e, &idle, &e->service_error);
        }
        wait_for_work(e, true, stop_at > 0 ? 20 : 200);
        tick(e);
    }
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
    free(c);
    return st;
}

atn_status engine_candidate(atn_engine *e, const build_result *candidate, const build_result *incumbent, atn_stage upto,
                            atn_verdict *v, atn_error *err)
{
    if (e->abandoned) return ATN_CANCELLED;
    judge_call *c = new_call(e, CALL_CANDIDATE, candidate, incumbent);
    c->upto = upto;
    return judged(e, c, v, err);
}

atn_status engine_compare(atn_engine *e, const build_result *candidate, const build_result *incumbent, int pairs,
                          bool confirm, bool full_size, double seconds, atn_verdict *v, atn_error *err)
{
    if (e->abandoned) return ATN_CANCELLED;
    judge_call *c = new_call(e, CALL_COMPARE, candidate, incumbent);
    c->pairs = pairs;
    c->confirm = confirm;
    c->full_size = full_size;
    c->seconds = seconds;
    return judged(e, c, v, err);
}

static bool confirmed(const atn_verdict *c) { return only_slower(c->reason) && c->suite_low > 0 && c->reason == ATN_REASON_OK; }

/* The verdict of a built candidate into *race, and *confirm with its fresh races where the first one was won. */
static atn_status judge_built(atn_engine *e, engine_slot *s, atn_verdict *race, atn_verdict *confirm, bool *has_confirm,
                              bool *promoted, atn_error *err)
{
    const build_result *incumbent = e->incumbent ? &e->incumbent_built : NULL;
    memset(race, 0, sizeof *race);
    *has_confirm = *promoted = false;
    atn_status st = engine_candidate(e, &s->built, incumbent, ATN_STAGE_RACE, race, err);
    race->seconds_build = s->built.seconds;
    if (st || !race->correct || !race->promoted || !incumbent) return st;
    if (engine_stopping(e)) return ATN_CANCELLED;   /* a win without its confirmation is no verdict: judged again on resume */
    memset(confirm, 0, sizeof *confirm);
    int pairs = race->suite_low > LANDSLIDE ? CONFIRM_PAIRS_FEW : CONFIRM_PAIRS;
    st = engine_compare(e, &s->built, incumbent, pairs, true, false, 0, confirm, err);
    *has_confirm = !st;
    *promoted = !st && confirmed(confirm);
    return st;
}

/* While the initial program is the incumbent, both names stand for one build. */
static bool shares_initial(const atn_engine *e)
{
    return e->has_initial_built && e->incumbent_built.so_fd == e->initial_built.so_fd;
}

static void keep_incumbent(atn_engine *e, engine_slot *s)
{
    if (e->has_incumbent_built && !shares_initial(e)) e->judge->build_release(e->judge->ctx, &e->incumbent_built);
    e->incumbent_built = s->built;
    e->has_incumbent_built = true;
    s->has_built = false;              /* moved */
    if (e->incumbent != e->initial) return;
    e->initial_built = e->incumbent_built;
    e->has_initial_built = true;
}

static atn_status judge_slot(atn_engine *e, engine_slot *s, atn_error *err)
{
    atn_verdict race, confirm;
    bool has_confirm = false, promoted = false, first = e->initial == 0;
    double t0 = clock_s();
    atn_status st = ATN_OK;
    if (s->has_built && !s->same_as) s->same_as = same_code(e, &s->built);
    if (s->same_as) {
        engine_program *same = engine_find(e, s->same_as);
        const atn_verdict *v = engine_verdict(e, same);
        if (!v) return atn_fail(err, ATN_IO, "cannot read the verdict of program #%" PRId64 " again", s->same_as);
        race = *v;
        race.promoted = false;
        if (same->id != e->incumbent && !archive_holds(&e->archive, same->id)) forget(same);
    } else if (s->built.reason != ATN_REASON_OK) {
        build_verdict(&s->built, &race);
    } else {
        st = judge_built(e, s, &race, &confirm, &has_confirm, &promoted, err);
        if (st) return st;
    }
    if (first && !(race.correct && race.reason == ATN_REASON_OK) && !(race.correct && only_slower(race.reason)))
        return atn_fail(err, ATN_FORMAT,
                        "the initial program '%s' is not right, so there is nothing to measure against: %s at stage %s: %.500s; "
                        "see 'attune eval %s'",
                        e->o->initial_path ? e->o->initial_path : "", reason_word(race.reason), stage_name(race.stage),
                        race.evidence, e->o->initial_path ? e->o->initial_path : "");
    judgement j = {.slot = s, .race = &race, .confirm = has_confirm ? &confirm : NULL, .promoted = promoted,
                   .seconds_judge = clock_s() - t0};
    st = conclude(e, &j, err);
    e->store_failed = st != ATN_OK;
    if (!st && (promoted || first)) keep_incumbent(e, s);
    slot_clear(e, s);
    return st;
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
        if (engine_stopping(e)) {
            j->build_cancel(j->ctx, b);
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

/* ---- start and resume ---- */

static store_proposal start_proposal(const char *origin, const char *note, char *source, int island)
{
    return (store_proposal){.proposer = atn_strdup("start"), .origin = atn_strdup(origin), .note = atn_strdup(note),
                            .source = source, .flags = atn_strdup(""), .island = island};
}

static void add_start(atn_engine *e, store_proposal m)
{
    e->start = atn_realloc(e->start, (size_t)(e->n_start + 1) * sizeof *e->start);
    e->start[e->n_start++] = m;
}

/* The initial program and the kernels that come with attune, recorded in one transaction. */
static atn_status start_programs(atn_engine *e, atn_error *err)
{
    const evolve_options *o = e->o;
    char *found[EVOLVE_SHIPPED_MAX];
    int n = 0;
    add_start(e, start_proposal("initial", o->initial_path ? o->initial_path : "", atn_strdup(o->initial_source), 0));
    if (o->shipped)
        for (; n < o->n_shipped && n < EVOLVE_SHIPPED_MAX; n++) found[n] = atn_strdup(o->shipped[n]);
    else if (o->n_shipped >= 0)
        n = evolve_shipped(found);
    atn_status st = ATN_OK;
    for (int i = 0; i < n; i++) {
        char *text = NULL;
        atn_error why = {0};
        if (file_read(found[i], 1 << 20, &text, NULL, &why)) {
            engine_warn(e, "%s", why.text);
        } else if (!strcmp(text, o->initial_source)) {
            free(text);
        } else {
            const char *slash = strrchr(found[i], '/'), *name = slash ? slash + 1 : found[i];
            char origin[64];
            bool champion = strstr(found[i], "/champions/") != NULL;
            snprintf(origin, sizeof origin, "%s:%s", champion ? "champion" : "shipped", name);
            add_start(e, start_proposal(origin, name, text, e->n_start % e->archive.islands));
        }
        free(found[i]);
    }
    st = store_begin(e->store, err);
    for (int i = 0; i < e->n_start && !st; i++) st = store_proposal_add(e->store, &e->start[i], err);
    if (!st) st = store_commit(e->store, err);
    if (st) store_rollback(e->store);
    e->proposals = e->n_start;
    return st;
}

/* A stored program takes effect again, exactly as when it was judged. */
static atn_status restore_program(atn_engine *e, const store_program *row, atn_error *err)
{
    atn_verdict race, confirm, v;
    atn_status st = verdict_from_json(row->verdict, &race, err);
    if (!st && row->confirm) st = verdict_from_json(row->confirm, &confirm, err);
    if (st) return st;
    engine_effective(&race, row->confirm ? &confirm : NULL, row->promoted, &v);
    engine_program *p = program_make(&row->made);
    evolve_score score;
    archive_log log = {0};
    p->promoted = row->promoted;
    p->same_as = row->same_as;
    p->t = row->t;
    memcpy(p->object_hash, row->object_hash, sizeof p->object_hash);
    p->verdict = atn_alloc(sizeof v);
    *p->verdict = v;
    int64_t incumbent = e->incumbent;
    engine_apply(e, p, &v, &score, &log);
    learn(e, p);
    trim(e, &log, p);
    archive_log_free(&log);
    if (p->seq != row->seq || (!p->same_as && incumbent != row->incumbent))
        return atn_fail(err, ATN_FORMAT, "'%s' is damaged: program #%" PRId64 " does not follow from those before it; choose "
                        "another -o", store_path(e->store), p->id);
    return ATN_OK;
}

/* Islands and limits of the archive are part of what a run is: they come from the store, not from this call's options. */
static atn_status archive_settings(atn_engine *e, bool resume, atn_error *err)
{
    int islands = e->o->islands, every = e->o->migrate_every, cells = e->o->cells_max;
    char *had = store_meta_get(e->store, "archive");
    if (resume && had) sscanf(had, "%d %d %d", &islands, &every, &cells);
    free(had);
    archive_init(&e->archive, islands, every, cells);
    char text[64];
    snprintf(text, sizeof text, "%d %d %d", e->archive.islands, e->archive.migrate_every, e->archive.cells_max);
    return store_meta_set(e->store, "archive", text, err);
}

static atn_status restore(atn_engine *e, atn_error *err)
{
    store_program *list;
    int n;
    store_progress progress;
    atn_status st = store_progress_get(e->store, &progress, err);
    if (!st) st = store_programs(e->store, 0, false, &list, &n, err);
    if (st) return st;
    e->t_base = progress.t_last;
    e->proposals = progress.proposals;
    for (int i = 0; i < n && !st; i++) st = restore_program(e, &list[i], err);
    store_programs_free(list, n);
    if (!st) st = store_proposals_open(e->store, &e->start, &e->n_start, err);
    if (!st && progress.proposals == 0) st = start_programs(e, err);
    if (st || !e->incumbent) return st;
    if (!engine_build(e, engine_find(e, e->incumbent), &e->incumbent_built, err)) return ATN_PROCESS;
    e->has_incumbent_built = true;
    if (e->incumbent == e->initial) e->initial_built = e->incumbent_built, e->has_initial_built = true;
    store_measurement *m;
    int k;
    if (!store_measurements(e->store, "control", &m, &k, NULL)) {
        if (k) e->has_controls_start = controls_from_json(m[0].json, &e->controls_start);
        store_measurements_free(m, k);
    }
    return ATN_OK;
}

/* What makes two runs' scores comparable, as words: store_open compares them one by one. */
static char *suite_text(const atn_suite *s)
{
    atn_text t = {0};
    for (int i = 0; i < s->count; i++) {
        char line[200];
        problem_print(&s->cases[i].problem, line, sizeof line);
        text_addf(&t, "%s%s", i ? "; " : "", line);
    }
    return text_take(&t);
}

/* Candidates are compiled with these: other headers, other programs. */
static void headers_hash(char out[33])
{
    static const char *const names[] = {"include/attune/kernel.h", "include/attune/vec.h"};
    atn_text all = {0};
    for (int i = 0; i < ATN_COUNT(names); i++) {
        char *path = file_join(file_home(), names[i]), *text = NULL;
        if (file_read(path, 1 << 20, &text, NULL, NULL) == ATN_OK) text_add(&all, text);
        free(text);
        free(path);
    }
    hash_hex(all.s ? all.s : "", all.n, out);
    text_free(&all);
}

static atn_status open_store(atn_engine *e, atn_error *err)
{
    const evolve_options *o = e->o;
    char *suite = suite_text(o->suite), threads[16], tolerance[32], initial[33], headers[33];
    headers_hash(headers);
    snprintf(threads, sizeof threads, "%d", o->threads);
    snprintf(tolerance, sizeof tolerance, "%g", o->tolerance);
    hash_hex(o->initial_source, strlen(o->initial_source), initial);
    const store_pair id[] = {{"machine", machine_get()->signature}, {"threads", threads}, {"tolerance", tolerance},
                             {"compiler", e->judge->compiler}, {"judge", e->judge->version},
                             {"kernel headers", headers}, {"initial program", initial}, {"suite", suite}};
    atn_status st = store_open(o->folder, o->resume ? STORE_RESUME : STORE_CREATE, id, ATN_COUNT(id), &e->store, err);
    if (!st && !o->resume) {
        char seed[32], now[40];
        snprintf(seed, sizeof seed, "%" PRIu64, o->seed);
        time_t t = time(NULL);
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &tm);
        const store_pair meta[] = {{"seed", seed}, {"config", o->config_json ? o->config_json : "{}"},
                                   {"version", ATTUNE_VERSION}, {"started", now}, {"suite", o->suite_name},
                                   {"initial", o->initial_path ? o->initial_path : ""},
                                   {"cpu", machine_get()->cpu}, {"isa", machine_get()->isa}};
        for (int i = 0; i < ATN_COUNT(meta) && !st; i++) st = store_meta_set(e->store, meta[i].key, meta[i].value, err);
    }
    free(suite);
    return st;
}

/* ---- controls ---- */

static void control(atn_engine *e, bool at_end)
{
    if (e->o->control_races <= 0 || !e->judge->controls || !e->has_incumbent_built || engine_stopping(e) || e->abandoned) return;
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
    if (store_measurement_add(e->store, at_end ? "control_end" : "control", e->incumbent, e->incumbent, engine_now(e), json,
                              &err))
        e->disk_full = e->disk_full || store_full(e->store);
    free(json);
    char text[200] = "";
    if (c.aa_promoted > 0)
        snprintf(text, sizeof text, "this machine is noisy: a kernel raced against its own copy was called faster %d of %d times",
                 c.aa_promoted, c.aa_races);
    else if (c.plus_races > 0 && c.plus_promoted < c.plus_races)
        snprintf(text, sizeof text, "this machine is noisy: a known gain was seen only %d of %d times", c.plus_promoted,
                 c.plus_races);
    engine_emit(e, &(evolve_event){.type = EVOLVE_CONTROL, .controls = &c, .at_end = at_end, .text = text});
}

/* ---- the loop ---- */

static evolve_stop why_stop(const atn_engine *e)
{
    const evolve_options *o = e->o;
    if (engine_stopping(e)) return EVOLVE_STOP_INTERRUPTED;
    if (e->disk_full) return EVOLVE_STOP_DISK_FULL;
    if (!e->initial) return EVOLVE_STOP_NONE;
    if (o->iterations > 0 && e->counts.evolved >= o->iterations) return EVOLVE_STOP_ITERATIONS;
    if (o->minutes > 0 && engine_now(e) >= o->minutes * 60) return EVOLVE_STOP_MINUTES;
    if (o->target_speedup > 0 && e->incumbent_score.score >= log(o->target_speedup)) return EVOLVE_STOP_TARGET;
    if (o->plateau > 0 && !starting(e) && e->counts.since_best >= o->plateau) return EVOLVE_STOP_PLATEAU;
    return EVOLVE_STOP_NONE;
}

/* A failure of the world (not of a candidate) in the judge: another try may work, three in a row will not. */
static atn_status world_failed(atn_engine *e, engine_slot *s, atn_status st, const atn_error *why)
{
    if (++e->judge_failures >= 3 || !e->initial || e->store_failed) return st;
    engine_warn(e, "could not judge #%" PRId64 ": %s; trying again", s->made.id, why->text);
    return ATN_OK;
}

static atn_status evolve_loop(atn_engine *e, atn_error *err)
{
    bool announced = false, controlled = e->has_controls_start;
    e->serving = true;
    while ((e->stop = why_stop(e)) == EVOLVE_STOP_NONE) {
        bool idle = false;
        step_builds(e);
        atn_status st = e->service_status;
        if (st && err) *err = e->service_error;
        if (!st) st = fill(e, &idle, err);
        if (st) return st;
        engine_slot *s = ready_slot(e);
        if (s) {
            st = judge_slot(e, s, err);
            if (st == ATN_CANCELLED) continue;
            if (st && (st = world_failed(e, s, st, err))) return st;
            if (!st) e->judge_failures = s->state == SLOT_FREE ? 0 : e->judge_failures;
        } else if (idle) {
            e->stop = EVOLVE_STOP_EXHAUSTED;
            break;
        } else {
            wait_for_work(e, false, 200);
        }
        if (e->initial && !starting(e) && !announced) {
            if (!controlled) control(e, false);
            controlled = announced = true;
            engine_phase(e, "evolving");
        }
        tick(e);
    }
    return e->stop == EVOLVE_STOP_DISK_FULL
               ? atn_fail(err, ATN_IO, "the disk is full: everything recorded in '%s' before is safe; free some space and go on "
                          "with --resume", store_path(e->store))
               : ATN_OK;
}

static void engine_close(atn_engine *e)
{
    for (int i = 0; i < ENGINE_SLOTS; i++) slot_clear(e, &e->slot[i]);
    desk_close(e->desk, e->abandoned);
    if (e->abandoned) e->has_initial_built = e->has_incumbent_built = false;
    if (e->has_initial_built && !(e->has_incumbent_built && shares_initial(e)))
        e->judge->build_release(e->judge->ctx, &e->initial_built);
    if (e->has_incumbent_built) e->judge->build_release(e->judge->ctx, &e->incumbent_built);
    for (int i = 0; i < e->n_programs; i++) {
        forget(e->program[i]);
        free(e->program[i]->flags);
        free(e->program[i]);
    }
    free(e->program);
    free(e->by_id);
    store_proposals_free(e->start, e->n_start);
    archive_free(&e->archive);
    store_close(e->store);
}

atn_status evolve_run(const evolve_options *o, evolve_judge *j, evolve_result *r, atn_error *err)
{
    ATN_CHECK(o->suite && o->suite->count > 0 && o->initial_source);
    if (o->suite->count > ATN_CASES_MAX)
        return atn_fail(err, ATN_USAGE, "the suite has %d cases, at most %d are possible", o->suite->count, ATN_CASES_MAX);
    atn_engine *e = atn_alloc(sizeof *e);
    *r = (evolve_result){0};
    e->o = o;
    e->judge = j;
    e->clock_base = clock_s();
    suite_kinds_of(o->suite, &e->kinds);
    portfolio_init(&e->portfolio, o->suite, &e->kinds, o->threads);
    atn_status st = desk_open(&e->desk, err);
    if (!st) st = open_store(e, err);
    if (!st) st = archive_settings(e, o->resume, err);
    if (!st) st = o->resume ? restore(e, err) : start_programs(e, err);
    if (!st) {
        if (store_kept_aside(e->store)) engine_warn(e, "the earlier run is kept as %s", store_kept_aside(e->store));
        engine_emit(e, &(evolve_event){.type = EVOLVE_START, .resumed = o->resume});
        if (starting(e)) engine_phase(e, "judging the starting programs");
        st = evolve_loop(e, err);
        e->serving = false;
        if (st && e->stop == EVOLVE_STOP_NONE) e->stop = e->disk_full ? EVOLVE_STOP_DISK_FULL : EVOLVE_STOP_FAILED;
        e->t_stopped = engine_now(e);   /* what follows is not evolving, and a resumed run has not spent it */
        engine_emit(e, &(evolve_event){.type = EVOLVE_STOP, .stop = e->stop, .text = evolve_stop_text(e->stop)});
        for (int i = 0; i < ENGINE_SLOTS; i++) slot_clear(e, &e->slot[i]);   /* in the store, judged by the next --resume */
        if (!st) control(e, true);
        atn_error late = {0};
        atn_status made = result_make(e, r, &late);
        if (!st && made) {
            st = made;
            if (err) *err = late;
        }
    }
    engine_close(e);
    free(e);
    return st;
}

void evolve_result_free(evolve_result *r) { (void)r; }
