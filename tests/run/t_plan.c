/* Every linked-in kernel, and each way to run it, gives what fp64 gives; plans say what they are. */
#include <math.h>
#include <pthread.h>

#include "run_test.h"

#include "base/cpu.h"
#include "run/run_int.h"

static const char *const TEXTS[] = {
    "f32 h4/2 s33 d64",
    "f32 b2 h4/2 s17/40 d24/16 causal lse",
    "f32 h2 s40/17 d64 causal",
    "f32 h4/2 s1/129 d64",
    "f32 h6/2 s5/70 d64 causal sinks alibi softcap=20",
    "f32 h2 s50 d32 causal window=7 mask=f32",
    "f32 h2 s20/31 d64 mask=bool lse",
    "f16 h4/2 s33 d64 causal layout=bshd",
    "bf16 h4/2 s19/45 d64 cache=64 misalign",
    "f32:bf16 h2/1 s16/100 d128 causal",
    "f32:f16 h8/2 s1/300 d128 cache=512 mask=f16",
};

/* ---- every kernel ---- */

static void every_kernel_is_right(void **state)
{
    (void)state;
    atn_error err;
    int ran = 0;
    static const int THREADS[] = {1, 2, 3, 300}; /* 300: far more than there is work for */
    for (int t = 0; t < ATN_COUNT(TEXTS); t++)
        for (int k = 0; atn_kernel_at(k, NULL, NULL); k++) {
            int usable;
            const atn_kernel *table;
            const char *name = atn_kernel_at(k, &table, &usable);
            if (!usable) continue;
            inputs in = data_of(TEXTS[t], 7 + (uint64_t)t);
            atn_planned *p;
            atn_plan_options o = {.kernel = name, .threads = THREADS[t % ATN_COUNT(THREADS)]};
            if (!table->can_run(&in.a)) {
                assert_refused(atn_plan_create(&in.a, &o, &p, &err), ATN_UNSUPPORTED, "does not cover");
            } else {
                char what[200];
                snprintf(what, sizeof what, "%s on '%s'", name, TEXTS[t]);
                assert_ok(atn_plan_create(&in.a, &o, &p, &err));
                assert_ok(atn_execute(p, &in.a, NULL, &err));
                assert_right(&in, what);
                atn_plan_free(p);
                ran++;
            }
            inputs_release(&in);
        }
    assert_true(ran >= ATN_COUNT(TEXTS));
}

/* What a program knows nothing of must not come out as if it knew: a sink that is NaN makes its head's rows NaN, and no
 * other's. */
static void a_sink_that_is_nan_comes_out(void **state)
{
    (void)state;
    atn_error err;
    static const char *const texts[] = {"f32 h2 s3/40 d64 sinks", "bf16 h2 s40 d64 sinks"};
    for (int t = 0; t < ATN_COUNT(texts); t++)
        for (int k = 0; atn_kernel_at(k, NULL, NULL); k++) {
            int usable;
            const atn_kernel *table;
            const char *name = atn_kernel_at(k, &table, &usable);
            inputs in = data_of(texts[t], 3);
            if (usable && table->can_run(&in.a)) {
                ((float *)in.a.sinks)[0] = NAN;
                atn_planned *p;
                assert_ok(atn_plan_create(&in.a, &(atn_plan_options){.kernel = name}, &p, &err));
                assert_ok(atn_execute(p, &in.a, NULL, &err));
                for (int h = 0; h < 2; h++) {
                    const void *at = (const char *)in.a.o.ptr + h * in.a.o.sh;
                    const bool lost = in.a.o.dtype == ATN_F32 ? isnan(*(const float *)at)
                                                              : (*(const uint16_t *)at & 0x7fff) > 0x7f80;
                    if (lost != (h == 0)) fail_msg("%s on '%s': head %d", name, texts[t], h);
                }
                atn_plan_free(p);
            }
            inputs_release(&in);
        }
}

/* ---- every way to run ---- */

