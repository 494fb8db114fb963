/* Knob lines: what is one, what is malformed, and that putting values in touches nothing else. */
#include "common.h"
#include "../skip.h"

static atn_knobs parsed(const char *source)
{
    atn_knobs k;
    atn_error err = {0};
    if (knobs_parse(source, &k, &err) != ATN_OK) fail_with("'%s' does not parse: %s", source, err.text);
    return k;
}

static void finds_values_notes_and_lines(void **state)
{
    (void)state;
    atn_knobs k = parsed("/* text */\n"
                         "#define BR 48        // knob: 16 24 32 48 64 96\n"
                         "  #  define EXP_DEG 5    // knob: 3 4 5 6 ; polynomial degree  \n"
                         "#define MODE 0x2 /* knob: 1, 2 ,3; in a block comment */\n"
                         "#define SHIFT (-1) // knob: -2 -1 0\n"
                         "#define MINUS -3 //knob: -3\n"
                         "#define ODD 7 // knob: 1 2\n"
                         "#define TWICE 1 // knob: 1 1 2 2");
    assert_int_equal(k.count, 7);
    assert_string_equal(k.knob[0].name, "BR");
    assert_int_equal(k.knob[0].count, 6);
    assert_int_equal(k.knob[0].now, 3);
    assert_int_equal(k.knob[0].line, 2);
    assert_string_equal(k.knob[0].note, "");
    assert_string_equal(k.knob[1].note, "polynomial degree");
    assert_int_equal(k.knob[2].values[k.knob[2].now], 2);
    assert_string_equal(k.knob[2].note, "in a block comment");
    assert_int_equal(k.knob[3].values[k.knob[3].now], -1);
    assert_int_equal(k.knob[4].values[k.knob[4].now], -3);
    assert_int_equal(k.knob[5].count, 3);         /* the present value joins the list */
    assert_int_equal(k.knob[5].values[2], 7);
    assert_int_equal(k.knob[5].now, 2);
    assert_int_equal(k.knob[6].count, 2);
    assert_int_equal(k.knob[6].line, 8);
}

static void ignores_what_only_looks_like_one(void **state)
{
    (void)state;
    assert_int_equal(parsed("").count, 0);
    assert_int_equal(parsed("#define A 1 // a number of knob: none\n").count, 0);
    assert_int_equal(parsed("// #define A 1 // knob: 1 2\n").count, 0);
    assert_int_equal(parsed("/*\n#define A 1 // knob: 1 2\n*/\n").count, 0);
    assert_int_equal(parsed("const char *s = \"\\\n#define A 1 // knob: 1 2\";\n").count, 0);
    assert_int_equal(parsed("// knob: lines look like this\n").count, 0);
}

static void says_what_is_malformed_and_where(void **state)
{
    (void)state;
    static const struct { const char *source, *line; } bad[] = {
        {"#define A 1 // knob:\n", "line 1"},
        {"\n#define A 1 // knob: ; only a note\n", "line 2"},
        {"#define A 1 // knob: 1 two\n", "line 1"},
        {"#define A 1 // knob: 1 2.5\n", "line 1"},
        {"#define A 1 // knob: 1 99999999999999999999\n", "line 1"},
        {"#define A(x) 1 // knob: 1 2\n", "line 1"},
        {"#define A B // knob: 1 2\n", "line 1"},
        {"#define A 1 + 1 // knob: 1 2\n", "line 1"},
        {"#define A 1.5 // knob: 1 2\n", "line 1"},
        {"#define A // knob: 1 2\n", "line 1"},
        {"#define 3 // knob: 1 2\n", "line 1"},
        {"#define // knob: 1 2\n", "line 1"},
        {"#undef A // knob: 1 2\n", "line 1"},
        {"#define A 1 // knob: 1 2 \\\n#define B 1 // knob: 1 2\n", "line 1"},
        {"\n\nstatic const int a = 1; // knob: 1 2\n", "line 3"},
        {"#define A 1 // knob: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 "
         "20 21 22 23 24 25 26 27 28 29 30 31 32 33\n", "line 1"},
        {"#define A_NAME_THAT_IS_MUCH_LONGER_THAN_ANY_KNOB_SHOULD_EVER_BE 1 // knob: 1 2\n", "line 1"},
    };
    for (int i = 0; i < ATN_COUNT(bad); i++) {
        atn_knobs k;
        atn_error err = {0};
        if (knobs_parse(bad[i].source, &k, &err) != ATN_FORMAT) fail_with("accepted: %s", bad[i].source);
        assert_int_equal(k.count, 0);
        if (!strstr(err.text, bad[i].line)) fail_with("'%s' lacks '%s' for %s", err.text, bad[i].line, bad[i].source);
    }
    atn_text t = {0};
    for (int i = 0; i < 65; i++) text_addf(&t, "#define K%d 1 // knob: 1 2\n", i);
    atn_knobs k;
    atn_error err;
    assert_int_equal(knobs_parse(t.s, &k, &err), ATN_FORMAT);
    assert_non_null(strstr(err.text, "line 65"));
    text_free(&t);
}

