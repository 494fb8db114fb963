/* What goes on at this moment, for who watches a run: one row of the store ("now" in meta), and what each proposer
 * believes ("belief" among the measurements).
 *
 * Invariant: nothing of it is ever read back by the engine, so that a run with and without watchers is the same run.
 * Looked at four times a second at most (a controller of a thousand slots ticks far more often) and written only when
 * something changed; beliefs once in ten seconds; never in somebody's transaction. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "evolve/engine.h"
#include "evolve/record.h"

static const double NOW_S = 0.25, REFRESH_S = 5, BELIEF_S = 10;

void engine_now_at(atn_engine *e, int64_t id, const char *what)
{
    e->now.id = id;
    e->now.what = what;
    e->now.since = engine_now(e);
}

/* The stage of the candidate at the judge, as the judge says it; other calls are named by who makes them. */
static const char *stage_of(atn_engine *e)
{
    if (!e->now.what || strcmp(e->now.what, "candidate") != 0 || !e->judge->stage) return e->now.what;
    int stage = (int)e->judge->stage(e->judge->ctx);
    if (stage != e->now.stage) {
        e->now.stage = stage;
        e->now.stage_since = engine_now(e);
    }
    return stage >= 0 && stage < ATN_STAGE_COUNT ? stage_name((atn_stage)stage) : e->now.what;
}

/* Without what only time changes: two equal texts are one state. */
static json_t *state(atn_engine *e)
{
    json_t *o = json_object(), *builds = json_array(), *waiting = json_array();
    const char *stage = stage_of(e);
    if (stage) {
        bool staged = !strcmp(e->now.what, "candidate");
        double since = staged ? fmax(e->now.since, e->now.stage_since) : e->now.since;
        json_object_set_new(o, "judge",
                            json_pack("{s:I,s:s,s:f,s:f}", "id", (json_int_t)e->now.id, "stage", stage, "began",
                                      e->now.since, "since", since));
    }
    for (int i = 0; i < e->n_slots; i++) {
        const engine_slot *s = &e->slot[i];
        if (s->state == SLOT_BUILDING)
            json_array_append_new(builds, json_pack("{s:I,s:f}", "id", (json_int_t)s->made.id, "since",
                                                    engine_now(e) - (clock_s() - s->started)));
        if ((s->state == SLOT_BUILT || s->state == SLOT_KNOWN) && s->made.id != e->now.id)
            json_array_append_new(waiting, json_integer(s->made.id));
    }
    json_object_set_new(o, "builds", builds);
    json_object_set_new(o, "waiting", waiting);
    json_object_set_new(o, "builders", json_integer(engine_build_jobs(e)));
    json_object_set_new(o, "judged", json_integer(e->counts.judged));
    return o;
}

bool engine_now_due(const atn_engine *e)
{
    return e->store && !e->disk_full && clock_s() >= e->now.looked + NOW_S;
}

void engine_now_write(atn_engine *e, const evolve_event *ev)
{
    if (!engine_now_due(e)) return;
    double clock = e->now.looked = clock_s();
    json_t *o = state(e);
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(4) | JSON_SORT_KEYS);
    uint64_t h = text ? hash_bytes(text, strlen(text)) : 0;
    free(text);
    if (h == e->now.hash && clock < e->now.written + REFRESH_S) {
        json_decref(o);
        return;
    }
    e->now.hash = h;
    e->now.written = clock;
    json_object_set_new(o, "t", json_real(engine_now(e)));
    json_object_set_new(o, "per_minute", json_real(ev->counts.per_minute));
    json_object_set_new(o, "done", json_real(ev->done));
    if (ev->seconds_left >= 0) json_object_set_new(o, "seconds_left", json_real(ev->seconds_left));
    if (e->phase[0]) json_object_set_new(o, "phase", record_text(e->phase));
    text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6));
    if (text && store_meta_set(e->store, "now", text, NULL)) e->disk_full = e->disk_full || store_full(e->store);
    free(text);
    json_decref(o);
}

void engine_beliefs_write(atn_engine *e, bool at_once)
{
    double clock = clock_s();
    if (!e->store || e->disk_full || (!at_once && clock < e->now.believed + BELIEF_S)) return;
    e->now.believed = clock;
    for (int i = 0; i < e->o->n_proposers; i++) {
        atn_proposer *p = e->o->proposers[i];
        char *text = p->tell ? p->tell(p) : NULL;
        uint64_t h = text ? hash_bytes(text, strlen(text)) : 0;
        if (text && h != e->now.belief[i] && store_measurement_add(e->store, "belief", 0, 0, engine_now(e), text, NULL))
            e->disk_full = e->disk_full || store_full(e->store);
        e->now.belief[i] = h;
        free(text);
    }
}
