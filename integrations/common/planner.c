/* Plans kept between calls. Invariant: an entry that is busy belongs to one call; all else is under the lock. */
#include "planner.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ENTRIES = 64, USES = 32, POOLS = 8 };

typedef struct {                   /* a kernel for a kind of problem */
    char kernel[64], kind[32];
    const char *why;               /* not the evolved one; NULL: no reason to be given */
    int evolved;
    int64_t calls;
} use;

struct planned {
    atn_planned *plan;
    atn_args args;                 /* the plan's, pointers replaced by whether they are there */
    int threads, phases, busy;
    use *use;
    uint64_t used;
};

struct planner {
    pthread_mutex_t lock;
    planner_options o;
    char kernel[64];
    use uses[USES], *last;
    int n_uses;
    atomic_int repeat;
    uint64_t clock;
    planner_counts counts;
    atn_pool *pools[POOLS];        /* own_pools */
    int pool_threads[POOLS], n_pools;
    planned *recent;               /* used last: what the next layer wants */
    planned entries[ENTRIES];
};

int64_t planner_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

atn_status planner_new(const planner_options *o, planner **out, atn_error *err)
{
    planner *p = calloc(1, sizeof *p);
    if (!p) {
        if (err) *err = (atn_error){ATN_MEMORY, "out of memory"};
        return ATN_MEMORY;
    }
    p->o = *o;
    if (o->kernel) snprintf(p->kernel, sizeof p->kernel, "%s", o->kernel);
    pthread_mutex_init(&p->lock, NULL);
    p->repeat = 1;
    *out = p;
    return ATN_OK;
}

void planner_free(planner *p)
{
    if (!p) return;
    for (int i = 0; i < ENTRIES; i++) atn_plan_free(p->entries[i].plan);
    for (int i = 0; i < p->n_pools; i++) atn_pool_free(p->pools[i]);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void planner_read(planner *p, planner_counts *out)
{
    pthread_mutex_lock(&p->lock);
    *out = p->counts;
    pthread_mutex_unlock(&p->lock);
}

void planner_repeat(planner *p, int n)
{
    p->repeat = n;
}

int planner_repeats(const planner *p)
{
    return p->repeat;
}

void planner_kernel(planner *p, char *out, int room)
{
    pthread_mutex_lock(&p->lock);
    snprintf(out, (size_t)room, "%s", p->last ? p->last->kernel : "");
    pthread_mutex_unlock(&p->lock);
}

static int more_calls(const void *a, const void *b)
{
    const use *x = *(use *const *)a, *y = *(use *const *)b;
    return (x->calls < y->calls) - (x->calls > y->calls);
}

void planner_kernels(planner *p, char *out, int room)
{
    use *sorted[USES];
    int n = 0, at = snprintf(out, (size_t)room, "[");
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->n_uses; i++)
        if (p->uses[i].calls) sorted[n++] = &p->uses[i];
    qsort(sorted, (size_t)n, sizeof *sorted, more_calls);
    for (int i = 0; i < n && at < room; i++) {
        const use *u = sorted[i];
        at += snprintf(out + at, (size_t)(room - at), "%s{\"kernel\": \"%s\", \"for\": \"%s\", \"evolved\": %s, "
                       "\"calls\": %lld", i ? ", " : "", u->kernel, u->kind, u->evolved ? "true" : "false", (long long)u->calls);
        if (at < room && u->why) at += snprintf(out + at, (size_t)(room - at), ", \"why\": \"%s\"", u->why);
        if (at < room) at += snprintf(out + at, (size_t)(room - at), "}");
    }
    if (at < room) at += snprintf(out + at, (size_t)(room - at), "]");
    if (at >= room) snprintf(out, (size_t)room, "[]");
    pthread_mutex_unlock(&p->lock);
}

/* ---- finding a plan ---- */

atn_args planner_key(const atn_args *a)
{
    atn_args k = *a;
    k.q.ptr = k.k.ptr = k.v.ptr = k.o.ptr = NULL;
    k.mask.ptr = a->mask.ptr ? (void *)1 : NULL;
    k.sinks = a->sinks ? (const float *)1 : NULL;
    k.alibi = a->alibi ? (const float *)1 : NULL;
    k.lse = a->lse ? (float *)1 : NULL;
    return k;
}

/* 2: the same problem; 1: of one layer at another length, so that an update is cheap; 0: another. */
static int likeness(const planned *e, const atn_args *key, int threads)
{
    if (!e->plan || e->busy || e->threads != threads) return 0;
    if (!memcmp(&e->args, key, sizeof *key)) return 2;
    const atn_args *a = &e->args;
    return a->B == key->B && a->Hq == key->Hq && a->Hkv == key->Hkv && (a->Sq == 1) == (key->Sq == 1) &&
           a->D == key->D && a->Dv == key->Dv && a->scale == key->scale && a->softcap == key->softcap &&
           a->causal == key->causal && a->window_left == key->window_left && a->window_right == key->window_right &&
           a->q.dtype == key->q.dtype && a->k.dtype == key->k.dtype && a->v.dtype == key->v.dtype &&
           a->o.dtype == key->o.dtype && a->mask.ptr == key->mask.ptr && a->mask.dtype == key->mask.dtype &&
           a->sinks == key->sinks && a->alibi == key->alibi && a->lse == key->lse;
}

