// expect: unwritten
// behind: unwritten
/* Skips the last row. */
RUN
{
    UNUSED;
    for (int i = 0; i < a->Sq - (a->Sq > 1); i++) attend_row(a, task / a->Hq, task % a->Hq, i, scratch, &(spoil){0});
}
