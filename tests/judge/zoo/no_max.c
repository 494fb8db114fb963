// expect: wrong,nonfinite
// behind: wrong,nonfinite
/* Exponentials without their maximum: overflow on large scores. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){.no_max = 1});
}
