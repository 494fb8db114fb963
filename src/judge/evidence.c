/* Object code in numbers, loops in words, cases against the machine's limits. The listing comes from objdump; lines that
 * are not understood count as instructions only. Counters are counters.c. */
#include "judge/evidence.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "judge/sandbox.h"

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
    struct stat file;
    if (fstat(so_fd, &file) == 0) out->bytes = file.st_size;
#endif
}

/* ---- what the compiler says of its loops ------------------------------------------------------------------------- */

enum { LOOPS_MAX = 256, LOOPS_SHOWN = 6 };

typedef struct {
    int line;
    bool vectorised;
    char why[80];
} loop_note;

typedef struct {
    loop_note notes[LOOPS_MAX];
    int n;
} loop_list;

static loop_note *loop_at(loop_list *l, int line)
{
    for (int i = 0; i < l->n; i++)
        if (l->notes[i].line == line) return &l->notes[i];
    if (l->n == LOOPS_MAX) return NULL;
    l->notes[l->n] = (loop_note){.line = line};
    return &l->notes[l->n++];
}

/* "kernel.c:108:67: missed: ..." -> 108 and what follows the place; 0 for lines of other files and for anything else. */
static int place_of(const char *line, const char *end, const char **rest)
{
    const char *name = memchr(line, ':', (size_t)(end - line));
    if (!name) return 0;
    static const char own[] = "kernel.c";
    if (name - line < (long)sizeof own - 1 || memcmp(name - (sizeof own - 1), own, sizeof own - 1) != 0) return 0;
    char *after;
    long n = strtol(name + 1, &after, 10);
    if (*after != ':' || n <= 0 || n > 1000000) return 0;
    strtol(after + 1, &after, 10);
    if (*after != ':' || after >= end) return 0;
    *rest = after + 1;
    while (*rest < end && **rest == ' ') ++*rest;
    return (int)n;
}

static void keep_reason(loop_note *l, const char *from, const char *end)
{
    const char *stop = memchr(from, '[', (size_t)(end - from)); /* clang: the option's name */
    if (stop) end = stop;
    while (end > from && (end[-1] == '.' || end[-1] == ' ')) end--;
    if (!l->why[0]) evidence_clean(l->why, sizeof l->why, from, (size_t)(end - from));
}

/* What stands behind `word` on this line; NULL: the word is not there. */
static const char *behind(const char *from, const char *end, const char *word)
{
    size_t n = strlen(word);
    for (; from + n <= end; from++)
        if (!memcmp(from, word, n)) return from + n;
    return NULL;
}

static void read_report(const char *report, loop_list *l)
{
    loop_note *open = NULL; /* gcc gives the reason on the line after "couldn't vectorize loop" */
    for (const char *line = report, *end; *line; line = *end ? end + 1 : end) {
        const char *rest, *why;
        end = line + strcspn(line, "\n");
        int at = place_of(line, end, &rest);
        if (!at) {
            open = NULL;
        } else if (behind(rest, end, "loop vectorized using") || behind(rest, end, "remark: vectorized loop")) {
            loop_note *n = loop_at(l, at);
            if (n) n->vectorised = true;
        } else if (behind(rest, end, "couldn't vectorize loop")) {
            open = loop_at(l, at);
        } else if (open && (why = behind(rest, end, "missed: not vectorized: "))) {
            keep_reason(open, why, end);
            open = NULL;
        } else if ((why = behind(rest, end, "remark: loop not vectorized: "))) {
            loop_note *n = loop_at(l, at);
            if (n) keep_reason(n, why, end);
        } else if (!open && behind(rest, end, "remark: loop not vectorized")) {
            loop_at(l, at);
        }
    }
}

/* An outer loop that is left alone is no news. */
static bool is_outer(const loop_note *l)
{
    return strstr(l->why, "nested loop") || strstr(l->why, "loop nest") || strstr(l->why, "inner loops") ||
           strstr(l->why, "not the innermost");
}

