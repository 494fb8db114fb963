/* The pilot's two threads: one that talks, one that judges. */
#include "evolve/execute/pilot.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "evolve/desk.h"
#include "evolve/execute/line.h"
#include "evolve/execute/wire.h"
#include "evolve/record.h"
#include "evolve/score.h"

enum { BUILDS = 6, FILES_MS = 40 };
static const double DOUBT_S = 0.1;

typedef struct {
    char key[WIRE_KEY];
    build_result built;
    int64_t used;
} kept_build;

typedef struct {
    const pilot_options *o;
    atn_link link;
    wire_texts texts;
    evolve_options options;
    atn_suite suite;
    char *cc;
    evolve_judge *judge;
    kept_build kept[BUILDS];
    int64_t clock; /* counts uses of builds */
    atn_desk *desk;
    json_t *question, *answer;
    bool answered; /* what `answer` holds is whole */
    bool failed;   /* it says that something failed: perhaps this machine's end is all that is behind it */
    bool told;
    bool own_job, deserted;
    double beat_s, heard, sent, leave_at, doubt_until;
} pilot;

static volatile sig_atomic_t terminated;

static void on_terminate(int signal)
{
    (void)signal;
    terminated = 1;
}

/* ---- on the judge's thread ---- */

static const char *text_of(pilot *p, const char *key)
{
    return *key ? wire_texts_get(&p->texts, key) : NULL;
}

