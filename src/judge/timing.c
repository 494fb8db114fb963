/* Timed slices, and the checks of every timed output. See timing.h for what is promised.
 *
 * Order within a pair: fill the inputs, poison outputs (worker_call), run side one, run side two, check both. All
 * checks come after both slices, so that they disturb both sides alike; the reference row is computed once for both. */
#include "judge/timing.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "judge/link.h"
#include "judge/sandbox.h"
#include "problem/reference.h"

enum { SLOTS_MAX = 16, CANDIDATE = 0, INCUMBENT = 1 };
static const double SLICE_NS = 250e3; /* 0.2 to 0.4 ms: shorter is lost in the hand-shake, longer sees neighbours */
static const int64_t JOB_BYTES_MAX = 48 << 20;
static const double PEAKED_SHARE = 0.15; /* of slices have a slot with dominating keys */
static const double REUSED_SHARE = 0.25; /* of pairs find outputs as a program would, not poison */
static const double SUSPECT = 0.5;       /* tolerances between the two sides' rows, from where the reference is asked */
static const double CHECK_SHARE = 0.25;  /* of a pair's own time may go to reference rows */
static const double IMPOSSIBLE = 0.9;    /* of the physical minimum */
enum { ALARM_PAIRS = 12 };
enum { FEW_VALUES = 8 }; /* of so few the norm is now and then, among all rows, as small as their error */
static const double ALARM_PEAK_SECONDS = 0.02;

typedef struct {
    timing_case spec;
    timing_samples s;
    int job, slots, rounds; /* rounds: hand-shakes in a slice; more than one only where calls are prescribed */
    bool warm, refused;
    check_item item;
} case_state;

struct atn_timing {
    check_context c;
    atn_stage stage;
    atn_peaks peaks;
    atn_arena *arena;
    atn_worker *worker[2];
    case_state *cases;
    int n;
    int nice;         /* this thread's own priority, to go back to */
    int fd[2], first; /* which side's process starts first: it gets other memory */
    double hand_wall, hand_cpu, late_us;
    double hand_slack; /* how much less than what is subtracted a hand-shake may have cost */
    atn_rng rng;
    double *row, *work;
    double row_ns_per_mac; /* cost of a reference row on this machine, learnt as we go */
};

/* ---- the machine ------------------------------------------------------------------------------------------------- */

int judge_cpu(void)
{
    static int cached = -2;
    cpu_set_t set;
    if (cached != -2) return cached;
    cached = -1;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int i = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &set)) cached = i;
    return cached;
}

void (*timing_lock_waits)(void);

/* One that waits says so once: a machine shared by several is waited for again and again. */
static void say_waiting(double since)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    if (timing_lock_waits && clock_s() - since > 1 && !atomic_flag_test_and_set(&said)) timing_lock_waits();
}

enum { LOCK_POLL_NS = 5000000 }; /* a judge that gives up must not be left waiting for somebody else's race */

/* file_lock would create the file for its owner alone; this one is shared by every user of the machine, and in a sticky
 * folder a file of another user may be opened but not created over. */
