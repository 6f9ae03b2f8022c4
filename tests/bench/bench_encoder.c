/* Encoder speed beside the matrix product's own: training tokens/s and inference patients/s.
 *
 *   bench_encoder [SIZE…] [--seconds S]     sizes as in rezept-train show; default 2.2m 11m
 *
 * Patients have 20 … 220 random tokens (mean 120). Operations are counted for all layers in full,
 * products and attention, the pretraining heads at the masked positions; backward counts twice
 * forward. Inference skips the last layer but for [CLS]; the count does not. */
#include "bench.h"

#include "base/hash.h"
#include "base/rng.h"
#include "model/model.h"
#include "tensor/gemm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODES = 1930, TRAIN_TOKENS = 8192, PATIENTS = 64, MEAN = 120 };

/* A batch of random patients: up to n_seqs, or until about n_tokens. */
static rz_status make_batch(rz_batch *batch, size_t n_seqs, size_t n_tokens, uint64_t seed,
                            rz_error *error)
{
    rz_rng rng;
    rz_rng_init(&rng, seed, 0);
    rz_status status = rz_batch_reserve(batch, n_seqs, n_seqs * 2 * MEAN, error);
    if (status != RZ_OK)
        return status;
    batch->n_seqs = batch->n_tokens = 0;
    batch->offsets[0] = 0;
    while (batch->n_seqs < n_seqs && batch->n_tokens < n_tokens) {
        size_t length = 20 + rz_rng_below(&rng, 2 * (MEAN - 20) + 1), start = batch->n_tokens;
        float first = (float)rz_rng_below(&rng, 25000), day = first;
        for (size_t i = 0; i < length; i++) {
            day += i % 4 == 0 ? 30.0f : 0.0f; /* about four codes a claim */
            batch->tokens[start + i] = i < 2
                                           ? (int32_t)(i == 0 ? RZ_TOKEN_CLS : RZ_TOKEN_SEX_FEMALE)
                                           : RZ_TOKEN_SPECIALS + (int32_t)rz_rng_below(&rng, CODES);
            batch->age_days[start + i] = day;
            batch->age_hidden[start + i] = 0;
        }
        batch->n_tokens += length;
        batch->offsets[++batch->n_seqs] = (uint32_t)batch->n_tokens;
    }
    return RZ_OK;
}

static double forward_flop(const rz_config *c, const rz_batch *b)
{
    double h = c->hidden, f = c->feed_forward, flop = 0.0;
    for (size_t i = 0; i < b->n_seqs; i++) {
        double n = b->offsets[i + 1] - b->offsets[i];
        flop += c->layers * (n * (8 * h * h + 4 * h * f) + 4 * n * n * h);
    }
    return flop;
}

static double head_flop(const rz_config *c, const rz_targets *t)
{
    double h = c->hidden;
    return (double)t->n_diagnoses * (2 * h * h + 2 * h * c->n_diagnoses) +
           (double)t->n_medications * (2 * h * h + 2 * h * c->n_medications);
}

static rz_status bench_training(rz_model *model, double seconds, double gflops, rz_error *error)
{
    rz_batch batch = {0};
    rz_targets targets = {0};
    rz_scratch *scratch = NULL;
    float *grads = calloc(model->n_parameters, sizeof *grads);
    double start = 0.0, spent = 0.0, flop = 0.0;
    size_t tokens = 0, step = 0;
    rz_status status = grads == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory") : RZ_OK;
    if (status == RZ_OK)
        status = model->family->scratch_new(model, &scratch, error);
    for (; status == RZ_OK && (step < 2 || spent < seconds); step++) {
        rz_losses losses;
        status = make_batch(&batch, TRAIN_TOKENS / 20, TRAIN_TOKENS, step, error);
        if (status == RZ_OK)
            status = model->family->pretrain_targets(model, &batch, 1, step, &targets, error);
        targets.diagnosis_weight = targets.medication_weight = targets.age_weight = 1e-3f;
        start = seconds_now();
        model->parameters_version++; /* as after an update: caches are made again */
        if (status == RZ_OK)
            status = model->family->train(model, &batch, &targets, grads, &losses, scratch, error);
        if (step == 0)
            continue;
        spent += seconds_now() - start;
        tokens += batch.n_tokens;
        flop += 3.0 * (forward_flop(&model->config, &batch) + head_flop(&model->config, &targets));
    }
    if (status == RZ_OK)
        printf("%-6s pretraining  %10.0f tokens/s    %7.1f GFLOP/s  %5.1f %% of sgemm\n",
               model->config.size, (double)tokens / spent, flop / spent * 1e-9,
               flop / spent * 1e-7 / gflops);
    model->family->scratch_free(scratch);
    rz_batch_done(&batch);
    rz_targets_done(&targets);
    free(grads);
    return status;
}

