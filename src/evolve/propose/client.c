/* The network thread owns the multi handle and all tries; the caller's side is two queues under one lock. Invariant: a
 * request is in exactly one of: waiting, active, results; so it can neither be lost nor answered twice. */
#include "evolve/propose/client.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "evolve/propose/sse.h"

enum {
    BODY_MAX = 8 << 20,
    BREAKER_FAILURES = 6,
    ACTIVE_MAX = 256,
    GATHER = 8,
    GATHER_NS = 10000000,
    STREAM_NS = 250000000
};
static const double BREAKER_S = 20, WAIT_MAX_S = 60, CONNECT_S = 15;

typedef struct request {
    client_request r;
    char *url, *key, *body, *proxy, *version;
    struct request *next;
    double born, due; /* due: not before */
    double
        tried_s; /* that tries took: waiting for a rate limit or a server's Retry-After is not the model's slowness */
    int tries, status;
    int64_t tokens_in, tokens_out;
    /* of the present try */
    CURL *easy;
    struct curl_slist *headers;
    sse_reader reader;
    size_t received;
    double sent, heard;
    bool too_large, html, stalled, slow; /* slow: all its time is used */
    char error[CURL_ERROR_SIZE];
} request;

typedef struct {
    client_lane limit;
    double requests, tokens, filled; /* token buckets */
    int failures;
    double paused_until;
} lane;

typedef struct done {
    client_result r;
    struct done *next;
} done;

struct client {
    pthread_t thread;
    pthread_mutex_t lock;
    CURLM *multi;
    int pipe[2];
    bool stopping;
    int parallel, flying;
    lane lane[CLIENT_LANES];
    int n_lanes;
    request *waiting;            /* under the lock: new ones come from the caller */
    request *active[ACTIVE_MAX]; /* the thread's own */
    int n_active;
    done *first, **last;
    CURL *idle[ACTIVE_MAX];
    int n_idle;
    atn_rng rng;
    double cpu_s;
};

/* ---- one try ---- */

static size_t on_body(char *s, size_t size, size_t n, void *arg)
{
    request *q = arg;
    n *= size;
    q->received += n;
    q->heard = clock_s();
    if (q->received > BODY_MAX) {
        q->too_large = true;
        return 0;
    }
    sse_feed(&q->reader, s, n);
    return n;
}

static size_t on_header(char *s, size_t size, size_t n, void *arg)
{
    request *q = arg;
    n *= size;
    if (n > 13 && !strncasecmp(s, "content-type:", 13)) {
        char value[120];
        snprintf(value, sizeof value, "%.*s", (int)ATN_MIN(n - 13, sizeof value - 1), s + 13);
        q->html = strcasestr(value, "text/html") || strcasestr(value, "image/");
        q->reader.json |= strcasestr(value, "application/json") != NULL;
    }
    return n;
}

static void try_clear(request *q)
{
    sse_free(&q->reader);
    q->reader = (sse_reader){0};
    curl_slist_free_all(q->headers);
    q->headers = NULL;
    q->received = 0;
    q->too_large = q->html = q->stalled = q->slow = false;
    q->error[0] = 0;
}

static void request_free(request *q)
{
    try_clear(q);
    if (q->key) memset(q->key, 0, strlen(q->key));
    free(q->url);
    free(q->key);
    free(q->body);
    free(q->proxy);
    free(q->version);
    free(q);
}

