/* Makes a run out of nothing, through the store: make_run FOLDER N [finished|live|hostile|add]
 *
 * N candidates with a plausible landscape: four islands, a third fail, ever smaller steps. The same N gives the same run.
 * "hostile": every text that a candidate, a compiler or a model could write attacks the page; one source is a line of 10 MB.
 * "live": no result at the end. "add": N more candidates, one every 50 ms, into the run that is there. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "store/store.h"

enum { CASES = 6, ISLANDS = 4 };

static const char *const suite = "f32 h4 s64 d64 causal; f32 h8/2 s256 d64 causal; f32 h16/8 s512 d64 causal; "
                                 "f32 h8 s1024 d64 causal; f32 h8/2 s1024 d64; f32 h4/1 s2048 d64";
static const char *const attacks[] = {
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<svg/onload=window.pwned=1>",
    "\"><iframe srcdoc=\"<script>parent.pwned=1</script>\">",
    "javascript:window.pwned=1",
    "</pre></main><style>*{display:none}</style>",
    "\u202egnp.exe\u202c \u200bhidden\u200d \u2066isolated",
    "{{constructor.constructor('window.pwned=1')()}}",
    "=HYPERLINK(\"x\")",
    "__proto__ 1 -> 2, constructor 1 -> 2, toString 3 -> 4",
    "\xff\xfe\x80 not utf8 \xed\xa0\x80",
    "a\nid: 999999\ndata: {\"event\":\"forged\"}\n\n",
};

static atn_store *s;
static atn_error err;
static double best = 0;
static int64_t best_id = 1;

static void must(atn_status st)
{
    if (!st) return;
    fprintf(stderr, "make_run: %s\n", err.text);
    exit(1);
}

static char *source_of(int64_t id, int bk, bool hostile)
{
    atn_text t = {0};
    if (hostile && id == 7) {
        text_add(&t, "/* </script><script>window.pwned=1</script> */ ");
        while (t.n < 10000000) text_add(&t, "<b onclick=window.pwned=1>x</b>\xe2\x80\xae ");
        return text_take(&t);
    }
    text_addf(&t,
              "/* program %lld%s */\n#define BK %d      // knob: 16 32 64 128\n#define UNROLL %lld   // knob: 1 2 4\n",
              (long long)id, hostile ? attacks[id % ATN_COUNT(attacks)] : "", bk, (long long)(1 << id % 3));
    for (int i = 0; i < 40; i++) text_addf(&t, "static void step_%d(float *a) { a[%d] += %d; }\n", i, i, i);
    return text_take(&t);
}

/* Pairs around each case's ratio, a few far out. */
static void add_races(atn_rng *r, int64_t program, int64_t against, const store_case *cases)
{
    for (int i = 0; i < CASES; i++) {
        float d[32];
        for (int k = 0; k < ATN_COUNT(d); k++)
            d[k] = (float)(cases[i].log_ratio + 0.01 * rng_normal(r) + (rng_below(r, 20) ? 0 : 0.3));
        must(store_race_add(s,
                            &(store_race){.program = program,
                                          .against = against,
                                          .kind = "race",
                                          .case_index = i,
                                          .n = ATN_COUNT(d),
                                          .effect = 0.002,
                                          .d = d},
                            &err));
    }
}

