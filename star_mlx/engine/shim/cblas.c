/* Forwards the three CBLAS functions that libmlx takes from the global symbol scope to
   scipy-openblas32, whose names carry a prefix. On x86-64 products with registered weights are
   computed by products.c instead. Built by build.sh; depends on nothing. */
#ifdef __x86_64__
#include "products.h"
#else
#define star_product(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) 0
#endif

typedef const void *in;

void free(void *);
void scipy_cblas_sgemm(int, int, int, int, int, int, float, in, int, in, int, float, void *, int);
void scipy_cblas_dgemm(int, int, int, int, int, int, double, in, int, in, int, double, void *, int);
void scipy_cblas_cgemm(int, int, int, int, int, int, in, in, int, in, int, in, void *, int);

#define FORWARD(name, scalar)                                                                    \
    void cblas_##name(int order, int ta, int tb, int m, int n, int k, scalar alpha, in a, int lda, \
                      in b, int ldb, scalar beta, void *c, int ldc) {                            \
        scipy_cblas_##name(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);         \
    }

void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, in a, int lda, in b,
                 int ldb, float beta, void *c, int ldc) {
    const float *whole = b;
    if (!star_product(order, ta, tb, m, n, k, alpha, a, lda, &whole, ldb, beta, c, ldc))
        scipy_cblas_sgemm(order, ta, tb, m, n, k, alpha, a, lda, whole, ldb, beta, c, ldc);
    if (whole != b)
        free((void *)whole);
}

FORWARD(dgemm, double)
FORWARD(cgemm, in)
