/* The supervisor of a search that stands still. Two rules, both from the verdicts alone, so that a resumed run goes on
 * as it was:
 *   - answers that bring no new best: more of the same will not help. Questions go to other parents and ask more often
 *     for a new design or a cross of two, and each says that it is time for another idea (prompts/task_stalled.md).
 *   - answers that bring no program at all: whoever only repeats itself would spend the whole budget on it. Nobody is
 *     asked any more until there is a new best. */
#include "evolve/propose/mind_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { STALL_ANSWERS = 10, STALL_LEVELS = 3, USELESS_MAX = 40 };
static const double NEW_BEST = 0.005; /* ln: less is what tuning finds everywhere */

void mind_watch(mind *m, const mind_memory *x, bool ours)
{
    if (x->correct && x->score > m->best + NEW_BEST) {
        m->best = x->score;
        m->best_id = x->id;
        m->since_best = 0;
    }
    if (!x->asked) return;
    int before = mind_stalled(m);
    m->since_best++;
    if (x->id == m->best_id) m->since_best = 0;
    if (!ours || mind_stalled(m) <= before || !m->host.warn) return;
    char text[160];
    snprintf(text, sizeof text, "%s: %d answers in a row brought no new best; asking for other designs", m->name,
             m->since_best);
    m->host.warn(m->host.ctx, text);
}

int mind_stalled(const mind *m)
{
    return ATN_MIN(m->since_best / STALL_ANSWERS, STALL_LEVELS);
}

void mind_say_stalled(const mind *m, atn_text *t)
{
    if (!mind_stalled(m)) return;
    prompt_values v = {0};
    prompt_set(&v, "answers", atn_format("%d", m->since_best));
    prompt_set(&v, "best", atn_format("%lld", (long long)m->best_id));
    prompt_set(&v, "speedup", atn_format("%.3f", exp(m->best)));
    char *said = mind_filled(m, "task_stalled", &v);
    text_addf(t, "\n%s", said);
    free(said);
    prompt_clear(&v);
}

mind_patience mind_tired(mind *m, const atn_propose_context *c, bool waiting)
{
    if (m->gave_up_at && c->best && c->best->id == m->gave_up_at) return MIND_STOP;
    if (m->gave_up_at) m->forgiven = m->useless;
    m->gave_up_at = 0;
    m->forgiven = ATN_MIN(m->forgiven, m->useless);
    if (m->useless - m->forgiven < USELESS_MAX) return MIND_GO_ON;
    if (waiting || !c->best) return MIND_WAIT;
    char text[160];
    snprintf(text, sizeof text, "%s: %d answers in a row led to no new program; waiting for a new best", m->name,
             m->useless);
    m->host.warn(m->host.ctx, text);
    m->gave_up_at = c->best->id;
    return MIND_STOP;
}
