/* Verdicts, controls and events as JSON. A verdict read back equals the one written, bit for bit:
 * replay depends on it. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evolve/evolve.h"
#include "evolve/record.h"

json_t *record_real(double x)
{
    if (isnan(x)) return json_string("nan");
    if (isinf(x)) return json_string(x > 0 ? "inf" : "-inf");
    return json_real(x);
}

/* Text of candidates may be cut inside a UTF-8 sequence, which JSON may not hold. */
json_t *record_text(const char *s)
{
    json_t *j = json_string(s ? s : "");
    if (j) return j;
    char *copy = atn_strdup(s);
    for (char *p = copy; *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    j = json_string(copy);
    free(copy);
    return j;
}

char *record_dump(json_t *j)
{
    char *s = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(17));
    ATN_CHECK(s);
    json_decref(j);
    return s;
}

static double real_from(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_string(v)) return json_number_value(v);
    const char *s = json_string_value(v);
    return !strcmp(s, "inf") ? (double)INFINITY : !strcmp(s, "-inf") ? -(double)INFINITY : (double)NAN;
}

static void text_from(const json_t *o, const char *key, char *out, size_t room)
{
    const char *s = json_string_value(json_object_get(o, key));
    size_t n = s ? strlen(s) : 0;
    if (n >= room) n = room - 1;
    if (n) memcpy(out, s, n);
    out[n] = 0;
}

/* name, kind: B bool, I integer, R real, T text */
#define VERDICT_FIELDS(X)                                                                                              \
    X(correct, B)                                                                                                      \
    X(promoted, B) X(evidence, T) X(reproduce, T) X(error, R) X(error_of_tolerance, R) X(checks, I)                    \
        X(checks_passed, I) X(stability, I) X(stability_passed, I) X(robustness, I) X(robustness_passed, I)            \
            X(refused, I) X(workspace_bytes, I) X(suite_log, R) X(suite_low, R) X(suite_high, R) X(seconds_build, R)   \
                X(seconds_check, R) X(seconds_race, R) X(late_cpu_us, R)
#define CASE_FIELDS(X)                                                                                                 \
    X(case_index, I)                                                                                                   \
    X(log_ratio, R) X(log_low, R) X(log_high, R) X(pairs, I) X(ns_min, R) X(incumbent_ns_min, R) X(error, R)           \
        X(workspace_bytes, I)

#define PUT_B(x) json_boolean(x)
#define PUT_I(x) json_integer(x)
#define PUT_R(x) record_real(x)
#define PUT_T(x) record_text(x)
#define GET_B(o, key, x) x = json_is_true(json_object_get(o, key))
#define GET_I(o, key, x) x = json_integer_value(json_object_get(o, key))
#define GET_R(o, key, x) x = real_from(o, key)
#define GET_T(o, key, x) text_from(o, key, x, sizeof x)

char *verdict_json(const atn_verdict *v)
{
    json_t *o = json_object(), *cases = json_array();
    json_object_set_new(o, "stage", json_string(stage_name(v->stage)));
    json_object_set_new(o, "reason", json_string(reason_word(v->reason)));
#define ATN_X(name, kind) json_object_set_new(o, #name, PUT_##kind(v->name));
    VERDICT_FIELDS(ATN_X)
#undef ATN_X
    for (int i = 0; i < v->n_cases; i++) {
        const atn_case_result *r = &v->cases[i];
        json_t *c = json_object();
#define ATN_X(name, kind) json_object_set_new(c, #name, PUT_##kind(r->name));
        CASE_FIELDS(ATN_X)
#undef ATN_X
        json_array_append_new(cases, c);
    }
    json_object_set_new(o, "cases", cases);
    return record_dump(o);
}

atn_status verdict_from_json(const char *json, atn_verdict *v, atn_error *err)
{
    memset(v, 0, sizeof *v);
    json_error_t e;
    json_t *o = json_loads(json ? json : "", 0, &e);
    if (!json_is_object(o)) {
        json_decref(o);
        return atn_fail(err, ATN_FORMAT, "a recorded verdict cannot be read: %s", e.text);
    }
    const char *stage = json_string_value(json_object_get(o, "stage"));
    const char *reason = json_string_value(json_object_get(o, "reason"));
    int s = 0, r = 0;
    while (s < ATN_STAGE_COUNT && (!stage || strcmp(stage, stage_name((atn_stage)s)))) s++;
    while (r < ATN_REASON_COUNT && (!reason || strcmp(reason, reason_word((atn_reason)r)))) r++;
    const json_t *cases = json_object_get(o, "cases");
    if (s == ATN_STAGE_COUNT || r == ATN_REASON_COUNT || json_array_size(cases) > ATN_CASES_MAX) {
        atn_fail(err, ATN_FORMAT, "a recorded verdict has stage '%s', reason '%s', which this attune does not know",
                 stage ? stage : "", reason ? reason : "");
        json_decref(o);
        return ATN_FORMAT;
    }
    v->stage = (atn_stage)s;
    v->reason = (atn_reason)r;
#define ATN_X(name, kind) GET_##kind(o, #name, v->name);
    VERDICT_FIELDS(ATN_X)
#undef ATN_X
    v->n_cases = (int)json_array_size(cases);
    for (int i = 0; i < v->n_cases; i++) {
        const json_t *c = json_array_get(cases, (size_t)i);
        atn_case_result *x = &v->cases[i];
#define ATN_X(name, kind) GET_##kind(c, #name, x->name);
        CASE_FIELDS(ATN_X)
#undef ATN_X
    }
    json_decref(o);
    return ATN_OK;
}

