/* Matrix products at the encoder's shapes, in the blocks and on the pool that the encoder uses:
 * forward (nt), gradient of the input (nn) and of the weight (tn), beside the float32 limit.
 *
 *   bench-gemm [--seconds S] [--threads N] [--json FILE]     S for each product; default 0.1 */
#include "bench.h"
#include "limits.h"

#include "base/size.h"
#include "tensor/gemm.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 2048, WIDEST = 6144, INNER = 2048 };

typedef struct shape {
    size_t out, in;
    int form; /* 0 nt, 1 nn, 2 tn */
    const float *a, *b;
    float *c;
} shape;

static void run_block(void *context, size_t task, unsigned worker)
{
    (void)worker;
    const shape *s = context;
    size_t row = task * RZ_GEMM_ROWS;
    if (s->form == 0)
        rz_gemm_nt(RZ_GEMM_ROWS, s->out, s->in, s->a + row * s->in, s->in, s->b, s->in,
                   s->c + row * s->out, s->out);
    else if (s->form == 1)
        rz_gemm_nn(RZ_GEMM_ROWS, s->in, s->out, s->a + row * s->out, s->out, s->b, s->in,
                   s->c + row * s->in, s->in, false);
    else
        rz_gemm_tn_add(64, s->in, TOKENS, s->a + task * 64, s->out, s->b, s->in,
                       s->c + task * 64 * s->in, s->in);
}

/* Medians of passes that take turns with looks at the limit, into value, limit and ratio. */
static void measure(rz_pool *pool, shape *s, double seconds, bench_row *out)
{
    enum { SAMPLES = 500 };
    static double took[SAMPLES], limits[SAMPLES], used[SAMPLES], by_cpu[SAMPLES];
    double work = 2e-9 * TOKENS * (double)s->out * (double)s->in;
    size_t tasks = s->form == 2 ? s->out / 64 : TOKENS / RZ_GEMM_ROWS, n = 0;
    for (double start = seconds_now(); n == 0 || (n < SAMPLES && seconds_now() - start < seconds);
         n++) {
        bench_rate rate = bench_limit(pool, BENCH_FLOAT32, n == 0 ? 0.005 : 0.5 * took[n - 1]);
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
    static const char *const forms[] = {"product, forward", "product, input gradient",
                                        "product, weight gradient"};
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
    float *memory = bench_memory(2 * n_a + n_b, sizeof *memory);
    bench_report_open(&report, json);
    must(rz_pool_new((unsigned)threads, &pool, &error), &error);
    rz_gemm_setup();
    for (size_t i = 0; i < RZ_COUNT(shapes); i++)
        for (int form = 0; form < 3; form++) {
            char size[32];
            shape s = {.out = shapes[i][0],
                       .in = shapes[i][1],
                       .form = form,
                       .a = memory,
                       .b = memory + n_a,
                       .c = memory + n_a + n_b};
            (void)snprintf(size, sizeof size, "%zu x %zu", s.out, s.in);
            bench_row row = {
                .work = forms[form], .size = size, .precision = "float32", .unit = "GFLOP/s"};
            measure(pool, &s, seconds, &row);
            bench_report_add(&report, &row);
        }
    free(memory);
    rz_pool_free(pool);
    bench_report_close(&report);
    return 0;
}
