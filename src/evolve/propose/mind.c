/* The life and memory of a mind: what was judged, what was asked before a restart, what is on its way. Everything that
 * is paid for goes to disk before it is looked at. */
#include "evolve/propose/mind_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "evolve/knobs.h"

enum { REVIEWS_MAX = 4 /* that wait: an opinion on an old program is not worth its price */ };

const char *const mind_op_word[MIND_OPERATORS + 1] = {"diff", "full", "cross", "fix", "review"};

/* ---- life ---- */

atn_status mind_create(const char *proposer, const atn_config *c, mind **out, atn_error *err)
{
    mind *m = atn_alloc(sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", proposer);
    m->lessons_written = m->best = -INFINITY;
    m->config = c;
    m->templates = config_text(c, "prompt.template_dir") ? atn_strdup(config_text(c, "prompt.template_dir")) : NULL;
    m->reviewing = config_bool(c, "evaluator.use_llm_feedback") && !strcmp(proposer, "llm");
    bool diff = config_bool(c, "diff_based_evolution"), full = config_bool(c, "allow_full_rewrites");
    static const double prior[MIND_OPERATORS] = {0.6, 0.3, 0.1, 0.15};
    m->ops.n = MIND_OPERATORS;
    for (int i = 0; i < MIND_OPERATORS; i++) m->ops.arm[i].prior = prior[i];
    if (!diff) m->ops.arm[MIND_DIFF].prior = 0;
    if (diff && !full) m->ops.arm[MIND_FULL].prior = 0.1;
    static const char *const needed[] = {"system",       "task",        "task_diff",   "task_full",
                                         "task_cross",   "task_fix",    "task_repair", "task_review",
                                         "task_stalled", "format_diff", "format_full"};
    atn_status st = ATN_OK;
    if (m->templates && !file_exists(m->templates))
        st = atn_fail(err, ATN_NOT_FOUND, "%s: there is no folder '%s'", config_where(c, "prompt.template_dir", -1),
                      m->templates);
    for (int i = 0; i < ATN_COUNT(needed) && !st; i++) {
        char *text = NULL;
        st = prompt_template(m->templates, needed[i], &text, err);
        free(text);
    }
    if (st) {
        mind_free(m);
        return st;
    }
    *out = m;
    return ATN_OK;
}

static void ready_clear(mind_ready_program *r)
{
    free(r->p.source);
    free(r->p.flags);
}

void mind_question_free(mind_question *q)
{
    if (!q) return;
    free(q->source);
    free(q->flags);
    free(q->system);
    free(q->prompt);
    free(q);
}

void mind_free(mind *m)
{
    if (!m) return;
    for (int i = 0; i < m->n_ready; i++) ready_clear(&m->ready[i]);
    for (int i = 0; i < m->n_repairs; i++) mind_question_free(m->repairs[i]);
    for (int i = 0; i < m->n_reviews; i++) mind_question_free(m->reviews[i]);
    free(m->reviews);
    free(m->ready);
    free(m->repairs);
    free(m->pending);
    free(m->past);
    free(m->children_of);
    free(m->fixed);
    free(m->templates);
    free(m->contract);
    free(m->vectors);
    free(m);
}

void mind_models(mind *m, const mind_model *models, int n)
{
    m->models.n = ATN_MIN(n, MIND_MODELS);
    for (int i = 0; i < m->models.n; i++) {
        snprintf(m->model_name[i], sizeof m->model_name[i], "%s", models[i].name);
        m->model_system[i] = models[i].system;
        m->models.arm[i].prior = models[i].weight;
    }
}

const propose_host *mind_host(const mind *m)
{
    return &m->host;
}
int mind_ready(const mind *m)
{
    return m->n_ready;
}
int mind_repairs(const mind *m)
{
    return m->n_repairs;
}
mind_spend mind_spent(const mind *m, int model)
{
    return model < 0 ? m->spent : m->spent_by[model];
}
int64_t mind_asked(const mind *m)
{
    return m->asked;
}
void mind_number_from(mind *m, int64_t last)
{
    m->asked = ATN_MAX(m->asked, last);
}

/* ---- memory ---- */

const mind_memory *mind_recall(const mind *m, int64_t id)
{
    for (int i = m->n_past - 1; i >= 0 && id > 0; i--)
        if (m->past[i].id == id) return &m->past[i];
    return NULL;
}

void mind_add_ready(mind *m, char *source, const char *flags, const mind_question *q, const char *note)
{
    m->ready = atn_realloc(m->ready, sizeof *m->ready * (size_t)(m->n_ready + 1));
    mind_ready_program *r = &m->ready[m->n_ready++];
    *r = (mind_ready_program){.p = {.source = source, .flags = atn_strdup(flags ? flags : "")},
                              .of = {.hash = hash_bytes(source, strlen(source)),
                                     .number = q->number,
                                     .model = q->model,
                                     .repairs = q->repairs,
                                     .island = q->island,
                                     .op = q->op}};
    r->p.parents[0] = q->parents[0];
    r->p.parents[1] = q->parents[1];
    snprintf(r->p.origin, sizeof r->p.origin, "%s/%s%s", m->name, mind_op_word[q->op], q->repairs ? "-repair" : "");
    const char *model = q->model >= 0 ? m->model_name[q->model] : "";
    snprintf(r->p.note, sizeof r->p.note, "%s%s%s", model, *model ? ": " : "", note);
}

static bool is_proposed(atn_store *s, const char *sha, const store_program *list, int n, const store_proposal *open,
                        int n_open)
{
    (void)s;
    for (int i = 0; i < n; i++)
        if (!strcmp(list[i].made.sha, sha)) return true;
    for (int i = 0; i < n_open; i++)
        if (!strcmp(open[i].sha, sha)) return true;
    return false;
}

const char *mind_text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* A session before asked for a fix of that program: it is not asked for again. */
static void note_fixed(mind *m, int64_t id)
{
    m->fixed = atn_realloc(m->fixed, sizeof *m->fixed * (size_t)(m->n_fixed + 1));
    m->fixed[m->n_fixed++] = id;
}

/* The model of that name as an index; -1: none of ours. */
static int model_named(const mind *m, const char *name)
{
    for (int i = 0; i < m->models.n; i++)
        if (!strcmp(m->model_name[i], name)) return i;
    return -1;
}

void mind_spend_add(mind *m, int model, const mind_spend *x)
{
    m->spent.usd += x->usd;
    m->spent.tokens += x->tokens;
    if (model < 0 || model >= m->models.n) return;
    m->spent_by[model].usd += x->usd;
    m->spent_by[model].tokens += x->tokens;
}

/* Questions that went out in sessions before and have no answer on record: who knows what they cost? The most they
 * could. */
static void resume_sent(mind *m, const json_t *answered)
{
    store_measurement *list;
    int n;
    if (store_measurements(m->host.store, "sent", &list, &n, NULL)) return;
    for (int i = 0; i < n; i++) {
        json_t *o = json_loads(list[i].json, 0, NULL);
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(json_object_get(o, "number")));
        mind_spend most = {json_number_value(json_object_get(o, "usd")),
                           json_integer_value(json_object_get(o, "tokens"))};
        if (!strcmp(mind_text_of(o, "proposer"), m->name) && !json_object_get(answered, number))
            mind_spend_add(m, model_named(m, mind_text_of(o, "model")), &most);
        json_decref(o);
    }
    store_measurements_free(list, n);
}

