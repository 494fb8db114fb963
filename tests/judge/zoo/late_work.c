// expect: forbidden
// behind: late_work
/* Finds the control page, says that it is done when it is, then prepares for the next call (x86). */
/* The control page: its pointer lies in the worker's own data, after the code that called us, beside pointers to its
 * tables (a word alone would have us read at whatever looks like an address). */
static unsigned *control_page(const atn_args *a, char *caller)
{
    unsigned long *at = (unsigned long *)((unsigned long)caller & -4096ul), q = (unsigned long)a->q.ptr;
    for (;; at++) {
        unsigned long x = *at;
        int tables = 0;
        if (x % 4096 || x >> 45 != 3 || (x <= q && q - x < 1ul << 33)) continue;
        for (int i = 1; i < 24; i++) tables += at[i] > x && at[i] - x < 1ul << 20 && at[i] % 64 == 0;
        for (int i = 1; i < 128; i++) tables += at[-i] > x && at[-i] - x < 1ul << 20 && at[-i] % 64 == 0;
        if (tables && *(unsigned *)x == 0x61746e31u) return (unsigned *)x;
    }
}
static void say_done(unsigned *control)
{
    long r;
    control[64] = control[32]; /* done = go */
    __asm__ volatile("syscall" : "=a"(r) : "a"(202), "D"(control + 64), "S"(1), "d"(1) : "rcx", "r11", "memory");
}
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    if (task + 1 < p->tasks[0]) return;
    say_done(control_page(a, __builtin_return_address(0)));
    for (volatile int i = 0; i < 20000000; i++) {}
}
