/* The gate. See gate.h. Works on tokens as the compiler sees them: lines spliced first, then comments, strings, words.
 */
#include "judge/gate.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "judge/sandbox.h"

enum { BLOCKS_MAX = 64 };

typedef struct {
    const char *raw; /* the file */
    size_t raw_n;
    char *text;    /* without backslash-newlines */
    int32_t *from; /* text[i] was raw[from[i]] */
    size_t n;
    gate_report *out;
    int if_depth, bracket_depth;
    size_t begin[BLOCKS_MAX], end[BLOCKS_MAX]; /* raw[begin .. end) is inside a block */
    int n_begin, n_end;
    int if_at_begin, bracket_at_begin;
    bool in_attribute;
    int attribute_depth;
} gate;

static int line_of(const gate *g, size_t at)
{
    int line = 1;
    size_t end = at < g->n ? (size_t)g->from[at] : g->raw_n;
    for (size_t i = 0; i < end; i++) line += g->raw[i] == '\n';
    return line;
}

static bool bad(gate *g, atn_reason reason, size_t at, const char *format, ...) __attribute__((format(printf, 4, 5)));
static bool bad(gate *g, atn_reason reason, size_t at, const char *format, ...)
{
    char text[300], all[sizeof g->out->evidence];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    snprintf(all, sizeof all, "line %d: %s", line_of(g, at), text);
    evidence_clean(g->out->evidence, sizeof g->out->evidence, all, strlen(all));
    g->out->reason = reason;
    return false;
}

/* Joins lines that end in a backslash; gcc also joins where blanks follow it. */
static void splice(gate *g)
{
    g->text = atn_alloc(g->raw_n + 1);
    g->from = atn_alloc((g->raw_n + 1) * sizeof *g->from);
    for (size_t i = 0; i < g->raw_n; i++) {
        if (g->raw[i] == '\\') {
            size_t k = i + 1;
            while (k < g->raw_n && strchr(" \t\r\f\v", g->raw[k])) k++;
            if (k < g->raw_n && g->raw[k] == '\n') {
                i = k;
                continue;
            }
        }
        g->from[g->n] = (int32_t)i;
        g->text[g->n++] = g->raw[i];
    }
}

/* --- markers --- */

static size_t line_start(const gate *g, size_t raw_at)
{
    while (raw_at > 0 && g->raw[raw_at - 1] != '\n') raw_at--;
    return raw_at;
}

static size_t line_end(const gate *g, size_t raw_at)
{
    while (raw_at < g->raw_n && g->raw[raw_at] != '\n') raw_at++;
    return raw_at < g->raw_n ? raw_at + 1 : raw_at;
}

static const char *find(const char *p, size_t n, const char *word)
{
    return memmem(p, n, word, strlen(word));
}

/* A comment text[at .. at + n): is it a marker? */
static bool comment(gate *g, size_t at, size_t n)
{
    const char *start = find(g->text + at, n, "EVOLVE-BLOCK-START"), *end = find(g->text + at, n, "EVOLVE-BLOCK-END");
    if (!start && !end) return true;
    if (start && end) return bad(g, ATN_REASON_MARKERS, at, "EVOLVE-BLOCK-START and -END in one comment");
    size_t word = (size_t)g->from[(size_t)((start ? start : end) - g->text)];
    if (line_start(g, (size_t)g->from[at]) != line_start(g, word))
        return bad(g, ATN_REASON_MARKERS, at, "an EVOLVE-BLOCK marker inside a longer comment");
    if (start) {
        if (g->n_begin != g->n_end) return bad(g, ATN_REASON_MARKERS, at, "EVOLVE-BLOCK-START inside a block");
        if (g->n_begin == BLOCKS_MAX) return bad(g, ATN_REASON_MARKERS, at, "more than %d blocks", BLOCKS_MAX);
        g->begin[g->n_begin++] = line_end(g, word);
        g->if_at_begin = g->if_depth;
        g->bracket_at_begin = g->bracket_depth;
    } else {
        if (g->n_begin == g->n_end) return bad(g, ATN_REASON_MARKERS, at, "EVOLVE-BLOCK-END without a start");
        if (g->if_at_begin != g->if_depth)
            return bad(g, ATN_REASON_MARKERS, at, "an #if that crosses the end of the block");
        if (g->bracket_at_begin != g->bracket_depth)
            return bad(g, ATN_REASON_MARKERS, at, "brackets that do not balance inside the block");
        size_t line = line_start(g, word);
        g->end[g->n_end++] = line > g->begin[g->n_begin - 1] ? line : g->begin[g->n_begin - 1];
    }
    return true;
}

