// expect: out_of_bounds
// behind: out_of_bounds
/* Writes to an input. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    memset(a->v.ptr, 0, 4);
}
