/* attune doctor: what works on this machine, what does not, and what to install; with --judge, proof that the judge
 * is awake.
 *
 * Plain doctor takes a few seconds: compilers, CPU, measured peaks, isolation, clocks, and a handful of A/A races
 * that say whether 1 % can be told from noise just now. --judge plays what has a known outcome for --seconds: the zoo of
 * cheats at this machine's level of isolation and at the reduced one, mutants, honest kernels, races of a kernel with
 * itself and with 2 % more work; it exits 1 where anything falls short. */
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
#include "evolve/evolve.h"
#include "judge/control.h"
#include "judge/link.h"
#include "judge/proof.h"
#include "judge/zoo.h"

enum { QUICK_RACES = 6, CALLS = 33, PLUS2_CALLS = 47, RACES_MAX = 1000 };
static const double QUICK_SECONDS = 4, SLICE_NS = 0.6e6, AA_RATE = 0.005, PLUS2_RATE = 0.95;
static const double HANDSHAKE_NS_MAX = 20e3, ISOLATION_MS_MAX = 15;
/* Shares of --seconds at which the trials at this level, the races and the trials at the reduced level end. */
static const double TRIALS_END = 0.45, RACES_END = 0.72, REDUCED_END = 0.96;

/* What became of the trials of one kind: names of what was not as it should be, and why. */
typedef struct {
    int total, right;
    int meetings, unmet;
    json_t *failed, *notes;
} tally;

typedef struct {
    const atn_cli *cli;
    const atn_machine *machine;
    atn_peaks peaks;
    char compilers[2][96]; /* "" : absent */
    char compiler_advice[400];
    atn_isolation isolation;
    char layers[400];
    link_cost handshake; /* of one thread, where races run */
    build_result program; /* the initial program: what the controls race */
    char program_trouble[600];
    control_series same, plus2;
    bool judged; /* the controls ran */
    bool proved; /* so did the trials */
    proof_list here, reduced;
    tally zoo, honest, mutants;
    double isolation_ms;
    char proof_trouble[400];
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
    double end = clock_s() + seconds;
    atn_status s = timing_lock(&lock, err);
    if (!s) s = control_length(&c, &d->peaks, fd, CALLS, SLICE_NS, &length, err);
    if (!s)
        s = control_many(&c, &d->peaks, &rules, fd, length, CALLS, CALLS, races,
                         (judge ? 0.5 : 1) * (end - clock_s()), &d->same, err);
    c.seed = rng_secret();
    if (!s && judge)
        s = control_many(&c, &d->peaks, &rules, fd, (int)(length * sqrt((double)CALLS / PLUS2_CALLS)), PLUS2_CALLS,
                         PLUS2_CALLS + 1, races, end - clock_s(), &d->plus2, err);
    if (lock >= 0) close(lock);
    d->judged = !s;
    return s;
}

/* ---- proving ----------------------------------------------------------------------------------------------------- */

/* Those that build soonest first. */
static void add_honest(proof_list *l)
{
    static const char *const plain[] = {"examples/attention/initial_program.c", "src/kernel/ref/plain.c"};
    char *shipped[EVOLVE_SHIPPED_MAX];
    for (int i = 0; i < ATN_COUNT(plain); i++) {
        char *path = file_join(file_home(), plain[i]);
        if (file_exists(path)) proof_add_honest(l, path);
        free(path);
    }
    int n = evolve_shipped(shipped);
    for (int i = 0; i < n; i++) {
        proof_add_honest(l, shipped[i]);
        free(shipped[i]);
    }
}

/* First what every minute should show, some of each from the start (a kernel of ours takes seconds to build where the
 * machine is busy), then what repeats it another way. */
