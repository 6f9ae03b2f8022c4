/* A model: a family's configuration, one block of float32 parameters with a table of names and
 * shapes, and the vocabulary it was made with.
 *
 * The optimiser, clipping, the checkpoint and any exchange between processes walk the table; the
 * family alone knows what the tensors mean. Heads come last in the block: a task head reads the
 * pooled state of a timeline and gives one logit; the onset head, of models that have it
 * (config.onset), gives one for each code of the vocabulary, in its order: is this code recorded
 * for the first time within the horizon? */
#ifndef RZ_MODEL_MODEL_H
#define RZ_MODEL_MODEL_H

#include "base/pool.h"
#include "model/vocabulary.h"
#include "tensor/weight.h"

#include <jansson.h>

enum { RZ_HEADS_MAX = 64, RZ_TENSOR_NAME = 64, RZ_HEAD_NAME = 48 };

typedef enum rz_norm { RZ_NORM_POST, RZ_NORM_PRE } rz_norm;
typedef enum rz_pooling { RZ_POOLING_CLS, RZ_POOLING_MEAN } rz_pooling;
typedef enum rz_masking { RZ_MASKING_TOKEN, RZ_MASKING_CODE } rz_masking;

typedef struct rz_config {
    char family[16]; /* "encoder" */
    char size[16];   /* "2.2m" …, or "custom" */
    int32_t n_diagnoses, n_medications;
    int32_t hidden, layers, heads, feed_forward, age_hidden, age_bins, context;
    int32_t repeat_days; /* a code that was kept less than so many days ago is left out; 0 = none */
    rz_norm norm;
    rz_pooling pooling;
    rz_masking masking; /* pretraining's choice, kept with the model */
    float mask_share;   /* of the codes that pretraining hides */
    float dropout;
    bool recency; /* tokens tell how long before the as_of day they lie */
    bool onset;   /* the model has the onset head */
} rz_config;

typedef enum rz_init { RZ_INIT_NORMAL, RZ_INIT_ZERO, RZ_INIT_ONE } rz_init;

typedef struct rz_tensor_spec {
    char name[RZ_TENSOR_NAME]; /* "layers.0.attention.query.weight" */
    size_t rank, shape[2];     /* row-major, [out, in] for weights */
    size_t offset;             /* in floats, within the block; a multiple of 16 */
    size_t count;              /* product of the shape */
    rz_init init;
    float init_deviation;
    float rate; /* in training: multiple of the learning rate */
    bool decay; /* weight decay applies: matrices yes, biases and norms no */
} rz_tensor_spec;

typedef struct rz_model rz_model;
typedef struct rz_scratch rz_scratch; /* activations of one forward and backward; a family's own */

/* A packed batch: the tokens of all timelines one after the other, no padding. The buffers are
 * owned and grow to the largest batch seen. Zero it first; rz_batch_done frees. */
typedef struct rz_batch {
    size_t n_seqs, n_tokens;
    uint32_t *offsets;   /* [n_seqs + 1], offsets[0] = 0 */
    int32_t *tokens;     /* [n_tokens] token ids */
    float *age_days;     /* [n_tokens] age at the event; of [CLS] and sex: at as_of */
    uint8_t *age_hidden; /* [n_tokens] 1 where the age is replaced by the learned vector */
    float *days_before;  /* [n_tokens] days from the event to as_of, 0 for [CLS] and sex */
    uint32_t *unmapped;  /* [n_seqs] events that became UNKNOWN */
    uint32_t *left_out;  /* [n_seqs] older tokens beyond the context */
    uint32_t unmapped_systems[RZ_SYSTEM_COUNT]; /* the same events, by their code system */
    size_t seqs_capacity, tokens_capacity;
} rz_batch;

/* What a forward pass gives. Buffers are borrowed from the scratch until its next use. */
typedef struct rz_outputs {
    const float *pooled; /* [n_seqs, hidden] */
    const float *logits; /* [n_seqs, n_heads] */
} rz_outputs;

/* What a training step wants. Weights are 1 / (positions of that term in the whole optimiser
 * batch), so that gradients of several packed batches add up to the mean. */
