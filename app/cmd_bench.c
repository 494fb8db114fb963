/* attune bench: our kernels, or yours, beside the peers, call by call, on whole suites.
 *
 * Both sides see the same tensors in the same layout with the same threads on the same CPUs. A pair is one call of ours
 * and then one of the peer's, so that each call finds the caches as the other side left them, whose tensors may be
 * copies (in ABBA order half of the calls came after one's own, and large K and V had two kinds of calls). Figures are
 * medians, ratios are medians of paired ratios with their order-statistic bounds. Ours is timed around atn_execute, the
 * peer around its library's own entry point, in its process. Every row carries the error of both outputs against fp64: a
 * fast wrong answer shows.
 *
 * Some peers are our own, and run only where they are asked for: "attune", the library's choice (beside PROGRAM.c or
 * --kernel); a kernel by its name; "single", the same kernel with one thread (ratio / threads is the parallel
 * efficiency); "none", nobody.
 * Beside "single" each call follows an untimed one of its own side: workers that sleep while one thread computes would
 * be measured waking, and a host that calls again and again does not see that. A third thing is timed in each such pair,
 * FMAs in registers by all threads and by one: CPUs that share a core or slow down together keep those from the count of
 * threads as well.
 *
 * The bandwidth beside a row is that of its own K and V: loops that only read them, with as many threads and in the
 * same state of the caches, right after a call of the peer. Small ones come from a cache, large ones from memory, and a
 * kernel is measured by what reading takes there. The machine's is that of memory, measured on data that is in no cache. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "attune/plan.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/rng.h"
#include "bench_svg.h"
#include "cmd.h"
#include "judge/build.h"
#include "judge/gate.h"
#include "judge/race.h"
#include "peers.h"
#include "problem/reference.h"
#include "problem/suite.h"
#include "run/run_int.h"

enum { PAIRS_MAX = 128, PAIRS_MIN = 5, ROWS_CHECKED = 48, PEERS_MAX = 16, PEERS_OTHERS = 6 };

typedef struct {
    atn_problem problem;
    char text[128], class[160], kernel[64], peer[32], version[96], note[128], skipped[320];
    double ours_ms, peer_ms, ratio, low, high, error, peer_error, peak_fraction, read_gbs, bandwidth_fraction;
    double fma_speedup;        /* by threads, of FMAs alone, beside "single" */
    int pairs;
} bench_row;

typedef struct {
    char name[64];             /* the file, without its folder */
    const atn_kernel *table;
} program;

typedef struct {
    const atn_cli *cli;
    program *programs;
    int n_programs;
    int threads;
    double seconds_pair;
    atn_suite suite;
    atn_peaks peaks;
    atn_pool *pool;
    atn_peer peers[PEERS_MAX];
    int n_peers;
    char path[64];             /* of fd, for the peers */
    int fd;                    /* memory without a name: nothing of it is left, however we end */
    char *map;
    int64_t room;
    bench_row *rows;
    int n_rows;
    atn_status failed;         /* why a case could not even be planned */
} bench;

/* ---- the tensors: one file that both sides map -------------------------------------------------------------------- */

typedef struct {
    atn_args args;
    int64_t offset[4];
    float *o32;                /* peer's result, dense f32 */
} tensors;

/* Bytes that can be had without driving others out; -1: unknown. */
static int64_t memory_available(void)
{
    char *text = NULL;
    const char *at = file_read("/proc/meminfo", 1 << 16, &text, NULL, NULL) ? NULL : strstr(text, "MemAvailable:");
    const int64_t bytes = at ? strtoll(at + strlen("MemAvailable:"), NULL, 10) * 1024 : -1;
    free(text);
    return bytes;
}

static int64_t page_up(int64_t n) { return (n + 4095) & ~4095LL; }

static atn_status tensors_make(bench *b, const atn_problem *p, tensors *t, atn_error *err)
{
    atn_layout l;
    problem_layout(p, &l);
    int64_t at = 0, place[ATN_T_COUNT];
    for (int i = 0; i < ATN_T_COUNT; i++) place[i] = at, at += page_up(l.bytes[i]);
    int64_t o32 = at;
    at += page_up((int64_t)p->B * p->Hq * p->Sq * p->Dv * 4);
    if (at > b->room) {
        const int64_t available = memory_available();
        if (available >= 0 && at - b->room > available / 2) /* peers hold copies */
            return atn_fail(err, ATN_MEMORY, "its tensors take %.1f GB, and only %.1f GB are available; take a smaller case",
                            (double)at * 1e-9, (double)available * 1e-9);
        if (b->map) munmap(b->map, (size_t)b->room);
        b->map = NULL;
        if (ftruncate(b->fd, at) != 0 || (b->map = mmap(NULL, (size_t)at, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0)) == MAP_FAILED)
            return atn_fail(err, ATN_MEMORY, "cannot map %lld bytes; free some memory", (long long)at);
        b->room = at;
    }
    atn_args *a = &t->args;
    *a = l.args;
    a->q.ptr = b->map + place[ATN_T_Q];
    a->k.ptr = b->map + place[ATN_T_K];
    a->v.ptr = b->map + place[ATN_T_V];
    a->o.ptr = b->map + place[ATN_T_O];
    if (l.bytes[ATN_T_MASK]) a->mask.ptr = b->map + place[ATN_T_MASK];
    if (l.bytes[ATN_T_SINKS]) a->sinks = (const float *)(b->map + place[ATN_T_SINKS]);
    if (l.bytes[ATN_T_ALIBI]) a->alibi = (const float *)(b->map + place[ATN_T_ALIBI]);
    if (l.bytes[ATN_T_LSE]) a->lse = (float *)(b->map + place[ATN_T_LSE]);
    for (int i = 0; i < 3; i++) t->offset[i] = place[ATN_T_Q + i];
    t->offset[3] = o32;
    t->o32 = (float *)(b->map + o32);
    atn_rng rng = rng_make(1, 2, 3);
    memset(b->map + place[ATN_T_O], 0, (size_t)(at - place[ATN_T_O]));
    data_fill(p, &l, a, ATN_DATA_NORMAL, &rng);
    return ATN_OK;
}

