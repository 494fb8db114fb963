/* Faults under the run database: every allocation of SQLite, and every write, sync and truncation of its files, fails
 * once. Whatever happens, what the store has said to be kept is there when the run is opened again, and a damaged file
 * gives words, never a crash.
 *
 *     store_faults [allocations | files | damage] */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/status.h"
#include "store/store.h"

static const store_pair here[] = {{"machine", "cpu A"}, {"threads", "1"}};
static char folder[64];

/* ---- a countdown to the one fault -------------------------------------------------------------------------------- */

static long long until = -1; /* < 0: never */
static bool fired;

static bool fault(void)
{
    if (until < 0 || until-- != 0) return false;
    fired = true;
    return true;
}

static void arm(long long n)
{
    until = n;
    fired = false;
}

/* ---- allocations ------------------------------------------------------------------------------------------------- */

static sqlite3_mem_methods real_memory;

static void *failing_malloc(int n)
{
    return fault() ? NULL : real_memory.xMalloc(n);
}

static void *failing_realloc(void *p, int n)
{
    return fault() ? NULL : real_memory.xRealloc(p, n);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static sqlite3_vfs vfs;

/* Databases and journals have methods of their own kind (only databases can share memory): one failing set for each. */
static struct {
    const sqlite3_io_methods *real;
    sqlite3_io_methods failing;
} kinds[8];

static const sqlite3_io_methods *real_of(const sqlite3_file *f)
{
    for (int i = 0; i < ATN_COUNT(kinds); i++)
        if (f->pMethods == &kinds[i].failing) return kinds[i].real;
    abort();
}

static int failing_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    return fault() ? SQLITE_IOERR_WRITE : real_of(f)->xWrite(f, data, n, at);
}

static int failing_sync(sqlite3_file *f, int flags)
{
    return fault() ? SQLITE_IOERR_FSYNC : real_of(f)->xSync(f, flags);
}

static int failing_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return fault() ? SQLITE_IOERR_TRUNCATE : real_of(f)->xTruncate(f, n);
}

/* The default file system opens it; three of the file's methods are replaced. */
static int failing_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    sqlite3_vfs *real = v->pAppData;
    f->pMethods = NULL;
    int rc = fault() ? SQLITE_CANTOPEN : real->xOpen(real, name, f, flags, out), i = 0;
    if (rc != SQLITE_OK || !f->pMethods) return rc;
    while (kinds[i].real && kinds[i].real != f->pMethods) i++;
    ATN_CHECK(i + 1 < ATN_COUNT(kinds));
    if (!kinds[i].real) {
        kinds[i].real = f->pMethods;
        kinds[i].failing = *f->pMethods;
        kinds[i].failing.xWrite = failing_write;
        kinds[i].failing.xSync = failing_sync;
        kinds[i].failing.xTruncate = failing_truncate;
    }
    f->pMethods = &kinds[i].failing;
    return rc;
}

