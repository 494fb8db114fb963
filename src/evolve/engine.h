/* The engine's state, shared by its files. Internal to src/evolve.
 *
 * What `engine_apply` changes is a pure function of the ordered list of (proposal, verdict, confirmation, promoted):
 * live
 * judgement, resume and replay all go through it. */
#ifndef ATN_EVOLVE_ENGINE_H
#define ATN_EVOLVE_ENGINE_H

#include "evolve/archive.h"
#include "evolve/desk.h"
#include "evolve/evolve.h"
#include "evolve/portfolio.h"
#include "evolve/score.h"

/* A judged program as the engine keeps it: the light part of all, source and verdict only while it may be a parent. */
typedef struct {
    int64_t id, seq, parent1, parent2, same_as;
    int64_t against; /* 0: the incumbent of that moment */
    int island, generation;
    char origin[64], note[256];
    char *flags;
    char sha[33], object_hash[33], cell[ARCHIVE_KEY];
    bool valid, promoted, start; /* start: initial or shipped */
    atn_verdict *demoted;        /* how it failed after it had been the best; NULL: it did not */
    double score, low, high, t;
    char *source;         /* NULL: in the store; engine_source loads it */
    atn_verdict *verdict; /* the same; engine_verdict */
} engine_program;

typedef enum {
    SLOT_FREE,
    SLOT_BUILDING,
    SLOT_BUILT,
    SLOT_KNOWN,   /* same source and flags as a judged program */
    SLOT_JUDGING, /* elsewhere */
    SLOT_JUDGED   /* has its outcome, waits for those proposed before it */
} slot_state;

/* A proposal on its way to the judge. */
typedef struct {
    slot_state state;
    store_proposal made;
    evolve_build *build;
    build_result built;
    bool has_built;
    int64_t same_as;
    double started;
    int64_t against;         /* raced against this incumbent; 0: that of the moment of judgement */
    evolve_trial *trial;     /* JUDGING */
    evolve_outcome *outcome; /* JUDGED */
} engine_slot;

enum { ENGINE_SLOTS = 64 }; /* where judgements are made here; elsewhere one for each candidate in the window */

/* An incumbent of the run, present or past: races of its time are scored by it. */
typedef struct {
    int64_t id, seq;
    evolve_score score;
} engine_reign;

typedef struct {
    const evolve_options *o;
    evolve_judge *judge;
    atn_store *store;
    suite_kinds kinds;
    atn_archive archive;
    atn_portfolio portfolio;

    engine_program **program; /* in order of seq */
    int n_programs;
    engine_program **by_id; /* [0 .. ids) ; NULL where not judged */
    int64_t ids;

    int64_t incumbent, initial; /* program ids; 0: none yet */
    evolve_score incumbent_score;
    engine_reign *reign; /* all incumbents, oldest first */
    int n_reigns;
    int64_t starts; /* how many starting programs the run has */
    char *starts_from; /* which champions are among them, for people; NULL: none, or resumed */
    int window;     /* judged elsewhere: candidates under way at once; part of what a run is */
    build_result incumbent_built, initial_built;
    bool has_incumbent_built, has_initial_built;

    engine_slot *slot;
    int n_slots;
    int64_t ended; /* elsewhere: what the judge counted when slots were last looked at, */
    double last_turn; /* and the clock */
    bool announced;   /* starting programs are done, controls were raced */
    store_proposal *start; /* proposals that wait for a slot: initial, shipped, open ones of a stopped run */
    int n_start, next_start;
    bool exhausted[EVOLVE_PROPOSERS_MAX];
    double credit[EVOLVE_PROPOSERS_MAX];

    evolve_counts counts;
    double t_base, clock_base; /* elapsed before this session; clock at its start */
    double t_stopped;          /* elapsed when evolving ended; 0: still going */
    int64_t proposals;         /* recorded so far: the last one's id */
    bool store_failed;
    double last_tick;
    atn_desk *desk;
    race_pairs *pairs[2];      /* of the judge's last calls: race and confirmation of one candidate, or a comparison */
    int n_pairs;
    char *evidence; /* of the candidate, as JSON */
    bool incumbent_failed; /* the judge's last call ended because of that: */
    atn_verdict incumbent_failure;
    bool abandoned;            /* a call of the judge goes on behind our back: nothing that it uses may be freed */
    bool serving;              /* proposals and builds go on while the judge works */
    atn_status service_status; /* what failed meanwhile */
    atn_error service_error;
    int judge_failures;
    evolve_stop stop;
    bool disk_full;
    atn_controls controls_start, controls_end;
    bool has_controls_start, has_controls_end;
    char phase[80];
    struct {
        int64_t id;       /* at the judge; 0: none of the candidates */
        const char *what; /* "candidate", "confirm", ...; NULL: the judge rests */
        int stage;
        double since, stage_since, looked, written, believed;
        uint64_t hash, belief[EVOLVE_PROPOSERS_MAX];
    } now; /* now.c */
} atn_engine;

