// expect: crash
// behind: crash
/* Writes to nowhere. */
RUN
{
    UNUSED;
    *(volatile int *)16 = 1;
}
