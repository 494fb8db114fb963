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
    atn_text t = {0};
    for (int i = 1; i < l->n; i++) {
        text_add(&t, " ");
        text_add_word(&t, l->argv[i]);
    }
    printf("\n%s$ %s%s%s\n", term_set(stdout, TERM_BOLD), cli_program(), t.s, term_set(stdout, TERM_PLAIN));
    text_free(&t);
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

#ifdef __APPLE__
static const char model_runtime[] = "mlx";
#else
static const char model_runtime[] = "torch"; /* mlx on Linux computes with a reference BLAS: minutes, not seconds */
#endif

/* The model writes twice, with the run's folder: each class of problem gets its best kernel. Returns the model's folder; NULL:
 * there is none, or no runtime for it. */
static char *patch_model(const char *folder, int *code)
{
    atn_error err = {0};
    char *python = NULL, *model = NULL, count[16];
    if (runtime_python(&python, &err) == ATN_OK) model = find_model(python);
    if (model) {
        command_line l = {.n = 1};
        snprintf(count, sizeof count, "%d", MODEL_TOKENS);
        put(&l, "workloads"), put(&l, "--model"), put(&l, model), put(&l, "--runtime"), put(&l, model_runtime);
        put(&l, "--evolved-program"), put(&l, folder), put(&l, "--generate"), put(&l, count);
        *code = step(&l);
        if (*code == EXIT_USAGE) { /* a package is not there */
            *code = EXIT_VALID;
            free(model);
            model = NULL;
        }
    }
    free(python);
    return model;
}

static void say_next(const char *title, atn_text *command)
{
    printf("  %-18s %s\n", title, command->s);
    text_free(command);
}

/* One line that builds the programs of the run's folder, compiles the example and runs it with them. */
static void say_c_program(const char *folder)
{
    atn_text t = {0};
    char *example = file_shipped("examples/attention/your_program.c"), *include = file_shipped("include");
    char *beside = file_beside_program("../src/run"), *library = realpath(beside, NULL); /* where it is not installed */
    text_addf(&t, "%s build ", cli_program());
    text_add_word(&t, folder);
    text_add(&t, " && cc ");
    text_add_word(&t, example);
    if (library) {
        char *words[] = {atn_format("-I%s", include), atn_format("-L%s", library), atn_format("-Wl,-rpath,%s", library)};
        for (int i = 0; i < ATN_COUNT(words); i++) {
            text_add(&t, " ");
            text_add_word(&t, words[i]);
            free(words[i]);
        }
        text_add(&t, " -lattune");
    } else text_add(&t, " $(pkg-config --cflags --libs attune)");
    text_add(&t, " -o your_program && ./your_program ");
    text_add_word(&t, folder);
    say_next("in your C program", &t);
    free(library);
    free(beside);
    free(include);
    free(example);
}

static void say_model(const char *folder, const char *model)
{
    atn_text t = {0};
    text_addf(&t, "%s workloads --model ", cli_program());
    text_add_word(&t, model ? model : "MODEL");
    text_addf(&t, " --runtime %s --evolved-program ", model_runtime);
    text_add_word(&t, folder);
    say_next(model ? "measured in it" : "in your model", &t);
}

int cmd_demo(const atn_cli *c)
{
    const char *folder = cli_text(c, "output", "attune_demo"), *program = cli_program();
    char *best = atn_format("%s/best/best_program.c", folder), *model = NULL;
    const double start = clock_s();
    interrupt_catch(); /* Ctrl-C reaches the step as well, which ends cleanly */
    int code = evolve_briefly(c, folder);
    if (code == EXIT_VALID) code = judge_winner(best);
    if (code == EXIT_VALID && !cli_has(c, "no-model") && !(model = patch_model(folder, &code)))
        printf("\nNo model was patched: that takes a model runtime (tools/peers/install --models, 0.8 GB).\n");
    if (code == EXIT_VALID) {
        char *guide = file_shipped("examples/attention/USAGE.md");
        printf("\n%.0f s. Now\n", clock_s() - start);
        printf("  for this machine   %s evolve\n", program);
        printf("  your own sizes     %s evolve -o my_output --case \"f32 h32/8 s4096 d128 causal\"\n", program);
        say_c_program(folder);
        say_model(folder, model);
        printf("  the whole guide    %s\n", guide);
        free(guide);
    }
    free(model);
    free(best);
    return code;
}
