// expect: ok
// behind: ok
/* The keeper: the shared body as it is must pass, else the other verdicts mean nothing. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
}
