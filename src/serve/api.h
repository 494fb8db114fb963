/* The read-only JSON interface over one run. Internal to src/serve; not thread safe: one handle for each thread.
 *
 * Invariant: an answer is always one valid JSON text in UTF-8, whatever bytes the database holds. */
#ifndef ATN_SERVE_API_H
#define ATN_SERVE_API_H

#include <sqlite3.h>
#include <stdint.h>

#include "base/text.h"
#include "base/status.h"

/* The last answer of a kind. Many pages ask the same after each verdict: while nothing was stored since, they get the
 * same. */
typedef struct {
    int64_t number, version; /* what was asked; SQLite's data_version at that time */
    const char *state;
    double until;
    atn_text text; /* empty: none */
} api_kept;

typedef struct {
    char *folder, *path;
    sqlite3 *db;       /* NULL while the run cannot be read */
    uint64_t inode;    /* of the file that is open: a new run under the same name is noticed */
    double next_check; /* when to look again whether the file is still the same */
    api_kept kept[2];  /* "run", "programs" */
} api_run;

void api_init(api_run *r, const char *folder);
void api_close(api_run *r);
/* Opens, or opens anew where the file was replaced. `changed` (may be NULL): another file than before. */
atn_status api_ready(api_run *r, bool *changed, atn_error *err);

/* "running": a controller holds run.lock; "finished": the run wrote its result; "stopped": it can be resumed;
 * "unknown". */
const char *api_state(const api_run *r);

typedef struct {
    const char *name; /* "run", "programs", ... */
    int64_t number;   /* program, races: id; programs: seq after which */
    int run, runs;    /* which of how many */
} api_question;

/* Appends the answer and returns the HTTP status: 200, 404 no such thing, 503 the run cannot be read (with error and
 * try). */
int api_answer(api_run *r, const api_question *q, atn_text *out);

void api_text(atn_text *t, const char *s, size_t n,
              size_t most); /* a JSON string; invalid bytes become U+FFFD; cut at `most` */

#endif
