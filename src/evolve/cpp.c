/* Directives, integer macros and their evaluation.
 *
 * A source becomes a list of items (runs of plain lines, directives, static assertions) once; a walk over the items
 * with other knob values costs microseconds, so the searcher can ask for every point that it considers.
 * Macro bodies are kept as tokens and expanded where they are used, as the language has it: `#define A B * 2`
 * follows B. */
#include "evolve/cpp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evolve/lex.h"

enum { OP_CHAR = 256, NEST_MAX = 128, EXPAND_MAX = 1024, EXPAND_DEPTH = 32, PARSE_DEPTH = 100, SPELL_MAX = 128,
       MACROS_MAX = 512 };

struct cpp_token {
    enum { T_NUMBER, T_NAME, T_OP, T_ODD } kind;
    bool is_unsigned;
    int id;            /* of a name; of an operator: its characters, first in the lowest byte */
    int64_t value;
};

typedef enum { M_OUTSIDE, M_UNDEFINED, M_OBJECT, M_CALL, M_UNSURE } macro_state;

/* State of one walk, kept between walks for its memory. */
struct cpp_scratch {
    struct { macro_state state; int item; bool busy; } *macro;
    int *log;
    int n_log, room_log;
    cpp_fate *fate;
    bool *asked, *seen;
    int room_items, room_names, room_token, n_token, room_words, n_words, room_list;
    int *last_item;    /* per macro: the item that mentioned it last, + 1 */
    int n_macros;      /* names [0, n_macros) are #defined somewhere in the file */
    int *table;        /* open addressing: name index + 1 */
    int table_size;
    const long *values;
};

static int find_name(const cpp_program *p, const char *s)
{
    const struct cpp_scratch *c = p->scratch;
    uint32_t h = 2166136261u;
    for (const char *q = s; *q; q++) h = (h ^ (unsigned char)*q) * 16777619u;
    for (int i = (int)(h & (uint32_t)(c->table_size - 1));; i = (i + 1) & (c->table_size - 1))
        if (!c->table[i] || !strcmp(p->names[c->table[i] - 1], s)) return i;
}

static int intern(cpp_program *p, const char *s)
{
    struct cpp_scratch *c = p->scratch;
    int slot = find_name(p, s);
    if (c->table[slot]) return c->table[slot] - 1;
    if (p->n_names == c->room_names) {
        c->room_names = c->room_names * 2 + 32;
        p->names = atn_realloc(p->names, (size_t)c->room_names * sizeof *p->names);
    }
    p->names[p->n_names++] = atn_strdup(s);
    c->table[slot] = p->n_names;
    if (p->n_names * 2 > c->table_size) {
        free(c->table);
        c->table_size *= 2;
        c->table = atn_alloc((size_t)c->table_size * sizeof *c->table);
        for (int i = 0; i < p->n_names; i++) c->table[find_name(p, p->names[i])] = i + 1;
    }
    return p->n_names - 1;
}

static cpp_token *add_token(cpp_program *p)
{
    struct cpp_scratch *c = p->scratch;
    if (c->n_token == c->room_token) {
        c->room_token = c->room_token * 2 + 64;
        p->token = atn_realloc(p->token, (size_t)c->room_token * sizeof *p->token);
    }
    p->token[c->n_token] = (cpp_token){0};
    return &p->token[c->n_token++];
}

static cpp_item *add_item(cpp_program *p, cpp_kind kind, size_t at, int line)
{
    struct cpp_scratch *c = p->scratch;
    if (p->n_items == c->room_list) {
        c->room_list = c->room_list * 2 + 64;
        p->items = atn_realloc(p->items, (size_t)c->room_list * sizeof *p->items);
    }
    p->items[p->n_items] = (cpp_item){.kind = kind, .at = at, .end = at, .line = line, .name = -1, .knob = -1,
                                      .token = c->n_token, .word = c->n_words};
    return &p->items[p->n_items++];
}

