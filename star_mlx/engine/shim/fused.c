/* Passes over activations that mlx makes in a dozen: one each here, in AVX-512, in place. */

#ifdef __x86_64__
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

/* e^x for x below 88, 0 for what is below -87: 2^n times a polynomial (Remez; error 1e-7). */
AVX512 static inline __m512 exponential(__m512 x) {
    const __m512 log2e = _mm512_set1_ps(1.44269504f);
    const __m512 high = _mm512_set1_ps(0.693145752f), low = _mm512_set1_ps(1.42860677e-6f);
    __mmask16 real = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.0f), _CMP_GE_OQ);
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, log2e), 8);
    __m512 f = _mm512_fnmadd_ps(n, low, _mm512_fnmadd_ps(n, high, x)); /* x - n ln 2 */
    __m512 p = _mm512_set1_ps(1.0f / 720);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_maskz_scalef_ps(real, p, n);
}

/* Each row of scores (rows, n) becomes exp(scores - its largest); that and the sum are given too. */
AVX512 void star_weights(float *scores, long rows, long n, float *largest, float *sum) {
    for (long r = 0; r < rows; r++, scores += n) {
        __m512 top = _mm512_set1_ps(-3.4e38f), total = _mm512_setzero_ps();
        __mmask16 rest = (__mmask16)((1u << (n % 16)) - 1);
        long i = 0;
        for (; i + 16 <= n; i += 16)
            top = _mm512_max_ps(top, _mm512_loadu_ps(scores + i));
        if (rest)
            top = _mm512_mask_max_ps(top, rest, top, _mm512_maskz_loadu_ps(rest, scores + i));
        __m512 most = _mm512_set1_ps(largest[r] = _mm512_reduce_max_ps(top));
        for (i = 0; i + 16 <= n; i += 16) {
            __m512 e = exponential(_mm512_sub_ps(_mm512_loadu_ps(scores + i), most));
            total = _mm512_add_ps(total, e);
            _mm512_storeu_ps(scores + i, e);
        }
        if (rest) {
            __m512 s = _mm512_maskz_loadu_ps(rest, scores + i);
            __m512 e = _mm512_maskz_mov_ps(rest, exponential(_mm512_sub_ps(s, most)));
            total = _mm512_add_ps(total, e);
            _mm512_mask_storeu_ps(scores + i, rest, e);
        }
        sum[r] = _mm512_reduce_add_ps(total);
    }
}

/* gate becomes SiLU(gate) x, for n numbers each. */
AVX512 void star_swiglu(float *gate, const float *x, long n) {
    const __m512 one = _mm512_set1_ps(1.0f);
    for (long i = 0; i < n; i += 16) {
        __mmask16 these = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
        __m512 g = _mm512_maskz_loadu_ps(these, gate + i);
        __m512 below = _mm512_max_ps(g, _mm512_set1_ps(-87.0f)); /* the exponential is finite */
        __m512 e = exponential(_mm512_sub_ps(_mm512_setzero_ps(), below));
        __m512 made = _mm512_div_ps(_mm512_mul_ps(g, _mm512_maskz_loadu_ps(these, x + i)),
                                    _mm512_add_ps(one, e));
        _mm512_mask_storeu_ps(gate + i, these, made);
    }
}
#endif
