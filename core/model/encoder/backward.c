/* Backward: from dx, the gradient of the last states, to the gradients of all parameters but those
 * of the heads. Weight gradients of a layer are products over all rows of the tile, cut into
 * pieces of the weight; sums over tokens for biases and norms go block by block and are added up in
 * order. */
#include "model/encoder/encoder.h"

#include "tensor/gemm.h"

#include <math.h>
#include <string.h>

/* A task is a piece of the gradient of a weight, large enough that laying out what it multiplies
 * costs little. Rezept's own product may be cut anywhere without a trace in the result, so there
 * are more pieces for more threads; the BLAS' is always cut alike. */
enum { BLAS_ROWS = 128, BLAS_COLUMNS = 512, COLUMNS_MIN = 128 };

/* Columns of a piece of Rezept's own product, for n in all. */
static size_t piece_columns(const encoder_pass *p, size_t n)
{
    size_t pieces = (p->s->n_workers + 1) / 2;
    return ((n + pieces - 1) / pieces + COLUMNS_MIN - 1) / COLUMNS_MIN * COLUMNS_MIN;
}

void encoder_job_add(encoder_pass *p, rz_precision precision, const float *a, size_t lda,
                     const float *b, size_t ldb, float *c, size_t m, size_t n, size_t k)
{
    if (m == 0 || k == 0)
        return;
    bool own = p->s->path.packed || precision != RZ_FLOAT32;
    size_t rows = own ? RZ_TRANSPOSED_ROWS : BLAS_ROWS;
    size_t columns = own ? piece_columns(p, n) : BLAS_COLUMNS, wide = (n + columns - 1) / columns;
    p->job[p->n_jobs++] = (encoder_job){.precision = precision,
                                        .a = a,
                                        .b = b,
                                        .c = c,
                                        .lda = lda,
                                        .ldb = ldb,
                                        .m = m,
                                        .n = n,
                                        .k = k,
                                        .rows = rows,
                                        .columns = columns,
                                        .wide = wide,
                                        .first_task = p->n_job_tasks};
    p->n_job_tasks += (m + rows - 1) / rows * wide;
}

static void run_job(void *context, size_t task, unsigned worker)
{
    const encoder_pass *p = context;
    size_t i = p->n_jobs - 1;
    while (p->job[i].first_task > task)
        i--;
    const encoder_job *job = &p->job[i];
    task -= job->first_task;
    size_t row = task / job->wide * job->rows, column = task % job->wide * job->columns;
    size_t m = job->m - row < job->rows ? job->m - row : job->rows;
    size_t n = job->n - column < job->columns ? job->n - column : job->columns;
    float *c = job->c + row * job->n + column;
    const float *a = job->a + row, *b = job->b != NULL ? job->b + column : NULL;
    float *scratch = p->s->worker[worker].gradient;
    if (b != NULL && job->precision == RZ_BF16)
        p->s->kernels->transposed_bf16(m, n, job->k, a, job->lda, b, job->ldb, c, job->n, scratch);
    else if (b != NULL && p->s->path.packed)
        p->s->kernels->product_transposed(m, n, job->k, a, job->lda, b, job->ldb, c, job->n,
                                          scratch);
    else if (b != NULL)
        rz_gemm_tn_add(m, n, job->k, a, job->lda, b, job->ldb, c, job->n);
    else
        for (size_t k = 0; k < job->k; k++)
            p->s->kernels->add(job->c + row, a + k * job->lda, m);
}

void encoder_jobs_run(encoder_pass *p)
{
    rz_pool_run(p->model->pool, p->n_job_tasks, run_job, p);
    p->n_jobs = p->n_job_tasks = 0;
}

void encoder_partials_reduce(encoder_pass *p, size_t n_blocks, const size_t *places,
                             const size_t *counts, size_t n)
{
    for (size_t block = 0; block < n_blocks; block++) {
        const float *from = p->s->partials + block * p->s->partial_size;
        for (size_t i = 0; i < n; i++) {
            p->s->kernels->add(p->grads + places[i], from, counts[i]);
            from += counts[i];
        }
    }
}