static bool number_of(const char *s, cpp_token *t)
{
    char *end;
    errno = 0;
    bool binary = s[0] == '0' && (s[1] == 'b' || s[1] == 'B');
    unsigned long long v = binary ? strtoull(s + 2, &end, 2) : strtoull(s, &end, 0);
    if (errno || end == s) return false;
    int u = 0, l = 0;
    for (; *end; end++) {
        if (*end == 'u' || *end == 'U') u++;
        else if (*end == 'l' || *end == 'L') l++;
        else return false;
    }
    if (u > 1 || l > 2 || (!u && v > INT64_MAX)) return false;
    t->kind = T_NUMBER;
    t->is_unsigned = u;
    t->value = (int64_t)v;
    return true;
}

static void compile_token(cpp_program *p, lex_token x)
{
    char s[SPELL_MAX];
    size_t n = lex_spell(p->source, x, s, sizeof s);
    cpp_token t = {.kind = T_ODD};
    if (n < sizeof s) {
        if (x.kind == LEX_NAME) t.kind = T_NAME, t.id = intern(p, s);
        else if (x.kind == LEX_NUMBER) number_of(s, &t);
        else if (x.kind == LEX_PUNCT && n <= 3) {
            t.kind = T_OP;
            for (size_t i = n; i-- > 0;) t.id = t.id * OP_CHAR + (unsigned char)s[i];
        }
    }
    *add_token(p) = t;
}

static int op_of(const char *s) { return (unsigned char)s[0] + (s[0] && s[1] ? (unsigned char)s[1] * OP_CHAR : 0); }

/* ---- from text to items ---- */

static void mention(cpp_program *p, cpp_item *item, lex_token x)
{
    char s[SPELL_MAX];
    if (x.kind != LEX_NAME || lex_spell(p->source, x, s, sizeof s) >= sizeof s) return;
    struct cpp_scratch *c = p->scratch;
    int id = c->table[find_name(p, s)] - 1, here = (int)(item - p->items) + 1;
    if (id < 0 || id >= c->n_macros || c->last_item[id] == here) return;
    c->last_item[id] = here;
    if (c->n_words == c->room_words) {
        c->room_words = c->room_words * 2 + 64;
        p->words = atn_realloc(p->words, (size_t)c->room_words * sizeof *p->words);
    }
    p->words[c->n_words++] = id;
    item->words++;
}

/* A reader of whole lines, comments left out. */
typedef struct {
    lex_state l;
    lex_token *t;
    int n, room;
    size_t at, end;      /* of the line, newline included */
    int line;
    bool last;
} line_reader;

static bool read_line(line_reader *r)
{
    if (r->last) return false;
    r->n = 0;
    r->at = r->l.i;
    r->line = r->l.line;
    for (;;) {
        lex_token x = lex_next(&r->l);
        r->end = x.end;
        r->last = x.kind == LEX_END;
        if (r->last || x.kind == LEX_NEWLINE) return r->end > r->at;
        if (x.kind == LEX_COMMENT) continue;
        if (r->n == r->room) {
            r->room = r->room * 2 + 64;
            r->t = atn_realloc(r->t, (size_t)r->room * sizeof *r->t);
        }
        r->t[r->n++] = x;
    }
}

static bool is_directive(const char *s, const line_reader *r)
{
    return r->n && r->t[0].kind == LEX_PUNCT && (lex_is(s, r->t[0], "#") || lex_is(s, r->t[0], "%:"));
}

/* Words that make our reading of the file unsafe: code that depends on line numbers or on hidden macro state. */
static bool unsafe_word(const char *s, lex_token x)
{
    static const char *const words[] = {"__LINE__", "__COUNTER__", "__INCLUDE_LEVEL__", "push_macro", "pop_macro",
                                        "__builtin_LINE", "elifdef", "elifndef"};
    if (x.kind != LEX_NAME && x.kind != LEX_STRING) return false;
    for (int i = 0; i < ATN_COUNT(words); i++)
        if (lex_is(s, x, words[i])) return true;
    return false;
}

