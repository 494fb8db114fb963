/* Wisdom: a sorted table of (class -> kernel), and its text form (attune/wisdom.h).
 *
 * Invariant: rows are sorted by class text, one row per class, every class parses. Text is read into a new table first
 * and merged only when all of it was good. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/text.h"
#include "run/run_int.h"

enum { TEXT_MAX = 16 << 20, ROWS_MAX = 1 << 16 };

typedef struct {
    atn_wisdom_row row;
    problem_class class;
} entry;

typedef struct {
    entry *e;
    int n, room;
} table;

struct atn_wisdom {
    pthread_mutex_t lock; /* guards t */
    table t;
};

static const char *compiler_name(void)
{
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

/* ---- the table ---- */

static int table_find(const table *t, const char *class_text, bool *found)
{
    int lo = 0, hi = t->n;
    while (lo < hi) {
        const int mid = (lo + hi) / 2, c = strcmp(t->e[mid].row.problem, class_text);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    *found = false;
    return lo;
}

static atn_status table_reserve(table *t, int n, atn_error *err)
{
    if (n <= t->room) return ATN_OK;
    if (n > ROWS_MAX) return atn_fail(err, ATN_FORMAT, "more than %d rows of wisdom", ROWS_MAX);
    const int room = ATN_MAX(n, t->room ? 2 * t->room : 16);
    entry *e = realloc(t->e, (size_t)room * sizeof *e);
    if (!e) return atn_fail(err, ATN_MEMORY, "no memory for %d rows of wisdom", room);
    t->e = e;
    t->room = room;
    return ATN_OK;
}

/* Room for one more must be there. */
static void table_put(table *t, const entry *e, bool only_if_faster)
{
    bool found;
    const int at = table_find(t, e->row.problem, &found);
    if (found) {
        ATN_ASSERT(t->e);
        if (!only_if_faster || e->row.gflops > t->e[at].row.gflops) t->e[at] = *e;
        return;
    }
    ATN_ASSERT(t->n < t->room);
    memmove(&t->e[at + 1], &t->e[at], (size_t)(t->n - at) * sizeof *t->e);
    t->e[at] = *e;
    t->n++;
}

/* ---- checks of a row's fields ---- */

static bool is_hash(const char *s)
{
    return strspn(s, "0123456789abcdef") == 32 && s[32] == 0;
}

static bool is_kernel_name(const char *s)
{
    if (!isalnum((unsigned char)*s)) return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("_.@+-", *s)) return false;
    return true;
}

static bool is_date(const char *s)
{
    int y, m, d, n = 0;
    return strlen(s) == 10 && sscanf(s, "%4d-%2d-%2d%n", &y, &m, &d, &n) == 3 && n == 10 && m >= 1 && m <= 12 &&
           d >= 1 && d <= 31;
}

/* NULL: good. Else what is wrong with it. */
static const char *row_fault(const atn_wisdom_row *r, problem_class *class)
{
    if (!class_parse(r->problem, class)) return "the problem is not a class (see atn_wisdom_class)";
    if (!is_kernel_name(r->kernel)) return "the kernel's name may hold only letters, digits and _ . @ + -";
    if (!is_hash(r->source_hash)) return "the source's hash is not 32 hex digits";
    if (r->object_hash[0] && !is_hash(r->object_hash)) return "the object's hash is not 32 hex digits";
    if (!(r->gflops >= 0) || !isfinite(r->gflops)) return "the speed is not a number from 0";
    if (!(r->error >= 0) || !isfinite(r->error)) return "the error is not a number from 0";
    if (!is_date(r->date)) return "the date is not YYYY-MM-DD";
    return NULL;
}

/* ---- reading ---- */

typedef struct {
    const char *at, *end;
    int line;
} reader;

/* The next line into out; false: no complete line is left, or it is too long or holds a NUL. */
static bool next_line(reader *r, char *out, size_t room)
{
    const char *nl = r->at < r->end ? memchr(r->at, '\n', (size_t)(r->end - r->at)) : NULL;
    if (!nl) return false;
    const size_t n = (size_t)(nl - r->at);
    if (n >= room || memchr(r->at, 0, n)) return false;
    memcpy(out, r->at, n);
    out[n] = 0;
    r->at = nl + 1;
    r->line++;
    return true;
}

static atn_status read_header(reader *r, int *rows, atn_error *err)
{
    const struct {
        const char *key, *want, *what;
    } head[] = {
        {"attune wisdom ", "1", "format"},
        {"library ", atn_version(), "library version"},
        {"machine ", machine_get()->signature, "machine"},
        {"compiler ", compiler_name(), "compiler"},
    };
    char line[600];
    for (int i = 0; i < ATN_COUNT(head); i++) {
        if (!next_line(r, line, sizeof line) || !text_starts(line, head[i].key))
            return atn_fail(err, ATN_FORMAT, "line %d: no '%s...': this is not wisdom of attune", i + 1, head[i].key);
        const char *value = line + strlen(head[i].key);
        if (strchr(value, '\r'))
            return atn_fail(err, ATN_FORMAT, "line %d: ends in CR LF; wisdom has Unix line ends", i + 1);
        if (strcmp(value, head[i].want) != 0)
            return atn_fail(err, ATN_MISMATCH,
                            "it is of %s '%s', this is '%s': refused whole; remove the file, or measure anew: examples/05_wisdom.c",
                            head[i].what, value, head[i].want);
    }
    long long n;
    if (!next_line(r, line, sizeof line) || !text_starts(line, "rows ") || !text_to_i64(line + 5, &n) || n < 0 ||
        n > ROWS_MAX)
        return atn_fail(err, ATN_FORMAT, "line 5: no 'rows N'");
    *rows = (int)n;
    return ATN_OK;
}

static bool copy_field(char *out, size_t room, const char *s)
{
    if (strlen(s) >= room) return false;
    strcpy(out, s);
    return true;
}

static atn_status read_row(reader *r, entry *e, atn_error *err)
{
    enum { COLUMNS = 7 };
    char line[700], *column[COLUMNS];
    if (!next_line(r, line, sizeof line))
        return atn_fail(err, ATN_FORMAT, "line %d: cut short, or too long", r->line + 1);
    int n = 0;
    for (char *rest = line; rest && n < COLUMNS; n++) {
        column[n] = rest;
        rest = strchr(rest, '\t');
        if (rest) *rest++ = 0;
        else if (n < COLUMNS - 1)
            return atn_fail(err, ATN_FORMAT, "line %d: %d columns instead of %d", r->line, n + 1, COLUMNS);
        if (n == COLUMNS - 1 && rest)
            return atn_fail(err, ATN_FORMAT, "line %d: more than %d columns", r->line, COLUMNS);
    }
    *e = (entry){.row.size = sizeof e->row};
    const bool linked_in = strcmp(column[3], "-") == 0;
    const bool fits = copy_field(e->row.problem, sizeof e->row.problem, column[0]) &&
                      copy_field(e->row.kernel, sizeof e->row.kernel, column[1]) &&
                      copy_field(e->row.source_hash, sizeof e->row.source_hash, column[2]) &&
                      copy_field(e->row.object_hash, sizeof e->row.object_hash, linked_in ? "" : column[3]) &&
                      copy_field(e->row.date, sizeof e->row.date, column[6]);
    if (!fits) return atn_fail(err, ATN_FORMAT, "line %d: a column is too long", r->line);
    if (!linked_in && !column[3][0])
        return atn_fail(err, ATN_FORMAT, "line %d: the object's hash is missing ('-': linked in)", r->line);
    if (!text_to_f64(column[4], &e->row.gflops) || !text_to_f64(column[5], &e->row.error))
        return atn_fail(err, ATN_FORMAT, "line %d: speed and error must be numbers", r->line);
    const char *fault = row_fault(&e->row, &e->class);
    return fault ? atn_fail(err, ATN_FORMAT, "line %d: %s", r->line, fault) : ATN_OK;
}

static atn_status read_table(const char *text, size_t bytes, table *t, atn_error *err)
{
    reader r = {text, text + bytes, 0};
    int rows = 0;
    entry e;
    char line[8];
    atn_status st = read_header(&r, &rows, err);
    for (int i = 0; st == ATN_OK && i < rows; i++) {
        st = read_row(&r, &e, err);
        if (st == ATN_OK) st = table_reserve(t, t->n + 1, err);
        if (st != ATN_OK) break;
        bool found;
        table_find(t, e.row.problem, &found);
        if (found) return atn_fail(err, ATN_FORMAT, "line %d: a second row for '%s'", r.line, e.row.problem);
        table_put(t, &e, false);
    }
    if (st) return st;
    if (!next_line(&r, line, sizeof line) || strcmp(line, "end") != 0 || r.at != r.end)
        return atn_fail(err, ATN_FORMAT, "line %d: 'end' was expected after %d rows: the text is damaged", r.line + 1,
                        rows);
    return ATN_OK;
}

atn_status wisdom_read(atn_wisdom *w, const char *text, size_t bytes, atn_error *err)
{
    if (bytes > TEXT_MAX)
        return atn_fail(err, ATN_FORMAT, "wisdom of %zu bytes: more than %d is absurd", bytes, TEXT_MAX);
    table t = {0};
    atn_status st = read_table(text, bytes, &t, err);
    if (st == ATN_OK) {
        pthread_mutex_lock(&w->lock);
        st = table_reserve(&w->t, w->t.n + t.n, err);
        for (int i = 0; st == ATN_OK && i < t.n; i++) table_put(&w->t, &t.e[i], true);
        pthread_mutex_unlock(&w->lock);
    }
    free(t.e);
    return st;
}

atn_status atn_wisdom_import(atn_wisdom *w, const char *path, atn_error *err)
{
    char *text;
    size_t n;
    if (!w || !path) return atn_fail(err, ATN_USAGE, "wisdom or path is NULL");
    atn_status st = file_read(path, TEXT_MAX, &text, &n, err);
    if (st) return st;
    st = wisdom_read(w, text, n, err);
    free(text);
    if (st) atn_error_prefix(err, "wisdom '%s'", path);
    return st;
}

/* ---- writing ---- */

void wisdom_write(const atn_wisdom *w, atn_text *out)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&w->lock;
    pthread_mutex_lock(lock);
    text_addf(out, "attune wisdom 1\nlibrary %s\nmachine %s\ncompiler %s\nrows %d\n", atn_version(),
              machine_get()->signature, compiler_name(), w->t.n);
    for (int i = 0; i < w->t.n; i++) {
        const atn_wisdom_row *r = &w->t.e[i].row;
        text_addf(out, "%s\t%s\t%s\t%s\t%.6g\t%.3g\t%s\n", r->problem, r->kernel, r->source_hash,
                  r->object_hash[0] ? r->object_hash : "-", r->gflops, r->error, r->date);
    }
    pthread_mutex_unlock(lock);
    text_add(out, "end\n");
}

