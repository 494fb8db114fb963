/* What libattune chooses here for some cases, and whether it is right; for emulators, so without the test framework.
 *
 *     chosen --features          what this CPU is seen to have
 *     chosen CASE KERNEL ...     1 where a case gets another kernel than KERNEL or a wrong output */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attune/plan.h"
#include "base/cpu.h"
#include "problem/data.h"
#include "problem/reference.h"

static const char *check(const char *text, const char *kernel, char *got, atn_error *err)
{
    atn_problem p;
    atn_layout l;
    char *at[ATN_T_COUNT];
    if (problem_parse(text, &p, err) != ATN_OK) return err->text;
    problem_layout(&p, &l);
    for (int t = 0; t < ATN_T_COUNT; t++) at[t] = l.bytes[t] ? calloc(1, (size_t)l.bytes[t]) : NULL;
    atn_args a = l.args;
    a.q.ptr = at[ATN_T_Q], a.k.ptr = at[ATN_T_K], a.v.ptr = at[ATN_T_V], a.o.ptr = at[ATN_T_O];
    a.mask.ptr = at[ATN_T_MASK];
    atn_rng rng = rng_make(1, 0, 0);
    data_fill(&p, &l, &a, ATN_DATA_NORMAL, &rng);
    poison_fill(at[ATN_T_O], l.bytes[ATN_T_O]);

    atn_planned *plan = NULL;
    atn_plan_info info = {.size = sizeof info};
    atn_plan_options o = {.flags = ATN_PLAN_NO_WISDOM};
    atn_compare c;
    const char *wrong = NULL;
    if (atn_plan_create(&a, &o, &plan, err) != ATN_OK || atn_plan_info_get(plan, &info, err) != ATN_OK
        || atn_execute(plan, &a, NULL, err) != ATN_OK)
        wrong = err->text;
    snprintf(got, sizeof info.kernel, "%s", info.kernel);
    if (!wrong) {
        const atn_tolerance t = tolerance_for(&p, ATN_DATA_NORMAL, 1);
        reference_compare(&a, 0, &rng, &c);
        wrong = tolerance_verdict(&c, &t);
        if (!wrong && strcmp(kernel, info.kernel) != 0) wrong = "another kernel was wanted";
    }
    atn_plan_free(plan);
    for (int t = 0; t < ATN_T_COUNT; t++) free(at[t]);
    return wrong;
}

int main(int argc, char **argv)
{
    int bad = 0;
    if (argc == 2 && !strcmp(argv[1], "--features")) return printf("%s\n", machine_get()->features) < 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        char got[64] = "";
        atn_error err = {0};
        const char *wrong = check(argv[i], argv[i + 1], got, &err);
        printf("# %s: %s%s%s\n", argv[i], got, wrong ? ": " : "", wrong ? wrong : "");
        bad |= wrong != NULL;
    }
    return bad;
}
