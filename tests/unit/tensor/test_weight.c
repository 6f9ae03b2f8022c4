/* Products with packed weights on every instruction set, and through the BLAS, against plain loops;
 * and the property that patients rely on: a row's result does not depend on the rows around it. */
#include "check.h"

#include "base/rng.h"
#include "base/size.h"
#include "tensor/gemm.h"
#include "tensor/path.h"
#include "tensor/weight.h"

enum { ROWS = 29, DEPTH_MAX = 300, WIDTH_MAX = 208 };

typedef struct shape {
    size_t n, k;
} shape;

static const shape shapes[] = {{1, 1},   {8, 8},     {16, 130},  {37, 3},   {48, 257},
                               {96, 17}, {100, 300}, {128, 128}, {193, 64}, {208, 256}};

static float a[ROWS * DEPTH_MAX], source[WIDTH_MAX * DEPTH_MAX], bias[WIDTH_MAX + RZ_LANES],
    c[ROWS * WIDTH_MAX], whole[ROWS * WIDTH_MAX];

static void fill(float *x, size_t n, uint64_t stream)
{
    rz_rng rng;
    rz_rng_init(&rng, 3, stream);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rz_rng_normal(&rng);
}

extern const rz_kernels rz_kernels_wide; /* of this test: vectors of 16 on any CPU */

enum { PATHS_MAX = 7 };

/* The kernels of this CPU and the wide ones, packed, and the BLAS. */
static size_t paths(rz_tensor_path *out)
{
    static const char *const names[] = {"generic",     "avx2", "avx512",
                                        "avx512_bf16", "amx",  "openblas"};
    size_t n = 0;
    rz_error error = {0};
    rz_gemm_setup();
    out[n++] = (rz_tensor_path){.name = "wide", .kernels = &rz_kernels_wide, .packed = true};
    for (size_t i = 0; i < RZ_COUNT(names); i++) {
        (void)setenv("REZEPT_TENSOR", names[i], 1);
        if (rz_tensor_choose(&out[n], &error) == RZ_OK)
            n++;
    }
    (void)unsetenv("REZEPT_TENSOR");
    assert_true(n >= 3);
    return n;
}

static rz_weight packed(const rz_tensor_path *path, bool forward, shape s)
{
    rz_weight w = forward ? rz_weight_forward(path->kernels, source, s.n, s.k)
                          : rz_weight_backward(path->kernels, source, s.k, s.n);
    assert_int_equal(w.n, s.n);
    assert_int_equal(w.k, s.k);
    if (path->packed) {
        w.panels = aligned_alloc(64, rz_weight_bytes(&w));
        assert_non_null(w.panels);
        for (size_t i = 0; i < rz_weight_panels(&w); i++)
            rz_weight_pack(&w, i);
    }
    return w;
}

static double element(const rz_weight *w, size_t i, size_t j)
{
    double sum = 0.0;
    for (size_t p = 0; p < w->k; p++)
        sum += (double)a[i * DEPTH_MAX + p] * (double)source[j * w->row + p * w->column];
    return sum;
}

static void products(void **state)
{
    (void)state;
    rz_tensor_path path[PATHS_MAX];
    size_t n_paths = paths(path);
    fill(a, ROWS * DEPTH_MAX, 1);
    fill(source, WIDTH_MAX * DEPTH_MAX, 2);
    fill(bias, WIDTH_MAX, 3);
    for (size_t f = 0; f < n_paths; f++)
        for (size_t s = 0; s < RZ_COUNT(shapes); s++)
            for (int way = 0; way < 2; way++) {
                rz_weight w = packed(&path[f], way == 0, shapes[s]);
                for (size_t rows = 1; rows <= ROWS; rows += rows < 10 ? 1 : 19) {
                    rz_weight_product(&w, rows, a, DEPTH_MAX, bias, c, WIDTH_MAX, NULL);
                    for (size_t i = 0; i < rows; i++)
                        for (size_t j = 0; j < w.n; j++)
                            check_near(c[i * WIDTH_MAX + j], element(&w, i, j) + (double)bias[j],
                                       2e-4);
                    rz_weight_product(&w, rows, a, DEPTH_MAX, NULL, c, WIDTH_MAX, NULL);
                    rz_weight_product_add(&w, rows, a, DEPTH_MAX, c, WIDTH_MAX, NULL);
                    for (size_t i = 0; i < rows; i++)
                        for (size_t j = 0; j < w.n; j++)
                            check_near(c[i * WIDTH_MAX + j], 2.0 * element(&w, i, j), 4e-4);
                }
                free(w.panels);
            }
}

