/* Streamed chat completions on one network thread.
 *
 *     client *c; client_open(&(client_lane[]){{.requests_per_minute = 60}}, 1, 8, &c, &err);
 *     client_send(c, &(client_request){.url = url, .key = key, .body = json, .tag = q, ...});
 *     ... poll client_fd(c) ... while (client_next(c, &r)) { use(&r); client_result_clear(&r); }
 *
 * Each request that was sent ends in exactly one result, after its retries. What may come right later is tried again:
 * 408, 409, 425, 429, 5xx, connections that fail or stall, streams that end early, pages that are no answer; what cannot
 * (400, 401, 403, 404, 422, ...) is not. A lane is a model: its rate limits, and a breaker that pauses it after failures
 * in a row. Keys are only ever handed to libcurl. */
#ifndef ATN_EVOLVE_CLIENT_H
#define ATN_EVOLVE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { CLIENT_LANES = 8 };

typedef struct {
    double requests_per_minute, tokens_per_minute; /* 0: no limit */
} client_lane;

typedef struct {
    const char *url, *key, *body;     /* copied; key may be NULL */
    const char *proxy, *http_version; /* NULL; "1.1", "2", else automatic */
    int lane;
    int64_t tokens;                /* estimate of both ways, for the lane's limit */
    double first_token_s, stall_s; /* silence before and after the first token */
    double total_s;                /* of all tries together, without the waits between them; 0: none */
    int retries;
    double retry_delay_s; /* first wait, doubled each time, with jitter */
    void *tag;
} client_request;

typedef struct {
    void *tag;
    int lane;
    bool ok, cut, tool;            /* cut: the answer reached its longest length */
    char *text;                    /* "" where nothing came */
    int64_t tokens_in, tokens_out; /* of all tries together; estimated where the server does not say */
    int tries, status;
    double seconds;
    char error[300];
} client_result;

typedef struct client client;
atn_status client_open(const client_lane *lanes, int n_lanes, int parallel, client **out, atn_error *err);
void client_send(client *c, const client_request *r);
int client_fd(const client *c); /* readable while there may be results */
bool client_next(client *c, client_result *out);
void client_result_clear(client_result *r);
bool client_lane_open(client *c, int lane); /* false: its breaker pauses it */
int client_flying(client *c);               /* sent and not yet handed out by client_next */
double client_cpu_s(client *c);             /* of the network thread */
void client_close(client *c);               /* what is in flight is dropped */

#endif