static void puts_values_in_and_touches_nothing_else(void **state)
{
    (void)state;
    const char *source = "#define A  0x10\t// knob: 16 32 ; hex\r\nint x = A;\n"
                         "#define B (-1)   // knob: -2 -1 3\n"
                         "#define C 5 /* knob: 5 6 */\n#define D 9 // knob: 9 10";
    atn_knobs k = parsed(source);
    char *same = knobs_apply(source, &k, (int[]){0, 1, 0, 0});
    assert_string_equal(same, source);
    char *other = knobs_apply(source, &k, (int[]){1, 0, 1, 1});
    assert_string_equal(other, "#define A  32\t// knob: 16 32 ; hex\r\nint x = A;\n"
                               "#define B (-2)   // knob: -2 -1 3\n"
                               "#define C 6 /* knob: 5 6 */\n#define D 10 // knob: 9 10");
    char *positive = knobs_apply(source, &k, (int[]){0, 2, 0, 0});
    assert_non_null(strstr(positive, "#define B 3   //"));
    atn_knobs again = parsed(other);
    assert_int_equal(again.knob[0].now, 1);
    free(same), free(other), free(positive);
}

static void family_is_the_text_without_the_values(void **state)
{
    (void)state;
    char a[33], b[33], c[33], d[33];
    knobs_family_hash("#define A 0x10 // knob: 16 32\nint x = A;\n", a);
    knobs_family_hash("#define A 32 // knob: 16 32\nint x = A;\n", b);
    knobs_family_hash("#define A 32 // knob: 16 32\nint y = A;\n", c);
    knobs_family_hash("#define A 32 // knob: 16 32 64\nint x = A;\n", d);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_string_not_equal(a, d);
    assert_int_equal(strlen(a), 32);
    knobs_family_hash("#define A 32 // knob: what\n", a);     /* malformed: hashed as it is */
    knobs_family_hash("#define A 16 // knob: what\n", b);
    assert_string_not_equal(a, b);
}

static void shape_sees_structure_only(void **state)
{
    (void)state;
    uint64_t h = program_shape_hash("int f(int a, int b) { return a - b; } // x\n");
    assert_true(h == program_shape_hash("int g ( int x,\n  int y ) { /* y */ return x-y; }"));
    assert_false(h == program_shape_hash("int f(int a, int b) { return b - a; }"));
    assert_false(h == program_shape_hash("int f(int a, int b) { return a + b; }"));
    assert_false(h == program_shape_hash("int f(int a, long b) { return a - b; }"));
    assert_false(program_shape_hash("x = 1;") == program_shape_hash("x = 2;"));
    assert_false(program_shape_hash("vf_add(x)") == program_shape_hash("vf_sub(x)"));
    assert_true(program_shape_hash("#define A 1\n#define B 2\n") == program_shape_hash("#define X 1\n\n#define Y 2"));
    assert_false(program_shape_hash("#define A 1\nB") == program_shape_hash("#define A 1 B\n"));
}

