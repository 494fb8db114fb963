/* Between the files of the mind: life and memory (mind.c), what to ask (mind_ask.c), what a prompt says (mind_brief.c),
 * what was learnt (mind_lessons.c), what becomes of an answer (mind_take.c). Nobody else includes it. */
#ifndef ATN_EVOLVE_MIND_PARTS_H
#define ATN_EVOLVE_MIND_PARTS_H

#include <jansson.h>

#include "evolve/config.h"
#include "evolve/propose/bandit.h"
#include "evolve/propose/mind.h"
#include "evolve/propose/novelty.h"
#include "evolve/propose/prompt.h"
#include "store/store.h"

enum {
    MIND_REPAIRS_MAX = 1,
    MIND_EVIDENCE_MAX = 4000,
    MIND_CHANGE_LEAST = 60 /* new runs of tokens below which a change is too small to call two alike */
};

extern const char *const mind_op_word[MIND_OPERATORS + 1];

/* One judged program. */
typedef struct {
    int64_t id, parent;
    novelty_sketch sketch, change; /* change: over its parent */
    bool changed;                  /* by more than a few tokens: `change` says something */
    double score, gain; /* gain over its parent, ln; NAN where one of them has no score */
    atn_reason reason;
    bool correct, asked, fixed; /* asked: came from somebody's answer; fixed: a fix was asked for */
    char family[33];
    char note[160];
} mind_memory;

/* A program that we proposed and that has no verdict yet. */
typedef struct {
    uint64_t hash; /* of source */
    int64_t number;
    int model, repairs, island;
    mind_operator op;
} mind_pending;

typedef struct {
    atn_proposal p;
    mind_pending of;
} mind_ready_program;

struct mind {
    char name[24];
    propose_host host;
    const atn_config *config;
    char *templates;
    bandit ops, models;
    char model_name[MIND_MODELS][64];
    const char *model_system[MIND_MODELS]; /* of the config; NULL: as for all */
    mind_memory *past;
    int n_past;
    int64_t *children_of; /* by program id: how often asked to improve it */
    int64_t n_children;
    bool reviewing;
    mind_question **reviews; /* to be asked */
    int n_reviews;
    int64_t *fixed; /* programs that sessions before this one asked to fix */
    int n_fixed;
    mind_pending *pending;
    int n_pending;
    mind_ready_program *ready;
    int n_ready;
    mind_question **repairs;
    int n_repairs;
    int64_t asked;
    int useless; /* answers in a row that led to no program */
    int forgiven;
    int64_t gave_up_at; /* the best program of that moment; 0: going on */
    double best;        /* score of the best program; -INFINITY: none */
    int64_t best_id;
    int since_best; /* answers judged since */
    mind_spend spent, spent_by[MIND_MODELS];
    double lessons_written;
    char *contract, *vectors;
};

/* mind.c */
const mind_memory *mind_recall(const mind *m, int64_t id); /* NULL: not judged yet */
const char *mind_text_of(const json_t *o, const char *key); /* "" where there is none */
bool mind_repairable(atn_reason r);
void mind_spend_add(mind *m, int model, const mind_spend *x);
void mind_add_ready(mind *m, char *source, const char *flags, const mind_question *q, const char *note);

/* mind_ask.c: a question with its prompt; on disk once it is handed out. `c` may be NULL: then no elites are shown. */
mind_question *mind_make_question(mind *m, mind_operator op, const atn_program_view *parent,
                                  const atn_program_view *second, const atn_propose_context *c, int model, int island,
                                  int repairs, const char *problem);
void mind_count_child(mind *m, int64_t id); /* that program was asked about once more */
void mind_add_repair(mind *m, mind_question *q);
json_t *mind_record_of(const mind *m, const mind_question *q);
void mind_keep(mind *m, const char *kind, const mind_question *q, json_t *o); /* takes over o */
void mind_keep_text(mind *m, json_t *o, const char *key, const char *text);

/* mind_brief.c */
void mind_brief(mind *m, mind_question *q, const atn_program_view *parent, const atn_program_view *second,
                const atn_propose_context *c, const char *problem);
char *mind_filled(const mind *m, const char *name, const prompt_values *v);

/* mind_lessons.c */
void mind_say_lessons(const mind *m, atn_text *t);
void mind_write_lessons(mind *m, bool now_or_never);

/* mind_stall.c */
void mind_watch(mind *m, const mind_memory *x, bool ours); /* every judged program; ours: answered in this session */
int mind_stalled(const mind *m);                           /* 0: no; 1, 2, 3: since ever more answers */
void mind_say_stalled(const mind *m, atn_text *t);

/* mind_take.c */
json_t *mind_answer_record(mind *m, const mind_question *q, const mind_answer *a, const char *outcome);

#endif
