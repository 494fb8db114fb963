/* Animals through gate, compiler and correctness campaign. Nothing here decides what is a cheat: the judge does, and
 * its verdict is compared with the animal's first lines. */
#include "judge/zoo.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "judge/accuracy.h"
#include "judge/build.h"

enum { ANIMAL_BYTES_MAX = 1 << 20 };
static const double BUILD_SECONDS = 3; /* of CPU time; an animal that is no bomb needs a tenth */

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

static char *whole_source(const char *folder, const char *own)
{
    char *alone = tag(own, "alone"), *pad = tag(own, "pad"), *prelude = NULL, *path = file_join(folder, "prelude.h");
    if (!alone && file_read(path, ANIMAL_BYTES_MAX, &prelude, NULL, NULL) != ATN_OK) prelude = NULL;
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

static atn_status judge_animal(const char *source, const zoo_options *o, atn_verdict *v, atn_error *err)
{
    build_result built;
    build_options how = {.whole_file = true, .unchecked = o->behind, .timeout_s = BUILD_SECONDS};
    atn_status s = build_run(&how, source, NULL, &built, err);
    if (s != ATN_OK) return s;
    *v = (atn_verdict){.stage = built.stage, .reason = built.reason};
    memcpy(v->evidence, built.evidence, sizeof v->evidence);
    check_context c = {
        .tolerance = 1, .threads = ATN_MAX(o->threads, 1), .cpu = -1, .seed = rng_secret(), .program = "animal.c"};
    if (v->reason == ATN_REASON_OK) s = accuracy_quick(&c, built.so_fd, v, err);
    if (s == ATN_OK && v->reason == ATN_REASON_OK) s = accuracy_full(&c, built.so_fd, v, err);
    build_release(&built);
    return s;
}

atn_status zoo_meet(const char *folder, const char *name, const zoo_options *o, zoo_outcome *out, atn_error *err)
{
    char *path = atn_format("%s/%s.c", folder, name), *own = NULL, *want = NULL;
    *out = (zoo_outcome){0};
    atn_status s = file_read(path, ANIMAL_BYTES_MAX, &own, NULL, err);
    if (s == ATN_OK) want = tag(own, o->behind ? "behind" : "expect");
#ifndef __x86_64__
    if (want && o->behind && strstr(own, "(x86)")) {
        free(want);
        want = NULL;
    }
#endif
    if (s == ATN_OK && want) {
        char *source = whole_source(folder, own);
        snprintf(out->want, sizeof out->want, "%s", want);
        s = judge_animal(source, o, &out->v, err);
        out->met = s == ATN_OK;
        out->right = out->met && listed(want, reason_word(out->v.reason));
        free(source);
    }
    free(want);
    free(own);
    free(path);
    return s;
}

char *zoo_folder(void)
{
    static const char *const places[] = {"tests/judge/zoo", "zoo"};
    for (int i = 0; i < ATN_COUNT(places); i++) {
        char *folder = file_join(file_home(), places[i]), *prelude = file_join(folder, "prelude.h");
        bool there = file_exists(prelude);
        free(prelude);
        if (there) return folder;
        free(folder);
    }
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int zoo_names(const char *folder, char ***names)
{
    int n = 0;
    *names = NULL;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t length = strlen(e->d_name);
        if (length <= 2 || strcmp(e->d_name + length - 2, ".c") != 0) continue;
        *names = atn_realloc(*names, (size_t)(n + 1) * sizeof **names);
        (*names)[n++] = atn_strndup(e->d_name, length - 2);
    }
    if (d) closedir(d);
    if (n) qsort(*names, (size_t)n, sizeof **names, by_name);
    return n;
}
