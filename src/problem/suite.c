/* Suites: tables of problem texts.
 *
 * Speed suites name whole sizes and run on NORMAL data. Correctness suites are small (tests/unit/t_reference.c holds
 * them to their budget): an evolution runs them for hundreds of candidates. In each of those, the plain problems
 * (problem_is_plain), which every kernel must cover, come first; features that can_run may refuse follow. */
#include "problem/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

typedef struct {
    const char *name;       /* "" : the problem's text, shortened */
    const char *text;
    atn_data data;
} entry;

/* The eight cases of the OpenEvolve example's evaluator: hidden size = heads x 64, causal. */
static const entry SEED[] = {
    {"L64 h4", "f32 h4 s64 d64 causal", 0},
    {"B2 L128 h8", "f32 b2 h8 s128 d64 causal", 0},
    {"L512 h12", "f32 h12 s512 d64 causal", 0},
    {"B4 L256 h16", "f32 b4 h16 s256 d64 causal", 0},
    {"L1024 h8", "f32 h8 s1024 d64 causal", 0},
    {"L256 h8/2", "f32 h8/2 s256 d64 causal", 0},
    {"L256 h12/4", "f32 h12/4 s256 d64 causal", 0},
    {"L512 h16/8", "f32 h16/8 s512 d64 causal", 0},
};

/* What its README promises: 64-2048 tokens, hidden 256-1024, GQA, batches. */
static const entry README[] = {
    {"L64 hidden 512", "f32 h8 s64 d64", 0},
    {"L128 hidden 256", "f32 h4 s128 d64", 0},
    {"L256 hidden 768", "f32 h12 s256 d64", 0},
    {"L512 hidden 512 B2", "f32 b2 h8 s512 d64", 0},
    {"L512 GQA 16/4", "f32 h16/4 s512 d64 causal", 0},
    {"L1024 hidden 1024", "f32 h16 s1024 d64 causal", 0},
    {"L1024 GQA 8/2", "f32 h8/2 s1024 d64", 0},
    {"L128 B4 GQA 16/8", "f32 b4 h16/8 s128 d64 causal", 0},
    {"L2048 hidden 512", "f32 h8 s2048 d64 causal", 0},
    {"L2048 GQA 4/1", "f32 h4/1 s2048 d64", 0},
};

/* Models that people run on small machines: prefill, then decode against a cache. */
#define MODEL(name, heads, rest)                                             \
    {name " 128", "f32 h" heads " s128 d" rest " causal", 0},                \
    {name " 512", "f32 h" heads " s512 d" rest " causal", 0},                \
    {name " 2048", "f32 h" heads " s2048 d" rest " causal", 0},              \
    {name " 4096", "f32 h" heads " s4096 d" rest " causal", 0},              \
    {name " 1/512", "f32 h" heads " s1/512 d" rest, 0},                      \
    {name " 1/4096", "f32 h" heads " s1/4096 d" rest, 0},                    \
    {name " 1/16384", "f32 h" heads " s1/16384 d" rest, 0}
static const entry MODELS[] = {
    MODEL("Qwen3-0.6B", "16/8", "128"),
    MODEL("SmolLM2-135M", "9/3", "64"),
    MODEL("Llama-3.2-1B", "32/8", "64"),
    MODEL("Gemma-3-270M", "4/1", "256"),
};

static const entry ACCURACY[] = {
    {"", "f32 h4 s64 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 h4/2 s128 d64", ATN_DATA_NORMAL},
    {"", "f32 h2 s256 d64 causal", ATN_DATA_PEAKED},
    {"", "f32 h2/1 s200/300 d128 causal", ATN_DATA_NEEDLE},
    {"", "f32 b2 h4/2 s96 d64", ATN_DATA_NEEDLE},
    {"", "f32 h2 s160 d64 causal", ATN_DATA_UNIFORM},
    {"", "f32 h2 s128 d64", ATN_DATA_OFFSET},
    {"", "f32 h4/1 s1/2048 d128", ATN_DATA_NORMAL},
    {"", "f32 h2 s1/1024 d64", ATN_DATA_NEEDLE},
    {"", "f32 h1 s128/512 d64 causal", ATN_DATA_RISING},
    {"", "f16 h4/2 s128 d64 causal", ATN_DATA_NORMAL},
    {"", "bf16 h4/2 s128 d64 causal", ATN_DATA_NORMAL},
    {"", "f32:f16 h4/2 s1/512 d64", ATN_DATA_NORMAL},
    {"", "f32:bf16 h4/2 s64 d64 causal", ATN_DATA_PEAKED},
};

