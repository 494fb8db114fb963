/* Hashes: XXH3 for everything that is not a secret. */
#ifndef ATN_BASE_HASH_H
#define ATN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *p, size_t n);
void hash_hex(const void *p, size_t n, char out[33]);      /* 128 bits as 32 hex digits + NUL: names of blobs */

#endif