/* First reading: the names of all macros, and what ## could make. */
static void collect_macros(cpp_program *p)
{
    line_reader r = {.l = lex_start(p->source)};
    bool paste = false;
    while (read_line(&r)) {
        for (int i = 0; i < r.n; i++) {
            paste |= r.t[i].kind == LEX_PUNCT && (lex_is(p->source, r.t[i], "##") || lex_is(p->source, r.t[i], "%:%:"));
            p->malformed |= unsafe_word(p->source, r.t[i]);
        }
        char s[SPELL_MAX];
        if (is_directive(p->source, &r) && r.n >= 3 && lex_is(p->source, r.t[1], "define") && r.t[2].kind == LEX_NAME &&
            lex_spell(p->source, r.t[2], s, sizeof s) < sizeof s) intern(p, s);
    }
    p->pasteable = atn_alloc((size_t)p->n_names + 1);
    int n_macros = p->scratch->n_macros = p->n_names;
    p->scratch->last_item = atn_alloc((size_t)(n_macros + 1) * sizeof(int));
    if (paste && n_macros > MACROS_MAX) {
        memset(p->pasteable, 1, (size_t)n_macros);
        paste = false;
    }
    r = (line_reader){.l = lex_start(p->source), .t = r.t, .room = r.room};
    while (paste && read_line(&r))
        for (int i = 0; i < r.n; i++) {
            char s[SPELL_MAX];
            if (r.t[i].kind != LEX_NAME) continue;
            size_t n = lex_spell(p->source, r.t[i], s, sizeof s);
            for (int m = 0; m < n_macros && n < sizeof s; m++)
                p->pasteable[m] |= !strncmp(p->names[m], s, n) && p->names[m][n];
        }
    free(r.t);
}

/* Assertions may span lines: *depth is -1 outside, else the open parentheses of the last item, a CPP_ASSERT. */
static void add_assertions(cpp_program *p, const line_reader *r, int *depth)
{
    for (int i = 0; i < r->n; i++) {
        lex_token x = r->t[i];
        if (*depth < 0) {
            if (x.kind == LEX_NAME && (lex_is(p->source, x, "_Static_assert") || lex_is(p->source, x, "static_assert")))
                add_item(p, CPP_ASSERT, x.at, x.line), *depth = 0;
            continue;
        }
        cpp_item *item = &p->items[p->n_items - 1];
        bool open = lex_is(p->source, x, "("), close = lex_is(p->source, x, ")"), comma = lex_is(p->source, x, ",");
        item->end = x.end;
        if (*depth + open - close == 0 || (*depth == 1 && comma)) {
            *depth = -1;
            continue;
        }
        if (*depth > 0) compile_token(p, x), item->tokens++;
        *depth += open - close;
    }
}

static int knob_at_line(const atn_knobs *k, int line)
{
    for (int i = 0; k && i < k->count; i++)
        if (k->knob[i].line == line) return i;
    return -1;
}

static void add_directive(cpp_program *p, const line_reader *r, const atn_knobs *knobs)
{
    static const struct { const char *word; cpp_kind kind; } table[] = {
        {"define", CPP_DEFINE}, {"undef", CPP_UNDEF}, {"if", CPP_IF}, {"ifdef", CPP_IF}, {"ifndef", CPP_IF},
        {"elif", CPP_ELIF}, {"else", CPP_ELSE}, {"endif", CPP_ENDIF}, {"error", CPP_ERROR},
    };
    const char *s = p->source;
    cpp_item *item = add_item(p, CPP_OTHER, r->at, r->t[0].line);
    item->end = r->end;
    for (int i = 0; r->n >= 2 && i < ATN_COUNT(table); i++)
        if (lex_is(s, r->t[1], table[i].word)) item->kind = table[i].kind;
    int from = 2;
    char name[SPELL_MAX];
    bool named = r->n >= 3 && r->t[2].kind == LEX_NAME && lex_spell(s, r->t[2], name, sizeof name) < sizeof name;
    if (item->kind == CPP_DEFINE || item->kind == CPP_UNDEF) {
        if (!named) { item->kind = CPP_OTHER; return; }
        item->name = intern(p, name);
        from = 3;
        if (item->kind == CPP_DEFINE && r->n > 3 && lex_is(s, r->t[3], "(") && r->t[3].at == r->t[2].end)
            item->kind = CPP_DEFINE_CALL;
        else item->knob = item->kind == CPP_DEFINE ? knob_at_line(knobs, r->t[0].line) : -1;
    }
    if (item->kind == CPP_ERROR) return;
    for (int i = from; i < r->n; i++) mention(p, item, r->t[i]);
    if (item->kind != CPP_DEFINE && item->kind != CPP_IF && item->kind != CPP_ELIF) return;
    bool ifdef = item->kind == CPP_IF && !lex_is(s, r->t[1], "if");
    if (ifdef) {
        if (lex_is(s, r->t[1], "ifndef")) *add_token(p) = (cpp_token){.kind = T_OP, .id = op_of("!")};
        *add_token(p) = (cpp_token){.kind = T_NAME, .id = intern(p, "defined")};
        if (!named) p->malformed = true;
    }
    for (int i = from; i < r->n && !(ifdef && i > from); i++) compile_token(p, r->t[i]);
    item->tokens = p->scratch->n_token - item->token;
}