static void add_line_of(atn_text *t, const char *source, int line)
{
    char clean[64];
    const char *p = source;
    for (int i = 1; p && i < line; i++) p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL;
    if (!p) return;
    p += strspn(p, " \t");
    evidence_clean(clean, sizeof clean, p, strcspn(p, "\n"));
    if (clean[0]) text_addf(t, " | %s", clean);
}

static int by_line(const void *a, const void *b)
{
    return ((const loop_note *)a)->line - ((const loop_note *)b)->line;
}

void evidence_of_report(const char *report, const char *source, evidence_loops *out)
{
    *out = (evidence_loops){.known = true};
    loop_list *l = atn_alloc(sizeof *l);
    atn_text t = {0};
    read_report(report, l);
    qsort(l->notes, (size_t)l->n, sizeof l->notes[0], by_line);
    for (int i = 0; i < l->n; i++) {
        const loop_note *n = &l->notes[i];
        if (n->vectorised) out->vectorised++;
        if (n->vectorised || is_outer(n)) continue;
        if (out->missed++ >= LOOPS_SHOWN) continue;
        size_t before = t.n;
        text_addf(&t, "  line %d: %s", n->line, n->why[0] ? n->why : "no reason given");
        add_line_of(&t, source, n->line);
        text_add(&t, "\n");
        if (t.n >= sizeof out->text) t.s[t.n = before] = 0;
    }
    snprintf(out->text, sizeof out->text, "%s", t.s ? t.s : "");
    text_free(&t);
    free(l);
}

/* ---- roofline ---------------------------------------------------------------------------------------------------- */

const char *bound_word(evidence_bound b)
{
    static const char *const words[] = {"unknown", "compute", "bandwidth", "overhead"};
    return words[b];
}

void evidence_roofline(const atn_problem *p, const atn_peaks *peaks, int threads, double ns, evidence_case *out)
{
    static const double EXPLAINS = 0.3;
    double flops = peaks->fma_peak_gflops * threads, bytes = peaks->read_bandwidth_gbs * threads;
    out->bound = BOUND_UNKNOWN;
    out->peak = flops > 0 && ns > 0 ? problem_flops(p) / ns / flops : 0;
    out->bandwidth = bytes > 0 && ns > 0 ? problem_bytes(p) / ns / bytes : 0;
    problem_print(p, out->name, sizeof out->name);
    if (!(ns > 0) || flops <= 0) return;
    bool compute = out->peak >= out->bandwidth;
    if (ATN_MAX(out->peak, out->bandwidth) < EXPLAINS) out->bound = BOUND_OVERHEAD;
    else out->bound = compute ? BOUND_COMPUTE : BOUND_BANDWIDTH;
}

/* ---- in words, and as JSON --------------------------------------------------------------------------------------- */

static void say_bounds(const atn_evidence *e, atn_text *t)
{
    int count[4] = {0};
    double low = 1e9, high = 0;
    for (int i = 0; i < e->n_cases; i++) {
        count[e->cases[i].bound]++;
        low = ATN_MIN(low, e->cases[i].peak), high = ATN_MAX(high, e->cases[i].peak);
    }
    if (e->n_cases > 1)
        text_addf(t, "speed: %.0f to %.0f %% of the FMA peak over %d cases; bound by", 100 * low, 100 * high, e->n_cases);
    else text_add(t, "speed: one case, bound by");
    for (int b = BOUND_COMPUTE, first = 1; b <= BOUND_OVERHEAD; b++)
        if (count[b]) text_addf(t, "%s %s in %d", first ? "" : ",", bound_word((evidence_bound)b), count[b]), first = 0;
    text_add(t, "\n");
    /* The slowest three against the peak: where there is most to gain. */
    bool said[ATN_CASES_MAX] = {false};
    for (int k = 0; k < 3 && k < e->n_cases; k++) {
        int worst = -1;
        for (int i = 0; i < e->n_cases; i++)
            if (!said[i] && (worst < 0 || e->cases[i].peak < e->cases[worst].peak)) worst = i;
        ATN_ASSERT(worst >= 0); /* fewer than n_cases are said */
        const evidence_case *c = &e->cases[worst];
        said[worst] = true;
        text_addf(t, "  %s: %s, %.0f %% of the FMA peak, %.0f %% of memory bandwidth\n", c->name, bound_word(c->bound),
                  100 * c->peak, 100 * c->bandwidth);
    }
}

