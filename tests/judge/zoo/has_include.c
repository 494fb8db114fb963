// expect: forbidden
// behind: compile_error
/* Asks which files exist. */
#if __has_include("/etc/passwd")
#define FOUND 1
#endif
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
}
