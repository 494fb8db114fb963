/* A run, read whole from its folder: what tables and report show. Internal to src/report. */
#ifndef ATN_REPORT_VIEW_H
#define ATN_REPORT_VIEW_H

#include <jansson.h>

#include "evolve/evolve.h"
#include "base/text.h"
#include "store/store.h"

typedef struct {
    char label[128];
    evolve_interval speedup;                                                /* over the initial program */
    double initial_ms, best_ms, gflops, peak_fraction, tokens_per_s, error; /* NAN: not known */
    int64_t workspace_bytes;
} view_case;

typedef struct {
    int64_t id;
    int generation;
    char *origin, *note, *source;
    double speedup; /* as judged in the run; NAN: none */
    double t;
} view_step;

/* A line beside the run's curve: a limit of the machine, or a peer, on the scale of speedups over the initial program. */
typedef struct {
    char name[160];
    bool peer;
    double y, low, high;
} view_line;

enum { VIEW_LINES_MAX = 16 };

/* A cell of the archive: bin of the short-long profile, log2 of workspace, bin of decode against prefill. */
typedef struct {
    int island, profile, workspace, decode;
    int64_t program;
    double score; /* NAN where the program is not known */
} view_cell;

typedef struct {
    char *folder, *db_path;
    char *cpu, *isa, *compiler, *suite, *initial, *started, *version, *seed, *threads; /* "" where not known */
    json_t *info; /* best_program_info.json, NULL where the run has not ended */
    double fma_peak_gflops, read_bandwidth_gbs;
    int64_t winner; /* 0: none */
    evolve_interval speedup;
    bool from_chain;                   /* the speedup is the run's estimate: no comparison was made at the end */
    evolve_interval ancestor, evolved; /* median 0: not measured */
    double error;
    view_case *cases;
    int n_cases;
    store_program *programs; /* in order of judgement, with cases */
    int n_programs;
    view_cell *cells; /* by island */
    int n_cells;
    view_line lines[VIEW_LINES_MAX]; /* only where the end was measured */
    int n_lines;
    char peers_source[256]; /* where the peers' times come from; "" where there are none */
    view_step *lineage;     /* winner first, root last */
    int n_lineage;
    atn_controls controls[2]; /* before, after */
    bool has_controls[2];
    int better, right, same, failed;
    int reasons[ATN_REASON_COUNT]; /* of failed programs */
    double seconds;
} run_view;

atn_status view_read(const char *folder, run_view *v, atn_error *err);
void view_free(run_view *v);

const store_program *view_program(const run_view *v, int64_t id); /* NULL: none */
/* False where a case got a single pair before time ran out: its bounds are then its median, and say nothing. Equal code
 * (exactly 1) needs no bounds. */
bool view_has_bounds(const view_case *c);
/* Where the winner began, in words: "the initial program", "flash_qvec.c, which comes with attune". */
void view_root_words(const run_view *v, char *out, size_t room);
/* What a case is called in a narrow column, and its sizes. */
double view_best_peak_fraction(const run_view *v); /* largest over the cases; NAN */

/* A stranger's text as HTML: escaped, and what is not seen made visible. */
void view_add_html(atn_text *t, const char *s);
/* Lines that are longer than `columns` go on below, set in as deep as their text begins; 0: as they are. */
void view_add_wrapped(atn_text *t, const char *s, int columns);
int view_columns_of(const char *s); /* that a text in UTF-8 takes, each character one; terminal styles none */

/* Best programs of their time that failed later, and who took their place; nothing where none did. */
void demotions_text(const char *folder, atn_text *out);

/* proposers.c: what each way of proposing cost and brought, as HTML. */
void proposers_html(atn_text *t, const run_view *v);

/* nodes.c: machines that judged elsewhere, and folders of the same run for other kinds of machine; "" where none. */
void nodes_text(const char *folder, atn_text *out);
void nodes_cost(const run_view *v, atn_text *out); /* in slot-hours */
void nodes_others(const char *folder, atn_text *out);

#endif
