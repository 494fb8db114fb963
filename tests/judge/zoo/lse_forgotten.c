// expect: unwritten
// behind: unwritten
/* Leaves the log-sum-exp unwritten where it is wanted. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){.no_lse = 1});
}
