// expect: nonfinite,wrong
// behind: nonfinite,wrong
/* One NaN. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    if (task == 0) ((float *)a->o.ptr)[0] = NAN;
}
