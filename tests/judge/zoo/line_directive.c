// expect: forbidden
/* Says that its lines stand in another file, so that messages and reports name that one. */
#line 1 "attune/kernel.h"
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
}
