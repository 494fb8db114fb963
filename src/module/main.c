/* attune-module: times whole attention modules around kernels that the judge has passed. Started by `attune eval --module`.
 *
 *     attune-module THREADS SECONDS OBJECT... -- CASE...
 *
 * One JSON object a line on stdout, for each case and each object; `speedup` is over the last object. A program of its own, so that neither a BLAS nor a candidate
 * is loaded into attune. Before any kernel runs, seccomp leaves this process what computing needs: no files, no network,
 * no new programs. Objects take turns, call by call, so that they meet the same machine. Figures from here are
 * information; no score is made of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <seccomp.h>
#include <sys/prctl.h>
#endif

#include "base/clock.h"
#include "base/rng.h"
#include "base/status.h"
#include "module/linear.h"
#include "module/module.h"
#include "problem/problem.h"

enum { OBJECTS_MAX = 2, CALLS_MIN = 3, CALLS_MAX = 200 };

static int fail(const char *text)
{
    fprintf(stderr, "attune-module: %s\n", text);
    return 2;
}

/* ---- the sandbox ---- */

/* False: the filter could not be put on. */
static bool lock_down(void)
{
#ifdef __linux__
    static const int calls[] = {SCMP_SYS(write),        SCMP_SYS(exit),          SCMP_SYS(exit_group),  SCMP_SYS(mmap),
                                SCMP_SYS(munmap),       SCMP_SYS(mremap),        SCMP_SYS(mprotect),    SCMP_SYS(brk),
                                SCMP_SYS(madvise),      SCMP_SYS(futex),         SCMP_SYS(sched_yield), SCMP_SYS(nanosleep),
                                SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(rt_sigreturn),
                                SCMP_SYS(rt_sigprocmask), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(fstat),
                                SCMP_SYS(newfstatat),   SCMP_SYS(sched_getaffinity), SCMP_SYS(getrandom),
                                SCMP_SYS(sysinfo) /* qsort of more than 1 KB: how much memory is there? */};
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!f) return false;
    int bad = 0;
    for (int i = 0; i < ATN_COUNT(calls); i++) bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
    /* A BLAS may look for its settings and the shape of the machine, and wish for memory of one node (OpenBLAS: mbind, in
     * some calls only): it finds and gets nothing. */
    static const int denied[] = {SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(mbind), SCMP_SYS(get_mempolicy),
                                 SCMP_SYS(set_mempolicy)};
    for (int i = 0; i < ATN_COUNT(denied); i++) bad |= seccomp_rule_add(f, SCMP_ACT_ERRNO(2), denied[i], 0);
#ifdef __x86_64__
    enum { ARCH_REQ_XCOMP_PERM = 0x1023 }; /* AMX tiles, which planning asks for */
    bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(arch_prctl), 1, SCMP_A0(SCMP_CMP_EQ, ARCH_REQ_XCOMP_PERM));
#endif
    bad = bad || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || seccomp_load(f);
    seccomp_release(f);
    return !bad;
#else
    return true;
#endif
}

/* ---- one case ---- */

static float *random_floats(size_t n, double size, atn_rng *rng)
{
    float *x = atn_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)(size * (2 * rng_f64(rng) - 1));
    return x;
}

static bool fits(const atn_problem *p)
{
    return p->dtype_q == ATN_F32 && p->D == p->Dv && p->D % 2 == 0 && p->Skv >= p->Sq && p->mask < 0 && !p->sinks &&
           !p->alibi && !p->lse && p->causal != ATN_CAUSAL_TOP_LEFT && p->window_right <= 0 && p->scale == 0;
}

static module_shape shape_of(const atn_problem *p)
{
    module_shape s = module_shape_default();
    s.Hq = p->Hq, s.Hkv = p->Hkv, s.D = p->D, s.hidden = p->Hq * p->D;
    s.softcap = p->softcap;
    s.causal = p->causal != ATN_CAUSAL_NONE;
    s.window = p->window_left >= 0 ? p->window_left + 1 : 0;
    return s;
}

typedef struct {
    float *q, *k, *v, *o, *norm, *x, *y;
    module_weights w;
} tensors;

static tensors tensors_make(const atn_problem *p, const module_shape *s)
{
    atn_rng rng = rng_make(8, 0, 0);
    size_t qo = (size_t)s->Hq * s->D * s->hidden, kv = (size_t)s->Hkv * s->D * s->hidden;
    size_t io = (size_t)p->B * p->Sq * s->hidden;
    double size = 1 / sqrt(s->hidden);
    tensors t = {.q = random_floats(qo, size, &rng), .k = random_floats(kv, size, &rng), .v = random_floats(kv, size, &rng),
                 .o = random_floats(qo, size, &rng), .norm = random_floats((size_t)s->D, 1, &rng),
                 .x = random_floats(io, 1, &rng), .y = atn_alloc(io * sizeof(float))};
    for (int d = 0; d < s->D; d++) t.norm[d] = 1 + 0.1f * t.norm[d];
    t.w = (module_weights){t.q, t.k, t.v, t.o, t.norm, t.norm};
    return t;
}

static void tensors_free(tensors *t)
{
    free(t->q), free(t->k), free(t->v), free(t->o), free(t->norm), free(t->x), free(t->y);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, compare);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* Times of one forward of each module, in turns, until `seconds` are gone. */
