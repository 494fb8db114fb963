/* What Python needs in C: attention on mlx arrays (through the buffer protocol) and as a PyTorch operator (through
 * PyTorch's stable C functions), so that a call costs microseconds. Loaded by ctypes; needs neither Python's nor
 * PyTorch's headers: symbols of the host are found at run time.
 *
 * Invariant: every function returns 0 after writing the output, or an atn_status with a text, output untouched. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner.h"

#define PUBLIC __attribute__((visibility("default")))

typedef struct {                 /* one patch: a kernel, its plans, its threads */
    planner *plans;
    atn_pool *pool;
    int threads;                 /* 0: as many as the host says */
} binding;

static __thread atn_error error;

PUBLIC const char *attune_host_error(void)
{
    return error.text;
}

static int refuse(const char *text)
{
    error.code = ATN_UNSUPPORTED;
    snprintf(error.text, sizeof error.text, "%s", text);
    return ATN_UNSUPPORTED;
}

/* ---- bindings ---- */

static void torch_loop(void *host, int tasks, int threads, atn_task_fn fn, void *context);

/* so: an evolved kernel's object, or a run's folder with objects in it; NULL: none. kernel: a linked-in one, NULL: the
 * best. in_torch: PyTorch's threads. */
PUBLIC binding *attune_host_open(const char *so, const char *kernel, int threads, int in_torch)
{
    binding *b = calloc(1, sizeof *b);
    planner_options o = {.kernel = kernel};
    if (!b) return NULL;
    if (so && atn_kernel_load(so, NULL, &o.table, &error) != ATN_OK) goto failed;
    b->threads = threads;
    if (in_torch) {
        o.parallel_for = torch_loop;
    } else {
        if (atn_pool_create(&(atn_pool_options){.threads = threads}, &b->pool, &error) != ATN_OK) goto failed;
        o.pool = b->pool;
    }
    if (planner_new(&o, &b->plans, &error) != ATN_OK) goto failed;
    return b;
failed:
    atn_pool_free(b->pool);
    free(b);
    return NULL;
}

PUBLIC void attune_host_close(binding *b)
{
    if (!b) return;
    planner_free(b->plans);
    atn_pool_free(b->pool);
    free(b);
}

PUBLIC void attune_host_counts(binding *b, planner_counts *out)
{
    planner_read(b->plans, out);
}

PUBLIC void attune_host_repeat(binding *b, int n)
{
    planner_repeat(b->plans, n);
}

PUBLIC void attune_host_kernel(binding *b, char *out, int room)
{
    planner_kernel(b->plans, out, room);
}

PUBLIC void attune_host_kernels(binding *b, char *out, int room)
{
    planner_kernels(b->plans, out, room);
}

/* Does a kernel cover these? For a test before the first call. */
PUBLIC int attune_host_run(binding *b, const atn_args *args)
{
    return planner_run(b->plans, args, b->threads, &error);
}

/* ---- mlx: arrays by the buffer protocol ---- */

typedef struct {                 /* Py_buffer, part of Python's stable ABI since 3.11 */
    void *buf, *obj;
    intptr_t len, itemsize;
    int readonly, ndim;
    char *format;
    intptr_t *shape, *strides, *suboffsets;
    void *internal;
} py_buffer;

enum { STRIDED = 0x18, FORMAT = 4, WRITABLE = 1 };

static struct {
    int (*get)(void *object, py_buffer *view, int flags);
    void (*release)(py_buffer *view);
    void *(*save_thread)(void);
    void (*restore_thread)(void *state);
    void (*clear_error)(void);
    bool ready;
} python;

static bool find_python(void)
{
    if (python.ready) return true;
    *(void **)&python.get = dlsym(RTLD_DEFAULT, "PyObject_GetBuffer");
    *(void **)&python.release = dlsym(RTLD_DEFAULT, "PyBuffer_Release");
    *(void **)&python.save_thread = dlsym(RTLD_DEFAULT, "PyEval_SaveThread");
    *(void **)&python.restore_thread = dlsym(RTLD_DEFAULT, "PyEval_RestoreThread");
    *(void **)&python.clear_error = dlsym(RTLD_DEFAULT, "PyErr_Clear");
    python.ready = python.get && python.release && python.save_thread && python.restore_thread && python.clear_error;
    return python.ready;
}

static int dtype_of(const char *format)
{
    if (!strcmp(format, "f")) return ATN_F32;
    if (!strcmp(format, "e")) return ATN_F16;
    if (!strcmp(format, "?")) return ATN_BOOL;
    if (!strcmp(format, "bfloat16") || !strcmp(format, "B") || !strcmp(format, "E")) return ATN_BF16;
    return -1;
}