static void own_loop(void *host, int tasks, int threads, atn_task_fn fn, void *context)
{
    *(int *)host += 1;
    for (int i = 0; i < tasks; i++) fn(context, i, i % threads); /* one at a time, on rotating scratch */
}

static void host_loop(void **state)
{
    (void)state;
    atn_error err;
    int calls = 0;
    inputs in = data_of("f32 h4/2 s100 d64 causal", 3);
    atn_planned *p;
    atn_plan_options o = {0};
    o.threads = 3, o.parallel_for = own_loop, o.host = &calls, o.flags = ATN_PLAN_HOST_WORKSPACE;
    assert_ok(atn_plan_create(&in.a, &o, &p, &err));
    atn_plan_info info = {.size = sizeof info};
    assert_ok(atn_plan_info_get(p, &info, &err));
    assert_int_equal(info.threads, 3);
    if (atn_plan_workspace(p) > 0) assert_refused(atn_execute(p, &in.a, NULL, &err), ATN_USAGE, "workspace");
    void *workspace = aligned_alloc(64, (size_t)atn_plan_workspace(p) + 64);
    assert_ok(atn_execute(p, &in.a, workspace, &err));
    assert_int_equal(calls, info.phases);
    assert_right(&in, "the host's loop");
    if (atn_plan_workspace(p) > 0)
        assert_refused(atn_execute(p, &in.a, (char *)workspace + 4, &err), ATN_USAGE, "misaligned");
    free(workspace);
    atn_plan_free(p);
    inputs_release(&in);
}

static void pool(void **state)
{
    (void)state;
    atn_error err;
    atn_pool *pool;
    for (int threads = 1; threads <= 5; threads++) {
        atn_pool_options po = {.size = sizeof po,
                               .threads = threads,
                               .pin = threads & 1,
                               .spin_us = threads & 2 ? -1 : 20};
        assert_ok(atn_pool_create(&po, &pool, &err));
        for (int t = 0; t < ATN_COUNT(TEXTS); t++) {
            inputs in = data_of(TEXTS[t], 100 + (uint64_t)t);
            atn_planned *p;
            atn_plan_options o = {.pool = pool};
            assert_ok(atn_plan_create(&in.a, &o, &p, &err));
            for (int again = 0; again < 3; again++) assert_ok(atn_execute(p, &in.a, NULL, &err));
            assert_right(&in, TEXTS[t]);
            atn_plan_free(p);
            inputs_release(&in);
        }
        atn_pool_free(pool);
    }
    assert_refused(atn_pool_create(&(atn_pool_options){.threads = -1}, &pool, &err), ATN_USAGE, "threads");
    assert_refused(atn_pool_create(&(atn_pool_options){.threads = 100000}, &pool, &err), ATN_USAGE, "threads");
    atn_pool_free(NULL);
}

typedef struct {
    int order[1000], n, hits[1000], inside[16], clash;
    atn_pool *pool;
} tally;

static void count_task(void *context, int task, int thread)
{
    tally *t = context;
    if (__atomic_add_fetch(&t->inside[thread], 1, __ATOMIC_SEQ_CST) != 1) t->clash = 1;
    __atomic_add_fetch(&t->hits[task], 1, __ATOMIC_SEQ_CST);
    t->order[__atomic_fetch_add(&t->n, 1, __ATOMIC_SEQ_CST)] = task;
    __atomic_sub_fetch(&t->inside[thread], 1, __ATOMIC_SEQ_CST);
}

static void nested_task(void *context, int task, int thread)
{
    (void)thread;
    tally *t = context;
    static tally inner[4];
    inner[task] = (tally){0};
    pool_run(t->pool, 10, 3, count_task, &inner[task]); /* from inside a task: runs here, alone */
    for (int i = 0; i < 10; i++) __atomic_add_fetch(&t->hits[task], inner[task].hits[i], __ATOMIC_SEQ_CST);
}

