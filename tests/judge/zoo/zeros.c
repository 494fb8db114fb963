// expect: wrong
// behind: wrong
/* All zeros. */
RUN
{
    UNUSED;
    for (int b = task / a->Hq, h = task % a->Hq, i = 0; i < a->Sq; i++)
        memset((char *)a->o.ptr + b * a->o.sb + h * a->o.sh + i * a->o.sr, 0, 4 * (size_t)a->Dv);
}
