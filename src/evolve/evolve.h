/* The engine: proposals, builds and judgements in a steady state, until a limit is reached; then the result.
 *
 *     evolve_options o = evolve_defaults();
 *     o.folder = "attune_output"; o.initial_path = "..."; o.suite = &suite; o.minutes = 3; o.event = on_event;
 *     evolve_judge *j; evolve_judge_create(&o, &j, &err);      // the real judge; tests bring their own
 *     evolve_result r;
 *     atn_status st = evolve_run(&o, j, &r, &err);             // blocks; events arrive on this thread
 *     ... evolve_result_free(&r); evolve_judge_free(j);
 *
 * One thread for all but the judge, whose calls run on a second one, one at a time (desk.h): builds, which are separate
 * processes, and proposers go on while it races; only timing is serial. Every proposal is
 * on disk before it is evaluated and every verdict before the next judgement starts; the archive is a function of the
 * ordered list of verdicts, so a killed run resumes where it was, with at most the work in flight judged again. */
#ifndef ATN_EVOLVE_EVOLVE_H
#define ATN_EVOLVE_EVOLVE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "evolve/propose/propose.h"
#include "judge/judge.h"
#include "store/store.h"

enum { EVOLVE_PROPOSERS_MAX = 8, EVOLVE_SHIPPED_MAX = 32, EVOLVE_LINEAGE_MAX = 64, EVOLVE_CLASSES_MAX = 32 };

/* ---- events ---- */

#define EVOLVE_EVENT_LIST(X)                                                                                           \
    X(START, "start") /* once; resumed or new. text: which champions it starts from */                                 \
    X(PHASE, "phase") /* text: what begins: "initial program", "shipped kernels", "evolve", "final comparison" ... */  \
    X(JUDGED, "judged") /* a program has its verdict (event->program, ->verdict) */                                    \
    X(BEST, "best")     /* it became the new best; follows its JUDGED */                                               \
    X(DEMOTED, "demoted")     /* text: the best failed, and who took its place (event->best) */                        \
    X(MIGRATION, "migration")                                                                                          \
    X(CONTROL, "control") /* A/A and known-slower races (event->controls) */                                           \
    X(WARNING, "warning") /* text */                                                                                   \
    X(TICK, "tick")       /* about once a second: redraw the progress line; not stored */                              \
    X(STOP, "stop")       /* text: why; event->stop */                                                                 \
    X(RESULT, "result")   /* the result is on disk (event->result) */

typedef enum {
#define ATN_X(name, word) EVOLVE_##name,
    EVOLVE_EVENT_LIST(ATN_X)
#undef ATN_X
    EVOLVE_EVENT_COUNT
} evolve_event_type;

#define EVOLVE_STOP_LIST(X)                                                                                            \
    X(NONE, "none", "still going")                                                                                     \
    X(ITERATIONS, "iterations", "all iterations done")                                                                 \
    X(MINUTES, "minutes", "time is up")                                                                                \
    X(TARGET, "target", "target speedup reached")                                                                      \
    X(PLATEAU, "plateau", "no improvement for a long while")                                                           \
    X(EXHAUSTED, "exhausted", "every proposer has run out of ideas")                                                   \
    X(INTERRUPTED, "interrupted", "stopped by the user")                                                               \
    X(DISK_FULL, "disk_full", "the disk is full")                                                                      \
    X(FAILED, "failed", "an error")

typedef enum {
#define ATN_X(name, word, text) EVOLVE_STOP_##name,
    EVOLVE_STOP_LIST(ATN_X)
#undef ATN_X
    EVOLVE_STOP_COUNT
} evolve_stop;
const char *evolve_stop_word(evolve_stop s);
const char *evolve_stop_text(evolve_stop s);

typedef struct {
    /* Programs with a verdict; of these: failed, same code as an earlier one, new best. */
    int64_t judged, failed, same, promoted;
    int64_t evolved;       /* judged, initial and shipped programs not counted: what --iterations counts */
    double seconds;        /* of evolving, all sessions together */
    double per_minute;     /* judged per minute, last two minutes */
    int building, waiting; /* builds under way; built, waiting for the judge */
    int64_t since_best;    /* judged since the last new best */
} evolve_counts;

struct evolve_result;

