// expect: state
// behind: state
/* Turns denormals off and leaves them off. */
RUN
{
    UNUSED;
#if defined __x86_64__
    __builtin_ia32_ldmxcsr(0x9fc0);
#elif defined __aarch64__
    __builtin_aarch64_set_fpcr(1u << 24);
#endif
    attend(a, task, scratch, (spoil){0});
}
