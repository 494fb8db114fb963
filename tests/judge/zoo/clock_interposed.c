// expect: forbidden
/* Brings its own clock for the judge to read; nothing in the judge would see it. */
#pragma GCC visibility push(default)
int clock_gettime(int id, long *t);
int clock_gettime(int id, long *t)
{
    return t[0] = t[1] = id;
}
#pragma GCC visibility pop
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
}
