/* attune demo: the whole of attune in under a minute, by the commands that anybody can type.
 *
 * Each step is this program itself, started anew with a command line that is printed first, so nothing is shown that a
 * user would not get. A step that cannot be done here (no model runtime) says so and is no failure; one that fails ends
 * the demo with its exit code. */
#include <dirent.h>
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cmd.h"
#include "peers.h"

enum { ARGUMENTS = 24, MODEL_TOKENS = 24 };

static const char *const demo_cases[] = {"f32 h8 s256 d64 causal", "f32 h8/2 s512 d64 causal", "f32 h8/2 s1/1024 d64"};

typedef struct {
    const char *argv[ARGUMENTS];
    int n;
} command_line;

static void put(command_line *l, const char *word)
{
    ATN_ASSERT(l->n < ARGUMENTS - 1);
    l->argv[l->n++] = word;
}

static void say_command(const command_line *l)
{
    printf("\n%s$ %s", term_set(stdout, TERM_BOLD), cli_program());
    for (int i = 1; i < l->n; i++) printf(strpbrk(l->argv[i], " *") ? " \"%s\"" : " %s", l->argv[i]);
    printf("%s\n", term_set(stdout, TERM_PLAIN));
    fflush(NULL);
}

/* Runs attune with these words; returns its exit code. */
static int step(command_line *l)
{
    extern char **environ;
    pid_t pid;
    int status = 0;
    say_command(l);
    l->argv[0] = "attune";
    l->argv[l->n] = NULL;
    const int failed = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, (char **)l->argv, environ);
    if (failed) {
        fprintf(stderr, "attune demo: cannot start attune again: %s\n", strerror(failed));
        return EXIT_INVALID;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    if (interrupted) return EXIT_INTERRUPTED;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_INVALID;
}

static void put_cases(command_line *l)
{
    for (int i = 0; i < ATN_COUNT(demo_cases); i++) put(l, "--case"), put(l, demo_cases[i]);
}

static int evolve_briefly(const atn_cli *c, const char *folder)
{
    command_line l = {.n = 1};
    char *minutes = atn_format("%.3g", cli_real(c, "seconds", 20) / 60);
    put(&l, "evolve"), put(&l, "--minutes"), put(&l, minutes);
    put_cases(&l);
    put(&l, "--set"), put(&l, "evolve.final_seconds=6");
    put(&l, "--set"), put(&l, "evolve.control_races=0");
    put(&l, "-o"), put(&l, folder);
    const int code = step(&l);
    free(minutes);
    return code;
}

static int judge_winner(const char *best)
{
    command_line l = {.n = 1};
    put(&l, "eval"), put(&l, best), put(&l, "--stage"), put(&l, "3");
    put_cases(&l);
    return step(&l);
}

static off_t folder_bytes(const char *folder)
{
    off_t sum = 0;
    DIR *d = opendir(folder);
    for (struct dirent *f; d && (f = readdir(d));) {
        char *path = atn_format("%s/%s", folder, f->d_name);
        struct stat st;
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) sum += st.st_size;
        free(path);
    }
    if (d) closedir(d);
    return sum;
}

/* The smallest model (the demo is to be over in a minute) in $ATTUNE_MODELS, else beside the virtual environment; NULL:
 * none. */
static char *find_model(const char *python)
{
    off_t least = 0;
    const char *own = getenv("ATTUNE_MODELS");
    char *folder = own && *own ? atn_strdup(own) : atn_format("%.*s/models", (int)(strlen(python) - strlen("/bin/python")), python);
    char *found = NULL;
    DIR *d = opendir(folder);
    for (struct dirent *f; d && (f = readdir(d));) {
        if (f->d_name[0] == '.') continue;
        char *one = atn_format("%s/%s", folder, f->d_name), *config = atn_format("%s/config.json", one);
        const off_t bytes = file_exists(config) ? folder_bytes(one) : 0;
        if (bytes > 0 && (!found || bytes < least)) {
            free(found);
            found = atn_strdup(one);
            least = bytes;
        }
        free(one);
        free(config);
    }
    if (d) closedir(d);
    free(folder);
    return found;
}

/* The model writes twice. Returns false where there is none, or no runtime for it. */
static bool patch_model(const char *best, int *code)
{
    atn_error err = {0};
    char *python = NULL, *model = NULL, count[16];
    bool done = false;
    if (runtime_python(&python, &err) == ATN_OK) model = find_model(python);
    if (model) {
        command_line l = {.n = 1};
        snprintf(count, sizeof count, "%d", MODEL_TOKENS);
        put(&l, "workloads"), put(&l, "--model"), put(&l, model), put(&l, "--runtime");
#ifdef __APPLE__
        put(&l, "mlx");
#else
        put(&l, "torch"); /* mlx on Linux computes with a reference BLAS: minutes, not seconds */
#endif
        put(&l, "--evolved-program"), put(&l, best), put(&l, "--generate"), put(&l, count);
        *code = step(&l);
        done = *code != EXIT_USAGE;
        if (!done) *code = EXIT_VALID;
    }
    free(python);
    free(model);
    return done;
}

int cmd_demo(const atn_cli *c)
{
    const char *folder = cli_text(c, "output", "attune_demo"), *program = cli_program();
    char *best = atn_format("%s/best/best_program.c", folder);
    const double start = clock_s();
    interrupt_catch(); /* Ctrl-C reaches the step as well, which ends cleanly */
    int code = evolve_briefly(c, folder);
    if (code == EXIT_VALID) code = judge_winner(best);
    if (code == EXIT_VALID && !cli_has(c, "no-model") && !patch_model(best, &code))
        printf("\nNo model was patched: that takes a model runtime (tools/peers/install --models, 0.8 GB).\n");
    if (code == EXIT_VALID) {
        char *example = file_shipped("examples/attention/your_program.c"), *guide = file_shipped("examples/attention/USAGE.md");
        printf("\n%.0f s. Now\n", clock_s() - start);
        printf("  for this machine   %s evolve\n", program);
        printf("  your own sizes     %s evolve -o my_output --case \"f32 h32/8 s4096 d128 causal\"\n", program);
        printf("  in your C program  %s\n", example);
        printf("  in your model      %s workloads --model MODEL --evolved-program %s\n", program, best);
        printf("  the whole guide    %s\n", guide);
        free(example);
        free(guide);
    }
    free(best);
    return code;
}
