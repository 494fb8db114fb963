/* Wisdom: what goes out comes in again; what is foreign or damaged is refused whole; champions are loaded by hash.
 *
 * argv: two shared objects with kernels, and a folder to write in. ATTUNE_WISDOM points into that folder. */
#include <sys/stat.h>
#include <unistd.h>

#include "run_test.h"

#include "base/file.h"
#include "base/text.h"
#include "run/run_int.h"

static const char *champion_so, *other_so, *folder;

/* ---- helpers ---- */

static char *exported(const atn_wisdom *w)
{
    atn_text t = {0};
    wisdom_write(w, &t);
    return text_take(&t);
}

static int count(const atn_wisdom *w)
{
    atn_wisdom_row r = {.size = sizeof r};
    int n = 0;
    while (atn_wisdom_row_at(w, n, &r) == ATN_OK) n++;
    return n;
}

static atn_wisdom_row row_of(const char *problem, const char *kernel, double gflops)
{
    atn_wisdom_row r = {.size = sizeof r, .gflops = gflops, .error = 2.5e-7};
    snprintf(r.problem, sizeof r.problem, "%s", problem);
    snprintf(r.kernel, sizeof r.kernel, "%s", kernel);
    return r;
}

static atn_wisdom *wisdom_of_three(void)
{
    atn_error err;
    atn_wisdom *w;
    assert_ok(atn_wisdom_create(&w, &err));
    const atn_wisdom_row rows[] = {
        row_of("f32 g2 s512 d64 causal t1", "plain", 100),
        row_of("bf16 g1 s1/4096 d128 t2", "plain@generic", 10),
        row_of("f32:bf16 g2 s2048 d64/32 window mask=bool sinks alibi lse t1", "plain", 120.5),
    };
    for (int i = 0; i < ATN_COUNT(rows); i++) assert_ok(atn_wisdom_add(w, &rows[i], &err));
    return w;
}

static const char *info_of(const char *text, const atn_wisdom *w, atn_plan_info *info)
{
    atn_error err;
    inputs in = data_of(text, 6);
    atn_planned *p;
    assert_ok(atn_plan_create(&in.a, &(atn_plan_options){.wisdom = w}, &p, &err));
    *info = (atn_plan_info){.size = sizeof *info};
    assert_ok(atn_plan_info_get(p, info, &err));
    assert_ok(atn_execute(p, &in.a, NULL, &err));
    assert_right(&in, text);
    atn_plan_free(p);
    inputs_release(&in);
    return info->kernel;
}

/* ---- text ---- */

static void round_trip(void **state)
{
    (void)state;
    atn_error err;
    atn_wisdom *a = wisdom_of_three(), *b;
    assert_ok(atn_wisdom_create(&b, &err));
    char *text = exported(a);
    assert_ok(wisdom_read(b, text, strlen(text), &err));
    char *again = exported(b);
    assert_string_equal(text, again);
    assert_int_equal(count(b), 3);

    char *path = file_join(folder, "new/folder/w.txt");
    assert_ok(atn_wisdom_export(b, path, &err));
    assert_ok(atn_wisdom_forget(b, NULL, &err));
    assert_int_equal(count(b), 0);
    assert_refused(atn_wisdom_forget(b, NULL, &err), ATN_NOT_FOUND, "forget");
    assert_ok(atn_wisdom_import(b, path, &err));
    free(again);
    again = exported(b);
    assert_string_equal(text, again);
    assert_refused(atn_wisdom_import(b, "/nonexistent/w.txt", &err), ATN_NOT_FOUND, "/nonexistent/w.txt");
    assert_refused(atn_wisdom_export(b, "/dev/full/w.txt", &err), ATN_IO, "/dev/full");

    assert_ok(atn_wisdom_forget(b, "bf16 g1 s1/4096 d128 t2", &err));
    assert_int_equal(count(b), 2);
    assert_refused(atn_wisdom_forget(b, "bf16 g1 s1/4096 d128 t2", &err), ATN_NOT_FOUND, "bf16");
    free(text);
    free(again);
    free(path);
    atn_wisdom_free(a);
    atn_wisdom_free(b);
    atn_wisdom_free(NULL);
}

