/* The reference, the data makers and the tolerances: what is exact is tested exactly; what is a bound is tested from
 * both sides, by an honest kernel that must stay inside with room to spare and by wrong ones that must not. */
#include "test.h"

#include "base/clock.h"
#include "base/hash.h"
#include "honest.h"
#include "problem/suite.h"

/* ---- halves --------------------------------------------------------------------------------------------------- */

static void halves_survive_the_way_to_float_and_back(void **state)
{
    (void)state;
    for (uint32_t u = 0; u < 0x10000; u++) {
        float f = f32_of_f16((uint16_t)u), b = f32_of_bf16((uint16_t)u);
        if (isnan(f)) assert_true(isnan(f32_of_f16(f16_of_f32(f))));
        else assert_int_equal(f16_of_f32(f), u);
        if (isnan(b)) assert_true(isnan(f32_of_bf16(bf16_of_f32(b))));
        else assert_int_equal(bf16_of_f32(b), u);
    }
}

static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(f16_of_f32(1 + 0x1p-11f), 0x3c00);             /* a tie: down to even */
    assert_int_equal(f16_of_f32(1 + 3 * 0x1p-11f), 0x3c02);         /* a tie: up to even */
    assert_int_equal(f16_of_f32(65519), 0x7bff);
    assert_int_equal(f16_of_f32(65520), 0x7c00);
    assert_int_equal(f16_of_f32(0x1p-25f), 0);                      /* half of the least denormal */
    assert_int_equal(f16_of_f32(0x1.8p-25f), 1);
    assert_int_equal(f16_of_f32(-INFINITY), 0xfc00);
    assert_int_equal(bf16_of_f32(1 + 0x1p-8f), 0x3f80);
    assert_int_equal(bf16_of_f32(1 + 3 * 0x1p-8f), 0x3f82);
    assert_int_equal(bf16_of_f32(3.4028235e38f), 0x7f80);
    for (uint32_t u = 0; u < 0x7bff; u++) {                         /* between neighbours, whichever is nearer */
        float a = f32_of_f16((uint16_t)u), b = f32_of_f16((uint16_t)(u + 1));
        assert_int_equal(f16_of_f32(a + 0.49f * (b - a)), u);
        assert_int_equal(f16_of_f32(a + 0.51f * (b - a)), u + 1);
    }
}

/* ---- the reference -------------------------------------------------------------------------------------------- */

/* Attention once more, from the contract's formulas alone: long double, no helper shared with the reference. */
static void naive_row(const atn_args *a, int b, int h, int i, long double *out, long double *lse)
{
    long double *w = malloc((size_t)a->Skv * sizeof *w), m = a->sinks ? a->sinks[h] : -INFINITY, l = 0;
    int hkv = h / (a->Hq / a->Hkv);
    for (int j = 0; j < a->Skv; j++) {
        long double s = 0;
        long p = a->causal == ATN_CAUSAL_TOP_LEFT ? i : (long)i + a->Skv - a->Sq;
        for (int d = 0; d < a->D; d++)
            s += (long double)tensor_get(&a->q, b, h, i, d) * tensor_get(&a->k, b, hkv, j, d);
        s *= a->scale;
        if (a->softcap > 0) s = a->softcap * tanhl(s / a->softcap);
        if (a->alibi) s += (long double)a->alibi[h] * (j - (i + a->Skv - a->Sq));
        if (a->mask.ptr) {
            double x = tensor_get(&a->mask, b, h, i, j);
            if (a->mask.dtype == ATN_BOOL) s = x != 0 ? s : -INFINITY;
            else s += x;
        }
        if (a->causal && j > p) s = -INFINITY;
        if (a->window_left >= 0 && j < p - a->window_left) s = -INFINITY;
        if (a->window_right >= 0 && j > p + a->window_right) s = -INFINITY;
        w[j] = s;
        m = fmaxl(m, s);
    }
    for (int d = 0; d < a->Dv; d++) out[d] = 0;
    *lse = m;
    if (m > -INFINITY) {
        for (int j = 0; j < a->Skv; j++) l += w[j] = expl(w[j] - m);
        if (a->sinks) l += expl(a->sinks[h] - m);
        for (int j = 0; j < a->Skv; j++)
            for (int d = 0; d < a->Dv; d++) out[d] += w[j] / l * tensor_get(&a->v, b, hkv, j, d);
        *lse = m + logl(l);
    }
    free(w);
}

