// expect: wrong,law
// behind: wrong,law
/* Leaves out keys whose weight is below a thousandth of the largest: most of the sum, most of the time. */
RUN
{
    UNUSED;
    float *s = scratch;
    for (int i = 0; i < a->Sq; i++) {
        attend_row(a, task / a->Hq, task % a->Hq, i, s, &(spoil){0});
        if (a->mask.ptr || a->sinks || a->alibi || a->causal || a->softcap > 0) continue;
        float m = -INFINITY, l = 0;
        float *o = (float *)((char *)a->o.ptr + task / a->Hq * a->o.sb + task % a->Hq * a->o.sh + i * a->o.sr);
        for (int j = 0; j < a->Skv; j++) m = s[j] > m ? s[j] : m;
        if (!(m > -INFINITY)) continue;
        for (int d = 0; d < a->Dv; d++) o[d] = 0;
        for (int j = 0; j < a->Skv; j++) {
            float w = expf(s[j] - m);
            const float *v = (const float *)((const char *)a->v.ptr + task / a->Hq * a->v.sb +
                                             task % a->Hq / (a->Hq / a->Hkv) * a->v.sh + j * a->v.sr);
            if (w < 1e-3f) continue;
            l += w;
            for (int d = 0; d < a->Dv; d++) o[d] += w * v[d];
        }
        for (int d = 0; d < a->Dv; d++) o[d] /= l;
    }
}
