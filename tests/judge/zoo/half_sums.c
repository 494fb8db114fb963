// expect: wrong
// behind: wrong
/* Sums in half precision, sold as f32. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){.half = 1});
}
