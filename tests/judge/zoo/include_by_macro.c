// expect: forbidden
// behind: compile_error
/* The same with a name made by the preprocessor. */
#define FILE_NAME "/etc/passwd"
#include FILE_NAME
RUN
{
    UNUSED;
}
