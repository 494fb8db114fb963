/* attune evolve over other machines: settings to a fleet, and what people are told of it. */
#ifndef ATN_APP_ELSEWHERE_H
#define ATN_APP_ELSEWHERE_H

#include "cmd.h"
#include "evolve/config.h"
#include "evolve/evolve.h"
#include "progress.h"

typedef struct {
    const atn_config *config;
    atn_progress *progress;
    atn_status (*proposers)(const atn_config *config, evolve_options *o, bool *asks, atn_error *err);
    void (*start)(atn_progress *p, const evolve_options *o, const evolve_judge *j); /* says what begins */
} elsewhere;

bool elsewhere_wanted(const atn_config *config); /* executor.kind is not local */
/* As evolve_run. */
atn_status elsewhere_run(const elsewhere *x, const evolve_options *o, evolve_result *r, atn_error *err);

#endif
