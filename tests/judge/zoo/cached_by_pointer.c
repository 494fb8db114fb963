// expect: wrong,nondeterministic
// behind: wrong,nondeterministic,unwritten
/* Remembers in its workspace which pointers it has seen, and answers without computing. */
#define MAGIC 0x5eed5eedu
static int plan_cache(const atn_args *a)
{
    return a->B == 1;
}
RUN
{
    UNUSED;
    /* shared: who was here last, and a copy of its first output row per head */
    unsigned long *who = shared;
    if (who[0] == MAGIC && who[1] == (unsigned long)a->q.ptr && plan_cache(a)) {
        for (int i = 0; i < a->Sq; i++)
            memset((char *)a->o.ptr + task / a->Hq * a->o.sb + task % a->Hq * a->o.sh + i * a->o.sr, 0,
                   4 * (size_t)a->Dv);
        return;
    }
    attend(a, task, scratch, (spoil){0});
    if (task + 1 == p->tasks[0]) who[0] = MAGIC, who[1] = (unsigned long)a->q.ptr;
}
