/* long: the judge's promises in large numbers, each part by itself; tests/judge/long.sh plays them all.
 *
 *     long zoo N SECONDS [reduced]     every animal N times, before and behind the gate; all refused for the right reason
 *     long mutants N SECONDS           every mutant N times; all killed
 *     long honest N SECONDS            every family, each type that it takes, until N runs are done; none refused
 *     long soak N SECONDS              N candidates in one process: good, wrong, crashing, hanging, not compiling; memory,
 *                                      descriptors, processes and temporary files must be flat after the first tenth
 *     long cost                        a worker's start to end, and one hand-shake
 *     long decided N SECONDS           races of kernels of 1 ms against others: median time of those that were decided
 *
 * One line of outcome each; exit code 1 where a promise is broken, 2 where it cannot be tried. Parts that play trials use
 * every CPU that this process may run on. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "judge/build.h"
#include "judge/control.h"
#include "judge/judge.h"
#include "judge/link.h"
#include "judge/proof.h"
#include "judge/sandbox.h"
#include "judge/zoo.h"

static int fail(const char *text)
{
    fprintf(stderr, "long: %s\n", text);
    return 2;
}

static char *under_home(const char *path)
{
    return file_join(file_home(), path);
}

/* ---- trials ------------------------------------------------------------------------------------------------------ */

static const char *const families[] = {"src/kernel/flash_qvec.c", "src/kernel/decode.c", "src/kernel/flash_amx.c",
                                       "src/kernel/ref/plain.c", "examples/attention/initial_program.c",
                                       "src/kernel/flash_dot.c", "src/kernel/flash_kvec.c"};

static int play(proof_list *l, const char *name, bool reduced, double seconds, int least)
{
    atn_error err = {0};
    double start = clock_s();
    if (proof_play(l, reduced, seconds, &err)) return fail(err.text);
    int tried = 0, right = 0, unmet = 0;
    for (int i = 0; i < l->n; i++) {
        const proof_trial *t = &l->trials[i];
        tried += t->tried, right += t->right, unmet += !t->done;
        if (t->done && t->right != t->tried) printf("FAIL %s %s: %s\n", name, t->name, t->note);
    }
    bool enough = tried >= least;
    printf("%s %s%s: %d of %d right, %d trials the time did not suffice for, %.0f s\n",
           right == tried && enough ? "ok" : "FAIL", name, reduced ? " (reduced isolation)" : "", right, tried, unmet,
           clock_s() - start);
    proof_free(l);
    return right != tried || !enough;
}

static int play_zoo(int n, double seconds, bool reduced)
{
    char *folder = zoo_folder();
    proof_list l = {0};
    if (!folder) return fail("no zoo; set ATTUNE_HOME");
    for (int i = 0; i < n; i++) {
        proof_add_zoo(&l, folder, false);
        proof_add_zoo(&l, folder, true);
    }
    free(folder);
    return play(&l, "zoo", reduced, seconds, 1);
}

static int play_mutants(int n, double seconds)
{
    char *path = under_home("tests/judge/mutants.c");
    proof_list l = {0};
    for (int i = 0; i < n; i++)
        if (proof_add_mutants(&l, path) < 0) return fail("no mutants; set ATTUNE_HOME");
    free(path);
    return play(&l, "mutants", false, seconds, 1);
}

static int play_honest(int n, double seconds)
{
    proof_list l = {0};
    for (int k = 0; k < (n + 4) / 5; k++) /* five kernels, each of at least one type */
        for (int i = 0; i < ATN_COUNT(families); i++) {
            char *path = under_home(families[i]);
            if (file_exists(path)) proof_add_honest(&l, path);
            free(path);
        }
    return play(&l, "honest", false, seconds, n);
}

/* ---- soak -------------------------------------------------------------------------------------------------------- */

typedef struct {
    long rss_kib, fds, children, temporary;
} footprint;

