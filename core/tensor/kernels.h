/* Everything around the matrix products: row kernels and attention, forward next to backward.
 *
 * The same sources are compiled once per instruction set and chosen at run time; vectors are plain
 * compiler extensions, so any CPU runs the narrowest version. Vector code sums in a fixed order,
 * row by row: a result never depends on other rows, on threads or on alignment. No kernel
 * allocates. Row lengths are multiples of RZ_LANES unless said otherwise. Letters: x input,
 * y output, d… gradient of the loss, n length of a row, ld distance of rows in floats. */
#ifndef RZ_TENSOR_KERNELS_H
#define RZ_TENSOR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RZ_LANES = 16, /* padding unit of rows, on every instruction set */
    /* Tiles of attention: queries (by instruction set) and keys (twice as many where vectors are
     * narrower than 16) forward, both backward. */
    RZ_ATTENTION_QUERIES_MAX = 48,
    RZ_ATTENTION_KEYS = 64,
    RZ_ATTENTION_BACK_QUERIES = 64,
    RZ_ATTENTION_BACK_KEYS = 64,
    /* Of product_transposed and transposed_bf16: rows, whole blocks of every set; both sides for a
     * part of the depth.
     */
    RZ_TRANSPOSED_ROWS = 240,
    RZ_TRANSPOSED_SCRATCH = 256 * (RZ_TRANSPOSED_ROWS + 48),
    RZ_DROPOUT_SITE_SHIFT = 48
};

/* Where dropout's random bits come from: Philox at (seed, stream, site << 48 | place). */
typedef struct rz_dropout {
    uint64_t seed, stream;
    uint32_t threshold; /* of 65,536: elements whose 16 bits are below it are dropped; 0 = off */
    float scale;        /* 65,536 / (65,536 - threshold) */
} rz_dropout;

/* One attention head of one timeline. Keys and values share their row distance. */
typedef struct rz_attention {
    size_t n_queries, n_keys, head_size;
    const float *q, *k, *v; /* [n_queries, ldq] [n_keys, ldkv] [n_keys, ldkv] */
    size_t ldq, ldkv;
    float scale; /* 1 / sqrt(head_size) */
} rz_attention;

typedef struct rz_attention_gradient {
    const float *out_gradient; /* [n_queries, ldo]: d loss / d attention output */
    const float *out;          /* [n_queries, ldo] */
    const float *log_sum_exp;  /* [n_queries], from the forward pass; base 2 */
    size_t ldo;
    float *dq, *dk, *dv; /* written; row distances ldq of dq, ldkv of dk and dv */
    size_t lddq, lddkv;
    float *presence; /* [n_keys] written; d loss / d weight of each key, where its e^score counts
                        weight times (at weight 1); NULL = not wanted */
} rz_attention_gradient;