static void reference_is_the_contract(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "f32 b2 h4/2 s7/11 d19/5 causal",
        "f32 h2 s11/7 d16 causal lse",
        "f32 h2 s9/12 d33 causal=top lse",
        "f32 h2 s12/9 d8 window=2,1 lse",
        "f32 h2 s12 d8 window=3",
        "f32 h2 s12 d8 causal window=-1,0 window=3",
        "f16 h4/1 s6 d64 mask=f16 lse",
        "bf16 h4/1 s6 d64 mask=bool",
        "f32:f16 h2 s6/40 d20 mask=f32 sinks lse cache=50",
        "f32:bf16 h2 s6 d20 softcap=3 alibi lse layout=bshd misalign",
        "f16:bf16 h2 s5/9 d4 causal sinks scale=-0.7 lse",
        "f32 h1 s1 d1 lse",
        "f32 h2 s3/5 d700 causal",
    };
    for (int t = 0; t < ATN_COUNT(texts); t++) {
        atn_problem p;
        if (problem_parse(texts[t], &p, NULL) != ATN_OK) continue;   /* one of them says a word twice */
        for (int kind = 0; kind < ATN_DATA_INVALID; kind++) {
            inputs in = inputs_of(&p);
            atn_rng rng = rng_make(7, (uint64_t)t, (uint64_t)kind);
            data_fill(&p, &in.l, &in.a, (atn_data)kind, &rng);
            double *got = malloc(((size_t)p.Dv + (size_t)p.Skv) * sizeof *got), lse;
            long double *want = malloc((size_t)p.Dv * sizeof *want), want_lse;
            for (int b = 0; b < p.B; b++)
                for (int h = 0; h < p.Hq; h++)
                    for (int i = 0; i < p.Sq; i++) {
                        reference_row(&in.a, b, h, i, got, &lse, got + p.Dv);
                        naive_row(&in.a, b, h, i, want, &want_lse);
                        for (int d = 0; d < p.Dv; d++) {
                            long double most = 1e-10L * (fabsl(want[d]) + fabsl(want[0])) + 1e-300L;
                            if (!(fabsl(got[d] - want[d]) <= most + 1e-11L * (kind == ATN_DATA_DENORMAL ? 1e-30L : 1)))
                                fail_with("'%s' %s b%d h%d row %d col %d: %.17g, want %.17Lg", texts[t],
                                          data_name((atn_data)kind), b, h, i, d, got[d], want[d]);
                        }
                        if (lse != (double)want_lse && !(fabsl(lse - want_lse) <= 1e-10L * fmaxl(1, fabsl(want_lse))))
                            fail_with("'%s' b%d h%d row %d: lse %.17g, want %.17Lg", texts[t], b, h, i, lse, want_lse);
                    }
            free(got);
            free(want);
            inputs_release(&in);
        }
    }
}

static void nan_reaches_its_rows_only(void **state)
{
    (void)state;
    atn_problem p = problem_of("f32 h2 s8 d16 causal lse");
    inputs in = inputs_of(&p);
    atn_rng rng = rng_make(1, 0, 0);
    double out[16], lse, work[8];
    data_fill(&p, &in.l, &in.a, ATN_DATA_NORMAL, &rng);
    ((float *)in.a.v.ptr)[5 * 16 + 3] = NAN;                         /* head 0, key 5, col 3 */
    for (int i = 0; i < 8; i++) {
        reference_row(&in.a, 0, 0, i, out, &lse, work);
        assert_int_equal(isnan(out[3]), i >= 5);
        assert_false(isnan(out[2]) || isnan(lse));
    }
    ((float *)in.a.k.ptr)[6 * 16] = NAN;
    reference_row(&in.a, 0, 0, 5, out, &lse, work);
    assert_false(isnan(out[2]));
    reference_row(&in.a, 0, 0, 6, out, &lse, work);
    assert_true(isnan(out[2]) && isnan(lse));
    inputs_release(&in);
}