/* ---- engine.c: state, events, and a verdict taking effect ---- */

double engine_now(const atn_engine *e);    /* seconds since the run began */
bool engine_stopping(const atn_engine *e); /* the user wants an end */
engine_program *engine_find(const atn_engine *e, int64_t id);
/* Borrowed; NULL where the store cannot give it. */
const char *engine_source(atn_engine *e, engine_program *p);
const atn_verdict *engine_verdict(atn_engine *e, engine_program *p);
void engine_emit(atn_engine *e,
                 evolve_event *event); /* fills time and counts, stores it (ticks apart), calls the app */
void engine_phase(atn_engine *e, const char *text);
void engine_warn(atn_engine *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What a verdict and its confirmation amount to: one verdict, scored by the confirmation's fresh measurements. */
void engine_effective(const atn_verdict *v, const atn_verdict *confirm, bool promoted, atn_verdict *out);

void engine_tick(atn_engine *e);       /* at most one a second */
bool engine_only_slower(atn_reason r); /* reasons that leave a program right */

engine_program *engine_program_make(const store_proposal *m);
/* The next program in order of judgement. `v` is its effective verdict; *log says what the archive changed. */
void engine_apply(atn_engine *e, engine_program *p, const atn_verdict *v, evolve_score *score, archive_log *log);
/* Whom a race was against: the incumbent, or where races are long on their way an earlier one. */
const evolve_score *engine_score_against(const atn_engine *e, int64_t id);
void engine_reign_begin(atn_engine *e, const engine_program *p, const evolve_score *score); /* the incumbent from now on */
void engine_learn(atn_engine *e, engine_program *p); /* tells the proposers */
void engine_trim(atn_engine *e, const archive_log *log, engine_program *newest);
void engine_forget(engine_program *p);
void engine_view(atn_engine *e, engine_program *p, atn_program_view *out);

typedef struct {
    const engine_slot *slot;
    const atn_verdict *race, *confirm; /* as the judge gave them; confirm may be NULL */
    bool promoted;
    double seconds_judge;
} engine_judgement;

/* A verdict is final: memory, disk, events, proposers, in this order. */
atn_status engine_conclude(atn_engine *e, const engine_judgement *j, atn_error *err);

/* ---- flight.c: candidates on their way to the judge ---- */

/* *idle: nothing is under way and nobody has anything to propose. */
atn_status engine_fill(atn_engine *e, bool *idle, atn_error *err);
int engine_build_jobs(const atn_engine *e);
bool engine_starting(const atn_engine *e); /* starting programs are still on their way */
void engine_step_builds(atn_engine *e);
engine_slot *engine_ready_slot(atn_engine *e); /* the next candidate for the judge; NULL: none is ready */
void engine_slot_clear(atn_engine *e, engine_slot *s);
/* Builds a judged program again and waits. false: did not build (never for a right program on the same compiler) or
 * stopped. */
bool engine_build(atn_engine *e, engine_program *p, build_result *out, atn_error *err);
bool engine_build_source(atn_engine *e, const char *source, const char *flags, build_result *out, atn_error *err);

/* ---- court.c: judgement ---- */

/* Calls of the judge; builds, proposers and progress go on meanwhile. ATN_CANCELLED: the user
 * wants an end, and the call
 * was
 * abandoned. */
atn_status engine_candidate(atn_engine *e, const build_result *candidate, const build_result *incumbent, atn_stage upto,
                            atn_verdict *v, atn_error *err);
atn_status engine_compare(atn_engine *e, const build_result *candidate, const build_result *incumbent, int pairs,
                          bool confirm, bool full_size, double seconds, atn_verdict *v, atn_error *err);
/* Every pair of the candidate's race and confirmation, or (kind given) of the last comparison, into the store. */
atn_status engine_store_pairs(atn_engine *e, const char *kind, int64_t program, int64_t against, atn_error *err);
void engine_clear_pairs(atn_engine *e);
/* Gives the slot's candidate its verdict: by the judge here, or (not NULL) by what was found elsewhere. */
atn_status engine_judge_slot(atn_engine *e, engine_slot *s, evolve_outcome *elsewhere, atn_error *err);
int64_t engine_same_code(const atn_engine *e, const build_result *b); /* a judged program; 0: none */
void engine_control(atn_engine *e, bool at_end);
void engine_nodes(atn_engine *e); /* records the machines of a judge elsewhere */
bool engine_shares_initial(const atn_engine *e); /* incumbent and initial program are one build */
/* Sleeps until the judge, a build or a proposer has something, at most `most_ms`. */
void engine_wait(atn_engine *e, bool judging, int most_ms);

/* ---- demote.c: the best program of the run turns out to fail ---- */

/* After a call of the judge that the incumbent failed in: judged alone, and where it fails again (or `at_once`) it
 * loses its place to the best of the rest, on disk and in memory. *done false: it stays, and the call may be repeated. */
atn_status engine_demote_failed(atn_engine *e, bool at_once, bool *done, atn_error *err);
/* The same with the failure known; false: there is nobody below it, or no next one builds. */
bool engine_demote(atn_engine *e, const atn_verdict *why, atn_error *err);
/* On resume: those demotions that came after the programs that are there now, from *next on. */
atn_status engine_demote_again(atn_engine *e, const store_measurement *list, int n, int *next, atn_error *err);

/* ---- now.c: for who watches ---- */

void engine_now_at(atn_engine *e, int64_t id, const char *what); /* what the judge is about; a literal or NULL */
bool engine_now_due(const atn_engine *e); /* false: the next write would do nothing */
void engine_now_write(atn_engine *e, const evolve_event *ev);
void engine_beliefs_write(atn_engine *e, bool at_once);

/* ---- wide.c: judgements that go on elsewhere, many at once ---- */

/* Takes what came in, settles what is next in order of proposal, proposes anew. As engine_fill: *idle. */
atn_status wide_turn(atn_engine *e, bool *idle, atn_error *err);
int64_t wide_against(const atn_engine *e, const store_proposal *m); /* the incumbent that a candidate is raced against */
void wide_keep(atn_engine *e, evolve_outcome *o); /* its pairs and evidence become those of the last call */
void wide_outcome_free(evolve_outcome *o);        /* NULL is fine */

/* ---- host.c: proposers get what they may use, and their turn to take what came in ---- */

void engine_attach(atn_engine *e);
void engine_service(atn_engine *e);

/* ---- start.c ---- */

atn_status engine_open(atn_engine *e, atn_error *err); /* the store, new or resumed, and all that it says */
const atn_machine *engine_machine(const atn_engine *e); /* that candidates run on: this one, or a class of others */

/* ---- evolve.c: a run in pieces, for those that drive several ---- */

atn_status engine_create(const evolve_options *o, evolve_judge *j, atn_engine **out, atn_error *err);
/* One turn of the loop; *more false: it has come to its end. Sleeps only where judgements are made here. */
atn_status engine_turn(atn_engine *e, bool *more, atn_error *err);
/* Result and end. `st`, *err: what the loop came to. Frees e. */
atn_status engine_finish(atn_engine *e, atn_status st, evolve_result *r, atn_error *err);
/* Somebody else's program as a candidate, unless it is known here by its text. */
atn_status engine_admit(atn_engine *e, const char *source, const char *flags, const char *origin, const char *note,
                        atn_error *err);

/* lineage.c: from the winner to its root; returns how many. */
int lineage_of(const atn_engine *e, int64_t id, evolve_ancestor *out, int room);

/* ablate.c: which edits of the winner paid, into r->edits; its text without those that pay nothing (caller frees), NULL
 * where nothing was left out. */
char *ablate_winner(atn_engine *e, engine_program *winner, double seconds, evolve_result *r);

/* result.c */
atn_status result_make(atn_engine *e, evolve_result *r, atn_error *err);

#endif
