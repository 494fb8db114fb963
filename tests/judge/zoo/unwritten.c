// expect: unwritten
// behind: unwritten
/* Leaves what was there: the last output, it hopes. */
RUN
{
    UNUSED;
}
