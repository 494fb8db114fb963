// expect: late_work,timeout,unwritten,nondeterministic,wrong
// behind: late_work,timeout,unwritten,nondeterministic,wrong
/* Gives itself the next command as soon as it has obeyed this one, so that the next is answered before it is asked.
 * Finds the control page as forged_done_in_c does. */
static unsigned *control_page(const atn_args *a, const atn_plan *p)
{
    const unsigned long *at = (const unsigned long *)(((unsigned long)p & -4096ul) - 4096);
    unsigned long q = (unsigned long)a->q.ptr;
    for (;; at++) {
        unsigned long x = *at;
        int tables = 0;
        if (x % 4096 || x >> 40 == 0 || x >> 48 || (x <= q && q - x < 1ul << 33)) continue;
        for (int i = -64; i < 64; i++) tables += at[i] > x && at[i] - x < 1ul << 20 && at[i] % 64 == 0;
        if (tables && *(const unsigned *)x == 0x61746e31u) return (unsigned *)x;
    }
}
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    volatile unsigned *control = control_page(a, p);
    if (task + 1 == p->tasks[0]) control[32] = control[64] + 2; /* go, one beyond the command that is under way */
}
