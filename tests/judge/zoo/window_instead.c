// expect: wrong
// behind: wrong
/* Looks at the last 24 keys only. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){.window = 24});
}
