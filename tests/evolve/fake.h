/* A judge without kernels: programs are eight digits in a text, speeds are a formula with noise.
 *
 * Builds take a few steps, some digits do not compile, others are wrong; digit 7 changes nothing (same object code).
 * Noise
 * comes from the kernel's entropy, so that only recorded measurements can repeat a run. */
#ifndef ATN_TESTS_FAKE_H
#define ATN_TESTS_FAKE_H

#include <stdatomic.h>

#include "evolve/evolve.h"

enum { FAKE_CASES = 8 };

typedef struct {
    evolve_judge face;
    int steps;      /* build_step calls that a build takes */
    int judge_us;   /* time of a judgement */
    int slow_after; /* the judgement after that many takes half a minute; 0: none */
    bool constant;  /* no noise */
    atomic_bool cancelled;
    /* From judgement number `fails_from` on (0: never) programs whose first digit is not 0 fail as incumbents and at full
     * size; fails_alone: when judged alone too. */
    int fails_from;
    bool fails_alone, failed;
    atn_verdict failure;
    int candidates, compares, builds;
    race_pairs *pairs; /* of the last call, until it is taken */
    /* Replay: verdicts come from a stored run, in order. */
    const store_program *rows;
    int n_rows, next_row;
} fake_judge;

void fake_init(fake_judge *f);
void fake_cancel(void *ctx, bool on);         /* for face.cancel, which is NULL at first */
void fake_suite(atn_suite *s);                /* decode, short and long cases */
char *fake_source(const int digit[8]);        /* caller frees */
double fake_speed(const int digit[8], int c); /* ln speedup over the all-zero program on a case */

/* Changes one or two digits of an elite. Free with destroy. */
atn_proposer *fake_proposer(void);
/* Proposes the recorded programs of a run again (but for initial and shipped), parents by order of judgement. */
typedef struct atn_store atn_store;
atn_proposer *fake_replayer(const store_program *rows, int n, char *const *sources);

#endif