static void forbidden_rows_give_zero(void **state)
{
    (void)state;
    atn_problem p = problem_of("f32 h2 s8/3 d16 causal sinks lse");
    inputs in = inputs_of(&p);
    atn_rng rng = rng_make(1, 0, 0);
    double out[16], lse, work[8];
    data_fill(&p, &in.l, &in.a, ATN_DATA_NORMAL, &rng);
    reference_row(&in.a, 0, 1, 2, out, &lse, work);
    for (int d = 0; d < 16; d++) assert_true(out[d] == 0);
    assert_true(lse == (double)in.a.sinks[1]);
    in.a.sinks = NULL;
    reference_row(&in.a, 0, 1, 2, out, &lse, work);
    for (int d = 0; d < 16; d++) assert_true(out[d] == 0);
    assert_true(lse == -INFINITY);
    inputs_release(&in);
}

static void reference_is_quick(void **state)
{
    (void)state;
    atn_problem p = problem_of("f32 h1 s1/2048 d128");
    inputs in = inputs_of(&p);
    atn_rng rng = rng_make(1, 0, 0);
    double out[128], work[2048];
    int64_t best = INT64_MAX;
    data_fill(&p, &in.l, &in.a, ATN_DATA_NORMAL, &rng);
    for (int i = 0; i < 50; i++) {
        int64_t t = clock_ns();
        reference_row(&in.a, 0, 0, 0, out, NULL, work);
        best = ATN_MIN(best, clock_ns() - t);
    }
    print_message("# reference row of 2048 x 128: %.0f us\n", (double)best * 1e-3);
    if (best > 10000000) fail_with("a row of 2048 x 128 took %.1f ms; expected about 0.15", (double)best * 1e-6);
    inputs_release(&in);
}

/* ---- comparison ----------------------------------------------------------------------------------------------- */

static void write_reference(inputs *in)
{
    double *out = malloc(((size_t)in->a.Dv + (size_t)in->a.Skv) * sizeof *out), lse;
    for (int b = 0; b < in->a.B; b++)
        for (int h = 0; h < in->a.Hq; h++)
            for (int i = 0; i < in->a.Sq; i++) {
                reference_row(&in->a, b, h, i, out, &lse, out + in->a.Dv);
                for (int d = 0; d < in->a.Dv; d++) write1(&in->a, b, h, i, d, (float)out[d]);
                if (in->a.lse) in->a.lse[((int64_t)b * in->a.Hq + h) * in->a.Sq + i] = (float)lse;
            }
    free(out);
}

static const char *verdict_of(inputs *in, int64_t rows, atn_compare *c)
{
    atn_rng rng = rng_make(3, 0, 0);
    atn_tolerance t = tolerance_for(&in->p, ATN_DATA_NORMAL, 1);
    reference_compare(&in->a, rows, &rng, c);
    return tolerance_verdict(c, &t);
}

static void comparison_names_what_is_wrong(void **state)
{
    (void)state;
    atn_problem p = problem_of("f32 b2 h2 s20/10 d8 causal lse");
    inputs in = inputs_of(&p);
    atn_rng rng = rng_make(1, 0, 0);
    atn_compare c;
    float *o = in.a.o.ptr;
    data_fill(&p, &in.l, &in.a, ATN_DATA_NORMAL, &rng);
    write_reference(&in);
    assert_null(verdict_of(&in, 0, &c));
    assert_int_equal(c.rows, 80);
    assert_true(c.rel_l2 < 1e-7 && c.row_worst < 1e-6 && c.lse_worst < 1e-6);

    int at = ((1 * 2 + 0) * 20 + 17) * 8 + 5;
    float was = o[at];
    o[at] += 1e-3f;
    assert_string_equal(verdict_of(&in, 0, &c), "error");
    assert_true(c.worst_b == 1 && c.worst_h == 0 && c.worst_i == 17);
    assert_non_null(strstr(c.detail, "b1 h0 row 17 col 5: got "));
    o[at] = NAN;
    assert_string_equal(verdict_of(&in, 0, &c), "nonfinite");
    assert_int_equal(c.nonfinite, 1);
    assert_false(c.rel_l2 <= 1e30);
    poison_fill(&o[at], 4);
    assert_string_equal(verdict_of(&in, 1, &c), "unwritten");         /* seen over all rows, whichever were drawn */
    assert_int_equal(c.poison, 1);
    o[at] = was;

    o[3 * 8] = 1e-9f;                                                 /* row 3 sees no key: 0 is demanded, nearly */
    assert_null(verdict_of(&in, 0, &c));
    o[3 * 8] = NAN;
    assert_string_equal(verdict_of(&in, 0, &c), "nonfinite");
    o[3 * 8] = 0;
    float lse = in.a.lse[3];
    assert_true(lse == -INFINITY);
    in.a.lse[3] = -1e30f;
    assert_string_equal(verdict_of(&in, 0, &c), "lse");
    in.a.lse[3] = lse;
    assert_null(verdict_of(&in, 5, &c));
    assert_int_equal(c.rows, 5);
    inputs_release(&in);
}

