// expect: symbols
// behind: syscall
/* Forks without end. */
int fork(void);
RUN
{
    UNUSED;
    for (;;) fork();
}
