// expect: forbidden
// behind: syscall
/* Works before it is called. */
int socket(int domain, int type, int protocol);
__attribute__((constructor)) static void early(void)
{
    socket(2, 1, 0);
}
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
}