/* The text with the first `from` replaced. Caller frees. */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    return atn_format("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void foreign_and_damaged_are_refused_whole(void **state)
{
    (void)state;
    const struct {
        const char *from, *to;
        atn_status status;
        const char *word;
    } cases[] = {
        {"attune wisdom 1", "attune wisdom 2", ATN_MISMATCH, "format"},
        {"attune wisdom 1", "attune wisdom 1\r", ATN_FORMAT, "CR LF"},
        {"attune wisdom 1", "fftw wisdom", ATN_FORMAT, "not wisdom"},
        {"library ", "library 9", ATN_MISMATCH, "library version"},
        {"machine ", "machine Other ", ATN_MISMATCH, "machine"},
        {"compiler ", "compiler tcc ", ATN_MISMATCH, "compiler"},
        {"compiler", "interpreter", ATN_FORMAT, "compiler"},
        {"rows 3", "rows 4", ATN_FORMAT, "line 9"},
        {"rows 3", "rows 2", ATN_FORMAT, "end"},
        {"rows 3", "rows -1", ATN_FORMAT, "rows"},
        {"rows 3", "rows 999999999", ATN_FORMAT, "rows"},
        {"\nend\n", "\nend", ATN_FORMAT, "end"},
        {"\nend\n", "\nend\nmore\n", ATN_FORMAT, "end"},
        {"\t120.5\t", "\tfast\t", ATN_FORMAT, "numbers"},
        {"\t120.5\t", "\tnan\t", ATN_FORMAT, ""},
        {"\t120.5\t", "\t-1\t", ATN_FORMAT, "speed"},
        {"\t120.5\t", "\t", ATN_FORMAT, "columns"},
        {"\t120.5\t", "\t120.5\t1\t", ATN_FORMAT, "columns"},
        {"plain@generic\t", "../plain\t", ATN_FORMAT, "name"},
        {"plain@generic\t", "\t", ATN_FORMAT, "name"},
        {"plain@generic\t", "plain@generic\tx", ATN_FORMAT, "too long"},
        {"plain@generic\t", "plain@generic\tshort\t", ATN_FORMAT, ""},
        {"s512 ", "s513x ", ATN_FORMAT, "class"},
        {"f32 g2 s512", "f32 s512 g2", ATN_FORMAT, "class"},
        {"bf16 g1 s1/4096 d128 t2", "f32 g2 s512 d64 causal t1", ATN_FORMAT, ""},
    };
    atn_error err;
    atn_wisdom *a = wisdom_of_three(), *b;
    assert_ok(atn_wisdom_create(&b, &err));
    const atn_wisdom_row kept = row_of("f16 g1 s64 d64 t1", "plain", 1);
    assert_ok(atn_wisdom_add(b, &kept, &err));
    char *text = exported(a), *before = exported(b);
    for (int i = 0; i < ATN_COUNT(cases); i++) {
        char *bad = replaced(text, cases[i].from, cases[i].to);
        err = (atn_error){0};
        const atn_status st = wisdom_read(b, bad, strlen(bad), &err);
        if (st != cases[i].status || !strstr(err.text, cases[i].word))
            fail_with("'%s' -> '%s': status %d: %s", cases[i].from, cases[i].to, st, err.text);
        char *after = exported(b);
        assert_string_equal(before, after);
        free(after);
        free(bad);
    }
    for (size_t n = 0; n < strlen(text); n++) /* cut anywhere */
        if (wisdom_read(b, text, n, NULL) == ATN_OK) fail_with("%zu of %zu bytes were taken", n, strlen(text));
    char *after = exported(b);
    assert_string_equal(before, after);
    free(text);
    free(before);
    free(after);
    atn_wisdom_free(a);
    atn_wisdom_free(b);
}

/* Random damage: refused and nothing changed, or taken and as good as any other wisdom. */
static void damage_is_never_half_read(void **state)
{
    (void)state;
    atn_error err;
    atn_wisdom *a = wisdom_of_three();
    char *text = exported(a);
    const size_t n = strlen(text);
    int refused = 0;
    for (uint64_t seed = 0; seed < 5000; seed++) {
        atn_rng rng = rng_make(42, 0, seed);
        atn_wisdom *b, *c;
        assert_ok(atn_wisdom_create(&b, &err));
        char *bad = atn_strdup(text);
        for (uint32_t k = 0, times = 1 + rng_below(&rng, 3); k < times; k++) {
            const uint32_t at = rng_below(&rng, (uint32_t)n);
            bad[at] = seed % 2 ? text[rng_below(&rng, (uint32_t)n)] : (char)rng_below(&rng, 256);
        }
        if (wisdom_read(b, bad, n, &err) != ATN_OK) {
            refused++;
            if (count(b) != 0) fail_with("seed %d: refused, yet %d rows were taken", (int)seed, count(b));
        } else {
            char *once = exported(b);
            assert_ok(atn_wisdom_create(&c, &err));
            assert_ok(wisdom_read(c, once, strlen(once), &err));
            char *twice = exported(c);
            if (strcmp(once, twice) != 0) fail_with("seed %d: taken, but does not come back", (int)seed);
            free(once);
            free(twice);
            atn_wisdom_free(c);
        }
        free(bad);
        atn_wisdom_free(b);
    }
    assert_true(refused > 2500);
    free(text);
    atn_wisdom_free(a);
}

static void only_sane_rows_are_added(void **state)
{
    (void)state;
    atn_error err;
    atn_wisdom *w = wisdom_of_three();
    atn_wisdom_row r = row_of("f32 g2 s512 d64 causal t1", "no_such_kernel", 1);
    assert_refused(atn_wisdom_add(w, &r, &err), ATN_USAGE, "no_such_kernel");
    r = row_of("nonsense", "plain", 1);
    assert_refused(atn_wisdom_add(w, &r, &err), ATN_USAGE, "class");
    r = row_of("f32 g2 s512 d64 causal t1", "plain", -1);
    assert_refused(atn_wisdom_add(w, &r, &err), ATN_USAGE, "speed");
    r = row_of("f32 g2 s512 d64 causal t1", "plain", 1);
    snprintf(r.date, sizeof r.date, "yesterday");
    assert_refused(atn_wisdom_add(w, &r, &err), ATN_USAGE, "date");
    assert_int_equal(count(w), 3);
    r = row_of("f32 g2 s512 d64 causal t1", "plain", 7); /* the same class: replaced */
    assert_ok(atn_wisdom_add(w, &r, &err));
    assert_int_equal(count(w), 3);
    atn_wisdom_free(w);
}

/* ---- choosing ---- */

static void wisdom_decides(void **state)
{
    (void)state;
    atn_error err;
    atn_wisdom *w = wisdom_of_three();
    atn_plan_info info;
    assert_string_equal(info_of("f32 h4/2 s500 d64 causal", w, &info), "plain@generic"); /* its class */
    assert_int_equal(info.origin, ATN_FROM_WISDOM);
    assert_string_equal(info_of("f32 h4/2 s100 d64 causal", w, &info), "plain@generic"); /* the nearest length */
    assert_int_equal(info.origin, ATN_FROM_WISDOM);
    info_of("f32 h4/2 s1/100 d64 causal", w, &info); /* decode is not prefill */
    assert_int_equal(info.origin, ATN_FROM_RULE);
    info_of("f32 h4/2 s500 d64", w, &info); /* nor causal full */
    assert_int_equal(info.origin, ATN_FROM_RULE);

    /* nearer rows win */
    const char *fast = NULL;
    const atn_kernel *table;
    int usable;
    inputs in = data_of("f32 h4/2 s100 d64 causal", 1);
    for (int i = 0; !fast && atn_kernel_at(i, &table, &usable); i++)
        if (usable && table->can_run(&in.a)) fast = atn_kernel_at(i, NULL, NULL);
    inputs_release(&in);
    const atn_wisdom_row near = row_of("f32 g2 s128 d64 causal t1", fast, 50);
    assert_ok(atn_wisdom_add(w, &near, &err));
    assert_string_equal(info_of("f32 h4/2 s100 d64 causal", w, &info), fast);
    assert_string_equal(info_of("f32 h4/2 s500 d64 causal", w, &info), "plain@generic");
    atn_wisdom_free(w);
}

/* ---- champions ---- */

static int lines;
static char last_line[1200];

static void keep_line(void *context, const char *text)
{
    (void)context;
    lines++;
    snprintf(last_line, sizeof last_line, "%s", text);
}

static void champions_are_loaded_by_hash(void **state)
{
    (void)state;
    atn_error err;
    atn_plan_info info;
    atn_wisdom *w;
    assert_ok(atn_wisdom_create(&w, &err));
    atn_wisdom_row r = row_of("f32 g2 s64 d64 causal t1", "tuned_here.c", 500);
    memset(r.source_hash, 'a', 32);
    assert_refused(atn_wisdom_add(w, &r, &err), ATN_USAGE, "object_path");
    r.object_path = champion_so;
    assert_ok(atn_wisdom_add(w, &r, &err));
    assert_string_equal(info_of("f32 h4/2 s50 d64 causal", w, &info), "tuned_here.c");
    assert_int_equal(info.origin, ATN_FROM_WISDOM);

    assert_ok(atn_wisdom_row_at(w, 0, &r));
    char *name = atn_format("%s/champions/%s.so", folder, r.object_hash);
    assert_true(file_exists(name));

    /* In a second class another object, whose file is then damaged: said once, chosen by rule. */
    atn_wisdom_row r2 = row_of("f32 g2 s64 d32 causal t1", "damaged.c", 500);
    memset(r2.source_hash, 'b', 32);
    r2.object_path = other_so;
    assert_ok(atn_wisdom_add(w, &r2, &err));
    for (int i = 0; i < 2; i++) {
        assert_ok(atn_wisdom_row_at(w, i, &r2));
        if (!strcmp(r2.kernel, "damaged.c")) break;
    }
    assert_string_not_equal(r.object_hash, r2.object_hash);
    char *damaged = atn_format("%s/champions/%s.so", folder, r2.object_hash), *bytes;
    size_t n;
    assert_ok(file_read(damaged, 1 << 26, &bytes, &n, &err));
    bytes[n / 2] ^= 1;
    assert_ok(file_write(damaged, bytes, n, &err));
    chmod(damaged, 0644);
    atn_log_set(keep_line, NULL);
    lines = 0;
    for (int i = 0; i < 3; i++) {
        info_of("f32 h4/2 s50 d32 causal", w, &info);
        assert_int_equal(info.origin, ATN_FROM_RULE);
    }
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last_line, "hash"));
    free(bytes);

    /* Gone: the same. */
    unlink(damaged);
    info_of("f32 h4/2 s50 d32 causal", w, &info);
    assert_int_equal(info.origin, ATN_FROM_RULE);
    assert_int_equal(lines, 2);
    free(damaged);
    free(name);
    atn_wisdom_free(w);
}

