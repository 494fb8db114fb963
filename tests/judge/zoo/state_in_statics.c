// expect: state
// behind: unwritten,nondeterministic
/* Counts its calls and stops computing after 20. */
static int calls;
RUN
{
    UNUSED;
    if (calls++ < 20) attend(a, task, scratch, (spoil){0});
}