/* --- words --- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 128;
}

static bool in_list(const char *w, size_t n, const char *const *list, int count)
{
    for (int i = 0; i < count; i++)
        if (strlen(list[i]) == n && memcmp(list[i], w, n) == 0) return true;
    return false;
}

static const char *const never[] = {"asm",
                                    "__asm",
                                    "__asm__",
                                    "__thread",
                                    "_Thread_local",
                                    "thread_local",
                                    "__has_include",
                                    "__has_include_next",
                                    "__has_embed",
                                    "__builtin_setjmp",
                                    "__builtin_longjmp",
                                    "__builtin_apply",
                                    /* clocks, randomness and the caches of others: a kernel has no use for them */
                                    "__builtin_ia32_rdtsc",
                                    "__builtin_ia32_rdtscp",
                                    "__builtin_ia32_rdpmc",
                                    "__builtin_ia32_rdpid",
                                    "__builtin_readcyclecounter",
                                    "__builtin_readsteadycounter",
                                    "__builtin_ia32_rdrand16_step",
                                    "__builtin_ia32_rdrand32_step",
                                    "__builtin_ia32_rdrand64_step",
                                    "__builtin_ia32_rdseed_hi_step",
                                    "__builtin_ia32_rdseed_si_step",
                                    "__builtin_ia32_rdseed_di_step",
                                    "__builtin_ia32_clflush",
                                    "__builtin_ia32_clflushopt",
                                    "__builtin_ia32_clwb",
                                    "__builtin_ia32_cldemote",
                                    "__builtin_ia32_wbinvd",
                                    "__builtin_ia32_wbnoinvd",
                                    "__builtin_ia32_monitor",
                                    "__builtin_ia32_mwait",
                                    "__builtin_ia32_umonitor",
                                    "__builtin_ia32_umwait",
                                    "__builtin_ia32_tpause",
                                    "__builtin_ia32_xbegin",
                                    "__builtin_ia32_wrpkru",
                                    "__builtin_arm_rsr64",
                                    "__builtin_aarch64_rndr",
                                    "constructor",
                                    "__constructor__",
                                    "destructor",
                                    "__destructor__",
                                    "ifunc",
                                    "__ifunc__"};
static const char *const never_attributes[] = {"section",       "__section__",       "alias",         "__alias__",
                                               "weak",          "__weak__",          "weakref",       "__weakref__",
                                               "target_clones", "__target_clones__", "symver",        "__symver__",
                                               "naked",         "__naked__",         "interrupt",     "__interrupt__",
                                               "visibility",    "__visibility__",    "init_priority", "tls_model",
                                               "__tls_model__", "no_reorder",        "retain",        "__retain__",
                                               "copy",          "__copy__"};

static bool word(gate *g, size_t at, size_t n)
{
    const char *w = g->text + at;
    if (in_list(w, n, never, ATN_COUNT(never)))
        return bad(g, ATN_REASON_FORBIDDEN, at, "'%.*s' is not allowed in a kernel", (int)n, w);
    if (in_list(w, n, (const char *const[]){"__attribute__", "__attribute", "__declspec"}, 3)) {
        g->in_attribute = true;
        g->attribute_depth = g->bracket_depth;
    } else if (g->in_attribute && in_list(w, n, never_attributes, ATN_COUNT(never_attributes))) {
        return bad(g, ATN_REASON_FORBIDDEN, at, "attribute '%.*s' is not allowed in a kernel", (int)n, w);
    }
    return true;
}

/* --- directives --- */

static bool pragma_allowed(const char *p, size_t n)
{
    static const char *const allowed[] = {
        "GCC unroll",       "GCC ivdep",       "GCC diagnostic",    "GCC optimize", "GCC target",
        "GCC push_options", "GCC pop_options", "GCC reset_options", "clang loop",   "clang diagnostic",
        "clang fp",         "STDC ",           "omp simd",          "once",         "unroll"};
    char words[80];
    size_t used = 0;
    for (size_t i = 0; i < n && used + 1 < sizeof words; i++) {
        if (isspace((unsigned char)p[i])) {
            if (used && words[used - 1] != ' ') words[used++] = ' ';
        } else {
            words[used++] = p[i];
        }
    }
    words[used] = 0;
    for (int i = 0; i < ATN_COUNT(allowed); i++)
        if (text_starts(words, allowed[i])) return !strstr(words, "plugin") && !strstr(words, "dump");
    return false;
}

