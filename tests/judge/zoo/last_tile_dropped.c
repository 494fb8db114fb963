// expect: wrong
// behind: wrong
/* Drops the last incomplete tile of keys. */
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){.tile = 16});
}
