/* Products in bfloat16 and in 8-bit integers, of vectors of words (kernels_words.h), or with AMX of
 * tiles of 16 x 16 words. Compiled once per instruction set. */
#include "tensor/kernels_isa.h"
#include "tensor/kernels_product.h"
#include "tensor/vector.h"

enum { PANEL = BLOCK_VECTORS * W };

/* How the words of the left side lie: rows one after the other, or [words, BLOCK_ROWS] for each
 * block of rows (the last one may be short). Tiles take rows. */
typedef enum layout { ROWS, BLOCKS } layout;

#if defined(__AMX_BF16__) && defined(__AMX_INT8__) && !defined(RZ_WIDTH)
#define TILES 1
#else
#define TILES 0
#endif

typedef unsigned char vb __attribute__((vector_size(W)));

/* What a product adds up and how its sums become floats. */
typedef struct low_product {
    size_t n, words;
    const uint32_t *a;                     /* as its layout */
    const uint32_t *b;                     /* panels */
    const float *row_scale, *column_scale; /* 8-bit only, as is: */
    const int32_t *column_sum;
    const float *from;
    size_t ldf;
    float *c;
    size_t ldc;
} low_product;

/* Rows i … of the panel that begins at column j. */
INLINE void word_block(number what, layout left_side, const low_product *o, size_t rows,
                       size_t vectors, size_t i, size_t j)
{
    /* One of the two, by what: sums that change their type on the way are kept in memory by gcc 12.
     */
    vf sum[BLOCK_ROWS][BLOCK_VECTORS];
    vi whole[BLOCK_ROWS][BLOCK_VECTORS];
    const size_t inside = left_side == BLOCKS ? i % BLOCK_ROWS : 0;
    const uint32_t *a = o->a + (i - inside) * o->words + inside, *b = o->b + j * o->words;
    UNROLL
    for (size_t r = 0; r < rows; r++)
        UNROLL
    for (size_t v = 0; v < vectors; v++) {
        bool from = what == BF16 && o->from != NULL;
        sum[r][v] = from ? v_load(o->from + (i + r) * o->ldf + j + v * W) : (vf){0};
        whole[r][v] = (vi){0};
    }
    for (size_t p = 0; p < o->words; p++) {
        vi right[BLOCK_VECTORS];
        UNROLL
        for (size_t v = 0; v < vectors; v++)
            right[v] = vi_load(b + (p * vectors + v) * W);
        UNROLL
        for (size_t r = 0; r < rows; r++) {
            vi left = vi_set(left_side == BLOCKS ? a[p * BLOCK_ROWS + r] : a[r * o->words + p]);
            UNROLL
            for (size_t v = 0; v < vectors; v++)
                if (what == BF16)
                    sum[r][v] = dot_bf16(sum[r][v], left, right[v]);
                else
                    whole[r][v] = dot_int8(whole[r][v], left, right[v]);
        }
    }
    UNROLL
    for (size_t r = 0; r < rows; r++)
        UNROLL
    for (size_t v = 0; v < vectors; v++) {
        size_t column = j + v * W;
        vf out = sum[r][v];
        if (what == INT8) {
            vi total = whole[r][v] - 128 * vi_load(o->column_sum + column);
            out = __builtin_convertvector(total, vf) *
                  (v_load(o->column_scale + column) * o->row_scale[i + r]);
            if (o->from != NULL)
                out += v_load(o->from + (i + r) * o->ldf + column);
        }
        v_store(o->c + (i + r) * o->ldc + column, out);
    }
}

INLINE void panel(number what, layout left, const low_product *o, size_t m, size_t vectors,
                  size_t j)
{
    size_t i = 0;
    for (; i + BLOCK_ROWS <= m; i += BLOCK_ROWS)
        word_block(what, left, o, BLOCK_ROWS, vectors, i, j);
    for (; i + 2 <= m; i += 2)
        word_block(what, left, o, 2, vectors, i, j);
    if (i < m)
        word_block(what, left, o, 1, vectors, i, j);
}

