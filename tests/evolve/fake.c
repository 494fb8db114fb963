/* The synthetic judge and proposers. */
#include "fake.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"

struct evolve_build {
    build_result result;
    int steps_left;
};

char *fake_source(const int d[8])
{
    return atn_format("/* fake */\nint digits[8] = {%d, %d, %d, %d, %d, %d, %d, %d};\n", d[0], d[1], d[2], d[3], d[4],
                      d[5], d[6], d[7]);
}

static bool digits_of(const char *source, int d[8])
{
    const char *p = strstr(source, "{");
    return p &&
           sscanf(p, "{%d, %d, %d, %d, %d, %d, %d, %d}", &d[0], &d[1], &d[2], &d[3], &d[4], &d[5], &d[6], &d[7]) == 8;
}

double fake_speed(const int d[8], int c)
{
    double x = 0;
    for (int i = 0; i < 7; i++) x += 0.12 * d[i] - 0.02 * d[i] * d[i] + 0.03 * ((d[i] * d[(i + 1) % 7]) % 3);
    return x + 0.05 * (d[0] - 2) * (c < FAKE_CASES / 2 ? 1 : -1) * (d[0] > 0);
}

static double noise(const fake_judge *f)
{
    atn_rng r = rng_make(rng_secret(), 0, 0);
    return f->constant ? 0 : 0.01 * rng_normal(&r);
}

static atn_status start(void *ctx, const char *source, const char *flags, const char *original, evolve_build **out,
                        atn_error *err)
{
    fake_judge *f = ctx;
    int d[8];
    (void)flags, (void)original, (void)err;
    evolve_build *b = atn_alloc(sizeof *b);
    b->steps_left = f->steps;
    b->result = (build_result){.stage = ATN_STAGE_BUILD, .so_fd = -1, .seconds = 0.5};
    f->builds++;
    snprintf(b->result.compiler, sizeof b->result.compiler, "fake 1");
    if (!digits_of(source, d) || (d[1] == 5 && d[2] == 5)) {
        b->result.reason = ATN_REASON_COMPILE;
        snprintf(b->result.evidence, sizeof b->result.evidence, "fake.c:2:1: error: 5 after 5 \xc3"); /* cut UTF-8 */
    } else {
        snprintf(b->result.object_hash, sizeof b->result.object_hash, "%d.%d.%d.%d.%d.%d.%d", d[0], d[1], d[2], d[3],
                 d[4], d[5], d[6]);
    }
    *out = b;
    return ATN_OK;
}

static int no_fd(void *ctx, const evolve_build *b)
{
    (void)ctx, (void)b;
    return -1;
}

static bool step(void *ctx, evolve_build *b, build_result *out)
{
    (void)ctx;
    if (b->steps_left-- > 0) return false;
    *out = b->result;
    free(b);
    return true;
}

static void cancel(void *ctx, evolve_build *b)
{
    (void)ctx;
    free(b);
}

static void release(void *ctx, build_result *r)
{
    (void)ctx;
    r->so_fd = -1;
}

static void decode(const build_result *b, int d[8])
{
    memset(d, 0, 8 * sizeof *d);
    sscanf(b->object_hash, "%d.%d.%d.%d.%d.%d.%d", &d[0], &d[1], &d[2], &d[3], &d[4], &d[5], &d[6]);
}

static void time_cases(const fake_judge *f, const int *a, const int *b, const int *cases, int n, atn_verdict *v)
{
    v->n_cases = n;
    v->suite_log = 0;
    for (int i = 0; i < n; i++) {
        double true_ratio = fake_speed(a, cases[i]) - fake_speed(b, cases[i]), x = true_ratio + noise(f);
        v->cases[i] = (atn_case_result){.case_index = cases[i],
                                        .log_ratio = x,
                                        .log_low = x - 0.02,
                                        .log_high = x + 0.02,
                                        .pairs = 32,
                                        .ns_min = 1e6 / exp(fake_speed(a, cases[i])),
                                        .error = 1e-7,
                                        .incumbent_ns_min = 1e6 / exp(fake_speed(b, cases[i])),
                                        .workspace_bytes = 1 << a[3]};
        v->suite_log += x / n;
    }
    v->suite_low = v->suite_log - 0.01;
    v->suite_high = v->suite_log + 0.01;
}

/* As many pairs as time_cases says, around each case's median. */
static void keep_pairs(fake_judge *f, const char *kind, const atn_verdict *v)
{
    race_pairs_free(f->pairs);
    f->pairs = atn_alloc(sizeof *f->pairs);
    *f->pairs = (race_pairs){kind, v->n_cases, atn_alloc((size_t)v->n_cases * sizeof(race_case))};
    for (int i = 0; i < v->n_cases; i++) {
        const atn_case_result *c = &v->cases[i];
        race_case *r = &f->pairs->cases[i];
        *r = (race_case){c->case_index, c->pairs, 0.001, atn_alloc((size_t)c->pairs * sizeof(float))};
        for (int k = 0; k < r->n; k++) r->d[k] = (float)(c->log_ratio + 0.001 * (k - r->n / 2));
    }
}

