/* What each token counts for a logit: the derivative of the logit by the token's weight.
 *
 * A weight w of token j multiplies e^score wherever j is a key, and j's share of the mean where
 * states are pooled; j's own state knows nothing of it. Whole weights are copies: tokens have no
 * position, so two equal tokens have the same states and are one of weight 2. At w = 1
 *
 *   d logit / d w_j = Σ_layers Σ_heads Σ_i dS_ij  +  g · (x_j - pooled) / n   (pooling = mean)
 *
 * with dS the gradient of the scores, x the last states and g the head's row. Weights alone would
 * say how the logit follows the token's embedding; this says how it follows the token's presence,
 * which is what removal ends. (models/MODEL.md, Contributions.)
 *
 * Serving keeps no memory for it: a scratch of its own holds the activations of one tile and the
 * backward panels of one layer at a time, reads the forward panels of the serving scratch, and is
 * freed at the end. */
#include "model/encoder/encoder.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* Row of the head that gives a logit; NULL when there is none. */
static const float *row_of(const rz_model *model, const encoder_layout *layout, size_t logit)
{
    if (logit < model->n_heads)
        return model->parameters + layout->head[logit];
    if (logit - model->n_heads >= layout->n_onsets)
        return NULL;
    return model->parameters + layout->onset +
           (logit - model->n_heads) * (size_t)model->config.hidden;
}

static rz_status check_logits(const rz_model *model, const encoder_layout *layout,
                              const size_t *logits, size_t n, rz_error *error)
{
    for (size_t i = 0; i < n; i++)
        if (row_of(model, layout, logits[i]) == NULL)
            return rz_fail(error, RZ_E_RANGE, "attribution of logit %zu, the model has %zu",
                           logits[i], model->n_heads + layout->n_onsets);
    return RZ_OK;
}

/* A scratch for one tile of the batch that serving has just prepared for. */
static rz_status open_scratch(const encoder_pass *p, const rz_scratch *serving, rz_scratch **out,
                              void **panels, rz_error *error)
{
    rz_scratch *s = NULL;
    rz_status status = encoder_scratch_new(p->model, &s, error);
    if (status != RZ_OK)
        return status;
    size_t tokens = p->batch->n_tokens, rows = tokens < s->tile_tokens ? tokens : s->tile_tokens;
    status =
        encoder_scratch_grow(s, p->model, rows, RZ_ENCODER_ATTRIBUTION, p->batch->n_seqs, error);
    if (status != RZ_OK) {
        encoder_scratch_free(s);
        return status;
    }
    memcpy(s->weight, serving->weight, sizeof s->weight);
    s->n_weights = serving->n_weights;
    s->age_prefix = serving->age_prefix;
    s->age_columns = serving->age_columns;
    size_t layers = s->n_weights - RZ_ENCODER_OTHER_WEIGHTS;
    for (size_t i = 0; i < layers; i++) {
        s->weight[i].backward.precision = RZ_FLOAT32;
        s->weight[i].backward.panels = NULL;
    }
    *panels = rz_memory_block(encoder_layer_panels(s) + 64);
    if (*panels == NULL) {
        encoder_scratch_free(s);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a layer's weights");
    }
    *out = s;
    return RZ_OK;
}

/* The gradient of the last states; and what a token's weight in the mean gives, in out. */
static void start(encoder_pass *p, const float *row, float *out)
{
    rz_scratch *s = p->s;
    size_t h = (size_t)p->model->config.hidden;
    size_t rows = p->first_only ? p->n_seqs : p->n_tokens;
    memset(s->dx, 0, rows * h * sizeof *s->dx);
    memset(p->first_only ? s->dstream_first : s->dstream, 0, rows * h * sizeof *s->dx);
    memset(out, 0, p->n_tokens * sizeof *out);
    for (size_t seq = 0; seq < p->n_seqs; seq++) {
        size_t first, n;
        encoder_pooled_rows(p, seq, &first, &n);
        float pooled = s->kernels->dot(row, s->pooled + (p->first_seq + seq) * h, h);
        for (size_t r = first; r < first + n; r++) {
            s->kernels->axpy(s->dx + r * h, 1.0f / (float)n, row, h);
            if (p->model->config.pooling == RZ_POOLING_MEAN)
                out[r] = (s->kernels->dot(row, encoder_states(p) + r * h, h) - pooled) / (float)n;
        }
    }
}

/* One logit of a tile. Heads and layers add up in order. */
static void run_back(encoder_pass *p, const float *row, void *panels, float *out)
{
    rz_scratch *s = p->s;
    start(p, row, out);
    for (size_t layer = (size_t)p->model->config.layers; layer-- > 0;) {
        p->layer = layer;
        encoder_layer_pack(s, p->model, layer, panels);
        encoder_layer_backward(p);
        for (size_t head = 0; head < (size_t)p->model->config.heads; head++)
            s->kernels->add(out, s->presence + head * s->rows, p->n_tokens);
    }
}

rz_status encoder_attribute(const rz_model *model, const rz_batch *batch, const size_t *logits,
                            size_t n_logits, float *out, rz_scratch *scratch, rz_error *error)
{
    void *panels = NULL;
    encoder_pass p = {.model = model,
                      .s = scratch,
                      .batch = batch,
                      .keep = true,
                      .first_only = model->config.pooling == RZ_POOLING_CLS};
    rz_status status = check_logits(model, &scratch->layout, logits, n_logits, error);
    if (status == RZ_OK)
        status = encoder_prepare(&p, RZ_ENCODER_INFERENCE, error);
    if (status == RZ_OK)
        status = open_scratch(&p, scratch, &p.s, &panels, error);
    if (status != RZ_OK)
        return status;
    while (encoder_next_tile(&p)) {
        encoder_layers_forward(&p);
        encoder_task_outputs(&p);
        for (size_t i = 0; i < n_logits; i++)
            run_back(&p, row_of(model, &p.s->layout, logits[i]), panels,
                     out + i * batch->n_tokens + p.first_token);
    }
    free(panels);
    encoder_scratch_free(p.s);
    return RZ_OK;
}
