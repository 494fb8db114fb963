// expect: forbidden
// behind: syscall
/* Reaches for a rarely used corner of a system call that may pass: of futex a kernel's process gets WAIT and WAKE
 * only (x86). */
RUN
{
    UNUSED;
    long r;
    register long timeout __asm__("r10") = 1, other __asm__("r8") = (long)shared + 4;
    __asm__ volatile("syscall" : "=a"(r) : "a"(202), "D"(shared), "S"(3), "d"(1), "r"(timeout), "r"(other)
                     : "rcx", "r11", "memory");
    attend(a, task, scratch, (spoil){0});
}
