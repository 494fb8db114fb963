/* See linear.h. Invariant: both ways compute each element as one sum over `in`; only the order of adding differs. */
#include "module/linear.h"

#ifdef MODULE_CBLAS
#include <cblas.h>

void linear(const float *x, const float *w, float *y, int rows, int in, int out)
{
    if (rows == 1) { /* one token: a matrix-vector product reads the weights once, without packing */
        cblas_sgemv(CblasRowMajor, CblasNoTrans, out, in, 1, w, in, x, 1, 0, y, 1);
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1, x, in, w, in, 0, y, out);
}

const char *linear_backend(void)
{
    return MODULE_CBLAS;
}
#else
enum { LANES = 16, ROWS = 4 };

/* Several rows of x share one visit of a row of w; LANES sums of each keep the vectors full without reordering flags. */
static void dot_rows(const float *x, int rows, const float *w, float *y, int in, int out)
{
    float sum[ROWS][LANES] = {{0}};
    int i = 0;
    for (; i + LANES <= in; i += LANES)
        for (int r = 0; r < rows; r++)
            for (int l = 0; l < LANES; l++) sum[r][l] += x[(long)r * in + i + l] * w[i + l];
    for (int r = 0; r < rows; r++) {
        float s = 0;
        for (int l = 0; l < LANES; l++) s += sum[r][l];
        for (int j = i; j < in; j++) s += x[(long)r * in + j] * w[j];
        y[(long)r * out] = s;
    }
}

void linear(const float *x, const float *w, float *y, int rows, int in, int out)
{
    for (int r = 0; r < rows; r += ROWS) {
        int n = rows - r < ROWS ? rows - r : ROWS;
        for (int o = 0; o < out; o++) dot_rows(x + (long)r * in, n, w + (long)o * in, y + (long)r * out + o, in, out);
    }
}

const char *linear_backend(void)
{
    return "plain loops";
}
#endif

void linear_threads(int threads)
{
#ifdef MODULE_OPENBLAS
    openblas_set_num_threads(threads);
#else
    (void)threads; /* the environment decides: BLIS_NUM_THREADS */
#endif
}
