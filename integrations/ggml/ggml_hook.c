/* The first way in: ggml-cpu asks every "extra buffer type" whether it computes an operator before it runs its own code.
 * One such entry of ours, appended, takes flash attention. So the kernel runs in ggml's own threads, between its own
 * barriers, with a work buffer of ggml's; nothing is split or copied, and llama.cpp's choice of flash attention (auto)
 * stays. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml_plugin.h"

static struct {
    host_vector *(*extra_types)(void);
    void *(*buft_device)(void *buft);
    void (*barrier)(void *threadpool);
} host;

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

static bool work_size(traits_object *self, int threads, const host_tensor *op, size_t *size)
{
    (void)self;
    atn_args a;
    node_block block;
    if (!node_args(op, &a, &block)) return false;
    const int64_t bytes = node_room(&a, &block, threads);
    if (bytes < 0) return false;
    *size = STATE_BYTES + (size_t)bytes + 128;
    return true;
}

static void begin(operator_state *s, const host_params *params, const atn_args *whole, const node_block *block, int first)
{
    atn_args a = *whole;
    atn_error err;
    *s = (operator_state){.status = ATN_UNSUPPORTED, .start = first ? s->start : planner_clock()};
    node_take_rows(&a, block, first);
    if (!(s->plan = planner_acquire(plugin.plans, &a, params->nth, &err))) return;
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

/* Rows first .. in all threads. False in all of them: not computed. */
static bool compute_rows(operator_state *s, host_params *params, const host_tensor *dst, const atn_args *a,
                         const node_block *block, int first)
{
    if (params->ith == 0) begin(s, params, a, block, first);
    host.barrier(params->threadpool);
    const bool ok = s->status == ATN_OK;
    const int repeat = ok ? planner_repeats(plugin.plans) : 0, phases = s->phases;
    if (ok && block->rows) {
        node_masks(dst, a, block, first, s->execution.args.Sq, s->masks, params->ith, params->nth);
        host.barrier(params->threadpool);
    }
    for (int r = 0; r < repeat; r++) {
        for (int phase = 0; phase < phases; phase++) {
            atn_execute_portion(&s->execution, phase, params->ith);
            host.barrier(params->threadpool);
        }
        if (r + 1 < repeat) {
            if (params->ith == 0) {
                const atn_args again = s->execution.args;
                atn_execute_begin(planned_plan(s->plan), &again, s->workspace, &s->execution, NULL);
            }
            host.barrier(params->threadpool);
        }
    }
    if (!repeat) host.barrier(params->threadpool); /* all have read the state */
    if (params->ith == 0 && s->plan) {
        const bool last = first + s->execution.args.Sq >= a->Sq; /* blocks are one call */
        free(s->own);
        planner_release(plugin.plans, s->plan, ok && last ? planner_clock() - s->start : -1);
    }
    return ok;
}

static bool compute_forward(traits_object *self, host_params *params, host_tensor *dst)
{
    (void)self;
    node_tiles tiles;
    atn_args a;
    node_block block;
    bool ok = node_args(dst, &a, &block);
    node_tiles_keep(&tiles);
    for (int first = 0; ok && first < a.Sq; first += block.rows ? block.rows : a.Sq)
        ok = compute_rows(aligned(params->wdata), params, dst, &a, &block, first);
    node_tiles_give_back(&tiles);
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

static traits_object *get_tensor_traits(extra_object *self, const host_tensor *op)
{
    (void)self;
    return node_taken(op) ? &traits : NULL;
}

static const struct extra_table extra_functions = {extra_nothing, extra_nothing, supports_op, get_tensor_traits};
static extra_object extra = {&extra_functions};
static void *buffer_type[24];      /* a copy of one of the host's, with our object as context */

/* ---- placing it ---- */

const char *hook_find(void)
{
    const plugin_wanted wanted[] = {
        {"ggml_barrier", &host.barrier},
        {"ggml_backend_buft_get_device", &host.buft_device},
        {"_Z39ggml_backend_cpu_get_extra_buffer_typesv", &host.extra_types},
    };
    const char *why = plugin_find_all(wanted, sizeof wanted / sizeof *wanted);
    if (why) return why;
    const host_vector *v = host.extra_types();
    const long n = v->end - v->begin;
    if (n < 1 || n > 16) return plugin_why("ggml's CPU backend has no extra buffer types to stand beside");
    void **model = v->begin[0], *device = host.buft_device(model);
    /* its place for a context moved between API versions: it is the word after the device */
    for (int i = 5; i < 12 && device; i++)
        if (model[i] == device) {
            memcpy(buffer_type, model, (size_t)(i + 1) * sizeof *model);
            buffer_type[i + 1] = &extra;
            return NULL;
        }
    return plugin_why("cannot find the context in ggml's buffer type");
}

/* Appends the entry, in a vector of our own making: it lives as long as the process, as does the host's static one. Ours
 * comes first in nothing: entries are asked in order, and only for their own operators. */
const char *hook_place(void)
{
    host_vector *v = host.extra_types();
    const long n = v->end - v->begin;
    void **grown = calloc((size_t)n + 9, sizeof *grown);
    if (!grown) return plugin_why("out of memory");
    memcpy(grown, v->begin, (size_t)n * sizeof *grown);
    /* some hosts end their list with NULL */
    long used = n;
    while (used > 0 && !grown[used - 1]) used--;
    memmove(grown + used + 1, grown + used, (size_t)(n - used) * sizeof *grown);
    grown[used] = buffer_type;
    *v = (host_vector){grown, grown + n + 1, grown + n + 9};
    return NULL;
}
