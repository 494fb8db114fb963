/* Templates and quoting. Invariant: nothing that a candidate says can end its fence, and no output holds a byte below
 * space but newline and tab. */
#include "evolve/propose/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

void prompt_set(prompt_values *v, const char *name, char *text)
{
    ATN_CHECK(v->n < PROMPT_PLACES);
    v->name[v->n] = name;
    v->text[v->n++] = text ? text : atn_strdup("");
}

void prompt_clear(prompt_values *v)
{
    for (int i = 0; i < v->n; i++) free(v->text[i]);
    v->n = 0;
}

static const char *value_of(const prompt_values *v, const char *name, size_t n)
{
    for (int i = v->n - 1; i >= 0; i--)
        if (strlen(v->name[i]) == n && !memcmp(v->name[i], name, n)) return v->text[i];
    return NULL;
}

char *prompt_fill(const char *p, const prompt_values *v)
{
    atn_text t = {0};
    text_add(&t, "");
    while (*p) {
        const char *open = strstr(p, "{{"), *close = open ? strstr(open, "}}") : NULL;
        if (!close) break;
        const char *value = value_of(v, open + 2, (size_t)(close - open - 2));
        text_addn(&t, p, (size_t)(open - p));
        bool alone = (open == p ? !t.n || t.s[t.n - 1] == '\n' : open[-1] == '\n') && close[2] == '\n';
        if (value) text_add(&t, value);
        else text_addn(&t, open, (size_t)(close + 2 - open));
        p = close + 2;
        if (value && alone && (!*value || value[strlen(value) - 1] == '\n')) p++;
    }
    text_add(&t, p);
    return text_take(&t);
}

atn_status prompt_template(const char *folder, const char *name, char **out, atn_error *err)
{
    char *file = atn_format("%s.md", name), *path = folder ? file_join(folder, file) : NULL;
    if (!path || !file_exists(path)) {
        free(path);
        char *home = file_join(file_home(), "examples/attention/prompts");
        path = file_join(home, file);
        free(home);
    }
    atn_status st = file_read(path, 1 << 20, out, NULL, err);
    free(path);
    free(file);
    return st;
}

/* Some servers read these as control tokens wherever they stand. No C program needs them. */
static const char *const roles[] = {"<|",       "|>",           "[INST]",          "[/INST]",       "<<SYS>>",
                                    "<s>",      "</s>",         "<start_of_turn>", "<end_of_turn>", "<think>",
                                    "</think>", "<\xef\xbd\x9c"};

static void add_clean(atn_text *t, const char *s, size_t most, bool one_line)
{
    size_t i = 0;
    for (; i < most && s[i]; i++) {
        unsigned char c = (unsigned char)s[i];
        for (int k = 0; k < ATN_COUNT(roles); k++)
            if (c == (unsigned char)*roles[k] && text_starts(s + i, roles[k])) {
                text_addn(t, s + i, 1);
                text_add(t, "\\");
                goto next;
            }
        if (one_line && (text_starts(s + i, "\xe2\x80\xa8") || text_starts(s + i, "\xe2\x80\xa9"))) { /* line ends too */
            text_add(t, " ");
            i += 2;
            continue;
        }
        if (one_line && (c < ' ' || c == '`')) c = c == '`' ? '\'' : ' ';
        if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f) c = '?';
        text_addn(t, &(char){(char)c}, 1);
    next:;
    }
    if (!s[i]) return;
    while (t->n && ((unsigned char)t->s[t->n - 1] & 0xc0) == 0x80) t->n--; /* not in the middle of a character */
    if (t->n && (unsigned char)t->s[t->n - 1] >= 0xc0) t->n--;
    t->s[t->n] = 0;
    text_add(t, one_line ? " ..." : "\n[cut here]");
}

/* Before anything is looked for: what is left out later could join signs to a fence or a control word. */
static char *without_returns(const char *s)
{
    char *out = atn_alloc(strlen(s) + 1), *to = out;
    for (; *s; s++)
        if (*s != '\r') *to++ = *s;
    *to = 0;
    return out;
}

void prompt_quote(atn_text *t, const char *language, const char *text, size_t most)
{
    size_t longest = 2, run = 0;
    char *plain = without_returns(text);
    for (const char *p = plain; *p; p++) {
        run = *p == '`' ? run + 1 : 0;
        if (run > longest) longest = run;
    }
    for (size_t i = 0; i <= longest; i++) text_add(t, "`");
    text_addf(t, "%s\n", language);
    add_clean(t, plain, most, false);
    free(plain);
    if (t->s[t->n - 1] != '\n') text_add(t, "\n");
    for (size_t i = 0; i <= longest; i++) text_add(t, "`");
    text_add(t, "\n");
}

void prompt_word(atn_text *t, const char *text, size_t most)
{
    char *plain = without_returns(text);
    add_clean(t, plain, most, true);
    free(plain);
}
