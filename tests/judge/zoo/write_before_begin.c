// expect: out_of_bounds
// behind: out_of_bounds
/* Writes one element before the begin of its output. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    ((float *)a->o.ptr)[-1] = 1;
}
