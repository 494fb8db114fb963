/* The folder of a run as a kernel: dispatch.txt says which of its programs is the best for each class of problem.
 *
 * The table that stands for a folder is that of a second copy of its `default` object, so that the same object loaded by
 * its own path stays one kernel for everything. Portfolios stay for the life of the process, as their objects do. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "run/run_int.h"

enum { ROWS_MAX = 64, DISPATCH_MAX = 1 << 20 };

typedef struct {
    char words[96];              /* "long causal d64 f32 gqa2": problem/kind.h */
    const atn_kernel *table;
} row;

typedef struct portfolio {
    struct portfolio *next;
    char hash[33];               /* of dispatch.txt and of what was loaded for it */
    const atn_kernel *table;
    int short_keys;              /* up to so many keys a problem is short */
    int n;
    row rows[ROWS_MAX];
} portfolio;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list; its members do not change */
static portfolio *all;

/* ---- reading ---- */

char *portfolio_text(const char *folder, char *place, size_t room, atn_error *err)
{
    static const char *const inside[] = {"/portfolio", ""};
    for (int i = 0; i < ATN_COUNT(inside); i++) {
        char *text = NULL;
        snprintf(place, room, "%s%s", folder, inside[i]);
        char *path = file_join(place, "dispatch.txt");
        const bool there = file_exists(path);
        if (there) file_read_text(path, DISPATCH_MAX, &text, err);
        free(path);
        if (there) return text;
    }
    atn_fail(err, ATN_NOT_FOUND, "'%s' is not the folder of a run: it has no portfolio/dispatch.txt", folder);
    return NULL;
}

static atn_status load_program(const char *place, const char *name, bool again, const atn_kernel **out, atn_error *err)
{
    if (strchr(name, '/'))
        return atn_fail(err, ATN_FORMAT, "dispatch.txt of '%s' names '%s', which is not beside it", place, name);
    char *program = file_join(place, name), *object = kernel_object(program);
    const atn_status st =
        file_exists(object) ? kernel_load(object, NULL, again, out, err)
                            : atn_fail(err, ATN_NOT_FOUND, "cannot find '%s'; 'attune build %s' makes it", object, place);
    free(object);
    free(program);
    return st;
}

static atn_status read_rows(const char *place, char *text, portfolio *p, char usual[256], atn_error *err)
{
    atn_text key = {0};
    atn_status st = ATN_OK;
    text_add(&key, text);
    for (char *line; !st && (line = strsep(&text, "\n"));) {
        char w[5][16], name[256];
        if (!*line || *line == '#' || sscanf(line, "short up to %d keys", &p->short_keys) == 1 ||
            sscanf(line, "default %255s", usual) == 1)
            continue;
        if (p->n == ROWS_MAX || sscanf(line, "%15s %15s %15s %15s %15s t%*d %255s", w[0], w[1], w[2], w[3], w[4], name) != 6) {
            st = atn_fail(err, ATN_FORMAT, "dispatch.txt of '%s' has a line that is not a class and a file: '%.60s'", place,
                          line);
            break;
        }
        row *r = &p->rows[p->n++];
        snprintf(r->words, sizeof r->words, "%s %s %s %s %s", w[0], w[1], w[2], w[3], w[4]);
        st = load_program(place, name, false, &r->table, err);
        if (!st) text_addf(&key, "%p", (const void *)r->table);
    }
    if (!st && !*usual) st = atn_fail(err, ATN_FORMAT, "dispatch.txt of '%s' has no line 'default'", place);
    hash_hex(key.s, key.n, p->hash);
    text_free(&key);
    return st;
}

/* With the lock held. */
static atn_status load(const char *folder, portfolio *draft, const portfolio **out, atn_error *err)
{
    char place[4200], usual[256] = "";
    char *text = portfolio_text(folder, place, sizeof place, err);
    if (!text) return ATN_NOT_FOUND;
    atn_status st = read_rows(place, text, draft, usual, err);
    free(text);
    for (const portfolio *p = all; !st && p; p = p->next)
        if (!strcmp(p->hash, draft->hash)) {
            *out = p;
            return ATN_OK;
        }
    if (!st) st = load_program(place, usual, true, &draft->table, err);
    if (!st) *out = draft;
    return st;
}

atn_status portfolio_load(const char *folder, const atn_kernel **out, atn_error *err)
{
    const portfolio *found = NULL;
    portfolio *p = calloc(1, sizeof *p);
    if (!p) return atn_fail(err, ATN_MEMORY, "no memory for the portfolio '%s'", folder);
    pthread_mutex_lock(&lock);
    const atn_status st = load(folder, p, &found, err);
    if (!st) *out = found->table;
    if (found == p) {
        p->next = all;
        all = p;
    }
    pthread_mutex_unlock(&lock);
    if (found != p) free(p);
    return st;
}

/* ---- choosing ---- */

const atn_kernel *portfolio_choose(const atn_kernel *table, const atn_args *a)
{
    pthread_mutex_lock(&lock);
    const portfolio *p = all;
    while (p && p->table != table) p = p->next;
    pthread_mutex_unlock(&lock);
    if (!p) return table;
    char types[TYPES_ROOM], words[128];
    types_of(a, types);
    class_words_print(kind_is_decode(a->Sq, a->Skv) ? "decode" : a->Skv > p->short_keys ? "long" : "short", a->causal,
                      a->window_left >= 0 || a->window_right >= 0, a->mask.ptr, a->D, a->Dv, types, a->Hq, a->Hkv, words,
                      sizeof words);
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->rows[i].words, words)) return p->rows[i].table;
    return table;
}
