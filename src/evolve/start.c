/* How a run begins: starting programs, the identity under which scores may be mixed, and resume from the store. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "evolve/champions.h"
#include "evolve/engine.h"
#include "evolve/record.h"
#include "judge/gate.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int kernels_in(const char *folder, char **paths, int n)
{
    DIR *d = opendir(folder);
    if (!d) return n;
    int first = n;
    for (struct dirent *f; (f = readdir(d)) && n < EVOLVE_SHIPPED_MAX;) {
        size_t len = strlen(f->d_name);
        if (len < 3 || strcmp(f->d_name + len - 2, ".c") || f->d_name[0] == '.') continue;
        char *path = file_join(folder, f->d_name), *text = NULL;
        /* A kernel is a file that defines the table; helpers beside it are not starting points. */
        bool kernel = file_read(path, 1 << 20, &text, NULL, NULL) == ATN_OK && strstr(text, "atn_kernel attune_kernel");
        free(text);
        if (kernel) paths[n++] = path;
        else free(path);
    }
    closedir(d);
    qsort(paths + first, (size_t)(n - first), sizeof *paths, by_name);
    return n;
}

/* Champions first: *champions of them. */
static int shipped(char *paths[EVOLVE_SHIPPED_MAX], int *champions)
{
    static const char *const folders[] = {"champions", "src/kernel", "kernels"};
    int n = 0;
    for (int i = 0; i < ATN_COUNT(folders); i++) {
        char *folder = file_join(file_home(), folders[i]);
        n = kernels_in(folder, paths, n);
        if (i == 0) *champions = n;
        free(folder);
    }
    return n;
}

int evolve_shipped(char *paths[EVOLVE_SHIPPED_MAX])
{
    int champions;
    return shipped(paths, &champions);
}

/* The families, and of the champions those of the nearest machine. The better family first: behind it a slower one is out
 * after few pairs, before it it would be promoted and confirmed. */
static int shipped_for(atn_engine *e, char *paths[EVOLVE_SHIPPED_MAX])
{
    int champions, n = shipped(paths, &champions), all = champions, left = 0, place[EVOLVE_SHIPPED_MAX];
    for (int i = 0; i < n; i++) {
        char *path = paths[i];
        const int at = e->o->serves ? e->o->serves(path, e->o->suite) : 1;
        if (!at) { /* decode: compiled for a refusal, before the first candidate */
            free(path), champions -= i < all;
            continue;
        }
        int k = left++;
        for (; k > champions && i >= all && place[k - 1] > at; k--) paths[k] = paths[k - 1], place[k] = place[k - 1];
        paths[k] = path, place[k] = at;
    }
    int kept = champions_nearest(engine_machine(e), paths, champions, &e->starts_from);
    for (int i = champions; i < left; i++) paths[kept++] = paths[i];
    return kept;
}

/* A champion is started as it was judged: with the extra compiler flags that its heading names. */
static store_proposal start_proposal(const char *origin, const char *note, char *source, int island)
{
    char *flags = gate_heading_flags(source);
    return (store_proposal){.proposer = atn_strdup("start"),
                            .origin = atn_strdup(origin),
                            .note = atn_strdup(note),
                            .source = source,
                            .flags = flags ? flags : atn_strdup(""),
                            .island = island};
}

static void add_start(atn_engine *e, store_proposal m)
{
    e->start = atn_realloc(e->start, (size_t)(e->n_start + 1) * sizeof *e->start);
    e->start[e->n_start++] = m;
}

/* The initial program and the kernels that come with attune, recorded in one transaction. */
static atn_status start_programs(atn_engine *e, atn_error *err)
{
    const evolve_options *o = e->o;
    char *found[EVOLVE_SHIPPED_MAX];
    int n = 0;
    add_start(e, start_proposal("initial", o->initial_path ? o->initial_path : "", atn_strdup(o->initial_source), 0));
    if (o->shipped)
        for (; n < o->n_shipped && n < EVOLVE_SHIPPED_MAX; n++) found[n] = atn_strdup(o->shipped[n]);
    else if (o->n_shipped >= 0) n = shipped_for(e, found);
    atn_status st = ATN_OK;
    for (int i = 0; i < n; i++) {
        char *text = NULL;
        atn_error why = {0};
        if (file_read(found[i], 1 << 20, &text, NULL, &why)) {
            engine_warn(e, "%s", why.text);
        } else if (!strcmp(text, o->initial_source)) {
            free(text);
        } else {
            const char *slash = strrchr(found[i], '/'), *name = slash ? slash + 1 : found[i];
            char origin[64];
            bool champion = strstr(found[i], "/champions/") != NULL;
            snprintf(origin, sizeof origin, "%s:%s", champion ? "champion" : "shipped", name);
            add_start(e, start_proposal(origin, name, text, e->n_start % e->archive.islands));
        }
        free(found[i]);
    }
    e->starts = e->n_start;
    st = store_begin(e->store, err);
    for (int i = 0; i < e->n_start && !st; i++) st = store_proposal_add(e->store, &e->start[i], err);
    if (!st) st = store_commit(e->store, err);
    if (st) store_rollback(e->store);
    e->proposals = e->n_start;
    return st;
}