/* One residual step backwards, over rows: through the norm, with the gradients of its gain and bias
 * in sums; then into the branch with dropout. norm = post: the residual's gradient is the norm's.
 * norm = pre: it is the stream's, which the norm's is added to.
 *
 *   d     [rows, h]  in   gradient of the norm's output
 *   pass  [rows, h]  out  norm = post: gradient that goes on along the residual; may alias d
 *   down  [rows, h]  out  gradient of the branch before its bias
 *   sums  [3 h]      in/out  gain, bias of the norm; bias of the branch */
static void residual_backward(const encoder_pass *p, int step, size_t first, size_t rows,
                              const float *d, float *pass, float *down, float *sums, float *keep)
{
    rz_scratch *s = p->s;
    size_t h = (size_t)p->model->config.hidden;
    const encoder_norm *norm = encoder_norm_after(p, p->layer, step);
    const float *gain = p->model->parameters + norm->place.gain;
    bool pre = p->model->config.norm == RZ_NORM_PRE;
    float *stream = encoder_is_first_only(p, p->layer) ? s->dstream_first : s->dstream;
    for (size_t row = first; row < first + rows; row++) {
        float *branch = down + row * h, *sum = pre ? stream + row * h : pass + row * h;
        float *direct = pre ? branch : sum;
        s->kernels->norm_row_backward(direct, sums, sums + h, d + row * h, norm->normal + row * h,
                                      gain, norm->inverse[row], h);
        if (pre)
            s->kernels->add(sum, direct, h);
        if (p->dropout.threshold != 0) {
            s->kernels->dropout_row(&p->dropout,
                                    RZ_ENCODER_SITE_LAYERS + 2 * p->layer + (uint64_t)step,
                                    encoder_row_token(p, row), keep, h);
            s->kernels->multiply_row(branch, sum, keep, h);
        } else
            memcpy(branch, sum, h * sizeof *branch);
        s->kernels->add(sums + 2 * h, branch, h);
    }
}

/* From the layer's output to the attention's: everything of chain_block, backwards. */
static void chain_block_backward(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const encoder_worker *mine = &s->worker[worker];
    const encoder_layer_buffers *b = encoder_layer(p, p->layer);
    size_t h = (size_t)p->model->config.hidden, f = (size_t)p->model->config.feed_forward;
    size_t first = task * RZ_ENCODER_BLOCK, rows = encoder_block_rows(task, p->rows);
    bool post = p->model->config.norm == RZ_NORM_POST;
    float *residual = encoder_is_first_only(p, p->layer) ? s->dx_first : s->dx;
    float *sums = s->partials + task * s->partial_size, *dup = s->dup + first * f;
    memset(sums, 0, (6 * h + f) * sizeof *sums);

    residual_backward(p, 1, first, rows, s->dx, s->dmiddle, s->ddown, sums, mine->keep);
    rz_weight_product(&encoder_layer_weight(p, p->layer, RZ_ENCODER_DOWN)->backward, rows,
                      s->ddown + first * h, h, NULL, mine->up, f, mine->words);
    s->kernels->gelu_row_backward(dup, s->active + first * f, mine->up, b->up + first * f,
                                  rows * f);
    for (size_t r = 0; r < rows; r++)
        s->kernels->add(sums + 3 * h, dup + r * f, f);
    const rz_weight *up = &encoder_layer_weight(p, p->layer, RZ_ENCODER_UP)->backward;
    if (post)
        rz_weight_product_add(up, rows, dup, f, s->dmiddle + first * h, h, mine->words);
    else
        rz_weight_product(up, rows, dup, f, NULL, s->dmiddle + first * h, h, mine->words);
    residual_backward(p, 0, first, rows, s->dmiddle, residual, s->doutput, sums + 3 * h + f,
                      mine->keep);
    rz_weight_product(&encoder_layer_weight(p, p->layer, RZ_ENCODER_OUTPUT)->backward, rows,
                      s->doutput + first * h, h, NULL, s->dattended + first * h, h, mine->words);
}

