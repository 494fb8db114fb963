// expect: forbidden,symbols,compile_error
// behind: syscall,crash,load_error
/* Loads a library that the judge did not build. */
void *dlopen(const char *, int);
RUN
{
    UNUSED;
    if (dlopen("libopenblas.so.0", 2) == (void *)shared) return;
    attend(a, task, scratch, (spoil){0});
}