typedef struct rz_kernels {
    const char *name; /* "amx" (with what follows), "avx512_bf16" (with VNNI), "avx512", "avx2",
                         "generic" */

    /* y += x; y += a·x; x·y. n: any. */
    void (*add)(float *y, const float *x, size_t n);
    void (*axpy)(float *y, float a, const float *x, size_t n);
    float (*dot)(const float *x, const float *y, size_t n);

    /* keep[e] = 0 or scale, for the row `row` of a matrix with n columns, at a site. Element e
     * takes the (e / 16 % 2)th 16-bit half of word (e % 128 / 32) of the draw at site << 48 | (row
     * · ceil(n / 128) + e / 128) · 16 + e % 16. keep has room for n rounded up to 128. */
    void (*dropout_row)(const rz_dropout *dropout, uint64_t site, uint64_t row, float *keep,
                        size_t n);

    /* y = residual + keep ∘ x; keep NULL = 1. y may alias x or residual. */
    void (*residual_row)(float *y, const float *x, const float *keep, const float *residual,
                         size_t n);
    /* y = a ∘ b; y may alias either. */
    void (*multiply_row)(float *y, const float *a, const float *b, size_t n);

    /* Layer normalisation of one row: normal = (x - mean) / sqrt(variance + epsilon),
     * y = gain ∘ normal + bias. Returns 1 / sqrt(…). normal may be NULL; y may alias x or normal.
     * Backward: dx from dy; dgain and dbias are added to. dx may alias dy. */
    float (*norm_row)(float *y, float *normal, const float *x, const float *gain, const float *bias,
                      float epsilon, size_t n);
    void (*norm_row_backward)(float *dx, float *dgain, float *dbias, const float *dy,
                              const float *normal, const float *gain, float inverse_deviation,
                              size_t n);

    /* y = gelu(x) = x Φ(x), Φ the normal distribution function, absolute error of Φ below 2e-7.
     * y may alias x. Backward: dx = dy · gelu'(x), and y = gelu(x) again (NULL = not wanted). dx
     * may alias dy. */
    void (*gelu_row)(float *y, const float *x, size_t n);
    void (*gelu_row_backward)(float *dx, float *y, const float *dy, const float *x, size_t n);

    /* Cross-entropy of one row of logits against `label`: returns -log softmax(x)[label] and turns
     * x into weight · (softmax(x) - onehot). n: any. */
    double (*cross_entropy_row)(float *x, size_t label, float weight, size_t n);

    /* out [n_queries, ldo] = softmax(scale · q kᵀ) v. log_sum_exp [n_queries], base 2, or NULL.
     * scratch: rz_attention_scratch floats, 64-byte aligned.
     * Source Vaswani et al. 2017, section 3.2. Cost 4·n_queries·n_keys·head_size flop; backward
     * recomputes the probabilities and costs 10·…. */
    void (*attention)(const rz_attention *a, float *out, size_t ldo, float *log_sum_exp,
                      float *scratch);
    void (*attention_backward)(const rz_attention *a, const rz_attention_gradient *g,
                               float *scratch);
    /* The same with both sides of each of the 2 + 5 products rounded to bfloat16: queries (times
     * scale), keys, values, weights and gradients; sums in float32. No presence. */
    void (*attention_bf16)(const rz_attention *a, float *out, size_t ldo, float *log_sum_exp,
                           float *scratch);
    void (*attention_backward_bf16)(const rz_attention *a, const rz_attention_gradient *g,
                                    float *scratch);

    /* Products with a packed weight: see tensor/weight.h, which calls these. `panels` holds a
     * weight with n columns in panels of panel_columns columns, [depth, columns] each, the last one
     * narrower but of whole vectors; element (column j, depth p) comes from b[j · row + p ·
     * column], and one of row and column is 1. A product takes k depths from `first` on. */
    size_t panel_columns, block_rows; /* block_rows: rows whose sums the registers hold */
    void (*pack_panel)(float *panels, const float *b, size_t row, size_t column, size_t n,
                       size_t depth, size_t panel);
    void (*product_packed)(size_t m, size_t n, size_t first, size_t k, const float *a, size_t lda,
                           const float *panels, size_t depth, const float *bias, bool add, float *c,
                           size_t ldc);

    /* c [m, n] += a [k, m]ᵀ · b [k, n]: the gradient of a layer's weight, summed over k tokens, in
     * one chain of multiply-adds an element. m at most RZ_TRANSPOSED_ROWS, n a multiple of
     * RZ_LANES. scratch: RZ_TRANSPOSED_SCRATCH floats, 64-byte aligned. */
    void (*product_transposed)(size_t m, size_t n, size_t k, const float *a, size_t lda,
                               const float *b, size_t ldb, float *c, size_t ldc, float *scratch);

    /* The same with words of 32 bits: two bfloat16 along the depth, or four bytes, which is a
     * multiple of RZ_LANES. Rows become words (bytes with a scale for each row, from its largest
     * number), weights become panels of words (bytes with a scale and a sum for each column).
     * low_native: the CPU multiplies words; else the same sums come slower. */
    bool low_native;
    void (*rows_bf16)(uint32_t *out, const float *a, size_t lda, size_t m, size_t k);
    void (*pack_bf16)(uint32_t *panels, const float *b, size_t row, size_t column, size_t n,
                      size_t depth, size_t panel);
    void (*product_bf16)(size_t m, size_t n, size_t words, const uint32_t *a,
                         const uint32_t *panels, const float *bias, bool add, float *c, size_t ldc);
    void (*transposed_bf16)(size_t m, size_t n, size_t k, const float *a, size_t lda,
                            const float *b, size_t ldb, float *c, size_t ldc, float *scratch);
    void (*rows_int8)(uint32_t *out, float *scale, const float *a, size_t lda, size_t m, size_t k);
    void (*pack_int8)(uint32_t *panels, float *scale, int32_t *column_sum, const float *b,
                      size_t row, size_t column, size_t n, size_t depth, size_t panel);
    void (*product_int8)(size_t m, size_t n, size_t words, const uint32_t *a,
                         const float *row_scale, const uint32_t *panels, const float *column_scale,
                         const int32_t *column_sum, const float *bias, bool add, float *c,
                         size_t ldc);

    /* exp of n floats (any n): relative error below 2e-7; 0 below -86. For tests and gates. */
    void (*exp_rows)(float *y, const float *x, size_t n);
} rz_kernels;

/* The widest version that this CPU runs; static. `limit` names a narrower one, or NULL.
 * Returns NULL when `limit` is unknown or this CPU cannot run it. */
const rz_kernels *rz_kernels_find(const char *limit);

/* Floats of scratch that attention needs for a timeline of n_keys tokens (forward or backward). */
size_t rz_attention_scratch(size_t n_keys, size_t head_size);

/* A dropout source for rate p in [0, 1); p 0 = off. */
rz_dropout rz_dropout_make(float p, uint64_t seed, uint64_t stream);

#endif
