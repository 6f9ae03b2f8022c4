/* Forward: tokens to states. A block of tokens goes through everything between two attentions in
 * one task (output projection, residual, norm, feed-forward, residual, norm, the next layer's
 * queries, keys and values), so that it stays in the core's own cache. */
#include "model/encoder/encoder.h"

#include <math.h>
#include <string.h>

enum { TASKS_PER_WORKER = 8 /* of attention, at least */ };

const encoder_norm *encoder_norm_after(const encoder_pass *p, size_t layer, int step)
{
    rz_scratch *s = p->s;
    if (p->model->config.norm == RZ_NORM_POST)
        return step == 0 ? &s->layer[layer].attention_norm : &s->layer[layer].feed_forward_norm;
    if (step == 0)
        return &s->layer[layer].feed_forward_norm;
    return layer + 1 < (size_t)p->model->config.layers ? &s->layer[layer + 1].attention_norm
                                                       : &s->final_norm;
}

size_t encoder_row_token(const encoder_pass *p, size_t row)
{
    if (encoder_is_first_only(p, p->layer))
        return p->batch->offsets[p->first_seq + row];
    return p->first_token + row;
}

/* Normalises `x` into `out`; keeps what the backward pass needs when there is one. */
static void normalise(const encoder_pass *p, const encoder_norm *norm, const float *x, size_t row,
                      float *out)
{
    size_t h = (size_t)p->model->config.hidden;
    const float *w = p->model->parameters;
    float inverse =
        p->s->kernels->norm_row(out, p->keep ? norm->normal + row * h : NULL, x,
                                w + norm->place.gain, w + norm->place.bias, RZ_ENCODER_EPSILON, h);
    if (p->keep)
        norm->inverse[row] = inverse;
}

static const float *dropout_row(const encoder_pass *p, uint64_t site, size_t token, float *keep)
{
    if (p->dropout.threshold == 0)
        return NULL;
    p->s->kernels->dropout_row(&p->dropout, site, token, keep, (size_t)p->model->config.hidden);
    return keep;
}

/* Queries, keys and values of rows that are in place. Where only [CLS] asks, no queries. */
static void project(const encoder_pass *p, const encoder_worker *mine, size_t layer, size_t first,
                    size_t rows)
{
    const encoder_layer_buffers *b = encoder_layer(p, layer);
    const float *bias = p->model->parameters + p->s->layout.layer[layer].qkv_bias;
    size_t h = (size_t)p->model->config.hidden;
    const float *x = b->x + first * h;
    float *out = b->qkv + first * 3 * h;
    if (!encoder_is_first_only(p, layer))
        rz_weight_product(&encoder_layer_weight(p, layer, RZ_ENCODER_QUERY)->forward, rows, x, h,
                          bias, out, 3 * h, mine->words);
    rz_weight_product(&encoder_layer_weight(p, layer, RZ_ENCODER_KEY_VALUE)->forward, rows, x, h,
                      bias + h, out + h, 3 * h, mine->words);
}

/* Rows in whole register blocks, spread evenly over the tasks, so that workers end together. */
static void run_blocks(encoder_pass *p, size_t n, rz_pool_fn *block)
{
    size_t workers = rz_pool_size(p->model->pool), round = workers * RZ_ENCODER_BLOCK;
    size_t units = (n + p->s->row_step - 1) / p->s->row_step;
    p->tasks = workers * ((n + round - 1) / round);
    p->tasks = p->tasks < units ? p->tasks : units;
    rz_pool_run(p->model->pool, p->tasks, block, p);
}

static size_t block_first(const encoder_pass *p, size_t task, size_t n)
{
    size_t step = p->s->row_step, first = (n + step - 1) / step * task / p->tasks * step;
    return first < n ? first : n;
}

/* Where the rows of a task begin, of n, and how many they are: RZ_ENCODER_BLOCK at most. */
static size_t block_rows(const encoder_pass *p, size_t task, size_t n, size_t *first)
{
    *first = block_first(p, task, n);
    return block_first(p, task + 1, n) - *first;
}

/* Adds a token's recency, in two steps as the gradient goes back. */
static void add_recency(const encoder_pass *p, size_t token, float *sum)
{
    size_t h = (size_t)p->model->config.hidden;
    encoder_recency place = encoder_recency_of(p->batch->days_before[token]);
    const float *knot = p->model->parameters + p->s->layout.recency + place.knot * h;
    p->s->kernels->axpy(sum, 1.0f - place.fraction, knot, h);
    p->s->kernels->axpy(sum, place.fraction, knot + h, h);
}

