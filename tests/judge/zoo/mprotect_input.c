// expect: forbidden
// behind: out_of_bounds
/* Makes its input writable, then zeroes the work (x86). */
RUN
{
    UNUSED;
    long r, page = (long)a->q.ptr & -4096;
    __asm__ volatile("syscall" : "=a"(r) : "a"(10), "D"(page), "S"(4096), "d"(3) : "rcx", "r11", "memory");
    ((float *)a->q.ptr)[0] = 0;
    attend(a, task, scratch, (spoil){0});
}
