/* Which champions a run begins with: the nearest machine's, and a word about it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"
#include "evolve/champions.h"
#include "evolve/evolve.h"
#include "fake.h"
#include "judge/accuracy.h"

#define XEON "Intel(R) Xeon(R) Processor; avx512+bf16+amx; L1d 48K L2 2048K L3 307200K"
#define XEON_L3 "Intel(R) Xeon(R) Processor; avx512+bf16+amx; L1d 48K L2 2048K L3 491520K"
#define GENOA "AMD EPYC 9R14; avx512+bf16; L1d 32K L2 1024K L3 32768K"
#define MILAN "AMD EPYC 7B13; avx2; L1d 32K L2 512K L3 32768K"
#define ROME "AMD EPYC 7B12; avx2; L1d 32K L2 512K L3 16384K"
#define GRAVITON "Neoverse-V2; neon+sve; L1d 64K L2 2048K L3 36864K"

static void distances(void **state)
{
    (void)state;
    assert_true(champions_distance(XEON, 2, XEON, 2) == 0);
    double other_l3 = champions_distance(XEON, 16, XEON_L3, 2), genoa = champions_distance(XEON, 8, GENOA, 8),
           milan = champions_distance(XEON, 8, MILAN, 8), arm = champions_distance(XEON, 8, GRAVITON, 8);
    assert_true(other_l3 > 0 && other_l3 < 1);
    assert_true(genoa > 2 && genoa < 8);
    assert_true(milan > 8 && milan < 32 && arm > 64);
    assert_true(champions_distance(MILAN, 8, ROME, 8) < 1);
    assert_true(champions_distance(GENOA, 8, MILAN, 8) < milan);
    assert_true(champions_distance(XEON, 2, XEON, 64) > 1);             /* many cores share what two had */
    assert_true(champions_distance(XEON, 0, XEON, 64) == 0);            /* unknown says nothing */
    assert_true(champions_distance(GENOA, 4, MILAN, 8) == champions_distance(MILAN, 8, GENOA, 4));
    const char *const bad[] = {"", "avx512", "a CPU; avx2", "; L1d 48K L2 2048K L3 1K", "CPU; avx2; L1d x L2 y L3 z"};
    for (int i = 0; i < ATN_COUNT(bad); i++) {
        assert_true(champions_distance(bad[i], 1, XEON, 1) < 0);
        assert_true(champions_distance(XEON, 1, bad[i], 1) < 0);
    }
}

static char folder[64];

static int fresh_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/t_champions.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

static char *champion(const char *name, const char *signature)
{
    char *path = atn_format("%s/%s.c", folder, name), *json = atn_format("%s/%s.json", folder, name);
    char *record = atn_format("{\"machine\": {\"signature\": \"%s\", \"cpus\": 2}}", signature ? signature : "");
    FILE *f = signature ? fopen(json, "w") : NULL;
    if (f) fputs(record, f), fclose(f);
    free(record);
    free(json);
    return path;
}

/* Chooses among four machines' champions on `here`; the names kept are to be `want`. */
static void expect_choice(const char *here, const char *want, const char *word)
{
    atn_machine m = {.cpus = 2};
    snprintf(m.signature, sizeof m.signature, "%s", here);
    char *paths[] = {champion("genoa", GENOA), champion("milan", MILAN), champion("rome", ROME), champion("xeon", XEON)};
    char *text;
    atn_text names = {0};
    int n = champions_nearest(&m, paths, 4, &text);
    for (int i = 0; i < n; i++) {
        const char *name = strrchr(paths[i], '/') + 1;
        text_addf(&names, "%s%.*s", i ? " " : "", (int)strlen(name) - 2, name);
        free(paths[i]);
    }
    if (!names.s || strcmp(names.s, want)) fail_msg("on '%s': '%s', not '%s'", here, names.s ? names.s : "", want);
    if (!strstr(text, word)) fail_msg("on '%s': no '%s' in: %s", here, word, text);
    text_free(&names);
    free(text);
}

static void the_nearest_start(void **state)
{
    (void)state;
    expect_choice(XEON, "xeon", "champion xeon, evolved on a machine like this one; 1 of 4");
    expect_choice(XEON_L3, "xeon", "on a machine of this class: Intel(R) Xeon(R)");
    expect_choice("AMD EPYC 9R45; avx512+bf16; L1d 48K L2 1024K L3 32768K", "genoa", "AMD EPYC 9R14");
    expect_choice("Intel(R) Core(TM) i7; avx2; L1d 32K L2 256K L3 8192K", "milan rome", "champions milan, rome");
    expect_choice(GRAVITON, "milan rome", "on the nearest machine known: AMD EPYC 7B13; avx2");
    expect_choice("unreadable", "genoa milan rome xeon", "not recorded");
}

