// expect: forbidden
/* Moves the inputs to a farther cache when it is done with them: the incumbent reads them next (x86). */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
#if defined __x86_64__
    for (int64_t i = 0; i < 4 * a->D; i += 64) __builtin_ia32_cldemote((char *)a->k.ptr + i);
#endif
}
