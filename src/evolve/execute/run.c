/* Engines of several classes in turns. */
#include "evolve/execute/run.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "evolve/engine.h"

static const double NODES_S = 60, ALONE_S = 60;

typedef struct {
    evolve_options o;
    char *folder;
    atn_engine *e;
    evolve_judge *judge;
    bool more;
    atn_status st;
    atn_error err;
    double told_nodes, alone_since;
} class_run;

typedef struct {
    atn_fleet *fleet;
    const evolve_options *o;
    const execute_hooks *h;
    class_run cls[FLEET_CLASSES_MAX];
    void (*note)(void *ctx, int cls, const char *text); /* before there is a record */
    void *note_ctx;
    int n;
} cluster;

/* The run's own folder belongs to the class that began there, on resume as well. */
static bool owns_folder(const cluster *k, int cls)
{
    atn_store *s = NULL;
    bool owns = k->n == 0;
    if (!k->o->resume) return owns;
    if (store_open(k->o->folder, STORE_READ, NULL, 0, &s, NULL)) return owns;
    const evolve_judge *j = fleet_judge(k->fleet, cls);
    char *machine = store_meta_get(s, "identity.machine"), *compiler = store_meta_get(s, "identity.compiler");
    owns = machine && compiler && !strcmp(machine, j->machine->signature) && !strcmp(compiler, j->compiler);
    free(machine);
    free(compiler);
    store_close(s);
    return owns;
}

static atn_status class_begin(cluster *k, int cls, atn_error *err)
{
    class_run *c = &k->cls[k->n];
    bool first = owns_folder(k, cls);
    *c = (class_run){.o = *k->o, .judge = fleet_judge(k->fleet, cls)};
    char *below = file_join(k->o->folder, "machines");
    c->folder = first ? atn_strdup(k->o->folder) : file_join(below, fleet_class_word(k->fleet, cls));
    free(below);
    c->o.folder = c->folder;
    const char *word = fleet_class_word(k->fleet, cls);
    if (!first) c->o.event = NULL; /* one progress line, one stream of events; all are in the store */
    if (!first) c->o.seed ^= hash_bytes(word, strlen(word)); /* the same search twice would find the same */
    char *db = file_join(c->folder, "run.db");
    c->o.resume = k->o->resume && file_exists(db); /* a class that comes later begins then */
    free(db);
    k->n++;
    atn_status st = k->h && k->h->proposers ? k->h->proposers(k->h->ctx, &c->o, err) : ATN_OK;
    if (!st && k->h && k->h->begins) k->h->begins(k->h->ctx, &c->o, c->judge, first);
    if (!st) st = engine_create(&c->o, c->judge, &c->e, err);
    c->more = !st;
    c->told_nodes = clock_s();
    return st;
}

/* What the nodes are and did, for report and record. */
static void tell_nodes(class_run *c)
{
    c->told_nodes = clock_s();
    engine_nodes(c->e);
}

/* What happens to machines is in the record of those whose figures it bears on. */
static void note(void *ctx, int cls, const char *text)
{
    cluster *k = ctx;
    if (cls < 0) cls = 0;
    if (cls < k->n && k->cls[cls].e) engine_warn(k->cls[cls].e, "%s", text);
    else if (k->note) k->note(k->note_ctx, cls, text);
}

/* The champion of one class as a candidate of the others. */
static void exchange(cluster *k)
{
    for (int i = 0; i < k->n && k->n > 1; i++) {
        atn_engine *from = k->cls[i].e;
        engine_program *best = k->cls[i].more && !engine_starting(from) ? engine_find(from, from->incumbent) : NULL;
        if (!best || best->start || !strncmp(best->origin, "immigrant", 9)) continue;
        const char *source = engine_source(from, best);
        for (int j = 0; source && j < k->n; j++) {
            char note[256];
            atn_error err = {0};
            if (j == i || !k->cls[j].more || !k->cls[j].e->initial) continue;
            snprintf(note, sizeof note, "champion #%" PRId64 " of %s", best->id, fleet_class_word(k->fleet, i));
            if (engine_admit(k->cls[j].e, source, best->flags, "immigrant", note, &err))
                engine_warn(k->cls[j].e, "an immigrant was not taken in: %s", err.text);
        }
    }
}

