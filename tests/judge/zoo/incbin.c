// expect: forbidden
// behind: compile_error
/* Has the assembler read a file. */
__asm__(".section .rodata\nstolen: .incbin \"/etc/passwd\"\n.text");
RUN
{
    UNUSED;
}
