/* The run database: everything that happened in a run, in one SQLite file, append-only.
 *
 *     store_pair id[] = {{"machine", m->signature}, {"suite", "..."}, {"threads", "1"}};
 *     store_open("attune_output", STORE_CREATE, id, 3, &s, &err);
 *     store_proposal_add(s, &proposal, &err);          // committed before it is evaluated
 *     store_begin(s); store_program_add(s, &p); store_cell_add(...); store_commit(s);
 *
 * Invariants: a proposal is on disk before its evaluation starts; a program and everything that its judgement changed
 * (cases, cells, migrations, events) is one transaction; nothing is ever updated or deleted but by meta_set. A killed
 * controller loses at most the transaction in flight. One controller per folder (flock on run.lock); readers need no
 * lock. Scores of another machine or another evaluator are never mixed in: store_open compares every identity pair.
 *
 * The store knows nothing of judges or archives: verdicts arrive as JSON text. Not thread safe:
 * one thread per handle. */
#ifndef ATN_STORE_STORE_H
#define ATN_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct atn_store atn_store;

typedef enum {
    STORE_CREATE, /* a new run; an earlier run of the same identity is kept aside as run-<time>.db (store_kept_aside) */
    STORE_RESUME, /* go on with the run that is there; NOT_FOUND if there is none. An older schema is brought up to date */
    STORE_READ    /* read-only, no lock, no identity check: `attune show`, report, serve; also while a run goes on */
} store_mode;

/* What makes results comparable. MISMATCH names the pair that differs, both values, and what to do. The pair "machine"
 * comes first. */
typedef struct {
    const char *key, *value;
} store_pair;

/* `folder` is the output folder (made if absent); the file is <folder>/run.db. STORE_READ also
 * accepts the path of a .db
 * file. */
atn_status store_open(const char *folder, store_mode mode, const store_pair *identity, int n, atn_store **out,
                      atn_error *err);
void store_close(atn_store *s);                   /* NULL is fine */
const char *store_path(const atn_store *s);       /* of the database file */
const char *store_kept_aside(const atn_store *s); /* where an earlier run went, or NULL */
bool store_full(const atn_store *s);              /* the last failure was a full disk: what was committed is safe */

/* meta: seed, config, version, started ... Caller frees the value; NULL where absent. */
atn_status store_meta_set(atn_store *s, const char *key, const char *value, atn_error *err);
char *store_meta_get(atn_store *s, const char *key);

/* Transactions nest no deeper than one. store_begin .. store_commit; store_rollback after a failure. */
atn_status store_begin(atn_store *s, atn_error *err);
atn_status store_commit(atn_store *s, atn_error *err);
void store_rollback(atn_store *s);

/* Texts (sources, prompts, answers), stored once each; sha gets its name. */
atn_status store_blob_add(atn_store *s, const char *text, char sha[33], atn_error *err);
char *store_blob_get(atn_store *s, const char *sha); /* caller frees; NULL where absent */

/* Strings of records that are read belong to the record: free with *_free. */
typedef struct {
    int64_t id; /* 0 in: the store numbers it 1, 2, ... */
    int island;
    int64_t parent1, parent2; /* 0: none */
    char *proposer;           /* "knobs", "llm", ... ; "start" for initial and shipped programs */
    char *origin, *note;
    char *source; /* text; NULL when read by store_programs (use store_blob_get with sha) */
    char sha[33];
    char *flags;
    double t; /* seconds since the run began, time between sessions not counted */
} store_proposal;

atn_status store_proposal_add(atn_store *s, store_proposal *p,
                              atn_error *err); /* sets p->id and p->sha; commits unless in a transaction */
/* Proposals without a program: what was in flight when the run stopped. In order of id. */
atn_status store_proposals_open(atn_store *s, store_proposal **list, int *n, atn_error *err);
void store_proposals_free(store_proposal *list, int n);

/* One timed case of a program. Bounds and ratios are against the incumbent of that moment. */
typedef struct {
    int case_index;
    double log_ratio, log_low, log_high;
    double log_speedup; /* over the initial program, through the chain of incumbents */
    int pairs;
    double ns_min, incumbent_ns_min, error;
    int64_t workspace_bytes;
} store_case;

/* A judged program: its proposal (joined when read) and what came of it. */
typedef struct {
    store_proposal made; /* id, parents, origin, note, sha, flags, t of the proposal */
    int64_t seq;         /* order of judgement: 1, 2, ...; the archive is a function of this order */
    int generation;      /* 0: initial and shipped */
    int64_t incumbent;   /* raced against it; 0: none */
    int64_t same_as;     /* identical object code was judged as that program; 0: judged itself */
    char object_hash[33];
    bool correct, promoted; /* promoted: confirmed, became the incumbent */
    bool screened;          /* score estimated from the screening cases only */
    char *state;            /* "failed", "right", "better", "same" */
    char *stage, *reason;   /* words of the verdict */
    char *evidence;
    char *reproduce;
    char *compiler;
    double score, score_low, score_high; /* ln speedup over the initial program; NAN: none (NULL in the table) */
    double error;                        /* worst relative L2 */
    int64_t workspace_bytes;
    double profile, decode; /* axes: short minus long, decode minus prefill, as log-speedups; NAN: none */
    char *cell;             /* archive cell key, "" if none */
    double t;               /* seconds since the run began, at the verdict */
    double seconds_build, seconds_judge;
    char *verdict;     /* JSON, nothing lost */
    char *confirm;     /* JSON of the confirmation, NULL if there was none */
    store_case *cases; /* NULL when read without with_cases */
    int n_cases;
} store_program;

