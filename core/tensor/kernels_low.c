/* Products in bfloat16 and in 8-bit integers. Numbers go in words of 32 bits, two or four along the
 * depth, and one instruction multiplies and adds a word into a float or an integer. A CPU without
 * it gets the same sums from more instructions. Compiled once per instruction set. */
#include "tensor/kernels_isa.h"
#include "tensor/kernels_product.h"
#include "tensor/vector.h"

enum { PANEL = BLOCK_VECTORS * W };

typedef enum kind { BF16, INT8 } kind;

/* Whether this instruction set has the two instructions. */
#if defined(__AVX512BF16__) && defined(__AVX512VNNI__) && !defined(RZ_WIDTH)
#define NATIVE 1
#else
#define NATIVE 0
#endif

typedef unsigned char vb __attribute__((vector_size(W)));

INLINE vi vi_load(const uint32_t *p)
{
    vi x;
    memcpy(&x, p, sizeof x);
    return x;
}

INLINE vi vi_set(uint32_t x)
{
    return (int32_t)x + (vi){0};
}

/* sum + a · b: of the two bfloat16 of a word, the upper first; of four unsigned and signed bytes.
 */
INLINE vi dot_word(kind what, vi sum, vi a, vi b)
{
#if NATIVE
    if (what == BF16)
        return (vi)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#else
    if (what == BF16) {
        const vi upper = vi_set(0xFFFF0000u);
        vf s = (vf)sum + (vf)(a & upper) * (vf)(b & upper);
        return (vi)(s + (vf)(a << 16) * (vf)(b << 16));
    }
    UNROLL
    for (int byte = 0; byte < 4; byte++)
        sum += (a >> (8 * byte) & 0xFF) * (b << (24 - 8 * byte) >> 24);
    return sum;
#endif
}

/* What a product adds up and how its sums become floats. */
typedef struct low_product {
    size_t n, words;
    const uint32_t *a;                     /* [m, words] */
    const uint32_t *b;                     /* panels */
    const float *row_scale, *column_scale; /* 8-bit only, as is: */
    const int32_t *column_sum;
    const float *from;
    size_t ldf;
    float *c;
    size_t ldc;
} low_product;

/* Rows i … of the panel that begins at column j. */
INLINE void word_block(kind what, const low_product *o, size_t rows, size_t vectors, size_t i,
                       size_t j)
{
    vi sum[BLOCK_ROWS][BLOCK_VECTORS];
    const uint32_t *a = o->a + i * o->words, *b = o->b + j * o->words;
    UNROLL
    for (size_t r = 0; r < rows; r++)
        UNROLL
    for (size_t v = 0; v < vectors; v++)
        sum[r][v] = what == BF16 && o->from != NULL
                        ? (vi)v_load(o->from + (i + r) * o->ldf + j + v * W)
                        : (vi){0};
    for (size_t p = 0; p < o->words; p++) {
        vi right[BLOCK_VECTORS];
        UNROLL
        for (size_t v = 0; v < vectors; v++)
            right[v] = vi_load(b + (p * vectors + v) * W);
        UNROLL
        for (size_t r = 0; r < rows; r++) {
            vi left = vi_set(a[r * o->words + p]);
            UNROLL
            for (size_t v = 0; v < vectors; v++)
                sum[r][v] = dot_word(what, sum[r][v], left, right[v]);
        }
    }
    UNROLL
    for (size_t r = 0; r < rows; r++)
        UNROLL
    for (size_t v = 0; v < vectors; v++) {
        size_t column = j + v * W;
        vf out = (vf)sum[r][v];
        if (what == INT8) {
            vi whole = sum[r][v] - 128 * vi_load((const uint32_t *)o->column_sum + column);
            out = __builtin_convertvector(whole, vf) *
                  (v_load(o->column_scale + column) * o->row_scale[i + r]);
            if (o->from != NULL)
                out += v_load(o->from + (i + r) * o->ldf + column);
        }
        v_store(o->c + (i + r) * o->ldc + column, out);
    }
}

INLINE void panel(kind what, const low_product *o, size_t m, size_t vectors, size_t j)
{
    size_t i = 0;
    for (; i + BLOCK_ROWS <= m; i += BLOCK_ROWS)
        word_block(what, o, BLOCK_ROWS, vectors, i, j);
    for (; i + 2 <= m; i += 2)
        word_block(what, o, 2, vectors, i, j);
    if (i < m)
        word_block(what, o, 1, vectors, i, j);
}

INLINE void product_low(kind what, const low_product *o, size_t m)
{
    for (size_t j = 0; j < o->n; j += PANEL) {
        size_t vectors = o->n - j < PANEL ? (o->n - j + W - 1) / W : BLOCK_VECTORS;
        if (BLOCK_VECTORS == 3 && vectors == 3)
            panel(what, o, m, BLOCK_VECTORS, j);
        else if (vectors == 2)
            panel(what, o, m, 2, j);
        else
            panel(what, o, m, 1, j);
    }
}

