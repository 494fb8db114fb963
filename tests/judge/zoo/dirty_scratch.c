// expect: wrong,nonfinite,nondeterministic
// behind: wrong,nonfinite,nondeterministic
/* Uses workspace that it never filled. */
RUN
{
    UNUSED;
    float *sum = (float *)shared;
    attend(a, task, scratch, (spoil){0});
    ((float *)a->o.ptr)[0] += sum[0] * 1e-3f;
}
