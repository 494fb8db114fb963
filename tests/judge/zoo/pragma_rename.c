// expect: forbidden,symbols
// behind: wrong,unwritten,nonfinite,syscall
/* Calls a system function under a harmless name. */
int memlen(int);
#pragma redefine_extname memlen close
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    for (int i = 0; i < 64; i++) ((float *)a->o.ptr)[0] += (float)memlen(i);
}
