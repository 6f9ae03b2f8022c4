/* The encoder family: checks what comes in, cuts it into tiles, and runs the passes in order. */
#include "model/encoder/encoder.h"

#include <math.h>
#include <string.h>

static rz_status check_batch(const rz_model *model, const rz_batch *batch, rz_error *error)
{
    const rz_config *c = &model->config;
    int32_t n_ids = RZ_TOKEN_SPECIALS + c->n_diagnoses + c->n_medications;
    if (batch->n_seqs > 0 &&
        (batch->offsets[0] != 0 || batch->offsets[batch->n_seqs] != batch->n_tokens))
        return rz_fail(error, RZ_E_RANGE, "batch offsets do not span its %zu tokens",
                       batch->n_tokens);
    for (size_t i = 0; i < batch->n_seqs; i++) {
        uint32_t first = batch->offsets[i], last = batch->offsets[i + 1];
        if (last < first + 2 || last - first > (uint32_t)c->context)
            return rz_fail(error, RZ_E_RANGE,
                           "timeline %zu of a batch has %lld tokens, 2 … %d are possible", i,
                           (long long)last - (long long)first, c->context);
    }
    for (size_t i = 0; i < batch->n_tokens; i++) {
        if (batch->tokens[i] < 0 || batch->tokens[i] >= n_ids)
            return rz_fail(error, RZ_E_RANGE, "token %d, the model has %d", batch->tokens[i],
                           n_ids);
        if (!isfinite(batch->age_days[i]))
            return rz_fail(error, RZ_E_RANGE, "an age is not finite");
    }
    return RZ_OK;
}

/* Positions must ascend: tiles take their part, and no two tasks may write one row. */
static rz_status check_positions(const char *what, const uint32_t *positions, const int32_t *labels,
                                 size_t n, size_t n_tokens, int32_t n_labels, rz_error *error)
{
    for (size_t i = 0; i < n; i++) {
        if (positions[i] >= n_tokens || (i > 0 && positions[i] <= positions[i - 1]))
            return rz_fail(error, RZ_E_RANGE,
                           "%s target %zu: position %u of %zu tokens, or not "
                           "in ascending order",
                           what, i, positions[i], n_tokens);
        if (labels != NULL && (labels[i] < 0 || labels[i] >= n_labels))
            return rz_fail(error, RZ_E_RANGE, "%s target %zu: label %d, the model has %d", what, i,
                           labels[i], n_labels);
    }
    return RZ_OK;
}

static rz_status check_targets(const rz_model *model, const rz_batch *batch, const rz_targets *t,
                               rz_error *error)
{
    rz_status status = RZ_OK;
    size_t n = batch->n_tokens;
    if (t->finetune && (model->n_heads == 0 || t->labels == NULL || t->head_weights == NULL))
        return rz_fail(error, RZ_E_INVALID, "fine-tuning needs heads, labels and head weights");
    if (t->onset && (!model->config.onset || t->onset_bits == NULL))
        return rz_fail(error, RZ_E_INVALID, "learning onsets needs the onset head and its labels");
    if (!t->pretrain)
        return status;
    status = check_positions("diagnosis", t->diagnosis_positions, t->diagnosis_labels,
                             t->n_diagnoses, n, model->config.n_diagnoses, error);
    if (status == RZ_OK)
        status = check_positions("medication", t->medication_positions, t->medication_labels,
                                 t->n_medications, n, model->config.n_medications, error);
    if (status == RZ_OK)
        status = check_positions("age", t->age_positions, NULL, t->n_ages, n, 0, error);
    return status;
}

bool encoder_next_tile(encoder_pass *p)
{
    const uint32_t *offsets = p->batch->offsets;
    p->first_seq += p->n_seqs;
    p->first_token += p->n_tokens;
    size_t seq = p->first_seq;
    while (seq < p->batch->n_seqs && offsets[seq + 1] - p->first_token <= p->s->tile_tokens)
        seq++;
    p->n_seqs = seq - p->first_seq;
    p->n_tokens = p->n_seqs == 0 ? 0 : offsets[seq] - p->first_token;
    return p->n_seqs > 0;
}

rz_status encoder_prepare(encoder_pass *p, encoder_use use, rz_error *error)
{
    rz_status status = check_batch(p->model, p->batch, error);
    if (status != RZ_OK)
        return status;
    size_t rows = p->batch->n_tokens < p->s->tile_tokens ? p->batch->n_tokens : p->s->tile_tokens;
    status = encoder_scratch_grow(p->s, p->model, rows, use, p->batch->n_seqs, error);
    if (status == RZ_OK)
        status = encoder_weights_prepare(p->s, p->model, use == RZ_ENCODER_TRAINING, error);
    return status;
}