static void begin(client *c, request *q)
{
    CURL *e = c->n_idle ? c->idle[--c->n_idle] : curl_easy_init();
    ATN_CHECK(e);
    curl_easy_reset(e);
    try_clear(q);
    q->headers = curl_slist_append(NULL, "Content-Type: application/json");
    q->headers = curl_slist_append(q->headers, "Accept: text/event-stream, application/json");
    q->headers = curl_slist_append(q->headers, "Expect:");
    if (q->key && *q->key) {
        char *auth = atn_format("Authorization: Bearer %s", q->key);
        q->headers = curl_slist_append(q->headers, auth);
        memset(auth, 0, strlen(auth));
        free(auth);
    }
    curl_easy_setopt(e, CURLOPT_URL, q->url);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, q->headers);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(q->body));
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, q->body);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, q);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, q);
    curl_easy_setopt(e, CURLOPT_PRIVATE, q);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, q->error);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(CONNECT_S * 1000));
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    /* One connection for many streams where HTTP/2 allows it; on plain HTTP it would hold up all but the first. */
    if (!strncmp(q->url, "https:", 6) && !(q->version && !strcmp(q->version, "1.1")))
        curl_easy_setopt(e, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "attune/" ATTUNE_VERSION);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    if (q->proxy) curl_easy_setopt(e, CURLOPT_PROXY, q->proxy);
    /* As curl's own program does: for servers with a certificate of the house. */
    const char *authorities = getenv("CURL_CA_BUNDLE");
    if (authorities && *authorities) curl_easy_setopt(e, CURLOPT_CAINFO, authorities);
    if (q->version && !strcmp(q->version, "1.1"))
        curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (q->version && !strcmp(q->version, "2")) curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    q->easy = e;
    q->tries++;
    q->sent = q->heard = clock_s();
    c->active[c->n_active++] = q;
    curl_multi_add_handle(c->multi, e);
}

/* ---- the end of a try ---- */

static bool may_come_right(long status)
{
    return status == 408 || status == 409 || status == 425 || status == 429 || status >= 500;
}

static void wait_for(client *c, request *q, double seconds)
{
    q->due = clock_s() + seconds;
    pthread_mutex_lock(&c->lock);
    q->next = c->waiting;
    c->waiting = q;
    pthread_mutex_unlock(&c->lock);
}

static void conclude(client *c, request *q, bool ok, const char *why)
{
    done *d = atn_alloc(sizeof *d);
    d->r = (client_result){.tag = q->r.tag,
                           .lane = q->r.lane,
                           .ok = ok,
                           .cut = q->reader.cut,
                           .tool = q->reader.tool,
                           .text = text_take(&q->reader.text),
                           .tokens_in = q->tokens_in,
                           .tokens_out = q->tokens_out,
                           .tries = q->tries,
                           .status = q->status,
                           .seconds = clock_s() - q->born};
    if (!ok) snprintf(d->r.error, sizeof d->r.error, "%s", why);
    pthread_mutex_lock(&c->lock);
    *c->last = d;
    c->last = &d->next;
    pthread_mutex_unlock(&c->lock);
    ssize_t w = write(c->pipe[1], "", 1);
    (void)w; /* a full pipe is readable already */
    request_free(q);
}

/* What the try cost: the server's word, else an estimate where a model had begun to answer. */
static void account(request *q)
{
    sse_reader *r = &q->reader;
    if (r->has_usage) q->tokens_in += r->tokens_in, q->tokens_out += r->tokens_out;
    else if (r->started || r->done)
        q->tokens_in += (int64_t)strlen(q->body) / 4, q->tokens_out += (int64_t)(r->text.n + r->thoughts) / 4 + 1;
}

/* What to look at, for the refusals that people meet first. */
static const char *hint(long status)
{
    return status == 401 || status == 403 ? "; is the key right? llm.api_key, or OPENAI_API_KEY in the environment"
           : status == 404                ? "; is llm.api_base right? It often ends in /v1; or is there no such model?"
                                          : "";
}

/* Servers exist that repeat the key that they refuse. It is blotted out, also where the text is cut off within it. */
static void blot_out(char *s, const char *key)
{
    size_t n = key ? strlen(key) : 0, least = ATN_MIN(n, 8);
    for (; n && *s; s++) {
        size_t k = 0;
        while (k < n && s[k] == key[k]) k++;
        if (k >= least) memset(s, '*', k);
    }
}

