/* The second way in, for a host in which the hook cannot be placed: a device of ggml's kind "accelerator", beside the
 * CPU and in the CPU's memory, that offers flash attention and nothing else. The host's scheduler cuts the graph at
 * every attention, hands it to us and keeps the rest, quantised caches among it. It costs what the hook does not: a cut
 * at each layer, threads of our own (the library's pool) while ggml's wait, and llama.cpp's automatic choice of flash
 * attention, which takes a layer on two devices for a lack of support and switches it off.
 *
 * Where the host looks for a device's functions is not declared here but asked: its own accessors are called on an
 * object in which one word counts that it was called, until the word is found that an accessor uses. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ggml_plugin.h"

enum { WORDS = 64, OPS = 256, THREADS_MOST = 1024 };
enum { PAYS = 512 * 512 };         /* queries times keys from which cutting the graph for several threads wins (integrations.md) */
enum { KIND_ACCELERATOR = 3, NODE_COMPUTE = 16, STATUS_OK = 0, STATUS_FAILED = -1, STATUS_NO_MEMORY = -2 };

typedef struct {                   /* of work, one for each context of llama.cpp; begins as the host's backend */
    void *words[WORDS];
    int threads;
    char *room;                    /* masks and workspace */
    int64_t bytes;
} stream;

static void *device[WORDS], *stream_words[WORDS];
static bool everything;            /* also what a cut of the graph makes slower */
static atomic_int threads_asked;   /* for, at last, of any stream */
static bool passive[OPS];          /* operators that compute nothing: views, and no operator at all */

static struct {
    int (*graph_nodes)(void *graph);
    host_tensor *(*graph_node)(void *graph, int i);
    void *(*cpu_buffers)(void);
    bool (*in_memory)(void *buffer_type);
} host;

/* ---- computing ---- */

