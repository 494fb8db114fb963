/* OptimizedAttention: the attention module of a transformer around any attention kernel.
 *
 *     module_shape shape = module_shape_default();       // Qwen3's: RMSNorm on q and k, RoPE, grouped heads
 *     shape.hidden = 1024, shape.Hq = 16, shape.Hkv = 8, shape.D = 128;
 *     atn_module *m;
 *     module_create(&shape, &weights, &(module_options){.capacity = 4096}, &m, &err);
 *     module_forward(m, x, 512, y, &err);                // prefill: x, y are [B][512][hidden]
 *     module_forward(m, x, 1, y, &err);                  // decode: one token more, against the cache
 *     module_free(m);
 *
 * Fixed, as in the seed: projections without bias, RMSNorm of each head of q and k, rotary positions, the cache, the output
 * projection. What evolves is the kernel in the middle: options.kernel, else the best one that libattune knows. Agrees with
 * transformers' Qwen3Attention, LlamaAttention and Gemma3Attention to f32 rounding (tests/module). */
#ifndef ATN_MODULE_MODULE_H
#define ATN_MODULE_MODULE_H

#include <stdbool.h>

#include "attune/plan.h"

typedef struct {
    int hidden, Hq, Hkv, D; /* Hq * D need not be hidden */
    float scale;            /* 0: 1 / sqrt(D) */
    float softcap;          /* 0: none */
    int window;             /* a token sees itself and window - 1 before it; 0: all before it */
    bool causal;            /* true */
    bool qk_norm;           /* RMSNorm on each head of q and k (Qwen3, Gemma 3), none for Llama */
    bool norm_plus_one;     /* the norm multiplies by 1 + weight (Gemma) */
    float norm_eps;
    float rope_theta;       /* 0: no rotary positions */
    float rope_scaling;     /* positions are divided by it (Gemma 3's global layers: 8); 0: 1 */
} module_shape;

/* All in the layout of torch.nn.Linear, [out][in]; borrowed for the module's life. */
typedef struct {
    const float *q;              /* [Hq  * D][hidden] */
    const float *k, *v;          /* [Hkv * D][hidden] */
    const float *o;              /* [hidden][Hq * D] */
    const float *q_norm, *k_norm; /* [D]; NULL without qk_norm */
} module_weights;

typedef struct {
    int batch;                   /* 0: 1 */
    int capacity;                /* tokens that the cache holds */
    int cache_type;              /* atn_dtype of the cache: ATN_F32, ATN_F16, ATN_BF16 */
    const atn_kernel *kernel;    /* the evolved one, used where it can run and was judged; NULL: the library's choice */
    atn_pool *pool;              /* NULL: one thread */
} module_options;

typedef struct {
    double total_s, attention_s; /* of all forwards since the last module_reset */
    long long tokens;
    char kernel[64];             /* of the last forward */
    bool own;                    /* options.kernel ran it */
    const char *why;             /* it did not; NULL: no reason to be given */
} module_stats;

typedef struct atn_module atn_module;

/* Qwen3's choices: causal, qk_norm, eps 1e-6, theta 1e6; sizes are 0. */
module_shape module_shape_default(void);

/* ATN_USAGE: a size or weight is missing; ATN_MEMORY. */
atn_status module_create(const module_shape *shape, const module_weights *weights, const module_options *options,
                         atn_module **out, atn_error *err);
void module_free(atn_module *m); /* NULL is fine */

/* x, y: [batch][tokens][hidden]. The tokens follow those in the cache. ATN_USAGE: the cache is full. */
atn_status module_forward(atn_module *m, const float *x, int tokens, float *y, atn_error *err);

/* Empties the cache and the statistics; module_rewind forgets the last `tokens` only and keeps the statistics. */
void module_reset(atn_module *m);
void module_rewind(atn_module *m, int tokens);
/* Fills the cache with random keys and values up to `tokens`: for timing decode without a prefill. */
void module_fill(atn_module *m, int tokens);
int module_cached(const atn_module *m);
void module_stats_get(const atn_module *m, module_stats *out);

#endif
