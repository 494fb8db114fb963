// expect: wrong
// behind: wrong
/* Forgets the causal mask. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){.no_causal = 1});
}
