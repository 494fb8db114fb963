// expect: wrong
// behind: wrong
/* Drops 2 % of the keys. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){.drop = 50});
}
