/* Knobs: finding `#define NAME <integer>   // knob: values [; note]` lines and putting other values in.
 *
 * Invariant: knobs_apply changes nothing but the integers of knob lines, and a knob whose value stays keeps its
 * bytes. */
#include "evolve/knobs.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "evolve/lex.h"

/* Where a knob stands in the text: its integer with sign and parentheses, and its comment. */
typedef struct {
    lex_token name, comment;
    size_t value_at, value_end;
    long value;
    int line;
    const char *wrong;       /* NULL, or why this knob comment is malformed */
} knob_site;

static bool spell_long(const char *source, lex_token t, long *out)
{
    char s[64];
    if (t.kind != LEX_NUMBER || lex_spell(source, t, s, sizeof s) >= sizeof s) return false;
    char *end;
    errno = 0;
    *out = strtol(s, &end, 0);
    return errno == 0 && end != s && !*end;
}

/* The text after "knob:" in a comment, or NULL where the comment is none of ours. */
static const char *knob_comment(const char *source, lex_token t)
{
    if (t.kind != LEX_COMMENT || t.end - t.at < 7) return NULL;
    const char *p = source + t.at + 2, *end = source + t.end;
    while (p < end && (*p == ' ' || *p == '\t' || *p == '*')) p++;
    return end - p >= 5 && !memcmp(p, "knob:", 5) ? p + 5 : NULL;
}

/* Reads one line of tokens (without the newline); the count is capped, the last token of the line is always kept
 * last. */
enum { LINE_TOKENS = 12 };
static int read_line(lex_state *l, lex_token t[LINE_TOKENS], bool *end)
{
    int n = 0;
    for (;;) {
        lex_token x = lex_next(l);
        *end = x.kind == LEX_END;
        if (*end || x.kind == LEX_NEWLINE) return n;
        if (n == LINE_TOKENS) t[LINE_TOKENS - 1] = x;
        else t[n++] = x;
    }
}

static bool starts_integer(const char *p)
{
    while (*p == ' ' || *p == '\t') p++;
    if (*p == '-' || *p == '+') p++;
    return isdigit((unsigned char)*p);
}

/* Is this line a knob? true fills *site; a malformed knob is one with site->wrong set. */
static bool site_of_line(const char *s, const lex_token *t, int n, knob_site *site)
{
    const char *list = n ? knob_comment(s, t[n - 1]) : NULL;
    if (!list) return false;
    *site = (knob_site){.comment = t[n - 1], .line = t[0].line};
    bool hash = n >= 2 && t[0].kind == LEX_PUNCT && (lex_is(s, t[0], "#") || lex_is(s, t[0], "%:"));
    bool define = hash && lex_is(s, t[1], "define");
    if (!define) {    /* prose that happens to begin with "knob:" is nobody's mistake */
        site->wrong = "a knob comment stands behind '#define NAME <integer>' on one line";
        return starts_integer(list);
    }
    site->wrong = "a knob is '#define NAME <integer>   // knob: values'";
    if (n < 5 || n > 8 || t[2].kind != LEX_NAME) return true;
    site->name = t[2];
    int i = 3;
    bool parens = lex_is(s, t[i], "("), minus = false;
    if (parens && t[i].at == t[2].end) return true;          /* a function-like macro */
    i += parens;
    minus = lex_is(s, t[i], "-");
    i += minus;
    if (i + 1 >= n || !spell_long(s, t[i], &site->value)) return true;
    if (minus) site->value = -site->value;
    i++;
    if (parens && (i + 1 >= n || !lex_is(s, t[i++], ")"))) return true;
    if (i != n - 1) return true;
    site->value_at = t[3].at;
    site->value_end = t[i - 1].end;
    site->wrong = NULL;
    return true;
}

static bool next_site(lex_state *l, knob_site *site)
{
    for (bool end = false; !end;) {
        lex_token t[LINE_TOKENS];
        int n = read_line(l, t, &end);
        if (site_of_line(l->s, t, n, site)) return true;
    }
    return false;
}

static int value_index(const atn_knob *k, long v)
{
    for (int i = 0; i < k->count; i++)
        if (k->values[i] == v) return i;
    return -1;
}