/* ---- one row ------------------------------------------------------------------------------------------------------ */

static double error_of(const atn_args *a)
{
    atn_compare c;
    atn_rng rng = rng_make(7, 7, 7);
    reference_compare(a, ROWS_CHECKED, &rng, &c);
    return c.rel_l2;
}

static double time_ours(const atn_planned *plan, const atn_args *a)
{
    atn_error err;
    int64_t t0 = clock_ns();
    atn_status s = atn_execute(plan, a, NULL, &err);
    int64_t t1 = clock_ns();
    ATN_CHECK(s == ATN_OK);
    return (double)(t1 - t0);
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* One call of the other side: a process of its own, or a plan of ours. */
static atn_status time_theirs(atn_peer *peer, const atn_planned *own, const atn_args *a, double *ns, atn_error *err)
{
    if (!own) return peer_run(peer, ns, err);
    *ns = time_ours(own, a);
    return ATN_OK;
}

/* ---- reading K and V ---- */

enum { READ_ROUNDS = 7, READ_SLICES = 8 };

typedef struct {
    const atn_args *a;
    int way, tasks;
} reading;

/* Slice `task` of every block of K or V: a head's rows, or those of all heads where they lie within a token. */
static void read_slice(const reading *r, const atn_tensor *t, int last, int task)
{
    const atn_args *a = r->a;
    const bool within = t->sh < t->sr;
    const int64_t row = (int64_t)last * dtype_bytes(t->dtype), width = within ? row + (a->Hkv - 1) * t->sh : row;
    const int64_t j0 = (int64_t)a->Skv * task / r->tasks, j1 = (int64_t)a->Skv * (task + 1) / r->tasks;
    if (j1 == j0) return;
    for (int b = 0; b < a->B; b++)
        for (int h = 0; h < (within ? 1 : a->Hkv); h++) {
            const char *from = (const char *)t->ptr + b * t->sb + h * t->sh + j0 * t->sr;
            memory_read(from, (size_t)((j1 - j0 - 1) * t->sr + width), r->way);
        }
}

static void read_task(void *context, int task, int thread)
{
    const reading *r = context;
    (void)thread;
    read_slice(r, &r->a->k, r->a->D, task);
    read_slice(r, &r->a->v, r->a->Dv, task);
}

/* GB/s of the best loop over K and V, each time after a call of the other side (of ours, where there is none). */
static atn_status read_rate(bench *b, const atn_planned *plan, const atn_args *a, atn_peer *peer,
                            const atn_planned *own, bool alone, double *gbs, atn_error *err)
{
    const int row = a->D * dtype_bytes(a->k.dtype) + a->Dv * dtype_bytes(a->v.dtype);
    const double bytes = (double)a->B * a->Hkv * a->Skv * row;
    double ns[READ_WAYS][READ_ROUNDS], other;
    const double until = clock_s() + b->seconds_pair / 2;
    int n = 0;
    atn_status s = ATN_OK;
    for (; n < READ_WAYS * READ_ROUNDS && !interrupted && (n == 0 || clock_s() < until); n++) {
        if (alone) time_ours(plan, a);
        else if ((s = time_theirs(peer, own, a, &other, err))) return s;
        reading r = {a, n % READ_WAYS, b->pool ? b->threads * READ_SLICES : 1};
        int64_t t0 = clock_ns();
        if (b->pool) pool_run(b->pool, r.tasks, b->threads, read_task, &r);
        else read_task(&r, 0, 0);
        int64_t t1 = clock_ns();
        ns[n % READ_WAYS][n / READ_WAYS] = (double)(t1 - t0);
    }
    if (n == 0) return atn_fail(err, ATN_CANCELLED, "interrupted");
    *gbs = 0;
    for (int w = 0; w < READ_WAYS && w < n; w++)
        *gbs = fmax(*gbs, bytes / median(ns[w], (n - w + READ_WAYS - 1) / READ_WAYS));
    return ATN_OK;
}

/* ---- FMAs by threads ---- */

enum { FMA_ROUNDS = 4000, FMA_SLICES = 8 };  /* some 20 us a task, 8 tasks a thread: slower CPUs take fewer */

static void fma_task(void *context, int task, int thread)
{
    (void)context, (void)task, (void)thread;
    machine_fma(FMA_ROUNDS);
}

/* How many times as fast all threads do FMAs as one of them. */
static double fma_speedup(const bench *b)
{
    const int tasks = b->threads * FMA_SLICES;
    pool_run(b->pool, tasks, b->threads, fma_task, NULL);
    const int64_t t0 = clock_ns();
    pool_run(b->pool, tasks, b->threads, fma_task, NULL);
    const int64_t t1 = clock_ns();
    for (int i = 0; i < FMA_SLICES; i++) fma_task(NULL, i, 0);
    const int64_t t2 = clock_ns();
    return (double)(t2 - t1) * b->threads / (double)(t1 - t0);
}

/* Nobody beside us: medians of ours alone. */
static atn_status run_alone(bench *b, const atn_planned *plan, const atn_args *a, bench_row *row, atn_error *err)
{
    double ours[PAIRS_MAX];
    int n = 0;
    time_ours(plan, a);
    for (double until = clock_s() + b->seconds_pair; n < PAIRS_MAX && !interrupted && (n < PAIRS_MIN || clock_s() < until); n++)
        ours[n] = time_ours(plan, a);
    if (n == 0) return atn_fail(err, ATN_CANCELLED, "interrupted");
    row->pairs = n;
    row->ours_ms = median(ours, n) * 1e-6;
    row->peer_ms = row->peer_error = row->ratio = row->low = row->high = NAN;
    return ATN_OK;
}

static atn_status race_peer(bench *b, const atn_planned *plan, const atn_args *a, atn_peer *peer, const atn_planned *own,
                            bench_row *row, atn_error *err)
{
    double ours[PAIRS_MAX], theirs[PAIRS_MAX], d[PAIRS_MAX], fma[PAIRS_MAX], ns = 0;
    const bool by_threads = b->pool && !strcmp(peer->name, "single");
    int n = 0;
    atn_status s = ATN_OK;
    time_ours(plan, a);
    if ((s = time_theirs(peer, own, a, &ns, err))) return s;
    for (double until = clock_s() + b->seconds_pair; n < PAIRS_MAX && !interrupted && (n < PAIRS_MIN || clock_s() < until); n++) {
        if (by_threads) time_ours(plan, a);
        ours[n] = time_ours(plan, a);
        if (by_threads) time_ours(own, a);
        if ((s = time_theirs(peer, own, a, &theirs[n], err))) return s;
        d[n] = log(theirs[n] / ours[n]);
        if (by_threads) fma[n] = fma_speedup(b);
    }
    if (n == 0) return atn_fail(err, ATN_CANCELLED, "interrupted");
    race_bounds(d, n, 0.025, &row->ratio, &row->low, &row->high);
    row->ratio = exp(row->ratio), row->low = exp(row->low), row->high = exp(row->high);
    row->pairs = n;
    row->ours_ms = median(ours, n) * 1e-6;
    row->peer_ms = median(theirs, n) * 1e-6;
    if (by_threads) row->fma_speedup = median(fma, n);
    return ATN_OK;
}

static atn_status plan_make(const bench *b, const atn_args *a, const program *who, const char *kernel, int threads,
                            atn_planned **out, atn_plan_info *info, atn_error *err)
{
    atn_plan_options o = {0};
    o.threads = threads;
    o.pool = threads > 1 ? b->pool : NULL;
    o.kernel = kernel;
    o.isa = cli_text(b->cli, "isa", NULL);
    o.table = who ? who->table : NULL;
    o.flags = ATN_PLAN_NO_WISDOM | ATN_PLAN_ANY_KIND; /* the same kernels for all who repeat it; a program given is measured */
    *info = (atn_plan_info){.size = sizeof *info};
    atn_status s = atn_plan_create(a, &o, out, err);
    return s ? s : atn_plan_info_get(*out, info, err);
}

static const char *const own_names[] = {"attune", "single", "none"};

static bool is_own(const char *peer)
{
    for (int i = 0; i < ATN_COUNT(own_names); i++)
        if (!strcmp(peer, own_names[i])) return true;
    return registry_find(peer, ISA_ANY) != NULL;
}

/* Peers are told sizes, types, scale and causal order, and are asked nothing that they would answer wrongly. */
static bool peers_can(const atn_problem *p)
{
    if (p->token_major || p->cache_rows || p->misalign) return false;
    if (p->causal == ATN_CAUSAL_TOP_LEFT && p->Sq != p->Skv) return false;
    return p->mask < 0 && p->window_left < 0 && p->window_right < 0 && p->softcap == 0 && !p->sinks && !p->alibi && !p->lse;
}

/* Fills the row for one peer; what keeps it from running is in row->skipped. */
static void run_peer(bench *b, const atn_problem *p, const tensors *t, const atn_planned *plan, const program *who,
                     atn_peer *peer, bench_row *row)
{
    const atn_args *a = &t->args;
    atn_error err = {0};
    atn_planned *own = NULL;
    atn_plan_info info;
    atn_status s = ATN_OK;
    if (!is_own(peer->name) && !peers_can(p)) {
        s = atn_fail(&err, ATN_UNSUPPORTED, "peers are measured on dense head-major tensors, causal order from the last key, without masks, windows, softcap, sinks, ALiBi and lse");
    } else if (!is_own(peer->name)) {
        s = peer->pid > 0 ? peer_open(peer, p, b->threads, b->path, t->offset, &err)
                          : atn_fail(&err, ATN_PROCESS, "not running%s%s", *peer->note ? ": " : "", peer->note);
    } else if (strcmp(peer->name, "none")) {
        const bool single = !strcmp(peer->name, "single");
        s = single ? plan_make(b, a, who, cli_text(b->cli, "kernel", NULL), 1, &own, &info, &err)
                   : plan_make(b, a, NULL, registry_find(peer->name, ISA_ANY) ? peer->name : NULL, b->threads, &own, &info, &err);
        if (!s) snprintf(peer->version, sizeof peer->version, "attune %s %s", ATTUNE_VERSION, info.kernel);
        if (single) snprintf(peer->note, sizeof peer->note, "one thread: the ratio is the speedup by threads");
    }
    const bool alone = !strcmp(peer->name, "none");
    if (!s && alone) s = run_alone(b, plan, a, row, &err);
    else if (!s) s = race_peer(b, plan, a, peer, own, row, &err);
    if (!s) s = read_rate(b, plan, a, peer, own, alone, &row->read_gbs, &err);
    if (!s && !is_own(peer->name)) s = peer_store(peer, &err);
    snprintf(row->version, sizeof row->version, "%s", peer->version);
    snprintf(row->note, sizeof row->note, "%s", peer->pid || is_own(peer->name) ? peer->note : "");
    if (s) {
        atn_text why = {0};
        text_add_visible(&why, err.text, false);                                   /* a stranger's words */
        snprintf(row->skipped, sizeof row->skipped, "%.*s", (int)sizeof row->skipped - 1, why.s);
        text_free(&why);
        row->ours_ms = row->peer_ms = row->peer_error = row->ratio = row->low = row->high = NAN;
        row->peak_fraction = row->read_gbs = row->bandwidth_fraction = NAN;
    } else {
        atn_args peer_args = *a;
        int64_t r = (int64_t)p->Dv * 4;
        if (own) atn_execute(own, a, NULL, &err);
        else peer_args.o = (atn_tensor){.ptr = t->o32, .sb = p->Hq * p->Sq * r, .sh = p->Sq * r, .sr = r, .dtype = ATN_F32};
        if (!alone) row->peer_error = error_of(&peer_args);
        row->peak_fraction = problem_flops(p) / (row->ours_ms * 1e6) / (b->peaks.fma_peak_gflops * b->threads);
        row->bandwidth_fraction = problem_bytes(p) / (row->ours_ms * 1e6) / row->read_gbs;
    }
    atn_plan_free(own);
}

static void print_row(const bench *b, const bench_row *row)
{
    if (b->cli->json) return;
    if (row->skipped[0]) {
        if (!b->cli->quiet) printf("%-38s %-26s            %-12s  skipped: %s\n", row->text, row->kernel, row->peer, row->skipped);
    } else if (isnan(row->ratio)) {
        printf("%-38s %-26s %9.3f  %-12s %9s  %-18s  %4.0f%% %4.0f%%  %.1e\n", row->text, row->kernel, row->ours_ms, "", "", "",
               100 * row->peak_fraction, 100 * row->bandwidth_fraction, row->error);
    } else {
        printf("%-38s %-26s %9.3f  %-12s %9.3f  %5.2f [%.2f, %.2f]  %4.0f%% %4.0f%%  %.1e %.1e", row->text, row->kernel, row->ours_ms,
               row->peer, row->peer_ms, row->ratio, row->low, row->high, 100 * row->peak_fraction, 100 * row->bandwidth_fraction,
               row->error, row->peer_error);
        if (row->fma_speedup > 0) printf("  FMAs alone %.2f", row->fma_speedup);
        putchar('\n');
    }
    fflush(stdout);
}

static void run_kernel(bench *b, const atn_problem *p, const tensors *t, const program *who, const char *only_peer)
{
    atn_error err = {0};
    atn_planned *plan = NULL;
    atn_plan_info info;
    bench_row base = {.problem = *p};
    problem_print(p, base.text, sizeof base.text);
    atn_status s = plan_make(b, &t->args, who, cli_text(b->cli, "kernel", NULL), b->threads, &plan, &info, &err);
    if (!s && who && info.origin != ATN_FROM_HOST) s = atn_fail(&err, ATN_UNSUPPORTED, "%s does not cover it", who->name);
    if (s) {
        fprintf(stderr, "attune bench: %s: %s\n", base.text, err.text);
        b->failed = s;
        atn_plan_free(plan);
        return;
    }
    snprintf(base.kernel, sizeof base.kernel, "%s", who ? who->name : info.kernel);
    snprintf(base.class, sizeof base.class, "%s", info.problem);
    time_ours(plan, &t->args);
    base.error = error_of(&t->args);
    for (int i = 0; i < b->n_peers && !interrupted; i++) {
        if (only_peer && strcmp(b->peers[i].name, only_peer)) continue;
        bench_row row = base;
        snprintf(row.peer, sizeof row.peer, "%s", b->peers[i].name);
        run_peer(b, p, t, plan, who, &b->peers[i], &row);
        b->rows = atn_realloc(b->rows, sizeof *b->rows * (size_t)(b->n_rows + 1));
        b->rows[b->n_rows++] = row;
        print_row(b, &row);
    }
    atn_plan_free(plan);
}

static void run_case(bench *b, const atn_problem *p, const char *only_peer)
{
    tensors t;
    atn_error err = {0};
    char text[128];
    problem_print(p, text, sizeof text);
    if (tensors_make(b, p, &t, &err)) {
        fprintf(stderr, "attune bench: %s: %s\n", text, err.text);
        b->failed = ATN_MEMORY;
        return;
    }
    for (int i = 0; i < b->n_programs; i++) run_kernel(b, p, &t, &b->programs[i], only_peer);
    if (!b->n_programs) run_kernel(b, p, &t, NULL, only_peer);
}

/* ---- results ------------------------------------------------------------------------------------------------------ */

static double geomean(const bench *b, const char *peer, double *worst, int *count)
{
    double sum = 0;
    *worst = INFINITY;
    *count = 0;
    for (int i = 0; i < b->n_rows; i++) {
        const bench_row *r = &b->rows[i];
        if (strcmp(r->peer, peer) || r->skipped[0] || isnan(r->ratio)) continue;
        sum += log(r->ratio);
        *worst = fmin(*worst, r->ratio);
        ++*count;
    }
    return *count ? exp(sum / *count) : 0;
}

static json_t *machine_json(const bench *b)
{
    const atn_machine *m = machine_get();
    return json_pack("{s:s s:s s:s s:i s:f s:f}", "cpu", m->cpu, "isa", m->isa, "features", m->features, "cpus", m->cpus,
                     "fma_peak_gflops", b->peaks.fma_peak_gflops, "read_bandwidth_gbs", b->peaks.read_bandwidth_gbs);
}

/* Whatever it holds, the JSON is valid: the name of a program need not be UTF-8, and a peer's words may be cut. */
static json_t *words(const char *s)
{
    atn_text t = {0};
    text_add_visible(&t, s, false);
    json_t *j = json_string(t.s ? t.s : "");
    text_free(&t);
    return j;
}

static json_t *figure(double x) { return isfinite(x) ? json_real(x) : json_null(); }

/* Every row has every field; what was not measured is null. failed: what went wrong after the rows, "": nothing. */
static void print_json(const bench *b, const char *failed)
{
    json_t *rows = json_array(), *geo = json_object(), *worst = json_object();
    for (int i = 0; i < b->n_rows; i++) {
        const bench_row *r = &b->rows[i];
        char dtype[16];
        snprintf(dtype, sizeof dtype, "%.*s", (int)strcspn(r->text, " "), r->text);
        json_t *j = json_pack(
            "{s:s s:s s:s s:i s:o s:o s:o s:s s:o s:o s:o s:{s:o s:o s:o} s:i s:o s:o s:o}", "case", r->text, "class", r->class,
            "dtype", dtype, "threads", b->threads, "kernel", words(r->kernel), "ours_ms", figure(r->ours_ms), "error",
            figure(r->error), "peer", r->peer, "peer_version", words(r->version), "peer_ms", figure(r->peer_ms), "peer_error", figure(r->peer_error), "ratio", "median",
            figure(r->ratio), "low", figure(r->low), "high", figure(r->high), "pairs", r->pairs, "peak_fraction",
            figure(r->peak_fraction), "read_gbs", figure(r->read_gbs), "bandwidth_fraction", figure(r->bandwidth_fraction));
        ATN_CHECK(j);
        if (r->note[0]) json_object_set_new(j, "note", words(r->note));
        if (r->fma_speedup > 0) json_object_set_new(j, "fma_speedup", figure(r->fma_speedup));
        if (r->skipped[0]) json_object_set_new(j, "skipped", words(r->skipped));
        json_array_append_new(rows, j);
    }
    for (int i = 0; i < b->n_peers; i++) {
        double least;
        int n;
        double g = geomean(b, b->peers[i].name, &least, &n);
        if (!n) continue;
        json_object_set_new(geo, b->peers[i].name, json_real(g));
        json_object_set_new(worst, b->peers[i].name, json_real(least));
    }
    json_t *all = json_pack("{s:s s:o s:o s:o s:o}", "version", ATTUNE_VERSION, "machine", machine_json(b), "rows", rows, "geomean", geo,
                            "worst", worst);
    if (*failed) json_object_set_new(all, "error", words(failed));
    json_dumpf(all, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(all);
}

static atn_status write_csv(const bench *b, const char *path, atn_error *err)
{
    atn_text t = {0};
    const atn_machine *m = machine_get();
    text_addf(&t, "# attune %s; %s; FMA peak %.1f GFLOP/s, read bandwidth from memory %.1f GB/s a core; "
              "medians of interleaved pairs\n",
              ATTUNE_VERSION, m->signature, b->peaks.fma_peak_gflops, b->peaks.read_bandwidth_gbs);
    text_add(&t, "case,threads,kernel,ours_ms,error,peer,peer_version,peer_ms,peer_error,ratio,low,high,pairs,"
             "peak_fraction,read_gbs,bandwidth_fraction,note\n");
    for (int i = 0; i < b->n_rows; i++) {
        const bench_row *r = &b->rows[i];
        char note[sizeof r->skipped + 32];
        text_add_csv(&t, r->text);                                                /* window=127,0 */
        text_addf(&t, ",%d,", b->threads);
        text_add_csv(&t, r->kernel);
        if (r->skipped[0]) text_add(&t, ",,,");
        else text_addf(&t, ",%.4f,%.2e,", r->ours_ms, r->error);
        text_add(&t, isnan(r->ratio) && !r->skipped[0] ? "" : r->peer);
        text_add(&t, ",");
        text_add_csv(&t, r->version);
        if (isnan(r->ratio)) text_add(&t, ",,,,,,");
        else text_addf(&t, ",%.4f,%.2e,%.3f,%.3f,%.3f,", r->peer_ms, r->peer_error, r->ratio, r->low, r->high);
        if (r->skipped[0]) text_add(&t, ",,,,");
        else text_addf(&t, "%d,%.3f,%.1f,%.3f,", r->pairs, r->peak_fraction, r->read_gbs, r->bandwidth_fraction);
        if (r->skipped[0]) snprintf(note, sizeof note, "skipped: %s", r->skipped);
        else if (r->fma_speedup > 0) snprintf(note, sizeof note, "%s; FMAs alone %.2f", r->note, r->fma_speedup);
        else snprintf(note, sizeof note, "%s", r->note);
        text_add_csv(&t, note);
        text_add(&t, "\n");
    }
    atn_status s = file_write(path, t.s, t.n, err);
    text_free(&t);
    return s;
}

/* The ratios of every row as bars. */
static atn_status write_svg(const bench *b, const char *path, atn_error *err)
{
    bench_bar *bars = atn_alloc(sizeof *bars * (size_t)(b->n_rows + 1));
    int n = 0;
    for (int i = 0; i < b->n_rows; i++) {
        const bench_row *r = &b->rows[i];
        if (r->skipped[0] || isnan(r->ratio)) continue;
        bars[n++] = (bench_bar){.name = r->text, .kernel = r->kernel, .peer = r->peer, .ratio = r->ratio, .low = r->low, .high = r->high};
    }
    char heading[400];
    snprintf(heading, sizeof heading, "attune %s on %s, %d thread%s: time of the peer over ours, medians of interleaved pairs",
             ATTUNE_VERSION, machine_get()->cpu, b->threads, b->threads > 1 ? "s" : "");
    atn_text t = {0};
    svg_bench(&t, heading, bars, n);
    atn_status s = file_write(path, t.s, t.n, err);
    text_free(&t);
    free(bars);
    return s;
}

static void print_summary(const bench *b)
{
    const atn_machine *m = machine_get();
    printf("\n%s; FMA peak %.0f GFLOP/s and read bandwidth from memory %.1f GB/s a core; %d thread%s; ratio > 1: ours is faster\n", m->cpu,
           b->peaks.fma_peak_gflops, b->peaks.read_bandwidth_gbs, b->threads, b->threads > 1 ? "s" : "");
    for (int i = 0; i < b->n_peers; i++) {
        double worst;
        int n;
        double g = geomean(b, b->peers[i].name, &worst, &n);
        if (n) printf("over %-12s %.2fx geometric mean of %d cases, worst %.2fx   (%s%s%s)\n", b->peers[i].name, g, n, worst, b->peers[i].version,
                      b->peers[i].note[0] ? "; " : "", b->peers[i].note);
    }
}

/* ---- setting up --------------------------------------------------------------------------------------------------- */

static void pin(int threads)
{
    cpu_set_t all, mine;
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof all, &all)) return;
    for (int c = CPU_SETSIZE - 1, n = 0; c >= 0 && n < threads; c--)
        if (CPU_ISSET(c, &all)) CPU_SET(c, &mine), n++;
    sched_setaffinity(0, sizeof mine, &mine);
}

