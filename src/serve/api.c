/* Reads run.db with a connection of its own and writes JSON by hand: 10,000 rows in a few tens of milliseconds, and no
 * text reaches the output but through api_text. */
#include "serve/api.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "problem/problem.h"
#include "report/peers.h"
#include "serve/mail.h"
#include "store/store.h"

enum { TEXT_MOST = 1 << 20, NOTE_MOST = 240, PROMPT_MOST = 400000 };

/* ---- JSON ---- */

void api_text(atn_text *t, const char *s, size_t n, size_t most)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t end = ATN_MIN(n, most), from = 0, i = 0;
    text_add(t, "\"");
    while (i < end) {
        size_t k = u[i] < 0x80 ? 1 : text_utf8(s + i, n - i);
        if (k && u[i] >= 0x20 && u[i] != '"' && u[i] != '\\' && u[i] != '<' && u[i] != 0x7f) {
            i += k;
            continue;
        }
        text_addn(t, s + from, i - from);
        if (!k) text_add(t, "\\ufffd");
        else text_addf(t, "\\u%04x", u[i]);
        from = ++i;
    }
    text_addn(t, s + from, i - from);
    text_add(t, "\"");
}

static void add_string(atn_text *t, const char *s)
{
    api_text(t, s ? s : "", s ? strlen(s) : 0, TEXT_MOST);
}

static void add_real(atn_text *t, double x, const char *format)
{
    if (isfinite(x)) text_addf(t, format, x);
    else text_add(t, "null");
}

/* One column as JSON. A text column that holds JSON (name ends in "json") goes in as it is where it is valid. */
static void add_column(atn_text *t, sqlite3_stmt *q, int i, const char *real_format, size_t text_most)
{
    switch (sqlite3_column_type(q, i)) {
    case SQLITE_INTEGER: text_addf(t, "%lld", (long long)sqlite3_column_int64(q, i)); break;
    case SQLITE_FLOAT: add_real(t, sqlite3_column_double(q, i), real_format); break;
    case SQLITE_NULL: text_add(t, "null"); break;
    default: {
        const char *s = (const char *)sqlite3_column_text(q, i);
        size_t n = (size_t)sqlite3_column_bytes(q, i);
        api_text(t, s ? s : "", s ? n : 0, text_most);
    }
    }
}

/* ---- the file ---- */

void api_init(api_run *r, const char *folder)
{
    struct stat sb;
    bool is_file = !stat(folder, &sb) && S_ISREG(sb.st_mode);
    *r = (api_run){.folder = atn_strdup(folder), .path = is_file ? atn_strdup(folder) : file_join(folder, "run.db")};
}

static void shut(api_run *r)
{
    for (int i = 0; i < ATN_COUNT(r->kept); i++) text_free(&r->kept[i].text);
    sqlite3_close(r->db);
    r->db = NULL;
}

void api_close(api_run *r)
{
    shut(r);
    free(r->folder);
    free(r->path);
    *r = (api_run){0};
}