/* Two outputs side by side: equal, one row off, one log-sum-exp off, one element no number; each type. */
static void rows_apart_are_found(void **state)
{
    (void)state;
    static const char *const problems[] = {"f32 b2 h2 s9 d20 causal lse", "bf16 h3 s5 d64 lse", "f16 h3 s5 d8 lse"};
    for (int i = 0; i < ATN_COUNT(problems); i++) {
        atn_problem p = problem_of(problems[i]);
        inputs x = inputs_of(&p), y = inputs_of(&p);
        atn_rng rng = rng_make(1, 0, 0), same = rng;
        data_fill(&p, &x.l, &x.a, ATN_DATA_NORMAL, &rng);
        data_fill(&p, &y.l, &y.a, ATN_DATA_NORMAL, &same);
        write_reference(&x);
        write_reference(&y);
        atn_tolerance t = tolerance_for(&p, ATN_DATA_NORMAL, 1);
        assert_true(outputs_apart(&x.a, &y.a, &t).tolerances == 0);
        int b = p.B - 1, h = p.Hq - 1;
        double was = tensor_get(&x.a.o, b, h, 3, 5);
        write1(&x.a, b, h, 3, 5, (float)was + 1);
        atn_apart far = outputs_apart(&x.a, &y.a, &t);
        assert_true(far.tolerances > 1 && far.b == b && far.h == h && far.i == 3);
        write1(&x.a, b, h, 3, 5, NAN);
        assert_true(isinf(outputs_apart(&x.a, &y.a, &t).tolerances));
        assert_true(isinf(outputs_apart(&y.a, &x.a, &t).tolerances));
        write1(&x.a, b, h, 3, 5, (float)was);
        x.a.lse[p.Sq] += 0.5f;
        far = outputs_apart(&x.a, &y.a, &t);
        assert_true(far.tolerances > 1 && far.b == 0 && far.h == 1 && far.i == 0);
        inputs_release(&x);
        inputs_release(&y);
    }
}

static void poison_is_nan_in_every_type(void **state)
{
    (void)state;
    union {
        char bytes[64];
        float f[16];
        uint16_t u[32];
    } x;
    poison_fill(x.bytes, sizeof x.bytes);
    for (int i = 0; i < 16; i++) assert_true(isnan(x.f[i]));
    for (int i = 0; i < 32; i++) assert_true(isnan(f32_of_f16(x.u[i])) && isnan(f32_of_bf16(x.u[i])));
    static const char *const texts[] = {"f32 b2 h3 s5 d7 layout=bshd lse", "f16 h3 s5 d7", "bf16 b2 h3 s5 d7"};
    for (int t = 0; t < ATN_COUNT(texts); t++) {
        atn_problem p = problem_of(texts[t]);
        inputs in = inputs_of(&p);
        poison_fill(in.a.o.ptr, in.l.bytes[ATN_T_O]);
        if (in.a.lse) poison_fill(in.a.lse, in.l.bytes[ATN_T_LSE]);
        assert_int_equal(poison_count(&in.a), p.B * 3 * 5 * 7 + (p.lse ? p.B * 3 * 5 : 0));
        inputs_release(&in);
    }
}