static atn_status make_folder_of(const char *path, atn_error *err)
{
    char *folder = atn_strdup(path), *slash = strrchr(folder, '/');
    atn_status st = ATN_OK;
    if (slash && slash != folder) {
        *slash = 0;
        st = file_mkdirs(folder, err);
    }
    free(folder);
    return st;
}

atn_status atn_wisdom_export(const atn_wisdom *w, const char *path, atn_error *err)
{
    atn_text t = {0};
    if (!w || !path || !*path) return atn_fail(err, ATN_USAGE, "no wisdom, or no file for it, was given");
    wisdom_write(w, &t);
    atn_status st = make_folder_of(path, err);
    if (st == ATN_OK) st = file_write(path, t.s, t.n, err);
    text_free(&t);
    return st;
}

/* ---- rows ---- */

static void today(char out[22])
{
    const time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(out, 22, "%Y-%m-%d", &tm);
}

atn_status atn_wisdom_add(atn_wisdom *w, const atn_wisdom_row *row, atn_error *err)
{
    if (!w || !row) return atn_fail(err, ATN_USAGE, "wisdom or row is NULL");
    if (row->size != 0 && row->size != sizeof *row)
        return atn_fail(err, ATN_USAGE, "a wisdom row of size %u: this library knows %zu", row->size, sizeof *row);
    entry e = {.row = *row};
    e.row.size = sizeof e.row;
    e.row.object_path = NULL;
    if (!e.row.date[0]) today(e.row.date);
    if (!row->object_path && !e.row.object_hash[0]) {
        const registry_kernel *k = registry_find(e.row.kernel, ISA_ANY);
        if (!k)
            return atn_fail(err, ATN_USAGE, "no kernel '%s' is linked in; a champion needs its object_path",
                            e.row.kernel);
        copy_field(e.row.kernel, sizeof e.row.kernel, k->name);
        copy_field(e.row.source_hash, sizeof e.row.source_hash, k->source_hash);
    }
    const char *fault = row_fault(&e.row, &e.class);
    if (fault) return atn_fail(err, ATN_USAGE, "a row for '%s': %s", e.row.problem, fault);
    if (row->object_path) {
        atn_status st = champion_keep(row->object_path, e.row.object_hash, err);
        if (st) return st;
    }
    pthread_mutex_lock(&w->lock);
    atn_status st = table_reserve(&w->t, w->t.n + 1, err);
    if (st == ATN_OK) table_put(&w->t, &e, false);
    pthread_mutex_unlock(&w->lock);
    return st;
}

