/* smoke: the corpus of a target, then random changes of it for some seconds, with any compiler.
 *
 *     smoke TARGET [-s seconds] [-r seed] [-t limit of one input, s] FILE-OR-FOLDER ...
 *
 * The inputs are played in a child; the one at which it dies or stays is written to TARGET-crash.bin here, with the line
 * that plays it again. Exit code 0: nobody died. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/status.h"
#include "fuzz.h"

enum { INPUT_MAX = 1 << 16, CORPUS_MAX = 4096 };

typedef struct {
    char *data;
    size_t n;
} entry;

typedef struct {
    size_t n;
    long long runs;
    uint8_t data[INPUT_MAX];
} shared_input;

static entry corpus[CORPUS_MAX];
static int corpus_n;

static void add_file(const char *path)
{
    entry e;
    atn_error err;
    if (corpus_n == CORPUS_MAX || file_read(path, 64 << 20, &e.data, &e.n, &err) != ATN_OK) return;
    e.n = ATN_MIN(e.n, INPUT_MAX);
    corpus[corpus_n++] = e;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_path(const char *path)
{
    DIR *d = opendir(path);
    char *names[CORPUS_MAX];
    int n = 0;
    if (!d) add_file(path);
    for (struct dirent *e; d && n < CORPUS_MAX && (e = readdir(d));)
        if (e->d_name[0] != '.') names[n++] = file_join(path, e->d_name);
    if (d) closedir(d);
    if (n) qsort(names, (size_t)n, sizeof *names, by_name); /* the same seed, the same inputs */
    for (int i = 0; i < n; i++) {
        add_file(names[i]);
        free(names[i]);
    }
}

static size_t below(atn_rng *r, size_t n)
{
    return n ? (size_t)rng_below(r, (uint64_t)n) : 0;
}

/* Puts `m` bytes in the place of `cut` bytes at `at`, as far as they fit. */
static void splice(shared_input *x, size_t at, size_t cut, const void *from, size_t m)
{
    at = ATN_MIN(at, x->n);
    cut = ATN_MIN(cut, x->n - at);
    m = ATN_MIN(m, INPUT_MAX - (x->n - cut));
    memmove(x->data + at + m, x->data + at + cut, x->n - at - cut);
    if (m) memmove(x->data + at, from, m);
    x->n = x->n - cut + m;
}

static void change(shared_input *x, atn_rng *r)
{
    static const char *const words[] = {"\n", "\\\n", "\"", "'", "/*", "*/", "//", "#", "##", "(", ")", "{", "}", "[", "]", ":",
                                        ",", "-", "-1", "0", "9223372036854775808", "2147483647", "1e999", "nan", "%", "\t",
                                        "\xff", "\xc3\xa9", "\r\n", "#if 1\n", "#endif\n", "// knob: 1 2\n", "data: ", "null"};
    static const uint64_t edges[] = {0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, INT64_MAX, UINT64_MAX};
    uint8_t piece[64];
    const entry *other = &corpus[below(r, (size_t)corpus_n)];
    size_t at = below(r, x->n + 1), length = 1 + below(r, below(r, 8) ? 8 : 400), from = below(r, other->n + 1);
    switch (rng_below(r, 8)) {
    case 0: if (at < x->n) x->data[at] ^= (uint8_t)(1u << rng_below(r, 8)); break;
    case 1: if (at < x->n) x->data[at] = (uint8_t)rng_below(r, 256); break;
    case 2: splice(x, at, length, NULL, 0); break;
    case 3: {
        const char *w = words[below(r, ATN_COUNT(words))];
        splice(x, at, rng_below(r, 2) ? length : 0, w, strlen(w));
        break;
    }
    case 4: splice(x, at, below(r, 2) ? length : 0, other->data + from, ATN_MIN(length, other->n - from)); break;
    case 5: {
        size_t m = ATN_MIN(ATN_MIN(length, sizeof piece), x->n - at);
        memcpy(piece, x->data + at, m);
        for (size_t i = 1 + below(r, 4); i--;) splice(x, at, 0, piece, m);
        break;
    }
    case 6: {
        uint64_t v = edges[below(r, ATN_COUNT(edges))];
        splice(x, at, (size_t)1 << below(r, 4), &v, (size_t)1 << below(r, 4));
        break;
    }
    default: splice(x, at, x->n, other->data + from, other->n - from);
    }
}

