// expect: too_large
// behind: too_large
/* A table of 24 MiB. */
static const float table[6 << 20] = {1, 2, 3, [5 << 20] = 4};
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    ((float *)a->o.ptr)[0] += table[task] * 0;
}
