/* Vectors as wide as the instruction set that this translation unit is compiled for, and exp and Φ
 * on them. Private to the kernel sources, which are compiled several times. */
#ifndef RZ_TENSOR_VECTOR_H
#define RZ_TENSOR_VECTOR_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { W = 16 };
#elif defined(__AVX2__)
enum { W = 8 };
#else
enum { W = 4 };
#endif

typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
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

/* The larger; b where a is NaN. */
INLINE vf v_max(vf a, vf b)
{
    return v_select(a > b, a, b);
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

/* Φ(x), the standard normal distribution function, and φ(x), its density.
 * |x| < √2: 1/2 + x R(x²), a minimax polynomial. Beyond: exp(-x²/2) t P(t) / 2 with
 * t = 1 / (1 + 0.3 |x| / √2), the form of Abramowitz and Stegun 7.1.26 with a polynomial of degree
 * 9 fitted to a relative error of 2e-8. Absolute error of Φ below 6e-8. */
INLINE vf v_normal(vf x, vf *density)
{
    vf s = x * x;
    vf e = v_exp(-0.5f * s);
    vf r = v_set(4.3545057337e-7f);
    r = r * s - 8.859667104843538e-06f;
    r = r * s + 0.00011466867726994678f;
    r = r * s - 0.0011868048459291458f;
    r = r * s + 0.009973385371267796f;
    r = r * s - 0.06649035960435867f;
    r = r * s + 0.3989422917366028f;
    vf middle = 0.5f + x * r;
    vf magnitude = v_max(x, -x);
    vf t = 1.0f / (1.0f + 0.21213203f * magnitude);
    vf p = v_set(-0.12943431735038757f);
    p = p * t + 0.48509761691093445f;
    p = p * t - 0.5112289190292358f;
    p = p * t + 0.5463979840278625f;
    p = p * t - 0.09363336116075516f;
    p = p * t + 0.21443721652030945f;
    p = p * t + 0.14848217368125916f;
    p = p * t + 0.17069196701049805f;
    p = p * t + 0.16918961703777313f;
    vf tail = 0.5f * e * (p * t);
    *density = 0.3989422804f * e;
    vf outer = v_select(x > 0.0f, 1.0f - tail, tail);
    return v_select(s < 2.0f, middle, outer);
}

#endif