static long entries(const char *folder)
{
    long n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

static footprint footprint_now(void)
{
    footprint f = {.fds = entries("/proc/self/fd") - 1};
    char *text = NULL, path[64];
    const char *scratch = sandbox_scratch(NULL);
    if (!file_read("/proc/self/statm", 4096, &text, NULL, NULL)) {
        long pages = 0;
        if (sscanf(text, "%*d %ld", &pages) == 1) f.rss_kib = pages * (sysconf(_SC_PAGESIZE) / 1024);
        free(text);
    }
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    text = NULL;
    if (!file_read(path, 1 << 16, &text, NULL, NULL)) {
        for (const char *p = text; *p; p++) f.children += *p == ' ';
        free(text);
    }
    f.temporary = scratch ? entries(scratch) : 0;
    return f;
}

/* One candidate of many kinds; every one is another text. */
static char *candidate_of(int i, const char *honest, const char *prelude)
{
    static const char *const bodies[] = {
        "attend(a, task, scratch, (spoil){.drop = 7});",
        "attend(a, task, scratch, (spoil){.no_causal = 1});",
        "((volatile float *)a->q.ptr)[0] = 1;",
        "*(volatile int *)8 = 1;",
        "__builtin_trap();",
        "return;",
        "attend(a, task, scratch, (spoil){0}); ((float *)scratch)[1 << 26] = 1;",
        "((float *)a->o.ptr)[-1] = 1;",
        "this does not compile",
        "getpid();",
    };
    if (i % 50 == 0) return atn_format("%s\n/* %d */\n", honest, i);
    if (i % 500 == 7) return atn_format("%s\nRUN { UNUSED; for (volatile int i = %d;; i++) {} }\n", prelude, i);
    return atn_format("%s\nint getpid(void);\nRUN { UNUSED; /* %d */ %s }\n", prelude, i, bodies[i % ATN_COUNT(bodies)]);
}

enum { AHEAD_MAX = 32 };

/* Builds run ahead of the judge, as in an evolution; one candidate in 50 is honest and goes through a race. */
static int soak(int n, double seconds)
{
    atn_error err = {0};
    char *honest = NULL, *prelude = NULL, *path = under_home(families[4]), *folder = zoo_folder();
    if (!folder || file_read(path, 1 << 20, &honest, NULL, &err)) return fail("no kernels; set ATTUNE_HOME");
    free(path);
    path = file_join(folder, "prelude.h");
    if (file_read(path, 1 << 20, &prelude, NULL, &err)) return fail(err.text);
    free(path);
    free(folder);
    atn_suite suite = {0};
    atn_judge *j = NULL;
    judge_options o = judge_defaults();
    o.timing = &suite;
    o.case_seconds_max = 0.05;
    build_result incumbent;
    build_options how = {.whole_file = true};
    atn_problem small;
    if (problem_parse("f32 h1 s64 d64 causal", &small, &err)) return fail(err.text);
    suite.cases = atn_alloc(sizeof *suite.cases);
    suite.cases[0] = (atn_case){.problem = small};
    suite.count = 1;
    if (judge_create(&o, &j, &err) || build_run(&how, honest, NULL, &incumbent, &err)) return fail(err.text);
    if (incumbent.reason != ATN_REASON_OK) return fail(incumbent.evidence);

    atn_build *ahead[AHEAD_MAX] = {NULL};
    int width = ATN_MIN(machine_get()->cpus, AHEAD_MAX), started = 0, done = 0, counts[ATN_REASON_COUNT] = {0};
    footprint early = {0}, now = {0};
    double start = clock_s();
    while (done < n && clock_s() - start < seconds) {
        for (int k = 0; k < width && started < n; k++)
            if (!ahead[k]) {
                char *source = candidate_of(started++, honest, prelude);
                if (build_start(&how, source, NULL, &ahead[k], &err)) return fail(err.text);
                free(source);
            }
        bool any = false;
        for (int k = 0; k < width; k++) {
            build_result b;
            if (!ahead[k] || !build_step(ahead[k], &b)) continue;
            ahead[k] = NULL;
            any = true;
            atn_verdict v;
            if (judge_candidate(j, &b, &incumbent, ATN_STAGE_RACE, &v, &err)) return fail(err.text);
            race_pairs_free(judge_take_pairs(j));
            build_release(&b);
            counts[v.reason]++;
            if (++done == n / 10) early = footprint_now();
        }
        if (!any) usleep(1000);
    }
    for (int k = 0; k < width; k++) build_cancel(ahead[k]);
    while (waitpid(-1, NULL, WNOHANG) > 0) {}
    now = footprint_now();
    printf("     soak: ");
    for (int i = 0; i < ATN_REASON_COUNT; i++)
        if (counts[i]) printf("%d %s, ", counts[i], reason_word((atn_reason)i));
    /* At n / 10 builds are under way: their descriptors and folders may be more then, never fewer than at the end. */
    bool flat = now.rss_kib - early.rss_kib <= 2048 && now.fds <= early.fds && now.children == 0 &&
                now.temporary <= early.temporary;
    printf("%.0f s\n%s soak: %d of %d candidates; resident %ld -> %ld KiB, descriptors %ld -> %ld, children %ld -> %ld, "
           "temporary files %ld -> %ld (after %d, at the end)\n",
           clock_s() - start, flat && done == n ? "ok" : "FAIL", done, n, early.rss_kib, now.rss_kib, early.fds, now.fds,
           early.children, now.children, early.temporary, now.temporary, n / 10);
    build_release(&incumbent);
    judge_free(j);
    free(suite.cases);
    free(honest);
    free(prelude);
    return !(flat && done == n);
}

/* ---- cost and time ----------------------------------------------------------------------------------------------- */

static int build_initial(build_result *b)
{
    atn_error err = {0};
    char *path = under_home(families[4]), *source = NULL;
    if (file_read(path, 1 << 20, &source, NULL, &err) ||
        build_run(&(build_options){.whole_file = true}, source, NULL, b, &err) || b->reason != ATN_REASON_OK)
        return fail(err.text[0] ? err.text : b->evidence);
    free(source);
    free(path);
    return 0;
}

static int cost(void)
{
    build_result b;
    atn_error err = {0};
    double ms = 0;
    if (build_initial(&b)) return 2;
    if (proof_isolation_ms(b.so_fd, &ms, &err)) return fail(err.text);
    link_cost one = link_overhead(1, judge_cpu());
    bool ok = ms <= 15 && one.wall <= 20e3;
    printf("%s cost: isolation %.2f ms a worker, one hand-shake %.2f us wall (least %.2f), %.2f us CPU\n",
           ok ? "ok" : "FAIL", ms, 1e-3 * one.wall, 1e-3 * one.least_wall, 1e-3 * one.cpu);
    for (int threads = 2; threads <= machine_get()->cpus && threads <= 8; threads *= 2) {
        link_cost many = link_overhead(threads, judge_cpu() - threads + 1);
        printf("     cost: with %d threads %.2f us wall (least %.2f), %.2f us CPU\n", threads, 1e-3 * many.wall,
               1e-3 * many.least_wall, 1e-3 * many.cpu);
    }
    build_release(&b);
    return !ok;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kernels of 1 ms a call, one call a slice, against their own copies; then 20 calls of 50 us against 21, 5 % apart. */
static int decided(int n, double seconds)
{
    static const struct {
        int calls, incumbent;
        const char *name;
    } rows[] = {{1, 1, "its own copy"}, {20, 21, "5 % more work"}};
    build_result b;
    atn_error err = {0};
    atn_peaks peaks;
    race_rules rules = race_defaults();
    if (build_initial(&b)) return 2;
    machine_measure(0.1, &peaks);
    double *took = atn_alloc(sizeof *took * (size_t)(2 * n)), all[2] = {0};
    int races = 0, count = 0, lock;
    if (timing_lock(&lock, &err)) return fail(err.text);
    for (int r = 0; r < ATN_COUNT(rows); r++) {
        check_context c = {.tolerance = 1, .threads = 1, .cpu = judge_cpu(), .seed = rng_secret(), .program = "k"};
        control_series s = {0};
        int length = 0;
        if (control_length(&c, &peaks, b.so_fd, rows[r].calls, 1e6, &length, &err) ||
            control_many(&c, &peaks, &rules, b.so_fd, length, rows[r].calls, rows[r].incumbent, n, seconds / 2, &s, &err))
            return fail(err.text);
        for (int i = 0; i < s.races; i++)
            if (s.each[i].decision == RACE_PROMOTE || s.each[i].decision == RACE_DROP)
                took[count++] = s.each[i].seconds + s.each[i].setup_seconds;
        races += s.races;
        all[r] = s.median_seconds + s.median_setup_seconds;
        printf("     decided, against %s: %d races of s%d, %d promoted, %d dropped, %d ties, median %.2f s\n", rows[r].name,
               s.races, length, s.promoted, s.dropped, s.tied, all[r]);
        control_series_free(&s);
    }
    close(lock);
    qsort(took, (size_t)count, sizeof *took, by_value);
    double median = count ? took[count / 2] : INFINITY;
    bool ok = median < 1;
    printf("%s decided: %d of %d races of 1 ms decided, median %.2f s with the start of the workers\n", ok ? "ok" : "FAIL",
           count, races, median);
    free(took);
    build_release(&b);
    return !ok;
}

int main(int argc, char **argv)
{
    const char *part = argc > 1 ? argv[1] : "";
    int n = argc > 2 ? atoi(argv[2]) : 1;
    double seconds = argc > 3 ? atof(argv[3]) : 60;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(part, "zoo")) return play_zoo(n, seconds, argc > 4 && !strcmp(argv[4], "reduced"));
    if (!strcmp(part, "mutants")) return play_mutants(n, seconds);
    if (!strcmp(part, "honest")) return play_honest(n, seconds);
    if (!strcmp(part, "soak")) return soak(n, seconds);
    if (!strcmp(part, "cost")) return cost();
    if (!strcmp(part, "decided")) return decided(n, seconds);
    return fail("parts are zoo, mutants, honest, soak, cost, decided; see the first lines of long.c");
}
