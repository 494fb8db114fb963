/* The champions that a run begins with: those evolved on the machine nearest to the one that it is for. */
#ifndef ATN_EVOLVE_CHAMPIONS_H
#define ATN_EVOLVE_CHAMPIONS_H

#include "base/cpu.h"

/* Of n champions' sources (paths; a .json with the machine's signature beside each) keeps the nearest in place, frees
 * the others, and returns how many are left. Where no record says on what machine a champion was evolved, it is kept.
 * *text says for people which were chosen and how near they are; NULL where there is none; caller frees. */
int champions_nearest(const atn_machine *here, char **paths, int n, char **text);

/* How far apart two signatures (atn_machine.signature) are: 0 the same machine; below 1 the same class; above 8 another
 * instruction set. < 0: one of them cannot be read. cpus <= 0: unknown. */
double champions_distance(const char *a, int a_cpus, const char *b, int b_cpus);

#endif
