// expect: wrong
// behind: wrong
/* The mean of V: all weights equal. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){.mean = 1});
}
