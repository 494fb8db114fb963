// expect: forbidden
// behind: syscall
/* The same through the table that the loader walks. */
int kill(int pid, int signal);
static void early(void)
{
    kill(1, 9);
}
static void (*const hook)(void) __attribute__((used, section(".init_array"))) = early;
RUN
{
    UNUSED;
    attend(a, task, scratch, (spoil){0});
}