/* A stored program takes effect again, exactly as when it was judged. */
static atn_status restore_program(atn_engine *e, const store_program *row, atn_error *err)
{
    atn_verdict race, confirm, v;
    atn_status st = verdict_from_json(row->verdict, &race, err);
    if (!st && row->confirm) st = verdict_from_json(row->confirm, &confirm, err);
    if (st) return st;
    engine_effective(&race, row->confirm ? &confirm : NULL, row->promoted, &v);
    engine_program *p = engine_program_make(&row->made);
    evolve_score score;
    archive_log log = {0};
    p->promoted = row->promoted;
    p->same_as = row->same_as;
    p->t = row->t;
    memcpy(p->object_hash, row->object_hash, sizeof p->object_hash);
    p->verdict = atn_alloc(sizeof v);
    *p->verdict = v;
    bool reigned = e->incumbent == row->incumbent;
    for (int i = 0; i < e->n_reigns && !reigned; i++) reigned = e->window > 0 && e->reign[i].id == row->incumbent;
    p->against = row->incumbent;
    e->starts += p->start;
    engine_apply(e, p, &v, &score, &log);
    engine_learn(e, p);
    engine_trim(e, &log, p);
    archive_log_free(&log);
    if (p->seq != row->seq || (!p->same_as && !reigned))
        return atn_fail(err, ATN_FORMAT,
                        "'%s' is damaged: program #%" PRId64 " does not follow from those before it; choose "
                        "another -o",
                        store_path(e->store), p->id);
    return ATN_OK;
}

const atn_machine *engine_machine(const atn_engine *e)
{
    return e->judge->machine ? e->judge->machine : machine_get();
}

/* So is the window: which incumbent a candidate meets depends on it. */
static atn_status window_setting(atn_engine *e, bool resume, atn_error *err)
{
    char *had = resume ? store_meta_get(e->store, "window") : NULL, text[16];
    e->window = had ? atoi(had) : resume ? 0 : e->judge->window;
    free(had);
    if ((e->window > 0) != (e->judge->width > 0))
        return atn_fail(err, ATN_MISMATCH, "the run in '%s' was begun with %s; go on with the same --executor, or "
                        "choose another -o", e->o->folder, e->window > 0 ? "other machines" : "--executor local");
    e->n_slots = e->window > 0 ? e->window + EVOLVE_SHIPPED_MAX : ENGINE_SLOTS;
    e->slot = atn_alloc((size_t)e->n_slots * sizeof *e->slot);
    snprintf(text, sizeof text, "%d", e->window);
    return e->window > 0 ? store_meta_set(e->store, "window", text, err) : ATN_OK;
}

/* Islands and limits of the archive are part of what a run is: they come from the store, not from
 * this call's options. */
static atn_status archive_settings(atn_engine *e, bool resume, atn_error *err)
{
    int islands = e->o->islands, every = e->o->migrate_every, cells = e->o->cells_max;
    char *had = store_meta_get(e->store, "archive");
    if (resume && had) sscanf(had, "%d %d %d", &islands, &every, &cells);
    free(had);
    archive_init(&e->archive, islands, every, cells);
    char text[64];
    snprintf(text, sizeof text, "%d %d %d", e->archive.islands, e->archive.migrate_every, e->archive.cells_max);
    return store_meta_set(e->store, "archive", text, err);
}

/* Proposers go on as if the run had never stopped: what they proposed and nobody has judged is not proposed again. */
static void tell_pending(atn_engine *e)
{
    for (int i = 0; i < e->n_start; i++)
        for (int k = 0; k < e->o->n_proposers; k++) {
            atn_proposer *q = e->o->proposers[k];
            if (q->pending && !strcmp(q->name, e->start[i].proposer)) q->pending(q, e->start[i].source, e->start[i].flags);
        }
}

