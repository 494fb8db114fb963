/* The preprocessor as far as integer constants go: which branches of a source are dead, which static assertions fail,
 * which knobs matter, for given knob values. Three-valued: what depends on anything outside the file stays unknown.
 *
 *     cpp_program *p = cpp_parse(source, &knobs);
 *     cpp_predefine(p, "VL", "16");                     // hints about the machine, where guessing is allowed
 *     if (cpp_allows(p, values, &why)) ...              // values[i]: of knob i, NULL: as in the source
 *
 * Invariant: "dead" and "violated" are claimed only when they follow from the text; unknown is always a right
 * answer. */
#ifndef ATN_EVOLVE_CPP_H
#define ATN_EVOLVE_CPP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "evolve/knobs.h"

typedef enum {
    CPP_TEXT,           /* lines that are no directives */
    CPP_ASSERT,         /* the condition of a _Static_assert inside such lines; its extent overlaps theirs */
    CPP_DEFINE,         /* object-like */
    CPP_DEFINE_CALL,    /* function-like */
    CPP_UNDEF, CPP_IF, CPP_ELIF, CPP_ELSE, CPP_ENDIF, CPP_ERROR,
    CPP_OTHER           /* include, pragma, ... */
} cpp_kind;

typedef enum {
    CPP_LIVE,           /* stays (perhaps under a condition that is unknown) */
    CPP_DEAD,           /* can never be compiled */
    CPP_DROP,           /* a conditional directive that is decided */
    CPP_BECOMES_IF, CPP_BECOMES_ELSE,    /* an #elif that is the first, or the last, that remains */
    CPP_VIOLATED        /* an assertion or #error that surely fires */
} cpp_fate;

typedef struct cpp_token cpp_token;

typedef struct {
    cpp_kind kind;
    size_t at, end;     /* whole lines of the source, newline included */
    int line;
    int name;           /* of DEFINE, DEFINE_CALL, UNDEF: index into cpp_program.names; else -1 */
    int knob;           /* index of the knob that this DEFINE is, else -1 */
    int token, tokens;  /* condition or body */
    int word, words;    /* names mentioned, in cpp_program.words: macros of this file only */
} cpp_item;

typedef struct {
    const char *source;
    bool malformed;     /* conditionals do not nest, or a construct that we do not follow: everything is unknown */
    char **names;
    int n_names;
    bool *pasteable;    /* per name: ## could make it from pieces, so a mention may be invisible */
    cpp_item *items;
    int n_items;
    int *words;
    cpp_token *token;
    struct cpp_scratch *scratch;
} cpp_program;

/* `source` must outlive the program; knobs may be NULL. */
cpp_program *cpp_parse(const char *source, const atn_knobs *knobs);
void cpp_free(cpp_program *p);
/* Before all of the source: `#define name body`. Only for hints; pruning must not use it. */
void cpp_predefine(cpp_program *p, const char *name, const char *body);

/* One fate per item (n_items of them). asked[i] (may be NULL): item i is a condition that was evaluated. */
void cpp_walk(cpp_program *p, const long *values, cpp_fate *fate, bool *asked);
/* false: some assertion or #error fires for sure; *line (may be NULL) is where. */
bool cpp_allows(cpp_program *p, const long *values, int *line);
/* active[i]: knob i can change the compiled code at these values. */
void cpp_active(cpp_program *p, const long *values, int n_knobs, bool *active);

/* group[i]: smallest knob that some assertion ties to knob i, directly or through others; i itself where there is
 * none. */
void cpp_groups(cpp_program *p, int n_knobs, int *group);

#endif
