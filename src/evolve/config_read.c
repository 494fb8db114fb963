/* Reading: libyaml's document tree, or the value of one --set, checked against the table of keys. Errors name file, line,
 * column and the nearest valid name. Invariant: a document is taken whole or not at all. */
#include "evolve/config_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/file.h"

static const char *type_words(const config_key *k)
{
    static const char *const words[] = {"a whole number", "a number", "true or false", "a text",  "one of the choices",
                                        "a text",         "a number", "a problem",     "anything"};
    return words[k->type];
}

/* --- errors -------------------------------------------------------------------------------------------------------- */

typedef struct {
    atn_config *config;
    const char *name; /* of the file, or "--set key" */
    const char *text; /* whole text, for the line that an error shows */
    bool places;      /* whether line and column mean something to the user */
    yaml_document_t *document;
    atn_error *err;
} reader;

static char *place(const reader *r, yaml_mark_t m)
{
    return r->places ? atn_format("%s:%zu:%zu", r->name, m.line + 1, m.column + 1) : atn_strdup(r->name);
}

/* "name:3:7: text" and, for files, the line with a caret under the column. */
static atn_status fail_at(const reader *r, yaml_mark_t m, const char *format, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    char *at = place(r, m);
    atn_text out = {0};
    text_addf(&out, "%s: %s", at, text);
    if (r->places) {
        const char *line = r->text;
        for (size_t i = 0; i < m.line && line; i++) line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
        size_t n = line ? strcspn(line, "\n") : 0;
        if (n && n < 200) text_addf(&out, "\n  %.*s\n  %*s^", (int)n, line, (int)m.column, "");
    }
    atn_fail(r->err, ATN_USAGE, "%s", out.s);
    text_free(&out);
    free(at);
    return ATN_USAGE;
}

/* --- ${VAR} -------------------------------------------------------------------------------------------------------- */

/* Replaces each ${NAME} by the environment's value. *missing names the first that is not set (caller frees), and then
 * the result is NULL. */
static char *expand(const char *s, char **missing)
{
    atn_text out = {0};
    *missing = NULL;
    while (*s) {
        const char *open = strstr(s, "${"), *close = open ? strchr(open, '}') : NULL;
        if (!close) break;
        text_addn(&out, s, (size_t)(open - s));
        char *name = atn_strndup(open + 2, (size_t)(close - open - 2));
        const char *value = getenv(name);
        if (!value || !*value) {
            *missing = name;
            text_free(&out);
            return NULL;
        }
        text_add(&out, value);
        free(name);
        s = close + 1;
    }
    text_add(&out, s);
    return text_take(&out);
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

static const char *node_words(const yaml_node_t *n)
{
    return n->type == YAML_MAPPING_NODE ? "a section" : n->type == YAML_SEQUENCE_NODE ? "a list" : "a value";
}

/* Checks one scalar against its key and adds it. */
static atn_status read_scalar(const reader *r, const config_key *k, const char *path, const char *raw, bool plain,
                              yaml_mark_t m)
{
    char *missing, *text = expand(raw, &missing), *where = place(r, m);
    atn_status st = ATN_OK;
    long long i;
    double x = 0;
    bool b, ok = true, in_range = true;
    if (!text) {
        /* The llm section may name keys of a service that this run does not use. */
        if (k->effect != CONFIG_LLM && k->effect != CONFIG_INERT)
            st = fail_at(r, m, "%s: the environment variable %s is not set", path, missing);
        goto out;
    }
    switch (k->type) {
    case CONFIG_INT:
        ok = plain && config_read_int(text, &i);
        x = ok ? (double)i : 0;
        in_range = !ok || (x >= k->low && x <= k->high);
        break;
    case CONFIG_REAL:
    case CONFIG_REALS:
        ok = plain && config_read_real(text, &x);
        in_range = !ok || (x >= k->low && x <= k->high);
        break;
    case CONFIG_BOOL: ok = plain && config_read_bool(text, &b); break;
    case CONFIG_CHOICE:
        if (!config_is_choice(k->choices, text)) st = fail_at(r, m, "%s: '%s' is none of %s", path, text, k->choices);
        break;
    default: break;
    }
    if (!ok) st = fail_at(r, m, "%s: expected %s, got '%s'", path, type_words(k), text);
    else if (!in_range) st = fail_at(r, m, "%s: %s is outside %g .. %g", path, text, k->low, k->high);
out:
    if (st == ATN_OK) config_add(r->config, k, path, raw, text, where);
    free(text);
    free(missing);
    free(where);
    return st;
}

/* The seed's way to write a case: {batch_size: 1, seq_len: 4096, hidden_size: 2048, num_heads: 32, num_kv_heads: 8}. */
static atn_status read_case_map(const reader *r, const config_key *k, const char *path, const yaml_node_t *n)
{
    enum { BATCH, SEQ, HIDDEN, HEADS, KV_HEADS, FIELDS };
    static const char *const names[FIELDS] = {"batch_size", "seq_len", "hidden_size", "num_heads", "num_kv_heads"};
    long long v[FIELDS] = {1, 0, 0, 0, 0};
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, p->key),
                          *value = yaml_document_get_node(r->document, p->value);
        const char *name = key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : "";
        int f = 0;
        while (f < FIELDS && strcmp(names[f], name) != 0) f++;
        if (f == FIELDS) {
            const char *near = text_nearest(name, names, FIELDS);
            return fail_at(r, key->start_mark, "unknown key '%s' in a case; %s%s%s", name,
                           near ? "did you mean '"
                                : "valid: batch_size, seq_len, "
                                  "hidden_size, num_heads, num_kv_heads, or the case as text",
                           near ? near : "", near ? "'?" : "");
        }
        if (value->type != YAML_SCALAR_NODE || !config_read_int((const char *)value->data.scalar.value, &v[f]) || v[f] < 1 ||
            v[f] > 1 << 24)
            return fail_at(r, value->start_mark, "%s.%s: expected a whole number from 1 to %d", path, name, 1 << 24);
    }
    if (!v[KV_HEADS]) v[KV_HEADS] = v[HEADS];
    if (!v[SEQ] || !v[HIDDEN] || !v[HEADS])
        return fail_at(r, n->start_mark, "%s: seq_len, hidden_size and num_heads are needed", path);
    if (v[HIDDEN] % v[HEADS])
        return fail_at(r, n->start_mark, "%s: hidden_size %lld is not a multiple of num_heads %lld", path, v[HIDDEN],
                       v[HEADS]);
    char text[160];
    snprintf(text, sizeof text, "f32 b%lld h%lld/%lld s%lld d%lld causal", v[BATCH], v[HEADS], v[KV_HEADS], v[SEQ],
             v[HIDDEN] / v[HEADS]);
    char *where = place(r, n->start_mark);
    config_add(r->config, k, path, text, text, where);
    free(where);
    return ATN_OK;
}

