/* The run database on SQLite: WAL, synchronous=NORMAL, STRICT tables.
 *
 * NORMAL loses the last commits only when the machine loses power; a killed process loses nothing that was committed.
 * WAL needs shared memory, so on network file systems the rollback journal is used instead. Every statement is prepared
 * once and kept; every failure of SQLite becomes an atn_error that names the file, and a full disk is remembered. */
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"

enum { APPLICATION_ID = 0x61746e65 /* "atne" */, SCHEMA_VERSION = 2, SCHEMA_OLDEST = 1 };

static const char schema_sql[] =
#include "schema.inc"
    ;

#define STATEMENT_LIST(X)                                                                                              \
    X(META_SET, "INSERT INTO meta(key,value) VALUES(?1,?2) ON CONFLICT(key) DO UPDATE SET value=?2")                   \
    X(META_GET, "SELECT value FROM meta WHERE key=?1")                                                                 \
    X(BLOB_ADD, "INSERT OR IGNORE INTO blob(sha,text) VALUES(?1,?2)")                                                  \
    X(BLOB_GET, "SELECT text FROM blob WHERE sha=?1")                                                                  \
    X(PROPOSAL_ADD, "INSERT INTO proposal VALUES(NULL,?1,?2,?3,?4,?5,?6,?7,?8,?9)")                                    \
    X(PROPOSALS_OPEN, "SELECT p.*, b.text FROM proposal p JOIN blob b ON b.sha=p.sha "                                 \
                      "WHERE NOT EXISTS (SELECT 1 FROM program g WHERE g.id=p.id) ORDER BY p.id")                      \
    X(PROGRAM_ADD, "INSERT INTO program VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,"    \
                   "?20,?21,?22,?23,?24,?25,?26,?27,?28)")                                                             \
    X(CASE_ADD, "INSERT INTO case_result VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)")                                  \
    X(PROGRAMS, "SELECT p.*, g.* FROM program g JOIN proposal p ON p.id=g.id WHERE g.seq>?1 ORDER BY g.seq")           \
    X(PROGRAM_GET, "SELECT p.*, g.*, b.text FROM program g JOIN proposal p ON p.id=g.id JOIN blob b ON b.sha=p.sha "   \
                   "WHERE g.id=?1")                                                                                    \
    X(CASES, "SELECT * FROM case_result WHERE program=?1 ORDER BY case_index")                                         \
    X(RACE_ADD, "INSERT INTO race VALUES(NULL,?1,?2,?3,?4,?5,?6,?7)")                                                  \
    X(RACES, "SELECT * FROM race WHERE program=?1 AND (?2 IS NULL OR kind=?2) ORDER BY case_index,id")                 \
    X(EVIDENCE_ADD, "INSERT INTO evidence VALUES(?1,?2)")                                                              \
    X(EVIDENCE_GET, "SELECT json FROM evidence WHERE program=?1")                                                      \
    X(CELL_ADD, "INSERT INTO cell VALUES(NULL,?1,?2,?3,?4)")                                                           \
    X(CELLS, "SELECT island,key,program FROM grid ORDER BY island,key")                                                \
    X(MIGRATION_ADD, "INSERT INTO migration VALUES(NULL,?1,?2,?3,?4)")                                                 \
    X(MEASUREMENT_ADD, "INSERT INTO measurement VALUES(NULL,?1,?2,?3,?4,?5)")                                          \
    X(MEASUREMENTS, "SELECT * FROM measurement WHERE ?1 IS NULL OR kind=?1 ORDER BY id")                               \
    X(EVENT_ADD, "INSERT INTO event VALUES(NULL,?1,?2)")                                                               \
    X(EVENTS, "SELECT * FROM event WHERE seq>?1 ORDER BY seq LIMIT ?2")                                                \
    X(PROGRESS, "SELECT (SELECT count(*) FROM program),(SELECT count(*) FROM proposal),"                               \
                "(SELECT ifnull(max(seq),0) FROM program),"                                                            \
                "max(ifnull((SELECT max(t) FROM program),0),ifnull((SELECT max(t) FROM event),0)),"                    \
                "ifnull((SELECT against FROM measurement WHERE kind='demotion' AND json_extract(json,'$.after')>="       \
                "(SELECT max(seq) FROM program WHERE promoted) ORDER BY id DESC LIMIT 1),"                             \
                "(SELECT id FROM program WHERE promoted ORDER BY seq DESC LIMIT 1))")

enum {
#define ATN_X(name, sql) Q_##name,
    STATEMENT_LIST(ATN_X)
#undef ATN_X
    Q_COUNT
};
static const char *const statement_sql[Q_COUNT] = {
#define ATN_X(name, sql) sql,
    STATEMENT_LIST(ATN_X)
#undef ATN_X
};