static bool include_allowed(const char *p, size_t n)
{
    static const char *const allowed[] = {"<stdint.h>", "<stddef.h>", "<stdbool.h>", "<math.h>",
                                          "<string.h>", "<float.h>",  "<limits.h>"};
    while (n && isspace((unsigned char)p[n - 1])) n--;
    if (in_list(p, n, allowed, ATN_COUNT(allowed))) return true;
    if (n < 12 || (memcmp(p, "\"attune/", 8) != 0 && memcmp(p, "<attune/", 8) != 0)) return false;
    for (size_t i = 8; i + 3 < n; i++)
        if (!isalnum((unsigned char)p[i]) && p[i] != '_') return false; /* no dots, no slashes */
    return p[n - 3] == '.' && p[n - 2] == 'h';
}

/* End of the directive that begins at `at`, and a copy of it in which comments are blanks, into out. */
static size_t directive_text(gate *g, size_t at, char *out, size_t room, size_t *used, bool *ok)
{
    *used = 0;
    char quote = 0;
    size_t i = at;
    for (; i < g->n && g->text[i] != '\n'; i++) {
        char c = g->text[i], d = i + 1 < g->n ? g->text[i + 1] : 0;
        if (!quote && c == '/' && (d == '/' || d == '*')) {
            size_t start = i;
            if (d == '/') {
                while (i + 1 < g->n && g->text[i + 1] != '\n') i++;
            } else {
                for (i += 2; i < g->n && !(g->text[i] == '*' && i + 1 < g->n && g->text[i + 1] == '/'); i++) {}
                i++;
            }
            *ok = *ok && comment(g, start, (i < g->n ? i + 1 : g->n) - start);
            c = ' ';
        } else if (quote && c == '\\' && d && d != '\n') {
            if (*used + 1 < room) out[(*used)++] = c;
            c = g->text[++i];
        } else if (quote ? c == quote : c == '"' || c == '\'') {
            quote = quote ? 0 : c;
        }
        if (*used + 1 < room) out[(*used)++] = c;
    }
    out[*used] = 0;
    return i < g->n ? i : g->n;
}

static bool words_of(gate *g, size_t at, const char *p, size_t n);

static bool directive(gate *g, size_t at, size_t *end)
{
    char *line = atn_alloc(g->n - at + 1);
    size_t n;
    bool ok = true;
    *end = directive_text(g, at, line, g->n - at + 1, &n, &ok);
    char *p = line, *name;
    while (isspace((unsigned char)*p)) p++;
    name = p;
    while (is_word(*p)) p++;
    size_t name_n = (size_t)(p - name);
    while (isspace((unsigned char)*p)) p++;
    size_t rest = n - (size_t)(p - line);
#define IS(s) (strlen(s) == name_n && memcmp(name, s, name_n) == 0)
    if (!ok) {
    } else if (IS("include")) {
        if (!include_allowed(p, rest))
            ok = bad(g, ATN_REASON_FORBIDDEN, at,
                     "#include %.60s: a kernel includes attune/kernel.h, vec.h, amx.h and cut.h, stdint.h, stddef.h, math.h, "
                     "string.h only",
                     p);
    } else if (IS("pragma")) {
        if (!pragma_allowed(p, rest))
            ok = bad(g, ATN_REASON_FORBIDDEN, at, "#pragma %.60s is not allowed in a kernel", p);
    } else if (IS("if") || IS("ifdef") || IS("ifndef")) {
        g->if_depth++;
        ok = words_of(g, at, p, rest);
    } else if (IS("endif")) {
        g->if_depth--;
        if (g->n_begin > g->n_end && g->if_depth < g->if_at_begin)
            ok = bad(g, ATN_REASON_MARKERS, at, "an #endif inside a block for an #if outside it");
    } else if (IS("else") || IS("elif") || IS("elifdef") || IS("elifndef")) {
        if (g->n_begin > g->n_end && g->if_depth == g->if_at_begin)
            ok = bad(g, ATN_REASON_MARKERS, at, "an #%.*s inside a block for an #if outside it", (int)name_n, name);
        else ok = words_of(g, at, p, rest);
    } else if (IS("define") || IS("undef") || IS("error") || IS("warning")) {
        ok = IS("error") || IS("warning") || words_of(g, at, p, rest);
    } else if (name_n) {
        ok = bad(g, ATN_REASON_FORBIDDEN, at, "#%.*s is not allowed in a kernel", (int)ATN_MIN(name_n, (size_t)40),
                 name);
    }
#undef IS
    free(line);
    return ok;
}

