/* What the plug-in must know of ggml's memory layout, declared anew so that no ggml header is needed: one binary serves the
 * plug-in API versions 2 (ggml 0.10 and later) and 3. Each number that may differ between hosts is checked or searched
 * at run time; what is written here has been so since ggml 0.10. */
#ifndef ATN_GGML_LAYOUT_H
#define ATN_GGML_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LAYOUT_F32 = 0, LAYOUT_F16 = 1, LAYOUT_BF16 = 30 };     /* tensor types; the quantised ones are declined */

typedef struct host_tensor {
    int32_t type;
    void *buffer;
    int64_t ne[4];                 /* elements; ne[0] runs fastest */
    size_t nb[4];                  /* byte strides */
    int32_t op;
    int32_t op_params[16];
    int32_t flags;
    struct host_tensor *src[10];
    struct host_tensor *view_src;
    size_t view_offs;
    void *data;
    char name[64];
    void *extra;
    char padding[8];
} host_tensor;

typedef struct {                   /* how ggml's threads call an operator: all of them, side by side */
    int ith, nth;
    size_t wsize;
    void *wdata;
    void *threadpool;
} host_params;

/* A plug-in's registration: the version, then functions. */
typedef struct host_reg {
    int api_version;
    const char *(*get_name)(struct host_reg *reg);
    size_t (*get_device_count)(struct host_reg *reg);
    void *(*get_device)(struct host_reg *reg, size_t index);
    void *(*get_proc_address)(struct host_reg *reg, const char *name);
    void *context;
} host_reg;

/* What a device says of itself; more follows, which the host has set to zero. */
typedef struct {
    const char *name, *description;
    size_t memory_free, memory_total;
    int kind;
} host_properties;

/* std::vector of pointers, as libstdc++ and libc++ both lay it out. */
typedef struct {
    void **begin, **end, **room;
} host_vector;

/* C++ objects with virtual functions, Itanium ABI: a pointer to the table, whose first two entries are destructors. */
typedef struct traits_object {
    const struct traits_table *table;
} traits_object;

struct traits_table {
    void (*destroy)(traits_object *self);
    void (*destroy_and_free)(traits_object *self);
    bool (*work_size)(traits_object *self, int threads, const host_tensor *op, size_t *size);
    bool (*compute_forward)(traits_object *self, host_params *params, host_tensor *op);
};

/* The extra buffer type in its oldest and its newest form begins with the four functions that ggml calls here. */
typedef struct extra_object {
    const struct extra_table *table;
} extra_object;

struct extra_table {
    void (*destroy)(extra_object *self);
    void (*destroy_and_free)(extra_object *self);
    bool (*supports_op)(extra_object *self, void *device, const host_tensor *op);
    traits_object *(*get_tensor_traits)(extra_object *self, const host_tensor *op);
};

#endif
