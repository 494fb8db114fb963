/* A verdict: what the judge says of a candidate. Data, never an error.
 *
 * Failing is normal. A failed candidate has no score; it has the stage that it fell at, a reason from one list, evidence
 * in words (untrusted text is cleaned and capped) and the command that reproduces it. */
#ifndef ATN_JUDGE_VERDICT_H
#define ATN_JUDGE_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#define ATN_STAGE_LIST(X)                                                        \
    X(GATE, "gate")           /* markers, size, forbidden constructs */          \
    X(BUILD, "build")         /* compiler, linker, symbols */                    \
    X(QUICK, "quick")         /* stage 1: loads, one small problem is right */   \
    X(FULL, "full")           /* stage 2: accuracy, stability, robustness */     \
    X(SCREEN, "screen")       /* stage 3: a short race on few cases */           \
    X(RACE, "race")           /* stage 4: the race on the whole suite */         \
    X(CONFIRM, "confirm")     /* champion: fresh process, seeds, held-out sizes */

#define ATN_REASON_LIST(X)                                                                                  \
    X(OK, "ok", "")                                                                                         \
    X(MARKERS, "markers", "EVOLVE-BLOCK markers missing, nested or changed outside")                        \
    X(TOO_LARGE, "too_large", "source or object too large")                                                 \
    X(FORBIDDEN, "forbidden", "a construct that a kernel may not contain")                                  \
    X(COMPILE, "compile_error", "does not compile")                                                         \
    X(COMPILE_LIMIT, "compile_limit", "compiler exceeded its time, memory or output limit")                 \
    X(SYMBOLS, "symbols", "imports, exports or sections that a kernel may not have")                        \
    X(LOAD, "load_error", "could not be loaded, or its table is malformed")                                 \
    X(REFUSED, "refused", "can_run says no to a problem that every kernel must cover")                      \
    X(BAD_PLAN, "bad_plan", "plan failed or asks for absurd resources")                                     \
    X(CRASH, "crash", "died by a signal")                                                                   \
    X(OUT_OF_BOUNDS, "out_of_bounds", "touched memory outside its tensors or wrote to an input")            \
    X(SYSCALL, "syscall", "made a system call that a kernel may not make")                                  \
    X(EXITED, "exited", "ended its process")                                                                \
    X(TIMEOUT, "timeout", "did not finish in time")                                                         \
    X(MEMORY, "memory", "exceeded its memory")                                                              \
    X(UNWRITTEN, "unwritten", "left output elements unwritten")                                             \
    X(NONFINITE, "nonfinite", "NaN or Inf where the truth is finite, or the reverse")                       \
    X(WRONG, "wrong", "output differs from fp64 by more than the tolerance")                                \
    X(LAW, "law", "breaks a law of attention")                                                              \
    X(NONDETERMINISTIC, "nondeterministic", "same inputs, different bits")                                  \
    X(STATE, "state", "keeps or changes state that it may not (FP control word, statics)")                  \
    X(LATE_WORK, "late_work", "used CPU after it said it was done")                                         \
    X(IMPOSSIBLE, "impossible", "faster than the machine's physical limit")                                 \
    X(SLOWER, "slower", "clearly slower than the incumbent in screening")                                   \
    X(NOT_BETTER, "not_better", "right, and not shown to be faster than the incumbent")                     \
    X(UNCONFIRMED, "unconfirmed", "the win did not repeat in a fresh process with fresh inputs")

typedef enum {
#define ATN_X(name, text) ATN_STAGE_##name,
    ATN_STAGE_LIST(ATN_X)
#undef ATN_X
    ATN_STAGE_COUNT
} atn_stage;

typedef enum {
#define ATN_X(name, word, text) ATN_REASON_##name,
    ATN_REASON_LIST(ATN_X)
#undef ATN_X
    ATN_REASON_COUNT
} atn_reason;

const char *stage_name(atn_stage s);
const char *reason_word(atn_reason r);
const char *reason_text(atn_reason r);

enum { ATN_CASES_MAX = 64 };

/* One case of the timing suite: correctness seen while timing, and the paired race against the incumbent. */
typedef struct {
    int case_index;            /* into the judge's timing suite */
    double log_ratio;          /* median ln(t_incumbent / t_candidate); > 0: the candidate is faster */
    double log_low, log_high;  /* its order-statistic bounds */
    int pairs;
    double ns_min;             /* least time of one call of the candidate in this campaign */
    double incumbent_ns_min;
    double error;              /* worst relative L2 of the checked timed outputs */
    int64_t workspace_bytes;   /* shared + threads x scratch that its plan asked for */
} atn_case_result;

typedef struct {
    atn_stage stage;           /* last stage entered */
    atn_reason reason;         /* ATN_REASON_OK: passed every stage asked for */
    bool correct;              /* passed stage FULL: eligible for a score (SLOWER and NOT_BETTER are correct too) */
    bool promoted;             /* beat the incumbent in RACE (lower bound above the threshold on the suite's geometric mean) */
    char evidence[2048];       /* in words */
    char reproduce[512];       /* a command line */
    double error;              /* worst relative L2 over the correctness suites (plain f32 accuracy cases) */
    double error_of_tolerance; /* worst error / tolerance over everything, <= 1 when correct */
    int checks, checks_passed; /* accuracy + stability + robustness problems */
    int stability, stability_passed, robustness, robustness_passed, refused; /* refused: can_run said no where it may */
    int64_t workspace_bytes;   /* largest over the timing suite */
    int n_cases;               /* timed cases: 0, the screening ones, or the whole suite */
    atn_case_result cases[ATN_CASES_MAX];
    double suite_log, suite_low, suite_high;   /* mean over timed cases of log_ratio, with one-sided bounds */
    double seconds_build, seconds_check, seconds_race;
    double late_cpu_us;        /* worst CPU used between done and the next go */
} atn_verdict;

#endif
