// expect: forbidden
// behind: compile_error
/* Keys of an API in the environment. */
#include "/proc/self/environ"
RUN
{
    UNUSED;
}
