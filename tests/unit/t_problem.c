/* The problem's text form, its checks, its counting and its layout; and the suites. */
#include "test.h"

#include <math.h>

#include "base/text.h"
#include "problem/suite.h"

static void defaults(void **state)
{
    (void)state;
    atn_problem p = problem_of("h16/8 s2048 d128");
    assert_true(p.B == 1 && p.Hq == 16 && p.Hkv == 8 && p.Sq == 2048 && p.Skv == 2048 && p.D == 128 && p.Dv == 128);
    assert_true(p.dtype_q == ATN_F32 && p.dtype_kv == ATN_F32 && p.causal == ATN_CAUSAL_NONE && p.mask == -1);
    assert_true(p.window_left == -1 && p.window_right == -1 && p.scale == 0 && p.softcap == 0 && p.cache_rows == 0);
    assert_false(p.sinks || p.alibi || p.lse || p.token_major || p.misalign);
    p = problem_default();
    assert_int_equal(problem_check(&p, NULL), ATN_OK);
}

static void text_is_canonical(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"f32 h16/8 s2048 d128 causal", "f32 h16/8 s2048 d128 causal"},
        {"  causal\td128  s2048/2048 h16/8\n", "f32 h16/8 s2048 d128 causal"},
        {"b1 h4/4 s1/16 d64/64 cache=16 layout=bhsd causal=bottom window=-1,-7", "f32 h4 s1/16 d64 causal"},
        {"f32:f32 h1 s1 d1", "f32 h1 s1 d1"},
        {"misalign lse cache=99 layout=bshd alibi sinks scale=0.1 softcap=50 mask=bool window=12,0 causal=top d192/128 "
         "s3/70 "
         "h6/2 b7 f32:bf16",
         "f32:bf16 b7 h6/2 s3/70 d192/128 causal=top window=12,0 mask=bool softcap=50 scale=0.100000001 sinks alibi "
         "lse "
         "layout=bshd cache=99 misalign"},
        {"h1 s9 d8 window=-1,3", "f32 h1 s9 d8 window=-1,3"},
        {"h1 s9 d8 window=3", "f32 h1 s9 d8 window=3"},
        {"h1 s9 mask=f16:padded d8", "f32 h1 s9 d8 mask=f16:padded"},
    };
    for (int i = 0; i < ATN_COUNT(pairs); i++) {
        char out[256];
        atn_problem p = problem_of(pairs[i][0]);
        problem_print(&p, out, sizeof out);
        assert_string_equal(out, pairs[i][1]);
    }
}

static bool same(const atn_problem *a, const atn_problem *b)
{
    return a->B == b->B && a->Hq == b->Hq && a->Hkv == b->Hkv && a->Sq == b->Sq && a->Skv == b->Skv && a->D == b->D &&
           a->Dv == b->Dv && a->dtype_q == b->dtype_q && a->dtype_kv == b->dtype_kv && a->causal == b->causal &&
           a->window_left == b->window_left && a->window_right == b->window_right && a->mask == b->mask &&
           (a->mask < 0 || a->mask_shape == b->mask_shape) &&
           a->scale == b->scale && a->softcap == b->softcap && a->sinks == b->sinks && a->alibi == b->alibi &&
           a->lse == b->lse && a->token_major == b->token_major && a->cache_rows == b->cache_rows &&
           a->misalign == b->misalign;
}

static int any(atn_rng *r, int n) { return (int)rng_below(r, (uint32_t)n); }

static atn_problem random_problem(atn_rng *r)
{
    static const int masks[] = {-1, ATN_F32, ATN_F16, ATN_BOOL};
    atn_problem p = {.B = 1 + any(r, 4),
                     .Hkv = 1 + any(r, 9),
                     .Sq = 1 + any(r, 5000),
                     .Skv = 1 + any(r, 5000),
                     .D = 1 + any(r, 300),
                     .Dv = 1 + any(r, 300),
                     .dtype_q = any(r, 3),
                     .dtype_kv = any(r, 3),
                     .causal = any(r, 3),
                     .window_left = any(r, 2) ? -1 : any(r, 99),
                     .mask = masks[any(r, 4)],
                     .mask_shape = any(r, ATN_MASK_SHAPES),
                     .window_right = any(r, 2) ? -1 : any(r, 99),
                     .sinks = any(r, 2),
                     .alibi = any(r, 2),
                     .lse = any(r, 2),
                     .token_major = any(r, 2),
                     .misalign = any(r, 2)};
    p.Hq = p.Hkv * (1 + any(r, 8));
    if (any(r, 2)) p.scale = (float)(rng_normal(r) + 1e-5);
    if (any(r, 2)) p.softcap = (float)(rng_f64(r) * 100 + 1e-4);
    if (any(r, 2)) p.cache_rows = p.Skv + 1 + any(r, 300);
    return p;
}

