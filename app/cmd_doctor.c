/* attune doctor: what works on this machine, what does not, and what to install; with --judge, proof that the judge
 * is awake.
 *
 * Plain doctor takes a few seconds: compilers, CPU, measured peaks, isolation, clocks, and a handful of A/A races
 * that say whether 1 % can be told from noise just now. --judge runs controls for --seconds and exits 1 where a rate
 * falls short. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/rng.h"
#include "cmd.h"
#include "judge/build.h"
#include "judge/control.h"
#include "judge/link.h"

enum { QUICK_RACES = 6, CALLS = 33, PLUS2_CALLS = 47, RACES_MAX = 1000 };
static const double QUICK_SECONDS = 4, SLICE_NS = 0.6e6, AA_RATE = 0.005, PLUS2_RATE = 0.95;

typedef struct {
    const atn_cli *cli;
    const atn_machine *machine;
    atn_peaks peaks;
    char compilers[2][96]; /* "" : absent */
    char compiler_advice[400];
    atn_isolation isolation;
    char layers[400];
    double handshake_wall_ns, handshake_cpu_ns;
    build_result program; /* the initial program: what the controls race */
    char program_trouble[600];
    control_series same, plus2;
    bool judged; /* the controls ran */
} diagnosis;

static const char *isolation_word(atn_isolation level)
{
    static const char *const words[] = {"none", "reduced", "full"};
    return words[level];
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static void look_at_compilers(diagnosis *d)
{
    static const char *const names[] = {"gcc", "clang"};
    atn_error err;
    for (int i = 0; i < ATN_COUNT(names); i++) {
        err = (atn_error){0};
        if (build_compiler(names[i], d->compilers[i], sizeof d->compilers[i], &err) != ATN_OK) {
            d->compilers[i][0] = 0;
            snprintf(d->compiler_advice, sizeof d->compiler_advice, "%.390s", err.text);
        }
    }
}

static void build_control(diagnosis *d)
{
    atn_error err = {0};
    char *path = file_join(file_home(), "examples/attention/initial_program.c"), *source = NULL;
    build_options o = {.whole_file = true};
    if (file_read(path, 1 << 20, &source, NULL, &err) || build_run(&o, source, NULL, &d->program, &err))
        snprintf(d->program_trouble, sizeof d->program_trouble, "%.590s", err.text);
    else if (d->program.reason != ATN_REASON_OK)
        snprintf(d->program_trouble, sizeof d->program_trouble, "%s: %.500s", reason_word(d->program.reason),
                 d->program.evidence);
    free(source);
    free(path);
}

static atn_status race_controls(diagnosis *d, bool judge, double seconds, atn_error *err)
{
    race_rules rules = race_defaults();
    check_context c = {
        .tolerance = 1, .threads = 1, .cpu = judge_cpu(), .seed = rng_secret(), .program = "the initial program"};
    int length = 0, lock = -1, fd = d->program.so_fd, races = judge ? RACES_MAX : QUICK_RACES;
    atn_status s = timing_lock(&lock, err);
    if (!s) s = control_length(&c, &d->peaks, fd, CALLS, SLICE_NS, &length, err);
    if (!s)
        s = control_many(&c, &d->peaks, &rules, fd, length, CALLS, CALLS, races, judge ? seconds / 2 : seconds,
                         &d->same, err);
    c.seed = rng_secret();
    if (!s && judge)
        s = control_many(&c, &d->peaks, &rules, fd, (int)(length * sqrt((double)CALLS / PLUS2_CALLS)), PLUS2_CALLS,
                         PLUS2_CALLS + 1, races, seconds / 2, &d->plus2, err);
    if (lock >= 0) close(lock);
    d->judged = !s;
    return s;
}

/* ---- saying ------------------------------------------------------------------------------------------------------ */

/* One race more or less than the rate allows is chance in a short series. */
static bool controls_hold(const diagnosis *d)
{
    bool ok = d->judged && d->same.promoted <= AA_RATE * d->same.races + (d->same.races < 200);
    if (d->plus2.races) ok = ok && d->plus2.promoted >= PLUS2_RATE * d->plus2.races - 1;
    return ok;
}

static void line(const char *name, bool good, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void line(const char *name, bool good, const char *format, ...)
{
    va_list args;
    printf("%s%-4s%s %-12s ", term_set(stdout, good ? TERM_GREEN : TERM_YELLOW), good ? "ok" : "!",
           term_set(stdout, TERM_PLAIN), name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void print_machine(const diagnosis *d)
{
    bool some = d->compilers[0][0] || d->compilers[1][0];
    line("compiler", some, "%s%s%s", d->compilers[0], d->compilers[0][0] && d->compilers[1][0] ? ", " : "",
         d->compilers[1]);
    if (!some) printf("     %-12s %s\n", "", d->compiler_advice);
    line("cpu", true, "%s, %d core%s for us", d->machine->cpu, d->machine->cpus, d->machine->cpus == 1 ? "" : "s");
    line("isa", strcmp(d->machine->isa, "generic") != 0, "%s (%s)", d->machine->isa, d->machine->features);
    line("caches", true, "L1d %lld KiB, L2 %lld KiB, L3 %lld KiB", (long long)d->machine->l1d_bytes >> 10,
         (long long)d->machine->l2_bytes >> 10, (long long)d->machine->l3_bytes >> 10);
    line("signature", true, "%s", d->machine->signature);
    line("peak", d->peaks.fma_peak_gflops > 0, "%.1f GFLOP/s f32 FMA on one core, %.1f GB/s read from memory",
         d->peaks.fma_peak_gflops, d->peaks.read_bandwidth_gbs);
}

static void print_judge(const diagnosis *d)
{
    line("isolation", d->isolation != ISOLATION_NONE, "%s", d->layers); /* begins with its level */
    if (d->isolation == ISOLATION_NONE)
        printf("     %-12s kernels will not be run here unless you pass --unsafe\n", "");
    line("hand-shake", d->handshake_wall_ns < 20e3, "%.1f us wall, %.1f us CPU, subtracted from every slice",
         1e-3 * d->handshake_wall_ns, 1e-3 * d->handshake_cpu_ns);
    if (d->program_trouble[0]) line("controls", false, "the initial program cannot be raced: %s", d->program_trouble);
    if (!d->judged) return;
    line("A/A", controls_hold(d),
         "%d races of a kernel with its own copy: %d promoted, %d ties, spread %.2f %% at 64 pairs", d->same.races,
         d->same.promoted, d->same.tied, 100 * d->same.spread);
    line("resolution", d->same.can_see_percent <= 1, "this machine resolves 1 %% now: %s (smallest gain seen: %.1f %%)",
         d->same.can_see_percent <= 1 ? "yes" : "no", d->same.can_see_percent);
    if (d->plus2.races)
        line("+2 %", controls_hold(d), "%d races against 2 %% more work: %d promoted, %.2f s a decided race",
             d->plus2.races, d->plus2.promoted, d->plus2.median_seconds);
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void print_json(const diagnosis *d)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:i}", "cpu", d->machine->cpu, "isa", d->machine->isa, "features",
                          d->machine->features, "signature", d->machine->signature, "cpus", d->machine->cpus);
    json_t *compilers = json_array();
    for (int i = 0; i < ATN_COUNT(d->compilers); i++)
        if (d->compilers[i][0]) json_array_append_new(compilers, json_string(d->compilers[i]));
    json_object_set_new(o, "compilers", compilers);
    json_object_set_new(o, "fma_peak_gflops", number(d->peaks.fma_peak_gflops));
    json_object_set_new(o, "read_bandwidth_gbs", number(d->peaks.read_bandwidth_gbs));
    json_object_set_new(o, "isolation", json_string(isolation_word(d->isolation)));
    json_object_set_new(o, "isolation_layers", json_string(d->layers));
    json_object_set_new(o, "handshake_us", number(1e-3 * d->handshake_wall_ns));
    if (d->program_trouble[0]) json_object_set_new(o, "trouble", json_string(d->program_trouble));
    if (d->judged) {
        json_object_set_new(o, "aa", json_pack("{s:i, s:i}", "races", d->same.races, "promoted", d->same.promoted));
        json_object_set_new(o, "aa_spread_percent", number(100 * d->same.spread));
        json_object_set_new(o, "can_see_percent", number(d->same.can_see_percent));
        json_object_set_new(o, "isolation_ms",
                            number(1e3 * d->same.median_setup_seconds / 2)); /* two processes a race */
    }
    if (d->plus2.races) {
        json_object_set_new(o, "plus2",
                            json_pack("{s:i, s:i}", "races", d->plus2.races, "promoted", d->plus2.promoted));
        json_object_set_new(o, "decided_race_seconds", number(d->plus2.median_seconds));
    }
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

int cmd_doctor(const atn_cli *c)
{
    atn_error err = {0};
    bool judge = cli_has(c, "judge");
    diagnosis d = {.cli = c, .machine = machine_get(), .program = {.so_fd = -1}};
    look_at_compilers(&d);
    machine_measure(0.4, &d.peaks);
    d.isolation = isolation_probe(d.layers, sizeof d.layers);
    link_overhead(&d.handshake_wall_ns, &d.handshake_cpu_ns);
    bool some = d.compilers[0][0] || d.compilers[1][0];
    if (some && d.isolation != ISOLATION_NONE) build_control(&d);
    if (d.program.so_fd >= 0 && race_controls(&d, judge, judge ? cli_real(c, "seconds", 60) : QUICK_SECONDS, &err))
        snprintf(d.program_trouble, sizeof d.program_trouble, "%.590s", err.text);
    if (c->json) {
        print_json(&d);
    } else {
        print_machine(&d);
        print_judge(&d);
    }
    bool works = some && d.isolation != ISOLATION_NONE && !d.program_trouble[0];
    build_release(&d.program);
    control_series_free(&d.same);
    control_series_free(&d.plus2);
    if (!works) return EXIT_USAGE;
    return judge && !controls_hold(&d) ? EXIT_INVALID : EXIT_VALID;
}
