/* The kind of a problem: types, and whether it is prefill or decode, "f32 prefill", "f32:f16 decode". By kinds a program
 * says what it was judged on (attune/kernel.h, attune_judged) and a plan whether it may use that program. Inline, since
 * the judge's world and the hosts' library share nothing else of this folder. */
#ifndef ATN_PROBLEM_KIND_H
#define ATN_PROBLEM_KIND_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { KIND_ROOM = 32 };

/* Few query rows against many keys. */
static inline bool kind_is_decode(int Sq, int Skv)
{
    return Sq <= 16 && Skv >= 4 * Sq && Skv > 16;
}

/* types: "f32", or "f32:f16" where keys and values are of another type than queries. */
static inline void kind_print(const char *types, bool decode, char out[KIND_ROOM])
{
    snprintf(out, KIND_ROOM, "%s %s", types, decode ? "decode" : "prefill");
}

/* Does a list, "f32 prefill, f32 decode", name the kind? */
static inline bool kind_listed(const char *list, const char *kind)
{
    const size_t n = strlen(kind);
    for (const char *p = list; *p; p += strcspn(p, ",")) {
        p += strspn(p, ", ");
        if (!strncmp(p, kind, n) && strspn(p + n, " ") == strcspn(p + n, ",")) return true;
    }
    return false;
}

#endif