typedef struct rz_targets {
    bool pretrain, finetune, onset;
    size_t n_diagnoses, n_medications, n_ages;
    uint32_t *diagnosis_positions, *medication_positions, *age_positions; /* token indices */
    int32_t *diagnosis_labels, *medication_labels; /* 0 … n_diagnoses-1, 0 … n_medications-1 */
    float *age_values;                             /* days / 36525 */
    float diagnosis_weight, medication_weight, age_weight;
    const float *labels;        /* [n_seqs, n_heads]: 0, 1, or NaN for "not this patient" */
    const float *head_weights;  /* [n_heads] */
    const float *seq_weights;   /* [n_seqs] of a timeline's labels; NULL = 1 */
    const uint64_t *onset_bits; /* [n_seqs, 2, rz_onset_words]: a bit for each code that comes
                                   within the horizon, then for each that does not count */
    size_t n_onsets;            /* codes that count, over all timelines */
    float onset_weight;
    uint64_t dropout_seed, dropout_stream; /* this packed batch's masks */
    size_t capacity;                       /* of each position buffer; owned, see rz_targets_done */
} rz_targets;

/* Sums over positions of one packed batch, not means. Divide by the counts; of a head this is the
 * sum of its labels' weights. */
typedef struct rz_losses {
    double diagnosis, medication, age;
    size_t n_diagnoses, n_medications, n_ages;
    double head[RZ_HEADS_MAX], n_head[RZ_HEADS_MAX];
    double onset;
    size_t n_onsets;
} rz_losses;

enum { RZ_CAN_PRETRAIN = 1u << 0, RZ_CAN_HEADS = 1u << 1, RZ_CAN_SIMULATE = 1u << 2 };

typedef struct rz_family {
    const char *name;
    unsigned capabilities;
    /* config.json's "model" object in and out; sizes by name (rz_config_for_size). */
    rz_status (*config_parse)(const json_t *json, rz_config *out, rz_error *error);
    json_t *(*config_write)(const rz_config *config);
    rz_status (*config_for_size)(const char *size, rz_config *out, rz_error *error);
    /* Names, shapes and init of all tensors without the heads; offsets are filled by the model. */
    rz_status (*tensor_table)(const rz_config *config, rz_tensor_spec *out, size_t cap, size_t *n,
                              rz_error *error);
    /* Packs timelines, each as it was known on its as_of day. Threads: safe with distinct out. */
    rz_status (*batch_build)(const rz_model *model, const rz_timeline *const *timelines,
                             const int32_t *as_of, size_t n, rz_batch *out, rz_error *error);
    /* Hides part of a batch (in place) and says what is to be recovered; the draw depends only on
     * (seed, stream). Weights are left 0 for the trainer to set. */
    rz_status (*pretrain_targets)(const rz_model *model, rz_batch *batch, uint64_t seed,
                                  uint64_t stream, rz_targets *out, rz_error *error);
    /* Operations of a forward pass: products and attention of all layers in full, and, with targets
     * of pretraining, their heads; nothing else is counted. Backward counts twice forward. */
    double (*forward_flop)(const rz_config *config, const rz_batch *batch,
                           const rz_targets *targets);
    rz_status (*scratch_new)(const rz_model *model, rz_scratch **out, rz_error *error);
    void (*scratch_free)(rz_scratch *scratch);
    /* Inference: no dropout. Threads: one scratch each; products run on the model's pool. */
    rz_status (*forward)(const rz_model *model, const rz_batch *batch, rz_outputs *out,
                         rz_scratch *scratch, rz_error *error);
    /* Forward with dropout, losses, and gradients ADDED to grads [n_parameters].
     * grads NULL: losses only, without dropout (validation). */
    rz_status (*train)(const rz_model *model, const rz_batch *batch, const rz_targets *targets,
                       float *grads, rz_losses *losses, rz_scratch *scratch, rz_error *error);
    /* Starts a fresh onset head from what pretraining has learnt of each code. */
    void (*onset_start)(rz_model *model);
    /* The onset head over the pooled states of the last forward pass of this scratch:
     * out [n, rz_onset_stride(V)] for its timelines first … first + n - 1; what is beyond V in a
     * row is scratch. Apart from forward, which most questions end with, and in parts, as V may be
     * large. */
    rz_status (*onsets)(const rz_model *model, size_t first, size_t n, float *out,
                        rz_scratch *scratch, rz_error *error);
    /* What each token of a batch counts for a logit: the logit's derivative by the token's weight,
     * in which 1 is the token as it stands, 2 the same token standing there twice, and 0 its
     * absence. To first order a timeline without some tokens loses the sum of theirs.
     *
     *   logits  [n_logits]            in   a head's place, or n_heads + the place of an onset's
     * code out     [n_logits, n_tokens]  out  from a timeline's logit, by its own tokens
     *
     * Inference, so no dropout; one pass forward and n_logits backward, whose memory (activations
     * of a tile, one layer's weights) is freed before it returns.
     * Errors  RZ_E_RANGE for a logit that the model has not. Threads  as forward. */
    rz_status (*attribute)(const rz_model *model, const rz_batch *batch, const size_t *logits,
                           size_t n_logits, float *out, rz_scratch *scratch, rz_error *error);
} rz_family;

