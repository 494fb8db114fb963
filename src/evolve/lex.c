/* C tokens. Invariant: every byte of the source belongs to exactly one token, to a blank or to a splice, and each call
 * moves forward, so that lexing is linear in the text whatever the text is. */
#include "evolve/lex.h"

#include <string.h>

/* Position of the first byte at or after i that is no line splice (gcc and clang allow blanks between \ and
 * newline). */
static size_t unspliced(const char *s, size_t i)
{
    while (s[i] == '\\') {
        size_t j = i + 1;
        while (s[j] == ' ' || s[j] == '\t' || s[j] == '\r') j++;
        if (s[j] != '\n') break;
        i = j + 1;
    }
    return i;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || is_digit(c) ||
           (unsigned char)c >= 128;
}

lex_state lex_start(const char *source) { return (lex_state){.s = source, .i = 0, .line = 1}; }

static size_t comment_end(const char *s, size_t i, bool block)
{
    while (s[i = unspliced(s, i)]) {
        if (!block && s[i] == '\n') return i;
        if (block && s[i] == '*') {
            size_t j = unspliced(s, i + 1);
            if (s[j] == '/') return j + 1;
        }
        i++;
    }
    return i;
}

static size_t quote_end(const char *s, size_t i, char quote)
{
    while (s[i = unspliced(s, i)] && s[i] != '\n') {
        if (s[i] == quote) return i + 1;
        if (s[i] == '\\') {
            i = unspliced(s, i + 1);
            if (!s[i] || s[i] == '\n') return i;
        }
        i++;
    }
    return i;
}

static size_t number_end(const char *s, size_t i)
{
    for (;;) {
        size_t j = unspliced(s, i);
        if (!is_word(s[j]) && s[j] != '.') return i;
        i = j + 1;
        if (s[j] == 'e' || s[j] == 'E' || s[j] == 'p' || s[j] == 'P') {
            size_t k = unspliced(s, i);
            if (s[k] == '+' || s[k] == '-') i = k + 1;
        }
    }
}

static size_t punct_end(const char *s, size_t i)
{
    static const char *const longest[] = {"<<=", ">>=", "...", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "++",
                                          "--", "->", "+=", "-=", "*=", "/=", "%=", "&=", "^=", "|=", "##", "%:"};
    for (size_t w = 0; w < sizeof longest / sizeof *longest; w++) {
        size_t j = i;
        const char *p = longest[w];
        while (*p && s[j = unspliced(s, j)] == *p) j++, p++;
        if (!*p) return j;
    }
    return i + 1;
}

lex_token lex_next(lex_state *l)
{
    const char *s = l->s;
    size_t i = unspliced(s, l->i);
    while (s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\f' || s[i] == '\v') i = unspliced(s, i + 1);
    for (size_t j = l->i; j < i; j++) l->line += s[j] == '\n';

    lex_token t = {.at = i, .line = l->line};
    size_t next = s[i] ? unspliced(s, i + 1) : i;
    if (!s[i]) t.kind = LEX_END, t.end = i;
    else if (s[i] == '\n') t.kind = LEX_NEWLINE, t.end = i + 1;
    else if (s[i] == '/' && s[next] == '/') t.kind = LEX_COMMENT, t.end = comment_end(s, next + 1, false);
    else if (s[i] == '/' && s[next] == '*') t.kind = LEX_COMMENT, t.end = comment_end(s, next + 1, true);
    else if (s[i] == '"') t.kind = LEX_STRING, t.end = quote_end(s, i + 1, '"');
    else if (s[i] == '\'') t.kind = LEX_CHAR, t.end = quote_end(s, i + 1, '\'');
    else if (is_digit(s[i]) || (s[i] == '.' && is_digit(s[next]))) t.kind = LEX_NUMBER, t.end = number_end(s, i);
    else if (is_word(s[i])) {
        t.kind = LEX_NAME;
        t.end = i + 1;
        for (size_t j = unspliced(s, t.end); is_word(s[j]); j = unspliced(s, t.end)) t.end = j + 1;
    } else {
        t.kind = LEX_PUNCT;
        t.end = punct_end(s, i);
    }
    for (size_t j = i; j < t.end; j++) l->line += s[j] == '\n';
    l->i = t.end;
    return t;
}

size_t lex_spell(const char *source, lex_token t, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = t.at; i < t.end; i++) {
        i = unspliced(source, i);
        if (i >= t.end) break;
        if (n + 1 < room) out[n] = source[i];
        n++;
    }
    if (room) out[n < room ? n : room - 1] = 0;
    return n;
}

bool lex_is(const char *source, lex_token t, const char *word)
{
    size_t n = strlen(word), k = 0;
    if (t.end - t.at == n) return memcmp(source + t.at, word, n) == 0;
    if (t.end - t.at < n) return false;
    for (size_t i = t.at; i < t.end; i++) {
        i = unspliced(source, i);
        if (i >= t.end) break;
        if (k >= n || source[i] != word[k++]) return false;
    }
    return k == n;
}
