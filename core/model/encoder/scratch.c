/* Memory of a pass. One block holds all that a tile needs; it is laid out by walking the same list
 * twice, first to count and then to place, and only ever grows. */
#include "model/encoder/encoder.h"

#include "base/memory.h"
#include "base/size.h"
#include "tensor/gemm.h"

#include <stdlib.h>
#include <string.h>

enum { TILE_ROWS = 16 }; /* of products in low precision, where the CPU has tiles */

/* A walk over the list: base NULL counts. `overflow` stands for sizes that no memory could hold. */
typedef struct carver {
    char *base;
    size_t used;
    bool overflow;
} carver;

static void *take(carver *c, size_t count, size_t width, size_t size)
{
    size_t bytes = 0, end = 0;
    if (!rz_size_mul(count, width, &bytes) || !rz_size_mul(bytes, size, &bytes) ||
        !rz_size_add(bytes, 63, &bytes) || !rz_size_add(c->used, bytes & ~(size_t)63, &end)) {
        c->overflow = true;
        return NULL;
    }
    void *place = c->base == NULL ? NULL : c->base + c->used;
    c->used = end;
    return place;
}

static float *floats(carver *c, size_t rows, size_t columns)
{
    return take(c, rows, columns, sizeof(float));
}

static void norm_buffers(carver *c, encoder_norm *norm, encoder_norm_place place, size_t n,
                         size_t h)
{
    norm->place = place;
    norm->normal = floats(c, n, h);
    norm->inverse = floats(c, n, 1);
}

static void layer_buffers(carver *c, rz_scratch *s, const rz_config *config, size_t n, bool kept)
{
    size_t h = (size_t)config->hidden, f = (size_t)config->feed_forward;
    size_t layers = (size_t)config->layers, sets = kept ? layers : 1;
    for (size_t i = 0; i < layers; i++) {
        encoder_layer_buffers *layer = &s->layer[i];
        *layer = (encoder_layer_buffers){0};
        layer->attention_norm.place = s->layout.layer[i].attention_norm;
        layer->feed_forward_norm.place = s->layout.layer[i].feed_forward_norm;
        if (i >= sets)
            continue;
        layer->x = floats(c, n, h);
        layer->qkv = floats(c, n, 3 * h);
        layer->attended = floats(c, n, h);
        layer->middle = floats(c, n, h);
        if (!kept)
            continue;
        layer->log_sum_exp = floats(c, (size_t)config->heads, n);
        layer->up = floats(c, n, f);
        norm_buffers(c, &layer->attention_norm, layer->attention_norm.place, n, h);
        norm_buffers(c, &layer->feed_forward_norm, layer->feed_forward_norm.place, n, h);
    }
    s->layer[layers] = (encoder_layer_buffers){0};
    if (kept)
        s->layer[layers].x = floats(c, n, h);
}

static void age_buffers(carver *c, rz_scratch *s, const rz_config *config, size_t n, bool training)
{
    size_t h = (size_t)config->hidden, a = (size_t)config->age_hidden;
    s->age_table_size = 1;
    while (s->age_table_size < 2 * n)
        s->age_table_size *= 2;
    s->age_value = floats(c, n, 1);
    s->age_fraction = floats(c, n, 1);
    s->age_bin = take(c, n, 1, sizeof(uint32_t));
    s->age_index = take(c, n, 1, sizeof(uint32_t));
    s->age_table = take(c, s->age_table_size, 1, sizeof(uint32_t));
    s->age_up = floats(c, n, a);
    s->age_active = floats(c, n, a);
    s->age_vector = floats(c, n, h);
    if (training) {
        s->dage_vector = floats(c, n, h);
        s->dage_up = floats(c, n, a);
    }
}

