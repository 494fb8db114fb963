/* placeholder replaced below */
#include "problem/laws.h"
int laws_check(const atn_problem *p, uint64_t seed, double f, law_call call, void *ctx, atn_law out[ATN_LAWS])
{ (void)p,(void)seed,(void)f,(void)call,(void)ctx,(void)out; return 0; }