struct atn_store {
    sqlite3 *db;
    sqlite3_stmt *q[Q_COUNT];
    char *path, *aside;
    int lock_fd, schema;
    bool full, in_transaction;
};

/* ---- errors ---- */

static atn_status fail(atn_store *s, atn_error *err)
{
    int code = sqlite3_errcode(s->db);
    switch (code & 0xff) {
    case SQLITE_FULL:
        s->full = true;
        return atn_fail(
            err, ATN_IO,
            "the disk is full: '%s' cannot grow; everything recorded before is safe; free some space and go on "
            "with --resume",
            s->path);
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return atn_fail(err, ATN_FORMAT,
                        "'%s' is not a run database or is damaged (%s); move it away or choose another -o", s->path,
                        sqlite3_errmsg(s->db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return atn_fail(err, ATN_BUSY, "'%s' is locked by another program; end it and try again", s->path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        return atn_fail(err, ATN_IO, "cannot write '%s': %s; check its permissions or choose another -o", s->path,
                        sqlite3_errmsg(s->db));
    default: return atn_fail(err, ATN_IO, "'%s': %s", s->path, sqlite3_errmsg(s->db));
    }
}

static atn_status exec(atn_store *s, const char *sql, atn_error *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? ATN_OK : fail(s, err);
}

/* A reset, unbound statement; NULL with err filled. */
static sqlite3_stmt *statement(atn_store *s, int which, atn_error *err)
{
    if (!s->q[which] && sqlite3_prepare_v3(s->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT, &s->q[which],
                                           NULL) != SQLITE_OK) {
        fail(s, err);
        return NULL;
    }
    sqlite3_reset(s->q[which]);
    sqlite3_clear_bindings(s->q[which]);
    return s->q[which];
}

static atn_status run_once(atn_store *s, sqlite3_stmt *q, atn_error *err)
{
    int rc = sqlite3_step(q);
    atn_status st = rc == SQLITE_DONE || rc == SQLITE_ROW ? ATN_OK : fail(s, err);
    sqlite3_reset(q);
    return st;
}

static void bind_text(sqlite3_stmt *q, int i, const char *t)
{
    sqlite3_bind_text(q, i, t ? t : "", -1, SQLITE_STATIC);
}
static void bind_id(sqlite3_stmt *q, int i, int64_t id)
{
    if (id) sqlite3_bind_int64(q, i, id); /* 0 stands for none, which is NULL */
}
static void bind_real(sqlite3_stmt *q, int i, double x)
{
    if (isfinite(x)) sqlite3_bind_double(q, i, x); /* NaN and infinities are NULL */
}
static char *text_of(sqlite3_stmt *q, int i)
{
    const char *t = (const char *)sqlite3_column_text(q, i);
    return atn_strdup(t ? t : "");
}
static double real_of(sqlite3_stmt *q, int i)
{
    return sqlite3_column_type(q, i) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(q, i);
}

/* ---- opening ---- */

static int pragma_int(atn_store *s, const char *sql)
{
    sqlite3_stmt *q = NULL;
    int v = -1;
    if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        v = sqlite3_column_int(q, 0);
    sqlite3_finalize(q);
    return v;
}

static bool on_network(const char *folder)
{
#ifdef __linux__
    struct statfs f;
    if (statfs(folder, &f)) return false;
    switch ((unsigned)f.f_type) {
    case 0x6969u /* nfs */:
    case 0x517bu /* smb */:
    case 0xff534d42u /* cifs */:
    case 0xfe534d42u /* smb2 */:
    case 0x01021997u /* 9p */:
    case 0x65735546u /* fuse */: return true;
    }
#else
    (void)folder;
#endif
    return false;
}

/* An empty file, or one that a killed process left before its first commit, holds no run. A file that is something else
 * is
 * refused: FORMAT. */
static atn_status holds_run(atn_store *s, bool *run, atn_error *err)
{
    *run = false;
    int tables = pragma_int(s, "SELECT count(*) FROM sqlite_master");
    if (tables < 0) return fail(s, err);
    int app = pragma_int(s, "PRAGMA application_id"), version = pragma_int(s, "PRAGMA user_version");
    if (!tables && !app && !version) return ATN_OK;
    if (app != APPLICATION_ID)
        return atn_fail(err, ATN_FORMAT, "'%s' is a database of another program; choose another -o", s->path);
    if (version > SCHEMA_VERSION)
        return atn_fail(
            err, ATN_MISMATCH,
            "'%s' was written by a newer attune (schema %d, this one knows %d); use that version or another -o",
            s->path, version, SCHEMA_VERSION);
    if (version < SCHEMA_OLDEST)
        return atn_fail(err, ATN_MISMATCH, "'%s' has schema %d, this attune needs %d; use another -o", s->path, version,
                        SCHEMA_VERSION);
    s->schema = version;
    *run = true;
    return ATN_OK;
}

static atn_status open_db(atn_store *s, int flags, atn_error *err)
{
    if (sqlite3_open_v2(s->path, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) return fail(s, err);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, 10000);
    return ATN_OK;
}

/* A new file, or what an older one lacks: identity pairs are written to a new one only (n = 0 else). */
static atn_status create_schema(atn_store *s, const store_pair *id, int n, atn_error *err)
{
    char pragmas[96];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID,
             SCHEMA_VERSION);
    s->schema = SCHEMA_VERSION;
    atn_status st = store_begin(s, err);
    if (!st) st = exec(s, schema_sql, err);
    if (!st) st = exec(s, pragmas, err);
    for (int i = 0; i < n && !st; i++) {
        char *key = atn_format("identity.%s", id[i].key);
        st = store_meta_set(s, key, id[i].value, err);
        free(key);
    }
    if (!st) st = store_commit(s, err);
    if (st) store_rollback(s);
    return st;
}

static atn_status check_identity(atn_store *s, const store_pair *id, int n, atn_error *err)
{
    for (int i = 0; i < n; i++) {
        char *key = atn_format("identity.%s", id[i].key), *had = store_meta_get(s, key);
        free(key);
        bool equal = had && !strcmp(had, id[i].value);
        if (equal) {
            free(had);
            continue;
        }
        bool machine = !strcmp(id[i].key, "machine");
        atn_fail(
            err, ATN_MISMATCH,
            "'%s' belongs to another %s: its %s is '%.300s', here it is '%.300s'; scores of the two are never mixed: "
            "%s",
            s->path, machine ? "machine" : "evaluator", id[i].key, had ? had : "(not recorded)", id[i].value,
            machine ? "choose another -o, or go on with --resume on that machine"
                    : "choose another -o, or go on with --resume and the settings of that run");
        free(had);
        return ATN_MISMATCH;
    }
    return ATN_OK;
}

/* run.db and what SQLite keeps beside it go to run-<time>.db: an earlier run is never overwritten. */
static atn_status keep_aside(atn_store *s, const char *folder, atn_error *err)
{
    exec(s, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
    sqlite3_close(s->db);
    s->db = NULL;
    char name[64], stamp[32];
    time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    for (int i = 0; i < 100; i++) {
        if (i) snprintf(name, sizeof name, "run-%s-%d.db", stamp, i);
        else snprintf(name, sizeof name, "run-%s.db", stamp);
        free(s->aside);
        s->aside = file_join(folder, name);
        if (!file_exists(s->aside)) break;
    }
    if (rename(s->path, s->aside))
        return atn_fail(err, ATN_IO, "cannot rename '%s' to '%s': %s", s->path, s->aside, strerror(errno));
    const char *suffix[] = {"-wal", "-shm"};
    for (int i = 0; i < 2; i++) {
        char *from = atn_format("%s%s", s->path, suffix[i]), *to = atn_format("%s%s", s->aside, suffix[i]);
        if (file_exists(from)) rename(from, to);
        free(from);
        free(to);
    }
    return ATN_OK;
}

static atn_status open_write(atn_store *s, const char *folder, store_mode mode, const store_pair *id, int n,
                             atn_error *err)
{
    atn_status st = file_mkdirs(folder, err);
    if (st) return st;
    if (mode == STORE_RESUME && !file_exists(s->path))
        return atn_fail(err, ATN_NOT_FOUND, "there is no run to resume in '%s'; start one without --resume", folder);
    char *lock = file_join(folder, "run.lock");
    st = file_lock(lock, 0, &s->lock_fd, err);
    if (st == ATN_BUSY)
        atn_fail(err, ATN_BUSY, "another attune is running in '%s'; wait for it, end it, or choose another -o", folder);
    free(lock);
    if (st) return st;
    bool run;
    if ((st = open_db(s, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err)) || (st = holds_run(s, &run, err))) return st;
    if (mode == STORE_RESUME && !run)
        return atn_fail(err, ATN_NOT_FOUND,
                        "the run in '%s' ended before it recorded anything; start again without --resume", folder);
    if (run && (st = check_identity(s, id, n, err))) return st;
    if (run && mode == STORE_CREATE) {
        if ((st = keep_aside(s, folder, err)) || (st = open_db(s, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err)))
            return st;
        run = false;
    }
    st = exec(s,
              on_network(folder) ? "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL"
                                 : "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
              err);
    if (!st) st = exec(s, "PRAGMA foreign_keys=ON", err);
    if (!st && !run) st = create_schema(s, id, n, err);
    else if (!st && s->schema < SCHEMA_VERSION) st = create_schema(s, NULL, 0, err);
    return st;
}

/* For a reader who may not write (another user's run, a read-only disk): WAL needs a file beside the database even to read
 * it, unless SQLite is told that nobody writes. So only where no log is left to be read. */
static atn_status open_unwritable(atn_store *s, atn_error *err)
{
    char *log = atn_format("%s-wal", s->path);
    struct stat sb;
    bool logged = !stat(log, &sb) && sb.st_size > 0;
    free(log);
    if (logged) return open_db(s, SQLITE_OPEN_READONLY, err);
    atn_text uri = {0};
    text_add(&uri, "file:");
    for (const char *p = s->path; *p; p++) text_addf(&uri, strchr("%?#", *p) ? "%%%02x" : "%c", (unsigned char)*p);
    text_add(&uri, "?immutable=1");
    int code = sqlite3_open_v2(uri.s, &s->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    text_free(&uri);
    return code == SQLITE_OK ? ATN_OK : fail(s, err);
}

static atn_status open_read(atn_store *s, const char *folder, atn_error *err)
{
    if (!file_exists(s->path))
        return atn_fail(err, ATN_NOT_FOUND, "no run in '%s' (looked for '%s'); name the folder given to `evolve -o`",
                        folder, s->path);
    atn_status st = access(s->path, W_OK) ? open_unwritable(s, err) : open_db(s, SQLITE_OPEN_READONLY, err);
    bool run = false;
    if (!st) st = holds_run(s, &run, err);
    if (!st && !run) st = atn_fail(err, ATN_NOT_FOUND, "the run in '%s' has not recorded anything yet", folder);
    return st;
}

atn_status store_open(const char *folder, store_mode mode, const store_pair *identity, int n, atn_store **out,
                      atn_error *err)
{
    atn_store *s = atn_alloc(sizeof *s);
    struct stat sb;
    *out = NULL;
    s->lock_fd = -1;
    bool is_file = mode == STORE_READ && !stat(folder, &sb) && S_ISREG(sb.st_mode);
    s->path = is_file ? atn_strdup(folder) : file_join(folder, "run.db");
    atn_status st = mode == STORE_READ ? open_read(s, folder, err) : open_write(s, folder, mode, identity, n, err);
    if (st) store_close(s);
    else *out = s;
    return st;
}

void store_close(atn_store *s)
{
    if (!s) return;
    for (int i = 0; i < Q_COUNT; i++) sqlite3_finalize(s->q[i]);
    sqlite3_close(s->db);
    if (s->lock_fd >= 0) close(s->lock_fd);
    free(s->path);
    free(s->aside);
    free(s);
}

const char *store_path(const atn_store *s)
{
    return s->path;
}
const char *store_kept_aside(const atn_store *s)
{
    return s->aside;
}
bool store_full(const atn_store *s)
{
    return s->full;
}

void store_limit_pages(atn_store *s, int pages)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%d", pages);
    exec(s, sql, NULL);
}

/* ---- transactions, meta, blobs ---- */

atn_status store_begin(atn_store *s, atn_error *err)
{
    ATN_ASSERT(!s->in_transaction);
    atn_status st = exec(s, "BEGIN IMMEDIATE", err);
    s->in_transaction = !st;
    return st;
}

atn_status store_commit(atn_store *s, atn_error *err)
{
    ATN_ASSERT(s->in_transaction);
    atn_status st = exec(s, "COMMIT", err);
    if (!st) s->in_transaction = false;
    return st;
}

void store_rollback(atn_store *s)
{
    if (!sqlite3_get_autocommit(s->db)) exec(s, "ROLLBACK", NULL); /* a full disk may have rolled back already */
    s->in_transaction = false;
}

atn_status store_meta_set(atn_store *s, const char *key, const char *value, atn_error *err)
{
    sqlite3_stmt *q = statement(s, Q_META_SET, err);
    if (!q) return err ? err->code : ATN_IO;
    bind_text(q, 1, key);
    bind_text(q, 2, value);
    return run_once(s, q, err);
}

char *store_meta_get(atn_store *s, const char *key)
{
    sqlite3_stmt *q = statement(s, Q_META_GET, NULL);
    if (!q) return NULL;
    bind_text(q, 1, key);
    char *value = sqlite3_step(q) == SQLITE_ROW ? text_of(q, 0) : NULL;
    sqlite3_reset(q);
    return value;
}

atn_status store_blob_add(atn_store *s, const char *text, char sha[33], atn_error *err)
{
    hash_hex(text, strlen(text), sha);
    sqlite3_stmt *q = statement(s, Q_BLOB_ADD, err);
    if (!q) return err ? err->code : ATN_IO;
    bind_text(q, 1, sha);
    bind_text(q, 2, text);
    return run_once(s, q, err);
}

char *store_blob_get(atn_store *s, const char *sha)
{
    sqlite3_stmt *q = statement(s, Q_BLOB_GET, NULL);
    if (!q) return NULL;
    bind_text(q, 1, sha);
    char *text = sqlite3_step(q) == SQLITE_ROW ? text_of(q, 0) : NULL;
    sqlite3_reset(q);
    return text;
}

/* ---- proposals ---- */

atn_status store_proposal_add(atn_store *s, store_proposal *p, atn_error *err)
{
    bool own = !s->in_transaction;
    atn_status st = own ? store_begin(s, err) : ATN_OK;
    if (!st) st = store_blob_add(s, p->source, p->sha, err);
    sqlite3_stmt *q = st ? NULL : statement(s, Q_PROPOSAL_ADD, err);
    if (q) {
        sqlite3_bind_int(q, 1, p->island);
        bind_id(q, 2, p->parent1);
        bind_id(q, 3, p->parent2);
        bind_text(q, 4, p->proposer);
        bind_text(q, 5, p->origin);
        bind_text(q, 6, p->note);
        bind_text(q, 7, p->sha);
        bind_text(q, 8, p->flags);
        sqlite3_bind_double(q, 9, p->t);
        st = run_once(s, q, err);
    } else if (!st) {
        st = ATN_IO;
    }
    if (!st) p->id = sqlite3_last_insert_rowid(s->db);
    if (!st && own) st = store_commit(s, err);
    if (st && own) store_rollback(s);
    return st;
}

/* Columns of `proposal` from column 0. */
static void read_proposal(sqlite3_stmt *q, store_proposal *p)
{
    *p = (store_proposal){.id = sqlite3_column_int64(q, 0),
                          .island = sqlite3_column_int(q, 1),
                          .parent1 = sqlite3_column_int64(q, 2),
                          .parent2 = sqlite3_column_int64(q, 3),
                          .proposer = text_of(q, 4),
                          .origin = text_of(q, 5),
                          .note = text_of(q, 6),
                          .flags = text_of(q, 8),
                          .t = sqlite3_column_double(q, 9)};
    const char *sha = (const char *)sqlite3_column_text(q, 7);
    snprintf(p->sha, sizeof p->sha, "%s", sha ? sha : "");
}

static void clear_proposal(store_proposal *p)
{
    free(p->proposer);
    free(p->origin);
    free(p->note);
    free(p->source);
    free(p->flags);
}

/* Room for one more of a list that doubles. */
static void *grow(void *list, int n, size_t size)
{
    return n & (n - 1) ? list : atn_realloc(list, (size_t)(n ? 2 * n : 1) * size);
}

atn_status store_proposals_open(atn_store *s, store_proposal **list, int *n, atn_error *err)
{
    *list = NULL;
    *n = 0;
    sqlite3_stmt *q = statement(s, Q_PROPOSALS_OPEN, err);
    if (!q) return ATN_IO;
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        *list = grow(*list, *n, sizeof **list);
        store_proposal *p = &(*list)[(*n)++];
        read_proposal(q, p);
        p->source = text_of(q, 10);
    }
    atn_status st = rc == SQLITE_DONE ? ATN_OK : fail(s, err);
    sqlite3_reset(q);
    return st;
}

void store_proposals_free(store_proposal *list, int n)
{
    for (int i = 0; i < n; i++) clear_proposal(&list[i]);
    free(list);
}

/* ---- programs ---- */

static atn_status add_case(atn_store *s, int64_t id, const store_case *c, atn_error *err)
{
    sqlite3_stmt *q = statement(s, Q_CASE_ADD, err);
    if (!q) return ATN_IO;
    sqlite3_bind_int64(q, 1, id);
    sqlite3_bind_int(q, 2, c->case_index);
    bind_real(q, 3, c->log_ratio);
    bind_real(q, 4, c->log_low);
    bind_real(q, 5, c->log_high);
    bind_real(q, 6, c->log_speedup);
    sqlite3_bind_int(q, 7, c->pairs);
    bind_real(q, 8, c->ns_min);
    bind_real(q, 9, c->incumbent_ns_min);
    bind_real(q, 10, c->error);
    sqlite3_bind_int64(q, 11, c->workspace_bytes);
    return run_once(s, q, err);
}

atn_status store_program_add(atn_store *s, const store_program *p, atn_error *err)
{
    bool own = !s->in_transaction;
    atn_status st = own ? store_begin(s, err) : ATN_OK;
    sqlite3_stmt *q = st ? NULL : statement(s, Q_PROGRAM_ADD, err);
    if (q) {
        sqlite3_bind_int64(q, 1, p->made.id);
        sqlite3_bind_int64(q, 2, p->seq);
        sqlite3_bind_int(q, 3, p->generation);
        bind_id(q, 4, p->incumbent);
        bind_id(q, 5, p->same_as);
        bind_text(q, 6, p->object_hash);
        sqlite3_bind_int(q, 7, p->correct);
        sqlite3_bind_int(q, 8, p->promoted);
        sqlite3_bind_int(q, 9, p->screened);
        bind_text(q, 10, p->state);
        bind_text(q, 11, p->stage);
        bind_text(q, 12, p->reason);
        bind_text(q, 13, p->evidence);
        bind_text(q, 14, p->reproduce);
        bind_text(q, 15, p->compiler);
        bind_real(q, 16, p->score);
        bind_real(q, 17, p->score_low);
        bind_real(q, 18, p->score_high);
        bind_real(q, 19, p->error);
        sqlite3_bind_int64(q, 20, p->workspace_bytes);
        bind_real(q, 21, p->profile);
        bind_real(q, 22, p->decode);
        bind_text(q, 23, p->cell);
        sqlite3_bind_double(q, 24, p->t);
        sqlite3_bind_double(q, 25, p->seconds_build);
        sqlite3_bind_double(q, 26, p->seconds_judge);
        bind_text(q, 27, p->verdict);
        if (p->confirm) bind_text(q, 28, p->confirm);
        st = run_once(s, q, err);
    } else if (!st) {
        st = ATN_IO;
    }
    for (int i = 0; i < p->n_cases && !st; i++) st = add_case(s, p->made.id, &p->cases[i], err);
    if (!st && own) st = store_commit(s, err);
    if (st && own) store_rollback(s);
    return st;
}

static atn_status read_cases(atn_store *s, store_program *p, atn_error *err)
{
    sqlite3_stmt *q = statement(s, Q_CASES, err);
    if (!q) return ATN_IO;
    sqlite3_bind_int64(q, 1, p->made.id);
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        p->cases = grow(p->cases, p->n_cases, sizeof *p->cases);
        p->cases[p->n_cases++] = (store_case){.case_index = sqlite3_column_int(q, 1),
                                              .log_ratio = real_of(q, 2),
                                              .log_low = real_of(q, 3),
                                              .log_high = real_of(q, 4),
                                              .log_speedup = real_of(q, 5),
                                              .pairs = sqlite3_column_int(q, 6),
                                              .ns_min = real_of(q, 7),
                                              .incumbent_ns_min = real_of(q, 8),
                                              .error = real_of(q, 9),
                                              .workspace_bytes = sqlite3_column_int64(q, 10)};
    }
    atn_status st = rc == SQLITE_DONE ? ATN_OK : fail(s, err);
    sqlite3_reset(q);
    return st;
}

/* Columns of `proposal`, then those of `program`. */
static void read_program(sqlite3_stmt *q, store_program *p)
{
    const int c = 10;
    *p = (store_program){.seq = sqlite3_column_int64(q, c + 1),
                         .generation = sqlite3_column_int(q, c + 2),
                         .incumbent = sqlite3_column_int64(q, c + 3),
                         .same_as = sqlite3_column_int64(q, c + 4),
                         .correct = sqlite3_column_int(q, c + 6),
                         .promoted = sqlite3_column_int(q, c + 7),
                         .screened = sqlite3_column_int(q, c + 8),
                         .state = text_of(q, c + 9),
                         .stage = text_of(q, c + 10),
                         .reason = text_of(q, c + 11),
                         .evidence = text_of(q, c + 12),
                         .reproduce = text_of(q, c + 13),
                         .compiler = text_of(q, c + 14),
                         .score = real_of(q, c + 15),
                         .score_low = real_of(q, c + 16),
                         .score_high = real_of(q, c + 17),
                         .error = real_of(q, c + 18),
                         .workspace_bytes = sqlite3_column_int64(q, c + 19),
                         .profile = real_of(q, c + 20),
                         .decode = real_of(q, c + 21),
                         .cell = text_of(q, c + 22),
                         .t = sqlite3_column_double(q, c + 23),
                         .seconds_build = sqlite3_column_double(q, c + 24),
                         .seconds_judge = sqlite3_column_double(q, c + 25),
                         .verdict = text_of(q, c + 26),
                         .confirm = sqlite3_column_type(q, c + 27) == SQLITE_NULL ? NULL : text_of(q, c + 27)};
    read_proposal(q, &p->made);
    snprintf(p->object_hash, sizeof p->object_hash, "%s", (const char *)sqlite3_column_text(q, c + 5));
}

atn_status store_programs(atn_store *s, int64_t after, bool with_cases, store_program **list, int *n, atn_error *err)
{
    *list = NULL;
    *n = 0;
    sqlite3_stmt *q = statement(s, Q_PROGRAMS, err);
    if (!q) return ATN_IO;
    sqlite3_bind_int64(q, 1, after);
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        *list = grow(*list, *n, sizeof **list);
        read_program(q, &(*list)[(*n)++]);
    }
    atn_status st = rc == SQLITE_DONE ? ATN_OK : fail(s, err);
    sqlite3_reset(q);
    for (int i = 0; i < *n && !st && with_cases; i++) st = read_cases(s, &(*list)[i], err);
    return st;
}

