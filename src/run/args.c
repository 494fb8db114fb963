/* Checks of what a host hands us, and the class of a problem.
 *
 * Invariant: args that passed args_resolve and args_check_pointers meet the kernel contract, so kernels check
 * nothing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/run_int.h"

enum { SIZE_MAX_DIM = 1 << 24, HEAD_MAX = 1 << 16 };
static const int64_t SPAN_MAX = (int64_t)1 << 48;

static int element_bytes(int dtype)
{
    return dtype == ATN_F32 ? 4 : dtype == ATN_BOOL ? 1 : 2;
}

/* One tensor's dimensions, from which strides are checked. */
typedef struct {
    const char *name;
    const atn_tensor *t;
    int n[3]; /* batch, heads, rows */
    int last;
} view;

typedef struct {
    int64_t stride;
    int n;
} axis;

/* ---- sizes, types, strides ---- */

static atn_status check_dim(const char *name, int64_t value, int64_t max, atn_error *err)
{
    if (value >= 1 && value <= max) return ATN_OK;
    return atn_fail(err, ATN_USAGE, "%s = %lld is not a size: it must be 1 to %lld", name, (long long)value,
                    (long long)max);
}

static atn_status check_dims(const atn_args *a, atn_error *err)
{
    const struct {
        const char *name;
        int64_t value, max;
    } dims[] = {
        {"B", a->B, SIZE_MAX_DIM},   {"Hq", a->Hq, SIZE_MAX_DIM},   {"Hkv", a->Hkv, SIZE_MAX_DIM},
        {"Sq", a->Sq, SIZE_MAX_DIM}, {"Skv", a->Skv, SIZE_MAX_DIM}, {"D", a->D, HEAD_MAX},
        {"Dv", a->Dv, HEAD_MAX},
    };
    for (int i = 0; i < ATN_COUNT(dims); i++) {
        atn_status st = check_dim(dims[i].name, dims[i].value, dims[i].max, err);
        if (st) return st;
    }
    if (a->Hq % a->Hkv) return atn_fail(err, ATN_USAGE, "Hq = %d is not a multiple of Hkv = %d", a->Hq, a->Hkv);
    if (!isfinite(a->scale)) return atn_fail(err, ATN_USAGE, "scale is not finite");
    if (!(a->softcap >= 0) || !isfinite(a->softcap))
        return atn_fail(err, ATN_USAGE, "softcap must be 0 (none) or positive");
    if (a->causal < ATN_CAUSAL_NONE || a->causal > ATN_CAUSAL_TOP_LEFT)
        return atn_fail(err, ATN_USAGE, "causal = %d is not an atn_causal", a->causal);
    return ATN_OK;
}

static bool product(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out) && *out <= SPAN_MAX;
}

/* Dense [B][H][rows][last] where the host left all strides 0. */
static atn_status fill_strides(atn_tensor *t, const view *v, atn_error *err)
{
    if (t->sb || t->sh || t->sr) return ATN_OK;
    int64_t total;
    t->sr = (int64_t)v->last * element_bytes(t->dtype);
    if (!product(t->sr, v->n[2], &t->sh) || !product(t->sh, v->n[1], &t->sb) || !product(t->sb, v->n[0], &total))
        return atn_fail(err, ATN_USAGE, "%s is too large: %d x %d x %d x %d", v->name, v->n[0], v->n[1], v->n[2],
                        v->last);
    return ATN_OK;
}

