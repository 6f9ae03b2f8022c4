/* Matrix products of a BLAS: the one header behind which it lives (gemm_openblas.c).
 *
 * A call runs on the calling thread only. Rezept spreads work over its own pool in blocks that do
 * not depend on the number of threads, so a result never does either. Products with weights go
 * through tensor/weight.h, which also keeps rows independent of each other; a BLAS need not.
 *
 * Matrices are float32, row-major; ld is the distance of two rows in floats. */
#ifndef RZ_TENSOR_GEMM_H
#define RZ_TENSOR_GEMM_H

#include "base/pool.h"
#include "tensor/path.h"

#include <stdbool.h>

/* c [m, n] = a [m, k] · b [n, k]ᵀ, added to c when `add`: a layer forward, b its weight [out, in].
 * Threads  safe with distinct c. Cost 2·m·n·k flop, as of all three. */
void rz_gemm_nt(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                size_t ldb, float *c, size_t ldc, bool add);

/* c [m, n] = a [m, k] · b [k, n], added to c when `add`: the gradient of a layer's input. */
void rz_gemm_nn(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                size_t ldb, float *c, size_t ldc, bool add);

/* c [m, n] += a [k, m]ᵀ · b [k, n]: the gradient of a layer's weight, summed over k tokens. */
void rz_gemm_tn_add(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                    size_t ldb, float *c, size_t ldc);

/* Switches the BLAS to one thread per call. Every program path that multiplies calls it first
 * (scratch_new of the families does). Threads: before the first product, or again at any time. */
void rz_gemm_setup(void);

/* The CPU kernel that the BLAS picked: "Cooperlake"; static. */
const char *rz_blas_core(void);

typedef struct rz_blas_info {
    char config[128];     /* "OpenBLAS 0.3.21 … MAX_THREADS=64" */
    char core[32];        /* the CPU kernel that the BLAS picked: "Cooperlake" */
    rz_tensor_path path;  /* what products with weights go through here, and why */
    unsigned threads;     /* of the pool that was measured */
    double gflops;        /* of sgemm on the pool, at the shapes of a 2.2m to 11m encoder */
    double weight_gflops; /* of products with weights as the path has them, at the same shapes */
    unsigned n_warnings;
    char warnings[2][200]; /* for people, each one sentence with the remedy */
} rz_blas_info;

/* GFLOP/s of products with weights in float32, as this process computes them: the best of 0.05 s.
 * Errors and threads as of rz_blas_describe. */
RZ_MUST_CHECK rz_status rz_blas_speed(rz_pool *pool, double *gflops, rz_error *error);

/* Names the BLAS and measures it and Rezept's own products for about 0.3 s each. Warns of
 * OPENBLAS_CORETYPE, OPENBLAS_L2_SIZE in the environment.
 * Errors  RZ_E_NO_MEMORY, and those of rz_tensor_choose. Threads: uses the pool. */
RZ_MUST_CHECK rz_status rz_blas_describe(rz_pool *pool, rz_blas_info *out, rz_error *error);

#endif
