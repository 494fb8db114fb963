/* Unified diffs: fixed examples, and random edits whose diff must turn the one text into the other and be small. */
#include "common.h"

/* Applies a unified diff strictly: context and removed lines must be there. NULL where it does not apply. */
static char *patched(const char *before, const char *diff)
{
    atn_text out = {0};
    const char *b = before, *d = diff;
    if (!*diff) return atn_strdup(before);
    int line = 1;
    d = strchr(d, '\n') + 1;            /* --- */
    d = strchr(d, '\n') + 1;            /* +++ */
    while (*d) {
        int from, count = 1, used = 0;
        if (sscanf(d, "@@ -%d,%d", &from, &count) < 1) goto bad;
        if (count == 0) from++;
        for (; line < from; line++) {
            size_t n = strcspn(b, "\n");
            n += b[n] == '\n';
            text_addn(&out, b, n);
            b += n;
        }
        d = strchr(d, '\n') + 1;
        while (*d && *d != '@') {
            size_t n = strcspn(d, "\n");
            bool open = !strncmp(d + n + 1, "\\ No newline", 12);
            const char *s = d + 1;
            size_t len = n - 1 + !open;         /* with its newline */
            if (*d != '+') {
                if (strncmp(b, s, len)) goto bad;
                b += len;
                line++;
                used++;
            }
            if (*d != '-') text_addn(&out, s, len);
            d += n + 1;
            if (open) d = strchr(d, '\n') + 1;
        }
        if (used != count) goto bad;
    }
    text_add(&out, b);
    return text_take(&out);
bad:
    text_free(&out);
    return NULL;
}

static void shows_hunks_with_context(void **state)
{
    (void)state;
    char *d = program_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n", "old.c", "new.c");
    assert_string_equal(d, "--- old.c\n+++ new.c\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
    free(d);
    d = program_diff("a\n", "a\n", "x", "y");
    assert_string_equal(d, "");
    free(d);
    d = program_diff("", "a\nb\n", "x", "y");
    assert_string_equal(d, "--- x\n+++ y\n@@ -0,0 +1,2 @@\n+a\n+b\n");
    free(d);
    d = program_diff("a\nb", "a\nb\n", "x", "y");
    assert_string_equal(d, "--- x\n+++ y\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n");
    free(d);
    d = program_diff("a\nb\nc\na\nb\nb\na\n", "c\nb\na\nb\na\nc\n", "x", "y");      /* Myers' own example: 5 edits */
    int edits = 0;
    for (char *p = strchr(strchr(d, '\n') + 1, '\n'); p; p = strchr(p + 1, '\n')) edits += p[1] == '+' || p[1] == '-';
    assert_int_equal(edits, 5);
    free(d);
}

static char *random_lines(atn_rng *r, int n, int alphabet)
{
    atn_text t = {0};
    for (int i = 0; i < n; i++) text_addf(&t, "%u\n", rng_below(r, (uint32_t)alphabet));
    if (t.n && rng_below(r, 4) == 0) t.s[--t.n] = 0;
    return text_take(&t);
}

static void diffs_apply(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        atn_rng r = rng_make(test_seed, 1, (uint64_t)i);
        int alphabet = 1 + (int)rng_below(&r, 12);
        char *a = random_lines(&r, (int)rng_below(&r, 30), alphabet);
        char *b = random_lines(&r, (int)rng_below(&r, 30), alphabet);
        char *d = program_diff(a, b, "a", "b"), *got = patched(a, d);
        if (!got || strcmp(got, b)) fail_with("case %d: the diff of\n%s\nto\n%s\ndoes not apply:\n%s", i, a, b, d);
        if (!strcmp(a, b) != !*d) fail_with("case %d: empty exactly when equal", i);
        free(a), free(b), free(d), free(got);
    }
}

static void huge_inputs_end(void **state)
{
    (void)state;
    atn_rng r = rng_make(test_seed, 2, 0);
    char *a = random_lines(&r, 40000, 1 << 30), *b = random_lines(&r, 40000, 1 << 30);
    char *d = program_diff(a, b, "a", "b"), *got = patched(a, d);
    assert_non_null(got);
    assert_string_equal(got, b);
    free(d), free(got), free(b);
    b = random_lines(&r, 40000, 3);
    free(a);
    a = random_lines(&r, 40000, 3);
    d = program_diff(a, b, "a", "b");
    got = patched(a, d);
    assert_non_null(got);
    assert_string_equal(got, b);
    free(a), free(b), free(d), free(got);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(shows_hunks_with_context), cmocka_unit_test(diffs_apply),
                                          cmocka_unit_test(huge_inputs_end)};
TEST_MAIN(tests)