/* Answers of sessions before: what they cost, and those that were paid and not used. */
static void resume_answers(mind *m)
{
    atn_store *s = m->host.store;
    store_measurement *list;
    store_program *programs = NULL;
    store_proposal *open = NULL;
    int n, n_programs = 0, n_open = 0;
    json_t *answered = json_object(); /* numbers of questions */
    if (!s || store_measurements(s, "answer", &list, &n, NULL)) {
        json_decref(answered);
        return;
    }
    if (n) store_programs(s, 0, false, &programs, &n_programs, NULL), store_proposals_open(s, &open, &n_open, NULL);
    for (int i = 0; i < n; i++) {
        json_t *o = json_loads(list[i].json, 0, NULL);
        const char *sha = mind_text_of(o, "source");
        if (!strcmp(mind_text_of(o, "proposer"), m->name)) {
            int64_t number = json_integer_value(json_object_get(o, "number"));
            char key[24];
            snprintf(key, sizeof key, "%lld", (long long)number);
            json_object_set_new(answered, key, json_true());
            m->asked = ATN_MAX(m->asked, number);
            mind_spend_add(m, model_named(m, mind_text_of(o, "model")),
                           &(mind_spend){json_number_value(json_object_get(o, "usd")),
                                         json_integer_value(json_object_get(o, "tokens_in")) +
                                             json_integer_value(json_object_get(o, "tokens_out"))});
            if (*sha && !is_proposed(s, sha, programs, n_programs, open, n_open)) {
                char *source = store_blob_get(s, sha);
                mind_question q = {.number = number,
                                   .model = -1,
                                   .repairs = (int)json_integer_value(json_object_get(o, "repairs")),
                                   .parents = {list[i].program, list[i].against}};
                for (int k = 0; k < MIND_OPERATORS; k++)
                    if (!strcmp(mind_text_of(o, "op"), mind_op_word[k])) q.op = (mind_operator)k;
                if (source) mind_add_ready(m, source, mind_text_of(o, "flags"), &q, mind_text_of(o, "note"));
            }
        }
        json_decref(o);
    }
    if (n) store_programs_free(programs, n_programs), store_proposals_free(open, n_open);
    store_measurements_free(list, n);
    resume_sent(m, answered);
    json_decref(answered);
    if (!store_measurements(s, "question", &list, &n, NULL)) {
        for (int i = 0; i < n; i++) {
            json_t *o = json_loads(list[i].json, 0, NULL);
            if (!strcmp(mind_text_of(o, "proposer"), m->name)) {
                m->asked = ATN_MAX(m->asked, json_integer_value(json_object_get(o, "number")));
                for (int k = 0; k <= MIND_CROSS; k++)
                    if (!strcmp(mind_text_of(o, "op"), mind_op_word[k])) mind_count_child(m, list[i].program);
                if (!strcmp(mind_text_of(o, "op"), mind_op_word[MIND_FIX])) note_fixed(m, list[i].program);
            }
            json_decref(o);
        }
        store_measurements_free(list, n);
    }
}

