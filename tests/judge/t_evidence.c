/* Evidence: listings, reports and times whose right reading is known, and a kernel that is built. */
#include "kernels.h"

#include "judge/evidence.h"
#include "../skip.h"

static void a_listing_is_counted(void **state)
{
    (void)state;
    evidence_code e;
    evidence_of_listing("k.so:     file format elf64-x86-64\n\n0000000000001000 <run>:\n"
                        "    1000:\tpush   %rbp\n"
                        "    1001:\tvmovups (%rdi,%rax,4),%zmm1\n"
                        "    1008:\tvbroadcastss 0x4(%rsi),%zmm2\n"
                        "    1010:\tvfmadd231ps %zmm1,%zmm2,%zmm3\n"
                        "    1016:\tvfmadd231ps 0x40(%rdi){1to16},%zmm2,%zmm4\n"
                        "    101c:\tvfmadd132ss %xmm1,%xmm2,%xmm3\n"
                        "    1020:\tvmovaps %zmm3,0x80(%rsp)\n"
                        "    1028:\tvmovups %zmm4,(%rdx)\n"
                        "    1030:\tret\n",
                        &e);
    assert_true(e.known);
    assert_int_equal(e.instructions, 9);
    assert_int_equal(e.fmas, 3);
    assert_int_equal(e.fmas_packed, 2);
    assert_int_equal(e.vector_bits, 512);
    assert_int_equal(e.vector_loads, 3);
    assert_int_equal(e.spill_stores, 1);
    evidence_of_listing("", &e);
    assert_int_equal(e.instructions, 0);
}

static void an_object_is_read(void **state)
{
    (void)state;
    build_result b;
    evidence_code e;
    build_kernel(honest_source(), &b);
    evidence_of_object(b.so_fd, &e);
    print_message("# initial program: %s\n", e.text);
    build_release(&b);
    if (!e.known) SKIP_TEST("the object code of this machine is not read");
    assert_true(e.instructions > 50);
    evidence_of_object(-1, &e);
    assert_false(e.known);
}

/* gcc's words and clang's; what is not of the candidate's own file, or no innermost loop, does not count. */
static void a_report_is_digested(void **state)
{
    (void)state;
    evidence_loops l;
    evidence_of_report("kernel.c:2:5: optimized: loop vectorized using 64 byte vectors\n"
                       "kernel.c:2:5: optimized:  loop versioned for vectorization because of possible aliasing\n"
                       "kernel.c:2:5: missed: couldn't vectorize loop\n"
                       "kernel.c:3:9: missed: not vectorized: no vectype for stmt: _4 = *_3;\n scalar_type: float\n"
                       "../include/attune/vec.h:91:23: optimized: loop vectorized using 64 byte vectors\n"
                       "kernel.c:3:23: missed: couldn't vectorize loop\n"
                       "kernel.c:3:23: missed: not vectorized: control flow in loop.\n"
                       "kernel.c:3:23: missed: couldn't vectorize loop\n"
                       "kernel.c:1:1: missed: couldn't vectorize loop\n"
                       "kernel.c:1:1: missed: not vectorized: multiple nested loops.\n"
                       "kernel.c:x:1: missed: couldn't vectorize loop\nkernel.c:99999999999:1: optimized: loop vectorized using\n",
                       "a\nb\n    while (*p \x1b++)\n", &l);
    assert_true(l.known);
    assert_int_equal(l.vectorised, 1);
    assert_int_equal(l.missed, 1);
    assert_string_equal(l.text, "  line 3: control flow in loop | while (*p ?++)\n");
    evidence_of_report("kernel.c:1:40: remark: vectorized loop (vectorization width: 8) [-Rpass=loop-vectorize]\n"
                       "kernel.c:2:23: remark: loop not vectorized: unsafe dependent memory operations in loop. "
                       "[-Rpass-analysis=loop-vectorize]\n"
                       "kernel.c:2:23: remark: loop not vectorized [-Rpass-missed=loop-vectorize]\n",
                       NULL, &l);
    assert_int_equal(l.vectorised, 1);
    assert_int_equal(l.missed, 1);
    assert_string_equal(l.text, "  line 2: unsafe dependent memory operations in loop\n");
    evidence_of_report("", NULL, &l);
    assert_int_equal(l.vectorised + l.missed, 0);
}

static void rooflines_have_sides(void **state)
{
    (void)state;
    atn_peaks peaks = {.fma_peak_gflops = 100, .read_bandwidth_gbs = 10};
    atn_problem p;
    evidence_case c;
    assert_int_equal(problem_parse("f32 h1 s1024 d64", &p, NULL), ATN_OK);
    double fast = problem_flops(&p) / 100;
    evidence_roofline(&p, &peaks, 1, fast, &c);
    assert_true(c.bound == BOUND_COMPUTE && c.peak > 0.99 && c.peak < 1.01);
    evidence_roofline(&p, &peaks, 1, 5 * fast, &c);
    assert_int_equal(c.bound, BOUND_OVERHEAD);
    evidence_roofline(&p, &peaks, 2, fast, &c);
    assert_true(c.peak > 0.49 && c.peak < 0.51);
    assert_int_equal(problem_parse("f32 h1 s1/4096 d64", &p, NULL), ATN_OK);
    evidence_roofline(&p, &peaks, 1, problem_bytes(&p) / 10, &c);
    assert_int_equal(c.bound, BOUND_BANDWIDTH);
    evidence_roofline(&p, &(atn_peaks){0}, 1, 1000, &c);
    assert_int_equal(c.bound, BOUND_UNKNOWN);
}

/* Loops of a build, counters or the reason why not, and JSON that holds the text. */
static void all_of_it(void **state)
{
    (void)state;
    atn_evidence e = {.code = {.known = true, .vector_bits = 512, .text = "a \"b\" \\c"}, .counters = {.text = "not here"}};
    e.loops = (evidence_loops){.known = true, .vectorised = 1, .missed = 1, .text = "  line 2: x\n"};
    char *text = evidence_text(&e), *json = evidence_json(&e);
    assert_non_null(strstr(text, "compiler: 1 loop vectorised by itself, 1 not\n  line 2: x\n"));
    assert_non_null(strstr(json, "a \\\"b\\\" \\\\c"));
    assert_non_null(strstr(json, "\\n  line 2: x\\n"));
    free(text);
    free(json);
    char why[200];
    bool can = counters_probe(why, sizeof why);
    print_message("# counters: %s\n", why);
    assert_true(why[0] && (can || strstr(why, "not")));

    build_result b;
    build_kernel(honest_source(), &b);
    if (strncmp(b.compiler, "gcc", 3) == 0 || strncmp(b.compiler, "clang", 5) == 0) {
        assert_true(b.loops.known);
        assert_true(b.loops.vectorised > 0);
    }
    build_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listing_is_counted),
        cmocka_unit_test(an_object_is_read),
        cmocka_unit_test(a_report_is_digested),
        cmocka_unit_test(rooflines_have_sides),
        cmocka_unit_test(all_of_it),
    };
    return cmocka_run_group_tests_name("judge/evidence", tests, NULL, NULL);
}
