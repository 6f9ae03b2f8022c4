/* What the tests of the encoder share: a small model and batches for it. */
#ifndef TESTS_ENCODER_EXAMPLE_H
#define TESTS_ENCODER_EXAMPLE_H

#include "check.h"

#include "base/rng.h"
#include "base/size.h"
#include "model/model.h"

static inline rz_config small_config(rz_norm norm, rz_pooling pooling, rz_masking masking)
{
    return (rz_config){.family = "encoder",
                       .size = "custom",
                       .hidden = 32,
                       .layers = 2,
                       .heads = 4,
                       .feed_forward = 64,
                       .age_hidden = 32,
                       .age_bins = 1200,
                       .context = 300,
                       .norm = norm,
                       .pooling = pooling,
                       .masking = masking,
                       .mask_share = 0.15f,
                       .dropout = 0.1f};
}

static inline rz_model *make_model(const rz_config *config, size_t n_codes, size_t n_heads,
                                   rz_pool *pool)
{
    static const char *const heads[] = {"one", "two"};
    rz_error error = {0};
    rz_vocabulary *vocabulary = NULL;
    rz_model *model = NULL;
    check_ok(rz_vocabulary_synthetic(n_codes, &vocabulary, &error));
    check_ok(rz_model_new(config, vocabulary, heads, n_heads, 1, pool, &model, &error));
    rz_vocabulary_free(vocabulary);
    return model;
}

/* Random timelines of the given lengths, straight as tokens. */
static inline void make_batch(const rz_model *model, const size_t *lengths, size_t n,
                              rz_batch *batch)
{
    rz_error error = {0};
    rz_rng rng;
    size_t n_tokens = 0;
    for (size_t i = 0; i < n; i++)
        n_tokens += lengths[i];
    check_ok(rz_batch_reserve(batch, n, n_tokens, &error));
    batch->n_seqs = n;
    batch->n_tokens = 0;
    batch->offsets[0] = 0;
    for (size_t i = 0; i < n; i++) {
        rz_rng_init(&rng, 3, i); /* a timeline has the same tokens in every batch it is in */
        for (size_t k = 0; k < lengths[i]; k++) {
            size_t at = batch->n_tokens++;
            int32_t code = (int32_t)rz_rng_below(
                &rng, (uint32_t)(model->config.n_diagnoses + model->config.n_medications));
            batch->tokens[at] = k == 0   ? (int32_t)RZ_TOKEN_CLS
                                : k == 1 ? (int32_t)RZ_TOKEN_SEX_MALE
                                         : RZ_TOKEN_SPECIALS + code;
            batch->age_days[at] = (float)rz_rng_below(&rng, 36000);
            batch->age_hidden[at] = 0;
            batch->days_before[at] = (float)rz_rng_below(&rng, 40000);
        }
        batch->offsets[i + 1] = (uint32_t)batch->n_tokens;
    }
}

/* Lengths of a batch that takes several tiles and several blocks. */
static const size_t mixed[] = {2,   130, 7, 300, 299, 64,  33,  300,
                               300, 300, 5, 300, 257, 300, 128, 1 + 2};

#endif
