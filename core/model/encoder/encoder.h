/* The encoder family: what its files share. models/MODEL.md holds the equations.
 *
 * Work goes in tiles: whole timelines of at most about RZ_ENCODER_TILE tokens, so that activations
 * of a tile stay near the cores and memory does not grow with the batch. Within a tile, blocks of
 * at most RZ_ENCODER_BLOCK tokens are the tasks of the pool. Forward, a row's result does not
 * depend on its block, so blocks may follow the number of threads; backward, sums over a block are
 * added up in order, so blocks depend on the batch alone. The number of threads never shows in a
 * result.
 *
 *   config.c   configuration, tensors and where they lie
 *   batch.c    timelines -> tokens          masking.c  what pretraining hides
 *   scratch.c  memory of a pass             weights.c  weights as products read them
 *   age.c      ages -> vectors
 *   layers.c   forward                      backward.c the same backwards
 *   heads.c    losses of pretraining and tasks
 *   onset.c    the onset head: all codes at once
 *   attribute.c  what each token counts for a logit
 *   encoder.c  the family: checks, tiles, order of the passes */
#ifndef RZ_MODEL_ENCODER_ENCODER_H
#define RZ_MODEL_ENCODER_ENCODER_H

#include "model/model.h"
#include "tensor/path.h"
#include "tensor/weight.h"

enum {
    RZ_ENCODER_LAYERS_MAX = 48,
    RZ_ENCODER_TILE = 2048,     /* tokens; a longer context makes it longer */
    RZ_ENCODER_BLOCK = 96,      /* tokens of a task, backward; at most, forward */
    RZ_ENCODER_SLICE = 256,     /* feed-forward units that exist at a time, at most */
    RZ_ENCODER_LOSS_ROWS = 512, /* masked positions whose logits exist at a time */
    RZ_ENCODER_LOSS_BLOCK = 64, /* of them in one task */
    RZ_ENCODER_JOBS_MAX = 16,
    /* Dropout sites; site 0 is what masking draws from. A layer has two: attention, feed-forward.
     */
    RZ_ENCODER_SITE_EMBEDDING = 1,
    RZ_ENCODER_SITE_LAYERS = 2
};
/* Of recency: knot k lies 2^k - 1 days before the as_of day, the last one 89 years. */
enum { RZ_ENCODER_RECENCY_KNOTS = 16 };
#define RZ_ENCODER_EPSILON  1e-5f    /* of every layer norm */
#define RZ_ENCODER_BIN_DAYS 30.4375f /* width of an age bin: a month */
#define RZ_ENCODER_AGE_UNIT 36525.0f /* days of 100 years: the unit of the age loss */

extern const rz_family rz_encoder_family;

/* Where tensors begin in the parameter block, in floats; gradients lie alike. */
typedef struct encoder_norm_place {
    size_t gain, bias;
} encoder_norm_place;

typedef struct encoder_layer_place {
    size_t qkv, qkv_bias; /* query, key and value follow each other: one [3 hidden, hidden] */
    size_t output, output_bias, up, up_bias, down, down_bias;
    encoder_norm_place attention_norm, feed_forward_norm;
} encoder_layer_place;

typedef struct encoder_code_head_place {
    size_t n_codes; /* 0 = the head does not exist */
    size_t transform, transform_bias, decoder, decoder_bias;
    encoder_norm_place norm;
} encoder_code_head_place;

typedef struct encoder_layout {
    size_t codes, age_in, age_in_bias, age_out, age_out_bias;
    size_t recency;                                /* where the configuration has it */
    encoder_norm_place embedding_norm, final_norm; /* final: norm = pre only */
    encoder_layer_place layer[RZ_ENCODER_LAYERS_MAX];
    encoder_code_head_place diagnoses, medications;
    size_t age_head, age_head_bias;
    size_t head[RZ_HEADS_MAX], head_bias[RZ_HEADS_MAX];
    size_t n_onsets, onset, onset_bias; /* 0 = there is no onset head */
} encoder_layout;