static void every_point_of_shipped_kernels_reads_back(void **state)
{
    (void)state;
    const char *name;
    char *source;
    atn_rng r = rng_make(test_seed, 1, 0);
    for (int i = 0; (source = shipped_source(i, &name)); i++) {
        atn_knobs k = parsed(source);
        char family[33], other[33];
        knobs_family_hash(source, family);
        for (int t = 0; t < 50; t++) {
            int idx[KNOBS_MAX];
            for (int j = 0; j < k.count; j++) idx[j] = (int)rng_below(&r, (uint32_t)k.knob[j].count);
            char *text = knobs_apply(source, &k, idx);
            atn_knobs again = parsed(text);
            if (again.count != k.count) fail_with("%s: %d knobs became %d", name, k.count, again.count);
            for (int j = 0; j < k.count; j++)
                assert_int_equal(again.knob[j].values[again.knob[j].now], k.knob[j].values[idx[j]]);
            knobs_family_hash(text, other);
            assert_string_equal(family, other);
            free(text);
        }
        free(source);
    }
}

static void hostile_text_does_no_harm(void **state)
{
    (void)state;
    const char *name;
    char *source = shipped_source(0, &name);
    if (!source) SKIP_TEST("no shipped kernels beside the tests");
    atn_rng r = rng_make(test_seed, 2, 0);
    for (int i = 0; i < 60; i++) {
        char *text = mangle(source, &r), hash[33];
        atn_knobs k;
        atn_error err;
        if (knobs_parse(text, &k, &err) == ATN_OK && k.count) {
            int idx[KNOBS_MAX];
            for (int j = 0; j < k.count; j++) idx[j] = k.knob[j].now;
            char *same = knobs_apply(text, &k, idx);
            if (strcmp(same, text)) fail_with("unchanged values changed the text of case %d", i);
            free(same);
        }
        knobs_family_hash(text, hash);
        program_shape_hash(text);
        char *pruned = program_prune(text), *diff = program_diff(text, pruned, "a", "b");
        free(text), free(pruned), free(diff);
    }
    free(source);
    static const char *const nasty[] = {"", "\\", "\\\n", "/*", "//\\\n", "\"", "'\\", "#", "#\\\n", "#define",
        "#if", "#if (", "#elif\n", "#else", "#endif", "_Static_assert(", "_Static_assert",
        "#define A A\n#if A\n#endif\n", "%:if 1\n#endif",
        "#define A B\n#define B A\n_Static_assert(A == B, \"\");\n", "#if 1 / 0\n#endif\n", "#if defined\n#endif\n",
        "#if defined(\n#endif\n", "#ifdef\n#endif\n", "#if 1 ? 2\n#endif\n", "#if - - -\n#endif\n"};
    for (int i = 0; i < ATN_COUNT(nasty); i++) {
        char hash[33];
        atn_knobs k;
        knobs_parse(nasty[i], &k, NULL);
        knobs_family_hash(nasty[i], hash);
        program_shape_hash(nasty[i]);
        free(program_prune(nasty[i]));
    }
    atn_text deep = {0};
    text_add(&deep, "#define A 1 // knob: 1 2\n#if ");
    for (int i = 0; i < 100000; i++) text_add(&deep, "(");
    text_add(&deep, "A\n#endif\n");
    for (int i = 0; i < 5000; i++) text_add(&deep, "#if A\n");
    free(program_prune(deep.s));
    text_free(&deep);
    for (int i = 0; i < 40; i++) text_addf(&deep, "#define A%d A%d + A%d\n", i, i + 1, i + 1);
    text_add(&deep, "#define A40 1\n#if A0\n#endif\n");
    free(program_prune(deep.s));
    text_free(&deep);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(finds_values_notes_and_lines), cmocka_unit_test(ignores_what_only_looks_like_one),
    cmocka_unit_test(says_what_is_malformed_and_where), cmocka_unit_test(puts_values_in_and_touches_nothing_else),
    cmocka_unit_test(family_is_the_text_without_the_values), cmocka_unit_test(shape_sees_structure_only),
    cmocka_unit_test(every_point_of_shipped_kernels_reads_back), cmocka_unit_test(hostile_text_does_no_harm)};
TEST_MAIN(tests)