static atn_status restore(atn_engine *e, atn_error *err)
{
    store_program *list;
    int n;
    store_progress progress;
    atn_status st = store_progress_get(e->store, &progress, err);
    if (!st) st = store_programs(e->store, 0, false, &list, &n, err);
    if (st) return st;
    e->t_base = progress.t_last;
    e->proposals = progress.proposals;
    store_measurement *demotions = NULL;
    int n_demotions = 0, demoted = 0;
    st = store_measurements(e->store, "demotion", &demotions, &n_demotions, err);
    for (int i = 0; i < n && !st; i++) {
        st = restore_program(e, &list[i], err);
        if (!st) st = engine_demote_again(e, demotions, n_demotions, &demoted, err);
    }
    store_measurements_free(demotions, n_demotions);
    store_programs_free(list, n);
    if (!st) st = store_proposals_open(e->store, &e->start, &e->n_start, err);
    if (!st) tell_pending(e);
    for (int i = 0; i < e->n_start; i++) e->starts += !strcmp(e->start[i].proposer, "start");
    if (!st && progress.proposals == 0) st = start_programs(e, err);
    if (st || !e->incumbent) return st;
    if (!engine_build(e, engine_find(e, e->incumbent), &e->incumbent_built, err)) return ATN_PROCESS;
    e->has_incumbent_built = true;
    if (e->incumbent == e->initial) e->initial_built = e->incumbent_built, e->has_initial_built = true;
    store_measurement *m;
    int k;
    if (!store_measurements(e->store, "control", &m, &k, NULL)) {
        if (k) e->has_controls_start = controls_from_json(m[0].json, &e->controls_start);
        store_measurements_free(m, k);
    }
    return ATN_OK;
}

/* What makes two runs' scores comparable, as words: store_open compares them one by one. */
static char *suite_text(const atn_suite *s)
{
    atn_text t = {0};
    for (int i = 0; i < s->count; i++) {
        char line[200];
        problem_print(&s->cases[i].problem, line, sizeof line);
        text_addf(&t, "%s%s", i ? "; " : "", line);
    }
    return text_take(&t);
}

/* Candidates are compiled with these: other headers, other programs. */
static void headers_hash(char out[33])
{
    static const char *const names[] = {"include/attune/kernel.h", "include/attune/vec.h"};
    atn_text all = {0};
    for (int i = 0; i < ATN_COUNT(names); i++) {
        char *path = file_join(file_home(), names[i]), *text = NULL;
        if (file_read(path, 1 << 20, &text, NULL, NULL) == ATN_OK) text_add(&all, text);
        free(text);
        free(path);
    }
    hash_hex(all.s ? all.s : "", all.n, out);
    text_free(&all);
}

static atn_status open_store(atn_engine *e, atn_error *err)
{
    const evolve_options *o = e->o;
    char *suite = suite_text(o->suite), threads[16], tolerance[32], initial[33], headers[33];
    headers_hash(headers);
    snprintf(threads, sizeof threads, "%d", o->threads);
    snprintf(tolerance, sizeof tolerance, "%g", o->tolerance);
    hash_hex(o->initial_source, strlen(o->initial_source), initial);
    const store_pair id[] = {{"machine", engine_machine(e)->signature},
                             {"threads", threads},
                             {"tolerance", tolerance},
                             {"compiler", e->judge->compiler},
                             {"judge", e->judge->version},
                             {"kernel headers", headers},
                             {"initial program", initial},
                             {"suite", suite}};
    atn_status st = store_open(o->folder, o->resume ? STORE_RESUME : STORE_CREATE, id, ATN_COUNT(id), &e->store, err);
    if (!st && !o->resume) {
        char seed[32], now[40];
        snprintf(seed, sizeof seed, "%" PRIu64, o->seed);
        time_t t = time(NULL);
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &tm);
        const store_pair meta[] = {{"seed", seed},
                                   {"config", o->config_json ? o->config_json : "{}"},
                                   {"version", ATTUNE_VERSION},
                                   {"started", now},
                                   {"suite", o->suite_name},
                                   {"initial", o->initial_path ? o->initial_path : ""},
                                   {"cpu", engine_machine(e)->cpu},
                                   {"isa", engine_machine(e)->isa}};
        for (int i = 0; i < ATN_COUNT(meta) && !st; i++) st = store_meta_set(e->store, meta[i].key, meta[i].value, err);
    }
    free(suite);
    return st;
}

atn_status engine_open(atn_engine *e, atn_error *err)
{
    atn_status st = open_store(e, err);
    if (!st) st = archive_settings(e, e->o->resume, err);
    if (!st) st = window_setting(e, e->o->resume, err);
    if (!st) engine_attach(e);
    if (!st) st = e->o->resume ? restore(e, err) : start_programs(e, err);
    return st;
}