/* Reads the values and the note; NULL, or what is wrong. */
static const char *read_values(const char *source, const knob_site *site, atn_knob *k)
{
    const char *p = knob_comment(source, site->comment), *end = source + site->comment.end;
    if (source[site->comment.at + 1] == '*' && end - p >= 2 && end[-1] == '/' && end[-2] == '*') end -= 2;
    while (p < end && *p != ';') {
        if (*p == ' ' || *p == '\t' || *p == ',' || *p == '\r') { p++; continue; }
        char word[32];
        size_t n = 0;
        while (p < end && !strchr(" \t,;\r\n", *p)) {
            if (n + 1 < sizeof word) word[n++] = *p;
            p++;
        }
        if (p < end && *p == '\n') return "a knob's values stand on one line";
        word[n] = 0;
        char *stop;
        errno = 0;
        long v = strtol(word, &stop, 0);
        if (errno || stop == word || *stop) return "a knob's values are integers, with ';' before a note";
        if (value_index(k, v) >= 0) continue;
        if (k->count == KNOB_VALUES_MAX) return "too many values for one knob (at most 32)";
        k->values[k->count++] = v;
    }
    if (k->count == 0) return "a knob lists at least one value";
    k->now = value_index(k, site->value);
    if (k->now < 0) {
        if (k->count == KNOB_VALUES_MAX) return "too many values for one knob (at most 32)";
        k->now = k->count;
        k->values[k->count++] = site->value;
    }
    if (p < end) p++;
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    size_t n = 0;
    for (; p < end && n + 1 < sizeof k->note; p++) k->note[n++] = (unsigned char)*p < 32 ? ' ' : *p;
    while (n && k->note[n - 1] == ' ') n--;
    k->note[n] = 0;
    return NULL;
}

atn_status knobs_parse(const char *source, atn_knobs *out, atn_error *err)
{
    ATN_ASSERT(source && out);
    *out = (atn_knobs){0};
    lex_state l = lex_start(source);
    knob_site site;
    while (next_site(&l, &site)) {
        const char *wrong = site.wrong;
        if (!wrong && out->count == KNOBS_MAX) wrong = "too many knobs (at most 64)";
        atn_knob k = {.line = site.line};
        if (!wrong && lex_spell(source, site.name, k.name, sizeof k.name) >= sizeof k.name)
            wrong = "a knob's name is too long";
        if (!wrong) wrong = read_values(source, &site, &k);
        if (wrong) {
            out->count = 0;
            return atn_fail(err, ATN_FORMAT,
                            "line %d: %s; for example '#define BR 48   // knob: 16 32 48 ; rows per block'",
                            site.line, wrong);
        }
        out->knob[out->count++] = k;
    }
    return ATN_OK;
}

/* idx NULL: every knob at its first listed value, spelt the same way whatever stood there. */
static char *apply(const char *source, const atn_knobs *k, const int *idx)
{
    atn_text out = {0};
    lex_state l = lex_start(source);
    knob_site site;
    size_t done = 0;
    for (int i = 0; i < k->count && next_site(&l, &site); i++) {
        int at = idx ? idx[i] : 0;
        ATN_CHECK(!site.wrong && at >= 0 && at < k->knob[i].count);
        long v = k->knob[i].values[at];
        if (idx && v == site.value) continue;
        text_addn(&out, source + done, site.value_at - done);
        text_addf(&out, v < 0 ? "(%ld)" : "%ld", v);
        done = site.value_end;
    }
    text_add(&out, source + done);
    return text_take(&out);
}

char *knobs_apply(const char *source, const atn_knobs *k, const int *idx)
{
    ATN_ASSERT(source && k && (idx || !k->count));
    return k->count ? apply(source, k, idx) : atn_strdup(source);
}

void knobs_family_hash(const char *source, char out[33])
{
    atn_knobs *k = atn_alloc(sizeof *k);
    if (knobs_parse(source, k, NULL) != ATN_OK) k->count = 0;
    char *text = apply(source, k, NULL);
    hash_hex(text, strlen(text), out);
    free(text);
    free(k);
}