/* The pool's workers are pinned to all CPUs but the first; a caller that the system leaves beside one of them (it did, for
 * whole runs) makes two threads as slow as one. */
static void pin_caller(void)
{
    cpu_set_t all, first;
    CPU_ZERO(&first);
    if (sched_getaffinity(0, sizeof all, &all)) return;
    for (int c = 0; c < CPU_SETSIZE; c++)
        if (CPU_ISSET(c, &all)) {
            CPU_SET(c, &first);
            break;
        }
    sched_setaffinity(0, sizeof first, &first);
}

/* The i-th name that --against lists; returns its length, 0 where there is none. */
static int against(const atn_cli *c, int i, const char **name)
{
    for (int k = 0; k < cli_count(c, "against"); k++)
        for (const char *list = cli_item(c, "against", k); *list;) {
            const int n = (int)strcspn(list, ",");
            *name = list;
            if (n && i-- == 0) return n;
            list += n + (list[n] == ',');
        }
    return 0;
}

/* "torch": both of torch's. */
static bool names_peer(const char *name, int n, const char *peer)
{
    return !strncmp(peer, name, (size_t)n) && (peer[n] == 0 || peer[n] == '-');
}

static bool wanted(const atn_cli *c, const char *peer)
{
    const char *name;
    if (!cli_count(c, "against")) return !is_own(peer);
    for (int i = 0, n; (n = against(c, i, &name)); i++)
        if (names_peer(name, n, peer)) return true;
    return false;
}

