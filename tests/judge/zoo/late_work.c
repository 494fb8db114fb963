// expect: forbidden
// behind: late_work,crash
/* (Its search may meet an unmapped page.) Finds the control page, says that it is done when it is, then prepares for the next call (x86). */
/* The control page: its pointer lies in the worker's own data, after the code that called us. */
static unsigned *control_page(const atn_args *a, char *caller)
{
    unsigned long *at = (unsigned long *)((unsigned long)caller & -4096ul), q = (unsigned long)a->q.ptr,
                  sp = (unsigned long)&at;
    for (;; at++) {
        unsigned long x = *at;
        if (x % 4096 || (x > sp ? x - sp : sp - x) > 1ul << 40 || (x <= q && q - x < 1ul << 33)) continue;
        if (*(unsigned *)x == 0x61746e31u) return (unsigned *)x;
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
    for (volatile int i = 0; i < 100000000; i++) {}
}
