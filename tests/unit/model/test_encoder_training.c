/* The encoder as it learns: gradients under dropout, weights, precisions, at any number of threads.
 */
#include "encoder_example.h"

typedef struct training {
    rz_model *model;
    rz_batch batch;
    rz_targets targets;
    float labels[RZ_COUNT(mixed) * 2], head_weights[2];
    uint64_t onset_bits[RZ_COUNT(mixed) * 2]; /* of 40 codes */
} training;

static void training_init(training *t, const rz_config *config, bool pretrain, rz_pool *pool)
{
    rz_error error = {0};
    *t = (training){.model = make_model(config, 40, 2, pool), .head_weights = {0.3f, 0.2f}};
    make_batch(t->model, mixed, RZ_COUNT(mixed), &t->batch);
    check_ok(t->model->family->pretrain_targets(t->model, &t->batch, 1, 2, &t->targets, &error));
    for (size_t i = 0; i < RZ_COUNT(t->labels); i++)
        t->labels[i] = i % 5 == 0 ? NAN : (float)(i % 2);
    t->targets.pretrain = pretrain;
    t->targets.finetune = true;
    t->targets.labels = t->labels;
    t->targets.head_weights = t->head_weights;
    t->targets.diagnosis_weight = t->targets.medication_weight = 0.01f;
    t->targets.age_weight = 0.05f;
    if (!config->onset)
        return;
    rz_rng rng;
    rz_rng_init(&rng, 11, 0);
    for (size_t i = 0; i < RZ_COUNT(t->onset_bits); i++)
        for (size_t code = 0; code < 40; code++)
            t->onset_bits[i] |= (uint64_t)(rz_rng_below(&rng, 4) == 0) << code;
    t->targets.onset = true;
    t->targets.onset_bits = t->onset_bits;
    t->targets.onset_weight = 0.02f;
}

static void training_done(training *t)
{
    rz_batch_done(&t->batch);
    rz_targets_done(&t->targets);
    rz_model_free(t->model);
}

static double train(const training *t, rz_scratch *scratch, float *grads)
{
    rz_error error = {0};
    rz_losses l = {0};
    check_ok(t->model->family->train(t->model, &t->batch, &t->targets, grads, &l, scratch, &error));
    double sum = (double)t->head_weights[0] * l.head[0] + (double)t->head_weights[1] * l.head[1];
    if (t->targets.pretrain)
        sum += (double)t->targets.diagnosis_weight * l.diagnosis +
               (double)t->targets.medication_weight * l.medication +
               (double)t->targets.age_weight * l.age;
    if (t->targets.onset)
        sum += (double)t->targets.onset_weight * l.onset;
    return sum;
}

/* With dropout on, the loss must fall along the gradient at the rate that the gradient says:
 * forward and backward then drop the same elements. */
static void check_slope(rz_norm norm, rz_pooling pooling, bool pretrain, bool onset)
{
    rz_error error = {0};
    rz_config config = small_config(norm, pooling, RZ_MASKING_CODE);
    training t;
    config.onset = onset;
    config.recency = pooling == RZ_POOLING_MEAN;
    training_init(&t, &config, pretrain, NULL);
    size_t n = t.model->n_parameters;
    rz_scratch *scratch = NULL;
    float *grads = calloc(n, sizeof *grads), *old = calloc(n, sizeof *old),
          *unused = calloc(n, sizeof *unused);
    assert_true(grads != NULL && old != NULL && unused != NULL);
    check_ok(t.model->family->scratch_new(t.model, &scratch, &error));
    (void)train(&t, scratch, grads);
    memcpy(old, t.model->parameters, n * sizeof *old);
    double square = 0.0, loss[2];
    for (size_t i = 0; i < n; i++)
        square += (double)grads[i] * (double)grads[i];
    for (int side = 0; side < 2; side++) {
        double step = (side == 0 ? 5e-4 : -5e-4) / sqrt(square);
        for (size_t i = 0; i < n; i++)
            t.model->parameters[i] = (float)((double)old[i] + step * (double)grads[i]);
        t.model->parameters_version++;
        loss[side] = train(&t, scratch, unused);
    }
    check_near((loss[0] - loss[1]) / (1e-3 * sqrt(square)), 1.0, 2e-3);
    t.model->family->scratch_free(scratch);
    training_done(&t);
    free(grads);
    free(old);
    free(unused);
}