atn_status store_program_get(atn_store *s, int64_t id, store_program *out, atn_error *err)
{
    *out = (store_program){0};
    sqlite3_stmt *q = statement(s, Q_PROGRAM_GET, err);
    if (!q) return ATN_IO;
    sqlite3_bind_int64(q, 1, id);
    int rc = sqlite3_step(q);
    atn_status st = ATN_OK;
    if (rc == SQLITE_ROW) {
        read_program(q, out);
        out->made.source = text_of(q, 38);
    } else if (rc == SQLITE_DONE) {
        st = atn_fail(err, ATN_NOT_FOUND, "no judged program #%" PRId64 " in '%s'", id, s->path);
    } else {
        st = fail(s, err);
    }
    sqlite3_reset(q);
    if (!st) st = read_cases(s, out, err);
    return st;
}

void store_program_clear(store_program *p)
{
    clear_proposal(&p->made);
    free(p->state);
    free(p->stage);
    free(p->reason);
    free(p->evidence);
    free(p->reproduce);
    free(p->compiler);
    free(p->cell);
    free(p->verdict);
    free(p->confirm);
    free(p->cases);
    *p = (store_program){0};
}

void store_programs_free(store_program *list, int n)
{
    for (int i = 0; i < n; i++) store_program_clear(&list[i]);
    free(list);
}