struct rz_model {
    const rz_family *family;
    rz_config config;
    rz_vocabulary *vocabulary;        /* owned */
    rz_pool *pool;                    /* borrowed; NULL = one thread */
    size_t n_tensors, n_head_tensors; /* head tensors are the last of n_tensors */
    rz_tensor_spec *tensors;
    size_t n_parameters; /* floats in the block, padding included */
    size_t n_counted;    /* parameters as the size table counts them: without heads and padding */
    float *parameters;   /* 64-byte aligned */
    /* Of the layers' products in inference, and in training, where it is float32 or bf16:
     * parameters, sums and everything else stay in float32. Set before a scratch is made. */
    rz_precision precision, training_precision;
    size_t n_heads;
    char head_names[RZ_HEADS_MAX][RZ_HEAD_NAME]; /* task names */
    uint64_t
        parameters_version; /* changes with every update; caches derived from weights key on it */
};

const rz_family *rz_family_find(const char *name); /* NULL when there is none; static */

/* Codes of the vocabulary, and the words that hold a bit for each. */
static inline size_t rz_model_codes(const rz_model *model)
{
    return (size_t)model->config.n_diagnoses + (size_t)model->config.n_medications;
}
static inline size_t rz_onset_words(size_t n_codes)
{
    return (n_codes + 63) / 64;
}
/* Floats between two rows of onset logits: products write whole vectors. */
static inline size_t rz_onset_stride(size_t n_codes)
{
    return (n_codes + 15) / 16 * 16;
}
static inline bool rz_onset_bit(const uint64_t *bits, size_t code)
{
    return (bits[code / 64] >> (code % 64) & 1) != 0;
}

/* A model with parameters drawn from `seed`. `vocabulary` is copied; config's code counts are set
 * from it. Errors RZ_E_INVALID, RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status rz_model_new(const rz_config *config, const rz_vocabulary *vocabulary,
                                     const char *const *head_names, size_t n_heads, uint64_t seed,
                                     rz_pool *pool, rz_model **out, rz_error *error);
/* The same for those who fill all tensors, as loading does: their content is undefined. The padding
 * between them is 0 and stays so. */
RZ_MUST_CHECK rz_status rz_model_blank(const rz_config *config, const rz_vocabulary *vocabulary,
                                       const char *const *head_names, size_t n_heads, rz_pool *pool,
                                       rz_model **out, rz_error *error);
/* The same encoder with other heads (fresh, from `seed`), the onset head among them when `onset`:
 * how fine-tuning starts. */
RZ_MUST_CHECK rz_status rz_model_with_heads(const rz_model *model, const char *const *head_names,
                                            size_t n_heads, bool onset, uint64_t seed,
                                            rz_model **out, rz_error *error);
void rz_model_free(rz_model *model); /* accepts NULL */

/* The tensor by name; NULL when there is none. */
const rz_tensor_spec *rz_model_tensor(const rz_model *model, const char *name);

/* Makes room in a batch or in targets; content up to the old counts stays. */
RZ_MUST_CHECK rz_status rz_batch_reserve(rz_batch *batch, size_t n_seqs, size_t n_tokens,
                                         rz_error *error);
void rz_batch_done(rz_batch *batch);
RZ_MUST_CHECK rz_status rz_targets_reserve(rz_targets *targets, size_t n_tokens, rz_error *error);
void rz_targets_done(rz_targets *targets);

#endif
