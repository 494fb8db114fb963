/* The module. See module.h.
 *
 * Invariant: the cache is [batch][Hkv][capacity][D] and holds, for tokens 0 .. cached-1, keys that are normed and rotated
 * already, so that a step touches its own tokens only. Projections leave tensors token-major; the kernel reads them so. */
#include "module/module.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/status.h"
#include "module/linear.h"
#include "problem/half.h"

struct atn_module {
    module_shape shape;
    module_weights w;
    module_options o;
    int cached, room;      /* tokens in the cache; tokens that the buffers hold */
    float *q, *kv, *out;   /* [batch][room][heads * D] */
    char *k_cache, *v_cache;
    float *cosine, *sine;  /* [capacity][D / 2] */
    atn_planned *plan;
    module_stats stats;
};

module_shape module_shape_default(void)
{
    return (module_shape){.causal = true, .qk_norm = true, .norm_eps = 1e-6f, .rope_theta = 1e6f};
}

static size_t element(const atn_module *m)
{
    return m->o.cache_type == ATN_F32 ? 4 : 2;
}

static atn_status check(const module_shape *s, const module_weights *w, const module_options *o, atn_error *err)
{
    if (s->hidden < 1 || s->Hq < 1 || s->Hkv < 1 || s->Hq % s->Hkv || s->D < 2 || s->D % 2)
        return atn_fail(err, ATN_USAGE, "a module needs hidden, heads with Hq %% Hkv == 0 and an even head size; got hidden %d, "
                        "heads %d/%d, head size %d", s->hidden, s->Hq, s->Hkv, s->D);
    if (o->capacity < 1 || o->cache_type < ATN_F32 || o->cache_type > ATN_BF16)
        return atn_fail(err, ATN_USAGE, "a module's cache needs a capacity and a type of f32, f16 or bf16");
    if (!w->q || !w->k || !w->v || !w->o || (s->qk_norm && (!w->q_norm || !w->k_norm)))
        return atn_fail(err, ATN_USAGE, "a module needs weights q, k, v, o, and q_norm, k_norm with qk_norm");
    return ATN_OK;
}

/* In f32 throughout, as transformers does: the tables are then the same to the last bits. */
static void rope_tables(atn_module *m)
{
    int half = m->shape.D / 2;
    float scaling = m->shape.rope_scaling > 0 ? m->shape.rope_scaling : 1;
    for (int i = 0; i < half; i++) {
        float inverse = 1.0f / powf(m->shape.rope_theta, (float)(2 * i) / (float)m->shape.D) / scaling;
        for (int t = 0; t < m->o.capacity; t++) {
            m->cosine[(size_t)t * half + i] = cosf((float)t * inverse);
            m->sine[(size_t)t * half + i] = sinf((float)t * inverse);
        }
    }
}

atn_status module_create(const module_shape *shape, const module_weights *weights, const module_options *options,
                         atn_module **out, atn_error *err)
{
    *out = NULL;
    atn_status st = check(shape, weights, options, err);
    if (st) return st;
    atn_module *m = atn_alloc(sizeof *m);
    *m = (atn_module){.shape = *shape, .w = *weights, .o = *options};
    m->o.batch = ATN_MAX(m->o.batch, 1);
    size_t cache = (size_t)m->o.batch * shape->Hkv * m->o.capacity * shape->D * element(m);
    size_t table = (size_t)m->o.capacity * shape->D / 2 * sizeof(float);
    m->k_cache = calloc(1, cache);
    m->v_cache = calloc(1, cache);
    m->cosine = malloc(table);
    m->sine = malloc(table);
    if (!m->k_cache || !m->v_cache || !m->cosine || !m->sine) {
        module_free(m);
        return atn_fail(err, ATN_MEMORY, "no memory for a cache of %d tokens (%.1f MB); take a smaller capacity",
                        options->capacity, 2e-6 * (double)cache);
    }
    if (shape->rope_theta > 0) rope_tables(m);
    *out = m;
    return ATN_OK;
}

void module_free(atn_module *m)
{
    if (!m) return;
    atn_plan_free(m->plan);
    free(m->q);
    free(m->kv);
    free(m->out);
    free(m->k_cache);
    free(m->v_cache);
    free(m->cosine);
    free(m->sine);
    free(m);
}

