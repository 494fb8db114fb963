/* The run worker and its hand-shake: an honest kernel computes, a dishonest or broken one costs its own verdict only.
 */
#include "kernels.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

/* One job with inputs, and a worker with a kernel. */
typedef struct {
    atn_arena *arena;
    atn_worker *worker;
    atn_verdict v;
    build_result built;
} bench;

static void set_up_how(bench *b, const char *source, const char *problem, int slots, int threads, bool unchecked)
{
    *b = (bench){0};
    atn_error err;
    atn_job job = {.slots = slots};
    assert_int_equal(problem_parse(problem, &job.problem, &err), ATN_OK);
    if (arena_create(&job, 1, &b->arena, &err) != ATN_OK) fail_msg("%s", err.text);
    for (int s = 0; s < slots; s++) {
        atn_rng rng = rng_make(7, 1, (uint64_t)s);
        data_fill(&job.problem, arena_layout(b->arena, 0), arena_args(b->arena, 0, s), ATN_DATA_NORMAL, &rng);
    }
    build_options how = {.whole_file = true, .unchecked = unchecked};
    if (build_run(&how, source, NULL, &b->built, &err) != ATN_OK) fail_msg("%s", err.text);
    if (b->built.reason != ATN_REASON_OK) fail_msg("%s: %s", reason_word(b->built.reason), b->built.evidence);
    if (worker_start(&(worker_options){.threads = threads, .cpu = -1}, b->built.so_fd, b->arena, &b->worker, &b->v,
                     &err) != ATN_OK)
        fail_msg("%s", err.text);
}

static void set_up(bench *b, const char *source, const char *problem, int slots, int threads)
{
    set_up_how(b, source, problem, slots, threads, false);
}

static void tear_down(bench *b)
{
    worker_free(b->worker);
    arena_free(b->arena);
    build_release(&b->built);
}

static void check_right(bench *b, int slot, double tolerance)
{
    atn_compare c;
    atn_rng rng = rng_make(1, 2, 3);
    reference_compare(worker_args(b->worker, 0, slot), 0, &rng, &c);
    if (c.poison || c.nonfinite || !(c.rel_l2 <= tolerance))
        fail_msg("slot %d: error %g, %ld poisoned; %s", slot, c.rel_l2, (long)c.poison, c.detail);
}

static void honest_kernel(const char *problem, int threads)
{
    bench b;
    set_up(&b, honest_source(), problem, 3, threads);
    if (!b.worker) fail_msg("%s: %s", reason_word(b.v.reason), b.v.evidence);
    int can;
    atn_plan plan;
    if (!worker_plan(b.worker, 0, &can, &plan, &b.v)) fail_msg("%s: %s", reason_word(b.v.reason), b.v.evidence);
    assert_true(can);
    for (int turn = 0; turn < 5; turn++) {
        worker_time t;
        if (!worker_call(b.worker, 0, 0, 3, 20, &t, &b.v)) fail_msg("%s: %s", reason_word(b.v.reason), b.v.evidence);
        assert_true(t.wall_ns > 0 && t.cpu_ns > 0);
        for (int s = 0; s < 3; s++) check_right(&b, s, 5e-6);
    }
    tear_down(&b);
}

static void an_honest_kernel_is_right(void **state)
{
    (void)state;
    honest_kernel("f32 h4/2 s67 d64 causal lse", 1);
}
static void an_honest_kernel_is_right_with_threads(void **state)
{
    (void)state;
    honest_kernel("f32 h4/2 s129 d64 causal", 3);
}
static void an_honest_kernel_is_right_misaligned(void **state)
{
    (void)state;
    honest_kernel("f32 h2 s33/65 d40 misalign mask=f32 sinks alibi", 2);
}

/* What a broken kernel gets. `body` is the text of run(). */
static void gets(const char *body, atn_reason want, const char *evidence)
{
    bench b;
    char *source = kernel_of(body);
    set_up(&b, source, "f32 h2 s16 d32", 2, 1);
    int64_t begin = clock_ns();
    worker_time t;
    if (b.worker && worker_call(b.worker, 0, 0, 2, 0.5, &t, &b.v)) b.v.reason = ATN_REASON_OK;
    if (b.v.reason != want || !strstr(b.v.evidence, evidence))
        fail_msg("expected %s (%s), got %s: %s", reason_word(want), evidence, reason_word(b.v.reason), b.v.evidence);
    assert_true(clock_ns() - begin < 20000000000ll); /* it ends, however busy the machine */
    tear_down(&b);
    free(source);
}

