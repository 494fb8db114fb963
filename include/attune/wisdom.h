/* attune/wisdom.h - what has been learnt about which kernel is fastest on this machine: a text file.
 *
 *     attune wisdom 1                                      header: format
 *     library 0.1.0                                        version of the library
 *     machine Intel(R) ... ; avx512+amx; L1d 48K ...       signature of the machine
 *     compiler gcc 12.2.0                                  compiler of the library and its kernels
 *     rows 1
 *     f32 g2 s512 d128 causal t1 <tab> flash_qvec@avx512 <tab> HASH <tab> - <tab> 181.3 <tab> 3.1e-07 <tab> 2026-01-31
 *     end
 *
 * Columns: class of the problem; kernel (linked-in "family@isa", or the file name of a champion); hash of its
 * source; hash of its shared object ("-" where linked in); GFLOP/s; relative error; date. A header line that
 * differs, a damaged row, a missing `end`: the whole text is refused with the reason, nothing of it is taken. Speeds
 * of other machines mean nothing here.
 *
 * A class is a problem with its lengths rounded up: types, group size g = Hq/Hkv, s<queries>[/<keys>] (queries 1,
 * 16, 32, 64 ...; keys 64, 128 ...), d, causal, window, mask, softcap, sinks, alibi, lse, and threads t. Where a
 * class has no row, the nearest length of the same class serves. All functions are thread safe. */
#ifndef ATTUNE_WISDOM_H
#define ATTUNE_WISDOM_H

#include <stddef.h>

#include "attune/attune.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct atn_wisdom atn_wisdom;

typedef struct {
    uint32_t size;               /* sizeof(atn_wisdom_row) or 0 */
    uint32_t reserved;
    char problem[128];           /* class: atn_wisdom_class */
    char kernel[128];            /* "flash_qvec@avx512" or a champion's file name, "xeon_f32.c" */
    char source_hash[33];        /* of the kernel's source; a linked-in kernel's is filled in by atn_wisdom_add */
    char object_hash[33];        /* of the shared object; "" for a linked-in kernel; filled in from object_path */
    char date[22];               /* YYYY-MM-DD; "" in atn_wisdom_add: today */
    double gflops;               /* measured */
    double error;                /* measured relative L2 error */
    /* atn_wisdom_add only: the champion's shared object, of which a copy is kept; NULL: none */
    const char *object_path;
} atn_wisdom_row;

/* The process's own: read at the first use from $ATTUNE_WISDOM, else $XDG_CACHE_HOME/attune/wisdom.txt, else
 * ~/.cache/attune/wisdom.txt (no file if ATTUNE_WISDOM is set and empty; one that is refused is reported through the log
 * and leaves it empty). Champions' objects lie in champions/ beside it. Do not free. */
atn_wisdom *atn_wisdom_default(void);

/* An empty one; free with atn_wisdom_free (NULL is fine) after the plans made with it. ATN_MEMORY. */
atn_status atn_wisdom_create(atn_wisdom **out, atn_error *err);
void atn_wisdom_free(atn_wisdom *wisdom);

/* Adds all rows of a wisdom file, or none; a row replaces one of the same class if it is faster. ATN_FORMAT: damaged;
 * ATN_MISMATCH: another format, version, machine or compiler; ATN_NOT_FOUND, ATN_IO. */
atn_status atn_wisdom_import(atn_wisdom *wisdom, const char *path, atn_error *err);

/* Replaces the file atomically, and makes its folder. ATN_IO. */
atn_status atn_wisdom_export(const atn_wisdom *wisdom, const char *path, atn_error *err);

/* Adds a row, replacing one of the same class. With object_path the shared object is copied to the champions' folder
 * under its hash, from where any process with this wisdom loads it. ATN_USAGE: not a class, or an unknown linked-in
 * kernel. */
atn_status atn_wisdom_add(atn_wisdom *wisdom, const atn_wisdom_row *row, atn_error *err);

/* Forgets the row of a class (NULL: every row). ATN_NOT_FOUND if there is none. */
atn_status atn_wisdom_forget(atn_wisdom *wisdom, const char *problem, atn_error *err);

/* Copies row i (0, 1, ... in order of class); ATN_NOT_FOUND past the end (err untouched). Set row->size first. */
atn_status atn_wisdom_row_at(const atn_wisdom *wisdom, int i, atn_wisdom_row *row);

/* The class of args for so many threads. ATN_USAGE as atn_plan_create, or if room (128 is enough) is short. */
atn_status atn_wisdom_class(const atn_args *args, int threads, char *out, size_t room, atn_error *err);

#ifdef __cplusplus
}
#endif
#endif
