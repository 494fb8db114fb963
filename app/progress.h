/* Progress of an evolution for whoever watches: a line that is redrawn on a terminal, plain lines elsewhere, JSON events
 * on stdout with --json, nothing with --quiet. Results go to stdout, progress to stderr. */
#ifndef ATN_APP_PROGRESS_H
#define ATN_APP_PROGRESS_H

#include "evolve/evolve.h"

typedef enum { PROGRESS_LIVE, PROGRESS_PLAIN, PROGRESS_JSON, PROGRESS_QUIET } progress_mode;

typedef struct {
    progress_mode mode;
    bool drawn;                        /* a live line stands on the terminal */
    double plain_next;                 /* when the next plain tick is due, on the clock of clock_s */
    char phase[96];
    double stopped;                    /* when the run stopped, on the clock of clock_s; 0: it goes on */
    const evolve_options *options;     /* for the result of --json */
    const evolve_judge *judge;
} atn_progress;

void progress_begin(atn_progress *p, bool json, bool quiet);
void progress_event(void *ctx, const evolve_event *e);   /* ctx is the atn_progress: as evolve_options.event */
/* A line of its own, above the live line. */
void progress_say(atn_progress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void progress_end(atn_progress *p);                      /* clears the live line */

/* "2:05" or "1:02:05". */
void progress_clock(double seconds, char out[24]);

#endif
