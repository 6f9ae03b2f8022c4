/* The onset head: from a timeline's pooled state to one logit for each code of the vocabulary, its
 * loss and gradients. One product with all codes at once, never a head for each; rows go in chunks,
 * so that logits over a large vocabulary stay bounded. */
#include "model/encoder/encoder.h"

#include <math.h>
#include <string.h>

/* Binary cross-entropy of one timeline's logits, and in their place its slope times the weight:
 * max(z, 0) - z y + log(1 + exp(-|z|)) and σ(z) - y, both 0 for a code that does not count. */
static double cross_entropy(float *logits, const uint64_t *bits, size_t n_codes, float weight)
{
    const uint64_t *uncounted = bits + rz_onset_words(n_codes);
    double loss = 0.0;
    for (size_t c = 0; c < n_codes; c++) {
        if (rz_onset_bit(uncounted, c)) {
            logits[c] = 0.0f;
            continue;
        }
        double z = (double)logits[c], y = rz_onset_bit(bits, c) ? 1.0 : 0.0, small = exp(-fabs(z));
        loss += (z > 0.0 ? z : 0.0) - z * y + log1p(small);
        double sigma = (z >= 0.0 ? 1.0 : small) / (1.0 + small);
        logits[c] = weight * (float)(sigma - y);
    }
    return loss;
}

typedef struct chunk {
    encoder_pass *p;
    size_t first, rows; /* timelines of the batch */
} chunk;

/* A block of timelines: logits, losses, and the gradient of the pooled states in loss_dz. */
static void onset_block(void *context, size_t task, unsigned worker)
{
    (void)worker;
    const chunk *c = context;
    encoder_pass *p = c->p;
    rz_scratch *s = p->s;
    const encoder_weight *weight = encoder_other_weight(p, RZ_ENCODER_ONSET);
    size_t h = (size_t)p->model->config.hidden, ld = s->logits_ld, n_codes = s->layout.n_onsets;
    size_t first = task * RZ_ENCODER_LOSS_BLOCK, left = c->rows - first;
    size_t rows = left < RZ_ENCODER_LOSS_BLOCK ? left : RZ_ENCODER_LOSS_BLOCK;
    float *logits = s->loss_logits + first * ld;
    rz_weight_product(&weight->forward, rows, s->pooled + (c->first + first) * h, h,
                      p->model->parameters + s->layout.onset_bias, logits, ld, NULL);
    for (size_t r = 0; r < rows; r++)
        s->loss_row[first + r] = cross_entropy(logits + r * ld,
                                               p->targets->onset_bits + (c->first + first + r) * 2 *
                                                                            rz_onset_words(n_codes),
                                               n_codes, p->targets->onset_weight);
    if (p->grads != NULL)
        rz_weight_product(&weight->backward, rows, logits, ld, NULL, s->loss_dz + first * h, h,
                          NULL);
}

/* The gradient of a pooled state goes to the states that it is the mean of. */
static void spread(const chunk *c)
{
    const encoder_pass *p = c->p;
    size_t h = (size_t)p->model->config.hidden;
    for (size_t r = 0; r < c->rows; r++) {
        size_t first, n;
        encoder_pooled_rows(p, c->first + r - p->first_seq, &first, &n);
        for (size_t i = first; i < first + n; i++)
            p->s->kernels->axpy(p->s->dx + i * h, 1.0f / (float)n, p->s->loss_dz + r * h, h);
    }
}

void encoder_onset_losses(encoder_pass *p)
{
    rz_scratch *s = p->s;
    size_t h = (size_t)p->model->config.hidden, end = p->first_seq + p->n_seqs;
    for (size_t first = p->first_seq; first < end; first += RZ_ENCODER_LOSS_ROWS) {
        chunk c = {.p = p, .first = first, .rows = end - first};
        c.rows = c.rows < RZ_ENCODER_LOSS_ROWS ? c.rows : RZ_ENCODER_LOSS_ROWS;
        rz_pool_run(p->model->pool, (c.rows + RZ_ENCODER_LOSS_BLOCK - 1) / RZ_ENCODER_LOSS_BLOCK,
                    onset_block, &c);
        for (size_t r = 0; r < c.rows; r++)
            p->losses->onset += s->loss_row[r];
        if (p->grads == NULL)
            continue;
        spread(&c);
        encoder_job_add(p, RZ_FLOAT32, s->loss_logits, s->logits_ld, s->pooled + first * h, h,
                        p->grads + s->layout.onset, s->layout.n_onsets, h, c.rows);
        encoder_job_add(p, RZ_FLOAT32, s->loss_logits, s->logits_ld, NULL, 0,
                        p->grads + s->layout.onset_bias, s->layout.n_onsets, 1, c.rows);
        encoder_jobs_run(p);
    }
}

/* The rows of the decoders, which read another space (behind a transform) but know which codes are
 * alike: the head begins with that, and gets to its place sooner. */
void encoder_onset_start(rz_model *model)
{
    static const char *const decoders[] = {"pretrain.diagnoses.decoder.weight",
                                           "pretrain.medications.decoder.weight"};
    float *row = model->parameters + rz_model_tensor(model, "onset.weight")->offset;
    for (size_t i = 0; i < 2; i++) {
        const rz_tensor_spec *decoder = rz_model_tensor(model, decoders[i]);
        if (decoder == NULL) /* a kind without codes */
            continue;
        memcpy(row, model->parameters + decoder->offset, decoder->count * sizeof *row);
        row += decoder->count;
    }
    model->parameters_version++;
}

typedef struct answer {
    const rz_model *model;
    const rz_scratch *s;
    size_t first, rows;
    float *out;
} answer;

static void answer_block(void *context, size_t task, unsigned worker)
{
    (void)worker;
    const answer *a = context;
    const rz_scratch *s = a->s;
    const rz_weight *weight =
        &s->weight[(size_t)a->model->config.layers * RZ_ENCODER_LAYER_WEIGHTS + RZ_ENCODER_ONSET]
             .forward;
    size_t h = (size_t)a->model->config.hidden, n_codes = s->layout.n_onsets;
    size_t first = task * RZ_ENCODER_LOSS_BLOCK, left = a->rows - first;
    size_t rows = left < RZ_ENCODER_LOSS_BLOCK ? left : RZ_ENCODER_LOSS_BLOCK;
    rz_weight_product(weight, rows, s->pooled + (a->first + first) * h, h,
                      a->model->parameters + s->layout.onset_bias,
                      a->out + first * rz_onset_stride(n_codes), rz_onset_stride(n_codes), NULL);
}

rz_status encoder_onsets(const rz_model *model, size_t first, size_t n, float *out,
                         rz_scratch *scratch, rz_error *error)
{
    if (!model->config.onset)
        return rz_fail(error, RZ_E_INVALID, "the model has no onset head");
    if (first > scratch->n_pooled || n > scratch->n_pooled - first)
        return rz_fail(error, RZ_E_RANGE, "onsets of timelines %zu to %zu, a pass of %zu", first,
                       first + n, scratch->n_pooled);
    answer a = {.model = model, .s = scratch, .first = first, .rows = n, .out = out};
    rz_pool_run(model->pool, (n + RZ_ENCODER_LOSS_BLOCK - 1) / RZ_ENCODER_LOSS_BLOCK, answer_block,
                &a);
    return RZ_OK;
}
