/* The build: gate, compiler in its sandbox, static check of the object. */
#include "kernels.h"

#include <dirent.h>
#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "judge/elf.h"
#include "judge/gate.h"

static void an_honest_kernel_builds(void **state)
{
    (void)state;
    build_result r, again;
    build_kernel(honest_source(), &r);
    build_kernel(honest_source(), &again);
    assert_true(r.so_fd >= 0);
    assert_string_equal(r.object_hash, again.object_hash);
    assert_int_equal(ftruncate(r.so_fd, 0), -1); /* sealed */
    print_message("# %s %s: %.3f s, %.3f s\n", r.compiler, r.flags, r.seconds, again.seconds);
    build_release(&r);
    build_release(&again);
    assert_int_equal(r.so_fd, -1);
}

static void equal_code_has_an_equal_hash(void **state)
{
    (void)state;
    build_result a, b, c;
    char *x = kernel_of("((float *)a->o.ptr)[0] = 1;"),
         *y = kernel_of("/* the same */ ((float *)a->o.ptr)[0] = 0.5f + 0.5f;"),
         *z = kernel_of("((float *)a->o.ptr)[0] = 2;");
    build_kernel(x, &a);
    build_kernel(y, &b);
    build_kernel(z, &c);
    assert_string_equal(a.object_hash, b.object_hash);
    assert_string_not_equal(a.object_hash, c.object_hash);
    build_release(&a);
    build_release(&b);
    build_release(&c);
    free(x);
    free(y);
    free(z);
}

static void both_compilers_build(void **state)
{
    (void)state;
    static const char *const names[] = {"gcc", "clang"};
    for (int i = 0; i < ATN_COUNT(names); i++) {
        char version[96];
        if (build_compiler(names[i], version, sizeof version, NULL) != ATN_OK) {
            print_message("# skipped %s: not installed\n", names[i]);
            continue;
        }
        build_result r;
        atn_error err;
        if (build_run(&(build_options){.cc = names[i], .whole_file = true}, honest_source(), NULL, &r, &err) != ATN_OK)
            fail_msg("%s", err.text);
        if (r.reason != ATN_REASON_OK) fail_msg("%s: %s: %s", names[i], reason_word(r.reason), r.evidence);
        print_message("# %s: %.3f s\n", r.compiler, r.seconds);
        build_release(&r);
    }
    atn_error err;
    char version[96];
    assert_int_equal(build_compiler("no-such-compiler", version, sizeof version, &err), ATN_NOT_FOUND);
    assert_non_null(strstr(err.text, "no-such-compiler"));
}

static void a_build_gets(const char *source, const char *flags, atn_reason want, const char *evidence)
{
    build_result r;
    atn_error err;
    if (build_run(&(build_options){.whole_file = true, .flags = flags, .timeout_s = 10}, source, NULL, &r, &err) !=
        ATN_OK)
        fail_msg("%s", err.text);
    if (r.reason != want || !strstr(r.evidence, evidence))
        fail_msg("expected %s (%s), got %s: %s\n%s", reason_word(want), evidence, reason_word(r.reason), r.evidence,
                 source);
    build_release(&r);
}

static void builds_fail_for_the_right_reason(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        atn_reason reason;
        const char *evidence;
    } bodies[] = {
        {"int x = ;", ATN_REASON_COMPILE, "kernel.c:"},
        {"_Static_assert(1 == 2, \"tiles\");", ATN_REASON_COMPILE, "tiles"},
        {"extern int printf(const char *, ...); printf(\"x\");", ATN_REASON_SYMBOLS, "imports 'p"},
        {"extern void *malloc(unsigned long); *(void *volatile *)shared = malloc(8);", ATN_REASON_SYMBOLS, "malloc"},
        {"static int n; n++; ((float *)a->o.ptr)[0] = n;", ATN_REASON_STATE, "writable"},
        {"static char big[1l << 32]; big[task]++; ((float *)a->o.ptr)[0] = big[task + 1];", ATN_REASON_STATE,
         "writable"},
        {"__asm__ volatile(\"nop\");", ATN_REASON_FORBIDDEN, "line 7: '__asm__'"},
        {"undefined_function();", ATN_REASON_COMPILE, "undefined_function"},
    };
    for (int i = 0; i < ATN_COUNT(bodies); i++) {
        char *source = kernel_of(bodies[i].body);
        a_build_gets(source, NULL, bodies[i].reason, bodies[i].evidence);
        free(source);
    }
    a_build_gets("const int x = 1;", NULL, ATN_REASON_SYMBOLS, "");
    a_build_gets("", NULL, ATN_REASON_SYMBOLS, "");
    char *ok = kernel_of("");
    a_build_gets(ok, "-O2 -funroll-loops -mprefer-vector-width=256 -DBR=16", ATN_REASON_OK, "");
    a_build_gets(ok, "-fplugin=x", ATN_REASON_FORBIDDEN, "-fplugin=x");
    a_build_gets(ok, "-ffast-math", ATN_REASON_FORBIDDEN, "-ffast-math");
    a_build_gets(ok, "-Dx=system", ATN_REASON_FORBIDDEN, "");
    free(ok);
}