/* Weights of products, packed: those of a layer, then the others. */
enum {
    RZ_ENCODER_QUERY,
    RZ_ENCODER_KEY_VALUE,
    RZ_ENCODER_OUTPUT,
    RZ_ENCODER_UP,
    RZ_ENCODER_DOWN,
    RZ_ENCODER_LAYER_WEIGHTS
};
enum {
    RZ_ENCODER_AGE,
    RZ_ENCODER_ONSET,
    RZ_ENCODER_DIAGNOSES, /* transform, decoder */
    RZ_ENCODER_MEDICATIONS = RZ_ENCODER_DIAGNOSES + 2,
    RZ_ENCODER_OTHER_WEIGHTS = RZ_ENCODER_MEDICATIONS + 2,
    RZ_ENCODER_WEIGHTS_MAX =
        RZ_ENCODER_LAYERS_MAX * RZ_ENCODER_LAYER_WEIGHTS + RZ_ENCODER_OTHER_WEIGHTS
};

typedef struct encoder_weight {
    rz_weight forward, backward; /* backward: not in inference */
} encoder_weight;

/* What memory is for, each use wanting more of every layer than the one before. */
typedef enum encoder_use {
    RZ_ENCODER_INFERENCE,
    RZ_ENCODER_ATTRIBUTION, /* a scratch of its own: attribute.c */
    RZ_ENCODER_TRAINING
} encoder_use;

/* One application of a layer norm: its place and what its gradient needs (NULL in inference). */
typedef struct encoder_norm {
    encoder_norm_place place;
    float *normal;  /* [rows, hidden] */
    float *inverse; /* [rows] */
} encoder_norm;

typedef struct encoder_layer_buffers { /* n = rows of the tile, padded */
    float *x;                          /* [n, hidden] what attention reads */
    float *qkv;                        /* [n, 3 hidden] */
    float *attended;                   /* [n, hidden] */
    float *log_sum_exp;                /* [heads, n] */
    float *middle;                     /* [n, hidden] what the feed-forward reads */
    float *up;                         /* [n, feed_forward] before GELU; not in inference */
    encoder_norm attention_norm, feed_forward_norm;
} encoder_layer_buffers;

typedef struct encoder_worker {
    float *y;         /* [RZ_ENCODER_BLOCK, hidden] */
    float *up;        /* [RZ_ENCODER_BLOCK, feed_forward] */
    float *keep;      /* [hidden, rounded up to 128] */
    void *words;      /* rz_weight_scratch of a block; NULL in float32 */
    float *attention; /* rz_attention_scratch */
    float *gradient;  /* RZ_TRANSPOSED_SCRATCH; training only */
} encoder_worker;

/* A matrix product of the gradient of a weight, cut into tasks of `rows` and `columns`, `wide` of
 * them side by side: c [m, n] += a [k, m]ᵀ b [k, n]; or, with b NULL, a column sum: c [m] += Σ_k a.
 */
typedef struct encoder_job {
    rz_precision precision;
    const float *a, *b;
    float *c;
    size_t lda, ldb, m, n, k, rows, columns, wide, first_task;
} encoder_job;

struct rz_scratch {
    encoder_layout layout;
    rz_tensor_path path;
    const rz_kernels *kernels; /* of the path */
    size_t slice;              /* feed-forward units of a step, a multiple of panel_columns */
    size_t row_step;           /* rows of a product's register block, which a task is made of */
    encoder_weight weight[RZ_ENCODER_WEIGHTS_MAX];
    size_t n_weights;
    char *packed; /* their panels */
    bool packed_training;
    rz_precision precision, training_precision; /* as the model has them */
    uint64_t weights_version, age_version;      /* of the parameters that panels were made from, and
                                                   age columns */
    unsigned n_workers;
    encoder_worker *worker;
    size_t tile_tokens;

    size_t rows; /* capacity of a tile, a multiple of RZ_ENCODER_BLOCK */
    encoder_use use;
    void *memory;                                           /* everything below that a tile needs */
    encoder_layer_buffers layer[RZ_ENCODER_LAYERS_MAX + 1]; /* [layers].x: the output */
    encoder_norm embedding_norm, final_norm;
    float *stream;                           /* [n, hidden] residual stream, norm = pre */
    float *x_first, *q_first, *stream_first; /* [n, hidden] rows of [CLS] in the last layer */

    size_t n_ages; /* distinct ages of the tile */
    float *age_value, *age_fraction;
    uint32_t *age_bin, *age_index, *age_table;
    size_t age_table_size;                   /* a power of two >= 2 n */
    float *age_up, *age_active, *age_vector; /* [n, age_hidden] twice, [n, hidden] */