/* ---- races and evidence ---- */

atn_status store_race_add(atn_store *s, const store_race *r, atn_error *err)
{
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pairs are stored as little-endian float32"
#endif
    sqlite3_stmt *q = statement(s, Q_RACE_ADD, err);
    if (!q) return ATN_IO;
    bind_id(q, 1, r->program);
    bind_id(q, 2, r->against);
    bind_text(q, 3, r->kind);
    sqlite3_bind_int(q, 4, r->case_index);
    sqlite3_bind_int(q, 5, r->n);
    sqlite3_bind_double(q, 6, isfinite(r->effect) ? r->effect : 0);
    sqlite3_bind_blob(q, 7, r->d, r->n * (int)sizeof *r->d, SQLITE_STATIC);
    return run_once(s, q, err);
}

atn_status store_races(atn_store *s, int64_t program, const char *kind, store_race **list, int *n, atn_error *err)
{
    *list = NULL;
    *n = 0;
    if (s->schema < 2) return ATN_OK;
    sqlite3_stmt *q = statement(s, Q_RACES, err);
    if (!q) return ATN_IO;
    sqlite3_bind_int64(q, 1, program);
    if (kind) bind_text(q, 2, kind);
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        *list = grow(*list, *n, sizeof **list);
        store_race *r = &(*list)[(*n)++];
        int bytes = sqlite3_column_bytes(q, 7);
        const void *d = sqlite3_column_blob(q, 7);
        *r = (store_race){.program = sqlite3_column_int64(q, 1),
                          .against = sqlite3_column_int64(q, 2),
                          .case_index = sqlite3_column_int(q, 4),
                          .n = bytes / (int)sizeof *r->d,
                          .effect = sqlite3_column_double(q, 6)};
        snprintf(r->kind, sizeof r->kind, "%s", (const char *)sqlite3_column_text(q, 3));
        r->d = atn_alloc((size_t)ATN_MAX(r->n, 1) * sizeof *r->d);
        if (r->n) memcpy(r->d, d, (size_t)r->n * sizeof *r->d);
    }
    atn_status st = rc == SQLITE_DONE ? ATN_OK : fail(s, err);
    sqlite3_reset(q);
    return st;
}