static void list_trials(diagnosis *d)
{
    char *zoo = zoo_folder();
    if (!zoo) {
        snprintf(d->proof_trouble, sizeof d->proof_trouble, "no zoo under '%.300s'; set ATTUNE_HOME", file_home());
        return;
    }
    char *mutants = file_join(zoo, "../mutants.c");
    proof_list parts[3] = {0};
    proof_add_zoo(&parts[0], zoo, false);
    if (proof_add_mutants(&parts[1], mutants) < 0)
        snprintf(d->proof_trouble, sizeof d->proof_trouble, "no mutants in '%.300s'", mutants);
    add_honest(&parts[2]);
    proof_merge(&d->here, parts, ATN_COUNT(parts));
    proof_add_zoo(&d->here, zoo, true);
    if (d->isolation == ISOLATION_FULL) {
        proof_add_zoo(&d->reduced, zoo, true);
        proof_add_zoo(&d->reduced, zoo, false);
    }
    for (int i = 0; i < 8; i++) add_honest(&d->reduced); /* the rest of the time: fresh inputs each time */
    free(mutants);
    free(zoo);
}

static bool in_array(const json_t *array, const char *word)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!strcmp(json_string_value(json_array_get(array, i)), word)) return true;
    return false;
}

static void count_trials(tally *t, const proof_list *l, proof_kind first, proof_kind last)
{
    for (int i = 0; i < l->n; i++) {
        const proof_trial *p = &l->trials[i];
        if (p->kind < first || p->kind > last) continue;
        if (!p->done) t->unmet++;
        t->meetings += p->tried;
        if (p->right == p->tried || in_array(t->failed, p->name)) continue;
        json_array_append_new(t->failed, json_string(p->name));
        char *words = atn_format("%s%s%s: %s", p->name, p->kind == PROOF_BEHIND ? " behind the gate" : "",
                                 p->reduced ? " at reduced isolation" : "", p->note);
        json_array_append_new(t->notes, json_string(words));
        free(words);
    }
}

/* Animals and mutants are counted once each, however often they were met; honest kernels by the run. */
static void tally_trials(diagnosis *d)
{
    tally *all[] = {&d->zoo, &d->mutants, &d->honest};
    for (int i = 0; i < ATN_COUNT(all); i++) all[i]->failed = json_array(), all[i]->notes = json_array();
    count_trials(&d->zoo, &d->here, PROOF_ZOO, PROOF_BEHIND);
    count_trials(&d->zoo, &d->reduced, PROOF_ZOO, PROOF_BEHIND);
    count_trials(&d->mutants, &d->here, PROOF_MUTANT, PROOF_MUTANT);
    count_trials(&d->honest, &d->here, PROOF_HONEST, PROOF_HONEST);
    count_trials(&d->honest, &d->reduced, PROOF_HONEST, PROOF_HONEST);
    for (int i = 0; i < d->here.n; i++) {
        const proof_trial *p = &d->here.trials[i];
        bool honest_animal = p->kind == PROOF_ZOO && !strcmp(p->name, "honest");
        d->zoo.total += p->kind == PROOF_ZOO && p->tried && !honest_animal;
        d->mutants.total += p->kind == PROOF_MUTANT && p->tried;
    }
    d->zoo.right = d->zoo.total - (int)json_array_size(d->zoo.failed);
    d->mutants.right = d->mutants.total - (int)json_array_size(d->mutants.failed);
    d->honest.total = d->honest.meetings;
    for (int i = 0; i < ATN_COUNT(all); i++) {
        int seen = all[i] == &d->honest ? d->honest.total : all[i]->total;
        if (!seen) json_array_append_new(all[i]->notes, json_string("not enough time for any; --seconds gives more"));
    }
    const proof_list *lists[] = {&d->here, &d->reduced};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < lists[k]->n; i++)
            if (lists[k]->trials[i].kind == PROOF_HONEST) d->honest.right += lists[k]->trials[i].right;
}

static void trouble(diagnosis *d, const atn_error *err)
{
    snprintf(d->proof_trouble, sizeof d->proof_trouble, "%.390s", err->text);
}