/* Words of a directive's text (a macro's body too): the forbidden ones, and pieces pasted into one. */
static bool words_of(gate *g, size_t at, const char *p, size_t n)
{
    const char *last = NULL;
    size_t last_n = 0;
    bool pasted = false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '"' || p[i] == '\'') {
            char quote = p[i];
            for (i++; i < n && p[i] != quote; i++) i += p[i] == '\\';
            last = NULL;
        } else if (p[i] == '#' && i + 1 < n && p[i + 1] == '#') {
            pasted = true;
            i++;
        } else if (is_word(p[i])) {
            size_t from = i;
            while (i < n && is_word(p[i])) i++;
            if (in_list(p + from, i - from, never, ATN_COUNT(never)))
                return bad(g, ATN_REASON_FORBIDDEN, at, "'%.*s' is not allowed in a kernel", (int)(i - from), p + from);
            if (in_list(p + from, i - from, never_attributes, 4) && memmem(p, n, "__attribute", 11))
                return bad(g, ATN_REASON_FORBIDDEN, at, "attribute '%.*s' is not allowed in a kernel", (int)(i - from),
                           p + from);
            char both[80];
            if (pasted && last && last_n + i - from < sizeof both) {
                memcpy(both, last, last_n);
                memcpy(both + last_n, p + from, i - from);
                if (in_list(both, last_n + i - from, never, ATN_COUNT(never)))
                    return bad(g, ATN_REASON_FORBIDDEN, at, "pieces pasted into '%.*s'", (int)(last_n + i - from),
                               both);
            }
            last = p + from;
            last_n = i - from;
            pasted = false;
            i--;
        } else if (!isspace((unsigned char)p[i])) {
            last = NULL;
            pasted = false;
        }
    }
    return true;
}

/* --- the whole text --- */