atn_status api_ready(api_run *r, bool *changed, atn_error *err)
{
    double now = (double)clock_ns() * 1e-9;
    if (changed) *changed = false;
    if (r->db && now < r->next_check) return ATN_OK;
    r->next_check = now + 0.5;
    struct stat sb;
    if (stat(r->path, &sb)) {
        shut(r);
        return atn_fail(err, ATN_NOT_FOUND, "no run in '%s' yet; start one with: attune evolve -o %s", r->folder,
                        r->folder);
    }
    if (r->db && r->inode == (uint64_t)sb.st_ino) return ATN_OK;
    shut(r);
    atn_store *s = NULL; /* the store knows whether that file is a run, and of which version */
    atn_status st = store_open(r->path, STORE_READ, NULL, 0, &s, err);
    store_close(s);
    if (st) return st;
    if (sqlite3_open_v2(r->path, &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        st = atn_fail(err, ATN_IO, "cannot open '%s': %s", r->path, sqlite3_errmsg(r->db));
        shut(r);
        return st;
    }
    sqlite3_busy_timeout(r->db, 2000);
    sqlite3_exec(r->db, "PRAGMA query_only=1; PRAGMA cache_size=-4096; PRAGMA trusted_schema=0", NULL, NULL, NULL);
    if (changed) *changed = r->inode != 0;
    r->inode = (uint64_t)sb.st_ino;
    return ATN_OK;
}

static bool is_finished(const api_run *r)
{
    sqlite3_stmt *q = NULL;
    bool yes = false;
    if (sqlite3_prepare_v2(r->db,
                           "SELECT count(*) FROM measurement WHERE kind='result' AND t >= "
                           "coalesce((SELECT t FROM program ORDER BY seq DESC LIMIT 1), 0)",
                           -1, &q, NULL) == SQLITE_OK)
        yes = sqlite3_step(q) == SQLITE_ROW && sqlite3_column_int64(q, 0) > 0;
    sqlite3_finalize(q);
    return yes;
}

/* Linux tells by /proc/locks who holds run.lock, without taking it, which a controller that starts in that moment would
 * find busy. */
const char *api_state(const api_run *r)
{
    char *lock = file_join(r->folder, "run.lock");
    struct stat sb;
    bool have = !stat(lock, &sb), held = false;
    free(lock);
    FILE *f = have ? fopen("/proc/locks", "r") : NULL;
    if (f) {
        char line[256], want[64];
        snprintf(want, sizeof want, ":%llu ", (unsigned long long)sb.st_ino);
        while (!held && fgets(line, sizeof line, f)) held = strstr(line, "FLOCK") && strstr(line, want);
        fclose(f);
    }
    return held ? "running" : is_finished(r) ? "finished" : have && !f ? "unknown" : "stopped";
}

/* ---- answers ---- */

typedef struct {
    api_run *r;
    atn_text *out;
    const api_question *q;
    bool failed; /* a query failed: the answer is an error instead */
} answer;

static sqlite3_stmt *query(answer *a, const char *sql)
{
    sqlite3_stmt *q = NULL;
    if (!a->failed && sqlite3_prepare_v2(a->r->db, sql, -1, &q, NULL) != SQLITE_OK) a->failed = true;
    return q;
}

static bool next(answer *a, sqlite3_stmt *q)
{
    int rc = q ? sqlite3_step(q) : SQLITE_DONE;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) a->failed = true;
    return rc == SQLITE_ROW;
}

/* JSON that is valid goes in as it is, but no "<" with it: within JSON that stands in texts only. */
static void add_raw(atn_text *t, sqlite3_stmt *q, int i)
{
    const char *s = (const char *)sqlite3_column_text(q, i);
    while (s && *s) {
        size_t n = strcspn(s, "<");
        text_addn(t, s, n);
        s += n;
        if (*s) text_add(t, "\\u003c"), s++;
    }
}

/* [[..],[..]] of all rows of a query with one number bound (if it has a place for it). */
static void add_rows(answer *a, const char *sql, int64_t bound, const char *real_format, size_t text_most)
{
    sqlite3_stmt *q = query(a, sql);
    if (q && sqlite3_bind_parameter_count(q)) sqlite3_bind_int64(q, 1, bound);
    text_add(a->out, "[");
    for (int n = 0; next(a, q); n++) {
        text_add(a->out, n ? ",\n[" : "[");
        for (int i = 0; i < sqlite3_column_count(q); i++) {
            if (i) text_add(a->out, ",");
            const char *name = sqlite3_column_name(q, i);
            if (!strcmp(name, "raw") && sqlite3_column_type(q, i) == SQLITE_TEXT) /* json_valid said so */
                add_raw(a->out, q, i);
            else add_column(a->out, q, i, real_format, text_most);
        }
        text_add(a->out, "]");
    }
    text_add(a->out, "]");
    sqlite3_finalize(q);
}

/* {"column": value, ...} of one row; false where there is none. */
static bool add_object(answer *a, const char *sql, int64_t bound)
{
    sqlite3_stmt *q = query(a, sql);
    if (q) sqlite3_bind_int64(q, 1, bound);
    bool found = next(a, q);
    text_add(a->out, found ? "{" : "null");
    for (int i = 0; found && i < sqlite3_column_count(q); i++) {
        const char *name = sqlite3_column_name(q, i);
        size_t n = strlen(name);
        bool raw = n > 4 && !strcmp(name + n - 4, "_raw") && sqlite3_column_type(q, i) == SQLITE_TEXT;
        text_addf(a->out, "%s\"%.*s\":", i ? "," : "", (int)(raw ? n - 4 : n), name);
        if (raw) add_raw(a->out, q, i);
        else add_column(a->out, q, i, "%.9g", TEXT_MOST);
    }
    if (found) text_add(a->out, "}");
    sqlite3_finalize(q);
    return found;
}