/* ---- data ----------------------------------------------------------------------------------------------------- */

static void data_is_what_it_says(void **state)
{
    (void)state;
    static const char *const texts[] = {"f32 h2 s300 d64", "f16 h2 s300 d64", "bf16 h2 s300 d64"};
    for (int t = 0; t < 3; t++)
        for (int kind = 0; kind < ATN_DATA_INVALID; kind++) {
            atn_problem p = problem_of(texts[t]);
            inputs in = inputs_of(&p), again = inputs_of(&p);
            atn_rng r1 = rng_make(5, 6, (uint64_t)kind), r2 = r1;
            data_fill(&p, &in.l, &in.a, (atn_data)kind, &r1);
            data_fill(&p, &again.l, &again.a, (atn_data)kind, &r2);
            assert_memory_equal(in.a.q.ptr, again.a.q.ptr, (size_t)in.l.bytes[ATN_T_Q]);
            assert_memory_equal(in.a.k.ptr, again.a.k.ptr, (size_t)in.l.bytes[ATN_T_K]);
            assert_memory_equal(in.a.v.ptr, again.a.v.ptr, (size_t)in.l.bytes[ATN_T_V]);
            double most = -INFINITY, sum = 0, sum2 = 0, v2 = 0, work[300], out[64], lse;
            int peaks = 0;
            for (int i = 0; i < 300; i++) {
                for (int d = 0; d < 64; d++) v2 += pow(tensor_get(&in.a.v, 0, 1, i, d), 2);
                double top = -INFINITY;
                for (int j = 0; j < 300; j++) {
                    double s = 0;
                    for (int d = 0; d < 64; d++)
                        s += tensor_get(&in.a.q, 0, 1, i, d) * tensor_get(&in.a.k, 0, 1, j, d) / 8;
                    sum += s / 90000;
                    sum2 += s * s / 90000;
                    top = fmax(top, s);
                    assert_true(isfinite(s));
                }
                most = fmax(most, top);
                reference_row(&in.a, 0, 1, i, out, &lse, work);
                peaks += exp(top - lse) > 0.9;
            }
            double sd = sqrt(sum2 - sum * sum), v = sqrt(v2 / 300 / 64);
            char what[100];
            snprintf(what, sizeof what, "%s %s: logits sd %.3g max %.3g v %.3g peaks %d", texts[t],
                     data_name((atn_data)kind), sd, most, v, peaks);
            bool ok = true;
            switch (kind) {
            case ATN_DATA_NORMAL: ok = fabs(sd - 1) < 0.1 && fabs(v - 1) < 0.05 && fabs(sum) < 0.1; break;
            case ATN_DATA_PEAKED: ok = fabs(sd - 4) < 0.4; break;
            case ATN_DATA_NEEDLE: ok = peaks > 280; break;
            case ATN_DATA_UNIFORM: ok = fabs(sum - 2) < 0.2 && fabs(v - 0.577) < 0.02; break;
            case ATN_DATA_TINY: ok = most < 1e-2 && v < 2e-2 && v > 0; break;
            case ATN_DATA_HUGE: ok = most > 8e3 && most < 2e4; break;
            case ATN_DATA_RISING: ok = most > 4 && most < 130; break;
            case ATN_DATA_EQUAL: ok = most < 6; break;
            case ATN_DATA_DENORMAL: ok = v > 0 && v < (t == 1 ? 6.1e-5 : t == 2 ? 2e-30 : 1.1e-38); break;
            case ATN_DATA_OFFSET: ok = fabs(v - 100) < 1; break;
            default: break;
            }
            if (!ok) fail_with("%s", what);
            inputs_release(&in);
            inputs_release(&again);
        }
}

