/* Every row kernel and attention: GB/s or GFLOP/s on one thread and on all, per instruction set.
 *
 *   bench-kernels [--kernels avx2] [--width 512] [--length 256] [--head 32] [--seconds S]
 *                 [--threads N] [--json FILE]
 *
 * Each thread has rows of its own that stay in its cache, as a block of tokens does. Bytes are
 * those that the kernel must read and write once, keep masks included; operations of attention as
 * kernels.h counts them. Attention reads a timeline as it lies in a model of this width, queries,
 * keys and values of all heads side by side, and takes one head after the other. */
#include "bench.h"
#include "limits.h"

#include "base/size.h"
#include "tensor/kernels.h"

enum { ROWS = 32, TASKS_EACH = 8, BUFFERS = 6 };

typedef struct shape {
    size_t width, length, head;
} shape;

typedef struct work_memory { /* of one worker */
    float *rows[BUFFERS];    /* [ROWS, width]; of attention [length, width] or 3 times as wide */
    float *scratch;
    size_t head; /* whose turn it is */
} work_memory;

typedef struct bench bench;
typedef void kernel_fn(const bench *b, work_memory *m);

struct bench {
    bench_report report;
    const rz_kernels *kernels;
    rz_pool *pool;
    shape shape;
    rz_dropout dropout;
    double seconds;
    bool bf16; /* of attention */
    kernel_fn *run;
    work_memory *memory; /* one a worker */
};

#define EACH_ROW(b) for (size_t row = 0; row < ROWS * (b)->shape.width; row += (b)->shape.width)

static void run_add(const bench *b, work_memory *m)
{
    EACH_ROW(b) b->kernels->add(m->rows[0] + row, m->rows[1] + row, b->shape.width);
}

static void run_axpy(const bench *b, work_memory *m)
{
    EACH_ROW(b) b->kernels->axpy(m->rows[0] + row, 1e-3f, m->rows[1] + row, b->shape.width);
}

static void run_dot(const bench *b, work_memory *m)
{
    float sum = 0.0f;
    EACH_ROW(b) sum += b->kernels->dot(m->rows[0] + row, m->rows[1] + row, b->shape.width);
    m->scratch[0] = sum;
}

static void run_dropout(const bench *b, work_memory *m)
{
    EACH_ROW(b) b->kernels->dropout_row(&b->dropout, 1, row, m->rows[0] + row, b->shape.width);
}

static void run_residual(const bench *b, work_memory *m)
{
    EACH_ROW(b)
    b->kernels->residual_row(m->rows[0] + row, m->rows[1] + row, m->rows[2] + row, m->rows[3] + row,
                             b->shape.width);
}

static void run_multiply(const bench *b, work_memory *m)
{
    EACH_ROW(b)
    b->kernels->multiply_row(m->rows[0] + row, m->rows[1] + row, m->rows[2] + row, b->shape.width);
}

static void run_norm(const bench *b, work_memory *m)
{
    EACH_ROW(b)
    m->scratch[row / b->shape.width] =
        b->kernels->norm_row(m->rows[0] + row, m->rows[1] + row, m->rows[2] + row, m->rows[5],
                             m->rows[5] + b->shape.width, 1e-5f, b->shape.width);
}

static void run_norm_backward(const bench *b, work_memory *m)
{
    EACH_ROW(b)
    b->kernels->norm_row_backward(m->rows[0] + row, m->rows[4], m->rows[4] + b->shape.width,
                                  m->rows[1] + row, m->rows[2] + row, m->rows[5], 1.0f,
                                  b->shape.width);
}

static void run_gelu(const bench *b, work_memory *m)
{
    b->kernels->gelu_row(m->rows[1], m->rows[0], ROWS * b->shape.width);
}

static void run_gelu_backward(const bench *b, work_memory *m)
{
    b->kernels->gelu_row_backward(m->rows[2], m->rows[3] + b->shape.width, m->rows[1], m->rows[0],
                                  (ROWS - 1) * b->shape.width);
}

static void run_cross_entropy(const bench *b, work_memory *m)
{
    double loss = 0.0;
    EACH_ROW(b) loss += b->kernels->cross_entropy_row(m->rows[0] + row, 1, 1.0f, b->shape.width);
    m->scratch[0] = (float)loss;
}

