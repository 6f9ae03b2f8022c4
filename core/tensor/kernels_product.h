/* The register-blocked product, of floats or of words, that attention and the packed weights share.
 * Private to the kernel sources. */
#ifndef RZ_TENSOR_KERNELS_PRODUCT_H
#define RZ_TENSOR_KERNELS_PRODUCT_H

#include "tensor/kernels_words.h"
#include "tensor/vector.h"

/* Accumulators that fill the registers: 8 x 3 of 32, 6 x 2 of 16. */
enum { BLOCK_ROWS = W == 16 ? 8 : 6, BLOCK_VECTORS = W == 16 ? 3 : 2 };

/* An element of the left side in every lane; of a word its bits. */
INLINE vf spread(number what, const float *p)
{
    uint32_t word;
    if (what == FLOAT32)
        return v_set(*p);
    memcpy(&word, p, sizeof word);
    return (vf)vi_set(word);
}

INLINE vf multiply_add(number what, vf sum, vf a, vf b)
{
    return what == FLOAT32 ? sum + a * b : dot_bf16(sum, (vi)a, (vi)b);
}

/* c [rows, vectors · W] = from + a · b, a element (i, p) at a[i · ai + p · ap], b [k, ldb]; row i
 * of `from` at from + i · ldf, NULL = 0. With BF16 a and b are words, two numbers along k. Every
 * element of c is one chain of multiply-adds over p: the blocking does not show in the result. */
INLINE void block(number what, size_t rows, size_t vectors, size_t k, const float *a, size_t ai,
                  size_t ap, const float *b, size_t ldb, const float *from, size_t ldf, float *c,
                  size_t ldc)
{
    vf sum[BLOCK_ROWS][BLOCK_VECTORS];
    UNROLL
    for (size_t i = 0; i < rows; i++)
        UNROLL
    for (size_t j = 0; j < vectors; j++)
        sum[i][j] = from != NULL ? v_load(from + i * ldf + j * W) : (vf){0};
    for (size_t p = 0; p < k; p++) {
        vf right[BLOCK_VECTORS];
        UNROLL
        for (size_t j = 0; j < vectors; j++)
            right[j] = v_load(b + p * ldb + j * W);
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            vf left = spread(what, a + i * ai + p * ap);
            UNROLL
            for (size_t j = 0; j < vectors; j++)
                sum[i][j] = multiply_add(what, sum[i][j], left, right[j]);
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++)
        UNROLL
    for (size_t j = 0; j < vectors; j++)
        v_store(c + i * ldc + j * W, sum[i][j]);
}

/* All rows of a column of blocks. Few rows leave the units waiting for each other, so 8 rows are
 * 4 + 4 where a block has 6. */
INLINE void block_column(number what, size_t m, size_t vectors, size_t k, const float *a, size_t ai,
                         size_t ap, const float *b, size_t ldb, const float *from, size_t ldf,
                         float *c, size_t ldc)
{
    for (size_t i = 0; i < m;) {
        size_t left = m - i, rows = left >= BLOCK_ROWS && (BLOCK_ROWS == 8 || left != 8)
                                        ? BLOCK_ROWS
                                    : left >= 4 ? 4
                                    : left >= 2 ? 2
                                                : 1;
        const float *ar = a + i * ai, *fr = from != NULL ? from + i * ldf : NULL;
        float *cr = c + i * ldc;
        if (rows == BLOCK_ROWS)
            block(what, BLOCK_ROWS, vectors, k, ar, ai, ap, b, ldb, fr, ldf, cr, ldc);
        else if (rows == 4)
            block(what, 4, vectors, k, ar, ai, ap, b, ldb, fr, ldf, cr, ldc);
        else if (rows == 2)
            block(what, 2, vectors, k, ar, ai, ap, b, ldb, fr, ldf, cr, ldc);
        else
            block(what, 1, vectors, k, ar, ai, ap, b, ldb, fr, ldf, cr, ldc);
        i += rows;
    }
}

/* c [m, n] = from + a · b; n is a multiple of W, at most BLOCK_VECTORS · W. */
INLINE void product_column(number what, size_t m, size_t n, size_t k, const float *a, size_t ai,
                           size_t ap, const float *b, size_t ldb, const float *from, size_t ldf,
                           float *c, size_t ldc)
{
    if (BLOCK_VECTORS == 3 && n == 3 * W)
        block_column(what, m, BLOCK_VECTORS, k, a, ai, ap, b, ldb, from, ldf, c, ldc);
    else if (n == 2 * W)
        block_column(what, m, 2, k, a, ai, ap, b, ldb, from, ldf, c, ldc);
    else
        block_column(what, m, 1, k, a, ai, ap, b, ldb, from, ldf, c, ldc);
}

/* The same for any number of columns that is a multiple of W. */
INLINE void product(number what, size_t m, size_t n, size_t k, const float *a, size_t ai, size_t ap,
                    const float *b, size_t ldb, const float *from, size_t ldf, float *c, size_t ldc)
{
    enum { COLUMNS = BLOCK_VECTORS * W };
    for (size_t j = 0; j < n; j += COLUMNS)
        product_column(what, m, n - j < COLUMNS ? n - j : COLUMNS, k, a, ai, ap, b + j, ldb,
                       from != NULL ? from + j : NULL, ldf, c + j, ldc);
}

#endif