static void random_problems_survive_the_way_to_text_and_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5000; seed++) {
        atn_rng r = rng_make(seed, 1, 0);
        char text[300], again[300];
        atn_problem p = random_problem(&r), q;
        atn_error err = {0};
        problem_print(&p, text, sizeof text);
        if (problem_parse(text, &q, &err) != ATN_OK) fail_with("seed %d '%s': %s", (int)seed, text, err.text);
        problem_print(&q, again, sizeof again);
        if (!same(&p, &q) || strcmp(text, again)) fail_with("seed %d: '%s' came back as '%s'", (int)seed, text, again);
    }
}

/* Words in any order mean the same. */
static void order_does_not_matter(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 500; seed++) {
        atn_rng r = rng_make(seed, 2, 0);
        char text[300], *words[32], *save = NULL;
        atn_text mixed = {0};
        atn_problem p = random_problem(&r), q;
        int n = 0;
        problem_print(&p, text, sizeof text);
        for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) words[n++] = w;
        for (; n > 0; n--) {
            int k = any(&r, n);
            text_addf(&mixed, "%s  ", words[k]);
            words[k] = words[n - 1];
        }
        assert_int_equal(problem_parse(mixed.s, &q, NULL), ATN_OK);
        if (!same(&p, &q)) fail_with("seed %d: '%s'", (int)seed, mixed.s);
        text_free(&mixed);
    }
}

static void errors_name_the_word_and_what_is_valid(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        /* text, must be in the message, and this too */
        {"h9/2 s4 d8", "Hq % Hkv != 0: h9/2", "h9/1"},
        {"h12/5 s4 d8", "h12/5", "try h12/4"},
        {"h2/4 s4 d8", "h2/4", "try h2/2"},
        {"h4 s4 d8 casual", "'casual'", "did you mean 'causal'"},
        {"h4 s4 d8 windw=4", "'windw=4'", "'window='"},
        {"h4 s4 d8 fp16", "'fp16'", "'f16'"},
        {"h4 s4 d8 banana", "'banana'", "valid words are like"},
        {"h4 s4 d8 mask=bf16", "'mask=bf16'", "mask=f32, mask=f16 or mask=bool"},
        {"h4 s4 d8 mask", "'mask'", "mask=bool"},
        {"h4 s4 d8 mask=bool:diagonal", "'mask=bool:diagonal'", ":causal, :window, :padded or :blocks"},
        {"h4 s4 d8 mask=bool:", "'mask=bool:'", ":blocks"},
        {"h4 s4 d8 softcap=0", "'softcap=0'", "above 0"},
        {"h4 s4 d8 softcap=nan", "'softcap=nan'", "above 0"},
        {"h4 s4 d8 scale=0", "'scale=0'", "other than 0"},
        {"h4 s4 d8 scale=1e99", "'scale=1e99'", "number"},
        {"h4 s4 d8 window=", "'window='", "window=127,0"},
        {"h4 s4 d8 window=1,2,3", "'window=1,2,3'", "window=127,0"},
        {"h4 s4 d8 causal=right", "'causal=right'", "causal=top"},
        {"h4 s4 d8 layout=sbhd", "'layout=sbhd'", "bshd"},
        {"h4 s40 d8 cache=39", "cache=39", "try cache=40"},
        {"h4 s4 d8 cache=-1", "'cache=-1'", "room"},
        {"h4 s4 d8 sinks=2", "'sinks=2'", "sinks"},
        {"bool h4 s4 d8", "'bool'", "f32"},
        {"f32:f64 h4 s4 d8", "'f32:f64'", "bf16"},
        {"h4 s4", "lacks d", "d128"},
        {"s4 d4", "lacks h", "h16/8"},
        {"", "lacks h", "example"},
        {"h4 s0 d8", "s0", "1 to"},
        {"h4 s99999999 d8", "s99999999", "1 to"},
        {"h4/0 s4 d8", "h0", "1 to"},
        {"h4 s4/5/6 d8", "'s4/5/6'", "s1/4096"},
        {"h4x s4 d8", "'h4x'", "h16/8"},
        {"h4 h4 s4 d8", "'h4'", "once"},
        {"b2/3 h4 s4 d8", "'b2/3'", "b2"},
        {"h99999999999999999999 s4 d8", "'h99999999999999999999'", "h16"},
        {"h4 s4 d8 window=99999999999", "'window=99999999999'", "LEFT"},
        {"b16777216 h16777216 s16777216 d16777216", "bytes", "fewer"},
        {"h4 s4 d8 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "too long",
         "causal"},
    };
    for (int i = 0; i < ATN_COUNT(bad); i++) {
        atn_problem p = {.B = 77};
        atn_error err = {0};
        atn_status st = problem_parse(bad[i][0], &p, &err);
        if (st == ATN_OK) fail_with("'%s' was accepted", bad[i][0]);
        assert_int_equal(st, ATN_FORMAT);
        assert_int_equal(err.code, ATN_FORMAT);
        if (!strstr(err.text, bad[i][1]) || !strstr(err.text, bad[i][2]))
            fail_with("'%s' gives: %s; expected '%s' and '%s' in it", bad[i][0], err.text, bad[i][1], bad[i][2]);
        assert_int_equal(p.B, 77);                            /* untouched on failure */
        assert_int_equal(problem_parse(bad[i][0], &p, NULL), ATN_FORMAT);
    }
}