cpp_program *cpp_parse(const char *source, const atn_knobs *knobs)
{
    cpp_program *p = atn_alloc(sizeof *p);
    p->source = source;
    p->scratch = atn_alloc(sizeof *p->scratch);
    p->scratch->table_size = 256;
    p->scratch->table = atn_alloc(256 * sizeof(int));
    collect_macros(p);
    intern(p, "defined");

    line_reader r = {.l = lex_start(source)};
    int text = -1, depth = -1, nest = 0;
    while (read_line(&r)) {
        if (!is_directive(source, &r)) {
            if (text < 0) text = (int)(add_item(p, CPP_TEXT, r.at, r.line) - p->items);
            p->items[text].end = r.end;
            for (int i = 0; i < r.n; i++) mention(p, &p->items[text], r.t[i]);
            add_assertions(p, &r, &depth);
            continue;
        }
        if (depth >= 0) p->items[p->n_items - 1].tokens = 0;     /* a directive inside an assertion: unknown */
        text = depth = -1;
        add_directive(p, &r, knobs);
        cpp_kind kind = p->items[p->n_items - 1].kind;
        nest += (kind == CPP_IF) - (kind == CPP_ENDIF);
        if (nest < 0 || nest > NEST_MAX) p->malformed = true;
    }
    if (depth >= 0) p->items[p->n_items - 1].tokens = 0;
    if (nest) p->malformed = true;
    free(r.t);
    return p;
}

void cpp_free(cpp_program *p)
{
    if (!p) return;
    struct cpp_scratch *c = p->scratch;
    for (int i = 0; i < p->n_names; i++) free(p->names[i]);
    void *const owned[] = {c->macro, c->log, c->fate, c->asked, c->seen, c->last_item, c->table, c,
                           p->names, p->pasteable, p->items, p->words, p->token, p};
    for (int i = 0; i < ATN_COUNT(owned); i++) free(owned[i]);
}

void cpp_predefine(cpp_program *p, const char *name, const char *body)
{
    int before = p->n_items;
    add_item(p, CPP_DEFINE, 0, 0)->name = intern(p, name);
    p->items[before].tokens = 0;
    const char *source = p->source;
    p->source = body;
    lex_state l = lex_start(body);
    for (lex_token x = lex_next(&l); x.kind != LEX_END; x = lex_next(&l)) {
        compile_token(p, x);
        p->items[before].tokens++;
    }
    p->source = source;
    cpp_item item = p->items[before];
    memmove(p->items + 1, p->items, (size_t)before * sizeof item);
    p->items[0] = item;
}

/* ---- expansion ---- */

typedef struct {
    cpp_token t[EXPAND_MAX];
    int n;
    bool failed;
} token_list;

static void push(token_list *out, cpp_token t)
{
    if (out->n == EXPAND_MAX) out->failed = true;
    else out->t[out->n++] = t;
}