static void attend_backward(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const encoder_layer_buffers *b = encoder_layer(p, p->layer);
    size_t heads = (size_t)p->model->config.heads, h = (size_t)p->model->config.hidden;
    size_t hd = h / heads, head = task % heads, seq = p->first_seq + task / heads;
    size_t from = p->batch->offsets[seq] - p->first_token;
    size_t length = p->batch->offsets[seq + 1] - p->batch->offsets[seq];
    bool first_only = encoder_is_first_only(p, p->layer);
    size_t row = first_only ? task / heads : from, column = head * hd;
    const float *qkv = b->qkv + from * 3 * h + column;
    float *dqkv = s->dqkv + from * 3 * h + column;
    rz_attention a = {.n_queries = first_only ? 1 : length,
                      .n_keys = length,
                      .head_size = hd,
                      .q = first_only ? s->q_first + row * h + column : qkv,
                      .k = qkv + h,
                      .v = qkv + 2 * h,
                      .ldq = first_only ? h : 3 * h,
                      .ldkv = 3 * h,
                      .scale = 1.0f / sqrtf((float)hd)};
    rz_attention_gradient g = {.out_gradient = s->dattended + row * h + column,
                               .out = b->attended + row * h + column,
                               .log_sum_exp = b->log_sum_exp + head * s->rows + row,
                               .ldo = h,
                               .dq = first_only ? s->dq_first + row * h + column : dqkv,
                               .dk = dqkv + h,
                               .dv = dqkv + 2 * h,
                               .lddq = first_only ? h : 3 * h,
                               .lddkv = 3 * h,
                               .presence = s->presence != NULL ? s->presence + head * s->rows + from
                                                               : NULL};
    (encoder_attends_in_bf16(p)
         ? s->kernels->attention_backward_bf16
         : s->kernels->attention_backward)(&a, &g, s->worker[worker].attention);
}

/* dx (norm = post: +=) dqkv · W of rows; sums of dqkv for the biases. */
static void project_block_backward(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    void *words = s->worker[worker].words;
    size_t h = (size_t)p->model->config.hidden, first = task * RZ_ENCODER_BLOCK;
    size_t rows = encoder_block_rows(task, p->n_tokens);
    bool first_only = encoder_is_first_only(p, p->layer);
    size_t skip = first_only ? h : 0;
    const float *d = s->dqkv + first * 3 * h + skip;
    float *sums = s->partials + task * s->partial_size;
    memset(sums, 0, 3 * h * sizeof *sums);
    for (size_t r = 0; r < rows; r++)
        s->kernels->add(sums + skip, d + r * 3 * h, 3 * h - skip);
    const rz_weight *query = &encoder_layer_weight(p, p->layer, RZ_ENCODER_QUERY)->backward,
                    *key_value = &encoder_layer_weight(p, p->layer, RZ_ENCODER_KEY_VALUE)->backward;
    float *dx = s->dx + first * h;
    if (!first_only && p->model->config.norm == RZ_NORM_POST)
        rz_weight_product_add(key_value, rows, d + h - skip, 3 * h, dx, h, words);
    else
        rz_weight_product(key_value, rows, d + h - skip, 3 * h, NULL, dx, h, words);
    if (!first_only)
        rz_weight_product_add(query, rows, d, 3 * h, dx, h, words);
}

