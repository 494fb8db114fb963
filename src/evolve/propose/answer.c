/* Answers to programs. Texts are arrays of lines that point into a buffer; an edit finds its place by lines: as
 * written, then without trailing blanks, then with one shift of indentation for the whole block. Invariant: the lines
 * outside the markers of the result are those of the parent, byte for byte. */
#include "evolve/propose/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/status.h"
#include "base/text.h"

typedef struct {
    const char *s;
    int n; /* bytes without the newline */
} line;

typedef struct {
    line *at;
    int n;
} lines;

typedef struct {
    lines search, replace;
    int number; /* 1-based, as in the answer */
} edit;

typedef struct {
    edit *at;
    int n;
} edits;

const char *answer_word(answer_outcome o)
{
    static const char *const words[] = {"ok",        "empty",   "malformed", "no match",
                                        "ambiguous", "outside", "too large", "same"};
    return words[o];
}

/* ---- lines ---- */

static lines split(const char *s, size_t bytes)
{
    lines out = {0};
    int room = 0;
    for (size_t i = 0; i < bytes;) {
        const char *nl = memchr(s + i, '\n', bytes - i);
        size_t end = nl ? (size_t)(nl - s) : bytes;
        if (out.n == room) out.at = atn_realloc(out.at, sizeof *out.at * (size_t)(room = room ? 2 * room : 64));
        out.at[out.n++] = (line){s + i, (int)(end - i)};
        i = end + 1;
    }
    return out;
}

