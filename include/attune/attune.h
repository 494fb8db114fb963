/* attune/attune.h - attention by the fastest kernel known for this machine. A user needs four functions:
 *
 *     atn_args a;                                            // o = softmax(q k^T / sqrt(D)) v, see attune/kernel.h
 *     atn_args_init(&a);
 *     a.Hq = 16, a.Hkv = 8, a.Sq = a.Skv = 512, a.D = 128;   // grouped queries: Hq is a multiple of Hkv
 *     a.causal = ATN_CAUSAL_BOTTOM_RIGHT;
 *     a.q.ptr = q, a.k.ptr = k, a.v.ptr = v, a.o.ptr = o;    // f32, dense [B][H][S][D]; else set dtype, strides
 *
 *     atn_planned *p;
 *     atn_error err;
 *     if (atn_plan_create(&a, NULL, &p, &err) != ATN_OK) ... // takes the best kernel known here
 *     if (atn_execute(p, &a, NULL, &err) != ATN_OK) ...      // often, with any pointers of that shape
 *     atn_plan_free(p);
 *
 * The library starts no thread, writes no file and allocates nothing during execution. Threads, workspaces and portions
 * for hosts: attune/plan.h. What was learnt about this machine: attune/wisdom.h. Link with
 * `pkg-config --libs attune`; into the program itself: `cc -static`, and `pkg-config --static --libs attune`. */
#ifndef ATTUNE_ATTUNE_H
#define ATTUNE_ATTUNE_H

#include "attune/kernel.h"
#include "attune/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ATN_VERSION_MAJOR 0
#define ATN_VERSION_MINOR 1

typedef struct atn_planned atn_planned;                /* a problem, the kernel chosen for it, and how it is divided */
typedef struct atn_plan_options atn_plan_options;      /* attune/plan.h */

/* Version of the library that was linked, "0.1.0". Static. Thread safe. */
const char *atn_version(void);

/* The defaults: one batch, no mask, no limits, f32. Hkv = 0 means Hq, Dv = 0 means D, scale = 0 means 1/sqrt(D), a
 * tensor whose strides are all 0 is dense [B][H][rows][last] (a mask's zero strides broadcast instead). A zeroed struct
 * is refused: there window_left = 0 would be a window of one key. */
void atn_args_init(atn_args *args);

/* Plans for the shapes, types, strides and extras (mask, sinks, alibi, lse: present if non-NULL) of *args; what
 * pointers point to is not read, and q, k, v, o may still be NULL. options NULL: one thread, workspace owned by the
 * plan. Success: *out is the caller's, to free with atn_plan_free. ATN_USAGE: a size, stride or type is wrong;
 * ATN_UNSUPPORTED: no kernel covers it; ATN_MEMORY. Reads files (wisdom, champions) the first time; may be called
 * from any thread. */
atn_status atn_plan_create(const atn_args *args, const atn_plan_options *options, atn_planned **out, atn_error *err);

/* Bytes that atn_execute needs besides the tensors; 0: none. Align them to 64. Thread safe. */
int64_t atn_plan_workspace(const atn_planned *plan);

/* Computes args->o (and lse) from args, which may differ from the plan's in pointers only. workspace:
 * atn_plan_workspace bytes, not shared with another call that runs at the same time; NULL: the plan's own (then one
 * call at a time, a second gets ATN_BUSY). Blocks until done; allocates nothing; a plan may be executed by several
 * threads at once with a workspace each. ATN_USAGE: other shapes than planned, a NULL or misaligned pointer; o, lse or
 * the workspace overlapping something; o is untouched then. Algorithms: online softmax (Milakov and Gimelshein 2018), tiled as
 * in FlashAttention (Dao et al. 2022), split over keys for few queries (Flash-Decoding, Dao et al. 2023). */
atn_status atn_execute(const atn_planned *plan, const atn_args *args, void *workspace, atn_error *err);

/* NULL is fine. No execution of the plan may be under way. */
void atn_plan_free(atn_planned *plan);

/* Where the library says what its user should know: it fell back to a slower kernel, it refused wisdom. Each different
 * message comes once per process. Default: one line on stderr. fn NULL: silence. fn may be called from any thread that
 * plans, never during atn_execute; `text` is its only during the call. */
typedef void (*atn_log_fn)(void *context, const char *text);
void atn_log_set(atn_log_fn fn, void *context);

#ifdef __cplusplus
}
#endif
#endif