static atn_status check_strides(const view *v, bool may_broadcast, atn_error *err)
{
    const int64_t s[3] = {v->t->sb, v->t->sh, v->t->sr};
    static const char *const dim[3] = {"batch", "head", "row"};
    const int e = element_bytes(v->t->dtype);
    const int64_t row_bytes = (int64_t)v->last * e;
    int64_t span = row_bytes;
    for (int i = 0; i < 3; i++) {
        if (v->n[i] == 1) continue; /* never used */
        if (s[i] < 0 || (s[i] == 0 && !may_broadcast))
            return atn_fail(err, ATN_USAGE, "%s has a %s stride of %lld bytes: it must be positive%s", v->name, dim[i],
                            (long long)s[i], may_broadcast ? " or 0 (broadcast)" : "");
        if (s[i] % e)
            return atn_fail(err, ATN_USAGE,
                            "%s is misaligned: its %s stride of %lld bytes is no multiple of its %d-byte elements",
                            v->name, dim[i], (long long)s[i], e);
        if (s[i] < row_bytes && !may_broadcast)
            return atn_fail(err, ATN_USAGE,
                            "rows of %s overlap each other: a %s stride of %lld bytes over %lld bytes of data; strides "
                            "are in bytes", v->name, dim[i], (long long)s[i], (long long)row_bytes);
        int64_t part;
        if (!product(s[i], v->n[i] - 1, &part) || (span += part) > SPAN_MAX)
            return atn_fail(err, ATN_USAGE, "%s has a %s stride of %lld bytes, which is absurd", v->name, dim[i],
                            (long long)s[i]);
    }
    return ATN_OK;
}

/* An output must not overlap itself: each stride, from the smallest, steps over all that lies below it. */
static atn_status check_distinct(const view *v, atn_error *err)
{
    int64_t span = (int64_t)v->last * element_bytes(v->t->dtype);
    axis d[3] = {{v->t->sb, v->n[0]}, {v->t->sh, v->n[1]}, {v->t->sr, v->n[2]}};
    for (int round = 0; round < 3; round++) {
        int least = -1;
        for (int i = 0; i < 3; i++)
            if (d[i].n > 1 && (least < 0 || d[i].stride < d[least].stride)) least = i;
        if (least < 0) break;
        if (d[least].stride < span)
            return atn_fail(err, ATN_USAGE,
                            "rows of %s overlap each other: a stride of %lld bytes over %lld bytes of data", v->name,
                            (long long)d[least].stride, (long long)span);
        span += d[least].stride * (d[least].n - 1);
        d[least].n = 1;
    }
    return ATN_OK;
}

static view view_of(const atn_args *a, int which)
{
    switch (which) {
    case 0: return (view){"q", &a->q, {a->B, a->Hq, a->Sq}, a->D};
    case 1: return (view){"k", &a->k, {a->B, a->Hkv, a->Skv}, a->D};
    case 2: return (view){"v", &a->v, {a->B, a->Hkv, a->Skv}, a->Dv};
    case 3: return (view){"o", &a->o, {a->B, a->Hq, a->Sq}, a->Dv};
    default: return (view){"mask", &a->mask, {a->B, a->Hq, a->Sq}, a->Skv};
    }
}

void atn_args_init(atn_args *a)
{
    *a = (atn_args){.size = sizeof *a, .B = 1, .window_left = -1, .window_right = -1};
}

atn_status args_resolve(const atn_args *in, atn_args *out, atn_error *err)
{
    if (!in) return atn_fail(err, ATN_USAGE, "args is NULL");
    if (in->size == 0) /* zeroes are no defaults: window_left = 0 is a window of one key */
        return atn_fail(err, ATN_USAGE, "args->size is 0: begin with atn_args_init(&args)");
    if (in->size != sizeof *in)
        return atn_fail(err, ATN_USAGE, "args->size is %u, this library knows %zu: use atn_args_init and headers of %s",
                        in->size, sizeof *in, atn_version());
    atn_args a = *in;
    a.size = sizeof a;
    if (a.B == 0) a.B = 1;
    if (a.Hkv == 0) a.Hkv = a.Hq;
    if (a.Dv == 0) a.Dv = a.D;
    atn_status st = check_dims(&a, err);
    if (st) return st;
    if (a.scale == 0) a.scale = (float)(1 / sqrt(a.D));
    if (a.window_left < 0) a.window_left = -1;
    if (a.window_right < 0) a.window_right = -1;

    atn_tensor *const tensors[] = {&a.q, &a.k, &a.v, &a.o, &a.mask};
    for (int i = 0; i < 5; i++) {
        atn_tensor *t = tensors[i];
        const bool mask = i == 4;
        const view v = view_of(&a, i);
        if (mask && !t->ptr) {
            *t = (atn_tensor){0};
            continue;
        }
        const bool known = mask ? t->dtype == ATN_F32 || t->dtype == ATN_F16 || t->dtype == ATN_BOOL
                                : t->dtype >= ATN_F32 && t->dtype <= ATN_BF16;
        if (!known)
            return atn_fail(err, ATN_USAGE, "%s has type %d: it may be %s", v.name, t->dtype,
                            mask ? "ATN_F32, ATN_F16 or ATN_BOOL" : "ATN_F32, ATN_F16 or ATN_BF16");
        if (!mask && (st = fill_strides(t, &v, err)) != ATN_OK) return st;
        if ((st = check_strides(&v, mask, err)) != ATN_OK) return st;
    }
    const view o = view_of(&a, 3);
    if ((st = check_distinct(&o, err)) != ATN_OK) return st;
    *out = a;
    return ATN_OK;
}