static rz_status bench_inference(rz_model *model, size_t patients, double seconds, double gflops,
                                 rz_error *error)
{
    rz_batch batch = {0};
    rz_scratch *scratch = NULL;
    rz_outputs out;
    double spent = 0.0, flop = 0.0;
    size_t done = 0, round = 0;
    rz_status status = model->family->scratch_new(model, &scratch, error);
    for (; status == RZ_OK && (round < 2 || spent < seconds); round++) {
        status = make_batch(&batch, patients, SIZE_MAX, round % 16, error);
        double start = seconds_now();
        if (status == RZ_OK)
            status = model->family->forward(model, &batch, &out, scratch, error);
        if (round == 0)
            continue;
        spent += seconds_now() - start;
        done += batch.n_seqs;
        flop += forward_flop(&model->config, &batch);
    }
    if (status == RZ_OK)
        printf("%-6s batch of %-4zu%10.0f patients/s  %7.1f GFLOP/s  %5.1f %% of sgemm\n",
               model->config.size, patients, (double)done / spent, flop / spent * 1e-9,
               flop / spent * 1e-7 / gflops);
    model->family->scratch_free(scratch);
    rz_batch_done(&batch);
    return status;
}

static rz_status bench_size(const char *size, rz_pool *pool, double seconds, double gflops,
                            rz_error *error)
{
    static const char *const heads[] = {"one", "two", "three", "four"};
    rz_config config;
    rz_vocabulary *vocabulary = NULL;
    rz_model *model = NULL;
    rz_status status = rz_family_find("encoder")->config_for_size(size, &config, error);
    if (status == RZ_OK)
        status = rz_vocabulary_synthetic(CODES, &vocabulary, error);
    if (status == RZ_OK)
        status = rz_model_new(&config, vocabulary, heads, 4, 1, pool, &model, error);
    if (status == RZ_OK)
        status = bench_training(model, seconds, gflops, error);
    static const size_t batches[] = {1, 32, PATIENTS * 4};
    for (size_t i = 0; status == RZ_OK && i < 3; i++)
        status = bench_inference(model, batches[i], seconds / 2, gflops, error);
    rz_model_free(model);
    rz_vocabulary_free(vocabulary);
    return status;
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    rz_pool *pool = NULL;
    rz_blas_info blas;
    double seconds = 2.0;
    int n_sizes = 0;
    rz_status status = rz_hash_setup(&error);
    if (status == RZ_OK)
        status = rz_pool_new(0, &pool, &error);
    if (status == RZ_OK)
        status = rz_blas_describe(pool, &blas, &error);
    if (status == RZ_OK) {
        printf("%s, core %s, kernels %s, %u threads, sgemm %.1f GFLOP/s\n", blas.config, blas.core,
               blas.path.name, blas.threads, blas.gflops);
        for (unsigned i = 0; i < blas.n_warnings; i++)
            printf("warning: %s\n", blas.warnings[i]);
    }
    for (int i = 1; i < argc && status == RZ_OK; i++) {
        if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = strtod(argv[++i], NULL);
        else {
            status = bench_size(argv[i], pool, seconds, blas.gflops, &error);
            n_sizes++;
        }
    }
    if (status == RZ_OK && n_sizes == 0)
        status = bench_size("2.2m", pool, seconds, blas.gflops, &error);
    if (status == RZ_OK && n_sizes == 0)
        status = bench_size("11m", pool, seconds, blas.gflops, &error);
    if (status != RZ_OK)
        (void)fprintf(stderr, "bench_encoder: %s\n", error.text);
    rz_pool_free(pool);
    return rz_status_exit_code(status);
}