static int64_t number(answer *a, const char *sql)
{
    sqlite3_stmt *q = query(a, sql);
    int64_t n = next(a, q) ? sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return n;
}

/* The text of a meta key; caller frees. "" where absent. */
static char *meta_text(answer *a, const char *key)
{
    sqlite3_stmt *q = query(a, "SELECT value FROM meta WHERE key = ?1");
    if (q) sqlite3_bind_text(q, 1, key, -1, SQLITE_STATIC);
    char *s = atn_strdup(next(a, q) && sqlite3_column_text(q, 0) ? (const char *)sqlite3_column_text(q, 0) : "");
    sqlite3_finalize(q);
    return s;
}

/* The timed cases: text, arithmetic in flop, traffic in bytes; what a roofline needs. */
static void add_suite(answer *a)
{
    char *suite = meta_text(a, "identity.suite"), *rest = suite;
    int n = 0;
    text_add(a->out, "[");
    for (char *one; (one = strsep(&rest, ";"));) {
        one += strspn(one, " ");
        atn_problem p;
        if (!*one) continue;
        bool known = problem_parse(one, &p, NULL) == ATN_OK;
        text_add(a->out, n++ ? ",[" : "[");
        add_string(a->out, one);
        text_add(a->out, ",");
        add_real(a->out, known ? problem_flops(&p) : (double)NAN, "%.9g");
        text_add(a->out, ",");
        add_real(a->out, known ? problem_bytes(&p) : (double)NAN, "%.9g");
        text_add(a->out, "]");
    }
    text_add(a->out, "]");
    free(suite);
}

static void answer_peers(answer *a)
{
    char *machine = meta_text(a, "identity.machine"), *threads = meta_text(a, "identity.threads");
    peer_table t;
    struct stat sb;
    bool folder = !stat(a->r->folder, &sb) && S_ISDIR(sb.st_mode);
    peers_read(folder ? a->r->folder : "/nonexistent", machine, atoi(threads), &t);
    text_add(a->out, "\"source\":");
    add_string(a->out, t.source);
    text_addf(a->out, ",\"own\":%s,\"suite\":", t.own ? "true" : "false");
    add_suite(a);
    text_add(a->out, ",\"rows\":[");
    for (int i = 0; i < t.n; i++) {
        const peer_row *r = &t.rows[i];
        const char *texts[] = {r->name, r->version, r->note, r->label};
        text_add(a->out, i ? ",\n[" : "[");
        for (int k = 0; k < 4; k++) {
            add_string(a->out, texts[k]);
            text_add(a->out, ",");
        }
        add_real(a->out, r->ms, "%.6g");
        text_add(a->out, ",");
        add_real(a->out, r->low, "%.5g");
        text_add(a->out, ",");
        add_real(a->out, r->high, "%.5g");
        text_add(a->out, "]");
    }
    text_add(a->out, "]");
    peers_free(&t);
    free(machine);
    free(threads);
}

