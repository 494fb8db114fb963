/* Choosing a kernel for a problem: the host's own where it was judged on such, else wisdom's, else by rule, else the host's
 * own all the same, else the plain reference.
 *
 * Each step down that the user would want to know of is said once. Invariant of an atn_planned: its kernel said yes
 * to its args and its division has been checked, so execution has nothing left to decide. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/run_int.h"

static const int64_t BYTES_MAX = (int64_t)1 << 46;

const char *atn_version(void)
{
    return ATTUNE_VERSION;
}

static void run_serially(void *host, int tasks, int threads, atn_task_fn fn, void *context)
{
    (void)host, (void)threads;
    for (int i = 0; i < tasks; i++) fn(context, i, 0);
}

static int64_t round_up(int64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- trying one kernel ---- */

/* NULL: *division is good. Else why not. */
static const char *try_kernel(const atn_kernel *k, const atn_args *a, int threads, atn_plan *division)
{
    if (!k->can_run(a)) return "it does not cover the problem";
    atn_plan d = {0};
    if (k->plan(a, threads, &d) != 0) return "its plan failed";
    if (d.phases < 1 || d.phases > ATN_PHASES_MAX) return "its plan has an impossible number of phases";
    for (int i = 0; i < d.phases; i++)
        if (d.tasks[i] < 1) return "its plan has a phase without tasks";
    if (d.shared_bytes < 0 || d.shared_bytes > BYTES_MAX || d.scratch_bytes < 0 ||
        d.scratch_bytes > BYTES_MAX / threads)
        return "its plan asks for an absurd workspace";
    *division = d;
    return NULL;
}

static void take(atn_planned *p, const atn_kernel *k, const atn_plan *division, const char *name,
                 atn_plan_origin origin)
{
    p->kernel = k;
    p->division = *division;
    p->origin = origin;
    if (name != p->kernel_name) snprintf(p->kernel_name, sizeof p->kernel_name, "%s", name);
    p->shared_bytes = round_up(division->shared_bytes);
    p->scratch_bytes = round_up(division->scratch_bytes);
    p->workspace_bytes = p->shared_bytes + p->threads * p->scratch_bytes;
}

/* ---- the ways to a kernel, in their order ---- */

/* The kernel that a row of wisdom names, or why it cannot be had. */
static const atn_kernel *kernel_of_row(const atn_wisdom_row *row, int isa_max, char *why, size_t room)
{
    if (row->object_hash[0]) {
        const atn_kernel *k;
        atn_error err;
        if (champion_load(row->object_hash, &k, &err) == ATN_OK) return k;
        snprintf(why, room, "%s", err.text);
        return NULL;
    }
    const registry_kernel *r = registry_find(row->kernel, ISA_ANY);
    if (!r) snprintf(why, room, "this library has no such kernel");
    else if (!r->usable) snprintf(why, room, "this CPU cannot run it");
    else if (row->source_hash[0] && strcmp(row->source_hash, r->source_hash) != 0)
        snprintf(why, room, "its source has changed since it was measured; run 'attune evolve' again");
    else if (isa_rank(r->isa) > isa_max) why[0] = 0; /* the host's wish: nothing to say */
    else return r->table;
    return NULL;
}

static bool from_wisdom(atn_planned *p)
{
    enum { ROWS = 4 };
    atn_wisdom_row rows[ROWS];
    atn_plan division;
    if (p->flags & ATN_PLAN_NO_WISDOM) return false;
    const int n = wisdom_lookup(p->wisdom ? p->wisdom : atn_wisdom_default(), &p->class, rows, ROWS);
    for (int i = 0; i < n; i++) {
        char why[1000] = "";
        problem_class class;
        const atn_kernel *k = kernel_of_row(&rows[i], p->isa_max, why, sizeof why);
        if (k) {
            const char *no = try_kernel(k, &p->args, p->threads, &division);
            if (!no) {
                take(p, k, &division, rows[i].kernel, ATN_FROM_WISDOM);
                return true;
            }
            /* A neighbour's kernel that does not cover this problem is nothing unusual; the class's own is. */
            if (class_parse(rows[i].problem, &class) && class_distance(&p->class, &class) == 0)
                snprintf(why, sizeof why, "%s", no);
        }
        if (why[0])
            log_once("wisdom names kernel '%s' for '%s', but %s; choosing by rule", rows[i].kernel, rows[i].problem,
                     why);
    }
    return false;
}