static void end_try(client *c, request *q, CURLcode code)
{
    long status = 0;
    curl_off_t after = 0;
    char why[300] = "";
    bool again = true;
    char *moved = NULL; /* the handle's */
    CURL *e = q->easy;
    for (int i = 0; i < c->n_active; i++)
        if (c->active[i] == q) c->active[i--] = c->active[--c->n_active];
    curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(e, CURLINFO_RETRY_AFTER, &after);
    curl_multi_remove_handle(c->multi, e);
    q->easy = NULL;
    q->tried_s += clock_s() - q->sent;
    q->status = (int)status;
    if (code == CURLE_OK || code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR) sse_end(&q->reader);
    sse_reader *r = &q->reader;
    bool good = status >= 200 && status < 300;
    if (q->too_large) snprintf(why, sizeof why, "the answer is longer than %d bytes", BODY_MAX), again = false;
    else if (q->slow) snprintf(why, sizeof why, "no answer within %g s", q->r.total_s), again = false;
    else if (q->stalled)
        snprintf(why, sizeof why, "silent for too long %s the first token", r->started ? "after" : "before");
    else if (status >= 300 && status < 400)
        curl_easy_getinfo(e, CURLINFO_REDIRECT_URL, &moved),
            again = false,
            snprintf(why, sizeof why, "HTTP %ld: the address has moved to '%.180s'; set llm.api_base", status,
                     moved ? moved : "?");
    else if (status && !good)
        again = may_come_right(status),
        snprintf(why, sizeof why, "HTTP %ld: %.180s%s", status, r->failed && *r->error ? r->error : "", hint(status));
    else if (code && !(r->done && !r->failed))
        snprintf(why, sizeof why, "%.250s", *q->error ? q->error : curl_easy_strerror(code));
    else if (q->html) snprintf(why, sizeof why, "a web page instead of an answer: is the address right?");
    else if (r->failed) snprintf(why, sizeof why, "%.250s", r->error);
    else if (r->empty_choices) snprintf(why, sizeof why, "an answer without choices");
    else if (!r->done) snprintf(why, sizeof why, "the answer ended early");
    else if (r->tool && !r->text.n) snprintf(why, sizeof why, "a call of a tool instead of an answer"), again = false;
    else if (!r->text.n) snprintf(why, sizeof why, "an empty answer");
    blot_out(why, q->key);
    if (c->n_idle < ACTIVE_MAX) c->idle[c->n_idle++] = e; /* only now: what `moved` points to is its own */
    else curl_easy_cleanup(e);
    account(q);
    lane *l = &c->lane[q->r.lane];
    pthread_mutex_lock(&c->lock);
    if (!*why) l->failures = 0;
    else if (again && ++l->failures >= BREAKER_FAILURES * ATN_MAX(1, c->parallel / 4))
        l->paused_until = clock_s() + BREAKER_S, l->failures = 0;
    pthread_mutex_unlock(&c->lock);
    bool late = q->r.total_s > 0 && q->tried_s >= q->r.total_s;
    if (!*why || !again || late || q->tries > q->r.retries) {
        conclude(c, q, !*why, why);
        return;
    }
    /* Full jitter: tries that failed together do not come back together. */
    double most = ATN_MIN(WAIT_MAX_S, q->r.retry_delay_s * ldexp(1, ATN_MIN(q->tries - 1, 20)));
    double wait = most * (0.1 + 0.9 * rng_f64(&c->rng));
    if (after > 0) wait = ATN_MAX(wait, ATN_MIN((double)after, 600) + 0.1 * rng_f64(&c->rng));
    wait_for(c, q, wait);
}

/* ---- the thread ---- */

