/* Encoder inference beside the machine's limit: GFLOP/s and tokens/s by size and batch.
 *
 *   bench-encoder [--sizes 2.2m,11m] [--batches 1,8,32,256] [--precision float32|bf16|int8]
 *                 [--share 1|2|4] [--db FILE] [--seconds S] [--threads N] [--json FILE]
 *                 [--write-lengths FILE]
 *
 * A pass takes the same patients in batches of each size (patients.h; with --db those of a
 * database). Passes and looks at the limit take turns for S seconds a batch size, at least one of
 * each; medians are shown. Operations are counted for all layers in full, though the last layer is
 * computed for [CLS] alone where the model's pooling allows it. */
#include "patients.h"

#include "base/hash.h"
#include "base/size.h"
#include "bench.h"
#include "limits.h"
#include "tensor/gemm.h"

#include <string.h>

enum { PASSES_MAX = 1000 };

typedef struct bench {
    bench_report report;
    rz_pool *pool;
    bench_patients patients;
    bool imported;
    bench_arithmetic kind; /* its numbers are those of rz_precision */
    double seconds;
} bench;

/* All patients in batches of `size`; a last smaller one stays as it is. */
static rz_batch *make_batches(const rz_model *model, const bench_patients *patients, size_t size,
                              size_t *n)
{
    *n = (patients->n + size - 1) / size;
    rz_batch *batches = bench_memory(*n, sizeof *batches);
    for (size_t i = 0; i < *n; i++) {
        size_t first = i * size, left = patients->n - first;
        bench_batch(model, patients, first, left < size ? left : size, &batches[i]);
    }
    return batches;
}

static double pass(const rz_model *model, const rz_batch *batches, size_t n, rz_scratch *scratch)
{
    rz_error error = {0};
    rz_outputs out;
    double start = seconds_now();
    for (size_t i = 0; i < n; i++)
        must(model->family->forward(model, &batches[i], &out, scratch, &error), &error);
    return seconds_now() - start;
}

static void bench_batch_size(bench *b, const rz_model *model, size_t size)
{
    static double took[PASSES_MAX], used[PASSES_MAX], limits[PASSES_MAX], by_cpu[PASSES_MAX];
    rz_error error = {0};
    rz_scratch *scratch = NULL;
    size_t n = 0, passes = 0;
    double flop = 0.0, tokens = 0.0;
    rz_batch *batches = make_batches(model, &b->patients, size, &n);
    must(model->family->scratch_new(model, &scratch, &error), &error);
    for (size_t i = 0; i < n; i++) {
        flop += model->family->forward_flop(&model->config, &batches[i], NULL);
        tokens += (double)batches[i].n_tokens;
    }
    (void)pass(model, batches, 1, scratch); /* memory is asked for once */
    for (double start = seconds_now();
         passes == 0 || (passes < PASSES_MAX && seconds_now() - start < b->seconds); passes++) {
        double look = passes == 0 ? 0.05 : 0.1 * took[passes - 1];
        look = look < 0.02 ? 0.02 : look > 0.5 ? 0.5 : look;
        bench_rate rate = bench_limit(b->pool, b->kind, look);
        double cpu = cpu_now();
        took[passes] = pass(model, batches, n, scratch);
        used[passes] = cpu_now() - cpu;
        limits[passes] = rate.average;
        by_cpu[passes] = rate.by_cpu;
    }
    double median = bench_quantile(took, passes, 0.5);
    double cpu_s = bench_quantile(used, passes, 0.5) / rz_pool_size(b->pool);
    bench_row row = {.work = b->imported ? "encoder inference, imported" : "encoder inference",
                     .size = model->config.size,
                     .batch = size,
                     .precision = bench_arithmetic_name(b->kind),
                     .value = flop / median * 1e-9,
                     .unit = bench_arithmetic_unit(b->kind),
                     .limit = bench_quantile(limits, passes, 0.5),
                     .ratio_cpu = flop / cpu_s * 1e-9 / bench_quantile(by_cpu, passes, BENCH_HIGH),
                     .note = model->config.pooling == RZ_POOLING_CLS
                                 ? "last layer for [CLS] alone, counted in full"
                                 : NULL};
    bench_report_add(&b->report, &row);
    row.value = tokens / median;
    row.unit = "tokens/s";
    row.limit = row.ratio_cpu = 0.0;
    row.value_cpu = tokens / cpu_s;
    row.note = NULL;
    bench_report_add(&b->report, &row);
    for (size_t i = 0; i < n; i++)
        rz_batch_done(&batches[i]);
    free(batches);
    model->family->scratch_free(scratch);
}