static void run_exp(const bench *b, work_memory *m)
{
    b->kernels->exp_rows(m->rows[0], m->rows[1], ROWS * b->shape.width);
}

static rz_attention head_of(const bench *b, const work_memory *m)
{
    size_t n = b->shape.length, head = b->shape.head, width = b->shape.width;
    const float *q = m->rows[0] + m->head * head;
    return (rz_attention){.n_queries = n,
                          .n_keys = n,
                          .head_size = head,
                          .q = q,
                          .k = q + width,
                          .v = q + 2 * width,
                          .ldq = 3 * width,
                          .ldkv = 3 * width,
                          .scale = 1.0f / sqrtf((float)head)};
}

static void next_head(const bench *b, work_memory *m)
{
    m->head = (m->head + 1) % (b->shape.width / b->shape.head);
}

/* rows[3] is the output, rows[2] the sums, of each head. */
static void run_attention(const bench *b, work_memory *m)
{
    rz_attention a = head_of(b, m);
    (b->bf16 ? b->kernels->attention_bf16
             : b->kernels->attention)(&a, m->rows[3] + m->head * b->shape.head, b->shape.width,
                                      m->rows[2] + m->head * b->shape.length, m->scratch);
    next_head(b, m);
}

static void run_attention_backward(const bench *b, work_memory *m)
{
    rz_attention a = head_of(b, m);
    size_t width = b->shape.width, at = m->head * b->shape.head;
    rz_attention_gradient g = {.out_gradient = m->rows[4] + at,
                               .out = m->rows[3] + at,
                               .log_sum_exp = m->rows[2] + m->head * b->shape.length,
                               .ldo = width,
                               .dq = m->rows[5] + at,
                               .dk = m->rows[5] + width + at,
                               .dv = m->rows[5] + 2 * width + at,
                               .lddq = 3 * width,
                               .lddkv = 3 * width};
    (b->bf16 ? b->kernels->attention_backward_bf16 : b->kernels->attention_backward)(&a, &g,
                                                                                     m->scratch);
    next_head(b, m);
}

static void run_task(void *context, size_t task, unsigned worker)
{
    (void)task;
    const bench *b = context;
    b->run(b, &b->memory[worker]);
}

/* Passes a second, all threads together: the median of several. */
static double speed(bench *b, rz_pool *pool)
{
    enum { SAMPLES = 201 };
    static double took[SAMPLES];
    size_t tasks = (size_t)rz_pool_size(pool) * TASKS_EACH, n = 0;
    rz_pool_run(pool, tasks, run_task, b);
    for (double start = seconds_now(); n < 3 || (n < SAMPLES && seconds_now() - start < b->seconds);
         n++) {
        double before = seconds_now();
        rz_pool_run(pool, tasks, run_task, b);
        took[n] = (seconds_now() - before) / (double)tasks;
    }
    return 1.0 / bench_quantile(took, n, 0.5);
}

static void memory_new(bench *b, work_memory *m)
{
    size_t rows = ROWS > 3 * b->shape.length ? ROWS : 3 * b->shape.length;
    /* Room for a dropout row's rounding up to 128. */
    size_t floats = (rows + 1) * b->shape.width + 128;
    for (size_t i = 0; i < BUFFERS; i++) {
        m->rows[i] = bench_memory(floats, sizeof(float));
        for (size_t k = 0; i != 3 && k < floats; k++)
            m->rows[i][k] = (float)(k * 2654435761u % 1000003u) * 1e-6f - 0.5f;
    }
    m->scratch =
        bench_memory(rz_attention_scratch(b->shape.length, b->shape.head) + ROWS, sizeof(float));
}

static void memory_done(work_memory *m)
{
    for (size_t i = 0; i < BUFFERS; i++)
        free(m->rows[i]);
    free(m->scratch);
}