static bool from_rule(atn_planned *p)
{
    enum { KERNELS = 64 };
    const registry_kernel *list[KERNELS];
    atn_plan division;
    const int n = registry_by_rule(&p->args, p->threads, p->isa_max, list, KERNELS);
    for (int i = 0; i < n; i++) {
        if (try_kernel(list[i]->table, &p->args, p->threads, &division)) continue;
        take(p, list[i]->table, &division, list[i]->name, ATN_FROM_RULE);
        return true;
    }
    return false;
}

static atn_status from_reference(atn_planned *p, atn_error *err)
{
    const registry_kernel *r = registry_reference();
    atn_plan division;
    const char *no = try_kernel(r->table, &p->args, p->threads, &division);
    if (no)
        return atn_fail(err, ATN_UNSUPPORTED, "no kernel covers '%s': of the plain reference, %s", p->class.words, no);
    take(p, r->table, &division, r->name, ATN_FROM_REFERENCE);
    return ATN_OK;
}

/* NULL: taken. Else why not. */
static const char *take_table(atn_planned *p)
{
    atn_plan division;
    const atn_kernel *k = portfolio_choose(p->table, &p->args);
    const char *no = try_kernel(k, &p->args, p->threads, &division);
    if (no && k != p->table) no = try_kernel(k = p->table, &p->args, p->threads, &division);
    if (!no) take(p, k, &division, k->name, ATN_FROM_HOST);
    return no;
}

static bool is_judged(const atn_planned *p, const atn_args *a)
{
    char kind[KIND_ROOM];
    if (!p->judged || p->flags & ATN_PLAN_ANY_KIND) return true;
    kind_of(a, kind);
    return kind_listed(p->judged, kind);
}

/* Fills the choice of p for p->args. */
static atn_status choose(atn_planned *p, atn_error *err)
{
    atn_plan division;
    registry_at(0); /* asks for AMX tiles, which a loaded kernel may need as much as a linked one */
    class_of(&p->args, p->threads, &p->class);
    if (p->flags & ATN_PLAN_REFERENCE) return from_reference(p, err);
    const bool judged = is_judged(p, &p->args);
    p->passed_over = NULL;
    if (p->table && judged) {
        if (!(p->passed_over = take_table(p))) return ATN_OK;
        log_once("kernel '%s' was given for '%s', but %s; falling back to attune's own", p->table->name, p->class.words,
                 p->passed_over);
    } else if (p->table) p->passed_over = "it was not judged on such problems";
    if (p->forced) {
        const char *no = try_kernel(p->forced->table, &p->args, p->threads, &division);
        if (no)
            return atn_fail(err, ATN_UNSUPPORTED, "kernel '%s' cannot run '%s': %s", p->forced->name, p->class.words,
                            no);
        take(p, p->forced->table, &division, p->forced->name, ATN_FROM_HOST);
        return ATN_OK;
    }
    if (from_wisdom(p) || from_rule(p)) {
        if (p->table && !judged) {
            char kind[KIND_ROOM];
            kind_of(&p->args, kind);
            log_once("kernel '%s' was judged on %s; for %s attune's own runs (evolve with such cases to have one)",
                     p->table->name, p->judged, kind);
        }
        return ATN_OK;
    }
    if (p->table && !judged && !(p->passed_over = take_table(p))) return ATN_OK;
    atn_status st = from_reference(p, err);
    if (st == ATN_OK) log_once("no fast kernel covers '%s': the plain reference runs it, much slower", p->class.words);
    return st;
}