static race_pairs *take_pairs(void *ctx)
{
    fake_judge *f = ctx;
    race_pairs *p = f->pairs;
    f->pairs = NULL;
    return p;
}

static char *evidence(void *ctx, const build_result *b, const atn_verdict *v)
{
    (void)ctx;
    return atn_format("{\"object\":\"%s\",\"text\":\"%d cases\"}", b->object_hash, v->n_cases);
}

static const int all[FAKE_CASES] = {0, 1, 2, 3, 4, 5, 6, 7}, few[3] = {0, 3, 7};

void fake_cancel(void *ctx, bool on)
{
    ((fake_judge *)ctx)->cancelled = on;
}

static bool fails(fake_judge *f, const build_result *b)
{
    int d[8];
    decode(b, d);
    f->failed = f->fails_from && f->candidates >= f->fails_from && d[0] > 0;
    if (f->failed)
        f->failure = (atn_verdict){.stage = ATN_STAGE_RACE, .reason = ATN_REASON_WRONG, .evidence = "row 5 is off"};
    return f->failed;
}

static const atn_verdict *incumbent_failure(void *ctx)
{
    fake_judge *f = ctx;
    return f->failed ? &f->failure : NULL;
}

static atn_status replayed(fake_judge *f, const char *json, atn_verdict *v, atn_error *err)
{
    return verdict_from_json(json, v, err);
    (void)f;
}