/* A program of the question, built: kept from before, or now. NULL with the reason where the world fails. */
static const build_result *built(pilot *p, const json_t *program, atn_error *err)
{
    char key[WIRE_KEY];
    const char *sha = field_text(program, "text"), *flags = field_text(program, "flags");
    const char *source = text_of(p, sha), *original = text_of(p, field_text(program, "original"));
    snprintf(key, sizeof key, "%s %s", sha, flags);
    kept_build *k = &p->kept[0];
    for (int i = 0; i < BUILDS; i++) {
        if (!strcmp(p->kept[i].key, key)) {
            p->kept[i].used = ++p->clock;
            return &p->kept[i].built;
        }
        if (p->kept[i].used < k->used) k = &p->kept[i];
    }
    evolve_judge *j = p->judge;
    evolve_build *b = NULL;
    if (!source) {
        atn_fail(err, ATN_FORMAT, "a program was named whose text was not sent");
        return NULL;
    }
    if (k->key[0]) j->build_release(j->ctx, &k->built);
    *k = (kept_build){.used = ++p->clock};
    if (j->build_start(j->ctx, source, flags, original, &b, err)) return NULL;
    while (!j->build_step(j->ctx, b, &k->built)) {
        struct pollfd f = {.fd = j->build_fd(j->ctx, b), .events = POLLIN};
        if (f.fd >= 0) poll(&f, 1, 100);
        else nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    memcpy(k->key, key, sizeof key);
    return &k->built;
}

static void set_verdict(pilot *p, json_t *o, const char *key, const atn_verdict *v)
{
    char *s = verdict_json(v);
    json_object_set_new(o, key, json_string(s));
    free(s);
    p->failed |= v->reason != ATN_REASON_OK && v->reason != ATN_REASON_SLOWER && v->reason != ATN_REASON_NOT_BETTER;
}

/* What the last call's ratios were; kept by the controller beside the verdict. */
static void set_pairs(json_t *answer, const char *key, evolve_judge *j)
{
    race_pairs *pairs = j->take_pairs ? j->take_pairs(j->ctx) : NULL;
    json_t *o = wire_pairs(pairs);
    if (o) json_object_set_new(answer, key, o);
    race_pairs_free(pairs);
}

/* What went wrong was neither the machine's fault nor the candidate's. */
static atn_status blamed(pilot *p, json_t *answer, atn_status st)
{
    evolve_judge *j = p->judge;
    const atn_verdict *v = st == ATN_PROCESS && j->incumbent_failure ? j->incumbent_failure(j->ctx) : NULL;
    if (v) set_verdict(p, answer, "incumbent_failed", v);
    return st;
}

static atn_status do_open(pilot *p, json_t *answer, atn_error *err)
{
    const json_t *q = p->question, *cases = json_object_get(q, "suite");
    atn_status st = ATN_OK;
    p->options = (evolve_options){0};
    for (size_t i = 0; i < json_array_size(cases) && !st; i++)
        st = suite_add_case(&p->suite, json_string_value(json_array_get(cases, i)), err);
    if (st) return st;
    p->cc = *field_text(q, "cc") ? atn_strdup(field_text(q, "cc")) : NULL;
    p->own_job = json_is_true(json_object_get(q, "own_job"));
    p->options.suite = &p->suite;
    p->options.threads = (int)field_int(q, "threads");
    p->options.tolerance = field_real(q, "tolerance");
    p->options.unsafe = json_is_true(json_object_get(q, "unsafe"));
    p->options.cc = p->cc;
    st = p->o->make(&p->options, &p->judge, err);
    if (st) return st;
    atn_peaks peaks = {0};
    if (p->judge->peaks) p->judge->peaks(p->judge->ctx, &peaks);
    json_object_set_new(answer, "compiler", record_text(p->judge->compiler));
    json_object_set_new(answer, "judge", record_text(p->judge->version));
    json_object_set_new(answer, "fma_gflops", record_real(peaks.fma_peak_gflops));
    json_object_set_new(answer, "fma_256_gflops", record_real(peaks.fma_peak_256_gflops));
    json_object_set_new(answer, "read_gbs", record_real(peaks.read_bandwidth_gbs));
    json_object_set_new(answer, "cases", wire_cases(p->judge, p->suite.count, false));
    return ATN_OK;
}

static atn_status do_judge(pilot *p, json_t *answer, atn_error *err)
{
    const json_t *q = p->question, *against = json_object_get(q, "incumbent");
    evolve_judge *j = p->judge;
    build_result candidate, incumbent;
    atn_verdict race, confirm;
    double start = clock_s();
    const build_result *b = built(p, json_object_get(q, "program"), err);
    if (!b) return err->code;
    candidate = *b; /* the cache may move on, but keeps more builds than one question names */
    if (against && !(b = built(p, against, err))) return err->code;
    if (against) incumbent = *b;
    memset(&race, 0, sizeof race);
    if (candidate.reason != ATN_REASON_OK || (against && incumbent.reason != ATN_REASON_OK)) {
        const build_result *bad = candidate.reason != ATN_REASON_OK ? &candidate : &incumbent;
        if (bad == &incumbent)
            return atn_fail(err, ATN_PROCESS, "the incumbent does not build here: %.500s", bad->evidence);
        race.stage = bad->stage;
        race.reason = bad->reason;
        memcpy(race.evidence, bad->evidence, sizeof race.evidence);
    } else {
        atn_stage upto = json_is_true(json_object_get(q, "timed")) ? ATN_STAGE_RACE : ATN_STAGE_FULL;
        atn_status st = j->candidate(j->ctx, &candidate, against ? &incumbent : NULL, upto, &race, err);
        if (st) return blamed(p, answer, st);
        set_pairs(answer, "race_pairs", j);
        char *evidence = j->evidence && race.correct && race.n_cases ? j->evidence(j->ctx, &candidate, &race) : NULL;
        if (evidence) json_object_set_new(answer, "evidence", json_string(evidence));
        free(evidence);
        if (against && upto == ATN_STAGE_RACE && race.correct && race.promoted) {
            memset(&confirm, 0, sizeof confirm);
            st = j->compare(j->ctx, &candidate, &incumbent, score_confirm_pairs(&race), true, false, 0, &confirm, err);
            if (st) return blamed(p, answer, st);
            set_verdict(p, answer, "confirm", &confirm);
            set_pairs(answer, "confirm_pairs", j);
        }
    }
    set_verdict(p, answer, "race", &race);
    json_object_set_new(answer, "seconds", json_real(clock_s() - start));
    return ATN_OK;
}

static atn_status do_candidate(pilot *p, json_t *answer, atn_error *err)
{
    const json_t *q = p->question, *against = json_object_get(q, "incumbent");
    build_result candidate;
    atn_verdict v;
    const build_result *b = built(p, json_object_get(q, "program"), err);
    if (!b) return err->code;
    candidate = *b;
    if (against && !(b = built(p, against, err))) return err->code;
    memset(&v, 0, sizeof v);
    atn_status st = p->judge->candidate(p->judge->ctx, &candidate, against ? b : NULL, (atn_stage)field_int(q, "upto"),
                                        &v, err);
    if (!st) set_verdict(p, answer, "verdict", &v);
    return st;
}

static atn_status do_compare(pilot *p, json_t *answer, atn_error *err)
{
    const json_t *q = p->question, *ns = json_object_get(q, "initial_ns");
    evolve_judge *j = p->judge;
    build_result candidate, incumbent;
    atn_verdict v;
    const build_result *b = built(p, json_object_get(q, "program"), err);
    if (!b) return err->code;
    candidate = *b;
    if (!(b = built(p, json_object_get(q, "incumbent"), err))) return err->code;
    incumbent = *b;
    bool full_size = json_is_true(json_object_get(q, "full_size"));
    for (size_t i = 0; i < json_array_size(ns) && j->initial_ns; i++)
        j->initial_ns(j->ctx, (int)i, json_number_value(json_array_get(ns, i)));
    memset(&v, 0, sizeof v);
    atn_status st = j->compare(j->ctx, &candidate, &incumbent, (int)field_int(q, "pairs"),
                               json_is_true(json_object_get(q, "confirm")), full_size, field_real(q, "seconds"), &v, err);
    if (st) return st;
    set_verdict(p, answer, "verdict", &v);
    set_pairs(answer, "pairs", j);
    if (full_size) json_object_set_new(answer, "cases", wire_cases(j, p->suite.count, true));
    return ATN_OK;
}

static atn_status do_controls(pilot *p, json_t *answer, atn_error *err)
{
    atn_controls c = {0};
    const build_result *b = built(p, json_object_get(p->question, "program"), err);
    if (!b) return err->code;
    if (b->reason != ATN_REASON_OK)
        return atn_fail(err, ATN_PROCESS, "the control program does not build here: %.500s", b->evidence);
    atn_status st = p->judge->controls
                        ? p->judge->controls(p->judge->ctx, b, (int)field_int(p->question, "races"), &c, err)
                        : ATN_OK;
    if (st) return st;
    char *s = controls_json(&c);
    json_object_set_new(answer, "controls", json_string(s));
    free(s);
    return ATN_OK;
}

static atn_status do_build(pilot *p, json_t *answer, atn_error *err)
{
    const build_result *b = built(p, json_object_get(p->question, "program"), err);
    if (!b) return err->code;
    json_object_set_new(answer, "built", wire_built(b));
    p->failed = b->reason != ATN_REASON_OK;
    return ATN_OK;
}

static atn_status do_metrics(pilot *p, json_t *answer, atn_error *err)
{
    atn_verdict v;
    seed_metrics m = {0};
    atn_status st = verdict_from_json(field_text(p->question, "verdict"), &v, err);
    if (st) return st;
    if (p->judge->metrics) p->judge->metrics(p->judge->ctx, &v, &m);
    json_object_set_new(answer, "metrics", wire_metrics(&m));
    return ATN_OK;
}

static const struct {
    const char *word;
    atn_status (*act)(pilot *p, json_t *answer, atn_error *err);
} questions[] = {{"open", do_open},       {"build", do_build},       {"judge", do_judge},    {"candidate", do_candidate},
                 {"compare", do_compare}, {"controls", do_controls}, {"metrics", do_metrics}};

static void answer(void *arg)
{
    pilot *p = arg;
    const char *word = field_text(p->question, "t");
    atn_error err = {0};
    atn_status st = ATN_UNSUPPORTED;
    json_t *a = json_pack("{s:s,s:I}", "t", strcmp(word, "open") ? "done" : "ready", "id",
                          (json_int_t)field_int(p->question, "id"));
    atn_fail(&err, st, "this pilot does not know the question '%.40s'", word);
    for (int i = 0; i < ATN_COUNT(questions); i++)
        if (!strcmp(questions[i].word, word)) {
            err = (atn_error){0};
            st = p->judge || questions[i].act == do_open ? questions[i].act(p, a, &err)
                                                         : atn_fail(&err, ATN_FORMAT, "asked before it was opened");
        }
    if (st) {
        json_object_set_new(a, "status", json_integer(st));
        json_object_set_new(a, "error", record_text(err.text));
        p->failed = true;
    }
    p->answer = a;
}

/* ---- on the talking thread ---- */

static void hello(pilot *p)
{
    const atn_machine *m = machine_get();
    json_t *o = wire_machine(m);
    const char *job = getenv("SLURM_JOB_ID"), *gpus = getenv("CUDA_VISIBLE_DEVICES");
    char node[128];
    wire_node_name(node, sizeof node);
    json_object_set_new(o, "t", json_string("hello"));
    json_object_set_new(o, "protocol", json_integer(PILOT_PROTOCOL));
    json_object_set_new(o, "version", json_string(ATTUNE_VERSION));
    json_object_set_new(o, "node", record_text(node));
    json_object_set_new(o, "pid", json_integer(getpid()));
    if (job) json_object_set_new(o, "slurm_job", record_text(job));
    if (gpus) json_object_set_new(o, "gpus", record_text(gpus));
    link_send(&p->link, o);
}

/* False: goodbye. */
static bool heed(pilot *p, json_t *q)
{
    const char *word = field_text(q, "t");
    bool go_on = strcmp(word, "bye") != 0;
    p->heard = clock_s();
    if (!strcmp(word, "text")) wire_texts_put(&p->texts, field_text(q, "key"), field_text(q, "data"));
    if (!strcmp(word, "open") && field_real(q, "beat_s") > 0) p->beat_s = field_real(q, "beat_s");
    if (!go_on || !strcmp(word, "text") || !strcmp(word, "beat") || p->question) {
        json_decref(q); /* a second question while one is open breaks the protocol: its asker will time out */
        return go_on;
    }
    p->question = q;
    p->failed = false;
    p->doubt_until = 0;
    desk_start(p->desk, answer, p);
    return true;
}

static void wait_for_something(pilot *p)
{
    struct pollfd f[3];
    nfds_t n = 0;
    double next = p->answered ? fmin(p->doubt_until, p->sent + p->beat_s) : p->sent + p->beat_s;
    int ms = (int)(1000 * (next - clock_s()));
    ms = ms < 1 ? 1 : p->link.from && ms > FILES_MS ? FILES_MS : ms > 500 ? 500 : ms;
    f[n++] = (struct pollfd){.fd = desk_fd(p->desk), .events = POLLIN};
    if (p->link.in >= 0) f[n++] = (struct pollfd){.fd = p->link.in, .events = POLLIN};
    if (p->link.out >= 0 && link_due(&p->link)) f[n++] = (struct pollfd){.fd = p->link.out, .events = POLLOUT};
    poll(f, n, ms);
}

/* Where a machine ends, its processes end one after the other, and a compiler or a candidate that went first has failed only
 * by that. So a failure waits a moment before it is said, and one found while leaving is not said: it is asked again
 * elsewhere. */
static bool believed(pilot *p)
{
    if (!p->failed || terminated) return true;
    if (p->doubt_until <= 0) p->doubt_until = clock_s() + DOUBT_S;
    return clock_s() >= p->doubt_until;
}

static void reply(pilot *p)
{
    if (p->question && !p->answered) p->answered = desk_done(p->desk);
    if (p->answered && believed(p)) {
        if (p->failed && terminated) json_decref(p->answer);
        else link_send(&p->link, p->answer);
        json_decref(p->question);
        p->question = p->answer = NULL;
        p->answered = false;
        p->sent = clock_s();
    }
    if (clock_s() >= p->sent + p->beat_s) {
        link_send(&p->link, json_pack("{s:s}", "t", "beat"));
        p->sent = clock_s();
    }
    link_flush(&p->link);
}

/* One conversation, from hello to its end. */
static int talk(pilot *p)
{
    double silence = p->o->silence_s > 0 ? p->o->silence_s : 60, grace = p->o->grace_s > 0 ? p->o->grace_s : 8;
    p->heard = p->sent = clock_s();
    hello(p);
    for (;;) {
        json_t *q;
        reply(p);
        if (terminated && !p->told) {
            p->told = true;
            p->leave_at = clock_s() + grace;
            link_send(&p->link, json_pack("{s:s}", "t", "leaving"));
        }
        if (p->told && (!p->question || clock_s() > p->leave_at)) break;
        wait_for_something(p);
        link_read(&p->link);
        while ((q = link_next(&p->link)))
            if (!heed(p, q)) return 0;
        if ((p->deserted = p->link.ended)) return 3;
        bool waits = p->link.from && !p->judge && !p->question; /* in a folder nobody may have come yet */
        if (!waits && clock_s() > p->heard + silence) {
            p->deserted = true;
            return 3;
        }
    }
    for (double until = clock_s() + 1; link_due(&p->link) && clock_s() < until;) {
        link_flush(&p->link);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    return 0;
}

static void clear(pilot *p)
{
    for (int i = 0; i < BUILDS; i++)
        if (p->kept[i].key[0]) p->judge->build_release(p->judge->ctx, &p->kept[i].built);
    memset(p->kept, 0, sizeof p->kept);
    evolve_judge_free(p->judge);
    p->judge = NULL;
    suite_free(&p->suite);
    p->suite = (atn_suite){0};
    free(p->cc);
    p->cc = NULL;
    wire_texts_free(&p->texts);
}

/* Through a folder: a name of its own for each conversation, so that a new controller meets a new pilot. */
static int talk_by_files(pilot *p)
{
    int rc = 3;
    atn_error err = {0};
    if (file_mkdirs(p->o->spool, &err)) {
        fprintf(stderr, "attune worker: %s\n", err.text);
        return 2;
    }
    while (rc == 3 && !terminated) {
        char node[128], name[200];
        atn_rng r = rng_make(rng_secret(), (uint64_t)getpid(), 0);
        wire_node_name(node, sizeof node);
        snprintf(name, sizeof name, "%s-%ld-%08x", node, (long)getpid(), rng_below(&r, UINT32_MAX));
        char *base = file_join(p->o->spool, name), *from = atn_format("%s.in", base), *to = atn_format("%s.out", base);
        link_files(&p->link, from, to);
        rc = talk(p);
        link_close(&p->link);
        unlink(to);
        unlink(from);
        free(from);
        free(to);
        free(base);
        if (p->question) return rc; /* a judgement goes on: only the end of the process ends it */
        clear(p);
    }
    return rc;
}

/* Where the machine of the controller went down, and with it the srun that holds this job, the job would be charged until
 * its time limit, although nothing runs in it. */
static void end_job(void)
{
    const char *job = getenv("SLURM_JOB_ID");
    for (int tries = 0; job && *job && tries < 5; tries++) { /* Slurm's own controller may be busy with those who died too */
        int status = -1;
        const pid_t pid = fork();
        if (pid == 0) {
            execlp("scancel", "scancel", "-Q", job, (char *)NULL);
            _exit(127);
        }
        while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        if (pid > 0 && WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 127)) return;
        sleep(2);
    }
}

int pilot_run(const pilot_options *o)
{
    pilot *p = atn_alloc(sizeof *p);
    atn_error err = {0};
    struct sigaction a = {.sa_handler = on_terminate};
    p->o = o;
    p->beat_s = 2;
    const char *own = getenv("ATTUNE_OWN_JOB");
    p->own_job = own && *own;
    sigemptyset(&a.sa_mask);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGCONT, &a, NULL); /* it was suspended in the midst of something, or is about to be told to end */
    signal(SIGINT, SIG_IGN); /* a Ctrl-C is the controller's: it says goodbye */
    signal(SIGPIPE, SIG_IGN);
    if (desk_open(&p->desk, &err)) {
        fprintf(stderr, "attune worker: %s\n", err.text);
        return 2;
    }
    int rc;
    if (o->spool) {
        rc = talk_by_files(p);
    } else {
        link_pipes(&p->link, o->in, o->out);
        rc = talk(p);
    }
    if (p->deserted && p->own_job && !o->spool) end_job();
    if (p->question) _exit(rc);
    desk_close(p->desk, false);
    clear(p);
    if (!o->spool) link_close(&p->link);
    free(p);
    return rc;
}
