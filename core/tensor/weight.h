/* A weight as products read it: packed once, used for every block of rows until it changes.
 *
 * A product runs on the calling thread only. Rezept spreads work over its own pool in blocks of
 * rows, and every element of a result is one chain of multiply-adds over the depth: a row has the
 * same bytes in every batch, in every block, at any number of threads.
 *
 * Precisions: float32; bfloat16 for both sides, summed in float32; or 8-bit integers for both
 * sides, summed exactly, rows scaled by their largest number as they come and columns by theirs. */
#ifndef RZ_TENSOR_WEIGHT_H
#define RZ_TENSOR_WEIGHT_H

#include "tensor/kernels.h"

typedef enum rz_precision { RZ_FLOAT32, RZ_BF16, RZ_INT8, RZ_PRECISION_COUNT } rz_precision;

const char *rz_precision_name(rz_precision precision); /* "float32", "bf16", "int8"; static */
bool rz_precision_read(const char *name, rz_precision *out);

typedef struct rz_weight {
    const rz_kernels *kernels;
    rz_precision precision;
    size_t n, k;         /* columns of the result, depth */
    const float *source; /* float32, row-major; borrowed */
    size_t row, column;  /* column j at depth p is source[j · row + p · column] */
    void *panels;        /* rz_weight_bytes, 64-byte aligned; NULL: products go to the BLAS */
    size_t depth, first; /* of a view: depth of its panels, where its own begins */
} rz_weight;

/* A layer's weight [out, in], forward: c = a [m, in] · weightᵀ, n = out. */
rz_weight rz_weight_forward(const rz_kernels *kernels, const float *source, size_t out, size_t in);
/* The same weight backward, for the gradient of the input: c = a [m, out] · weight, n = in. */
rz_weight rz_weight_backward(const rz_kernels *kernels, const float *source, size_t out, size_t in);

/* A part of a float32 weight, which shares its panels: n columns from `first` on, both multiples of
 * the kernels' panel_columns, or n up to the end; or k depths. */
rz_weight rz_weight_columns(const rz_weight *weight, size_t first, size_t n);
rz_weight rz_weight_depths(const rz_weight *weight, size_t first, size_t k);

/* Bytes of the packed form, a multiple of 64; and its panels, the tasks of packing. Other
 * precisions than float32 want a depth that is a multiple of RZ_LANES. */
size_t rz_weight_bytes(const rz_weight *weight);
size_t rz_weight_panels(const rz_weight *weight);
/* Packs one panel of the source as it is now. Threads: safe with distinct panels. */
void rz_weight_pack(const rz_weight *weight, size_t panel);

/* Bytes of scratch that a product of m rows needs, 64-byte aligned; 0 in float32. */
size_t rz_weight_scratch(rz_precision precision, size_t m, size_t k);

/* c [m, n] = bias + a · weight; bias [n] or NULL = 0. With `add`, c takes bias' place.
 * Rows of c, and bias, have room for n rounded up to RZ_LANES floats; what is beyond n is scratch.
 * Threads  safe with distinct c and scratch. Cost 2·m·n·k flop. */
void rz_weight_product(const rz_weight *weight, size_t m, const float *a, size_t lda,
                       const float *bias, float *c, size_t ldc, void *scratch);
void rz_weight_product_add(const rz_weight *weight, size_t m, const float *a, size_t lda, float *c,
                           size_t ldc, void *scratch);

#endif