static void a_champion_without_a_record_starts_too(void **state)
{
    (void)state;
    atn_machine m = {.cpus = 2};
    snprintf(m.signature, sizeof m.signature, "%s", XEON);
    char *paths[] = {champion("mine", NULL), champion("milan", MILAN), champion("xeon", XEON)}, *text;
    assert_int_equal(champions_nearest(&m, paths, 3, &text), 2);
    assert_non_null(strstr(paths[0], "mine.c"));
    assert_non_null(strstr(paths[1], "xeon.c"));
    assert_non_null(strstr(text, "mine, xeon"));
    free(paths[0]), free(paths[1]), free(text);
    assert_int_equal(champions_nearest(&m, paths, 0, &text), 0);
    assert_null(text);
}

static char families[512]; /* in the order in which they were judged */

static void remember_start(void *ctx, const evolve_event *e)
{
    if (e->type == EVOLVE_START) snprintf(ctx, 256, "%s", e->text);
    if (e->type != EVOLVE_JUDGED || !text_starts(e->program->made.origin, "shipped:")) return;
    const size_t n = strlen(families);
    snprintf(families + n, sizeof families - n, "%s ", e->program->made.origin + strlen("shipped:"));
}

/* Of the families two, the one whose name comes later first. */
static int no_champion(const char *path, const atn_suite *suite)
{
    (void)suite;
    return strstr(path, "/flash_qvec.c") ? 1 : strstr(path, "/flash_kvec.c") ? 2 : 0;
}

/* What a whole run says in its first event. */
static void first_word(int (*serves)(const char *path, const atn_suite *suite), char said[256])
{
    static const int zero[8] = {0};
    fake_judge f;
    atn_suite suite;
    evolve_result r;
    atn_error err = {0};
    atn_machine m = {.cpus = 2, .isa = "avx512"};
    char *source = fake_source(zero);
    said[0] = 0;
    snprintf(m.signature, sizeof m.signature, "%s", XEON);
    fake_init(&f);
    fake_suite(&suite);
    f.face.machine = &m;
    evolve_options o = evolve_defaults();
    o.folder = folder, o.iterations = 1, o.build_jobs = 1, o.control_races = 0;
    o.suite = &suite, o.initial_source = source, o.initial_path = "fake.c";
    o.proposers[0] = fake_proposer(), o.n_proposers = 1;
    o.event = remember_start, o.event_ctx = said, o.serves = serves;
    if (evolve_run(&o, &f.face, &r, &err)) fail_msg("%s", err.text);
    o.proposers[0]->destroy(o.proposers[0]);
    suite_free(&suite);
    free(source);
}

/* With the champions that lie in this tree, for a machine like theirs; not with those that the judge would refuse. */
static void a_run_says_which(void **state)
{
    (void)state;
    char said[256];
    first_word(NULL, said);
    char *paths[EVOLVE_SHIPPED_MAX];
    int champions = 0;
    for (int i = 0, n = evolve_shipped(paths); i < n; i++) champions += strstr(paths[i], "/champions/") != NULL, free(paths[i]);
    if (champions && !text_starts(said, "starting from champion")) fail_msg("the run began with: '%s'", said);
    if (!champions) assert_string_equal(said, "");
    families[0] = 0;
    first_word(no_champion, said);
    assert_string_equal(said, "");
    assert_string_equal(families, "flash_qvec.c flash_kvec.c ");
}

static int takes_everything(const atn_args *a)
{
    (void)a;
    return 1;
}

static int takes_few_rows(const atn_args *a)
{
    return a->Hq / a->Hkv * a->Sq <= 12;
}

static int takes_bf16(const atn_args *a)
{
    return a->q.dtype == ATN_BF16;
}

static bool taken(int (*can_run)(const atn_args *), const char *text)
{
    atn_suite suite = {0};
    atn_error err = {0};
    assert_int_equal(suite_add_case(&suite, text, &err), ATN_OK);
    bool all = accuracy_takes_all(&suite, can_run);
    suite_free(&suite);
    return all;
}

/* What the judge would refuse needs no build: prefill asks more of a family than decode does, bf16 other things than f32. */
static void families_that_would_be_refused(void **state)
{
    (void)state;
    const char *prefill = "f32 h4 s64 d64 causal", *decode = "f32 h4/1 s1/512 d64", *bf16 = "bf16 h1 s64 d64";
    assert_true(taken(takes_everything, prefill) && taken(takes_everything, decode) && taken(takes_everything, bf16));
    assert_true(!taken(takes_few_rows, prefill) && taken(takes_few_rows, decode));
    assert_true(!taken(takes_bf16, prefill) && !taken(takes_bf16, decode) && taken(takes_bf16, bf16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),
        cmocka_unit_test(families_that_would_be_refused),
        cmocka_unit_test_setup_teardown(the_nearest_start, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_champion_without_a_record_starts_too, fresh_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_run_says_which, fresh_folder, remove_folder),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
