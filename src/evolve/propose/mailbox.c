/* The mailbox: a person or an agent at the other end of a folder.
 *
 *     mailbox/007/prompt.md     the question, whole; program.c the program that edits apply to
 *     mailbox/007/answer.md     put there by rename (attune mail answer 7 FILE does): taken within a second
 *     mailbox/007/refused.md    why an answer was not taken; the question stays open for another
 *     mailbox/007/verdict.md    what the judge said
 *     mailbox/007/state         open, taken, judged, refused, expired
 *
 * A folder appears whole or not at all. An answer that is still growing is left alone. Questions that are open when the
 * run stops are open again after --resume; those of another run in the same folder are expired. */
#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "evolve/config.h"
#include "evolve/propose/mind.h"
#include "store/store.h"

enum { OPEN_MAX = 256, REFUSALS_MAX = 3 };
static const double LOOK_S = 0.1, SWEEP_S = 1;

typedef struct {
    mind_question *q;
    double since;
    int refusals;
    off_t size; /* of the answer at the last look; -1: none */
    struct timespec changed;
} letter;

typedef struct {
    atn_proposer base;
    mind *m;
    char *folder;
    int open_max;
    letter *open[OPEN_MAX];
    int n;
    double looked, swept;
} mailbox;

static char *path_of(const mailbox *b, int64_t number, const char *name)
{
    return atn_format("%s/%03" PRId64 "%s%s", b->folder, number, *name ? "/" : "", name);
}

static void put(const mailbox *b, int64_t number, const char *name, const char *text)
{
    char *path = path_of(b, number, name);
    atn_error err = {0};
    if (file_write(path, text, strlen(text), &err)) mind_host(b->m)->warn(mind_host(b->m)->ctx, err.text);
    free(path);
}

/* ---- opening ---- */

static atn_status write_folder(const char *folder, const mind_question *q, atn_error *err)
{
    json_t *o = json_pack("{s:I, s:i, s:i, s:i, s:I, s:I, s:s}", "number", (json_int_t)q->number, "op", (int)q->op,
                          "island", q->island, "repairs", q->repairs, "parent1", (json_int_t)q->parents[0], "parent2",
                          (json_int_t)q->parents[1], "flags", q->flags);
    char *json = json_dumps(o, JSON_INDENT(1)), *prompt = atn_format("%s\n\n%s", q->system, q->prompt);
    const char *const files[][2] = {{"prompt.md", prompt},
                                    {"program.c", q->source},
                                    {"question.json", json},
                                    {"state", "open\n"}};
    atn_status st = file_mkdirs(folder, err);
    for (int i = 0; i < ATN_COUNT(files) && !st; i++) {
        char *path = file_join(folder, files[i][0]);
        st = file_write(path, files[i][1], strlen(files[i][1]), err);
        free(path);
    }
    json_decref(o);
    free(json);
    free(prompt);
    return st;
}

static letter *add_letter(mailbox *b, mind_question *q)
{
    letter *l = atn_alloc(sizeof *l);
    *l = (letter){.q = q, .since = clock_s(), .size = -1};
    return b->open[b->n++] = l;
}

static bool post(mailbox *b, mind_question *q)
{
    char *hidden = atn_format("%s/.%03" PRId64, b->folder, q->number), *folder = path_of(b, q->number, "");
    atn_error err = {0};
    atn_status st = file_mkdirs(b->folder, &err);
    if (!st) st = file_remove_tree(hidden, &err);
    if (!st) st = write_folder(hidden, q, &err);
    if (!st && rename(hidden, folder)) st = atn_fail(&err, ATN_IO, "cannot make '%s'; is there one already?", folder);
    if (st) mind_host(b->m)->warn(mind_host(b->m)->ctx, err.text);
    free(hidden);
    free(folder);
    if (st) mind_question_free(q);
    else add_letter(b, q);
    return !st;
}

/* ---- answers ---- */

static void drop(mailbox *b, int i)
{
    mind_question_free(b->open[i]->q);
    free(b->open[i]);
    b->open[i] = b->open[--b->n];
}

/* Claims the answer by renaming it, so that nobody changes it afterwards. */
static char *claim(const mailbox *b, int64_t number, char **why)
{
    char *path = path_of(b, number, "answer.md"), *mine = path_of(b, number, "answer.taken.md"), *text = NULL;
    atn_error err = {0};
    size_t n;
    if (rename(path, mine)) *why = atn_strdup("the answer went away while it was taken");
    else if (file_read(mine, ANSWER_BYTES_MAX, &text, &n, &err)) *why = atn_strdup(err.text);
    else if (strlen(text) != n) {
        free(text);
        text = NULL;
        *why = atn_strdup("the answer holds a zero byte: is it text?");
    }
    free(path);
    free(mine);
    return text;
}

