/* attune/cut.h - how the rows of a head are cut into tasks, so that all threads end together.
 *
 *     const row_cut c = cut_rows(a, heads, vectors, threads, (cut_limits){QV, NQB, TASKS_PER_THREAD, VL});
 *     p->tasks[0] = heads * c.n;                     in plan(); scratch is for c.blocks blocks
 *     first = cut_first(vectors, c.n, QV, c.tapered, i);    in run(): vectors first .. of super-block i
 *
 * Rows lie in vectors of VL, vectors in blocks, blocks in super-blocks, each of which is a task. */
#ifndef ATTUNE_CUT_H
#define ATTUNE_CUT_H

#include "attune/kernel.h"
#include "attune/vec.h"

typedef struct {
    int block;                       /* vectors of rows in a block */
    int blocks;                      /* of a super-block, at most */
    int tasks;                       /* for each thread, at most */
    int rows;                        /* of a vector */
} cut_limits;

typedef struct {
    int n, tapered;                  /* super-blocks of a head */
    int blocks;                      /* of the largest */
    double end;                      /* when the last of the threads is done, in vectors times keys */
} row_cut;

/* First vector of super-block i of n. Large ones are whole blocks. Where rows cost the same (tapered), they grow ninefold
 * towards the last, which starts first: threads then end together even if some are slower. (Causal order does it by
 * itself.) */
ATN_INLINE int cut_first(int vectors, int n, int block, int tapered, int i)
{
    const int64_t unit = vectors / n >= 4 * block ? block : 1, units = (vectors + unit - 1) / unit;
    const int64_t at = tapered ? units * i * (n + 4 * (int64_t)i) / (5 * (int64_t)n * n) : units * i / n;
    return (int)(at * unit < vectors ? at * unit : vectors);
}

/* Keys that the first row of vector v may see, by order and window. */
ATN_INLINE int cut_keys(const atn_args *a, int rows, int v)
{
    const int i = (int)((int64_t)v * rows / (a->Hq / a->Hkv)), shift = a->Skv - a->Sq;
    const int64_t p = i + (a->causal == ATN_CAUSAL_TOP_LEFT ? 0 : shift);
    const int64_t right = a->causal != ATN_CAUSAL_NONE ? 0 : a->window_right;
    const int64_t hi = right >= 0 && p + right < a->Skv - 1 ? p + right : a->Skv - 1;
    const int64_t lo = a->window_left >= 0 && p - a->window_left > 0 ? p - a->window_left : 0;
    return hi + 1 > lo ? (int)(hi + 1 - lo) : 0;
}

/* What a super-block costs: its rows, 5 % of a vector for each block and 15 % for packing. */
ATN_INLINE double cut_cost(const atn_args *a, const cut_limits *most, int v0, int v1)
{
    if (v0 == v1) return 0;
    const double first = cut_keys(a, most->rows, v0), last = cut_keys(a, most->rows, v1 - 1);
    return (first + last) / 2 * (v1 - v0) + last * (0.05 * ((v1 - v0 + most->block - 1) / most->block) + 0.15);
}

/* Takes a cut into n super-blocks where it ends sooner, its tasks being handed out one after the other to whoever is
 * free. One thread in four takes 1.7 times as long, as virtual CPUs that share a core do: 16 threads of an Emerald Rapids
 * host end 1.00 to 1.18 times as soon as with a cut for equal ones. A tenth of the last task stands for what else is
 * uneven. load is a heap, the least at its root. */
static __attribute__((noinline, unused)) void cut_try(const atn_args *a, int64_t heads, int vectors, int n, int tapered,
                                                      int threads, const cut_limits *most, row_cut *best)
{
    row_cut c = {n, tapered, 0, 0};
    double load[1024] = {0}, slow[1024], last = 0;
    for (int t = 0; t < threads; t++) slow[t] = t % 4 == 3 ? 1.7 : 1;
    for (int i = n - 1; i >= 0; i--) {
        const int v0 = cut_first(vectors, n, most->block, tapered, i);
        const int v1 = cut_first(vectors, n, most->block, tapered, i + 1), blocks = (v1 - v0 + most->block - 1) / most->block;
        if (blocks > c.blocks) c.blocks = blocks;
        last = cut_cost(a, most, v0, v1);
        for (int64_t h = 0; h < heads; h++) {
            const double mine = slow[0], then = load[0] + last * mine;
            int at = 0;
            for (int child; (child = 2 * at + 1) < threads; at = child) {
                if (child + 1 < threads && load[child + 1] < load[child]) child++;
                if (load[child] >= then) break;
                load[at] = load[child], slow[at] = slow[child];
            }
            load[at] = then, slow[at] = mine;
            if (then > c.end) c.end = then;
        }
    }
    c.end += last / 10;
    if (c.blocks <= most->blocks && (best->end == 0 || c.end < best->end)) *best = c;
}

/* The cut of each of so many heads, so many vectors of rows: of a->Hq / a->Hkv query heads, token by token. One thread's is
 * the coarsest; for several, 1 to `tasks` tasks for each are tried. */
static __attribute__((noinline, unused)) row_cut cut_rows(const atn_args *a, int64_t heads, int vectors, int threads,
                                                          cut_limits most)
{
    const int blocks = (vectors + most.block - 1) / most.block, least = (blocks + most.blocks - 1) / most.blocks;
    row_cut best = {least, 0, (blocks + least - 1) / least, 0};
    if (threads == 1 || heads * least >= (int64_t)threads * most.tasks) return best;
    const int alike = !a->mask.ptr && 2 * cut_keys(a, most.rows, 0) > cut_keys(a, most.rows, vectors - 1);
    for (int each = 1, before = 0; each <= most.tasks; each++) {
        int64_t want = (each * threads + heads - 1) / heads;
        if (want < least) want = least;
        int n = (int)(want < vectors ? want : vectors);
        const int tapered = alike && n > 1 && n <= vectors / 4;
        if (tapered && n < 2 * least) n = 2 * least;
        if (n != before) cut_try(a, heads, vectors, n, tapered, threads, &most, &best);
        before = n;
    }
    return best;
}

#endif
