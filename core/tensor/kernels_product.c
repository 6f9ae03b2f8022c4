/* Products with a packed weight. Every element is one chain of multiply-adds, so that no row
 * depends on its place or its neighbours. Compiled once per instruction set. */
#include "tensor/kernels_product.h"
#include "tensor/kernels_isa.h"
#include "tensor/vector.h"

enum {
    PANEL = BLOCK_VECTORS * W,
    DEPTH = 256, /* of a panel, so that this part stays in the nearest cache */
    PACKED = 64, /* rows whose lines the second cache holds, however far apart */
    AHEAD = 8    /* rows of the next panel that are asked for with each block of rows */
};

/* Columns of the panel that begins at column j: whole vectors. */
static size_t panel_width(size_t n, size_t j)
{
    return n - j < PANEL ? (n - j + W - 1) / W * W : PANEL;
}

/* n is a multiple of W. Compilers make slow calls of a short memcpy of unknown length. */
INLINE void copy(float *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i += W)
        v_store(out + i, v_load(in + i));
}

void RZ_ISA(pack_panel)(float *panels, const float *b, size_t row, size_t column, size_t n,
                        size_t depth, size_t panel)
{
    size_t j = panel * PANEL, width = panel_width(n, j), whole = n - j < width ? n - j : width;
    float *out = panels + j * depth;
    const float *from = b + j * row;
    if (row == 1) {
        for (size_t p = 0; p < depth; p++, out += width) {
            size_t vectors = whole / W * W;
            copy(out, from + p * column, vectors);
            for (size_t t = vectors; t < width; t++)
                out[t] = t < whole ? from[p * column + t] : 0.0f;
        }
        return;
    }
    for (size_t p = 0; p < depth; p++, out += width) {
        for (size_t t = 0; t < whole; t++)
            out[t] = from[t * row + p * column];
        for (size_t t = whole; t < width; t++)
            out[t] = 0.0f;
    }
}

void RZ_ISA(product_packed)(size_t m, size_t n, size_t first, size_t k, const float *a, size_t lda,
                            const float *panels, size_t depth, const float *bias, bool add,
                            float *c, size_t ldc)
{
    for (size_t j = 0; j < n; j += PANEL) {
        size_t width = panel_width(n, j);
        const float *panel = panels + j * depth + first * width;
        const float *from = add ? c + j : bias != NULL ? bias + j : NULL;
        size_t ldf = add ? ldc : 0;
        for (size_t p = 0; p < k; p += DEPTH) {
            size_t part = k - p < DEPTH ? k - p : DEPTH;
            product_column(FLOAT32, m, width, part, a + p, lda, 1, panel + p * width, width, from,
                           ldf, c + j, ldc);
            from = c + j;
            ldf = ldc;
        }
    }
}

/* The rows of one block of the result, [depth, BLOCK_ROWS], from columns of a. Read in place, a
 * power of two apart, they would push each other out of the cache. */
INLINE void pack_block(float *out, const float *a, size_t lda, size_t rows, size_t depth)
{
    if (rows == BLOCK_ROWS)
        for (size_t p = 0; p < depth; p++)
            memcpy(out + p * BLOCK_ROWS, a + p * lda, BLOCK_ROWS * sizeof *out);
    else
        for (size_t p = 0; p < depth; p++)
            for (size_t i = 0; i < rows; i++)
                out[p * BLOCK_ROWS + i] = a[p * lda + i];
}

/* All blocks, by a part of the depth at a time: blocks share lines, which must stay till then. */
static void pack_rows(float *out, const float *a, size_t lda, size_t m, size_t depth)
{
    for (size_t p = 0; p < depth; p += PACKED) {
        size_t part = depth - p < PACKED ? depth - p : PACKED;
        for (size_t i = 0; i < m; i += BLOCK_ROWS)
            pack_block(out + i * depth + p * BLOCK_ROWS, a + p * lda + i, lda,
                       m - i < BLOCK_ROWS ? m - i : BLOCK_ROWS, part);
    }
}

void RZ_ISA(product_transposed)(size_t m, size_t n, size_t k, const float *a, size_t lda,
                                const float *b, size_t ldb, float *c, size_t ldc, float *scratch)
{
    float *panel = scratch, *rows = scratch + (size_t)PANEL * DEPTH;
    for (size_t p = 0; p < k; p += DEPTH, a += DEPTH * lda, b += DEPTH * ldb) {
        size_t depth = k - p < DEPTH ? k - p : DEPTH;
        pack_rows(rows, a, lda, m, depth);
        for (size_t j = 0; j < n; j += PANEL) {
            size_t width = panel_width(n, j), ahead = 0;
            for (size_t q = 0; q < depth; q++)
                copy(panel + q * width, b + q * ldb + j, width);
            for (size_t i = 0; i < m; i += BLOCK_ROWS) {
                /* The next panel is on its way while this one is worked with. */
                size_t asked = j + PANEL < n ? (i / BLOCK_ROWS + 1) * AHEAD : 0;
                for (; ahead < depth && ahead < asked; ahead++)
                    __builtin_prefetch(b + ahead * ldb + j + PANEL);
                float *at = c + i * ldc + j;
                product_column(FLOAT32, m - i < BLOCK_ROWS ? m - i : BLOCK_ROWS, width, depth,
                               rows + i * depth, 1, BLOCK_ROWS, panel, width, at, ldc, at, ldc);
            }
        }
    }
}
