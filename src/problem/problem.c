/* The problem descriptor: reading and printing its text form, checking it, counting its work, laying it out in memory.
 *
 * Invariant: problem_parse(problem_print(p)) == p for every p that problem_check accepts, field by field. So values
 * that mean the same (cache=Skv and no cache, window=-5 and none) are brought to one form by `normalise`. */
#include "problem/problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { SIZE_MAX_ = 1 << 24 };
static const double BYTES_MAX = 0x1p44;    /* per tensor: far beyond any machine, far below int64 overflow */

static const char *const DTYPE_NAMES[] = {"f32", "f16", "bf16", "bool"};

int dtype_bytes(int dtype)
{
    static const int bytes[] = {4, 2, 2, 1};
    ATN_CHECK(dtype >= 0 && dtype < ATN_COUNT(bytes));
    return bytes[dtype];
}

const char *dtype_name(int dtype)
{
    ATN_CHECK(dtype >= 0 && dtype < ATN_COUNT(DTYPE_NAMES));
    return DTYPE_NAMES[dtype];
}

static const char *const SHAPE_NAMES[ATN_MASK_SHAPES] = {"", "causal", "window", "padded", "blocks"};

/* -1 where s[0..n) names none. */
static int dtype_find(const char *s, size_t n)
{
    for (int i = 0; i < ATN_COUNT(DTYPE_NAMES); i++)
        if (strlen(DTYPE_NAMES[i]) == n && !memcmp(DTYPE_NAMES[i], s, n)) return i;
    return -1;
}

atn_problem problem_default(void)
{
    return (atn_problem){.B = 1, .Hq = 1, .Hkv = 1, .Sq = 1, .Skv = 1, .D = 64, .Dv = 64,
                         .window_left = -1, .window_right = -1, .mask = -1};
}