/* x = dropout(LayerNorm(E[token] + age vector + recency)); norm = pre: the stream, and its first
 * norm. */
static void embed_block(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const float *codes = p->model->parameters + s->layout.codes;
    size_t h = (size_t)p->model->config.hidden, first;
    size_t rows = block_rows(p, task, p->n_tokens, &first);
    bool pre = p->model->config.norm == RZ_NORM_PRE;
    float *keep = s->worker[worker].keep, *sum = s->worker[worker].y;
    for (size_t r = first; r < first + rows; r++) {
        size_t token = p->first_token + r;
        float *x = encoder_layer(p, 0)->x + r * h, *out = pre ? s->stream + r * h : x;
        const float *age = s->age_index[r] == UINT32_MAX ? codes + RZ_TOKEN_HIDDEN_AGE * h
                                                         : s->age_vector + s->age_index[r] * h;
        memcpy(sum, codes + (size_t)p->batch->tokens[token] * h, h * sizeof *sum);
        s->kernels->add(sum, age, h);
        if (p->model->config.recency)
            add_recency(p, token, sum);
        normalise(p, &s->embedding_norm, sum, r, out);
        if (dropout_row(p, RZ_ENCODER_SITE_EMBEDDING, token, keep) != NULL)
            s->kernels->multiply_row(out, out, keep, h);
        if (pre)
            normalise(p, &s->layer[0].attention_norm, out, r, x);
    }
    project(p, &s->worker[worker], 0, first, rows);
}

/* The rows of [CLS] that alone ask in the last layer: their states and their queries. */
static void first_block(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const float *x = encoder_layer(p, p->layer)->x;
    size_t h = (size_t)p->model->config.hidden, first;
    size_t rows = block_rows(p, task, p->n_seqs, &first);
    for (size_t r = first; r < first + rows; r++) {
        size_t from = p->batch->offsets[p->first_seq + r] - p->first_token;
        memcpy(s->x_first + r * h, x + from * h, h * sizeof *x);
        if (p->model->config.norm == RZ_NORM_PRE)
            memcpy(s->stream_first + r * h, s->stream + from * h, h * sizeof *x);
    }
    rz_weight_product(&encoder_layer_weight(p, p->layer, RZ_ENCODER_QUERY)->forward, rows,
                      s->x_first + first * h, h,
                      p->model->parameters + s->layout.layer[p->layer].qkv_bias,
                      s->q_first + first * h, h, s->worker[worker].words);
}

/* Some heads of one timeline. */
static void attend(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const encoder_layer_buffers *b = encoder_layer(p, p->layer);
    size_t heads = (size_t)p->model->config.heads, h = (size_t)p->model->config.hidden;
    size_t hd = h / heads, part = task % p->n_parts, seq = p->first_seq + task / p->n_parts;
    size_t from = p->batch->offsets[seq] - p->first_token;
    size_t length = p->batch->offsets[seq + 1] - p->batch->offsets[seq];
    bool first_only = encoder_is_first_only(p, p->layer);
    size_t row = first_only ? task / p->n_parts : from;
    size_t end = (part + 1) * heads / p->n_parts;
    for (size_t head = part * heads / p->n_parts; head < end; head++) {
        const float *qkv = b->qkv + from * 3 * h + head * hd;
        rz_attention a = {.n_queries = first_only ? 1 : length,
                          .n_keys = length,
                          .head_size = hd,
                          .q = first_only ? s->q_first + row * h + head * hd : qkv,
                          .k = qkv + h,
                          .v = qkv + 2 * h,
                          .ldq = first_only ? h : 3 * h,
                          .ldkv = 3 * h,
                          .scale = 1.0f / sqrtf((float)hd)};
        (encoder_attends_in_bf16(p) ? s->kernels->attention_bf16 : s->kernels->attention)(
            &a, b->attended + row * h + head * hd, h,
            p->keep ? b->log_sum_exp + head * s->rows + row : NULL, s->worker[worker].attention);
    }
}

/* Enough tasks that workers end together, but none too small to be worth its start. */
static void run_attention(encoder_pass *p)
{
    size_t workers = rz_pool_size(p->model->pool), heads = (size_t)p->model->config.heads;
    size_t parts = workers == 1 ? 1 : (TASKS_PER_WORKER * workers + p->n_seqs - 1) / p->n_seqs;
    p->n_parts = parts < heads ? parts : heads;
    rz_pool_run(p->model->pool, p->n_seqs * p->n_parts, attend, p);
}

