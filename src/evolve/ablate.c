/* The winner's diff taken apart: every edit of its lineage is taken back alone and raced against the winner, which tells
 * what that edit is worth now, with an interval. Edits that are worth nothing are left out of the result.
 *
 * An edit is a hunk of the difference between a program and its parent; steps that only set knobs are not taken apart,
 * because the search has raced them already. Invariant: what is returned was built, is right by the full suite, and is
 * not slower than the winner as far as a race can tell. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "evolve/engine.h"
#include "evolve/knobs.h"
#include "evolve/propose/answer.h"
#include "evolve/record.h"

static const double PAYS = 0.003, WORTH_NOTHING = 0.02, NOT_SLOWER = -0.015, RACE_S = 3, LAST_RACE_S = 8;
enum { PAIRS = 32, LAST_PAIRS = 128 };

const char *evolve_fate_word(evolve_fate f)
{
    static const char *const words[] = {"paid", "needed", "nothing", "open", "same"};
    return words[f];
}

/* Object code of one text, held while it is compared. */
typedef struct {
    char *source;
    build_result built;
    bool has_built;
} version;

static void version_clear(atn_engine *e, version *v)
{
    if (v->has_built && !e->abandoned) e->judge->build_release(e->judge->ctx, &v->built);
    free(v->source);
    *v = (version){0};
}

static bool over(const atn_engine *e, double until)
{
    return engine_stopping(e) || e->abandoned || e->disk_full || clock_s() > until;
}

/* The first line that the edit brought, or took away, in words. */
static void name_edit(const char *hunk, char out[160])
{
    const char *best = NULL;
    for (const char *line = hunk; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t blanks = strspn(line + 1, " \t");
        bool empty = !line[1 + blanks] || line[1 + blanks] == '\n';
        /* The hunk leads back: what it removes is what the edit had brought. */
        if (*line == '-' && !empty) {
            best = line;
            break;
        }
        if (*line == '+' && !empty && !best) best = line;
    }
    out[0] = 0;
    if (!best) return;
    size_t n = strcspn(best + 1, "\n"), blanks = strspn(best + 1, " \t");
    snprintf(out, 160, "%s%.*s", *best == '+' ? "without " : "", (int)ATN_MIN(n - blanks, 140), best + 1 + blanks);
}

static double race(atn_engine *e, const build_result *a, const build_result *b, bool last, evolve_interval *out,
                   double *high)
{
    atn_verdict v;
    memset(&v, 0, sizeof v);
    int pairs = last ? LAST_PAIRS : PAIRS;
    atn_status st = engine_compare(e, a, b, pairs, false, false, last ? LAST_RACE_S : RACE_S, &v, NULL);
    if (st || e->abandoned || v.n_cases == 0 || !v.correct) return NAN;
    *out = (evolve_interval){exp(v.suite_log), exp(v.suite_low), exp(v.suite_high)};
    *high = v.suite_high;
    return v.suite_low;
}

/* What the program is without this edit: *without is it, where it may replace the present one. */
static void judge_edit(atn_engine *e, const engine_program *winner, const version *now, evolve_edit *out,
                       version *without)
{
    atn_error err = {0};
    out->fate = EVOLVE_FATE_NEEDED;
    if (!engine_build_source(e, without->source, winner->flags, &without->built, &err)) return;
    without->has_built = true;
    if (!strcmp(without->built.object_hash, now->built.object_hash)) {
        out->fate = EVOLVE_FATE_SAME;
        return;
    }
    atn_verdict v;
    memset(&v, 0, sizeof v);
    if (engine_candidate(e, &without->built, NULL, ATN_STAGE_FULL, &v, &err) || e->abandoned || !v.correct) return;
    double high = NAN, low = race(e, &now->built, &without->built, false, &out->gain, &high);
    out->fate = low > PAYS ? EVOLVE_FATE_PAID : EVOLVE_FATE_OPEN;
    if (!(low > PAYS) && high < WORTH_NOTHING) out->fate = EVOLVE_FATE_NOTHING;
}

static void keep(atn_engine *e, const engine_program *winner, const evolve_edit *x)
{
    json_t *o =
        json_pack("{s:I, s:s, s:b, s:o, s:o, s:o, s:o}", "step", (json_int_t)x->program, "fate",
                  evolve_fate_word(x->fate), "removed", x->removed, "what", record_text(x->what), "median",
                  record_real(x->gain.median), "low", record_real(x->gain.low), "high", record_real(x->gain.high));
    char *json = record_dump(o);
    if (store_measurement_add(e->store, "ablation", winner->id, x->program, engine_now(e), json, NULL))
        e->disk_full = e->disk_full || store_full(e->store);
    free(json);
}

