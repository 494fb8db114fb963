// expect: forbidden,symbols,compile_error
/* Leaves something to be done when the process ends. */
int atexit(void (*)(void));
static void later(void)
{
}
RUN
{
    UNUSED;
    atexit(later);
    attend(a, task, scratch, (spoil){0});
}