static void broken_kernels_get_their_reason(void **state)
{
    (void)state;
    gets("for (;;) {}", ATN_REASON_TIMEOUT, "0.5 s");
    gets("*(volatile int *)8 = 1;", ATN_REASON_CRASH, "wrote address 0x8");
    gets("__builtin_trap();", ATN_REASON_CRASH, "");
    gets("((float *)a->q.ptr)[5] = 1;", ATN_REASON_OUT_OF_BOUNDS, "wrote in q at byte 20");
    gets("((float *)a->o.ptr)[2 * 16 * 32] = 1;", ATN_REASON_OUT_OF_BOUNDS, "past the end of o");
    gets("((float *)a->o.ptr)[-1] = 1;", ATN_REASON_OUT_OF_BOUNDS, "before the begin of o");
    gets("((volatile float *)a->k.ptr)[2 * 16 * 32];", ATN_REASON_OUT_OF_BOUNDS, "read 0 bytes past the end of k");
    gets("((volatile char *)shared)[64] = 1;", ATN_REASON_OUT_OF_BOUNDS, "workspace");
    gets("volatile char big[16 << 20]; for (int i = 0; i < 16 << 20; i += 64) big[i] = 1;", ATN_REASON_CRASH,
         "stack overflow");
}

#ifdef __x86_64__
/* Works long, says that it is done, works on and so is called again on the same inputs, when it has the answer: the
 * time is that of both calls. Its output says how often it worked and whether it did in the last call. Finds the
 * control page as zoo/late_work.c does. */
static const char late_once[] =
    "unsigned *c = 0; int *turn = shared; float *o = a->o.ptr;\n"
    "for (unsigned long *at = (unsigned long *)((unsigned long)__builtin_return_address(0) & -4096ul); !c; at++) {\n"
    "    unsigned long x = *at, q = (unsigned long)a->q.ptr; int n = 0;\n"
    "    if (x % 4096 || x >> 45 != 3 || (x <= q && q - x < 1ul << 33)) continue;\n"
    "    for (int i = 1; i < 24; i++) n += at[i] > x && at[i] - x < 1ul << 20 && at[i] % 64 == 0;\n"
    "    for (int i = 1; i < 128; i++) n += at[-i] > x && at[-i] - x < 1ul << 20 && at[-i] % 64 == 0;\n"
    "    if (n && *(unsigned *)x == 0x61746e31u) c = (unsigned *)x;\n"
    "}\n"
    "if (turn[0] == -1) turn[0] = turn[1] = 0;\n"
    "int long_call = turn[0] ^= 1;\n"
    "turn[1] += long_call;\n"
    "o[0] = turn[1]; o[1] = long_call;\n"
    "if (!long_call) return;\n"
    "for (volatile int i = 0; i < 10000000; i++) {}\n"
    "long r; c[64] = c[32];\n"
    "__asm__ volatile(\"syscall\" : \"=a\"(r) : \"a\"(202), \"D\"(c + 64), \"S\"(1), \"d\"(1)\n"
    "                 : \"rcx\", \"r11\", \"memory\");\n"
    "for (volatile int i = 0; i < 1000000; i++) {}\n";

static void what_late_calls_took_counts(void **state)
{
    (void)state;
    char *source = kernel_of(late_once);
    bool seen = false;
    for (int i = 0; i < 20 && !seen; i++) { /* where the machine steals the stop may come before it is late */
        bench b;
        worker_time t;
        set_up_how(&b, source, "f32 h1 s2 d2", 1, 1, true);
        if (!b.worker || !worker_call(b.worker, 0, 0, 1, 20, &t, &b.v))
            fail_msg("%s: %s", reason_word(b.v.reason), b.v.evidence);
        const float *o = worker_args(b.worker, 0, 0)->o.ptr;
        assert_true(o[0] >= 1);
        seen = o[1] == 0;
        if (t.cpu_ns < 2000000) fail_msg("%.0f long calls in %.0f us", o[0], t.cpu_ns * 1e-3);
        tear_down(&b);
    }
    assert_true(seen);
    free(source);
}
#endif

static int open_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static void nothing_is_left(void **state)
{
    (void)state;
    int before = open_fds();
    for (int i = 0; i < 20; i++) {
        bench b;
        char *source = kernel_of(i % 2 ? "" : "__builtin_trap();");
        set_up(&b, source, "f32 h1 s8 d16", 1, 1 + i % 2);
        worker_time t;
        if (i % 3) worker_call(b.worker, 0, 0, 1, 1, &t, &b.v);
        tear_down(&b);
        free(source);
    }
    assert_int_equal(open_fds(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no children, dead or alive */
}

static void the_hand_shake_is_small(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        link_cost c = link_overhead(threads, -1);
        print_message("# hand-shake of %d threads: %.1f us wall, %.1f us cpu; the least: %.1f and %.1f us\n", threads,
                      c.wall * 1e-3, c.cpu * 1e-3, c.least_wall * 1e-3, c.least_cpu * 1e-3);
        assert_true(c.least_wall > 0 && c.least_cpu > 0 && c.least_wall <= c.wall && c.least_cpu <= c.cpu);
        assert_true(c.least_wall < 200e3); /* the median is a matter of what else the machine does */
    }
}

/* A batch system sends SIGCONT to all processes of a job that it resumes; here somebody does nothing else for a while.
 */
static void foreign_signals_only_delay(void **state)
{
    (void)state;
    bench b;
    set_up(&b, honest_source(), "f32 h1 s16 d32", 1, 1);
    pid_t victim = worker_pid(b.worker), somebody = fork();
    if (somebody == 0)
        for (int64_t end = clock_ns() + 500000000;;) {
            if (kill(victim, SIGCONT) != 0 || clock_ns() > end) _exit(0);
        }
    assert_true(somebody > 0);
    for (bool more = true; more;) { /* until it has ended, and once after */
        more = waitpid(somebody, NULL, WNOHANG) == 0;
        worker_time t;
        if (!worker_call(b.worker, 0, 0, 1, 20, &t, &b.v)) fail_msg("%s: %s", reason_word(b.v.reason), b.v.evidence);
        check_right(&b, 0, 5e-6);
    }
    tear_down(&b);
}

static void the_caller_gets_its_cpus_back(void **state)
{
    (void)state;
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    bench b;
    set_up(&b, honest_source(), "f32 h1 s16 d32", 1, 1);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before)) cpu++;
    atn_worker *w[2];
    for (int i = 0; i < 2; i++) {
        worker_options o = {.threads = 1, .cpu = cpu};
        assert_int_equal(worker_start(&o, b.built.so_fd, b.arena, &w[i], &b.v, NULL), ATN_OK);
    }
    worker_free(w[0]);
    worker_free(w[1]);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    tear_down(&b);
}