/* Whatever bytes come, parsing ends with a problem that checks or an error that says something. */
static void garbage_is_refused_not_believed(void **state)
{
    (void)state;
    static const char letters[] = "fhsdb0123456789/=,: -.causlmkwindow";
    for (uint64_t seed = 0; seed < 20000; seed++) {
        atn_rng r = rng_make(seed, 3, 0);
        char text[64] = "h4 s4 d8 ";
        int n = any(&r, 40), at = any(&r, 10);
        for (int i = 0; i < n; i++)
            text[at + i] = any(&r, 20) ? letters[any(&r, sizeof letters - 1)] : (char)any(&r, 256);
        text[ATN_MAX(at + n, 9)] = 0;
        atn_problem p;
        atn_error err = {0};
        if (problem_parse(text, &p, &err) == ATN_OK) assert_int_equal(problem_check(&p, NULL), ATN_OK);
        else assert_true(strlen(err.text) > 10);
    }
}

static void a_small_room_is_not_overrun(void **state)
{
    (void)state;
    char out[8] = "-------";
    atn_problem p = problem_of("h16/8 s2048 d128");
    problem_print(&p, out, 6);
    assert_string_equal(out, "f32 h");
    assert_int_equal(out[6], '-');
}

/* Whether a mask of that shape lets row i of batch b see key j, by what its name says. */
static bool shape_allows(const atn_problem *p, long b, long i, long j)
{
    long at = i + p->Skv - p->Sq, eighth = p->Skv / 8 > 0 ? p->Skv / 8 : 1, text = (p->Skv + 3) / 4;
    switch (p->mask < 0 ? ATN_MASK_RANDOM : p->mask_shape) {
    case ATN_MASK_CAUSAL: return j <= at;
    case ATN_MASK_WINDOW: return j <= at && j > at - eighth;
    case ATN_MASK_PADDED: return j >= p->Skv * (b + 1) / (2 * (p->B + 1));
    case ATN_MASK_BLOCKS: return j / text == (at > 0 ? at : 0) / text;
    default: return true;
    }
}

/* Counting pairs one by one, from the contract. */
static double pairs(const atn_problem *p)
{
    double n = 0;
    for (long b = 0; b < p->B; b++)
        for (long i = 0; i < p->Sq; i++)
            for (long j = 0; j < p->Skv; j++) {
                long at = p->causal == ATN_CAUSAL_TOP_LEFT ? i : i + p->Skv - p->Sq;
                bool no = (p->causal && j > at) || (p->window_left >= 0 && j < at - p->window_left) ||
                          (p->window_right >= 0 && j > at + p->window_right) || !shape_allows(p, b, i, j);
                n += !no;
            }
    return n;
}