static void dropout_is_the_same_forward_and_back(void **state)
{
    (void)state;
    for (rz_norm norm = RZ_NORM_POST; norm <= RZ_NORM_PRE; norm++) {
        check_slope(norm, RZ_POOLING_CLS, false, false);
        check_slope(norm, RZ_POOLING_CLS, true, false);
        check_slope(norm, RZ_POOLING_MEAN, false, false);
        check_slope(norm, RZ_POOLING_CLS, false, true);
        check_slope(norm, RZ_POOLING_MEAN, true, true);
    }
}

/* A code that does not count has neither loss nor gradient, whatever its label says; each one that
 * does is one position of the mean. */
static void codes_that_do_not_count_teach_nothing(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_config config = small_config(RZ_NORM_PRE, RZ_POOLING_MEAN, RZ_MASKING_TOKEN);
    rz_scratch *scratch = NULL;
    rz_losses with = {0}, without = {0}, all = {0};
    training t;
    config.onset = true;
    training_init(&t, &config, false, NULL);
    t.targets.finetune = false;
    t.targets.n_onsets = 77;
    size_t n = t.model->n_parameters;
    float *grads = calloc(2 * n, sizeof *grads);
    assert_non_null(grads);
    check_ok(t.model->family->scratch_new(t.model, &scratch, &error));
    for (size_t i = 0; i < RZ_COUNT(mixed); i++)
        t.onset_bits[2 * i + 1] |= 1u << 5;
    check_ok(t.model->family->train(t.model, &t.batch, &t.targets, grads, &with, scratch, &error));
    for (size_t i = 0; i < RZ_COUNT(mixed); i++)
        t.onset_bits[2 * i] ^= 1u << 5;
    check_ok(t.model->family->train(t.model, &t.batch, &t.targets, grads + n, &without, scratch,
                                    &error));
    assert_true(with.onset == without.onset && with.n_onsets == 77);
    assert_memory_equal(grads, grads + n, n * sizeof *grads);
    const rz_tensor_spec *weight = rz_model_tensor(t.model, "onset.weight"),
                         *bias = rz_model_tensor(t.model, "onset.bias");
    for (size_t i = 0; i < 32; i++)
        assert_true(grads[weight->offset + 5 * 32 + i] == 0.0f);
    assert_true(grads[bias->offset + 5] == 0.0f && grads[bias->offset + 6] != 0.0f);
    for (size_t i = 0; i < RZ_COUNT(mixed); i++)
        t.onset_bits[2 * i + 1] = UINT64_MAX;
    check_ok(t.model->family->train(t.model, &t.batch, &t.targets, NULL, &all, scratch, &error));
    assert_true(all.onset == 0.0);
    t.targets.onset_bits = NULL;
    check_fails(t.model->family->train(t.model, &t.batch, &t.targets, NULL, &all, scratch, &error),
                RZ_E_INVALID, "onset head and its labels");
    t.model->family->scratch_free(scratch);
    training_done(&t);
    free(grads);
}

/* The head starts with the decoders' rows, diagnoses first; nothing else changes. */
static void an_onset_head_starts_from_the_decoders(void **state)
{
    (void)state;
    rz_config config = small_config(RZ_NORM_PRE, RZ_POOLING_MEAN, RZ_MASKING_TOKEN);
    config.onset = true;
    rz_model *model = make_model(&config, 40, 0, NULL), *other = make_model(&config, 40, 0, NULL);
    const rz_tensor_spec *head = rz_model_tensor(model, "onset.weight"),
                         *diagnoses = rz_model_tensor(model, "pretrain.diagnoses.decoder.weight"),
                         *medications =
                             rz_model_tensor(model, "pretrain.medications.decoder.weight");
    assert_int_equal(head->count, diagnoses->count + medications->count);
    model->family->onset_start(model);
    const float *p = model->parameters;
    assert_memory_equal(p + head->offset, p + diagnoses->offset, diagnoses->count * sizeof *p);
    assert_memory_equal(p + head->offset + diagnoses->count, p + medications->offset,
                        medications->count * sizeof *p);
    assert_memory_equal(p, other->parameters, head->offset * sizeof *p);
    assert_true(model->parameters_version != other->parameters_version);
    rz_model_free(model);
    rz_model_free(other);
}