void store_races_free(store_race *list, int n)
{
    for (int i = 0; i < n; i++) free(list[i].d);
    free(list);
}

atn_status store_evidence_add(atn_store *s, int64_t program, const char *json, atn_error *err)
{
    sqlite3_stmt *q = statement(s, Q_EVIDENCE_ADD, err);
    if (!q) return ATN_IO;
    sqlite3_bind_int64(q, 1, program);
    bind_text(q, 2, json);
    return run_once(s, q, err);
}

char *store_evidence_get(atn_store *s, int64_t program)
{
    sqlite3_stmt *q = s->schema < 2 ? NULL : statement(s, Q_EVIDENCE_GET, NULL);
    if (!q) return NULL;
    sqlite3_bind_int64(q, 1, program);
    char *json = sqlite3_step(q) == SQLITE_ROW ? text_of(q, 0) : NULL;
    sqlite3_reset(q);
    return json;
}

/* ---- archive, measurements, events ---- */

atn_status store_cell_add(atn_store *s, int64_t seq, int island, const char *key, int64_t program, atn_error *err)
{
    sqlite3_stmt *q = statement(s, Q_CELL_ADD, err);
    if (!q) return ATN_IO;
    sqlite3_bind_int64(q, 1, seq);
    sqlite3_bind_int(q, 2, island);
    bind_text(q, 3, key);
    bind_id(q, 4, program);
    return run_once(s, q, err);
}

