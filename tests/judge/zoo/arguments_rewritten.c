// expect: unwritten,nondeterministic
// behind: unwritten,nondeterministic
/* Honest once, then cuts the problem short for all calls to come: its arguments lie in memory that it may write. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    if (task + 1 == p->tasks[0]) ((atn_args *)a)->Sq = 0;
}
