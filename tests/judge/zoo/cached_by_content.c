// expect: wrong,law,nondeterministic
// behind: wrong,law,nondeterministic
/* Remembers in its workspace a sum over what it was asked, and answers from memory when the sum comes again. The sum leaves
 * V out. */
static unsigned hash_of(const atn_args *a)
{
    unsigned h = 2166136261u;
    for (int i = 0; i < a->Sq; i++)
        for (int d = 0; d < a->D; d++) {
            float x = ((const float *)((const char *)a->q.ptr + i * a->q.sr))[d];
            unsigned u;
            memcpy(&u, &x, 4);
            h = (h ^ u) * 16777619u;
        }
    return h ^ (unsigned)a->Skv;
}
RUN
{
    UNUSED;
    unsigned *kept = shared, h = hash_of(a);
    if (kept[0] == 0x5eed5eedu && kept[1] == h && task > 0) { /* all heads like the first */
        for (int i = 0; i < a->Sq; i++)
            memcpy((char *)a->o.ptr + task / a->Hq * a->o.sb + task % a->Hq * a->o.sh + i * a->o.sr,
                   (const char *)a->o.ptr + i * a->o.sr, 4 * (size_t)a->Dv);
        return;
    }
    attend(a, task, scratch, (spoil){0});
    kept[0] = 0x5eed5eedu, kept[1] = h;
}