/* The linked kernel that the name says: "flash_qvec" or "flash_qvec@avx2". */
static const registry_kernel *kernel_named(const char *name, int n)
{
    char text[64];
    return snprintf(text, sizeof text, "%.*s", n, name) < (int)sizeof text ? registry_find(text, ISA_ANY) : NULL;
}

static atn_status check_names(const atn_cli *c, atn_error *err)
{
    const char *peer;
    if (cli_count(c, "against") && !against(c, 0, &peer)) return atn_fail(err, ATN_USAGE, "--against: expected PEERS, got nothing");
    for (int i = 0, n; (n = against(c, i, &peer)); i++) {
        bool known = kernel_named(peer, n);
        for (int k = 0; k < ATN_COUNT(own_names); k++) known |= names_peer(peer, n, own_names[k]);
        for (int k = 0; peer_names[k]; k++) known |= names_peer(peer, n, peer_names[k]);
        if (!known)
            return atn_fail(err, ATN_USAGE, "--against: no peer is called '%.*s'; there are torch, ggml, openvino, onnxruntime, "
                            "mlx, and of our own attune, single, none and kernels by name", n, peer);
    }
    const char *kernel = cli_text(c, "kernel", NULL), *name;
    const size_t letters = kernel ? strlen(kernel) : 0;
    bool known = !kernel;
    atn_text all = {0};
    for (int i = 0; (name = atn_kernel_at(i, NULL, NULL)); i++) {
        known |= kernel && !strncmp(name, kernel, letters) && (!name[letters] || name[letters] == '@');
        text_addf(&all, "%s%s", i ? ", " : "", name);
    }
    atn_status s = known ? ATN_OK : atn_fail(err, ATN_USAGE, "--kernel: no kernel is called '%s'; there are %s", kernel, all.s);
    text_free(&all);
    return s;
}