static void parts_are_the_whole(void **state)
{
    (void)state;
    rz_tensor_path path[PATHS_MAX];
    size_t n_paths = paths(path);
    shape s = {208, 256};
    for (size_t f = 0; f < n_paths; f++) {
        rz_weight w = packed(&path[f], true, s);
        size_t step = w.kernels->panel_columns;
        rz_weight_product(&w, ROWS, a, DEPTH_MAX, bias, whole, WIDTH_MAX, NULL);
        for (size_t j = 0; j < w.n; j += 2 * step) {
            rz_weight part = rz_weight_columns(&w, j, w.n - j < 2 * step ? w.n - j : 2 * step);
            rz_weight_product(&part, ROWS, a, DEPTH_MAX, bias + j, c + j, WIDTH_MAX, NULL);
        }
        for (size_t i = 0; i < ROWS * WIDTH_MAX; i++)
            check_near(c[i], whole[i], 2e-4);
        for (size_t p = 0; p < w.k; p += 100) {
            rz_weight part = rz_weight_depths(&w, p, w.k - p < 100 ? w.k - p : 100);
            if (p == 0)
                rz_weight_product(&part, ROWS, a + p, DEPTH_MAX, bias, c, WIDTH_MAX, NULL);
            else
                rz_weight_product_add(&part, ROWS, a + p, DEPTH_MAX, c, WIDTH_MAX, NULL);
        }
        for (size_t i = 0; i < ROWS * WIDTH_MAX; i++)
            check_near(c[i], whole[i], 2e-4);
        free(w.panels);
    }
}

static void a_row_does_not_see_its_neighbours(void **state)
{
    (void)state;
    rz_tensor_path path[PATHS_MAX];
    size_t n_paths = paths(path);
    for (size_t f = 0; f < n_paths; f++) {
        if (!path[f].packed)
            continue; /* a BLAS need not promise it */
        for (size_t s = 0; s < RZ_COUNT(shapes); s++) {
            rz_weight w = packed(&path[f], true, shapes[s]);
            rz_weight_product(&w, ROWS, a, DEPTH_MAX, bias, whole, WIDTH_MAX, NULL);
            for (size_t first = 0; first < 9; first++)
                for (size_t rows = 1; first + rows <= ROWS; rows++) {
                    rz_weight_product(&w, rows, a + first * DEPTH_MAX, DEPTH_MAX, bias, c,
                                      WIDTH_MAX, NULL);
                    for (size_t i = 0; i < rows; i++)
                        assert_memory_equal(c + i * WIDTH_MAX, whole + (first + i) * WIDTH_MAX,
                                            w.n * sizeof *c);
                }
            free(w.panels);
        }
    }
}

static double rounded(float x)
{
    int exponent;
    double fraction = frexp((double)x, &exponent);
    return ldexp(rint(ldexp(fraction, 8)), exponent - 8); /* 8 significant bits */
}

static double largest(const float *x, size_t n, size_t step)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)x[i * step]));
    return most;
}

/* The element of a product of what the numbers become in a precision. */
static double low_element(const rz_weight *w, size_t i, size_t j)
{
    const float *row = a + i * DEPTH_MAX, *column = source + j * w->row;
    double sum = 0.0, by_row = largest(row, w->k, 1) / 127.0,
           by_column = largest(column, w->k, w->column) / 127.0;
    for (size_t p = 0; p < w->k; p++)
        sum += w->precision == RZ_BF16
                   ? rounded(row[p]) * rounded(column[p * w->column])
                   : rint((double)row[p] / by_row) *
                         rint((double)column[p * w->column] / by_column) * by_row * by_column;
    return sum;
}

static void check_low(const rz_weight *w, size_t rows, void *scratch)
{
    /* A number at the edge between two bytes may go either way. */
    double tolerance = w->precision == RZ_BF16 ? 2e-4 : 0.05;
    rz_weight_product(w, rows, a, DEPTH_MAX, bias, c, WIDTH_MAX, scratch);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < w->n; j++)
            check_near(c[i * WIDTH_MAX + j], low_element(w, i, j) + (double)bias[j], tolerance);
    rz_weight_product_add(w, rows, a, DEPTH_MAX, c, WIDTH_MAX, scratch);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < w->n; j++)
            check_near(c[i * WIDTH_MAX + j], 2.0 * low_element(w, i, j) + (double)bias[j],
                       2.0 * tolerance);
}