static const entry STABILITY[] = {
    {"", "f32 h2 s96 d64 causal", ATN_DATA_HUGE},
    {"", "f32 h2 s96 d64", ATN_DATA_HUGE},
    {"", "f32 h2 s96 d64 causal", ATN_DATA_TINY},
    {"", "f32 h4 s64/400 d64", ATN_DATA_RISING},
    {"", "f32 h2 s128 d64 causal", ATN_DATA_RISING},
    {"", "f32 h2 s96 d64 causal", ATN_DATA_EQUAL},
    {"", "f32 h2 s64 d64", ATN_DATA_DENORMAL},
    {"", "f32 h2 s64 d64 causal", ATN_DATA_OFFSET},
    {"", "f32 h2 s1/600 d64", ATN_DATA_HUGE},
    {"", "f32 h2 s80/64 d64 causal", ATN_DATA_NORMAL},          /* the first 16 rows see no key */
    {"", "f32 h6 s96 d64 causal", ATN_DATA_INVALID},
    {"", "f32 h6 s1/257 d64", ATN_DATA_INVALID},
    {"", "f32 h2 s96 d64 causal lse", ATN_DATA_HUGE},
    {"", "f32 h2 s64 d64 lse", ATN_DATA_PEAKED},
    {"", "f32 h4/2 s64 d64 mask=f32", ATN_DATA_NORMAL},
    {"", "f32 h4/2 s64 d64 mask=bool lse", ATN_DATA_HUGE},
    {"", "f32 h4/2 s64/80 d64 causal mask=f16", ATN_DATA_PEAKED},
    {"", "f32 h4/2 s64 d64 causal sinks lse", ATN_DATA_NORMAL},
    {"", "f32 h2 s48/32 d64 causal sinks lse", ATN_DATA_TINY},
    {"", "f32 h2 s64 d64 causal softcap=50", ATN_DATA_HUGE},
    {"", "f32 h2 s64 d64 causal alibi", ATN_DATA_RISING},
    {"", "f16 h2 s96 d64 causal", ATN_DATA_HUGE},
    {"", "f16 h2 s64 d64", ATN_DATA_DENORMAL},
    {"", "bf16 h2 s96 d64 causal", ATN_DATA_HUGE},
    {"", "bf16 h2 s96 d64", ATN_DATA_EQUAL},
    {"", "f32 h6/3 s33/130 d64 lse", ATN_DATA_INVALID},
    {"", "bf16 h6 s64 d64 causal", ATN_DATA_INVALID},
    {"", "f16 h6/3 s64 d64", ATN_DATA_INVALID},
};

