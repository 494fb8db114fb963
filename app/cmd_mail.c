/* attune mail: the questions of a run with --proposer mailbox, for people.
 *
 * The folder is the whole protocol: what this command does can be done by hand. An answer is put in place by rename. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cmd.h"

enum { LETTERS_MAX = 100000, ANSWER_MAX = 4 << 20 };

static char *mailbox_of(const atn_cli *c)
{
    const char *own = cli_text(c, "mailbox", NULL);
    return own ? atn_strdup(own) : file_join(cli_text(c, "output", "attune_output"), "mailbox");
}

static char *letter_file(const char *box, long long number, const char *name)
{
    return atn_format("%s/%03lld%s%s", box, number, *name ? "/" : "", name);
}

static char *first_line(const char *path)
{
    char *text = NULL;
    if (file_read(path, 4 << 20, &text, NULL, NULL)) return atn_strdup("");
    text[strcspn(text, "\n")] = 0;
    return text;
}

static int ascending(const void *a, const void *b)
{
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

static atn_status list(const char *box, bool all, atn_error *err)
{
    DIR *d = opendir(box);
    if (!d)
        return atn_fail(err, ATN_NOT_FOUND,
                        "there is no mailbox '%s'; start one with 'attune evolve --proposer mailbox'", box);
    long long *numbers = NULL;
    int n = 0, shown = 0;
    for (struct dirent *f; (f = readdir(d)) && n < LETTERS_MAX;) {
        long long number;
        if (!text_to_i64(f->d_name, &number) || number <= 0) continue;
        numbers = atn_realloc(numbers, sizeof *numbers * (size_t)(n + 1));
        numbers[n++] = number;
    }
    closedir(d);
    if (n) qsort(numbers, (size_t)n, sizeof *numbers, ascending);
    for (int i = 0; i < n; i++) {
        char *path = letter_file(box, numbers[i], "state"), *state = first_line(path), *said = NULL;
        bool open = !strcmp(state, "open");
        free(path);
        path = letter_file(box, numbers[i], open ? "refused.md" : "verdict.md");
        said = first_line(path);
        if (open || all) {
            printf("%03lld  %-8s %s\n", numbers[i], state, said);
            shown++;
        }
        free(path);
        free(state);
        free(said);
    }
    if (!shown) printf("no open question%s\n", n ? "; closed ones: attune mail list --all" : "");
    free(numbers);
    return ATN_OK;
}

static atn_status no_question(const char *box, long long number, atn_error *err)
{
    return atn_fail(err, ATN_NOT_FOUND, "there is no question %lld in '%s'; see 'attune mail list'", number, box);
}

static atn_status show(const char *box, long long number, atn_error *err)
{
    char *path = letter_file(box, number, "prompt.md"), *text = NULL;
    atn_status st = file_exists(path) ? file_read(path, 16 << 20, &text, NULL, err) : no_question(box, number, err);
    if (!st) fputs(text, stdout);
    free(text);
    free(path);
    return st;
}

static char *read_stdin(size_t most)
{
    atn_text t = {0};
    char buffer[65536];
    for (size_t n; t.n <= most && (n = fread(buffer, 1, sizeof buffer, stdin)) > 0;) text_addn(&t, buffer, n);
    return text_take(&t);
}

static atn_status answer(const char *box, long long number, const char *file, atn_error *err)
{
    char *state_path = letter_file(box, number, "state"), *path = letter_file(box, number, "answer.md");
    char *state = NULL, *text = NULL;
    atn_status st = file_read(state_path, 100, &state, NULL, err);
    if (st) st = no_question(box, number, err);
    else if (!text_starts(state, "open"))
        st = atn_fail(err, ATN_USAGE, "question %lld is closed (%.*s); see 'attune mail list'", number,
                      (int)strcspn(state, "\n"), state);
    else if (file_exists(path))
        st = atn_fail(err, ATN_BUSY, "question %lld has an answer that waits to be taken", number);
    if (!st && file && strcmp(file, "-") != 0) st = file_read(file, ANSWER_MAX, &text, NULL, err);
    else if (!st) text = read_stdin(ANSWER_MAX);
    if (!st && !*text) st = atn_fail(err, ATN_USAGE, "the answer is empty");
    if (!st && strlen(text) > ANSWER_MAX)
        st = atn_fail(err, ATN_USAGE, "the answer is longer than %d bytes", ANSWER_MAX);
    if (!st) st = file_write(path, text, strlen(text), err);
    if (!st) printf("answer to question %lld handed in\n", number);
    free(text);
    free(state);
    free(state_path);
    free(path);
    return st;
}

int cmd_mail(const atn_cli *c)
{
    atn_error err = {0};
    const char *what = c->n_args ? c->args[0] : "list";
    char *box = mailbox_of(c);
    long long number = 0;
    atn_status st;
    bool numbered = c->n_args > 1 && text_to_i64(c->args[1], &number) && number > 0;
    if (!strcmp(what, "list") && c->n_args < 2) st = list(box, cli_has(c, "all"), &err);
    else if (!strcmp(what, "show") && numbered && c->n_args == 2) st = show(box, number, &err);
    else if (!strcmp(what, "answer") && numbered) st = answer(box, number, c->n_args > 2 ? c->args[2] : NULL, &err);
    else st = atn_fail(&err, ATN_USAGE, "say 'list', 'show N' or 'answer N FILE', not '%s%s%s'", what,
                       c->n_args > 1 ? " " : "", c->n_args > 1 ? c->args[1] : "");
    free(box);
    return st ? cli_fail(c, &err) : EXIT_VALID;
}