/* `defined X` becomes its truth, an object-like macro its body; a name that stays is unknown. */
static void expand(cpp_program *p, const cpp_token *t, int n, token_list *out, int depth)
{
    struct cpp_scratch *c = p->scratch;
    int defined = c->table[find_name(p, "defined")] - 1;
    for (int i = 0; i < n && !out->failed; i++) {
        if (t[i].kind != T_NAME) { push(out, t[i]); continue; }
        if (t[i].id == defined) {
            bool parens = i + 3 < n && t[i + 1].kind == T_OP && t[i + 1].id == '(';
            int at = i + 1 + parens;
            if (at >= n || t[at].kind != T_NAME) { out->failed = true; return; }
            macro_state s = c->macro[t[at].id].state;
            if (s == M_OUTSIDE || s == M_UNSURE) push(out, (cpp_token){.kind = T_ODD, .id = 1});
            else push(out, (cpp_token){.kind = T_NUMBER, .value = s != M_UNDEFINED});
            i = at + parens;
            continue;
        }
        if (c->macro[t[i].id].state != M_OBJECT || c->macro[t[i].id].busy) { push(out, t[i]); continue; }
        const cpp_item *item = &p->items[c->macro[t[i].id].item];
        if (item->knob >= 0 && c->values) {
            push(out, (cpp_token){.kind = T_NUMBER, .value = c->values[item->knob]});
            continue;
        }
        if (depth == EXPAND_DEPTH) { out->failed = true; return; }
        c->macro[t[i].id].busy = true;
        expand(p, p->token + item->token, item->tokens, out, depth + 1);
        c->macro[t[i].id].busy = false;
    }
}

/* ---- evaluation: a constant expression with unknown parts ---- */

typedef struct {
    bool known, is_unsigned;
    int64_t v;
} number;

typedef struct {
    const cpp_token *t;
    int n, i, depth;
    bool failed;
} parser;

static const number unknown = {false, false, 0};
static number known(int64_t v) { return (number){true, false, v}; }

static bool at_op(const parser *q, const char *op)
{
    return q->i < q->n && q->t[q->i].kind == T_OP && q->t[q->i].id == op_of(op);
}

static bool take(parser *q, const char *op)
{
    bool yes = at_op(q, op);
    q->i += yes;
    return yes;
}

static number parse_choice(parser *q);

static void skip_parens(parser *q)
{
    int depth = 0;
    do {
        depth += at_op(q, "(") - at_op(q, ")");
        q->i++;
    } while (depth > 0 && q->i < q->n);
    if (depth) q->failed = true;
}

static number parse_unary(parser *q)
{
    if (q->i >= q->n || ++q->depth > PARSE_DEPTH) { q->failed = true; return unknown; }
    number r = unknown;
    cpp_token t = q->t[q->i];
    if (take(q, "(")) {
        r = parse_choice(q);
        if (!take(q, ")")) q->failed = true;
    } else if (take(q, "!")) {
        r = parse_unary(q);
        r = (number){r.known, false, !r.v};
    } else if (take(q, "-")) {
        r = parse_unary(q);
        if (!r.is_unsigned && r.v == INT64_MIN) r = unknown;
        r.v = (int64_t)(0 - (uint64_t)r.v);
    } else if (take(q, "+")) {
        r = parse_unary(q);
    } else if (take(q, "~")) {
        r = parse_unary(q);
        r.v = ~r.v;
    } else if (t.kind == T_NUMBER) {
        q->i++;
        r = (number){true, t.is_unsigned, t.value};
    } else if (t.kind == T_NAME || t.kind == T_ODD) {
        q->i++;
        while (at_op(q, "(")) skip_parens(q);
    } else q->failed = true;
    q->depth--;
    return r;
}

enum { LEVELS = 10 };
static const char *const operators[LEVELS][5] = {
    {"||"}, {"&&"}, {"|"}, {"^"}, {"&"},
    {"==", "!="}, {"<", ">", "<=", ">="}, {"<<", ">>"}, {"+", "-"}, {"*", "/", "%"}};