/* ---- life ---- */

static atn_status read_options(const atn_plan_options *given, atn_planned *p, atn_error *err)
{
    atn_plan_options o = {0};
    if (given) {
        if (given->size != 0 && given->size != sizeof o)
            return atn_fail(err, ATN_USAGE,
                            "plan options of size %u: this library knows %zu, and 0 for that", given->size,
                            sizeof o);
        o = *given;
    }
    if (o.threads == 0) o.threads = o.pool ? pool_threads(o.pool) : 1;
    if (o.threads < 1 || o.threads > THREADS_MAX)
        return atn_fail(err, ATN_USAGE, "a plan for %d threads: it must be 1 to %d", o.threads, THREADS_MAX);
    if (o.flags & ~(uint32_t)(ATN_PLAN_HOST_WORKSPACE | ATN_PLAN_NO_WISDOM | ATN_PLAN_REFERENCE | ATN_PLAN_ANY_KIND))
        return atn_fail(err, ATN_USAGE, "plan flags 0x%x hold some that this library does not know", o.flags);
    p->threads = o.threads;
    p->flags = o.flags;
    p->table = o.table;
    p->judged = o.table ? kernel_judged(o.table) : NULL;
    p->wisdom = o.wisdom;
    p->isa_max = ISA_ANY;
    if (o.isa && (p->isa_max = isa_rank(o.isa)) < 0)
        return atn_fail(err, ATN_USAGE,
                        "unknown instruction set '%s': it may be generic, neon, neonbf16, avx2, avx512, avx512bf16 or amx",
                        o.isa);
    if (o.kernel) {
        p->forced = registry_find(o.kernel, p->isa_max);
        if (!p->forced)
            return atn_fail(err, ATN_UNSUPPORTED, "no kernel '%s' in this library; atn_kernel_at lists them", o.kernel);
        if (!p->forced->usable)
            return atn_fail(err, ATN_UNSUPPORTED, "this CPU cannot run kernel '%s'", p->forced->name);
        if (!strchr(o.kernel, '@') && isa_rank(p->forced->isa) > p->isa_max)
            return atn_fail(err, ATN_UNSUPPORTED, "kernel '%s' has no form within '%s'; its least is '%s'", o.kernel, o.isa,
                            p->forced->isa);
    }
    const atn_kernel *t = o.table;
    if (t && (t->abi != ATN_KERNEL_ABI || !t->name || !t->can_run || !t->plan || !t->run))
        return atn_fail(err, ATN_USAGE, "the kernel table given is not one of ABI %d", ATN_KERNEL_ABI);
    p->parallel_for = o.parallel_for ? o.parallel_for : o.pool ? pool_run : run_serially;
    p->host = o.parallel_for ? o.host : o.pool;
    return ATN_OK;
}

static atn_status grow_own(const atn_planned *p, void **own, int64_t *bytes, atn_error *err)
{
    *own = NULL;
    if (p->flags & ATN_PLAN_HOST_WORKSPACE || p->workspace_bytes <= p->own_bytes) return ATN_OK;
    *bytes = p->workspace_bytes;
    if (posix_memalign(own, ALIGN, (size_t)*bytes) == 0) return ATN_OK;
    *own = NULL;
    return atn_fail(err, ATN_MEMORY, "no memory for a workspace of %lld bytes", (long long)*bytes);
}

atn_status atn_plan_create(const atn_args *args, const atn_plan_options *options, atn_planned **out, atn_error *err)
{
    if (!out) return atn_fail(err, ATN_USAGE, "no place for the plan was given");
    atn_planned draft = {0};
    atn_status st = args_resolve(args, &draft.args, err);
    if (st == ATN_OK) st = read_options(options, &draft, err);
    if (st == ATN_OK) st = choose(&draft, err);
    if (st == ATN_OK) st = grow_own(&draft, &draft.own, &draft.own_bytes, err);
    if (st) return st;
    atn_planned *p = malloc(sizeof *p);
    if (!p) {
        free(draft.own);
        return atn_fail(err, ATN_MEMORY, "no memory for a plan");
    }
    *p = draft;
    p->own_busy = &p->busy_word;
    *out = p;
    return ATN_OK;
}

