/* What a controller costs: a thousand simulated slots with latencies, one controller, real messages.
 *
 *     bench_fleet [slots [verdicts-per-second [seconds]]]      (1000 100 30)
 *     bench_fleet ping PILOT                                   round trips to one real pilot process
 *
 * A second process plays all pilots over socket pairs: it says hello, answers builds at once and judgements after a delay
 * drawn so that all slots together give the rate asked for, and sends heartbeats every two seconds for each. The controller
 * is the real engine over the real fleet with a synthetic proposer whose programs are as long as real ones. CPU time and
 * memory are the kernel's figures for the controller process, store and all. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "evolve/execute/line.h"
#include "evolve/execute/pilot.h"
#include "evolve/execute/run.h"
#include "evolve/execute/wire.h"
#include "fake.h"

enum { SOURCE_BYTES = 24000, BEAT_S = 2 };

/* ---- the other side ---- */

typedef struct {
    atn_link link;
    wire_texts texts;
    json_t *question;
    double due, beat;
} slot;

static fake_judge judge;

static void built_of(slot *s, const json_t *program, build_result *b)
{
    evolve_build *x;
    evolve_judge *j = &judge.face;
    const char *source = wire_texts_get(&s->texts, field_text(program, "text"));
    ATN_CHECK(source && j->build_start(j->ctx, source, "", NULL, &x, NULL) == ATN_OK);
    while (!j->build_step(j->ctx, x, b)) {}
}

static void reply(slot *s)
{
    const json_t *q = s->question, *against = json_object_get(q, "incumbent");
    const char *word = field_text(q, "t");
    json_t *a = json_pack("{s:s,s:I}", "t", strcmp(word, "open") ? "done" : "ready", "id", (json_int_t)field_int(q, "id"));
    build_result x, y;
    static atn_verdict v;
    if (!strcmp(word, "open")) {
        json_object_set_new(a, "compiler", json_string("fake 1"));
        json_object_set_new(a, "judge", json_string("fake"));
    } else if (!strcmp(word, "build")) {
        const char *key = field_text(json_object_get(q, "program"), "text");
        built_of(s, json_object_get(q, "program"), &x);
        snprintf(x.object_hash, sizeof x.object_hash, "%s", key); /* none is the same code as another */
        json_object_set_new(a, "built", wire_built(&x));
    } else if (!strcmp(word, "judge")) {
        built_of(s, json_object_get(q, "program"), &x);
        if (against) built_of(s, against, &y);
        memset(&v, 0, sizeof v);
        ATN_CHECK(judge.face.candidate(&judge, &x, against ? &y : NULL, ATN_STAGE_RACE, &v, NULL) == ATN_OK);
        if (against && v.promoted) { /* a run late in its life: nobody wins, everybody flows */
            v.promoted = false;
            v.reason = ATN_REASON_NOT_BETTER;
        }
        char *text = verdict_json(&v);
        json_object_set_new(a, "race", json_string(text));
        free(text);
        race_pairs *pairs = judge.face.take_pairs(&judge);
        if (pairs) json_object_set_new(a, "race_pairs", wire_pairs(pairs));
        race_pairs_free(pairs);
        text = v.correct ? judge.face.evidence(&judge, &x, &v) : NULL;
        if (text) json_object_set_new(a, "evidence", json_string(text));
        free(text);
    } else if (!strcmp(word, "controls")) {
        atn_controls c = {.aa_races = 1, .plus_races = 1, .plus_promoted = 1};
        char *text = controls_json(&c);
        json_object_set_new(a, "controls", json_string(text));
        free(text);
    }
    link_send(&s->link, a);
    json_decref(s->question);
    s->question = NULL;
}

static bool hear(slot *s, atn_rng *rng, double mean_s)
{
    link_read(&s->link);
    for (json_t *q; (q = link_next(&s->link));) {
        const char *word = field_text(q, "t");
        if (!strcmp(word, "text")) wire_texts_put(&s->texts, field_text(q, "key"), field_text(q, "data"));
        if (!strcmp(word, "text") || !strcmp(word, "beat") || !strcmp(word, "bye")) {
            json_decref(q);
            continue;
        }
        s->question = q;
        s->due = clock_s() + (strcmp(word, "judge") ? 0 : mean_s * (0.5 + rng_f64(rng)));
    }
    return !s->link.ended;
}

