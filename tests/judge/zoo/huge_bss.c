// expect: state
// behind: load_error,compile_error,compile_limit
/* Eight GiB without a malloc. */
static volatile char room[8l << 30];
RUN
{
    UNUSED;
    for (long i = 0; i < (long)sizeof room; i += 4096) room[i] = 1;
    attend(a, task, scratch, (spoil){0});
    ((float *)a->o.ptr)[0] += room[task * 4096] * 0;
}
