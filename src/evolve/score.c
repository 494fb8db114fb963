/* Scores, axes and classes from verdicts and suites. */
#include "evolve/score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "problem/kind.h"

static int by_size(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

void suite_kinds_of(const atn_suite *s, suite_kinds *out)
{
    int sizes[ATN_CASES_MAX], n = 0;
    *out = (suite_kinds){.n = ATN_MIN(s->count, ATN_CASES_MAX)};
    for (int c = 0; c < out->n; c++) {
        const atn_problem *p = &s->cases[c].problem;
        out->decode[c] = kind_is_decode(p->Sq, p->Skv);
        if (!out->decode[c]) sizes[n++] = p->Skv;
    }
    qsort(sizes, (size_t)n, sizeof *sizes, by_size);
    int middle = n ? sizes[(n - 1) / 2] : 0;
    for (int c = 0; c < out->n; c++) {
        out->is_long[c] = !out->decode[c] && s->cases[c].problem.Skv > middle;
        out->has_decode |= out->decode[c];
        out->has_prefill |= !out->decode[c];
        out->has_long |= out->is_long[c];
        out->has_short |= !out->decode[c] && !out->is_long[c];
    }
}

void suite_class_of(const atn_suite *s, const suite_kinds *k, int c, int threads, char *out, size_t room)
{
    const atn_problem *p = &s->cases[c].problem;
    const char *length = k->decode[c] ? "decode" : k->is_long[c] ? "long" : "short";
    char types[TYPES_ROOM], words[128];
    types_print(dtype_name(p->dtype_q), dtype_name(p->dtype_kv), dtype_name(p->dtype_kv), types);
    class_words_print(length, p->causal, p->window_left >= 0 || p->window_right >= 0, p->mask >= 0, p->D, p->Dv, types,
                      p->Hq, p->Hkv, words, sizeof words);
    snprintf(out, room, "%s t%d", words, threads);
}

/* Mean of logs over the cases that `in` chooses; NAN where there are none. */
static double mean_where(const suite_kinds *k, const double *log, const bool *flag, bool want, bool skip_decode)
{
    double sum = 0;
    int n = 0;
    for (int c = 0; c < k->n; c++) {
        if ((skip_decode && k->decode[c]) || flag[c] != want) continue;
        sum += log[c];
        n++;
    }
    return n ? sum / n : (double)NAN;
}

void score_make(const suite_kinds *k, const atn_verdict *v, const evolve_score *inc, evolve_score *out)
{
    *out = (evolve_score){.score = NAN, .low = NAN, .high = NAN, .profile = NAN, .decode = NAN};
    if (!v->correct || (inc && v->n_cases == 0)) return;
    out->valid = true;
    double shift = 0, shift_low = 0, shift_high = 0;
    int n = 0;
    for (int i = 0; i < v->n_cases && inc; i++) {
        const atn_case_result *r = &v->cases[i];
        if (r->case_index < 0 || r->case_index >= k->n || out->measured[r->case_index]) continue;
        int c = r->case_index;
        out->measured[c] = true;
        out->log[c] = inc->log[c] + r->log_ratio;
        out->log_low[c] = inc->log[c] + r->log_low;
        out->log_high[c] = inc->log[c] + r->log_high;
        shift += r->log_ratio, shift_low += r->log_low, shift_high += r->log_high;
        n++;
    }
    if (!inc) {
        for (int c = 0; c < k->n; c++) out->measured[c] = true;
        out->score = out->low = out->high = 0;
    } else {
        if (!n) {
            out->valid = false;
            return;
        }
        out->screened = n < k->n;
        shift /= n, shift_low /= n, shift_high /= n;
        for (int c = 0; c < k->n; c++) {
            if (out->measured[c]) continue;
            out->log[c] = inc->log[c] + shift;
            out->log_low[c] = inc->log[c] + shift_low;
            out->log_high[c] = inc->log[c] + shift_high;
        }
        /* Where the judge gave a bound on the suite's mean, it is sharper than the mean of the cases' own bounds. */
        bool suite =
            isfinite(v->suite_low) && isfinite(v->suite_high) && v->suite_low <= shift && shift <= v->suite_high;
        out->score = inc->score + shift;
        out->low = inc->score + (suite ? v->suite_low : shift_low);
        out->high = inc->score + (suite ? v->suite_high : shift_high);
    }
    if (k->has_short && k->has_long)
        out->profile =
            mean_where(k, out->log, k->is_long, false, true) - mean_where(k, out->log, k->is_long, true, true);
    if (k->has_decode && k->has_prefill)
        out->decode =
            mean_where(k, out->log, k->decode, true, false) - mean_where(k, out->log, k->decode, false, false);
}

/* Bins of 0.12 (13 %) in a difference of log-speedups: wide enough that noise of a few per cent
 * rarely moves a program. */
static int bin(double x)
{
    return isfinite(x) ? (int)fmax(-9, fmin(9, floor(x / 0.12 + 0.5))) : 0;
}

void score_cell(const evolve_score *s, int64_t workspace_bytes, char *out, size_t room)
{
    int w = 0;
    while (w < 62 && ((int64_t)1 << w) < workspace_bytes) w++;
    snprintf(out, room, "p%+d w%d d%+d", bin(s->profile), w, bin(s->decode));
}

/* A race won by 1.6 x and more is confirmed by few pairs: the loser may be very slow. */
int score_confirm_pairs(const atn_verdict *race)
{
    return race->suite_low > 0.5 ? 8 : 32;
}
