/* Between the files of the config: table (config_keys.c), entries (config.c), reading (config_scalar.c, config_read.c),
 * telling (config_show.c). Nobody else includes it. */
#ifndef ATN_EVOLVE_CONFIG_PARTS_H
#define ATN_EVOLVE_CONFIG_PARTS_H

#include "evolve/config.h"
#include "judge/verdict.h"

enum { CONFIG_KEYS_MAX = 320 };

/* One scalar that was given. Lists have one entry per item, "judge.suites[0]"; an empty list has one with text NULL. */
typedef struct {
    const config_key *key;
    char *path; /* concrete: "llm.models[1].name" */
    char *raw;  /* as written; NULL: null or an empty list */
    char *text; /* ${VAR} replaced; NULL where the variable is not set (llm keys only) */
    char *where;
} config_entry;

struct atn_config {
    config_entry *entries;
    int n, room;
    atn_text twice; /* notes on keys that a file gives twice */
};

const config_key *config_key_find(const char *path); /* NULL: no such key */
bool config_is_list(const config_key *k);
bool config_is_section(const char *path, bool list);
/* True for the path itself and for items of it: "judge.suites", "judge.suites[0]". */
bool config_covers(const char *path, const char *concrete);
void config_pattern(const char *path, char *out, size_t room); /* "llm.models[3].name" -> "llm.models[].name" */
void config_add(atn_config *c, const config_key *key, const char *path, const char *raw, const char *text,
                const char *where);
const config_entry *config_entry_find(const atn_config *c, const char *path);

bool config_is_null(const char *s);
bool config_read_bool(const char *s, bool *out);
bool config_read_int(const char *s, long long *out);
bool config_read_real(const char *s, double *out);
bool config_is_choice(const char *choices, const char *s);

#endif