typedef struct {
    evolve_event_type type;
    double t; /* seconds since the run began */
    evolve_counts counts;
    double done;         /* 0 .. 1: share of the nearest limit */
    double seconds_left; /* until the result: to the nearest limit, and the budget of the final comparison, which a quick
                          * suite does not use up; controls come on top. < 0: unknown */
    int64_t best;                             /* program id; 0: none yet */
    double best_speedup, best_low, best_high; /* over the initial program, geometric mean of the suite */
    const char *text;                         /* a sentence for people, "" if none */
    const store_program *program;             /* JUDGED, BEST; else NULL */
    const atn_verdict *verdict;               /* JUDGED, BEST */
    const atn_controls *controls;             /* CONTROL */
    bool at_end;                              /* CONTROL: after the run, else before */
    bool resumed;                             /* START */
    int from_island, to_island;               /* MIGRATION */
    evolve_stop stop;                         /* STOP */
    const struct evolve_result *result;       /* RESULT */
} evolve_event;

/* One line of JSON, as stored and as `--json` prints it. Caller frees. */
char *evolve_event_json(const evolve_event *e);
const char *evolve_event_word(evolve_event_type t);

/* ---- options ---- */

typedef struct {
    const char *folder; /* output folder */
    bool resume;
    const char *initial_path;   /* for words in tables and provenance */
    const char *initial_source; /* its text */
    const char *const *shipped; /* paths of starting points besides it; NULL: evolve_shipped() finds them */
    int n_shipped;              /* with shipped NULL: < 0 none at all */
    /* Of those found: 0, the judge of such a run surely refuses this one, so it is left out; else its place, the better first.
     * NULL: all are tried, by name. */
    int (*serves)(const char *path, const atn_suite *suite);
    const atn_suite *suite;     /* timing cases */
    const char *suite_name;     /* "seed+readme": words */
    int threads;                /* of a kernel; default 1 */
    double tolerance;           /* factor; default 1 */
    const char *cc;             /* candidate compiler; NULL: default */
    uint64_t seed;              /* of the search */

    int64_t iterations;    /* 0: no limit */
    double minutes;        /* 0: no limit; of evolving: set-up and final comparison come on top */
    double target_speedup; /* 0: none */
    int64_t plateau;       /* stop after that many judged without a new best; 0: never */

    int islands;          /* default 4 */
    int migrate_every;    /* judged programs between migrations; default 24 */
    int cells_max;        /* archive cells per island; default 64. The store keeps all */
    int build_jobs;       /* 0: CPUs - 1, at least 1 */
    double final_seconds; /* budget of the final comparison; default 40; 0: none */
    int control_races;    /* at start and end; default 3; 0: none */

    atn_proposer *proposers[EVOLVE_PROPOSERS_MAX]; /* borrowed, destroyed by the caller; asked in turn by weight */
    double proposer_weight[EVOLVE_PROPOSERS_MAX];  /* 0 counts as 1 */
    int n_proposers;

    const char *config_json; /* kept in the store; may be NULL */
    bool unsafe;             /* judge without isolation where the machine has none */
    /* The app's signal handler sets it: finish cleanly within about a second. May be NULL. */
    volatile sig_atomic_t *stop;
    void (*event)(void *ctx, const evolve_event *e); /* may be NULL */
    void *event_ctx;
} evolve_options;

evolve_options evolve_defaults(void);
/* The kernels that come with attune: <home>/src/kernel/ *.c or <home>/kernels/ *.c, and <home>/champions/ *.c. Returns
 * how many; free each. */
int evolve_shipped(char *paths[EVOLVE_SHIPPED_MAX]);

/* ---- the judge, as the engine sees it: the real one, or a test's synthetic landscape ---- */

typedef struct evolve_judge evolve_judge;
typedef struct evolve_build evolve_build;
typedef struct evolve_trial evolve_trial;
/* What a judgement elsewhere came to: the race, and where that was won its confirmation. */
typedef struct {
    atn_status status;
    atn_error err;
    atn_verdict race, confirm;
    bool has_confirm;
    bool incumbent_failed; /* then there is no verdict, but why the incumbent failed */
    atn_verdict incumbent_failure;
    double seconds;
    race_pairs *pairs[2]; /* of race and confirmation; NULL: none. These and `evidence` are freed by who takes them */
    char *evidence;       /* as evolve_judge.evidence */
} evolve_outcome;

