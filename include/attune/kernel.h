/* attune/kernel.h - the contract between an attention kernel and whoever runs it.
 *
 * A kernel is one C file that includes only this header and attune/vec.h, and exports one table:
 *
 *     #include "attune/kernel.h"
 *     static int  can_run(const atn_args *a) { return a->D <= 256; }
 *     static int  plan(const atn_args *a, int threads, atn_plan *p) { ... return 0; }
 *     static void run(const atn_args *a, const atn_plan *p, int phase, int task, void *shared, void *scratch) { ... }
 *     const atn_kernel attune_kernel = {ATN_KERNEL_ABI, "my_kernel", can_run, plan, run};
 *
 * It computes, for every batch b, query head h and query row i (GQA: kv head = h / (Hq / Hkv)),
 *
 *     s[j]   = scale * dot(q[b,h,i,:], k[b,hkv,j,:])                    j = 0 .. Skv-1
 *     s[j]   = softcap * tanh(s[j] / softcap)                           if softcap > 0
 *     s[j]  += alibi[h] * (j - (i + Skv - Sq))                          if alibi
 *     s[j]  += mask[b,h,i,j]  (float mask), or -inf where it is 0       (boolean mask: 1 = keep)
 *     s[j]   = -inf                                                     where causal or window forbids j
 *     m      = max(max_j s[j], sink[h]);   l = sum_j exp(s[j]-m) + exp(sink[h]-m)     (sink terms if sinks)
 *     o[i,:] = sum_j exp(s[j]-m) / l * v[b,hkv,j,:];   lse[b,h,i] = m + log(l)
 *
 * Rules that peers disagree on, fixed here: a row whose every key is forbidden gives o = 0 and lse = -inf (with sinks:
 * lse = sink). NaN in an input gives NaN out in the rows that it reaches. Sinks add to the sum, never to the output.
 *
 * A kernel never allocates, starts a thread, keeps state between calls, makes a system call or touches memory other
 * than what its arguments give it. The host schedules: for each phase it runs every task of that phase exactly once,
 * in any number of threads, handing tasks out in ascending order (so number the longest first); all tasks of a phase
 * end before the next phase begins. `run` must therefore be safe to call from several threads with different tasks. */
#ifndef ATTUNE_KERNEL_H
#define ATTUNE_KERNEL_H

#include <stdint.h>

#define ATN_KERNEL_ABI 1
#define ATN_PHASES_MAX 4

typedef enum { ATN_F32 = 0, ATN_F16 = 1, ATN_BF16 = 2, ATN_BOOL = 3 /* masks only: one byte, 0 or 1 */ } atn_dtype;

/* Which keys row i may see, with p = i + Skv - Sq (bottom-right) or p = i (top-left). */
typedef enum { ATN_CAUSAL_NONE = 0, ATN_CAUSAL_BOTTOM_RIGHT = 1, ATN_CAUSAL_TOP_LEFT = 2 } atn_causal;

/* A [B][H][rows][last] tensor; the last dimension is contiguous. Strides are in bytes and may be zero (broadcast) for
 * masks. Pointers are aligned to their element only. */
typedef struct {
    void *ptr;             /* read-only for every tensor but o */
    int64_t sb, sh, sr;    /* byte strides: batch, head, row */
    int32_t dtype;         /* atn_dtype */
    int32_t reserved;
} atn_tensor;

typedef struct {
    uint32_t size;         /* sizeof(atn_args), for later growth */
    int32_t B, Hq, Hkv;    /* Hq % Hkv == 0 */
    int32_t Sq, Skv;       /* query rows, key rows; both >= 1 */
    int32_t D, Dv;         /* head size of q and k, of v and o */
    float scale;
    float softcap;         /* 0: none */
    int32_t causal;        /* atn_causal */
    int32_t window_left;   /* row i sees j >= p - window_left;  < 0: no limit. p as for causal (bottom-right if causal is none) */
    int32_t window_right;  /* row i sees j <= p + window_right; < 0: no limit */
    int32_t reserved;
    atn_tensor q;          /* [B][Hq ][Sq ][D ]  f32, f16, bf16 */
    atn_tensor k;          /* [B][Hkv][Skv][D ]  may differ in type from q */
    atn_tensor v;          /* [B][Hkv][Skv][Dv]  may differ in type from q */
    atn_tensor o;          /* [B][Hq ][Sq ][Dv]  written */
    atn_tensor mask;       /* [B][Hq ][Sq ][Skv] ptr NULL: none. f32 or f16: added; bool: 1 = keep */
    const float *sinks;    /* [Hq] or NULL */
    const float *alibi;    /* [Hq] slopes or NULL */
    float *lse;            /* [B][Hq][Sq] contiguous, or NULL: not wanted */
} atn_args;

/* What a kernel asks of its host for given args and thread count. `user` is the kernel's own: filled in plan, read in run. */
typedef struct {
    int32_t phases;                      /* 1 .. ATN_PHASES_MAX */
    int32_t tasks[ATN_PHASES_MAX];       /* tasks in each phase, >= 1 */
    int64_t shared_bytes;                /* one block for the call, 64-byte aligned, contents undefined */
    int64_t scratch_bytes;               /* one block per thread, 64-byte aligned, contents undefined at the start of each task */
    int64_t user[8];
} atn_plan;

typedef struct {
    uint32_t abi;                                                        /* ATN_KERNEL_ABI */
    const char *name;
    /* 1: this kernel covers the problem; 0: it does not and the host uses another. Looks at shapes, types, strides and
     * at whether mask, sinks, alibi and lse are present (non-NULL), never at what a pointer points to. */
    int (*can_run)(const atn_args *args);
    /* Fills *plan (zeroed by the caller) for 1 <= threads <= 1024 threads. 0 on success. Same rule about pointers. */
    int (*plan)(const atn_args *args, int threads, atn_plan *plan);
    void (*run)(const atn_args *args, const atn_plan *plan, int phase, int task, void *shared, void *scratch);
} atn_kernel;

/* The one symbol that a kernel file exports (files are compiled with -fvisibility=hidden). */
extern const atn_kernel attune_kernel __attribute__((visibility("default")));

/* A second one, for files that `attune evolve` writes: the kinds of problem that the kernel was judged on,
 *
 *     const char attune_judged[] = "f32 prefill, f32:f16 decode";      types of q, or of q:kv; decode: at most 16 query rows
 *                                                                      against four times as many keys and more than 16
 *
 * A plan uses a loaded kernel for these kinds, and its own choice for others. Without the line: for everything. */
extern const char attune_judged[] __attribute__((weak, visibility("default")));

#endif
