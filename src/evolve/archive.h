/* The archive: islands, each a MAP-Elites grid on measured behaviour, with ring migration.
 *
 * A pure function of the ordered list of judged programs: archive_add for each, in order, gives the same archive on
 * every
 * machine. That is what makes resume and replay exact. A cell keeps the program of the highest rank (the lower bound of
 * its speedup); an equal one does not displace it. Every `migrate_every` judged programs the best of each island is
 * copied
 * to the next, where it competes for its cell. */
#ifndef ATN_EVOLVE_ARCHIVE_H
#define ATN_EVOLVE_ARCHIVE_H

#include <stdbool.h>
#include <stdint.h>

enum { ARCHIVE_KEY = 48, ARCHIVE_ISLANDS_MAX = 16 };

typedef struct {
    char key[ARCHIVE_KEY];
    int64_t program;
    double rank;
} archive_cell;

typedef struct {
    archive_cell *cell; /* best first (rank down, then id up) */
    int n;
} archive_island;

typedef struct {
    int islands, migrate_every, cells_max;
    int64_t count; /* judged programs seen, failed ones too */
    archive_island island[ARCHIVE_ISLANDS_MAX];
} atn_archive;

/* What one archive_add changed, in order: for the store and the events. */
typedef struct {
    int island;
    char key[ARCHIVE_KEY];
    int64_t program; /* new owner; 0: the cell was given up */
} archive_change;
typedef struct {
    int from, to;
    int64_t program;
} archive_move;
typedef struct {
    archive_change *change;
    int n_changes;
    archive_move *move;
    int n_moves;
} archive_log;

void archive_init(atn_archive *a, int islands, int migrate_every, int cells_max);
void archive_free(atn_archive *a);
/* The next judged program. island < 0: every island (the initial program). key NULL: it has no
 * score, and only counts. */
void archive_add(atn_archive *a, int64_t program, int island, const char *key, double rank, archive_log *log);
/* The program leaves every cell; they stay empty until somebody comes. */
void archive_remove(atn_archive *a, int64_t program, archive_log *log);
void archive_log_free(archive_log *l);
bool archive_holds(const atn_archive *a, int64_t program);

#endif
