/* Pruned programs: the same tokens reach the compiler, the same code leaves it, and the text has no scars. */
#include "common.h"

#include "evolve/cpp.h"
#include "../skip.h"

static bool have_gcc(void) { return system("gcc --version >/dev/null 2>&1") == 0; }

/* What `command` makes of the text; NULL where it fails. Blank space is left out where squeeze is set. */
static char *through(const char *command, const char *text, bool squeeze)
{
    char in[] = "/tmp/attune-prune-XXXXXX", *line, *out = NULL;
    int fd = mkstemp(in);
    assert_true(fd >= 0);
    size_t n = strlen(text);
    assert_int_equal(write(fd, text, n), (ssize_t)n);
    close(fd);
    line = atn_format("%s -I'%s/include' -x c - < %s 2>/dev/null", command, test_root, in);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    atn_text t = {0};
    text_add(&t, "");
    char block[65536];
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        for (size_t i = 0; i < n; i++)
            if (!squeeze || !strchr(" \t\n", block[i])) text_addn(&t, block + i, 1);
    out = text_take(&t);
    if (pclose(f) != 0) {
        free(out);
        out = NULL;
    }
    unlink(in);
    free(line);
    return out;
}

static void same_through(const char *command, const char *name, const char *source, bool squeeze, int *compared)
{
    char *pruned = program_prune(source), *a = through(command, source, squeeze);
    if (a) {
        char *b = through(command, pruned, squeeze);
        if (!b || strcmp(a, b)) fail_with("%s: '%s' differs for\n%s\n--- pruned ---\n%s", name, command, source,
                                          pruned);
        free(b);
        ++*compared;
    }
    free(a), free(pruned);
}

static void prunes_to(const char *source, const char *want)
{
    char *got = program_prune(source);
    if (strcmp(got, want)) fail_with("of\n%s\ngot\n%s\nwanted\n%s", source, got, want);
    char *again = program_prune(got);
    if (strcmp(again, got)) fail_with("not stable: of\n%s\ngot\n%s", got, again);
    free(got), free(again);
}

static void resolves_branches(void **state)
{
    (void)state;
    prunes_to("#define MODE 1   // knob: 0 1 2 ; how\n"
              "#if MODE == 0\nint zero;\n#elif MODE == 1\nint one;\n#else\nint two;\n#endif\nint end;\n",
              "int one;\nint end;\n");
    prunes_to("#define A 2\n#define B (A * 3)\n#define K 1 // knob: 0 1\n#if B == 6 && K\nint six = B;\n#endif\n",
              "#define A 2\n#define B (A * 3)\nint six = B;\n");
    prunes_to("#define K 4 // knob: 2 4 ; size\n#if K > 2\nint big[K];\n#else\nint small[K];\n#endif\n",
              "#define K 4 // size\nint big[K];\n");
    prunes_to("#define K 4 // knob: 2 4 ; size\nint a[K];\n", "#define K 4 // knob: 2 4 ; size\nint a[K];\n");
    prunes_to("#define K 4 // knob: 2 4\n#ifdef K\nint a;\n#endif\n#ifndef K\nint b;\n#endif\n", "int a;\n");
}

static void keeps_what_it_cannot_know(void **state)
{
    (void)state;
    const char *unknown = "#ifdef __AVX512F__\nint wide;\n#elif VL == 8\nint half;\n#endif\n";
    prunes_to(unknown, unknown);
    prunes_to("#define K 1 // knob: 0 1\n#if K == 0\nint a;\n#elif VL == 8\nint b;\n"
              "#elif K == 1\nint c;\n#else\nint d;\n#endif\n",
              "#if VL == 8\nint b;\n#else\nint c;\n#endif\n");
    prunes_to("#define K 1 // knob: 0 1\n#if VL == 8\nint b;\n#elif K == 0\nint c;\n#else\nint d;\n#endif\n",
              "#if VL == 8\nint b;\n#else\nint d;\n#endif\n");
    prunes_to("#define K 1 // knob: 0 1\n#if K == 0 && defined(__AVX2__)\nint a;\n#endif\n"
              "#if K && VL == 8\nint b;\n#endif\n",
              "#define K 1\n#if K && VL == 8\nint b;\n#endif\n");
    /* A value that depends on an unknown condition is unknown behind it. */
    const char *merged = "#if VL == 16\n#define MR 8\n#else\n#define MR 4\n#endif\n"
                         "#if MR == 8\nint a;\n#endif\nint b[MR];\n";
    prunes_to(merged, merged);
    const char *undone = "#define A 1\n#ifdef X\n#undef A\n#endif\n#if A\nint a;\n#endif\n";
    prunes_to(undone, undone);
    const char *lines = "#define K 1 // knob: 0 1\n#if K\nint a = __LINE__;\n#endif\n";
    prunes_to(lines, lines);
    const char *broken = "#define K 1 // knob: 0 1\n#if K\nint a;\n";
    prunes_to(broken, broken);
    const char *markers = "#define K 1 // knob: 0 1\n#if K == 0\n// EVOLVE-BLOCK-START\n#endif\nint a;\n";
    prunes_to(markers, markers);
    const char *pasted = "#define K_A 1 // knob: 0 1\n#define CAT(a, b) a##b\nint a = CAT(K, _A);\n";
    prunes_to(pasted, pasted);
    const char *header = "#define ATN_VEC_BITS 256 // knob: 256 512\n#include \"attune/vec.h\"\nint a;\n";
    prunes_to(header, header);
}

