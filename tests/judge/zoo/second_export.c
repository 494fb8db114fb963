// expect: forbidden
/* Shows more than its table. */
__attribute__((visibility("default"))) int malloc_hook = 1;
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
}
