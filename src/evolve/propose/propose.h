/* A proposer: something that turns what is known into new candidate sources. One small interface for all of them.
 *
 * The engine owns all state that must survive a crash: after a restart it feeds every stored result to `learn` again, in
 * the order of first judgement, so a proposer keeps only what it can rebuild. Randomness comes only from the rng that is
 * handed in (made from the run's seed and the proposal's number). Called from the engine's one thread; `propose` must not block: it
 * says LATER where it has to wait (an LLM, a person), and `poll_fd` tells what to wait for. */
#ifndef ATN_EVOLVE_PROPOSE_H
#define ATN_EVOLVE_PROPOSE_H

#include "base/cpu.h"
#include "base/rng.h"
#include "base/status.h"
#include "judge/verdict.h"
#include "problem/suite.h"

/* A program as a proposer sees it. Pointers live until the call returns; programs are never deleted from the store. */
typedef struct {
    int64_t id;
    int64_t parent;                /* 0: none */
    int island;
    const char *source;
    const char *flags;             /* extra compiler flags, may be "" */
    const char *origin;            /* "initial", "shipped:flash_qvec.c", "knobs/mutate1", "llm/diff", ... */
    const atn_verdict *verdict;
    double score;                  /* ln speedup over the initial program (lower bound of the suite's mean); -INFINITY when it has none */
} atn_program_view;

typedef struct {
    const atn_program_view *incumbent;    /* best of this island; never NULL once the initial program was judged */
    const atn_program_view *elites;       /* owners of the archive's cells of this island, best first */
    int n_elites;
    const atn_program_view *best;         /* best of all islands */
    int island;
    int64_t number;                       /* running number of this proposal */
    int iterations_left;                  /* budget, < 0: unknown */
} atn_propose_context;

typedef struct {
    char *source;                  /* owned by the proposal; the engine frees */
    char *flags;                   /* may be NULL */
    int64_t parents[2];            /* 0: none */
    char origin[64];               /* proposer/operator */
    char note[256];                /* what was changed, in words: "BR 48 -> 64" */
} atn_proposal;

typedef enum { PROPOSE_OK, PROPOSE_LATER, PROPOSE_EXHAUSTED } propose_answer;

/* What a proposer may use of the run, from attach to destroy. The store: its own measurements and texts, never within
 * somebody's transaction (propose, learn and service are called outside of any). */
typedef struct {
    struct atn_store *store;
    const char *folder;            /* of the run's output */
    const atn_suite *suite;
    const atn_problem *(*problem)(void *ctx, int case_index);   /* what is really timed for a case */
    int threads;
    uint64_t seed;
    const atn_machine *machine;    /* that candidates run on: not always this one */
    atn_peaks peaks;
    const char *compiler;
    double (*now)(void *ctx);      /* seconds since the run began */
    void (*warn)(void *ctx, const char *text);
    void *ctx;
} propose_host;

typedef struct atn_proposer atn_proposer;
struct atn_proposer {
    const char *name;
    propose_answer (*propose)(atn_proposer *p, const atn_propose_context *c, atn_rng *rng, atn_proposal *out);
    /* Every judged program, its own or others'. Also at start-up, in order, for all that the store holds. */
    void (*learn)(atn_proposer *p, const atn_program_view *result);
    /* Of a resumed run, after all that was learnt: a proposal of its own that has no verdict yet, oldest first. May be NULL. */
    void (*pending)(atn_proposer *p, const char *source, const char *flags);
    int (*poll_fd)(atn_proposer *p);          /* -1: nothing to wait for; may be NULL */
    void (*destroy)(atn_proposer *p);
    /* Both may be NULL. Once the store is open, before the first learn; and in every turn of the loop, also while there is
     * no room for proposals: what came in is taken, written down, and poll_fd is quiet afterwards. */
    void (*attach)(atn_proposer *p, const propose_host *h);
    void (*service)(atn_proposer *p);
    /* What it believes now, as one JSON object for people: {"proposer", "arms": [{"group", "name", "share", "rate", "n", ...}],
     * "lessons"}. NULL: nothing to tell yet. The caller frees. May be NULL. */
    char *(*tell)(const atn_proposer *p);
};

/* The embedded default: searches the knobs of every known program family, and crosses families' values where knob names are shared. */
atn_proposer *proposer_knobs_create(void);

/* Those that ask somebody. Settings from the config: llm.*, prompt.*, mailbox.*, exec.*, replay.*. NULL with the reason. */
struct atn_config;
atn_proposer *proposer_llm_create(const struct atn_config *c, atn_error *err);
atn_proposer *proposer_mailbox_create(const struct atn_config *c, atn_error *err);
atn_proposer *proposer_exec_create(const struct atn_config *c, atn_error *err);
atn_proposer *proposer_replay_create(const struct atn_config *c, atn_error *err);

#endif