static void normalise(atn_problem *p)
{
    if (p->window_left < 0) p->window_left = -1;
    if (p->window_right < 0) p->window_right = -1;
    if (p->cache_rows == p->Skv) p->cache_rows = 0;
    if (p->mask < 0) p->mask_shape = ATN_MASK_RANDOM;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

/* Words are told apart by this table. Those with a value after the name alone (b2, s64) have digits there, the others
 * a '='; `seen` in problem_parse has one bit for each. */
enum { W_TYPE, W_B, W_H, W_S, W_D, W_CAUSAL, W_WINDOW, W_MASK, W_SOFTCAP, W_SCALE, W_SINKS, W_ALIBI, W_LSE, W_LAYOUT,
       W_CACHE, W_MISALIGN, W_COUNT };

static const struct {
    const char *name, *valid;
} WORDS[W_COUNT] = {
    [W_TYPE] = {"f32", "f32, f16, bf16, or two of them as q:kv, such as f32:bf16"},
    [W_B] = {"b", "b and the batch, such as b2"},
    [W_H] = {"h", "h and the query heads, or query/kv heads, such as h16 or h16/8"},
    [W_S] = {"s", "s and the rows, or query/key rows, such as s2048 or s1/4096"},
    [W_D] = {"d", "d and the head size, or size of q,k / of v, such as d128 or d192/128"},
    [W_CAUSAL] = {"causal", "causal, or causal=top"},
    [W_WINDOW] = {"window", "window=LEFT or window=LEFT,RIGHT with -1 for no limit, such as window=127,0"},
    [W_MASK] = {"mask", "mask=f32, mask=f16 or mask=bool, or with :causal, :window, :padded or :blocks, such as mask=bool:causal"},
    [W_SOFTCAP] = {"softcap", "softcap and a number above 0, such as softcap=50"},
    [W_SCALE] = {"scale", "scale and a number other than 0, such as scale=0.125; leave it out for 1/sqrt(D)"},
    [W_SINKS] = {"sinks", "sinks"},
    [W_ALIBI] = {"alibi", "alibi"},
    [W_LSE] = {"lse", "lse"},
    [W_LAYOUT] = {"layout", "layout=bhsd or layout=bshd"},
    [W_CACHE] = {"cache", "cache and the rows it has room for, at least the key rows, such as cache=4096"},
    [W_MISALIGN] = {"misalign", "misalign"},
};

static atn_status bad_word(atn_error *err, const char *word, int kind)
{
    return atn_fail(err, ATN_FORMAT, "bad word '%s' in problem; valid: %s", word, WORDS[kind].valid);
}

/* "16" or "16/8"; a single number serves both. Whole string. */
static bool read_pair(const char *s, int32_t *a, int32_t *b)
{
    char *end;
    if (*s < '0' || *s > '9') return false;
    long long x = strtoll(s, &end, 10), y = x;
    if (*end == '/') {
        const char *t = end + 1;
        if (*t < '0' || *t > '9') return false;
        y = strtoll(t, &end, 10);
    }
    if (*end || x > INT32_MAX || y > INT32_MAX) return false;
    *a = (int32_t)x;
    *b = (int32_t)y;
    return true;
}

static bool read_int(const char *s, int32_t *out)
{
    long long x;
    if (!text_to_i64(s, &x) || x < INT32_MIN || x > INT32_MAX) return false;
    *out = (int32_t)x;
    return true;
}

static bool read_float(const char *s, float *out)
{
    double x;
    if (!text_to_f64(s, &x) || !isfinite((float)x)) return false;
    *out = (float)x;
    return true;
}

static bool read_window(const char *s, atn_problem *p)
{
    char left[32];
    const char *comma = strchr(s, ',');
    size_t n = comma ? (size_t)(comma - s) : strlen(s);
    if (n >= sizeof left) return false;
    memcpy(left, s, n);
    left[n] = 0;
    p->window_right = -1;
    return read_int(left, &p->window_left) && (!comma || read_int(comma + 1, &p->window_right));
}

static bool read_types(const char *word, atn_problem *p)
{
    const char *colon = strchr(word, ':');
    int q = dtype_find(word, colon ? (size_t)(colon - word) : strlen(word));
    int kv = colon ? dtype_find(colon + 1, strlen(colon + 1)) : q;
    if (q < 0 || q == ATN_BOOL || kv < 0 || kv == ATN_BOOL) return false;
    p->dtype_q = q;
    p->dtype_kv = kv;
    return true;
}

static bool read_mask(const char *s, atn_problem *p)
{
    const char *colon = strchr(s, ':');
    p->mask = dtype_find(s, colon ? (size_t)(colon - s) : strlen(s));
    p->mask_shape = colon ? -1 : ATN_MASK_RANDOM;
    for (int k = ATN_MASK_CAUSAL; colon && k < ATN_MASK_SHAPES; k++)
        if (!strcmp(colon + 1, SHAPE_NAMES[k])) p->mask_shape = k;
    if (p->mask_shape < 0) return false;
    return p->mask == ATN_F32 || p->mask == ATN_F16 || p->mask == ATN_BOOL;
}

/* Which word of the table this is; -1: none. *value is what follows the letter or the '=' ("" if nothing does). */
static int word_kind(const char *word, const char **value)
{
    const char *eq = strchr(word, '=');
    size_t n = eq ? (size_t)(eq - word) : strlen(word);
    *value = eq ? eq + 1 : "";
    for (int k = W_CAUSAL; k < W_COUNT; k++)
        if (strlen(WORDS[k].name) == n && !memcmp(WORDS[k].name, word, n)) return k;
    if (eq) return -1;
    char first[8] = {0};
    memcpy(first, word, ATN_MIN(strcspn(word, ":"), sizeof first - 1));
    if (dtype_find(first, strlen(first)) >= 0) return W_TYPE;
    if (word[0] && word[1] >= '0' && word[1] <= '9')
        for (int k = W_B; k <= W_D; k++)
            if (word[0] == WORDS[k].name[0]) {
                *value = word + 1;
                return k;
            }
    return -1;
}

static bool read_word(int kind, const char *word, const char *value, atn_problem *p)
{
    bool bare = !strchr(word, '=');
    int32_t unused;
    switch (kind) {
    case W_TYPE: return read_types(word, p);
    case W_B: return read_pair(value, &p->B, &unused) && !strchr(value, '/');
    case W_H: return read_pair(value, &p->Hq, &p->Hkv);
    case W_S: return read_pair(value, &p->Sq, &p->Skv);
    case W_D: return read_pair(value, &p->D, &p->Dv);
    case W_CAUSAL:
        p->causal = !strcmp(value, "top") ? ATN_CAUSAL_TOP_LEFT : ATN_CAUSAL_BOTTOM_RIGHT;
        return bare || !strcmp(value, "top") || !strcmp(value, "bottom");
    case W_WINDOW: return read_window(value, p);
    case W_MASK: return read_mask(value, p);
    case W_SOFTCAP: return read_float(value, &p->softcap) && p->softcap > 0;
    case W_SCALE: return read_float(value, &p->scale) && p->scale != 0;
    case W_SINKS: return p->sinks = true, bare;
    case W_ALIBI: return p->alibi = true, bare;
    case W_LSE: return p->lse = true, bare;
    case W_LAYOUT:
        p->token_major = !strcmp(value, "bshd");
        return p->token_major || !strcmp(value, "bhsd");
    case W_CACHE: return read_int(value, &p->cache_rows) && p->cache_rows > 0;
    case W_MISALIGN: return p->misalign = true, bare;
    default: ATN_CHECK(!"word kinds and read_word differ"); return false;
    }
}

static atn_status unknown_word(atn_error *err, const char *word)
{
    static const char *const names[] = {"f32",    "f16",   "bf16",  "causal", "window=", "mask=",  "softcap=",
                                        "scale=", "sinks", "alibi", "lse",    "layout=", "cache=", "misalign"};
    char head[64] = {0};
    size_t n = strcspn(word, "=");
    memcpy(head, word, ATN_MIN(n + (word[n] == '='), sizeof head - 1));
    const char *near = text_nearest(head, names, ATN_COUNT(names));
    if (near) return atn_fail(err, ATN_FORMAT, "unknown word '%s' in problem; did you mean '%s'?", word, near);
    return atn_fail(err, ATN_FORMAT,
                    "unknown word '%s' in problem; valid words are like: f32 b2 h16/8 s2048 d128 causal "
                    "window=127,0 mask=bool softcap=50 scale=0.1 sinks alibi lse layout=bshd cache=4096 misalign",
                    word);
}

atn_status problem_parse(const char *text, atn_problem *out, atn_error *err)
{
    static const int required[] = {W_H, W_S, W_D};
    atn_problem p = problem_default();
    unsigned seen = 0;
    for (const char *s = text;;) {
        s += strspn(s, " \t\r\n");
        if (!*s) break;
        char word[64];
        size_t n = strcspn(s, " \t\r\n");
        if (n >= sizeof word)
            return atn_fail(err, ATN_FORMAT, "word '%.40s...' in problem is too long; words are like h16/8 or causal",
                            s);
        memcpy(word, s, n);
        word[n] = 0;
        s += n;
        const char *value;
        int kind = word_kind(word, &value);
        if (kind < 0) return unknown_word(err, word);
        if (seen >> kind & 1)
            return atn_fail(err, ATN_FORMAT, "word '%s' in problem says again what an earlier word said; give it once",
                            word);
        seen |= 1u << kind;
        if (!read_word(kind, word, value, &p)) return bad_word(err, word, kind);
    }
    for (int i = 0; i < ATN_COUNT(required); i++)
        if (!(seen >> required[i] & 1))
            return atn_fail(err, ATN_FORMAT, "problem '%.200s' lacks %s; an example: f32 h16/8 s2048 d128 causal", text,
                            WORDS[required[i]].valid);
    normalise(&p);
    atn_status st = problem_check(&p, err);
    if (st == ATN_OK) *out = p;
    return st;
}

/* ---- checking ------------------------------------------------------------------------------------------------- */

static atn_status check_size(const char *letter, const char *what, int32_t n, atn_error *err)
{
    if (n >= 1 && n <= SIZE_MAX_) return ATN_OK;
    return atn_fail(err, ATN_FORMAT, "%s%d: %s must be 1 to %d", letter, n, what, SIZE_MAX_);
}

static bool is_float_type(int t) { return t == ATN_F32 || t == ATN_F16 || t == ATN_BF16; }

static atn_status check_features(const atn_problem *p, atn_error *err)
{
    if (!is_float_type(p->dtype_q) || !is_float_type(p->dtype_kv))
        return atn_fail(err, ATN_FORMAT, "type %d:%d: q and kv types must be f32, f16 or bf16", p->dtype_q,
                        p->dtype_kv);
    if (p->causal < ATN_CAUSAL_NONE || p->causal > ATN_CAUSAL_TOP_LEFT)
        return atn_fail(err, ATN_FORMAT, "causal %d: must be none, bottom-right or top-left", p->causal);
    if (p->mask != -1 && p->mask != ATN_F32 && p->mask != ATN_F16 && p->mask != ATN_BOOL)
        return atn_fail(err, ATN_FORMAT, "mask type %d: valid: %s", p->mask, WORDS[W_MASK].valid);
    if (p->mask_shape < 0 || p->mask_shape >= ATN_MASK_SHAPES)
        return atn_fail(err, ATN_FORMAT, "mask shape %d: valid: %s", p->mask_shape, WORDS[W_MASK].valid);
    if (!(p->softcap >= 0) || !isfinite(p->softcap))
        return atn_fail(err, ATN_FORMAT, "softcap=%g: must be above 0; leave it out for none", (double)p->softcap);
    if (!isfinite(p->scale))
        return atn_fail(err, ATN_FORMAT, "scale=%g: must be finite; leave it out for 1/sqrt(D)", (double)p->scale);
    if (p->cache_rows != 0 && (p->cache_rows < p->Skv || p->cache_rows > SIZE_MAX_))
        return atn_fail(err, ATN_FORMAT, "cache=%d: a cache has room for at least the key rows, here %d; try cache=%d",
                        p->cache_rows, p->Skv, p->Skv);
    return ATN_OK;
}

/* Sizes that are fine one by one may multiply beyond what int64 strides, or any machine, can hold. */
static atn_status check_bytes(const atn_problem *p, atn_error *err)
{
    double rows = p->cache_rows ? p->cache_rows : p->Skv, b = p->B;
    double most = fmax(b * p->Hq * p->Sq * fmax(p->D, p->Dv), b * p->Hkv * rows * fmax(p->D, p->Dv));
    most = 4 * fmax(most, p->mask >= 0 ? b * p->Sq * p->Skv : 0);
    if (most <= BYTES_MAX) return ATN_OK;
    return atn_fail(err, ATN_FORMAT,
                    "problem needs a tensor of %.3g bytes; the limit is %.3g: use fewer rows, heads or batches", most,
                    BYTES_MAX);
}

atn_status problem_check(const atn_problem *p, atn_error *err)
{
    const struct {
        const char *letter, *what;
        int32_t n;
    } sizes[] = {{"b", "batch", p->B},          {"h", "query heads", p->Hq},       {"h", "kv heads", p->Hkv},
                 {"s", "query rows", p->Sq},    {"s", "key rows", p->Skv},         {"d", "head size of q and k", p->D},
                 {"d", "head size of v", p->Dv}};
    for (int i = 0; i < ATN_COUNT(sizes); i++) {
        atn_status st = check_size(sizes[i].letter, sizes[i].what, sizes[i].n, err);
        if (st != ATN_OK) return st;
    }
    if (p->Hq % p->Hkv != 0) {
        int near = p->Hkv;
        while (near > 1 && p->Hq % near != 0) near--;
        return atn_fail(err, ATN_FORMAT,
                        "Hq %% Hkv != 0: h%d/%d gives a kv head a fraction of a query head; try h%d/%d", p->Hq, p->Hkv,
                        p->Hq, ATN_MIN(near, p->Hq));
    }
    atn_status st = check_features(p, err);
    return st == ATN_OK ? check_bytes(p, err) : st;
}

bool problem_is_plain(const atn_problem *p)
{
    return p->dtype_q == ATN_F32 && p->dtype_kv == ATN_F32 && p->causal != ATN_CAUSAL_TOP_LEFT && p->window_left < 0 &&
           p->window_right < 0 && p->mask < 0 && p->softcap == 0 && !p->sinks && !p->alibi && !p->lse;
}

/* ---- printing ------------------------------------------------------------------------------------------------- */

static void add_pair(atn_text *t, char letter, int a, int b)
{
    if (a == b) text_addf(t, " %c%d", letter, a);
    else text_addf(t, " %c%d/%d", letter, a, b);
}

void problem_print(const atn_problem *given, char *out, size_t room)
{
    ATN_CHECK(room > 0);
    atn_problem p = *given;
    atn_text t = {0};
    normalise(&p);
    text_add(&t, dtype_name(p.dtype_q));
    if (p.dtype_kv != p.dtype_q) text_addf(&t, ":%s", dtype_name(p.dtype_kv));
    if (p.B != 1) text_addf(&t, " b%d", p.B);
    add_pair(&t, 'h', p.Hq, p.Hkv);
    add_pair(&t, 's', p.Sq, p.Skv);
    add_pair(&t, 'd', p.D, p.Dv);
    if (p.causal) text_add(&t, p.causal == ATN_CAUSAL_TOP_LEFT ? " causal=top" : " causal");
    if (p.window_left >= 0 || p.window_right >= 0) {
        text_addf(&t, " window=%d", p.window_left);
        if (p.window_right >= 0) text_addf(&t, ",%d", p.window_right);
    }
    if (p.mask >= 0) text_addf(&t, " mask=%s%s%s", dtype_name(p.mask), p.mask_shape ? ":" : "", SHAPE_NAMES[p.mask_shape]);
    if (p.softcap > 0) text_addf(&t, " softcap=%.9g", (double)p.softcap);
    if (p.scale != 0) text_addf(&t, " scale=%.9g", (double)p.scale);
    if (p.sinks) text_add(&t, " sinks");
    if (p.alibi) text_add(&t, " alibi");
    if (p.lse) text_add(&t, " lse");
    if (p.token_major) text_add(&t, " layout=bshd");
    if (p.cache_rows) text_addf(&t, " cache=%d", p.cache_rows);
    if (p.misalign) text_add(&t, " misalign");
    snprintf(out, room, "%s", t.s);
    text_free(&t);
}

/* ---- counting ------------------------------------------------------------------------------------------------- */

void attention_row_range(const atn_args *a, int i, int *begin, int *end)
{
    int64_t p = a->causal == ATN_CAUSAL_TOP_LEFT ? i : (int64_t)i + a->Skv - a->Sq;
    int64_t lo = 0, hi = (int64_t)a->Skv - 1;
    if (a->causal != ATN_CAUSAL_NONE) hi = ATN_MIN(hi, p);
    if (a->window_left >= 0) lo = ATN_MAX(lo, p - a->window_left);
    if (a->window_right >= 0) hi = ATN_MIN(hi, p + a->window_right);
    *begin = (int)ATN_MIN(lo, a->Skv);
    *end = (int)ATN_MAX(hi + 1, *begin);
}

void problem_mask_range(const atn_problem *p, int b, int i, int *begin, int *end)
{
    const int64_t at = (int64_t)i + p->Skv - p->Sq, n = p->Skv;
    int64_t lo = 0, hi = n;
    const int64_t text = (n + 3) / 4;
    switch (p->mask < 0 ? ATN_MASK_RANDOM : p->mask_shape) {
    case ATN_MASK_WINDOW: lo = at + 1 - ATN_MAX(n / 8, 1), hi = at + 1; break;
    case ATN_MASK_CAUSAL: hi = at + 1; break;
    case ATN_MASK_PADDED: lo = n * (b + 1) / (2 * ((int64_t)p->B + 1)); break;
    case ATN_MASK_BLOCKS: lo = ATN_MAX(at, 0) / text * text, hi = lo + text; break;
    default: break;
    }
    *begin = (int)ATN_MIN(ATN_MAX(lo, 0), n);
    *end = (int)ATN_MAX(ATN_MIN(hi, n), *begin);
}

/* (query row, allowed key) pairs of one head, in all batches. */
static double pairs_of_head(const atn_problem *p)
{
    const bool shaped = p->mask >= 0 && p->mask_shape != ATN_MASK_RANDOM;
    if (!p->causal && p->window_left < 0 && p->window_right < 0 && !shaped) return (double)p->B * p->Sq * p->Skv;
    atn_args a = {.Sq = p->Sq, .Skv = p->Skv, .causal = p->causal, .window_left = p->window_left,
                  .window_right = p->window_right};
    const int batches = shaped ? p->B : 1, alike = p->B / batches; /* causal order and windows are the same in each */
    int64_t pairs = 0;
    for (int b = 0; b < batches; b++)
        for (int i = 0; i < p->Sq; i++) {
            int begin, end, first, last;
            attention_row_range(&a, i, &begin, &end);
            problem_mask_range(p, b, i, &first, &last);
            pairs += ATN_MAX(ATN_MIN(end, last) - ATN_MAX(begin, first), 0);
        }
    return (double)pairs * alike;
}

double problem_flops(const atn_problem *p)
{
    return 2.0 * ((double)p->D + p->Dv) * p->Hq * pairs_of_head(p);
}

double problem_tokens(const atn_problem *p) { return (double)p->B * p->Sq; }

double problem_bytes(const atn_problem *p)
{
    double head = (double)p->D + p->Dv, b = p->B;
    double bytes =
        b * p->Hq * p->Sq * head * dtype_bytes(p->dtype_q) + b * p->Hkv * p->Skv * head * dtype_bytes(p->dtype_kv);
    if (p->mask >= 0) bytes += b * p->Sq * p->Skv * dtype_bytes(p->mask);
    return bytes;
}

/* ---- layout --------------------------------------------------------------------------------------------------- */

/* Strides of a [B][H][rows][last] tensor that has room for `room` rows; returns its bytes. */
static int64_t lay(atn_tensor *t, int dtype, bool token_major, int64_t B, int64_t H, int64_t room, int64_t last)
{
    int64_t e = dtype_bytes(dtype);
    *t = (atn_tensor){.dtype = dtype,
                      .sb = H * room * last * e,
                      .sh = (token_major ? last : room * last) * e,
                      .sr = (token_major ? H * last : last) * e};
    return B * H * room * last * e;
}

void problem_layout(const atn_problem *p, atn_layout *out)
{
    int64_t rows = p->cache_rows ? p->cache_rows : p->Skv;
    bool tm = p->token_major;
    *out = (atn_layout){.args = {.size = sizeof(atn_args),
                                 .B = p->B,
                                 .Hq = p->Hq,
                                 .Hkv = p->Hkv,
                                 .Sq = p->Sq,
                                 .Skv = p->Skv,
                                 .D = p->D,
                                 .Dv = p->Dv,
                                 .softcap = p->softcap,
                                 .causal = p->causal,
                                 .scale = p->scale != 0 ? p->scale : (float)(1.0 / sqrt(p->D)),
                                 .window_left = p->window_left,
                                 .window_right = p->window_right}};
    atn_args *a = &out->args;
    out->bytes[ATN_T_Q] = lay(&a->q, p->dtype_q, tm, p->B, p->Hq, p->Sq, p->D);
    out->bytes[ATN_T_K] = lay(&a->k, p->dtype_kv, tm, p->B, p->Hkv, rows, p->D);
    out->bytes[ATN_T_V] = lay(&a->v, p->dtype_kv, tm, p->B, p->Hkv, rows, p->Dv);
    out->bytes[ATN_T_O] = lay(&a->o, p->dtype_q, tm, p->B, p->Hq, p->Sq, p->Dv);
    if (p->mask >= 0) {
        out->bytes[ATN_T_MASK] = lay(&a->mask, p->mask, false, p->B, 1, p->Sq, p->Skv);
        a->mask.sh = 0;                        /* all heads share one mask */
    }
    if (p->sinks) out->bytes[ATN_T_SINKS] = (int64_t)p->Hq * 4;
    if (p->alibi) out->bytes[ATN_T_ALIBI] = (int64_t)p->Hq * 4;
    if (p->lse) out->bytes[ATN_T_LSE] = (int64_t)p->B * p->Hq * p->Sq * 4;
}
