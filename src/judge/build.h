/* Builds a candidate: gate, compiler and linker in a sandboxed compile worker, static checks of the object.
 * Asynchronous.
 *
 * The result is a sealed memfd with the shared object, and a hash of its code, so that identical object code is judged
 * once. */
#ifndef ATN_JUDGE_BUILD_H
#define ATN_JUDGE_BUILD_H

#include "judge/evidence.h"
#include "judge/verdict.h"
#include "base/status.h"

typedef struct {
    const char *cc;            /* "gcc", "clang", or a path; NULL: gcc if present, else clang */
    const char *flags;         /* extra flags chosen by the proposer, from an allow-list; NULL: none */
    double timeout_s;          /* 0: 20 */
    bool whole_file;           /* no markers needed (attune eval of any kernel file) */
    bool unchecked; /* tests of what lies behind the gate and the object check: skips both, keeps the sandbox */
} build_options;

typedef struct {
    atn_reason reason;         /* ATN_REASON_OK, or why not (stage GATE or BUILD) */
    atn_stage stage;
    char evidence[2048];       /* compiler's first errors, cleaned */
    int so_fd;                 /* sealed memfd, owned by the result; -1 on failure */
    char object_hash[33];      /* of code and constants: equal code, equal hash */
    double seconds;
    char compiler[96];         /* "gcc 12.2.0" */
    char flags[512];           /* the whole flag line used */
    evidence_loops loops;      /* what the compiler says of its loops */
} build_result;

typedef struct atn_build atn_build;

/* Starts a build. `original` (may be NULL) is the text whose code outside the markers must be unchanged. */
atn_status build_start(const build_options *o, const char *source, const char *original, atn_build **out,
                       atn_error *err);
int build_fd(const atn_build *b);                       /* readable when progress can be made; for poll() */
bool build_step(atn_build *b, build_result *out);       /* never blocks; true: finished, *out filled and b freed */
void build_cancel(atn_build *b);                        /* kills and frees; NULL is fine */
/* Waits for the end. */
atn_status build_run(const build_options *o, const char *source, const char *original, build_result *out,
                     atn_error *err);
void build_release(build_result *r);

/* "gcc 12.2.0" for o->cc or the default, or NOT_FOUND saying what to install. */
atn_status build_compiler(const char *cc, char *out, size_t room, atn_error *err);

#endif
