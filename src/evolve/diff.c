/* Unified diff of two texts by lines: Myers' O(ND) in its linear-space form (Myers 1986), after cutting the common head
 * and tail. Invariant: applying the diff to `before` gives `after`, also where the effort cap was hit: past it a block
 * is shown as removed and added whole instead of being searched further. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "evolve/knobs.h"

enum { CONTEXT = 3, EFFORT_MAX = 1200 };      /* edits searched from each end of a block */

typedef struct {
    const char *s;
    size_t n;               /* without newline */
    uint64_t hash;
    bool open;              /* last line, no newline */
} line;

typedef struct {
    line *l;
    int n;
    bool *changed;
} lines;

static lines split(const char *text)
{
    size_t count = 1;
    for (const char *p = text; *p; p++) count += *p == '\n';
    lines r = {.l = atn_alloc(count * sizeof(line)), .changed = atn_alloc(count)};
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        bool open = !p[n];
        r.l[r.n++] = (line){p, n, hash_bytes(p, n) ^ open, open};
        p += n + !open;
    }
    return r;
}

static bool same(const line *a, const line *b)
{
    return a->hash == b->hash && a->n == b->n && a->open == b->open && !memcmp(a->s, b->s, a->n);
}

typedef struct {
    const lines *a, *b;
    int *forth, *back;      /* furthest x on each diagonal, from both ends; indexed by diagonal + offset */
    int offset;
} search;

/* A point on a shortest edit path through a[a0..a1) x b[b0..b1), or false past the cap. Both ends differ. */
static bool middle(search *s, int a0, int a1, int b0, int b1, int *x_out, int *y_out)
{
    int *f = s->forth + s->offset, *g = s->back + s->offset;
    int low = a0 - b1, high = a1 - b0, fmid = a0 - b0, bmid = a1 - b1;
    int fmin = fmid, fmax = fmid, bmin = bmid, bmax = bmid;
    bool odd = (fmid - bmid) & 1;
    f[fmid] = a0;
    g[bmid] = a1;
    for (int effort = 0; effort < EFFORT_MAX; effort++) {
        if (fmin > low) f[--fmin - 1] = -1; else fmin++;
        if (fmax < high) f[++fmax + 1] = -1; else fmax--;
        for (int d = fmax; d >= fmin; d -= 2) {
            int x = f[d - 1] < f[d + 1] ? f[d + 1] : f[d - 1] + 1;
            while (x < a1 && x - d < b1 && same(&s->a->l[x], &s->b->l[x - d])) x++;
            f[d] = x;
            if (odd && bmin <= d && d <= bmax && g[d] <= x) { *x_out = x; *y_out = x - d; return true; }
        }
        if (bmin > low) g[--bmin - 1] = 1 << 30; else bmin++;
        if (bmax < high) g[++bmax + 1] = 1 << 30; else bmax--;
        for (int d = bmax; d >= bmin; d -= 2) {
            int x = g[d - 1] < g[d + 1] ? g[d - 1] : g[d + 1] - 1;
            while (x > a0 && x - d > b0 && same(&s->a->l[x - 1], &s->b->l[x - d - 1])) x--;
            g[d] = x;
            if (!odd && fmin <= d && d <= fmax && x <= f[d]) { *x_out = x; *y_out = x - d; return true; }
        }
    }
    return false;
}

static void compare(search *s, int a0, int a1, int b0, int b1)
{
    while (a0 < a1 && b0 < b1 && same(&s->a->l[a0], &s->b->l[b0])) a0++, b0++;
    while (a0 < a1 && b0 < b1 && same(&s->a->l[a1 - 1], &s->b->l[b1 - 1])) a1--, b1--;
    int x, y;
    if (a0 == a1 || b0 == b1 || !middle(s, a0, a1, b0, b1, &x, &y)) {
        for (int i = a0; i < a1; i++) s->a->changed[i] = true;
        for (int i = b0; i < b1; i++) s->b->changed[i] = true;
        return;
    }
    compare(s, a0, x, b0, y);
    compare(s, x, a1, y, b1);
}

static void add_line(atn_text *out, char mark, const line *l)
{
    text_addn(out, &mark, 1);
    text_addn(out, l->s, l->n);
    text_add(out, l->open ? "\n\\ No newline at end of file\n" : "\n");
}

static void add_range(atn_text *out, char mark, int from, int n)
{
    if (n == 1) text_addf(out, "%c%d", mark, from + 1);
    else text_addf(out, "%c%d,%d", mark, n ? from + 1 : from, n);
}

char *program_diff(const char *before, const char *after, const char *name_before, const char *name_after)
{
    ATN_ASSERT(before && after);
    atn_text out = {0};
    lines a = split(before), b = split(after);
    search s = {.a = &a, .b = &b, .offset = b.n + 2};
    s.forth = atn_alloc((size_t)(a.n + b.n + 5) * sizeof(int));
    s.back = atn_alloc((size_t)(a.n + b.n + 5) * sizeof(int));
    compare(&s, 0, a.n, 0, b.n);

    int i = 0, j = 0;
    while (i < a.n || j < b.n) {
        if (i < a.n && j < b.n && !a.changed[i] && !b.changed[j]) { i++; j++; continue; }
        /* A hunk: from CONTEXT lines before the first change until 2 * CONTEXT unchanged lines follow. */
        int head = ATN_MIN(CONTEXT, i), ai = i - head, bj = j - head, quiet = 0;
        atn_text body = {0};
        for (int k = ai; k < i; k++) add_line(&body, ' ', &a.l[k]);
        size_t keep = body.n;
        int a_keep = i, b_keep = j;
        while ((i < a.n || j < b.n) && quiet <= 2 * CONTEXT) {
            if (i < a.n && a.changed[i]) add_line(&body, '-', &a.l[i++]), quiet = 0;
            else if (j < b.n && b.changed[j]) add_line(&body, '+', &b.l[j++]), quiet = 0;
            else add_line(&body, ' ', &a.l[i]), i++, j++, quiet++;
            if (quiet <= CONTEXT) keep = body.n, a_keep = i, b_keep = j;
        }
        if (!out.n) text_addf(&out, "--- %s\n+++ %s\n", name_before, name_after);
        text_add(&out, "@@ ");
        add_range(&out, '-', ai, a_keep - ai);
        text_add(&out, " ");
        add_range(&out, '+', bj, b_keep - bj);
        text_add(&out, " @@\n");
        text_addn(&out, body.s, keep);
        text_free(&body);
        i = a_keep;
        j = b_keep;
    }
    free(a.l), free(a.changed), free(b.l), free(b.changed), free(s.forth), free(s.back);
    return text_take(&out);
}
