// expect: wrong
// behind: wrong
/* Scale off by 1e-3. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){.scale_off = 1e-3f});
}