/* Seeds stand in users' records: what they make may never change, on any machine, with any compiler. */
static void data_is_for_ever(void **state)
{
    (void)state;
    static const char *const texts[] = {"f32 b2 h4/2 s33/40 d24 causal", "f16 h2 s20 d40", "bf16 h2 s20 d40"};
    uint64_t all = 0;
    for (int t = 0; t < 3; t++)
        for (int kind = 0; kind < ATN_DATA_INVALID; kind++) {
            atn_problem p = problem_of(texts[t]);
            inputs in = inputs_of(&p);
            atn_rng rng = rng_make(42, 0, 0);
            data_fill(&p, &in.l, &in.a, (atn_data)kind, &rng);
            for (int i = ATN_T_Q; i <= ATN_T_V; i++)
                all = rng_mix(all ^ hash_bytes(in.memory[i], (size_t)in.l.bytes[i]));
            inputs_release(&in);
        }
    if (all != 0x6e6c93e86aa7f2c8u) fail_with("data of known seeds differs: 0x%llx", (unsigned long long)all);
}

static void needles_stand_at_the_ends_too(void **state)
{
    (void)state;
    int first = 0, last = 0, inside = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        atn_problem p = problem_of("f32 h1 s1/64 d64");
        inputs in = inputs_of(&p);
        atn_rng rng = rng_make(seed, 0, 0);
        double work[64], out[64], lse;
        data_fill(&p, &in.l, &in.a, ATN_DATA_NEEDLE, &rng);
        reference_row(&in.a, 0, 0, 0, out, &lse, work);
        int at = 0;
        for (int j = 0; j < 64; j++) at = work[j] > work[at] ? j : at;
        first += at == 0;
        last += at == 63;
        inside += at > 0 && at < 63;
        inputs_release(&in);
    }
    assert_true(first > 2 && last > 2 && inside > 5);
}

static void padding_is_nan_and_masks_forbid(void **state)
{
    (void)state;
    atn_problem p = problem_of("f32:f16 b2 h4/2 s60/90 d16 cache=100 mask=f32 layout=bshd");
    inputs in = inputs_of(&p);
    atn_rng rng = rng_make(11, 0, 0);
    int forbidden = 0, rows = 0;
    data_fill(&p, &in.l, &in.a, ATN_DATA_NORMAL, &rng);
    for (int b = 0; b < 2; b++)
        for (int h = 0; h < 2; h++)
            for (int j = 0; j < 100; j++) assert_int_equal(isnan(tensor_get(&in.a.k, b, h, j, 7)), j >= 90);
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < 60; i++) {
            int n = 0;
            for (int j = 0; j < 90; j++) n += tensor_get(&in.a.mask, b, 3, i, j) < -1e30;
            forbidden += n;
            rows += n == 90;
        }
    assert_true(forbidden > 60 * 2 * 90 * 0.25 && forbidden < 60 * 2 * 90 * 0.55);
    assert_true(rows >= 1 && rows <= 30);
    data_fill_fast(&p, &in.l, &in.a, 1);
    assert_true(isnan(tensor_get(&in.a.v, 0, 0, 95, 3)) && !isnan(tensor_get(&in.a.v, 1, 1, 89, 15)));
    inputs_release(&in);
}

static void fast_data_is_fresh_and_fast(void **state)
{
    (void)state;
    atn_problem p = problem_of("f32 h8 s1024 d64");
    inputs in = inputs_of(&p);
    double n = 3.0 * 8 * 1024 * 64, sum = 0, sum2 = 0;
    int64_t best = INT64_MAX;
    data_fill_fast(&p, &in.l, &in.a, 1);
    float before = ((float *)in.a.q.ptr)[77];
    for (uint64_t seed = 2; seed < 30; seed++) {
        int64_t t = clock_ns();
        data_fill_fast(&p, &in.l, &in.a, seed);
        best = ATN_MIN(best, clock_ns() - t);
    }
    assert_true(before != ((float *)in.a.q.ptr)[77]);
    for (int i = 0; i < 8 * 1024 * 64; i++) {
        double x = (double)((float *)in.a.v.ptr)[i];
        sum += x;
        sum2 += x * x;
    }
    assert_true(fabs(sum / (8 * 1024 * 64)) < 0.01 && fabs(sum2 / (8 * 1024 * 64) - 1) < 0.01);
    print_message("# fast data: %.2f ns per value\n", (double)best / n);
    if ((double)best / n > 30) fail_with("%.1f ns per value; expected about 0.4", (double)best / n);
    inputs_release(&in);
}

/* ---- tolerances ----------------------------------------------------------------------------------------------- */