/* The next "@@" of a diff behind `from`; NULL: none. */
static const char *next_hunk(const char *from)
{
    const char *p = text_starts(from, "@@ ") ? from : strstr(from, "\n@@ ");
    return p && *p == '\n' ? p + 1 : p;
}

/* Whether two sources differ in more than knobs; either may be NULL: no. */
static bool changes_code(const char *after, const char *before)
{
    char family[2][33];
    if (!after || !before) return false;
    knobs_family_hash(after, family[0]);
    knobs_family_hash(before, family[1]);
    return strcmp(family[0], family[1]) != 0;
}

/* Tries each hunk of one step, the last first, on `now`. */
static void take_apart(atn_engine *e, const engine_program *winner, engine_program *child, engine_program *parent,
                       double until, version *now, evolve_result *r)
{
    const char *after = engine_source(e, child), *before = engine_source(e, parent);
    if (!changes_code(after, before)) return;
    char *back = program_diff(after, before, "now", "before");
    const char *hunk = next_hunk(back);
    int hunks = 0, needed = 0;
    while (hunk && r->n_edits < EVOLVE_EDITS_MAX && !over(e, until)) {
        bool whole = hunk == back;
        const char *end = whole ? NULL : next_hunk(hunk + 3);
        char *text = end ? atn_format("%.*s", (int)(end - hunk), hunk) : atn_strdup(hunk);
        answer_program a;
        version without = {0};
        if (answer_apply(text, now->source, NULL, &a)) { /* else a later step has changed it again */
            evolve_edit *x = &r->edits[r->n_edits];
            *x = (evolve_edit){.program = child->id};
            if (whole) snprintf(x->what, sizeof x->what, "all of it: %.140s", child->note);
            else name_edit(text, x->what);
            without.source = a.source;
            judge_edit(e, winner, now, x, &without);
            if (!e->abandoned && !engine_stopping(e)) {
                x->removed = x->fate == EVOLVE_FATE_NOTHING;
                r->n_edits++;
                hunks++;
                needed += x->fate == EVOLVE_FATE_NEEDED;
                if (x->removed) {
                    version_clear(e, now);
                    *now = without;
                    without = (version){0};
                }
            }
        }
        version_clear(e, &without);
        free(text);
        hunk = end;
        /* Edits that cannot be taken back one by one belong together: the whole step then. */
        if (!hunk && !whole && hunks > 1 && needed == hunks) hunk = back;
        if (whole) break;
    }
    free(back);
}

char *ablate_winner(atn_engine *e, engine_program *winner, double seconds, evolve_result *r)
{
    double until = clock_s() + seconds;
    version now = {0}, whole = {0};
    bool removed = false;
    char *result = NULL;
    const char *source = engine_source(e, winner);
    if (!source || r->n_lineage < 2 || over(e, until)) return NULL;
    bool code = false; /* was there a step that changed more than knobs? */
    for (int i = 0; i + 1 < r->n_lineage && !code; i++)
        code = changes_code(engine_source(e, engine_find(e, r->lineage[i].id)),
                            engine_source(e, engine_find(e, r->lineage[i + 1].id)));
    if (!code) return NULL;
    engine_phase(e, "which edits paid");
    now.source = atn_strdup(source);
    now.has_built = engine_build(e, winner, &now.built, NULL);
    for (int i = 0; now.has_built && i + 1 < r->n_lineage && !over(e, until); i++)
        take_apart(e, winner, engine_find(e, r->lineage[i].id), engine_find(e, r->lineage[i + 1].id), until, &now, r);
    for (int i = 0; i < r->n_edits; i++) removed |= r->edits[i].removed;
    if (removed && !engine_stopping(e) && !e->abandoned) {
        /* All removals together, once more against the winner itself. */
        evolve_interval all;
        double high, low;
        whole.has_built = engine_build(e, winner, &whole.built, NULL);
        low = whole.has_built ? race(e, &now.built, &whole.built, true, &all, &high) : NAN;
        if (low > NOT_SLOWER) result = atn_strdup(now.source);
    }
    if (removed && !result)
        for (int i = 0; i < r->n_edits; i++) r->edits[i].removed = false;
    for (int i = 0; i < r->n_edits; i++) keep(e, winner, &r->edits[i]);
    version_clear(e, &now);
    version_clear(e, &whole);
    return result;
}
