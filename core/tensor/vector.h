/* Vectors as wide as the instruction set that this translation unit is compiled for, and exp and Φ
 * on them. Private to the kernel sources, which are compiled several times. */
#ifndef RZ_TENSOR_VECTOR_H
#define RZ_TENSOR_VECTOR_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(RZ_WIDTH) /* tests: the blocking of a wider set on any CPU */
enum { W = RZ_WIDTH };
#elif defined(__AVX512F__)
enum { W = 16 };
#elif defined(__AVX2__)
enum { W = 8 };
#else
enum { W = 4 };
#endif

typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef uint64_t vl __attribute__((vector_size(4 * W)));
typedef float vf_unaligned __attribute__((vector_size(4 * W), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
/* Names of external kernels carry the instruction set: RZ_ISA(attention) = attention_avx512. */
#define RZ_PASTE_(name, isa) rz_##name##_##isa
#define RZ_PASTE(name, isa)  RZ_PASTE_(name, isa)
#define RZ_ISA(name)         RZ_PASTE(name, RZ_ISA_NAME)
/* GCC leaves small constant loops rolled below -O3; clang unrolls them by itself. */
#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL
#endif

INLINE vf v_load(const float *p)
{
    return *(const vf_unaligned *)p;
}

INLINE void v_store(float *p, vf x)
{
    *(vf_unaligned *)p = x;
}

INLINE vf v_set(float x)
{
    return x - (vf){0};
}

/* mask ? a : b, the mask coming from a comparison. */
INLINE vf v_select(vi mask, vf a, vf b)
{
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

/* The larger and the smaller; b where one is NaN. Compilers do not see the one instruction. */
#if defined(__AVX512F__) && !defined(RZ_WIDTH)
INLINE vf v_max(vf a, vf b)
{
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}
INLINE vf v_min(vf a, vf b)
{
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}
#elif defined(__AVX2__) && !defined(RZ_WIDTH)
INLINE vf v_max(vf a, vf b)
{
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}
INLINE vf v_min(vf a, vf b)
{
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}
#else
INLINE vf v_max(vf a, vf b)
{
    return v_select(a > b, a, b);
}
INLINE vf v_min(vf a, vf b)
{
    return v_select(a < b, a, b);
}
#endif

/* The lower halves of the elements times b. Compilers multiply whole elements. */
INLINE vl v_multiply_halves(vl a, uint32_t b)
{
#if defined(__AVX512F__) && !defined(RZ_WIDTH)
    return (vl)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif defined(__AVX2__) && !defined(RZ_WIDTH)
    return (vl)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#else
    return (a & 0xFFFFFFFFu) * (uint64_t)b;
#endif
}

/* The first n < W of p, the rest filled. */
INLINE vf v_load_part(const float *p, size_t n, float fill)
{
    float lanes[W];
    for (size_t i = 0; i < W; i++)
        lanes[i] = i < n ? p[i] : fill;
    return v_load(lanes);
}

INLINE void v_store_part(float *p, vf x, size_t n)
{
    float lanes[W];
    v_store(lanes, x);
    for (size_t i = 0; i < n; i++)
        p[i] = lanes[i];
}

/* The nearest integer, ties to even, for |x| below 2^21. */
INLINE vi v_round(vf x)
{
    const float magic = 12582912.0f; /* 1.5 · 2^23 */
    return (vi)(x + magic) - 0x4B400000;
}

/* Sum and maximum over the lanes, halving: always in the same order. */
INLINE float v_sum(vf x)
{
    float lanes[W];
    v_store(lanes, x);
    for (size_t half = W / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

INLINE float v_maximum(vf x)
{
    float lanes[W], best;
    v_store(lanes, x);
    best = lanes[0];
    for (size_t i = 1; i < W; i++)
        best = lanes[i] > best ? lanes[i] : best;
    return best;
}

INLINE float v_dot(const float *x, const float *y, size_t n)
{
    vf sum = {0};
    size_t i = 0;
    for (; i + W <= n; i += W)
        sum += v_load(x + i) * v_load(y + i);
    if (i < n)
        sum += v_load_part(x + i, n - i, 0.0f) * v_load_part(y + i, n - i, 0.0f);
    return v_sum(sum);
}

/* exp: x = n log 2 + r, a polynomial in r (Moshier's Cephes), n into the exponent bits.
 * Relative error below 2e-7 in [-86, 88]; 0 below; NaN stays NaN; above 88 the value at 88. */
INLINE vf v_exp(vf x)
{
    const float magic = 12582912.0f; /* 1.5 · 2^23: adding it rounds to an integer */
    vf c = v_select(x > 88.0f, v_set(88.0f), x);
    c = v_select(c < -86.0f, v_set(-86.0f), c);
    vf shifted = c * 1.44269504f + magic;
    vf n = shifted - magic;
    vf r = c - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf p = v_set(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    vf y = (vf)((((vi)shifted - 0x4B400000) << 23) + (vi)p);
    y = v_select(x < -86.0f, v_set(0.0f), y);
    return v_select(x == x, y, x); /* NaN stays; NOLINT(misc-redundant-expression) */
}

/* 2^x for |x| at most V_EXP2_BOUND: x = n + r, a minimax polynomial in r, n into the exponent bits.
 * Relative error below 2e-7. */
#define V_EXP2_BOUND 60.0f
INLINE vf v_exp2_bounded(vf x)
{
    const float magic = 12582912.0f; /* 1.5 · 2^23: adding it rounds to an integer */
    vf shifted = x + magic;
    vf r = x - (shifted - magic);
    vf p = v_set(1.326472731307149e-3f);
    p = p * r + 9.671512991189957e-3f;
    p = p * r + 5.550733581185341e-2f;
    p = p * r + 2.4022242426872253e-1f;
    p = p * r + 6.931470036506653e-1f;
    p = p * r + 1.0f;
    return (vf)(((vi)shifted << 23) + (vi)p); /* the bits of magic leave at the top */
}

/* 2^x for x <= 0, as softmax and the normal density need it; below -126, 2^-126; NaN stays NaN. */
INLINE vf v_exp2_negative(vf x)
{
    return v_exp2_bounded(v_max(v_set(-126.0f), x));
}

/* Φ(x), the standard normal distribution function: 1/2 + x P(x²) / Q(x²) with |x| bounded by 5.4,
 * where Φ is 1 in single precision. P and Q of degree 5, minimax for the absolute error: below
 * 2e-7. */
INLINE vf v_normal(vf x)
{
    const float most = 5.4f;
    vf c = v_min(v_set(most), v_max(v_set(-most), x));
    vf s = c * c;
    vf p = v_set(2.33864199e-08f);
    p = p * s + 6.3599864e-06f;
    p = p * s + 0.000164322191f;
    p = p * s + 0.00465085311f;
    p = p * s + 0.0333723165f;
    p = p * s + 0.398942232f;
    vf q = v_set(1.21657945e-06f);
    q = q * s + 7.24001584e-05f;
    q = q * s + 0.00185898424f;
    q = q * s + 0.0283787288f;
    q = q * s + 0.25031808f;
    q = q * s + 1.0f;
    return 0.5f + c * (p / q);
}

/* φ(x), the standard normal density; absolute error below 1e-7. */
INLINE vf v_normal_density(vf x)
{
    return 0.3989422804f * v_exp2_negative(x * x * -0.7213475204f);
}

#endif
