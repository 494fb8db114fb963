/* What to ask: operator, parent, model; and the question, on disk before it is asked. */
#include "evolve/propose/mind_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *mind_record_of(const mind *m, const mind_question *q)
{
    return json_pack("{s:s, s:I, s:s, s:i, s:i, s:s}", "proposer", m->name, "number", (json_int_t)q->number, "op",
                     mind_op_word[q->op], "island", q->island, "repairs", q->repairs, "flags", q->flags);
}

void mind_keep(mind *m, const char *kind, const mind_question *q, json_t *o)
{
    char *json = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    atn_error err = {0};
    if (m->host.store &&
        store_measurement_add(m->host.store, kind, q->parents[0], q->parents[1], m->host.now(m->host.ctx), json, &err))
        m->host.warn(m->host.ctx, err.text);
    free(json);
    json_decref(o);
}

void mind_keep_text(mind *m, json_t *o, const char *key, const char *text)
{
    char sha[33];
    if (m->host.store && !store_blob_add(m->host.store, text, sha, NULL)) json_object_set_new(o, key, json_string(sha));
}

static int64_t children(const mind *m, int64_t id)
{
    return id >= 0 && id < m->n_children ? m->children_of[id] : 0;
}

void mind_count_child(mind *m, int64_t id)
{
    if (id <= 0) return;
    if (id >= m->n_children) {
        int64_t n = ATN_MAX(64, 2 * id);
        m->children_of = atn_realloc(m->children_of, sizeof *m->children_of * (size_t)n);
        memset(m->children_of + m->n_children, 0, sizeof *m->children_of * (size_t)(n - m->n_children));
        m->n_children = n;
    }
    m->children_of[id]++;
}

mind_question *mind_make_question(mind *m, mind_operator op, const atn_program_view *parent,
                                  const atn_program_view *second, const atn_propose_context *c, int model, int island,
                                  int repairs, const char *problem)
{
    mind_question *q = atn_alloc(sizeof *q);
    *q = (mind_question){.number = ++m->asked,
                         .island = island,
                         .model = model,
                         .repairs = repairs,
                         .op = op,
                         .nth = children(m, parent->id),
                         .parents = {parent->id, second ? second->id : 0},
                         .source = atn_strdup(parent->source),
                         .flags = atn_strdup(parent->flags ? parent->flags : "")};
    mind_brief(m, q, parent, second, c, problem);
    if (op <= MIND_CROSS) mind_count_child(m, parent->id);
    return q;
}

