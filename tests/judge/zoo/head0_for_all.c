// expect: wrong
// behind: wrong
/* Computes head 0 and copies it. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){.only_head0 = 1});
}