static int time_case(atn_module **m, int n, const atn_problem *p, const tensors *t, double seconds,
                     double total[OBJECTS_MAX][CALLS_MAX], double attention[OBJECTS_MAX][CALLS_MAX], atn_error *err)
{
    double end = clock_s() + seconds;
    int calls = -1; /* the first round warms up */
    while (calls < CALLS_MIN || (clock_s() < end && calls < CALLS_MAX)) {
        for (int turn = 0; turn < n; turn++) {
            int i = calls & 1 ? n - 1 - turn : turn;
            module_stats before, after;
            module_stats_get(m[i], &before);
            if (module_forward(m[i], t->x, p->Sq, t->y, err)) return -1;
            module_stats_get(m[i], &after);
            module_rewind(m[i], p->Sq);
            if (calls < 0) continue;
            total[i][calls] = after.total_s - before.total_s;
            attention[i][calls] = after.attention_s - before.attention_s;
        }
        calls++;
    }
    return calls;
}

static void print(const char *text, int i, const atn_problem *p, const module_stats *s, double total, double attention,
                  double ratio, int calls)
{
    if (!text) return;
    printf("{\"case\": \"%s\", \"object\": %d, \"kernel\": \"%s\", \"own\": %s, \"why\": \"%s\", \"calls\": %d, \"ms\": %.6g, "
           "\"tokens_per_s\": %.6g, \"attention_share\": %.4f, \"attention_ms\": %.6g, \"speedup\": %.5g, \"blas\": \"%s\"}\n",
           text, i, s->kernel, s->own ? "true" : "false", s->why ? s->why : "", calls, total * 1e3, problem_tokens(p) / total, attention / total,
           attention * 1e3, ratio, linear_backend());
    fflush(stdout);
}

static atn_status run_case(const atn_problem *p, const char *text, const atn_kernel *const *kernels, int n, atn_pool *pool,
                           double seconds, atn_error *err)
{
    static double total[OBJECTS_MAX][CALLS_MAX], attention[OBJECTS_MAX][CALLS_MAX], ratio[CALLS_MAX];
    module_shape s = shape_of(p);
    tensors t = tensors_make(p, &s);
    atn_module *m[OBJECTS_MAX] = {0};
    atn_status st = ATN_OK;
    for (int i = 0; i < n && !st; i++) {
        module_options o = {.batch = p->B, .capacity = ATN_MAX(p->Skv, p->cache_rows), .cache_type = p->dtype_kv,
                            .kernel = kernels[i], .pool = pool};
        st = module_create(&s, &t.w, &o, &m[i], err);
        if (!st) module_fill(m[i], p->Skv - p->Sq);
    }
    int calls = st ? 0 : time_case(m, n, p, &t, seconds, total, attention, err);
    if (calls < 0) st = err->code;
    for (int i = 0; i < n && !st; i++) {
        module_stats stats;
        module_stats_get(m[i], &stats);
        for (int c = 0; c < calls; c++) ratio[c] = total[n - 1][c] / total[i][c];
        double r = median(ratio, calls);
        /* Sorting total[i] is fine: only the last one's order is needed by others, and it comes last. */
        print(text, i, p, &stats, median(total[i], calls), median(attention[i], calls), r, calls);
    }
    for (int i = 0; i < n; i++) module_free(m[i]);
    tensors_free(&t);
    return st;
}

int main(int argc, char **argv)
{
    int dashes = 3;
    while (dashes < argc && strcmp(argv[dashes], "--")) dashes++;
    int n = dashes - 3;
    if (argc < 5 || n < 1 || n > OBJECTS_MAX || dashes == argc)
        return fail("a part of attune, not started by hand; see 'attune help eval'");
    int threads = atoi(argv[1]);
    double seconds = atof(argv[2]);
    const atn_kernel *kernels[OBJECTS_MAX];
    atn_error err = {0};
    atn_pool *pool = NULL;
    for (int i = 0; i < n; i++)
        if (atn_kernel_load(argv[3 + i], NULL, &kernels[i], &err)) return fail(err.text);
    linear_threads(threads);
    if (threads > 1 && atn_pool_create(&(atn_pool_options){.threads = threads}, &pool, &err)) return fail(err.text);
    /* What a library reads once (the CPU, its settings) is read before the filter, by a small module of our own kernel. */
    atn_problem small = problem_default();
    small.Sq = small.Skv = 32;
    const atn_kernel *none[1] = {NULL};
    setenv("ATTUNE_WISDOM", "", 1);
    if (run_case(&small, NULL, none, 1, pool, 0.001, &err)) return fail(err.text);
    if (!lock_down()) return fail("seccomp is not to be had here");
    for (int i = dashes + 1; i < argc; i++) {
        atn_problem p;
        if (problem_parse(argv[i], &p, &err)) return fail(err.text);
        if (!fits(&p)) {
            printf("{\"case\": \"%s\", \"skipped\": \"a module takes f32 inputs, one head size, no mask, sinks or slopes\"}\n",
                   argv[i]);
            continue;
        }
        if (run_case(&p, argv[i], kernels, n, pool, seconds, &err)) return fail(err.text);
    }
    fflush(stdout);
    _exit(0); /* threads of a BLAS are not joined: the filter may not let them */
}