static void pool_runs_each_task_once(void **state)
{
    (void)state;
    atn_error err;
    static tally t;
    atn_pool *p;
    assert_ok(atn_pool_create(&(atn_pool_options){.threads = 4}, &p, &err));
    for (int round = 0; round < 300; round++) {
        const int tasks = 1 + round * 7 % 997, threads = 1 + round % 6;
        t = (tally){0};
        pool_run(p, tasks, threads, count_task, &t);
        assert_int_equal(t.n, tasks);
        assert_false(t.clash);
        for (int i = 0; i < tasks; i++) assert_int_equal(t.hits[i], 1);
        if (threads == 1)
            for (int i = 0; i < tasks; i++) assert_int_equal(t.order[i], i);
    }
    t = (tally){.pool = p};
    pool_run(p, 4, 4, nested_task, &t);
    for (int i = 0; i < 4; i++) assert_int_equal(t.hits[i], 10);
    pool_run(p, 0, 4, count_task, &t);
    atn_pool_free(p);
}

/* Portions, as a host with its own running threads calls them. */
typedef struct {
    atn_execution e;
    int phases, threads;
    pthread_barrier_t barrier;
} team;

typedef struct {
    team *team;
    int index;
    pthread_t thread;
} member;

static void *member_main(void *arg)
{
    const member *m = arg;
    for (int phase = 0; phase < m->team->phases; phase++) {
        atn_execute_portion(&m->team->e, phase, m->index);
        pthread_barrier_wait(&m->team->barrier);
    }
    return NULL;
}

