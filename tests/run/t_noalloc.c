/* Execution allocates nothing: every allocator is ours here, and counts while armed. */
#include <errno.h>
#include <stdatomic.h>

#include "run_test.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_int armed, allocations;

static void note(void)
{
    if (atomic_load_explicit(&armed, memory_order_relaxed)) atomic_fetch_add(&allocations, 1);
}

void *malloc(size_t n)
{
    return note(), __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    return note(), __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    return note(), __libc_realloc(p, n);
}
void *memalign(size_t align, size_t n)
{
    return note(), __libc_memalign(align, n);
}
void *aligned_alloc(size_t align, size_t n)
{
    return note(), __libc_memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    note();
    *out = __libc_memalign(align, n);
    return *out ? 0 : ENOMEM;
}

static void the_count_counts(void **state)
{
    (void)state;
    void *p = NULL;
    atomic_store(&allocations, 0);
    atomic_store(&armed, 1);
    void *volatile a = malloc(3), *volatile b = calloc(2, 2), *volatile c = realloc(a, 100);
    int e = posix_memalign(&p, 64, 64);
    atomic_store(&armed, 0);
    assert_int_equal(e, 0);
    assert_int_equal(atomic_load(&allocations), 4);
    free(b);
    free(c);
    free(p);
}

static void execution_allocates_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "f32 h4/2 s70 d64 causal lse",
        "bf16 h4/2 s1/500 d128 cache=512",
        "f16 h4 s40 d80 mask=bool sinks",
        "f32 h1 s3 d20000",
    };
    atn_error err;
    atn_log_set(NULL, NULL);
    for (int threads = 1; threads <= 3; threads++) {
        atn_pool *pool;
        assert_ok(atn_pool_create(&(atn_pool_options){.threads = threads}, &pool, &err));
        for (int t = 0; t < ATN_COUNT(texts); t++)
            for (int own = 0; own < 2; own++) {
                inputs in = data_of(texts[t], 1);
                atn_planned *p;
                atn_plan_options o = {.pool = pool, .flags = own ? 0 : ATN_PLAN_HOST_WORKSPACE};
                assert_ok(atn_plan_create(&in.a, &o, &p, &err));
                void *workspace = own ? NULL : aligned_alloc(64, (size_t)atn_plan_workspace(p) + 64);
                atomic_store(&allocations, 0);
                atomic_store(&armed, 1);
                const atn_status st = atn_execute(p, &in.a, workspace, &err);
                const atn_status st2 = atn_plan_update(p, &in.a, &err); /* nor does an update within the class */
                atomic_store(&armed, 0);
                assert_int_equal(st, ATN_OK);
                assert_int_equal(st2, ATN_OK);
                if (atomic_load(&allocations)) fail_with("%s: %d allocations", texts[t], atomic_load(&allocations));
                assert_right(&in, texts[t]);
                free(workspace);
                atn_plan_free(p);
                inputs_release(&in);
            }
        atn_pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_count_counts),
        cmocka_unit_test(execution_allocates_nothing),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    printf("1..0 # SKIP needs glibc without a sanitizer, whose allocators can be counted\n");
    return 0;
}
#endif