static rz_status encoder_forward(const rz_model *model, const rz_batch *batch, rz_outputs *out,
                                 rz_scratch *scratch, rz_error *error)
{
    encoder_pass p = {.model = model,
                      .s = scratch,
                      .batch = batch,
                      .first_only = model->config.pooling == RZ_POOLING_CLS};
    rz_status status = encoder_prepare(&p, RZ_ENCODER_INFERENCE, error);
    if (status != RZ_OK)
        return status;
    while (encoder_next_tile(&p)) {
        encoder_layers_forward(&p);
        encoder_task_outputs(&p);
    }
    scratch->n_pooled = batch->n_seqs;
    *out = (rz_outputs){.pooled = scratch->pooled, .logits = scratch->logits};
    return RZ_OK;
}

static void train_tile(encoder_pass *p)
{
    size_t rows = p->first_only ? p->n_seqs : p->n_tokens;
    encoder_layers_forward(p);
    if (p->grads != NULL)
        memset(p->s->dx, 0, rows * (size_t)p->model->config.hidden * sizeof *p->s->dx);
    if (p->targets->pretrain)
        encoder_pretrain_losses(p);
    if (p->targets->finetune || p->targets->onset)
        encoder_task_outputs(p);
    if (p->targets->finetune)
        encoder_task_losses(p);
    if (p->targets->onset)
        encoder_onset_losses(p);
    if (p->grads != NULL)
        encoder_layers_backward(p);
}

static rz_status encoder_train(const rz_model *model, const rz_batch *batch,
                               const rz_targets *targets, float *grads, rz_losses *losses,
                               rz_scratch *scratch, rz_error *error)
{
    rz_losses sums = {0};
    encoder_pass p = {.model = model,
                      .s = scratch,
                      .batch = batch,
                      .targets = targets,
                      .grads = grads,
                      .losses = &sums,
                      .keep = grads != NULL,
                      .first_only = model->config.pooling == RZ_POOLING_CLS && !targets->pretrain};
    rz_status status = check_targets(model, batch, targets, error);
    if (status == RZ_OK)
        status = encoder_prepare(&p, RZ_ENCODER_TRAINING, error);
    if (status != RZ_OK)
        return status;
    if (targets->pretrain) {
        sums.n_diagnoses = targets->n_diagnoses;
        sums.n_medications = targets->n_medications;
        sums.n_ages = targets->n_ages;
    }
    if (targets->onset)
        sums.n_onsets = targets->n_onsets;
    size_t bins = ((size_t)model->config.age_bins + 1) * (size_t)model->config.age_hidden;
    if (grads != NULL) {
        p.dropout =
            rz_dropout_make(model->config.dropout, targets->dropout_seed, targets->dropout_stream);
        memset(scratch->dage_whole, 0, bins * sizeof(float));
        memset(scratch->dage_part, 0, bins * sizeof(float));
    }
    while (encoder_next_tile(&p))
        train_tile(&p);
    if (grads != NULL)
        encoder_age_backward_finish(&p);
    *losses = sums;
    return RZ_OK;
}

static double encoder_forward_flop(const rz_config *c, const rz_batch *batch,
                                   const rz_targets *targets)
{
    double h = c->hidden, f = c->feed_forward, flop = 0.0;
    for (size_t i = 0; i < batch->n_seqs; i++) {
        double n = batch->offsets[i + 1] - batch->offsets[i];
        flop += c->layers * (n * (8 * h * h + 4 * h * f) + 4 * n * n * h);
    }
    if (targets == NULL || !targets->pretrain)
        return flop;
    return flop + (double)targets->n_diagnoses * (2 * h * h + 2 * h * c->n_diagnoses) +
           (double)targets->n_medications * (2 * h * h + 2 * h * c->n_medications);
}

const rz_family rz_encoder_family = {
    .name = "encoder",
    .capabilities = RZ_CAN_PRETRAIN | RZ_CAN_HEADS,
    .config_parse = encoder_config_parse,
    .config_write = encoder_config_write,
    .config_for_size = encoder_config_for_size,
    .tensor_table = encoder_tensor_table,
    .batch_build = encoder_batch_build,
    .pretrain_targets = encoder_pretrain_targets,
    .forward_flop = encoder_forward_flop,
    .scratch_new = encoder_scratch_new,
    .scratch_free = encoder_scratch_free,
    .forward = encoder_forward,
    .train = encoder_train,
    .onset_start = encoder_onset_start,
    .onsets = encoder_onsets,
    .attribute = encoder_attribute,
};
