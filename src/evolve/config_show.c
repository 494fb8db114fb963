/* What a config says, told to people: notes on keys without effect, every value with its origin, the record of a run.
 * Invariant: no secret leaves through here. */
#include "evolve/config_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static void add_words(atn_text *t, const char *word, int n)
{
    text_addf(t, "%s%s", n ? ", " : "", word);
}

void config_notes(const atn_config *c, bool with_llm, atn_text *out)
{
    atn_text inert = {0}, waiting = {0}, unset = {0};
    int n_inert = 0, n_waiting = 0, n_unset = 0;
    for (int i = 0; i < c->n; i++) {
        const config_entry *e = &c->entries[i];
        bool again = false; /* items of one list, or the same key of several models, are said once */
        for (int j = 0; j < i; j++) again |= c->entries[j].key == e->key;
        if (e->key->effect == CONFIG_INERT && !again) {
            add_words(&inert, e->key->path, n_inert++);
            text_addf(&inert, " (%s)", e->key->help);
        }
        if (e->key->effect == CONFIG_LLM) {
            if (with_llm && !e->text) add_words(&unset, e->path, n_unset++);
            n_waiting += !again;
        }
    }
    if (c->twice.n) text_add(out, c->twice.s);
    if (n_inert) text_addf(out, "no effect here: %s\n", inert.s);
    if (n_waiting && !with_llm)
        text_addf(out, "%d settings of llm and prompt wait until the llm proposer is asked for\n", n_waiting);
    if (n_unset) text_addf(out, "not set, because their environment variable is not: %s\n", unset.s);
    text_free(&inert);
    text_free(&waiting);
    text_free(&unset);
}

/* Keys, and addresses that carry a name and password. */
static bool is_secret(const config_entry *e)
{
    return strstr(e->path, "api_key") || !strcmp(e->path, "llm.proxy") ||
           (strstr(e->path, "api_base") && e->raw && strchr(e->raw, '@'));
}

static const char *shown(const config_entry *e)
{
    if (!e->raw) return "[]";
    if (is_secret(e) && !text_starts(e->raw, "${")) return "(hidden)";
    return e->raw;
}

/* Plain where YAML reads it back the same, else double-quoted, which is JSON's way too. */
static void add_scalar(atn_text *t, const char *s)
{
    bool plain = *s && !strchr(" -?:,[]{}#&*!|>'\"%@`", s[0]) && !strpbrk(s, ":#\n\t\"'{}[],&*") &&
                 s[strlen(s) - 1] != ' ' && !config_is_null(s);
    if (plain) {
        text_add(t, s);
        return;
    }
    json_t *j = json_string(s);
    char *quoted = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
    text_add(t, quoted ? quoted : "\"\"");
    free(quoted);
    json_decref(j);
}

static void show_line(atn_text *out, int indent, const char *name, const char *value, const char *where)
{
    size_t start = out->n;
    text_addf(out, "%*s%s: %s", indent, "", name, value);
    int pad = 44 - (int)(out->n - start);
    text_addf(out, "%*s # %s\n", pad > 0 ? pad : 1, "", where);
}

void config_show(const atn_config *c, atn_text *out)
{
    char section[160] = "";
    for (int i = 0; i < config_key_count; i++) {
        const config_key *k = &config_keys[i];
        if (strstr(k->path, "[].")) continue; /* models: below */
        bool given =
            config_count(c, k->path) > 0 && strcmp(config_where(c, k->path, config_is_list(k) ? 0 : -1), "default") != 0;
        if (!config_is_list(k)) given = config_entry_find(c, k->path) != NULL;
        if (!given && (!k->otherwise || k->effect == CONFIG_INERT)) continue;
        const char *dot = strrchr(k->path, '.');
        char now[160];
        snprintf(now, sizeof now, "%.*s", dot ? (int)(dot - k->path) : 0, k->path);
        if (strcmp(now, section) != 0) text_addf(out, "%s:\n", strcpy(section, now));
        atn_text value = {0};
        if (!config_is_list(k)) {
            const config_entry *e = config_entry_find(c, k->path);
            if (k->type == CONFIG_ANY) text_add(&value, "{}");
            else add_scalar(&value, e ? shown(e) : k->otherwise);
        } else {
            text_add(&value, "[");
            for (int j = 0; j < config_count(c, k->path); j++) {
                if (j) text_add(&value, ", ");
                add_scalar(&value, config_item(c, k->path, j));
            }
            text_add(&value, "]");
        }
        char where[300];
        snprintf(where, sizeof where, "%s%s", config_where(c, k->path, config_is_list(k) ? 0 : -1),
                 k->effect == CONFIG_INERT ? "; no effect here"
                 : k->effect == CONFIG_LLM ? "; with the llm proposer"
                                           : "");
        show_line(out, dot ? 2 : 0, dot ? dot + 1 : k->path, value.s, where);
        text_free(&value);
    }
    for (int list = 0; list < 2; list++) {
        const char *name = list ? "llm.evaluator_models" : "llm.models";
        for (int m = 0; m < config_count(c, name); m++) {
            text_addf(out, "# %s[%d]\n", name, m);
            for (int i = 0; i < c->n; i++) {
                const config_entry *e = &c->entries[i];
                char head[80];
                snprintf(head, sizeof head, "%s[%d].", name, m);
                if (text_starts(e->path, head))
                    text_addf(out, "#   %s: %s  # %s\n", e->path + strlen(head), shown(e), e->where);
            }
        }
    }
}

char *config_json(const atn_config *c)
{
    json_t *o = json_object();
    for (int i = 0; i < c->n; i++) json_object_set_new(o, c->entries[i].path, json_string(shown(&c->entries[i])));
    char *s = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return s;
}