/* n pilots in one process, until the controller closes their connections. */
static void play(const int *fds, int n, double mean_s)
{
    slot *s = atn_alloc((size_t)n * sizeof *s);
    atn_rng rng = rng_make(7, 0, 0);
    int ep = epoll_create1(0), open = n;
    fake_init(&judge);
    judge.constant = true;
    judge.steps = 0;
    for (int i = 0; i < n; i++) {
        json_t *hello = wire_machine(machine_get());
        char node[16];
        snprintf(node, sizeof node, "node%d", i / 8);
        link_pipes(&s[i].link, fds[i], fds[i]);
        s[i].beat = clock_s() + BEAT_S * rng_f64(&rng);
        json_object_set_new(hello, "t", json_string("hello"));
        json_object_set_new(hello, "protocol", json_integer(PILOT_PROTOCOL));
        json_object_set_new(hello, "version", json_string(ATTUNE_VERSION));
        json_object_set_new(hello, "node", json_string(node));
        link_send(&s[i].link, hello);
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &ev);
    }
    while (open > 0) {
        struct epoll_event ev[256];
        int k = epoll_wait(ep, ev, ATN_COUNT(ev), 5);
        for (int i = 0; i < k; i++) {
            slot *x = &s[ev[i].data.u32];
            if (!x->link.ended && !hear(x, &rng, mean_s)) {
                epoll_ctl(ep, EPOLL_CTL_DEL, fds[ev[i].data.u32], NULL);
                open--;
            }
        }
        double now = clock_s();
        for (int i = 0; i < n; i++) {
            if (s[i].link.ended) continue;
            if (s[i].question && now >= s[i].due) reply(&s[i]);
            if (now >= s[i].beat) link_send(&s[i].link, json_pack("{s:s}", "t", "beat")), s[i].beat = now + BEAT_S;
            link_flush(&s[i].link);
        }
    }
    _exit(0);
}

/* ---- the controller ---- */

/* Programs as long as real ones. */
static propose_answer propose_long(atn_proposer *p, const atn_propose_context *c, atn_rng *rng, atn_proposal *out)
{
    static atn_proposer *inner;
    if (!inner) inner = fake_proposer();
    (void)p;
    propose_answer a = inner->propose(inner, c, rng, out);
    if (a != PROPOSE_OK) return a;
    char *text = atn_alloc(SOURCE_BYTES + 1);
    const char *cut = strstr(out->source, "\n//");
    int n = snprintf(text, SOURCE_BYTES, "%.*s\n//%016" PRIx64, cut ? (int)(cut - out->source) : (int)strlen(out->source),
                     out->source, rng_u64(rng));
    while (n < SOURCE_BYTES) text[n] = (char)(n % 97 == 0 ? '\n' : 'a' + n % 23), n++;
    free(out->source);
    out->source = text;
    return a;
}

static void learn_nothing(atn_proposer *p, const atn_program_view *v) { (void)p, (void)v; }
static void just_free(atn_proposer *p) { free(p); }

typedef struct {
    double began, seconds, cpu0;
    int64_t warm;
    int64_t judged0, judged, messages0;
    volatile sig_atomic_t stop;
    atn_fleet *fleet;
    double cpu, wall;
    int64_t messages;
} gauge;

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void watch(void *ctx, const evolve_event *e)
{
    gauge *g = ctx;
    double now = clock_s();
    g->judged = e->counts.judged;
    if (!g->began && e->counts.judged > g->warm) { /* everybody is at work */
        g->began = now;
        g->cpu0 = cpu_s();
        g->judged0 = g->judged;
        g->messages0 = fleet_count(g->fleet).messages;
    }
    if (!g->began || now < g->began + g->seconds || g->stop) return;
    g->wall = now - g->began;
    g->cpu = cpu_s() - g->cpu0;
    g->messages = fleet_count(g->fleet).messages - g->messages0;
    g->judged -= g->judged0;
    g->stop = 1;
}

static atn_status proposers(void *ctx, evolve_options *o, atn_error *err)
{
    (void)ctx, (void)err;
    o->proposers[0] = atn_alloc(sizeof *o->proposers[0]);
    *o->proposers[0] =
        (atn_proposer){.name = "long", .propose = propose_long, .learn = learn_nothing, .destroy = just_free};
    o->n_proposers = 1;
    return ATN_OK;
}

