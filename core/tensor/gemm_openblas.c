/* The only file that meets OpenBLAS. Its own threads stay off: they would split a product by the
 * number of cores, and with it the rounding. */
#include "tensor/gemm.h"
#include "tensor/kernels.h"

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

static blasint size(size_t n)
{
    assert(n <= INT_MAX);
    return (blasint)n;
}

/* Below this many columns OpenBLAS picks code for small products by the number of rows. */
enum { NARROW = 128 };

/* Whether the CPU kernel that OpenBLAS picked gives a row the same bytes at any place of a block.
 * Measured for 0.3.21 (rows_do_not_depend_on_the_batch below, and all shapes of the models). */
static bool core_is_invariant(void)
{
    static const char *const cores[] = {"SkylakeX", "Cooperlake", "SapphireRapids"};
    const char *core = openblas_get_corename();
    for (size_t i = 0; i < sizeof cores / sizeof cores[0]; i++)
        if (strcmp(core, cores[i]) == 0)
            return true;
    return false;
}

void rz_gemm_nt(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                size_t ldb, float *c, size_t ldc)
{
    if (n < NARROW || !core_is_invariant()) {
        rz_kernels_find(NULL)->product_nt(m, n, k, a, lda, b, ldb, c, ldc);
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, size(m), size(n), size(k), 1.0f, a,
                size(lda), b, size(ldb), 0.0f, c, size(ldc));
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

/* The measurement: blocks of RZ_GEMM_ROWS token rows against one weight, as a layer does it. */
enum { ROWS = 2048, WIDTH = 1024, INNER = 512 };

typedef struct measurement {
    const float *a, *b;
    float *c;
} measurement;

static void measure_block(void *context, size_t task, unsigned worker)
{
    (void)worker;
    const measurement *m = context;
    rz_gemm_nt(RZ_GEMM_ROWS, WIDTH, INNER, m->a + task * RZ_GEMM_ROWS * INNER, INNER, m->b, INNER,
               m->c + task * RZ_GEMM_ROWS * WIDTH, WIDTH);
}

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double measure(rz_pool *pool, measurement *m)
{
    const double flop = 2.0 * ROWS * WIDTH * INNER;
    double start = seconds_now(), best = 0.0;
    do {
        double before = seconds_now();
        rz_pool_run(pool, ROWS / RZ_GEMM_ROWS, measure_block, m);
        double rate = flop / (seconds_now() - before);
        best = rate > best ? rate : best;
    } while (seconds_now() - start < 0.3);
    return best * 1e-9;
}

/* Multiplies the same rows in blocks of every allowed height and at another place, for the inner
 * sizes of the models, and compares bytes. */
static bool rows_do_not_depend_on_the_batch(const measurement *m)
{
    static const size_t widths[] = {32, 1024}, inners[] = {128, 256, 512};
    float *whole = m->c, *part = m->c + (size_t)RZ_GEMM_ROWS * WIDTH;
    bool same = true;
    for (size_t w = 0; w < 2; w++)
        for (size_t i = 0; i < 3; i++) {
            size_t n = widths[w], k = inners[i], row = n * sizeof(float);
            rz_gemm_nt(RZ_GEMM_ROWS, n, k, m->a, k, m->b, k, whole, n);
            for (size_t rows = RZ_GEMM_PAD; rows < RZ_GEMM_ROWS; rows += RZ_GEMM_PAD) {
                rz_gemm_nt(rows, n, k, m->a, k, m->b, k, part, n);
                same = same && memcmp(whole, part, rows * row) == 0;
                rz_gemm_nt(rows, n, k, m->a + 5 * k, k, m->b, k, part, n);
                same = same && memcmp(whole + 5 * n, part, (rows - 5) * row) == 0;
            }
        }
    return same;
}

static void warn(rz_blas_info *out, const char *text)
{
    (void)snprintf(out->warnings[out->n_warnings++], sizeof out->warnings[0], "%s", text);
}

rz_status rz_blas_describe(rz_pool *pool, rz_blas_info *out, rz_error *error)
{
    size_t n_a = (size_t)ROWS * INNER, n_b = (size_t)WIDTH * INNER, n_c = (size_t)ROWS * WIDTH;
    float *memory = malloc((n_a + n_b + n_c) * sizeof *memory);
    if (memory == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to measure the BLAS");
    for (size_t i = 0; i < n_a + n_b; i++)
        memory[i] = (float)(i * 2654435761u % 1000003u) * 1e-6f - 0.5f;
    memset(memory + n_a + n_b, 0, n_c * sizeof *memory);
    measurement m = {.a = memory, .b = memory + n_a, .c = memory + n_a + n_b};
    rz_gemm_setup();
    rz_blas_info info = {.threads = rz_pool_size(pool)};
    (void)snprintf(info.config, sizeof info.config, "%s", openblas_get_config());
    (void)snprintf(info.core, sizeof info.core, "%s", openblas_get_corename());
    (void)snprintf(info.kernels, sizeof info.kernels, "%s", rz_kernels_find(NULL)->name);
    info.own_product = !core_is_invariant();
    info.gflops = measure(pool, &m);
    info.rows_invariant = rows_do_not_depend_on_the_batch(&m);
    free(memory);
    if (getenv("OPENBLAS_CORETYPE") != NULL)
        warn(&info, "OPENBLAS_CORETYPE is set and can halve the speed; unset it");
    if (getenv("OPENBLAS_L2_SIZE") != NULL)
        warn(&info, "OPENBLAS_L2_SIZE is set and can halve the speed; unset it");
    if (!info.rows_invariant)
        warn(&info, "with this BLAS a patient's last digits can depend on the other patients of "
                    "a batch; use Debian's libopenblas0-pthread");
    *out = info;
    return RZ_OK;
}