static number arithmetic(int op, number a, number b)
{
    if (!a.known || !b.known) return unknown;
    bool u = a.is_unsigned || b.is_unsigned;
    uint64_t x = (uint64_t)a.v, y = (uint64_t)b.v;
    int64_t r = 0;
    bool bad = false;
    if (op == '|') r = a.v | b.v;
    else if (op == '^') r = a.v ^ b.v;
    else if (op == '&') r = a.v & b.v;
    else if (op == op_of("==")) return known(a.v == b.v);
    else if (op == op_of("!=")) return known(a.v != b.v);
    else if (op == '<') return known(u ? x < y : a.v < b.v);
    else if (op == '>') return known(u ? x > y : a.v > b.v);
    else if (op == op_of("<=")) return known(u ? x <= y : a.v <= b.v);
    else if (op == op_of(">=")) return known(u ? x >= y : a.v >= b.v);
    else if (op == op_of("<<") || op == op_of(">>")) {
        u = a.is_unsigned;
        if (y >= 63 || (!u && a.v < 0)) return unknown;
        r = (int64_t)(op == op_of("<<") ? x << y : x >> y);
        bad = op == op_of("<<") && !u && (r < 0 || (uint64_t)r >> y != x);
    } else if (op == '+') bad = __builtin_add_overflow(a.v, b.v, &r), r = (int64_t)(x + y);
    else if (op == '-') bad = __builtin_sub_overflow(a.v, b.v, &r), r = (int64_t)(x - y);
    else if (op == '*') bad = __builtin_mul_overflow(a.v, b.v, &r), r = (int64_t)(x * y);
    else {
        if (!y || (!u && a.v == INT64_MIN && b.v == -1)) return unknown;
        if (op == '/') r = u ? (int64_t)(x / y) : a.v / b.v;
        else r = u ? (int64_t)(x % y) : a.v % b.v;
    }
    return bad && !u ? unknown : (number){true, u, r};
}

static number parse_level(parser *q, int level)
{
    if (level == LEVELS) return parse_unary(q);
    number a = parse_level(q, level + 1);
    for (;;) {
        int op = 0;
        for (int i = 0; i < 5 && operators[level][i] && !op; i++)
            if (take(q, operators[level][i])) op = op_of(operators[level][i]);
        if (!op || q->failed) return a;
        number b = parse_level(q, level + 1);
        if (level == 0) {
            bool yes = (a.known && a.v) || (b.known && b.v);
            a = yes ? known(1) : a.known && b.known ? known(0) : unknown;
        } else if (level == 1) {
            bool no = (a.known && !a.v) || (b.known && !b.v);
            a = no ? known(0) : a.known && b.known ? known(1) : unknown;
        } else a = arithmetic(op, a, b);
    }
}

static number parse_choice(parser *q)
{
    if (++q->depth > PARSE_DEPTH) { q->failed = true; return unknown; }
    number r = parse_level(q, 0);
    if (take(q, "?")) {
        number yes = parse_choice(q);
        if (!take(q, ":")) q->failed = true;
        number no = parse_choice(q);
        bool u = yes.is_unsigned || no.is_unsigned;
        if (!r.known) r = yes.known && no.known && yes.v == no.v && yes.is_unsigned == no.is_unsigned ? yes : unknown;
        else r = r.v ? yes : no;
        r.is_unsigned = u;
    }
    q->depth--;
    return r;
}

/* 1 true, 0 false, -1 unknown. */
static int truth(cpp_program *p, const cpp_item *item)
{
    token_list list;
    list.n = 0;
    list.failed = false;
    if (item->tokens) expand(p, p->token + item->token, item->tokens, &list, 0);
    if (list.failed) {       /* macros left busy by the early way out */
        for (int i = 0; i < p->n_names; i++) p->scratch->macro[i].busy = false;
        return -1;
    }
    parser q = {.t = list.t, .n = list.n};
    number r = parse_choice(&q);
    return q.failed || q.i != q.n || !r.known ? -1 : r.v != 0;
}

/* ---- the walk ---- */

typedef struct {
    enum { SEEKING, TAKEN, OPEN, CLOSED, BURIED } mode;   /* OPEN: some branch is unknown; CLOSED: then a true one */
    bool dead_outside;
    int log_start;
} frame;

static void set_macro(struct cpp_scratch *c, int name, macro_state s, int item, int unsure)
{
    c->macro[name].state = s;
    c->macro[name].item = item;
    if (!unsure) return;
    if (c->n_log == c->room_log) {
        c->room_log = c->room_log * 2 + 64;
        c->log = atn_realloc(c->log, (size_t)c->room_log * sizeof *c->log);
    }
    c->log[c->n_log++] = name;
}