static void write_lengths(const char *path, const bench_patients *patients)
{
    FILE *file = fopen(path, "wb");
    bool good = file != NULL;
    for (size_t i = 0; good && i < patients->n; i++)
        good = fprintf(file, "%zu\n", patients->list[i]->n_events + 2) > 0;
    if (file == NULL || fclose(file) != 0 || !good) {
        (void)fprintf(stderr, "bench: cannot write %s\n", path);
        exit(9);
    }
}

static void describe(rz_pool *pool)
{
    rz_error error = {0};
    rz_blas_info blas;
    must(rz_blas_describe(pool, &blas, &error), &error);
    printf("%s, core %s, kernels %s, %u threads, sgemm %.1f GFLOP/s\n", blas.config, blas.core,
           blas.path.name, blas.threads, blas.gflops);
    for (unsigned i = 0; i < blas.n_warnings; i++)
        printf("warning: %s\n", blas.warnings[i]);
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    bench b = {.seconds = 1.0};
    const char *json = NULL, *sizes = "2.2m,11m", *batches = "1,8,32,256", *db = NULL,
               *lengths = NULL, *precision = "float32";
    double share = 1.0, threads = 0.0;
    char size[16], batch[16];
    const bench_flag flags[] = {
        {"--json", .text = &json},           {"--sizes", .text = &sizes},
        {"--batches", .text = &batches},     {"--db", .text = &db},
        {"--seconds", .number = &b.seconds}, {"--share", .number = &share},
        {"--threads", .number = &threads},   {"--write-lengths", .text = &lengths},
        {"--precision", .text = &precision}};
    bench_flags(argc, argv, flags, RZ_COUNT(flags),
                "bench-encoder [--sizes LIST] [--batches LIST] [--share 1|2|4] [--db FILE] "
                "[--seconds S] [--threads N] [--json FILE] [--write-lengths FILE] "
                "[--precision float32|bf16|int8]");
    while (b.kind < BENCH_ARITHMETIC_COUNT && strcmp(precision, bench_arithmetic_name(b.kind)) != 0)
        b.kind++;
    if (b.kind == BENCH_ARITHMETIC_COUNT ||
        (b.kind != BENCH_FLOAT32 && !rz_kernels_find(NULL)->low_native)) {
        (void)fprintf(stderr, "bench-encoder: %s is no precision that this CPU computes quickly\n",
                      precision);
        return 77;
    }
    must(rz_hash_setup(&error), &error);
    b.imported = db != NULL;
    if (db != NULL)
        bench_patients_stored(&b.patients, db, BENCH_POPULATION, 32);
    else
        bench_patients_share(&b.patients, (unsigned)share);
    if (lengths != NULL)
        write_lengths(lengths, &b.patients);
    bench_report_open(&b.report, json);
    must(rz_pool_new((unsigned)threads, &b.pool, &error), &error);
    if (lengths == NULL)
        describe(b.pool);
    for (size_t i = 0; bench_list(sizes, i, size, sizeof size); i++) {
        rz_model *model = bench_model(size, &b.patients, b.pool);
        model->precision = (rz_precision)b.kind;
        for (size_t k = 0; bench_list(batches, k, batch, sizeof batch); k++)
            bench_batch_size(&b, model, strtoul(batch, NULL, 10) + (strcmp(batch, "0") == 0));
        rz_model_free(model);
    }
    bench_patients_done(&b.patients);
    rz_pool_free(b.pool);
    bench_report_close(&b.report);
    return 0;
}
