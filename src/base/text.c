/* Growable text and small string helpers. */
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

static void reserve(atn_text *t, size_t more)
{
    if (t->n + more + 1 <= t->room) return;
    size_t room = t->room ? t->room * 2 : 256;
    while (room < t->n + more + 1) room *= 2;
    t->s = atn_realloc(t->s, room);
    t->room = room;
}

void text_addn(atn_text *t, const char *s, size_t n)
{
    reserve(t, n);
    memcpy(t->s + t->n, s, n);
    t->n += n;
    t->s[t->n] = 0;
}

void text_add(atn_text *t, const char *s) { text_addn(t, s, strlen(s)); }

void text_add_word(atn_text *t, const char *w)
{
    if (*w && !w[strspn(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%")]) {
        text_add(t, w);
        return;
    }
    text_add(t, "'");
    for (; *w; w++) {
        if (*w == '\'') text_add(t, "'\\''");
        else text_addf(t, "%c", *w);
    }
    text_add(t, "'");
}

void text_addf(atn_text *t, const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n > 0) {
        reserve(t, (size_t)n);
        vsnprintf(t->s + t->n, (size_t)n + 1, format, again);
        t->n += (size_t)n;
    }
    va_end(again);
}

char *text_take(atn_text *t)
{
    char *s = t->s ? t->s : atn_strdup("");
    *t = (atn_text){0};
    return s;
}

void text_free(atn_text *t)
{
    free(t->s);
    *t = (atn_text){0};
}

void text_add_html(atn_text *t, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '<': text_add(t, "&lt;"); break;
        case '>': text_add(t, "&gt;"); break;
        case '&': text_add(t, "&amp;"); break;
        case '"': text_add(t, "&quot;"); break;
        case '\'': text_add(t, "&#39;"); break;
        default:
            if ((unsigned char)*s >= 32 || *s == '\n' || *s == '\t') text_addn(t, s, 1);
            else text_add(t, "\xef\xbf\xbd");
        }
    }
}

void text_add_csv(atn_text *t, const char *s)
{
    const bool quoted = strpbrk(s, ",\"\r\n\t") || (*s && strchr("=+-@ ", *s));
    if (quoted) text_add(t, "\"");
    if (*s && strchr("=+-@\t\r", *s)) text_add(t, "'");
    for (; *s; s++) text_addf(t, *s == '"' ? "\"\"" : "%c", (unsigned char)*s < 32 ? ' ' : *s);
    if (quoted) text_add(t, "\"");
}

size_t text_utf8(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t k = !n                            ? 0
               : s[0] < 0x80                 ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    if (!k || k > n) return 0;
    for (size_t i = 1; i < k; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0)) return 0; /* overlong, surrogate */
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90)) return 0;
    return k;
}

/* The same set as tame() of web/page.js. */
static bool is_unseen(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xe0000 && c < 0xe0080);
}

void text_add_visible(atn_text *t, const char *s, bool lines)
{
    for (size_t left = strlen(s); left;) {
        const unsigned char *u = (const unsigned char *)s;
        size_t k = text_utf8(s, left);
        unsigned c = k == 0   ? 0xfffd
                     : k == 1 ? u[0]
                     : k == 2 ? (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu)
                     : k == 3 ? (u[0] & 0x0fu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu)
                              : (u[0] & 0x07u) << 18 | (u[1] & 0x3fu) << 12 | (u[2] & 0x3fu) << 6 | (u[3] & 0x3fu);
        if (!k) text_add(t, "\xef\xbf\xbd");
        else if (c == '\n' || c == '\t') text_addn(t, lines ? s : " ", 1);
        else if (is_unseen(c)) text_addf(t, "\\u%04x", c);
        else text_addn(t, s, k);
        k += !k;
        s += k;
        left -= k;
    }
}

int text_distance(const char *a, const char *b)
{
    enum { MAX = 63 };
    int na = (int)strnlen(a, MAX), nb = (int)strnlen(b, MAX);
    int d[MAX + 1][MAX + 1];
    for (int i = 0; i <= na; i++) d[i][0] = i;
    for (int j = 0; j <= nb; j++) d[0][j] = j;
    for (int i = 1; i <= na; i++) {
        for (int j = 1; j <= nb; j++) {
            int cost = a[i - 1] != b[j - 1];
            d[i][j] = ATN_MIN(ATN_MIN(d[i - 1][j] + 1, d[i][j - 1] + 1), d[i - 1][j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = ATN_MIN(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[na][nb];
}

const char *text_nearest(const char *s, const char *const *names, int n)
{
    const char *best = NULL;
    int least = 1 + (int)strlen(s) / 3;   /* a third of the letters wrong is still a typo */
    for (int i = 0; i < n; i++) {
        int d = text_distance(s, names[i]);
        if (d <= least && (!best || d < least)) {
            best = names[i];
            least = d;
        }
    }
    return best;
}

bool text_starts(const char *s, const char *prefix) { return strncmp(s, prefix, strlen(prefix)) == 0; }

bool text_to_i64(const char *s, long long *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (end == s || *end || errno) return false;
    *out = v;
    return true;
}

bool text_to_f64(const char *s, double *out)
{
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (end == s || *end || (errno && (v > 1 || v < -1))) return false;
    *out = v;
    return true;
}