static atn_status read_value(const reader *r, const config_key *k, const char *path, const yaml_node_t *n)
{
    config_clear(r->config, path);
    bool plain = n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    const char *scalar = n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
    if (plain && config_is_null(scalar)) return ATN_OK; /* null: the default */
    if (k->type == CONFIG_ANY) {
        char *where = place(r, n->start_mark);
        config_add(r->config, k, path, scalar ? scalar : "...", "", where);
        free(where);
        return ATN_OK;
    }
    if (!config_is_list(k)) {
        if (!scalar) return fail_at(r, n->start_mark, "%s: expected %s, got %s", path, type_words(k), node_words(n));
        return read_scalar(r, k, path, scalar, plain, n->start_mark);
    }
    if (n->type == YAML_MAPPING_NODE && k->type != CONFIG_CASES)
        return fail_at(r, n->start_mark, "%s: expected a list, got a section", path);
    int count = n->type == YAML_SEQUENCE_NODE ? (int)(n->data.sequence.items.top - n->data.sequence.items.start) : 1;
    if (!count) {
        char *where = place(r, n->start_mark);
        config_add(r->config, k, path, NULL, NULL, where);
        free(where);
    }
    for (int i = 0; i < count; i++) {
        const yaml_node_t *item =
            n->type == YAML_SEQUENCE_NODE ? yaml_document_get_node(r->document, n->data.sequence.items.start[i]) : n;
        char *name = atn_format("%s[%d]", path, i);
        atn_status st;
        if (item->type == YAML_MAPPING_NODE && k->type == CONFIG_CASES) st = read_case_map(r, k, name, item);
        else if (item->type != YAML_SCALAR_NODE)
            st = fail_at(r, item->start_mark, "%s: expected %s, got %s", name, type_words(k), node_words(item));
        else
            st = read_scalar(r, k, name, (const char *)item->data.scalar.value,
                             item->data.scalar.style == YAML_PLAIN_SCALAR_STYLE, item->start_mark);
        free(name);
        if (st) return st;
    }
    return ATN_OK;
}

