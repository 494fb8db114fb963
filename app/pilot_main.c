/* attune-pilot: `attune worker` as a program of its own, without store, proposers and network. In a bundle it is called
 * attune, and its folder is the home that candidates' headers come from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "evolve/execute/pilot.h"

int main(int argc, char **argv)
{
    pilot_options o = {.in = STDIN_FILENO, .out = STDOUT_FILENO, .make = evolve_judge_create};
    char *header = file_beside_program("include/attune/kernel.h");
    if (file_exists(header)) {
        header[strlen(header) - strlen("/include/attune/kernel.h")] = 0;
        setenv("ATTUNE_HOME", header, 0);
    }
    free(header);
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        puts("attune " ATTUNE_VERSION " (worker only)");
        return 0;
    }
    if (argc == 4 && !strcmp(argv[1], "worker") && !strcmp(argv[2], "--spool")) o.spool = argv[3];
    else if (argc != 3 || strcmp(argv[1], "worker") || strcmp(argv[2], "--stdio")) {
        fprintf(stderr, "usage: attune worker --stdio | attune worker --spool DIR (this is the worker only)\n");
        return 2;
    }
    return pilot_run(&o);
}