    float *dx, *dx_first, *dstream, *dstream_first, *dmiddle, *ddown, *doutput,
        *dattended;                        /* [n, hidden] */
    float *dqkv, *dq_first, *dup, *active; /* active: GELU again */
    float
        *presence; /* [heads, n] gradient by the weights of keys; in attribution only, else NULL */
    float *dage_vector, *dage_up;
    float *partials; /* [blocks, partial_size] sums of one block, added up in order */
    size_t partial_size;

    float *loss_x, *loss_up, *loss_active, *loss_normal, *loss_z, *loss_inverse, *loss_dz, *loss_du,
        *loss_logits; /* [RZ_ENCODER_LOSS_ROWS, …] */
    double *loss_row;
    size_t logits_ld;

    float *age_prefix, *age_columns; /* [bins + 1, age_hidden] bias + sums of columns, columns */
    float *dage_whole, *dage_part;   /* [bins + 1, age_hidden] */

    float *pooled, *logits; /* of the whole batch */
    size_t pooled_capacity;
    size_t n_pooled; /* timelines of the last forward pass */
};

/* One pass over one tile. */
typedef struct encoder_pass {
    const rz_model *model;
    rz_scratch *s;
    const rz_batch *batch;
    const rz_targets *targets; /* NULL in inference */
    float *grads;              /* NULL without gradients */
    rz_losses *losses;
    rz_dropout dropout;
    size_t first_seq, n_seqs, first_token, n_tokens;
    bool keep;       /* activations of every layer are kept for the backward pass */
    bool first_only; /* the last layer's queries are the [CLS] tokens only */
    size_t layer;    /* of the running stage */
    size_t rows;     /* its rows: n_tokens, or n_seqs where first_only */
    size_t tasks;    /* that they are spread over, forward */
    size_t n_parts;  /* tasks into which the heads of a timeline are cut */
    encoder_job job[RZ_ENCODER_JOBS_MAX];
    size_t n_jobs, n_job_tasks;
    /* The running code head. */
    const encoder_code_head_place *code_head;
    const encoder_weight *code_weights; /* transform, decoder */
    const uint32_t *positions;
    const int32_t *labels;
    float weight;
} encoder_pass;

/* encoder.c: checks the batch, makes memory and panels; then as many whole timelines as fit into a
 * tile, false after the last. */
rz_status encoder_prepare(encoder_pass *p, encoder_use use, rz_error *error);
bool encoder_next_tile(encoder_pass *p);

/* config.c */
rz_status encoder_config_parse(const json_t *json, rz_config *out, rz_error *error);
json_t *encoder_config_write(const rz_config *config);
rz_status encoder_config_for_size(const char *size, rz_config *out, rz_error *error);
rz_status encoder_tensor_table(const rz_config *config, rz_tensor_spec *out, size_t cap, size_t *n,
                               rz_error *error);
rz_status encoder_layout_find(const rz_model *model, encoder_layout *out, rz_error *error);

/* batch.c, masking.c */
rz_status encoder_batch_build(const rz_model *model, const rz_timeline *const *timelines,
                              const int32_t *as_of, size_t n, rz_batch *out, rz_error *error);
rz_status encoder_pretrain_targets(const rz_model *model, rz_batch *batch, uint64_t seed,
                                   uint64_t stream, rz_targets *out, rz_error *error);

/* scratch.c */
rz_status encoder_scratch_new(const rz_model *model, rz_scratch **out, rz_error *error);
void encoder_scratch_free(rz_scratch *scratch);
rz_status encoder_scratch_grow(rz_scratch *s, const rz_model *model, size_t rows, encoder_use use,
                               size_t n_seqs, rz_error *error);

/* weights.c: panels of the parameters as they are now, and of the weights by name. */
rz_status encoder_weights_prepare(rz_scratch *s, const rz_model *model, bool training,
                                  rz_error *error);
/* Backward panels of one layer, float32, in `panels` of so many bytes. */
size_t encoder_layer_panels(const rz_scratch *s);
void encoder_layer_pack(rz_scratch *s, const rz_model *model, size_t layer, void *panels);
static inline const encoder_weight *encoder_layer_weight(const encoder_pass *p, size_t layer,
                                                         int which)
{
    return &p->s->weight[layer * RZ_ENCODER_LAYER_WEIGHTS + (size_t)which];
}
static inline const encoder_weight *encoder_other_weight(const encoder_pass *p, int which)
{
    return &p->s->weight[(size_t)p->model->config.layers * RZ_ENCODER_LAYER_WEIGHTS +
                         (size_t)which];
}