static void products_in_words(void **state)
{
    (void)state;
    static const shape low[] = {{16, 16}, {37, 48}, {128, 128}, {208, 256}};
    rz_tensor_path path[PATHS_MAX];
    size_t n_paths = paths(path);
    void *scratch = aligned_alloc(64, rz_weight_scratch(RZ_BF16, ROWS, DEPTH_MAX));
    assert_non_null(scratch);
    for (size_t f = 0; f < n_paths; f++)
        for (size_t s = 0; s < RZ_COUNT(low); s++)
            for (int way = 0; way < 4; way++) {
                shape z = low[s];
                rz_weight w = way % 2 == 0 ? rz_weight_forward(path[f].kernels, source, z.n, z.k)
                                           : rz_weight_backward(path[f].kernels, source, z.k, z.n);
                w.precision = way < 2 ? RZ_BF16 : RZ_INT8;
                w.panels = aligned_alloc(64, (rz_weight_bytes(&w) + 63) / 64 * 64);
                assert_non_null(w.panels);
                for (size_t i = 0; i < rz_weight_panels(&w); i++)
                    rz_weight_pack(&w, i);
                check_low(&w, ROWS, scratch);
                check_low(&w, 5, scratch);
                /* What is not a number shows, in its own row alone. */
                float old = a[DEPTH_MAX + 3];
                a[DEPTH_MAX + 3] = NAN;
                rz_weight_product(&w, 3, a, DEPTH_MAX, NULL, c, WIDTH_MAX, scratch);
                assert_true(isfinite(c[0]) && isnan(c[WIDTH_MAX]) && isfinite(c[2 * WIDTH_MAX]));
                a[DEPTH_MAX + 3] = old;
                free(w.panels);
            }
    free(scratch);
}

typedef void (*gradient_product)(size_t m, size_t n, size_t k, const float *a, size_t lda,
                                 const float *b, size_t ldb, float *c, size_t ldc, float *scratch);

/* The gradient of a weight, added to what is there; and the same bytes from any pieces of it. */
static void gradients(void **state)
{
    (void)state;
    enum { TOKENS = 600, OUT = 250, IN = 112 };
    static const size_t sizes[][3] = {{1, 16, 1}, {13, 48, 257}, {240, 112, 300}, {250, 96, 549}};
    static float dy[TOKENS * OUT], x[TOKENS * IN], dw[OUT * IN], pieces[OUT * IN];
    float *scratch = aligned_alloc(64, RZ_TRANSPOSED_SCRATCH * sizeof *scratch);
    rz_tensor_path all[PATHS_MAX];
    size_t n_paths = paths(all);
    assert_non_null(scratch);
    fill(dy, RZ_COUNT(dy), 5);
    fill(x, RZ_COUNT(x), 6);
    for (size_t i = 0; i < 2 * n_paths * RZ_COUNT(sizes); i++) {
        const rz_kernels *kernels = all[i / 2 % n_paths].kernels;
        bool low = i % 2 != 0;
        gradient_product product = low ? kernels->transposed_bf16 : kernels->product_transposed;
        const size_t *size = sizes[i / 2 / n_paths], out = size[0], in = size[1], tokens = size[2];
        for (size_t k = 0; k < OUT * IN; k++)
            dw[k] = pieces[k] = 3.0f;
        for (size_t row = 0; row < out; row += RZ_TRANSPOSED_ROWS)
            product(out - row < RZ_TRANSPOSED_ROWS ? out - row : RZ_TRANSPOSED_ROWS, in, tokens,
                    dy + row, OUT, x, IN, dw + row * IN, IN, scratch);
        for (size_t row = 0; row < out; row += 7)
            for (size_t column = 0; column < in; column += RZ_LANES)
                product(out - row < 7 ? out - row : 7, RZ_LANES, tokens, dy + row, OUT, x + column,
                        IN, pieces + row * IN + column, IN, scratch);
        for (size_t r = 0; r < OUT; r++)
            for (size_t q = 0; q < IN; q++) {
                double wanted = 3.0;
                for (size_t t = 0; r < out && q < in && t < tokens; t++)
                    wanted += low ? rounded(dy[t * OUT + r]) * rounded(x[t * IN + q])
                                  : (double)dy[t * OUT + r] * (double)x[t * IN + q];
                check_near(dw[r * IN + q], wanted, low ? 2e-4 : 1e-4);
            }
        assert_memory_equal(dw, pieces, sizeof dw);
    }
    free(scratch);
}

static void a_path_can_be_forced(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_tensor_path path;
    check_ok(rz_tensor_choose(&path, &error));
    assert_true(path.packed);
    assert_ptr_equal(path.kernels, rz_kernels_find(NULL));
    (void)setenv("REZEPT_TENSOR", "generic", 1);
    check_ok(rz_tensor_choose(&path, &error));
    assert_string_equal(path.name, "generic");
    assert_string_equal(path.why, "REZEPT_TENSOR=generic");
    (void)setenv("REZEPT_TENSOR", "openblas", 1);
    check_ok(rz_tensor_choose(&path, &error));
    assert_string_equal(path.name, "openblas");
    assert_false(path.packed);
    (void)setenv("REZEPT_TENSOR", "mmx", 1);
    assert_int_equal(rz_tensor_choose(&path, &error), RZ_E_INVALID);
    assert_non_null(strstr(error.text, "REZEPT_TENSOR=mmx"));
    (void)unsetenv("REZEPT_TENSOR");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products),
                                       cmocka_unit_test(parts_are_the_whole),
                                       cmocka_unit_test(a_row_does_not_see_its_neighbours),
                                       cmocka_unit_test(products_in_words),
                                       cmocka_unit_test(gradients),
                                       cmocka_unit_test(a_path_can_be_forced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
