/* What controller and pilot both write and read: machines, builds, texts. Internal to src/evolve/execute. */
#ifndef ATN_EVOLVE_WIRE_H
#define ATN_EVOLVE_WIRE_H

#include <jansson.h>

#include "evolve/evolve.h"

enum { WIRE_KEY = 640, WIRE_TEXTS = 32, WIRE_PAIRS = 1 << 16 };

/* The texts that were sent last, oldest out first. Both sides keep the same list, so a key says whether a text is there. */
typedef struct {
    char key[WIRE_TEXTS][33];
    char *text[WIRE_TEXTS]; /* NULL on the side that sent them */
    int next;
} wire_texts;
bool wire_texts_has(const wire_texts *t, const char *key);
const char *wire_texts_get(const wire_texts *t, const char *key);
void wire_texts_put(wire_texts *t, const char *key, const char *text); /* text NULL: only the key */
void wire_texts_free(wire_texts *t);

json_t *wire_machine(const atn_machine *m);
void wire_machine_from(const json_t *o, atn_machine *m);
void wire_node_name(char *out, size_t room); /* Slurm's name of the node, or the host's */

/* What a build came to; the object itself does not travel. */
json_t *wire_built(const build_result *b);
bool wire_built_from(const json_t *o, build_result *b);

json_t *wire_cases(const evolve_judge *j, int n, bool final); /* as they are really timed: texts, "" where unknown */
/* Every pair of a campaign; numbers as the store keeps them. NULL where there are none, or where the line is damaged. */
json_t *wire_pairs(const race_pairs *p);
race_pairs *wire_pairs_from(const json_t *o);
json_t *wire_metrics(const seed_metrics *m);
void wire_metrics_from(const json_t *o, seed_metrics *m);

#endif
