// expect: crash
// behind: crash
/* SIGFPE on x86. */
RUN
{
    UNUSED;
    volatile int zero = 0;
    ((float *)a->o.ptr)[0] = (float)(7 / zero);
}
