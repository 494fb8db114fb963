/* Shares = prior x (reward rate)^2 / sqrt(relative cost), floored. A greedy rule collapses on one arm; a floor keeps
 * every arm measured. */
#include "evolve/propose/bandit.h"

#include <math.h>

static const double DECAY = 0.97, FLOOR = 0.08, HOPE = 0.25, HOPE_N = 2;

void bandit_reward(bandit *b, int arm, double reward)
{
    if (arm < 0 || arm >= b->n) return;
    for (int i = 0; i < b->n; i++) {
        b->arm[i].reward *= DECAY;
        b->arm[i].n *= DECAY;
    }
    b->arm[arm].reward += reward < 0 ? 0 : reward > 1 ? 1 : reward;
    b->arm[arm].n += 1;
}

void bandit_cost(bandit *b, int arm, double cost)
{
    if (arm < 0 || arm >= b->n || !(cost > 0)) return;
    double *c = &b->arm[arm].cost;
    *c = *c > 0 ? 0.9 * *c + 0.1 * cost : cost;
}

void bandit_shares(const bandit *b, const bool *able, double *share)
{
    double sum = 0, costs = 0;
    int n = 0, priced = 0;
    for (int i = 0; i < b->n; i++) {
        n += !able || able[i];
        if (b->arm[i].cost > 0) costs += b->arm[i].cost, priced++;
    }
    for (int i = 0; i < b->n; i++) {
        const bandit_arm *a = &b->arm[i];
        double rate = (a->reward + HOPE * HOPE_N) / (a->n + HOPE_N);
        double relative = a->cost > 0 && priced > 1 ? a->cost / (costs / priced) : 1;
        share[i] = able && !able[i] ? 0 : a->prior * rate * rate / sqrt(relative);
        sum += share[i];
    }
    double floor = n ? fmin(FLOOR, 0.5 / n) : 0;
    for (int i = 0; i < b->n; i++) {
        if (able && !able[i]) continue;
        double s = sum > 0 ? share[i] / sum : 1.0 / n;
        share[i] = b->arm[i].prior > 0 || sum <= 0 ? floor + (1 - n * floor) * s : 0;
    }
    sum = 0;
    for (int i = 0; i < b->n; i++) sum += share[i];
    for (int i = 0; i < b->n && sum > 0; i++) share[i] /= sum;
}

int bandit_pick(bandit *b, const bool *able, atn_rng *rng)
{
    double share[BANDIT_ARMS], u = rng_f64(rng);
    int last = -1;
    bandit_shares(b, able, share);
    for (int i = 0; i < b->n; i++) {
        if (!(share[i] > 0)) continue;
        last = i;
        if ((u -= share[i]) < 0) break;
    }
    if (last >= 0) b->arm[last].pulls++;
    return last;
}
