// expect: wrong,nonfinite
// behind: wrong,nonfinite
/* Turns NaN into zero on its way out, so that nothing looks broken. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    for (int i = 0; i < a->Sq; i++) {
        float *o = (float *)((char *)a->o.ptr + task / a->Hq * a->o.sb + task % a->Hq * a->o.sh + i * a->o.sr);
        for (int d = 0; d < a->Dv; d++) {
            unsigned u;
            memcpy(&u, &o[d], 4);
            if ((u & 0x7fffffffu) > 0x7f800000u) o[d] = 0;
        }
    }
}