static void loading_checks_the_file(void **state)
{
    (void)state;
    atn_error err;
    const atn_kernel *k = NULL, *again = NULL;
    assert_ok(atn_kernel_load(champion_so, NULL, &k, &err));
    assert_ok(atn_kernel_load(champion_so, NULL, &again, &err));
    assert_ptr_equal(k, again);
    assert_string_equal(k->name, "plain");
    assert_refused(atn_kernel_load(champion_so, "0123456789abcdef0123456789abcdef", &k, &err), ATN_MISMATCH, "hash");
    assert_refused(atn_kernel_load("/nonexistent.so", NULL, &k, &err), ATN_NOT_FOUND, "/nonexistent.so");
    assert_refused(atn_kernel_load(folder, NULL, &k, &err), ATN_NOT_FOUND, "not the folder of a run");

    char *path = file_join(folder, "copy.so"), *bytes;
    size_t n;
    assert_ok(file_read(other_so, 1 << 26, &bytes, &n, &err));
    assert_ok(file_write(path, bytes, n, &err));
    chmod(path, 0666);
    assert_refused(atn_kernel_load(path, NULL, &k, &err), ATN_UNSUPPORTED, "others may change it");
    chmod(path, 0600);
    assert_ok(atn_kernel_load(path, NULL, &again, &err));
    assert_ptr_not_equal(k, again); /* its own object, not the first under a recycled name */
    memset(bytes, 'x', n);
    assert_ok(file_write(path, bytes, n, &err));
    chmod(path, 0600);
    assert_refused(atn_kernel_load(path, NULL, &k, &err), ATN_FORMAT, "shared object");
    free(bytes);
    free(path);
}