/* PROGRAM.c through the gate and the sandboxed compiler, then loaded here as a host would load it. */
static atn_status load_program(bench *b, const char *path, atn_error *err)
{
    char *source = NULL, object[64];
    const char *slash = strrchr(path, '/');
    build_result r = {.so_fd = -1};
    program p = {.name = ""};
    snprintf(p.name, sizeof p.name, "%s", slash ? slash + 1 : path);
    atn_status s = file_read_text(path, 4 << 20, &source, err);
    char *flags = s ? NULL : gate_heading_flags(source);
    if (!s) s = build_run(&(build_options){.whole_file = true, .flags = flags}, source, NULL, &r, err);
    if (!s && r.reason != ATN_REASON_OK) s = atn_fail(err, ATN_PROCESS, "'%s' does not build: %s", path, r.evidence);
    snprintf(object, sizeof object, "/proc/self/fd/%d", r.so_fd);
    if (!s) s = atn_kernel_load(object, NULL, &p.table, err);
    if (!s) {
        b->programs = atn_realloc(b->programs, sizeof *b->programs * (size_t)(b->n_programs + 1));
        b->programs[b->n_programs++] = p;
    }
    build_release(&r);
    free(flags);
    free(source);
    return s;
}

/* --isa avx2 is how a machine without AVX-512 is stood in for: peers that can be told keep to it as well (the version
 * column of PyTorch shows it), and the peak is that of 256-bit vectors. */
