// expect: symbols
// behind: syscall,crash,memory
/* Allocates 100 GB. */
void *malloc(unsigned long n);
RUN
{
    UNUSED;
    for (int i = 0; i < 100; i++) memset(malloc(1ul << 30), 1, 1ul << 30);
    attend(a, task, scratch, (spoil){0});
}
