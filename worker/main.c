/* attune-worker: the small program that runs what attune does not trust. Started by attune only; see src/judge/wire.h.
 */
#include <stdio.h>
#include <string.h>

#include "worker.h"

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "run") == 0) return run_main();
    if (argc >= 2 && strcmp(argv[1], "compile") == 0) return compile_main(argc - 2, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "probe") == 0) return probe_main();
    fprintf(stderr, "attune-worker is a part of attune and is not started by hand; see 'attune --help'\n");
    return 2;
}