static void the_gate_gets(const char *source, const char *original, bool whole, atn_reason want)
{
    gate_report g;
    gate_check(source, original, whole, &g);
    if (g.reason != want)
        fail_msg("expected %s, got %s (%s) for:\n%s", reason_word(want), reason_word(g.reason), g.evidence, source);
}

#define START "// EVOLVE-BLOCK-START\n"
#define END "// EVOLVE-BLOCK-END\n"

static void the_gate_reads_markers(void **state)
{
    (void)state;
    const char *original = "int a;\n" START "int b;\n" END "int c;\n";
    the_gate_gets(original, NULL, false, ATN_REASON_OK);
    the_gate_gets("int a;\n" START "int other; // x\n#if 1\n#endif\n" END "int c;", original, false, ATN_REASON_OK);
    the_gate_gets("int a2;\n" START "int b;\n" END "int c;\n", original, false, ATN_REASON_MARKERS);
    the_gate_gets("int a;\n" START "int b;\n" END "int c2;\n", original, false, ATN_REASON_MARKERS);
    the_gate_gets("int a;\nint b;\nint c;\n", NULL, false, ATN_REASON_MARKERS);
    the_gate_gets("int a;\nint b;\nint c;\n", NULL, true, ATN_REASON_OK);
    the_gate_gets("int a;\n" START "int b;\n", NULL, false, ATN_REASON_MARKERS);
    the_gate_gets("int a;\n" END "int b;\n", NULL, false, ATN_REASON_MARKERS);
    the_gate_gets(START START END END, NULL, false, ATN_REASON_MARKERS);
    the_gate_gets("int a;\n" START "#if 0\n" END "int c;\n#endif\n", NULL, false, ATN_REASON_MARKERS);
    the_gate_gets("int a;\n" START "/*\n" END "int c; */\n", NULL, false, ATN_REASON_MARKERS);
    the_gate_gets("int a() {\n" START "} int f() {\n" END "}\n", NULL, false, ATN_REASON_MARKERS);
    the_gate_gets("/* EVOLVE-BLOCK-START */\nint b;\n/* EVOLVE-BLOCK-END */\n", NULL, false, ATN_REASON_OK);
    the_gate_gets("const char *s = \"// EVOLVE-BLOCK-START\";\n", NULL, false, ATN_REASON_MARKERS);
}

/* Families are where evolution starts: a construct that is refused in one would refuse all of its descendants. */
static void the_gate_lets_families_and_champions_through(void **state)
{
    (void)state;
    static const char *const patterns[] = {"src/kernel/*.c", "src/kernel/ref/*.c", "champions/*.c"};
    for (int i = 0; i < ATN_COUNT(patterns); i++) {
        char pattern[4096];
        glob_t found;
        snprintf(pattern, sizeof pattern, "%s/%s", getenv("ATTUNE_HOME"), patterns[i]);
        assert_int_equal(glob(pattern, 0, NULL, &found), 0);
        for (size_t f = 0; f < found.gl_pathc; f++) {
            char *source;
            assert_int_equal(file_read_text(found.gl_pathv[f], GATE_SOURCE_MAX, &source, NULL), ATN_OK);
            the_gate_gets(source, NULL, i == 1, ATN_REASON_OK);
            free(source);
        }
        globfree(&found);
    }
}

