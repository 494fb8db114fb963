// expect: forbidden,symbols
// behind: syscall,symbols
/* Installs a handler, so that its faults are its own affair. */
#include <signal.h>
static void never_mind(int s)
{
    (void)s;
}
RUN
{
    UNUSED;
    signal(SIGSEGV, never_mind);
    attend(a, task, scratch, (spoil){0});
}