static bool lane_admits(lane *l, const request *q, double now)
{
    if (now < l->paused_until) return false;
    double dt = l->filled > 0 ? now - l->filled : 60, rpm = l->limit.requests_per_minute,
           tpm = l->limit.tokens_per_minute;
    l->filled = now;
    /* A bucket holds a tenth of a minute's worth: short bursts pass. */
    if (rpm > 0) l->requests = ATN_MIN(ATN_MAX(1, rpm / 10), l->requests + dt * rpm / 60);
    if (tpm > 0) l->tokens = ATN_MIN(ATN_MAX((double)q->r.tokens, tpm / 10), l->tokens + dt * tpm / 60);
    if ((rpm > 0 && l->requests < 1) || (tpm > 0 && l->tokens < (double)q->r.tokens)) return false;
    if (rpm > 0) l->requests -= 1;
    if (tpm > 0) l->tokens -= (double)q->r.tokens;
    return true;
}

/* Starts what is due; returns the time to the next that waits. */
static int start_due(client *c)
{
    double now = clock_s(), next = 1;
    pthread_mutex_lock(&c->lock);
    for (request **at = &c->waiting; *at;) {
        request *q = *at;
        if (q->due > now) next = ATN_MIN(next, q->due - now);
        else if (c->n_active < ATN_MIN(c->parallel, ACTIVE_MAX) && lane_admits(&c->lane[q->r.lane], q, now)) {
            *at = q->next;
            begin(c, q);
            continue;
        } else if (c->n_active < c->parallel) {
            next = ATN_MIN(next, 0.05);
        }
        at = &q->next;
    }
    pthread_mutex_unlock(&c->lock);
    return (int)(next * 1000) + 1;
}

static int cut_stalled(client *c)
{
    double now = clock_s(), next = 1;
    for (int i = c->n_active - 1; i >= 0; i--) {
        request *q = c->active[i];
        double limit = q->reader.started ? q->r.stall_s : q->r.first_token_s;
        double left = (q->reader.started ? q->heard : q->sent) + limit - now;
        double whole = q->r.total_s > 0 ? q->r.total_s - q->tried_s - (now - q->sent) : left;
        if (whole < left) left = whole;
        if (left > 0) {
            next = ATN_MIN(next, left);
            continue;
        }
        q->stalled = true;
        q->slow = whole <= 0 && q->r.total_s > 0;
        end_try(c, q, CURLE_OPERATION_TIMEDOUT);
    }
    return (int)(next * 1000) + 1;
}

/* Every request in flight has its first token: only more of the same is to come. */
static bool all_streaming(const client *c)
{
    for (int i = 0; i < c->n_active; i++)
        if (!c->active[i]->reader.started) return false;
    return true;
}

static void *network(void *arg)
{
    client *c = arg;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        pthread_mutex_lock(&c->lock);
        bool stop = c->stopping;
        c->cpu_s = (double)clock_of_ns(CLOCK_THREAD_CPUTIME_ID) * 1e-9;
        pthread_mutex_unlock(&c->lock);
        if (stop) return NULL;
        int wait = start_due(c), running, left;
        curl_multi_perform(c->multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));) {
            request *q;
            if (m->msg != CURLMSG_DONE) continue;
            CURLcode code = m->data.result;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&q);
            end_try(c, q, code);
            wait = 0;
        }
        int stall = cut_stalled(c);
        curl_multi_poll(c->multi, NULL, 0, ATN_MIN(wait, stall), NULL);
        /* Tokens of many streams are taken in together: a round costs libcurl 13 us a stream (measured: 1.7 % of a core for
         * 64 streams at 20 rounds a second), and nobody waits for a token. An answer is noticed a quarter of a second
         * later, after seconds of writing. */
        if (c->n_active >= GATHER)
            nanosleep(&(struct timespec){.tv_nsec = all_streaming(c) ? STREAM_NS : GATHER_NS}, NULL);
    }
}