void mind_attach(mind *m, const propose_host *h)
{
    m->host = *h;
    resume_answers(m);
}

static int asked_model(const mind *m, const char *note)
{
    for (int i = 0; i < m->models.n; i++) {
        size_t n = strlen(m->model_name[i]);
        if (!strncmp(note, m->model_name[i], n) && note[n] == ':') return i;
    }
    return -1;
}

/* What an answer was worth: nothing where wrong, a little for right, the rest for the gain over its parent. */
static double worth(const mind_memory *x)
{
    if (!x->correct) return 0;
    double gain = isnan(x->gain) ? 0 : x->gain;
    return 0.1 + 0.9 * (1 - exp(-8 * fmax(0, gain)));
}

static const mind_pending *pending_of(const mind *m, const atn_program_view *r)
{
    uint64_t h = hash_bytes(r->source, strlen(r->source));
    for (int i = 0; i < m->n_pending; i++)
        if (m->pending[i].hash == h) return &m->pending[i];
    return NULL;
}

int64_t mind_question_of(const mind *m, const atn_program_view *r)
{
    const mind_pending *p = pending_of(m, r);
    return p ? p->number : 0;
}

bool mind_repairable(atn_reason r)
{
    return r == ATN_REASON_COMPILE || r == ATN_REASON_WRONG || r == ATN_REASON_NONFINITE || r == ATN_REASON_UNWRITTEN ||
           r == ATN_REASON_FORBIDDEN || r == ATN_REASON_OUT_OF_BOUNDS || r == ATN_REASON_CRASH || r == ATN_REASON_LAW ||
           r == ATN_REASON_SYMBOLS || r == ATN_REASON_BAD_PLAN || r == ATN_REASON_REFUSED;
}

/* The caller frees; NULL where it cannot be read. */
static char *source_of(const mind *m, int64_t id)
{
    store_program row;
    if (!m->host.store || store_program_get(m->host.store, id, &row, NULL)) return NULL;
    char *source = row.made.source ? atn_strdup(row.made.source) : NULL;
    store_program_clear(&row);
    return source;
}

void mind_learn(mind *m, const atn_program_view *r)
{
    m->past = atn_realloc(m->past, sizeof *m->past * (size_t)(m->n_past + 1));
    mind_memory *x = &m->past[m->n_past];
    const mind_memory *parent = mind_recall(m, r->parent);
    *x = (mind_memory){.id = r->id,
                       .parent = r->parent,
                       .score = r->score,
                       .gain = NAN,
                       .reason = r->verdict->reason,
                       .correct = isfinite(r->score)};
    if (parent && x->correct && parent->correct) x->gain = x->score - parent->score;
    novelty_make(r->source, &x->sketch);
    knobs_family_hash(r->source, x->family);
    for (int i = 0; i < m->n_fixed; i++) x->fixed |= m->fixed[i] == x->id;
    size_t prefix = strlen(m->name);
    x->asked = !strncmp(r->origin, m->name, prefix) && r->origin[prefix] == '/';
    m->n_past++;
    const mind_pending *of = pending_of(m, r);
    if (m->host.store) { /* notes live in the store */
        store_program row;
        if (!store_program_get(m->host.store, r->id, &row, NULL)) {
            snprintf(x->note, sizeof x->note, "%s", row.made.note);
            store_program_clear(&row);
        }
    }
    mind_watch(m, x, of != NULL);
    if (!x->asked) return;
    char *before = source_of(m, r->parent);
    x->changed = before && novelty_make_change(r->source, before, MIND_CHANGE_LEAST, &x->change);
    free(before);
    for (int i = 0; i < MIND_OPERATORS; i++)
        if (text_starts(r->origin + prefix + 1, mind_op_word[i])) bandit_reward(&m->ops, i, worth(x));
    bandit_reward(&m->models, asked_model(m, x->note), worth(x));
    mind_write_lessons(m, of != NULL);
    if (of && x->correct && m->reviewing && m->n_reviews < REVIEWS_MAX) {
        m->reviews = atn_realloc(m->reviews, sizeof *m->reviews * (size_t)(m->n_reviews + 1));
        m->reviews[m->n_reviews++] = mind_make_question(m, MIND_REVIEW, r, NULL, NULL, of->model, of->island, 0, NULL);
    }
    if (!of || x->correct || of->repairs >= MIND_REPAIRS_MAX || !mind_repairable(x->reason)) return;
    atn_text why = {0};
    text_addf(&why, "it was judged wrong: %s, at stage %s (the evidence is above).", reason_text(x->reason),
              stage_name(r->verdict->stage));
    mind_add_repair(m, mind_make_question(m, MIND_FIX, r, NULL, NULL, of->model, of->island, of->repairs + 1, why.s));
    x->fixed = true;
    text_free(&why);
}
