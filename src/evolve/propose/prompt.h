/* Prompts: templates in files with {{places}}, filled once, left to right; what is put in is never read as a template.
 *
 *     prompt_set(&v, "parent", text);  char *s = prompt_fill(template, &v);
 *
 * Untrusted text (programs, compiler output, evidence) goes in through prompt_quote: a fence longer than any run of fence
 * signs within, control bytes out, words that chat templates read as a change of role broken up. */
#ifndef ATN_EVOLVE_PROMPT_H
#define ATN_EVOLVE_PROMPT_H

#include "base/status.h"
#include "base/text.h"

enum { PROMPT_PLACES = 32 };

typedef struct {
    const char *name[PROMPT_PLACES];
    char *text[PROMPT_PLACES];
    int n;
} prompt_values;

void prompt_set(prompt_values *v, const char *name, char *text); /* takes text; "" for NULL */
void prompt_clear(prompt_values *v);
/* A line that holds only a place whose text is empty goes away with its newline. */
char *prompt_fill(const char *pattern, const prompt_values *v);
/* `name`.md of the folder, else of the folder that attune comes with. */
atn_status prompt_template(const char *folder, const char *name, char **out, atn_error *err);

void prompt_quote(atn_text *t, const char *language, const char *text, size_t most);
/* The same without a fence, on one line: names, notes. */
void prompt_word(atn_text *t, const char *text, size_t most);

#endif