/* The trials keep every core busy, so the races have a time of their own between them. */
static void prove(diagnosis *d, double start, double seconds, atn_error *err)
{
    atn_error e = {0};
    list_trials(d);
    if (proof_play(&d->here, false, start + TRIALS_END * seconds - clock_s(), &e)) trouble(d, &e);
    if (proof_isolation_ms(d->program.so_fd, &d->isolation_ms, &e)) trouble(d, &e);
    d->handshake = link_overhead(1, judge_cpu());
    if (race_controls(d, true, ATN_MAX(start + RACES_END * seconds - clock_s(), 2), err))
        snprintf(d->program_trouble, sizeof d->program_trouble, "%.590s", err->text);
    if (proof_play(&d->reduced, d->isolation == ISOLATION_FULL, start + REDUCED_END * seconds - clock_s(), &e))
        trouble(d, &e);
    tally_trials(d);
    d->proved = true;
}

/* ---- saying ------------------------------------------------------------------------------------------------------ */

/* One race more or less than the rate allows is chance in a short series. */
static bool same_holds(const diagnosis *d)
{
    return d->judged && d->same.races && d->same.promoted <= AA_RATE * d->same.races + (d->same.races < 200);
}

static bool plus2_holds(const diagnosis *d)
{
    return d->judged && d->plus2.races && d->plus2.promoted >= PLUS2_RATE * d->plus2.races - 1;
}

static bool tally_holds(const tally *t)
{
    return t->total > 0 && t->right == t->total && json_array_size(t->failed) == 0;
}

/* Everything that --judge promises. That the time did not suffice for some trials is said, and is no failure; a part of
 * which nothing was seen is one. */
