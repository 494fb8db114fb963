/* The fleet's state, shared by fleet.c (pilots) and remote.c (judges). Internal to src/evolve/execute. */
#ifndef ATN_EVOLVE_FLEET_INT_H
#define ATN_EVOLVE_FLEET_INT_H

#include <stdarg.h>
#include <sys/types.h>

#include "base/text.h"
#include "evolve/execute/fleet.h"
#include "evolve/execute/line.h"
#include "evolve/execute/wire.h"

typedef struct fleet_text {
    char key[33], *text;
    int held;
    struct fleet_text *next;
} fleet_text;

typedef enum { TASK_BUILD, TASK_JUDGE, TASK_CANDIDATE, TASK_COMPARE, TASK_CONTROLS, TASK_METRICS } task_kind;

typedef struct fleet_pilot fleet_pilot;
typedef struct fleet_node fleet_node;

/* A question, until its answer was taken. */
typedef struct fleet_task {
    int64_t id;
    task_kind kind;
    enum { TASK_QUEUED, TASK_ASKED, TASK_DONE } state;
    int cls, prefer; /* the pilot that has it built; -1: none */
    int only;        /* to be asked of this pilot or of none; -1: of any */
    fleet_pilot *pilot;
    fleet_text *program, *original, *incumbent;
    char *flags, *incumbent_flags;
    json_t *more;  /* further fields of the question */
    json_t *reply; /* NULL where it came to nothing: losses or status say why */
    int losses, errors;
    bool untimed, checked; /* asked without a race; found right so */
    bool cancelled;        /* nobody wants the answer */
    bool waited_for;
    fleet_node *proves; /* controls that say whether this node is quiet */
    double asked;
    atn_status status;
    char error[700];
    struct fleet_task *next;
} fleet_task;

typedef struct {
    fleet_task *first, *last;
} task_queue;

struct fleet_node {
    char name[128];
    enum { NODE_UNKNOWN, NODE_PROVING, NODE_QUIET, NODE_NOISY } state;
    int cls, pilots, lost, cpus;
    double fma_gflops;
    atn_controls start, end;
    bool has_start, has_end;
};

struct fleet_pilot {
    int index;
    enum { PILOT_ABSENT, PILOT_GONE, PILOT_STARTING, PILOT_OPENING, PILOT_READY } state;
    atn_link link;
    pid_t pid;
    char *host, name[128];
    atn_machine machine;
    fleet_node *node;
    int cls;
    fleet_task *task;
    wire_texts sent;
    bool adopted, leaving, idle, watched;
    int errors;
    double heard, launch_at, delay;
};

typedef struct {
    pid_t pid;
    double term_at, kill_at;
    bool told;
} dying_process;

typedef struct {
    atn_machine machine;
    atn_peaks peaks;
    atn_problem cases[ATN_CASES_MAX], final_cases[ATN_CASES_MAX];
    bool has_case[ATN_CASES_MAX], has_final[ATN_CASES_MAX];
    double initial_ns[ATN_CASES_MAX];
    char word[120];
    evolve_judge judge;
    struct class_view {
        atn_fleet *fleet;
        int cls;
    } view;
    task_queue queue[2]; /* judgements before builds */
    int64_t trials;      /* that ended */
    int compared_by;     /* the pilot of the last comparison */
    race_pairs *pairs;   /* of that; NULL: taken */
} fleet_class;

struct atn_fleet {
    execute_options x;
    const evolve_options *o;
    int epoll, width, window;
    int64_t last_id, ended;
    json_t *suite;
    fleet_pilot **pilot;
    int n_pilots, n_idle, built_by, answered_by;
    fleet_node **node;
    int n_nodes;
    fleet_class cls[FLEET_CLASSES_MAX];
    int n_classes;
    fleet_text *texts[512];
    dying_process *dying;
    int n_dying, barren, refused;
    char why_refused[300];
    bool ever_ready;
    double timer_at, spool_at;
    fleet_counts counts;
};

void fleet_note(atn_fleet *f, int cls, const char *format, ...) __attribute__((format(printf, 3, 4)));
fleet_text *text_hold(atn_fleet *f, const char *text);
fleet_task *task_new(atn_fleet *f, task_kind kind, int cls);
void task_submit(atn_fleet *f, fleet_task *t, bool front);
void task_cancel(atn_fleet *f, fleet_task *t);
void task_free(atn_fleet *f, fleet_task *t);

/* remote.c */
void judge_init(atn_fleet *f, int cls, const char *compiler, const char *version);

#endif
