/* Passes over activations that mlx makes in a dozen: one each here, in AVX-512, in place. */

#ifdef __x86_64__
#include <immintrin.h>
#include <stdint.h>

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

enum { TILE = 256, QUERIES = 7, STRIP = 64, BLOCK = 1024 }; /* 7 x 64 sums fill the registers */

/* Sixteen rows of sixteen numbers become sixteen columns. */
AVX512 static inline void transpose(__m512 r[16]) {
    __m512 t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) {
            t[8 * j + i] = _mm512_shuffle_f32x4(r[8 * j + i], r[8 * j + i + 4], 0x88);
            t[8 * j + i + 4] = _mm512_shuffle_f32x4(r[8 * j + i], r[8 * j + i + 4], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
}

/* The scores of m queries (m, d) with n keys (n, d), n at most 16; those past the keys are 0. */
AVX512 static inline __attribute__((always_inline)) void
sixteen(const float *q, int m, const float *k, long n, long d, __m512 *scores) {
    for (int i = 0; i < m; i++)
        scores[i] = _mm512_setzero_ps();
    for (long at = 0; at < d; at += 16) {
        __m512 columns[16];
        for (int s = 0; s < 16; s++)
            columns[s] = s < n ? _mm512_loadu_ps(k + s * d + at) : _mm512_setzero_ps();
        transpose(columns);
        for (int c = 0; c < 16; c++)
            for (int i = 0; i < m; i++)
                scores[i] = _mm512_fmadd_ps(_mm512_set1_ps(q[i * d + at + c]), columns[c], scores[i]);
    }
}

/* out (m, d) becomes what it was times kept (m), plus the values (n, d) by their weights (m, TILE). */
AVX512 static inline __attribute__((always_inline)) void
weighted(float *out, const float *kept, const float (*w)[TILE], int m, const float *v, long n,
         long d) {
    for (long strip = 0; strip < d; strip += STRIP) {
        int vectors = d - strip < STRIP ? (int)(d - strip) / 16 : STRIP / 16;
        __m512 sums[QUERIES][STRIP / 16];
        for (int i = 0; i < m; i++)
            for (int c = 0; c < 4; c++)
                sums[i][c] = c < vectors ? _mm512_mul_ps(_mm512_set1_ps(kept[i]),
                                                         _mm512_loadu_ps(out + i * d + strip + 16 * c))
                                         : _mm512_setzero_ps();
        if (vectors == STRIP / 16) {
            for (long s = 0; s < n; s++)
                for (int i = 0; i < m; i++)
                    for (int c = 0; c < 4; c++)
                        sums[i][c] = _mm512_fmadd_ps(_mm512_set1_ps(w[i][s]),
                                                     _mm512_loadu_ps(v + s * d + strip + 16 * c),
                                                     sums[i][c]);
        } else {
            for (long s = 0; s < n; s++)
                for (int c = 0; c < vectors; c++)
                    for (int i = 0; i < m; i++)
                        sums[i][c] = _mm512_fmadd_ps(_mm512_set1_ps(w[i][s]),
                                                     _mm512_loadu_ps(v + s * d + strip + 16 * c),
                                                     sums[i][c]);
        }
        for (int i = 0; i < m; i++)
            for (int c = 0; c < vectors; c++)
                _mm512_storeu_ps(out + i * d + strip + 16 * c, sums[i][c]);
    }
}

/* One head of keys: m queries (m, d) attend to n keys (n, d), those that the mask names. */
AVX512 static inline __attribute__((always_inline)) void
head(const float *q, int m, const float *k, const float *v, const uint8_t *mask, long n, long d,
     float *out, float *largest, float *sum) {
    float w[QUERIES][TILE], kept[QUERIES];
    for (int i = 0; i < m; i++) {
        largest[i] = -3.4e38f;
        sum[i] = 0;
        for (long c = 0; c < d; c++)
            out[i * d + c] = 0;
    }
    long first = 0;
    while (mask && first < n - 1 && !mask[first]) /* the last one stays, so that nothing is 0 / 0 */
        first++;
    for (; first < n; first += TILE) {
        long these = n - first < TILE ? n - first : TILE, s;
        __m512 most[QUERIES], total[QUERIES], scores[QUERIES];
        for (int i = 0; i < m; i++) {
            most[i] = _mm512_set1_ps(largest[i]);
            total[i] = _mm512_setzero_ps();
        }
        for (s = 0; s < these; s += 16) {
            __mmask16 seen = these - s < 16 ? (__mmask16)((1u << (these - s)) - 1) : 0xffff;
            if (mask)
                seen &= _mm_test_epi8_mask(_mm_maskz_loadu_epi8(seen, mask + first + s),
                                           _mm_set1_epi8(-1));
            sixteen(q, m, k + (first + s) * d, these - s < 16 ? these - s : 16, d, scores);
            for (int i = 0; i < m; i++) {
                scores[i] = _mm512_mask_mov_ps(_mm512_set1_ps(-3.4e38f), seen, scores[i]);
                most[i] = _mm512_max_ps(most[i], scores[i]);
                _mm512_storeu_ps(w[i] + s, scores[i]);
            }
        }
        for (int i = 0; i < m; i++) {
            float top = _mm512_reduce_max_ps(most[i]), before = largest[i];
            __m512 tops = _mm512_set1_ps(top);
            for (s = 0; s < these; s += 16) {
                __m512 e = exponential(_mm512_sub_ps(_mm512_loadu_ps(w[i] + s), tops));
                total[i] = _mm512_add_ps(total[i], e);
                _mm512_storeu_ps(w[i] + s, e);
            }
            kept[i] = _mm512_cvtss_f32(exponential(_mm512_set1_ps(before - top)));
            sum[i] = sum[i] * kept[i] + _mm512_reduce_add_ps(total[i]);
            largest[i] = top;
        }
        weighted(out, kept, w, m, v + first * d, these, d);
    }
}

/* Attention of one new token a row to the row's own tokens.

   For each of rows x groups heads of keys: queries (m, d), scaled; keys and values (n, d); mask
   (rows, n), nonzero where attended, or NULL. d is a multiple of 16. Given: the sum of the values by
   exp(score - largest), (m, d), the largest score and the sum of the exponentials, (m). sizes: rows,
   groups, m, n, d, and how many numbers further the next row's keys, the next head's, the next row's
   values and the next head's begin. */
AVX512 void star_attend(const float *q, const float *k, const float *v, const uint8_t *mask,
                        const long *sizes, float *out, float *largest, float *sum) {
    const long groups = sizes[1], m = sizes[2], n = sizes[3], d = sizes[4];
    for (long h = 0; h < sizes[0] * groups; h++) {
        const long row = h / groups, group = h % groups;
        const float *keys = k + row * sizes[5] + group * sizes[6];
        const float *values = v + row * sizes[7] + group * sizes[8];
        const uint8_t *seen = mask ? mask + row * n : mask;
        for (long i = 0; i < m;) {
            long at = h * m + i;
#define HEAD(count)                                                                                \
    head(q + at * d, count, keys, values, seen, n, d, out + at * d, largest + at, sum + at);       \
    i += count;                                                                                    \
    break
            switch (m - i) {
            case 1: HEAD(1);
            case 2: HEAD(2);
            case 3: HEAD(3);
            case 4: HEAD(4);
            case 5: HEAD(5);
            case 6: HEAD(6);
            default: HEAD(QUERIES);
            }
        }
    }
}

/* The sum of exp(logits - largest) of at most BLOCK numbers. */
AVX512 static inline float exponentials(const float *logits, long n, __m512 largest) {
    __m512 total = _mm512_setzero_ps();
    for (long i = 0; i < n; i += 16) {
        __mmask16 these = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
        __m512 e = exponential(_mm512_sub_ps(_mm512_maskz_loadu_ps(these, logits + i), largest));
        total = _mm512_mask_add_ps(total, these, total, e);
    }
    return _mm512_reduce_add_ps(total);
}

/* For each row of logits (rows, n), the token at which the sum of the probabilities passes the row's
   uniform number in [0, 1), never one of probability 0; 0 if there is no such token, as with NaN.
   sums has room for a row's sums by BLOCK. */
AVX512 void star_draw(const float *logits, long rows, long n, const float *uniform, float *sums,
                      uint32_t *tokens) {
    for (long r = 0; r < rows; r++, logits += n) {
        __m512 top = _mm512_set1_ps(-3.4e38f);
        for (long i = 0; i < n; i += 16) {
            __mmask16 these = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
            top = _mm512_mask_max_ps(top, these, top, _mm512_maskz_loadu_ps(these, logits + i));
        }
        top = _mm512_set1_ps(_mm512_reduce_max_ps(top));
        double total = 0, passed = 0;
        for (long i = 0; i < n; i += BLOCK)
            total += sums[i / BLOCK] = exponentials(logits + i, n - i < BLOCK ? n - i : BLOCK, top);
        long b = 0, last = (n - 1) / BLOCK;
        double wanted = uniform[r] * total;
        while (b < last && passed + sums[b] <= wanted)
            passed += sums[b++];
        tokens[r] = 0;
        for (; b >= 0; b--) { /* rounding may leave nothing in a block, then the one before it */
            long from = b * BLOCK, to = from + BLOCK < n ? from + BLOCK : n, found = -1;
            for (long i = from; i < to && (found < 0 || passed <= wanted); i++) {
                float p = _mm512_cvtss_f32(exponential(_mm512_sub_ps(_mm512_set1_ps(logits[i]), top)));
                if (p > 0 && passed <= wanted)
                    found = i;
                passed += p;
            }
            if (found >= 0) {
                tokens[r] = (uint32_t)found;
                break;
            }
            passed = 0; /* any token of an earlier block comes before what is wanted */
        }
    }
}
#endif