static planned *choose(planner *p, const atn_args *key, int threads, int *like)
{
    planned *best = NULL, *spare = NULL;
    *like = 0;
    if (p->recent && likeness(p->recent, key, threads) == 2) {
        *like = 2;
        return p->recent;
    }
    for (int i = 0; i < ENTRIES; i++) {
        planned *e = &p->entries[i];
        const int l = likeness(e, key, threads);
        if (l > *like) best = e, *like = l;
        if (l == 2) break;
        if (!e->busy && (!spare || e->used < spare->used)) spare = e;
    }
    return best ? best : spare;
}

/* A host asks for one number of threads, or for two (prompt and decoding); past POOLS the last pool serves, with its own. */
static atn_status pool_for(planner *p, int threads, atn_pool **out, atn_error *err)
{
    int i = 0;
    *out = p->o.pool;
    if (!p->o.own_pools || threads < 2) return ATN_OK;
    while (i < p->n_pools && p->pool_threads[i] != threads) i++;
    if (i == POOLS) i--;
    if (i == p->n_pools) {
        const atn_status s = atn_pool_create(&(atn_pool_options){.threads = threads}, &p->pools[i], err);
        if (s != ATN_OK) return s;
        p->pool_threads[p->n_pools++] = threads;
    }
    *out = p->pools[i];
    return ATN_OK;
}

static atn_status make(planner *p, planned *e, const atn_args *args, int threads, atn_error *err)
{
    atn_plan_options o = {0};
    o.threads = threads;
    o.flags = p->o.host_workspace ? ATN_PLAN_HOST_WORKSPACE : 0;
    o.parallel_for = p->o.parallel_for;
    o.host = p->o.host;
    const atn_status s = pool_for(p, threads, &o.pool, err);
    if (s != ATN_OK) return s;
    o.table = p->o.table;
    o.kernel = p->kernel[0] ? p->kernel : NULL;
    atn_plan_free(e->plan);
    e->plan = NULL;
    p->counts.plans++;
    return atn_plan_create(args, &o, &e->plan, err);
}

static void describe(planner *p, planned *e)
{
    atn_plan_info i = {.size = sizeof i};
    atn_plan_info_get(e->plan, &i, NULL);
    e->phases = i.phases;
    const int evolved = p->o.table && i.origin == ATN_FROM_HOST;
    for (char *c = i.kernel; *c; c++)
        if (*c < ' ' || *c == '"' || *c == '\\') *c = '_'; /* the name is an object's own */
    int k = 0;
    while (k < p->n_uses && (p->uses[k].evolved != evolved || strcmp(p->uses[k].kernel, i.kernel) ||
                             strcmp(p->uses[k].kind, i.kind)))
        k++;
    if (k == USES) k--; /* more than any model has: the last takes the rest */
    if (k == p->n_uses) {
        p->uses[p->n_uses++] = (use){.why = i.passed_over, .evolved = evolved};
        memcpy(p->uses[k].kernel, i.kernel, sizeof i.kernel);
        memcpy(p->uses[k].kind, i.kind, sizeof i.kind);
    }
    e->use = &p->uses[k];
}

planned *planner_acquire(planner *p, const atn_args *args, int threads, atn_error *err)
{
    const atn_args key = planner_key(args);
    atn_error why = {.code = ATN_BUSY, .text = "all plans are in use: more than 64 calls side by side"};
    int like;
    pthread_mutex_lock(&p->lock);
    planned *e = choose(p, &key, threads, &like);
    atn_status s = e ? ATN_OK : ATN_BUSY;
    if (e && like == 1) s = atn_plan_update(e->plan, args, &why);
    if (e && (like == 0 || s != ATN_OK)) s = make(p, e, args, threads, &why);
    if (s == ATN_OK) {
        if (like != 2) describe(p, e);
        e->args = key;
        e->threads = threads;
        e->busy = 1;
        p->recent = e;
        e->used = ++p->clock;
    } else {
        p->counts.refused++;
        e = NULL;
        if (err) *err = why;
    }
    pthread_mutex_unlock(&p->lock);
    return e;
}

void planner_release(planner *p, planned *e, int64_t ns)
{
    pthread_mutex_lock(&p->lock);
    e->busy = 0;
    if (ns >= 0) {
        p->counts.calls++;
        p->counts.evolved += e->use->evolved;
        p->counts.ns += ns;
        e->use->calls++;
        p->last = e->use;
    }
    pthread_mutex_unlock(&p->lock);
}

const atn_planned *planned_plan(const planned *e)
{
    return e->plan;
}

int planned_phases(const planned *e)
{
    return e->phases;
}

/* ---- running ---- */

atn_status planner_run(planner *p, const atn_args *args, int threads, atn_error *err)
{
    planned *e = planner_acquire(p, args, threads, err);
    if (!e) return ATN_UNSUPPORTED;
    const int64_t start = planner_clock();
    atn_status s = ATN_OK;
    for (int i = planner_repeats(p); i > 0 && s == ATN_OK; i--) s = atn_execute(e->plan, args, NULL, err);
    planner_release(p, e, s == ATN_OK ? planner_clock() - start : -1);
    return s;
}