static bool has_table(answer *a, const char *name)
{
    sqlite3_stmt *q = query(a, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1");
    if (q) sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
    bool there = next(a, q);
    sqlite3_finalize(q);
    return there;
}

/* Every pair of every race of a program, in the order of time. Runs of before pairs were kept have none. */
static void answer_races(answer *a)
{
    sqlite3_stmt *q = has_table(a, "race") ? query(a, "SELECT kind, against, case_index, n, effect, d FROM race WHERE "
                                                      "program = ?1 ORDER BY case_index, id LIMIT 2000")
                                           : NULL;
    if (q) sqlite3_bind_int64(q, 1, a->q->number);
    text_add(a->out, "\"rows\":[");
    for (int n = 0; next(a, q); n++) {
        text_add(a->out, n ? ",\n[" : "[");
        for (int i = 0; i < 3; i++) {
            add_column(a->out, q, i, "%g", 40);
            text_add(a->out, ",");
        }
        add_real(a->out, sqlite3_column_double(q, 4), "%.4g");
        text_add(a->out, ",[");
        int pairs = sqlite3_column_bytes(q, 5) / 4;
        const char *d = sqlite3_column_blob(q, 5);
        for (int i = 0; i < pairs; i++) {
            float x;
            memcpy(&x, d + 4 * i, sizeof x);
            if (i) text_add(a->out, ",");
            add_real(a->out, (double)x, "%.5g");
        }
        text_add(a->out, "]]");
    }
    text_add(a->out, "]");
    sqlite3_finalize(q);
}

/* What proposers believe: the newest of each whole, and how their shares moved. */
static void answer_beliefs(answer *a)
{
    text_add(a->out, "\"now\":");
    add_rows(
        a,
        "SELECT t, json AS raw FROM measurement WHERE id IN (SELECT max(id) FROM measurement WHERE kind = 'belief' "
        "AND json_valid(json) GROUP BY json_extract(json,'$.proposer')) ORDER BY id",
        0, "%.6g", TEXT_MOST);
    text_add(a->out, ",\"history\":");
    add_rows(a,
             "SELECT t, json_remove(json,'$.lessons') AS raw FROM (SELECT * FROM measurement WHERE kind = 'belief' AND "
             "json_valid(json) ORDER BY id DESC LIMIT 400) ORDER BY id",
             0, "%.6g", TEXT_MOST);
}

static double free_bytes(const char *folder)
{
    struct statvfs v;
    return statvfs(folder, &v) ? (double)NAN : (double)v.f_bavail * (double)v.f_frsize;
}

static void answer_run(answer *a)
{
    atn_text *t = a->out;
    sqlite3_stmt *q = query(a, "SELECT key, value FROM meta");
    text_add(t, "\"meta\":{");
    for (int n = 0; next(a, q); n++) {
        text_add(t, n ? "," : "");
        add_column(t, q, 0, "%g", 1000);
        text_add(t, ":");
        add_column(t, q, 1, "%g", 20000);
    }
    sqlite3_finalize(q);
    text_add(t, "},\"folder\":");
    add_string(t, a->r->folder);
    text_addf(t, ",\"state\":\"%s\",\"seq\":%lld,\"event_seq\":%lld", api_state(a->r),
              (long long)number(a, "SELECT max(seq) FROM program"), (long long)number(a, "SELECT max(seq) FROM event"));
    text_add(t, ",\"free_bytes\":");
    add_real(t, free_bytes(a->r->folder), "%.0f");
    text_add(t, ",\"measurements\":");
    /* The last 40 of each kind; of results and nodes, which are long and hold all of the one before, the last. */
    add_rows(a,
             "SELECT kind, program, against, t, CASE WHEN json_valid(json) THEN json ELSE 'null' END AS raw FROM "
             "(SELECT *, row_number() OVER (PARTITION BY kind ORDER BY id DESC) AS k FROM measurement WHERE kind NOT "
             "IN ('question', 'answer', 'belief')) WHERE k <= CASE WHEN kind IN ('result', 'nodes') THEN 1 ELSE 40 END "
             "ORDER "
             "BY id",
             0, "%.7g", TEXT_MOST);
    /* Who was asked, and what that cost: proposer, model, answers, taken, tokens in and out, dollars, seconds. */
    text_add(t, ",\"asked\":");
    add_rows(
        a,
        "SELECT json_extract(json,'$.proposer'), json_extract(json,'$.model'), count(*), "
        "sum(json_extract(json,'$.source') IS NOT NULL), sum(json_extract(json,'$.tokens_in')), "
        "sum(json_extract(json,'$.tokens_out')), sum(json_extract(json,'$.usd')), sum(json_extract(json,'$.seconds')) "
        "FROM measurement WHERE kind = 'answer' AND json_valid(json) GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 40",
        0, "%.6g", 200);
    text_addf(t, ",\"questions\":%lld",
              (long long)number(a, "SELECT count(*) FROM measurement WHERE kind = 'question'"));
    text_add(t, ",\"open\":");
    add_rows(a,
             "SELECT id, island, parent1, parent2, proposer, origin, note, t FROM proposal p WHERE NOT EXISTS "
             "(SELECT 1 FROM program WHERE program.id = p.id) AND id > (SELECT max(id) FROM proposal) - 500 ORDER BY "
             "id DESC LIMIT 64",
             0, "%.6g", NOTE_MOST);
    text_add(t, ",\"last_event\":");
    add_rows(a,
             "SELECT seq, t, CASE WHEN json_valid(json) THEN json ELSE 'null' END AS raw FROM event "
             "ORDER BY seq DESC LIMIT 1",
             0, "%.6g", TEXT_MOST);
    text_add(t, ",\"events\":");
    add_rows(
        a,
        "SELECT seq, t, CASE WHEN json_valid(json) THEN json ELSE 'null' END AS raw FROM event WHERE json NOT LIKE "
        "'{\"event\":\"judged\"%' AND seq > (SELECT max(seq) FROM event) - 1000 ORDER BY seq DESC LIMIT 30",
        0, "%.6g", TEXT_MOST);
}

/* As arrays: names once, in "columns". */
#define PROGRAM_COLUMNS                                                                                                \
    "g.seq, g.id, generation, island, parent1, parent2, proposer, origin, note, state, stage, reason, "                \
    "score, score_low, score_high, error, workspace_bytes, profile, decode, cell, g.t, promoted, screened, same_as, "  \
    "incumbent, seconds_build, seconds_judge"

static void answer_programs(answer *a)
{
    text_add(a->out, "\"columns\":");
    api_text(a->out, PROGRAM_COLUMNS, strlen(PROGRAM_COLUMNS), 10000);
    text_add(a->out, ",\"rows\":");
    add_rows(a,
             "SELECT " PROGRAM_COLUMNS " FROM program g JOIN proposal p ON p.id = g.id WHERE g.seq > ?1 ORDER BY g.seq",
             a->q->number, "%.6g", NOTE_MOST);
}

static bool answer_program(answer *a)
{
    text_add(a->out, "\"program\":");
    bool found = add_object(
        a,
        "SELECT g.id, seq, generation, incumbent, same_as, object_hash, correct, promoted, screened, state, stage, "
        "reason, evidence, "
        "reproduce, compiler, score, score_low, score_high, error, workspace_bytes, profile, decode, cell, g.t, "
        "seconds_build, "
        "seconds_judge, p.island, p.parent1, p.parent2, p.proposer, p.origin, p.note, p.sha, p.flags, p.t AS proposed, "
        "b.text AS source, length(b.text) AS source_length, "
        "CASE WHEN json_valid(g.verdict) THEN g.verdict ELSE 'null' END AS verdict_raw, "
        "CASE WHEN json_valid(g.confirm) THEN g.confirm ELSE 'null' END AS confirm_raw "
        "FROM program g JOIN proposal p ON p.id = g.id LEFT JOIN blob b ON b.sha = p.sha WHERE g.id = ?1",
        a->q->number);
    text_add(a->out, ",\"parent_source\":");
    add_object(a,
               "SELECT c.id, b.text AS source FROM proposal p JOIN proposal c ON c.id = p.parent1 "
               "JOIN blob b ON b.sha = c.sha WHERE p.id = ?1",
               a->q->number);
    text_add(a->out, ",\"cases\":");
    add_rows(a,
             "SELECT case_index, log_ratio, log_low, log_high, log_speedup, pairs, ns_min, incumbent_ns_min, error, "
             "workspace_bytes FROM case_result WHERE program = ?1 ORDER BY case_index",
             a->q->number, "%.7g", 100);
    /* What was asked for this program: the answer that its source came out of, and the question of the same number. */
    text_add(a->out, ",\"asked\":");
    add_object(a,
               "WITH got AS (SELECT m.json FROM measurement m, proposal p WHERE p.id = ?1 AND m.kind = 'answer' AND "
               "json_valid(m.json) AND "
               "json_extract(m.json,'$.source') = p.sha ORDER BY m.id DESC LIMIT 1), put AS (SELECT q.json FROM "
               "measurement q, got WHERE "
               "q.kind = 'question' AND json_valid(q.json) AND json_extract(q.json,'$.number') = "
               "json_extract(got.json,'$.number') AND "
               "json_extract(q.json,'$.proposer') = json_extract(got.json,'$.proposer') LIMIT 1) "
               "SELECT got.json AS record_raw, (SELECT text FROM blob WHERE sha = json_extract(got.json,'$.answer')) "
               "AS answer, "
               "(SELECT text FROM blob, put WHERE sha = json_extract(put.json,'$.system')) AS system, "
               "(SELECT text FROM blob, put WHERE sha = json_extract(put.json,'$.prompt')) AS prompt FROM got",
               a->q->number);
    text_add(a->out, ",\"evidence\":");
    if (has_table(a, "evidence"))
        add_object(
            a,
            "SELECT CASE WHEN json_valid(json) THEN json ELSE 'null' END AS json_raw FROM evidence WHERE program = ?1",
            a->q->number);
    else text_add(a->out, "null");
    text_add(a->out, ",\"children\":");
    add_rows(a, "SELECT id FROM proposal WHERE parent1 = ?1 OR parent2 = ?1 ORDER BY id LIMIT 200", a->q->number, "%g",
             100);
    return found;
}

/* The kernels worth a column: starting programs, everything that became the best, and the twelve best of now. */
static void answer_cases(answer *a)
{
    text_add(a->out, "\"rows\":");
    add_rows(
        a,
        "SELECT program, case_index, log_ratio, log_low, log_high, log_speedup, pairs, ns_min, incumbent_ns_min, "
        "error, "
        "workspace_bytes FROM case_result WHERE program IN (SELECT g.id FROM program g JOIN proposal p ON p.id = g.id "
        "WHERE p.proposer = 'start' OR g.generation = 0 UNION SELECT * FROM (SELECT id FROM program WHERE promoted "
        "ORDER BY seq DESC LIMIT 24) UNION SELECT * FROM (SELECT id FROM program WHERE score IS NOT NULL "
        "ORDER BY score_low DESC LIMIT 12))",
        0, "%.7g", 100);
}

static void answer_archive(answer *a)
{
    text_add(a->out, "\"cells\":");
    add_rows(a, "SELECT island, key, program FROM grid ORDER BY island, key", 0, "%g", 100);
    text_add(a->out, ",\"changes\":");
    text_addf(a->out, "%lld", (long long)number(a, "SELECT count(*) FROM cell"));
    text_add(a->out, ",\"migrations\":");
    add_rows(a, "SELECT seq, from_island, to_island, program FROM migration ORDER BY n DESC LIMIT 1000", 0, "%g", 100);
}

static void answer_verdicts(answer *a)
{
    text_add(a->out, "\"rows\":");
    add_rows(
        a,
        "SELECT c.state, c.stage, c.reason, c.n, c.last, g.evidence, g.reproduce FROM (SELECT state, stage, reason, "
        "count(*) AS n, max(seq) AS last FROM program GROUP BY 1, 2, 3) c JOIN program g ON g.seq = c.last "
        "ORDER BY c.n DESC",
        0, "%g", 2000);
}

/* Questions that nobody has answered yet, newest first, with what they ask. */
static void answer_questions(answer *a)
{
    sqlite3_stmt *q = query(
        a,
        "SELECT q.t, json_extract(q.json,'$.proposer'), json_extract(q.json,'$.number'), json_extract(q.json,'$.op'), "
        "q.program, "
        "(SELECT text FROM blob WHERE sha = json_extract(q.json,'$.prompt')) FROM (SELECT * FROM measurement WHERE "
        "kind = 'question' AND json_valid(json) ORDER BY id DESC LIMIT 200) q WHERE NOT EXISTS (SELECT 1 FROM "
        "measurement n "
        "WHERE n.kind = 'answer' AND n.id > q.id AND json_valid(n.json) AND json_extract(n.json,'$.number') = "
        "json_extract(q.json,'$.number') AND json_extract(n.json,'$.proposer') = json_extract(q.json,'$.proposer')) "
        "LIMIT 20");
    text_add(a->out, "\"rows\":");
    text_add(a->out, "[");
    for (int n = 0; next(a, q); n++) {
        text_add(a->out, n ? ",\n[" : "[");
        for (int i = 0; i < sqlite3_column_count(q); i++) {
            add_column(a->out, q, i, "%.6g", PROMPT_MOST);
            text_add(a->out, ",");
        }
        const char *who = (const char *)sqlite3_column_text(q, 1);
        if (who && !strcmp(who, "mailbox")) mail_state(a->r->folder, sqlite3_column_int64(q, 2), a->out);
        else text_add(a->out, "null");
        text_add(a->out, "]");
    }
    text_add(a->out, "]");
    sqlite3_finalize(q);
}

static int problem(atn_text *t, int status, const char *error, const char *advice)
{
    text_free(t);
    text_add(t, "{\"error\":");
    add_string(t, error);
    text_add(t, ",\"try\":");
    add_string(t, advice);
    text_add(t, "}\n");
    return status;
}

enum { KEPT_MOST = 1 << 18 };

/* Where the answer to this question may be kept; NULL: it is not. */
static api_kept *place_for(api_run *r, const api_question *q)
{
    return !strcmp(q->name, "run") ? &r->kept[0] : !strcmp(q->name, "programs") ? &r->kept[1] : NULL;
}

/* Changes with each commit of another connection; -1 where it cannot be read. Read before an answer is made: what is
 * stored in between is then in the answer, and the next question is answered anew. */
static int64_t data_version(api_run *r)
{
    sqlite3_stmt *q = NULL;
    int64_t version = -1;
    if (sqlite3_prepare_v2(r->db, "PRAGMA data_version", -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        version = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return version;
}

static int answer_anew(api_run *r, const api_question *q, atn_text *out);

int api_answer(api_run *r, const api_question *q, atn_text *out)
{
    api_kept *k = place_for(r, q);
    if (!k || api_ready(r, NULL, NULL)) return answer_anew(r, q, out);
    const double now = (double)clock_ns() * 1e-9;
    const char *state = api_state(r);
    int64_t version = data_version(r);
    if (k->text.n && version >= 0 && k->version == version && k->number == q->number && k->state == state &&
        now < k->until) {
        text_addn(out, k->text.s, k->text.n);
        return 200;
    }
    int status = answer_anew(r, q, out);
    text_free(&k->text);
    if (status != 200 || out->n > KEPT_MOST) return status;
    *k = (api_kept){.number = q->number,
                    .version = version,
                    .state = state,
                    .until = now + 5}; /* free space changes by itself */
    text_addn(&k->text, out->s, out->n);
    return status;
}

static int answer_anew(api_run *r, const api_question *q, atn_text *out)
{
    atn_error err = {0};
    atn_status st = api_ready(r, NULL, &err);
    if (st)
        return problem(
            out, 503, err.text,
            st == ATN_NOT_FOUND  ? "This page goes on by itself as soon as the run is there."
            : st == ATN_MISMATCH ? "The run is whole, but of another version: look at it with the attune that made it, "
                                   "or start a new one "
                                   "with: attune evolve -o OTHER"
            : st == ATN_FORMAT
                ? "Copy the file away before anything else touches it; sqlite3 run.db .recover saves what is whole."
                : "Is that the right folder, and may you read it? This page goes on by itself once it can be read.");
    answer a = {r, out, q, false};
    bool found = true;
    text_addf(out, "{\"run\":%d,\"runs\":%d,", q->run, q->runs);
    sqlite3_exec(r->db, "BEGIN", NULL, NULL, NULL); /* one answer is one moment */
    if (!strcmp(q->name, "run")) answer_run(&a);
    else if (!strcmp(q->name, "programs")) answer_programs(&a);
    else if (!strcmp(q->name, "program")) found = answer_program(&a);
    else if (!strcmp(q->name, "cases")) answer_cases(&a);
    else if (!strcmp(q->name, "archive")) answer_archive(&a);
    else if (!strcmp(q->name, "verdicts")) answer_verdicts(&a);
    else if (!strcmp(q->name, "questions")) answer_questions(&a);
    else if (!strcmp(q->name, "peers")) answer_peers(&a);
    else if (!strcmp(q->name, "races")) answer_races(&a);
    else if (!strcmp(q->name, "beliefs")) answer_beliefs(&a);
    else found = false;
    char *why = a.failed ? atn_format("cannot read '%s': %s", r->path, sqlite3_errmsg(r->db)) : NULL;
    sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL);
    if (a.failed) {
        problem(out, 503, why,
                "The database is damaged or not a run of this version. Copy it away, then try: "
                "sqlite3 run.db .recover");
        free(why);
        shut(r); /* the next question opens it anew */
        return 503;
    }
    text_add(out, "}\n");
    if (!found)
        return problem(out, 404, "there is no such thing in this run", "Look at the list of programs: #program");
    return 200;
}
