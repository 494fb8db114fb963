/* A linear layer without bias: y = x wT, as torch.nn.Linear stores its weight. CBLAS where the build found one, else plain
 * loops that the compiler vectorises: right everywhere, fast where a BLAS is installed. */
#ifndef ATN_MODULE_LINEAR_H
#define ATN_MODULE_LINEAR_H

/* y [rows][out] = x [rows][in] . w [out][in] transposed. y overlaps neither. */
void linear(const float *x, const float *w, float *y, int rows, int in, int out);

/* Threads of the BLAS, where it can be told. */
void linear_threads(int threads);

/* "openblas", "blis", "cblas" or "plain loops". Static. */
const char *linear_backend(void);

#endif