static void add_program(int64_t id, int n, bool hostile, double t)
{
    static const char *const ops[] = {"knobs/neighbour", "knobs/mutate2", "knobs/mutate4", "knobs/cross"};
    static const char *const reasons[] = {"out_of_bounds", "wrong", "refused", "compile_error"};
    atn_rng r = rng_make(9, 0, (uint64_t)id);
    const char *bad = attacks[id % ATN_COUNT(attacks)];
    int bk = 16 << rng_below(&r, 4);
    int64_t parent = id == 1 ? 0 : rng_below(&r, 3) ? best_id : 1 + rng_below(&r, (uint32_t)(id - 1));
    char note[256];
    snprintf(note, sizeof note, "%s", id == 1 ? "initial_program.c" : hostile ? bad : "");
    if (!note[0]) snprintf(note, sizeof note, "BK %d -> %d, UNROLL 1 -> %d", 16, bk, 1 << id % 3);
    store_proposal p = {.island = (int)(id % ISLANDS),
                        .parent1 = parent,
                        .proposer = id == 1 ? "start" : "knobs",
                        .origin = id == 1   ? "initial"
                                  : hostile ? (char *)bad
                                            : (char *)ops[rng_below(&r, 4)],
                        .note = note,
                        .source = source_of(id, bk, hostile),
                        .flags = "",
                        .t = t - 1};
    must(store_proposal_add(s, &p, &err));
    free(p.source);
    bool failed = id > 1 && rng_below(&r, 3) == 0;
    double reach = 2.2 * (1 - exp(-(double)id / (n * 0.15 + 5))),
           score = id == 1 ? 0 : reach - fabs(rng_normal(&r)) * 0.35;
    bool promoted = !failed && id > 1 && score > best + 0.01;
    double half = 0.004 + 0.05 / sqrt((double)id);
    store_case cases[CASES];
    atn_text v = {0};
    text_add(&v, "{\"stage\":\"race\",\"checks\":114,\"checks_passed\":114,\"error_of_tolerance\":0.31,\"cases\":[");
    for (int i = 0; i < CASES; i++) {
        double x = score - best + 0.05 * rng_normal(&r);
        cases[i] = (store_case){i,
                                x,
                                x - 2 * half,
                                x + 2 * half,
                                best + x,
                                32,
                                2e5 * (i + 1) * exp(-best - x),
                                2e5 * (i + 1) * exp(-best),
                                4e-7 * (i + 1),
                                65536 << i};
        text_addf(&v, "%s{\"case_index\":%d,\"log_ratio\":%g,\"log_low\":%g,\"log_high\":%g,\"pairs\":32}",
                  i ? "," : "", i, x, x - half, x + half);
    }
    text_add(&v, "]}");
    char cell[48] = "", evidence[400];
    if (!failed) snprintf(cell, sizeof cell, "p%+d w%d d%+d", (int)rng_below(&r, 5) - 2, 16 + (int)rng_below(&r, 6), 0);
    snprintf(evidence, sizeof evidence, "%s",
             failed ? hostile ? bad : "f32 b2 h4 s20 d1, data normal: wrote past the end of o" : "");
    store_program g = {.made = {.id = p.id},
                       .seq = id,
                       .generation = (int)ATN_MIN(id - 1, 9),
                       .incumbent = best_id,
                       .correct = !failed,
                       .promoted = promoted,
                       .state = failed                ? "failed"
                                : promoted || id == 1 ? "better"
                                                      : "right",
                       .stage = failed     ? "full"
                                : promoted ? "confirm"
                                           : "race",
                       .reason = failed                ? hostile ? (char *)bad : (char *)reasons[rng_below(&r, 4)]
                                                : promoted || id == 1 ? "ok"
                                                       : "not_better",
                       .evidence = evidence,
                       .reproduce =
                           failed ? "attune eval PROGRAM.c --case \"f32 b2 h4 s20 d1\" --data normal --seed 7" : "",
                       .compiler = hostile ? (char *)bad : "gcc 12.2.0",
                       .score = failed ? (double)NAN : score,
                       .score_low = failed ? (double)NAN : score - half,
                       .score_high = failed ? (double)NAN : score + half,
                       .error = 3e-7,
                       .workspace_bytes = 65536,
                       .profile = 0.1,
                       .decode = NAN,
                       .cell = cell,
                       .t = t,
                       .seconds_build = 0.8,
                       .seconds_judge = 0.4,
                       .verdict = v.s,
                       .cases = failed ? NULL : cases,
                       .n_cases = failed ? 0 : CASES};
    snprintf(g.object_hash, sizeof g.object_hash, "%032llx", (unsigned long long)id);
    must(store_program_add(s, &g, &err));
    if (!failed && id > 1) add_races(&r, id, g.incumbent, cases);
    if (!failed && (promoted || rng_below(&r, 8) == 0)) must(store_cell_add(s, id, p.island, cell, p.id, &err));
    if (id % 24 == 0) must(store_migration_add(s, id, p.island, (p.island + 1) % ISLANDS, best_id, &err));
    if (promoted) {
        best = score;
        best_id = p.id;
    }
    char *event = atn_format("{\"event\":\"judged\",\"t\":%g,\"judged\":%lld,\"per_minute\":50.0,\"seconds_left\":%g,"
                             "\"best\":%lld,\"program\":{\"id\":%lld,\"seq\":%lld}}",
                             t, (long long)id, 60.0, (long long)best_id, (long long)p.id, (long long)id);
    must(store_event_add(s, t, event, &err));
    free(event);
    text_free(&v);
}