static void refused(mailbox *b, int i, const char *why)
{
    letter *l = b->open[i];
    int64_t number = l->q->number;
    char name[40];
    bool last = ++l->refusals >= REFUSALS_MAX;
    snprintf(name, sizeof name, "answer.refused-%d.md", l->refusals);
    char *mine = path_of(b, number, "answer.taken.md"), *aside = path_of(b, number, name);
    char *text =
        atn_format("The answer was not taken: %s\n\n%s\n", why,
                   last ? "This question is closed now." : "The question is still open: put another answer.md here.");
    if (rename(mine, aside)) (void)0; /* it may be too large to read, or gone: the reason stands */
    put(b, number, "refused.md", text);
    if (last) put(b, number, "state", "refused\n");
    free(mine);
    free(aside);
    free(text);
    if (last) drop(b, i);
}

static bool settled(const mailbox *b, letter *l)
{
    char *path = path_of(b, l->q->number, "answer.md");
    struct stat s;
    bool there = stat(path, &s) == 0 && S_ISREG(s.st_mode);
    bool still = there && l->size == s.st_size && l->changed.tv_sec == s.st_mtim.tv_sec &&
                 l->changed.tv_nsec == s.st_mtim.tv_nsec;
    l->size = there ? s.st_size : -1;
    if (there) l->changed = s.st_mtim;
    free(path);
    return still;
}

static void look(mailbox *b)
{
    for (int i = b->n - 1; i >= 0; i--) {
        letter *l = b->open[i];
        if (!settled(b, l)) continue;
        char *why = NULL, *text = claim(b, l->q->number, &why), problem[700];
        if (!text) {
            refused(b, i, why);
            free(why);
            continue;
        }
        mind_answer a = {.text = text, .seconds = clock_s() - l->since, .tries = l->refusals + 1};
        mind_outcome outcome = mind_take(b->m, l->q, &a, true, problem, sizeof problem);
        free(text);
        if (outcome == MIND_PROPOSED) {
            put(b, l->q->number, "state", "taken\n");
            drop(b, i);
        } else {
            refused(b, i, problem);
        }
    }
}

static bool is_open(const mailbox *b, int64_t number)
{
    for (int i = 0; i < b->n; i++)
        if (b->open[i]->q->number == number) return true;
    return false;
}

/* Answers to questions that are closed. */
static void sweep(mailbox *b)
{
    DIR *d = opendir(b->folder);
    if (!d) return;
    for (struct dirent *f; (f = readdir(d));) {
        long long number;
        if (!text_to_i64(f->d_name, &number) || number <= 0 || is_open(b, number)) continue;
        char *path = path_of(b, number, "answer.md"), *aside = path_of(b, number, "answer.late.md");
        if (file_exists(path) && !rename(path, aside))
            put(b, number, "refused.md",
                "The answer came too late: this question is closed. Open ones: attune mail list\n");
        free(path);
        free(aside);
    }
    closedir(d);
}

static void mail_service(atn_proposer *p)
{
    mailbox *b = (mailbox *)p;
    double now = clock_s();
    if (now - b->looked < LOOK_S) return;
    b->looked = now;
    look(b);
    if (now - b->swept < SWEEP_S) return;
    b->swept = now;
    sweep(b);
}

static propose_answer mail_propose(atn_proposer *p, const atn_propose_context *c, atn_rng *rng, atn_proposal *out)
{
    mailbox *b = (mailbox *)p;
    if (mind_next(b->m, out)) return PROPOSE_OK;
    int most = c->iterations_left >= 0 ? ATN_MIN(b->open_max, c->iterations_left) : b->open_max;
    while (b->n < most) {
        mind_question *q = mind_repair(b->m);
        if (!q) q = mind_ask(b->m, c, rng, NULL);
        if (!q || !post(b, q)) break;
    }
    return PROPOSE_LATER;
}

/* ---- the run ---- */

static void mail_learn(atn_proposer *p, const atn_program_view *r)
{
    mailbox *b = (mailbox *)p;
    int64_t number = mind_question_of(b->m, r);
    if (number) {
        char *words = mind_verdict_words(b->m, r), *said = atn_format("Program #%" PRId64 ". %s", r->id, words);
        put(b, number, "verdict.md", said);
        put(b, number, "state", "judged\n");
        free(words);
        free(said);
    }
    mind_learn(b->m, r);
}

