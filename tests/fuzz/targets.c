/* The targets. Inputs are copied to blocks of their exact size, so that AddressSanitizer sees one byte too many. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attune/wisdom.h"
#include "base/hash.h"
#include "base/status.h"
#include "base/text.h"
#include "evolve/config.h"
#include "evolve/cpp.h"
#include "evolve/knobs.h"
#include "evolve/evolve.h"
#include "evolve/record.h"
#include "judge/elf.h"
#include "judge/gate.h"
#include "problem/problem.h"
#include "run/run_int.h"
#ifdef WITH_ANSWER
#include "evolve/propose/answer.h"
#endif
#ifdef WITH_SSE
#include "evolve/propose/sse.h"
#endif

static char *text_of(const uint8_t *data, size_t n)
{
    char *s = malloc(n + 1);
    ATN_CHECK(s);
    if (n) memcpy(s, data, n);
    s[n] = 0;
    return s;
}

/* Accepted text, printed in canonical form, reads back to the same form. */
static void fuzz_problem(const uint8_t *data, size_t n)
{
    char *s = text_of(data, n), first[256], second[256];
    atn_problem p, q;
    atn_error err = {0};
    if (problem_parse(s, &p, &err) == ATN_OK) {
        problem_print(&p, first, sizeof first);
        ATN_CHECK(problem_parse(first, &q, &err) == ATN_OK);
        problem_print(&q, second, sizeof second);
        ATN_CHECK(!strcmp(first, second));
        ATN_CHECK(problem_flops(&p) >= 0 && problem_bytes(&p) > 0);
    } else {
        ATN_CHECK(err.text[0]);
    }
    free(s);
}

