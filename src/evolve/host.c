/* What the engine offers to proposers: the store, the problem, the machine. */
#include "evolve/engine.h"

static const atn_problem *host_problem(void *ctx, int c)
{
    atn_engine *e = ctx;
    const atn_problem *p = e->judge->case_problem ? e->judge->case_problem(e->judge->ctx, c, false) : NULL;
    return p ? p : &e->o->suite->cases[c].problem;
}

static double host_now(void *ctx) { return engine_now(ctx); }
static void host_warn(void *ctx, const char *text) { engine_warn(ctx, "%s", text); }

void engine_attach(atn_engine *e)
{
    propose_host h = {.store = e->store, .folder = e->o->folder, .suite = e->o->suite, .problem = host_problem,
                      .threads = e->o->threads, .seed = e->o->seed, .machine = engine_machine(e), .compiler = e->judge->compiler, .now = host_now,
                      .warn = host_warn, .ctx = e};
    if (e->judge->peaks) e->judge->peaks(e->judge->ctx, &h.peaks);
    for (int i = 0; i < e->o->n_proposers; i++) {
        atn_proposer *p = e->o->proposers[i];
        if (p->attach) p->attach(p, &h);
    }
}

void engine_service(atn_engine *e)
{
    for (int i = 0; i < e->o->n_proposers; i++) {
        atn_proposer *p = e->o->proposers[i];
        if (p->service) p->service(p);
    }
}