atn_status store_cells(atn_store *s, store_cell **list, int *n, atn_error *err)
{
    *list = NULL;
    *n = 0;
    sqlite3_stmt *q = statement(s, Q_CELLS, err);
    if (!q) return ATN_IO;
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        *list = grow(*list, *n, sizeof **list);
        store_cell *c = &(*list)[(*n)++];
        c->island = sqlite3_column_int(q, 0);
        snprintf(c->key, sizeof c->key, "%s", (const char *)sqlite3_column_text(q, 1));
        c->program = sqlite3_column_int64(q, 2);
    }
    atn_status st = rc == SQLITE_DONE ? ATN_OK : fail(s, err);
    sqlite3_reset(q);
    return st;
}

atn_status store_migration_add(atn_store *s, int64_t seq, int from, int to, int64_t program, atn_error *err)
{
    sqlite3_stmt *q = statement(s, Q_MIGRATION_ADD, err);
    if (!q) return ATN_IO;
    sqlite3_bind_int64(q, 1, seq);
    sqlite3_bind_int(q, 2, from);
    sqlite3_bind_int(q, 3, to);
    sqlite3_bind_int64(q, 4, program);
    return run_once(s, q, err);
}

atn_status store_measurement_add(atn_store *s, const char *kind, int64_t program, int64_t against, double t,
                                 const char *json, atn_error *err)
{
    sqlite3_stmt *q = statement(s, Q_MEASUREMENT_ADD, err);
    if (!q) return ATN_IO;
    bind_text(q, 1, kind);
    bind_id(q, 2, program);
    bind_id(q, 3, against);
    sqlite3_bind_double(q, 4, t);
    bind_text(q, 5, json);
    return run_once(s, q, err);
}

