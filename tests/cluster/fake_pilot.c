/* A real pilot with the synthetic judge behind it: everything of a cluster but kernels and time.
 *
 *     fake_pilot --stdio | --spool DIR
 *
 * FAKE_JUDGE_US: how long a judgement takes. FAKE_NOISY: the node of that name fails its controls. FAKE_MACHINE: makes its
 * machine another class by its compiler, FAKE_ISA by the widest instruction set that it admits to. FAKE_FAILS: from that judgement on good programs fail as incumbents; FAKE_FAILS_ALONE: alone too.
 * FAKE_LOSE: dies without a word at the n-th judgement, in the middle of a line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "evolve/execute/pilot.h"
#include "evolve/execute/wire.h"
#include "fake.h"

static atn_status (*judged)(void *ctx, const build_result *candidate, const build_result *incumbent, atn_stage upto,
                            atn_verdict *v, atn_error *err);

static atn_status or_die(void *ctx, const build_result *candidate, const build_result *incumbent, atn_stage upto,
                         atn_verdict *v, atn_error *err)
{
    const char *lose = getenv("FAKE_LOSE");
    fake_judge *f = ctx;
    if (lose && f->candidates + 1 == atoi(lose)) {
        static const char half[] = "{\"t\":\"done\",\"id\":1,\"race\":\"{";
        (void)!write(1, half, sizeof half - 1);
        _exit(0); /* as srun: no news in the exit status */
    }
    return judged(ctx, candidate, incumbent, upto, v, err);
}

static atn_status noisy(void *ctx, const build_result *program, int races, atn_controls *out, atn_error *err)
{
    (void)ctx, (void)program, (void)err;
    *out = (atn_controls){.aa_races = races, .aa_promoted = 1, .plus_races = races, .aa_spread = 0.1};
    return ATN_OK;
}

static atn_status make(const evolve_options *o, evolve_judge **out, atn_error *err)
{
    const char *us = getenv("FAKE_JUDGE_US"), *node = getenv("FAKE_NOISY"), *machine = getenv("FAKE_MACHINE");
    char name[128];
    fake_judge *f = atn_alloc(sizeof *f);
    (void)o, (void)err;
    fake_init(f);
    f->constant = true;
    f->steps = 0;
    f->judge_us = us ? atoi(us) : 0;
    if (getenv("FAKE_FAILS")) f->fails_from = atoi(getenv("FAKE_FAILS"));
    f->fails_alone = getenv("FAKE_FAILS_ALONE") != NULL;
    judged = f->face.candidate;
    f->face.candidate = or_die;
    wire_node_name(name, sizeof name);
    if (node && !strcmp(node, name)) f->face.controls = noisy;
    if (machine) snprintf(f->face.compiler, sizeof f->face.compiler, "fake %s", machine);
    *out = &f->face;
    return ATN_OK;
}

static void limit_isa(const char *isa)
{
    atn_machine *m = (atn_machine *)machine_get(); /* found once for the whole process */
    snprintf(m->isa, sizeof m->isa, "%s", isa);
    snprintf(m->signature, sizeof m->signature, "%.100s; %s; L1d %lldK L2 %lldK L3 %lldK", m->cpu, isa,
             (long long)m->l1d_bytes / 1024, (long long)m->l2_bytes / 1024, (long long)m->l3_bytes / 1024);
}

int main(int argc, char **argv)
{
    if (getenv("FAKE_ISA")) limit_isa(getenv("FAKE_ISA"));
    pilot_options o = {.in = 0, .out = 1, .make = make, .grace_s = 1, .silence_s = 5};
    if (argc == 3 && !strcmp(argv[1], "--spool")) o.spool = argv[2];
    else if (argc < 2 || strcmp(argv[argc - 1], "--stdio")) return 2; /* after "worker" where a launcher says so */
    return pilot_run(&o);
}