#if TILES
enum { TILE = 16 }; /* rows of a tile, and words in one */

/* Tiles 0 to 2 and 3 to 5: sums of two blocks of rows; 6: weights; 7: rows. */
typedef struct tile_shapes {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

static void shape_tiles(size_t upper, size_t lower)
{
    tile_shapes shapes = {.palette = 1};
    for (size_t t = 0; t < 8; t++) {
        shapes.row_bytes[t] = 4 * TILE;
        shapes.rows[t] = (uint8_t)(t == 6 ? TILE : t < 3 || t == 7 ? upper : lower);
    }
    _tile_loadconfig(&shapes);
}

/* The sums of one tile: floats into their place, integers through scales. */
INLINE void tile_scale(const low_product *o, const int32_t *sums, size_t rows, size_t i, size_t j)
{
    vi column_sum = vi_load(o->column_sum + j);
    vf column_scale = v_load(o->column_scale + j);
    for (size_t r = 0; r < rows; r++) {
        vi whole = vi_load(sums + r * TILE) - 128 * column_sum;
        vf out = __builtin_convertvector(whole, vf) * (column_scale * o->row_scale[i + r]);
        if (o->from != NULL)
            out += v_load(o->from + (i + r) * o->ldf + j);
        v_store(o->c + (i + r) * o->ldc + j, out);
    }
}

/* Instructions name their tiles, so there are no loops over them. */
#define TILE_BEGIN(tile, row, v)                                                                   \
    do {                                                                                           \
        if ((v) < vectors && what == BF16 && o->from != NULL)                                      \
            _tile_loadd(tile, o->from + (row)*o->ldf + j + (v)*W, o->ldf * sizeof(float));         \
        else                                                                                       \
            _tile_zero(tile);                                                                      \
    } while (0)
#define TILE_ADD(tile)                                                                             \
    do {                                                                                           \
        if (what == BF16)                                                                          \
            _tile_dpbf16ps(tile, 7, 6);                                                            \
        else                                                                                       \
            _tile_dpbusd(tile, 7, 6);                                                              \
    } while (0)
#define TILE_END(tile, row, n, v)                                                                  \
    do {                                                                                           \
        if ((v) < vectors && what == BF16)                                                         \
            _tile_stored(tile, o->c + (row)*o->ldc + j + (v)*W, o->ldc * sizeof(float));           \
        else if ((v) < vectors) {                                                                  \
            _tile_stored(tile, sums, 4 * TILE);                                                    \
            tile_scale(o, sums, n, row, j + (v)*W);                                                \
        }                                                                                          \
    } while (0)

/* Rows i … of the panel that begins at column j, all of one block of rows. */
INLINE void tile_upper(number what, const low_product *o, size_t rows, size_t vectors, size_t i,
                       size_t j)
{
    int32_t sums[TILE * TILE];
    const uint32_t *b = o->b + j * o->words, *upper = o->a + i * o->words;
    const size_t stride = o->words * 4, step = vectors * W;
    TILE_BEGIN(0, i, 0);
    TILE_BEGIN(1, i, 1);
    TILE_BEGIN(2, i, 2);
    for (size_t p = 0; p < o->words; p += TILE) {
        _tile_loadd(7, upper + p, stride);
        _tile_loadd(6, b + p * step, step * 4);
        TILE_ADD(0);
        if (vectors > 1) {
            _tile_loadd(6, b + p * step + W, step * 4);
            TILE_ADD(1);
        }
        if (vectors > 2) {
            _tile_loadd(6, b + p * step + 2 * W, step * 4);
            TILE_ADD(2);
        }
    }
    TILE_END(0, i, rows, 0);
    TILE_END(1, i, rows, 1);
    TILE_END(2, i, rows, 2);
}

/* The same for two whole blocks of rows, which share what they read of the weights. */
INLINE void tile_both(number what, const low_product *o, size_t vectors, size_t i, size_t j)
{
    int32_t sums[TILE * TILE];
    const uint32_t *b = o->b + j * o->words, *upper = o->a + i * o->words,
                   *lower = upper + TILE * o->words;
    const size_t stride = o->words * 4, step = vectors * W;
    TILE_BEGIN(0, i, 0);
    TILE_BEGIN(1, i, 1);
    TILE_BEGIN(2, i, 2);
    TILE_BEGIN(3, i + TILE, 0);
    TILE_BEGIN(4, i + TILE, 1);
    TILE_BEGIN(5, i + TILE, 2);
    for (size_t p = 0; p < o->words; p += TILE) {
        _tile_loadd(6, b + p * step, step * 4);
        _tile_loadd(7, upper + p, stride);
        TILE_ADD(0);
        _tile_loadd(7, lower + p, stride);
        TILE_ADD(3);
        if (vectors > 1) {
            _tile_loadd(6, b + p * step + W, step * 4);
            TILE_ADD(4);
            _tile_loadd(7, upper + p, stride);
            TILE_ADD(1);
        }
        if (vectors > 2) {
            _tile_loadd(6, b + p * step + 2 * W, step * 4);
            TILE_ADD(2);
            _tile_loadd(7, lower + p, stride);
            TILE_ADD(5);
        }
    }
    TILE_END(0, i, TILE, 0);
    TILE_END(1, i, TILE, 1);
    TILE_END(2, i, TILE, 2);
    TILE_END(3, i + TILE, TILE, 0);
    TILE_END(4, i + TILE, TILE, 1);
    TILE_END(5, i + TILE, TILE, 2);
}

/* A panel; the tiles are shaped for whole blocks before and after. */
INLINE void tile_panel(number what, const low_product *o, size_t m, size_t vectors, size_t j)
{
    size_t i = 0;
    for (; i + 2 * TILE <= m; i += 2 * TILE)
        tile_both(what, o, vectors, i, j);
    for (; i + TILE <= m; i += TILE)
        tile_upper(what, o, TILE, vectors, i, j);
    if (i == m)
        return;
    shape_tiles(m - i, TILE);
    tile_upper(what, o, m - i, vectors, i, j);
    shape_tiles(TILE, TILE);
}

INLINE void product_tiles(number what, const low_product *o, size_t m)
{
    shape_tiles(TILE, TILE);
    for (size_t j = 0; j < o->n; j += PANEL) {
        size_t vectors = o->n - j < PANEL ? (o->n - j + W - 1) / W : BLOCK_VECTORS;
        if (vectors == 3)
            tile_panel(what, o, m, 3, j);
        else if (vectors == 2)
            tile_panel(what, o, m, 2, j);
        else
            tile_panel(what, o, m, 1, j);
    }
    _tile_release();
}
#endif

INLINE void product_low(number what, layout left, const low_product *o, size_t m)
{
#if TILES
    if (left == ROWS && o->words % TILE == 0) {
        product_tiles(what, o, m);
        return;
    }
#endif
    for (size_t j = 0; j < o->n; j += PANEL) {
        size_t vectors = o->n - j < PANEL ? (o->n - j + W - 1) / W : BLOCK_VECTORS;
        if (BLOCK_VECTORS == 3 && vectors == 3)
            panel(what, left, o, m, BLOCK_VECTORS, j);
        else if (vectors == 2)
            panel(what, left, o, m, 2, j);
        else
            panel(what, left, o, m, 1, j);
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
    product_low(BF16, ROWS, &o, m);
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
    product_low(INT8, ROWS, &o, m);
}

/* ---- into words ------------------------------------------------------------------------------ */

void RZ_ISA(rows_bf16)(uint32_t *out, const float *a, size_t lda, size_t m, size_t k)
{
    for (size_t i = 0; i < m; i++, a += lda, out += k / 2) {
        size_t p = 0;
        for (; p + 2 * W <= k; p += 2 * W)
            vi_store(out + p / 2, bf16_row(v_load(a + p), v_load(a + p + W)));
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
    if (row == 1 && n - j >= width) {
        for (size_t p = 0; p < depth; p += 2)
            for (size_t t = 0; t < width; t += W, out += W) {
                const float *from = b + j + t + p * column;
                vi_store(out, bf16_pair(v_load(from), v_load(from + column)));
            }
        return;
    }
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

/* ---- gradients of weights -------------------------------------------------------------------- */

/* A multiple of a tile's words. */
enum { DEPTH = 512 };

#if TILES
static const layout transposed_layout = ROWS;
#else
static const layout transposed_layout = BLOCKS;
#endif

/* Where word q of row i of a left side lies. */
INLINE size_t word_at(size_t i, size_t q, size_t words)
{
    size_t inside = transposed_layout == BLOCKS ? i % BLOCK_ROWS : 0;
    return (i - inside) * words + (transposed_layout == BLOCKS ? q * BLOCK_ROWS + inside : q);
}

/* Columns of a [depth, m] as the left side of a product; what is beyond the depth is 0. Some of the
 * depth at a time: lines far apart push each other out of the cache, and all columns need them. */
static void columns(uint32_t *out, const float *a, size_t lda, size_t m, size_t depth, size_t words)
{
    enum { TOGETHER = 32, STEP = W % BLOCK_ROWS == 0 ? BLOCK_ROWS : 1 };
    const size_t step = transposed_layout == BLOCKS ? STEP : 1;
    for (size_t first = 0; first < words; first += TOGETHER) {
        size_t end = words - first < TOGETHER ? words : first + TOGETHER, i = 0;
        size_t pairs = depth / 2 < first ? first : depth / 2 < end ? depth / 2 : end;
        for (; i + W <= m; i += W)
            for (size_t q = first; q < pairs; q++) {
                const float *lower = a + 2 * q * lda + i;
                vi word = bf16_pair(v_load(lower), v_load(lower + lda));
                UNROLL
                for (size_t t = 0; t < W; t += step)
                    memcpy(out + word_at(i + t, q, words), (const char *)&word + 4 * t, 4 * step);
            }
        for (size_t q = first; q < end; q++) {
            const float *lower = a + 2 * q * lda, *upper = lower + lda;
            for (size_t t = q < pairs ? i : 0; t < m; t++)
                out[word_at(t, q, words)] = (2 * q < depth ? bf16(lower[t]) : 0) |
                                            (2 * q + 1 < depth ? bf16(upper[t]) << 16 : 0);
        }
    }
}

void RZ_ISA(transposed_bf16)(size_t m, size_t n, size_t k, const float *a, size_t lda,
                             const float *b, size_t ldb, float *c, size_t ldc, float *scratch)
{
    uint32_t *panel = (uint32_t *)scratch, *rows = panel + (size_t)PANEL * (DEPTH / 2);
    for (size_t p = 0; p < k; p += DEPTH, a += DEPTH * lda, b += DEPTH * ldb) {
        size_t depth = k - p < DEPTH ? k - p : DEPTH;
        /* Whole tiles of words: the rest is 0, which adds nothing. */
        size_t words = (depth + 31) / 32 * 16;
        columns(rows, a, lda, m, depth, words);
        for (size_t j = 0; j < n; j += PANEL) {
            size_t width = n - j < PANEL ? n - j : PANEL;
            uint32_t *out = panel;
            for (size_t q = 0; q < words; q++)
                for (size_t t = 0; t < width; t += W, out += W) {
                    const float *from = b + 2 * q * ldb + j + t;
                    vf lower = 2 * q < depth ? v_load(from) : (vf){0};
                    vf upper = 2 * q + 1 < depth ? v_load(from + ldb) : (vf){0};
                    vi_store(out, bf16_pair(lower, upper));
                }
            low_product o = {.n = width,
                             .words = words,
                             .a = rows,
                             .b = panel,
                             .from = c + j,
                             .ldf = ldc,
                             .c = c + j,
                             .ldc = ldc};
            product_low(BF16, transposed_layout, &o, m);
        }
    }
}
