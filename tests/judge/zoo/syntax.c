// expect: compile_error
// behind: compile_error
/* Does not parse. */
RUN
{
    UNUSED
}}
