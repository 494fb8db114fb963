/* What every command of attune shares: its parsed options, the terminal, exit codes, and interruption.
 *
 * A command is one file cmd_NAME.c with one function, and one group of lines in options.def, from which the parser, the
 * help, the man page and the shell completions are made. To add one: write both, and name the file in meson.build.
 *
 *     int cmd_eval(const atn_cli *c)
 *     {
 *         const char *program = c->args[0];
 *         long long threads = cli_int(c, "threads", 1);
 *         for (int i = 0; i < cli_count(c, "case"); i++) add(cli_item(c, "case", i));
 *         ...
 *         return EXIT_VALID;
 *     }
 *
 * An option that the table does not list for the command is our own bug and aborts. */
#ifndef ATN_APP_CMD_H
#define ATN_APP_CMD_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/status.h"
#include "base/text.h"
#include "report/report.h"

enum {
    EXIT_VALID = 0,        /* done; the candidate is valid */
    EXIT_INVALID = 1,      /* judged and not valid, or the work failed */
    EXIT_USAGE = 2,        /* bad command line, config or environment */
    EXIT_INTERRUPTED = 130 /* SIGINT; what was judged is kept */
};

typedef enum { OPT_FLAG, OPT_TEXT, OPT_INT, OPT_REAL, OPT_LIST } atn_option_type;

typedef struct {
    const char *command;   /* whose option it is */
    const char *name;      /* long name without dashes */
    char letter;           /* short name, 0: none */
    atn_option_type type;  /* LIST: may be given several times */
    const char *arg;       /* what help calls its argument, NULL for flags */
    double low, high;      /* range of INT and REAL */
    const char *values;    /* "a|b|c": the only valid ones; "@file", "@dir", "@suite": what completion offers; or NULL */
    const char *config;    /* config key that it overrides, or NULL */
    const char *help;
} atn_option;

typedef struct {
    const char *name;
    const char *args;      /* "PROGRAM.c", "[INITIAL.c]" or "" */
    int args_min, args_max;
    const char *summary;   /* one line */
    const char *text;      /* what help and the man page say further */
} atn_command;

/* Where a program is asked for: the file, or of the folder of a run its best program. The caller frees. */
char *program_file(const char *given);

typedef struct atn_cli_value atn_cli_value;
typedef struct {
    const atn_command *command;
    char **args;           /* what is not an option */
    int n_args;
    bool json, quiet;      /* --json, --quiet; false for commands without them */
    atn_cli_value *values;
    int n_values;
} atn_cli;

/* Options by long name; `otherwise` where it was not given. Texts live as long as argv. */
bool cli_has(const atn_cli *c, const char *name);
const char *cli_text(const atn_cli *c, const char *name, const char *otherwise);
long long cli_int(const atn_cli *c, const char *name, long long otherwise);
double cli_real(const atn_cli *c, const char *name, double otherwise);
int cli_count(const atn_cli *c, const char *name);               /* LIST */
const char *cli_item(const atn_cli *c, const char *name, int i);

/* Puts every option given that has a config key into the config, over what is there; LISTs append, items split at commas
 * for keys that are lists of names. */
struct atn_config;
atn_status cli_config(const atn_cli *c, struct atn_config *config, atn_error *err);

/* The tables. */
extern const atn_command cli_commands[];
extern const int cli_command_count;
extern const atn_option cli_options[];
extern const int cli_option_count;
const atn_command *cli_command_find(const char *name);
bool cli_option_of(const atn_option *o, const char *command);

/* Reads argv[1..) of one command (argv[0] is its name). USAGE says which word is wrong and what is near. Sets *help. */
atn_status cli_parse(const atn_command *command, int argc, char **argv, atn_cli *out, bool *help, atn_error *err);
void cli_free(atn_cli *c);

/* Help of one command, or of the program (NULL). */
void help_print(FILE *out, const atn_command *command);
/* The command that was probably meant, one of the launcher's where it called us; NULL: none is near. */
const char *help_nearest(const char *word);

/* Prints "attune COMMAND: text" on stderr (with --json: {"error": ...} on stdout as well) and returns the exit code that
 * fits the status: USAGE, FORMAT, NOT_FOUND, MISMATCH, UNSUPPORTED, BUSY, IO -> 2; CANCELLED -> 130; else 1. */
int cli_fail(const atn_cli *c, const atn_error *err);

/* The word by which the user calls us, for lines that say what to type: "./attune" or "attune". */
const char *cli_program(void);

/* 1 after the first SIGINT or SIGTERM since interrupt_catch. The second SIGINT ends the process at once with 130. */
extern volatile sig_atomic_t interrupted;
void interrupt_catch(void);

/* The terminal. */
bool term_live(FILE *f);                       /* a person sees lines being redrawn there: a tty, TERM not dumb */
report_style term_report(FILE *f);             /* for tables that are printed there */
int term_width(void);                          /* columns of stderr, 80 where unknown */
/* ANSI sequences, "" where `f` is no terminal or NO_COLOR is set. */
typedef enum { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_GREEN, TERM_RED, TERM_YELLOW } term_style;
const char *term_set(FILE *f, term_style s);
void term_notes(const char *lines);            /* "note: " before each line, on stderr; NULL is fine */

#define COMMAND(name, args, low, high, summary, text) int cmd_##name(const atn_cli *c);
#define OPTION(...)
#include "options.def"
#undef COMMAND
#undef OPTION

#endif
