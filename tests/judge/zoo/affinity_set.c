// expect: forbidden,symbols,compile_error
// behind: syscall
/* Moves to a CPU of its own (x86). */
#include <sched.h>
int sched_setaffinity(int, unsigned long, const void *);
RUN
{
    UNUSED;
    unsigned long set = 1;
    sched_setaffinity(0, sizeof set, &set);
    attend(a, task, scratch, (spoil){0});
}
