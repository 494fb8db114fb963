// expect: forbidden
/* A keyword from two pieces. */
#define A(x) x
#define B A(__as##m__)
void f(void)
{
    B("syscall");
}
RUN
{
    UNUSED;
}