static void leaves_no_scars(void **state)
{
    (void)state;
    prunes_to("/* file */\n\n#define K 0   // knob: 0 1 ; one\n#define L 4   // knob: 4 8 ; two\n\n"
              "/* Packs. */\n#if K\nstatic void pack(void)\n{\n}\n#endif\n\n"
              "int f(void)\n{\n#if K\n    pack();\n\n#endif\n    return L;\n\n#if K\n    pack();\n#endif\n}\n",
              "/* file */\n\n#define L 4   // knob: 4 8 ; two\n\nint f(void)\n{\n    return L;\n}\n");
    prunes_to("#define K 1   // knob: 0 1\n#if K\n#  ifdef __AVX2__\n#    define W 8\n#  else\n#    define W 4\n"
              "#  endif\n#endif\nint w = W;\n",
              "#ifdef __AVX2__\n#  define W 8\n#else\n#  define W 4\n#endif\nint w = W;\n");
    prunes_to("/* One. */\n#define HELP(x) ((x) + 1)\n#define K 0 // knob: 0 1\n#if K\nint a = HELP(1);\n#endif\n"
              "#define UNUSED 3\nint b;\n",
              "/* One. */\n#define UNUSED 3\nint b;\n");
}

/* Random nests of conditionals over knobs, constants and unknown macros: the preprocessor must see the same text. */
static void add_random(atn_text *t, atn_rng *r, int depth, int *count)
{
    static const char *const conditions[] = {"K0 == 1", "K1", "K0 + K1 > 2", "C == 5", "defined(X)", "X > 1", "Y",
        "K0 && X", "!K1 || Y", "K0 ? X : K1", "defined K1", "D < K0", "C / K1 == 2", "(C << 1) % 3 == K0", "-K0 < 0u"};
    for (int n = 1 + (int)rng_below(r, 3); n > 0; n--) {
        uint32_t what = rng_below(r, 10);
        if (what < 4 || depth == 4) text_addf(t, "int v%d;\n", (*count)++);
        else if (what == 4) text_addf(t, "#define %s %u\n", rng_below(r, 2) ? "C" : "D", rng_below(r, 7));
        else if (what == 5) text_addf(t, "#undef %s\n", rng_below(r, 2) ? "C" : "X");
        else {
            const char *macro = rng_below(r, 2) ? "X" : "K0";
            if (rng_below(r, 6) == 0) text_addf(t, "#%s %s\n", rng_below(r, 2) ? "ifdef" : "ifndef", macro);
            else text_addf(t, "#if %s\n", conditions[rng_below(r, ATN_COUNT(conditions))]);
            add_random(t, r, depth + 1, count);
            for (uint32_t e = rng_below(r, 3); e > 0; e--) {
                text_addf(t, "#elif %s\n", conditions[rng_below(r, ATN_COUNT(conditions))]);
                add_random(t, r, depth + 1, count);
            }
            if (rng_below(r, 2)) text_add(t, "#else\n"), add_random(t, r, depth + 1, count);
            text_add(t, "#endif\n");
        }
    }
}