/* A class whose machines have all gone does not keep the others waiting for ever. */
static bool abandoned(cluster *k, int i)
{
    class_run *c = &k->cls[i];
    bool others = false;
    for (int j = 0; j < k->n; j++) others |= j != i && k->cls[j].more;
    if (others || k->n == 1 || fleet_ready(k->fleet, i) > 0) c->alone_since = 0;
    else if (c->alone_since == 0) c->alone_since = clock_s();
    return c->alone_since > 0 && clock_s() > c->alone_since + ALONE_S;
}

static bool turn(cluster *k)
{
    bool more = false;
    while (k->n < fleet_classes(k->fleet)) {
        class_run *c = &k->cls[k->n];
        atn_error err = {0};
        atn_status st = class_begin(k, k->n, &err);
        c->st = st;
        c->err = err;
    }
    for (int i = 0; i < k->n; i++) {
        class_run *c = &k->cls[i];
        if (!c->more) continue;
        c->st = engine_turn(c->e, &c->more, &c->err);
        if (c->st) c->more = false;
        if (c->more && abandoned(k, i)) {
            engine_warn(c->e, "no machine of this kind is left; --resume goes on when there is one");
            c->e->stop = EVOLVE_STOP_INTERRUPTED;
            c->more = false;
        }
        if (c->more && clock_s() > c->told_nodes + NODES_S) tell_nodes(c);
        more |= c->more;
    }
    exchange(k);
    return more;
}

static void rest(cluster *k)
{
    for (int i = 0; i < k->n; i++)
        if (k->cls[i].more) {
            engine_wait(k->cls[i].e, false, 100);
            return;
        }
}

atn_status execute_over(atn_fleet *f, const evolve_options *o, const execute_hooks *h, evolve_result *r, atn_error *err)
{
    cluster *k = atn_alloc(sizeof *k);
    atn_status st = ATN_OK;
    *k = (cluster){.fleet = f, .o = o, .h = h, .note = h ? h->note : NULL, .note_ctx = h ? h->ctx : NULL};
    fleet_notes_to(f, note, k);
    *r = (evolve_result){0};
    while (!fleet_classes(f) && !st) {
        struct pollfd p = {.fd = fleet_fd(f), .events = POLLIN};
        if (o->stop && *o->stop) st = atn_fail(err, ATN_CANCELLED, "interrupted before any machine was there");
        else if (!fleet_turn(f, err)) st = ATN_PROCESS;
        else poll(&p, 1, 50);
    }
    if (!st)
        while (turn(k)) rest(k);
    evolve_result *other = atn_alloc(sizeof *other);
    for (int i = 0; i < k->n; i++) {
        class_run *c = &k->cls[i];
        bool first = !strcmp(c->folder, o->folder);
        evolve_result *mine = first ? r : other;
        atn_engine *e = c->e;
        if (e) c->st = engine_finish(e, c->st, mine, &c->err);
        c->e = NULL;
        if (!c->st && h && h->ended) h->ended(h->ctx, &c->o, mine, first);
        if (c->st && (!st || first)) {
            st = c->st;
            if (err) *err = c->err;
        }
        for (int p = 0; p < c->o.n_proposers && h && h->proposers; p++) c->o.proposers[p]->destroy(c->o.proposers[p]);
        free(c->folder);
    }
    fleet_notes_to(f, NULL, NULL);
    free(other);
    free(k);
    return st;
}

atn_status execute_run(const execute_options *x, const evolve_options *o, const execute_hooks *h, evolve_result *r,
                       atn_error *err)
{
    atn_fleet *f = NULL;
    *r = (evolve_result){0};
    atn_status st = fleet_open(x, o, &f, err);
    if (!st) st = execute_over(f, o, h, r, err);
    fleet_close(f);
    return st;
}
