/* What the plug-in's files share: what was found of the host, the operator as attune's arguments, the two ways in. */
#ifndef ATN_GGML_PLUGIN_H
#define ATN_GGML_PLUGIN_H

#include <stdatomic.h>

#include "ggml_layout.h"
#include "planner.h"

typedef struct {
    planner *plans;                /* NULL: this host was refused */
    atomic_bool enabled;
    atomic_llong declined;         /* times that the host asked and was told no */
    int flash_attn;                /* number of the operator in this host */
    int api;
    const char *(*op_name)(int op);
    const char *(*version)(void);
    size_t (*tensor_overhead)(void);
    void *(*reg_by_name)(const char *name);
    void *objects[3];              /* that may hold functions of the host */
} plugin_state;

extern plugin_state plugin;

/* The function of the host, NULL: it shows none of that name. */
void *plugin_find(const char *name);

/* Several of them, each put where `to` points. NULL: all were found; else why not. */
typedef struct {
    const char *name;
    void *to;
} plugin_wanted;
const char *plugin_find_all(const plugin_wanted *wanted, int n);

/* Why something cannot be done, in the one buffer for that. */
const char *plugin_why(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- ggml_node.c: one operator ---- */

/* ggml's ALiBi multiplies the mask, which holds distances, by a slope of each head; since cells of its cache are in no
 * order, that is not our alibi. The mask of each head is written out for a block of query rows at a time. */
typedef struct {
    int rows;                      /* of a block; 0: no ALiBi, all rows at once */
    int64_t bytes;                 /* of a block's masks, [B][Hq][rows][Skv] in f32 */
    atn_tensor mask;               /* what they are made from */
} node_block;

/* The operator as attune's arguments. False: not ours. Pointers may still be NULL when the host asks early. */
bool node_args(const host_tensor *dst, atn_args *a, node_block *block);

/* Whether we compute this operator, whatever it is: flash attention that a kernel covers, while we are switched on. */
bool node_taken(const host_tensor *op);

/* Makes of the whole problem that of rows first ..: all, or one block. */
void node_take_rows(atn_args *a, const node_block *block, int first);

/* Bytes of masks and workspace for any block of the problem; -1: no kernel covers it. */
int64_t node_room(const atn_args *a, const node_block *block, int threads);

/* Part ith of nth of the masks of query rows first .. first + n - 1 of the whole problem. */
void node_masks(const host_tensor *dst, const atn_args *a, const node_block *block, int first, int n, float *out, int ith,
                int nth);

/* ggml's AMX matrix product configures the tiles of a thread once and for all, and an AMX kernel of ours configures them
 * anew: so a thread of ggml's that has a configuration gets the same one back. */
typedef struct {
    _Alignas(64) char config[64];
    bool kept;
} node_tiles;

void node_tiles_keep(node_tiles *t);
void node_tiles_give_back(const node_tiles *t);

/* ---- the ways in: ggml_hook.c, ggml_device.c ---- */

/* Whether this host can be entered so. Changes nothing. NULL: yes; else why not. */
const char *hook_find(void);
const char *device_find(host_reg *reg, bool all); /* all: calls that it makes slower, too */

/* After plugin.plans was made: the host's CPU backend asks us from now on. NULL: done; else why not. */
const char *hook_place(void);

/* The functions of a registration with the device, which is in use as soon as the host has registered it. */
size_t device_count(host_reg *reg);
void *device_get(host_reg *reg, size_t index);
void *device_function(host_reg *reg, const char *name);

#endif
