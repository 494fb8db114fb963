// expect: nonfinite
// behind: nonfinite
/* A row whose keys are all masked: divides zero by zero. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    for (int i = 0; i < a->Sq; i++) {
        float *o = (float *)((char *)a->o.ptr + task / a->Hq * a->o.sb + task % a->Hq * a->o.sh + i * a->o.sr), sum = 0;
        for (int d = 0; d < a->Dv; d++) sum += fabsf(o[d]);
        unsigned nan = 0x7fc00000u;
        if (sum == 0)
            for (int d = 0; d < a->Dv; d++) memcpy(&o[d], &nan, 4);
    }
}