/* A timeline of weight w has the losses and the gradient of w times that timeline. */
static void a_weight_counts_like_as_many_timelines(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_config config = small_config(RZ_NORM_PRE, RZ_POOLING_MEAN, RZ_MASKING_TOKEN);
    rz_model *model = make_model(&config, 40, 2, NULL);
    rz_scratch *scratch = NULL;
    float *grads[2];
    rz_losses losses[2] = {{0}};
    static const float labels[4] = {1.0f, (float)NAN, 0.0f, 1.0f}, head_weights[2] = {0.3f, 0.2f};
    model->config.dropout = 0.0f;
    check_ok(model->family->scratch_new(model, &scratch, &error));
    for (int weighted = 0; weighted < 2; weighted++) {
        rz_batch batch = {0};
        rz_targets targets = {.finetune = true, .head_weights = head_weights};
        float copies[8], weights[2] = {1.0f, 3.0f};
        /* make_batch draws a timeline by its place: the second one again, and again. */
        const size_t lengths[2] = {30, 50};
        make_batch(model, lengths, 2, &batch);
        memcpy(copies, labels, sizeof labels);
        if (weighted) {
            targets.seq_weights = weights;
        } else {
            check_ok(rz_batch_reserve(&batch, 4, 180, &error));
            for (size_t k = 2; k < 4; k++) {
                memcpy(batch.tokens + batch.n_tokens, batch.tokens + 30, 50 * sizeof *batch.tokens);
                memcpy(batch.age_days + batch.n_tokens, batch.age_days + 30,
                       50 * sizeof *batch.age_days);
                memset(batch.age_hidden + batch.n_tokens, 0, 50);
                batch.n_tokens += 50;
                batch.offsets[k + 1] = (uint32_t)batch.n_tokens;
                memcpy(copies + 2 * k, labels + 2, 2 * sizeof *copies);
            }
            batch.n_seqs = 4;
        }
        targets.labels = copies;
        grads[weighted] = calloc(model->n_parameters, sizeof(float));
        check_ok(model->family->train(model, &batch, &targets, grads[weighted], &losses[weighted],
                                      scratch, &error));
        rz_batch_done(&batch);
        rz_targets_done(&targets);
    }
    for (size_t head = 0; head < 2; head++) {
        check_near(losses[1].head[head], losses[0].head[head], 1e-5);
        check_near(losses[1].n_head[head], losses[0].n_head[head], 1e-9);
    }
    check_near(losses[0].n_head[0], 4.0, 1e-9);
    check_near(losses[0].n_head[1], 3.0, 1e-9);
    for (size_t i = 0; i < model->n_parameters; i++)
        check_near(grads[1][i], grads[0][i], 1e-5);
    model->family->scratch_free(scratch);
    rz_model_free(model);
    free(grads[0]);
    free(grads[1]);
}

static void gradients_do_not_depend_on_threads(void **state)
{
    (void)state;
    rz_error error = {0};
    float *grads[3];
    double losses[3];
    size_t n = 0;
    rz_config config = small_config(RZ_NORM_POST, RZ_POOLING_CLS, RZ_MASKING_TOKEN);
    config.onset = true;
    for (unsigned threads = 1; threads <= 3; threads++) {
        rz_pool *pool = NULL;
        rz_scratch *scratch = NULL;
        training t;
        check_ok(rz_pool_new(threads, &pool, &error));
        training_init(&t, &config, true, pool);
        n = t.model->n_parameters;
        grads[threads - 1] = calloc(n, sizeof(float));
        check_ok(t.model->family->scratch_new(t.model, &scratch, &error));
        losses[threads - 1] = train(&t, scratch, grads[threads - 1]);
        t.model->family->scratch_free(scratch);
        training_done(&t);
        rz_pool_free(pool);
    }
    assert_memory_equal(grads[0], grads[1], n * sizeof(float));
    assert_memory_equal(grads[0], grads[2], n * sizeof(float));
    assert_true(losses[0] == losses[1] && losses[0] == losses[2]);
    for (size_t i = 0; i < 3; i++)
        free(grads[i]);
}

/* Losses and gradients with the layers' products in bf16 beside those in float32, which have three
 * more digits; and the same at any number of threads. */
