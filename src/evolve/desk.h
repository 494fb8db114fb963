/* The desk: one thread on which calls of the judge run, so that builds, proposers and the progress
 * line go on meanwhile.
 *
 * One call at a time: the judge itself is not thread safe, and all else stays on the engine's thread. A call that must
 * not
 * be waited for (the user wants an end, the judge waits for the machine's timing lock) is abandoned: its thread keeps
 * what
 * it uses until the process ends. */
#ifndef ATN_EVOLVE_DESK_H
#define ATN_EVOLVE_DESK_H

#include <stdbool.h>

#include "base/status.h"

typedef struct atn_desk atn_desk;

atn_status desk_open(atn_desk **out, atn_error *err);
void desk_start(atn_desk *d, void (*work)(void *), void *arg); /* arg lives until desk_done, or for ever if abandoned */
int desk_fd(const atn_desk *d);                                /* readable when the call has ended */
bool desk_done(atn_desk *d);                                   /* true once per call; never blocks */
void desk_close(atn_desk *d, bool abandoned);                  /* NULL is fine */

#endif
