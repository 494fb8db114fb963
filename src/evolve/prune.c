/* A program for people: knobs fixed, `#if` branches that the file itself decides resolved, what is then unused removed.
 *
 * Invariant: the result compiles to the same code. So only what follows from the text is resolved (cpp.h), only macros
 * that nothing mentions any more are removed, and a source with constructs that make that unsafe is returned as it
 * is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "evolve/cpp.h"
#include "evolve/knobs.h"
#include "evolve/lex.h"

/* ---- tidying: rows of text, some of them removed, leave no scars ---- */

typedef struct {
    size_t at, end;
    bool code, comment, removed, marker;
} row;

typedef struct {
    const char *s;
    row *r;
    int n;
} rows;

static rows rows_of(const char *s)
{
    size_t count = 1;
    for (const char *p = s; *p; p++) count += *p == '\n';
    rows t = {.s = s, .r = atn_alloc(count * sizeof(row))};
    for (size_t i = 0; s[i];) {
        size_t end = i + strcspn(s + i, "\n");
        end += s[end] == '\n';
        t.r[t.n++] = (row){.at = i, .end = end};
        i = end;
    }
    lex_state l = lex_start(s);
    for (lex_token x = lex_next(&l); x.kind != LEX_END; x = lex_next(&l)) {
        if (x.kind == LEX_NEWLINE) continue;
        for (int i = x.line - 1; i < t.n && t.r[i].at < x.end; i++) {
            if (x.kind != LEX_COMMENT) t.r[i].code = true;
            else t.r[i].comment = true, t.r[i].marker |= memmem(s + x.at, x.end - x.at, "EVOLVE-BLOCK", 12) != NULL;
        }
    }
    return t;
}

static void remove_bytes(rows *t, size_t at, size_t end)
{
    for (int i = 0; i < t->n; i++) t->r[i].removed |= t->r[i].at >= at && t->r[i].end <= end;
}

static bool is_blank(const row *r) { return !r->code && !r->comment; }

static char last_char(const rows *t, const row *r)
{
    size_t e = r->end;
    while (e > r->at && strchr(" \t\r\n", t->s[e - 1])) e--;
    return e > r->at ? t->s[e - 1] : 0;
}

static char first_char(const rows *t, const row *r) { return t->s[r->at + strspn(t->s + r->at, " \t")]; }

/* Takes away what a removed run leaves behind: a comment with nothing under it, doubled blank rows, a blank row after
 * an opening brace or before a closing one. */
static void tidy(rows *t)
{
    for (int i = 0; i < t->n; i++) {
        if (!t->r[i].removed) continue;
        int before = i - 1, after = i;
        while (after < t->n && t->r[after].removed) after++;
        while (before >= 0 && t->r[before].removed) before--;
        bool end = after == t->n || is_blank(&t->r[after]);

        int top = before;
        while (top >= 0 && !t->r[top].removed && t->r[top].comment && !t->r[top].code && !t->r[top].marker) top--;
        bool orphan = end && top < before && top >= 0 && (t->r[top].removed || is_blank(&t->r[top]));
        if (orphan) {
            for (int k = top + 1; k <= before; k++) t->r[k].removed = true;
            before = top;
            while (before >= 0 && t->r[before].removed) before--;
        }
        if (end && (before < 0 || is_blank(&t->r[before]) || last_char(t, &t->r[before]) == '{'))
            while (after < t->n && is_blank(&t->r[after])) t->r[after++].removed = true;
        if (after < t->n && first_char(t, &t->r[after]) == '}')
            while (before >= 0 && is_blank(&t->r[before])) t->r[before--].removed = true;
        i = after - 1;
    }
}

static char *join(const rows *t)
{
    atn_text out = {0};
    for (int i = 0; i < t->n; i++)
        if (!t->r[i].removed) text_addn(&out, t->s + t->r[i].at, t->r[i].end - t->r[i].at);
    return text_take(&out);
}

/* ---- conditionals ---- */

/* `# <blanks> word rest` with the blanks that fit the conditionals that are left around it. */
static void add_directive(atn_text *out, const char *s, size_t n, cpp_fate fate, int depth, int gone)
{
    size_t hash = 0;
    while (hash < n && s[hash] != '#') hash++;
    size_t word = hash + 1;
    while (word < n && s[word] == ' ') word++;
    size_t blanks = word - hash - 1;
    if (depth > 0 && blanks % (size_t)depth == 0) blanks = blanks / (size_t)depth * (size_t)(depth - gone);
    text_addn(out, s, ATN_MIN(hash + 1, n));
    for (size_t i = 0; i < blanks; i++) text_add(out, " ");
    if (word >= n) return;
    if (fate == CPP_BECOMES_ELSE) text_add(out, "else\n");
    else if (fate == CPP_BECOMES_IF) text_addn(out, s + word + 2, n - word - 2);      /* elif -> if */
    else text_addn(out, s + word, n - word);
}