static void work_is_counted_exactly(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        atn_rng r = rng_make(seed, 4, 0);
        atn_problem p = random_problem(&r);
        p.Sq = 1 + any(&r, 100);
        p.Skv = 1 + any(&r, 100);
        p.cache_rows = 0;
        double want = 2.0 * (p.D + p.Dv) * p.Hq * pairs(&p);
        if (problem_flops(&p) != want) {
            char text[300];
            problem_print(&p, text, sizeof text);
            fail_with("seed %d '%s': %.17g flop, want %.17g", (int)seed, text, problem_flops(&p), want);
        }
    }
    atn_problem p = problem_of("f32 b2 h16/8 s2048 d128 causal");
    assert_true(problem_flops(&p) == 2.0 * 256 * 2 * 16 * (2048.0 * 2049 / 2));
    assert_true(problem_tokens(&p) == 4096);
    assert_true(problem_bytes(&p) == 4.0 * 2 * 2048 * 256 * (16 + 8));
    p = problem_of("f32:f16 h4/2 s1/100 d64 mask=bool");
    assert_true(problem_bytes(&p) == 4.0 * 128 * 4 + 2.0 * 100 * 128 * 2 + 100);
}

/* No two elements share a byte, and none lies outside its storage. */
static void check_tensor(const atn_tensor *t, int64_t bytes, int B, int H, int rows, int last)
{
    int e = dtype_bytes(t->dtype);
    char *used = calloc(1, (size_t)bytes);
    for (int b = 0; b < B; b++)
        for (int h = 0; h < H; h++)
            for (int row = 0; row < rows; row++)
                for (int c = 0; c < last * e; c++) {
                    int64_t at = b * t->sb + h * t->sh + row * t->sr + c;
                    assert_true(at >= 0 && at < bytes);
                    assert_int_equal(used[at]++, 0);
                }
    free(used);
}

static void layout_gives_each_element_a_place_of_its_own(void **state)
{
    (void)state;
    static const char *const texts[] = {"f32:f16 b2 h6/3 s5/7 d8/4 mask=f16 lse sinks",
                                        "bf16 b2 h6/3 s5/7 d3 layout=bshd alibi",
                                        "f32 b2 h2/1 s5/7 d3 cache=11 mask=bool",
                                        "f32 b2 h4/2 s5/7 d3 cache=11 layout=bshd"};
    for (int i = 0; i < ATN_COUNT(texts); i++) {
        atn_problem p = problem_of(texts[i]);
        atn_layout l;
        problem_layout(&p, &l);
        const atn_args *a = &l.args;
        check_tensor(&a->q, l.bytes[ATN_T_Q], p.B, p.Hq, p.Sq, p.D);
        check_tensor(&a->k, l.bytes[ATN_T_K], p.B, p.Hkv, p.cache_rows ? p.cache_rows : p.Skv, p.D);
        check_tensor(&a->v, l.bytes[ATN_T_V], p.B, p.Hkv, p.cache_rows ? p.cache_rows : p.Skv, p.Dv);
        check_tensor(&a->o, l.bytes[ATN_T_O], p.B, p.Hq, p.Sq, p.Dv);
        if (p.mask >= 0) check_tensor(&a->mask, l.bytes[ATN_T_MASK], p.B, 1, p.Sq, p.Skv);
        assert_true(p.mask < 0 || a->mask.sh == 0);
        assert_int_equal(l.bytes[ATN_T_SINKS], p.sinks ? 4 * p.Hq : 0);
        assert_int_equal(l.bytes[ATN_T_ALIBI], p.alibi ? 4 * p.Hq : 0);
        assert_int_equal(l.bytes[ATN_T_LSE], p.lse ? 4 * p.B * p.Hq * p.Sq : 0);
        assert_true(a->q.ptr == NULL && a->mask.ptr == NULL && a->sinks == NULL && a->alibi == NULL && a->lse == NULL);
        assert_true(a->size == sizeof(atn_args) && a->scale == (float)(1 / sqrt(p.D)));
    }
    atn_problem p = problem_of("h1 s1 d64 scale=0.3");
    atn_layout l;
    problem_layout(&p, &l);
    assert_true(l.args.scale == 0.3f);
}

