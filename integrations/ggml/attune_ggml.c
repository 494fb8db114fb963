/* libggml-attune.so: attention of an unmodified llama.cpp (any program with ggml's CPU backend) by attune's kernels.
 *
 *     GGML_BACKEND_PATH=/path/libggml-attune.so llama-cli -m MODEL ...         (a program that loads backends)
 *     ggml_backend_load("/path/libggml-attune.so")                             (before the model is loaded)
 *
 *     ATTUNE_KERNEL=/path/best_program.so    the evolved kernel, or the folder of a run after `attune build FOLDER`; without
 *                                            it the best that the library knows
 *     ATTUNE_REPORT=FILE                     at exit: counts and kernel as JSON (- is stderr)
 *
 * ggml-cpu asks every "extra buffer type" whether it computes an operator before it runs its own code. The plug-in appends
 * one such entry, which takes FLASH_ATTN_EXT. So the kernel runs in ggml's own threads, between its own barriers, with a
 * work buffer of ggml's; nothing is split or copied, and llama.cpp's choice of flash attention (auto) stays as it is.
 *
 * Invariants: an operator that we do not take (quantised keys, odd strides) is computed by ggml exactly as without us. A
 * host whose layout is not the one declared in ggml_layout.h is refused with one line on stderr before anything of it
 * is changed. Symbols of the host are found at run time; never unloaded, since the host keeps pointers to us. */
#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml_layout.h"
#include "planner.h"

#define PUBLIC __attribute__((visibility("default")))

enum { API_OLDEST = 2, API_NEWEST = 3 };

static struct {
    const char *(*op_name)(int op);
    const char *(*version)(void);
    size_t (*tensor_overhead)(void);
    void *(*reg_by_name)(const char *name);
    host_vector *(*extra_types)(void);
    void *(*buft_device)(void *buft);
    void (*barrier)(void *threadpool);
    int flash_attn;                /* number of the operator in this host */
    int api;
} ggml;

static planner *plans;
static atomic_bool enabled = true;
static atomic_llong declined;
static char nonce_path[512];

static bool say(const char *format, const char *what)
{
    fprintf(stderr, "attune: ");
    fprintf(stderr, format, what);
    fprintf(stderr, "; ggml's own attention runs\n");
    return false;
}

/* ---- the operator as attune's arguments ---- */

static int dtype_of(const host_tensor *t)
{
    return t->type == LAYOUT_F32 ? ATN_F32 : t->type == LAYOUT_F16 ? ATN_F16 : t->type == LAYOUT_BF16 ? ATN_BF16 : -1;
}

static atn_tensor tensor_of(const host_tensor *t)
{
    return (atn_tensor){.ptr = t->data, .dtype = dtype_of(t), .sr = (int64_t)t->nb[1], .sh = (int64_t)t->nb[2],
                        .sb = (int64_t)t->nb[3]};
}

static const int dtype_bytes[] = {4, 2, 2, 1};

/* ggml's ALiBi multiplies the mask, which holds distances, by a slope of each head; since cells of its cache are in no
 * order, that is not our alibi. The mask of each head is written out for a block of query rows at a time. */
typedef struct {
    int rows;                      /* of a block; 0: no ALiBi */
    int64_t bytes;                 /* of a block's masks, [B][Hq][rows][Skv] in f32 */
    atn_tensor mask;               /* what they are made from */
} sloped;

enum { BLOCK_BYTES = 32 << 20, COLUMNS = 512 };

static void sloped_mask(atn_args *a, sloped *block)
{
    const int64_t row = (int64_t)a->B * a->Hq * a->Skv * 4, fit = BLOCK_BYTES / row;
    block->mask = a->mask;
    block->rows = fit < 1 ? 1 : fit < a->Sq ? (int)fit : a->Sq;
    block->bytes = (row * block->rows + 63) / 64 * 64;
    a->mask.dtype = ATN_F32;
    a->mask.sr = (int64_t)a->Skv * 4;
    a->mask.sh = a->mask.sr * block->rows;
    a->mask.sb = a->mask.sh * a->Hq;
}

static float half_value(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    union { uint32_t bits; float value; } x = {rest}, special = {sign | 0x7f800000 | rest};
    x.value *= 0x1p112f;
    x.bits |= sign;
    return (h & 0x7c00) == 0x7c00 ? special.value : x.value;
}