static int cpus(void)
{
#ifdef __linux__
    cpu_set_t usable; /* by this process */
    if (sched_getaffinity(0, sizeof usable, &usable) == 0) return CPU_COUNT(&usable);
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static void set_threads(void *backend, int n)
{
    const int threads = n < 1 ? 1 : n < THREADS_MOST ? n : THREADS_MOST;
    ((stream *)backend)->threads = threads;
    threads_asked = threads;
}

static bool grow(stream *s, int64_t bytes)
{
    if (s->room && bytes <= s->bytes) return true;
    free(s->room);
    s->bytes = (bytes + 4095) / 4096 * 4096 + 4096;
    s->room = aligned_alloc(64, (size_t)s->bytes);
    return s->room != NULL;
}

static int attention(stream *s, const host_tensor *dst)
{
    atn_args a;
    node_block block;
    atn_error err = {.text = "an operator that was not offered"};
    atn_status status = dst->op == plugin.flash_attn && node_args(dst, &a, &block) ? ATN_OK : ATN_UNSUPPORTED;
    const int64_t start = planner_clock();
    const int step = block.rows ? block.rows : a.Sq;
    for (int first = 0; status == ATN_OK && first < a.Sq; first += step) {
        atn_args part = a;
        node_take_rows(&part, &block, first);
        planned *p = planner_acquire(plugin.plans, &part, s->threads, &err);
        if (!p) {
            status = ATN_UNSUPPORTED;
            break;
        }
        if (!grow(s, block.bytes + atn_plan_workspace(planned_plan(p)))) {
            err = (atn_error){ATN_MEMORY, "out of memory"};
            status = ATN_MEMORY;
        } else if (block.rows) {
            part.mask.ptr = s->room;
            node_masks(dst, &a, &block, first, part.Sq, (float *)s->room, 0, 1);
        }
        for (int r = planner_repeats(plugin.plans); r > 0 && status == ATN_OK; r--)
            status = atn_execute(planned_plan(p), &part, s->room + block.bytes, &err);
        const bool last = first + step >= a.Sq; /* blocks are one call */
        planner_release(plugin.plans, p, status == ATN_OK && last ? planner_clock() - start : -1);
    }
    if (status != ATN_OK) fprintf(stderr, "attune: %s\n", err.text);
    return status == ATN_OK ? STATUS_OK : status == ATN_MEMORY ? STATUS_NO_MEMORY : STATUS_FAILED;
}

static int compute(void *backend, void *graph)
{
    node_tiles tiles;
    int status = STATUS_OK;
    node_tiles_keep(&tiles); /* the calling thread is one of ggml's */
    for (int i = 0, n = host.graph_nodes(graph); i < n && status == STATUS_OK; i++) {
        const host_tensor *node = host.graph_node(graph, i);
        if (node->flags & NODE_COMPUTE && !passive[node->op]) status = attention(backend, node);
    }
    node_tiles_give_back(&tiles);
    return status;
}

/* ---- what ggml asks ---- */

static const char *name(void *self)
{
    (void)self;
    return "ATTUNE";
}

static const char *description(void *self)
{
    (void)self;
    return "attune's attention kernels";
}

static void memory(void *self, size_t *free_bytes, size_t *total)
{
    (void)self;
    *free_bytes = *total = 0; /* nothing of its own */
}

static int kind(void *self)
{
    (void)self;
    return KIND_ACCELERATOR;
}

static void properties(void *self, host_properties *p)
{
    p->name = name(self);
    p->description = description(self);
    p->memory_free = p->memory_total = 0;
    p->kind = KIND_ACCELERATOR;
}

static void *new_stream(void *self, const char *params)
{
    (void)self, (void)params;
    stream *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    memcpy(s->words, stream_words, sizeof s->words);
    const char *asked = getenv("ATTUNE_THREADS");
    set_threads(s, asked && atoi(asked) > 0 ? atoi(asked) : cpus());
    return s;
}

static void free_stream(void *backend)
{
    free(((stream *)backend)->room);
    free(backend);
}

static void *buffers(void *self)
{
    (void)self;
    return host.cpu_buffers(); /* the very same: only so is an operator moved from the CPU to us */
}

static bool takes_buffers(void *self, void *type)
{
    (void)self;
    return host.in_memory(type);
}

/* Cut for several threads, a graph costs more than attention wins back in a token or a short prompt. */
static bool pays(const host_tensor *op)
{
    return everything || threads_asked <= 1 || op->src[0]->ne[1] * op->src[1]->ne[1] >= PAYS;
}

static bool takes(void *self, const host_tensor *op)
{
    (void)self;
    return (op->op >= 0 && op->op < OPS && passive[op->op]) || (node_taken(op) && pays(op));
}

size_t device_count(host_reg *reg)
{
    (void)reg;
    return 1;
}

void *device_get(host_reg *reg, size_t index)
{
    (void)reg;
    return index ? NULL : device;
}

void *device_function(host_reg *reg, const char *function)
{
    (void)reg;
    return strcmp(function, "ggml_backend_set_n_threads") ? NULL : (void *)set_threads;
}

/* ---- where ggml looks ---- */

static int hits;

static void *not_asked(void)
{
    return NULL;
}

static void *asked(void)
{
    hits++;
    return NULL;
}

/* The word of an object that the host's accessor calls, or returns; -1: none. */
static int word_of(void *(*accessor)(void *object, void *, void *))
{
    for (int at = 0; at < WORDS; at++) {
        void *object[WORDS];
        _Alignas(64) char room[2][1024] = {{0}};
        for (int i = 0; i < WORDS; i++) object[i] = (void *)not_asked;
        object[at] = (void *)asked;
        hits = 0;
        if (accessor(object, room[0], room[1]) == (void *)asked || hits) return at;
    }
    return -1;
}

typedef struct {
    const char *accessor;
    void *ours;
} part;

static const char *fill(void **object, const part *parts, int n)
{
    for (int i = 0; i < n; i++) {
        void *accessor = plugin_find(parts[i].accessor);
        const int at = accessor ? word_of((void *(*)(void *, void *, void *))accessor) : -1;
        if (at < 0 || object[at])
            return plugin_why("%s '%s' in this ggml", accessor ? "cannot tell what is called by" : "cannot find",
                              parts[i].accessor);
        object[at] = parts[i].ours;
    }
    return NULL;
}

/* Whether the host writes a device's properties where we shall: into the CPU's it writes what its accessors say. */
static bool known_properties(void)
{
    const host_reg *cpu = plugin.reg_by_name("CPU");
    void (*read)(void *, void *), *(*say)(void *) = NULL;
    union { host_properties p; char room[1024]; } u = {0};
    *(void **)&read = plugin_find("ggml_backend_dev_get_props");
    *(void **)&say = plugin_find("ggml_backend_dev_description");
    void *cpu_device = cpu->get_device((host_reg *)cpu, 0);
    if (!read || !say || !cpu_device) return false;
    u.p.kind = -1;
    read(cpu_device, &u);
    return u.p.name && u.p.description == say(cpu_device) && u.p.kind == 0 && !strcmp(u.p.name, "CPU");
}

const char *device_find(host_reg *reg, bool all)
{
    static const char uuid[16] = "attune attention";
    const plugin_wanted wanted[] = {
        {"ggml_graph_n_nodes", &host.graph_nodes},
        {"ggml_graph_node", &host.graph_node},
        {"ggml_backend_cpu_buffer_type", &host.cpu_buffers},
        {"ggml_backend_buft_is_host", &host.in_memory},
    };
    const part of_device[] = {
        {"ggml_backend_dev_name", (void *)name},
        {"ggml_backend_dev_description", (void *)description},
        {"ggml_backend_dev_memory", (void *)memory},
        {"ggml_backend_dev_type", (void *)kind},
        {"ggml_backend_dev_get_props", (void *)properties},
        {"ggml_backend_dev_init", (void *)new_stream},
        {"ggml_backend_dev_buffer_type", (void *)buffers},
        {"ggml_backend_dev_supports_op", (void *)takes},
        {"ggml_backend_dev_supports_buft", (void *)takes_buffers},
        {"ggml_backend_dev_backend_reg", reg},
    };
    const part of_stream[] = {
        {"ggml_backend_guid", (void *)uuid},
        {"ggml_backend_name", (void *)name},
        {"ggml_backend_free", (void *)free_stream},
        {"ggml_backend_graph_compute_async", (void *)compute},
        {"ggml_backend_get_device", device},
    };
    const char *why = plugin_find_all(wanted, sizeof wanted / sizeof *wanted);
    if (!why) why = fill(device, of_device, sizeof of_device / sizeof *of_device);
    if (!why) why = fill(stream_words, of_stream, sizeof of_stream / sizeof *of_stream);
    if (why) return why;
    everything = all;
    if (!known_properties()) return plugin_why("this ggml lays a device's properties out in an unknown way");
    for (int op = 0; op < plugin.flash_attn; op++) { /* they all come before it */
        const char *of_host = plugin.op_name(op);
        passive[op] = !strcmp(of_host, "NONE") || !strcmp(of_host, "RESHAPE") || !strcmp(of_host, "VIEW") ||
                      !strcmp(of_host, "PERMUTE") || !strcmp(of_host, "TRANSPOSE");
    }
    return NULL;
}
