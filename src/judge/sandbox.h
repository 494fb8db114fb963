/* Starting workers: which layers of isolation they get, where their files lie, and how they are started and ended.
 *
 * Everything that attune starts is reaped by attune, holds none of its file descriptors and dies with it. */
#ifndef ATN_JUDGE_SANDBOX_H
#define ATN_JUDGE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/status.h"
#include "judge/verdict.h"

/* Path of attune-worker: $ATTUNE_WORKER, beside the program, or in the build tree. Static. */
const char *sandbox_worker_path(void);

/* Layers (LAYER_* of wire.h) that work here, probed by use once per process. */
int sandbox_layers(void);
/* Leaves layers out from now on, as if the machine did not have them: for tests of the lower levels. */
void sandbox_leave_out(int layers);
/* The private uid for workers of this process, or 0 where they keep ours. */
int sandbox_uid(void);

/* Starts attune-worker with args (NULL-terminated, args[0] is its mode). fds[i] becomes descriptor i of the child;
 * nothing else is inherited; the environment is empty. The child is the caller's to reap. */
atn_status sandbox_spawn(const char *const *args, const int *fds, int n_fds, pid_t *pid, atn_error *err);
/* Kills and reaps. */
void sandbox_kill(pid_t pid);

/* An anonymous memory file that a worker can get. */
int sandbox_memfd(const char *name);

/* This process's folder for builds: made on first use, removed at exit; folders of dead processes are removed first. It
 * holds include/attune/ (a copy of the public headers, readable by a worker's private uid). NULL with err filled on
 * failure. */
const char *sandbox_scratch(atn_error *err);

/* The CPU that races are timed on, or -1; builds keep away from it where there is another. */
void sandbox_set_timing_cpu(int cpu);
int sandbox_timing_cpu(void);

/* verdict.c: puts untrusted text into evidence: printable ASCII, no blank lines, cut to room. */
void evidence_clean(char *out, size_t room, const char *text, size_t n);
void verdict_fail(atn_verdict *v, atn_reason reason, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