/* ggml's slopes: powers of 2^(-bias/n) for the first n heads, n a power of two, and those halfway between for the rest. */
static float slope_of(int head, int heads, float max_bias)
{
    int n = 1;
    while (2 * n <= heads) n *= 2;
    return head < n ? powf(powf(2, -max_bias / (float)n), (float)(head + 1))
                    : powf(powf(2, -max_bias / 2 / (float)n), (float)(2 * (head - n) + 1));
}

/* This thread's part of the masks of query rows first .. first + n - 1. */
static void write_slopes(const atn_args *a, const sloped *block, float max_bias, int first, int n, float *out, int ith, int nth)
{
    const int parts = (a->Skv + COLUMNS - 1) / COLUMNS;
    float value[COLUMNS];
    for (int unit = ith; unit < a->B * n * parts; unit += nth) {
        const int b = unit / parts / n, i = unit / parts % n, j0 = unit % parts * COLUMNS;
        const int width = a->Skv - j0 < COLUMNS ? a->Skv - j0 : COLUMNS;
        for (int h = 0; h < a->Hq; h++) {
            if (h == 0 || block->mask.sh) {
                const char *row = (const char *)block->mask.ptr + b * block->mask.sb + h * block->mask.sh +
                                  (first + i) * block->mask.sr;
                for (int j = 0; j < width; j++)
                    value[j] = block->mask.dtype == ATN_F16 ? half_value(((const uint16_t *)row)[j0 + j])
                                                            : ((const float *)row)[j0 + j];
            }
            const float slope = slope_of(h, a->Hq, max_bias);
            float *to = out + (((int64_t)b * a->Hq + h) * block->rows + i) * a->Skv + j0;
            for (int j = 0; j < width; j++) to[j] = slope * value[j];
        }
    }
}

static float max_bias_of(const host_tensor *dst)
{
    float x;
    memcpy(&x, &dst->op_params[1], 4);
    return x;
}

/* dst f32 [Dv, Hq, Sq, B] = q [D, Sq, Hq, B], k [D, Skv, Hkv, B], v [Dv, Skv, Hkv, B], mask [Skv, Sq, 1|Hq, 1|B], sinks [Hq]
 * (fastest dimension first). Pointers may still be NULL when the host asks early. */
static bool args_of(const host_tensor *dst, atn_args *a, sloped *block)
{
    *block = (sloped){0};
    const host_tensor *q = dst->src[0], *k = dst->src[1], *v = dst->src[2], *mask = dst->src[3], *sinks = dst->src[4];
    float scale, softcap;
    memcpy(&scale, &dst->op_params[0], 4);
    memcpy(&softcap, &dst->op_params[2], 4);
    const host_tensor *const t[] = {q, k, v};
    for (int i = 0; i < 3; i++)
        if (!t[i] || dtype_of(t[i]) < 0 || t[i]->nb[0] != (size_t)dtype_bytes[dtype_of(t[i])]) return false;
    if (dst->type != LAYOUT_F32 || q->ne[2] % k->ne[2] || k->ne[2] != v->ne[2] || k->ne[3] != q->ne[3] ||
        v->ne[3] != q->ne[3] || k->ne[1] != v->ne[1])
        return false;
    atn_args_init(a);
    a->B = (int)q->ne[3], a->Hq = (int)q->ne[2], a->Hkv = (int)k->ne[2];
    a->Sq = (int)q->ne[1], a->Skv = (int)k->ne[1], a->D = (int)q->ne[0], a->Dv = (int)v->ne[0];
    a->softcap = softcap;
    a->scale = scale;
    a->q = tensor_of(q), a->k = tensor_of(k), a->v = tensor_of(v);
    a->o = (atn_tensor){.ptr = dst->data, .dtype = ATN_F32, .sh = (int64_t)dst->nb[1], .sr = (int64_t)dst->nb[2],
                        .sb = (int64_t)dst->nb[3]};
    if (mask) {
        if ((mask->type != LAYOUT_F16 && mask->type != LAYOUT_F32) || mask->ne[0] < a->Skv || mask->ne[1] < a->Sq ||
            a->Hq % mask->ne[2] || a->B % mask->ne[3] || (mask->ne[2] > 1 && mask->ne[2] != a->Hq) ||
            (mask->ne[3] > 1 && mask->ne[3] != a->B))
            return false;
        a->mask = tensor_of(mask);
        if (mask->ne[2] == 1) a->mask.sh = 0;
        if (mask->ne[3] == 1) a->mask.sb = 0;
        if (!a->mask.ptr) a->mask.ptr = (void *)64; /* planned before it has memory */
        if (max_bias_of(dst) > 0) sloped_mask(a, block);
    }
    if (sinks) {
        if (sinks->type != LAYOUT_F32 || sinks->ne[0] != a->Hq) return false;
        a->sinks = sinks->data ? sinks->data : (const float *)64;
    }
    return true;
}

