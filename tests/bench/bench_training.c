/* The pretraining step (forward, backward, AdamW) beside the machine's float32 limit, with the
 * layers' products in float32 or bf16.
 *
 *   bench-training [--sizes 2.2m,11m] [--dropouts 0.1,0] [--shapes fixed,mixed]
 *                  [--precision float32|bf16] [--seconds S] [--threads N] [--json FILE]
 *
 * A step takes about 4,096 tokens: 8 timelines of 512 (fixed, what peers are given too) or
 * patients of mixed length (patients.h). Batches and what they hide are made beforehand. Steps and
 * looks at the float32 limit take turns. Operations: three times those of the layers and, at the
 * masked positions, of the heads. */
#include "patients.h"

#include "base/hash.h"
#include "base/size.h"
#include "bench.h"
#include "limits.h"
#include "train/optimizer.h"

#include <string.h>

enum { STEPS_MAX = 1000, BATCHES = 4, STEP_TOKENS = 4096 };

typedef struct bench {
    bench_report report;
    rz_pool *pool;
    rz_precision precision;
    double seconds;
} bench;

typedef struct step_input {
    rz_batch batch;
    rz_targets targets;
    double flop;
} step_input;

/* Patients from `first` on until the step is full; returns the first that is left. */
static size_t make_input(const rz_model *model, const bench_patients *patients, size_t first,
                         uint64_t stream, step_input *out)
{
    rz_error error = {0};
    size_t n = 0, tokens = 0;
    while (first + n < patients->n && tokens + BENCH_SHORTEST <= STEP_TOKENS)
        tokens += patients->list[first + n++]->n_events + 2;
    bench_batch(model, patients, first, n, &out->batch);
    must(model->family->pretrain_targets(model, &out->batch, 1, stream, &out->targets, &error),
         &error);
    rz_targets *t = &out->targets;
    t->diagnosis_weight = 1.0f / (float)(t->n_diagnoses + 1);
    t->medication_weight = 1.0f / (float)(t->n_medications + 1);
    t->age_weight = 1.0f / (float)(t->n_ages + 1);
    t->dropout_seed = 1;
    t->pretrain = true;
    out->flop = 3.0 * model->family->forward_flop(&model->config, &out->batch, t);
    return first + n;
}

static double step(rz_model *model, step_input *input, rz_optimizer *optimizer, float *grads,
                   rz_scratch *scratch)
{
    rz_error error = {0};
    rz_losses losses;
    double norm, start = seconds_now();
    memset(grads, 0, model->n_parameters * sizeof *grads);
    input->targets.dropout_stream++;
    must(model->family->train(model, &input->batch, &input->targets, grads, &losses, scratch,
                              &error),
         &error);
    must(rz_optimizer_update(optimizer, model, grads, 1e-4, &norm, &error), &error);
    return seconds_now() - start;
}