static atn_tensor tensor_of(const py_buffer *v, int dtype)
{
    return (atn_tensor){.ptr = v->buf, .dtype = dtype, .sb = v->strides[0], .sh = v->strides[1], .sr = v->strides[2]};
}

static bool last_is_dense(const py_buffer *v)
{
    return v->shape[v->ndim - 1] == 1 || v->strides[v->ndim - 1] == v->itemsize;
}

/* A mask of 1 to 4 dimensions, broadcast by zero strides to [B][H][Sq][Skv]. */
static bool mask_of(const py_buffer *v, atn_args *a)
{
    const int64_t want[3] = {a->B, a->Hq, a->Sq};
    int64_t stride[3] = {0};
    if (v->ndim < 1 || v->ndim > 4 || v->shape[v->ndim - 1] != a->Skv || !last_is_dense(v)) return false;
    for (int i = 2, d = v->ndim - 2; d >= 0; d--, i--) {
        if (v->shape[d] == want[i]) stride[i] = want[i] == 1 ? 0 : v->strides[d];
        else if (v->shape[d] != 1) return false;
    }
    const int dtype = dtype_of(v->format);
    if (dtype != ATN_BOOL && dtype != ATN_F32 && dtype != ATN_F16) return false;
    a->mask = (atn_tensor){.ptr = v->buf, .dtype = dtype, .sb = stride[0], .sh = stride[1], .sr = stride[2]};
    return true;
}

/* q [B,Hq,Sq,D], k [B,Hkv,Skv,D], v [B,Hkv,Skv,Dv], out [B,Hq,Sq,Dv], all evaluated; mask and sinks may be None, which
 * the caller says with has_mask and has_sinks. The interpreter runs on while the kernel works. */
PUBLIC int attune_mlx_sdpa(binding *b, void *q, void *k, void *v, void *out, int has_mask, void *mask, int has_sinks,
                           void *sinks, double scale, int causal, double softcap)
{
    py_buffer view[6];
    void *const object[6] = {q, k, v, out, has_mask ? mask : NULL, has_sinks ? sinks : NULL};
    int got = 0, status = ATN_OK;
    unsigned held = 0;
    atn_args a;
    if (!find_python()) return refuse("this Python exports no buffer functions");
    for (; got < 6; got++) {
        if (!object[got]) continue;
        if (python.get(object[got], &view[got], STRIDED | FORMAT | (got == 3 ? WRITABLE : 0)) != 0) {
            python.clear_error();
            status = refuse("an array gives no buffer");
            goto done;
        }
        held |= 1u << got;
    }
    for (int i = 0; i < 4; i++)
        if (view[i].ndim != 4 || !last_is_dense(&view[i])) {
            status = refuse("arrays must have four dimensions, the last one contiguous");
            goto done;
        }
    atn_args_init(&a);
    a.B = (int)view[0].shape[0], a.Hq = (int)view[0].shape[1], a.Sq = (int)view[0].shape[2];
    a.D = (int)view[0].shape[3];
    a.Hkv = (int)view[1].shape[1], a.Skv = (int)view[1].shape[2], a.Dv = (int)view[2].shape[3];
    a.scale = (float)scale, a.softcap = (float)softcap;
    a.causal = causal ? ATN_CAUSAL_BOTTOM_RIGHT : ATN_CAUSAL_NONE;
    atn_tensor *const t[4] = {&a.q, &a.k, &a.v, &a.o};
    for (int i = 0; i < 4; i++) {
        const int dtype = dtype_of(view[i].format);
        if (dtype < 0 || dtype == ATN_BOOL) {
            status = refuse("types other than float32, float16 and bfloat16");
            goto done;
        }
        *t[i] = tensor_of(&view[i], dtype);
    }
    if (has_mask && !mask_of(&view[4], &a)) {
        status = refuse("a mask of this shape or type");
        goto done;
    }
    if (has_sinks) {
        if (dtype_of(view[5].format) != ATN_F32 || view[5].shape[view[5].ndim - 1] != a.Hq || !last_is_dense(&view[5])) {
            status = refuse("sinks that are not one float32 for each head");
            goto done;
        }
        a.sinks = view[5].buf;
    }
    void *state = python.save_thread();
    status = planner_run(b->plans, &a, b->threads, &error);
    python.restore_thread(state);
done:
    for (int i = 0; i < 6; i++)
        if (held & 1u << i) python.release(&view[i]);
    return status;
}

/* ---- PyTorch: its threads and an operator, by its C functions ---- */

typedef void *tensor;