static void training_in_bf16_is_close(void **state)
{
    (void)state;
    rz_error error = {0};
    for (int way = 0; way < 4; way++) {
        rz_config config =
            small_config(way % 2 == 0 ? RZ_NORM_POST : RZ_NORM_PRE,
                         way / 2 == 0 ? RZ_POOLING_CLS : RZ_POOLING_MEAN, RZ_MASKING_TOKEN);
        float *grads[3];
        double losses[3], difference = 0.0, square = 0.0;
        size_t n = 0;
        for (unsigned i = 0; i < 3; i++) {
            rz_pool *pool = NULL;
            rz_scratch *scratch = NULL;
            training t;
            check_ok(rz_pool_new(i == 2 ? 3 : 1, &pool, &error));
            training_init(&t, &config, way % 2 == 0, pool);
            t.model->training_precision = i == 0 ? RZ_FLOAT32 : RZ_BF16;
            n = t.model->n_parameters;
            grads[i] = calloc(n, sizeof(float));
            check_ok(t.model->family->scratch_new(t.model, &scratch, &error));
            losses[i] = train(&t, scratch, grads[i]);
            t.model->family->scratch_free(scratch);
            training_done(&t);
            rz_pool_free(pool);
        }
        for (size_t k = 0; k < n; k++) {
            double d = (double)grads[1][k] - (double)grads[0][k];
            difference += d * d;
            square += (double)grads[0][k] * (double)grads[0][k];
        }
        assert_true(difference > 0.0 && sqrt(difference / square) < 0.02);
        check_near(losses[1] / losses[0], 1.0, 5e-3);
        assert_memory_equal(grads[1], grads[2], n * sizeof(float));
        for (size_t i = 0; i < 3; i++)
            free(grads[i]);
    }
}

static void impossible_batches_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_config config = small_config(RZ_NORM_POST, RZ_POOLING_CLS, RZ_MASKING_TOKEN);
    training t;
    rz_scratch *scratch = NULL;
    rz_outputs out;
    rz_losses l;
    training_init(&t, &config, true, NULL);
    const rz_family *f = t.model->family;
    float *grads = calloc(t.model->n_parameters, sizeof *grads);
    check_ok(f->scratch_new(t.model, &scratch, &error));
    t.batch.tokens[3] = 48;
    check_fails(f->forward(t.model, &t.batch, &out, scratch, &error), RZ_E_RANGE, "token 48");
    t.batch.tokens[3] = -1;
    check_fails(f->forward(t.model, &t.batch, &out, scratch, &error), RZ_E_RANGE, "token -1");
    t.batch.tokens[3] = RZ_TOKEN_MASK;
    t.batch.age_days[4] = NAN;
    check_fails(f->forward(t.model, &t.batch, &out, scratch, &error), RZ_E_RANGE, "not finite");
    t.batch.age_days[4] = 1.0f;
    t.batch.offsets[1] = 1;
    check_fails(f->forward(t.model, &t.batch, &out, scratch, &error), RZ_E_RANGE, "1 tokens");
    t.batch.offsets[1] = 310;
    check_fails(f->forward(t.model, &t.batch, &out, scratch, &error), RZ_E_RANGE, "2 … 300");
    t.batch.offsets[1] = 2;
    t.targets.diagnosis_labels[0] = 20;
    check_fails(f->train(t.model, &t.batch, &t.targets, grads, &l, scratch, &error), RZ_E_RANGE,
                "label 20");
    t.targets.diagnosis_labels[0] = 0;
    t.targets.age_positions[1] = t.targets.age_positions[0];
    check_fails(f->train(t.model, &t.batch, &t.targets, grads, &l, scratch, &error), RZ_E_RANGE,
                "ascending");
    t.targets.pretrain = false;
    t.targets.labels = NULL;
    check_fails(f->train(t.model, &t.batch, &t.targets, grads, &l, scratch, &error), RZ_E_INVALID,
                "labels");
    rz_batch empty = {0};
    check_ok(f->forward(t.model, &empty, &out, scratch, &error));
    check_fails(rz_batch_reserve(&empty, (size_t)1 << 40, 1, &error), RZ_E_TOO_LARGE, "timelines");
    f->scratch_free(scratch);
    f->scratch_free(NULL);
    training_done(&t);
    free(grads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dropout_is_the_same_forward_and_back),
                                       cmocka_unit_test(codes_that_do_not_count_teach_nothing),
                                       cmocka_unit_test(an_onset_head_starts_from_the_decoders),
                                       cmocka_unit_test(a_weight_counts_like_as_many_timelines),
                                       cmocka_unit_test(gradients_do_not_depend_on_threads),
                                       cmocka_unit_test(training_in_bf16_is_close),
                                       cmocka_unit_test(impossible_batches_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
