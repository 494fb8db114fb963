/* What was given: entries under the table's keys, how they are asked for, and what they mean together.
 *
 * Invariant: every config_entry of a config has passed the type and range of its key, so getters cannot fail. Entries keep the
 * place that they came from until the end, because later checks (a case that does not parse) must name it too. */
#include "evolve/config_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CASES_MAX = ATN_CASES_MAX };

/* --- entries ------------------------------------------------------------------------------------------------------- */

atn_config *config_create(void)
{
    return atn_alloc(sizeof(atn_config));
}

static void entry_free(config_entry *e)
{
    free(e->path);
    free(e->raw);
    free(e->text);
    free(e->where);
}

void config_free(atn_config *c)
{
    if (!c) return;
    for (int i = 0; i < c->n; i++) entry_free(&c->entries[i]);
    free(c->entries);
    text_free(&c->twice);
    free(c);
}

/* "llm.models[3].name" -> "llm.models[].name" */
void config_pattern(const char *path, char *out, size_t room)
{
    size_t n = 0;
    bool inside = false;
    for (; *path && n + 1 < room; path++) {
        if (*path == ']') inside = false;
        if (!inside) out[n++] = *path;
        if (*path == '[') inside = true;
    }
    out[n] = 0;
}

const config_key *config_key_find(const char *path)
{
    char pattern[160];
    config_pattern(path, pattern, sizeof pattern);
    for (int i = 0; i < config_key_count; i++)
        if (!strcmp(config_keys[i].path, pattern)) return &config_keys[i];
    return NULL;
}

bool config_is_list(const config_key *k)
{
    return k->type == CONFIG_TEXTS || k->type == CONFIG_REALS || k->type == CONFIG_CASES;
}

/* True for the path itself and for items of it: "judge.suites", "judge.suites[0]". */
bool config_covers(const char *path, const char *concrete)
{
    size_t n = strlen(path);
    return !strncmp(path, concrete, n) && (concrete[n] == 0 || concrete[n] == '[');
}

void config_clear(atn_config *c, const char *path)
{
    int kept = 0;
    for (int i = 0; i < c->n; i++) {
        if (config_covers(path, c->entries[i].path)) entry_free(&c->entries[i]);
        else c->entries[kept++] = c->entries[i];
    }
    c->n = kept;
}

void config_add(atn_config *c, const config_key *key, const char *path, const char *raw, const char *text,
                const char *where)
{
    if (c->n == c->room)
        c->entries = atn_realloc(c->entries, sizeof(config_entry) * (size_t)(c->room = c->room ? 2 * c->room : 32));
    c->entries[c->n++] =
        (config_entry){key, atn_strdup(path), raw ? atn_strdup(raw) : NULL, text ? atn_strdup(text) : NULL, atn_strdup(where)};
}

const config_entry *config_entry_find(const atn_config *c, const char *path)
{
    for (int i = c->n - 1; i >= 0; i--)
        if (!strcmp(c->entries[i].path, path)) return &c->entries[i];
    return NULL;
}
bool config_is_section(const char *path, bool list)
{
    char pattern[160];
    config_pattern(path, pattern, sizeof pattern - 4);
    strcat(pattern, list ? "[]." : ".");
    for (int i = 0; i < config_key_count; i++)
        if (text_starts(config_keys[i].path, pattern)) return true;
    return false;
}

/* --- asking -------------------------------------------------------------------------------------------------------- */

static const char *value_of(const atn_config *c, const char *path)
{
    const config_key *k = config_key_find(path);
    ATN_CHECK(k);
    const config_entry *e = config_entry_find(c, path);
    return e && e->text ? e->text : k->otherwise;
}

bool config_has(const atn_config *c, const char *path)
{
    ATN_CHECK(config_key_find(path) || config_is_section(path, true) || config_is_section(path, false));
    for (int i = 0; i < c->n; i++)
        if (c->entries[i].text && (config_covers(path, c->entries[i].path) ||
                                   (text_starts(c->entries[i].path, path) && c->entries[i].path[strlen(path)] == '.')))
            return true;
    return false;
}

long long config_int(const atn_config *c, const char *path)
{
    const char *s = value_of(c, path);
    long long v = 0;
    if (s) ATN_CHECK(config_read_int(s, &v));
    return v;
}

double config_real(const atn_config *c, const char *path)
{
    const char *s = value_of(c, path);
    double v = 0;
    if (s) ATN_CHECK(config_read_real(s, &v));
    return v;
}