static void push(lines *l, line x)
{
    if (!(l->n & (l->n - 1))) l->at = atn_realloc(l->at, sizeof *l->at * (size_t)(l->n ? 2 * l->n : 1));
    l->at[l->n++] = x;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static line right_trimmed(line x)
{
    while (x.n && blank(x.s[x.n - 1])) x.n--;
    return x;
}

static int indent_of(line x)
{
    int width = 0;
    for (int i = 0; i < x.n && blank(x.s[i]); i++) width = x.s[i] == '\t' ? (width | 7) + 1 : width + 1;
    return width;
}

static line trimmed(line x)
{
    x = right_trimmed(x);
    while (x.n && blank(*x.s)) x.s++, x.n--;
    return x;
}

static bool same(line a, line b)
{
    return a.n == b.n && !memcmp(a.s, b.s, (size_t)a.n);
}

static bool holds(line x, const char *word)
{
    return x.n > 0 && memmem(x.s, (size_t)x.n, word, strlen(word)) != NULL;
}

/* Markers stand in comments. */
static bool is_marker(line x, const char *which)
{
    if (!holds(x, which)) return false;
    const char *m = memmem(x.s, (size_t)x.n, which, strlen(which));
    return memmem(x.s, (size_t)(m - x.s), "//", 2) || memmem(x.s, (size_t)(m - x.s), "/*", 2) ||
           memmem(x.s, (size_t)(m - x.s), "#", 1);
}

static bool is_start(line x)
{
    return is_marker(x, "EVOLVE-BLOCK-START");
}
static bool is_end(line x)
{
    return is_marker(x, "EVOLVE-BLOCK-END");
}

/* inside[i]: line i may change. Without markers all may. Returns the number of blocks. */
static int regions(const lines *l, bool *inside)
{
    int blocks = 0;
    bool open = false;
    for (int i = 0; i < l->n; i++) {
        bool end = is_end(l->at[i]);
        if (end) open = false;
        inside[i] = open;
        if (is_start(l->at[i])) open = true, blocks++;
    }
    if (!blocks)
        for (int i = 0; i < l->n; i++) inside[i] = true;
    return blocks;
}

/* ---- finding blocks in an answer ---- */

/* "<<<<<<< SEARCH": at least five of the sign, then the word, or nothing for '='. */
static bool delimiter(line x, char sign, const char *word)
{
    x = trimmed(x);
    int k = 0;
    while (k < x.n && x.s[k] == sign) k++;
    if (k < 5 || k > 12) return false;
    line rest = trimmed((line){x.s + k, x.n - k});
    return rest.n == (int)strlen(word) && !strncasecmp(rest.s, word, (size_t)rest.n);
}

static bool refuse(answer_program *out, answer_outcome why, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool refuse(answer_program *out, answer_outcome why, const char *format, ...)
{
    va_list va;
    va_start(va, format);
    vsnprintf(out->problem, sizeof out->problem, format, va);
    va_end(va);
    out->outcome = why;
    return false;
}

static edit *push_edit(edits *e)
{
    e->at = atn_realloc(e->at, sizeof *e->at * (size_t)(e->n + 1));
    e->at[e->n] = (edit){.number = e->n + 1};
    return &e->at[e->n++];
}

static bool find_edits(const lines *a, edits *out, answer_program *result)
{
    enum { TEXT, SEARCH, REPLACE } state = TEXT;
    edit *e = NULL;
    for (int i = 0; i < a->n; i++) {
        line x = a->at[i];
        if (delimiter(x, '<', "SEARCH")) {
            if (state != TEXT)
                return refuse(result, ANSWER_MALFORMED,
                              "block %d: a second '<<<<<<< SEARCH' before its '>>>>>>> REPLACE'", e->number);
            if (out->n >= ANSWER_BLOCKS_MAX)
                return refuse(result, ANSWER_TOO_LARGE, "more than %d blocks", ANSWER_BLOCKS_MAX);
            e = push_edit(out);
            state = SEARCH;
        } else if (state == SEARCH && delimiter(x, '=', "")) {
            state = REPLACE;
        } else if (delimiter(x, '>', "REPLACE")) {
            if (state == TEXT) continue;
            if (state == SEARCH)
                return refuse(result, ANSWER_MALFORMED, "block %d: no '=======' before '>>>>>>> REPLACE'", e->number);
            state = TEXT;
        } else if (state == SEARCH) {
            push(&e->search, x);
        } else if (state == REPLACE) {
            push(&e->replace, x);
        }
    }
    if (state != TEXT)
        return refuse(result, ANSWER_MALFORMED, "block %d does not end with '>>>>>>> REPLACE': is the answer cut off?",
                      e->number);
    return true;
}

static bool is_hunk(line x)
{
    return x.n >= 4 && !memcmp(x.s, "@@ ", 3) && memmem(x.s + 3, (size_t)x.n - 3, "@@", 2);
}

/* Line numbers of hunks are not believed, only their text: models cannot count lines. */
static bool find_hunks(const lines *a, edits *out, answer_program *result)
{
    edit *e = NULL;
    bool inside = false;
    for (int i = 0; i < a->n; i++) {
        line x = a->at[i];
        if (is_hunk(x) || (inside && x.n == 2 && !memcmp(x.s, "@@", 2))) {
            if (out->n >= ANSWER_BLOCKS_MAX)
                return refuse(result, ANSWER_TOO_LARGE, "more than %d hunks", ANSWER_BLOCKS_MAX);
            e = push_edit(out);
            inside = true;
            continue;
        }
        bool fence = x.n >= 3 && !memcmp(x.s, "```", 3);
        bool header = x.n >= 4 && (!memcmp(x.s, "--- ", 4) || !memcmp(x.s, "+++ ", 4) || !memcmp(x.s, "diff", 4));
        if (!inside || fence || header) {
            inside = inside && !fence && !header;
            continue;
        }
        line rest = {x.s + 1, x.n - 1};
        if (x.n == 0) push(&e->search, x), push(&e->replace, x);
        else if (*x.s == ' ') push(&e->search, rest), push(&e->replace, rest);
        else if (*x.s == '-') push(&e->search, rest);
        else if (*x.s == '+') push(&e->replace, rest);
        else if (*x.s == '\\') continue;
        else inside = false;
    }
    for (int i = 0; i < out->n; i++) { /* blank lines after the last hunk belong to the prose */
        lines *s = &out->at[i].search, *r = &out->at[i].replace;
        while (s->n && r->n && !s->at[s->n - 1].n && !r->at[r->n - 1].n) s->n--, r->n--;
    }
    return true;
}

/* ---- applying ---- */

typedef enum { EXACT, TRAILING, SHIFTED, LEVELS } match_level;

static bool matches(const lines *t, int at, const lines *search, match_level level, int *shift)
{
    bool first = true;
    *shift = 0;
    for (int i = 0; i < search->n; i++) {
        line a = t->at[at + i], b = search->at[i];
        if (level == EXACT && !same(a, b)) return false;
        if (level == TRAILING && !same(right_trimmed(a), right_trimmed(b))) return false;
        if (level != SHIFTED) continue;
        if (!same(trimmed(a), trimmed(b))) return false;
        if (!trimmed(a).n) continue;
        int s = indent_of(a) - indent_of(b);
        if (!first && s != *shift) return false;
        *shift = s;
        first = false;
    }
    return true;
}

static void excerpt(line x, char out[84])
{
    x = trimmed(x);
    int n = 0;
    for (int i = 0; i < x.n && n < 80; i++) out[n++] = (unsigned char)x.s[i] < ' ' ? ' ' : x.s[i];
    out[n] = 0;
}

/* Where the search text fits best, and the first line of it that does not. */
static void say_nearest(const lines *t, const edit *e, int n, answer_program *out)
{
    int best = -1, best_at = 0;
    for (int at = 0; at + 1 <= t->n; at++) {
        int score = 0;
        for (int i = 0; i < e->search.n && at + i < t->n; i++) {
            line b = trimmed(e->search.at[i]);
            score += b.n && same(trimmed(t->at[at + i]), b) ? 3 : 0;
        }
        if (score > best) best = score, best_at = at;
    }
    char want[84], have[84];
    if (best <= 0) { /* no line of it is there: the one nearest in spelling to its first words */
        line first = {0};
        for (int i = 0; i < e->search.n && !first.n; i++) first = trimmed(e->search.at[i]);
        excerpt(first, want);
        int least = 1 << 30;
        for (int i = 0; i < t->n; i++) {
            excerpt(t->at[i], have);
            int d = *have ? text_distance(want, have) : 1 << 29;
            if (d < least) least = d, best_at = i;
        }
        excerpt(t->at[best_at], have);
        refuse(out, ANSWER_NO_MATCH,
               "block %d of %d: its SEARCH text is not in the program; nearest to its line '%s' is line %d: '%s'",
               e->number, n, want, best_at + 1, have);
        return;
    }
    for (int i = 0; i < e->search.n; i++) {
        if (best_at + i < t->n && same(trimmed(t->at[best_at + i]), trimmed(e->search.at[i]))) continue;
        excerpt(e->search.at[i], want);
        excerpt(best_at + i < t->n ? t->at[best_at + i] : (line){0}, have);
        refuse(out, ANSWER_NO_MATCH,
               "block %d of %d: its SEARCH text is not in the program; it fits best at line %d, but its line "
               "%d '%s' is '%s' there (line %d)",
               e->number, n, best_at + 1, i + 1, want, have, best_at + i + 1);
        return;
    }
    refuse(out, ANSWER_NO_MATCH,
           "block %d of %d: its lines are in the program at line %d, but with other indentation in each", e->number, n,
           best_at + 1);
}

/* What really changes: without the lines that search and replace share at both ends. */
static void core(const edit *e, int *head, int *tail)
{
    int least = ATN_MIN(e->search.n, e->replace.n);
    *head = *tail = 0;
    while (*head < least && same(right_trimmed(e->search.at[*head]), right_trimmed(e->replace.at[*head]))) ++*head;
    while (*tail < least - *head && same(right_trimmed(e->search.at[e->search.n - 1 - *tail]),
                                         right_trimmed(e->replace.at[e->replace.n - 1 - *tail])))
        ++*tail;
}

/* May the lines [from, to) be replaced? With from == to: may lines be put in before `from`? */
static bool may_change(const bool *inside, const lines *t, bool marked, int from, int to)
{
    if (from == to) return !marked || (from < t->n && (inside[from] || is_end(t->at[from])));
    for (int i = from; i < to; i++)
        if (!inside[i]) return false;
    return true;
}

static void add_line(atn_text *t, line x, int shift)
{
    x = right_trimmed(x);
    if (shift && x.n) {
        int width = ATN_MAX(0, indent_of(x) + shift);
        x = trimmed(x);
        for (int i = 0; i < width; i++) text_addn(t, " ", 1);
    }
    text_addn(t, x.s, (size_t)x.n);
    text_addn(t, "\n", 1);
}

static bool apply_edit(const edit *e, int n, char **source, answer_program *out)
{
    lines t = split(*source, strlen(*source));
    bool *inside = atn_alloc((size_t)t.n + 1), done = false, failed = false;
    bool marked = regions(&t, inside) > 0;
    int head, tail;
    core(e, &head, &tail);
    for (int i = head; i < e->replace.n - tail; i++)
        if (is_start(e->replace.at[i]) || is_end(e->replace.at[i]))
            failed = !refuse(out, ANSWER_OUTSIDE, "block %d of %d puts an EVOLVE-BLOCK marker into the program",
                             e->number, n);
    for (match_level level = EXACT; level < LEVELS && !done && !failed; level++) {
        int found = 0, elsewhere = -1, at = -1, second = -1, shift = 0, s;
        for (int i = 0; i + e->search.n <= t.n; i++) {
            if (!matches(&t, i, &e->search, level, &s)) continue;
            if (!may_change(inside, &t, marked, i + head, i + e->search.n - tail)) {
                elsewhere = i;
                continue;
            }
            if (found++ == 0) at = i, shift = s;
            else second = i;
        }
        if (found > 1)
            failed = !refuse(out, ANSWER_AMBIGUOUS,
                             "block %d of %d: its SEARCH text is in the program more than once, at lines %d and %d; "
                             "give more lines around it",
                             e->number, n, at + 1, second + 1);
        else if (!found && elsewhere >= 0)
            failed = !refuse(out, ANSWER_OUTSIDE,
                             "block %d of %d changes line %d, which is outside the EVOLVE-BLOCK markers", e->number, n,
                             elsewhere + head + 1);
        if (found != 1) continue;
        atn_text result = {0};
        for (int i = 0; i < at + head; i++)
            text_addn(&result, t.at[i].s, (size_t)t.at[i].n), text_addn(&result, "\n", 1);
        for (int i = head; i < e->replace.n - tail; i++) add_line(&result, e->replace.at[i], shift);
        for (int i = at + e->search.n - tail; i < t.n; i++) {
            text_addn(&result, t.at[i].s, (size_t)t.at[i].n);
            text_addn(&result, "\n", 1);
        }
        free(*source);
        *source = text_take(&result);
        t.n = 0;
        done = true;
    }
    if (!done && !failed) say_nearest(&t, e, n, out);
    free(t.at);
    free(inside);
    return done;
}

static bool apply_edits(const edits *e, const char *parent, answer_program *out)
{
    char *source = atn_strdup(parent);
    bool ok = true;
    for (int i = 0; i < e->n && ok; i++) {
        int filled = 0;
        for (int k = 0; k < e->at[i].search.n; k++) filled += trimmed(e->at[i].search.at[k]).n > 0;
        if (!filled)
            ok = refuse(out, ANSWER_MALFORMED,
                        "block %d of %d: its SEARCH part is empty; name the lines to be replaced", i + 1, e->n);
        else ok = apply_edit(&e->at[i], e->n, &source, out);
    }
    if (ok) out->source = source;
    else free(source);
    return ok;
}

/* ---- whole programs ---- */

/* The longest fenced block, those that look like a kernel first. *open: one does not end. */
static lines find_fence(const lines *a, bool *open)
{
    lines best = {0};
    long best_rank = -1;
    *open = false;
    for (int i = 0; i < a->n; i++) {
        line x = trimmed(a->at[i]);
        int ticks = 0;
        while (ticks < x.n && x.s[ticks] == *x.s && (*x.s == '`' || *x.s == '~')) ticks++;
        if (ticks < 3) continue;
        char sign = *x.s;
        int first = i + 1, end = -1;
        for (int k = first; k < a->n && end < 0; k++) {
            line y = trimmed(a->at[k]);
            int m = 0;
            while (m < y.n && y.s[m] == sign) m++;
            if (m >= ticks && m == y.n) end = k;
        }
        if (end < 0) {
            *open = true;
            break;
        }
        long rank = 0;
        bool kernel = false;
        for (int k = first; k < end; k++) {
            rank += a->at[k].n + 1;
            kernel |= is_start(a->at[k]) || holds(a->at[k], "attune_kernel");
        }
        rank += kernel ? 1L << 40 : 0;
        if (rank > best_rank) best_rank = rank, best = (lines){a->at + first, end - first};
        i = end;
    }
    return best;
}

static void add_lines(atn_text *t, const lines *l, int from, int to)
{
    for (int i = from; i < to; i++) {
        text_addn(t, l->at[i].s, (size_t)l->at[i].n);
        text_addn(t, "\n", 1);
    }
}

/* The parent's lines outside the markers with the answer's between them. A block alone, without markers and table, is
 * the content of the parent's only block. */
static bool rewrite(const lines *code, const char *parent, answer_program *out)
{
    lines p = split(parent, strlen(parent));
    bool *in_p = atn_alloc((size_t)p.n + 1), *in_c = atn_alloc((size_t)code->n + 1), table = false, ok = true;
    int blocks = regions(&p, in_p), have = regions(code, in_c);
    atn_text t = {0};
    for (int i = 0; i < code->n; i++) table |= holds(code->at[i], "attune_kernel");
    if (!blocks) {
        add_lines(&t, code, 0, code->n);
    } else if (!have && blocks == 1 && !table) {
        for (int i = 0; i < p.n; i++) {
            if (is_end(p.at[i])) add_lines(&t, code, 0, code->n);
            if (!in_p[i]) add_lines(&t, &p, i, i + 1);
        }
    } else if (have != blocks) {
        ok = refuse(out, ANSWER_OUTSIDE,
                    "the program has %d EVOLVE-BLOCK, the answer %d; keep the marker lines as they are", blocks, have);
    } else {
        int c = 0;
        for (int i = 0; i < p.n && ok; i++) {
            if (in_p[i]) continue;
            while (c < code->n && !in_c[c] && !trimmed(code->at[c]).n && trimmed(p.at[i]).n) c++;
            if (is_end(p.at[i])) {
                int first = c;
                while (c < code->n && in_c[c]) c++;
                add_lines(&t, code, first, c);
            }
            if (!trimmed(p.at[i]).n) {
                add_lines(&t, &p, i, i + 1);
                while (c < code->n && !in_c[c] && !trimmed(code->at[c]).n) c++;
                continue;
            }
            if (c >= code->n || in_c[c] || !same(trimmed(p.at[i]), trimmed(code->at[c]))) {
                char is[84], was[84];
                excerpt(c < code->n ? code->at[c] : (line){0}, is);
                excerpt(p.at[i], was);
                ok = refuse(out, ANSWER_OUTSIDE,
                            "line %d '%s' is outside the EVOLVE-BLOCK markers and may not become '%s'", i + 1, was, is);
            } else {
                add_lines(&t, &p, i, i + 1);
                c++;
            }
        }
        while (ok && c < code->n && !trimmed(code->at[c]).n) c++;
        if (ok && c < code->n) ok = refuse(out, ANSWER_OUTSIDE, "the answer adds lines after the last EVOLVE-BLOCK");
    }
    if (ok) out->source = text_take(&t);
    text_free(&t);
    free(p.at);
    free(in_p);
    free(in_c);
    return ok;
}

/* ---- the whole ---- */

/* Reasoning that some servers leave in the text is no part of the answer. */
static const char *after_thoughts(const char *s)
{
    const char *end = NULL;
    for (const char *p = s; (p = strstr(p, "</think>")); p += 8) end = p + 8;
    return end ? end : s;
}

static void find_note(const lines *a, char out[200])
{
    size_t n = 0;
    bool fence = false;
    for (int i = 0; i < a->n && !n; i++) {
        line x = trimmed(a->at[i]);
        if (x.n >= 3 && !memcmp(x.s, "```", 3)) fence = !fence;
        else if (delimiter(x, '<', "SEARCH")) break;
        else if (!fence && x.n > 3 && *x.s != '`' && *x.s != '<' && *x.s != '@')
            for (int k = 0; k < x.n && n < 199; k++)
                if (n || (x.s[k] != '#' && x.s[k] != '*' && x.s[k] != '-' && x.s[k] != ' '))
                    out[n++] = (unsigned char)x.s[k] < ' ' ? ' ' : x.s[k];
    }
    while (n && ((unsigned char)out[n - 1] & 0xc0) == 0x80 && n == 199) n--; /* not in the middle of a character */
    if (n == 198 && (unsigned char)out[n - 1] >= 0xc0) n--;
    out[n] = 0;
}

/* What must never be wrong, checked again on the result: the same markers, the same lines around them. */
bool answer_keeps_outside(const char *parent, const char *source)
{
    lines p = split(parent, strlen(parent)), q = split(source, strlen(source));
    bool *in_p = atn_alloc((size_t)p.n + 1), *in_q = atn_alloc((size_t)q.n + 1), ok = true;
    int marked = regions(&p, in_p), i = 0, k = 0;
    regions(&q, in_q);
    while (marked && ok && (i < p.n || k < q.n)) {
        if (i < p.n && in_p[i]) i++;
        else if (k < q.n && in_q[k]) ok = !is_start(q.at[k++]);
        else ok = i < p.n && k < q.n && same(p.at[i++], q.at[k++]);
    }
    free(p.at);
    free(q.at);
    free(in_p);
    free(in_q);
    return ok;
}

bool answer_apply(const char *answer, const char *parent, const answer_limits *limits, answer_program *out)
{
    *out = (answer_program){0};
    size_t most = limits && limits->source_max ? limits->source_max : 256 << 10;
    answer = after_thoughts(answer);
    if (strnlen(answer, ANSWER_BYTES_MAX + 1) > ANSWER_BYTES_MAX)
        return refuse(out, ANSWER_TOO_LARGE, "the answer is longer than %d bytes", ANSWER_BYTES_MAX);
    lines a = split(answer, strlen(answer));
    edits e = {0};
    bool ok = true, hunks = false, open;
    find_note(&a, out->note);
    for (int i = 0; i < a.n; i++) hunks |= is_hunk(a.at[i]);
    ok = find_edits(&a, &e, out);
    out->form = ANSWER_EDITS;
    if (ok && !e.n && hunks) {
        out->form = ANSWER_DIFF;
        ok = find_hunks(&a, &e, out);
    }
    if (ok && e.n) {
        ok = apply_edits(&e, parent, out);
    } else if (ok) {
        lines code = find_fence(&a, &open);
        out->form = ANSWER_REWRITE;
        bool raw = strstr(answer, "attune_kernel") && strstr(answer, "#include");
        if (open) ok = refuse(out, ANSWER_MALFORMED, "a code fence does not end: is the answer cut off?");
        else if (code.n) ok = rewrite(&code, parent, out);
        else if (raw) ok = rewrite(&a, parent, out);
        else ok = refuse(out, ANSWER_EMPTY, "no SEARCH/REPLACE block, no diff and no fenced program in the answer");
    }
    out->blocks = e.n;
    if (ok && strlen(out->source) > most)
        ok = refuse(out, ANSWER_TOO_LARGE, "the program would have %zu characters, at most %zu are allowed",
                    strlen(out->source), most);
    if (ok && !answer_keeps_outside(parent, out->source))
        ok = refuse(out, ANSWER_OUTSIDE, "the answer would change the EVOLVE-BLOCK markers or lines outside them");
    if (ok && !strcmp(out->source, parent)) ok = refuse(out, ANSWER_SAME, "the answer changes nothing");
    if (!ok) {
        free(out->source);
        out->source = NULL;
    }
    for (int i = 0; i < e.n; i++) {
        free(e.at[i].search.at);
        free(e.at[i].replace.at);
    }
    free(e.at);
    free(a.at);
    return ok;
}

void answer_free(answer_program *a)
{
    free(a->source);
    a->source = NULL;
}