char *evidence_text(const atn_evidence *e)
{
    atn_text t = {0};
    text_addf(&t, "object code: %s", e->code.text);
    if (e->code.bytes) text_addf(&t, "; %.1f KiB", (double)e->code.bytes / 1024);
    text_add(&t, "\n");
    if (e->loops.known)
        text_addf(&t, "compiler: %d loop%s vectorised by itself, %d not\n%s", e->loops.vectorised,
                  e->loops.vectorised == 1 ? "" : "s", e->loops.missed, e->loops.text);
    else text_add(&t, "compiler: no report on loops\n");
    if (e->n_cases) say_bounds(e, &t);
    text_addf(&t, "counters: %s\n", e->counters.text);
    if (t.n > EVIDENCE_TEXT) t.s[t.n = EVIDENCE_TEXT] = 0;
    return text_take(&t);
}

/* Everything here is printable ASCII or a newline (evidence_clean). */
static void json_text(atn_text *t, const char *s)
{
    text_add(t, "\"");
    for (; *s; s++) {
        if (*s == '\n') text_add(t, "\\n");
        else if (*s == '"' || *s == '\\') text_addf(t, "\\%c", *s);
        else if ((unsigned char)*s >= 32 && (unsigned char)*s < 127) text_addn(t, s, 1);
    }
    text_add(t, "\"");
}

static void json_count(atn_text *t, const char *name, double x)
{
    if (x < 0) text_addf(t, ",\"%s\":null", name);
    else text_addf(t, ",\"%s\":%.6g", name, x);
}

char *evidence_json(const atn_evidence *e)
{
    atn_text t = {0};
    char *text = evidence_text(e);
    text_addf(&t, "{\"object\":\"%s\",\"text\":", e->object_hash);
    json_text(&t, text);
    free(text);
    const evidence_code *c = &e->code;
    if (c->known)
        text_addf(&t,
                  ",\"code\":{\"vector_bits\":%d,\"fmas\":%d,\"fmas_packed\":%d,\"tile_multiplies\":%d,"
                  "\"vector_loads\":%d,\"spill_stores\":%d,\"instructions\":%d,\"bytes\":%lld}",
                  c->vector_bits, c->fmas, c->fmas_packed, c->tile_multiplies, c->vector_loads, c->spill_stores,
                  c->instructions, (long long)c->bytes);
    else text_add(&t, ",\"code\":null");
    if (e->loops.known) {
        text_addf(&t, ",\"loops\":{\"vectorised\":%d,\"missed\":%d,\"text\":", e->loops.vectorised, e->loops.missed);
        json_text(&t, e->loops.text);
        text_add(&t, "}");
    } else {
        text_add(&t, ",\"loops\":null");
    }
    text_add(&t, ",\"cases\":[");
    for (int i = 0; i < e->n_cases; i++)
        text_addf(&t, "%s{\"case\":%d,\"bound\":\"%s\",\"peak\":%.4f,\"bandwidth\":%.4f}", i ? "," : "",
                  e->cases[i].case_index, bound_word(e->cases[i].bound), e->cases[i].peak, e->cases[i].bandwidth);
    text_add(&t, "],\"counters\":");
    const evidence_counters *k = &e->counters;
    if (k->known) {
        text_add(&t, "{\"problem\":");
        json_text(&t, k->name);
        json_count(&t, "instructions", k->instructions);
        json_count(&t, "cycles", k->cycles);
        json_count(&t, "branch_misses", k->branch_misses);
        json_count(&t, "l1_misses", k->l1_misses);
        json_count(&t, "last_misses", k->last_misses);
        text_add(&t, "}");
    } else {
        text_add(&t, "null");
    }
    text_add(&t, ",\"counters_text\":");
    json_text(&t, k->text);
    text_add(&t, "}");
    return text_take(&t);
}
