/* The three products of the BLAS against plain loops. */
#include "check.h"

#include "base/rng.h"
#include "tensor/gemm.h"

enum { M = 64, K = 48, COLUMNS = 32 };

static void products(void **state)
{
    (void)state;
    rz_gemm_setup();
    static float a[M * K], b[COLUMNS * K], bt[K * COLUMNS], at[K * M], c[M * COLUMNS];
    rz_rng rng;
    rz_rng_init(&rng, 1, 1);
    for (size_t i = 0; i < M * K; i++)
        a[i] = (float)rz_rng_normal(&rng);
    for (size_t i = 0; i < COLUMNS * K; i++)
        b[i] = (float)rz_rng_normal(&rng);
    for (size_t k = 0; k < K; k++) {
        for (size_t j = 0; j < COLUMNS; j++)
            bt[k * COLUMNS + j] = b[j * K + k];
        for (size_t i = 0; i < M; i++)
            at[k * M + i] = a[i * K + k];
    }
    for (int form = 0; form < 4; form++) {
        double before = form < 2 ? 0.0 : 3.0; /* the last two add to what is there */
        for (size_t i = 0; i < M * COLUMNS; i++)
            c[i] = form < 2 ? NAN : 3.0f;
        if (form == 0)
            rz_gemm_nt(M, COLUMNS, K, a, K, b, K, c, COLUMNS, false);
        else if (form < 3)
            rz_gemm_nn(M, COLUMNS, K, a, K, bt, COLUMNS, c, COLUMNS, form == 2);
        else
            rz_gemm_tn_add(M, COLUMNS, K, at, M, bt, COLUMNS, c, COLUMNS);
        for (size_t i = 0; i < M; i++)
            for (size_t j = 0; j < COLUMNS; j++) {
                double wanted = before;
                for (size_t k = 0; k < K; k++)
                    wanted += (double)a[i * K + k] * (double)b[j * K + k];
                check_near(c[i * COLUMNS + j], wanted, 1e-4);
            }
    }
}

static void the_blas_describes_itself(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_blas_info info;
    (void)unsetenv("OPENBLAS_CORETYPE");
    (void)unsetenv("OPENBLAS_L2_SIZE");
    check_ok(rz_blas_describe(NULL, &info, &error));
    assert_non_null(strstr(info.config, "OpenBLAS"));
    assert_true(info.core[0] != '\0' && info.path.name[0] != '\0');
    assert_int_equal(info.threads, 1);
    assert_true(info.gflops > 0.1 && info.gflops < 1e5);
    assert_true(info.weight_gflops > 0.1 && info.weight_gflops < 1e5);
    assert_int_equal(info.n_warnings, 0);
    (void)setenv("OPENBLAS_CORETYPE", "Haswell", 1);
    (void)setenv("OPENBLAS_L2_SIZE", "512", 1);
    check_ok(rz_blas_describe(NULL, &info, &error));
    assert_int_equal(info.n_warnings, 2);
    assert_non_null(strstr(info.warnings[0], "OPENBLAS_CORETYPE"));
    assert_non_null(strstr(info.warnings[1], "OPENBLAS_L2_SIZE"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products),
                                       cmocka_unit_test(the_blas_describes_itself)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