/* A question of this run, open when it stopped: the store knows it by number and by the text that it was asked about. */
static mind_question *adopt(const mailbox *b, int64_t number)
{
    char *path = path_of(b, number, "question.json"), *program = path_of(b, number, "program.c"), *source = NULL;
    mind_question *q = NULL;
    store_measurement *list = NULL;
    int n = 0;
    json_t *o = json_load_file(path, 0, NULL);
    if (o && !file_read(program, 1 << 20, &source, NULL, NULL) &&
        !store_measurements(mind_host(b->m)->store, "question", &list, &n, NULL)) {
        for (int i = 0; i < n && !q; i++) {
            json_t *r = json_loads(list[i].json, 0, NULL);
            const char *on = json_string_value(json_object_get(r, "on")),
                       *who = json_string_value(json_object_get(r, "proposer"));
            char *text =
                on && who && !strcmp(who, "mailbox") && json_integer_value(json_object_get(r, "number")) == number
                    ? store_blob_get(mind_host(b->m)->store, on)
                    : NULL;
            if (text && !strcmp(text, source)) {
                const char *flags = json_string_value(json_object_get(o, "flags"));
                q = atn_alloc(sizeof *q);
                *q = (mind_question){.number = number,
                                     .model = -1,
                                     .island = (int)json_integer_value(json_object_get(o, "island")),
                                     .repairs = (int)json_integer_value(json_object_get(o, "repairs")),
                                     .op = (mind_operator)(json_integer_value(json_object_get(o, "op")) & 3),
                                     .parents = {list[i].program, list[i].against},
                                     .source = atn_strdup(source),
                                     .flags = atn_strdup(flags ? flags : ""),
                                     .system = atn_strdup(""),
                                     .prompt = atn_strdup("")};
            }
            free(text);
            json_decref(r);
        }
        store_measurements_free(list, n);
    }
    json_decref(o);
    free(source);
    free(path);
    free(program);
    return q;
}

/* Whether the store has an answer to the question that was taken: the run was killed before the folder said so. */
static bool is_answered(const mailbox *b, int64_t number)
{
    store_measurement *list = NULL;
    int n = 0;
    bool found = false;
    if (store_measurements(mind_host(b->m)->store, "answer", &list, &n, NULL)) return false;
    for (int i = 0; i < n && !found; i++) {
        json_t *o = json_loads(list[i].json, 0, NULL);
        const char *who = json_string_value(json_object_get(o, "proposer"));
        found = who && !strcmp(who, "mailbox") && json_integer_value(json_object_get(o, "number")) == number &&
                json_object_get(o, "source");
        json_decref(o);
    }
    store_measurements_free(list, n);
    return found;
}

static void mail_attach(atn_proposer *p, const propose_host *h)
{
    mailbox *b = (mailbox *)p;
    mind_attach(b->m, h);
    if (!b->folder) b->folder = file_join(h->folder, "mailbox");
    DIR *d = opendir(b->folder);
    if (!d) return;
    int64_t last = 0;
    for (struct dirent *f; (f = readdir(d));) {
        long long number;
        char *state = NULL;
        if (!text_to_i64(f->d_name, &number) || number <= 0) continue;
        last = ATN_MAX(last, number);
        char *path = path_of(b, number, "state");
        bool open = file_read(path, 100, &state, NULL, NULL) == ATN_OK && text_starts(state, "open");
        mind_question *q = open && b->n < OPEN_MAX ? adopt(b, number) : NULL;
        bool answered = q && is_answered(b, number);
        if (answered) mind_question_free(q);
        else if (q) add_letter(b, q);
        if (open && (!q || answered)) put(b, number, "state", answered ? "taken\n" : "expired\n");
        free(path);
        free(state);
    }
    closedir(d);
    mind_number_from(b->m, last);
}

static char *mail_tell(const atn_proposer *p)
{
    return mind_tell(((const mailbox *)p)->m);
}

static void mail_destroy(atn_proposer *p)
{
    mailbox *b = (mailbox *)p;
    while (b->n) drop(b, b->n - 1);
    mind_free(b->m);
    free(b->folder);
    free(b);
}

atn_proposer *proposer_mailbox_create(const struct atn_config *c, atn_error *err)
{
    mailbox *b = atn_alloc(sizeof *b);
    b->base = (atn_proposer){.name = "mailbox",
                             .propose = mail_propose,
                             .learn = mail_learn,
                             .destroy = mail_destroy,
                             .attach = mail_attach,
                             .service = mail_service,
                             .tell = mail_tell};
    b->open_max = ATN_MIN((int)config_int(c, "mailbox.open"), OPEN_MAX);
    b->folder = config_text(c, "mailbox.folder") ? atn_strdup(config_text(c, "mailbox.folder")) : NULL;
    if (mind_create("mailbox", c, &b->m, err)) {
        mail_destroy(&b->base);
        return NULL;
    }
    return &b->base;
}
