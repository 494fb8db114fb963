/* The dashboard of a run: a small web server over its run.db, or the same pages as files.
 *
 *     serve_options o = {.folders = {"attune_output"}, .n_folders = 1};
 *     serve_start(&o, &s, &err);  puts(serve_url(s));  ...  serve_stop(s);
 *
 * Invariants: nothing here writes to a run (one small file beside it, serve.key, keeps port and token so that a server
 * that was killed comes back under the same address); every answer that holds data needs the token; a page gets every
 * stored event exactly once, in order, over any number of reconnections. Works while the run goes on, in this process
 * or another; runs that stop, start anew or break are told, never fatal. */
#ifndef ATN_SERVE_SERVE_H
#define ATN_SERVE_SERVE_H

#include <stdbool.h>

#include "base/status.h"

enum { SERVE_RUNS_MAX = 8 };

typedef struct {
    const char *folders[SERVE_RUNS_MAX]; /* output folders, or .db files; those after the first are for comparison */
    int n_folders;
    const char *listen; /* address; NULL: 127.0.0.1 */
    int port;           /* 0: that of serve.key if free, else any */
} serve_options;

typedef struct serve serve;

atn_status serve_start(const serve_options *o, serve **out, atn_error *err);
const char *serve_url(const serve *s); /* with the token: for the terminal of the user, never for a log */
bool serve_is_loopback(const serve *s);
void serve_stop(serve *s); /* NULL is fine */

/* The same pages as files that a browser opens from disk. *files (may be NULL): how many were written. */
atn_status serve_static(const serve_options *o, const char *folder, int *files, atn_error *err);

#endif