/* ---- running in ggml's threads ---- */

typedef struct {                   /* at the start of the work buffer, shared by the threads of one operator */
    atn_execution execution;
    planned *plan;
    void *workspace, *own;
    float *masks;                  /* of a block of rows; NULL: no ALiBi */
    int64_t start;
    int phases;
    atn_status status;
} operator_state;

enum { STATE_BYTES = (sizeof(operator_state) + 63) / 64 * 64 };

static void *aligned(void *p)
{
    return (void *)(((uintptr_t)p + 63) & ~(uintptr_t)63);
}

/* Rows first .. of the whole problem: all, or one block. */
static void take_rows(atn_args *a, const sloped *block, int first)
{
    if (!block->rows) return;
    a->Sq = a->Sq - first < block->rows ? a->Sq - first : block->rows;
    a->q.ptr = a->q.ptr ? (char *)a->q.ptr + first * a->q.sr : NULL;
    a->o.ptr = a->o.ptr ? (char *)a->o.ptr + first * a->o.sr : NULL;
}

/* Bytes of the workspace for rows first ..; -1: no kernel covers them. */
static int64_t workspace_of(atn_args a, const sloped *block, int first, int threads)
{
    take_rows(&a, block, first);
    planned *p = planner_acquire(plans, &a, threads, NULL);
    if (!p) return -1;
    const int64_t bytes = atn_plan_workspace(planned_plan(p));
    planner_release(plans, p, -1);
    return bytes;
}

static bool work_size(traits_object *self, int threads, const host_tensor *op, size_t *size)
{
    (void)self;
    atn_args a;
    sloped block;
    if (!args_of(op, &a, &block)) return false;
    int64_t bytes = workspace_of(a, &block, 0, threads);
    if (block.rows && a.Sq % block.rows) { /* the last block is another problem */
        const int64_t last = workspace_of(a, &block, a.Sq / block.rows * block.rows, threads);
        if (last < 0) return false;
        if (last > bytes && bytes >= 0) bytes = last;
    }
    if (bytes < 0) return false;
    *size = STATE_BYTES + (size_t)(block.bytes + bytes) + 128;
    return true;
}

static void begin(operator_state *s, const host_params *params, const atn_args *whole, const sloped *block, int first)
{
    atn_args a = *whole;
    atn_error err;
    *s = (operator_state){.status = ATN_UNSUPPORTED, .start = first ? s->start : planner_clock()};
    take_rows(&a, block, first);
    if (!(s->plan = planner_acquire(plans, &a, params->nth, &err))) return;
    const int64_t need = block->bytes + atn_plan_workspace(planned_plan(s->plan));
    s->workspace = (char *)s + STATE_BYTES;
    if (need > (char *)params->wdata + params->wsize - (char *)s->workspace) /* the host planned for other threads */
        s->workspace = s->own = aligned_alloc(64, (size_t)(need + 63) / 64 * 64);
    if (block->rows) {
        a.mask.ptr = s->masks = s->workspace;
        if (s->workspace) s->workspace = (char *)s->workspace + block->bytes;
    }
    s->phases = planned_phases(s->plan);
    s->status = s->workspace ? atn_execute_begin(planned_plan(s->plan), &a, s->workspace, &s->execution, &err)
                             : ATN_MEMORY;
    if (s->status) fprintf(stderr, "attune: %s\n", s->workspace ? err.text : "out of memory");
}

/* ggml's AMX matrix product configures the tiles of a thread once and for all, and an AMX kernel of ours configures them
 * anew: so where a thread has a configuration (XINUSE, bit 17), it gets the same one back. */
#ifdef __x86_64__
typedef struct {
    _Alignas(64) char config[64];
    bool kept;
} tiles;

static bool counts_tiles; /* this CPU has tiles, and says whether they are in use */

static void tiles_probe(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 24)) return;
    counts_tiles = __get_cpuid_count(13, 1, &a, &b, &c, &d) && a & 1u << 2;
}