atn_status timing_lock(int *fd, atn_error *err)
{
    const char *path = getenv("ATTUNE_LOCK");
    if (!path || !path[0]) path = "/tmp/attune-timing.lock";
    int f = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (f < 0 && errno == ENOENT) {
        f = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (f >= 0) (void)!fchmod(f, 0666);
        else if (errno == EEXIST) f = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    if (f < 0)
        return atn_fail(err, ATN_IO,
                        "cannot open the timing lock '%s': %s; set ATTUNE_LOCK to a file that you may write", path,
                        strerror(errno));
    const double since = clock_s();
    while (flock(f, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        say_waiting(since);
        if ((why == EWOULDBLOCK || why == EINTR) && !link_given_up()) {
            nanosleep(&(struct timespec){.tv_nsec = LOCK_POLL_NS}, NULL);
            continue;
        }
        close(f);
        errno = why;
        if (link_given_up()) return atn_fail(err, ATN_CANCELLED, "given up while waiting for the timing lock");
        return atn_fail(err, ATN_IO, "cannot take the timing lock '%s': %s", path, strerror(errno));
    }
    *fd = f;
    return ATN_OK;
}

/* How many times the f32 FMA peak a type may reach: half types have instructions of their own on some machines, and
 * a kernel may lawfully use them. */
static double peak_factor(const atn_problem *p)
{
    if (p->dtype_q == ATN_F32 && p->dtype_kv == ATN_F32) return 1;
    if (machine_has("amx_bf16") || machine_has("amx_fp16")) return 16;
    return 4;
}

double timing_floor_ns(const atn_problem *p, const atn_peaks *peaks, int threads)
{
    if (p->mask >= 0 || peaks->fma_peak_gflops <= 0) return 0;
    double peak = peaks->fma_peak_gflops * peak_factor(p) * threads; /* flop per ns */
    double l1 = 2 * peaks->fma_peak_gflops * threads; /* bytes per ns: one operand of every FMA from memory */
    return ATN_MAX(problem_flops(p) / peak, problem_bytes(p) / l1);
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

static int64_t slot_bytes(const atn_problem *p)
{
    atn_layout l;
    int64_t sum = 0;
    problem_layout(p, &l);
    for (int i = 0; i < ATN_T_COUNT; i++) sum += l.bytes[i];
    return sum;
}

static int slots_for(const atn_problem *p, const atn_peaks *peaks, int threads)
{
    double floor = timing_floor_ns(p, peaks, threads);
    double ns = ATN_MAX(1.2 * floor, 1000.0);
    int slots = (int)(SLICE_NS / ns) + 1;
    int64_t room = JOB_BYTES_MAX / ATN_MAX(slot_bytes(p), 1);
    return (int)ATN_MAX(1, ATN_MIN(ATN_MIN(slots, SLOTS_MAX), room));
}

/* Being preempted costs no CPU time but caches, and doubles the spread of log-ratios (measured beside busy compilers).
 * Workers inherit the priority. Needs root or RLIMIT_NICE; without, races only take longer. */
static void raise_priority(atn_timing *t)
{
    t->nice = getpriority(PRIO_PROCESS, 0);
    (void)!setpriority(PRIO_PROCESS, 0, -15);
}

/* The incumbent's failure: its verdict for whoever asked for it, and a status, because no candidate is to blame. */
static atn_status blame_incumbent(const atn_timing *t, const case_state *k, atn_verdict *w, const char *what,
                                  atn_error *err)
{
    if (w->reason == ATN_REASON_OK) check_fail(w, t->stage, ATN_REASON_REFUSED, &t->c, &k->item, "can_run says no");
    else if (k && !w->reproduce[0]) check_locate(w, t->stage, &t->c, &k->item);
    w->stage = t->stage;
    if (t->c.incumbent) *t->c.incumbent = *w;
    return atn_fail(err, ATN_PROCESS, "the incumbent, judged correct before, %s: %s", what, w->evidence);
}

static atn_status start_side(atn_timing *t, int side, int so_fd, atn_verdict *v, atn_error *err)
{
    worker_options o = {.threads = t->c.threads, .cpu = t->c.cpu, .cpu_seconds = 600.0 * t->c.threads};
    atn_verdict other = {0};
    atn_verdict *w = side == CANDIDATE ? v : &other;
    atn_status s = worker_start(&o, so_fd, t->arena, &t->worker[side], w, err);
    if (s != ATN_OK || t->worker[side]) return s;
    if (side == INCUMBENT) return blame_incumbent(t, NULL, w, "does not start", err);
    v->stage = t->stage;
    return ATN_OK;
}

static atn_status start_sides(atn_timing *t, atn_verdict *v, atn_error *err)
{
    atn_status s = ATN_OK;
    for (int i = 0; i < 2 && s == ATN_OK && v->reason == ATN_REASON_OK; i++) {
        int side = i ^ t->first;
        if (t->fd[side] >= 0) s = start_side(t, side, t->fd[side], v, err);
    }
    return s;
}

atn_status timing_restart(atn_timing *t, atn_verdict *v, atn_error *err)
{
    for (int side = 0; side < 2; side++) {
        worker_free(t->worker[side]);
        t->worker[side] = NULL;
    }
    t->first = !t->first;
    for (int i = 0; i < t->n; i++) t->cases[i].warm = false;
    return start_sides(t, v, err);
}

/* can_run and plan of both sides; sizes of workspaces. */
static atn_status ask_plans(atn_timing *t, atn_verdict *v, atn_error *err)
{
    for (int i = 0; i < t->n; i++)
        for (int side = 0; side < 2 && t->worker[side]; side++) {
            case_state *k = &t->cases[i];
            int can_run = 0;
            atn_plan plan = {0};
            atn_verdict other = {0}, *w = side == CANDIDATE ? v : &other;
            bool ok = worker_plan(t->worker[side], k->job, &can_run, &plan, w);
            if (side == INCUMBENT && !(ok && can_run))
                return blame_incumbent(t, k, w, "cannot run a timing case", err);
            if (!ok) {
                check_locate(v, t->stage, &t->c, &k->item);
                return ATN_OK;
            }
            if (!can_run) {
                check_fail(v, t->stage, ATN_REASON_REFUSED, &t->c, &k->item, "can_run says no to a timing case");
                return ATN_OK;
            }
            if (side == CANDIDATE) k->s.workspace_bytes = plan.shared_bytes + plan.scratch_bytes * t->c.threads;
        }
    return ATN_OK;
}

static void lay_out_jobs(atn_timing *t, const timing_case *cases, const atn_peaks *peaks, atn_job *jobs)
{
    int longest = 1, widest = 1;
    for (int i = 0; i < t->n; i++) {
        case_state *k = &t->cases[i];
        const atn_problem *p = &cases[i].problem;
        int most = ATN_MAX(cases[i].calls[CANDIDATE], cases[i].calls[INCUMBENT]);
        k->spec = cases[i];
        k->rounds = (most + SLOTS_MAX - 1) / SLOTS_MAX;
        k->slots = most ? (most + k->rounds - 1) / k->rounds : slots_for(p, peaks, t->c.threads);
        k->rounds = ATN_MAX(k->rounds, 1);
        k->item = (check_item){.problem = *p, .data = ATN_DATA_NORMAL};
        k->s.floor_ns = timing_floor_ns(p, peaks, t->c.threads);
        k->s.ns_min = k->s.incumbent_ns_min = INFINITY;
        k->job = i;
        jobs[i] = (atn_job){.problem = *p, .slots = k->slots};
        longest = ATN_MAX(longest, p->Skv);
        widest = ATN_MAX(widest, p->Dv);
    }
    t->row = atn_alloc(sizeof(double) * (size_t)widest);
    t->work = atn_alloc(sizeof(double) * (size_t)longest);
}

atn_status timing_open(const check_context *c, atn_stage stage, const atn_peaks *peaks, const timing_case *cases, int n,
                       int candidate_fd, int incumbent_fd, atn_timing **out, atn_verdict *v, atn_error *err)
{
    atn_timing *t = atn_alloc(sizeof *t);
    *t = (atn_timing){
        .c = *c, .stage = stage, .peaks = *peaks, .n = n, .rng = rng_make(c->seed, 9, 0), .row_ns_per_mac = 1};
    t->cases = atn_alloc((size_t)n * sizeof *t->cases);
    atn_job *jobs = atn_alloc((size_t)n * sizeof *jobs);
    lay_out_jobs(t, cases, peaks, jobs);
    v->stage = stage;
    sandbox_set_timing_cpu(c->cpu);
    raise_priority(t);
    link_cost hand = link_overhead(c->threads, c->cpu);
    t->hand_wall = hand.wall;
    t->hand_cpu = hand.cpu;
    t->hand_slack = c->threads == 1 ? hand.cpu - hand.least_cpu : hand.wall - hand.least_wall;
    t->fd[CANDIDATE] = candidate_fd;
    t->fd[INCUMBENT] = incumbent_fd;
    t->first = (int)rng_below(&t->rng, 2);
    atn_status s = arena_create(jobs, n, &t->arena, err);
    if (s == ATN_OK) s = start_sides(t, v, err);
    if (s == ATN_OK && v->reason == ATN_REASON_OK) s = ask_plans(t, v, err);
    free(jobs);
    if (s != ATN_OK || v->reason != ATN_REASON_OK) {
        timing_close(t);
        t = NULL;
    }
    *out = t;
    return s;
}

void timing_close(atn_timing *t)
{
    if (!t) return;
    worker_free(t->worker[CANDIDATE]);
    worker_free(t->worker[INCUMBENT]);
    arena_free(t->arena);
    setpriority(PRIO_PROCESS, 0, t->nice);
    free(t->cases);
    free(t->row);
    free(t->work);
    free(t);
}

pid_t timing_pid(const atn_timing *t)
{
    return worker_pid(t->worker[CANDIDATE]);
}

const timing_samples *timing_get(const atn_timing *t, int index)
{
    return &t->cases[index].s;
}
double timing_late_us(const atn_timing *t)
{
    return t->late_us;
}

/* ---- one slice --------------------------------------------------------------------------------------------------- */

/* Returns the index of the slot with dominating keys, -1 for none. */
static int fill_inputs(atn_timing *t, const case_state *k, int calls)
{
    uint64_t seed = rng_u64(&t->rng);
    int peaked = rng_f64(&t->rng) < PEAKED_SHARE ? (int)rng_below(&t->rng, (uint32_t)calls) : -1;
    const atn_layout *l = arena_layout(t->arena, k->job);
    for (int s = 0; s < calls; s++) {
        const atn_args *args = arena_args(t->arena, k->job, s);
        if (s == peaked) {
            atn_rng r = rng_make(seed, 4, (uint64_t)s);
            data_fill(&k->spec.problem, l, args, ATN_DATA_NEEDLE, &r);
        } else {
            data_fill_fast(&k->spec.problem, l, args, rng_mix(seed + (uint64_t)s));
        }
    }
    return peaked;
}

/* Reads one byte of each cache line of a slot's q, k and v. */
static void touch(const atn_args *a, const atn_layout *l)
{
    const void *const tensors[] = {a->q.ptr, a->k.ptr, a->v.ptr};
    for (int t = 0; t < 3; t++)
        for (int64_t i = 0; i < l->bytes[t]; i += 64) (void)((const volatile char *)tensors[t])[i];
}

/* Time of one call in ns; < 0: the side failed. Who runs second finds inputs that the first has pushed out of the
 * cache: 4 % of a 2 MB problem (measured). So the inputs are read once before either. */
static double run_slice(atn_timing *t, const case_state *k, int side, int calls, atn_verdict *v)
{
    double limit = accuracy_timeout(&k->spec.problem) * calls, total = 0;
    int prescribed = k->spec.calls[side];
    for (int slot = 0; slot < calls; slot++) touch(arena_args(t->arena, k->job, slot), arena_layout(t->arena, k->job));
    for (int r = 0; r < k->rounds; r++) {
        int n = prescribed ? prescribed / k->rounds + (r < prescribed % k->rounds) : calls;
        worker_time w;
        if (!worker_call(t->worker[side], k->job, 0, n, limit, &w, v)) return -1;
        if (side == CANDIDATE) t->late_us = ATN_MAX(t->late_us, w.late_ns * 1e-3);
        total += t->c.threads == 1 ? w.cpu_ns - t->hand_cpu : w.wall_ns - t->hand_wall;
    }
    return ATN_MAX(total / ((double)calls * k->rounds), 1.0);
}

/* ---- checks of timed outputs ------------------------------------------------------------------------------------- */

typedef struct {
    int slot, b, h, i;
} row_name;

static double lse_of(const atn_args *a, row_name r)
{
    return (double)a->lse[((int64_t)r.b * a->Hq + r.h) * a->Sq + r.i];
}

/* Relative L2 of one output row against t->row. */
static double row_error(const atn_timing *t, const atn_args *a, row_name r)
{
    double diff = 0, norm = 0;
    for (int c = 0; c < a->Dv; c++) {
        double x = tensor_get(&a->o, r.b, r.h, r.i, c), e = x - t->row[c];
        diff += e * e;
        norm += t->row[c] * t->row[c];
    }
    return norm > 0 ? sqrt(diff / norm) : sqrt(diff);
}

static bool check_row(atn_timing *t, case_state *k, row_name r, int peaked, atn_verdict *v, atn_error *err,
                      atn_status *s)
{
    const atn_args *in = arena_args(t->arena, k->job, r.slot);
    int64_t start = clock_ns();
    double lse;
    reference_row(in, r.b, r.h, r.i, t->row, &lse, t->work);
    double macs = (double)in->Skv * (in->D + in->Dv + 16);
    t->row_ns_per_mac = 0.9 * t->row_ns_per_mac + 0.1 * (double)(clock_ns() - start) / macs;
    int kind = r.slot == peaked ? ATN_DATA_NEEDLE : ATN_DATA_NORMAL;
    atn_tolerance tol = tolerance_for(&k->spec.problem, kind, t->c.tolerance);
    for (int side = 0; side < 2 && t->worker[side]; side++) {
        const atn_args *out = worker_args(t->worker[side], k->job, r.slot);
        double e = row_error(t, out, r), l = out->lse ? lse_apart(lse_of(out, r), lse) : 0;
        if (side == CANDIDATE && !(e <= k->s.error)) k->s.error = e;
        if (e <= tol.row_worst && l <= tol.lse) continue;
        bool of_lse = e <= tol.row_worst;
        atn_verdict other = {0};
        k->item.data = (atn_data)kind;
        check_fail(side == CANDIDATE ? v : &other, t->stage, ATN_REASON_WRONG, &t->c, &k->item,
                   "wrong while timed: %sb%d h%d row %d of call %d in a slice is off by %.3g%s (allowed %.3g)",
                   of_lse ? "the log-sum-exp of " : "", r.b, r.h, r.i, r.slot, of_lse ? l : e,
                   of_lse ? "" : " relative L2", of_lse ? tol.lse : tol.row_worst);
        if (side == INCUMBENT) *s = blame_incumbent(t, k, &other, "gave a wrong row", err);
        return false;
    }
    k->s.rows_checked++;
    return true;
}

/* How many rows to check in this pair: at least one; as many as CHECK_SHARE of the pair's time pays for; a handful
 * at most. */
static int rows_to_check(const atn_timing *t, const case_state *k, double pair_ns)
{
    double row_ns = t->row_ns_per_mac * k->spec.problem.Skv * (k->spec.problem.D + k->spec.problem.Dv + 16);
    return (int)ATN_MAX(1, ATN_MIN(8, CHECK_SHARE * pair_ns / row_ns));
}

static bool check_outputs(atn_timing *t, case_state *k, int calls, int peaked, double pair_ns, atn_verdict *v,
                          atn_error *err, atn_status *s)
{
    /* With prescribed calls the last hand-shake used fewer slots than the first: only those hold fresh outputs. */
    for (int side = 0; side < 2 && k->spec.calls[side]; side++) calls = ATN_MIN(calls, k->spec.calls[side] / k->rounds);
    if (peaked >= calls) peaked = -1;
    row_name suspect = {0};
    double apart = 0;
    for (int slot = 0; slot < calls; slot++) {
        const atn_args *out = worker_args(t->worker[CANDIDATE], k->job, slot);
        int64_t poison = poison_count(out);
        k->s.outputs_checked++;
        if (poison > 0) {
            check_fail(v, t->stage, ATN_REASON_UNWRITTEN, &t->c, &k->item,
                       "left %lld output elements unwritten in call %d of a timed slice", (long long)poison, slot);
            return false;
        }
        if (!t->worker[INCUMBENT] || k->spec.problem.Dv < FEW_VALUES) continue;
        atn_tolerance tol = tolerance_for(&k->spec.problem, slot == peaked ? ATN_DATA_NEEDLE : ATN_DATA_NORMAL,
                                          t->c.tolerance);
        atn_apart far = outputs_apart(out, worker_args(t->worker[INCUMBENT], k->job, slot), &tol);
        if (far.tolerances > apart) apart = far.tolerances, suspect = (row_name){slot, far.b, far.h, far.i};
    }
    if (apart > SUSPECT && !check_row(t, k, suspect, peaked, v, err, s)) return false;
    int rows = rows_to_check(t, k, pair_ns);
    const atn_problem *p = &k->spec.problem;
    for (int i = 0; i < rows; i++) {
        row_name r = {.slot = (int)rng_below(&t->rng, (uint32_t)calls),
                      .b = (int)rng_below(&t->rng, (uint32_t)p->B),
                      .h = (int)rng_below(&t->rng, (uint32_t)p->Hq),
                      .i = (int)rng_below(&t->rng, (uint32_t)p->Sq)};
        if (i == 0 && peaked >= 0) r.slot = peaked;
        if (!check_row(t, k, r, peaked, v, err, s)) return false;
    }
    return true;
}

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

/* Runs one pair; false: v or *s says why not. times[side] is ns of one call. */
static bool one_pair(atn_timing *t, case_state *k, int calls, double times[2], atn_verdict *v, atn_error *err,
                     atn_status *s)
{
    atn_verdict other = {0};
    int peaked = fill_inputs(t, k, calls), first = race_order(k->s.n);
    bool reused = k->warm && rng_f64(&t->rng) < REUSED_SHARE; /* what is left unwritten shows under poison first */
    double total = 0;
    for (int i = 0; i < 2; i++) {
        int side = i ^ first;
        if (!t->worker[side]) continue;
        worker_reuse_outputs(t->worker[side], reused);
        times[side] = run_slice(t, k, side, calls, side == CANDIDATE ? v : &other);
        if (times[side] < 0 && side == INCUMBENT) {
            *s = blame_incumbent(t, k, &other, "failed while timed", err);
            return false;
        }
        if (times[side] < 0) {
            check_locate(v, t->stage, &t->c, &k->item);
            return false;
        }
        total += times[side] * calls;
    }
    return check_outputs(t, k, calls, peaked, total, v, err, s);
}

static void keep_pair(const atn_timing *t, case_state *k, const double times[2])
{
    ATN_ASSERT(k->s.n < RACE_PAIRS_MAX);
    k->s.raw[k->s.n++] = t->worker[INCUMBENT] ? log(times[INCUMBENT] / times[CANDIDATE]) : 0;
    k->s.ns_min = ATN_MIN(k->s.ns_min, times[CANDIDATE]);
    k->s.incumbent_ns_min = ATN_MIN(k->s.incumbent_ns_min, times[INCUMBENT]);
}

/* The first slice pays page faults and cold code; it also tells how many calls make a slice. */
static bool warm_up(atn_timing *t, case_state *k, atn_verdict *v, atn_error *err, atn_status *s)
{
    double times[2] = {INFINITY, INFINITY};
    if (!one_pair(t, k, 1, times, v, err, s)) return false;
    double least = ATN_MIN(times[CANDIDATE], times[INCUMBENT]);
    if (k->s.calls == 0 && k->spec.calls[CANDIDATE]) k->s.calls = k->slots;
    if (k->s.calls == 0) /* a slice stays what it was when workers are restarted */
        k->s.calls = (int)ATN_MAX(1, ATN_MIN(k->slots, SLICE_NS / least + 0.5));
    if (k->s.calls > 1 && !one_pair(t, k, k->s.calls, times, v, err, s)) return false;
    k->warm = true;
    /* A call that long hides its page faults: the warm-up counts as a pair, or a slow program would pay twice. */
    if (least > 30e6) keep_pair(t, k, times);
    return true;
}

static bool impossible(const atn_timing *t, const case_state *k)
{
    return k->s.floor_ns > 0 && k->s.ns_min + t->hand_slack / ATN_MAX(k->s.calls, 1) < IMPOSSIBLE * k->s.floor_ns;
}

/* The peak may have been measured while a neighbour had half of the core, and an honest kernel timed while it had not.
 * So both are measured again, in turns, and only what is impossible then is a verdict. */
static bool impossible_again(atn_timing *t, case_state *k, atn_verdict *v, atn_error *err, atn_status *s)
{
    k->s.ns_min = INFINITY;
    for (int i = 0; i < ALARM_PAIRS; i++) {
        double times[2] = {INFINITY, INFINITY}, peak = machine_fma_peak(ALARM_PEAK_SECONDS);
        t->peaks.fma_peak_gflops = ATN_MAX(t->peaks.fma_peak_gflops, peak);
        if (!one_pair(t, k, k->s.calls, times, v, err, s)) return false;
        k->s.ns_min = ATN_MIN(k->s.ns_min, times[CANDIDATE]);
    }
    k->s.floor_ns = timing_floor_ns(&k->spec.problem, &t->peaks, t->c.threads);
    return impossible(t, k);
}

atn_status timing_pairs(atn_timing *t, int index, int pairs, double seconds, atn_verdict *v, atn_error *err)
{
    case_state *k = &t->cases[index];
    atn_status s = ATN_OK;
    int64_t start = clock_ns();
    double before = k->s.seconds;
    pairs = ATN_MIN(pairs, RACE_PAIRS_MAX);
    v->stage = t->stage;
    if (k->s.n < pairs && !k->warm && !warm_up(t, k, v, err, &s)) return s;
    while (k->s.n < pairs) {
        k->s.seconds = before + (double)(clock_ns() - start) * 1e-9;
        if (k->s.n > 0 && k->s.seconds > seconds) break;
        double times[2] = {INFINITY, INFINITY};
        if (!one_pair(t, k, k->s.calls, times, v, err, &s)) break;
        keep_pair(t, k, times);
    }
    k->s.seconds = before + (double)(clock_ns() - start) * 1e-9;
    race_balance(k->s.raw, k->s.n, k->s.d);
    if (s == ATN_OK && v->reason == ATN_REASON_OK && impossible(t, k) && impossible_again(t, k, v, err, &s))
        check_fail(v, t->stage, ATN_REASON_IMPOSSIBLE, &t->c, &k->item,
                   "one call took %.0f ns; at this machine's measured peak the case needs %.0f ns", k->s.ns_min,
                   k->s.floor_ns);
    return s;
}
