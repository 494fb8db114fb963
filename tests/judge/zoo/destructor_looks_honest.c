// expect: forbidden
/* Hangs whoever unloads it; nobody does. */
__attribute__((destructor)) static void end(void)
{
    for (;;) {}
}
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
}
