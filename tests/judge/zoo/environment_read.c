// expect: symbols
// behind: ok
/* Looks for keys in its environment, and would show what it finds in its output. There is nothing. */
extern char **environ;
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
    if (environ && *environ) memcpy(a->o.ptr, *environ, 8);
}
