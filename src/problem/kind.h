/* The kind of a problem: types, and whether it is prefill or decode, "f32 prefill", "f32:f16 decode"; and its class in a
 * portfolio. By kinds a program says what it was judged on (attune/kernel.h, attune_judged) and a plan whether it may use
 * that program; by classes a run's dispatch.txt names its best programs. Inline, since the judge's world and the hosts'
 * library share nothing else of this folder. */
#ifndef ATN_PROBLEM_KIND_H
#define ATN_PROBLEM_KIND_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { KIND_ROOM = 32, TYPES_ROOM = 24 };

/* Few query rows against many keys. */
static inline bool kind_is_decode(int Sq, int Skv)
{
    return Sq <= 16 && Skv >= 4 * Sq && Skv > 16;
}

/* "f32", or "f32:f16" where keys and values are of another type than queries. */
static inline void types_print(const char *q, const char *k, const char *v, char out[TYPES_ROOM])
{
    if (strcmp(k, v)) snprintf(out, TYPES_ROOM, "%s:%s:%s", q, k, v);
    else if (strcmp(q, k)) snprintf(out, TYPES_ROOM, "%s:%s", q, k);
    else snprintf(out, TYPES_ROOM, "%s", q);
}

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

/* "long causal d64 f32 gqa2". length: decode, short or long. */
static inline void class_words_print(const char *length, bool causal, bool window, bool mask, int D, int Dv,
                                     const char *types, int Hq, int Hkv, char *out, size_t room)
{
    char head[32], group[24];
    if (D == Dv) snprintf(head, sizeof head, "d%d", D);
    else snprintf(head, sizeof head, "d%d/%d", D, Dv);
    if (Hq == Hkv) snprintf(group, sizeof group, "mha");
    else snprintf(group, sizeof group, "gqa%d", Hq / Hkv);
    snprintf(out, room, "%s %s %s %s %s", length, causal ? "causal" : window ? "window" : mask ? "mask" : "full", head,
             types, group);
}

#endif