/* ---- pointers ---- */

/* Memory of a tensor as rows of `row` bytes every `stride` bytes (stride = row: one solid block), first byte at
 * `at`, `span` in all. */
typedef struct {
    uintptr_t at;
    int64_t span, row, period;
} region;

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static region region_of(const view *v)
{
    axis d[3] = {{v->t->sb, v->n[0]}, {v->t->sh, v->n[1]}, {v->t->sr, v->n[2]}};
    region r = {(uintptr_t)v->t->ptr, 0, (int64_t)v->last * element_bytes(v->t->dtype), 0};
    for (bool merged = true; merged;) { /* a dimension that continues the row belongs to it: token-major heads */
        merged = false;
        for (int i = 0; i < 3; i++)
            if (d[i].n > 1 && d[i].stride == r.row) r.row *= d[i].n, d[i].n = 1, merged = true;
    }
    r.span = r.row;
    for (int i = 0; i < 3; i++) {
        if (d[i].n == 1) continue;
        r.span += d[i].stride * (d[i].n - 1);
        r.period = gcd(d[i].stride, r.period);
    }
    return r;
}

/* False where a and b share no byte. Bounds first; then views interleaved in one buffer, whose rows keep different
 * residues modulo their common period. True may be over-cautious for stranger layouts. */
static bool regions_overlap(const region *a, const region *b)
{
    if (a->at + (uintptr_t)a->span <= b->at || b->at + (uintptr_t)b->span <= a->at) return false;
    int64_t period = gcd(a->period, b->period);
    if (period == 0) return true;
    if (a->row > period || b->row > period) return true;
    int64_t gap = (int64_t)((b->at - a->at) % (uintptr_t)period);
    if (b->at < a->at) gap = (period - (int64_t)((a->at - b->at) % (uintptr_t)period)) % period;
    return gap < a->row || gap + b->row > period;
}

atn_status args_check_pointers(const atn_args *a, const void *workspace, int64_t workspace_bytes, atn_error *err)
{
    region in[8], out[3];
    const char *in_name[8], *out_name[3];
    int n_in = 0, n_out = 0;
    for (int i = 0; i < 5; i++) {
        const view v = view_of(a, i);
        if (i == 4 && !v.t->ptr) continue;
        if (!v.t->ptr) return atn_fail(err, ATN_USAGE, "%s is NULL", v.name);
        if ((uintptr_t)v.t->ptr % (uintptr_t)element_bytes(v.t->dtype))
            return atn_fail(err, ATN_USAGE, "%s is misaligned: %p is no multiple of its %d-byte elements", v.name,
                            v.t->ptr, element_bytes(v.t->dtype));
        if (i == 3) out_name[n_out] = v.name, out[n_out++] = region_of(&v);
        else in_name[n_in] = v.name, in[n_in++] = region_of(&v);
    }
    const struct {
        const char *name;
        const float *p;
        int64_t n;
    } floats[] = {
        {"sinks", a->sinks, a->Hq},
        {"alibi", a->alibi, a->Hq},
        {"lse", a->lse, (int64_t)a->B * a->Hq * a->Sq},
    };
    for (int i = 0; i < 3; i++) {
        if (!floats[i].p) continue;
        if ((uintptr_t)floats[i].p % sizeof(float))
            return atn_fail(err, ATN_USAGE, "%s is misaligned: %p is no multiple of 4", floats[i].name,
                            (const void *)floats[i].p);
        const region r = {(uintptr_t)floats[i].p, floats[i].n * 4, floats[i].n * 4, 0};
        if (i == 2) out_name[n_out] = "lse", out[n_out++] = r;
        else in_name[n_in] = floats[i].name, in[n_in++] = r;
    }
    if (workspace && workspace_bytes > 0) {
        out_name[n_out] = "the workspace";
        out[n_out++] = (region){(uintptr_t)workspace, workspace_bytes, workspace_bytes, 0};
    }
    for (int o = 0; o < n_out; o++) {
        for (int i = 0; i < n_in; i++)
            if (regions_overlap(&out[o], &in[i]))
                return atn_fail(err, ATN_USAGE,
                                "%s overlaps %s: give it memory of its own (attention cannot be done in place)",
                                out_name[o], in_name[i]);
        for (int i = 0; i < o; i++)
            if (regions_overlap(&out[o], &out[i]))
                return atn_fail(err, ATN_USAGE, "%s overlaps %s", out_name[o], out_name[i]);
    }
    return ATN_OK;
}

