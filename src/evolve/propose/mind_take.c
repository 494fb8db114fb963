/* What becomes of an answer: written down, read, compared with what is known, and then a program, a second question,
 * or nothing. */
#include "evolve/propose/mind_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static const double CHANGE_ALIKE = 0.8; /* share of the new runs of tokens, by MinHash */

/* The program that it is the same as but for names, blanks and comments; -1: one on its way; 0: new. */
static int64_t known_as(const mind *m, const char *source)
{
    novelty_sketch s;
    novelty_make(source, &s);
    for (int i = m->n_past - 1; i >= 0; i--)
        if (m->past[i].sketch.shape == s.shape) return m->past[i].id;
    for (int i = 0; i < m->n_ready; i++)
        if (!strcmp(m->ready[i].p.source, source)) return -1;
    uint64_t h = hash_bytes(source, strlen(source));
    for (int i = 0; i < m->n_pending; i++)
        if (m->pending[i].hash == h) return -1; /* proposed, and no verdict yet, or it would be among the past */
    return 0;
}

/* A right program that made nearly the same change to the same parent; 0: none. Small changes say nothing: one number
 * may be all that matters. */
static int64_t tried_as(const mind *m, const mind_question *q, const char *source)
{
    novelty_sketch change;
    if (q->op == MIND_FIX || !novelty_make_change(source, q->source, MIND_CHANGE_LEAST, &change)) return 0;
    for (int i = m->n_past - 1; i >= 0; i--) {
        const mind_memory *x = &m->past[i];
        bool comparable = x->changed && x->correct && x->parent == q->parents[0];
        if (comparable && novelty_alike(&x->change, &change) >= CHANGE_ALIKE) return x->id;
    }
    return 0;
}

json_t *mind_answer_record(mind *m, const mind_question *q, const mind_answer *a, const char *outcome)
{
    json_t *o = mind_record_of(m, q);
    json_object_set_new(o, "outcome", json_string(outcome));
    if (a->model) json_object_set_new(o, "model", json_string(a->model));
    if (a->tokens_in || a->tokens_out) {
        json_object_set_new(o, "tokens_in", json_integer(a->tokens_in));
        json_object_set_new(o, "tokens_out", json_integer(a->tokens_out));
    }
    json_object_set_new(o, "usd", json_real(a->usd));
    json_object_set_new(o, "seconds", json_real(a->seconds));
    json_object_set_new(o, "tries", json_integer(a->tries));
    mind_spend_add(m, q->model, &(mind_spend){a->usd, a->tokens_in + a->tokens_out});
    if (q->model >= 0) bandit_cost(&m->models, q->model, a->usd);
    return o;
}

void mind_sent(mind *m, const mind_question *q, const mind_spend *most)
{
    json_t *o = mind_record_of(m, q);
    json_object_set_new(o, "usd", json_real(most->usd));
    json_object_set_new(o, "tokens", json_integer(most->tokens));
    if (q->model >= 0) json_object_set_new(o, "model", json_string(m->model_name[q->model]));
    mind_keep(m, "sent", q, o);
}

void mind_lost(mind *m, const mind_question *q, const mind_answer *a, const char *why)
{
    json_t *o = mind_answer_record(m, q, a, "lost");
    json_t *text = json_string(why);
    json_object_set_new(o, "why", text ? text : json_string("?"));
    if (a->text && *a->text) mind_keep_text(m, o, "answer", a->text);
    mind_keep(m, "answer", q, o);
}

void mind_reviewed(mind *m, const mind_question *q, const mind_answer *a)
{
    json_t *o = mind_answer_record(m, q, a, "review"), *text = json_string(a->text);
    mind_keep_text(m, o, "answer", a->text);
    mind_keep(m, "answer", q, o);
    o = json_object();
    json_object_set_new(o, "text", text ? text : json_string(""));
    if (a->model) json_object_set_new(o, "model", json_string(a->model));
    mind_keep(m, "review", q, o);
}

mind_outcome mind_take(mind *m, const mind_question *q, const mind_answer *a, bool patient, char *problem, size_t room)
{
    answer_program p;
    answer_limits limits = {.source_max = (size_t)config_int(m->config, "max_code_length")};
    bool ok = answer_apply(a->text, q->source, &limits, &p);
    int64_t known = ok ? known_as(m, p.source) : 0;
    int64_t tried = ok && !known ? tried_as(m, q, p.source) : 0;
    if (tried)
        snprintf(p.problem, sizeof p.problem, "nearly the same change was made to the same program as #%" PRId64,
                 tried);
    if (known < 0) snprintf(p.problem, sizeof p.problem, "the same program was proposed a moment ago");
    if (known > 0)
        snprintf(p.problem, sizeof p.problem,
                 "the program is the same as #%" PRId64 " but for names, blanks and comments", known);
    if (tried) known = tried;
    json_t *o = mind_answer_record(m, q, a, tried ? "tried" : known ? "known" : answer_word(p.outcome));
    mind_keep_text(m, o, "answer", a->text);
    mind_keep_text(m, o, "on", q->source);
    json_t *note = json_string(p.note);
    json_object_set_new(o, "note", note ? note : json_string(""));
    if (ok && !known) mind_keep_text(m, o, "source", p.source);
    else {
        json_t *said = json_string(p.problem);
        json_object_set_new(o, "problem", said ? said : json_string(""));
    }
    mind_keep(m, "answer", q, o);
    if (problem && room) snprintf(problem, room, "%s", p.problem);
    if (ok && !known) {
        m->useless = 0;
        mind_add_ready(m, p.source, q->flags, q, p.note);
        return MIND_PROPOSED;
    }
    m->useless++;
    answer_free(&p);
    bandit_reward(&m->ops, (int)q->op, 0);
    bandit_reward(&m->models, q->model, 0);
    if (patient || q->repairs >= MIND_REPAIRS_MAX || known) return MIND_REFUSED;
    /* The same question once more, with what was wrong with the answer. */
    mind_question *again = atn_alloc(sizeof *again);
    *again = *q;
    again->number = ++m->asked;
    again->repairs = q->repairs + 1;
    again->source = atn_strdup(q->source);
    again->flags = atn_strdup(q->flags);
    again->system = atn_strdup(q->system);
    prompt_values v = {0};
    atn_text quoted = {0};
    prompt_quote(&quoted, "text", p.problem, MIND_EVIDENCE_MAX);
    prompt_set(&v, "problem", text_take(&quoted));
    char *repair = mind_filled(m, "task_repair", &v);
    again->prompt = atn_format("%s\n%s", q->prompt, repair);
    prompt_clear(&v);
    free(repair);
    mind_add_repair(m, again);
    return MIND_REPAIRING;
}

bool mind_next(mind *m, atn_proposal *out)
{
    if (!m->n_ready) return false;
    mind_ready_program r = m->ready[0];
    memmove(m->ready, m->ready + 1, sizeof *m->ready * (size_t)--m->n_ready);
    m->pending = atn_realloc(m->pending, sizeof *m->pending * (size_t)(m->n_pending + 1));
    m->pending[m->n_pending++] = r.of;
    *out = r.p;
    return true;
}