/* The process's own wisdom is read from its file, and a foreign file is reported, not used. */
static void own_wisdom(void **state)
{
    (void)state;
    atn_error err;
    const char *path = wisdom_path();
    assert_string_equal(path, getenv("ATTUNE_WISDOM"));
    atn_wisdom *w = wisdom_of_three();
    char *text = exported(w), *foreign = replaced(text, "machine ", "machine Another ");
    assert_ok(file_write(path, foreign, strlen(foreign), &err));
    atn_log_set(keep_line, NULL);
    lines = 0;
    assert_int_equal(count(atn_wisdom_default()), 0);
    assert_int_equal(count(atn_wisdom_default()), 0);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last_line, "machine 'Another"));
    assert_ok(wisdom_read(atn_wisdom_default(), text, strlen(text), &err));
    atn_plan_info info;
    assert_string_equal(info_of("f32 h4/2 s500 d64 causal", NULL, &info), "plain@generic");
    assert_int_equal(info.origin, ATN_FROM_WISDOM);
    free(text);
    free(foreign);
    atn_wisdom_free(w);
}

static void classes(void **state)
{
    (void)state;
    static const char *const list[][2] = {
        {"f32 h16/8 s500 d128 causal", "f32 g2 s512 d128 causal t3"},
        {"f32 h16 s10 d64", "f32 g1 s64 d64 t3"},
        {"bf16 h8/1 s1/5000 d128 causal", "bf16 g8 s1/8192 d128 t3"},
        {"f32:f16 h2 s17/64 d192/128 causal=top lse", "f32:f16 g1 s32/64 d192/128 causal=top lse t3"},
        {"f16 h2 s7/9 d64 window=3 mask=bool softcap=5 sinks alibi",
         "f16 g1 s16/64 d64 window mask=bool softcap sinks alibi t3"},
    };
    atn_error err;
    for (int i = 0; i < ATN_COUNT(list); i++) {
        char class[128];
        inputs in = data_of(list[i][0], 1);
        assert_ok(atn_wisdom_class(&in.a, 3, class, sizeof class, &err));
        assert_string_equal(class, list[i][1]);
        assert_refused(atn_wisdom_class(&in.a, 3, class, 10, &err), ATN_USAGE, "bytes");
        assert_refused(atn_wisdom_class(&in.a, 0, class, sizeof class, &err), ATN_USAGE, "threads");
        inputs_release(&in);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_wisdom),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(foreign_and_damaged_are_refused_whole),
        cmocka_unit_test(damage_is_never_half_read),
        cmocka_unit_test(only_sane_rows_are_added),
        cmocka_unit_test(wisdom_decides),
        cmocka_unit_test(champions_are_loaded_by_hash),
        cmocka_unit_test(loading_checks_the_file),
        cmocka_unit_test(classes),
    };
    if (argc != 4) {
        fprintf(stderr, "usage: %s CHAMPION.so OTHER.so FOLDER\n", argv[0]);
        return 1;
    }
    champion_so = argv[1], other_so = argv[2], folder = argv[3];
    file_remove_tree(folder, NULL);
    if (file_mkdirs(folder, NULL)) return 1;
    char *path = file_join(folder, "wisdom.txt");
    setenv("ATTUNE_WISDOM", path, 1);
    free(path);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
