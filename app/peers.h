/* The peers of `attune bench`: other attention libraries, each in a process of its own that tools/peers/peer.py serves.
 *
 * The peer maps the same tensors, computes when told to and answers with the nanoseconds of its library's own call. A
 * peer that is missing, refuses a problem or dies is skipped with its words; it never ends the bench. */
#ifndef ATN_APP_PEERS_H
#define ATN_APP_PEERS_H

#include <sys/types.h>

#include "base/status.h"
#include "problem/problem.h"

typedef struct {
    const char *name;          /* "torch-flash", ... */
    pid_t pid;                 /* 0: not running */
    int to, from;              /* pipe ends */
    char version[96], note[128];
} atn_peer;

/* Every peer that peer.py knows, NULL at the end. */
extern const char *const peer_names[];

/* The Python of the peers' virtual environment: $ATTUNE_PEERS/bin/python, else the cache folder that tools/peers/install
 * makes. NOT_FOUND says how to install. Caller frees *out. */
atn_status peer_python(char **out, atn_error *err);
/* The same for real models: mlx-lm, transformers, llama.cpp, which `tools/peers/install --models` installs. */
atn_status runtime_python(char **out, atn_error *err);

/* Starts the process. The peer inherits CPU affinity. */
atn_status peer_start(atn_peer *p, const char *name, const char *python, int threads, atn_error *err);
/* Offers a problem whose q, k, v lie at offsets 0..2 of the file, and o (f32, dense) at offset 3. UNSUPPORTED: the peer said no; err
 * holds its words. */
atn_status peer_open(atn_peer *p, const atn_problem *problem, int threads, const char *path, const int64_t offset[4], atn_error *err);
/* One call. */
atn_status peer_run(atn_peer *p, double *ns, atn_error *err);
/* Puts the last result into the file. */
atn_status peer_store(atn_peer *p, atn_error *err);
void peer_stop(atn_peer *p);

#endif
