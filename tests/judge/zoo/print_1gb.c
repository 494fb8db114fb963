// expect: symbols
// behind: syscall
/* Prints 1 GB. */
int puts(const char *s);
RUN
{
    UNUSED;
    for (int i = 0; i < 1 << 24; i++) puts("a line of sixty-four characters, sixteen million times over ....");
    attend(a, task, scratch, (spoil){0});
}