/* What a branch of unknown fate defined is unsure from its end on. */
static void close_branch(struct cpp_scratch *c, const frame *f)
{
    for (int i = f->log_start; i < c->n_log; i++) c->macro[c->log[i]].state = M_UNSURE;
}

void cpp_walk(cpp_program *p, const long *values, cpp_fate *fate, bool *asked)
{
    struct cpp_scratch *c = p->scratch;
    for (int i = 0; i < p->n_items; i++) {
        fate[i] = CPP_LIVE;
        if (asked) asked[i] = p->items[i].kind == CPP_IF || p->items[i].kind == CPP_ELIF;
    }
    if (p->malformed) return;
    c->macro = atn_realloc(c->macro, (size_t)p->n_names * sizeof *c->macro);
    memset(c->macro, 0, (size_t)p->n_names * sizeof *c->macro);
    c->values = values;
    c->n_log = 0;
    frame stack[NEST_MAX + 1];
    int depth = 0, unsure = 0;
    bool dead = false;
    for (int i = 0; i < p->n_items; i++) {
        const cpp_item *item = &p->items[i];
        frame *f = depth ? &stack[depth - 1] : NULL;
        if (asked) asked[i] = false;
        switch (item->kind) {
        case CPP_IF: {
            f = &stack[depth++];
            *f = (frame){.mode = BURIED, .dead_outside = dead, .log_start = c->n_log};
            if (dead) { fate[i] = CPP_DEAD; break; }
            if (asked) asked[i] = true;
            int t = truth(p, item);
            f->mode = t < 0 ? OPEN : t ? TAKEN : SEEKING;
            fate[i] = t < 0 ? CPP_LIVE : CPP_DROP;
            dead = t == 0;
            unsure += t < 0;
            break;
        }
        case CPP_ELIF: {
            if (!f || f->mode == BURIED) { fate[i] = CPP_DEAD; break; }
            fate[i] = CPP_DROP;
            if (f->mode == OPEN) close_branch(c, f);
            if (f->mode == TAKEN || f->mode == CLOSED) { dead = true; break; }
            if (asked) asked[i] = true;
            int t = truth(p, item);
            bool open = f->mode == OPEN;
            if (t > 0) f->mode = open ? CLOSED : TAKEN, fate[i] = open ? CPP_BECOMES_ELSE : CPP_DROP;
            else if (t < 0) f->mode = OPEN, fate[i] = open ? CPP_LIVE : CPP_BECOMES_IF, unsure += !open;
            dead = t == 0;
            break;
        }
        case CPP_ELSE:
            if (!f || f->mode == BURIED) { fate[i] = CPP_DEAD; break; }
            if (f->mode == OPEN) close_branch(c, f);
            fate[i] = f->mode == OPEN ? CPP_LIVE : CPP_DROP;
            dead = f->mode == TAKEN || f->mode == CLOSED;
            if (f->mode == OPEN) f->mode = CLOSED;
            else if (f->mode == SEEKING) f->mode = TAKEN;
            break;
        case CPP_ENDIF:
            if (!f) break;
            depth--;
            dead = f->dead_outside;
            if (f->mode == BURIED) { fate[i] = CPP_DEAD; break; }
            if (f->mode == OPEN || f->mode == CLOSED) close_branch(c, f), unsure--;
            else fate[i] = CPP_DROP;
            break;
        default:
            if (dead) { fate[i] = CPP_DEAD; break; }
            if (item->kind == CPP_DEFINE) set_macro(c, item->name, M_OBJECT, i, unsure);
            else if (item->kind == CPP_DEFINE_CALL) set_macro(c, item->name, M_CALL, i, unsure);
            else if (item->kind == CPP_UNDEF) set_macro(c, item->name, M_UNDEFINED, i, unsure);
            else if (item->kind == CPP_ERROR && !unsure) fate[i] = CPP_VIOLATED;
            else if (item->kind == CPP_ASSERT && !unsure && item->tokens && truth(p, item) == 0) fate[i] = CPP_VIOLATED;
        }
    }
}

