/* A target under libFuzzer: meson setup -Dfuzz=true, see tests/fuzz/fuzz.sh. TARGET is its name. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const fuzz_target *target;
    for (int i = 0; !target && i < fuzz_target_count; i++)
        if (!strcmp(fuzz_targets[i].name, TARGET)) target = &fuzz_targets[i];
    if (!target) abort();
    target->run(data, n);
    return 0;
}