static void the_gate_reads_tokens(void **state)
{
    (void)state;
    static const char *const forbidden[] = {
        "#include \"/etc/passwd\"\n",
        "#include <stdio.h>\n",
        "#  include \\\n <stdlib.h>\n",
        "#include \"attune/../x.h\"\n",
        "#define X <stdio.h>\n#include X\n",
        "#/**/include <stdio.h>\n",
        "/* */ # include <unistd.h>\n",
        "%:include <stdio.h>\n",
        "#include_next <x.h>\n",
        "#import <x.h>\n",
        "#embed \"/etc/passwd\"\n",
        "#if __has_include(\"/etc/passwd\")\n#endif\n",
        "#pragma GCC dependency \"/etc/passwd\"\n",
        "#pragma redefine_extname a b\n",
        "asm(\"nop\");",
        "void f(void) { __asm__(\"nop\"); }",
        "as\\\nm(\"nop\");",
        "as\\ \nm(\"nop\");",
        "int x __attribute__((section(\".init_array\")));",
        "__attribute__((constructor)) void f(void) {}",
        "_Thread_local int x;",
        "__thread int x;",
        "#define A(x) x\n#define B __asm##__\n",
        "_Pragma(\"weak x\")",
        "const char *s = R\"(\" asm \")\";",
        "#line 5 \"x\"\n",
        "/* open",
        "#define F __attribute__((constructor))\n",
        "[[gnu::section(\".x\")]] int y;",
        "// splice \\\n */ fine\nasm(\"\");",
        "void f(void) __attribute__((alias(\"g\")));",
    };
    for (int i = 0; i < ATN_COUNT(forbidden); i++) the_gate_gets(forbidden[i], NULL, true, ATN_REASON_FORBIDDEN);
    static const char *const fine[] = {
        "#include \"attune/kernel.h\"\n#include \"attune/vec.h\"\n#include <math.h>\n",
        "// asm in a comment\n/* __asm__ */ int x;",
        "const char *s = \"asm\";",
        "int section, alias, weak;",
        "#pragma GCC unroll 4\n",
        "#pragma GCC ivdep\n",
        "int x __attribute__((aligned(64)));",
        "_Pragma(\"GCC unroll 8\") int x;",
        "#define CAT(a, b) a##b\n",
        "int a = 1 ? 2 : 3; char c = '\"'; char d = '\\''; /* \" */ int e;",
        "double x = 1.e+5, y = 0x1p-3;",
        "typedef float v __attribute__((vector_size(64)));",
        "#if 0\nit's text\n#endif\n",
        "static inline __attribute__((always_inline)) void f(void) {}",
    };
    for (int i = 0; i < ATN_COUNT(fine); i++) the_gate_gets(fine[i], NULL, true, ATN_REASON_OK);
    the_gate_gets(honest_source(), honest_source(), false, ATN_REASON_OK);
    char *large = atn_alloc(300 << 10);
    memset(large, ' ', (300 << 10) - 1);
    the_gate_gets(large, NULL, true, ATN_REASON_TOO_LARGE);
    free(large);
}

/* Every prefix of an object, and objects with bytes changed, end in a verdict and never in a crash (run it under ASan
 * too). */
static void the_object_check_survives_damage(void **state)
{
    (void)state;
    build_result r;
    build_kernel(honest_source(), &r);
    off_t n = lseek(r.so_fd, 0, SEEK_END);
    unsigned char *good = atn_alloc((size_t)n), *copy;
    assert_int_equal(pread(r.so_fd, good, (size_t)n, 0), n);
    elf_report e;
    elf_check(good, (size_t)n, &e);
    assert_int_equal(e.reason, ATN_REASON_OK);
    atn_rng rng = rng_make(5, 0, 0);
    for (int i = 0; i < 20000; i++) {
        size_t size = i % 4 == 0 ? rng_below(&rng, (uint32_t)n) : (size_t)n;
        copy = malloc(size + 1);
        memcpy(copy, good, size);
        for (int k = (int)rng_below(&rng, 6); k >= 0 && size; k--) {
            size_t at = rng_below(&rng, (uint32_t)(rng_below(&rng, 2) && size > 2048 ? 2048 : size));
            copy[at] = (unsigned char)(rng_below(&rng, 3) ? rng_u64(&rng) : 0xff);
        }
        elf_check(copy, size, &e);
        free(copy);
    }
    free(good);
    build_release(&r);
}

static int count(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

static void builds_overlap_and_can_be_cancelled(void **state)
{
    (void)state;
    int fds = count("/proc/self/fd");
    atn_build *b[4];
    atn_error err;
    for (int i = 0; i < 4; i++)
        if (build_start(&(build_options){.whole_file = true}, honest_source(), NULL, &b[i], &err) != ATN_OK)
            fail_msg("%s", err.text);
    build_cancel(b[3]);
    build_cancel(NULL);
    for (int i = 0; i < 3; i++) {
        build_result r;
        while (!build_step(b[i], &r)) {
            struct pollfd p = {.fd = build_fd(b[i]), .events = POLLIN};
            assert_int_equal(poll(&p, 1, 30000), 1);
        }
        assert_int_equal(r.reason, ATN_REASON_OK);
        build_release(&r);
    }
    assert_int_equal(count("/proc/self/fd"), fds);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gate_reads_markers),
        cmocka_unit_test(the_gate_lets_families_and_champions_through),
        cmocka_unit_test(the_gate_reads_tokens),
        cmocka_unit_test(an_honest_kernel_builds),
        cmocka_unit_test(equal_code_has_an_equal_hash),
        cmocka_unit_test(both_compilers_build),
        cmocka_unit_test(builds_fail_for_the_right_reason),
        cmocka_unit_test(the_object_check_survives_damage),
        cmocka_unit_test(builds_overlap_and_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