/* ---- the caller's side ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void set_up(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

atn_status client_open(const client_lane *lanes, int n_lanes, int parallel, client **out, atn_error *err)
{
    pthread_once(&once, set_up);
    ATN_CHECK(n_lanes >= 1 && n_lanes <= CLIENT_LANES);
    client *c = atn_alloc(sizeof *c);
    c->last = &c->first;
    c->parallel = ATN_MIN(parallel, ACTIVE_MAX);
    c->n_lanes = n_lanes;
    c->rng = rng_make(rng_secret(), 0, 0);
    for (int i = 0; i < n_lanes; i++) c->lane[i].limit = lanes[i];
    pthread_mutex_init(&c->lock, NULL);
    c->multi = curl_multi_init();
    atn_status st = c->multi && !pipe2(c->pipe, O_CLOEXEC | O_NONBLOCK)
                        ? ATN_OK
                        : atn_fail(err, ATN_IO, "cannot set up the network client");
    if (!st) curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->parallel);
    if (!st && pthread_create(&c->thread, NULL, network, c))
        st = atn_fail(err, ATN_IO, "cannot start the network thread");
    if (st) free(c);
    else *out = c;
    return st;
}

static char *copy(const char *s)
{
    return s ? atn_strdup(s) : NULL;
}

void client_send(client *c, const client_request *r)
{
    ATN_CHECK(r->lane >= 0 && r->lane < c->n_lanes);
    request *q = atn_alloc(sizeof *q);
    *q = (request){.r = *r,
                   .url = copy(r->url),
                   .key = copy(r->key),
                   .body = copy(r->body),
                   .proxy = copy(r->proxy),
                   .version = copy(r->http_version),
                   .born = clock_s()};
    q->r.url = q->r.key = q->r.body = q->r.proxy = q->r.http_version = NULL;
    pthread_mutex_lock(&c->lock);
    request **at = &c->waiting;
    while (*at) at = &(*at)->next;
    *at = q;
    c->flying++;
    pthread_mutex_unlock(&c->lock);
    curl_multi_wakeup(c->multi);
}

int client_fd(const client *c)
{
    return c->pipe[0];
}

bool client_next(client *c, client_result *out)
{
    char drain[256];
    pthread_mutex_lock(&c->lock);
    done *d = c->first;
    if (d) {
        c->first = d->next;
        if (!c->first) c->last = &c->first;
        c->flying--;
    } else {
        while (read(c->pipe[0], drain, sizeof drain) > 0) continue;
    }
    pthread_mutex_unlock(&c->lock);
    if (!d) return false;
    *out = d->r;
    free(d);
    return true;
}

void client_result_clear(client_result *r)
{
    free(r->text);
    r->text = NULL;
}

bool client_lane_open(client *c, int lane)
{
    pthread_mutex_lock(&c->lock);
    bool open = clock_s() >= c->lane[lane].paused_until;
    pthread_mutex_unlock(&c->lock);
    return open;
}

int client_flying(client *c)
{
    pthread_mutex_lock(&c->lock);
    int n = c->flying;
    pthread_mutex_unlock(&c->lock);
    return n;
}

double client_cpu_s(client *c)
{
    pthread_mutex_lock(&c->lock);
    double s = c->cpu_s;
    pthread_mutex_unlock(&c->lock);
    return s;
}

void client_close(client *c)
{
    if (!c) return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_mutex_unlock(&c->lock);
    curl_multi_wakeup(c->multi);
    pthread_join(c->thread, NULL);
    for (int i = 0; i < c->n_active; i++) {
        curl_multi_remove_handle(c->multi, c->active[i]->easy);
        curl_easy_cleanup(c->active[i]->easy);
        request_free(c->active[i]);
    }
    for (request *q = c->waiting, *next; q; q = next) next = q->next, request_free(q);
    for (done *d = c->first, *next; d; d = next) next = d->next, client_result_clear(&d->r), free(d);
    for (int i = 0; i < c->n_idle; i++) curl_easy_cleanup(c->idle[i]);
    curl_multi_cleanup(c->multi);
    close(c->pipe[0]);
    close(c->pipe[1]);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