/* out = norm of residual + dropout(y), over rows. norm = pre keeps the sum as the stream. */
static void add_and_normalise(const encoder_pass *p, int step, size_t first, size_t rows,
                              const float *y, const float *residual, float *out, float *keep)
{
    rz_scratch *s = p->s;
    size_t h = (size_t)p->model->config.hidden;
    const encoder_norm *norm = encoder_norm_after(p, p->layer, step);
    float *stream = encoder_is_first_only(p, p->layer) ? s->stream_first : s->stream;
    bool pre = p->model->config.norm == RZ_NORM_PRE;
    for (size_t r = 0; r < rows; r++) {
        size_t row = first + r;
        const float *mask = dropout_row(p, RZ_ENCODER_SITE_LAYERS + 2 * p->layer + (uint64_t)step,
                                        encoder_row_token(p, row), keep);
        float *sum = pre ? stream + row * h : out + row * h;
        s->kernels->residual_row(sum, y + r * h, mask, pre ? sum : residual + row * h, h);
        normalise(p, norm, sum, row, out + row * h);
    }
}

/* y = W_down gelu(W_up x + b) + b over rows, some units at a time, so that they stay near the core;
 * in words all at once, because their scales are of whole rows. What comes before GELU is kept for
 * the backward pass when there is one. */
static void feed_forward(const encoder_pass *p, const encoder_worker *mine, size_t first,
                         size_t rows)
{
    const rz_scratch *s = p->s;
    const encoder_layer_buffers *b = encoder_layer(p, p->layer);
    const encoder_layer_place *place = &s->layout.layer[p->layer];
    const rz_weight *up = &encoder_layer_weight(p, p->layer, RZ_ENCODER_UP)->forward,
                    *down = &encoder_layer_weight(p, p->layer, RZ_ENCODER_DOWN)->forward;
    const float *w = p->model->parameters, *x = b->middle;
    size_t h = (size_t)p->model->config.hidden, f = (size_t)p->model->config.feed_forward;
    size_t step = up->precision == RZ_FLOAT32 ? s->slice : f;
    for (size_t unit = 0; unit < f; unit += step) {
        size_t n = f - unit < step ? f - unit : step;
        rz_weight part_up = rz_weight_columns(up, unit, n),
                  part_down = rz_weight_depths(down, unit, n);
        float *before = p->keep ? b->up + first * f + unit : mine->up;
        size_t ld = p->keep ? f : n;
        rz_weight_product(&part_up, rows, x + first * h, h, w + place->up_bias + unit, before, ld,
                          mine->words);
        for (size_t r = 0; r < rows; r++)
            s->kernels->gelu_row(mine->up + r * n, before + r * ld, n);
        if (unit == 0)
            rz_weight_product(&part_down, rows, mine->up, n, w + place->down_bias, mine->y, h,
                              mine->words);
        else
            rz_weight_product_add(&part_down, rows, mine->up, n, mine->y, h, mine->words);
    }
}

/* Everything between two attentions, for a block of rows. */
static void chain_block(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const encoder_worker *mine = &s->worker[worker];
    const encoder_layer_buffers *b = encoder_layer(p, p->layer);
    size_t h = (size_t)p->model->config.hidden, first;
    size_t rows = block_rows(p, task, p->rows, &first);
    const float *x = encoder_is_first_only(p, p->layer) ? s->x_first : b->x;

    rz_weight_product(&encoder_layer_weight(p, p->layer, RZ_ENCODER_OUTPUT)->forward, rows,
                      b->attended + first * h, h,
                      p->model->parameters + s->layout.layer[p->layer].output_bias, mine->y, h,
                      mine->words);
    add_and_normalise(p, 0, first, rows, mine->y, x, b->middle, mine->keep);
    feed_forward(p, mine, first, rows);
    add_and_normalise(p, 1, first, rows, mine->y, b->middle, encoder_layer(p, p->layer + 1)->x,
                      mine->keep);
    if (p->layer + 1 < (size_t)p->model->config.layers)
        project(p, mine, p->layer + 1, first, rows);
}

void encoder_layers_forward(encoder_pass *p)
{
    encoder_age_forward(p);
    p->layer = 0;
    p->rows = p->n_tokens;
    run_blocks(p, p->n_tokens, embed_block);
    for (size_t layer = 0; layer < (size_t)p->model->config.layers; layer++) {
        p->layer = layer;
        if (encoder_is_first_only(p, layer)) {
            run_blocks(p, p->n_seqs, first_block);
            p->rows = p->n_seqs;
        }
        run_attention(p);
        run_blocks(p, p->rows, chain_block);
    }
}
