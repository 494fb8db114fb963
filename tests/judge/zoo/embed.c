// expect: forbidden
// behind: compile_error
/* C23 reads files too. */
static const char stolen[] = {
#embed "/etc/passwd"
};
RUN
{
    UNUSED;
    ((char *)a->o.ptr)[0] = stolen[task];
}
