/* A kernel that says what it was judged on is used for that and for nothing else; the folder of a run is its best kernel for
 * each class of problem.
 *
 * argv: two shared objects of judged.c, named `usual` and `special`, and a folder to write in. */
#include <sys/stat.h>

#include "run_test.h"

#include "base/file.h"

static const char *usual_so, *special_so, *folder;

/* Plans for the case with the table, runs it, and checks who did it. kernel NULL: the library's choice. */
static void expect(const atn_kernel *table, const char *text, const char *kernel)
{
    atn_error err;
    atn_planned *p;
    inputs in = data_of(text, 5);
    const atn_plan_options o = {.table = table};
    atn_plan_info i = {.size = sizeof i};
    assert_ok(atn_plan_create(&in.a, &o, &p, &err));
    assert_ok(atn_plan_info_get(p, &i, &err));
    if ((i.origin == ATN_FROM_HOST) != (kernel != NULL) || (kernel && strcmp(i.kernel, kernel)) || !i.passed_over != !!kernel)
        fail_with("%s: by %s, expected %s: %s", text, i.kernel, kernel ? kernel : "the library's", i.text);
    assert_ok(atn_execute(p, &in.a, NULL, &err));
    assert_right(&in, text);
    atn_plan_free(p);
    inputs_release(&in);
}

static void hear(void *context, const char *text)
{
    *(int *)context += strstr(text, "was judged on f32 prefill, f32:f16 decode; for ") != NULL;
}

static void only_what_it_was_judged_on(void **state)
{
    (void)state;
    atn_error err;
    const atn_kernel *k;
    int said = 0;
    atn_log_set(hear, &said);
    assert_ok(atn_kernel_load(usual_so, NULL, &k, &err));
    expect(k, "f32 h2 s40 d32 causal", "usual");
    expect(k, "f32 h2 s1 d32", "usual"); /* a token alone is no decode */
    expect(k, "f32 h2 s1/40 d32", NULL);
    expect(k, "f32:f16 h2 s1/40 d32", "usual");
    expect(k, "f32:f16 h2 s40 d32", NULL);
    expect(k, "f16 h2 s40 d32", NULL);
    expect(k, "f32 h1 s20/80 d20000", "usual");
    expect(k, "f32 h1 s2/80 d20000", "usual"); /* before the slow reference, also where it was not judged */
    expect(k, "f32 h3 s1/50 d32", NULL);
    atn_log_set(NULL, NULL);
    assert_int_equal(said, 3); /* once for each kind: f32 decode, f32:f16 prefill, f16 prefill */
}

/* A prompt, then tokens: one plan, two kernels. */
static void an_update_changes_the_kernel(void **state)
{
    (void)state;
    atn_error err;
    const atn_kernel *k;
    atn_planned *p;
    inputs prompt = data_of("f32 h2 s40 d32 causal", 1), token = data_of("f32 h2 s1/41 d32", 1);
    assert_ok(atn_kernel_load(usual_so, NULL, &k, &err));
    assert_ok(atn_plan_create(&prompt.a, &(atn_plan_options){.table = k}, &p, &err));
    for (int turn = 0; turn < 4; turn++) {
        atn_plan_info i = {.size = sizeof i};
        inputs *in = turn % 2 ? &token : &prompt;
        if (turn) assert_ok(atn_plan_update(p, &in->a, &err));
        assert_ok(atn_plan_info_get(p, &i, &err));
        assert_int_equal(i.origin == ATN_FROM_HOST, turn % 2 == 0);
        assert_string_equal(i.kind, turn % 2 ? "f32 decode" : "f32 prefill");
        assert_ok(atn_execute(p, &in->a, NULL, &err));
        assert_right(in, i.text);
    }
    atn_plan_free(p);
    inputs_release(&prompt);
    inputs_release(&token);
}

static void put(const char *name, const char *text)
{
    char *path = file_join(folder, name);
    assert_int_equal(file_write(path, text, strlen(text), NULL), ATN_OK);
    free(path);
}

static void put_object(const char *name, const char *from)
{
    char *data, *path = file_join(folder, name);
    size_t n;
    assert_int_equal(file_read(from, 1 << 24, &data, &n, NULL), ATN_OK);
    assert_int_equal(file_write(path, data, n, NULL), ATN_OK);
    chmod(path, 0644);
    free(data);
    free(path);
}

static void a_folder_is_the_best_for_each_class(void **state)
{
    (void)state;
    static const char table[] = "# attune portfolio 1\n"
                                "short                        up to 64 keys\n"
                                "long causal d32 f32 gqa2 t1  b_7.c   1.20x [1.10 .. 1.30]\n"
                                "decode full d32 f32:f16 mha t1  b_7.c   1.20x [1.10 .. 1.30]\n"
                                "short causal d32 f32 mha t1  a_3.c   1.20x [1.10 .. 1.30]\n"
                                "default                      a_3.c\n";
    atn_error err;
    const atn_kernel *k = NULL, *again, *alone;
    assert_refused(atn_kernel_load(folder, NULL, &k, &err), ATN_NOT_FOUND, "dispatch.txt");
    put("dispatch.txt", table);
    assert_refused(atn_kernel_load(folder, NULL, &k, &err), ATN_NOT_FOUND, "attune build");
    put_object("a_3.so", usual_so);
    put_object("b_7.so", special_so);
    assert_ok(atn_kernel_load(folder, NULL, &k, &err));
    assert_ok(atn_kernel_load(folder, NULL, &again, &err));
    assert_ptr_equal(k, again);
    expect(k, "f32 h2/1 s80 d32 causal", "special");
    expect(k, "f32 h2/1 s40 d32 causal", "usual"); /* short */
    expect(k, "f32 h2/1 s80 d32", "usual");        /* another class: the default */
    expect(k, "f32:f16 h2 s1/40 d32", "special");
    expect(k, "f32 h2 s1/40 d32", NULL);           /* judged by neither */
    char *path = file_join(folder, "a_3.so");
    assert_ok(atn_kernel_load(path, NULL, &alone, &err));
    assert_ptr_not_equal(alone, k);
    expect(alone, "f32 h2/1 s80 d32 causal", "usual"); /* one program is one program */
    free(path);
    put("dispatch.txt", "long causal d32\n");
    assert_refused(atn_kernel_load(folder, NULL, &again, &err), ATN_FORMAT, "long causal d32");
    put("dispatch.txt", "long causal d32 f32 gqa2 t1  ../b_7.c 1\ndefault a_3.c\n");
    assert_refused(atn_kernel_load(folder, NULL, &again, &err), ATN_FORMAT, "not beside it");
    put("dispatch.txt", "long causal d32 f32 gqa2 t1  b_7.c 1\n");
    assert_refused(atn_kernel_load(folder, NULL, &again, &err), ATN_FORMAT, "default");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_it_was_judged_on),
        cmocka_unit_test(an_update_changes_the_kernel),
        cmocka_unit_test(a_folder_is_the_best_for_each_class),
    };
    if (argc != 4) {
        fprintf(stderr, "usage: %s USUAL.so SPECIAL.so FOLDER\n", argv[0]);
        return 1;
    }
    usual_so = argv[1], special_so = argv[2], folder = argv[3];
    file_remove_tree(folder, NULL);
    if (file_mkdirs(folder, NULL)) return 1;
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
