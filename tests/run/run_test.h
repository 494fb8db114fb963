/* What the tests of libattune share: a problem with data, and its check against fp64. */
#ifndef ATN_RUN_TEST_H
#define ATN_RUN_TEST_H

#include "../unit/test.h"

#include "problem/reference.h"

#include "attune/plan.h"
#include "attune/wisdom.h"

static inline inputs data_of(const char *text, uint64_t seed)
{
    const atn_problem p = problem_of(text);
    inputs in = inputs_of(&p);
    atn_rng rng = rng_make(seed, 0, 0);
    data_fill(&p, &in.l, &in.a, ATN_DATA_NORMAL, &rng);
    poison_fill(in.memory[ATN_T_O], in.l.bytes[ATN_T_O]);
    if (in.a.lse) poison_fill(in.memory[ATN_T_LSE], in.l.bytes[ATN_T_LSE]);
    return in;
}

/* NULL: the output is right. Else what is wrong. */
static inline const char *wrong(const inputs *in, atn_compare *c)
{
    atn_rng rng = rng_make(1, 1, 1);
    const atn_tolerance t = tolerance_for(&in->p, ATN_DATA_NORMAL, 1);
    reference_compare(&in->a, 0, &rng, c);
    return tolerance_verdict(c, &t);
}

#define assert_right(in, what)                                                                                         \
    do {                                                                                                               \
        atn_compare c_;                                                                                                \
        const char *w_ = wrong(in, &c_);                                                                               \
        if (w_) fail_with("%s: %s (relative L2 %g; %s)", what, w_, c_.rel_l2, c_.detail);                              \
    } while (0)

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        atn_status st_ = (call);                                                                                       \
        if (st_ != ATN_OK) fail_with("%s: %s: %s", #call, status_text(st_), err.text);                             \
    } while (0)

/* The call is refused with this status, and the error's text holds that word. */
#define assert_refused(call, status, word)                                                                             \
    do {                                                                                                               \
        err = (atn_error){0};                                                                                          \
        atn_status st_ = (call);                                                                                       \
        if (st_ != (status)) fail_with("%s: status %d instead of %d: %s", #call, st_, status, err.text);               \
        if (!strstr(err.text, word)) fail_with("%s: '%s' does not say '%s'", #call, err.text, word);                   \
    } while (0)

#endif