atn_status store_program_add(atn_store *s, const store_program *p,
                             atn_error *err); /* p->made.id names an open proposal */
/* Programs with seq > after, in order of seq. The source is not loaded. */
atn_status store_programs(atn_store *s, int64_t after, bool with_cases, store_program **list, int *n, atn_error *err);
atn_status store_program_get(atn_store *s, int64_t id, store_program *out,
                             atn_error *err); /* with cases and source; NOT_FOUND */
void store_program_clear(store_program *p);
void store_programs_free(store_program *list, int n);

/* Every pair of a race, in the order of time: what medians and bounds were made of. One record is one timed case of one
 * race of `program` against `against`.
 *
 *     store_race *r; int n;
 *     store_races(s, id, "confirm", &r, &n, &err);         // in order of case_index, within a case in order of time
 *     for (int i = 0; i < r[0].n; i++) plot(r[0].d[i]);     // ln(t_against / t_program): > 0, the program was faster
 *     store_races_free(r, n);
 *
 * d has the effect of order taken out, as the bounds do: its median is case_result.log_ratio of the same race. The
 * program ran first in pair i where i has an even number of one bits; as measured it was d[i] + effect there, and
 * d[i] - effect where it ran second. A program with a confirmation has the pairs of both, kinds "race" and "confirm";
 * one dropped early has "screen" alone; "final", "ancestor", "final_ancestor" and "portfolio" are the comparisons at the
 * end of a run, as in store_measurements. A run recorded before pairs were kept (schema 1) gives n = 0. */
typedef struct {
    int64_t program, against;
    char kind[16];
    int case_index;
    int n;
    double effect;
    float *d;
} store_race;

atn_status store_race_add(atn_store *s, const store_race *r, atn_error *err);
/* kind NULL: all. Programs unknown or never raced: n = 0. */
atn_status store_races(atn_store *s, int64_t program, const char *kind, store_race **list, int *n, atn_error *err);
void store_races_free(store_race *list, int n);

/* Evidence beside the verdict, as JSON (judge/evidence.h says of what shape). Caller frees; NULL where absent. */
atn_status store_evidence_add(atn_store *s, int64_t program, const char *json, atn_error *err);
char *store_evidence_get(atn_store *s, int64_t program);

/* The archive as it changed: `program` took (or, 0, left) the cell at `seq`. The view `grid` holds
 * the owners of now. */
atn_status store_cell_add(atn_store *s, int64_t seq, int island, const char *key, int64_t program, atn_error *err);
atn_status store_migration_add(atn_store *s, int64_t seq, int from, int to, int64_t program, atn_error *err);
typedef struct {
    int island;
    char key[48];
    int64_t program;
} store_cell;
atn_status store_cells(atn_store *s, store_cell **list, int *n,
                       atn_error *err); /* of now; by island, key; free(list) */

/* Comparisons and controls beside the cascade: kind "control", "final", "ancestor", "portfolio", ... with JSON. */
atn_status store_measurement_add(atn_store *s, const char *kind, int64_t program, int64_t against, double t,
                                 const char *json, atn_error *err);
typedef struct {
    int64_t id, program, against;
    char *kind, *json;
    double t;
} store_measurement;
atn_status store_measurements(atn_store *s, const char *kind, store_measurement **list, int *n,
                              atn_error *err); /* kind NULL: all */
void store_measurements_free(store_measurement *list, int n);

/* The event log (also of --json and the dashboard; seq is its Last-Event-ID). */
atn_status store_event_add(atn_store *s, double t, const char *json, atn_error *err);
typedef struct {
    int64_t seq;
    double t;
    char *json;
} store_event;
atn_status store_events(atn_store *s, int64_t after, int max, store_event **list, int *n, atn_error *err);
void store_events_free(store_event *list, int n);

/* How far the run got: for resume. */
typedef struct {
    int64_t programs, proposals, seq_last;
    double t_last;     /* elapsed seconds of all sessions */
    int64_t incumbent; /* the last promoted program; 0: none */
} store_progress;
atn_status store_progress_get(atn_store *s, store_progress *out, atn_error *err);

/* For tests of a full disk: the database may not grow beyond that many pages. */
void store_limit_pages(atn_store *s, int pages);

#endif
