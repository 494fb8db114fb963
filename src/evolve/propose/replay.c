/* replay: the proposals of an earlier run again, in their order, answers applied anew. Needs no network; nothing in it is
 * random. The run is a run folder, or a record of one in text: record.jsonl with the answers beside it
 * (tests/propose/campaign).
 *
 * A proposal waits until its parent has its verdict here; parents are found by their text. A recorded answer must lead to
 * the recorded program: where it does not, the reading of answers has changed, and that is said. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "evolve/config.h"
#include "evolve/propose/answer.h"
#include "evolve/propose/propose.h"
#include "store/store.h"

typedef struct {
    char sha[33];
    int64_t id;
} known;

typedef struct {
    atn_proposer base;
    char *path;
    bool only_answers;
    propose_host host;
    atn_store *from;     /* NULL: a record in text */
    json_t *texts;       /* of a record: answers by name, and the programs that were met by their sha */
    json_t *record;      /* its lines */
    store_program *rows; /* in order of proposal */
    int n_rows, next;
    json_t *answers; /* sha of a program -> record of the answer that led to it */
    known *known;
    int n_known;
    int differing;
} replayer;

static int by_id(const void *a, const void *b)
{
    int64_t x = ((const store_program *)a)->made.id, y = ((const store_program *)b)->made.id;
    return (x > y) - (x < y);
}

static int64_t known_id(const replayer *r, const char *sha)
{
    for (int i = 0; i < r->n_known; i++)
        if (!strcmp(r->known[i].sha, sha)) return r->known[i].id;
    return 0;
}

static const store_program *row_of(const replayer *r, int64_t id, int *index)
{
    for (int i = 0; i < r->n_rows; i++)
        if (r->rows[i].made.id == id) return *index = i, &r->rows[i];
    return NULL;
}

static bool wanted(const replayer *r, const store_program *row)
{
    if (!strcmp(row->made.proposer, "start")) return false;
    return !r->only_answers || json_object_get(r->answers, row->made.sha) != NULL;
}

/* The id here of a recorded parent, or of its nearest ancestor that is known here. false: it is on its way. */
static bool find_parent(const replayer *r, int64_t id, int64_t *out)
{
    int i;
    for (const store_program *p; id && (p = row_of(r, id, &i)); id = p->made.parent1) {
        if ((*out = known_id(r, p->made.sha))) return true;
        if (wanted(r, p) && i < r->next && p->seq >= 0) return false;
    }
    *out = 0;
    return true;
}

static char *text_of(const replayer *r, const char *sha)
{
    if (sha && r->from) return store_blob_get(r->from, sha);
    const char *text = sha ? json_string_value(json_object_get(r->texts, sha)) : NULL;
    return text ? atn_strdup(text) : NULL;
}

static char *text_at(const replayer *r, const json_t *o, const char *key)
{
    return text_of(r, json_string_value(json_object_get(o, key)));
}

static char *program_of(replayer *r, const store_program *row)
{
    char *source = text_of(r, row->made.sha), sha[33] = "";
    const json_t *o = json_object_get(r->answers, row->made.sha);
    char *answer = o ? text_at(r, o, "answer") : NULL, *on = o ? text_at(r, o, "on") : NULL;
    answer_program a = {0};
    bool made = answer && on && answer_apply(answer, on, NULL, &a);
    if (made) hash_hex(a.source, strlen(a.source), sha);
    if (!source && made) source = atn_strdup(a.source); /* a record holds answers, not what they made */
    if ((answer && on) || !r->from) {
        if (!made || strcmp(sha, row->made.sha)) {
            char *say =
                atn_format("replay: the answer of proposal #%" PRId64 " leads to another program than recorded%s%s",
                           row->made.id, a.problem[0] ? ": " : "", a.problem);
            r->differing++;
            r->host.warn(r->host.ctx, say);
            free(say);
        }
    }
    answer_free(&a);
    free(answer);
    free(on);
    return source;
}

static propose_answer replay_propose(atn_proposer *p, const atn_propose_context *c, atn_rng *rng, atn_proposal *out)
{
    replayer *r = (replayer *)p;
    (void)c, (void)rng;
    char *source = NULL;
    store_program *row = NULL;
    int64_t parents[2];
    while (!source) {
        while (r->next < r->n_rows && !wanted(r, &r->rows[r->next])) r->next++;
        if (r->next >= r->n_rows) return PROPOSE_EXHAUSTED;
        row = &r->rows[r->next];
        if (!find_parent(r, row->made.parent1, &parents[0]) || !find_parent(r, row->made.parent2, &parents[1]))
            return PROPOSE_LATER;
        source = program_of(r, row);
        if (!source) row->seq = -1; /* nobody waits for it */
        r->next++;
    }
    if (!r->from) { /* where an answer leads elsewhere now, what follows is applied to that */
        json_object_set_new(r->texts, row->made.sha, json_string(source));
        hash_hex(source, strlen(source), row->made.sha);
    }
    *out = (atn_proposal){.source = source,
                          .flags = atn_strdup(row->made.flags ? row->made.flags : ""),
                          .parents = {parents[0], parents[1]}};
    snprintf(out->origin, sizeof out->origin, "%s", row->made.origin);
    snprintf(out->note, sizeof out->note, "%s", row->made.note);
    return PROPOSE_OK;
}

static void replay_learn(atn_proposer *p, const atn_program_view *v)
{
    replayer *r = (replayer *)p;
    r->known = atn_realloc(r->known, sizeof *r->known * (size_t)(r->n_known + 1));
    hash_hex(v->source, strlen(v->source), r->known[r->n_known].sha);
    if (!r->from) json_object_set_new(r->texts, r->known[r->n_known].sha, json_string(v->source));
    r->known[r->n_known++].id = v->id;
}

