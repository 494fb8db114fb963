/* What was learnt so far: lessons for prompts and for people, and what the bandits believe. */
#include "evolve/propose/mind_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { LESSON_GAINS = 6, LESSON_KNOBS = 2, LESSON_FAILURES = 5, LESSONS_S = 2 };
static const double PAID = 0.01; /* ln: less is within what two races of one program differ by */

static int by_gain(const void *a, const void *b)
{
    double x = (*(const mind_memory *const *)a)->gain, y = (*(const mind_memory *const *)b)->gain;
    return (x < y) - (x > y);
}

static void say_gain(const mind_memory *x, atn_text *t)
{
    text_addf(t, "- paid %.2fx over its parent: ", exp(x->gain));
    prompt_word(t, x->note, 150);
    text_add(t, "\n");
}

/* What paid and what failed so far. Notes are somebody's words: one line each, cleaned. What the search over knobs
 * found has few lines of its own, or its many small gains would drown what minds thought of. */
void mind_say_lessons(const mind *m, atn_text *t)
{
    const mind_memory **gains = atn_alloc(sizeof *gains * (size_t)(m->n_past + 1));
    int n = 0, reasons[64] = {0}, of_minds = 0, of_knobs = 0;
    for (int i = 0; i < m->n_past; i++) {
        const mind_memory *x = &m->past[i];
        if (!isnan(x->gain) && x->gain > PAID && x->note[0]) gains[n++] = x;
        if (x->asked && !x->correct && (int)x->reason < ATN_COUNT(reasons)) reasons[x->reason]++;
    }
    if (n) qsort(gains, (size_t)n, sizeof *gains, by_gain);
    text_add(t, "# Lessons of this run\n");
    size_t empty = t->n;
    for (int i = 0; i < n; i++)
        if (gains[i]->asked ? of_minds++ < LESSON_GAINS : of_knobs++ < LESSON_KNOBS) say_gain(gains[i], t);
    for (int i = m->n_past - 1, k = 0; i >= 0 && k < LESSON_FAILURES; i--) {
        const mind_memory *x = &m->past[i];
        if (!x->asked || !x->note[0] || (x->correct && !(x->gain < -PAID))) continue;
        text_addf(t, "- did not pay (%s): ", x->correct ? "slower than its parent" : reason_text(x->reason));
        prompt_word(t, x->note, 150);
        text_add(t, "\n");
        k++;
    }
    for (int r = 1; r < ATN_COUNT(reasons); r++)
        if (reasons[r] > 1) text_addf(t, "- %d answers failed this way: %s\n", reasons[r], reason_text((atn_reason)r));
    if (t->n == empty) {
        t->n -= strlen("# Lessons of this run\n");
        t->s[t->n] = 0;
    } else {
        text_add(t, "\n");
    }
    free(gains);
}

/* For people, beside the run; at most every few seconds while a resumed run is told of its past. */
void mind_write_lessons(mind *m, bool now_or_never)
{
    double now = m->host.now ? m->host.now(m->host.ctx) : 0;
    if (!m->host.folder || (!now_or_never && now < m->lessons_written + LESSONS_S)) return;
    m->lessons_written = now;
    atn_text t = {0};
    mind_say_lessons(m, &t);
    char *path = file_join(m->host.folder, "lessons.md");
    if (t.n) file_write(path, t.s, t.n, NULL);
    free(path);
    text_free(&t);
}

static void tell_arms(json_t *arms, const char *group, const bandit *b, const char *(*name)(const mind *, int),
                      const mind *m)
{
    double share[BANDIT_ARMS];
    bandit_shares(b, NULL, share);
    for (int i = 0; i < b->n; i++) {
        json_t *o = json_pack("{s:s,s:f,s:f,s:f,s:f,s:i,s:f}", "group", group, "prior", b->arm[i].prior, "share",
                              share[i], "rate", b->arm[i].n > 0 ? b->arm[i].reward / b->arm[i].n : 0, "n", b->arm[i].n,
                              "pulls", b->arm[i].pulls, "cost", b->arm[i].cost);
        json_t *n = json_string(name(m, i));
        json_object_set_new(o, "name", n ? n : json_string("?"));
        json_array_append_new(arms, o);
    }
}
static const char *name_of_op(const mind *m, int i)
{
    (void)m;
    return mind_op_word[i];
}
static const char *name_of_model(const mind *m, int i)
{
    return m->model_name[i];
}

char *mind_tell(const mind *m)
{
    if (!m->asked) return NULL;
    json_t *o = json_object(), *arms = json_array();
    atn_text lessons = {0};
    mind_say_lessons(m, &lessons);
    tell_arms(arms, "operator", &m->ops, name_of_op, m);
    tell_arms(arms, "model", &m->models, name_of_model, m);
    json_object_set_new(o, "proposer", json_string(m->name));
    json_object_set_new(o, "asked", json_integer(m->asked));
    json_object_set_new(o, "usd", json_real(m->spent.usd));
    json_object_set_new(o, "tokens", json_integer(m->spent.tokens));
    json_object_set_new(o, "since_best", json_integer(m->since_best));
    json_object_set_new(o, "arms", arms);
    json_t *said = json_string(lessons.n ? lessons.s : "");
    json_object_set_new(o, "lessons", said ? said : json_string(""));
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(o);
    text_free(&lessons);
    return text;
}
