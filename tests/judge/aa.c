/* aa: what the judge's race says when the answer is known, for real: N races of a kernel against its own copy, N
 * against itself with 2 % more work (48 calls against 47), N with 3 % (34 against 33), each in two fresh processes.
 *
 *     aa [-n races] [-s seconds per series] [-k 0|2|3] [-t ns per slice] [-o noise.txt] [-S suite races]
 *        [kernel.c [other.c]]
 *
 * -k plays the series of that many per cent only. -S adds races through the whole cascade on suite seed+readme:
 * kernel.c against its copy, or against other.c. -o writes the log-ratios of the A/A races (in millionths, one a line):
 * noise for tests/judge/t_race.c. Prints one line a series; exits 1 where a rate of the contract is missed (race.h:
 * A/A at most 5 of 1,000, +2 % and +3 % at least 95 %). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "judge/build.h"
#include "judge/control.h"
#include "judge/judge.h"

static int fail(const atn_error *err)
{
    fprintf(stderr, "aa: %s\n", err->text);
    return 2;
}

static void write_noise(const char *path, const control_series *s)
{
    FILE *f = fopen(path, "w");
    if (!f) return;
    for (int i = 0; i < s->races; i++)
        for (int k = 0; k < s->each[i].pairs; k++) fprintf(f, "%.0f\n", 1e6 * s->each[i].d[k]);
    fclose(f);
}

/* The cascade's own race, as an evolution runs it. Returns how many were promoted. */
static int suite_races(const build_result *candidate, const build_result *incumbent, int races, double *seconds,
                       atn_error *err)
{
    atn_suite suite = {0};
    atn_judge *j = NULL;
    judge_options o = judge_defaults();
    o.timing = &suite;
    int promoted = 0;
    atn_status s = suite_add(&suite, "seed", err);
    if (!s) s = suite_add(&suite, "readme", err);
    if (!s) s = judge_create(&o, &j, err);
    for (int i = 0; i < races && !s; i++) {
        atn_verdict v;
        s = judge_candidate(j, candidate, incumbent, ATN_STAGE_RACE, &v, err);
        printf("  %s %s: %s; %.2f s checking, %.2f s timing\n", stage_name(v.stage), reason_word(v.reason), v.evidence,
               v.seconds_check, v.seconds_race);
        fflush(stdout);
        promoted += v.promoted;
        *seconds += v.seconds_race / races;
    }
    judge_free(j);
    suite_free(&suite);
    return s ? -1 : promoted;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int percent, calls, incumbent;
        double least, most; /* share of races that may be promoted */
    } rows[] = {{"A/A", 0, 33, 33, 0, 0.005}, {"+2 %", 2, 47, 48, 0.95, 1}, {"+3 %", 3, 33, 34, 0.95, 1}};
    int races = 20, suite = 0, only = -1, option, bad = 0;
    double seconds = 60, ns = 0.6e6;
    const char *noise = NULL;
    while ((option = getopt(argc, argv, "n:s:k:t:o:S:")) != -1) {
        if (option == 'n') races = atoi(optarg);
        else if (option == 's') seconds = atof(optarg);
        else if (option == 'k') only = atoi(optarg);
        else if (option == 't') ns = atof(optarg);
        else if (option == 'o') noise = optarg;
        else if (option == 'S') suite = atoi(optarg);
        else return 2;
    }
    atn_error err = {0};
    char *path =
        optind < argc ? atn_strdup(argv[optind]) : file_join(file_home(), "examples/attention/initial_program.c");
    char *source = NULL;
    build_options o = {.whole_file = true};
    build_result b = {.so_fd = -1};
    if (file_read(path, 1 << 20, &source, NULL, &err) || build_run(&o, source, NULL, &b, &err)) return fail(&err);
    if (b.reason != ATN_REASON_OK) {
        fprintf(stderr, "aa: %s does not build: %s\n", path, b.evidence);
        return 2;
    }
    atn_peaks peaks;
    machine_measure(0.1, &peaks);
    race_rules rules = race_defaults();
    for (int i = 0; i < ATN_COUNT(rows) && races > 0; i++) {
        if (only >= 0 && rows[i].percent != only) continue;
        check_context c = {.tolerance = 1, .threads = 1, .cpu = judge_cpu(), .seed = rng_secret(), .program = path};
        control_series s = {0};
        int length, lock;
        if (timing_lock(&lock, &err) || control_length(&c, &peaks, b.so_fd, rows[i].calls, ns, &length, &err) ||
            control_many(&c, &peaks, &rules, b.so_fd, length, rows[i].calls, rows[i].incumbent, races, seconds, &s,
                         &err))
            return fail(&err);
        close(lock);
        /* In a short series one miss is chance. */
        int slack = s.races < 200;
        bool ok = s.promoted >= rows[i].least * s.races - slack && s.promoted <= rows[i].most * s.races + slack;
        printf("%-5s %d calls of s%d against %d: %d races: %d promoted, %d dropped, %d ties; seen %+.2f %%, spread at "
               "64 pairs %.2f %%, "
               "median %.0f pairs, %.3f s a decided race + %.1f ms start, can see %.2f %%%s\n",
               rows[i].name, rows[i].calls, length, rows[i].incumbent, s.races, s.promoted, s.dropped, s.tied,
               100 * expm1(s.median_log), 100 * s.spread, s.median_pairs, s.median_seconds,
               1e3 * s.median_setup_seconds, s.can_see_percent, ok ? "" : "  MISSED");
        fflush(stdout);
        bad += !ok;
        if (noise && i == 0) write_noise(noise, &s);
        control_series_free(&s);
    }
    if (suite) {
        build_result other = {.so_fd = -1};
        char *text = NULL;
        double seconds = 0;
        bool two = optind + 1 < argc;
        if (two && (file_read(argv[optind + 1], 1 << 20, &text, NULL, &err) || build_run(&o, text, NULL, &other, &err)))
            return fail(&err);
        int promoted = suite_races(&b, two ? &other : &b, suite, &seconds, &err);
        if (promoted < 0) return fail(&err);
        printf("suite %d races: %d promoted, %.2f s each\n", suite, promoted, seconds);
        build_release(&other);
        free(text);
    }
    build_release(&b);
    free(source);
    free(path);
    return bad ? 1 : 0;
}
