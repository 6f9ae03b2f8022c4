/* A matrix product whose every element is one chain of multiply-adds, so that no row depends on its
 * place or its neighbours: what a BLAS that cannot promise it is replaced with. Compiled once per
 * instruction set. */
#include "tensor/kernels_product.h"
#include "tensor/kernels_isa.h"
#include "tensor/vector.h"

enum { PANEL = 2 * W, DEPTH = 256, HEIGHT = 64 };

/* packed [depth, PANEL] = b [columns, ldb]ᵀ, columns beyond `columns` 0. */
static void pack(float *packed, const float *b, size_t ldb, size_t columns, size_t depth)
{
    for (size_t t = 0; t < PANEL; t++)
        for (size_t p = 0; p < depth; p++)
            packed[p * PANEL + t] = t < columns ? b[t * ldb + p] : 0.0f;
}

static void tile(size_t m, size_t depth, const float *a, size_t lda, const float *packed, float *c,
                 size_t ldc, bool add)
{
    product(m, PANEL, depth, a, lda, 1, packed, PANEL, c, ldc, add);
}

void RZ_ISA(product_nt)(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                        size_t ldb, float *c, size_t ldc)
{
    float packed[DEPTH * PANEL], edge[HEIGHT * PANEL];
    for (size_t j = 0; j < n; j += PANEL) {
        size_t columns = n - j < PANEL ? n - j : PANEL;
        for (size_t p = 0; p < k; p += DEPTH) {
            size_t depth = k - p < DEPTH ? k - p : DEPTH;
            pack(packed, b + j * ldb + p, ldb, columns, depth);
            if (columns == PANEL) {
                tile(m, depth, a + p, lda, packed, c + j, ldc, p > 0);
                continue;
            }
            /* The last, narrow panel goes through a buffer: c has no room for whole vectors. */
            for (size_t i = 0; i < m; i += HEIGHT) {
                size_t rows = m - i < HEIGHT ? m - i : HEIGHT;
                for (size_t r = 0; p > 0 && r < rows; r++)
                    for (size_t t = 0; t < PANEL; t++)
                        edge[r * PANEL + t] = t < columns ? c[(i + r) * ldc + j + t] : 0.0f;
                tile(rows, depth, a + i * lda + p, lda, packed, edge, PANEL, p > 0);
                for (size_t r = 0; r < rows; r++)
                    memcpy(c + (i + r) * ldc + j, edge + r * PANEL, columns * sizeof *c);
            }
        }
    }
}