static atn_status make_room(atn_module *m, int tokens, atn_error *err)
{
    if (tokens <= m->room) return ATN_OK;
    size_t n = (size_t)m->o.batch * tokens * m->shape.D * sizeof(float);
    free(m->q);
    free(m->kv);
    free(m->out);
    m->q = malloc(n * m->shape.Hq);
    m->out = malloc(n * m->shape.Hq);
    m->kv = malloc(n * m->shape.Hkv);
    m->room = m->q && m->out && m->kv ? tokens : 0;
    return m->room ? ATN_OK : atn_fail(err, ATN_MEMORY, "no memory for %d tokens at once; forward fewer", tokens);
}

/* ---- one head of one token ---- */

static void head_norm(const atn_module *m, float *h, const float *weight)
{
    int D = m->shape.D;
    float sum = 0;
    for (int d = 0; d < D; d++) sum += h[d] * h[d];
    float r = 1.0f / sqrtf(sum / (float)D + m->shape.norm_eps);
    for (int d = 0; d < D; d++) h[d] = h[d] * r * (m->shape.norm_plus_one ? 1 + weight[d] : weight[d]);
}

/* Halves are rotated against each other (Llama's convention), not neighbours. */
static void head_rotate(const atn_module *m, float *h, int position)
{
    int half = m->shape.D / 2;
    const float *c = m->cosine + (size_t)position * half, *s = m->sine + (size_t)position * half;
    for (int i = 0; i < half; i++) {
        float a = h[i], b = h[i + half];
        h[i] = a * c[i] - b * s[i];
        h[i + half] = b * c[i] + a * s[i];
    }
}

static void heads_prepare(const atn_module *m, float *x, int tokens, int heads, const float *norm)
{
    for (int b = 0; b < m->o.batch; b++)
        for (int t = 0; t < tokens; t++)
            for (int h = 0; h < heads; h++) {
                float *one = x + (((size_t)b * tokens + t) * heads + h) * m->shape.D;
                if (norm) head_norm(m, one, norm);
                if (m->shape.rope_theta > 0) head_rotate(m, one, m->cached + t);
            }
}

static void store_row(const atn_module *m, char *to, const float *from)
{
    int D = m->shape.D;
    if (m->o.cache_type == ATN_F32) memcpy(to, from, (size_t)D * sizeof *from);
    else if (m->o.cache_type == ATN_F16)
        for (int d = 0; d < D; d++) ((uint16_t *)to)[d] = f16_of_f32(from[d]);
    else
        for (int d = 0; d < D; d++) ((uint16_t *)to)[d] = bf16_of_f32(from[d]);
}

static char *cache_row(const atn_module *m, char *cache, int b, int h, int t)
{
    return cache + (((size_t)b * m->shape.Hkv + h) * m->o.capacity + t) * m->shape.D * element(m);
}

static void cache_append(atn_module *m, char *cache, int tokens)
{
    for (int b = 0; b < m->o.batch; b++)
        for (int t = 0; t < tokens; t++)
            for (int h = 0; h < m->shape.Hkv; h++)
                store_row(m, cache_row(m, cache, b, h, m->cached + t),
                          m->kv + (((size_t)b * tokens + t) * m->shape.Hkv + h) * m->shape.D);
}

/* ---- the kernel in the middle ---- */

static atn_tensor token_major(const atn_module *m, float *p, int tokens, int heads)
{
    int64_t head = (int64_t)m->shape.D * 4, row = head * heads;
    return (atn_tensor){.ptr = p, .dtype = ATN_F32, .sb = row * tokens, .sh = head, .sr = row};
}

static atn_tensor cached(const atn_module *m, char *p)
{
    int64_t row = (int64_t)m->shape.D * (int64_t)element(m), head = row * m->o.capacity;
    return (atn_tensor){.ptr = p, .dtype = m->o.cache_type, .sb = head * m->shape.Hkv, .sh = head, .sr = row};
}