atn_status atn_wisdom_forget(atn_wisdom *w, const char *problem, atn_error *err)
{
    if (!w) return atn_fail(err, ATN_USAGE, "wisdom is NULL");
    atn_status st = ATN_OK;
    pthread_mutex_lock(&w->lock);
    bool found = w->t.n > 0;
    if (!problem) {
        w->t.n = 0;
    } else {
        const int at = table_find(&w->t, problem, &found);
        if (found) {
            w->t.n--;
            memmove(&w->t.e[at], &w->t.e[at + 1], (size_t)(w->t.n - at) * sizeof *w->t.e);
        }
    }
    pthread_mutex_unlock(&w->lock);
    if (!found) st = atn_fail(err, ATN_NOT_FOUND, problem ? "no wisdom about '%s'" : "no wisdom to forget", problem);
    return st;
}

atn_status atn_wisdom_row_at(const atn_wisdom *w, int i, atn_wisdom_row *row)
{
    if (!w || !row || (row->size != 0 && row->size != sizeof *row)) return ATN_USAGE;
    pthread_mutex_t *lock = (pthread_mutex_t *)&w->lock;
    pthread_mutex_lock(lock);
    const bool there = i >= 0 && i < w->t.n;
    if (there) *row = w->t.e[i].row;
    pthread_mutex_unlock(lock);
    return there ? ATN_OK : ATN_NOT_FOUND;
}