/* What came through the queries and the residual of [CLS] alone joins the others. */
static void join_first(encoder_pass *p)
{
    rz_scratch *s = p->s;
    const encoder_layer_place *place = &s->layout.layer[p->layer];
    const rz_weight *query = &encoder_layer_weight(p, p->layer, RZ_ENCODER_QUERY)->backward;
    size_t h = (size_t)p->model->config.hidden;
    bool post = p->model->config.norm == RZ_NORM_POST;
    for (size_t first = 0; first < p->n_seqs; first += RZ_ENCODER_BLOCK) {
        size_t rows = encoder_block_rows(first / RZ_ENCODER_BLOCK, p->n_seqs);
        const float *from = s->dq_first + first * h;
        float *to = s->dx_first + first * h;
        if (post)
            rz_weight_product_add(query, rows, from, h, to, h, s->worker[0].words);
        else
            rz_weight_product(query, rows, from, h, NULL, to, h, s->worker[0].words);
    }
    if (!post)
        memset(s->dstream, 0, p->n_tokens * h * sizeof *s->dstream);
    for (size_t seq = 0; seq < p->n_seqs; seq++) {
        size_t row = p->batch->offsets[p->first_seq + seq] - p->first_token;
        s->kernels->add(s->dx + row * h, s->dx_first + seq * h, h);
        if (p->grads != NULL)
            s->kernels->add(p->grads + place->qkv_bias, s->dq_first + seq * h, h);
        if (!post)
            memcpy(s->dstream + row * h, s->dstream_first + seq * h, h * sizeof *s->dstream);
    }
}

/* Gradients of what chain_block_backward went through, and of the queries, keys and values; the
 * products wait for encoder_jobs_run. */
static void chain_gradients(encoder_pass *p)
{
    const rz_scratch *s = p->s;
    const encoder_layer_buffers *b = encoder_layer(p, p->layer);
    const encoder_layer_place *place = &s->layout.layer[p->layer];
    size_t h = (size_t)p->model->config.hidden, f = (size_t)p->model->config.feed_forward;
    const encoder_norm *up = encoder_norm_after(p, p->layer, 1),
                       *low = encoder_norm_after(p, p->layer, 0);
    const size_t places[] = {up->place.gain,  up->place.bias,  place->down_bias,  place->up_bias,
                             low->place.gain, low->place.bias, place->output_bias};
    const size_t counts[] = {h, h, h, f, h, h, h};
    encoder_partials_reduce(p, encoder_blocks(p->rows), places, counts, 7);
    encoder_job_add(p, s->training_precision, s->ddown, h, s->active, f, p->grads + place->down, h,
                    f, p->rows);
    encoder_job_add(p, s->training_precision, s->dup, f, b->middle, h, p->grads + place->up, f, h,
                    p->rows);
    encoder_job_add(p, s->training_precision, s->doutput, h, b->attended, h,
                    p->grads + place->output, h, h, p->rows);
}

static void project_gradients(encoder_pass *p)
{
    const rz_scratch *s = p->s;
    const encoder_layer_buffers *b = encoder_layer(p, p->layer);
    const encoder_layer_place *place = &s->layout.layer[p->layer];
    size_t h = (size_t)p->model->config.hidden;
    bool first_only = encoder_is_first_only(p, p->layer);
    size_t skip = first_only ? h : 0;
    encoder_partials_reduce(p, encoder_blocks(p->n_tokens), &place->qkv_bias,
                            (const size_t[]){3 * h}, 1);
    encoder_job_add(p, s->training_precision, s->dqkv + skip, 3 * h, b->x, h,
                    p->grads + place->qkv + skip * h, 3 * h - skip, h, p->n_tokens);
    if (first_only)
        encoder_job_add(p, s->training_precision, s->dq_first, h, s->x_first, h,
                        p->grads + place->qkv, h, h, p->n_seqs);
}

void encoder_layer_backward(encoder_pass *p)
{
    rz_pool *pool = p->model->pool;
    bool first_only = encoder_is_first_only(p, p->layer);
    p->rows = first_only ? p->n_seqs : p->n_tokens;
    rz_pool_run(pool, encoder_blocks(p->rows), chain_block_backward, p);
    if (p->grads != NULL)
        chain_gradients(p);
    rz_pool_run(pool, p->n_seqs * (size_t)p->model->config.heads, attend_backward, p);
    p->rows = p->n_tokens;
    rz_pool_run(pool, encoder_blocks(p->rows), project_block_backward, p);
    if (p->grads != NULL)
        project_gradients(p);
    if (first_only)
        join_first(p);
    encoder_jobs_run(p);
}

/* Through dropout and norm of the embedding; the gradient of the sum of vectors is left in dmiddle.
 */