typedef struct {
    double ratio;           /* worst error / tolerance */
    const char *verdict;
    atn_compare c;
} outcome;

static outcome judge(const honest *kernel, const atn_case *t, uint64_t seed)
{
    outcome o;
    inputs in = inputs_of(&t->problem);
    atn_rng rng = rng_make(seed, 0, 0), rows = rng_make(seed, 1, 0);
    atn_tolerance tol = tolerance_for(&t->problem, (int)t->data, 1);
    data_fill(&t->problem, &in.l, &in.a, t->data, &rng);
    poison_fill(in.a.o.ptr, in.l.bytes[ATN_T_O]);
    if (in.a.lse) poison_fill(in.a.lse, in.l.bytes[ATN_T_LSE]);
    honest_run(kernel, &in.a);
    reference_compare(&in.a, 0, &rows, &o.c);
    o.verdict = tolerance_verdict(&o.c, &tol);
    o.ratio = fmax(o.c.rel_l2 / tol.rel_l2, fmax(o.c.row_worst / tol.row_worst, o.c.lse_worst / tol.lse));
    inputs_release(&in);
    return o;
}

static atn_suite correctness(void)
{
    static const char *const names[] = {"accuracy", "stability", "robustness", "heldout"};
    atn_suite s = {0};
    for (int i = 0; i < ATN_COUNT(names); i++) assert_int_equal(suite_add(&s, names[i], NULL), ATN_OK);
    int n = 0;
    for (int k = 0; k < s.count; k++) /* the honest kernel below loses NaN in its maximum */
        if (s.cases[k].data != ATN_DATA_INVALID) s.cases[n++] = s.cases[k];
    s.count = n;
    return s;
}

/* An honest kernel with f32 and with rounded weights passes every case under several seeds, and never narrowly. */
static void honest_kernels_pass_with_room(void **state)
{
    (void)state;
    atn_suite s = correctness();
    double worst = 0;
    char where[400] = "";
    for (int k = 0; k < s.count; k++)
        for (int round_p = 0; round_p < 3; round_p++)                /* 2: q too is rounded to the type of k */
            for (uint64_t seed = 0; seed < 2; seed++) {
                const atn_case *t = &s.cases[k];
                char text[256];
                bool mixed =
                    t->problem.dtype_q == ATN_F32 && t->problem.dtype_kv == ATN_BF16 && t->data != ATN_DATA_HUGE;
                if ((round_p && t->problem.dtype_kv == ATN_F32) || (round_p == 2 && !mixed)) continue;
                honest kernel = {.round_p = round_p, .wrong = round_p == 2 ? MUTANT_HALF_INPUTS : MUTANT_NONE};
                outcome o = judge(&kernel, t, 100 * seed + (uint64_t)k);
                problem_print(&t->problem, text, sizeof text);
                if (o.verdict)
                    fail_with("'%s' %s seed %d: %s (%.3g of tolerance; %s)", text, data_name(t->data), (int)seed,
                              o.verdict, o.ratio, o.c.detail);
                if (getenv("ATTUNE_TEST_VERBOSE"))
                    print_message("# %-60s %-8s P %s rel %.2e row %.2e lse %.2e ratio %.3f\n", text, data_name(t->data),
                                  round_p == 2 ? "and q half"
                                  : round_p    ? "half"
                                               : "f32",
                                  o.c.rel_l2, o.c.row_worst, o.c.lse_worst, o.ratio);
                if (o.ratio > worst) {
                    worst = o.ratio;
                    snprintf(where, sizeof where, "'%s' %s", text, data_name(t->data));
                }
            }
    print_message("# honest kernels: worst error is %.2f of the tolerance, at %s\n", worst, where);
    assert_true(worst <= 0.7);
    suite_free(&s);
}