int wisdom_lookup(const atn_wisdom *w, const problem_class *c, atn_wisdom_row *rows, int room)
{
    double distance[16];
    int n = 0;
    ATN_ASSERT(room <= ATN_COUNT(distance));
    pthread_mutex_t *lock = (pthread_mutex_t *)&w->lock;
    pthread_mutex_lock(lock);
    for (int i = 0; i < w->t.n; i++) {
        const double d = class_distance(c, &w->t.e[i].class);
        if (d < 0) continue;
        int at = n < room ? n++ : room; /* insertion into the nearest so far */
        while (at > 0 && distance[at - 1] > d) {
            if (at < room) distance[at] = distance[at - 1], rows[at] = rows[at - 1];
            at--;
        }
        if (at < room) distance[at] = d, rows[at] = w->t.e[i].row;
    }
    pthread_mutex_unlock(lock);
    return n;
}

atn_status atn_wisdom_class(const atn_args *args, int threads, char *out, size_t room, atn_error *err)
{
    atn_args a;
    problem_class c;
    char text[160];
    atn_status st = args_resolve(args, &a, err);
    if (st) return st;
    if (threads < 1 || threads > THREADS_MAX)
        return atn_fail(err, ATN_USAGE, "%d threads: it must be 1 to %d", threads, THREADS_MAX);
    class_of(&a, threads, &c);
    class_print(&c, text, sizeof text);
    if (!out || strlen(text) >= room)
        return atn_fail(err, ATN_USAGE, "a class needs %zu bytes, %zu were given", strlen(text) + 1, room);
    strcpy(out, text);
    return ATN_OK;
}

/* ---- life, and the process's own ---- */

atn_status atn_wisdom_create(atn_wisdom **out, atn_error *err)
{
    atn_wisdom *w = out ? calloc(1, sizeof *w) : NULL;
    if (!w)
        return atn_fail(err, out ? ATN_MEMORY : ATN_USAGE,
                        out ? "no memory for wisdom" : "no place for the wisdom was given");
    pthread_mutex_init(&w->lock, NULL);
    *out = w;
    return ATN_OK;
}

void atn_wisdom_free(atn_wisdom *w)
{
    if (!w) return;
    pthread_mutex_destroy(&w->lock);
    free(w->t.e);
    free(w);
}

static char own_path[4096];
static atn_wisdom own = {.lock = PTHREAD_MUTEX_INITIALIZER};
static pthread_once_t path_once = PTHREAD_ONCE_INIT, own_once = PTHREAD_ONCE_INIT;

static void find_path(void)
{
    const char *named = getenv("ATTUNE_WISDOM"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (named) n = snprintf(own_path, sizeof own_path, "%s", named);
    else if (cache && cache[0] == '/') n = snprintf(own_path, sizeof own_path, "%s/attune/wisdom.txt", cache);
    else if (home && home[0] == '/') n = snprintf(own_path, sizeof own_path, "%s/.cache/attune/wisdom.txt", home);
    if (n >= (int)sizeof own_path) own_path[0] = 0;
}

const char *wisdom_path(void)
{
    pthread_once(&path_once, find_path);
    return own_path;
}

static void read_own(void)
{
    atn_error err;
    const char *path = wisdom_path();
    if (!*path) return;
    atn_status st = atn_wisdom_import(&own, path, &err);
    if (st != ATN_OK && st != ATN_NOT_FOUND) log_once("%s", err.text);
}

atn_wisdom *atn_wisdom_default(void)
{
    pthread_once(&own_once, read_own);
    return &own;
}