static void bench_step(bench *b, const char *size, double dropout, bool mixed)
{
    static double rates[STEPS_MAX], speeds[STEPS_MAX], limits[STEPS_MAX], by_cpu[STEPS_MAX],
        rates_cpu[STEPS_MAX], speeds_cpu[STEPS_MAX];
    rz_error error = {0};
    rz_optimizer_options options = rz_optimizer_options_defaults();
    rz_optimizer optimizer = {0};
    rz_scratch *scratch = NULL;
    bench_patients patients;
    step_input inputs[BATCHES] = {{{0}, {0}, 0.0}};
    char work[64];
    bench_patients_random(&patients, mixed ? BENCH_POPULATION : 8 * BATCHES,
                          mixed ? 0 : BENCH_LONGEST);
    rz_model *model = bench_model(size, &patients, b->pool);
    model->config.dropout = (float)dropout;
    model->training_precision = b->precision;
    float *grads = bench_memory(model->n_parameters, sizeof *grads);
    must(model->family->scratch_new(model, &scratch, &error), &error);
    must(rz_optimizer_init(&optimizer, model, NULL, &options, &error), &error);
    for (size_t i = 0, first = 0; i < BATCHES; i++)
        first = make_input(model, &patients, first, i, &inputs[i]);
    double took = step(model, &inputs[0], &optimizer, grads, scratch); /* memory, once */
    size_t steps = 0;
    for (double start = seconds_now();
         steps == 0 || (steps < STEPS_MAX && seconds_now() - start < b->seconds); steps++) {
        step_input *input = &inputs[steps % BATCHES];
        double look = 0.1 * took;
        bench_rate rate = bench_limit(b->pool, BENCH_FLOAT32,
                                      look < 0.02  ? 0.02
                                      : look > 0.5 ? 0.5
                                                   : look);
        double cpu = cpu_now();
        took = step(model, input, &optimizer, grads, scratch);
        double used = (cpu_now() - cpu) / rz_pool_size(b->pool);
        rates_cpu[steps] = input->flop / used * 1e-9;
        speeds_cpu[steps] = (double)input->batch.n_tokens / used;
        by_cpu[steps] = rate.by_cpu;
        limits[steps] = rate.average;
        rates[steps] = input->flop / took * 1e-9;
        speeds[steps] = (double)input->batch.n_tokens / took;
    }
    (void)snprintf(work, sizeof work, "training step%s, dropout %g", mixed ? ", mixed" : "",
                   dropout);
    bench_row row = {.work = work,
                     .size = size,
                     .batch = mixed ? 0 : 8,
                     .precision = rz_precision_name(b->precision),
                     .value = bench_quantile(rates, steps, 0.5),
                     .unit = "GFLOP/s",
                     .limit = bench_quantile(limits, steps, 0.5),
                     .ratio_cpu = bench_quantile(rates_cpu, steps, 0.5) /
                                  bench_quantile(by_cpu, steps, BENCH_HIGH)};
    bench_report_add(&b->report, &row);
    row.value = bench_quantile(speeds, steps, 0.5);
    row.unit = "tokens/s";
    row.limit = row.ratio_cpu = 0.0;
    row.value_cpu = bench_quantile(speeds_cpu, steps, 0.5);
    bench_report_add(&b->report, &row);
    for (size_t i = 0; i < BATCHES; i++) {
        rz_batch_done(&inputs[i].batch);
        rz_targets_done(&inputs[i].targets);
    }
    rz_optimizer_done(&optimizer);
    model->family->scratch_free(scratch);
    free(grads);
    rz_model_free(model);
    bench_patients_done(&patients);
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    bench b = {.seconds = 1.0};
    const char *json = NULL, *sizes = "2.2m,11m", *dropouts = "0.1,0", *shapes = "fixed,mixed",
               *precision = "float32";
    double threads = 0.0;
    char size[16], dropout[16], shape[16];
    const bench_flag flags[] = {
        {"--json", .text = &json},           {"--sizes", .text = &sizes},
        {"--dropouts", .text = &dropouts},   {"--shapes", .text = &shapes},
        {"--seconds", .number = &b.seconds}, {"--threads", .number = &threads},
        {"--precision", .text = &precision}};
    bench_flags(argc, argv, flags, RZ_COUNT(flags),
                "bench-training [--sizes LIST] [--dropouts LIST] [--shapes fixed,mixed] "
                "[--precision float32|bf16] [--seconds S] [--threads N] [--json FILE]");
    if (!rz_precision_read(precision, &b.precision) || b.precision == RZ_INT8) {
        (void)fprintf(stderr, "bench-training: --precision is float32 or bf16\n");
        return 2;
    }
    must(rz_hash_setup(&error), &error);
    bench_report_open(&b.report, json);
    must(rz_pool_new((unsigned)threads, &b.pool, &error), &error);
    for (size_t i = 0; bench_list(sizes, i, size, sizeof size); i++)
        for (size_t s = 0; bench_list(shapes, s, shape, sizeof shape); s++)
            for (size_t d = 0; bench_list(dropouts, d, dropout, sizeof dropout); d++)
                bench_step(&b, size, strtod(dropout, NULL), strcmp(shape, "mixed") == 0);
    rz_pool_free(b.pool);
    bench_report_close(&b.report);
    return 0;
}