atn_status store_measurements(atn_store *s, const char *kind, store_measurement **list, int *n, atn_error *err)
{
    *list = NULL;
    *n = 0;
    sqlite3_stmt *q = statement(s, Q_MEASUREMENTS, err);
    if (!q) return ATN_IO;
    if (kind) bind_text(q, 1, kind);
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        *list = grow(*list, *n, sizeof **list);
        (*list)[(*n)++] = (store_measurement){.id = sqlite3_column_int64(q, 0),
                                              .kind = text_of(q, 1),
                                              .program = sqlite3_column_int64(q, 2),
                                              .against = sqlite3_column_int64(q, 3),
                                              .t = sqlite3_column_double(q, 4),
                                              .json = text_of(q, 5)};
    }
    atn_status st = rc == SQLITE_DONE ? ATN_OK : fail(s, err);
    sqlite3_reset(q);
    return st;
}

void store_measurements_free(store_measurement *list, int n)
{
    for (int i = 0; i < n; i++) {
        free(list[i].kind);
        free(list[i].json);
    }
    free(list);
}

atn_status store_event_add(atn_store *s, double t, const char *json, atn_error *err)
{
    sqlite3_stmt *q = statement(s, Q_EVENT_ADD, err);
    if (!q) return ATN_IO;
    sqlite3_bind_double(q, 1, t);
    bind_text(q, 2, json);
    return run_once(s, q, err);
}

