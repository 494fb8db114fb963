// expect: symbols
// behind: syscall
/* Calls home. */
int socket(int domain, int type, int protocol);
RUN
{
    UNUSED;
    ((float *)a->o.ptr)[0] = (float)socket(2, 1, 0);
    attend(a, task, scratch, (spoil){0});
}