/* The CPUs of a worker's threads: each has one, and no two the same. */
static void check_cpus(bench *b, int threads, int first, cpu_set_t *seen)
{
    atn_worker *w;
    worker_options o = {.threads = threads, .cpu = first};
    assert_int_equal(worker_start(&o, b->built.so_fd, b->arena, &w, &b->v, NULL), ATN_OK);
    assert_non_null(w);
    char path[40];
    int found = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)worker_pid(w));
    DIR *d = opendir(path);
    CPU_ZERO(seen);
    for (struct dirent *e; d && (e = readdir(d));) {
        cpu_set_t set;
        if (e->d_name[0] == '.') continue;
        assert_int_equal(sched_getaffinity(atoi(e->d_name), sizeof set, &set), 0);
        assert_int_equal(CPU_COUNT(&set), 1);
        CPU_OR(seen, seen, &set);
        found++;
    }
    if (d) closedir(d);
    worker_free(w);
    assert_int_equal(found, threads);
    assert_int_equal(CPU_COUNT(seen), threads);
}

/* Two threads on one CPU would be timed as if the kernel did not scale: locked down, a worker cannot ask how many CPUs
 * there are. From the first CPU on, and from the last, which the first follows. */
static void every_thread_has_its_cpu(void **state)
{
    (void)state;
    cpu_set_t own, seen;
    assert_int_equal(sched_getaffinity(0, sizeof own, &own), 0);
    int threads = ATN_MIN(CPU_COUNT(&own), 4), first = 0, last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(first, &own)) first++;
    while (!CPU_ISSET(last, &own)) last--;
    bench b;
    set_up(&b, honest_source(), "f32 h1 s16 d32", 1, 1);
    for (int i = 0; i < 2; i++) {
        check_cpus(&b, threads, i ? last : first, &seen);
        CPU_OR(&seen, &seen, &own);
        assert_true(CPU_EQUAL(&seen, &own));
    }
    tear_down(&b);
}

static void isolation_says_what_it_has(void **state)
{
    (void)state;
    char text[400];
    atn_isolation level = isolation_probe(text, sizeof text);
    print_message("# isolation %s\n", text);
    assert_non_null(strstr(text, level == ISOLATION_NONE ? "missing here" : "seccomp"));
}

static void costs(void **state)
{
    (void)state;
    bench b;
    set_up(&b, honest_source(), "f32 h4/2 s67 d64", 2, 1);
    enum { N = 40 };
    int64_t start[N], end[N];
    for (int i = 0; i < N; i++) {
        atn_worker *w;
        int64_t t0 = clock_ns();
        assert_int_equal(worker_start(&(worker_options){.threads = 1, .cpu = -1}, b.built.so_fd, b.arena, &w, &b.v,
                                      NULL),
                         ATN_OK);
        int64_t t1 = clock_ns();
        worker_free(w);
        start[i] = t1 - t0;
        end[i] = clock_ns() - t1;
    }
    qsort(start, N, sizeof *start, compare_i64);
    qsort(end, N, sizeof *end, compare_i64);
    print_message("# worker start: median %.2f ms, least %.2f ms; end: median %.2f ms\n", start[N / 2] * 1e-6,
                  start[0] * 1e-6, end[N / 2] * 1e-6);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_honest_kernel_is_right),
        cmocka_unit_test(an_honest_kernel_is_right_with_threads),
        cmocka_unit_test(an_honest_kernel_is_right_misaligned),
        cmocka_unit_test(broken_kernels_get_their_reason),
#ifdef __x86_64__
        cmocka_unit_test(what_late_calls_took_counts),
#endif
        cmocka_unit_test(nothing_is_left),
        cmocka_unit_test(the_hand_shake_is_small),
        cmocka_unit_test(foreign_signals_only_delay),
        cmocka_unit_test(the_caller_gets_its_cpus_back),
        cmocka_unit_test(every_thread_has_its_cpu),
        cmocka_unit_test(isolation_says_what_it_has),
        cmocka_unit_test(costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
