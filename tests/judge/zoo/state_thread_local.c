// expect: forbidden
// behind: unwritten,nondeterministic,syscall
/* The same in thread-local memory. */
static __thread int calls;
RUN
{
    UNUSED;
    if (calls++ < 20) attend(a, task, scratch, (spoil){0});
}