static void tiles_keep(tiles *t)
{
    unsigned in_use = 0, high;
    t->kept = false;
    if (!counts_tiles) return;
    __asm__ volatile("xgetbv" : "=a"(in_use), "=d"(high) : "c"(1));
    if (!(in_use & 1u << 17)) return;
    __asm__ volatile("sttilecfg %0" : "=m"(t->config));
    t->kept = true;
}

static void tiles_give_back(const tiles *t)
{
    if (t->kept) __asm__ volatile("ldtilecfg %0" : : "m"(t->config));
}
#else
typedef int tiles;
static void tiles_probe(void) {}
static void tiles_keep(tiles *t) { (void)t; }
static void tiles_give_back(const tiles *t) { (void)t; }
#endif

/* Rows first .. in all threads. False in all of them: not computed. */
static bool compute_rows(operator_state *s, host_params *params, const host_tensor *dst, const atn_args *a,
                         const sloped *block, int first)
{
    if (params->ith == 0) begin(s, params, a, block, first);
    ggml.barrier(params->threadpool);
    const bool ok = s->status == ATN_OK;
    const int repeat = ok ? planner_repeats(plans) : 0, phases = s->phases;
    if (ok && block->rows) {
        write_slopes(a, block, max_bias_of(dst), first, s->execution.args.Sq, s->masks, params->ith, params->nth);
        ggml.barrier(params->threadpool);
    }
    for (int r = 0; r < repeat; r++) {
        for (int phase = 0; phase < phases; phase++) {
            atn_execute_portion(&s->execution, phase, params->ith);
            ggml.barrier(params->threadpool);
        }
        if (r + 1 < repeat) {
            if (params->ith == 0) {
                const atn_args again = s->execution.args;
                atn_execute_begin(planned_plan(s->plan), &again, s->workspace, &s->execution, NULL);
            }
            ggml.barrier(params->threadpool);
        }
    }
    if (!repeat) ggml.barrier(params->threadpool); /* all have read the state */
    if (params->ith == 0 && s->plan) {
        const bool last = first + s->execution.args.Sq >= a->Sq; /* blocks are one call */
        free(s->own);
        planner_release(plans, s->plan, ok && last ? planner_clock() - s->start : -1);
    }
    return ok;
}

static bool compute_forward(traits_object *self, host_params *params, host_tensor *dst)
{
    (void)self;
    tiles host_tiles;
    atn_args a;
    sloped block;
    bool ok = args_of(dst, &a, &block);
    tiles_keep(&host_tiles);
    for (int first = 0; ok && first < a.Sq; first += block.rows ? block.rows : a.Sq)
        ok = compute_rows(aligned(params->wdata), params, dst, &a, &block, first);
    tiles_give_back(&host_tiles);
    return ok;
}

static void nothing(traits_object *self)
{
    (void)self;
}

static const struct traits_table traits_functions = {nothing, nothing, work_size, compute_forward};
static traits_object traits = {&traits_functions};

/* ---- what ggml asks ---- */

static void extra_nothing(extra_object *self)
{
    (void)self;
}

static bool supports_op(extra_object *self, void *device, const host_tensor *op)
{
    (void)self, (void)device, (void)op;
    return false; /* it says nothing about where tensors may lie */
}

/* Every thread asks for every operator at the same moment, once a layer: a lock there would put one of them to sleep each
 * time. So a thread remembers what was covered, and the layers of a model ask the same. */
static bool covered(const atn_args *a, const sloped *block)
{
    static __thread atn_args last[4]; /* of size 0: none yet */
    static __thread unsigned next;
    const atn_args key = planner_key(a);
    for (int i = 0; i < 4; i++)
        if (!memcmp(&last[i], &key, sizeof key)) return true;
    if (workspace_of(*a, block, 0, 1) < 0) return false;
    last[next] = key;
    next = (next + 1) % 4;
    return true;
}

static traits_object *get_tensor_traits(extra_object *self, const host_tensor *op)
{
    (void)self;
    atn_args a;
    sloped block;
    if (op->op != ggml.flash_attn || !atomic_load_explicit(&enabled, memory_order_relaxed)) return NULL;
    if (args_of(op, &a, &block) && covered(&a, &block)) return &traits;
    atomic_fetch_add(&declined, 1);
    return NULL;
}

