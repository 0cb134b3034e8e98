/* C (m, n) = beta C + A (m, k) B, where B is a registered weight: 1 if done, 0 if left to the caller, who
   then reads it at *b, and frees that if it is another place than before. */
int star_product(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                 const float **b, int ldb, float beta, float *c, int ldc);