atn_status atn_plan_update(atn_planned *p, const atn_args *args, atn_error *err)
{
    if (!p) return atn_fail(err, ATN_USAGE, "plan is NULL");
    atn_planned draft = *p;
    atn_status st = args_resolve(args, &draft.args, err);
    if (st) return st;
    problem_class class;
    atn_plan division;
    class_of(&draft.args, p->threads, &class);
    const bool decodes = kind_is_decode(p->args.Sq, p->args.Skv), will = kind_is_decode(draft.args.Sq, draft.args.Skv);
    const bool same = class_distance(&class, &p->class) == 0 &&
                      (will == decodes || is_judged(p, &draft.args) == is_judged(p, &p->args));
    if (same && !try_kernel(p->kernel, &draft.args, p->threads, &division))
        take(&draft, p->kernel, &division, draft.kernel_name, p->origin);
    else if ((st = choose(&draft, err)) != ATN_OK) return st;
    void *own;
    st = grow_own(&draft, &own, &draft.own_bytes, err);
    if (st) return st;
    if (own) {
        free(p->own);
        draft.own = own;
    }
    *p = draft;
    return ATN_OK;
}

void atn_plan_free(atn_planned *p)
{
    if (!p) return;
    free(p->own);
    free(p);
}

/* ---- what was chosen ---- */

int64_t atn_plan_workspace(const atn_planned *p)
{
    return p ? p->workspace_bytes : 0;
}

atn_status atn_plan_info_get(const atn_planned *p, atn_plan_info *info, atn_error *err)
{
    static const char *const who[] = {"the host", "wisdom", "rule", "fallback"};
    if (!p || !info) return atn_fail(err, ATN_USAGE, "plan or info is NULL");
    if (info->size != sizeof *info)
        return atn_fail(err, ATN_USAGE, "plan info of size %u: this library knows %zu; set info.size first", info->size,
                        sizeof *info);
    atn_plan_info i = {
        .size = sizeof i,
        .origin = p->origin,
        .threads = p->threads,
        .phases = p->division.phases,
        .workspace_bytes = p->workspace_bytes,
        .shared_bytes = p->shared_bytes,
        .scratch_bytes = p->scratch_bytes,
        .passed_over = p->passed_over,
    };
    kind_of(&p->args, i.kind);
    int64_t tasks = 0;
    for (int k = 0; k < i.phases; k++) tasks += i.tasks[k] = p->division.tasks[k];
    snprintf(i.kernel, sizeof i.kernel, "%s", p->kernel_name);
    class_print(&p->class, i.problem, sizeof i.problem);
    const registry_kernel *r = p->origin == ATN_FROM_HOST ? p->forced : registry_find(p->kernel_name, ISA_ANY);
    char hash[24] = "";
    if (r && r->table == p->kernel) snprintf(hash, sizeof hash, " (source %.8s)", r->source_hash);
    snprintf(i.text, sizeof i.text,
             "%s%s for '%s', chosen by %s: %lld task%s in %d phase%s, %d thread%s, workspace %.1f KiB", i.kernel, hash,
             i.problem, who[p->origin], (long long)tasks, tasks == 1 ? "" : "s", i.phases, i.phases == 1 ? "" : "s",
             i.threads, i.threads == 1 ? "" : "s", (double)i.workspace_bytes / 1024);
    const size_t used = strlen(i.text);
    if (i.passed_over)
        snprintf(i.text + used, sizeof i.text - used, "; not the host's '%s': %s", p->table->name, i.passed_over);
    *info = i;
    return ATN_OK;
}