/* Names that may stand directly below a section, and whether `path` is one: the table's paths cut at their next dot. */
static int names_below(const char *pattern, const char *names[], int room)
{
    static char kept[CONFIG_KEYS_MAX][64]; /* static: names are handed out; one thread reads a config */
    size_t n = strlen(pattern);
    int count = 0;
    for (int i = 0; i < config_key_count; i++) {
        const char *p = config_keys[i].path;
        if (n && (strncmp(p, pattern, n) != 0 || p[n] != '.')) continue;
        if (n) p += n + 1;
        snprintf(kept[count], sizeof kept[0], "%.*s", (int)strcspn(p, ".["), p);
        bool seen = false;
        for (int j = 0; j < count; j++) seen |= !strcmp(kept[j], kept[count]);
        if (!seen && count < room) names[count] = kept[count], count++;
    }
    return count;
}
static atn_status unknown_key(const reader *r, const char *section, const char *name, yaml_mark_t m)
{
    char pattern[160];
    const char *names[CONFIG_KEYS_MAX];
    config_pattern(section, pattern, sizeof pattern);
    int n = names_below(pattern, names, ATN_COUNT(names));
    const char *near = text_nearest(name, names, n);
    char in[200] = "";
    if (*section) snprintf(in, sizeof in, " in '%s'", section);
    if (near) return fail_at(r, m, "unknown key '%s'%s; did you mean '%s'?", name, in, near);
    for (int i = 0; i < config_key_count; i++) { /* right name, wrong section */
        const char *dot = strrchr(config_keys[i].path, '.');
        if (!strcmp(dot ? dot + 1 : config_keys[i].path, name))
            return fail_at(r, m, "unknown key '%s'%s; there is '%s'", name, in, config_keys[i].path);
    }
    return fail_at(r, m, "unknown key '%s'%s; `attune config --keys` lists the valid ones", name, in);
}

static atn_status read_section(const reader *r, const char *section, const yaml_node_t *n, int depth)
{
    if (n->type == YAML_SCALAR_NODE && config_is_null((const char *)n->data.scalar.value)) return ATN_OK;
    if (n->type != YAML_MAPPING_NODE || depth > 6)
        return fail_at(r, n->start_mark, "%s: expected a section (key: value), got %s", *section ? section : "the file",
                       node_words(n));
    yaml_node_pair_t *first = n->data.mapping.pairs.start;
    for (yaml_node_pair_t *p = first; p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, p->key),
                          *value = yaml_document_get_node(r->document, p->value);
        if (key->type != YAML_SCALAR_NODE)
            return fail_at(r, key->start_mark, "a key must be a word, not %s", node_words(key));
        const char *name = (const char *)key->data.scalar.value;
        if (strlen(name) > 60 || strpbrk(name, ".[]")) return unknown_key(r, section, name, key->start_mark);
        char *path = *section ? atn_format("%s.%s", section, name) : atn_strdup(name);
        const config_key *k = config_key_find(path);
        atn_status st = ATN_OK;
        for (yaml_node_pair_t *q = first; q < p; q++) {
            const yaml_node_t *other = yaml_document_get_node(r->document, q->key);
            if (other->type == YAML_SCALAR_NODE && !strcmp((const char *)other->data.scalar.value, name))
                text_addf(&r->config->twice, "%s:%zu: %s is given twice (first in line %zu); the last one counts\n",
                          r->name, key->start_mark.line + 1, path, other->start_mark.line + 1);
        }
        if (k) {
            st = read_value(r, k, path, value);
        } else if (config_is_section(path, false)) {
            st = read_section(r, path, value, depth + 1);
        } else if (config_is_section(path, true)) {
            if (value->type != YAML_SEQUENCE_NODE) {
                if (value->type != YAML_SCALAR_NODE || !config_is_null((const char *)value->data.scalar.value))
                    st = fail_at(r, value->start_mark, "%s: expected a list of sections, got %s", path,
                                 node_words(value));
            } else {
                config_clear(r->config, path);
                int count = (int)(value->data.sequence.items.top - value->data.sequence.items.start);
                for (int i = 0; i < count && !st; i++) {
                    char *item = atn_format("%s[%d]", path, i);
                    st = read_section(r, item, yaml_document_get_node(r->document, value->data.sequence.items.start[i]),
                                      depth + 1);
                    free(item);
                }
            }
        } else {
            st = unknown_key(r, section, name, key->start_mark);
        }
        free(path);
        if (st) return st;
    }
    return ATN_OK;
}

/* Parses r->text as one YAML document; the caller deletes it. */
static atn_status parse(reader *r, yaml_document_t *document)
{
    yaml_parser_t parser;
    ATN_CHECK(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)r->text, strlen(r->text));
    atn_status st = ATN_OK;
    if (!yaml_parser_load(&parser, document)) {
        const char *problem = parser.problem ? parser.problem : "not valid YAML";
        if (parser.error == YAML_READER_ERROR)
            st = atn_fail(r->err, ATN_USAGE, "%s: %s at byte %zu", r->name, problem, parser.problem_offset);
        else if (parser.context)
            st = fail_at(r, parser.problem_mark, "%s (%s in line %zu)", problem, parser.context,
                         parser.context_mark.line + 1);
        else st = fail_at(r, parser.problem_mark, "%s", problem);
    } else {
        r->document = document;
    }
    yaml_parser_delete(&parser);
    return st;
}

