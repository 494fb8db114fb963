// expect: forbidden
/* Code that the loader runs to choose a function. */
static int pick(void)
{
    return 1;
}
static void *choose(void)
{
    return pick;
}
static int chosen(void) __attribute__((ifunc("choose")));
RUN
{
    UNUSED;
    ((float *)a->o.ptr)[0] = (float)chosen();
    attend(a, task, scratch, (spoil){0});
}
