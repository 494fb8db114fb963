/* The timed campaign: paired, interleaved slices of candidate and incumbent in two workers over one arena.
 *
 *     timing_open(&c, cases, n, candidate_fd, incumbent_fd, &t, &v, &err);      // t NULL: the candidate failed, see v
 *     timing_pairs(t, 0, 32, 0.5, &v, &err);                                   // case 0: up to 32 pairs, at most 0.5 s
 *     const timing_samples *s = timing_get(t, 0);                               // s->d[0 .. s->n) log-ratios
 *     timing_close(t);
 *
 * A slice is 1 to 16 calls, each on inputs never seen before, the same for both sides of a pair; the order
 * alternates from pair to pair. One thread is timed by the kernel's CPU clock of the worker process (preemption does
 * not count, and nothing that the candidate does can move it: it cannot sleep or hand work to others), more threads
 * by wall clock. The hand-shake's own cost is subtracted. Every timed output is scanned for unwritten elements, every
 * row of it is compared with the incumbent's; the one that lies farthest off and some at random are compared with fp64,
 * so that who leaves out one row of a thousand, or one head in some calls, is seen. Part of the inputs have few
 * dominating keys, so that skipping keys shows; part of the outputs hold old results instead of poison. */
#ifndef ATN_JUDGE_TIMING_H
#define ATN_JUDGE_TIMING_H

#include <sys/types.h>

#include "base/cpu.h"
#include "judge/accuracy.h"
#include "judge/race.h"

typedef struct {
    atn_problem problem;
    int calls[2]; /* in a slice of the candidate, of the incumbent; 0: the same for both, as many as make a slice.
                                  Controls of known slowness give the incumbent more to do. */
} timing_case;

typedef struct {
    double d[RACE_PAIRS_MAX]; /* ln(t_incumbent / t_candidate), order balanced; 0 where there is no incumbent */
    double raw[RACE_PAIRS_MAX];
    int n;
    int calls;                       /* calls in a slice */
    double ns_min, incumbent_ns_min; /* one call */
    double error;                    /* worst relative L2 of checked rows of the candidate */
    double floor_ns;                 /* physical minimum of one call; 0: none known */
    double seconds;                  /* spent on this case */
    int64_t workspace_bytes;
    int64_t outputs_checked, rows_checked;
} timing_samples;

typedef struct atn_timing atn_timing;

/* Pins this thread and the workers for the campaign's life; the caller holds the timing lock. incumbent_fd < 0:
 * alone. */
atn_status timing_open(const check_context *c, atn_stage stage, const atn_peaks *peaks, const timing_case *cases, int n,
                       int candidate_fd, int incumbent_fd, atn_timing **out, atn_verdict *v, atn_error *err);
void timing_close(atn_timing *t);
pid_t timing_pid(const atn_timing *t); /* of the candidate's worker */

/* Both workers anew, in the other order, so that what each gets of physical memory changes hands: where pages lie is
 * worth up to 1.5 % for as long as a process lives (measured), and no number of pairs averages that out. */
atn_status timing_restart(atn_timing *t, atn_verdict *v, atn_error *err);

/* Adds pairs to a case until it has `pairs` of them or has used `seconds` in all (at least one pair). The
 * candidate's failure sets v->reason; the incumbent's is a status, as it was judged before. */
atn_status timing_pairs(atn_timing *t, int index, int pairs, double seconds, atn_verdict *v, atn_error *err);
const timing_samples *timing_get(const atn_timing *t, int index);
double timing_late_us(const atn_timing *t);

/* Least time of one call on `threads` cores of this machine, from its measured peaks; 0 where content decides
 * (masks). */
double timing_floor_ns(const atn_problem *p, const atn_peaks *peaks, int threads);

/* The CPU that single-threaded timing uses: the last one that this process may run on. Builds stay off it where they
 * can. */
int judge_cpu(void);

/* One holder per machine, $ATTUNE_LOCK or /tmp/attune-timing.lock; waits, until link_give_up. close(fd) releases. */
atn_status timing_lock(int *fd, atn_error *err);
/* Called, if set, by whoever has waited for it for a second, once a process. */
extern void (*timing_lock_waits)(void);

#endif