static const struct extra_table extra_functions = {extra_nothing, extra_nothing, supports_op, get_tensor_traits};
static extra_object extra = {&extra_functions};
static void *buffer_type[24];      /* a copy of one of the host's, with our object as context */

/* ---- finding the host ---- */

static void *find(const char *name, void *const *objects, int n)
{
    void *f = dlsym(RTLD_DEFAULT, name);
    for (int i = 0; !f && i < n; i++)
        if (objects[i]) f = dlsym(objects[i], name);
    return f;
}

static void *object_at(const void *address)
{
    Dl_info where;
    return address && dladdr(address, &where) && where.dli_fname ? dlopen(where.dli_fname, RTLD_NOW | RTLD_NOLOAD) : NULL;
}

static bool find_host(const void *caller)
{
    void *objects[3] = {object_at(caller)};
    /* the registry first: through its CPU entry we find a CPU backend that was itself loaded at run time */
    *(void **)&ggml.reg_by_name = find("ggml_backend_reg_by_name", objects, 1);
    if (!ggml.reg_by_name) return say("cannot find '%s': this program does not show ggml's functions", "ggml_backend_reg_by_name");
    const host_reg *cpu = ggml.reg_by_name("CPU");
    if (!cpu) return say("'%s' is not loaded yet: load the plug-in after it", "ggml's CPU backend");
    objects[1] = object_at((const void *)cpu->get_name);
    objects[2] = object_at((const void *)ggml.reg_by_name);
    const struct {
        const char *name;
        void *to;
    } wanted[] = {
        {"ggml_op_name", &ggml.op_name},
        {"ggml_version", &ggml.version},
        {"ggml_tensor_overhead", &ggml.tensor_overhead},
        {"ggml_barrier", &ggml.barrier},
        {"ggml_backend_buft_get_device", &ggml.buft_device},
        {"_Z39ggml_backend_cpu_get_extra_buffer_typesv", &ggml.extra_types},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!(*(void **)wanted[i].to = find(wanted[i].name, objects, 3)))
            return say("cannot find '%s' in this ggml (built with hidden symbols, or older than August 2025)", wanted[i].name);
    ggml.api = cpu->api_version;
    return true;
}

static bool check_host(void)
{
    char text[160];
    const char *version = ggml.version();
    int major = 0, minor = 0;
    snprintf(text, sizeof text, "plug-in version %d of ggml %s is not known here (known: %d to %d)", ggml.api, version,
             API_OLDEST, API_NEWEST);
    if (ggml.api < API_OLDEST || ggml.api > API_NEWEST) return say("%s", text);
    if (sscanf(version, "%d.%d", &major, &minor) != 2 || (major == 0 && minor < 10))
        return say("ggml %s has an older layout; 0.10 or later is needed", version);
    const size_t overhead = ggml.tensor_overhead(); /* the tensor and ggml's own 32-byte header of it */
    if (overhead != sizeof(host_tensor) + 32) return say("ggml %s lays tensors out in an unknown way", version);
    for (int op = 1; op < 256 && !ggml.flash_attn; op++) {
        const char *name = ggml.op_name(op);
        if (!name) break;
        if (!strcmp(name, "FLASH_ATTN_EXT")) ggml.flash_attn = op;
        if (!strcmp(name, "NONE") && op > 0) break;
    }
    if (!ggml.flash_attn) return say("ggml %s has no FLASH_ATTN_EXT", version);
    return true;
}

/* The buffer type's place for its context moved between API versions: it is the word after its device. */
static bool append_entry(void)
{
    host_vector *v = ggml.extra_types();
    const long n = v->end - v->begin;
    if (n < 1 || n > 16) return say("%s has no extra buffer types to stand beside", "ggml's CPU backend");
    void **model = v->begin[0], *device = ggml.buft_device(model);
    int at = -1;
    for (int i = 5; i < 12 && device; i++)
        if (model[i] == device) {
            at = i;
            break;
        }
    if (at < 0) return say("cannot find the context in '%s'", "ggml's buffer type");
    memcpy(buffer_type, model, (size_t)(at + 1) * sizeof *model);
    buffer_type[at + 1] = &extra;
    /* A vector of our own making: it lives as long as the process, as does the host's static one. Ours comes first in
     * nothing: entries are asked in order, and only for their own operators. */
    void **grown = calloc((size_t)n + 9, sizeof *grown);
    if (!grown) return say("%s", "out of memory");
    memcpy(grown, v->begin, (size_t)n * sizeof *grown);
    /* some hosts end their list with NULL */
    long used = n;
    while (used > 0 && !grown[used - 1]) used--;
    memmove(grown + used + 1, grown + used, (size_t)(n - used) * sizeof *grown);
    grown[used] = buffer_type;
    *v = (host_vector){grown, grown + n + 1, grown + n + 9};
    return true;
}

