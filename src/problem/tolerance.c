/* How far an honest kernel may be from the truth, by types and kind of data, and the verdict on a comparison.
 *
 * Relative L2 of the whole output. An honest kernel multiplies its inputs as they are, adds in f32, may round the
 * weights P and must round the output to its type. So the error has these parts, independent of each other:
 *
 *   sums       f32 additions over Skv keys: a random walk, below 1e-6 for thousands of keys. The base of 5e-6, growing
 * with sqrt(Skv / 4096), leaves room for any order of adding and for exp to 2e-6. output, P  rounding to f16 has an rms
 * of 2.0e-4 (half an ulp of 2^-11, uniform), to bf16 of 1.6e-3; both together are sqrt(2) of that: 2.9e-4 and 2.3e-3.
 * Allowed: 1e-3 and 4e-3. logits     an absolute error d in a logit is a relative error d in its weight. A dot product
 * of D terms whose result has deviation sigma is off by u * sigma * (1 + 0.4 sqrt(D)) (rounded partial sums of a random
 * walk), and scaling it, or turning it to base 2, by u * |s|, with u = 2^-24. Allowed: twice their sum. This is 1e-6
 * for N(0,1) data, and 2e-3 where logits reach 1e4: there it is the whole error, and no f32 kernel escapes it. q
 * rounded  where k and v are of a coarser type than q, the machine's dot instructions want q in that type too: an rms
 *              of u_kv * sigma in the logits. Allowed 1.5 x, but not for huge logits, which demand q as it is.
 *   denormals  have a fixed step, not a relative one; see `denormal_part`.
 *
 * Measured with a plain f32 kernel, with f32 and with rounded P, in tests/unit/t_reference.c, which prints the ratio of
 * error to tolerance for each kind and type and fails above 0.7; careless kernels fail by a factor of at least 3. */
#include <math.h>

#include "problem/data.h"
#include "problem/reference.h"

static const double U32 = 0x1p-24;

/* rms of rounding to the type, relative */
static double rounding_rms(int dtype) { return dtype == ATN_BF16 ? 1.6e-3 : dtype == ATN_F16 ? 2.0e-4 : 0; }
static double base_of(int dtype) { return dtype == ATN_BF16 ? 4e-3 : dtype == ATN_F16 ? 1e-3 : 5e-6; }

/* Deviation and size of the logits that a data kind makes (data.c aims at these). */
static void logits_of(const atn_problem *p, atn_data kind, double *sigma, double *most)
{
    double scale = p->scale != 0 ? fabs((double)p->scale) : 1 / sqrt(p->D), unit = scale * sqrt(p->D);
    *sigma = unit;
    *most = 4 * unit;
    switch (kind) {
    case ATN_DATA_PEAKED: *sigma = 4 * unit, *most = 16 * unit; break;
    case ATN_DATA_NEEDLE: *sigma = unit + sqrt(30 * scale) + 2, *most = 45 + 4 * unit; break;
    case ATN_DATA_UNIFORM: *sigma = unit / 3, *most = scale * p->D / 4 + unit; break;
    case ATN_DATA_TINY: *sigma = *most = 0; break;
    case ATN_DATA_HUGE: *sigma = 2500, *most = 1e4; break;
    case ATN_DATA_RISING: *sigma = 2 + unit, *most = 60 + 60 / sqrt(p->D) + unit; break;
    default: break;
    }
    if (p->softcap > 0) *most = fmin(*most, (double)p->softcap);
    if (p->alibi) *most += 20;                 /* keys that are further down have no weight */
}

/* V of size v in steps of q. f32: v = 1e-39, q = 1.4e-45; n products of P and V, each rounded to a step, against a sum
 * of v * sqrt(2.7 / n), give 3.6e-7 n. f16: only the output is rounded, in steps of 6e-8 against 3e-5 * sqrt(2.7 /
 * n). */
static double denormal_part(const atn_problem *p)
{
    if (p->dtype_kv == ATN_F32 && p->dtype_q == ATN_F32) return 1e-6 * p->Skv;
    if (p->dtype_kv == ATN_F32) return 1;      /* the output type cannot hold it: zero is right */
    if (p->dtype_q == ATN_F16) return p->dtype_kv == ATN_F16 ? 1e-3 * sqrt(p->Skv) : 1;
    return 0;
}

/* Of n independent normal values, the norm is below its typical size by the factor 10^(5/n) once in 1e5 draws. Where an
 * output has few values, cancellation may make it that small, and the error, which does not shrink with it, that
 * large. */
static double few_values(double n) { return pow(10, fmin(3, 5 / n)); }

atn_tolerance tolerance_for(const atn_problem *p, int data_kind, double factor)
{
    int coarse = base_of(p->dtype_kv) > base_of(p->dtype_q) ? p->dtype_kv : p->dtype_q;
    double sigma, most, base = base_of(coarse) * (coarse == ATN_F32 ? fmax(1, sqrt(p->Skv / 4096.0)) : 1);
    logits_of(p, (atn_data)data_kind, &sigma, &most);
    double logits = 2 * U32 * (sigma * (1 + 0.4 * sqrt(p->D)) + most);
    if (rounding_rms(p->dtype_kv) > rounding_rms(p->dtype_q) && data_kind != ATN_DATA_HUGE)
        logits += 1.5 * rounding_rms(p->dtype_kv) * sigma;
    /* Equal weights are all rounded the same way: up to half an ulp, 2.4 x the rms. */
    double rel = base * (data_kind == ATN_DATA_EQUAL && coarse != ATN_F32 ? 1.5 : 1) + logits;
    if (data_kind == ATN_DATA_DENORMAL) rel += denormal_part(p);
    rel *= factor;
    return (atn_tolerance){.rel_l2 = rel * few_values((double)p->B * p->Hkv * p->Dv),
                           .row_worst = 8 * rel * few_values(p->Dv),
                           .lse = factor * (base + logits)};
}

const char *tolerance_verdict(const atn_compare *c, const atn_tolerance *t)
{
    if (c->poison != 0) return "unwritten";
    if (c->nonfinite != 0) return "nonfinite";
    if (!(c->rel_l2 <= t->rel_l2)) return "error";
    if (!(c->row_worst <= t->row_worst)) return "row";
    if (!(c->lse_worst <= t->lse)) return "lse";
    return NULL;
}