static int many(int slots, double rate, double seconds)
{
    static evolve_result r;
    static const int good[8] = {2, 3, 3, 3, 3, 3, 2};
    int *ours = atn_alloc((size_t)slots * sizeof *ours), *theirs = atn_alloc((size_t)slots * sizeof *theirs);
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 0; i < slots; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
            fprintf(stderr, "bench_fleet: %d sockets: %s; raise ulimit -n\n", 2 * slots, strerror(errno));
            return 1;
        }
        ours[i] = pair[0];
        theirs[i] = pair[1];
    }
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < slots; i++) close(ours[i]);
        play(theirs, slots, slots / rate);
    }
    for (int i = 0; i < slots; i++) close(theirs[i]);
    char folder[] = "/tmp/attune-bench.XXXXXX";
    atn_suite suite;
    atn_error err = {0};
    gauge g = {.seconds = seconds, .warm = slots / 2};
    execute_options x = {.kind = "exec", .slots = 0, .window = 2 * slots};
    evolve_options o = evolve_defaults();
    fake_suite(&suite);
    o.folder = mkdtemp(folder);
    o.suite = &suite;
    o.initial_source = fake_source(good);
    o.initial_path = "fake.c";
    o.n_shipped = -1;
    o.control_races = 0;
    o.final_seconds = 0;
    o.minutes = (60 + 3 * seconds) / 60;
    o.event = watch;
    o.event_ctx = &g;
    o.stop = &g.stop;
    const execute_hooks h = {.proposers = proposers};
    atn_status st = fleet_open(&x, &o, &g.fleet, &err);
    for (int i = 0; i < slots && !st; i++) fleet_adopt(g.fleet, ours[i], ours[i]);
    if (!st) st = execute_over(g.fleet, &o, &h, &r, &err);
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    fleet_close(g.fleet);
    waitpid(pid, NULL, 0);
    file_remove_tree(folder, NULL);
    if (st || !g.stop) {
        fprintf(stderr, "bench_fleet: %s\n", st ? err.text : "too slow: it did not get through its time");
        return 1;
    }
    printf("%d slots, %.0f s: %.1f verdicts/s, %.0f messages/s; controller %.1f %% of a core, %.0f MB at most\n", slots,
           g.wall, (double)g.judged / g.wall, (double)g.messages / g.wall, 100 * g.cpu / g.wall, (double)u.ru_maxrss / 1024);
    return 0;
}

/* ---- one pilot ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static json_t *next(atn_link *l)
{
    for (json_t *m;;) {
        struct pollfd p = {.fd = l->in, .events = POLLIN};
        while ((m = link_next(l))) {
            if (strcmp(field_text(m, "t"), "beat")) return m;
            json_decref(m);
        }
        if (poll(&p, 1, 5000) <= 0) return NULL;
        link_read(l);
        if (l->ended) return NULL;
    }
}

static int ping(const char *program)
{
    enum { TIMES = 2000 };
    int to[2], from[2];
    static double t[TIMES];
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) return 1;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        execl(program, program, "--stdio", (char *)NULL);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    atn_link l;
    link_pipes(&l, from[0], to[1]);
    json_t *m = next(&l);
    if (!m) return 1;
    json_decref(m);
    json_t *q = json_pack("{s:s,s:[s],s:i,s:f}", "t", "open", "suite", "f32 h8 s64 d64", "threads", 1, "tolerance", 1.0);
    link_send(&l, q);
    json_decref(next(&l));
    static const int zero[8] = {0};
    char *source = fake_source(zero), *text = atn_alloc(SOURCE_BYTES + 1);
    memset(text, ' ', SOURCE_BYTES);
    memcpy(text, source, strlen(source));
    for (int i = 0; i < TIMES; i++) {
        char key[33];
        double start = clock_s();
        snprintf(key, sizeof key, "%032d", i);
        link_send(&l, json_pack("{s:s,s:s,s:s}", "t", "text", "key", key, "data", text));
        link_send(&l, json_pack("{s:s,s:i,s:{s:s,s:s}}", "t", "build", "id", i, "program", "text", key, "flags", ""));
        while (link_due(&l)) link_flush(&l);
        m = next(&l);
        if (!m) return 1;
        ATN_CHECK(field_int(m, "id") == i);
        json_decref(m);
        t[i] = clock_s() - start;
    }
    link_send(&l, json_pack("{s:s}", "t", "bye"));
    waitpid(pid, NULL, 0);
    qsort(t, TIMES, sizeof *t, by_size);
    printf("question with a program of %d bytes, and its answer: median %.3f ms, 99 %% %.3f ms, worst %.3f ms\n",
           SOURCE_BYTES, 1e3 * t[TIMES / 2], 1e3 * t[TIMES * 99 / 100], 1e3 * t[TIMES - 1]);
    free(source);
    free(text);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "ping")) return ping(argv[2]);
    return many(argc > 1 ? atoi(argv[1]) : 1000, argc > 2 ? atof(argv[2]) : 100, argc > 3 ? atof(argv[3]) : 30);
}