static void suites_are_whole(void **state)
{
    (void)state;
    int n;
    const char *const *names = suite_names(&n);
    assert_int_equal(n, 7);
    for (int i = 0; i < n; i++) {
        atn_suite s = {0};
        assert_int_equal(suite_add(&s, names[i], NULL), ATN_OK);
        assert_true(s.count >= 8);
        for (int k = 0; k < s.count; k++) {
            assert_int_equal(problem_check(&s.cases[k].problem, NULL), ATN_OK);
            assert_true(strlen(s.cases[k].name) > 0);
            for (int m = 0; m < k; m++)
                if (same(&s.cases[k].problem, &s.cases[m].problem) && s.cases[k].data == s.cases[m].data)
                    fail_with("suite %s: cases %d and %d are the same (%s)", names[i], m, k, s.cases[k].name);
        }
        suite_free(&s);
        assert_int_equal(s.count, 0);
    }
}

/* Plain problems first, so that the mandatory part is over where the features begin. */
static void plain_problems_come_first(void **state)
{
    (void)state;
    static const char *const names[] = {"accuracy", "stability", "robustness", "heldout"};
    for (int i = 0; i < ATN_COUNT(names); i++) {
        atn_suite s = {0};
        bool plain = true;
        int n = 0;
        assert_int_equal(suite_add(&s, names[i], NULL), ATN_OK);
        for (int k = 0; k < s.count; k++) {
            if (!plain && problem_is_plain(&s.cases[k].problem))
                fail_with("%s: '%s' is plain, late", names[i], s.cases[k].name);
            plain = plain && problem_is_plain(&s.cases[k].problem);
            n += plain;
        }
        assert_true(n >= 9 && n < s.count);
        suite_free(&s);
    }
}

static void heldout_sizes_stand_in_no_other_suite(void **state)
{
    (void)state;
    int n;
    const char *const *names = suite_names(&n);
    atn_suite held = {0}, rest = {0};
    for (int i = 0; i < n; i++)
        assert_int_equal(suite_add(strcmp(names[i], "heldout") ? &rest : &held, names[i], NULL), ATN_OK);
    for (int i = 0; i < held.count; i++)
        for (int k = 0; k < rest.count; k++) {
            const atn_problem *a = &held.cases[i].problem, *b = &rest.cases[k].problem;
            if (a->Sq == b->Sq && a->Skv == b->Skv && a->D == b->D)
                fail_with("held-out '%s' is known", held.cases[i].name);
        }
    suite_free(&held);
    suite_free(&rest);
}

static void unknown_suites_are_named(void **state)
{
    (void)state;
    atn_suite s = {0};
    atn_error err = {0};
    assert_int_equal(suite_add(&s, "robustnes", &err), ATN_NOT_FOUND);
    assert_non_null(strstr(err.text, "'robustnes'"));
    assert_non_null(strstr(err.text, "did you mean 'robustness'"));
    assert_int_equal(s.count, 0);
    assert_int_equal(suite_add_case(&s, "h3/2 s4 d8", &err), ATN_FORMAT);
    assert_int_equal(s.count, 0);
    assert_int_equal(suite_add_case(&s, "h4/2 d64 s9", &err), ATN_OK);
    assert_string_equal(s.cases[0].name, "h4/2 s9");
    suite_free(&s);
}

static void data_kinds_have_names(void **state)
{
    (void)state;
    assert_string_equal(data_name(ATN_DATA_NORMAL), "normal");
    assert_string_equal(data_name(ATN_DATA_OFFSET), "offset");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(defaults),
    cmocka_unit_test(text_is_canonical),
    cmocka_unit_test(random_problems_survive_the_way_to_text_and_back),
    cmocka_unit_test(order_does_not_matter),
    cmocka_unit_test(errors_name_the_word_and_what_is_valid),
    cmocka_unit_test(garbage_is_refused_not_believed),
    cmocka_unit_test(a_small_room_is_not_overrun),
    cmocka_unit_test(work_is_counted_exactly),
    cmocka_unit_test(layout_gives_each_element_a_place_of_its_own),
    cmocka_unit_test(suites_are_whole),
    cmocka_unit_test(plain_problems_come_first),
    cmocka_unit_test(heldout_sizes_stand_in_no_other_suite),
    cmocka_unit_test(unknown_suites_are_named),
    cmocka_unit_test(data_kinds_have_names),
};
TEST_MAIN(tests)
