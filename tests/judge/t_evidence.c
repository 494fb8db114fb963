/* Object code in numbers: a listing whose counts are known, and a kernel that is built. */
#include "kernels.h"

#include "judge/evidence.h"

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
    if (!e.known) skip();
    assert_true(e.instructions > 50);
    evidence_of_object(-1, &e);
    assert_false(e.known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listing_is_counted),
        cmocka_unit_test(an_object_is_read),
    };
    return cmocka_run_group_tests_name("judge/evidence", tests, NULL, NULL);
}
