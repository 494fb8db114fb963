/* run_zoo: every animal of a folder through gate, compiler and correctness campaign; prints expected and got.
 *
 *     run_zoo [-b] [-r] [-t threads] FOLDER [ANIMAL ...]
 *
 * -b: with the gate and the object check switched off, so that the sandbox is met. -r: reduced isolation, without
 * namespaces, private uid and mseal. What an animal's first lines say is in judge/zoo.h.
 * Exit code 0: everyone got what it should. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "judge/link.h"
#include "judge/sandbox.h"
#include "judge/wire.h"
#include "judge/zoo.h"

typedef enum { RIGHT, SKIPPED, ESCAPED } fate;

static fate meet(const char *folder, const char *name, const zoo_options *o)
{
    zoo_outcome got;
    atn_error err;
    int64_t begin = clock_ns();
    if (zoo_meet(folder, name, o, &got, &err) != ATN_OK) {
        fprintf(stderr, "run_zoo: %s\n", err.text);
        exit(2);
    }
    if (!got.met) return SKIPPED;
    got.v.evidence[strcspn(got.v.evidence, "\n")] = 0;
    printf("%s %-24s expected %-28s got %-16s %-7s %6.0f ms  %.90s\n", got.right ? "ok  " : "FAIL", name, got.want,
           reason_word(got.v.reason), stage_name(got.v.stage), (double)(clock_ns() - begin) * 1e-6, got.v.evidence);
    fflush(stdout);
    return got.right ? RIGHT : ESCAPED;
}

int main(int argc, char **argv)
{
    zoo_options how = {.threads = 1};
    bool reduced = false;
    for (int o; (o = getopt(argc, argv, "brt:")) != -1;) {
        if (o == 'b') how.behind = true;
        else if (o == 'r') reduced = true, sandbox_leave_out(LAYER_NAMESPACES | LAYER_UID | LAYER_MSEAL | LAYER_SCOPE);
        else if (o == 't') how.threads = atoi(optarg);
        else return 2;
    }
    if (optind >= argc) {
        fprintf(stderr, "usage: run_zoo [-b] [-r] [-t threads] FOLDER [ANIMAL ...]\n");
        return 2;
    }
    const char *folder = argv[optind++];
    char isolation[300], **names = argv + optind;
    int n = argc - optind, fates[3] = {0};
    isolation_probe(isolation, sizeof isolation);
    printf("isolation %s%s\n", isolation, how.behind ? "; gate and object check switched off" : "");
    if (n == 0) n = zoo_names(folder, &names);
    for (int i = 0; i < n; i++) {
        fate f = meet(folder, names[i], &how);
        fates[f]++;
        if (f == ESCAPED)
            printf("     rerun: run_zoo %s%s%s %s\n", how.behind ? "-b " : "", reduced ? "-r " : "", folder, names[i]);
    }
    printf("%d of %d as expected\n", fates[RIGHT], fates[RIGHT] + fates[ESCAPED]);
    return n == 0 ? 2 : fates[ESCAPED] != 0;
}
