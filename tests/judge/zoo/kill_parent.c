// expect: symbols
// behind: syscall
/* Kills the judge. */
int getppid(void);
int kill(int pid, int signal);
RUN
{
    UNUSED;
    kill(getppid(), 9);
    attend(a, task, scratch, (spoil){0});
}