static void copy_entries(atn_config *to, const atn_config *from)
{
    for (int i = 0; i < from->n; i++) {
        const config_entry *e = &from->entries[i];
        config_add(to, e->key, e->path, e->raw, e->text, e->where);
    }
    if (from->twice.n) text_add(&to->twice, from->twice.s);
}

/* Runs `read` on a copy, so that a failure changes nothing. */
static atn_status transact(atn_config *c, reader *r, atn_status (*read)(reader *r, void *ctx), void *ctx)
{
    atn_config *copy = config_create();
    copy_entries(copy, c);
    r->config = copy;
    atn_status st = read(r, ctx);
    if (st == ATN_OK) {
        atn_config old = *c;
        *c = *copy;
        *copy = old;
    }
    config_free(copy);
    return st;
}

static atn_status read_document(reader *r, void *ctx)
{
    (void)ctx;
    yaml_document_t document;
    atn_status st = parse(r, &document);
    if (st) return st;
    yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root) st = read_section(r, "", root, 0);
    yaml_document_delete(&document);
    return st;
}

atn_status config_read(atn_config *c, const char *path, atn_error *err)
{
    char *text;
    atn_status st = file_read_text(path, 4 << 20, &text, err);
    if (st == ATN_NOT_FOUND)
        return atn_fail(err, ATN_NOT_FOUND, "there is no config file '%s'; `attune config --show > %s` writes one", path, path);
    if (st) return st;
    reader r = {.name = path, .text = text, .places = true, .err = err};
    st = transact(c, &r, read_document, NULL);
    free(text);
    return st;
}

static atn_status read_assignment(reader *r, void *ctx)
{
    const char *path = ctx;
    yaml_document_t document;
    atn_status st = parse(r, &document);
    if (st) return st;
    yaml_node_t *root = yaml_document_get_root_node(&document);
    const config_key *k = config_key_find(path);
    if (!root) config_clear(r->config, path);
    else if (k) st = read_value(r, k, path, root);
    else if (config_is_section(path, false)) st = read_section(r, path, root, 1);
    else {
        const char *dot = strrchr(path, '.');
        char *section = atn_strndup(path, dot ? (size_t)(dot - path) : 0);
        st = unknown_key(r, section, dot ? dot + 1 : path, root->start_mark);
        free(section);
    }
    yaml_document_delete(&document);
    return st;
}

/* Whole numbers below 1000 as one writes them: "[007]" would be a second name of "[7]", and "[2147483647]" a list of
 * two billion. */
static bool indices_plain(const char *path)
{
    for (const char *p = path; (p = strchr(p, '[')); p++) {
        size_t digits = strspn(p + 1, "0123456789");
        if (digits < 1 || digits > 3 || p[1 + digits] != ']' || (digits > 1 && p[1] == '0')) return false;
    }
    return true;
}

atn_status config_set(atn_config *c, const char *assignment, atn_error *err)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return atn_fail(err, ATN_USAGE, "--set: expected key=value (judge.tolerance=2), got '%s'", assignment);
    char *path = atn_strndup(assignment, (size_t)(equals - assignment)), *name = atn_format("--set %s", path);
    reader r = {.name = name, .text = equals + 1, .err = err};
    atn_status st = strlen(path) > 120 ? atn_fail(err, ATN_USAGE, "--set: unknown key '%.40s...'", path)
                    : !indices_plain(path)
                        ? atn_fail(err, ATN_USAGE, "--set: the index in '%s' is to be a number from 0 to 999", path)
                        : transact(c, &r, read_assignment, path);
    free(name);
    free(path);
    return st;
}

atn_status config_put(atn_config *c, const char *path, const char *value, const char *origin, atn_error *err)
{
    const config_key *k = config_key_find(path);
    ATN_CHECK(k && k->type != CONFIG_ANY);
    reader r = {.config = c, .name = origin, .text = "", .err = err};
    if (!config_is_list(k)) {
        config_clear(c, path);
        return read_scalar(&r, k, path, value, true, (yaml_mark_t){0});
    }
    int n = 0;
    for (int i = 0; i < c->n; i++) n += config_covers(path, c->entries[i].path) && c->entries[i].raw;
    char *item = atn_format("%s[%d]", path, n);
    atn_status st = read_scalar(&r, k, item, value, true, (yaml_mark_t){0});
    free(item);
    return st;
}
