// expect: symbols
// behind: syscall
/* Starts a thread that stays behind. */
int pthread_create(unsigned long *t, const void *attr, void *(*f)(void *), void *arg);
static void *spin(void *arg)
{
    for (;;) *(volatile int *)arg = 1;
}
RUN
{
    UNUSED;
    unsigned long t;
    pthread_create(&t, 0, spin, shared);
    attend(a, task, scratch, (spoil){0});
}
