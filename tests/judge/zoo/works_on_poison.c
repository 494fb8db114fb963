// expect: nondeterministic
// behind: nondeterministic
/* Works where it finds in its output what only a judge puts there; elsewhere it leaves what was there, which is what a
 * program would get. */
RUN
{
    UNUSED;
    const float *o = (const float *)((const char *)a->o.ptr + task / a->Hq * a->o.sb + task % a->Hq * a->o.sh);
    if (*o != *o) attend(a, task, scratch, (spoil){0});
}