static void limit_isa(const bench *b)
{
    static const char *const names[][2] = {{"ATEN_CPU_CAPABILITY", "avx2"}, {"ONEDNN_MAX_CPU_ISA", "AVX2"},
                                           {"DNNL_MAX_CPU_ISA", "AVX2"}, {"MKL_ENABLE_INSTRUCTIONS", "AVX2"}};
    const char *isa = cli_text(b->cli, "isa", NULL);
    for (int i = 0; isa && !strcmp(isa, "avx2") && i < ATN_COUNT(names); i++) setenv(names[i][0], names[i][1], 0);
}

static atn_status open_all(bench *b, atn_error *err)
{
    const atn_cli *c = b->cli;
    atn_status s = check_names(c, err);
    for (int i = 0; !s && i < c->n_args; i++) {
        char *path = program_file(c->args[i]);
        s = load_program(b, path, err);
        free(path);
    }
    for (int i = 0; !s && i < cli_count(c, "suite"); i++) s = suite_add(&b->suite, cli_item(c, "suite", i), err);
    for (int i = 0; !s && i < cli_count(c, "case"); i++) s = suite_add_case(&b->suite, cli_item(c, "case", i), err);
    if (!s && !b->suite.count) s = suite_add(&b->suite, "readme", err);
    if (s) return s;
    char *python = NULL;
    bool real = false;
    atn_error why;
    for (int i = 0; peer_names[i]; i++) real |= wanted(c, peer_names[i]);
    if (real && peer_python(&python, &why)) {
        if (cli_count(c, "against")) fprintf(stderr, "attune bench: %s\n", why.text);
        else fprintf(stderr, "attune bench: alone: %s\n", why.text);
    }
    const int cpus = machine_get()->cpus;
    if (b->threads > cpus && !c->quiet)
        fprintf(stderr, "attune bench: %d threads for %d CPU%s: they wait for each other, on both sides\n", b->threads, cpus, cpus > 1 ? "s" : "");
    pin(b->threads);
    machine_measure(0.6, &b->peaks);
    limit_isa(b);
    if (cli_has(c, "isa") && !strcmp(cli_text(c, "isa", ""), "avx2") && b->peaks.fma_peak_256_gflops > 0)
        b->peaks.fma_peak_gflops = b->peaks.fma_peak_256_gflops;
    b->fd = memfd_create("attune-bench", MFD_CLOEXEC);
    if (b->fd < 0) s = atn_fail(err, ATN_IO, "cannot make a file in memory: %s", strerror(errno));
    snprintf(b->path, sizeof b->path, "/proc/%d/fd/%d", (int)getpid(), b->fd);
    const atn_pool_options pool = {.threads = b->threads, .pin = 1};
    if (!s && b->threads > 1) s = atn_pool_create(&pool, &b->pool, err);
    for (int i = 0; i < ATN_COUNT(own_names); i++)
        if (wanted(c, own_names[i])) b->peers[b->n_peers++] = (atn_peer){.name = own_names[i], .to = -1, .from = -1};
    const char *name;
    for (int i = 0, n; !s && (n = against(c, i, &name)); i++) {
        const registry_kernel *k = kernel_named(name, n);
        if (k && b->n_peers == PEERS_MAX - PEERS_OTHERS) s = atn_fail(err, ATN_USAGE, "--against: too many kernels at once");
        else if (k) b->peers[b->n_peers++] = (atn_peer){.name = k->name, .to = -1, .from = -1};
    }
    if (real && !python && !b->n_peers) b->peers[b->n_peers++] = (atn_peer){.name = "none", .to = -1, .from = -1};
    for (int i = 0; !s && python && peer_names[i]; i++)
        if (wanted(c, peer_names[i])) {
            atn_peer *peer = &b->peers[b->n_peers++];
            if (peer_start(peer, peer_names[i], python, b->threads, &why))
                snprintf(peer->note, sizeof peer->note, "%.*s", (int)sizeof peer->note - 1, why.text);
        }
    free(python);
    if (!s && b->threads > 1) pin_caller();              /* after the peers were started, which inherit all CPUs */
    return s;
}