struct evolve_judge {
    void *ctx;
    /* Builds: as judge/build.h. `original`: text whose code outside the markers must be unchanged,
     * NULL: a whole file. */
    atn_status (*build_start)(void *ctx, const char *source, const char *flags, const char *original,
                              evolve_build **out, atn_error *err);
    int (*build_fd)(void *ctx, const evolve_build *b);
    bool (*build_step)(void *ctx, evolve_build *b, build_result *out);
    void (*build_cancel)(void *ctx, evolve_build *b);
    void (*build_release)(void *ctx, build_result *r);
    /* As judge/judge.h. Called on the engine's second thread, one call at a time; everything else on the first. */
    atn_status (*candidate)(void *ctx, const build_result *candidate, const build_result *incumbent, atn_stage upto,
                            atn_verdict *v, atn_error *err);
    /* full_size: the suite as given, not cut to one kv group; seconds: budget for all cases together, 0: the judge's
     * own. */
    atn_status (*compare)(void *ctx, const build_result *candidate, const build_result *incumbent, int pairs,
                          bool confirm, bool full_size, double seconds, atn_verdict *v, atn_error *err);
    /* How far the running `candidate` has come; any thread. May be NULL. */
    atn_stage (*stage)(void *ctx);
    /* Every pair of the last candidate or compare, to be freed by race_pairs_free. May be NULL and may give NULL. */
    race_pairs *(*take_pairs)(void *ctx);
    /* As judge_cancel, on the first thread. NULL: a call that is given up goes on behind the engine's back. */
    void (*cancel)(void *ctx, bool on);
    /* Why the incumbent of the last candidate or compare failed; NULL: it did not. On the second thread. May be NULL. */
    const atn_verdict *(*incumbent_failure)(void *ctx);
    /* What explains a right candidate's speed, as JSON of judge/evidence.h; on the second thread, after candidate. The
     * caller frees. May be NULL and may give NULL. */
    char *(*evidence)(void *ctx, const build_result *candidate, const atn_verdict *v);
    atn_status (*controls)(void *ctx, const build_result *program, int races, atn_controls *out, atn_error *err);
    void (*peaks)(void *ctx, atn_peaks *out);
    /* The seed's metrics of a verdict. Here and below: may be NULL. */
    void (*metrics)(void *ctx, const atn_verdict *v, seed_metrics *out);
    /* The problem that is really timed for a case in races, or in the final comparison (fewer heads where the initial
     * program
     * is too slow for the budget). NULL: the suite's own. */
    const atn_problem *(*case_problem)(void *ctx, int case_index, bool final);
    /* Told before a final comparison: one call of the initial program on the case as raced takes that long. */
    void (*initial_ns)(void *ctx, int case_index, double ns);
    void (*destroy)(void *ctx);
    /* Judgements elsewhere, `width` at once; 0: here, one at a time, by the calls above. What follows then is unused. */
    int width;
    /* Candidates under way at once. They are judged in order of proposal, each against the incumbent that was known when
     * the one `window` before it had its verdict: so the archive does not depend on who is how fast. */
    int window;
    atn_status (*trial_start)(void *ctx, const char *source, const char *flags, const char *original,
                              const char *incumbent, const char *incumbent_flags, evolve_trial **out, atn_error *err);
    bool (*trial_step)(void *ctx, evolve_trial *t, evolve_outcome *out); /* never blocks; true: finished, t freed */
    void (*trial_cancel)(void *ctx, evolve_trial *t);
    bool (*turn)(void *ctx, atn_error *err); /* takes what came in; false: nobody is left to judge */
    int64_t (*ended)(void *ctx);             /* counts builds and judgements that ended: unchanged, no step is worth it */
    int (*fd)(void *ctx);                    /* readable when a turn would take something */
    char *(*nodes)(void *ctx);               /* the machines behind it, as JSON for the record; caller frees */
    const atn_machine *machine;              /* that it judges for; NULL: this one */
    char compiler[96];
    char version[32]; /* of the judge's rules: part of the evaluator's fingerprint */
    bool abandoned;   /* set by the engine: a call still goes on, destroy must not be called */
};

