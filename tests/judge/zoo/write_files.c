// expect: symbols
// behind: syscall
/* Writes a file. */
int creat(const char *path, unsigned mode);
RUN
{
    UNUSED;
    ((float *)a->o.ptr)[0] = (float)creat("/tmp/attune-zoo-was-here", 0600);
    attend(a, task, scratch, (spoil){0});
}
