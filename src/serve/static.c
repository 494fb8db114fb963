/* The dashboard as files. Every answer of the interface becomes a script that hands one string to the page, because
 * pages opened from disk may load scripts but not data; the string is JSON within a JSON string, so that no text of a
 * candidate is ever code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "serve/api.h"
#include "serve/serve.h"
#include "serve/web.h"

const char web_policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
                          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

typedef struct {
    const char *folder;
    int files;
    atn_error *err;
} writer;

static atn_status write_file(writer *w, const char *name, const void *data, size_t n)
{
    char *path = file_join(w->folder, name);
    atn_status st = file_write(path, data, n, w->err);
    w->files += !st;
    free(path);
    return st;
}

static atn_status write_answer(writer *w, api_run *r, const api_question *q, bool must)
{
    atn_text t = {0}, script = {0};
    char key[64], *name;
    if (q->number) snprintf(key, sizeof key, "%s-%lld", q->name, (long long)q->number);
    else snprintf(key, sizeof key, "%s", q->name);
    int status = api_answer(r, q, &t);
    atn_status st = ATN_OK;
    if (status == 200 || !must) {
        text_addf(&script, "attune_data(\"%d/%s\",", q->run, key);
        api_text(&script, t.s, t.n, t.n);
        text_add(&script, ");\n");
        name = atn_format("data/%d/%s.js", q->run, key);
        st = write_file(w, name, script.s, script.n);
        free(name);
    } else {
        st = atn_fail(w->err, ATN_IO, "cannot read the run in '%s'; is it there? Look with: attune show %s", r->folder,
                      r->folder);
    }
    text_free(&t);
    text_free(&script);
    return st;
}

static atn_status write_run(writer *w, api_run *r, int run, int runs)
{
    static const char *const names[] = {"run",      "programs",  "cases", "archive",
                                        "verdicts", "questions", "peers", "beliefs"};
    char *folder = atn_format("%s/data/%d", w->folder, run);
    atn_status st = file_mkdirs(folder, w->err);
    free(folder);
    for (int i = 0; !st && i < ATN_COUNT(names); i++)
        st = write_answer(w, r, &(api_question){.name = names[i], .run = run, .runs = runs}, true);
    sqlite3_stmt *q = NULL;
    if (st ||
        sqlite3_prepare_v2(r->db, "SELECT id, state <> 'failed' FROM program ORDER BY id", -1, &q, NULL) != SQLITE_OK)
        return st;
    while (!st && sqlite3_step(q) == SQLITE_ROW) {
        st = write_answer(w, r, &(api_question){"program", sqlite3_column_int64(q, 0), run, runs}, false);
        if (!st && sqlite3_column_int(q, 1))
            st = write_answer(w, r, &(api_question){"races", sqlite3_column_int64(q, 0), run, runs}, false);
    }
    sqlite3_finalize(q);
    return st;
}

atn_status serve_static(const serve_options *o, const char *folder, int *files, atn_error *err)
{
    writer w = {folder, 0, err};
    atn_status st = file_mkdirs(folder, err);
    for (int i = 0; !st && i < web_file_count; i++) {
        const web_file *f = &web_files[i];
        char *text = atn_strndup((const char *)f->data, f->n), *live = strstr(text, "content=\"live\"");
        if (live) memcpy(live, "content=\"file\"", strlen("content=\"file\""));
        st = write_file(&w, f->name, text, f->n);
        free(text);
    }
    for (int i = 0; !st && i < o->n_folders; i++) {
        api_run r;
        api_init(&r, o->folders[i]);
        st = write_run(&w, &r, i, o->n_folders);
        api_close(&r);
    }
    if (files) *files = w.files;
    return st;
}
