/* Inside libattune: the planned problem, the kernel registry, the log. Not for other folders: they use
 * attune/plan.h. */
#ifndef ATN_RUN_INT_H
#define ATN_RUN_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/text.h"
#include "problem/kind.h"

#include "attune/attune.h"
#include "attune/plan.h"
#include "attune/wisdom.h"

enum { THREADS_MAX = 1024, ALIGN = 64 };

/* ---- args.c: what a host may hand us ---- */

/* Copies *in with defaults filled in (Hkv, Dv, scale, dense strides) after checking sizes, types and strides. Pointers
 * are copied unread. */
atn_status args_resolve(const atn_args *in, atn_args *out, atn_error *err);
/* Checks pointers of resolved args before a run: present, aligned; o, lse and the workspace (NULL: none) overlap nothing. */
atn_status args_check_pointers(const atn_args *a, const void *workspace, int64_t workspace_bytes, atn_error *err);
/* True where a plan for *a serves *b: everything equal but pointers, whose presence must agree. *what names the
 * first difference. */
bool args_same_shape(const atn_args *a, const atn_args *b, const char **what);

/* ---- problem classes (wisdom's keys) ---- */

typedef struct {
    char words[128];           /* types, g, d, flags: all that must agree */
    int sq, skv, threads;      /* rounded lengths; the nearest serves */
} problem_class;

/* "f32:f16" and "f32:f16 decode": problem/kind.h. */
void types_of(const atn_args *a, char out[TYPES_ROOM]);
void kind_of(const atn_args *a, char out[KIND_ROOM]);
void class_of(const atn_args *a, int threads, problem_class *out);
void class_print(const problem_class *c, char *out, size_t room);
bool class_parse(const char *text, problem_class *out);
/* How far b is from a: 0 equal, < 0 does not serve at all. */
double class_distance(const problem_class *a, const problem_class *b);

/* ---- dispatch.c: kernels linked in ---- */

typedef struct {
    const char *name;          /* "flash_qvec@avx512" */
    const char *isa;
    const char *source_hash;
    const atn_kernel *table;
    bool usable;               /* this CPU can run it */
    const char *over, *cpu;    /* of a champion: the family it was measured beside, and where; else "" */
} registry_kernel;

/* A line of a champion's record: wisdom that ships, about the family that is linked in. */
typedef struct {
    const atn_kernel *champion;
    problem_class class;
    bool won;                  /* faster there than the family, for certain */
} champion_row;

int registry_count(void);
const registry_kernel *registry_at(int i);              /* best ISA first, the reference last */
/* "family@isa", or "family": the best that is usable and not beyond isa_max. NULL: none of this name. */
enum { ISA_ANY = 1000 };
const registry_kernel *registry_find(const char *name, int isa_max);
const registry_kernel *registry_reference(void);
int isa_rank(const char *isa);                          /* 0 generic ..., -1 unknown */
const champion_row *registry_rows(void);                /* a row without a champion ends them */
/* Did the champion win in the nearest class that it was measured in? No, where none is near. */
bool champion_won(const champion_row *rows, const atn_kernel *champion, const problem_class *c);
/* The order in which rule tries kernels for args: fills list[room], returns how many. */
int registry_by_rule(const atn_args *a, int threads, int isa_max, const registry_kernel **list, int room);

/* ---- champions/load.c ---- */

/* atn_kernel_load of an object. again: a copy with a table of its own. */
atn_status kernel_load(const char *path, const char *hash, bool again, const atn_kernel **out, atn_error *err);
/* PROGRAM.so of PROGRAM.c: where `attune build` puts it. The caller frees. */
char *kernel_object(const char *program);
/* What a loaded kernel says of itself (attune_judged); NULL: nothing, it is for everything. */
const char *kernel_judged(const atn_kernel *table);

/* The champion's object by hash from the champions' folder. */
atn_status champion_load(const char *object_hash, const atn_kernel **out, atn_error *err);
/* Copies a shared object there; hash gets its 32 digits. */
atn_status champion_keep(const char *path, char hash[33], atn_error *err);

/* ---- champions/portfolio.c ---- */

/* The text of a run's dispatch.txt, and the folder it lies in: FOLDER/portfolio, or FOLDER. NULL: none, see err. */
char *portfolio_text(const char *folder, char *place, size_t room, atn_error *err);
/* atn_kernel_load of a run's folder: *out is the kernel of its `default`, and stands for all of them. */
atn_status portfolio_load(const char *folder, const atn_kernel **out, atn_error *err);
/* The kernel for args among those that the table stands for: itself, unless it came from portfolio_load. */
const atn_kernel *portfolio_choose(const atn_kernel *table, const atn_args *args);

/* ---- wisdom.c ---- */

/* $ATTUNE_WISDOM, else the cache's; "" where there is none (attune/wisdom.h). Static. */
const char *wisdom_path(void);
/* The text of atn_wisdom_import and _export, without a file. */
atn_status wisdom_read(atn_wisdom *w, const char *text, size_t bytes, atn_error *err);
void wisdom_write(const atn_wisdom *w, atn_text *out);

/* Copies the rows that may serve c, nearest first, at most room; returns how many. */
int wisdom_lookup(const atn_wisdom *w, const problem_class *c, atn_wisdom_row *rows, int room);

/* ---- log.c ---- */

/* Says it unless exactly this was said before in this process. */
void log_once(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- pool.c ---- */

int pool_threads(const atn_pool *p);
/* An atn_parallel_for with host = the pool. From inside a task, too, the caller runs all its tasks alone. */
void pool_run(void *pool, int tasks, int threads, atn_task_fn fn, void *context);

/* ---- plan ---- */

struct atn_planned {
    atn_args args;             /* resolved; pointers as given at planning: only whether they are NULL matters */
    const atn_kernel *kernel;
    atn_plan division;         /* what the kernel's plan said */
    int threads;
    int64_t shared_bytes;      /* of the workspace, rounded to ALIGN: shared block first, */
    int64_t scratch_bytes;     /* then one such block per thread */
    int64_t workspace_bytes;
    atn_plan_origin origin;
    char kernel_name[64];
    problem_class class;
    atn_parallel_for parallel_for; /* never NULL */
    void *host;

    unsigned flags;            /* options, kept for atn_plan_update */
    int isa_max;
    const registry_kernel *forced;
    const atn_kernel *table;
    const char *judged;        /* the kinds that table is for; NULL: all */
    const char *passed_over;   /* why table was not taken; NULL: it was, or there is none */
    const atn_wisdom *wisdom;

    void *own;                 /* own workspace or NULL */
    int64_t own_bytes;
    int *own_busy;             /* 1 while an execution uses it; outside, because executions see a const plan */
    int busy_word;
};

#endif
