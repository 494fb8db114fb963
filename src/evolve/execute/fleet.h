/* The fleet: pilots on other machines, and one evolve_judge for each class of machine among them.
 *
 *     execute_options x = {.kind = "slurm", .slots = 16, .launch = "--partition=cpu --exclusive"};
 *     fleet_open(&x, &options, &fleet, &err);
 *     while (fleet_classes(fleet) == 0 && fleet_turn(fleet, &err)) poll(fleet_fd(fleet), 100 ms);
 *     evolve_run(&options, fleet_judge(fleet, 0), &result, &err);
 *
 * A pilot is a process anywhere that speaks lines of JSON (docs/cluster-protocol.md): started by fork, srun or ssh, or found
 * in a folder. Who falls silent, ends, or breaks off in the middle of a line is lost: his question is asked again elsewhere,
 * and a new pilot is started. An answer counts when its line is whole and names an open question, so nothing is judged
 * twice. Exit statuses are not looked at: srun's is 0 where a node was lost.
 *
 * A class is everything that makes figures comparable: CPU, instruction set, caches, compiler. Questions go to pilots of
 * one class only. Races are made on nodes whose controls came out quiet; others build and check. One thread. */
#ifndef ATN_EVOLVE_FLEET_H
#define ATN_EVOLVE_FLEET_H

#include "evolve/evolve.h"

enum { FLEET_CLASSES_MAX = 8 };

typedef struct {
    const char *kind;         /* "slurm", "ssh", "spool", "exec" */
    int slots;                /* pilots to keep alive */
    const char *launch;       /* slurm, ssh: more options, as a shell reads them; exec: the whole command */
    const char *worker;       /* attune as the other machine names it; NULL: "attune" */
    const char *const *hosts; /* ssh: "node1", "user@node2*4" (four slots) */
    int n_hosts;
    const char *spool;        /* spool: the shared folder */
    const char *logs;         /* folder for what launchers and pilots say on stderr; NULL: nowhere */
    int window;               /* candidates under way at once; 0: by slots */
    double beat_s, lost_s;    /* heartbeat, and silence after which a pilot is lost; 0: 2 and 12 */
    double task_s;            /* an answer that takes longer is not waited for; 0: 900 */
    void (*note)(void *ctx, int cls, const char *text); /* sentences for people; cls < 0: of none. May be NULL */
    void *note_ctx;
} execute_options;

typedef struct atn_fleet atn_fleet;

/* `o` lends suite, threads, tolerance, compiler, initial program and control_races, for the fleet's life. */
atn_status fleet_open(const execute_options *x, const evolve_options *o, atn_fleet **out, atn_error *err);
void fleet_close(atn_fleet *f); /* says goodbye, waits a little, ends what is left. NULL is fine */
/* A pilot that somebody else started; takes the descriptors. It is not replaced. */
void fleet_adopt(atn_fleet *f, int in, int out);

void fleet_notes_to(atn_fleet *f, void (*note)(void *ctx, int cls, const char *text), void *ctx);

bool fleet_turn(atn_fleet *f, atn_error *err); /* never blocks; false: no pilot will come, *err says why */
int fleet_fd(const atn_fleet *f);
int fleet_classes(const atn_fleet *f); /* seen so far: 0, 1, ... */
evolve_judge *fleet_judge(atn_fleet *f, int cls); /* the fleet's own: not freed by the caller */
const char *fleet_class_word(const atn_fleet *f, int cls); /* for folders: "xeon-8488c-avx512-gcc-12.2.0" */
int fleet_ready(const atn_fleet *f, int cls); /* pilots of that class that are there now */

/* What became of each node: a JSON array of {node, class, pilots, lost, quiet, controls...}. Caller frees. */
char *fleet_nodes_json(const atn_fleet *f, int cls);

typedef struct {
    int64_t started, lost, asked_again, answers, messages;
} fleet_counts;
fleet_counts fleet_count(const atn_fleet *f);

#endif