/* Indented by blanks before the #, or spelt with %: or splices: leave the blanks alone. */
static bool plain_directive(const char *s, size_t n, cpp_fate fate)
{
    size_t i = strspn(s, " \t");
    if (i >= n || s[i] != '#') return false;
    i++;
    while (i < n && s[i] == ' ') i++;
    return fate == CPP_LIVE || (n - i >= 4 && !memcmp(s + i, "elif", 4));
}

static char *resolve(const char *source, cpp_program *p, const cpp_fate *fate)
{
    /* First the rows that go, tidied; then the rewriting of directives that stay, in the order of the text. */
    rows t = rows_of(source);
    for (int i = 0; i < p->n_items; i++)
        if (p->items[i].kind != CPP_ASSERT && (fate[i] == CPP_DEAD || fate[i] == CPP_DROP))
            remove_bytes(&t, p->items[i].at, p->items[i].end);
    for (int i = 0; i < t.n; i++)
        if (t.r[i].removed && t.r[i].marker) {
            free(t.r);
            return NULL;
        }
    tidy(&t);
    atn_text out = {0};
    bool dropped[256] = {false};
    int depth = 0, gone = 0, at = 0;
    bool failed = false;
    for (int i = 0; i < p->n_items && !failed; i++) {
        const cpp_item *item = &p->items[i];
        if (item->kind == CPP_ASSERT) continue;
        if (item->kind == CPP_ENDIF) depth--, gone -= dropped[depth];
        int outside = depth - (item->kind == CPP_ELIF || item->kind == CPP_ELSE);
        bool directive = item->kind != CPP_TEXT, whole = directive && fate[i] != CPP_DEAD && fate[i] != CPP_DROP;
        if (whole && outside >= 0) {
            int gone_outside = gone - (outside < depth && dropped[depth - 1]);
            if (plain_directive(source + item->at, item->end - item->at, fate[i]))
                add_directive(&out, source + item->at, item->end - item->at, fate[i], outside, gone_outside);
            else if (fate[i] == CPP_LIVE || fate[i] == CPP_VIOLATED)
                text_addn(&out, source + item->at, item->end - item->at);
            else failed = true;
        }
        for (; at < t.n && t.r[at].at < item->end; at++)
            if (!whole && !t.r[at].removed) text_addn(&out, source + t.r[at].at, t.r[at].end - t.r[at].at);
        if (item->kind == CPP_IF && depth < ATN_COUNT(dropped)) {
            /* An #if that is dropped may hand its place to an #elif: then the conditional stays. */
            bool stays = fate[i] != CPP_DROP && fate[i] != CPP_DEAD;
            for (int k = i + 1, nest = 0; k < p->n_items && !stays; k++) {
                cpp_kind kind = p->items[k].kind;
                if (kind == CPP_ENDIF && nest-- == 0) break;
                nest += kind == CPP_IF;
                stays = kind == CPP_ELIF && nest == 0 && fate[k] == CPP_BECOMES_IF;
            }
            dropped[depth] = !stays;
            gone += dropped[depth++];
        }
    }
    free(t.r);
    char *text = text_take(&out);
    if (failed) {
        free(text);
        return NULL;
    }
    return text;
}

/* ---- knobs and macros ---- */

/* Names that decided a branch: their knobs are no choice any more. Follows macro bodies. */
static void mark_deciding(const cpp_program *p, const cpp_fate *fate, const bool *asked, bool *fixed)
{
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < p->n_items; i++) {
            const cpp_item *item = &p->items[i];
            bool condition = item->kind == CPP_IF || item->kind == CPP_ELIF;
            bool counts = condition ? asked[i] && fate[i] != CPP_LIVE : item->kind == CPP_DEFINE && fixed[item->name];
            for (int w = 0; counts && w < item->words; w++) {
                again |= !fixed[p->words[item->word + w]];
                fixed[p->words[item->word + w]] = true;
            }
        }
    }
}

