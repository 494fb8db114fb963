/* Conformance: every kernel x every problem of the correctness suites, against fp64 and against the laws of attention.
 *
 *     conformance [--needs FEATURE]... [--tiny] [--laws] [--case TEXT [--data KIND] [--seed N]] KERNEL.so ...
 *
 * Our own kernels, in this process. The host is as unkind as the contract allows: each buffer ends at an unmapped page
 * (and, in a second pass, begins after one), inputs cannot be written, outputs are poisoned, scratch is filled with NaN
 * before each task, the block for the call likewise, tasks of a phase run backwards or shuffled, and the plan is made
 * for 1 and for 5 threads. Runs of one plan in any order must agree bit for bit. A crash names its case. Output is TAP,
 * one test per kernel; each failure prints the line that reruns it. With CONFORMANCE_LINKED the one kernel is linked in
 * (for emulators). */
#include <dlfcn.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#endif

#include "problem/laws.h"
#include "problem/reference.h"
#include "problem/suite.h"

#ifndef CONFORMANCE_LINKED
#include "base/cpu.h"
#endif

/* ---- memory between unmapped pages ---------------------------------------------------------------------------- */

typedef struct {
    char *map, *data;
    size_t map_bytes, bytes, page;
} guarded;

/* The block ends (or begins) at an unmapped page, as far as its alignment allows. `align` is what the contract
 * promises. */
