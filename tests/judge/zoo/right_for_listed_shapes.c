// expect: wrong,unwritten
// behind: wrong
/* Right only for sizes that it expects. */
RUN
{
    UNUSED;
    if (a->Skv % 16 == 0 || a->Skv < 64) attend(a, task, scratch, (spoil){0});
    else attend(a, task, scratch, (spoil){.tile = 16});
}