/* Takes the value lists off knobs in `fixed` (names, NULL-terminated list); a note stays as a plain comment. */
static char *unlist_knobs(const char *source, const atn_knobs *k, char *const *fixed, int n_fixed)
{
    atn_text out = {0};
    lex_state l = lex_start(source);
    size_t done = 0;
    for (lex_token x = lex_next(&l); x.kind != LEX_END; x = lex_next(&l)) {
        if (x.kind != LEX_COMMENT) continue;
        int knob = -1;
        for (int i = 0; i < k->count; i++)
            if (k->knob[i].line == x.line) knob = i;
        bool drop = false;
        for (int i = 0; i < n_fixed && knob >= 0; i++) drop |= !strcmp(fixed[i], k->knob[knob].name);
        if (!drop || !memmem(source + x.at, x.end - x.at, "knob:", 5)) continue;
        size_t at = x.at;
        while (!k->knob[knob].note[0] && at > done && (source[at - 1] == ' ' || source[at - 1] == '\t')) at--;
        text_addn(&out, source + done, at - done);
        if (k->knob[knob].note[0]) text_addf(&out, source[x.at + 1] == '*' ? "/* %s */" : "// %s", k->knob[knob].note);
        done = x.end;
    }
    text_add(&out, source + done);
    return text_take(&out);
}

static bool mentioned(const cpp_program *p, int name)
{
    for (int i = 0; i < p->n_items; i++) {
        const cpp_item *item = &p->items[i];
        if (item->name == name || item->kind == CPP_ASSERT) continue;
        for (int w = 0; w < item->words; w++)
            if (p->words[item->word + w] == name) return true;
    }
    return false;
}

static bool is_knob(const atn_knobs *k, const char *name)
{
    for (int i = 0; i < k->count; i++)
        if (!strcmp(k->knob[i].name, name)) return true;
    return false;
}

static bool name_in(const char *name, char *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(list[i], name)) return true;
    return false;
}

/* One round of removing macros that nothing mentions: knobs, and those whose last mention went with a dead branch
 * (`used`: mentioned before). ATN_ names speak to the headers. NULL: nothing to remove. */
static char *remove_unused(const char *source, const atn_knobs *k, char *const *used, int n_used)
{
    cpp_program *p = cpp_parse(source, NULL);
    rows t = rows_of(source);
    bool any = false;
    for (int i = 0; i < p->n_items && !p->malformed; i++) {
        const cpp_item *item = &p->items[i];
        if (item->kind != CPP_DEFINE && item->kind != CPP_DEFINE_CALL) continue;
        const char *name = p->names[item->name];
        if (text_starts(name, "ATN_") || p->pasteable[item->name] || mentioned(p, item->name)) continue;
        if (!is_knob(k, name) && !name_in(name, used, n_used)) continue;
        for (int j = 0; j < p->n_items; j++)
            if (p->items[j].name == item->name) remove_bytes(&t, p->items[j].at, p->items[j].end);
        any = true;
    }
    char *out = NULL;
    if (any) {
        bool marker = false;
        for (int i = 0; i < t.n; i++) marker |= t.r[i].removed && t.r[i].marker;
        tidy(&t);
        if (!marker) out = join(&t);
    }
    free(t.r);
    cpp_free(p);
    return out;
}

char *program_prune(const char *source)
{
    ATN_ASSERT(source);
    atn_knobs *k = atn_alloc(sizeof *k);
    if (knobs_parse(source, k, NULL) != ATN_OK) k->count = 0;
    cpp_program *p = cpp_parse(source, k);
    cpp_fate *fate = atn_alloc((size_t)(p->n_items + 1) * sizeof *fate);
    bool *asked = atn_alloc((size_t)p->n_items + 1), *fixed = atn_alloc((size_t)p->n_names + 1);
    char **fixed_name = atn_alloc((size_t)(p->n_names + 1) * sizeof *fixed_name);
    char **used = atn_alloc((size_t)(p->n_names + 1) * sizeof *used);
    char *text = NULL;
    int n_fixed = 0, n_used = 0;
    if (p->malformed) goto done;
    cpp_walk(p, NULL, fate, asked);
    mark_deciding(p, fate, asked, fixed);
    for (int i = 0; i < p->n_names; i++) {
        if (fixed[i]) fixed_name[n_fixed++] = p->names[i];
        if (mentioned(p, i)) used[n_used++] = p->names[i];
    }
    char *listless = unlist_knobs(source, k, fixed_name, n_fixed);
    /* Comments are no tokens: the items of the shorter text are the same, at other places. */
    cpp_program *q = cpp_parse(listless, NULL);
    if (q->n_items == p->n_items) text = resolve(listless, q, fate);
    cpp_free(q);
    free(listless);
    for (int round = 0; text && round < 64; round++) {
        char *next = remove_unused(text, k, used, n_used);
        if (!next) break;
        free(text);
        text = next;
    }
done:
    free(used), free(fixed_name), free(fixed), free(asked), free(fate), free(k);
    cpp_free(p);
    return text ? text : atn_strdup(source);
}