static void loss_buffers(carver *c, rz_scratch *s, const rz_config *config)
{
    size_t h = (size_t)config->hidden, rows = RZ_ENCODER_LOSS_ROWS;
    int32_t most =
        config->n_diagnoses > config->n_medications ? config->n_diagnoses : config->n_medications;
    size_t columns = s->layout.n_onsets > (size_t)most ? s->layout.n_onsets : (size_t)most;
    s->logits_ld = (columns + RZ_LANES - 1) / RZ_LANES * RZ_LANES;
    s->loss_x = floats(c, rows, h);
    s->loss_up = floats(c, rows, h);
    s->loss_active = floats(c, rows, h);
    s->loss_normal = floats(c, rows, h);
    s->loss_z = floats(c, rows, h);
    s->loss_dz = floats(c, rows, h);
    s->loss_du = floats(c, rows, h);
    s->loss_inverse = floats(c, rows, 1);
    s->loss_row = take(c, rows, 1, sizeof(double));
    s->loss_logits = floats(c, rows, s->logits_ld);
}

static void gradient_buffers(carver *c, rz_scratch *s, const rz_config *config, size_t n)
{
    size_t h = (size_t)config->hidden, f = (size_t)config->feed_forward;
    float **const wide[] = {&s->dx,    &s->dx_first, &s->dstream,   &s->dstream_first, &s->dmiddle,
                            &s->ddown, &s->doutput,  &s->dattended, &s->dq_first};
    for (size_t i = 0; i < RZ_COUNT(wide); i++)
        *wide[i] = floats(c, n, h);
    s->dqkv = floats(c, n, 3 * h);
    s->dup = floats(c, n, f);
    s->active = floats(c, n, f);
    size_t age = (size_t)config->age_hidden + h, chain = 6 * h + f;
    s->partial_size = age > chain ? age : chain;
    size_t blocks = encoder_blocks(n), loss_blocks = RZ_ENCODER_LOSS_ROWS / RZ_ENCODER_LOSS_BLOCK;
    s->partials = floats(c, blocks > loss_blocks ? blocks : loss_blocks, s->partial_size);
}

static void worker_buffers(carver *c, rz_scratch *s, const rz_config *config, bool training)
{
    size_t h = (size_t)config->hidden, longest = (size_t)config->context;
    /* The deepest products: the feed-forward's, and that of the gradient of keys and values. */
    size_t f = (size_t)config->feed_forward, deepest = 2 * h > f ? 2 * h : f;
    size_t words = rz_weight_scratch(s->precision, RZ_ENCODER_BLOCK, deepest);
    size_t in_training = rz_weight_scratch(s->training_precision, RZ_ENCODER_BLOCK, deepest);
    for (unsigned i = 0; i < s->n_workers; i++) {
        s->worker[i].y = floats(c, RZ_ENCODER_BLOCK, h);
        s->worker[i].up = floats(c, RZ_ENCODER_BLOCK, f);
        s->worker[i].words = take(c, 1, 1, words > in_training ? words : in_training);
        s->worker[i].keep = floats(c, (h + 127) / 128 * 128, 1);
        s->worker[i].attention =
            floats(c, rz_attention_scratch(longest, h / (size_t)config->heads), 1);
        s->worker[i].gradient = training ? floats(c, RZ_TRANSPOSED_SCRATCH, 1) : NULL;
    }
}

static void lay_out(carver *c, rz_scratch *s, const rz_config *config, size_t n, encoder_use use)
{
    size_t h = (size_t)config->hidden, bins = (size_t)config->age_bins + 1;
    bool training = use == RZ_ENCODER_TRAINING, kept = use != RZ_ENCODER_INFERENCE;
    worker_buffers(c, s, config, training);
    layer_buffers(c, s, config, n, kept);
    s->x_first = floats(c, n, h);
    s->q_first = floats(c, n, h);
    s->stream = floats(c, n, h);
    s->stream_first = floats(c, n, h);
    s->embedding_norm = (encoder_norm){.place = s->layout.embedding_norm};
    s->final_norm = (encoder_norm){.place = s->layout.final_norm};
    age_buffers(c, s, config, n, training);
    if (use != RZ_ENCODER_ATTRIBUTION) { /* it borrows them */
        s->age_prefix = floats(c, bins, (size_t)config->age_hidden);
        s->age_columns = floats(c, bins, (size_t)config->age_hidden);
    }
    if (!kept)
        return;
    norm_buffers(c, &s->embedding_norm, s->layout.embedding_norm, n, h);
    norm_buffers(c, &s->final_norm, s->layout.final_norm, n, h);
    gradient_buffers(c, s, config, n);
    if (!training) {
        s->presence = floats(c, (size_t)config->heads, n);
        return;
    }
    s->dage_whole = floats(c, bins, (size_t)config->age_hidden);
    s->dage_part = floats(c, bins, (size_t)config->age_hidden);
    loss_buffers(c, s, config);
}

