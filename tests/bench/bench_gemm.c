/* Matrix products at the encoder's shapes, in blocks and on the pool as the encoder has them:
 * with packed weights forward and backward, and the gradient of the weight, each beside the limit
 * of its precision; and the BLAS' own product forward and gradient, for comparison.
 *
 *   bench-gemm [--seconds S] [--threads N] [--json FILE]     S for each product; default 0.1 */
#include "bench.h"
#include "limits.h"

#include "base/size.h"
#include "tensor/gemm.h"
#include "tensor/path.h"
#include "tensor/weight.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 2048, BLOCK = 96, BLAS_PIECE = 128, WIDEST = 6144, INNER = 2048 };

typedef enum product_form { FORWARD, BACKWARD, GRADIENT, BLAS, BLAS_GRADIENT, FORMS } product_form;

typedef struct shape {
    rz_weight weight; /* of the forms but the gradients */
    size_t out, in;
    product_form form;
    const float *a, *b;
    float *c;
    char *scratch; /* of each worker */
    size_t scratch_bytes;
} shape;

static bool is_gradient(product_form form)
{
    return form == GRADIENT || form == BLAS_GRADIENT;
}

static size_t gradient_rows(product_form form)
{
    return form == GRADIENT ? RZ_TRANSPOSED_ROWS : BLAS_PIECE;
}

static void run_block(void *context, size_t task, unsigned worker)
{
    const shape *s = context;
    const rz_weight *w = &s->weight;
    if (is_gradient(s->form)) {
        size_t piece = gradient_rows(s->form), row = task * piece;
        size_t m = s->out - row < piece ? s->out - row : piece;
        if (s->form == GRADIENT)
            w->kernels->product_transposed(m, s->in, TOKENS, s->a + row, s->out, s->b, s->in,
                                           s->c + row * s->in, s->in,
                                           (float *)(s->scratch + worker * s->scratch_bytes));
        else
            rz_gemm_tn_add(m, s->in, TOKENS, s->a + row, s->out, s->b, s->in, s->c + row * s->in,
                           s->in);
        return;
    }
    size_t row = task * BLOCK, m = TOKENS - row < BLOCK ? TOKENS - row : BLOCK;
    rz_weight_product(w, m, s->a + row * w->k, w->k, NULL, s->c + row * w->n, w->n,
                      s->scratch + worker * s->scratch_bytes);
}

static void prepare(shape *s, rz_precision precision, float *panels)
{
    rz_tensor_path path;
    rz_error error = {0};
    must(rz_tensor_choose(&path, &error), &error);
    s->weight = s->form == BACKWARD ? rz_weight_backward(path.kernels, s->b, s->out, s->in)
                                    : rz_weight_forward(path.kernels, s->b, s->out, s->in);
    s->weight.precision = precision;
    if (s->form == BLAS || is_gradient(s->form))
        return;
    s->weight.panels = panels;
    for (size_t i = 0; i < rz_weight_panels(&s->weight); i++)
        rz_weight_pack(&s->weight, i);
}

/* Medians of passes that take turns with looks at the limit, into value, limit and ratio. */
static void measure(rz_pool *pool, shape *s, bench_arithmetic limit, double seconds, bench_row *out)
{
    enum { SAMPLES = 500 };
    static double took[SAMPLES], limits[SAMPLES], used[SAMPLES], by_cpu[SAMPLES];
    double work = 2e-9 * TOKENS * (double)s->out * (double)s->in;
    size_t n = 0, piece = gradient_rows(s->form),
           tasks =
               is_gradient(s->form) ? (s->out + piece - 1) / piece : (TOKENS + BLOCK - 1) / BLOCK;
    for (double start = seconds_now(); n == 0 || (n < SAMPLES && seconds_now() - start < seconds);
         n++) {
        bench_rate rate = bench_limit(pool, limit, n == 0 ? 0.005 : 0.5 * took[n - 1]);
        double before = seconds_now(), cpu = cpu_now();
        rz_pool_run(pool, tasks, run_block, s);
        took[n] = seconds_now() - before;
        used[n] = cpu_now() - cpu;
        limits[n] = rate.average;
        by_cpu[n] = rate.by_cpu;
    }
    out->value = work / bench_quantile(took, n, 0.5);
    out->limit = bench_quantile(limits, n, 0.5);
    out->ratio_cpu = work / bench_quantile(used, n, 0.5) * rz_pool_size(pool) /
                     bench_quantile(by_cpu, n, BENCH_HIGH);
}

int main(int argc, char **argv)
{
    static const size_t shapes[][2] = {{384, 128},   {128, 128},   {1024, 128},  {128, 1024},
                                       {1536, 512},  {512, 512},   {1024, 512},  {512, 1024},
                                       {3072, 1024}, {1024, 1024}, {6144, 2048}, {1024, 2048},
                                       {2048, 1024}};
    static const char *const forms[FORMS] = {"product, forward", "product, input gradient",
                                             "product, weight gradient", "product, forward, BLAS",
                                             "product, weight gradient, BLAS"};
    static const char *const precisions[] = {"float32", "bf16", "int8"};
    rz_error error = {0};
    rz_pool *pool = NULL;
    bench_report report;
    const char *json = NULL;
    double seconds = 0.1, threads = 0.0;
    const bench_flag flags[] = {{"--json", .text = &json},
                                {"--seconds", .number = &seconds},
                                {"--threads", .number = &threads}};
    bench_flags(argc, argv, flags, RZ_COUNT(flags),
                "bench-gemm [--seconds S] [--threads N] [--json FILE]");
    size_t n_a = (size_t)TOKENS * WIDEST, n_b = (size_t)WIDEST * INNER;
    float *memory = bench_memory(2 * n_a + 2 * n_b, sizeof *memory);
    bench_report_open(&report, json);
    must(rz_pool_new((unsigned)threads, &pool, &error), &error);
    rz_gemm_setup();
    for (size_t i = 0; i < n_a + n_b; i++)
        memory[i] = (float)(i * 2654435761u % 1000003u) * 1e-6f - 0.5f;
    size_t bytes = rz_weight_scratch(RZ_BF16, BLOCK, WIDEST);
    if (bytes < RZ_TRANSPOSED_SCRATCH * sizeof(float))
        bytes = RZ_TRANSPOSED_SCRATCH * sizeof(float);
    char *scratch = bench_memory(rz_pool_size(pool), bytes);
    bool low = rz_kernels_find(NULL)->low_native;
    for (size_t i = 0; i < RZ_COUNT(shapes); i++)
        for (int form = 0; form < FORMS; form++)
            for (int p = 0; p < (low && form == FORWARD ? 3 : 1); p++) {
                char size[32];
                shape s = {.out = shapes[i][0],
                           .in = shapes[i][1],
                           .form = (product_form)form,
                           .a = memory,
                           .b = memory + n_a,
                           .c = memory + n_a + n_b,
                           .scratch = scratch,
                           .scratch_bytes = bytes};
                prepare(&s, (rz_precision)p, memory + 2 * n_a + n_b);
                (void)snprintf(size, sizeof size, "%zu x %zu", s.out, s.in);
                bench_row row = {.work = forms[form],
                                 .size = size,
                                 .precision = precisions[p],
                                 .unit = p == RZ_INT8 ? "GOP/s" : "GFLOP/s"};
                measure(pool, &s, (bench_arithmetic)p, seconds, &row);
                bench_report_add(&report, &row);
            }
    free(scratch);
    free(memory);
    rz_pool_free(pool);
    bench_report_close(&report);
    return 0;
}