static guarded guard(size_t bytes, size_t align, bool at_begin)
{
    guarded g = {.page = (size_t)sysconf(_SC_PAGESIZE), .bytes = bytes};
    size_t body = (bytes + g.page - 1) / g.page * g.page;
    if (bytes == 0) return g;
    g.map_bytes = body + 2 * g.page;
    g.map = mmap(NULL, g.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ATN_CHECK(g.map != MAP_FAILED);
    ATN_CHECK(mprotect(g.map + g.page, body, PROT_READ | PROT_WRITE) == 0);
    g.data = at_begin ? g.map + g.page : g.map + g.page + (body - bytes) / align * align;
    return g;
}

static void protect(const guarded *g, int prot)
{
    if (g->map) ATN_CHECK(mprotect(g->map + g->page, g->map_bytes - 2 * g->page, prot) == 0);
}

static void release(guarded *g)
{
    if (g->map) munmap(g->map, g->map_bytes);
    *g = (guarded){0};
}

typedef struct {
    guarded block[ATN_T_COUNT];
    atn_layout l;
    atn_args a;
} buffers;

static bool is_input(int t) { return t != ATN_T_O && t != ATN_T_LSE; }

static void buffers_create(buffers *x, const atn_problem *p, bool at_begin)
{
    char *at[ATN_T_COUNT];
    problem_layout(p, &x->l);
    x->a = x->l.args;
    const atn_tensor *const tensors[] = {&x->a.q, &x->a.k, &x->a.v, &x->a.o, &x->a.mask};
    for (int t = 0; t < ATN_T_COUNT; t++) {
        size_t element = t > ATN_T_MASK ? 4 : (size_t)dtype_bytes(tensors[t]->dtype);
        size_t off = p->misalign && at_begin ? element : 0;   /* at the end, any odd size is misaligned by itself */
        x->block[t] = guard((size_t)x->l.bytes[t] + (x->l.bytes[t] ? off : 0),
                            p->misalign    ? element
                            : element == 1 ? 1
                                           : 4,
                            at_begin);
        at[t] = x->block[t].data ? x->block[t].data + off : NULL;
    }
    x->a.q.ptr = at[ATN_T_Q];
    x->a.k.ptr = at[ATN_T_K];
    x->a.v.ptr = at[ATN_T_V];
    x->a.o.ptr = at[ATN_T_O];
    x->a.mask.ptr = at[ATN_T_MASK];
    x->a.sinks = (const float *)at[ATN_T_SINKS];
    x->a.alibi = (const float *)at[ATN_T_ALIBI];
    x->a.lse = (float *)at[ATN_T_LSE];
}

static void buffers_protect(buffers *x)
{
    for (int t = 0; t < ATN_T_COUNT; t++)
        if (is_input(t)) protect(&x->block[t], PROT_READ);
}

static void buffers_release(buffers *x)
{
    for (int t = 0; t < ATN_T_COUNT; t++) release(&x->block[t]);
}

/* ---- running -------------------------------------------------------------------------------------------------- */

typedef enum { ORDER_FORWARD, ORDER_BACKWARD, ORDER_SHUFFLED } order;

static void task_order(int *tasks, int n, order o, atn_rng *rng)
{
    for (int i = 0; i < n; i++) tasks[i] = o == ORDER_BACKWARD ? n - 1 - i : i;
    for (int i = n - 1; o == ORDER_SHUFFLED && i > 0; i--) {
        int k = (int)rng_below(rng, (uint32_t)i + 1), t = tasks[i];
        tasks[i] = tasks[k];
        tasks[k] = t;
    }
}

/* NULL, or what is wrong with the plan. */
static const char *execute(const atn_kernel *k, const atn_args *a, int threads, order o, uint64_t seed)
{
    atn_plan plan = {0};
    atn_rng rng = rng_make(seed, 0x0de5, 0);
    if (k->plan(a, threads, &plan) != 0) return "plan failed though can_run agreed";
    if (plan.phases < 1 || plan.phases > ATN_PHASES_MAX || plan.shared_bytes < 0 || plan.scratch_bytes < 0)
        return "plan is malformed";
    guarded shared = guard((size_t)plan.shared_bytes, 64, false),
            scratch = guard((size_t)plan.scratch_bytes, 64, false);
    const char *wrong = NULL;
    if (shared.data) memset(shared.data, 0xff, shared.bytes);
    for (int phase = 0; phase < plan.phases && !wrong; phase++) {
        int n = plan.tasks[phase];
        if (n < 1) {
            wrong = "a phase has no task";
            break;
        }
        int *tasks = atn_alloc((size_t)n * sizeof *tasks);
        task_order(tasks, n, o, &rng);
        for (int i = 0; i < n; i++) {
            if (scratch.data) memset(scratch.data, 0xff, scratch.bytes);
            k->run(a, &plan, phase, tasks[i], shared.data, scratch.data);
        }
        free(tasks);
    }
    release(&shared);
    release(&scratch);
    return wrong;
}

/* ---- one problem ---------------------------------------------------------------------------------------------- */

typedef struct {
    const char *file;
    const atn_kernel *k;
    int run, refused, failed, laws;
    double worst;           /* error / tolerance */
    char worst_case[300];
} subject;

static char now[600];       /* what runs at this moment, for the signal handler */

static void on_crash(int sig)
{
    static const char head[] = "\n# crashed in: ";
    ssize_t n = write(2, head, sizeof head - 1);
    n += write(2, now, strlen(now));
    n += write(2, "\n", 1);
    (void)n;
    signal(sig, SIG_DFL);
    raise(sig);
}

static void rerun_line(char *out, size_t room, const subject *s, const char *text, atn_data data, uint64_t seed)
{
    snprintf(out, room, "conformance --case \"%s\" --data %s --seed %llu %s", text, data_name(data),
             (unsigned long long)seed, s->file);
}

static void report(subject *s, const char *what, const char *detail)
{
    s->failed++;
    printf("# FAILED: %s (%s)\n#   rerun: %s\n", what, detail, now);
}

static void poison(buffers *x)
{
    poison_fill(x->a.o.ptr, x->l.bytes[ATN_T_O]);
    if (x->a.lse) poison_fill(x->a.lse, x->l.bytes[ATN_T_LSE]);
}

static void check_against_truth(subject *s, buffers *x, const atn_case *t, const char *text, uint64_t seed)
{
    atn_rng rows = rng_make(seed, 1, 0);
    atn_compare c;
    atn_tolerance tol = tolerance_for(&t->problem, (int)t->data, 1);
    reference_compare(&x->a, problem_flops(&t->problem) > 3e8 ? 64 : 0, &rows, &c);
    const char *verdict = tolerance_verdict(&c, &tol);
    double ratio = fmax(c.rel_l2 / tol.rel_l2, fmax(c.row_worst / tol.row_worst, c.lse_worst / tol.lse));
    if (ratio > s->worst) {
        s->worst = ratio;
        snprintf(s->worst_case, sizeof s->worst_case, "%s %s", text, data_name(t->data));
    }
    char detail[400];
    snprintf(detail, sizeof detail, "rel %.3g of %.3g, row %.3g of %.3g, lse %.3g of %.3g; %s", c.rel_l2, tol.rel_l2,
             c.row_worst, tol.row_worst, c.lse_worst, tol.lse, c.detail);
    if (verdict) report(s, verdict, detail);
}

static void check_case(subject *s, const atn_case *t, uint64_t seed)
{
    static const struct {
        int threads;
        order o;
    } ways[] = {{1, ORDER_FORWARD}, {1, ORDER_BACKWARD}, {5, ORDER_FORWARD}, {5, ORDER_SHUFFLED}};
    char text[256];
    problem_print(&t->problem, text, sizeof text);
    rerun_line(now, sizeof now, s, text, t->data, seed);
    bool large = problem_flops(&t->problem) > 5e7;            /* for these, one placement and one plan will do */
    for (int at_begin = 0; at_begin < 2 - large; at_begin++) {
        buffers x;
        atn_rng rng = rng_make(seed, 0, 0);
        buffers_create(&x, &t->problem, at_begin);
        if (!s->k->can_run(&x.a)) {
            s->refused++;
            buffers_release(&x);
            return;
        }
        data_fill(&t->problem, &x.l, &x.a, t->data, &rng);
        buffers_protect(&x);
        char *first = atn_alloc((size_t)(x.l.bytes[ATN_T_O] + x.l.bytes[ATN_T_LSE]));
        for (int w = large ? 2 : 0; w < ATN_COUNT(ways); w++) {
            poison(&x);
            const char *wrong = execute(s->k, &x.a, ways[w].threads, ways[w].o, seed);
            if (wrong) {
                report(s, wrong, "plan");
                break;
            }
            if (ways[w].o == ORDER_FORWARD) {
                if (!at_begin) check_against_truth(s, &x, t, text, seed);
                memcpy(first, x.a.o.ptr, (size_t)x.l.bytes[ATN_T_O]);
                if (x.a.lse) memcpy(first + x.l.bytes[ATN_T_O], x.a.lse, (size_t)x.l.bytes[ATN_T_LSE]);
            } else if (memcmp(first, x.a.o.ptr, (size_t)x.l.bytes[ATN_T_O]) ||
                       (x.a.lse && memcmp(first + x.l.bytes[ATN_T_O], x.a.lse, (size_t)x.l.bytes[ATN_T_LSE]))) {
                report(s, "order", "another order of tasks gives other bits");
            }
        }
        free(first);
        buffers_release(&x);
    }
    s->run++;
}

static bool call_kernel(void *ctx, const atn_args *a)
{
    subject *s = ctx;
    return s->k->can_run(a) && !execute(s->k, a, 1, ORDER_FORWARD, 0);
}

static void check_laws(subject *s, bool tiny, uint64_t seed)
{
    static const char *const texts[] = {
        "f32 h4/2 s150 d64",
        "f32 h2 s70/130 d64 causal",
        "f32 h2/1 s40 d128",
        "f32 h2 s1/700 d64",
        "f32 h2 s100/60 d80 causal",
        "f32 h4/2 s50 d64 mask=bool",
        "f32 h4/2 s50 d64 mask=f32 causal",
        "f32 h2 s90 d64 window=20,5",
        "f32 h2 s60 d64 causal sinks alibi lse",
        "f32 h2 s60 d64 softcap=5",
        "f16 h4/2 s70 d64 causal",
        "bf16 h4/2 s70 d64",
        "bf16 h4/2 s130 d64 causal lse",
        "f32:bf16 h4/2 s40 d64 causal",
        "f32 h2/1 s300 d64 causal cache=400 layout=bshd",
    };
    for (int t = 0; t < ATN_COUNT(texts); t++) {
        atn_problem p;
        atn_law laws[ATN_LAWS];
        char detail[64];
        ATN_CHECK(problem_parse(texts[t], &p, NULL) == ATN_OK);
        if (tiny && problem_flops(&p) > 1.5e6) continue;
        rerun_line(now, sizeof now, s, texts[t], ATN_DATA_NORMAL, seed);
        laws_check(&p, seed, 1, call_kernel, s, laws);
        for (int i = 0; i < ATN_LAWS; i++) {
            s->laws += laws[i].applies;
            snprintf(detail, sizeof detail, "law off by %.3g", laws[i].error);
            if (!laws[i].holds) report(s, laws[i].name, detail);
        }
    }
}

/* ---- the program ---------------------------------------------------------------------------------------------- */

typedef struct {
    bool tiny, laws;
    const char *text, *data;
    uint64_t seed;
    atn_suite suite;
} options;

static void list_cases(options *o)
{
    static const char *const names[] = {"accuracy", "stability", "robustness", "heldout", "seed"};
    atn_error err;
    if (o->text) {
        if (suite_add_case(&o->suite, o->text, &err) != ATN_OK) {
            fprintf(stderr, "conformance: %s\n", err.text);
            exit(2);
        }
        for (int k = 0; o->data && k < ATN_DATA_COUNT; k++)
            if (!strcmp(o->data, data_name((atn_data)k))) o->suite.cases[0].data = (atn_data)k;
        return;
    }
    for (int i = 0; i < ATN_COUNT(names); i++) ATN_CHECK(suite_add(&o->suite, names[i], NULL) == ATN_OK);
    int kept = 0;
    for (int k = 0; k < o->suite.count; k++)
        if (!o->tiny || problem_flops(&o->suite.cases[k].problem) <= 4e5) o->suite.cases[kept++] = o->suite.cases[k];
    o->suite.count = kept;
}

static bool check_kernel(const options *o, const char *file, const atn_kernel *k, int number)
{
    subject s = {.file = file, .k = k};
    if (k->abi != ATN_KERNEL_ABI) {
        printf("not ok %d - %s: abi %u, want %d\n", number, file, k->abi, ATN_KERNEL_ABI);
        return false;
    }
    for (int i = 0; i < o->suite.count; i++)
        check_case(&s, &o->suite.cases[i], o->seed + (uint64_t)i * (o->text == NULL));
    if (o->laws || o->text == NULL) check_laws(&s, o->tiny, o->seed);
    printf("# %s: %d problems, %d refused, %d laws; worst error is %.2f of its tolerance, at '%s'\n", k->name, s.run,
           s.refused, s.laws, s.worst, s.worst_case);
    bool ok = s.failed == 0;
    printf("%s %d - %s%s\n", ok ? "ok" : "not ok", number, k->name,
           s.run ? "" : " # SKIP it refuses every problem on this machine");
    fflush(stdout);
    return ok;
}

/* A machine with matrix tiles gives them to processes that ask. */
static void ask_for_tiles(void)
{
#if defined(__x86_64__) && defined(__linux__)
    syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */);
#endif
}