void RZ_ISA(product_bf16)(size_t m, size_t n, size_t words, const uint32_t *a,
                          const uint32_t *panels, const float *bias, bool add, float *c, size_t ldc)
{
    low_product o = {.n = n,
                     .words = words,
                     .a = a,
                     .b = panels,
                     .from = add ? c : bias,
                     .ldf = add ? ldc : 0,
                     .c = c,
                     .ldc = ldc};
    product_low(BF16, &o, m);
}

void RZ_ISA(product_int8)(size_t m, size_t n, size_t words, const uint32_t *a,
                          const float *row_scale, const uint32_t *panels, const float *column_scale,
                          const int32_t *column_sum, const float *bias, bool add, float *c,
                          size_t ldc)
{
    low_product o = {.n = n,
                     .words = words,
                     .a = a,
                     .b = panels,
                     .row_scale = row_scale,
                     .column_scale = column_scale,
                     .column_sum = column_sum,
                     .from = add ? c : bias,
                     .ldf = add ? ldc : 0,
                     .c = c,
                     .ldc = ldc};
    product_low(INT8, &o, m);
}

/* ---- into words ------------------------------------------------------------------------------ */

/* Round to nearest, ties to even; NaN stays NaN. */
INLINE uint32_t bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x == x ? (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16 : bits >> 16 | 0x40u;
}

void RZ_ISA(rows_bf16)(uint32_t *out, const float *a, size_t lda, size_t m, size_t k)
{
    for (size_t i = 0; i < m; i++, a += lda, out += k / 2) {
        size_t p = 0;
#if NATIVE
        for (; p + 2 * W <= k; p += 2 * W)
            _mm512_storeu_si512(out + p / 2, (__m512i)_mm512_cvtne2ps_pbh((__m512)v_load(a + p + W),
                                                                          (__m512)v_load(a + p)));
#endif
        for (; p < k; p += 2)
            out[p / 2] = bf16(a[p]) | bf16(a[p + 1]) << 16;
    }
}

void RZ_ISA(rows_int8)(uint32_t *out, float *scale, const float *a, size_t lda, size_t m, size_t k)
{
    for (size_t i = 0; i < m; i++, a += lda, out += k / 4) {
        vf top = {0}, nothing = {0};
        for (size_t p = 0; p < k; p += W) {
            vf x = v_load(a + p);
            top = v_max(v_max(x, -x), top);
            nothing += x * 0.0f; /* not a number where x is none or infinite */
        }
        float most = v_maximum(top), inverse = most > 0.0f ? 127.0f / most : 0.0f;
        scale[i] = most * (1.0f / 127.0f) + v_sum(nothing);
        for (size_t p = 0; p < k; p += W) {
            vb q = __builtin_convertvector(v_round(v_load(a + p) * inverse) + 128, vb);
            memcpy((char *)out + p, &q, sizeof q);
        }
    }
}

/* ---- weights --------------------------------------------------------------------------------- */

void RZ_ISA(pack_bf16)(uint32_t *panels, const float *b, size_t row, size_t column, size_t n,
                       size_t depth, size_t panel)
{
    size_t j = panel * PANEL, width = n - j < PANEL ? (n - j + W - 1) / W * W : PANEL;
    uint32_t *out = panels + j * (depth / 2);
    for (size_t p = 0; p < depth; p += 2)
        for (size_t t = 0; t < width; t++, out++) {
            const float *from = b + (j + t) * row + p * column;
            *out = j + t < n ? bf16(from[0]) | bf16(from[column]) << 16 : 0;
        }
}

/* Columns by their largest number; column_sum is that of the 8-bit numbers. */
void RZ_ISA(pack_int8)(uint32_t *panels, float *scale, int32_t *column_sum, const float *b,
                       size_t row, size_t column, size_t n, size_t depth, size_t panel)
{
    size_t j = panel * PANEL, width = n - j < PANEL ? (n - j + W - 1) / W * W : PANEL;
    uint32_t *out = panels + j * (depth / 4);
    for (size_t t = 0; t < width; t++) {
        float most = 0.0f;
        for (size_t p = 0; p < depth && j + t < n; p++)
            most = fmaxf(most, fabsf(b[(j + t) * row + p * column]));
        float inverse = most > 0.0f ? 127.0f / most : 0.0f;
        int32_t sum = 0;
        for (size_t p = 0; p < depth; p += 4) {
            uint32_t word = 0;
            for (size_t q = 0; q < 4 && j + t < n; q++) {
                int32_t w = (int32_t)rintf(b[(j + t) * row + (p + q) * column] * inverse);
                word |= (uint32_t)(w & 0xFF) << 8 * q;
                sum += w;
            }
            out[p / 4 * width + t] = word;
        }
        scale[j + t] = most * (1.0f / 127.0f);
        column_sum[j + t] = sum;
    }
}