/* One kernel: `cost` bytes or operations a pass. */
static void bench_kernel(bench *b, const char *name, kernel_fn *run, double cost, const char *unit)
{
    char work[64], threads[32];
    rz_pool *const pools[] = {NULL, b->pool};
    b->run = run;
    for (size_t i = 0; i < (rz_pool_size(b->pool) > 1 ? 2 : 1); i++) {
        unsigned n = rz_pool_size(pools[i]);
        double limit = 0.0;
        if (unit[1] == 'F')
            limit = bench_limit(pools[i], b->bf16 ? BENCH_BF16 : BENCH_FLOAT32, b->seconds).best;
        (void)snprintf(work, sizeof work, "kernel %s", name);
        (void)snprintf(threads, sizeof threads, n == 1 ? "%u thread" : "%u threads", n);
        bench_report_add(&b->report, &(bench_row){.work = work,
                                                  .size = threads,
                                                  .precision = b->bf16 ? "bf16" : "float32",
                                                  .value = speed(b, pools[i]) * cost * 1e-9,
                                                  .unit = unit,
                                                  .limit = limit,
                                                  .note = b->kernels->name});
    }
}

static void bench_all(bench *b)
{
    /* Rows read and written; row kernels that a block of tokens passes through. */
    static const struct {
        const char *name;
        kernel_fn *run;
        double rows;
    } table[] = {{"add", run_add, 3},
                 {"axpy", run_axpy, 3},
                 {"dot", run_dot, 2},
                 {"dropout_row", run_dropout, 1},
                 {"residual_row", run_residual, 4},
                 {"multiply_row", run_multiply, 3},
                 {"norm_row", run_norm, 3},
                 {"norm_row_backward", run_norm_backward, 3},
                 {"gelu_row", run_gelu, 2},
                 {"gelu_row_backward", run_gelu_backward, 4},
                 {"cross_entropy_row", run_cross_entropy, 2},
                 {"exp_rows", run_exp, 2}};
    char name[64];
    double row_bytes = (double)(ROWS * b->shape.width) * sizeof(float);
    double pairs = (double)b->shape.length * (double)b->shape.length * (double)b->shape.head;
    for (size_t i = 0; i < RZ_COUNT(table); i++)
        bench_kernel(b, table[i].name, table[i].run, table[i].rows * row_bytes, "GB/s");
    for (int bf16 = 0; bf16 <= (b->kernels->low_native ? 1 : 0); bf16++) {
        b->bf16 = bf16 != 0;
        (void)snprintf(name, sizeof name, "attention %zu x %zu", b->shape.length, b->shape.head);
        bench_kernel(b, name, run_attention, 4.0 * pairs, "GFLOP/s");
        (void)snprintf(name, sizeof name, "attention_backward %zu x %zu", b->shape.length,
                       b->shape.head);
        bench_kernel(b, name, run_attention_backward, 10.0 * pairs, "GFLOP/s");
    }
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    bench b = {.seconds = 0.05};
    const char *json = NULL, *limit = NULL;
    double threads = 0.0, width = 512.0, length = 256.0, head = 32.0;
    const bench_flag flags[] = {
        {"--json", .text = &json},        {"--kernels", .text = &limit},
        {"--width", .number = &width},    {"--length", .number = &length},
        {"--head", .number = &head},      {"--seconds", .number = &b.seconds},
        {"--threads", .number = &threads}};
    bench_flags(argc, argv, flags, RZ_COUNT(flags),
                "bench-kernels [--kernels NAME] [--width N] [--length N] [--head N] [--seconds S] "
                "[--threads N] [--json FILE]");
    b.kernels = rz_kernels_find(limit);
    b.shape =
        (shape){((size_t)width + RZ_LANES - 1) / RZ_LANES * RZ_LANES, (size_t)length, (size_t)head};
    if (b.kernels == NULL || b.shape.length == 0 || b.shape.head == 0 ||
        b.shape.width < b.shape.head) {
        (void)fprintf(
            stderr, "bench-kernels: no kernels %s here, a shape of 0, or a head wider than a row\n",
            limit == NULL ? "" : limit);
        return 2;
    }
    b.dropout = rz_dropout_make(0.1f, 1, 1);
    bench_report_open(&b.report, json);
    must(rz_pool_new((unsigned)threads, &b.pool, &error), &error);
    b.memory = bench_memory(rz_pool_size(b.pool), sizeof *b.memory);
    for (unsigned i = 0; i < rz_pool_size(b.pool); i++)
        memory_new(&b, &b.memory[i]);
    bench_all(&b);
    for (unsigned i = 0; i < rz_pool_size(b.pool); i++)
        memory_done(&b.memory[i]);
    free(b.memory);
    rz_pool_free(b.pool);
    bench_report_close(&b.report);
    return 0;
}
