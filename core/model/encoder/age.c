/* Ages to vectors. Piecewise linear encoding turns an age into bins 1 … 1, fraction, 0 … 0, so the
 * first linear layer is a prefix sum of its columns plus a fraction of one column; the gradient is
 * a suffix sum. Monthly claims share their days: each distinct age of a tile is computed once. */
#include "model/encoder/encoder.h"

#include <string.h>

/* columns[b] = column b of the weight, prefix[b] = bias + sum of the columns before b. */
void encoder_age_prepare(rz_scratch *s, const rz_model *model)
{
    size_t a = (size_t)model->config.age_hidden, bins = (size_t)model->config.age_bins;
    const float *weight = model->parameters + s->layout.age_in;
    const float *bias = model->parameters + s->layout.age_in_bias;
    for (size_t c = 0; c < a; c++) {
        double sum = 0.0;
        for (size_t b = 0; b < bins; b++) {
            s->age_columns[b * a + c] = weight[c * bins + b];
            s->age_prefix[b * a + c] = (float)sum + bias[c];
            sum += (double)weight[c * bins + b];
        }
        s->age_columns[bins * a + c] = 0.0f; /* past the last bin there is nothing to add */
        s->age_prefix[bins * a + c] = (float)sum + bias[c];
    }
}

/* Numbers the distinct ages of the tile: age_index of its tokens, age_value of each number. */
static void number_ages(encoder_pass *p)
{
    rz_scratch *s = p->s;
    size_t mask = s->age_table_size - 1;
    memset(s->age_table, 0xFF, s->age_table_size * sizeof *s->age_table);
    s->n_ages = 0;
    for (size_t i = 0; i < p->n_tokens; i++) {
        size_t token = p->first_token + i;
        if (p->batch->age_hidden[token] != 0) {
            s->age_index[i] = UINT32_MAX;
            continue;
        }
        float age = p->batch->age_days[token];
        uint32_t bits;
        memcpy(&bits, &age, sizeof bits);
        size_t slot = (size_t)((bits * 0x9E3779B97F4A7C15u) >> 32) & mask;
        while (s->age_table[slot] != UINT32_MAX &&
               /* Bits decide, as in the hash. NOLINTNEXTLINE(*-memory-comparison,cert-*) */
               memcmp(&s->age_value[s->age_table[slot]], &age, sizeof age) != 0)
            slot = (slot + 1) & mask;
        if (s->age_table[slot] == UINT32_MAX) {
            s->age_table[slot] = (uint32_t)s->n_ages;
            s->age_value[s->n_ages++] = age;
        }
        s->age_index[i] = s->age_table[slot];
    }
}

static void forward_block(void *context, size_t task, unsigned worker)
{
    (void)worker;
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const rz_config *c = &p->model->config;
    const float *w = p->model->parameters;
    size_t a = (size_t)c->age_hidden, h = (size_t)c->hidden, first = task * RZ_ENCODER_BLOCK;
    size_t rows = encoder_block_rows(task, s->n_ages);
    for (size_t r = first; r < first + rows; r++) {
        float months = s->age_value[r] / RZ_ENCODER_BIN_DAYS;
        float bounded = months > 0.0f ? months : 0.0f;
        bounded = bounded < (float)c->age_bins ? bounded : (float)c->age_bins;
        uint32_t bin = (uint32_t)bounded;
        float fraction = bounded - (float)bin;
        s->age_bin[r] = bin;
        s->age_fraction[r] = fraction;
        memcpy(s->age_up + r * a, s->age_prefix + bin * a, a * sizeof(float));
        s->kernels->axpy(s->age_up + r * a, fraction, s->age_columns + bin * a, a);
    }
    s->kernels->gelu_row(s->age_active + first * a, s->age_up + first * a, rows * a);
    rz_weight_product(&encoder_other_weight(p, RZ_ENCODER_AGE)->forward, rows,
                      s->age_active + first * a, a, w + s->layout.age_out_bias,
                      s->age_vector + first * h, h, NULL);
}

void encoder_age_forward(encoder_pass *p)
{
    number_ages(p);
    rz_pool_run(p->model->pool, encoder_blocks(p->s->n_ages), forward_block, p);
}

static void backward_block(void *context, size_t task, unsigned worker)
{
    (void)worker;
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    size_t a = (size_t)p->model->config.age_hidden, h = (size_t)p->model->config.hidden;
    size_t first = task * RZ_ENCODER_BLOCK, rows = encoder_block_rows(task, s->n_ages);
    float *dup = s->dage_up + first * a, *sums = s->partials + task * s->partial_size;
    rz_weight_product(&encoder_other_weight(p, RZ_ENCODER_AGE)->backward, rows,
                      s->dage_vector + first * h, h, NULL, dup, a, NULL);
    s->kernels->gelu_row_backward(dup, NULL, dup, s->age_up + first * a, rows * a);
    memset(sums, 0, (a + h) * sizeof *sums);
    for (size_t r = 0; r < rows; r++) {
        s->kernels->add(sums, dup + r * a, a);
        s->kernels->add(sums + a, s->dage_vector + (first + r) * h, h);
    }
}

/* Bins collect whole and fractional shares; encoder_age_backward_finish sums them up. A task owns
 * RZ_LANES columns and walks the ages in order. */
static void collect_columns(void *context, size_t task, unsigned worker)
{
    (void)worker;
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    size_t a = (size_t)p->model->config.age_hidden, column = task * RZ_LANES;
    for (size_t r = 0; r < s->n_ages; r++) {
        size_t place = s->age_bin[r] * a + column;
        s->kernels->add(s->dage_whole + place, s->dage_up + r * a + column, RZ_LANES);
        s->kernels->axpy(s->dage_part + place, s->age_fraction[r], s->dage_up + r * a + column,
                         RZ_LANES);
    }
}

void encoder_age_backward(encoder_pass *p)
{
    rz_scratch *s = p->s;
    size_t a = (size_t)p->model->config.age_hidden, h = (size_t)p->model->config.hidden;
    rz_pool_run(p->model->pool, encoder_blocks(s->n_ages), backward_block, p);
    rz_pool_run(p->model->pool, a / RZ_LANES, collect_columns, p);
    const size_t places[] = {s->layout.age_in_bias, s->layout.age_out_bias}, counts[] = {a, h};
    encoder_partials_reduce(p, encoder_blocks(s->n_ages), places, counts, 2);
    encoder_job_add(p, RZ_FLOAT32, s->dage_vector, h, s->age_active, a,
                    p->grads + s->layout.age_out, h, a, s->n_ages);
    encoder_jobs_run(p);
}

/* d weight[:, b] = Σ over ages in later bins of d up + Σ over ages in bin b of fraction · d up. */
void encoder_age_backward_finish(encoder_pass *p)
{
    rz_scratch *s = p->s;
    size_t a = (size_t)p->model->config.age_hidden, bins = (size_t)p->model->config.age_bins;
    float *grad = p->grads + s->layout.age_in;
    for (size_t c = 0; c < a; c++) {
        double later = 0.0;
        for (size_t b = bins; b-- > 0;) {
            later += (double)s->dage_whole[(b + 1) * a + c];
            grad[c * bins + b] += (float)(later + (double)s->dage_part[b * a + c]);
        }
    }
}
