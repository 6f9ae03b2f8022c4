/* Forward: tokens to states. A block of tokens goes through everything between two attentions in
 * one task (output projection, residual, norm, feed-forward, residual, norm, the next layer's
 * queries, keys and values), so that it stays in the core's own cache. */
#include "model/encoder/encoder.h"

#include <math.h>
#include <string.h>

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
static void project(const encoder_pass *p, size_t layer, size_t first, size_t rows)
{
    const encoder_layer_buffers *b = encoder_layer(p, layer);
    const encoder_layer_place *place = &p->s->layout.layer[layer];
    const float *w = p->model->parameters;
    size_t h = (size_t)p->model->config.hidden;
    size_t skip = encoder_is_first_only(p, layer) ? h : 0, n = 3 * h - skip;
    float *out = b->qkv + first * 3 * h + skip;
    rz_gemm_nt(rz_gemm_padded(rows), n, h, b->x + first * h, h, w + place->qkv + skip * h, h, out,
               3 * h);
    for (size_t r = 0; r < rows; r++)
        p->s->kernels->add(out + r * 3 * h, w + place->qkv_bias + skip, n);
}

/* x = dropout(LayerNorm(E[token] + age vector)); norm = pre: the stream, and its first norm. */
static void embed_block(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const float *codes = p->model->parameters + s->layout.codes;
    size_t h = (size_t)p->model->config.hidden, first = task * RZ_GEMM_ROWS;
    size_t rows = p->n_tokens - first < RZ_GEMM_ROWS ? p->n_tokens - first : RZ_GEMM_ROWS;
    bool pre = p->model->config.norm == RZ_NORM_PRE;
    float *keep = s->worker[worker].keep, *sum = s->worker[worker].y;
    for (size_t r = first; r < first + rows; r++) {
        size_t token = p->first_token + r;
        float *x = encoder_layer(p, 0)->x + r * h, *out = pre ? s->stream + r * h : x;
        const float *age = s->age_index[r] == UINT32_MAX ? codes + RZ_TOKEN_HIDDEN_AGE * h
                                                         : s->age_vector + s->age_index[r] * h;
        memcpy(sum, codes + (size_t)p->batch->tokens[token] * h, h * sizeof *sum);
        s->kernels->add(sum, age, h);
        normalise(p, &s->embedding_norm, sum, r, out);
        if (dropout_row(p, RZ_ENCODER_SITE_EMBEDDING, token, keep) != NULL)
            s->kernels->multiply_row(out, out, keep, h);
        if (pre)
            normalise(p, &s->layer[0].attention_norm, out, r, x);
    }
    project(p, 0, first, rows);
}

/* The rows of [CLS] that alone ask in the last layer: their states and their queries. */
static void first_block(void *context, size_t task, unsigned worker)
{
    (void)worker;
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const encoder_layer_place *place = &s->layout.layer[p->layer];
    const float *w = p->model->parameters, *x = encoder_layer(p, p->layer)->x;
    size_t h = (size_t)p->model->config.hidden, first = task * RZ_GEMM_ROWS;
    size_t rows = p->n_seqs - first < RZ_GEMM_ROWS ? p->n_seqs - first : RZ_GEMM_ROWS;
    for (size_t r = first; r < first + rows; r++) {
        size_t from = p->batch->offsets[p->first_seq + r] - p->first_token;
        memcpy(s->x_first + r * h, x + from * h, h * sizeof *x);
        if (p->model->config.norm == RZ_NORM_PRE)
            memcpy(s->stream_first + r * h, s->stream + from * h, h * sizeof *x);
    }
    float *q = s->q_first + first * h;
    rz_gemm_nt(rz_gemm_padded(rows), h, h, s->x_first + first * h, h, w + place->qkv, h, q, h);
    s->kernels->bias_rows(q, w + place->qkv_bias, rows, h);
}

static void attend(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const encoder_layer_buffers *b = encoder_layer(p, p->layer);
    size_t heads = (size_t)p->model->config.heads, h = (size_t)p->model->config.hidden;
    size_t hd = h / heads, head = task % heads, seq = p->first_seq + task / heads;
    size_t from = p->batch->offsets[seq] - p->first_token;
    size_t length = p->batch->offsets[seq + 1] - p->batch->offsets[seq];
    bool first_only = encoder_is_first_only(p, p->layer);
    size_t row = first_only ? task / heads : from;
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
    s->kernels->attention(&a, b->attended + row * h + head * hd, h,
                          p->keep ? b->log_sum_exp + head * s->rows + row : NULL,
                          s->worker[worker].attention);
}

/* out = norm of residual + dropout(y + bias), over rows. norm = pre keeps the sum as the stream. */
static void add_and_normalise(const encoder_pass *p, int step, size_t first, size_t rows,
                              const float *y, const float *bias, const float *residual, float *out,
                              float *keep)
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
        s->kernels->residual_row(sum, y + r * h, bias, mask, pre ? sum : residual + row * h, h);
        normalise(p, norm, sum, row, out + row * h);
    }
}

static void chain_block(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const encoder_worker *mine = &s->worker[worker];
    const encoder_layer_buffers *b = encoder_layer(p, p->layer);
    const encoder_layer_place *place = &s->layout.layer[p->layer];
    const float *w = p->model->parameters;
    size_t h = (size_t)p->model->config.hidden, f = (size_t)p->model->config.feed_forward;
    size_t first = task * RZ_GEMM_ROWS;
    size_t rows = p->rows - first < RZ_GEMM_ROWS ? p->rows - first : RZ_GEMM_ROWS;
    size_t padded = rz_gemm_padded(rows);
    const float *x = encoder_is_first_only(p, p->layer) ? s->x_first : b->x;
    float *out = encoder_layer(p, p->layer + 1)->x;

    rz_gemm_nt(padded, h, h, b->attended + first * h, h, w + place->output, h, mine->y, h);
    add_and_normalise(p, 0, first, rows, mine->y, w + place->output_bias, x, b->middle, mine->keep);
    float *up = p->keep ? b->up + first * f : mine->up;
    rz_gemm_nt(padded, f, h, b->middle + first * h, h, w + place->up, h, up, f);
    s->kernels->gelu_rows(mine->up, up, w + place->up_bias, rows, f);
    rz_gemm_nt(padded, h, f, mine->up, f, w + place->down, f, mine->y, h);
    add_and_normalise(p, 1, first, rows, mine->y, w + place->down_bias, b->middle, out, mine->keep);
    if (p->layer + 1 < (size_t)p->model->config.layers)
        project(p, p->layer + 1, first, rows);
}

void encoder_layers_forward(encoder_pass *p)
{
    rz_pool *pool = p->model->pool;
    encoder_age_forward(p);
    p->layer = 0;
    p->rows = p->n_tokens;
    rz_pool_run(pool, encoder_blocks(p->n_tokens), embed_block, p);
    for (size_t layer = 0; layer < (size_t)p->model->config.layers; layer++) {
        p->layer = layer;
        if (encoder_is_first_only(p, layer)) {
            rz_pool_run(pool, encoder_blocks(p->n_seqs), first_block, p);
            p->rows = p->n_seqs;
        }
        rz_pool_run(pool, p->n_seqs * (size_t)p->model->config.heads, attend, p);
        rz_pool_run(pool, encoder_blocks(p->rows), chain_block, p);
    }
}
