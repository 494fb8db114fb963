/* A kernel as `attune evolve` writes it, under the name KERNEL: the plain one, judged on two kinds of problem. */
#define attune_kernel plain_kernel
#include "../../src/kernel/ref/plain.c"
#undef attune_kernel

extern const atn_kernel attune_kernel __attribute__((visibility("default")));
const atn_kernel attune_kernel = {ATN_KERNEL_ABI, KERNEL, can_run, plan, run};
const char attune_judged[] = "f32 prefill, f32:f16 decode";