static bool all_hold(const diagnosis *d)
{
    return d->proved && !d->proof_trouble[0] && tally_holds(&d->zoo) && tally_holds(&d->honest) &&
           tally_holds(&d->mutants) && same_holds(d) && plus2_holds(d) && d->handshake.wall <= HANDSHAKE_NS_MAX &&
           d->isolation_ms <= ISOLATION_MS_MAX;
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

static void print_notes(const tally *t)
{
    for (size_t i = 0; i < json_array_size(t->notes); i++)
        printf("     %-12s %s\n", "", json_string_value(json_array_get(t->notes, i)));
}

static void print_trials(const diagnosis *d)
{
    line("start", d->isolation_ms <= ISOLATION_MS_MAX, "%.1f ms to start, lock down and end one isolated process",
         d->isolation_ms);
    line("zoo", tally_holds(&d->zoo), "%d of %d cheats refused for the right reason, in %d meetings%s", d->zoo.right,
         d->zoo.total, d->zoo.meetings,
         d->isolation == ISOLATION_FULL ? " at full and at reduced isolation, before and behind the gate"
                                        : ", before and behind the gate");
    print_notes(&d->zoo);
    line("mutants", tally_holds(&d->mutants), "%d of %d kernels with one mistake refused", d->mutants.right,
         d->mutants.total);
    print_notes(&d->mutants);
    line("honest", tally_holds(&d->honest), "%d of %d runs of honest kernels refused", d->honest.total - d->honest.right,
         d->honest.total);
    print_notes(&d->honest);
    int unmet = d->zoo.unmet + d->mutants.unmet;
    if (unmet) printf("     %-12s the time did not suffice for %d trials; --seconds gives more\n", "", unmet);
}

static void print_judge(const diagnosis *d)
{
    line("isolation", d->isolation != ISOLATION_NONE, "%s", d->layers); /* begins with its level */
    if (d->isolation == ISOLATION_NONE)
        printf("     %-12s kernels will not be run here unless you pass --unsafe\n", "");
    line("hand-shake", d->handshake.wall <= HANDSHAKE_NS_MAX, "%.1f us wall, %.1f us CPU, subtracted from every slice",
         1e-3 * d->handshake.wall, 1e-3 * d->handshake.cpu);
    if (d->program_trouble[0]) line("controls", false, "the initial program cannot be raced: %s", d->program_trouble);
    if (d->proof_trouble[0]) line("trials", false, "%s", d->proof_trouble);
    if (d->proved) print_trials(d);
    if (!d->judged) return;
    if (d->proved && !(d->same.races && d->plus2.races)) line("races", false, "not enough time for both kinds of race");
    line("A/A", same_holds(d),
         "%d races of a kernel with its own copy: %d promoted, %d ties, spread %.2f %% at 64 pairs", d->same.races,
         d->same.promoted, d->same.tied, 100 * d->same.spread);
    line("resolution", d->same.can_see_percent <= 1, "this machine resolves 1 %% now: %s (smallest gain seen: %.1f %%)",
         d->same.can_see_percent <= 1 ? "yes" : "no", d->same.can_see_percent);
    if (d->plus2.races)
        line("+2 %", plus2_holds(d), "%d races against 2 %% more work: %d promoted, %.2f s a decided race",
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
    json_object_set_new(o, "handshake_us", number(1e-3 * d->handshake.wall));
    if (d->program_trouble[0]) json_object_set_new(o, "trouble", json_string(d->program_trouble));
    if (d->judged) {
        json_object_set_new(o, "aa", json_pack("{s:i, s:i}", "races", d->same.races, "promoted", d->same.promoted));
        json_object_set_new(o, "aa_spread_percent", number(100 * d->same.spread));
        json_object_set_new(o, "can_see_percent", number(d->same.can_see_percent));
    }
    if (d->plus2.races) {
        json_object_set_new(o, "plus2",
                            json_pack("{s:i, s:i}", "races", d->plus2.races, "promoted", d->plus2.promoted));
        json_object_set_new(o, "decided_race_seconds", number(d->plus2.median_seconds));
    }
    if (d->proved) {
        json_object_set_new(o, "zoo",
                            json_pack("{s:i, s:i, s:O, s:O, s:i, s:i}", "total", d->zoo.total, "refused", d->zoo.right,
                                      "survivors", d->zoo.failed, "notes", d->zoo.notes, "meetings", d->zoo.meetings,
                                      "unmet", d->zoo.unmet));
        json_object_set_new(o, "honest",
                            json_pack("{s:i, s:i, s:O}", "total", d->honest.total, "refused",
                                      d->honest.total - d->honest.right, "notes", d->honest.notes));
        json_object_set_new(o, "mutants",
                            json_pack("{s:i, s:i, s:O, s:i}", "total", d->mutants.total, "killed", d->mutants.right,
                                      "survivors", d->mutants.notes, "unmet", d->mutants.unmet));
        json_object_set_new(o, "isolation_ms", number(d->isolation_ms));
        if (d->proof_trouble[0]) json_object_set_new(o, "proof_trouble", json_string(d->proof_trouble));
        json_object_set_new(o, "ok", json_boolean(all_hold(d)));
    }
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

static void release(diagnosis *d)
{
    tally *all[] = {&d->zoo, &d->mutants, &d->honest};
    for (int i = 0; i < ATN_COUNT(all); i++) {
        json_decref(all[i]->failed);
        json_decref(all[i]->notes);
    }
    proof_free(&d->here);
    proof_free(&d->reduced);
    build_release(&d->program);
    control_series_free(&d->same);
    control_series_free(&d->plus2);
}

int cmd_doctor(const atn_cli *c)
{
    atn_error err = {0};
    bool judge = cli_has(c, "judge");
    double start = clock_s(), seconds = cli_real(c, "seconds", 60);
    diagnosis d = {.cli = c, .machine = machine_get(), .program = {.so_fd = -1}};
    look_at_compilers(&d);
    machine_measure(0.4, &d.peaks);
    d.isolation = isolation_probe(d.layers, sizeof d.layers);
    if (!judge) d.handshake = link_overhead(1, judge_cpu());
    bool some = d.compilers[0][0] || d.compilers[1][0];
    if (some && d.isolation != ISOLATION_NONE) build_control(&d);
    if (d.program.so_fd >= 0 && judge) prove(&d, start, seconds, &err);
    else if (d.program.so_fd >= 0 && race_controls(&d, false, QUICK_SECONDS, &err))
        snprintf(d.program_trouble, sizeof d.program_trouble, "%.590s", err.text);
    if (c->json) {
        print_json(&d);
    } else {
        print_machine(&d);
        print_judge(&d);
    }
    bool works = some && d.isolation != ISOLATION_NONE && !d.program_trouble[0], holds = !judge || all_hold(&d);
    release(&d);
    return !works ? EXIT_USAGE : holds ? EXIT_VALID : EXIT_INVALID;
}