/* One question that was answered by program 9's source, and one that waits. */
static void add_letters(bool hostile)
{
    char prompt[33], answer[33], *source = NULL;
    store_program p;
    must(store_program_get(s, 9, &p, &err));
    source = p.made.sha;
    must(store_blob_add(s, hostile ? attacks[0] : "Make it faster.", prompt, &err));
    must(store_blob_add(s, hostile ? attacks[2] : "Here it is.", answer, &err));
    for (int i = 1; i <= 2; i++) {
        char *q =
            atn_format("{\"proposer\":\"mailbox\",\"number\":%d,\"op\":\"diff\",\"prompt\":\"%s\",\"system\":\"%s\"}",
                       i, prompt, prompt);
        must(store_measurement_add(s, "question", 1, 0, i, q, &err));
        free(q);
    }
    char *a = atn_format("{\"proposer\":\"mailbox\",\"number\":1,\"op\":\"diff\",\"model\":\"m\",\"tokens_in\":900,"
                         "\"tokens_out\":500,\"usd\":0.02,"
                         "\"seconds\":3,\"answer\":\"%s\",\"source\":\"%s\"}",
                         answer, source);
    must(store_measurement_add(s, "answer", 1, 0, 3, a, &err));
    free(a);
    store_program_clear(&p);
}

/* What proposers believe, three times; what the run does now, if it goes on; a folder for the question that waits. */
static void add_talk(const char *folder, bool hostile, bool live, double t)
{
    for (int i = 1; i <= 3; i++) {
        char *b = atn_format(
            "{\"proposer\":\"llm\",\"asked\":%d,\"usd\":0.02,\"arms\":[{\"group\":\"operator\",\"name\":\"diff\","
            "\"prior\":0.6,\"share\":%g,\"rate\":0.3,\"n\":%d,\"pulls\":%d,\"cost\":0},{\"group\":\"operator\","
            "\"name\":\"full\",\"prior\":0.4,\"share\":%g,\"rate\":0.2,\"n\":%d,\"pulls\":%d,\"cost\":0}],"
            "\"lessons\":\"%s\"}",
            i, 0.5 + 0.1 * i, i, i, 0.5 - 0.1 * i, i, i,
            hostile ? "<script>window.pwned=1</script>" : "- paid 1.20x over its parent: larger tiles");
        must(store_measurement_add(s, "belief", 0, 0, t * i / 3, b, &err));
        free(b);
    }
    if (live)
        must(store_meta_set(
            s, "now",
            "{\"judge\":{\"id\":9,\"stage\":\"race\",\"began\":1,\"since\":2},\"builds\":[{\"id\":10,\"since\":2}],"
            "\"waiting\":[11],\"builders\":1,\"judged\":60,\"t\":3,\"per_minute\":50,\"done\":0.5,"
            "\"seconds_left\":60,\"phase\":\"evolving\"}",
            &err));
    char *letter = atn_format("%s/mailbox/002", folder), *state = file_join(letter, "state");
    must(file_mkdirs(letter, &err));
    must(file_write(state, "open\n", 5, &err));
    free(letter);
    free(state);
}

