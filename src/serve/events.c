/* Invariants: `ring` holds the newest stored events without a gap; a listener's `next` only grows within one run; sleep
 * and wake happen under the hub's lock, so that no listener sleeps on an event that is there. */
#include "serve/events.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "serve/api.h"

enum { RING = 512, BATCH = 500, LOOK_MS = 200, PING_S = 15, STATE_LOOKS = 3 };

typedef struct {
    int64_t seq;
    char *text; /* "id: 7\ndata: {...}\n\n" */
} ring_event;

struct events_listener {
    events_hub *hub;
    events_listener *before, *after;
    void *owner;
    int64_t next;  /* the event that it has not had */
    char *pending; /* text being handed out, from `at` on */
    size_t at, n;
    unsigned run, ping, now, state; /* which it was told */
    bool asleep, greeted;
};

struct events_hub {
    pthread_mutex_t lock;
    pthread_cond_t change;
    pthread_t thread;
    api_run run;
    void (*wake)(void *owner);
    events_listener *listeners;
    int n_listeners;
    ring_event ring[RING]; /* seq % RING */
    int64_t first, end;    /* events first .. end-1 are in the ring */
    unsigned run_count, ping_count, now_count, state_count;
    char *now;         /* what the run is doing, as it says itself: the newest only, without a number */
    const char *state; /* "running" ...: a run that was killed can no longer say so itself */
    int looks;         /* until the next look at it */
    bool stop, broken;
};

static char *event_text(int64_t seq, const char *json)
{
    char *s = atn_format("id: %lld\ndata: %s\n\n", (long long)seq, json ? json : "null");
    for (char *c = strstr(s, "data:"); c[2];
         c++) /* a stored line has no line ends; a damaged one must not forge a field */
        if (*c == '\n' || *c == '\r') *c = ' ';
    return s;
}

static void ring_clear(events_hub *h, int64_t end)
{
    for (int i = 0; i < RING; i++) {
        free(h->ring[i].text);
        h->ring[i] = (ring_event){0};
    }
    h->first = h->end = end;
}

/* Runs `use` on up to BATCH events from `from` on. Returns how many, -1 where the database cannot be read. */
static int read_events(events_hub *h, int64_t from, void (*use)(void *ctx, int64_t seq, const char *json), void *ctx)
{
    sqlite3_stmt *q;
    int n = 0, rc;
    if (sqlite3_prepare_v2(h->run.db,
                           "SELECT seq, CASE WHEN json_valid(json) THEN json ELSE 'null' END FROM event "
                           "WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
                           -1, &q, NULL) != SQLITE_OK)
        return -1;
    sqlite3_bind_int64(q, 1, from);
    sqlite3_bind_int(q, 2, BATCH);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        use(ctx, sqlite3_column_int64(q, 0), (const char *)sqlite3_column_text(q, 1));
        n++;
    }
    sqlite3_finalize(q);
    return rc == SQLITE_DONE ? n : -1;
}

static void into_ring(void *ctx, int64_t seq, const char *json)
{
    events_hub *h = ctx;
    if (seq != h->end) ring_clear(h, seq); /* numbers without a gap are the store's promise; without it, start anew */
    ring_event *e = &h->ring[seq % RING];
    free(e->text);
    *e = (ring_event){seq, event_text(seq, json)};
    h->end = seq + 1;
    if (h->end - h->first > RING) h->first = h->end - RING;
}

static int64_t last_event(events_hub *h)
{
    sqlite3_stmt *q;
    int64_t n = 0;
    if (sqlite3_prepare_v2(h->run.db, "SELECT coalesce(max(seq), 0) FROM event", -1, &q, NULL) != SQLITE_OK) return 0;
    if (sqlite3_step(q) == SQLITE_ROW) n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return n;
}

/* True where it changed. */
static bool look_now(events_hub *h)
{
    sqlite3_stmt *q;
    bool changed = false;
    if (sqlite3_prepare_v2(h->run.db, "SELECT value FROM meta WHERE key = 'now' AND json_valid(value)", -1, &q, NULL) !=
        SQLITE_OK)
        return false;
    const char *text = sqlite3_step(q) == SQLITE_ROW ? (const char *)sqlite3_column_text(q, 0) : NULL;
    if (text && (!h->now || strcmp(h->now, text) != 0)) {
        free(h->now);
        h->now = atn_strdup(text);
        h->now_count++;
        changed = true;
    }
    sqlite3_finalize(q);
    return changed;
}

/* True where it changed. */
static bool look_state(events_hub *h)
{
    if (h->looks-- > 0) return false;
    h->looks = STATE_LOOKS;
    const char *state = api_state(&h->run);
    if (h->state && !strcmp(h->state, state)) return false;
    h->state = state;
    h->state_count++;
    return true;
}

static void wake_all(events_hub *h)
{
    for (events_listener *l = h->listeners; l; l = l->after) {
        if (!l->asleep) continue;
        l->asleep = false;
        h->wake(l->owner);
    }
}

/* Looks once; true where listeners have something to read. */
static bool look(events_hub *h)
{
    bool changed = false, was_broken = h->broken;
    h->broken = api_ready(&h->run, &changed, NULL) != ATN_OK;
    if (h->broken) return false;
    if (changed || was_broken || !h->end) { /* another run, or one that can be read again: pages load everything anew */
        if (changed || was_broken) h->run_count++;
        ring_clear(h, last_event(h) + 1);
        return changed || was_broken;
    }
    int64_t before = h->end;
    int n = read_events(h, h->end, into_ring, h);
    if (n < 0) h->broken = true;
    bool now = look_now(h), state = look_state(h);
    return now || state || h->end != before;
}

