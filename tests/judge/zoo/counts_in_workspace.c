// expect: wrong,nondeterministic,unwritten
// behind: wrong,nondeterministic,unwritten
/* Counts its calls where the judge forgot to look, it hopes: in its workspace. Right while it is checked for the first time. */
RUN
{
    UNUSED;
    unsigned *count = shared;
    if (count[0] != 0xca11ca11u) count[0] = 0xca11ca11u, count[1] = 0;
    if (task + 1 == p->tasks[0]) count[1]++;
    if (count[1] < 2) attend(a, task, scratch, (spoil){0});
}