static atn_status candidate(void *ctx, const build_result *x, const build_result *inc, atn_stage upto, atn_verdict *v,
                            atn_error *err)
{
    fake_judge *f = ctx;
    int a[8], b[8] = {0};
    (void)upto;
    f->candidates++;
    if (f->judge_us) nanosleep(&(struct timespec){.tv_nsec = f->judge_us * 1000L}, NULL);
    for (int i = 0; f->slow_after && f->candidates > f->slow_after && i < 3000; i++) {
        if (f->cancelled) return atn_fail(err, ATN_CANCELLED, "given up");
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    if (f->rows) {
        while (f->next_row < f->n_rows &&
               (f->rows[f->next_row].same_as || !strcmp(f->rows[f->next_row].stage, "build")))
            f->next_row++;
        ATN_CHECK(f->next_row < f->n_rows && !strcmp(f->rows[f->next_row].object_hash, x->object_hash));
        return replayed(f, f->rows[f->next_row++].verdict, v, err);
    }
    if (inc && fails(f, inc)) return atn_fail(err, ATN_PROCESS, "the incumbent failed while timed");
    f->failed = false;
    if (!inc && f->fails_alone && fails(f, x)) {
        *v = f->failure;
        f->failed = false;
        return ATN_OK;
    }
    decode(x, a);
    memset(v, 0, sizeof *v);
    v->checks = v->checks_passed = 30;
    v->error = 1e-7;
    v->workspace_bytes = (int64_t)1 << a[3];
    if (a[4] == 4 && a[5] == 1) {
        v->stage = ATN_STAGE_FULL;
        v->reason = ATN_REASON_WRONG;
        v->error = NAN;
        snprintf(v->evidence, sizeof v->evidence, "row 3: got nan");
        return ATN_OK;
    }
    v->correct = true;
    if (!inc) {
        v->stage = ATN_STAGE_RACE;
        time_cases(f, a, a, all, FAKE_CASES, v);
        for (int i = 0; i < FAKE_CASES; i++) v->cases[i].log_ratio = v->cases[i].log_low = v->cases[i].log_high = 0;
        v->suite_log = v->suite_low = v->suite_high = 0;
        return ATN_OK;
    }
    decode(inc, b);
    v->stage = ATN_STAGE_SCREEN;
    time_cases(f, a, b, few, 3, v);
    keep_pairs(f, "screen", v);
    if (v->suite_high < -0.02) {
        v->reason = ATN_REASON_SLOWER;
        return ATN_OK;
    }
    v->stage = ATN_STAGE_RACE;
    time_cases(f, a, b, all, FAKE_CASES, v);
    keep_pairs(f, "race", v);
    v->promoted = v->suite_low > 0.003;
    v->reason = v->promoted ? ATN_REASON_OK : ATN_REASON_NOT_BETTER;
    return ATN_OK;
}

static atn_status compare(void *ctx, const build_result *x, const build_result *y, int pairs, bool confirm,
                          bool full_size, double seconds, atn_verdict *v, atn_error *err)
{
    fake_judge *f = ctx;
    int a[8], b[8];
    (void)pairs, (void)seconds;
    f->compares++;
    if (f->judge_us) nanosleep(&(struct timespec){.tv_nsec = f->judge_us * 1000L}, NULL);
    if (f->rows && confirm) {
        const store_program *row = &f->rows[f->next_row - 1];
        ATN_CHECK(row->confirm);
        return replayed(f, row->confirm, v, err);
    }
    if (fails(f, y)) return atn_fail(err, ATN_PROCESS, "the incumbent failed while timed");
    if (full_size && fails(f, x)) {
        *v = f->failure;
        f->failed = false;
        return ATN_OK;
    }
    decode(x, a);
    decode(y, b);
    memset(v, 0, sizeof *v);
    v->stage = confirm ? ATN_STAGE_CONFIRM : ATN_STAGE_RACE;
    v->correct = true;
    time_cases(f, a, b, all, FAKE_CASES, v);
    keep_pairs(f, confirm ? "confirm" : "race", v);
    v->promoted = v->suite_low > 0.003;
    if (confirm && !(v->suite_low > 0)) v->reason = ATN_REASON_UNCONFIRMED;
    if (confirm && a[6] == 3 && a[0] == 3) { /* falls over a held-out size */
        v->reason = ATN_REASON_WRONG;
        v->correct = v->promoted = false;
    }
    return ATN_OK;
}

static atn_status controls(void *ctx, const build_result *program, int races, atn_controls *out, atn_error *err)
{
    (void)ctx, (void)program, (void)err;
    *out = (atn_controls){
        .aa_races = races, .plus_races = races, .plus_promoted = races, .aa_spread = 0.01, .can_see_percent = 1.5};
    return ATN_OK;
}

void fake_init(fake_judge *f)
{
    *f = (fake_judge){.steps = 2};
    f->face = (evolve_judge){.ctx = f,
                             .build_start = start,
                             .build_fd = no_fd,
                             .build_step = step,
                             .build_cancel = cancel,
                             .build_release = release,
                             .candidate = candidate,
                             .compare = compare,
                             .take_pairs = take_pairs,
                             .evidence = evidence,
                             .incumbent_failure = incumbent_failure,
                             .controls = controls,
                             .compiler = "fake 1",
                             .version = "fake"};
}

void fake_suite(atn_suite *s)
{
    static const char *const text[FAKE_CASES] = {"f32 h8 s64 d64",           "f32 h8 s128 d64",
                                                 "f32 h8/4 s256 d64 causal", "f32 h8 s128 d128",
                                                 "f32 h8 s1024 d64",         "f32 h8/4 s2048 d64 causal",
                                                 "f32 h8 s2048 d128",        "f32 h8/4 s1/2048 d64"};
    *s = (atn_suite){0};
    for (int i = 0; i < FAKE_CASES; i++) {
        atn_error err = {0};
        if (suite_add_case(s, text[i], &err)) fprintf(stderr, "%s\n", err.text), abort();
    }
}

/* ---- proposers ---- */

static propose_answer mutate(atn_proposer *p, const atn_propose_context *c, atn_rng *rng, atn_proposal *out)
{
    (void)p;
    const atn_program_view *v =
        rng_below(rng, 2) || !c->n_elites ? c->best : &c->elites[rng_below(rng, (uint32_t)c->n_elites)];
    int d[8];
    ATN_CHECK(digits_of(v->source, d));
    int times = 1 + (int)rng_below(rng, 2);
    for (int i = 0; i < times; i++) d[rng_below(rng, 8)] = (int)rng_below(rng, 6);
    out->source = fake_source(d);
    out->parents[0] = v->id;
    snprintf(out->origin, sizeof out->origin, "fake/mutate%d", times);
    snprintf(out->note, sizeof out->note, "%d digits", times);
    return PROPOSE_OK;
}

static void nothing(atn_proposer *p, const atn_program_view *v)
{
    (void)p, (void)v;
}
static void just_free(atn_proposer *p)
{
    free(p);
}

atn_proposer *fake_proposer(void)
{
    atn_proposer *p = atn_alloc(sizeof *p);
    *p = (atn_proposer){.name = "fake", .propose = mutate, .learn = nothing, .destroy = just_free};
    return p;
}

typedef struct {
    atn_proposer base;
    const store_program *rows;
    char *const *sources;
    int n, next;
} replayer;

static int64_t seq_of(const replayer *r, int64_t id)
{
    for (int i = 0; i < r->n; i++)
        if (r->rows[i].made.id == id) return r->rows[i].seq;
    return 0;
}

static propose_answer replay(atn_proposer *p, const atn_propose_context *c, atn_rng *rng, atn_proposal *out)
{
    replayer *r = (replayer *)p;
    (void)rng;
    while (r->next < r->n && !strcmp(r->rows[r->next].made.proposer, "start")) r->next++;
    if (r->next == r->n) return PROPOSE_EXHAUSTED;
    /* Programs are judged in the order of their proposals, so in the replayed run ids equal the order of judgement. */
    const store_program *x = &r->rows[r->next];
    (void)c;
    out->source = atn_strdup(r->sources[r->next]);
    out->flags = atn_strdup(x->made.flags);
    out->parents[0] = seq_of(r, x->made.parent1);
    out->parents[1] = seq_of(r, x->made.parent2);
    snprintf(out->origin, sizeof out->origin, "%s", x->made.origin);
    r->next++;
    return PROPOSE_OK;
}

atn_proposer *fake_replayer(const store_program *rows, int n, char *const *sources)
{
    replayer *r = atn_alloc(sizeof *r);
    *r = (replayer){.base = {.name = "replay", .propose = replay, .learn = nothing, .destroy = just_free},
                    .rows = rows,
                    .n = n,
                    .sources = sources};
    return &r->base;
}