static cpp_fate *walk_in_scratch(cpp_program *p, const long *values)
{
    struct cpp_scratch *c = p->scratch;
    if (c->room_items < p->n_items + 1) {
        c->room_items = p->n_items + 1;
        c->fate = atn_realloc(c->fate, (size_t)c->room_items * sizeof *c->fate);
        c->asked = atn_realloc(c->asked, (size_t)c->room_items);
    }
    cpp_walk(p, values, c->fate, c->asked);
    return c->fate;
}

bool cpp_allows(cpp_program *p, const long *values, int *line)
{
    const cpp_fate *fate = walk_in_scratch(p, values);
    for (int i = 0; i < p->n_items; i++)
        if (fate[i] == CPP_VIOLATED) {
            if (line) *line = p->items[i].line;
            return false;
        }
    return true;
}

void cpp_active(cpp_program *p, const long *values, int n_knobs, bool *active)
{
    struct cpp_scratch *c = p->scratch;
    const cpp_fate *fate = walk_in_scratch(p, values);
    c->seen = atn_realloc(c->seen, (size_t)p->n_names + 1);
    int n = c->n_macros;
    for (int i = 0; i < n; i++) c->seen[i] = p->pasteable[i];
    /* Mentioned by what is compiled or was asked; then, until nothing is new, by the bodies of macros that are. */
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < p->n_items; i++) {
            const cpp_item *item = &p->items[i];
            bool body = item->kind == CPP_DEFINE || item->kind == CPP_DEFINE_CALL;
            bool counts = item->kind == CPP_IF || item->kind == CPP_ELIF ? c->asked[i] : fate[i] != CPP_DEAD;
            if (!counts || (body && (item->name >= n || !c->seen[item->name]))) continue;
            for (int w = item->word; w < item->word + item->words; w++) {
                again |= !c->seen[p->words[w]];
                c->seen[p->words[w]] = true;
            }
        }
    }
    for (int k = 0; k < n_knobs; k++) active[k] = p->malformed;
    for (int i = 0; i < p->n_items; i++) {
        const cpp_item *item = &p->items[i];
        if (item->knob >= 0 && item->knob < n_knobs && fate[i] != CPP_DEAD)
            active[item->knob] |= c->seen[item->name] || !strncmp(p->names[item->name], "ATN_", 4);
    }
}

/* The knobs that a name stands for, by itself or through macro bodies. */
static void knobs_of(cpp_program *p, const cpp_token *t, int n, int depth, int n_knobs, bool *found)
{
    for (int i = 0; i < n; i++) {
        if (t[i].kind != T_NAME || t[i].id >= p->scratch->n_macros || p->scratch->seen[t[i].id]) continue;
        p->scratch->seen[t[i].id] = true;
        for (int j = 0; j < p->n_items; j++) {
            const cpp_item *item = &p->items[j];
            if (item->kind != CPP_DEFINE || item->name != t[i].id) continue;
            if (item->knob >= 0 && item->knob < n_knobs) found[item->knob] = true;
            else if (depth < EXPAND_DEPTH) knobs_of(p, p->token + item->token, item->tokens, depth + 1, n_knobs, found);
        }
    }
}

void cpp_groups(cpp_program *p, int n_knobs, int *group)
{
    for (int k = 0; k < n_knobs; k++) group[k] = k;
    for (int i = 0; i < p->n_items; i++) {
        const cpp_item *item = &p->items[i];
        bool found[KNOBS_MAX] = {false};
        if (item->kind != CPP_ASSERT) continue;
        p->scratch->seen = atn_realloc(p->scratch->seen, (size_t)p->n_names + 1);
        memset(p->scratch->seen, 0, (size_t)p->n_names + 1);
        knobs_of(p, p->token + item->token, item->tokens, 0, ATN_MIN(n_knobs, KNOBS_MAX), found);
        int first = -1;
        for (int k = 0; k < n_knobs && k < KNOBS_MAX; k++) {
            if (!found[k]) continue;
            int a = group[k], b = first < 0 ? a : group[first];
            for (int m = 0; m < n_knobs; m++)
                if (group[m] == ATN_MAX(a, b)) group[m] = ATN_MIN(a, b);
            first = first < 0 ? k : first;
        }
    }
}
