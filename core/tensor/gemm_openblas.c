/* The only file that meets OpenBLAS. Its own threads stay off: they would split a product by the
 * number of cores, and with it the rounding. */
#include "tensor/gemm.h"
#include "tensor/weight.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void rz_gemm_setup(void)
{
    openblas_set_num_threads(1);
}

const char *rz_blas_core(void)
{
    return openblas_get_corename();
}

static blasint size(size_t n)
{
    assert(n <= INT_MAX);
    return (blasint)n;
}

void rz_gemm_nt(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                size_t ldb, float *c, size_t ldc, bool add)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, size(m), size(n), size(k), 1.0f, a,
                size(lda), b, size(ldb), add ? 1.0f : 0.0f, c, size(ldc));
}

void rz_gemm_nn(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                size_t ldb, float *c, size_t ldc, bool add)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size(m), size(n), size(k), 1.0f, a,
                size(lda), b, size(ldb), add ? 1.0f : 0.0f, c, size(ldc));
}

void rz_gemm_tn_add(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                    size_t ldb, float *c, size_t ldc)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, size(m), size(n), size(k), 1.0f, a,
                size(lda), b, size(ldb), 1.0f, c, size(ldc));
}

/* The measurement: blocks of token rows against one weight, as a layer does it. */
enum { ROWS = 2048, BLOCK = 128, WIDTH = 1024, INNER = 512 };

typedef struct measurement {
    rz_weight weight; /* packed or not: the way that is measured */
    const float *a;
    float *c;
} measurement;

static void measure_block(void *context, size_t task, unsigned worker)
{
    (void)worker;
    const measurement *m = context;
    rz_weight_product(&m->weight, BLOCK, m->a + task * BLOCK * INNER, INNER, NULL,
                      m->c + task * BLOCK * WIDTH, WIDTH, NULL);
}

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double measure(rz_pool *pool, measurement *m, double seconds)
{
    const double flop = 2.0 * ROWS * WIDTH * INNER;
    double start = seconds_now(), best = 0.0;
    do {
        double before = seconds_now();
        rz_pool_run(pool, ROWS / BLOCK, measure_block, m);
        double rate = flop / (seconds_now() - before);
        best = rate > best ? rate : best;
    } while (seconds_now() - start < seconds);
    return best * 1e-9;
}

static void warn(rz_blas_info *out, const char *text)
{
    (void)snprintf(out->warnings[out->n_warnings++], sizeof out->warnings[0], "%s", text);
}

/* Both rates, of which `seconds` each are taken; 0 = not that one. */
static rz_status measure_path(rz_pool *pool, const rz_tensor_path *path, double blas_seconds,
                              double weight_seconds, double *blas, double *weight, rz_error *error)
{
    size_t n_a = (size_t)ROWS * INNER, n_b = (size_t)WIDTH * INNER, n_c = (size_t)ROWS * WIDTH;
    float *memory = aligned_alloc(64, (n_a + 2 * n_b + n_c) * sizeof *memory);
    if (memory == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to measure products");
    float *source = memory + n_a, *panels = source + n_b;
    for (size_t i = 0; i < n_a + n_b; i++)
        memory[i] = (float)(i * 2654435761u % 1000003u) * 1e-6f - 0.5f;
    memset(panels, 0, (n_b + n_c) * sizeof *memory);
    measurement m = {.weight = rz_weight_forward(path->kernels, source, WIDTH, INNER),
                     .a = memory,
                     .c = panels + n_b};
    rz_gemm_setup();
    if (blas_seconds > 0.0)
        *blas = measure(pool, &m, blas_seconds);
    m.weight.panels = path->packed ? panels : NULL;
    for (size_t panel = 0; path->packed && panel < rz_weight_panels(&m.weight); panel++)
        rz_weight_pack(&m.weight, panel);
    *weight = measure(pool, &m, weight_seconds);
    free(memory);
    return RZ_OK;
}

rz_status rz_blas_speed(rz_pool *pool, double *gflops, rz_error *error)
{
    rz_tensor_path path;
    rz_status status = rz_tensor_choose(&path, error);
    return status == RZ_OK ? measure_path(pool, &path, 0.0, 0.05, NULL, gflops, error) : status;
}

rz_status rz_blas_describe(rz_pool *pool, rz_blas_info *out, rz_error *error)
{
    rz_blas_info info = {.threads = rz_pool_size(pool)};
    rz_status status = rz_tensor_choose(&info.path, error);
    if (status == RZ_OK)
        status = measure_path(pool, &info.path, 0.3, 0.3, &info.gflops, &info.weight_gflops, error);
    if (status != RZ_OK)
        return status;
    (void)snprintf(info.config, sizeof info.config, "%s", openblas_get_config());
    (void)snprintf(info.core, sizeof info.core, "%s", rz_blas_core());
    if (getenv("OPENBLAS_CORETYPE") != NULL)
        warn(&info, "OPENBLAS_CORETYPE is set and can halve the speed; unset it");
    if (getenv("OPENBLAS_L2_SIZE") != NULL)
        warn(&info, "OPENBLAS_L2_SIZE is set and can halve the speed; unset it");
    *out = info;
    return RZ_OK;
}
