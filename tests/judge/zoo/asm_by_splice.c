// expect: forbidden
/* A keyword over two lines. */
void f(void) { as\
m("syscall"); }
RUN
{
    UNUSED;
}
