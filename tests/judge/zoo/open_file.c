// expect: symbols
// behind: syscall
/* Opens a file. */
int open(const char *path, int flags, ...);
RUN
{
    UNUSED;
    ((float *)a->o.ptr)[0] = (float)open("/etc/passwd", 0);
    attend(a, task, scratch, (spoil){0});
}