static struct {
    int32_t (*fragment)(const char *space, const char *file, uint32_t line, void **out);
    int32_t (*begin_impl)(const char *space, const char *key, const char *file, uint32_t line, void **out);
    int32_t (*define)(void *library, const char *schema);
    int32_t (*impl)(void *library, const char *name, void (*fn)(uint64_t *, uint64_t, uint64_t));
    int32_t (*data)(tensor t, void **out);
    int32_t (*dims)(tensor t, int64_t *out);
    int32_t (*sizes)(tensor t, int64_t **out);
    int32_t (*strides)(tensor t, int64_t **out);
    int32_t (*dtype)(tensor t, int32_t *out);
    int32_t (*empty)(int64_t n, const int64_t *sizes, const int64_t *strides, int32_t dtype, int32_t device,
                     int32_t index, tensor *out);
    int32_t (*drop)(tensor t);
    int32_t (*parallel_for)(int64_t begin, int64_t end, int64_t grain, void (*fn)(int64_t, int64_t, void *), void *);
    int32_t (*threads)(uint32_t *out);
    int32_t f32, f16, bf16, boolean;
} torch;

typedef struct {
    atomic_int next;
    int tasks;
    atn_task_fn fn;
    void *context;
} loop;

static void loop_part(int64_t begin, int64_t end, void *arg)
{
    loop *l = arg;
    for (int64_t worker = begin; worker < end; worker++)
        for (int task; (task = atomic_fetch_add(&l->next, 1)) < l->tasks;) l->fn(l->context, task, (int)worker);
}

/* One range for each thread; within it tasks are taken in ascending order, as the kernels want. */
static void torch_loop(void *host, int tasks, int threads, atn_task_fn fn, void *context)
{
    (void)host;
    loop l = {.tasks = tasks, .fn = fn, .context = context};
    const int workers = tasks < threads ? tasks : threads;
    if (workers <= 1 || torch.parallel_for(0, workers, 1, loop_part, &l) != 0) loop_part(0, 1, &l);
}

static int torch_threads(void)
{
    uint32_t n = 1;
    return torch.threads(&n) == 0 && n >= 1 ? (n < 1024 ? (int)n : 1024) : 1;
}

static int torch_dtype(int32_t d)
{
    return d == torch.f32 ? ATN_F32 : d == torch.f16 ? ATN_F16 : d == torch.bf16 ? ATN_BF16
         : d == torch.boolean ? ATN_BOOL : -1;
}

static const int dtype_bytes[] = {4, 2, 2, 1};

/* Byte strides of a tensor; sizes to size[4]. Broadcast dimensions have stride 0. */
static bool torch_tensor(tensor t, atn_tensor *out, int64_t size[4])
{
    int64_t n, *sizes, *strides;
    int32_t d;
    if (torch.dims(t, &n) || n != 4 || torch.sizes(t, &sizes) || torch.strides(t, &strides) || torch.dtype(t, &d) ||
        torch.data(t, &out->ptr))
        return false;
    const int dtype = torch_dtype(d);
    if (dtype < 0 || (strides[3] != 1 && sizes[3] != 1)) return false;
    memcpy(size, sizes, 4 * sizeof *size);
    const int64_t bytes = dtype_bytes[dtype];
    out->dtype = dtype;
    out->sb = strides[0] * bytes, out->sh = strides[1] * bytes, out->sr = strides[2] * bytes;
    return true;
}