/* age.c: vectors of the tile's distinct ages, and back. */
void encoder_age_prepare(rz_scratch *s, const rz_model *model);
void encoder_age_forward(encoder_pass *p);
void encoder_age_backward(encoder_pass *p);        /* reads dage_vector */
void encoder_age_backward_finish(encoder_pass *p); /* once after the last tile */

/* A place between two knots of recency: its vector is (1 - fraction) of `knot` and fraction of the
 * next. Linear in days from knot to knot. */
typedef struct encoder_recency {
    uint32_t knot;
    float fraction;
} encoder_recency;

static inline encoder_recency encoder_recency_of(float days_before)
{
    uint32_t knot = 0;
    while (knot < RZ_ENCODER_RECENCY_KNOTS - 2 && days_before + 1.0f >= (float)(2u << knot))
        knot++;
    float width = (float)(1u << knot), fraction = (days_before + 1.0f - width) / width;
    return (encoder_recency){knot, fraction < 1.0f ? fraction : 1.0f};
}

/* layers.c: from tokens to the last states; backward.c: from dx of the last states to gradients. */
void encoder_layers_forward(encoder_pass *p);
void encoder_layers_backward(encoder_pass *p);
/* Layer p->layer alone: dx and dstream of its output become those of its input. */
void encoder_layer_backward(encoder_pass *p);

/* Buffers of a layer (in inference all share one set), the norm that follows a residual step
 * (0 after attention, 1 after the feed-forward), token of a row of the running stage, states. */
static inline encoder_layer_buffers *encoder_layer(const encoder_pass *p, size_t layer)
{
    return &p->s->layer[p->keep ? layer : 0];
}
const encoder_norm *encoder_norm_after(const encoder_pass *p, size_t layer, int step);
size_t encoder_row_token(const encoder_pass *p, size_t row);
static inline bool encoder_is_first_only(const encoder_pass *p, size_t layer)
{
    return p->first_only && layer + 1 == (size_t)p->model->config.layers;
}
/* In training of that precision; for [CLS] alone, rounding all keys would cost more than it saves.
 */
static inline bool encoder_attends_in_bf16(const encoder_pass *p)
{
    return p->grads != NULL && p->s->training_precision == RZ_BF16 &&
           !encoder_is_first_only(p, p->layer);
}
static inline float *encoder_states(const encoder_pass *p)
{
    return encoder_layer(p, (size_t)p->model->config.layers)->x;
}
static inline size_t encoder_blocks(size_t rows)
{
    return (rows + RZ_ENCODER_BLOCK - 1) / RZ_ENCODER_BLOCK;
}
/* Rows of block `task` of n rows, backward. */
static inline size_t encoder_block_rows(size_t task, size_t n)
{
    size_t left = n - task * RZ_ENCODER_BLOCK;
    return left < RZ_ENCODER_BLOCK ? left : RZ_ENCODER_BLOCK;
}

/* backward.c: a list of weight gradients, run together. */
void encoder_job_add(encoder_pass *p, rz_precision precision, const float *a, size_t lda,
                     const float *b, size_t ldb, float *c, size_t m, size_t n, size_t k);
void encoder_jobs_run(encoder_pass *p);
/* grads[places[i]] += the sum over blocks of column range i of the partials. */
void encoder_partials_reduce(encoder_pass *p, size_t n_blocks, const size_t *places,
                             const size_t *counts, size_t n);

/* heads.c: losses, and with grads the gradient of the last states in dx (zeroed before). */
void encoder_pretrain_losses(encoder_pass *p);
void encoder_task_outputs(encoder_pass *p);
void encoder_task_losses(encoder_pass *p);

/* onset.c: the onset head over pooled states. */
void encoder_onset_losses(encoder_pass *p);
void encoder_onset_start(rz_model *model);
rz_status encoder_onsets(const rz_model *model, size_t first, size_t n, float *out,
                         rz_scratch *scratch, rz_error *error);
/* attribute.c */
rz_status encoder_attribute(const rz_model *model, const rz_batch *batch, const size_t *logits,
                            size_t n_logits, float *out, rz_scratch *scratch, rz_error *error);
/* heads.c: the rows of the states that a timeline's pooling reads. */
void encoder_pooled_rows(const encoder_pass *p, size_t seq, size_t *first, size_t *n);

#endif
