/* Reads the CSV that app/cmd_bench.c writes; columns are found by their names, so that new ones do no harm. */
#include "report/peers.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

enum { COLUMNS_MAX = 32, FILE_MOST = 4 << 20 };

/* Cuts one line into its fields, in place; quotes as in RFC 4180. */
static int split(char *line, char *field[COLUMNS_MAX])
{
    int n = 0;
    for (char *in = line; n < COLUMNS_MAX;) {
        char *out = field[n++] = in;
        bool quoted = *in == '"';
        if (quoted) field[n - 1] = out = ++in;
        for (; *in && (quoted || *in != ','); in++) {
            if (quoted && *in == '"' && in[1] != '"') {
                quoted = false;
                continue;
            }
            if (quoted && *in == '"') in++;
            *out++ = *in;
        }
        bool more = *in == ',';
        *out = 0;
        if (!more) break;
        in++;
    }
    return n;
}

typedef enum { CASE, THREADS, PEER, VERSION, MS, RATIO, LOW, HIGH, NOTE, NEEDED } column;
static const char *const column_name[NEEDED] = {"case",  "threads", "peer", "peer_version", "peer_ms",
                                                "ratio", "low",     "high", "note"};

static double real_at(char *const *field, const int *at, column c)
{
    double x = NAN;
    return text_to_f64(field[at[c]], &x) ? x : (double)NAN;
}

static void add_row(peer_table *t, char *const *field, const int *at, int threads)
{
    double ms = real_at(field, at, MS), ratio = real_at(field, at, RATIO), low = real_at(field, at, LOW),
           high = real_at(field, at, HIGH);
    if (!(ms > 0) || real_at(field, at, THREADS) != threads || t->n >= PEER_ROWS_MAX) return;
    peer_row *r = &t->rows[t->n++];
    *r = (peer_row){.ms = ms,
                    .low = ratio > 0 && low > 0 ? low / ratio : (double)NAN,
                    .high = ratio > 0 && high > 0 ? high / ratio : (double)NAN};
    snprintf(r->name, sizeof r->name, "%s", field[at[PEER]]);
    snprintf(r->version, sizeof r->version, "%s", field[at[VERSION]]);
    snprintf(r->note, sizeof r->note, "%s", field[at[NOTE]]);
    snprintf(r->label, sizeof r->label, "%s", field[at[CASE]]);
}

/* True where the file is of that machine and had rows for us. */
static bool read_file(const char *path, const char *signature, int threads, peer_table *t)
{
    char *text = NULL, *head = atn_format("; %s; ", signature);
    int before = t->n, at[NEEDED];
    bool named = false, ours = false;
    if (!file_read(path, FILE_MOST, &text, NULL, NULL)) {
        for (char *line = text, *end; line && *line; line = end) {
            end = strchr(line, '\n');
            if (end) *end++ = 0;
            if (*line == '#') ours |= strstr(line, head) != NULL;
            if (*line == '#' || !ours) continue;
            char *field[COLUMNS_MAX];
            int n = split(line, field);
            if (!named) {
                for (int c = 0; c < NEEDED; c++) {
                    at[c] = -1;
                    for (int i = 0; i < n; i++)
                        if (!strcmp(field[i], column_name[c])) at[c] = i;
                    if (at[c] < 0) goto out;
                }
                named = true;
                continue;
            }
            bool whole = true;
            for (int c = 0; c < NEEDED; c++) whole &= at[c] < n;
            if (whole) add_row(t, field, at, threads);
        }
    }
out:
    free(text);
    free(head);
    return t->n > before;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void peers_read(const char *folder, const char *signature, int threads, peer_table *out)
{
    *out = (peer_table){.rows = atn_alloc(sizeof *out->rows * PEER_ROWS_MAX)};
    char *own = file_join(folder, "bench.csv");
    if (read_file(own, signature, threads, out)) {
        out->own = true;
        snprintf(out->source, sizeof out->source, "%s", own);
        free(own);
        return;
    }
    free(own);
    char *results = file_join(file_home(), "bench/results"), *names[256];
    int n = 0;
    DIR *d = opendir(results);
    for (struct dirent *f; d && (f = readdir(d)) && n < 256;) {
        size_t k = strlen(f->d_name);
        if (k > 4 && !strcmp(f->d_name + k - 4, ".csv")) names[n++] = atn_strdup(f->d_name);
    }
    if (d) closedir(d);
    if (n) qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) {
        char *path = file_join(results, names[i]);
        if (read_file(path, signature, threads, out) && !out->source[0])
            snprintf(out->source, sizeof out->source, "bench/results/%.200s", names[i]);
        free(path);
        free(names[i]);
    }
    free(results);
}

void peers_free(peer_table *t)
{
    free(t->rows);
    *t = (peer_table){0};
}