/* Written down when it is handed out and not before: one that waited when a run was killed was never asked. */
static mind_question *hand_out(mind *m, mind_question *q)
{
    json_t *o = mind_record_of(m, q);
    mind_keep_text(m, o, "system", q->system);
    mind_keep_text(m, o, "prompt", q->prompt);
    mind_keep_text(m, o, "on", q->source);
    if (q->model >= 0) json_object_set_new(o, "model", json_string(m->model_name[q->model]));
    mind_keep(m, "question", q, o);
    return q;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Good ones more often, and those that were not asked for much yet: sigmoid((score - median) / MAD) / (1 + children);
 * the longer the search stands still, the less the score counts. The best of all islands is among them: many questions
 * may be asked before the engine turns to the next island. */
static const atn_program_view *pick_parent(const mind *m, const atn_propose_context *c, atn_rng *rng, int64_t not_this)
{
    const atn_program_view *from[257];
    double sorted[257], weight[257], sum = 0, steep = 3.0 / (1 + mind_stalled(m));
    int n = 0;
    bool has_best = false;
    for (int i = 0; i < ATN_MIN(c->n_elites, 256); i++) {
        from[n++] = &c->elites[i];
        has_best |= c->best && c->elites[i].id == c->best->id;
    }
    if (!n) return c->incumbent && c->incumbent->source && c->incumbent->verdict ? c->incumbent : NULL;
    if (c->best && !has_best && c->best->source && c->best->verdict) from[n++] = c->best;
    for (int i = 0; i < n; i++) sorted[i] = from[i]->score;
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    double median = sorted[n / 2];
    for (int i = 0; i < n; i++) sorted[i] = fabs(sorted[i] - median);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    double mad = fmax(sorted[n / 2], 0.01);
    for (int i = 0; i < n; i++) {
        double s = fmin(30, fmax(-30, steep * (from[i]->score - median) / mad));
        weight[i] = from[i]->id == not_this ? 0 : 1 / (1 + exp(-s)) / (1 + (double)children(m, from[i]->id));
        sum += weight[i];
    }
    if (!(sum > 0)) return NULL;
    double u = rng_f64(rng) * sum;
    for (int i = 0; i < n; i++)
        if ((u -= weight[i]) < 0) return from[i];
    return from[0];
}

/* A wrong answer whose repair was not asked for yet. */
static mind_memory *pick_broken(mind *m)
{
    for (int i = m->n_past - 1; i >= 0 && i >= m->n_past - 40; i--) {
        mind_memory *x = &m->past[i];
        if (x->asked && !x->correct && !x->fixed && mind_repairable(x->reason)) return x;
    }
    return NULL;
}

static mind_question *ask_fix(mind *m, mind_memory *x, const atn_propose_context *c, int model)
{
    store_program row;
    if (!m->host.store || store_program_get(m->host.store, x->id, &row, NULL)) return NULL;
    atn_verdict *v = atn_alloc(sizeof *v);
    v->reason = x->reason;
    v->stage = ATN_STAGE_BUILD;
    for (int s = 0; s < ATN_STAGE_COUNT; s++)
        if (!strcmp(stage_name((atn_stage)s), row.stage)) v->stage = (atn_stage)s;
    snprintf(v->evidence, sizeof v->evidence, "%s", row.evidence);
    atn_program_view view = {.id = x->id,
                             .parent = x->parent,
                             .island = row.made.island,
                             .source = row.made.source,
                             .flags = row.made.flags,
                             .origin = row.made.origin,
                             .verdict = v,
                             .score = -INFINITY};
    mind_question *q =
        row.made.source ? mind_make_question(m, MIND_FIX, &view, NULL, c, model, c->island, 0, NULL) : NULL;
    x->fixed = true;
    free(v);
    store_program_clear(&row);
    return q;
}

mind_question *mind_ask(mind *m, const atn_propose_context *c, atn_rng *rng, const bool *able)
{
    const atn_program_view *parent = pick_parent(m, c, rng, 0);
    if (!parent) return NULL;
    int model = m->models.n ? bandit_pick(&m->models, able, rng) : -1;
    if (m->models.n && model < 0) return NULL;
    const atn_program_view *second = c->n_elites > 0 ? pick_parent(m, c, rng, parent->id) : NULL;
    mind_memory *broken = pick_broken(m);
    bool ops[MIND_OPERATORS] = {m->ops.arm[MIND_DIFF].prior > 0, m->ops.arm[MIND_FULL].prior > 0, second != NULL,
                                broken != NULL};
    bool others[MIND_OPERATORS] = {[MIND_FULL] = ops[MIND_FULL], [MIND_CROSS] = ops[MIND_CROSS]};
    bool turn = mind_stalled(m) && (others[MIND_FULL] || others[MIND_CROSS]) && rng_f64(rng) < 0.5;
    mind_operator op = (mind_operator)bandit_pick(&m->ops, turn ? others : ops, rng);
    if (op == MIND_FIX) {
        mind_question *q = ask_fix(m, broken, c, model);
        if (q) return hand_out(m, q);
        op = MIND_DIFF;
    }
    return hand_out(
        m, mind_make_question(m, op, parent, op == MIND_CROSS ? second : NULL, c, model, c->island, 0, NULL));
}

mind_question *mind_review(mind *m)
{
    return m->n_reviews ? hand_out(m, m->reviews[--m->n_reviews]) : NULL; /* the newest: older ones lose their point */
}

void mind_add_repair(mind *m, mind_question *q)
{
    m->repairs = atn_realloc(m->repairs, sizeof *m->repairs * (size_t)(m->n_repairs + 1));
    m->repairs[m->n_repairs++] = q;
}

mind_question *mind_repair(mind *m)
{
    if (!m->n_repairs) return NULL;
    mind_question *q = m->repairs[0];
    memmove(m->repairs, m->repairs + 1, sizeof *m->repairs * (size_t)--m->n_repairs);
    return hand_out(m, q);
}
