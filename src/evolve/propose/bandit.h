/* Which of a few arms to pull next (a model, an operator): shares that follow decayed reward per cost, with a floor.
 *
 * Deterministic in the order of the calls and the rng handed in. */
#ifndef ATN_EVOLVE_BANDIT_H
#define ATN_EVOLVE_BANDIT_H

#include <stdbool.h>

#include "base/rng.h"

enum { BANDIT_ARMS = 16 };

typedef struct {
    double prior;     /* share that was asked for; the bandit starts there */
    double reward, n; /* decayed sums */
    double cost;      /* mean cost of a pull, 0: unknown; rewards count per (mean cost)^half */
    int pulls;
} bandit_arm;

typedef struct {
    bandit_arm arm[BANDIT_ARMS];
    int n;
} bandit;

void bandit_reward(bandit *b, int arm, double reward); /* 0 .. 1: of one pull */
void bandit_cost(bandit *b, int arm, double cost);
/* Shares of now, with `able` (may be NULL) naming the arms that may be pulled; they add up to 1. */
void bandit_shares(const bandit *b, const bool *able, double *share);
int bandit_pick(bandit *b, const bool *able, atn_rng *rng); /* -1: no arm is able */

#endif