static const entry ROBUSTNESS[] = {
    /* edges of tiles, primes */
    {"", "f32 h2 s1 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s2 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s15 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s16 d64", ATN_DATA_NEEDLE},
    {"", "f32 h2 s17 d64 causal", ATN_DATA_NEEDLE},
    {"", "f32 h2 s31 d64", ATN_DATA_PEAKED},
    {"", "f32 h2 s32 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s33 d64 causal", ATN_DATA_PEAKED},
    {"", "f32 h2 s47 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s48 d64", ATN_DATA_NORMAL},
    {"", "f32 h2 s49 d64 causal", ATN_DATA_NEEDLE},
    {"", "f32 h2 s63 d64 causal", ATN_DATA_PEAKED},
    {"", "f32 h2 s65 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s65 d64", ATN_DATA_NEEDLE},
    {"", "f32 h2 s97 d64 causal", ATN_DATA_RISING},
    {"", "f32 h1 s127/129 d64", ATN_DATA_NORMAL},
    {"", "f32 h1 s193 d64 causal", ATN_DATA_NEEDLE},
    /* Sq and Skv apart */
    {"", "f32 h2 s7/100 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s100/7 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s33/1 d64", ATN_DATA_NORMAL},
    {"", "f32 h4/2 s1/257 d64", ATN_DATA_NORMAL},
    {"", "f32 h4/2 s3/65 d64 causal", ATN_DATA_NEEDLE},
    /* head sizes */
    {"", "f32 b2 h4 s20 d1", ATN_DATA_NORMAL},
    {"", "f32 b2 h4 s20 d3 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s37 d40 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s37 d80", ATN_DATA_PEAKED},
    {"", "f32 h2 s37 d96 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s37 d128 causal", ATN_DATA_NEEDLE},
    {"", "f32 h1 s37 d192/128 causal", ATN_DATA_NORMAL},
    {"", "f32 h1 s18/70 d256 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s64 d64 scale=0.3 causal", ATN_DATA_NORMAL},
    /* batch and heads */
    {"", "f32 b3 h6/2 s19 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 b2 h9/3 s33 d64", ATN_DATA_NEEDLE},
    {"", "f32 b2 h7/1 s24 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 b2 h5 s21/40 d64", ATN_DATA_NORMAL},
    /* memory */
    {"", "f32 b2 h4/2 s33 d64 causal layout=bshd", ATN_DATA_NORMAL},
    {"", "f32 b2 h4/2 s5/40 d64 causal cache=64", ATN_DATA_NORMAL},
    {"", "f32 b2 h4/2 s1/100 d64 layout=bshd cache=128", ATN_DATA_NEEDLE},
    {"", "f32 h4/2 s33/47 d64 causal misalign", ATN_DATA_NORMAL},
    {"", "f32 b2 h3 s17 d40 layout=bshd misalign", ATN_DATA_PEAKED},
    /* what can_run may refuse */
    {"", "f32 h2 s64 d64 causal lse", ATN_DATA_NORMAL},
    {"", "f32 h4/2 s33 d64 layout=bshd lse", ATN_DATA_NEEDLE},
    {"", "f32 h2 s20/50 d64 causal=top", ATN_DATA_NORMAL},
    {"", "f32 h2 s50/20 d64 causal=top", ATN_DATA_NORMAL},
    {"", "f32 h2 s80 d64 causal window=16", ATN_DATA_NEEDLE},
    {"", "f32 h2 s80 d64 window=16,0", ATN_DATA_NORMAL},
    {"", "f32 h2 s60/80 d64 window=7,9", ATN_DATA_NORMAL},
    {"", "f32 h2 s70 d64 window=-1,3", ATN_DATA_PEAKED},
    {"", "f32 h2 s1/200 d64 causal window=127", ATN_DATA_NORMAL},
    {"", "f32 h2 s100/10 d64 causal window=3", ATN_DATA_NORMAL},
    {"", "f32 h2 s40 d64 causal softcap=30", ATN_DATA_PEAKED},
    {"", "f32 h8/2 s40 d64 causal sinks", ATN_DATA_PEAKED},
    {"", "f32 h8/2 s40 d64 causal alibi", ATN_DATA_NORMAL},
    {"", "f32 h4 s30/60 d64 alibi", ATN_DATA_NORMAL},
    {"", "f32 h4 s30/60 d64 alibi sinks lse", ATN_DATA_NORMAL},
    {"", "f32 h2 s33 d64 causal softcap=4 mask=f32", ATN_DATA_NORMAL},
    {"", "f32 b2 h4/2 s40/50 d64 mask=f32", ATN_DATA_NORMAL},
    {"", "f32 b2 h4/2 s40/50 d64 mask=bool causal", ATN_DATA_NORMAL},
    {"", "f32 b2 h4/2 s1/50 d64 mask=f16", ATN_DATA_PEAKED},
    /* masks that forbid, or allow, all of a tile */
    {"", "f32 h4/2 s230 d64 mask=bool:causal", ATN_DATA_NORMAL},
    {"", "f32 b2 h2/1 s150/210 d40 mask=f32:window lse", ATN_DATA_NEEDLE},
    {"", "f32 b2 h4/2 s3/700 d64 mask=f16:padded", ATN_DATA_NORMAL},
    {"", "f32 h2 s300 d64 causal mask=f32:blocks", ATN_DATA_PEAKED},
    {"", "bf16 h2 s420 d64 mask=bool:blocks sinks", ATN_DATA_NORMAL},
    {"", "f32 h6 s130/260 d64 mask=bool:window", ATN_DATA_NORMAL},
    {"", "f16 b2 h4/2 s33 d64 causal", ATN_DATA_NORMAL},
    {"", "f16 h2 s17/40 d80 misalign", ATN_DATA_NEEDLE},
    {"", "f16 h4/2 s1/100 d64 layout=bshd cache=128", ATN_DATA_NORMAL},
    {"", "bf16 b2 h4/2 s33 d64 causal", ATN_DATA_NORMAL},
    {"", "bf16 h2 s40 d96 causal window=9 sinks", ATN_DATA_PEAKED},
    {"", "f32:f16 h4/2 s20/60 d64 causal cache=64", ATN_DATA_NORMAL},
    {"", "f32:bf16 h4/2 s33 d64 causal layout=bshd", ATN_DATA_NORMAL},
    {"", "f32 b2 h4/2 s30 d64 causal window=9 mask=f32 softcap=20 sinks alibi lse layout=bshd cache=50 misalign",
     ATN_DATA_NORMAL},
};

