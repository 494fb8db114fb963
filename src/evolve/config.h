/* The config file: YAML under one table of keys, with errors that name file, line, column and the nearest valid name.
 *
 *     atn_config *c = config_create();
 *     if (config_read(c, "config.yaml", &err)) ...              // "config.yaml:19:3: unknown key 'popluation_size' ..."
 *     if (config_set(c, "judge.tolerance=2", &err)) ...         // --set
 *     double minutes = config_real(c, "evolve.minutes");        // the file's, or the table's default
 *     for (int i = 0; i < config_count(c, "llm.models"); i++) ... config_text(c, "llm.models[0].name")
 *
 * It takes OpenEvolve's keys beside our own, so that its files run as they are. Every key of the table says whether it acts
 * here, acts only once the llm proposer is asked for, or has no effect; what has no effect is listed, never dropped silently.
 * Paths that are not in the table are our own bug and abort. */
#ifndef ATN_EVOLVE_CONFIG_H
#define ATN_EVOLVE_CONFIG_H

#include <stdbool.h>

#include "base/status.h"
#include "base/text.h"
#include "problem/suite.h"

/* Names that `proposers` may hold: those that this program has. */
#define CONFIG_PROPOSERS "knobs|llm|mailbox|exec|replay"

typedef enum {
    CONFIG_INT, CONFIG_REAL, CONFIG_BOOL, CONFIG_TEXT,
    CONFIG_CHOICE,     /* one of choices */
    CONFIG_TEXTS,      /* list of texts; a single text is a list of one */
    CONFIG_REALS,      /* list of numbers in the range */
    CONFIG_CASES,      /* list of problems: their text, or the seed's {batch_size, seq_len, hidden_size, num_heads, num_kv_heads} */
    CONFIG_ANY         /* whatever; only for keys without effect */
} config_type;

typedef enum {
    CONFIG_ACTS,       /* has effect */
    CONFIG_LLM,        /* has effect only with the llm proposer */
    CONFIG_INERT       /* accepted, has no effect here; help says why */
} config_effect;

typedef struct {
    const char *path;          /* "llm.models[].name" */
    config_type type;
    double low, high;          /* range of INT, REAL, REALS */
    const char *choices;       /* "a|b|c" for CHOICE */
    const char *otherwise;     /* default as text; NULL: none */
    config_effect effect;
    const char *help;
} config_key;

extern const config_key config_keys[];
extern const int config_key_count;

typedef struct atn_config atn_config;

atn_config *config_create(void);                 /* defaults only */
void config_free(atn_config *c);
/* Reads a file over what is there. Nothing changes when it fails. */
atn_status config_read(atn_config *c, const char *path, atn_error *err);
/* "key=value", the value read as YAML: numbers, texts, [lists]. */
atn_status config_set(atn_config *c, const char *assignment, atn_error *err);
/* The same for a value that is taken as it stands; `origin` names it in errors ("--suite"). LIST keys: appends. */
atn_status config_put(atn_config *c, const char *path, const char *value, const char *origin, atn_error *err);
void config_clear(atn_config *c, const char *path);   /* back to the default */

bool config_has(const atn_config *c, const char *path);              /* was given, not null */
long long config_int(const atn_config *c, const char *path);         /* 0 where there is neither value nor default */
double config_real(const atn_config *c, const char *path);
bool config_bool(const atn_config *c, const char *path);
const char *config_text(const atn_config *c, const char *path);      /* NULL where there is neither value nor default */
int config_count(const atn_config *c, const char *path);             /* of a list, defaults included */
const char *config_item(const atn_config *c, const char *path, int i);
/* "config.yaml:12:5", "--set", "default": where a value comes from. Item i of a list with i >= 0. */
const char *config_where(const atn_config *c, const char *path, int i);

/* What the keys mean together: known proposers, suites and cases that exist. Errors name the place. */
atn_status config_check(const atn_config *c, atn_error *err);
/* The timing suite of judge.suites and judge.cases, "seed" and "readme" where neither is given; *name, if not NULL, becomes
 * its words, "seed+readme" (caller frees). The caller frees the suite. */
atn_status config_suite(const atn_config *c, atn_suite *out, char **name, atn_error *err);

/* Sentences for people, "" where there is nothing to say: which given keys have no effect here and why, which wait for the
 * llm proposer, which were given twice. One sentence a line. */
void config_notes(const atn_config *c, bool with_llm, atn_text *out);
/* Everything that is set or has a default, as YAML with a comment on where it comes from. Secrets are not shown. */
void config_show(const atn_config *c, atn_text *out);
/* What was given, as one JSON object path -> text, for the run's record. Secrets are not in it. */
char *config_json(const atn_config *c);

#endif
