// expect: crash
// behind: crash
/* SIGILL. */
RUN
{
    UNUSED;
    __builtin_trap();
}
