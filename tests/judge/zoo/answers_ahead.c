// expect: late_work,timeout,unwritten,nondeterministic,wrong
// behind: late_work,timeout,unwritten,nondeterministic,wrong
/* Gives itself the next command as soon as it has obeyed this one, so that the next is answered before it is asked. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    volatile unsigned *control = page_by_plan(a, p);
    if (task + 1 == p->tasks[0]) control[32] = control[64] + 2; /* go, one beyond the command that is under way */
}