static void portions(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    atn_error err;
    for (int t = 0; t < ATN_COUNT(TEXTS); t++) {
        inputs in = data_of(TEXTS[t], 50 + (uint64_t)t);
        atn_planned *p;
        atn_plan_options o = {.threads = THREADS, .flags = ATN_PLAN_HOST_WORKSPACE};
        assert_ok(atn_plan_create(&in.a, &o, &p, &err));
        atn_plan_info info = {.size = sizeof info};
        assert_ok(atn_plan_info_get(p, &info, &err));
        void *workspace = aligned_alloc(64, (size_t)atn_plan_workspace(p) + 64);
        team team = {.phases = info.phases, .threads = THREADS};
        member members[THREADS];
        pthread_barrier_init(&team.barrier, NULL, THREADS);
        assert_ok(atn_execute_begin(p, &in.a, workspace, &team.e, &err));
        for (int i = 0; i < THREADS; i++) {
            members[i] = (member){&team, i, 0};
            assert_int_equal(pthread_create(&members[i].thread, NULL, member_main, &members[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) pthread_join(members[i].thread, NULL);
        assert_right(&in, TEXTS[t]);

        /* the same by single tasks, each phase backwards: order is advice, not a need */
        poison_fill(in.memory[ATN_T_O], in.l.bytes[ATN_T_O]);
        assert_ok(atn_execute_begin(p, &in.a, workspace, &team.e, &err));
        for (int phase = 0; phase < info.phases; phase++)
            for (int task = info.tasks[phase] - 1; task >= 0; task--)
                atn_execute_task(&team.e, phase, task, task % THREADS);
        assert_right(&in, TEXTS[t]);
        pthread_barrier_destroy(&team.barrier);
        free(workspace);
        atn_plan_free(p);
        inputs_release(&in);
    }
}

/* ---- plans ---- */

static void defaults_fill_in(void **state)
{
    (void)state;
    atn_error err;
    inputs in = data_of("f32 h3 s20 d64 causal", 5);
    atn_args a;
    atn_args_init(&a);
    a.Hq = 3, a.Sq = a.Skv = 20, a.D = 64, a.causal = ATN_CAUSAL_BOTTOM_RIGHT; /* no Hkv, Dv, scale, strides */
    a.q.ptr = in.a.q.ptr, a.k.ptr = in.a.k.ptr, a.v.ptr = in.a.v.ptr, a.o.ptr = in.a.o.ptr;
    atn_planned *p;
    assert_ok(atn_plan_create(&a, NULL, &p, &err));
    assert_ok(atn_execute(p, &a, NULL, &err));
    assert_right(&in, "defaults");
    atn_plan_free(p);
    inputs_release(&in);
    atn_plan_free(NULL);
    assert_true(strchr(atn_version(), '.') != NULL);
}

/* One plan, other pointers; and one key more at each step, as in decoding. */
static void update_follows_a_growing_cache(void **state)
{
    (void)state;
    atn_error err;
    inputs in = data_of("f32:bf16 h4/2 s1/400 d64 cache=512", 9);
    atn_planned *p;
    in.a.Skv = 1;
    assert_ok(atn_plan_create(&in.a, NULL, &p, &err));
    for (int n = 1; n <= 400; n += n < 5 ? 1 : 37) {
        in.a.Skv = n, in.p.Skv = n;
        if (n > 1) assert_refused(atn_execute(p, &in.a, NULL, &err), ATN_USAGE, "Skv");
        assert_ok(atn_plan_update(p, &in.a, &err));
        assert_ok(atn_execute(p, &in.a, NULL, &err));
        assert_right(&in, "a decode step");
    }
    in.a.Skv = 0;
    assert_refused(atn_plan_update(p, &in.a, &err), ATN_USAGE, "Skv");
    atn_plan_free(p);
    inputs_release(&in);
}

static void info_and_options(void **state)
{
    (void)state;
    atn_error err;
    inputs in = data_of("f32 h4/2 s100 d64 causal", 3);
    atn_planned *p;
    atn_plan_info info = {.size = sizeof info};
    assert_ok(atn_plan_create(&in.a, &(atn_plan_options){.isa = "generic", .flags = ATN_PLAN_NO_WISDOM}, &p, &err));
    assert_ok(atn_plan_info_get(p, &info, &err));
    assert_string_equal(info.problem, "f32 g2 s128 d64 causal t1");
    assert_true(strstr(info.kernel, "@generic") || strstr(info.kernel, "@neon"));
    assert_non_null(strstr(info.text, info.kernel));
    assert_int_equal(info.workspace_bytes, atn_plan_workspace(p));
    info.size = 3;
    assert_refused(atn_plan_info_get(p, &info, &err), ATN_USAGE, "size");
    atn_plan_free(p);

    assert_ok(atn_plan_create(&in.a, &(atn_plan_options){.flags = ATN_PLAN_REFERENCE}, &p, &err));
    info.size = sizeof info;
    assert_ok(atn_plan_info_get(p, &info, &err));
    assert_int_equal(info.origin, ATN_FROM_REFERENCE);
    assert_string_equal(info.kernel, "plain@generic");
    atn_plan_free(p);

    atn_plan_options bad[] = {{.threads = -1}, {.threads = 5000}, {.isa = "mmx"}, {.size = 8}, {.flags = 1u << 20}};
    for (int i = 0; i < ATN_COUNT(bad); i++) assert_refused(atn_plan_create(&in.a, &bad[i], &p, &err), ATN_USAGE, "");
    assert_refused(atn_plan_create(&in.a, &(atn_plan_options){.kernel = "no_such"}, &p, &err), ATN_UNSUPPORTED,
                   "no_such");
    inputs_release(&in);
}

static void choose(const char *text, const char *isa, int threads, atn_plan_info *info)
{
    atn_error err;
    inputs in = data_of(text, 3);
    atn_planned *p;
    assert_ok(atn_plan_create(&in.a, &(atn_plan_options){.isa = isa, .threads = threads}, &p, &err));
    *info = (atn_plan_info){.size = sizeof *info};
    assert_ok(atn_plan_info_get(p, info, &err));
    atn_plan_free(p);
    inputs_release(&in);
}

/* One row a kv head is a decode step; many rows are not, unless threads would be idle. */
static void the_rule_chooses(void **state)
{
    (void)state;
    static const char *const isas[] = {"generic", "avx2", "avx512"};
    atn_plan_info info;
    for (int i = 0; i < ATN_COUNT(isas); i++) {
        choose("f32 h4 s1/4096 d64", isas[i], 1, &info);
        assert_int_equal(info.origin, ATN_FROM_RULE);
        assert_true(strncmp(info.kernel, "decode@", 7) == 0);
        if (i == 0) assert_true(strstr(info.kernel, "@generic") || strstr(info.kernel, "@neon"));
        choose("f32 h4 s300 d64", isas[i], 1, &info);
        assert_int_equal(info.origin, ATN_FROM_RULE);
        assert_false(strncmp(info.kernel, "decode@", 7) == 0);
        choose("f32 h1 s20/4096 d64", isas[i], 1, &info);
        assert_false(strncmp(info.kernel, "decode@", 7) == 0);
        choose("f32 h1 s12/64 d64", isas[i], 1, &info); /* few keys */
        assert_false(strncmp(info.kernel, "decode@", 7) == 0);
        choose("f32 h1 s12/4096 d64", isas[i], 1, &info);
        assert_true(strncmp(info.kernel, "decode@", 7) == 0);
        choose("f32 h1 s20/4096 d64", isas[i], 8, &info);
        assert_true(strncmp(info.kernel, "decode@", 7) == 0);
    }
}

static bool won(const champion_row *rows, const atn_kernel *champion, const char *class)
{
    problem_class c;
    assert_true(class_parse(class, &c));
    return champion_won(rows, champion, &c);
}

/* The nearest class that was measured decides; where none is near, and where equally near ones disagree, it did not win. */
static void a_record_is_read_by_class(void **state)
{
    (void)state;
    static const atn_kernel a, b;
    static const champion_row rows[] = {
        {&a, {"f32 g2 d64 causal", 128, 128, 1}, true},     {&a, {"f32 g2 d64 causal", 512, 512, 1}, false},
        {&a, {"f32 g2 d64 causal", 2048, 2048, 1}, true},   {&a, {"f32 g2 d64 causal", 2048, 2048, 1}, false},
        {&b, {"f32 g2 d64 causal", 512, 512, 1}, true},     {&a, {"f32 g2 d64", 1, 4096, 1}, true}, {0},
    };
    assert_true(won(rows, &a, "f32 g2 s128 d64 causal t1"));
    assert_true(won(rows, &a, "f32 g2 s64 d64 causal t1"));
    assert_true(won(rows, &a, "f32 g2 s128 d64 causal t2"));
    assert_false(won(rows, &a, "f32 g2 s32 d64 causal t1"));     /* too far from all */
    assert_false(won(rows, &a, "f32 g2 s128 d64 causal t16"));
    assert_false(won(rows, &a, "f32 g2 s128/4096 d64 causal t1"));
    assert_false(won(rows, &a, "f32 g2 s256 d64 causal t1"));    /* as near to a loss */
    assert_false(won(rows, &a, "f32 g2 s512 d64 causal t1"));
    assert_true(won(rows, &b, "f32 g2 s512 d64 causal t1"));
    assert_false(won(rows, &a, "f32 g2 s2048 d64 causal t1"));   /* two rows, one of them lost */
    assert_true(won(rows, &a, "f32 g2 s1/2048 d64 t1"));
    assert_false(won(rows, &a, "f32 g2 s16/4096 d64 t1"));       /* few queries are not one */
    static const char *const others[] = {"f32 g1 s128 d64 causal t1", "f32 g2 s128 d64 t1", "f32 g2 s128 d128 causal t1",
                                         "bf16 g2 s128 d64 causal t1", "f32 g2 s128 d64 causal mask=bool t1",
                                         "f32 g2 s128 d64 causal window t1"};
    for (int i = 0; i < ATN_COUNT(others); i++) assert_false(won(rows, &a, others[i]));
    assert_false(won(rows + 6, &a, "f32 g2 s128 d64 causal t1"));
}

/* With the champions that are linked in: each is taken in the classes where it won, on its own kind of CPU, and nowhere
 * else. */
static void champions_are_chosen_where_they_won(void **state)
{
    (void)state;
    for (const champion_row *r = registry_rows(); r->champion; r++) {
        const registry_kernel *k = NULL;
        for (int i = 0; i < registry_count(); i++)
            if (registry_at(i)->table == r->champion) k = registry_at(i);
        assert_non_null(k);
        char type[32], head[32], rest[64] = "", text[160];
        int group;
        assert_true(sscanf(r->class.words, "%31s g%d d%31s %63[^\n]", type, &group, head, rest) >= 3);
        snprintf(text, sizeof text, "%s h%d/1 s%d/%d d%s %s", type, group, r->class.sq, r->class.skv, head, rest);
        atn_plan_info info;
        choose(text, NULL, r->class.threads, &info);
        const bool wins = champion_won(registry_rows(), k->table, &r->class);
        const bool here = k->usable && !strcmp(k->cpu, machine_get()->cpu) && wins;
        if (here != !strcmp(info.kernel, k->name))
            fail_with("%s on %s: it %s there, and the plan took %s", k->name, text, wins ? "won" : "did not win", info.kernel);
    }
}

/* bf16 goes to the dot products of pairs where the CPU has them and the host allows them; other types never do. */
static void pairs_of_bf16(void **state)
{
    (void)state;
    atn_plan_info info;
    int usable = 0;
    const char *name, *level = "avx512bf16";
    for (int i = 0, can; (name = atn_kernel_at(i, NULL, &can)) != NULL; i++)
        if (!strncmp(name, "flash_dot@", 10)) usable = can, level = name + 10;
    choose("bf16 h4 s300 d64 causal", level, 1, &info);
    assert_int_equal(strstr(info.kernel, level) != NULL, usable); /* it, or a champion over it */
    choose("bf16 h4 s300 d64 causal", !strcmp(level, "neonbf16") ? "neon" : "avx512", 1, &info);
    assert_int_not_equal(strncmp(info.kernel, "flash_dot@", 10), 0);
    choose("f32 h4 s300 d64 causal", level, 1, &info);
    assert_int_not_equal(strncmp(info.kernel, "flash_dot@", 10), 0);
}

/* A second vector of rows that would be half empty or more: the family that takes them by eights, where vectors hold sixteen. */
static void rows_by_eights(void **state)
{
    (void)state;
    static const struct {
        const char *text, *isa;
        int threads;
        bool eights;
    } cases[] = {{"f32 h4 s17/600 d64", "avx512", 1, true},    {"f32 h8/2 s6/600 d64 causal", "avx512", 2, true},
                 {"f16 h4 s24/600 d64", "avx512bf16", 1, true}, {"f32 h4 s16/600 d64", "avx512", 1, false},
                 {"f32 h4 s25/600 d64", "avx512", 1, false},    {"f32 h4 s20/600 d64", "avx2", 1, false},
                 {"bf16 h4 s20/600 d64", "avx512", 1, false},   {"f32 h1 s20/200 d64", "avx512", 2, false}};
    int usable = 0;
    const char *name;
    for (int i = 0, can; (name = atn_kernel_at(i, NULL, &can)) != NULL; i++)
        if (!strcmp(name, "flash_kvec@avx512")) usable = can;
    for (int i = 0; i < ATN_COUNT(cases); i++) {
        atn_plan_info info;
        choose(cases[i].text, cases[i].isa, cases[i].threads, &info);
        if (!strcmp(info.kernel, "flash_kvec@avx512") != (usable && cases[i].eights))
            fail_with("the plan took %s on %s", info.kernel, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_is_right),
        cmocka_unit_test(a_sink_that_is_nan_comes_out),
        cmocka_unit_test(host_loop),
        cmocka_unit_test(pool),
        cmocka_unit_test(pool_runs_each_task_once),
        cmocka_unit_test(portions),
        cmocka_unit_test(defaults_fill_in),
        cmocka_unit_test(info_and_options),
        cmocka_unit_test(update_follows_a_growing_cache),
        cmocka_unit_test(the_rule_chooses),
        cmocka_unit_test(pairs_of_bf16),
        cmocka_unit_test(rows_by_eights),
        cmocka_unit_test(a_record_is_read_by_class),
        cmocka_unit_test(champions_are_chosen_where_they_won),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
