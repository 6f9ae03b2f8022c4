/* Heads: the pretraining losses over masked positions, and the task heads over pooled states.
 * Each loss is a sum; its gradient is scaled by the weight that the targets give. */
#include "model/encoder/encoder.h"

#include <math.h>
#include <string.h>

/* The part [*first, *last) of ascending positions that lies in the tile. */
static void tile_range(const encoder_pass *p, const uint32_t *positions, size_t n, size_t *first,
                       size_t *last)
{
    size_t i = 0;
    while (i < n && positions[i] < p->first_token)
        i++;
    *first = i;
    while (i < n && positions[i] < p->first_token + p->n_tokens)
        i++;
    *last = i;
}

/* gelu(x Wᵗ + b), layer norm, decoder, cross-entropy; with gradients back into dx. A block of
 * masked positions; code_head, positions, labels and rows belong to the running chunk. */
static void code_block(void *context, size_t task, unsigned worker)
{
    (void)worker;
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const rz_kernels *k = s->kernels;
    const encoder_code_head_place *head = p->code_head;
    const float *w = p->model->parameters, *states = encoder_states(p);
    size_t h = (size_t)p->model->config.hidden, ld = s->logits_ld;
    size_t first = task * RZ_ENCODER_LOSS_BLOCK;
    size_t rows = p->rows - first < RZ_ENCODER_LOSS_BLOCK ? p->rows - first : RZ_ENCODER_LOSS_BLOCK;
    const encoder_weight *transform = &p->code_weights[0], *decoder = &p->code_weights[1];
    size_t at = first * h;
    float *logits = s->loss_logits + first * ld;

    for (size_t r = first; r < first + rows; r++)
        memcpy(s->loss_x + r * h, states + (p->positions[r] - p->first_token) * h,
               h * sizeof(float));
    rz_weight_product(&transform->forward, rows, s->loss_x + at, h, w + head->transform_bias,
                      s->loss_up + at, h, NULL);
    k->gelu_row(s->loss_active + at, s->loss_up + at, rows * h);
    for (size_t r = first; r < first + rows; r++)
        s->loss_inverse[r] =
            k->norm_row(s->loss_z + r * h, s->loss_normal + r * h, s->loss_active + r * h,
                        w + head->norm.gain, w + head->norm.bias, RZ_ENCODER_EPSILON, h);
    rz_weight_product(&decoder->forward, rows, s->loss_z + at, h, w + head->decoder_bias, logits,
                      ld, NULL);
    for (size_t r = 0; r < rows; r++)
        s->loss_row[first + r] = k->cross_entropy_row(logits + r * ld, (size_t)p->labels[first + r],
                                                      p->weight, head->n_codes);
    if (p->grads == NULL)
        return;
    float *sums = s->partials + task * s->partial_size;
    memset(sums, 0, 2 * h * sizeof *sums);
    rz_weight_product(&decoder->backward, rows, logits, ld, NULL, s->loss_dz + at, h, NULL);
    for (size_t r = first; r < first + rows; r++)
        k->norm_row_backward(s->loss_du + r * h, sums, sums + h, s->loss_dz + r * h,
                             s->loss_normal + r * h, w + head->norm.gain, s->loss_inverse[r], h);
    k->gelu_row_backward(s->loss_du + at, NULL, s->loss_du + at, s->loss_up + at, rows * h);
    rz_weight_product(&transform->backward, rows, s->loss_du + at, h, NULL, s->loss_dz + at, h,
                      NULL);
    for (size_t r = first; r < first + rows; r++)
        k->add(s->dx + (p->positions[r] - p->first_token) * h, s->loss_dz + r * h, h);
}

/* Chunk by chunk, so that logits over a large vocabulary stay bounded. Gives the sum of losses. */
static double code_losses(encoder_pass *p, const encoder_code_head_place *head, int weights,
                          const uint32_t *positions, const int32_t *labels, size_t n, float weight)
{
    rz_scratch *s = p->s;
    size_t h = (size_t)p->model->config.hidden, begin, end;
    double loss = 0.0;
    tile_range(p, positions, n, &begin, &end);
    p->code_head = head;
    p->code_weights = encoder_other_weight(p, weights);
    p->weight = weight;
    for (size_t chunk = begin; chunk < end; chunk += RZ_ENCODER_LOSS_ROWS) {
        p->rows = end - chunk < RZ_ENCODER_LOSS_ROWS ? end - chunk : RZ_ENCODER_LOSS_ROWS;
        p->positions = positions + chunk;
        p->labels = labels + chunk;
        size_t blocks = (p->rows + RZ_ENCODER_LOSS_BLOCK - 1) / RZ_ENCODER_LOSS_BLOCK;
        rz_pool_run(p->model->pool, blocks, code_block, p);
        for (size_t i = 0; i < p->rows; i++)
            loss += s->loss_row[i];
        if (p->grads == NULL)
            continue;
        const size_t places[] = {head->norm.gain, head->norm.bias}, counts[] = {h, h};
        encoder_partials_reduce(p, blocks, places, counts, 2);
        encoder_job_add(p, RZ_FLOAT32, s->loss_logits, s->logits_ld, s->loss_z, h,
                        p->grads + head->decoder, head->n_codes, h, p->rows);
        encoder_job_add(p, RZ_FLOAT32, s->loss_logits, s->logits_ld, NULL, 0,
                        p->grads + head->decoder_bias, head->n_codes, 1, p->rows);
        encoder_job_add(p, RZ_FLOAT32, s->loss_du, h, s->loss_x, h, p->grads + head->transform, h,
                        h, p->rows);
        encoder_job_add(p, RZ_FLOAT32, s->loss_du, h, NULL, 0, p->grads + head->transform_bias, h,
                        1, p->rows);
        encoder_jobs_run(p);
    }
    return loss;
}

