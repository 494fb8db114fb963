// expect: crash
// behind: crash
/* Recurses until the stack ends. */
static int deeper(int n)
{
    volatile char room[4096];
    room[n % 4096] = (char)n;
    return n < 0 ? 0 : deeper(n + 1) + room[n % 4096];
}
RUN
{
    UNUSED;
    ((float *)a->o.ptr)[0] = (float)deeper(1);
}
