/* A run on other machines: one engine for each class of machine that shows up, all on one thread.
 *
 * The first class has the run's folder, another one a folder below machines/. Each is a whole run with archive, incumbents,
 * portfolio and result of its own, so that no figure of one ever meets a figure of another. What they share is ideas: who
 * becomes the champion of a class is raced in the others as an immigrant. */
#ifndef ATN_EVOLVE_EXECUTE_RUN_H
#define ATN_EVOLVE_EXECUTE_RUN_H

#include "evolve/execute/fleet.h"

typedef struct {
    void *ctx;
    /* Gives *o proposers of its own; `first`: of the run's own folder. */
    atn_status (*proposers)(void *ctx, evolve_options *o, atn_error *err);
    /* A class is about to begin: the first one's judge is the one to show. May be NULL. */
    void (*begins)(void *ctx, const evolve_options *o, evolve_judge *j, bool first);
    void (*note)(void *ctx, int cls, const char *text); /* what happens before a record is open; may be NULL */
    /* A class has its result, in its folder. May be NULL. */
    void (*ended)(void *ctx, const evolve_options *o, const evolve_result *r, bool first);
} execute_hooks;

/* As evolve_run; *r is the result of the first class. */
atn_status execute_run(const execute_options *x, const evolve_options *o, const execute_hooks *h, evolve_result *r,
                       atn_error *err);
/* The same over a fleet that is open already. */
atn_status execute_over(atn_fleet *f, const evolve_options *o, const execute_hooks *h, evolve_result *r, atn_error *err);

#endif