static rz_status grow_outputs(rz_scratch *s, const rz_model *model, size_t n_seqs, rz_error *error)
{
    if (n_seqs <= s->pooled_capacity)
        return RZ_OK;
    size_t h = (size_t)model->config.hidden, heads = model->n_heads > 0 ? model->n_heads : 1;
    float *pooled = calloc(n_seqs, h * sizeof *pooled);
    float *logits = calloc(n_seqs, heads * sizeof *logits);
    if (pooled == NULL || logits == NULL) {
        free(pooled);
        free(logits);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the outputs of %zu timelines", n_seqs);
    }
    free(s->pooled);
    free(s->logits);
    s->pooled = pooled;
    s->logits = logits;
    s->pooled_capacity = n_seqs;
    return RZ_OK;
}

rz_status encoder_scratch_grow(rz_scratch *s, const rz_model *model, size_t rows, encoder_use use,
                               size_t n_seqs, rz_error *error)
{
    rz_status status = grow_outputs(s, model, n_seqs, error);
    if (status != RZ_OK || (s->memory != NULL && rows <= s->rows && use <= s->use))
        return status;
    rows = rows > 0 ? rows : 1;
    rows = encoder_blocks(rows > s->rows ? rows : s->rows) * RZ_ENCODER_BLOCK;
    use = use > s->use ? use : s->use;
    rz_scratch plan = *s;
    carver count = {0};
    lay_out(&count, &plan, &model->config, rows, use);
    void *memory = count.overflow ? NULL : rz_memory_block(count.used);
    if (memory == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu bytes of activations", count.used);
    memset(memory, 0, count.used);
    free(s->memory);
    s->memory = memory;
    s->rows = rows;
    s->use = use;
    s->age_version = 0; /* the age columns lie in this block */
    carver place = {.base = memory};
    lay_out(&place, s, &model->config, rows, use);
    return RZ_OK;
}

rz_status encoder_scratch_new(const rz_model *model, rz_scratch **out, rz_error *error)
{
    rz_gemm_setup();
    rz_scratch *s = calloc(1, sizeof *s);
    unsigned n = rz_pool_size(model->pool);
    encoder_worker *worker = calloc(n, sizeof *worker);
    if (s == NULL || worker == NULL) {
        free(s);
        free(worker);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a scratch of %u workers", n);
    }
    s->worker = worker;
    s->n_workers = n;
    size_t context = (size_t)model->config.context;
    s->tile_tokens = context > RZ_ENCODER_TILE ? context : RZ_ENCODER_TILE;
    rz_status status = rz_tensor_choose(&s->path, error);
    if (status == RZ_OK)
        status = encoder_layout_find(model, &s->layout, error);
    if (status != RZ_OK) {
        encoder_scratch_free(s);
        return status;
    }
    s->kernels = s->path.kernels;
    s->precision = model->precision;
    s->training_precision = model->training_precision;
    bool low = s->precision != RZ_FLOAT32 || s->training_precision != RZ_FLOAT32;
    s->row_step = low ? TILE_ROWS : s->kernels->block_rows;
    s->slice = RZ_ENCODER_SLICE / s->kernels->panel_columns * s->kernels->panel_columns;
    *out = s;
    return RZ_OK;
}

void encoder_scratch_free(rz_scratch *s)
{
    if (s == NULL)
        return;
    free(s->memory);
    free(s->packed);
    free(s->worker);
    free(s->pooled);
    free(s->logits);
    free(s);
}
