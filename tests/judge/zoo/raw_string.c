// expect: forbidden
/* A string that a simple reader ends in the wrong place. */
const char *const s = R"(" )"; __asm__("nop"); //")";
RUN
{
    UNUSED;
}
