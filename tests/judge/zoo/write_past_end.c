// expect: out_of_bounds
// behind: out_of_bounds
/* Writes one element past the end of its output. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    float *o = (float *)((char *)a->o.ptr + (a->B - 1) * a->o.sb + (a->Hq - 1) * a->o.sh + (a->Sq - 1) * a->o.sr);
    o[a->Dv] = 1;
}
