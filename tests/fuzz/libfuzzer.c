/* A target under libFuzzer, named by $FUZZ_TARGET: meson setup -Dfuzz=true, see tests/fuzz/fuzz.sh. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static const fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    const char *name = getenv("FUZZ_TARGET");
    for (int i = 0; name && i < fuzz_target_count; i++)
        if (!strcmp(fuzz_targets[i].name, name)) target = &fuzz_targets[i];
    if (target) return 0;
    fprintf(stderr, "FUZZ_TARGET names none of the targets:");
    for (int i = 0; i < fuzz_target_count; i++) fprintf(stderr, " %s", fuzz_targets[i].name);
    fprintf(stderr, "\n");
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    target->run(data, n);
    return 0;
}
