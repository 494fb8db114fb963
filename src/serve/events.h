/* The event stream: what the run stores, handed to any number of listeners. Internal to src/serve.
 *
 * One thread looks for new events, and only while somebody listens; listeners that have nothing to read sleep in the
 * server until it wakes them. Each gets every event after its own number exactly once, in order: from the hub's memory,
 * or, where it is further behind, from the database. */
#ifndef ATN_SERVE_EVENTS_H
#define ATN_SERVE_EVENTS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"

typedef struct events_hub events_hub;
typedef struct events_listener events_listener;

/* `wake` is called with the hub locked, for each listener that sleeps and has something to read. */
events_hub *events_hub_create(const char *folder, void (*wake)(void *owner));
void events_hub_stop(events_hub *h);    /* wakes all, who then read the end of the stream */
void events_hub_destroy(events_hub *h); /* after the last listener has gone */

events_listener *events_listen(events_hub *h, int64_t after, void *owner);
void events_unlisten(events_listener *l);
/* Bytes into `out`; 0: nothing now, and `sleep(owner)` was called with the hub locked; -1: the stream has ended. */
ssize_t events_read(events_listener *l, char *out, size_t room, void (*sleep)(void *owner));
int events_listeners(events_hub *h);

#endif