static void install(const char *what)
{
    if (!strcmp(what, "allocations")) {
        ATN_CHECK(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory) == SQLITE_OK);
        sqlite3_mem_methods m = real_memory;
        m.xMalloc = failing_malloc;
        m.xRealloc = failing_realloc;
        ATN_CHECK(sqlite3_config(SQLITE_CONFIG_MALLOC, &m) == SQLITE_OK);
    } else if (!strcmp(what, "files")) {
        sqlite3_vfs *real = sqlite3_vfs_find(NULL);
        vfs = *real;
        vfs.zName = "failing";
        vfs.pAppData = real;
        vfs.pNext = NULL;
        vfs.xOpen = failing_open;
        ATN_CHECK(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
    }
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

typedef struct {
    int proposals, events; /* that the store said are kept */
    bool meta;
} kept;

static atn_status work(store_mode mode, kept *k, atn_error *err)
{
    atn_store *s = NULL;
    atn_status st = store_open(folder, mode, here, 2, &s, err);
    if (st) return st;
    st = store_meta_set(s, "seed", "7", err);
    k->meta = !st;
    for (int i = 0; i < 4 && !st; i++) {
        char *source = atn_format("int v%d;\n%03000d", i, i);
        store_proposal p = {.proposer = "knobs", .origin = "x", .note = "", .source = source, .flags = ""};
        st = store_proposal_add(s, &p, err);
        k->proposals += !st;
        free(source);
    }
    if (!st) st = store_begin(s, err);
    if (!st) {
        for (int i = 0; i < 3 && !st; i++) st = store_event_add(s, i, "{\"a\":1}", err);
        if (!st) st = store_commit(s, err);
        if (st) store_rollback(s);
        k->events = st ? 0 : 3;
    }
    store_close(s);
    return st;
}

/* What was said to be kept is there, and nothing that is half. */
static void inspect(const kept *k, long long n)
{
    atn_store *s;
    atn_error err = {0};
    store_proposal *open = NULL;
    store_event *events = NULL;
    int proposals = 0, n_events = 0;
    atn_status st = store_open(folder, STORE_RESUME, here, 2, &s, &err);
    if (st) {
        if (!k->meta && !k->proposals) return; /* it never came to life */
        printf("FAIL fault %lld: cannot be opened again: %s\n", n, err.text);
        exit(1);
    }
    char *seed = store_meta_get(s, "seed");
    bool ok = !store_proposals_open(s, &open, &proposals, &err) && !store_events(s, 0, 100, &events, &n_events, &err);
    ok = ok && proposals >= k->proposals && proposals <= k->proposals + 1 && (!k->meta || (seed && !strcmp(seed, "7")));
    ok = ok && (n_events == 0 || n_events == 3) && n_events >= k->events;
    for (int i = 0; i < proposals && ok; i++) {
        char *source = store_blob_get(s, open[i].sha);
        ok = source && strlen(source) > 3000;
        free(source);
    }
    if (!ok) {
        printf("FAIL fault %lld: %d proposals and %d events were kept, %d and %d are there: %s\n", n, k->proposals, k->events,
               proposals, n_events, err.text);
        exit(1);
    }
    free(seed);
    store_proposals_free(open, proposals);
    store_events_free(events, n_events);
    store_close(s);
}

static void fresh(void)
{
    ATN_CHECK(file_remove_tree(folder, NULL) == ATN_OK && file_mkdirs(folder, NULL) == ATN_OK);
}

static int fail_everywhere(const char *what)
{
    int faults = 0, refusals = 0;
    for (long long n = 0; n < 20000; n += n < 200 ? 1 : 17) {
        kept k = {0};
        atn_error err = {0};
        fresh();
        arm(n);
        atn_status st = work(STORE_CREATE, &k, &err);
        bool hit = fired;
        arm(-1);
        if (st && (!err.text[0] || !hit)) {
            printf("FAIL %s: fault %lld: status %d, '%s'\n", what, n, st, err.text);
            return 1;
        }
        inspect(&k, n);
        if (!hit) break;
        faults++;
        refusals += st != ATN_OK;
    }
    printf("%s: %d faults, %d of them told in words, nothing lost\n", what, faults, refusals);
    return faults < 10; /* then the faults did not reach SQLite at all */
}

/* Bytes changed and tails cut anywhere in the file: reading says so or reads, and comes back. */
static int damage(void)
{
    char *path = file_join(folder, "run.db"), *whole;
    size_t n;
    kept k = {0};
    atn_error err = {0};
    int refused = 0, rounds = 400;
    fresh();
    ATN_CHECK(work(STORE_CREATE, &k, &err) == ATN_OK && file_read(path, 64 << 20, &whole, &n, &err) == ATN_OK);
    for (int i = 0; i < rounds; i++) {
        atn_rng r = rng_make(1, 2, (uint64_t)i);
        char *bad = atn_alloc(n);
        size_t size = i % 3 ? n : rng_below(&r, n);
        memcpy(bad, whole, n);
        for (int m = 0; m < 1 + i % 40; m++) bad[rng_below(&r, i % 2 ? n : 4096)] = (char)rng_below(&r, 256);
        fresh();
        ATN_CHECK(file_write(path, bad, size, NULL) == ATN_OK);
        for (int mode = STORE_RESUME; mode <= STORE_READ; mode++) {
            atn_store *s;
            store_program *programs;
            store_proposal *open;
            store_event *events;
            int count;
            err = (atn_error){0};
            if (store_open(folder, (store_mode)mode, here, 2, &s, &err)) {
                ATN_CHECK(err.text[0]);
                refused++;
                continue;
            }
            if (!store_programs(s, 0, true, &programs, &count, &err)) store_programs_free(programs, count);
            if (!store_proposals_open(s, &open, &count, &err)) store_proposals_free(open, count);
            if (!store_events(s, 0, 100, &events, &count, &err)) store_events_free(events, count);
            store_close(s);
        }
        free(bad);
    }
    printf("damage: %d files, %d of %d openings refused\n", rounds, refused, 2 * rounds);
    free(whole);
    free(path);
    return refused == 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "damage";
    install(what);
    snprintf(folder, sizeof folder, "%s/attune-faults-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(folder)) return 2;
    int bad = !strcmp(what, "damage") ? damage() : fail_everywhere(what);
    file_remove_tree(folder, NULL);
    if (bad) printf("rerun: store_faults %s\n", what);
    return bad;
}
