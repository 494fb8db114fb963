/* attune: the program. Finds the command, parses its line, runs it. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/file.h"
#include "cmd.h"
#include "judge/timing.h"

volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    if (interrupted && signal == SIGINT) _exit(EXIT_INTERRUPTED);
    interrupted = 1;
}

void interrupt_catch(void)
{
    struct sigaction a = {.sa_handler = on_interrupt}; /* no SA_RESTART: poll() must wake up */
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

char *program_file(const char *given)
{
    char *best = file_join(given, "best/best_program.c");
    struct stat st;
    /* of a folder without one, what cannot be opened says more than the folder itself */
    if (file_exists(best) || (!stat(given, &st) && S_ISDIR(st.st_mode))) return best;
    free(best);
    return atn_strdup(given);
}

const char *cli_program(void)
{
    static char *word;
    if (word) return word;
    const char *name = getenv("ATTUNE_PROGRAM"); /* set by the launcher of a checkout */
    atn_text t = {0};
    text_add_word(&t, name && *name ? name : "attune");
    return word = text_take(&t);
}

bool term_live(FILE *f)
{
    const char *term = getenv("TERM");
    return isatty(fileno(f)) && term && *term && strcmp(term, "dumb") != 0;
}

int term_width(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20 ? w.ws_col : 80;
}

report_style term_report(FILE *f)
{
    struct winsize w;
    int columns = !isatty(fileno(f))                                          ? 0
                  : ioctl(fileno(f), TIOCGWINSZ, &w) == 0 && w.ws_col >= 20 ? w.ws_col
                                                                              : 80;
    return (report_style){term_set(f, TERM_BOLD), term_set(f, TERM_PLAIN), columns};
}

const char *term_set(FILE *f, term_style s)
{
    static const char *const codes[] = {"\033[0m", "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[33m"};
    const char *no = getenv("NO_COLOR");
    return term_live(f) && !(no && *no) ? codes[s] : "";
}

void term_notes(const char *lines)
{
    for (const char *p = lines; p && *p;) {
        int n = (int)strcspn(p, "\n");
        fprintf(stderr, "note: %.*s\n", n, p);
        p += n + (p[n] == '\n');
    }
}

int cli_fail(const atn_cli *c, const atn_error *err)
{
    if (c->json) {
        json_t *o = json_pack("{s:s, s:s}", "error", err->text, "status", status_text(err->code));
        if (o) {
            json_dumpf(o, stdout, JSON_COMPACT);
            putchar('\n');
            json_decref(o);
        }
    }
    fflush(stdout);
    fprintf(stderr, "%sattune %s:%s %s\n", term_set(stderr, TERM_RED), c->command->name, term_set(stderr, TERM_PLAIN),
            err->text);
    switch (err->code) {
    case ATN_CANCELLED: return EXIT_INTERRUPTED;
    case ATN_MEMORY:
    case ATN_TIMEOUT:
    case ATN_PROCESS: return EXIT_INVALID;
    default: return EXIT_USAGE;
    }
}

static int unknown_command(const char *word)
{
    const char *guess = help_nearest(word);
    fprintf(stderr, "attune: unknown %s '%s'", word[0] == '-' ? "option" : "command", word);
    if (guess) fprintf(stderr, "; did you mean '%s'?\n", guess);
    else fprintf(stderr, "; see '%s help'\n", cli_program());
    return EXIT_USAGE;
}

typedef int (*command_function)(const atn_cli *);

static command_function function_of(const atn_command *command)
{
    static const command_function functions[] = {
#define COMMAND(name, ...) cmd_##name,
#define OPTION(...)
#include "options.def"
#undef COMMAND
#undef OPTION
    };
    return functions[command - cli_commands];
}

static void say_waiting(void)
{
    fprintf(stderr, "%sattune: another attune is measuring on this machine; waiting for it\n",
            term_live(stderr) ? "\r\033[K" : "");
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, 1 << 14);
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is seen as a failed write */
    if (argc < 2) {
        help_print(stderr, NULL);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
        puts("attune " ATTUNE_VERSION);
        return EXIT_VALID;
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        help_print(stdout, NULL);
        return EXIT_VALID;
    }
    const atn_command *command = cli_command_find(word);
    if (!command) return unknown_command(word);

    atn_cli cli;
    atn_error err = {0};
    bool help;
    int code;
    if (cli_parse(command, argc - 1, argv + 1, &cli, &help, &err) != ATN_OK) {
        code = cli_fail(&cli, &err);
    } else if (help) {
        help_print(stdout, command);
        code = EXIT_VALID;
    } else {
        timing_lock_waits = say_waiting;
        code = function_of(command)(&cli);
    }
    cli_free(&cli);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (code == EXIT_VALID) code = EXIT_INVALID;
        struct pollfd reader = {.fd = STDOUT_FILENO, .events = POLLOUT};
        bool gone = poll(&reader, 1, 0) == 1 && (reader.revents & POLLERR);   /* `attune show | head`: no news */
        if (!gone) fprintf(stderr, "attune: standard output could not be written whole\n");
    }
    return code;
}