static atn_status attend(atn_module *m, int tokens, atn_error *err)
{
    atn_args a;
    atn_args_init(&a);
    a.B = m->o.batch, a.Hq = m->shape.Hq, a.Hkv = m->shape.Hkv, a.D = m->shape.D;
    a.Sq = tokens, a.Skv = m->cached + tokens;
    a.scale = m->shape.scale, a.softcap = m->shape.softcap;
    a.causal = m->shape.causal ? ATN_CAUSAL_BOTTOM_RIGHT : ATN_CAUSAL_NONE;
    if (m->shape.causal && tokens == 1) a.causal = ATN_CAUSAL_NONE; /* the last token sees every key: the same, plainer */
    if (m->shape.window > 0) a.window_left = m->shape.window - 1;
    a.q = token_major(m, m->q, tokens, m->shape.Hq);
    a.o = token_major(m, m->out, tokens, m->shape.Hq);
    a.k = cached(m, m->k_cache);
    a.v = cached(m, m->v_cache);
    atn_status st;
    if (m->plan) {
        st = atn_plan_update(m->plan, &a, err);
    } else {
        atn_plan_options o = {0};
        o.pool = m->o.pool;
        o.table = m->o.kernel;
        st = atn_plan_create(&a, &o, &m->plan, err);
    }
    return st ? st : atn_execute(m->plan, &a, NULL, err);
}

static void record(atn_module *m, double total, double attention, int tokens)
{
    atn_plan_info info = {.size = sizeof info};
    m->stats.total_s += total;
    m->stats.attention_s += attention;
    m->stats.tokens += (long long)m->o.batch * tokens;
    if (atn_plan_info_get(m->plan, &info, NULL)) return;
    snprintf(m->stats.kernel, sizeof m->stats.kernel, "%s", info.kernel);
    m->stats.own = info.origin == ATN_FROM_HOST;
    m->stats.why = info.passed_over;
}

atn_status module_forward(atn_module *m, const float *x, int tokens, float *y, atn_error *err)
{
    const module_shape *s = &m->shape;
    if (tokens < 1 || tokens > m->o.capacity - m->cached)
        return atn_fail(err, ATN_USAGE, "%d tokens after %d do not fit a cache of %d; reset it, or make it larger", tokens,
                        m->cached, m->o.capacity);
    atn_status st = make_room(m, tokens, err);
    if (st) return st;
    double start = clock_s();
    int rows = m->o.batch * tokens;
    linear(x, m->w.q, m->q, rows, s->hidden, s->Hq * s->D);
    heads_prepare(m, m->q, tokens, s->Hq, s->qk_norm ? m->w.q_norm : NULL);
    linear(x, m->w.k, m->kv, rows, s->hidden, s->Hkv * s->D);
    heads_prepare(m, m->kv, tokens, s->Hkv, s->qk_norm ? m->w.k_norm : NULL);
    cache_append(m, m->k_cache, tokens);
    linear(x, m->w.v, m->kv, rows, s->hidden, s->Hkv * s->D);
    cache_append(m, m->v_cache, tokens);
    double before = clock_s();
    if ((st = attend(m, tokens, err))) return st;
    double after = clock_s();
    linear(m->out, m->w.o, y, rows, s->Hq * s->D, s->hidden);
    m->cached += tokens;
    record(m, clock_s() - start, after - before, tokens);
    return ATN_OK;
}

void module_reset(atn_module *m)
{
    m->cached = 0;
    m->stats = (module_stats){0};
}

void module_rewind(atn_module *m, int tokens)
{
    ATN_ASSERT(tokens <= m->cached);
    m->cached -= tokens;
}

void module_fill(atn_module *m, int tokens)
{
    ATN_ASSERT(tokens <= m->o.capacity);
    float *row = atn_alloc((size_t)m->shape.D * sizeof *row);
    atn_rng rng = rng_make(1, 0, 0);
    for (int b = 0; b < m->o.batch; b++)
        for (int h = 0; h < m->shape.Hkv; h++)
            for (int t = 0; t < tokens; t++)
                for (int part = 0; part < 2; part++) {
                    for (int d = 0; d < m->shape.D; d++) row[d] = (float)(2 * rng_f64(&rng) - 1);
                    store_row(m, cache_row(m, part ? m->v_cache : m->k_cache, b, h, t), row);
                }
    free(row);
    m->cached = tokens;
}

int module_cached(const atn_module *m)
{
    return m->cached;
}

void module_stats_get(const atn_module *m, module_stats *out)
{
    *out = m->stats;
}
