/* Trials of known outcome. Each process takes the next trial from a shared counter, so that the few that wait for a
 * time limit do not hold up the rest; results lie in shared memory, which outlives a process that dies. */
#include "judge/proof.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "judge/accuracy.h"
#include "judge/build.h"
#include "judge/link.h"
#include "judge/sandbox.h"
#include "judge/wire.h"
#include "judge/zoo.h"
#include "problem/suite.h"

enum { PROCESSES_MAX = 16, SOURCE_MAX = 1 << 20 };
static const double GRACE_SECONDS = 1.5, FIRST_SECONDS = 6; /* beyond the time; the second for the first of each kind */

/* ---- lists ------------------------------------------------------------------------------------------------------- */

static proof_trial *add(proof_list *l, proof_kind kind, const char *path, const char *name)
{
    l->trials = atn_realloc(l->trials, (size_t)(l->n + 1) * sizeof *l->trials);
    proof_trial *t = &l->trials[l->n++];
    *t = (proof_trial){.kind = kind, .path = atn_strdup(path)};
    snprintf(t->name, sizeof t->name, "%s", name);
    return t;
}

int proof_add_zoo(proof_list *l, const char *folder, bool behind)
{
    char **names;
    int n = zoo_names(folder, &names);
    for (int i = 0; i < n; i++) {
        add(l, behind ? PROOF_BEHIND : PROOF_ZOO, folder, names[i]);
        free(names[i]);
    }
    free(names);
    return n;
}

int proof_add_mutants(proof_list *l, const char *path)
{
    static const char row[] = " * mutant ";
    char *source;
    int n = 0;
    if (file_read(path, SOURCE_MAX, &source, NULL, NULL) != ATN_OK) return -1;
    for (const char *at = source; (at = strstr(at, row)); at++) {
        int number, words = 0;
        char name[sizeof l->trials->name];
        if (sscanf(at + sizeof row - 1, "%d:%n", &number, &words) != 1 || !words) continue;
        const char *text = at + sizeof row - 1 + words;
        text += *text == ' ';
        int length = (int)strcspn(text, "*\n");
        while (length && text[length - 1] == ' ') length--;
        snprintf(name, sizeof name, "%.*s", length, text);
        add(l, PROOF_MUTANT, path, name)->number = number;
        n++;
    }
    free(source);
    return n ? n : -1;
}

void proof_add_honest(proof_list *l, const char *path)
{
    const char *slash = strrchr(path, '/');
    add(l, PROOF_HONEST, path, slash ? slash + 1 : path);
}

void proof_merge(proof_list *l, proof_list *parts, int n)
{
    int *taken = atn_alloc(sizeof *taken * (size_t)(n + 1)), all = l->n;
    for (int i = 0; i < n; i++) taken[i] = 0, all += parts[i].n;
    l->trials = atn_realloc(l->trials, (size_t)(all + 1) * sizeof *l->trials);
    while (l->n < all) {
        int next = -1; /* the part of which the smallest share is taken */
        for (int i = 0; i < n; i++) {
            if (taken[i] == parts[i].n) continue;
            if (next < 0 || (int64_t)taken[i] * parts[next].n < (int64_t)taken[next] * parts[i].n) next = i;
        }
        l->trials[l->n++] = parts[next].trials[taken[next]++];
    }
    for (int i = 0; i < n; i++) {
        free(parts[i].trials);
        parts[i] = (proof_list){0};
    }
    free(taken);
}

void proof_free(proof_list *l)
{
    for (int i = 0; i < l->n; i++) free(l->trials[i].path);
    free(l->trials);
    *l = (proof_list){0};
}

/* ---- one trial --------------------------------------------------------------------------------------------------- */

static check_context context_of(const proof_trial *t)
{
    return (check_context){.tolerance = 1, .threads = 1, .cpu = -1, .seed = rng_secret(), .program = t->name};
}

static void play_animal(proof_trial *t)
{
    zoo_outcome got;
    atn_error err;
    zoo_options how = {.behind = t->kind == PROOF_BEHIND, .threads = 1};
    if (zoo_meet(t->path, t->name, &how, &got, &err) != ATN_OK) {
        t->tried = 1;
        snprintf(t->note, sizeof t->note, "%.239s", err.text);
        return;
    }
    t->tried = got.met;
    t->right = got.right;
    if (!got.met || got.right) return;
    snprintf(t->note, sizeof t->note, "expected %s, got %s: %.80s", got.want, reason_word(got.v.reason),
             got.v.evidence);
}

