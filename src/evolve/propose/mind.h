/* What proposers that ask somebody share: which question to ask, its prompt, and what becomes of an answer.
 *
 *     mind_question *q = mind_ask(m, context, rng);           // parent, operator, prompt; written to the store
 *     ... somebody answers q->system + q->prompt ...
 *     switch (mind_take(m, q, &answer)) ...                   // written to the store first, then read
 *     while (mind_next(m, &proposal)) ...                     // candidates that are ready for the engine
 *
 * Every question and every answer is a measurement in the store ("question", "answer") before anything is done with it;
 * an answer that was stored, but whose program was not proposed when the run was killed, is proposed after --resume. An
 * answer is used once. What the bandit, the lessons and the knob timings know follows from the order of mind_learn. */
#ifndef ATN_EVOLVE_MIND_H
#define ATN_EVOLVE_MIND_H

#include "evolve/propose/answer.h"
#include "evolve/propose/propose.h"

enum { MIND_MODELS = 8 };

typedef enum {
    MIND_DIFF,
    MIND_FULL,
    MIND_CROSS,
    MIND_FIX,
    MIND_OPERATORS,
    MIND_REVIEW = MIND_OPERATORS /* asks for an opinion, not for a program */
} mind_operator;

typedef struct {
    int64_t id;        /* of its record in the store; unique in a run */
    int64_t number;    /* 1, 2, ... for folders and people */
    int island, model; /* model: index, -1 where there is no choice */
    int repairs;       /* rounds before this one */
    int64_t nth;       /* how often its program was asked about before */
    mind_operator op;
    int64_t parents[2];
    char *source; /* the program that edits apply to */
    char *flags;
    char *system, *prompt;
} mind_question;

typedef struct {
    const char *text;
    const char *model; /* who answered, for words; may be NULL */
    int64_t tokens_in, tokens_out;
    double usd, seconds;
    int tries;
} mind_answer;

typedef enum { MIND_PROPOSED, MIND_REPAIRING /* a new question is in mind_repair */, MIND_REFUSED } mind_outcome;

typedef struct {
    double usd;
    int64_t tokens; /* of prompts and answers */
} mind_spend;

typedef struct {
    const char *name, *system; /* system: its own system message; NULL: as for all */
    double weight;
} mind_model;

typedef enum {
    MIND_GO_ON,
    MIND_WAIT, /* for the answers that are due */
    MIND_STOP  /* until there is a new best */
} mind_patience;

typedef struct mind mind;
struct atn_config;

atn_status mind_create(const char *proposer, const struct atn_config *c, mind **out, atn_error *err);
void mind_free(mind *m);
/* Names are copied, system messages are the config's. */
void mind_models(mind *m, const mind_model *models, int n);
void mind_attach(mind *m, const propose_host *h);
const propose_host *mind_host(const mind *m);
void mind_learn(mind *m, const atn_program_view *result);

/* NULL: no program to start from yet. `able`: which models may be asked now, NULL: all. The caller frees. */
mind_question *mind_ask(mind *m, const atn_propose_context *c, atn_rng *rng, const bool *able);
/* A repair that waits to be asked, or NULL. The caller frees. */
mind_question *mind_repair(mind *m);
/* With evaluator.use_llm_feedback: a right program whose review is to be asked for, or NULL. The caller frees. What
 * comes of it is shown with the program in later prompts as an opinion; no score knows of it. */
mind_question *mind_review(mind *m);
void mind_reviewed(mind *m, const mind_question *q, const mind_answer *a);
void mind_question_free(mind_question *q);
/* Takes the answer down, and what it says of the question; *problem (room bytes, may be NULL) says why it was refused.
 * With `patient` a malformed answer makes no repair question: the same one stays open. */
mind_outcome mind_take(mind *m, const mind_question *q, const mind_answer *a, bool patient, char *problem, size_t room);
/* Nothing came, or something that was paid and cannot be used: recorded, so that the budget knows. */
void mind_lost(mind *m, const mind_question *q, const mind_answer *a, const char *why);
bool mind_next(mind *m, atn_proposal *out);
int mind_ready(const mind *m);
int mind_repairs(const mind *m);
/* Whether it is worth asking further: answers that only repeat or malform end it. `waiting`: some are still due. */
mind_patience mind_tired(mind *m, const atn_propose_context *c, bool waiting);
/* A question goes out that may cost so much. Where the run is killed before its answer is written down, a later session
 * counts it as spent: a budget holds across kills too. */
void mind_sent(mind *m, const mind_question *q, const mind_spend *most);
mind_spend mind_spent(const mind *m, int model); /* of the whole run, sessions before this one too; model < 0: all */
char *mind_tell(const mind *m);               /* shares of operators and models, lessons: propose.h, tell */
int64_t mind_asked(const mind *m);            /* number of the last question */
void mind_number_from(mind *m, int64_t last); /* the next question has a number beyond it */
/* The verdict in plain words, case by case, for the one who answered. The caller frees. */
char *mind_verdict_words(const mind *m, const atn_program_view *result);
/* A verdict for a program of ours: the number of its question, 0: not ours (of this session). */
int64_t mind_question_of(const mind *m, const atn_program_view *result);

#endif
