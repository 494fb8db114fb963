/* The zoo: kernels that cheat, each with the verdict that it must get. Shared by tests/judge/run_zoo and `attune doctor
 * --judge`.
 *
 * An animal is FOLDER/NAME.c. Its first lines say what is to become of it:
 *     // expect: reason[,reason]     with everything in place ("ok": must pass)
 *     // behind: reason[,reason]     with the gate and the object check switched off, so that the sandbox is met
 *     // alone                       is a whole file; others get prelude.h before them
 *     // pad: N                      blanks up to N bytes */
#ifndef ATN_JUDGE_ZOO_H
#define ATN_JUDGE_ZOO_H

#include "base/status.h"
#include "judge/verdict.h"

typedef struct {
    bool behind; /* gate and object check switched off */
    int threads;
} zoo_options;

typedef struct {
    bool met;   /* false: nothing is expected of it this way (no such line, or not on this machine) */
    bool right; /* the reason is one of those expected */
    char want[128];
    atn_verdict v;
} zoo_outcome;

/* Where the zoo lies in a checkout or an installation; caller frees. NULL where there is none. */
char *zoo_folder(void);
/* Names of the animals, sorted; caller frees each and the list. */
int zoo_names(const char *folder, char ***names);
/* Gate, compiler, correctness campaign. */
atn_status zoo_meet(const char *folder, const char *name, const zoo_options *o, zoo_outcome *out, atn_error *err);

#endif