/* Sizes that stand in no other suite, for the champion alone: nobody can have tuned for them. */
static const entry HELDOUT[] = {
    {"", "f32 h3 s83 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 b2 h6/3 s131 d64", ATN_DATA_NEEDLE},
    {"", "f32 h10/5 s211 d64 causal", ATN_DATA_PEAKED},
    {"", "f32 h4 s401 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 h2 s59/347 d128 causal", ATN_DATA_NEEDLE},
    {"", "f32 h6/2 s1/1531 d64", ATN_DATA_NEEDLE},
    {"", "f32 h5/1 s1/797 d128", ATN_DATA_PEAKED},
    {"", "f32 h2 s151 d48 causal", ATN_DATA_RISING},
    {"", "f32 h2 s109 d112", ATN_DATA_NORMAL},
    {"", "f32 b5 h2 s43 d64 causal", ATN_DATA_HUGE},
    {"", "f32 h2 s167/71 d64 causal", ATN_DATA_NORMAL},
    {"", "f32 b3 h4/2 s73 d64 causal layout=bshd misalign", ATN_DATA_OFFSET},
    {"", "f32 h4/2 s13/89 d64 causal cache=151", ATN_DATA_EQUAL},
    {"", "f32 h2 s61 d72/56", ATN_DATA_UNIFORM},
    {"", "f32 h2 s103 d64 causal lse", ATN_DATA_PEAKED},
    {"", "f32 h4/2 s113 d64 causal window=37", ATN_DATA_NEEDLE},
    {"", "f32 h4/2 s53/67 d64 mask=bool", ATN_DATA_NORMAL},
    {"", "f32 h4/2 s53 d64 causal sinks softcap=40", ATN_DATA_PEAKED},
    {"", "f16 h6/2 s107 d64 causal", ATN_DATA_NORMAL},
    {"", "bf16 h6/2 s107 d64 causal", ATN_DATA_NEEDLE},
};

static const struct {
    const char *name;
    const entry *entries;
    int count;
} SUITES[] = {
#define SUITE(name, table) {name, table, ATN_COUNT(table)}
    SUITE("seed", SEED),         SUITE("readme", README),       SUITE("models", MODELS),
    SUITE("accuracy", ACCURACY), SUITE("stability", STABILITY), SUITE("robustness", ROBUSTNESS),
    SUITE("heldout", HELDOUT),
#undef SUITE
};

const char *const *suite_names(int *count)
{
    static const char *names[ATN_COUNT(SUITES)];
    for (int i = 0; i < ATN_COUNT(SUITES); i++) names[i] = SUITES[i].name;
    if (count) *count = ATN_COUNT(SUITES);
    return names;
}

/* The text without its type where that is f32 and without " d64", cut to fit: a label, not an identity. */
static void short_name(char *out, size_t room, const char *text)
{
    const char *s = text_starts(text, "f32 ") ? text + 4 : text, *d = strstr(s, " d64");
    bool drop = d && (d[4] == ' ' || !d[4]);
    snprintf(out, room, "%.*s%s", drop ? (int)(d - s) : (int)strlen(s), s, drop ? d + 4 : "");
}

static atn_status add(atn_suite *s, const char *name, const char *text, atn_data data, atn_error *err)
{
    atn_case c = {.data = data};
    atn_status st = problem_parse(text, &c.problem, err);
    if (st != ATN_OK) return st;
    if (name && *name) snprintf(c.name, sizeof c.name, "%s", name);
    else short_name(c.name, sizeof c.name, text);
    s->cases = atn_realloc(s->cases, ((size_t)s->count + 1) * sizeof *s->cases);
    s->cases[s->count++] = c;
    return ATN_OK;
}

atn_status suite_add(atn_suite *s, const char *name, atn_error *err)
{
    for (int i = 0; i < ATN_COUNT(SUITES); i++) {
        if (strcmp(SUITES[i].name, name)) continue;
        for (int k = 0; k < SUITES[i].count; k++) {
            const entry *e = &SUITES[i].entries[k];
            ATN_CHECK(add(s, e->name, e->text, e->data, NULL) == ATN_OK);
        }
        return ATN_OK;
    }
    int n;
    const char *const *names = suite_names(&n);
    const char *near = text_nearest(name, names, n);
    return atn_fail(err, ATN_NOT_FOUND,
                    "no suite '%s'%s%s%s; the suites are seed, readme, models (speed), accuracy, stability, "
                    "robustness, heldout (correctness)",
                    name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

atn_status suite_add_case(atn_suite *s, const char *text, atn_error *err)
{
    char canonical[256];
    atn_problem p;
    atn_status st = problem_parse(text, &p, err);
    if (st != ATN_OK) return st;
    problem_print(&p, canonical, sizeof canonical);
    return add(s, "", canonical, ATN_DATA_NORMAL, err);
}

void suite_free(atn_suite *s)
{
    free(s->cases);
    *s = (atn_suite){0};
}