/* ---- the report ---- */

/* For tests and workloads: counts so far. Returns 0, or -1 where nothing is hooked. */
PUBLIC int attune_ggml_counts(planner_counts *out, long long *not_taken, char *kernel, int room)
{
    if (!plans) return -1;
    planner_read(plans, out);
    *not_taken = declined;
    planner_kernel(plans, kernel, room);
    return 0;
}

PUBLIC void attune_ggml_kernels(char *out, int room)
{
    if (plans) planner_kernels(plans, out, room);
}

/* on 0: ggml's own attention in every graph made from now on. */
PUBLIC void attune_ggml_enable(int on)
{
    enabled = on != 0;
}

PUBLIC void attune_ggml_repeat(int n)
{
    if (plans) planner_repeat(plans, n);
}

static void report(void)
{
    const char *path = getenv("ATTUNE_REPORT");
    planner_counts c;
    char kernel[64], kernels[8192];
    if (!path || !plans) return;
    FILE *f = strcmp(path, "-") ? fopen(path, "w") : stderr;
    if (!f) return;
    planner_read(plans, &c);
    planner_kernel(plans, kernel, sizeof kernel);
    planner_kernels(plans, kernels, sizeof kernels);
    fprintf(f, "{\"runtime\": \"ggml %s\", \"kernel\": \"%s\", \"program\": \"%s\", \"calls\": %lld, \"evolved_calls\": %lld, "
               "\"declined\": %lld, \"attention_seconds\": %.6f, \"kernels\": %s}\n",
            ggml.version(), kernel, nonce_path, (long long)c.calls, (long long)c.evolved, (long long)declined,
            (double)c.ns * 1e-9, kernels);
    if (f != stderr) fclose(f);
}

/* ---- the entry ---- */

static const char *reg_name(host_reg *reg)
{
    (void)reg;
    return "attune";
}

static size_t no_devices(host_reg *reg)
{
    (void)reg;
    return 0;
}

static void *no_device(host_reg *reg, size_t index)
{
    (void)reg, (void)index;
    return NULL;
}

static void *no_function(host_reg *reg, const char *name)
{
    (void)reg, (void)name;
    return NULL;
}

static bool hook(const void *caller)
{
    const char *own = getenv("ATTUNE_KERNEL");
    atn_error err;
    planner_options o = {.host_workspace = 1};
    if (!find_host(caller) || !check_host()) return false;
    if (own && *own) {
        if (strchr(own, '/') || (strlen(own) > 3 && !strcmp(own + strlen(own) - 3, ".so"))) {
            if (atn_kernel_load(own, NULL, &o.table, &err) != ATN_OK) return say("%s", err.text);
            snprintf(nonce_path, sizeof nonce_path, "%s", own);
        } else o.kernel = own;
    }
    planner *made;
    if (planner_new(&o, &made, &err) != ATN_OK) return say("%s", err.text);
    plans = made;
    tiles_probe();
    if (!append_entry()) {
        planner_free(plans);
        plans = NULL;
        return false;
    }
    atexit(report);
    return true;
}

/* ggml calls this once or several times, from ggml_backend_load or ggml_backend_load_all. NULL: not loaded. */
PUBLIC host_reg *ggml_backend_init(void)
{
    static host_reg reg = {.get_name = reg_name, .get_device_count = no_devices, .get_device = no_device,
                           .get_proc_address = no_function};
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    static int state; /* 0 not tried, 1 hooked, -1 refused */
    const void *caller = __builtin_return_address(0);
    pthread_mutex_lock(&once);
    if (!state) {
        state = hook(caller) ? 1 : -1;
        /* never unloaded: the host keeps pointers to us */
        Dl_info self;
        if (state == 1 && dladdr((void *)&reg, &self)) dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE | RTLD_NOLOAD);
    }
    pthread_mutex_unlock(&once);
    if (state < 0) return NULL;
    reg.api_version = ggml.api;
    return &reg;
}
