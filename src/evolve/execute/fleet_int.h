/* The fleet's state, shared by fleet.c (life and turns), tasks.c (questions), launch.c (processes and connections), talk.c
 * (answers) and remote.c (judges that ask). Internal to src/evolve/execute. */
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
    char job[24]; /* of Slurm, where the pilot is a job of its own; "" */
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
    char job[24];
    double term_at, kill_at;
    bool told, cancels; /* cancels: it is no launcher, but ends the job of one */
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

enum { FLEET_ERRORS_MAX = 3 }; /* of a question, and of a pilot in a row */

void fleet_note(atn_fleet *f, int cls, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* tasks.c */
fleet_text *text_hold(atn_fleet *f, const char *text);
void text_drop(atn_fleet *f, fleet_text *t);
fleet_task *task_new(atn_fleet *f, task_kind kind, int cls);
void task_submit(atn_fleet *f, fleet_task *t, bool front);
void task_cancel(atn_fleet *f, fleet_task *t);
void task_end(atn_fleet *f, fleet_task *t);
void task_ask_again(atn_fleet *f, fleet_task *t); /* asked in vain */
void task_free(atn_fleet *f, fleet_task *t);
void pilot_tell(atn_fleet *f, fleet_pilot *p, json_t *message); /* takes the message */
void pilot_watch(atn_fleet *f, fleet_pilot *p); /* wakes the turn when more can be written */
void pilot_busy(atn_fleet *f, fleet_pilot *p);
void pilot_offer(atn_fleet *f, fleet_pilot *p); /* it is free: what may it do? */
void pilot_again(atn_fleet *f, fleet_pilot *p); /* the same, where it idles */

/* launch.c */
fleet_pilot *pilot_new(atn_fleet *f);
void pilot_launch(atn_fleet *f, fleet_pilot *p);
void pilot_close(atn_fleet *f, fleet_pilot *p);
void pilot_lost(atn_fleet *f, fleet_pilot *p, const char *why); /* its question is asked again */
atn_status launch_slots(atn_fleet *f, atn_error *err);
void launch_spool(atn_fleet *f); /* takes in who waits in the folder */
void launch_reap(atn_fleet *f, bool now);
void launch_let_die(atn_fleet *f, fleet_pilot *p, double patience); /* its launcher */
bool launch_makes_jobs(const atn_fleet *f); /* each pilot is a job of its own */
void launch_last_words(const atn_fleet *f, char *out, size_t room); /* of a launcher that failed */

/* talk.c */
void pilot_hear(atn_fleet *f, fleet_pilot *p);

static inline bool pilot_open(const fleet_pilot *p)
{
    return p->state == PILOT_STARTING || p->state == PILOT_OPENING || p->state == PILOT_READY;
}

/* remote.c */
void judge_init(atn_fleet *f, int cls, const char *compiler, const char *version);

#endif