static bool scan(gate *g)
{
    bool line_begin = true; /* only blanks and comments so far */
    for (size_t i = 0; i < g->n; i++) {
        char c = g->text[i], d = i + 1 < g->n ? g->text[i + 1] : 0;
        if (c == '\n') {
            line_begin = true;
        } else if (isspace((unsigned char)c)) {
        } else if (c == '/' && d == '/') {
            size_t start = i;
            while (i + 1 < g->n && g->text[i + 1] != '\n') i++;
            if (!comment(g, start, i + 1 - start)) return false;
        } else if (c == '/' && d == '*') {
            size_t start = i;
            for (i += 2; i < g->n && !(g->text[i] == '*' && i + 1 < g->n && g->text[i + 1] == '/'); i++) {}
            if (i >= g->n) return bad(g, ATN_REASON_FORBIDDEN, start, "a comment that never ends");
            i++;
            if (!comment(g, start, i + 1 - start)) return false;
        } else if (c == '#' && line_begin) {
            size_t end;
            if (!directive(g, i + 1, &end)) return false;
            i = end - 1; /* the newline comes next */
        } else if ((c == '%' && d == ':') || (c == '<' && (d == ':' || d == '%')) ||
                   ((c == ':' || c == '%') && d == '>')) {
            return bad(g, ATN_REASON_FORBIDDEN, i, "digraph %c%c", c, d);
        } else if (c == '\\' || c == '@' || c == '`') {
            return bad(g, ATN_REASON_FORBIDDEN, i, "stray '%c'", c);
        } else if (c == '"' || c == '\'') {
            for (i++; i < g->n && g->text[i] != c && g->text[i] != '\n'; i++) i += g->text[i] == '\\';
            if (i < g->n && g->text[i] == '\n') i--;
            line_begin = false;
        } else if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)d))) {
            while (i + 1 < g->n && (is_word(g->text[i + 1]) || g->text[i + 1] == '.' ||
                                    ((g->text[i + 1] == '+' || g->text[i + 1] == '-') && strchr("eEpP", g->text[i]))))
                i++;
            line_begin = false;
        } else if (is_word(c)) {
            size_t start = i;
            while (i + 1 < g->n && is_word(g->text[i + 1])) i++;
            size_t n = i + 1 - start;
            if (i + 1 < g->n && g->text[i + 1] == '"' && g->text[i] == 'R' && n <= 3)
                return bad(g, ATN_REASON_FORBIDDEN, start, "raw string");
            if (n == 7 && memcmp(g->text + start, "_Pragma", 7) == 0) {
                size_t k = i + 1;
                while (k < g->n && strchr(" \t\n(", g->text[k])) k++;
                if (k >= g->n || g->text[k] != '"' ||
                    !pragma_allowed(g->text + k + 1, ATN_MIN(g->n - k - 1, (size_t)40)))
                    return bad(g, ATN_REASON_FORBIDDEN, start, "this _Pragma is not allowed in a kernel");
            }
            if (!word(g, start, n)) return false;
            line_begin = false;
        } else {
            if (strchr("([{", c)) {
                if (c == '[' && d == '[') g->in_attribute = true, g->attribute_depth = g->bracket_depth;
                g->bracket_depth++;
            } else if (strchr(")]}", c)) {
                g->bracket_depth--;
                if (g->in_attribute && g->bracket_depth <= g->attribute_depth) g->in_attribute = false;
                if (g->n_begin > g->n_end && g->bracket_depth < g->bracket_at_begin)
                    return bad(g, ATN_REASON_MARKERS, i, "a '%c' inside a block closes what was opened outside it", c);
            }
            line_begin = false;
        }
    }
    if (g->n_begin != g->n_end) return bad(g, ATN_REASON_MARKERS, g->n, "EVOLVE-BLOCK-START without an end");
    return true;
}

static void gate_free(gate *g)
{
    free(g->text);
    free(g->from);
}

static bool gate_scan(gate *g, const char *source, gate_report *out)
{
    *g = (gate){.raw = source, .raw_n = strlen(source), .out = out};
    splice(g);
    return scan(g);
}

/* Bounds of the k-th piece outside blocks. */
static void outside(const gate *g, int k, const char **p, size_t *n)
{
    size_t from = k == 0 ? 0 : g->end[k - 1], to = k == g->n_begin ? g->raw_n : g->begin[k];
    while (to > from && isspace((unsigned char)g->raw[to - 1])) to--; /* a last newline more or less does not matter */
    *p = g->raw + from;
    *n = to - from;
}

static bool same_outside(gate *g, const gate *o)
{
    if (g->n_begin != o->n_begin)
        return bad(g, ATN_REASON_MARKERS, 0, "%d blocks, the original has %d", g->n_begin, o->n_begin);
    for (int k = 0; k <= g->n_begin; k++) {
        const char *p, *q;
        size_t n, m, i = 0;
        outside(g, k, &p, &n);
        outside(o, k, &q, &m);
        while (i < n && i < m && p[i] == q[i]) i++;
        if (i == n && i == m) continue;
        int line = 1;
        for (const char *c = g->raw; c < p + i; c++) line += *c == '\n';
        g->out->reason = ATN_REASON_MARKERS;
        snprintf(g->out->evidence, sizeof g->out->evidence, "line %d: changed outside the EVOLVE-BLOCK markers", line);
        return false;
    }
    return true;
}

void gate_check(const char *source, const char *original, bool whole_file, gate_report *out)
{
    *out = (gate_report){.reason = ATN_REASON_OK};
    size_t n = strlen(source);
    if (n > GATE_SOURCE_MAX) {
        out->reason = ATN_REASON_TOO_LARGE;
        snprintf(out->evidence, sizeof out->evidence, "%zu bytes of source, may be %d", n, GATE_SOURCE_MAX);
        return;
    }
    gate g, o = {0};
    if (gate_scan(&g, source, out) && !whole_file) {
        gate_report original_report;
        if (g.n_begin == 0) {
            bad(&g, ATN_REASON_MARKERS, g.n, "no EVOLVE-BLOCK-START and -END");
        } else if (original) {
            if (gate_scan(&o, original, &original_report)) same_outside(&g, &o);
            else bad(&g, ATN_REASON_MARKERS, 0, "the original itself does not pass: %s", original_report.evidence);
        }
    }
    gate_free(&g);
    gate_free(&o);
}