int main(int argc, char **argv)
{
    options o = {.seed = 1};
    int i = 1, bad = 0;
    for (; i < argc && argv[i][0] == '-'; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--tiny")) o.tiny = true;
        else if (!strcmp(argv[i], "--laws")) o.laws = true;
        else if (!strcmp(argv[i], "--case")) o.text = value, i++;
        else if (!strcmp(argv[i], "--data")) o.data = value, i++;
        else if (!strcmp(argv[i], "--seed")) o.seed = strtoull(value, NULL, 10), i++;
#ifndef CONFORMANCE_LINKED
        else if (!strcmp(argv[i], "--needs")) {
            i++;
            if (machine_has(value)) continue;
            printf("1..0 # SKIP this machine has no %s\n", value);
            return 0;
        }
#endif
        else {
            fprintf(stderr, "conformance: unknown option '%s'; see the top of conformance.c\n", argv[i]);
            return 2;
        }
    }
    list_cases(&o);
    ask_for_tiles();
    for (int sig = 0; sig < 4; sig++) signal((int[]){SIGSEGV, SIGBUS, SIGILL, SIGFPE}[sig], on_crash);
#ifdef CONFORMANCE_LINKED
    printf("1..1\n");
    bad += !check_kernel(&o, "linked", &attune_kernel, 1);
#else
    printf("1..%d\n", argc - i);
    for (int n = 1; i < argc; i++, n++) {
        void *so = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        const atn_kernel *k = so ? dlsym(so, "attune_kernel") : NULL;
        if (k) bad += !check_kernel(&o, argv[i], k, n);
        else {
            printf("not ok %d - %s: %s\n", n, argv[i], dlerror());
            bad++;
        }
    }
#endif
    suite_free(&o.suite);
    return bad ? 1 : 0;
}