/* The real judge for these options. Measures the machine's peaks. */
atn_status evolve_judge_create(const evolve_options *o, evolve_judge **out, atn_error *err);
void evolve_judge_free(
    evolve_judge *j); /* NULL is fine; does nothing if a call was abandoned: the process is about to end */

/* ---- result ---- */

typedef struct {
    int64_t id;
    int generation;
    int64_t seq;
    char origin[64], note[256];
    double score;
} evolve_ancestor;

typedef struct {
    char key[64]; /* "long causal d128 f32 gqa2 t1" */
    int64_t program;
    char file[96];             /* below portfolio/ */
    double speedup, low, high; /* over the initial program, on the cases of this class */
    int cases;
    bool confirmed; /* raced against the winner on these cases; else it is the winner itself */
} evolve_class;

typedef struct {
    double median, low, high;
} evolve_interval; /* factors, not logarithms; 0 where not measured */

/* An edit of the winner's lineage, taken back alone: what is the winner worth beside itself without it? */
typedef enum {
    EVOLVE_FATE_PAID,
    EVOLVE_FATE_NEEDED,  /* without it the program does not build or is not right */
    EVOLVE_FATE_NOTHING, /* worth nothing: left out of best_program.c */
    EVOLVE_FATE_OPEN,    /* the race cannot tell */
    EVOLVE_FATE_SAME     /* the same object code without it */
} evolve_fate;
const char *evolve_fate_word(evolve_fate f);
enum { EVOLVE_EDITS_MAX = 24 };
typedef struct {
    int64_t program; /* the step of the lineage that brought it */
    char what[160];  /* its first line */
    evolve_fate fate;
    bool removed;
    evolve_interval gain; /* the program with it over the program without; 0 where not raced */
} evolve_edit;

typedef struct evolve_result {
    evolve_stop stop;
    evolve_counts counts;
    double minutes;
    int64_t winner; /* 0: nothing right was found, not even the initial program */
    bool winner_is_initial;
    char best_path[512], info_path[512], db_path[512];
    int64_t source_lines;
    /* Final comparisons at full size, on the whole suite; n_cases 0 where not made. */
    atn_verdict versus_initial; /* winner against the initial program */
    atn_verdict ancestor_versus_initial;
    atn_verdict versus_ancestor;
    bool has_versus_initial, has_ancestor_versus_initial, has_versus_ancestor;
    bool final_from_chain;            /* no final comparison: speedup is the chained estimate of the run */
    evolve_interval speedup;          /* winner over initial */
    evolve_interval ancestor_speedup; /* root ancestor over initial: 1 where that is the initial program itself */
    evolve_interval evolved_speedup;  /* winner over its root ancestor: what evolution added */
    atn_verdict verdict;              /* of the winner in the run: error, checks */
    evolve_ancestor lineage[EVOLVE_LINEAGE_MAX]; /* winner first, root last */
    int n_lineage;
    char root_origin[64]; /* "initial" or "shipped:flash_qvec.c" */
    evolve_class classes[EVOLVE_CLASSES_MAX];
    int n_classes;
    evolve_edit edits[EVOLVE_EDITS_MAX]; /* of steps that changed more than knobs, the last step first */
    int n_edits;
    atn_controls controls_start, controls_end;
    bool has_controls_start, has_controls_end;
    char proposers[128]; /* "knobs llm" */
    bool pruned;         /* best_program.c is the winner with dead branches removed, same object code */
} evolve_result;

/* Runs until a limit. ATN_OK also when interrupted (r->stop says so); the result is written in every case where a right
 * program exists.
 * After a full disk: ATN_IO, and everything committed before is safe. */
atn_status evolve_run(const evolve_options *o, evolve_judge *j, evolve_result *r, atn_error *err);
void evolve_result_free(evolve_result *r);

/* best_program_info.json (and `run` of `attune eval --json`) as text; caller frees. Cases carry the names of issue "For
 * scripts". */
char *evolve_result_json(const evolve_options *o, const evolve_judge *j, const evolve_result *r);

/* ---- verdicts and controls as JSON, both ways, nothing lost ---- */
char *verdict_json(const atn_verdict *v); /* caller frees */
atn_status verdict_from_json(const char *json, atn_verdict *out, atn_error *err);
char *controls_json(const atn_controls *c);

#endif
