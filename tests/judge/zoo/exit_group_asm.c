// expect: forbidden
// behind: exited
/* The same by a system call of its own (x86). */
RUN
{
    UNUSED;
    __asm__ volatile("syscall" : : "a"(231), "D"(0) : "rcx", "r11", "memory");
}
