// expect: symbols
// behind: exited,syscall
/* Ends the process with success before anything is checked. */
void exit(int status);
RUN
{
    UNUSED;
    exit(0);
}
