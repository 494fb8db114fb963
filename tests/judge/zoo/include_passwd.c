// expect: forbidden
// behind: compile_error
/* Reads the machine's files at compile time; the compiler would quote them. */
#include "/etc/passwd"
RUN
{
    UNUSED;
}
