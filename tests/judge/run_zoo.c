/* run_zoo: every animal of a folder through gate, compiler and correctness campaign; prints expected and got.
 *
 *     run_zoo [-b] [-r] [-t threads] FOLDER [ANIMAL ...]
 *
 * -r: reduced isolation, without namespaces, private uid and mseal.
 *
 * An animal is FOLDER/NAME.c. Its first lines say what is to become of it:
 *     // expect: reason[,reason]     with everything in place ("ok": must pass)
 *     // behind: reason[,reason]     with the gate and the object check switched off (-b), so that the sandbox is met
 *     // alone                       is a whole file; others get prelude.h before them
 *     // pad: N                      blanks up to N bytes
 * Exit code 0: everyone got what it should. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "judge/accuracy.h"
#include "judge/build.h"
#include "judge/link.h"
#include "judge/sandbox.h"
#include "judge/wire.h"

static char *folder;
static bool behind, reduced;
static int threads = 1;

/* The value of "// key: value" in the leading comment lines; caller frees; NULL where absent. */
static char *tag(const char *source, const char *key)
{
    char *start = atn_format("// %s", key), *value = NULL;
    for (const char *line = source; !value && strncmp(line, "// ", 3) == 0;) {
        const char *end = strchr(line, '\n');
        if (!end) end = line + strlen(line);
        if (text_starts(line, start)) {
            const char *from = line + strlen(start);
            while (from < end && (*from == ':' || *from == ' ')) from++;
            value = atn_strndup(from, (size_t)(end - from));
        }
        line = *end ? end + 1 : end;
    }
    free(start);
    return value;
}

static bool listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ',') && (p[n] == 0 || p[n] == ',')) return true;
    return false;
}

static char *whole_source(const char *own)
{
    char *alone = tag(own, "alone"), *pad = tag(own, "pad"), *prelude = NULL, *path = file_join(folder, "prelude.h");
    if (!alone && file_read(path, 1 << 20, &prelude, NULL, NULL) != ATN_OK) prelude = NULL;
    char *all = atn_format("%s%s", prelude ? prelude : "", own);
    long long n = 0;
    if (pad && text_to_i64(pad, &n) && n > (long long)strlen(all)) {
        size_t used = strlen(all);
        all = atn_realloc(all, (size_t)n + 1);
        memset(all + used, ' ', (size_t)n - used);
        all[n] = 0;
    }
    free(alone);
    free(pad);
    free(prelude);
    free(path);
    return all;
}

static void judge_animal(const char *source, atn_verdict *v)
{
    build_result built;
    atn_error err;
    *v = (atn_verdict){0};
    atn_status s = build_run(&(build_options){.whole_file = true, .unchecked = behind, .timeout_s = 5}, source, NULL,
                             &built, &err);
    if (s == ATN_OK) {
        v->stage = built.stage;
        v->reason = built.reason;
        memcpy(v->evidence, built.evidence, sizeof v->evidence);
        check_context c = {.tolerance = 1, .threads = threads, .cpu = -1, .seed = rng_secret(), .program = "animal.c"};
        if (v->reason == ATN_REASON_OK) s = accuracy_quick(&c, built.so_fd, v, &err);
        if (s == ATN_OK && v->reason == ATN_REASON_OK) s = accuracy_full(&c, built.so_fd, v, &err);
        build_release(&built);
    }
    if (s != ATN_OK) {
        fprintf(stderr, "run_zoo: %s\n", err.text);
        exit(2);
    }
}

typedef enum { RIGHT, SKIPPED, ESCAPED } fate;

static fate meet(const char *name)
{
    char *path = atn_format("%s/%s.c", folder, name), *own = NULL;
    atn_error err;
    if (file_read(path, 1 << 20, &own, NULL, &err) != ATN_OK) {
        fprintf(stderr, "run_zoo: %s\n", err.text);
        exit(2);
    }
    char *want = tag(own, behind ? "behind" : "expect");
    fate f = SKIPPED;
#ifndef __x86_64__
    if (behind && strstr(own, "(x86)")) {
        free(want);
        want = NULL;
    }
#endif
    if (want) {
        char *source = whole_source(own);
        atn_verdict v;
        int64_t begin = clock_ns();
        judge_animal(source, &v);
        const char *got = reason_word(v.reason);
        f = listed(want, got) ? RIGHT : ESCAPED;
        v.evidence[strcspn(v.evidence, "\n")] = 0;
        printf("%s %-24s expected %-28s got %-16s %-7s %6.0f ms  %.90s\n", f == RIGHT ? "ok  " : "FAIL", name, want,
               got, stage_name(v.stage), (double)(clock_ns() - begin) * 1e-6, v.evidence);
        fflush(stdout);
        free(source);
    }
    free(want);
    free(own);
    free(path);
    return f;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
    for (int o; (o = getopt(argc, argv, "brt:")) != -1;) {
        if (o == 'b') behind = true;
        else if (o == 'r') reduced = true, sandbox_leave_out(LAYER_NAMESPACES | LAYER_UID | LAYER_MSEAL | LAYER_SCOPE);
        else if (o == 't') threads = atoi(optarg);
        else return 2;
    }
    if (optind >= argc) {
        fprintf(stderr, "usage: run_zoo [-b] [-r] [-t threads] FOLDER [ANIMAL ...]\n");
        return 2;
    }
    folder = argv[optind++];
    char isolation[300], *names[512];
    int n = 0, fates[3] = {0};
    isolation_probe(isolation, sizeof isolation);
    printf("isolation %s%s\n", isolation, behind ? "; gate and object check switched off" : "");
    for (; optind < argc; optind++) names[n++] = atn_strdup(argv[optind]);
    DIR *d = n ? NULL : opendir(folder);
    for (struct dirent *e; d && n < ATN_COUNT(names) && (e = readdir(d));) {
        size_t length = strlen(e->d_name);
        if (length > 2 && strcmp(e->d_name + length - 2, ".c") == 0) names[n++] = atn_strndup(e->d_name, length - 2);
    }
    if (d) closedir(d);
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) {
        fate f = meet(names[i]);
        fates[f]++;
        if (f == ESCAPED)
            printf("     rerun: run_zoo %s%s%s %s\n", behind ? "-b " : "", reduced ? "-r " : "", folder, names[i]);
        free(names[i]);
    }
    printf("%d of %d as expected\n", fates[RIGHT], fates[RIGHT] + fates[ESCAPED]);
    return n == 0 ? 2 : fates[ESCAPED] != 0;
}
