// expect: ok
// behind: ok
/* Pushes everybody's data out of the near caches when it is done. Harmless: the inputs are read once before every slice,
 * and the sweep is part of its own time (it loses its races: t_judge). */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    static const char pile[1 << 20] = {1};
    for (int i = 0; i < 1 << 20; i += 64) (void)((const volatile char *)pile)[i];
}