static void play_all(const fuzz_target *t, shared_input *x, uint64_t seed, double seconds)
{
    double end = clock_s() + seconds;
    for (int i = 0; i < corpus_n; i++) {
        x->n = 0;
        splice(x, 0, 0, corpus[i].data, corpus[i].n);
        t->run(x->data, x->n);
        x->runs++;
    }
    for (uint64_t i = 0; seconds > 0 && clock_s() < end; i++) {
        atn_rng r = rng_make(seed, 0, i);
        const entry *e = &corpus[below(&r, (size_t)corpus_n)];
        x->n = 0;
        splice(x, 0, 0, e->data, e->n);
        for (size_t k = 1 + below(&r, 6); k--;) change(x, &r);
        t->run(x->data, x->n);
        x->runs++;
    }
}

static int died(const fuzz_target *t, const shared_input *x, const char *program, const char *how)
{
    char *path = atn_format("%s-crash.bin", t->name);
    file_write(path, x->data, x->n, NULL);
    printf("FAIL %s: input %lld of %zu bytes: %s\nrerun: %s %s -s 0 %s\n", t->name, x->runs, x->n, how, program, t->name, path);
    free(path);
    return 1;
}

/* 0, or what killed it. An input that takes longer than `limit` is a finding too. */
static int watch(pid_t pid, const fuzz_target *t, shared_input *x, const char *program, double limit)
{
    long long seen = -1;
    double since = clock_s();
    for (int status;; usleep(20000)) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
            return died(t, x, program, WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "the sanitizer ended it");
        }
        if (x->runs != seen) {
            seen = x->runs;
            since = clock_s();
        }
        if (clock_s() - since > limit) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return died(t, x, program, "takes too long");
        }
    }
}

int main(int argc, char **argv)
{
    double seconds = 3, limit = 10;
    uint64_t seed = rng_secret() >> 16;
    const fuzz_target *t = NULL;
    for (int i = 0; argc > 1 && i < fuzz_target_count; i++)
        if (!strcmp(argv[1], fuzz_targets[i].name)) t = &fuzz_targets[i];
    if (!t) {
        fprintf(stderr, "usage: smoke TARGET [-s seconds] [-r seed] [-t limit] FILE-OR-FOLDER ...\ntargets:");
        for (int i = 0; i < fuzz_target_count; i++) fprintf(stderr, " %s", fuzz_targets[i].name);
        fprintf(stderr, "\n");
        return 2;
    }
    optind = 2;
    for (int o; (o = getopt(argc, argv, "s:r:t:")) != -1;) {
        if (o == 's') seconds = atof(optarg);
        else if (o == 'r') seed = strtoull(optarg, NULL, 10);
        else if (o == 't') limit = atof(optarg);
        else return 2;
    }
    for (; optind < argc; optind++) add_path(argv[optind]);
    if (corpus_n == 0) {
        fprintf(stderr, "smoke: no corpus\n");
        return 2;
    }
    shared_input *x = mmap(NULL, sizeof *x, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ATN_CHECK(x != MAP_FAILED);
    fflush(NULL);
    pid_t pid = fork();
    ATN_CHECK(pid >= 0);
    if (pid == 0) {
        play_all(t, x, seed, seconds);
        _exit(0);
    }
    int bad = watch(pid, t, x, argv[0], limit);
    printf("%s %s: %d inputs, %lld runs, seed %llu\n", bad ? "FAIL" : "ok", t->name, corpus_n, x->runs,
           (unsigned long long)seed);
    return bad;
}