static bool same_tensor(const atn_tensor *a, const atn_tensor *b)
{
    return a->sb == b->sb && a->sh == b->sh && a->sr == b->sr && a->dtype == b->dtype;
}

bool args_same_shape(const atn_args *a, const atn_args *b, const char **what)
{
    const char *d = NULL;
    if (a->B != b->B) d = "B";
    else if (a->Hq != b->Hq || a->Hkv != b->Hkv) d = "the number of heads";
    else if (a->Sq != b->Sq) d = "Sq";
    else if (a->Skv != b->Skv) d = "Skv";
    else if (a->D != b->D || a->Dv != b->Dv) d = "the head size";
    else if (a->scale != b->scale) d = "scale";
    else if (a->softcap != b->softcap) d = "softcap";
    else if (a->causal != b->causal) d = "causal";
    else if (a->window_left != b->window_left || a->window_right != b->window_right) d = "the window";
    else if (!same_tensor(&a->q, &b->q)) d = "q's type or strides";
    else if (!same_tensor(&a->k, &b->k)) d = "k's type or strides";
    else if (!same_tensor(&a->v, &b->v)) d = "v's type or strides";
    else if (!same_tensor(&a->o, &b->o)) d = "o's type or strides";
    else if (!a->mask.ptr != !b->mask.ptr) d = "presence of a mask";
    else if (!same_tensor(&a->mask, &b->mask)) d = "the mask's type or strides";
    else if (!a->sinks != !b->sinks) d = "presence of sinks";
    else if (!a->alibi != !b->alibi) d = "presence of alibi";
    else if (!a->lse != !b->lse) d = "presence of lse";
    if (what) *what = d;
    return !d;
}

/* ---- classes ---- */

static const char *type_name(int dtype)
{
    static const char *const names[] = {"f32", "f16", "bf16", "bool"};
    return names[dtype];
}

void types_of(const atn_args *a, char out[TYPES_ROOM])
{
    types_print(type_name(a->q.dtype), type_name(a->k.dtype), type_name(a->v.dtype), out);
}

void kind_of(const atn_args *a, char out[KIND_ROOM])
{
    char types[TYPES_ROOM];
    types_of(a, types);
    kind_print(types, kind_is_decode(a->Sq, a->Skv), out);
}

static int round_up_power(int n, int least)
{
    int p = least;
    while (p < n && p < 1 << 30) p *= 2;
    return p;
}

