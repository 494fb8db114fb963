/* The pilot: judges on one machine what a controller elsewhere asks for (docs/cluster-protocol.md).
 *
 *     pilot_options p = {.in = 0, .out = 1, .make = evolve_judge_create};
 *     return pilot_run(&p);
 *
 * One question at a time, on a second thread; the first one talks, so that a heartbeat never waits for a race. It holds
 * nothing that is not held elsewhere: it may be killed at any moment. */
#ifndef ATN_EVOLVE_PILOT_H
#define ATN_EVOLVE_PILOT_H

#include "evolve/evolve.h"

enum { PILOT_PROTOCOL = 1 };

typedef struct {
    int in, out;
    const char *spool; /* instead of in and out: talk through files in this folder */
    atn_status (*make)(const evolve_options *o, evolve_judge **out, atn_error *err);
    double grace_s; /* after SIGTERM a judgement may end within that; default 8 */
    double silence_s; /* a controller that says nothing for so long is gone; default 60 */
} pilot_options;

/* Until the controller says goodbye or is gone, or SIGTERM. Exit status: 0, or 3 where the controller was lost. */
int pilot_run(const pilot_options *o);

#endif
