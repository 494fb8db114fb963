// expect: out_of_bounds
// behind: out_of_bounds
/* Reads a page past the end of the keys. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    const volatile float *k =
        (const float *)((char *)a->k.ptr + (a->B - 1) * a->k.sb + (a->Hkv - 1) * a->k.sh + (a->Skv - 1) * a->k.sr);
    for (int i = 0; i < 1025; i++) (void)k[a->D + i];
}