bool config_bool(const atn_config *c, const char *path)
{
    const char *s = value_of(c, path);
    bool v = false;
    if (s) ATN_CHECK(config_read_bool(s, &v));
    return v;
}

const char *config_text(const atn_config *c, const char *path)
{
    return value_of(c, path);
}

int config_count(const atn_config *c, const char *path)
{
    const config_key *k = config_key_find(path);
    ATN_CHECK(k || config_is_section(path, true));
    size_t n = strlen(path);
    int count = 0;
    bool given = false;
    for (int i = 0; i < c->n; i++) {
        const char *p = c->entries[i].path;
        if (!config_covers(path, p)) continue;
        given = true;
        if (p[n] == '[' && atoi(p + n + 1) >= count) count = atoi(p + n + 1) + 1;
    }
    return given || !k || !k->otherwise ? count : 1;
}

const char *config_item(const atn_config *c, const char *path, int i)
{
    const config_key *k = config_key_find(path);
    ATN_CHECK(k && config_is_list(k) && i >= 0 && i < config_count(c, path));
    char item[200];
    snprintf(item, sizeof item, "%s[%d]", path, i);
    const config_entry *e = config_entry_find(c, item);
    return e && e->text ? e->text : k->otherwise;
}

const char *config_where(const atn_config *c, const char *path, int i)
{
    char item[200];
    if (i >= 0) snprintf(item, sizeof item, "%s[%d]", path, i);
    const config_entry *e = config_entry_find(c, i >= 0 ? item : path);
    return e ? e->where : "default";
}

/* --- meaning ------------------------------------------------------------------------------------------------------ */

/* What the judge can hold; more cases than that make a race longer than its use. */
static atn_status check_count(const atn_suite *s, const char *where, atn_error *err)
{
    if (s->count <= CASES_MAX) return ATN_OK;
    return atn_fail(err, ATN_USAGE, "%s: that makes %d cases, and %d is the most; choose fewer suites or cases", where,
                    s->count, CASES_MAX);
}

atn_status config_suite(const atn_config *c, atn_suite *out, char **name, atn_error *err)
{
    static const char *const standard[] = {"seed", "readme"};
    int suites = config_count(c, "judge.suites"), cases = config_count(c, "judge.cases");
    bool plain = !suites && !cases;
    atn_text words = {0};
    atn_status st = ATN_OK;
    *out = (atn_suite){0};
    if (plain) suites = ATN_COUNT(standard);
    for (int i = 0; i < suites && !st; i++) {
        const char *s = plain ? standard[i] : config_item(c, "judge.suites", i);
        const char *where = plain ? "default" : config_where(c, "judge.suites", i);
        bool again = false;
        for (int j = 0; j < i && !plain; j++) again |= !strcmp(config_item(c, "judge.suites", j), s);
        if (again) continue;
        st = suite_add(out, s, err);
        if (st) {
            if (err) err->code = ATN_USAGE;
            atn_error_prefix(err, "%s", where);
            st = ATN_USAGE;
        }
        if (!st) st = check_count(out, where, err);
        text_addf(&words, "%s%s", words.n ? "+" : "", s);
    }
    for (int i = 0; i < cases && !st; i++) {
        const char *where = config_where(c, "judge.cases", i);
        st = suite_add_case(out, config_item(c, "judge.cases", i), err);
        if (st) {
            if (err) err->code = ATN_USAGE;
            atn_error_prefix(err, "%s", where);
            st = ATN_USAGE;
        }
        if (!st) st = check_count(out, where, err);
    }
    if (cases) text_addf(&words, "%s%d case%s", words.n ? "+" : "", cases, cases == 1 ? "" : "s");
    if (st) {
        suite_free(out);
        *out = (atn_suite){0};
    }
    if (!st && name) *name = text_take(&words);
    text_free(&words);
    return st;
}

atn_status config_check(const atn_config *c, atn_error *err)
{
    for (int i = 0; i < config_count(c, "proposers"); i++) {
        const char *p = config_item(c, "proposers", i);
        if (!config_is_choice(CONFIG_PROPOSERS, p))
            return atn_fail(err, ATN_USAGE, "%s: there is no proposer '%s'; valid: %s", config_where(c, "proposers", i),
                            p, CONFIG_PROPOSERS);
    }
    if (!config_count(c, "proposers"))
        return atn_fail(err, ATN_USAGE, "%s: proposers is empty; valid: %s", config_where(c, "proposers", -1),
                        CONFIG_PROPOSERS);
    atn_suite suite;
    atn_status st = config_suite(c, &suite, NULL, err);
    if (!st) suite_free(&suite);
    return st;
}