static json_t *controls_object(const atn_controls *c)
{
    return json_pack("{s:i,s:i,s:i,s:i,s:o,s:o}", "aa_races", c->aa_races, "aa_promoted", c->aa_promoted, "plus_races",
                     c->plus_races, "plus_promoted", c->plus_promoted, "aa_spread", record_real(c->aa_spread),
                     "can_see_percent", record_real(c->can_see_percent));
}

char *controls_json(const atn_controls *c)
{
    return record_dump(controls_object(c));
}

bool controls_from_json(const char *json, atn_controls *c)
{
    json_t *o = json_loads(json ? json : "", 0, NULL);
    *c = (atn_controls){0};
    if (!o) return false;
    c->aa_races = (int)json_integer_value(json_object_get(o, "aa_races"));
    c->aa_promoted = (int)json_integer_value(json_object_get(o, "aa_promoted"));
    c->plus_races = (int)json_integer_value(json_object_get(o, "plus_races"));
    c->plus_promoted = (int)json_integer_value(json_object_get(o, "plus_promoted"));
    c->aa_spread = real_from(o, "aa_spread");
    c->can_see_percent = real_from(o, "can_see_percent");
    json_decref(o);
    return true;
}

/* ---- events ---- */

static const char *const event_words[EVOLVE_EVENT_COUNT] = {
#define ATN_X(name, word) word,
    EVOLVE_EVENT_LIST(ATN_X)
#undef ATN_X
};
const char *evolve_event_word(evolve_event_type t)
{
    return t < EVOLVE_EVENT_COUNT ? event_words[t] : "?";
}

static const char *const stop_words[EVOLVE_STOP_COUNT][2] = {
#define ATN_X(name, word, text) {word, text},
    EVOLVE_STOP_LIST(ATN_X)
#undef ATN_X
};
const char *evolve_stop_word(evolve_stop s)
{
    return s < EVOLVE_STOP_COUNT ? stop_words[s][0] : "?";
}
const char *evolve_stop_text(evolve_stop s)
{
    return s < EVOLVE_STOP_COUNT ? stop_words[s][1] : "?";
}

static json_t *program_object(const store_program *p)
{
    json_t *o = json_pack("{s:I,s:I,s:i,s:i,s:I,s:I}", "id", (json_int_t)p->made.id, "seq", (json_int_t)p->seq,
                          "generation", p->generation, "island", p->made.island, "parent", (json_int_t)p->made.parent1,
                          "parent2", (json_int_t)p->made.parent2);
    json_object_set_new(o, "origin", record_text(p->made.origin));
    json_object_set_new(o, "note", record_text(p->made.note));
    json_object_set_new(o, "state", record_text(p->state));
    json_object_set_new(o, "stage", record_text(p->stage));
    json_object_set_new(o, "reason", record_text(p->reason));
    json_object_set_new(o, "valid", json_boolean(p->correct));
    json_object_set_new(o, "screened", json_boolean(p->screened));
    if (p->same_as) json_object_set_new(o, "same_as", json_integer(p->same_as));
    if (isfinite(p->score)) {
        json_object_set_new(o, "speedup",
                            json_pack("{s:f,s:f,s:f}", "median", exp(p->score), "low", exp(p->score_low), "high",
                                      exp(p->score_high)));
        json_object_set_new(o, "cell", record_text(p->cell));
    } else {
        json_object_set_new(o, "evidence", record_text(p->evidence));
        json_object_set_new(o, "reproduce", record_text(p->reproduce));
    }
    return o;
}

char *evolve_event_json(const evolve_event *e)
{
    json_t *o = json_pack("{s:s,s:f}", "event", evolve_event_word(e->type), "t", e->t);
    json_object_set_new(o, "judged", json_integer(e->counts.judged));
    json_object_set_new(o, "failed", json_integer(e->counts.failed));
    json_object_set_new(o, "per_minute", record_real(e->counts.per_minute));
    json_object_set_new(o, "done", record_real(e->done));
    if (e->seconds_left >= 0) json_object_set_new(o, "seconds_left", record_real(e->seconds_left));
    if (e->best) {
        json_object_set_new(o, "best", json_integer(e->best));
        json_object_set_new(o, "best_speedup",
                            json_pack("{s:f,s:f,s:f}", "median", e->best_speedup, "low", e->best_low, "high",
                                      e->best_high));
    }
    if (e->text && *e->text) json_object_set_new(o, "text", record_text(e->text));
    if (e->type == EVOLVE_START) json_object_set_new(o, "resumed", json_boolean(e->resumed));
    if (e->type == EVOLVE_MIGRATION) {
        json_object_set_new(o, "from", json_integer(e->from_island));
        json_object_set_new(o, "to", json_integer(e->to_island));
    }
    if (e->type == EVOLVE_STOP) json_object_set_new(o, "stop", json_string(evolve_stop_word(e->stop)));
    if (e->controls) {
        json_object_set_new(o, "controls", controls_object(e->controls));
        json_object_set_new(o, "at_end", json_boolean(e->at_end));
    }
    if (e->program) json_object_set_new(o, "program", program_object(e->program));
    if (e->result) {
        json_object_set_new(o, "best_path", record_text(e->result->best_path));
        json_object_set_new(o, "info_path", record_text(e->result->info_path));
    }
    return record_dump(o);
}