/* (w · x + b - age)², few positions: serial. */
static double age_losses(encoder_pass *p)
{
    rz_scratch *s = p->s;
    const rz_targets *t = p->targets;
    const float *weight = p->model->parameters + s->layout.age_head, *states = encoder_states(p);
    size_t h = (size_t)p->model->config.hidden, begin, end;
    double loss = 0.0;
    tile_range(p, t->age_positions, t->n_ages, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        size_t row = t->age_positions[i] - p->first_token;
        float error = s->kernels->dot(weight, states + row * h, h) +
                      p->model->parameters[s->layout.age_head_bias] - t->age_values[i];
        loss += (double)error * (double)error;
        if (p->grads == NULL)
            continue;
        float slope = 2.0f * t->age_weight * error;
        s->kernels->axpy(p->grads + s->layout.age_head, slope, states + row * h, h);
        p->grads[s->layout.age_head_bias] += slope;
        s->kernels->axpy(s->dx + row * h, slope, weight, h);
    }
    return loss;
}

void encoder_pretrain_losses(encoder_pass *p)
{
    const rz_targets *t = p->targets;
    p->losses->diagnosis +=
        code_losses(p, &p->s->layout.diagnoses, RZ_ENCODER_DIAGNOSES, t->diagnosis_positions,
                    t->diagnosis_labels, t->n_diagnoses, t->diagnosis_weight);
    p->losses->medication +=
        code_losses(p, &p->s->layout.medications, RZ_ENCODER_MEDICATIONS, t->medication_positions,
                    t->medication_labels, t->n_medications, t->medication_weight);
    p->losses->age += age_losses(p);
}

void encoder_pooled_rows(const encoder_pass *p, size_t seq, size_t *first, size_t *n)
{
    const uint32_t *offsets = p->batch->offsets + p->first_seq + seq;
    bool mean = p->model->config.pooling == RZ_POOLING_MEAN;
    *first = p->first_only ? seq : offsets[0] - p->first_token;
    *n = mean ? offsets[1] - offsets[0] : 1;
}

/* pooled = the state of [CLS], or the mean of all states; logit = w · pooled + b. */
void encoder_task_outputs(encoder_pass *p)
{
    rz_scratch *s = p->s;
    const float *w = p->model->parameters, *states = encoder_states(p);
    size_t h = (size_t)p->model->config.hidden, n_heads = p->model->n_heads;
    for (size_t seq = 0; seq < p->n_seqs; seq++) {
        size_t first, n;
        encoder_pooled_rows(p, seq, &first, &n);
        float *pooled = s->pooled + (p->first_seq + seq) * h;
        memset(pooled, 0, h * sizeof *pooled);
        for (size_t r = first; r < first + n; r++)
            s->kernels->add(pooled, states + r * h, h);
        for (size_t i = 0; n > 1 && i < h; i++)
            pooled[i] /= (float)n;
        for (size_t head = 0; head < n_heads; head++)
            s->logits[(p->first_seq + seq) * n_heads + head] =
                s->kernels->dot(w + s->layout.head[head], pooled, h) + w[s->layout.head_bias[head]];
    }
}

/* Binary cross-entropy on logits: max(z, 0) - z y + log(1 + exp(-|z|)); its slope is σ(z) - y. */
void encoder_task_losses(encoder_pass *p)
{
    rz_scratch *s = p->s;
    const rz_targets *t = p->targets;
    const float *w = p->model->parameters;
    size_t h = (size_t)p->model->config.hidden, n_heads = p->model->n_heads;
    for (size_t seq = 0; seq < p->n_seqs; seq++) {
        size_t row = p->first_seq + seq, first, n;
        float weight = t->seq_weights == NULL ? 1.0f : t->seq_weights[row];
        encoder_pooled_rows(p, seq, &first, &n);
        for (size_t head = 0; head < n_heads; head++) {
            float y = t->labels[row * n_heads + head];
            double z = (double)s->logits[row * n_heads + head], small = exp(-fabs(z));
            if (isnan(y))
                continue;
            p->losses->head[head] +=
                (double)weight * ((z > 0.0 ? z : 0.0) - z * (double)y + log1p(small));
            p->losses->n_head[head] += (double)weight;
            if (p->grads == NULL)
                continue;
            double sigma = (z >= 0.0 ? 1.0 : small) / (1.0 + small);
            float slope = weight * t->head_weights[head] * (float)(sigma - (double)y);
            s->kernels->axpy(p->grads + s->layout.head[head], slope, s->pooled + row * h, h);
            p->grads[s->layout.head_bias[head]] += slope;
            for (size_t r = first; r < first + n; r++)
                s->kernels->axpy(s->dx + r * h, slope / (float)n, w + s->layout.head[head], h);
        }
    }
}