static void *watch(void *ctx)
{
    events_hub *h = ctx;
    double ping = clock_s() + PING_S;
    pthread_mutex_lock(&h->lock);
    while (!h->stop) {
        if (!h->n_listeners) {
            pthread_cond_wait(&h->change, &h->lock);
            continue;
        }
        bool news = look(h);
        if (clock_s() >= ping) {
            h->ping_count++;
            ping = clock_s() + PING_S;
            news = true;
        }
        if (news) wake_all(h);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&h->change, &h->lock, &until);
    }
    wake_all(h);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

events_hub *events_hub_create(const char *folder, void (*wake)(void *owner))
{
    events_hub *h = atn_alloc(sizeof *h);
    h->wake = wake;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->change, NULL);
    api_init(&h->run, folder);
    if (pthread_create(&h->thread, NULL, watch, h)) atn_check_failed("pthread_create", __FILE__, __LINE__);
    return h;
}

void events_hub_stop(events_hub *h)
{
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_cond_signal(&h->change);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
}

void events_hub_destroy(events_hub *h)
{
    ATN_ASSERT(!h->n_listeners);
    ring_clear(h, 0);
    free(h->now);
    api_close(&h->run);
    pthread_cond_destroy(&h->change);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

int events_listeners(events_hub *h)
{
    pthread_mutex_lock(&h->lock);
    int n = h->n_listeners;
    pthread_mutex_unlock(&h->lock);
    return n;
}

events_listener *events_listen(events_hub *h, int64_t after, void *owner)
{
    events_listener *l = atn_alloc(sizeof *l);
    pthread_mutex_lock(&h->lock);
    *l = (events_listener){
        .hub = h, .after = h->listeners, .owner = owner, .next = after + 1, .run = h->run_count, .ping = h->ping_count};
    if (l->after) l->after->before = l;
    h->listeners = l;
    h->n_listeners++;
    if (h->n_listeners == 1) {
        h->looks = 0;
        h->end = 0; /* nobody listened: what the ring holds may be old */
        h->run.next_check = 0;
        ring_clear(h, 0);
        look(h);
        l->run = h->run_count;
        pthread_cond_signal(&h->change);
    }
    pthread_mutex_unlock(&h->lock);
    return l;
}

void events_unlisten(events_listener *l)
{
    events_hub *h = l->hub;
    pthread_mutex_lock(&h->lock);
    if (l->before) l->before->after = l->after;
    else h->listeners = l->after;
    if (l->after) l->after->before = l->before;
    h->n_listeners--;
    pthread_mutex_unlock(&h->lock);
    free(l->pending);
    free(l);
}

typedef struct {
    atn_text text;
    int64_t next, end; /* not beyond what the ring has: else an event would come twice */
} backlog;

static void into_backlog(void *ctx, int64_t seq, const char *json)
{
    backlog *b = ctx;
    if (seq >= b->end) return;
    char *s = event_text(seq, json);
    text_add(&b->text, s);
    free(s);
    b->next = seq + 1;
}

/* What this listener reads next, or NULL. */
static char *next_text(events_hub *h, events_listener *l)
{
    if (!l->greeted) {
        l->greeted = true;
        return atn_strdup("retry: 1000\n\n");
    }
    if (l->run != h->run_count) {
        l->run = h->run_count;
        l->next = h->end;
        return atn_format("event: anew\nid: %lld\ndata: {}\n\n", (long long)h->end - 1);
    }
    if (h->end && l->next > h->end) { /* it saw an earlier run under this address */
        l->next = h->end;
        return atn_format("event: anew\nid: %lld\ndata: {}\n\n", (long long)h->end - 1);
    }
    if (l->next < h->first && !h->broken && h->run.db) {
        backlog b = {.next = l->next, .end = h->end};
        if (read_events(h, l->next, into_backlog, &b) >= 0 && b.next > l->next) {
            l->next = b.next;
            return text_take(&b.text);
        }
        text_free(&b.text);
    }
    if (l->next >= h->first && l->next < h->end) return atn_strdup(h->ring[l->next++ % RING].text);
    if (l->now != h->now_count) {
        l->now = h->now_count;
        char *s = atn_format("event: now\ndata: %s\n\n", h->now);
        for (char *c = strstr(s, "data:"); c[2]; c++)
            if (*c == '\n' || *c == '\r') *c = ' ';
        return s;
    }
    if (l->state != h->state_count) { /* a number of its own would be an event's */
        l->state = h->state_count;
        return atn_format("event: state\ndata: \"%s\"\n\n", h->state);
    }
    if (l->ping != h->ping_count) {
        l->ping = h->ping_count;
        return atn_strdup(": ping\n\n");
    }
    return NULL;
}

ssize_t events_read(events_listener *l, char *out, size_t room, void (*sleep)(void *owner))
{
    events_hub *h = l->hub;
    ssize_t n = 0;
    pthread_mutex_lock(&h->lock);
    if (!l->pending && !h->stop && (l->pending = next_text(h, l))) {
        l->at = 0;
        l->n = strlen(l->pending);
    }
    if (h->stop) n = -1;
    else if (l->pending) {
        n = (ssize_t)ATN_MIN(room, l->n - l->at);
        memcpy(out, l->pending + l->at, (size_t)n);
        l->at += (size_t)n;
        if (l->at == l->n) {
            free(l->pending);
            l->pending = NULL;
        }
    } else {
        l->asleep = true;
        sleep(l->owner);
    }
    pthread_mutex_unlock(&h->lock);
    return n;
}
