/* Matrix products at the encoder's shapes, in the blocks and on the pool that the encoder uses:
 * forward (nt), gradient of the input (nn) and of the weight (tn), GFLOP/s each, beside the figure
 * that rezept-train show prints. */
#include "bench.h"

#include "base/size.h"
#include "tensor/gemm.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 2048, WIDEST = 2048, INNER = 2048 };

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
    size_t row = task * 96;
    if (s->form == 0)
        rz_gemm_nt(96, s->out, s->in, s->a + row * s->in, s->in, s->b, s->in, s->c + row * s->out,
                   s->out, false);
    else if (s->form == 1)
        rz_gemm_nn(96, s->in, s->out, s->a + row * s->out, s->out, s->b, s->in, s->c + row * s->in,
                   s->in, false);
    else
        rz_gemm_tn_add(64, s->in, TOKENS, s->a + task * 64, s->out, s->b, s->in,
                       s->c + task * 64 * s->in, s->in);
}

static double measure(rz_pool *pool, shape *s)
{
    size_t tasks = s->form == 2 ? s->out / 64 : TOKENS / 96;
    double best = 0.0, start = seconds_now();
    do {
        double before = seconds_now();
        rz_pool_run(pool, tasks, run_block, s);
        double rate = 2e-9 * TOKENS * (double)s->out * (double)s->in / (seconds_now() - before);
        best = rate > best ? rate : best;
    } while (seconds_now() - start < 0.2);
    return best;
}

int main(void)
{
    static const size_t shapes[][2] = {{128, 128}, {384, 128},  {1024, 128}, {128, 1024},
                                       {512, 512}, {1024, 512}, {512, 1024}, {2048, 1024}};
    rz_error error = {0};
    rz_pool *pool = NULL;
    rz_blas_info blas;
    size_t n_a = (size_t)TOKENS * INNER, n_b = (size_t)WIDEST * INNER,
           n_c = (size_t)TOKENS * WIDEST;
    float *memory = calloc(n_a + n_b + n_c, sizeof *memory);
    rz_status status = memory == NULL ? rz_fail(&error, RZ_E_NO_MEMORY, "no memory") : RZ_OK;
    if (status == RZ_OK)
        status = rz_pool_new(0, &pool, &error);
    if (status == RZ_OK)
        status = rz_blas_describe(pool, &blas, &error);
    if (status == RZ_OK)
        printf("%s, core %s%s, %u threads, sgemm %.1f GFLOP/s\n", blas.config, blas.core, "",
               blas.threads, blas.gflops);
    for (size_t i = 0; status == RZ_OK && i < RZ_COUNT(shapes); i++) {
        double rate[3];
        for (int form = 0; form < 3; form++) {
            shape s = {.out = shapes[i][0],
                       .in = shapes[i][1],
                       .form = form,
                       .a = memory,
                       .b = memory + n_a,
                       .c = memory + n_a + n_b};
            rate[form] = measure(pool, &s);
        }
        printf("weight %4zu x %-4zu  forward %6.1f  input gradient %6.1f  weight gradient %6.1f\n",
               shapes[i][0], shapes[i][1], rate[0], rate[1], rate[2]);
    }
    if (status != RZ_OK)
        (void)fprintf(stderr, "bench_gemm: %s\n", error.text);
    free(memory);
    rz_pool_free(pool);
    return rz_status_exit_code(status);
}