atn_status store_events(atn_store *s, int64_t after, int max, store_event **list, int *n, atn_error *err)
{
    *list = NULL;
    *n = 0;
    sqlite3_stmt *q = statement(s, Q_EVENTS, err);
    if (!q) return ATN_IO;
    sqlite3_bind_int64(q, 1, after);
    sqlite3_bind_int(q, 2, max > 0 ? max : -1);
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        *list = grow(*list, *n, sizeof **list);
        (*list)[(*n)++] =
            (store_event){.seq = sqlite3_column_int64(q, 0), .t = sqlite3_column_double(q, 1), .json = text_of(q, 2)};
    }
    atn_status st = rc == SQLITE_DONE ? ATN_OK : fail(s, err);
    sqlite3_reset(q);
    return st;
}

void store_events_free(store_event *list, int n)
{
    for (int i = 0; i < n; i++) free(list[i].json);
    free(list);
}

atn_status store_progress_get(atn_store *s, store_progress *out, atn_error *err)
{
    *out = (store_progress){0};
    sqlite3_stmt *q = statement(s, Q_PROGRESS, err);
    if (!q) return ATN_IO;
    if (sqlite3_step(q) != SQLITE_ROW) return fail(s, err);
    *out = (store_progress){.programs = sqlite3_column_int64(q, 0),
                            .proposals = sqlite3_column_int64(q, 1),
                            .seq_last = sqlite3_column_int64(q, 2),
                            .t_last = sqlite3_column_double(q, 3),
                            .incumbent = sqlite3_column_int64(q, 4)};
    sqlite3_reset(q);
    return ATN_OK;
}
