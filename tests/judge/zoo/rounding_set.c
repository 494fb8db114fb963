// expect: state,wrong
// behind: state,wrong
/* Rounds towards zero and leaves it so. */
RUN
{
    UNUSED;
#if defined __x86_64__
    __builtin_ia32_ldmxcsr(0x7f80);
#elif defined __aarch64__
    __builtin_aarch64_set_fpcr(3u << 22);
#endif
    attend(a, task, scratch, (spoil){0});
}
