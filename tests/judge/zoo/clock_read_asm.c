// expect: forbidden
// behind: syscall
/* Reads the clock by a system call of its own, to see whether it is timed (x86). */
RUN
{
    UNUSED;
    long r;
    struct {
        long s, ns;
    } t;
    __asm__ volatile("syscall" : "=a"(r) : "a"(228), "D"(1), "S"(&t) : "rcx", "r11", "memory");
    attend(a, task, scratch, (spoil){.drop = t.ns % 2 ? 0 : 50});
}