static int already(atn_store *s)
{
    store_program *rows;
    store_proposal *open;
    int n, n_open, count = 0;
    if (!store_programs(s, 0, false, &rows, &n, NULL)) {
        for (int i = 0; i < n; i++) count += !strcmp(rows[i].made.proposer, "replay");
        store_programs_free(rows, n);
    }
    if (!store_proposals_open(s, &open, &n_open, NULL)) {
        for (int i = 0; i < n_open; i++) count += !strcmp(open[i].proposer, "replay");
        store_proposals_free(open, n_open);
    }
    return count;
}

static void replay_attach(atn_proposer *p, const propose_host *h)
{
    replayer *r = (replayer *)p;
    r->host = *h;
    for (int skip = already(h->store); skip > 0 && r->next < r->n_rows; r->next++) skip -= wanted(r, &r->rows[r->next]);
}

static void replay_destroy(atn_proposer *p)
{
    replayer *r = (replayer *)p;
    if (r->rows && r->from) store_programs_free(r->rows, r->n_rows);
    else free(r->rows); /* their strings are the record's */
    json_decref(r->record);
    json_decref(r->texts);
    json_decref(r->answers);
    store_close(r->from);
    free(r->known);
    free(r->path);
    free(r);
}

static atn_status read_run(replayer *r, atn_error *err)
{
    store_measurement *list;
    int n;
    atn_status st = store_open(r->path, STORE_READ, NULL, 0, &r->from, err);
    if (!st) st = store_programs(r->from, 0, false, &r->rows, &r->n_rows, err);
    if (!st) st = store_measurements(r->from, "answer", &list, &n, err);
    if (st) return st;
    qsort(r->rows, (size_t)r->n_rows, sizeof *r->rows, by_id);
    for (int i = 0; i < n; i++) {
        json_t *o = json_loads(list[i].json, 0, NULL);
        const char *sha = json_string_value(json_object_get(o, "source"));
        if (sha) json_object_set(r->answers, sha, o);
        json_decref(o);
    }
    store_measurements_free(list, n);
    return ATN_OK;
}

static char *string_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return (char *)(text ? text : "");
}

static void read_program(replayer *r, const json_t *o)
{
    r->rows = atn_realloc(r->rows, sizeof *r->rows * (size_t)(r->n_rows + 1));
    store_program *row = &r->rows[r->n_rows++];
    *row = (store_program){.made = {.id = json_integer_value(json_object_get(o, "id")),
                                    .parent1 = json_integer_value(json_object_get(o, "parent1")),
                                    .parent2 = json_integer_value(json_object_get(o, "parent2")),
                                    .proposer = string_of(o, "proposer"),
                                    .origin = string_of(o, "origin"),
                                    .note = string_of(o, "note"),
                                    .flags = string_of(o, "flags")}};
    snprintf(row->made.sha, sizeof row->made.sha, "%s", string_of(o, "sha"));
}

static atn_status read_answer(replayer *r, json_t *o, atn_error *err)
{
    const char *name = json_string_value(json_object_get(o, "answer")),
               *sha = json_string_value(json_object_get(o, "source"));
    if (!name || strchr(name, '/')) return ATN_OK;
    char *path = atn_format("%s/answers/%s", r->path, name), *text = NULL;
    atn_status st = file_read(path, ANSWER_BYTES_MAX, &text, NULL, err);
    if (!st) json_object_set_new(r->texts, name, json_string(text));
    if (!st && sha) json_object_set(r->answers, sha, o);
    free(text);
    free(path);
    return st;
}

static atn_status read_record(replayer *r, const char *path, atn_error *err)
{
    char *text = NULL;
    atn_status st = file_read(path, 64 << 20, &text, NULL, err);
    int number = 0;
    for (char *line = text, *next; !st && line && *line; line = next) {
        next = line + strcspn(line, "\n");
        next += *next == '\n' ? (*next = 0, 1) : 0;
        json_error_t e;
        json_t *o = json_loads(line, 0, &e);
        number++;
        if (!json_is_object(o)) st = atn_fail(err, ATN_FORMAT, "'%s', line %d: %s", path, number, e.text);
        else if (!strcmp(string_of(o, "kind"), "program")) read_program(r, o);
        else if (!strcmp(string_of(o, "kind"), "answer")) st = read_answer(r, o, err);
        json_array_append_new(r->record, o);
    }
    free(text);
    if (!st) qsort(r->rows, (size_t)r->n_rows, sizeof *r->rows, by_id);
    return st;
}

atn_proposer *proposer_replay_create(const struct atn_config *c, atn_error *err)
{
    replayer *r = atn_alloc(sizeof *r);
    r->base = (atn_proposer){.name = "replay",
                             .propose = replay_propose,
                             .learn = replay_learn,
                             .destroy = replay_destroy,
                             .attach = replay_attach};
    r->only_answers = config_bool(c, "replay.only_answers");
    r->answers = json_object();
    r->texts = json_object();
    r->record = json_array();
    const char *path = config_text(c, "replay.run");
    atn_status st =
        path ? ATN_OK : atn_fail(err, ATN_USAGE, "the replay proposer needs an earlier run: --set replay.run=FOLDER");
    if (!st) {
        r->path = atn_strdup(path);
        char *record = file_join(path, "record.jsonl");
        st = file_exists(record) ? read_record(r, record, err) : read_run(r, err);
        free(record);
    }
    if (!st) return &r->base;
    replay_destroy(&r->base);
    return NULL;
}
