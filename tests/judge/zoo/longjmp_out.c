// expect: symbols
// behind: crash,timeout,exited
/* Jumps out of run through a made-up environment. */
#if defined __x86_64__ || defined __aarch64__
int _setjmp(long *env);
_Noreturn void longjmp(long *env, int value);
#endif
RUN
{
    UNUSED;
    long env[64] = {0};
    longjmp(env, 1);
}
