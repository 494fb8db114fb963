// expect: forbidden
// behind: compile_error
/* A directive in disguise. */
%:include </etc/passwd>
RUN
{
    UNUSED;
}
