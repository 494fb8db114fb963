/* An attention problem: pure data, with one canonical text form.
 *
 * Text: words separated by blanks, in any order when read, canonical order when printed; defaults are left out:
 *
 *     f32                     type of q and o; f32:bf16 = q, o in f32 and k, v in bf16.      (f32, f16, bf16)
 *     b2                      batch                                                          (default b1)
 *     h16/8 | h16             query heads / kv heads                                         (required)
 *     s2048 | s1/4096         query rows / key rows                                          (required)
 *     d128 | d192/128         head size of q,k / of v,o                                      (required)
 *     causal | causal=top     bottom-right or top-left aligned
 *     window=127 | window=127,0   left[,right] limits, right unlimited if absent
 *     mask=f32 | mask=f16 | mask=bool     a random mask of that kind ([B][1][Sq][Skv], heads broadcast)
 *     mask=bool:causal        a mask of that kind as programs hand it over: causal, window (the last eighth of the keys),
 *                             padded (the first keys forbidden, a quarter for b1), blocks (four texts in one row)
 *     softcap=50   scale=0.1 (default 1/sqrt(D))   sinks   alibi   lse
 *     layout=bshd             token-major memory [B][S][H][D] for q, k, v, o  (default bhsd, head-major)
 *     cache=4096              k and v are views into a cache with room for that many rows per head (>= Skv)
 *     misalign                every tensor starts 4 bytes (2 for half types) off a 64-byte line
 *
 * Example: "f32 h16/8 s2048 d128 causal". */
#ifndef ATN_PROBLEM_PROBLEM_H
#define ATN_PROBLEM_PROBLEM_H

#include <stdbool.h>

#include "attune/kernel.h"
#include "base/status.h"

typedef enum {
    ATN_MASK_RANDOM,
    ATN_MASK_CAUSAL,
    ATN_MASK_WINDOW,
    ATN_MASK_PADDED,
    ATN_MASK_BLOCKS,
    ATN_MASK_SHAPES
} atn_mask_shape;

typedef struct {
    int32_t B, Hq, Hkv, Sq, Skv, D, Dv;
    int32_t dtype_q, dtype_kv;               /* atn_dtype; o has q's type */
    int32_t causal, window_left, window_right; /* as in atn_args; windows < 0: none */
    int32_t mask;                            /* -1 none, else ATN_F32, ATN_F16 or ATN_BOOL */
    int32_t mask_shape;                      /* what stands in it */
    float scale;                             /* 0: 1/sqrt(D) */
    float softcap;
    bool sinks, alibi, lse;
    bool token_major;                        /* layout=bshd */
    int32_t cache_rows;                      /* 0: Skv */
    bool misalign;
} atn_problem;

/* f32 b1 h1 s1 d64, no mask, no limits. */
atn_problem problem_default(void);

/* Reads the text form. Errors name the word and what would be valid ("Hq % Hkv != 0: h9/2 ..."). */
atn_status problem_parse(const char *text, atn_problem *out, atn_error *err);
/* Checks ranges (sizes 1 .. 2^24, Hq % Hkv == 0, ...). problem_parse calls it. */
atn_status problem_check(const atn_problem *p, atn_error *err);
/* Canonical text into out[room]; a parse of it gives the same problem back. */
void problem_print(const atn_problem *p, char *out, size_t room);

/* f32, all keys or bottom-right causal, in whatever memory layout and scale; no window, mask, softcap, sinks, slopes or
 * lse. Every kernel must cover these; its can_run may refuse the rest. */
bool problem_is_plain(const atn_problem *p);

/* Useful work: 2 flop x (D + Dv) for each (query row, allowed key) pair of each head, masks of random content counted
 * as full, other masks, causal and windows exactly. tokens = B * Sq. bytes = q, k, v, o (and mask) read or written once. */
double problem_flops(const atn_problem *p);
double problem_tokens(const atn_problem *p);
double problem_bytes(const atn_problem *p);

/* Where each tensor lies: byte size of its storage (with cache rows, strides) and strides, in the order q k v o mask.
 * sinks, alibi: Hq floats; lse: B*Hq*Sq floats. For misalign the
 * owner of the memory adds the offset: bytes do not hold it. args->ptrs are left NULL (mask.ptr, sinks, alibi, lse
 * too); presence flags are in the problem. */
enum { ATN_T_Q, ATN_T_K, ATN_T_V, ATN_T_O, ATN_T_MASK, ATN_T_SINKS, ATN_T_ALIBI, ATN_T_LSE, ATN_T_COUNT };
typedef struct {
    int64_t bytes[ATN_T_COUNT];   /* 0: absent */
    atn_args args;                /* everything but pointers */
} atn_layout;
void problem_layout(const atn_problem *p, atn_layout *out);

/* Keys [*begin, *end) that causal and the windows allow query row i; *begin == *end: none. */
void attention_row_range(const atn_args *a, int i, int *begin, int *end);

/* Keys [*begin, *end) that a mask of the problem's shape allows row i of batch b: all of them where it is random. */
void problem_mask_range(const atn_problem *p, int b, int i, int *begin, int *end);

int dtype_bytes(int dtype);
const char *dtype_name(int dtype);

#endif
