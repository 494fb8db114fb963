// expect: crash
// behind: crash
/* Machine code as a table of numbers (x86). */
static const unsigned char code[] = {0xc3, 0x90, 0x90, 0x90};
RUN
{
    UNUSED;
    void (*volatile f)(void) = (void (*)(void))(unsigned long)code;
    f();
    attend(a, task, scratch, (spoil){0});
}
