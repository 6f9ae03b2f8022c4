/* Matrix products: the one header behind which a BLAS lives (gemm_openblas.c).
 *
 * A call runs on the calling thread only. Rezept spreads work over its own pool in blocks of rows
 * that do not depend on the number of threads, so a result never does either.
 *
 * rz_gemm_nt, the product of every forward pass, also promises that a row's result does not depend
 * on the rows around it: a patient gets the same bytes in every batch. OpenBLAS keeps that promise
 * on some CPU kernels only (AVX-512 yes, AVX2 no: rows of a block of 12 are summed differently),
 * for wide matrices and a number of rows that is a multiple of RZ_GEMM_PAD; elsewhere Rezept's own
 * product takes over. Token buffers therefore have padding rows, whose content is scratch.
 *
 * Matrices are float32, row-major; ld is the distance of two rows in floats. */
#ifndef RZ_TENSOR_GEMM_H
#define RZ_TENSOR_GEMM_H

#include "base/pool.h"

#include <stdbool.h>

enum {
    RZ_GEMM_ROWS = 128, /* rows of a block of tokens: one task */
    RZ_GEMM_PAD = 32    /* rows of a product forward are a multiple of this */
};

/* n rounded up to a multiple of RZ_GEMM_PAD. */
static inline size_t rz_gemm_padded(size_t n)
{
    return (n + RZ_GEMM_PAD - 1) / RZ_GEMM_PAD * RZ_GEMM_PAD;
}

/* c [m, n] = a [m, k] · b [n, k]ᵀ: a layer forward, b being its weight [out, in].
 *   m  a multiple of RZ_GEMM_PAD where results must not depend on the batch
 * Threads  safe with distinct c. Cost 2·m·n·k flop, as of all three. */
void rz_gemm_nt(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                size_t ldb, float *c, size_t ldc);

/* c [m, n] = a [m, k] · b [k, n], added to c when `add`: the gradient of a layer's input. */
void rz_gemm_nn(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                size_t ldb, float *c, size_t ldc, bool add);

/* c [m, n] += a [k, m]ᵀ · b [k, n]: the gradient of a layer's weight, summed over k tokens. */
void rz_gemm_tn_add(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                    size_t ldb, float *c, size_t ldc);

/* Switches the BLAS to one thread per call. Every program path that multiplies calls it first
 * (scratch_new of the families does). Threads: before the first product, or again at any time. */
void rz_gemm_setup(void);

typedef struct rz_blas_info {
    char config[128];    /* "OpenBLAS 0.3.21 … MAX_THREADS=64" */
    char core[32];       /* the CPU kernel that the BLAS picked: "Cooperlake" */
    char kernels[16];    /* the instruction set of Rezept's own kernels: "avx512" */
    unsigned threads;    /* of the pool that was measured */
    double gflops;       /* of sgemm on the pool, at the shapes of a 2.2m to 11m encoder */
    bool own_product;    /* rz_gemm_nt is Rezept's own: this BLAS core does not keep the promise */
    bool rows_invariant; /* measured: a row's result did not depend on its batch */
    unsigned n_warnings;
    char warnings[3][200]; /* for people, each one sentence with the remedy */
} rz_blas_info;

/* Names the BLAS and measures it for about 50 ms. Warns of OPENBLAS_CORETYPE, OPENBLAS_L2_SIZE in
 * the environment, and of rows that depend on the batch after all.
 * Errors  RZ_E_NO_MEMORY. Threads: uses the pool. */
RZ_MUST_CHECK rz_status rz_blas_describe(rz_pool *pool, rz_blas_info *out, rz_error *error);

#endif
