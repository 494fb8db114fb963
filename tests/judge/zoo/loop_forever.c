// expect: timeout
// behind: timeout
/* Never ends. */
RUN
{
    UNUSED;
    for (;;) {};
}