/* Every mistake is refused by at least one case of the three suites that an evolution runs. */
static void mutants_fail(void **state)
{
    (void)state;
    atn_suite s = correctness();
    int cases = 0;
    bool all = getenv("ATTUNE_TEST_VERBOSE");       /* count every case that refuses, not the first three */
    while (cases < s.count && strcmp(s.cases[cases].name, "h3 s83 causal")) cases++;   /* where heldout begins */
    assert_true(cases > 20 && cases < s.count);
    for (int m = 1; m < MUTANT_COUNT; m++) {
        int failed = 0;
        double most = 0;
        const atn_case *by = NULL;
        for (int k = 0; k < cases; k++) {
            honest kernel = {.wrong = (mutant)m};
            outcome o = judge(&kernel, &s.cases[k], (uint64_t)k);
            if (!o.verdict) continue;
            failed++;
            double x = isfinite(o.ratio) ? o.ratio : 1e99;
            if (x > most) by = &s.cases[k];
            most = fmax(x, most);
            if (!all && failed == 3 && most >= 3) break;
        }
        if (!failed) fail_with("not noticed: %s", MUTANT_TEXT[m]);
        print_message("# %-55s refused by %2d%s of %d cases, most clearly (%.1e x tolerance) by '%s' %s\n",
                      MUTANT_TEXT[m], failed, all || failed < 3 ? "" : "+", cases, most, by ? by->name : "",
                      by ? data_name(by->data) : "");
        if (!(most >= 3)) fail_with("barely noticed: %s", MUTANT_TEXT[m]);
    }
    suite_free(&s);
}

static void verdict_refuses_nan(void **state)
{
    (void)state;
    atn_tolerance t = {1e-3, 1e-2, 1e-3};
    atn_compare c = {.rel_l2 = NAN};
    assert_string_equal(tolerance_verdict(&c, &t), "error");
    c = (atn_compare){.row_worst = NAN};
    assert_string_equal(tolerance_verdict(&c, &t), "row");
    c = (atn_compare){.lse_worst = NAN};
    assert_string_equal(tolerance_verdict(&c, &t), "lse");
}

/* What an evolution pays for correctness per candidate, without the candidate's own time. */
static void correctness_is_cheap(void **state)
{
    (void)state;
    static const char *const names[] = {"accuracy", "stability", "robustness"};
    atn_suite s = {0};
    for (int i = 0; i < ATN_COUNT(names); i++) assert_int_equal(suite_add(&s, names[i], NULL), ATN_OK);
    double best = INFINITY;
    for (int round = 0; round < 3; round++) {
        int64_t t0 = clock_cpu_ns();
        for (int k = 0; k < s.count; k++) {
            inputs in = inputs_of(&s.cases[k].problem);
            atn_rng rng = rng_make(1, 2, (uint64_t)k);
            atn_compare c;
            data_fill(&in.p, &in.l, &in.a, s.cases[k].data, &rng);
            poison_fill(in.a.o.ptr, in.l.bytes[ATN_T_O]);
            reference_compare(&in.a, 0, &rng, &c);
            inputs_release(&in);
        }
        best = fmin(best, (double)(clock_cpu_ns() - t0) * 1e-9);
    }
    print_message("# correctness suites: %d cases, %.3f s of CPU for data, reference and comparison\n", s.count, best);
    if (best > 4) fail_with("%.2f s of CPU; expected about 0.2", best);
    suite_free(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(halves_survive_the_way_to_float_and_back),
    cmocka_unit_test(halves_round_to_nearest_even),
    cmocka_unit_test(reference_is_the_contract),
    cmocka_unit_test(nan_reaches_its_rows_only),
    cmocka_unit_test(forbidden_rows_give_zero),
    cmocka_unit_test(reference_is_quick),
    cmocka_unit_test(comparison_names_what_is_wrong),
    cmocka_unit_test(rows_apart_are_found),
    cmocka_unit_test(poison_is_nan_in_every_type),
    cmocka_unit_test(data_is_what_it_says),
    cmocka_unit_test(data_is_for_ever),
    cmocka_unit_test(needles_stand_at_the_ends_too),
    cmocka_unit_test(padding_is_nan_and_masks_forbid),
    cmocka_unit_test(fast_data_is_fresh_and_fast),
    cmocka_unit_test(verdict_refuses_nan),
    cmocka_unit_test(honest_kernels_pass_with_room),
    cmocka_unit_test(mutants_fail),
    cmocka_unit_test(correctness_is_cheap),
};
TEST_MAIN(tests)
