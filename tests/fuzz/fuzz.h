/* Fuzz targets: every parser of text or bytes that attune did not write itself.
 *
 * A target takes any bytes and returns; what it finds wrong, it ends by ATN_CHECK. Beside "does not crash" each checks
 * a property: printed and read again is the same, what is accepted is within limits. */
#ifndef ATN_TESTS_FUZZ_H
#define ATN_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    void (*run)(const uint8_t *data, size_t n);
} fuzz_target;

extern const fuzz_target fuzz_targets[];
extern const int fuzz_target_count;

#endif
