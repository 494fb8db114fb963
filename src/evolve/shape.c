/* Structural fingerprint of a program: its tokens without blanks and comments, each identifier replaced by the number
 * of its first use, so that renaming changes nothing while swapping two names does. Names with a given meaning (of the
 * language, the kernel contract, the vector header) are kept as they are spelt. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "evolve/knobs.h"
#include "evolve/lex.h"

/* Names whose spelling matters: what the language, the kernel contract and the vector header give a meaning to. */
static bool is_fixed(const char *s)
{
    static const char *const words[] = {
        "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
        "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
        "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while",
        "define", "undef", "ifdef", "ifndef", "elif", "endif", "include", "error", "pragma", "defined", "VL"};
    for (int i = 0; i < ATN_COUNT(words); i++)
        if (!strcmp(s, words[i])) return true;
    static const char *const prefixes[] = {"_", "atn_", "ATN_", "vf", "VF_", "vi_", "vu", "vh", "int8", "int16",
                                           "int32", "int64", "uint", "size_t", "scalar_"};
    for (int i = 0; i < ATN_COUNT(prefixes); i++)
        if (!strncmp(s, prefixes[i], strlen(prefixes[i]))) return true;
    return false;
}

typedef struct {
    uint64_t *name;       /* hash of the spelling, 0: empty */
    uint64_t *number;
    size_t size, n;
} name_table;

static uint64_t number_of(name_table *t, uint64_t name)
{
    if (t->n * 2 >= t->size) {
        name_table old = *t;
        t->size = old.size ? old.size * 2 : 1024;
        t->name = atn_alloc(t->size * sizeof *t->name);
        t->number = atn_alloc(t->size * sizeof *t->number);
        for (size_t i = 0; i < old.size; i++) {
            if (!old.name[i]) continue;
            size_t at = old.name[i] & (t->size - 1);
            while (t->name[at]) at = (at + 1) & (t->size - 1);
            t->name[at] = old.name[i];
            t->number[at] = old.number[i];
        }
        free(old.name);
        free(old.number);
    }
    size_t at = name & (t->size - 1);
    while (t->name[at] && t->name[at] != name) at = (at + 1) & (t->size - 1);
    if (!t->name[at]) {
        t->name[at] = name;
        t->number[at] = ++t->n;
    }
    return t->number[at];
}

uint64_t program_shape_hash(const char *source)
{
    ATN_ASSERT(source);
    name_table names = {0};
    lex_state l = lex_start(source);
    uint64_t h = 0;
    bool directive = false, fresh = true;
    for (;;) {
        lex_token t = lex_next(&l);
        if (t.kind == LEX_COMMENT) continue;
        if (t.kind == LEX_NEWLINE || t.kind == LEX_END) {
            if (directive) h = rng_mix(h ^ 0x6e6c);        /* only a directive's end of line is structure */
            directive = false;
            fresh = true;
            if (t.kind == LEX_END) break;
            continue;
        }
        if (fresh && t.kind == LEX_PUNCT && lex_is(source, t, "#")) directive = true;
        fresh = false;
        size_t n = t.end - t.at;
        char small[256], *s = n < sizeof small ? small : atn_alloc(n + 1);
        n = lex_spell(source, t, s, n < sizeof small ? sizeof small : n + 1);
        uint64_t spelling = hash_bytes(s, n);
        if (t.kind == LEX_NAME && !is_fixed(s)) h = rng_mix(h ^ number_of(&names, spelling ? spelling : 1));
        else h = rng_mix(h ^ rng_mix(spelling ^ (uint64_t)t.kind));
        if (s != small) free(s);
    }
    free(names.name);
    free(names.number);
    return h;
}
