/* Proof that the judge is awake: trials whose right outcome is known, played in several processes at once.
 *
 *     proof_list list = {0};
 *     proof_add_zoo(&list, folder, false);  proof_add_mutants(&list, "mutants.c");  proof_add_honest(&list, "kernel.c");
 *     proof_play(&list, false, 20);         // at this machine's level of isolation, 20 s at most, in the order added
 *     ... list.trials[i].tried, .right, .note ...
 *
 * The first trial of each kind gets some seconds more than that. A trial that the time did not suffice for has tried == 0
 * and done == false; one whose process died is wrong. */
#ifndef ATN_JUDGE_PROOF_H
#define ATN_JUDGE_PROOF_H

#include <stdbool.h>

#include "base/status.h"

typedef enum {
    PROOF_ZOO,    /* an animal: must get the verdict in its first lines */
    PROOF_BEHIND, /* the same with gate and object check switched off */
    PROOF_MUTANT, /* attention with one mistake: must be refused by the correctness campaign */
    PROOF_HONEST  /* a shipped kernel, each type that it takes: must pass */
} proof_kind;

typedef struct {
    proof_kind kind;
    char *path;    /* folder of the zoo; source file */
    char name[80]; /* of the animal, the mistake, the kernel */
    int number;    /* of the mutant */
    bool done;
    bool reduced;     /* the level it was played at */
    int tried, right; /* 1 of 1; honest kernels: one for each type */
    double seconds;
    char note[240]; /* what was wrong: "expected syscall, got ok" */
} proof_trial;

typedef struct {
    proof_trial *trials;
    int n;
} proof_list;

int proof_add_zoo(proof_list *l, const char *folder, bool behind); /* how many */
/* Rows "mutant N: words" of the file's first comment; MUTANT is defined as N. -1: not a file of mutants. */
int proof_add_mutants(proof_list *l, const char *path);
void proof_add_honest(proof_list *l, const char *path);
/* Moves the parts to the end of *l: the first of each, then all spread evenly, so that a short time shows some of each. */
void proof_merge(proof_list *l, proof_list *parts, int n);
/* Plays what is not done yet; reduced: without namespaces, private uid and sealed mappings. */
atn_status proof_play(proof_list *l, bool reduced, double seconds, atn_error *err);
void proof_free(proof_list *l);

/* Median cost in ms of what isolation adds to a candidate: a worker started, locked down, loaded and ended. */
atn_status proof_isolation_ms(int so_fd, double *ms, atn_error *err);

#endif