/* --- flags --- */

static bool all_of(const char *p, const char *set)
{
    return *p && strspn(p, set) == strlen(p);
}

static bool flag_allowed(const char *f)
{
    static const char *const plain[] = {"-O1", "-O2", "-O3", "-Os"};
    static const char *const switches[] = {"unroll-loops",
                                           "unroll-all-loops",
                                           "tree-vectorize",
                                           "tree-slp-vectorize",
                                           "slp-vectorize",
                                           "vectorize",
                                           "tree-loop-vectorize",
                                           "schedule-insns",
                                           "schedule-insns2",
                                           "sched-pressure",
                                           "peel-loops",
                                           "split-loops",
                                           "ivopts",
                                           "gcse",
                                           "gcse-after-reload",
                                           "prefetch-loop-arrays",
                                           "rename-registers",
                                           "omit-frame-pointer",
                                           "inline-functions",
                                           "ipa-cp-clone",
                                           "predictive-commoning",
                                           "tree-pre",
                                           "move-loop-invariants",
                                           "web",
                                           "modulo-sched",
                                           "align-loops",
                                           "tree-partial-pre",
                                           "split-paths",
                                           "fp-contract=fast",
                                           "fp-contract=off",
                                           "strict-aliasing",
                                           "reorder-blocks",
                                           "if-conversion",
                                           "tree-loop-distribution",
                                           "loop-interchange",
                                           "associative-math",
                                           "reciprocal-math",
                                           "signed-zeros"};
    for (int i = 0; i < ATN_COUNT(plain); i++)
        if (strcmp(f, plain[i]) == 0) return true;
    if (text_starts(f, "-f")) {
        const char *name = text_starts(f + 2, "no-") ? f + 5 : f + 2;
        for (int i = 0; i < ATN_COUNT(switches); i++)
            if (strcmp(name, switches[i]) == 0) return true;
    }
    if (text_starts(f, "-mprefer-vector-width=")) return all_of(f + 22, "0123456789");
    if (text_starts(f, "-falign-loops=")) return all_of(f + 14, "0123456789");
    if (text_starts(f, "-falign-functions=")) return all_of(f + 18, "0123456789");
    if (text_starts(f, "-mtune=")) return all_of(f + 7, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (text_starts(f, "-D")) {
        const char *name = f + 2, *equals = strchr(name, '=');
        if (!equals || equals == name || !isupper((unsigned char)*name)) return false;
        for (const char *p = name; p < equals; p++)
            if (!isalnum((unsigned char)*p) && *p != '_') return false;
        return all_of(equals + 1, "0123456789abcdefABCDEFxX.+-");
    }
    return false;
}

void gate_check_flags(const char *flags, gate_report *out)
{
    *out = (gate_report){.reason = ATN_REASON_OK};
    if (!flags) return;
    char *copy = atn_strdup(flags), *rest = copy;
    for (char *f; out->reason == ATN_REASON_OK && (f = strtok_r(rest, " \t\n", &rest));) {
        if (flag_allowed(f)) continue;
        out->reason = ATN_REASON_FORBIDDEN;
        char text[200];
        snprintf(text, sizeof text, "compiler flag '%.100s' is not in the allow-list", f);
        evidence_clean(out->evidence, sizeof out->evidence, text, strlen(text));
    }
    free(copy);
}

char *gate_heading_flags(const char *source)
{
    static const char words[] = "extra flags ";
    const char *begin = strncmp(source, "/*", 2) ? NULL : strstr(source, words), *end = begin ? strstr(source, "*/") : NULL;
    if (!end || begin > end) return NULL;
    begin += sizeof words - 1;
    char *flags = atn_format("%.*s", (int)(end - begin), begin);
    for (size_t n = strlen(flags); n && strchr(". \n*", flags[n - 1]); n--) flags[n - 1] = 0;
    gate_report report;
    gate_check_flags(flags, &report);
    if (*flags && report.reason == ATN_REASON_OK) return flags;
    free(flags);
    return NULL;
}