static double as_double(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* attune::sdpa(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? sinks, int binding, int causal, float scale,
 *              float softcap) -> Tensor     q [B,Hq,Sq,D]; the result is [B,Sq,Hq,Dv] in memory, seen as [B,Hq,Sq,Dv].
 * A problem that no kernel covers gives an empty tensor of no elements: the Python side falls back. */
static void torch_sdpa(uint64_t *stack, uint64_t n_in, uint64_t n_out)
{
    (void)n_in, (void)n_out;
    tensor q = (tensor)stack[0], k = (tensor)stack[1], v = (tensor)stack[2], out = NULL;
    uint64_t *const mask = (uint64_t *)stack[3], *const sinks = (uint64_t *)stack[4];
    binding *b = (binding *)(uintptr_t)stack[5];
    int64_t qs[4], ks[4], vs[4], ms[4];
    atn_args a;
    atn_args_init(&a);
    bool ok = torch_tensor(q, &a.q, qs) && torch_tensor(k, &a.k, ks) && torch_tensor(v, &a.v, vs) &&
              a.q.dtype != ATN_BOOL;
    if (ok && mask) {
        ok = torch_tensor((tensor)*mask, &a.mask, ms) && a.mask.dtype != ATN_BF16 && ms[3] == ks[2];
        if (ok) {
            if (ms[0] == 1) a.mask.sb = 0;
            if (ms[1] == 1) a.mask.sh = 0;
            if (ms[2] == 1) a.mask.sr = 0;
            ok = (ms[0] == 1 || ms[0] == qs[0]) && (ms[1] == 1 || ms[1] == qs[1]) && (ms[2] == 1 || ms[2] == qs[2]);
        }
    }
    if (ok && sinks) {
        int64_t n, *sizes, *strides;
        int32_t d;
        void *data;
        ok = !torch.dims((tensor)*sinks, &n) && n == 1 && !torch.sizes((tensor)*sinks, &sizes) && sizes[0] == qs[1] &&
             !torch.strides((tensor)*sinks, &strides) && strides[0] == 1 && !torch.dtype((tensor)*sinks, &d) &&
             d == torch.f32 && !torch.data((tensor)*sinks, &data);
        if (ok) a.sinks = data;
    }
    if (ok) {
        a.B = (int)qs[0], a.Hq = (int)qs[1], a.Sq = (int)qs[2], a.D = (int)qs[3];
        a.Hkv = (int)ks[1], a.Skv = (int)ks[2], a.Dv = (int)vs[3];
        a.causal = (int)stack[6];
        a.scale = (float)as_double(stack[7]), a.softcap = (float)as_double(stack[8]);
        const int64_t size[4] = {a.B, a.Hq, a.Sq, a.Dv};
        const int64_t stride[4] = {(int64_t)a.Sq * a.Hq * a.Dv, a.Dv, (int64_t)a.Hq * a.Dv, 1};
        int32_t d;
        ok = !torch.dtype(q, &d) && !torch.empty(4, size, stride, d, 0, 0, &out) && !torch.data(out, &a.o.ptr);
        const int64_t bytes = dtype_bytes[a.q.dtype];
        a.o.dtype = a.q.dtype;
        a.o.sb = stride[0] * bytes, a.o.sh = stride[1] * bytes, a.o.sr = stride[2] * bytes;
        ok = ok && planner_run(b->plans, &a, torch_threads(), &error) == ATN_OK;
    } else refuse("tensors of these types, shapes or strides");
    if (!ok) {
        if (out) torch.drop(out);
        const int64_t zero = 0, one = 1;
        torch.empty(1, &zero, &one, torch.f32, 0, 0, &out);
    }
    torch.drop(q), torch.drop(k), torch.drop(v);
    if (mask) torch.drop((tensor)*mask), free(mask);
    if (sinks) torch.drop((tensor)*sinks), free(sinks);
    stack[0] = (uint64_t)(uintptr_t)out;
}

/* Registers the operator with the PyTorch that is loaded (torch.so given by path). Once. */
PUBLIC int attune_torch_register(const char *libtorch_cpu)
{
    static int done;
    if (done) return ATN_OK;
    void *so = dlopen(libtorch_cpu, RTLD_NOW | RTLD_NOLOAD);
    if (!so) return refuse("PyTorch's libtorch_cpu is not loaded; import torch first");
    const struct {
        const char *name;
        void *to;
    } wanted[] = {
        {"aoti_torch_library_init_fragment", &torch.fragment}, {"aoti_torch_library_init_impl", &torch.begin_impl},
        {"aoti_torch_library_def", &torch.define},             {"aoti_torch_library_impl", &torch.impl},
        {"aoti_torch_get_data_ptr", &torch.data},              {"aoti_torch_get_dim", &torch.dims},
        {"aoti_torch_get_sizes", &torch.sizes},                {"aoti_torch_get_strides", &torch.strides},
        {"aoti_torch_get_dtype", &torch.dtype},                {"aoti_torch_empty_strided", &torch.empty},
        {"aoti_torch_delete_tensor_object", &torch.drop},      {"torch_parallel_for", &torch.parallel_for},
        {"torch_get_num_threads", &torch.threads},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *f = dlsym(so, wanted[i].name);
        if (!f) {
            snprintf(error.text, sizeof error.text, "this PyTorch has no %s; attune needs 2.10 or later",
                     wanted[i].name);
            return ATN_UNSUPPORTED;
        }
        *(void **)wanted[i].to = f;
    }
    static const char *const types[] = {"aoti_torch_dtype_float32", "aoti_torch_dtype_float16",
                                        "aoti_torch_dtype_bfloat16", "aoti_torch_dtype_bool"};
    int32_t *const to[] = {&torch.f32, &torch.f16, &torch.bf16, &torch.boolean};
    for (int i = 0; i < 4; i++) {
        int32_t (*f)(void);
        *(void **)&f = dlsym(so, types[i]);
        if (!f) return refuse("this PyTorch lacks a dtype function");
        *to[i] = f();
    }
    void *library, *impl;
    if (torch.fragment("attune", "attune/host.c", __LINE__, &library) ||
        torch.define(library, "sdpa(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? sinks, int binding, "
                              "int causal, float scale, float softcap) -> Tensor") ||
        torch.begin_impl("attune", "CPU", "attune/host.c", __LINE__, &impl) || torch.impl(impl, "sdpa", torch_sdpa))
        return refuse("PyTorch refused the operator attune::sdpa");
    done = 1;
    return ATN_OK;
}
