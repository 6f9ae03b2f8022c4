/* Numbers in words of 32 bits, two bfloat16 or four bytes along the depth of a product, and the
 * instructions that multiply and add words. A CPU without them gets the same sums from more
 * instructions. Private to the kernel sources. */
#ifndef RZ_TENSOR_KERNELS_WORDS_H
#define RZ_TENSOR_KERNELS_WORDS_H

#include "tensor/vector.h"

/* What a product multiplies: floats, or words of the others. */
typedef enum number { FLOAT32, BF16, INT8 } number;

/* Whether this instruction set has the two instructions. */
#if defined(__AVX512BF16__) && defined(__AVX512VNNI__) && !defined(RZ_WIDTH)
#define NATIVE 1
#else
#define NATIVE 0
#endif

INLINE vi vi_load(const void *p)
{
    vi x;
    memcpy(&x, p, sizeof x);
    return x;
}

INLINE void vi_store(void *p, vi x)
{
    memcpy(p, &x, sizeof x);
}

INLINE vi vi_set(uint32_t x)
{
    return (int32_t)x + (vi){0};
}

/* sum + a · b of the two bfloat16 of a word, the upper first. */
INLINE vf dot_bf16(vf sum, vi a, vi b)
{
#if NATIVE
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    const vi upper = vi_set(0xFFFF0000u);
    sum = sum + (vf)(a & upper) * (vf)(b & upper);
    return sum + (vf)(a << 16) * (vf)(b << 16);
#endif
}

/* sum + a · b of the four bytes of a word, unsigned and signed. */
INLINE vi dot_int8(vi sum, vi a, vi b)
{
#if NATIVE
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#else
    UNROLL
    for (int byte = 0; byte < 4; byte++)
        sum += (a >> (8 * byte) & 0xFF) * (b << (24 - 8 * byte) >> 24);
    return sum;
#endif
}

/* Rounds to nearest, ties to even; NaN stays NaN. */
INLINE uint32_t bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x == x ? (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16 : bits >> 16 | 0x40u;
}

/* The same of a vector, in the upper halves; the lower ones are arbitrary. */
INLINE vi bf16_upper(vf x)
{
    vi bits = (vi)x, rounded = bits + 0x7FFF + (bits >> 16 & 1);
    return (vi)v_select(x == x, (vf)rounded, (vf)(bits | 0x400000)); /* NOLINT */
}

/* 2 W numbers in a row as W words. */
INLINE vi bf16_row(vf first, vf second)
{
#if NATIVE
    return (vi)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
#else
    typedef uint16_t halves __attribute__((vector_size(2 * W)));
    halves both[2] = {__builtin_convertvector(bf16_upper(first) >> 16, halves),
                      __builtin_convertvector(bf16_upper(second) >> 16, halves)};
    return vi_load(both);
#endif
}

/* Two rows, element by element the halves of a word. */
INLINE vi bf16_pair(vf lower, vf upper)
{
#if NATIVE
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (vi)_mm512_permutexvar_epi16(order, (__m512i)bf16_row(lower, upper));
#else
    return (bf16_upper(lower) >> 16 & 0xFFFF) | (bf16_upper(upper) & vi_set(0xFFFF0000u));
#endif
}

#endif
