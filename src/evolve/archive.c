/* Islands and their MAP-Elites grids. */
#include "evolve/archive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

void archive_init(atn_archive *a, int islands, int migrate_every, int cells_max)
{
    *a = (atn_archive){.islands = ATN_MAX(1, ATN_MIN(islands, ARCHIVE_ISLANDS_MAX)),
                       .migrate_every = migrate_every,
                       .cells_max = ATN_MAX(cells_max, 1)};
}

void archive_free(atn_archive *a)
{
    for (int i = 0; i < a->islands; i++) free(a->island[i].cell);
    memset(a, 0, sizeof *a);
}

static void log_change(archive_log *l, int island, const char *key, int64_t program)
{
    if (!l) return;
    l->change = atn_realloc(l->change, (size_t)(l->n_changes + 1) * sizeof *l->change);
    archive_change *c = &l->change[l->n_changes++];
    *c = (archive_change){.island = island, .program = program};
    snprintf(c->key, sizeof c->key, "%s", key);
}

static void log_move(archive_log *l, int from, int to, int64_t program)
{
    if (!l) return;
    l->move = atn_realloc(l->move, (size_t)(l->n_moves + 1) * sizeof *l->move);
    l->move[l->n_moves++] = (archive_move){from, to, program};
}

void archive_log_free(archive_log *l)
{
    free(l->change);
    free(l->move);
    *l = (archive_log){0};
}

static bool before(const archive_cell *x, const archive_cell *y)
{
    return x->rank > y->rank || (x->rank == y->rank && x->program < y->program);
}

static void remove_at(archive_island *g, int i)
{
    memmove(&g->cell[i], &g->cell[i + 1], (size_t)(g->n - i - 1) * sizeof *g->cell);
    g->n--;
}

/* Puts c where the order wants it. */
static void insert_sorted(archive_island *g, archive_cell c)
{
    g->cell = atn_realloc(g->cell, (size_t)(g->n + 1) * sizeof *g->cell);
    int i = g->n++;
    for (; i > 0 && before(&c, &g->cell[i - 1]); i--) g->cell[i] = g->cell[i - 1];
    g->cell[i] = c;
}

/* The program competes for its cell; true if it took it. */
static bool compete(atn_archive *a, int island, archive_cell c, archive_log *log)
{
    archive_island *g = &a->island[island];
    for (int i = 0; i < g->n; i++) {
        if (strcmp(g->cell[i].key, c.key)) continue;
        if (!(c.rank > g->cell[i].rank)) return false;
        remove_at(g, i);
        break;
    }
    insert_sorted(g, c);
    log_change(log, island, c.key, c.program);
    if (g->n > a->cells_max) {
        log_change(log, island, g->cell[g->n - 1].key, 0);
        g->n--;
    }
    return true;
}

static bool island_holds(const archive_island *g, int64_t program)
{
    for (int i = 0; i < g->n; i++)
        if (g->cell[i].program == program) return true;
    return false;
}

/* All islands send their best of before the migration, so that nothing travels two steps at once. */
static void migrate(atn_archive *a, archive_log *log)
{
    archive_cell best[ARCHIVE_ISLANDS_MAX];
    bool has[ARCHIVE_ISLANDS_MAX];
    for (int i = 0; i < a->islands; i++)
        if ((has[i] = a->island[i].n > 0)) best[i] = a->island[i].cell[0];
    for (int i = 0; i < a->islands; i++) {
        int to = (i + 1) % a->islands;
        if (!has[i] || island_holds(&a->island[to], best[i].program)) continue;
        if (compete(a, to, best[i], log)) log_move(log, i, to, best[i].program);
    }
}

void archive_add(atn_archive *a, int64_t program, int island, const char *key, double rank, archive_log *log)
{
    a->count++;
    if (key && rank == rank) {
        archive_cell c = {.program = program, .rank = rank};
        snprintf(c.key, sizeof c.key, "%s", key);
        for (int i = 0; i < a->islands; i++)
            if (island < 0 || island % a->islands == i) compete(a, i, c, log);
    }
    if (a->migrate_every > 0 && a->islands > 1 && a->count % a->migrate_every == 0) migrate(a, log);
}

void archive_remove(atn_archive *a, int64_t program, archive_log *log)
{
    for (int i = 0; i < a->islands; i++) {
        archive_island *g = &a->island[i];
        for (int k = g->n - 1; k >= 0; k--) {
            if (g->cell[k].program != program) continue;
            log_change(log, i, g->cell[k].key, 0);
            remove_at(g, k);
        }
    }
}

bool archive_holds(const atn_archive *a, int64_t program)
{
    for (int i = 0; i < a->islands; i++)
        if (island_holds(&a->island[i], program)) return true;
    return false;
}
