/* Scalars as YAML 1.1 reads them. */
#include "evolve/config_parts.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool config_is_null(const char *s)
{
    return !*s || !strcmp(s, "~") || !strcasecmp(s, "null");
}

bool config_read_bool(const char *s, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    for (int i = 0; i < 3; i++) {
        if (!strcasecmp(s, yes[i])) return *out = true;
        if (!strcasecmp(s, no[i])) return *out = false, true;
    }
    return false;
}

/* Without the underscores that may stand between digits; false where one stands elsewhere. */
static bool strip_underscores(const char *s, char out[64])
{
    size_t n = 0;
    for (const char *p = s; *p; p++) {
        if (*p == '_') {
            if (p == s || !isalnum((unsigned char)p[-1]) || !isalnum((unsigned char)p[1])) return false;
            continue;
        }
        if (n == 63) return false;
        out[n++] = *p;
    }
    out[n] = 0;
    return n > 0;
}

bool config_read_real(const char *s, double *out)
{
    char plain[64];
    if (!strip_underscores(s, plain) || strpbrk(plain, "xXpPnN")) return false; /* no hex floats, no nan, no inf */
    return text_to_f64(plain, out);
}

bool config_read_int(const char *s, long long *out)
{
    char plain[64], *end;
    if (!strip_underscores(s, plain)) return false;
    const char *digits = plain + (plain[0] == '-' || plain[0] == '+');
    if (!isdigit((unsigned char)*digits)) return false;
    int base = digits[0] != '0' || !digits[1]      ? 10
               : digits[1] == 'x'                  ? 16
               : digits[1] == 'o'                  ? -1
               : isdigit((unsigned char)digits[1]) ? 8
                                                   : 10;
    if (base > 0) {
        *out = strtoll(plain, &end, base);
        if (!*end) return true;
    }
    double v; /* 1e3 is a whole number too */
    if (!text_to_f64(plain, &v) || v != floor(v) || !(fabs(v) < 9.1e15)) return false;
    *out = (long long)v;
    return true;
}

bool config_is_choice(const char *choices, const char *s)
{
    size_t n = strlen(s);
    for (const char *v = choices; v; v = strchr(v, '|') ? strchr(v, '|') + 1 : NULL)
        if (n && strcspn(v, "|") == n && !memcmp(v, s, n)) return true;
    return false;
}