static void random_programs_preprocess_to_the_same(void **state)
{
    (void)state;
    if (!have_gcc()) SKIP_TEST("no gcc");
    int compared = 0;
    for (int i = 0; i < 60; i++) {
        atn_rng r = rng_make(test_seed, 3, (uint64_t)i);
        atn_text t = {0};
        int count = 0;
        text_addf(&t, "#define K0 %u // knob: 0 1 2\n#define K1 %u // knob: 0 1 2\n#define C 5\n#define D (C - K0)\n",
                  rng_below(&r, 3), rng_below(&r, 3));
        for (int k = 0; k < 4; k++) add_random(&t, &r, 0, &count);
        text_add(&t, "int end = D;\n");
        char *command = atn_format("gcc -E -P %s %s", rng_below(&r, 2) ? "-DX=2" : "",
                                   rng_below(&r, 2) ? "-DY=1" : "-DY=0");
        same_through(command, "random program", t.s, true, &compared);
        free(command);
        text_free(&t);
    }
    assert_true(compared > 40);
}

static void shipped_kernels_preprocess_to_the_same(void **state)
{
    (void)state;
    if (!have_gcc()) SKIP_TEST("no gcc");
    const char *name;
    char *source;
    int compared = 0, shipped = 0;
    for (int i = 0; (source = shipped_source(i, &name)); i++, shipped++) {
        atn_rng r = rng_make(test_seed, 4, (uint64_t)i);
        atn_knobs k;
        assert_int_equal(knobs_parse(source, &k, NULL), ATN_OK);
        for (int t = 0; t < (k.count ? 8 : 1); t++) {
            int idx[KNOBS_MAX];
            for (int j = 0; j < k.count; j++)
                idx[j] = t ? (int)rng_below(&r, (uint32_t)k.knob[j].count) : k.knob[j].now;
            char *point = knobs_apply(source, &k, idx);
            same_through("gcc -E -P", name, point, true, &compared);
            free(point);
        }
        free(source);
    }
    assert_true(compared >= shipped);
}

static void shipped_kernels_compile_to_the_same(void **state)
{
    (void)state;
    if (!have_gcc()) SKIP_TEST("no gcc");
    const char *name;
    char *source;
    int compared = 0, shipped = 0;
    for (int i = 0; (source = shipped_source(i, &name)); i++, shipped++) {
        same_through("gcc -O2 -g0 -S -o -", name, source, false, &compared);
        free(source);
    }
    if (compared < shipped) fail_with("%d of %d shipped kernels compile", compared, shipped);
}

static void constraints_are_evaluated(void **state)
{
    (void)state;
    const char *source = "#define MR 6 // knob: 4 6 8\n#define NR 2 // knob: 1 2 3\n#define TILE (MR * NR)\n"
                         "_Static_assert(TILE + NR + 1 <= REGS &&\n    NR > 0, \"fits\");\n"
                         "#if MR == 8 && NR == 1\n#error no\n#endif\n"
                         "_Static_assert(sizeof(float) == 4, \"\");\nint a = MR;\n#if NR == 3\nint b = 1;\n#endif\n"
                         "#define IDLE 1 // knob: 1 2\n#if MR == 4\nint c = IDLE;\n#endif\n";
    atn_knobs k;
    assert_int_equal(knobs_parse(source, &k, NULL), ATN_OK);
    cpp_program *p = cpp_parse(source, &k);
    int line;
    assert_true(cpp_allows(p, NULL, &line));                    /* REGS is unknown: nothing is claimed */
    cpp_predefine(p, "REGS", "16");
    assert_true(cpp_allows(p, (long[]){6, 2, 1}, &line));
    assert_false(cpp_allows(p, (long[]){6, 3, 1}, &line));
    assert_int_equal(line, 4);
    assert_false(cpp_allows(p, (long[]){8, 1, 1}, &line));
    assert_int_equal(line, 7);
    assert_true(cpp_allows(p, (long[]){4, 3, 1}, &line));
    bool active[3];
    cpp_active(p, (long[]){4, 2, 1}, 3, active);
    assert_true(active[0] && active[1] && active[2]);
    cpp_active(p, (long[]){6, 2, 1}, 3, active);
    assert_true(active[0] && active[1] && !active[2]);
    int group[3];
    cpp_groups(p, 3, group);
    assert_int_equal(group[0], group[1]);
    assert_int_equal(group[2], 2);
    cpp_free(p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(resolves_branches), cmocka_unit_test(keeps_what_it_cannot_know), cmocka_unit_test(leaves_no_scars),
    cmocka_unit_test(constraints_are_evaluated), cmocka_unit_test(random_programs_preprocess_to_the_same),
    cmocka_unit_test(shipped_kernels_preprocess_to_the_same), cmocka_unit_test(shipped_kernels_compile_to_the_same)};
TEST_MAIN(tests)
