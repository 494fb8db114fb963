/* Where a program comes from: the chain of first parents down to a program that nobody evolved. */
#include <stdio.h>
#include <string.h>

#include "evolve/engine.h"

int lineage_of(const atn_engine *e, int64_t id, evolve_ancestor *out, int room)
{
    int n = 0;
    for (const engine_program *p = engine_find(e, id); p; p = p->parent1 ? engine_find(e, p->parent1) : NULL) {
        evolve_ancestor a = {.id = p->id, .generation = p->generation, .seq = p->seq, .score = p->score};
        memcpy(a.origin, p->origin, sizeof a.origin);
        memcpy(a.note, p->note, sizeof a.note);
        /* A chain longer than the table keeps its newest part and its root. */
        out[n < room ? n++ : room - 1] = a;
    }
    return n;
}