/* The first byte chooses: a whole file, or one assignment as of --set. What is refused changes nothing. */
static void fuzz_config(const uint8_t *data, size_t n)
{
    static char path[64];
    static FILE *file;
    atn_error err = {0};
    if (n == 0) return;
    if (!file) {
        int fd = memfd_create("config", MFD_CLOEXEC); /* a fuzzer that is killed leaves no file behind */
        ATN_CHECK(fd >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        file = fdopen(fd, "w");
    }
    atn_config *c = config_create();
    char *before = config_json(c);
    atn_status s;
    if (data[0] == '=') {
        char *text = text_of(data + 1, n - 1);
        s = config_set(c, text, &err);
        free(text);
    } else {
        rewind(file);
        ATN_CHECK(fwrite(data, 1, n, file) == n && fflush(file) == 0 && ftruncate(fileno(file), (off_t)n) == 0);
        s = config_read(c, path, &err);
    }
    char *after = config_json(c);
    ATN_CHECK(s == ATN_OK || (err.text[0] && !strcmp(before, after)));
    if (s == ATN_OK) {
        atn_text notes = {0}, all = {0};
        config_check(c, &err);
        config_notes(c, false, &notes);
        config_show(c, &all);
        text_free(&notes);
        text_free(&all);
    }
    free(before);
    free(after);
    config_free(c);
}

/* A byte of another machine or format refuses the whole; so the machine's own header is put before the input, and what
 * is taken can be exported and taken again. */
static void fuzz_wisdom(const uint8_t *data, size_t n)
{
    static char *header;
    atn_error err = {0};
    atn_wisdom *w, *again;
    if (!header) {
        atn_text empty = {0};
        ATN_CHECK(atn_wisdom_create(&w, &err) == ATN_OK);
        wisdom_write(w, &empty);
        atn_wisdom_free(w);
        header = empty.s;
        char *rows = strstr(header, "\nrows ");
        ATN_CHECK(rows);
        rows[1] = 0;
    }
    char *whole = n && data[0] == '+' ? atn_format("%s%.*s", header, (int)n - 1, (const char *)data + 1) : NULL;
    char *text = whole ? atn_strdup(whole) : text_of(data, n);
    size_t bytes = whole ? strlen(whole) : n;
    ATN_CHECK(atn_wisdom_create(&w, &err) == ATN_OK);
    if (wisdom_read(w, text, bytes, &err) == ATN_OK) {
        atn_text out = {0};
        wisdom_write(w, &out);
        ATN_CHECK(atn_wisdom_create(&again, &err) == ATN_OK);
        ATN_CHECK(wisdom_read(again, out.s, out.n, &err) == ATN_OK);
        atn_wisdom_free(again);
        text_free(&out);
    } else {
        atn_wisdom_row row = {.size = sizeof row};
        ATN_CHECK(atn_wisdom_row_at(w, 0, &row) == ATN_NOT_FOUND); /* never half-read */
        ATN_CHECK(err.text[0]);
    }
    atn_wisdom_free(w);
    free(text);
    free(whole);
}

/* Lexer, preprocessor, knobs, pruning, diff. The present values put in give the same text. */
static void fuzz_source(const uint8_t *data, size_t n)
{
    char *s = text_of(data, n), hash[33];
    atn_knobs *k = calloc(1, sizeof *k);
    atn_error err = {0};
    ATN_CHECK(k);
    if (knobs_parse(s, k, &err) == ATN_OK) {
        int now[KNOBS_MAX], last[KNOBS_MAX];
        bool active[KNOBS_MAX];
        for (int i = 0; i < k->count; i++) {
            ATN_CHECK(k->knob[i].count > 0 && k->knob[i].now >= 0 && k->knob[i].now < k->knob[i].count);
            now[i] = k->knob[i].now;
            last[i] = k->knob[i].count - 1;
        }
        char *same = knobs_apply(s, k, now), *other = knobs_apply(s, k, last);
        ATN_CHECK(!strcmp(same, s));
        char *diff = program_diff(s, other, "a", "b");
        ATN_CHECK((diff[0] == 0) == !strcmp(s, other));
        free(diff);
        free(same);
        free(other);
        cpp_program *p = cpp_parse(s, k);
        cpp_allows(p, NULL, NULL);
        cpp_active(p, NULL, k->count, active);
        cpp_free(p);
    }
    char *pruned = program_prune(s);
    ATN_CHECK(pruned);
    knobs_family_hash(s, hash);
    program_shape_hash(s);
    free(pruned);
    free(k);
    free(s);
}

/* Text against its own half as the original; any words as flags. */
static void fuzz_gate(const uint8_t *data, size_t n)
{
    char *s = text_of(data, n), *half = text_of(data, n / 2);
    gate_report a, b;
    gate_check(s, NULL, true, &a);
    gate_check(s, s, false, &b);
    ATN_CHECK(a.reason == ATN_REASON_OK || a.evidence[0]);
    ATN_CHECK(b.reason != ATN_REASON_OK || a.reason == ATN_REASON_OK); /* markers forbid more, never less */
    gate_check(s, half, false, &a);
    gate_check_flags(s, &a);
    free(half);
    free(s);
}

static void fuzz_elf(const uint8_t *data, size_t n)
{
    uint8_t *s = calloc(n + !n, 1);
    elf_report r;
    ATN_CHECK(s);
    if (n) memcpy(s, data, n);
    elf_check(s, n, &r);
    ATN_CHECK(r.reason != ATN_REASON_OK || (r.hash[0] && n > 64));
    ATN_CHECK(r.reason == ATN_REASON_OK || r.evidence[0]);
    free(s);
}

/* Records and events: a verdict that is read can be written and read to the same. */
static void fuzz_verdict(const uint8_t *data, size_t n)
{
    char *s = text_of(data, n);
    atn_verdict *v = calloc(1, sizeof *v), *w = calloc(1, sizeof *w);
    atn_controls controls;
    atn_error err = {0};
    ATN_CHECK(v && w);
    if (verdict_from_json(s, v, &err) == ATN_OK) {
        char *once = verdict_json(v);
        ATN_CHECK(verdict_from_json(once, w, &err) == ATN_OK);
        char *twice = verdict_json(w);
        ATN_CHECK(!strcmp(once, twice));
        free(once);
        free(twice);
    }
    controls_from_json(s, &controls);
    free(v);
    free(w);
    free(s);
}

#ifdef WITH_ANSWER
/* Whatever an answer says, lines outside the markers stay. */
static void fuzz_answer(const uint8_t *data, size_t n)
{
    static const char parent[] = "#include \"attune/kernel.h\"\n// EVOLVE-BLOCK-START\nint a = 1;\nint b = 2;\n\nint c = 3;\n"
                                 "// EVOLVE-BLOCK-END\nint outside = 4;\n";
    char *s = text_of(data, n);
    answer_program a;
    bool ok = answer_apply(s, parent, &(answer_limits){0}, &a);
    ATN_CHECK(ok == (a.outcome == ANSWER_OK) && ok == (a.source != NULL) && (ok || a.problem[0]));
    if (ok) {
        static const char head[] = "#include \"attune/kernel.h\"\n// EVOLVE-BLOCK-START\n",
                          tail[] = "// EVOLVE-BLOCK-END\nint outside = 4;\n";
        size_t length = strlen(a.source);
        ATN_CHECK(length <= GATE_SOURCE_MAX && strcmp(a.source, parent) != 0 && text_starts(a.source, head));
        ATN_CHECK(length >= sizeof tail - 1 && !strcmp(a.source + length - (sizeof tail - 1), tail));
    }
    answer_free(&a);
    free(s);
}
#endif

#ifdef WITH_SSE
/* Fed whole, or in pieces: the same text. */
static void fuzz_sse(const uint8_t *data, size_t n)
{
    sse_reader whole = {0}, pieces = {0};
    char *s = text_of(data, n);
    sse_feed(&whole, s, n);
    sse_end(&whole);
    for (size_t i = 0, step = 1; i < n; i += step) {
        step = 1 + (i * 7 + n) % 13;
        sse_feed(&pieces, s + i, ATN_MIN(step, n - i));
    }
    sse_end(&pieces);
    ATN_CHECK(whole.failed == pieces.failed && whole.done == pieces.done && whole.text.n == pieces.text.n);
    ATN_CHECK(whole.text.n == 0 || !memcmp(whole.text.s, pieces.text.s, whole.text.n));
    sse_free(&whole);
    sse_free(&pieces);
    free(s);
}
#endif

const fuzz_target fuzz_targets[] = {
    {"problem", fuzz_problem}, {"config", fuzz_config}, {"wisdom", fuzz_wisdom}, {"source", fuzz_source},
    {"gate", fuzz_gate},       {"elf", fuzz_elf},       {"verdict", fuzz_verdict},
#ifdef WITH_ANSWER
    {"answer", fuzz_answer},
#endif
#ifdef WITH_SSE
    {"sse", fuzz_sse},
#endif
};
const int fuzz_target_count = ATN_COUNT(fuzz_targets);
