// expect: out_of_bounds
// behind: out_of_bounds
/* Writes past the workspace that its plan asked for. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    memset(shared, 0, 256 + 64);
}