/* The case with another type: ggml computes with f32 queries and half keys, so "f16" beside ggml means f32:f16 for both sides. */
static void run_dtype(bench *b, atn_problem p, int dtype)
{
    bool others = false;
    p.dtype_q = p.dtype_kv = dtype;
    for (int i = 0; i < b->n_peers; i++) {
        if (strcmp(b->peers[i].name, "ggml") || dtype == ATN_F32) {
            others = true;
            continue;
        }
        atn_problem mixed = p;
        mixed.dtype_q = ATN_F32;
        run_case(b, &mixed, "ggml");
    }
    if (!others) return;
    for (int i = 0; i < b->n_peers; i++)
        if (strcmp(b->peers[i].name, "ggml") || dtype == ATN_F32) run_case(b, &p, b->peers[i].name);
}

int cmd_bench(const atn_cli *c)
{
    static const struct { const char *name; int type; } types[] = {{"f32", ATN_F32}, {"f16", ATN_F16}, {"bf16", ATN_BF16}};
    bench b = {.cli = c, .threads = (int)cli_int(c, "threads", 1), .seconds_pair = cli_real(c, "seconds", 0.5), .fd = -1};
    atn_error err = {0};
    interrupt_catch();
    atn_status s = open_all(&b, &err);
    if (!s && !c->json)
        printf("%-38s %-26s %9s  %-12s %9s  %-18s  %4s %4s  %s\n", "case", "kernel", "ours ms", "peer", "peer ms", "ratio [95 %]", "peak", "read",
               "error  peer's");
    for (int i = 0; !s && i < b.suite.count && !interrupted; i++) {
        const atn_problem *p = &b.suite.cases[i].problem;
        if (!cli_count(c, "dtype")) run_case(&b, p, NULL);
        for (int d = 0; d < cli_count(c, "dtype") && !interrupted; d++)
            for (int k = 0; k < ATN_COUNT(types); k++)
                if (!strcmp(types[k].name, cli_item(c, "dtype", d))) run_dtype(&b, *p, types[k].type);
    }
    const bool ran = !s;
    if (ran && cli_has(c, "csv")) s = write_csv(&b, cli_text(c, "csv", ""), &err);
    if (!s && cli_has(c, "svg")) s = write_svg(&b, cli_text(c, "svg", ""), &err);
    if (ran && c->json) print_json(&b, s ? err.text : "");
    if (ran && !c->json) print_summary(&b);
    for (int i = 0; i < b.n_peers; i++) peer_stop(&b.peers[i]);
    if (b.fd >= 0) close(b.fd);
    atn_pool_free(b.pool);
    suite_free(&b.suite);
    free(b.rows);
    free(b.programs);
    atn_cli speaker = *c;
    speaker.json &= !ran;                                                          /* one object, which has the error */
    if (s) return cli_fail(&speaker, &err);
    if (interrupted) return EXIT_INTERRUPTED;
    return b.n_rows || !b.failed ? EXIT_VALID : b.failed == ATN_USAGE ? EXIT_USAGE : EXIT_INVALID;
}
