/* Peers (PyTorch, ggml ...) as `attune bench --csv` timed them, for the pictures of a run.
 *
 * Only rows of the machine and thread count of the run are given: another machine's milliseconds say nothing here.
 * They come from bench.csv in the run's folder (attune bench --csv RUN/bench.csv), else from what attune ships in
 * bench/results. */
#ifndef ATN_REPORT_PEERS_H
#define ATN_REPORT_PEERS_H

#include <stdbool.h>

enum { PEER_ROWS_MAX = 512 };

typedef struct {
    char name[32], version[96], note[96], label[128]; /* label: the case's text */
    double ms, low, high; /* low, high: bounds of the paired ratio, relative to its median */
} peer_row;

typedef struct {
    peer_row *rows; /* free with peers_free */
    int n;
    char source[256]; /* the file, as words */
    bool own;         /* of this very run's folder */
} peer_table;

/* Never fails: what cannot be read is not there. `signature`: of the run's machine. */
void peers_read(const char *folder, const char *signature, int threads, peer_table *out);
void peers_free(peer_table *t);

#endif