/* The source, in which a mutant's number has been put. */
static atn_status source_of(const proof_trial *t, char **source, atn_error *err)
{
    static const char define[] = "#define MUTANT 0\n";
    char *text;
    atn_status s = file_read(t->path, SOURCE_MAX, &text, NULL, err);
    if (s != ATN_OK) return s;
    *source = text;
    if (t->kind != PROOF_MUTANT) return ATN_OK;
    const char *at = strstr(text, define);
    if (!at) return atn_fail(err, ATN_FORMAT, "'%s' has no line '#define MUTANT 0'", t->path);
    *source = atn_format("%.*s#define MUTANT %d\n%s", (int)(at - text), text, t->number, at + sizeof define - 1);
    free(text);
    return ATN_OK;
}

/* All correctness checks whose queries are of one type. */
static atn_status check_type(const check_context *c, int dtype, int so_fd, atn_verdict *v, atn_error *err)
{
    atn_suite suite = {0};
    atn_status s = suite_add(&suite, "accuracy", err);
    if (!s) s = suite_add(&suite, "stability", err);
    if (!s) s = suite_add(&suite, "robustness", err);
    check_item *items = atn_alloc(sizeof *items * (size_t)ATN_MAX(suite.count, 1));
    int n = 0;
    for (int i = 0; i < suite.count; i++)
        if (suite.cases[i].problem.dtype_q == dtype)
            items[n++] = (check_item){.problem = suite.cases[i].problem,
                                      .data = suite.cases[i].data,
                                      .seed = rng_mix(c->seed + (uint64_t)i) >> 16};
    if (!s && n) s = accuracy_items(c, ATN_STAGE_FULL, so_fd, items, n, v, err);
    free(items);
    suite_free(&suite);
    return s;
}

static atn_status play_kernel(proof_trial *t, atn_error *err)
{
    static const char *const types[] = {[ATN_F32] = "f32", [ATN_F16] = "f16", [ATN_BF16] = "bf16"};
    char *source = NULL;
    build_result built = {.so_fd = -1};
    check_context c = context_of(t);
    atn_status s = source_of(t, &source, err);
    if (!s) s = build_run(&(build_options){.whole_file = true}, source, NULL, &built, err);
    free(source);
    if (s) return s;
    bool honest = t->kind == PROOF_HONEST;
    if (built.reason != ATN_REASON_OK) {
        t->tried = 1; /* a mutant that does not build proves nothing */
        snprintf(t->note, sizeof t->note, "%s: %.200s", reason_word(built.reason), built.evidence);
    } else if (!honest) {
        atn_verdict v = {0};
        s = accuracy_quick(&c, built.so_fd, &v, err);
        if (!s && v.reason == ATN_REASON_OK) s = accuracy_full(&c, built.so_fd, &v, err);
        t->tried = 1;
        t->right = !s && v.reason != ATN_REASON_OK;
        if (!t->right) snprintf(t->note, sizeof t->note, "passed %d of %d checks", v.checks_passed, v.checks);
    } else {
        c.specialist = true;
        for (int type = 0; type < ATN_COUNT(types) && !s; type++) {
            atn_verdict v = {0};
            s = check_type(&c, type, built.so_fd, &v, err);
            bool refused = v.reason != ATN_REASON_OK;
            t->tried += v.checks > 0 || refused; /* it may not take this type at all */
            t->right += v.checks > 0 && !refused;
            if (refused)
                snprintf(t->note, sizeof t->note, "%s: %s: %.200s", types[type], reason_word(v.reason), v.evidence);
        }
    }
    build_release(&built);
    return s;
}

static void play(proof_trial *t)
{
    atn_error err = {0};
    double start = clock_s();
    if (t->kind == PROOF_ZOO || t->kind == PROOF_BEHIND) {
        play_animal(t);
    } else if (play_kernel(t, &err) != ATN_OK) {
        t->tried = 1;
        t->right = 0;
        snprintf(t->note, sizeof t->note, "%.239s", err.text);
    }
    t->seconds = clock_s() - start;
    t->done = true;
}

/* ---- many processes ---------------------------------------------------------------------------------------------- */

typedef struct {
    atomic_int next;
    int taken[PROCESSES_MAX]; /* the trial that a process is at, -1: none */
    proof_trial trials[];
} board;

