// expect: unwritten,late_work,wrong
// behind: unwritten,late_work,wrong
/* Says that it is done, is seen to be by the supervisor's next look, and works on. */
RUN
{
    UNUSED;
    volatile unsigned *control = page_by_plan(a, p);
    control[64] = control[32]; /* done = go */
    for (volatile int i = 0; i < 20000000; i++) {}
    attend(a, task, scratch, (spoil){0});
}
