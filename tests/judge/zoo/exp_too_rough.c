// expect: wrong,law
// behind: wrong,law
/* Rounds its exponentials' arguments to sixty-fourths: looks right to two digits. */
RUN
{
    UNUSED;
    float *s = scratch;
    for (int i = 0; i < a->Sq; i++) {
        attend_row(a, task / a->Hq, task % a->Hq, i, s, &(spoil){0});
        float m = -INFINITY, l = 0;
        float *o = (float *)((char *)a->o.ptr + task / a->Hq * a->o.sb + task % a->Hq * a->o.sh + i * a->o.sr);
        for (int j = 0; j < a->Skv; j++) m = s[j] > m ? s[j] : m;
        if (!(m > -INFINITY) || a->sinks) continue;
        for (int d = 0; d < a->Dv; d++) o[d] = 0;
        for (int j = 0; j < a->Skv; j++) {
            float w = s[j] == -INFINITY ? 0 : expf(rintf(64 * (s[j] - m)) / 64);
            const float *v = (const float *)((const char *)a->v.ptr + task / a->Hq * a->v.sb +
                                             task % a->Hq / (a->Hq / a->Hkv) * a->v.sh + j * a->v.sr);
            l += w;
            for (int d = 0; d < a->Dv && w > 0; d++) o[d] += w * v[d];
        }
        for (int d = 0; d < a->Dv; d++) o[d] /= l;
    }
}
