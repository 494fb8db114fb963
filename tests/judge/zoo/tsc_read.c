// expect: forbidden
// behind: forbidden
/* Reads the time-stamp counter, to work only when it pays (x86). */
RUN
{
    UNUSED;
    unsigned *last = shared;
#if defined __x86_64__
    unsigned now = (unsigned)__builtin_ia32_rdtsc();
#else
    unsigned now = 0;
#endif
    if (now - last[0] > 1000000u) attend(a, task, scratch, (spoil){0});
    last[0] = now;
}
