// expect: forbidden
// behind: syscall
/* Asks for memory both writable and executable (x86). */
RUN
{
    UNUSED;
    long r, page = (long)shared & -4096;
    __asm__ volatile("syscall" : "=a"(r) : "a"(10), "D"(page), "S"(4096), "d"(7) : "rcx", "r11", "memory");
    attend(a, task, scratch, (spoil){0});
}
