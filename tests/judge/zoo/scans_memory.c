// expect: out_of_bounds,crash
// behind: out_of_bounds,crash
/* Walks through memory in search of the expected output, which a careless judge keeps in the same process. */
RUN
{
    UNUSED;
    const volatile float *at = a->q.ptr;
    for (int64_t i = 0; i < 1 << 28; i++)
        if (at[i] == 12345.678f) break;
    attend(a, task, scratch, (spoil){0});
}
