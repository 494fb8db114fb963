// expect: unwritten,nondeterministic
// behind: unwritten,nondeterministic
/* Honest once, then takes tasks off the plan for all calls to come: it lies in memory that it may write. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    if (task + 1 == p->tasks[0]) ((atn_plan *)p)->tasks[0] = 1;
}
