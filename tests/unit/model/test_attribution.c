/* What tokens count for a logit: the derivative by a token's weight, held against copies of tokens,
 * which are whole weights. */
#include "encoder_example.h"

enum { TOKENS = 9, COPIES = 32, CODES = 40 };

/* A small model whose tokens matter: parameters larger than at the start. */
static rz_model *make(rz_norm norm, rz_pooling pooling, rz_pool *pool)
{
    rz_config config = small_config(norm, pooling, RZ_MASKING_TOKEN);
    config.onset = true;
    config.recency = pooling == RZ_POOLING_MEAN;
    rz_model *model = make_model(&config, CODES, 2, pool);
    for (size_t i = 0; i < model->n_parameters; i++)
        model->parameters[i] *= 1.5f;
    model->parameters_version++;
    return model;
}

static double logit_of(const rz_model *model, const rz_batch *batch, size_t logit,
                       rz_scratch *scratch)
{
    rz_error error = {0};
    rz_outputs outputs = {0};
    float onsets[CODES + 16];
    check_ok(model->family->forward(model, batch, &outputs, scratch, &error));
    if (logit < model->n_heads)
        return (double)outputs.logits[logit];
    check_ok(model->family->onsets(model, 0, 1, onsets, scratch, &error));
    return (double)onsets[logit - model->n_heads];
}

/* Each token of `one` COPIES times, and token `extra` once more or once less. */
static void copies_of(const rz_batch *one, size_t extra, int more, rz_batch *out)
{
    rz_error error = {0};
    check_ok(rz_batch_reserve(out, 1, TOKENS * COPIES + 1, &error));
    out->n_seqs = 1;
    out->n_tokens = 0;
    for (size_t j = 0; j < TOKENS; j++)
        for (int k = 0; k < COPIES + (j == extra ? more : 0); k++) {
            out->tokens[out->n_tokens] = one->tokens[j];
            out->age_days[out->n_tokens] = one->age_days[j];
            out->days_before[out->n_tokens] = one->days_before[j];
            out->age_hidden[out->n_tokens++] = one->age_hidden[j];
        }
    out->offsets[0] = 0;
    out->offsets[1] = (uint32_t)out->n_tokens;
}

static void check_slopes(rz_norm norm, rz_pooling pooling)
{
    rz_error error = {0};
    rz_batch one = {0}, many = {0};
    rz_scratch *scratch = NULL;
    rz_model *model = make(norm, pooling, NULL);
    const size_t length = TOKENS, logits[] = {1, 2 + 7};
    float counts[2 * TOKENS], most[2] = {0.0f, 0.0f};
    make_batch(model, &length, 1, &one);
    one.age_hidden[4] = 1;
    check_ok(model->family->scratch_new(model, &scratch, &error));
    check_ok(model->family->attribute(model, &one, logits, 2, counts, scratch, &error));
    for (size_t i = 0; i < 2 * TOKENS; i++)
        most[i / TOKENS] = fmaxf(most[i / TOKENS], fabsf(counts[i]));
    assert_true(most[0] > 0.02f && most[1] > 0.01f);
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < TOKENS; j++) {
            double side[2];
            for (int s = 0; s < 2; s++) {
                copies_of(&one, j, s == 0 ? 1 : -1, &many);
                side[s] = logit_of(model, &many, logits[i], scratch);
            }
            double wanted = 0.5 * COPIES * (side[0] - side[1]);
            check_near(((double)counts[i * TOKENS + j] - wanted) / (double)most[i], 0.0, 5e-3);
        }
    model->family->scratch_free(scratch);
    rz_batch_done(&one);
    rz_batch_done(&many);
    rz_model_free(model);
}

static void a_token_counts_as_its_copies_do(void **state)
{
    (void)state;
    for (rz_norm norm = RZ_NORM_POST; norm <= RZ_NORM_PRE; norm++)
        for (rz_pooling pooling = RZ_POOLING_CLS; pooling <= RZ_POOLING_MEAN; pooling++)
            check_slopes(norm, pooling);
}

/* The same bytes alone, in any batch and with any number of threads; and the scratch that serves
 * answers as before. */
static void the_same_in_any_batch(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_pool *pool = NULL;
    rz_scratch *scratch = NULL;
    rz_batch batch = {0}, one = {0};
    rz_outputs outputs = {0};
    const size_t logits[] = {0, 3};
    check_ok(rz_pool_new(3, &pool, &error));
    rz_model *model = make(RZ_NORM_PRE, RZ_POOLING_MEAN, pool);
    make_batch(model, mixed, RZ_COUNT(mixed), &batch);
    float *all = calloc(2 * batch.n_tokens, sizeof *all), *alone = calloc(600, sizeof *alone);
    assert_true(all != NULL && alone != NULL);
    check_ok(model->family->scratch_new(model, &scratch, &error));
    check_ok(model->family->forward(model, &batch, &outputs, scratch, &error));
    const float before = outputs.logits[2 * 3];
    check_ok(model->family->attribute(model, &batch, logits, 2, all, scratch, &error));
    check_ok(model->family->forward(model, &batch, &outputs, scratch, &error));
    assert_true(outputs.logits[2 * 3] == before && before != 0.0f);
    model->pool = NULL;
    for (size_t i = 0; i < RZ_COUNT(mixed); i++) {
        size_t first = batch.offsets[i], n = mixed[i];
        check_ok(rz_batch_reserve(&one, 1, n, &error));
        one.n_seqs = 1;
        one.n_tokens = n;
        one.offsets[0] = 0;
        one.offsets[1] = (uint32_t)n;
        memcpy(one.tokens, batch.tokens + first, n * sizeof *one.tokens);
        memcpy(one.age_days, batch.age_days + first, n * sizeof *one.age_days);
        memcpy(one.age_hidden, batch.age_hidden + first, n);
        memcpy(one.days_before, batch.days_before + first, n * sizeof *one.days_before);
        check_ok(model->family->attribute(model, &one, logits, 2, alone, scratch, &error));
        for (size_t k = 0; k < 2; k++)
            assert_memory_equal(alone + k * n, all + k * batch.n_tokens + first, n * sizeof *all);
    }
    model->family->scratch_free(scratch);
    rz_batch_done(&batch);
    rz_batch_done(&one);
    rz_model_free(model);
    rz_pool_free(pool);
    free(all);
    free(alone);
}

static void logits_that_the_model_has_not_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_scratch *scratch = NULL;
    rz_batch batch = {0};
    rz_model *model = make(RZ_NORM_PRE, RZ_POOLING_CLS, NULL);
    const size_t length = 5, logits[] = {0, 2 + CODES};
    float counts[10];
    make_batch(model, &length, 1, &batch);
    check_ok(model->family->scratch_new(model, &scratch, &error));
    check_fails(model->family->attribute(model, &batch, logits, 2, counts, scratch, &error),
                RZ_E_RANGE, "attribution of logit 42, the model has 42");
    model->family->scratch_free(scratch);
    rz_batch_done(&batch);
    rz_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_token_counts_as_its_copies_do),
                                       cmocka_unit_test(the_same_in_any_batch),
                                       cmocka_unit_test(logits_that_the_model_has_not_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
