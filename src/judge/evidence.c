/* Object code in numbers. The listing comes from objdump; lines that are not understood count as instructions only. */
#include "judge/evidence.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"

enum { LISTING_MAX = 32 << 20, SECONDS_MAX = 5 };

/* "  12f4:\tvfmadd231ps (%rax),%zmm1,%zmm2": the mnemonic's place, or NULL for any other line. */
static const char *instruction_of(const char *line, const char *end)
{
    const char *tab = memchr(line, '\t', (size_t)(end - line));
    if (!tab || tab == line || tab[-1] != ':') return NULL;
    return tab + 1 < end ? tab + 1 : NULL;
}

static bool holds(const char *from, const char *end, const char *word)
{
    size_t n = strlen(word);
    for (; from + n <= end; from++)
        if (!memcmp(from, word, n)) return true;
    return false;
}

static int width_of(const char *from, const char *end)
{
    return holds(from, end, "%zmm") ? 512 : holds(from, end, "%ymm") ? 256 : holds(from, end, "%xmm") ? 128 : 0;
}

static void count_line(const char *at, const char *end, evidence_code *e)
{
    size_t n = 0;
    while (at + n < end && at[n] != ' ' && at[n] != '\t') n++;
    const char *args = at + n, *last = args;
    int depth = 0;
    for (const char *p = args; p < end && *p != '#'; p++) { /* the last operand is where the result goes */
        depth += (*p == '(') - (*p == ')');
        if (*p == ',' && depth == 0) last = p + 1;
    }
    int width = width_of(args, end);
    bool fma = text_starts(at, "vfmadd") || text_starts(at, "vfnmadd") || text_starts(at, "vfmsub") ||
               text_starts(at, "vdpbf16ps");
    bool move = text_starts(at, "vmov") || text_starts(at, "movup") || text_starts(at, "movap") ||
                text_starts(at, "vbroadcast") || text_starts(at, "vpmovzx") || text_starts(at, "vcvtph2ps");
    bool to_memory = holds(last, end, "("), memory = holds(args, end, "(");
    e->instructions++;
    e->tile_multiplies += text_starts(at, "tdp");
    e->fmas += fma;
    if (fma && n > 2 && at[n - 1] == 's' && at[n - 2] == 'p') {
        e->fmas_packed++;
        if (width > e->vector_bits) e->vector_bits = width;
    }
    if (!width) return;
    e->vector_loads += (fma || move) && memory && !to_memory;
    e->spill_stores += move && to_memory && (holds(last, end, "(%rsp") || holds(last, end, "(%rbp"));
}

static void say(evidence_code *e)
{
    if (e->tile_multiplies)
        snprintf(e->text, sizeof e->text, "AMX, %d tile multiplies; %d FMA beside them; %d spill stores", e->tile_multiplies,
                 e->fmas, e->spill_stores);
    else if (!e->fmas)
        snprintf(e->text, sizeof e->text, "no multiply-add in %d instructions", e->instructions);
    else
        snprintf(e->text, sizeof e->text, "%d-bit vectors; %d FMA (%d packed), %.2f loads each; %d spill stores; %d instructions",
                 e->vector_bits, e->fmas, e->fmas_packed, (double)e->vector_loads / e->fmas, e->spill_stores,
                 e->instructions);
}

void evidence_of_listing(const char *listing, evidence_code *out)
{
    *out = (evidence_code){.known = true};
    for (const char *line = listing, *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        const char *at = instruction_of(line, end);
        if (at) count_line(at, end, out);
    }
    say(out);
}

static void skip(evidence_code *out, const char *why)
{
    *out = (evidence_code){0};
    snprintf(out->text, sizeof out->text, "skipped: %s", why);
}

/* In the child: the object becomes descriptor 3, the listing goes to 1. */
static _Noreturn void become_objdump(int so_fd, int to)
{
    struct rlimit cpu = {SECONDS_MAX, SECONDS_MAX}, memory = {1 << 30, 1 << 30};
    int null = open("/dev/null", O_RDWR);
    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_AS, &memory);
    int object = fcntl(so_fd, F_DUPFD, 10), pipe_end = fcntl(to, F_DUPFD, 10);
    if (dup2(null, 0) < 0 || dup2(pipe_end, 1) < 0 || dup2(null, 2) < 0 || dup2(object, 3) < 0) _exit(126);
    char *const environment[] = {"PATH=/usr/bin:/bin:/usr/local/bin", "LC_ALL=C", NULL};
    execvpe("objdump", (char *const[]){"objdump", "-d", "--no-show-raw-insn", "/proc/self/fd/3", NULL}, environment);
    _exit(127);
}

void evidence_of_object(int so_fd, evidence_code *out)
{
#if !defined(__x86_64__) || !defined(__linux__)
    (void)so_fd;
    skip(out, "object code is read on x86-64 Linux only");
#else
    int ends[2], status = -1;
    if (so_fd < 0 || pipe2(ends, O_CLOEXEC) != 0) {
        skip(out, "no object");
        return;
    }
    pid_t pid = fork();
    if (pid == 0) become_objdump(so_fd, ends[1]);
    close(ends[1]);
    atn_text listing = {0};
    char piece[65536];
    ssize_t n;
    while (pid > 0 && listing.n < LISTING_MAX && (n = read(ends[0], piece, sizeof piece)) > 0)
        text_addn(&listing, piece, (size_t)n);
    close(ends[0]);
    if (pid > 0 && listing.n >= LISTING_MAX) kill(pid, SIGKILL);
    if (pid > 0) waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) skip(out, "no objdump here; install binutils");
    else if (status != 0 || !listing.n) skip(out, "objdump cannot read the object");
    else evidence_of_listing(listing.s, out);
    text_free(&listing);
#endif
}