void class_of(const atn_args *a, int threads, problem_class *out)
{
    char types[24], dv[16] = "", mask[16] = "";
    if (a->k.dtype == a->q.dtype && a->v.dtype == a->q.dtype && a->o.dtype == a->q.dtype) {
        snprintf(types, sizeof types, "%s", type_name(a->q.dtype));
    } else if (a->k.dtype == a->v.dtype && a->o.dtype == a->q.dtype) {
        snprintf(types, sizeof types, "%s:%s", type_name(a->q.dtype), type_name(a->k.dtype));
    } else {
        snprintf(types, sizeof types, "%s:%s:%s:%s", type_name(a->q.dtype), type_name(a->k.dtype),
                 type_name(a->v.dtype), type_name(a->o.dtype));
    }
    if (a->Dv != a->D) snprintf(dv, sizeof dv, "/%d", a->Dv);
    if (a->mask.ptr) snprintf(mask, sizeof mask, " mask=%s", type_name(a->mask.dtype));
    /* With one query row, bottom-right causal forbids nothing: a decode step is the same problem either way. */
    const bool causal = a->causal == ATN_CAUSAL_TOP_LEFT || (a->causal == ATN_CAUSAL_BOTTOM_RIGHT && a->Sq > 1);
    snprintf(out->words, sizeof out->words, "%s g%d d%d%s%s%s%s%s%s%s%s", types, a->Hq / a->Hkv, a->D, dv,
             !causal                            ? ""
             : a->causal == ATN_CAUSAL_TOP_LEFT ? " causal=top"
                                                : " causal",
             a->window_left >= 0 || a->window_right >= 0 ? " window" : "", mask, a->softcap > 0 ? " softcap" : "",
             a->sinks ? " sinks" : "", a->alibi ? " alibi" : "", a->lse ? " lse" : "");
    out->sq = a->Sq == 1 ? 1 : round_up_power(a->Sq, 16);
    out->skv = round_up_power(a->Skv, 64);
    if (a->Sq == a->Skv) out->sq = out->skv;
    out->threads = threads;
}

void class_print(const problem_class *c, char *out, size_t room)
{
    /* canonical order: types, group, lengths, head size and flags, threads; words is "types g d flags" */
    const char *g = strchr(c->words, ' '), *d = g ? strchr(g + 1, ' ') : NULL;
    ATN_ASSERT(d);
    char s[32];
    if (c->sq == c->skv) snprintf(s, sizeof s, "s%d", c->sq);
    else snprintf(s, sizeof s, "s%d/%d", c->sq, c->skv);
    snprintf(out, room, "%.*s %s%s t%d", (int)(d - c->words), c->words, s, d, c->threads);
}

/* The inverse, strict: a class that does not print back as it was read is none. */
bool class_parse(const char *text, problem_class *out)
{
    problem_class c = {.threads = 0};
    size_t n = 0;
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, " ");
        char word[32];
        if (len == 0 || len >= sizeof word) return false;
        memcpy(word, p, len);
        word[len] = 0;
        if (word[0] == 's' && word[1] >= '0' && word[1] <= '9') {
            char *end;
            c.sq = (int)strtol(word + 1, &end, 10);
            c.skv = *end == '/' ? (int)strtol(end + 1, &end, 10) : c.sq;
            if (*end) return false;
        } else if (word[0] == 't' && word[1] >= '0' && word[1] <= '9') {
            c.threads = atoi(word + 1);
        } else {
            if (n + len + 2 > sizeof c.words) return false;
            n += (size_t)snprintf(c.words + n, sizeof c.words - n, "%s%s", n ? " " : "", word);
        }
        p += len + (p[len] == ' ');
    }
    const char *g = strchr(c.words, ' '), *d = g ? strchr(g + 1, ' ') : NULL;
    if (!d || g[1] != 'g' || d[1] != 'd' || c.sq < 1 || c.skv < 1) return false;
    if (c.threads < 1 || c.threads > THREADS_MAX) return false;
    char again[160];
    class_print(&c, again, sizeof again);
    if (strcmp(again, text) != 0) return false;
    *out = c;
    return true;
}

/* Decode, few queries and prefill are different algorithms: no row of one serves another. */
static int regime(int sq)
{
    return sq == 1 ? 0 : sq <= 16 ? 1 : 2;
}

static double octaves(int a, int b)
{
    return fabs(log2((double)a / b));
}

double class_distance(const problem_class *a, const problem_class *b)
{
    if (strcmp(a->words, b->words) != 0 || regime(a->sq) != regime(b->sq)) return -1;
    return octaves(a->sq, b->sq) + octaves(a->skv, b->skv) + 2 * octaves(a->threads, b->threads);
}
