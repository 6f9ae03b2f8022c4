/* The register-blocked product that attention and the row-invariant matrix product share. Private
 * to the kernel sources. */
#ifndef RZ_TENSOR_KERNELS_PRODUCT_H
#define RZ_TENSOR_KERNELS_PRODUCT_H

#include "tensor/vector.h"

/* c [rows, vectors · W] (+)= a · b, a element (i, p) at a[i · ai + p · ap], b [k, ldb]. Every
 * element of c is one chain of multiply-adds over p: the blocking does not show in the result. */
INLINE void block(size_t rows, size_t vectors, size_t k, const float *a, size_t ai, size_t ap,
                  const float *b, size_t ldb, float *c, size_t ldc, bool add)
{
    vf sum[8][2];
    UNROLL
    for (size_t i = 0; i < rows; i++)
        UNROLL
    for (size_t j = 0; j < vectors; j++)
        sum[i][j] = add ? v_load(c + i * ldc + j * W) : (vf){0};
    for (size_t p = 0; p < k; p++) {
        vf right[2];
        UNROLL
        for (size_t j = 0; j < vectors; j++)
            right[j] = v_load(b + p * ldb + j * W);
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            vf left = v_set(a[i * ai + p * ap]);
            UNROLL
            for (size_t j = 0; j < vectors; j++)
                sum[i][j] += left * right[j];
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++)
        UNROLL
    for (size_t j = 0; j < vectors; j++)
        v_store(c + i * ldc + j * W, sum[i][j]);
}

/* n is a multiple of W. Rows in blocks that fit the registers: 8 x 2 of 32, or 4 x 2 of 16. */
INLINE void product(size_t m, size_t n, size_t k, const float *a, size_t ai, size_t ap,
                    const float *b, size_t ldb, float *c, size_t ldc, bool add)
{
    enum { ROWS = W == 16 ? 8 : 4 };
    for (size_t j = 0; j < n;) {
        size_t i = 0, two = n - j >= 2 * W;
        const float *right = b + j;
        float *out = c + j;
        if (two) {
            for (; i + ROWS <= m; i += ROWS)
                block(ROWS, 2, k, a + i * ai, ai, ap, right, ldb, out + i * ldc, ldc, add);
            for (; i + 2 <= m; i += 2)
                block(2, 2, k, a + i * ai, ai, ap, right, ldb, out + i * ldc, ldc, add);
            if (i < m)
                block(1, 2, k, a + i * ai, ai, ap, right, ldb, out + i * ldc, ldc, add);
        } else {
            for (; i + ROWS <= m; i += ROWS)
                block(ROWS, 1, k, a + i * ai, ai, ap, right, ldb, out + i * ldc, ldc, add);
            for (; i + 2 <= m; i += 2)
                block(2, 1, k, a + i * ai, ai, ap, right, ldb, out + i * ldc, ldc, add);
            if (i < m)
                block(1, 1, k, a + i * ai, ai, ap, right, ldb, out + i * ldc, ldc, add);
        }
        j += two ? 2 * W : W;
    }
}

#endif