static void add_result(int64_t n, double t)
{
    atn_text j = {0};
    text_addf(&j,
              "{\"speedup\":{\"median\":%g,\"low\":%g,\"high\":%g},\"speedup_is\":\"final comparison, full "
              "size\",\"cases\":[",
              exp(best), exp(best - 0.01), exp(best + 0.01));
    for (int i = 0; i < CASES; i++) {
        const char *at = suite;
        for (int k = 0; k < i; k++) at = strstr(at, "; ") + 2;
        text_addf(&j,
                  "%s{\"case\":\"%.*s\",\"error\":4e-7,\"speedup\":%g,\"speedup_low\":%g,\"speedup_high\":%g,"
                  "\"gflops\":120,\"peak_fraction\":0.5%d,\"ns\":%g,\"workspace_bytes\":65536}",
                  i ? "," : "", (int)strcspn(at, ";"), at, exp(best), exp(best - 0.02), exp(best + 0.02), i,
                  2e5 * (i + 1));
    }
    text_add(&j, "],\"machine\":{\"fma_peak_gflops\":217}}");
    must(store_measurement_add(s, "control_end", 1, 1, t,
                               "{\"aa_races\":3,\"aa_promoted\":0,\"plus_races\":3,\"plus_promoted\":3,\"aa_spread\":0."
                               "003,\"can_see_percent\":1.2}",
                               &err));
    must(store_measurement_add(s, "result", best_id, 1, t, j.s, &err));
    must(store_event_add(s, t, "{\"event\":\"stop\",\"text\":\"time is up\"}", &err));
    text_free(&j);
    (void)n;
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    int n = atoi(argv[2]);
    const char *kind = argc > 3 ? argv[3] : "finished";
    bool hostile = !strcmp(kind, "hostile"), add = !strcmp(kind, "add");
    store_pair id[] = {{"machine", "a test machine"},
                       {"suite", suite},
                       {"compiler", "gcc 12.2.0"},
                       {"threads", "1"},
                       {"initial program", "1"}};
    must(store_open(argv[1], add ? STORE_RESUME : STORE_CREATE, id, ATN_COUNT(id), &s, &err));
    store_progress at = {0};
    must(store_progress_get(s, &at, &err));
    if (add) {
        for (int i = 1; i <= n; i++) {
            must(store_begin(s, &err));
            add_program(at.seq_last + i, 100, false, at.t_last + i * 0.05);
            must(store_commit(s, &err));
            usleep(50000);
        }
        store_close(s);
        return 0;
    }
    must(store_meta_set(s, "cpu", hostile ? attacks[0] : "A test machine", &err));
    must(store_meta_set(s, "isa", "avx2", &err));
    must(store_meta_set(s, "suite", "seed", &err));
    must(store_meta_set(s, "started", "2026-01-01T00:00:00Z", &err));
    must(store_begin(s, &err));
    must(store_event_add(s, 0, "{\"event\":\"start\",\"t\":0}", &err));
    if (n)
        must(store_measurement_add(s, "control", 1, 1, 1,
                                   "{\"aa_races\":3,\"aa_promoted\":0,\"plus_races\":3,\"plus_promoted\":3,\"aa_"
                                   "spread\":0.002,\"can_see_percent\":1.5}",
                                   &err));
    for (int i = 1; i <= n; i++) add_program(i, n, hostile, i * 1.2);
    if (n >= 9) add_letters(hostile);
    if (n >= 9) add_talk(argv[1], hostile, !strcmp(kind, "live"), n * 1.2);
    if (n && (!strcmp(kind, "finished") || hostile)) add_result(n, n * 1.2);
    must(store_commit(s, &err));
    store_close(s);
    return 0;
}