static void embed_block_backward(void *context, size_t task, unsigned worker)
{
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    const float *w = p->model->parameters;
    size_t h = (size_t)p->model->config.hidden, first = task * RZ_ENCODER_BLOCK;
    size_t rows = encoder_block_rows(task, p->n_tokens);
    const encoder_norm *norm = &s->layer[0].attention_norm;
    float *sums = s->partials + task * s->partial_size, *keep = s->worker[worker].keep;
    memset(sums, 0, 4 * h * sizeof *sums);
    for (size_t row = first; row < first + rows; row++) {
        float *d = s->dx + row * h, *out = s->dmiddle + row * h;
        if (p->model->config.norm == RZ_NORM_PRE) {
            s->kernels->norm_row_backward(d, sums + 2 * h, sums + 3 * h, d, norm->normal + row * h,
                                          w + norm->place.gain, norm->inverse[row], h);
            s->kernels->add(d, s->dstream + row * h, h);
        }
        if (p->dropout.threshold != 0) {
            s->kernels->dropout_row(&p->dropout, RZ_ENCODER_SITE_EMBEDDING, p->first_token + row,
                                    keep, h);
            s->kernels->multiply_row(d, d, keep, h);
        }
        s->kernels->norm_row_backward(out, sums, sums + h, d, s->embedding_norm.normal + row * h,
                                      w + s->embedding_norm.place.gain,
                                      s->embedding_norm.inverse[row], h);
    }
}

/* A task owns RZ_LANES columns of the embedding and walks the tokens in order. */
static void scatter_columns(void *context, size_t task, unsigned worker)
{
    (void)worker;
    encoder_pass *p = context;
    rz_scratch *s = p->s;
    size_t h = (size_t)p->model->config.hidden, column = task * RZ_LANES;
    float *codes = p->grads + s->layout.codes;
    for (size_t i = 0; i < s->n_ages; i++)
        memset(s->dage_vector + i * h + column, 0, RZ_LANES * sizeof(float));
    for (size_t row = 0; row < p->n_tokens; row++) {
        const float *d = s->dmiddle + row * h + column;
        size_t code = (size_t)p->batch->tokens[p->first_token + row];
        float *age = s->age_index[row] == UINT32_MAX ? codes + RZ_TOKEN_HIDDEN_AGE * h
                                                     : s->dage_vector + s->age_index[row] * h;
        s->kernels->add(codes + code * h + column, d, RZ_LANES);
        s->kernels->add(age + column, d, RZ_LANES);
        if (!p->model->config.recency)
            continue;
        encoder_recency place = encoder_recency_of(p->batch->days_before[p->first_token + row]);
        float *knot = p->grads + s->layout.recency + place.knot * h + column;
        s->kernels->axpy(knot, 1.0f - place.fraction, d, RZ_LANES);
        s->kernels->axpy(knot + h, place.fraction, d, RZ_LANES);
    }
}

void encoder_layers_backward(encoder_pass *p)
{
    rz_scratch *s = p->s;
    size_t h = (size_t)p->model->config.hidden, blocks = encoder_blocks(p->n_tokens);
    size_t rows = p->first_only ? p->n_seqs : p->n_tokens;
    memset(p->first_only ? s->dstream_first : s->dstream, 0, rows * h * sizeof(float));
    for (size_t layer = (size_t)p->model->config.layers; layer-- > 0;) {
        p->layer = layer;
        encoder_layer_backward(p);
    }
    rz_pool_run(p->model->pool, blocks, embed_block_backward, p);
    const encoder_norm_place *first = &s->layout.layer[0].attention_norm;
    const size_t places[] = {s->layout.embedding_norm.gain, s->layout.embedding_norm.bias,
                             first->gain, first->bias};
    const size_t counts[] = {h, h, h, h};
    encoder_partials_reduce(p, blocks, places, counts,
                            p->model->config.norm == RZ_NORM_PRE ? 4 : 2);
    rz_pool_run(p->model->pool, h / RZ_LANES, scatter_columns, p);
    encoder_age_backward(p);
}