static bool first_of_kind(const board *b, int i)
{
    for (int k = 0; k < i; k++)
        if (b->trials[k].kind == b->trials[i].kind) return false;
    return true;
}

static void take_trials(board *b, int n, int self, bool reduced, double deadline)
{
    if (reduced) sandbox_leave_out(LAYER_NAMESPACES | LAYER_UID | LAYER_MSEAL | LAYER_SCOPE);
    for (int i; (i = atomic_fetch_add(&b->next, 1)) < n;) {
        if (b->trials[i].done) continue;
        if (clock_s() > deadline + (first_of_kind(b, i) ? FIRST_SECONDS : 0)) continue;
        b->taken[self] = i;
        b->trials[i].reduced = reduced;
        play(&b->trials[i]);
        b->taken[self] = -1;
    }
}

static void await(board *b, const pid_t *pids, int n, double deadline)
{
    bool ended[PROCESSES_MAX] = {false};
    for (int left = n; left > 0;) {
        double now = clock_s();
        for (int i = 0; i < n; i++) {
            int status = 0, at = b->taken[i];
            if (ended[i]) continue;
            bool late = now > deadline + (at >= 0 && first_of_kind(b, at) ? FIRST_SECONDS : GRACE_SECONDS);
            if (late) kill(pids[i], SIGKILL);
            pid_t got = waitpid(pids[i], &status, late ? 0 : WNOHANG);
            if (got == 0) continue;
            ended[i] = true;
            left--;
            if (late || b->taken[i] < 0) continue;
            proof_trial *t = &b->trials[b->taken[i]]; /* it died of this one, and nobody had told it to */
            t->done = true;
            t->tried = ATN_MAX(t->tried, 1);
            t->right = 0;
            snprintf(t->note, sizeof t->note, "the judging process ended (status 0x%x)", (unsigned)status);
        }
        if (left) usleep(10000);
    }
}

atn_status proof_play(proof_list *l, bool reduced, double seconds, atn_error *err)
{
    size_t bytes = sizeof(board) + (size_t)l->n * sizeof(proof_trial);
    double deadline = clock_s() + seconds;
    board *b = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (b == MAP_FAILED) return atn_fail(err, ATN_MEMORY, "no memory for %d trials", l->n);
    if (l->n) memcpy(b->trials, l->trials, (size_t)l->n * sizeof *l->trials);
    pid_t pids[PROCESSES_MAX];
    int n = ATN_MIN(ATN_MIN(machine_get()->cpus + 1, PROCESSES_MAX), ATN_MAX(l->n, 1)), started = 0;
    fflush(NULL);
    for (; started < n; started++) {
        b->taken[started] = -1;
        pids[started] = fork();
        if (pids[started] < 0) break;
        if (pids[started] == 0) {
            take_trials(b, l->n, started, reduced, deadline);
            exit(0); /* with its atexit functions: they remove this process's folder for builds */
        }
    }
    await(b, pids, started, deadline);
    for (int i = 0; i < l->n; i++) {
        if (!b->trials[i].done) b->trials[i].tried = b->trials[i].right = 0;
        l->trials[i] = b->trials[i];
    }
    munmap(b, bytes);
    return started ? ATN_OK : atn_fail(err, ATN_PROCESS, "cannot start a process for the trials");
}

/* ---- the cost of isolation --------------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

atn_status proof_isolation_ms(int so_fd, double *ms, atn_error *err)
{
    double took[15];
    atn_job job = {.problem = problem_default(), .slots = 1};
    atn_arena *arena;
    atn_status s = arena_create(&job, 1, &arena, err);
    for (int i = 0; i < ATN_COUNT(took) && s == ATN_OK; i++) {
        atn_verdict v = {0};
        atn_worker *w = NULL;
        double start = clock_s();
        s = worker_start(&(worker_options){.threads = 1, .cpu = -1}, so_fd, arena, &w, &v, err);
        if (!s && !w) s = atn_fail(err, ATN_PROCESS, "the worker does not start: %.400s", v.evidence);
        worker_free(w);
        took[i] = 1e3 * (clock_s() - start);
    }
    if (s != ATN_OK) return s;
    arena_free(arena);
    qsort(took, ATN_COUNT(took), sizeof *took, compare_doubles);
    *ms = took[ATN_COUNT(took) / 2];
    return ATN_OK;
}
