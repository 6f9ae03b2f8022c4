/* The model: one block of parameters with its table of tensors, and the buffers that go with it. */
#include "model/model.h"

#include "base/memory.h"
#include "base/rng.h"
#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INIT_CHUNK = 16384, SEQS_MAX = 1 << 24, TOKENS_MAX = 1 << 30 };

static rz_status copy_head_names(rz_model *model, const char *const *names, size_t n,
                                 rz_error *error)
{
    if (n > RZ_HEADS_MAX)
        return rz_fail(error, RZ_E_INVALID, "%zu heads, at most %d are possible", n, RZ_HEADS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (names[i][0] == '\0' || strlen(names[i]) >= RZ_HEAD_NAME)
            return rz_fail(error, RZ_E_INVALID,
                           "the head name \"%.60s\" must have 1 … %d characters", names[i],
                           RZ_HEAD_NAME - 1);
        for (size_t j = 0; j < i; j++)
            if (strcmp(names[i], names[j]) == 0)
                return rz_fail(error, RZ_E_INVALID, "two heads are named %s", names[i]);
        (void)snprintf(model->head_names[i], RZ_HEAD_NAME, "%s", names[i]);
    }
    model->n_heads = n;
    return RZ_OK;
}

static rz_tensor_spec head_tensor(const char *head, const char *part, size_t rank, size_t columns)
{
    rz_tensor_spec spec = {.rank = rank,
                           .shape = {1, columns},
                           .count = columns,
                           .init = rank == 2 ? RZ_INIT_NORMAL : RZ_INIT_ZERO,
                           .init_deviation = 0.02f,
                           .rate = 1.0f,
                           .decay = rank == 2};
    (void)snprintf(spec.name, sizeof spec.name, "heads.%s.%s", head, part);
    return spec;
}

/* The onset head: of all codes, a row each. */
static void onset_tensors(const rz_model *model, rz_tensor_spec spec[2])
{
    for (size_t i = 0; i < 2; i++) {
        spec[i] = head_tensor("", i == 0 ? "weight" : "bias", 2 - i,
                              i == 0 ? (size_t)model->config.hidden : 1);
        spec[i].shape[0] = rz_model_codes(model);
        spec[i].count = spec[i].shape[0] * spec[i].shape[1];
        (void)snprintf(spec[i].name, sizeof spec[i].name, "onset.%s", i == 0 ? "weight" : "bias");
    }
}

/* The family's tensors, then weight and bias of each head; offsets in steps of 16 floats. */
static rz_status make_table(rz_model *model, rz_error *error)
{
    size_t body = 0, heads = 2 * (model->n_heads + (model->config.onset ? 1 : 0));
    rz_status status = model->family->tensor_table(&model->config, NULL, 0, &body, error);
    if (status != RZ_OK)
        return status;
    model->tensors = calloc(body + heads, sizeof *model->tensors);
    if (model->tensors == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a table of %zu tensors", body + heads);
    status = model->family->tensor_table(&model->config, model->tensors, body, &body, error);
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; i < model->n_heads; i++) {
        rz_tensor_spec *spec = &model->tensors[body + 2 * i];
        spec[0] = head_tensor(model->head_names[i], "weight", 2, (size_t)model->config.hidden);
        spec[1] = head_tensor(model->head_names[i], "bias", 1, 1);
    }
    if (model->config.onset)
        onset_tensors(model, &model->tensors[body + 2 * model->n_heads]);
    model->n_tensors = body + heads;
    model->n_head_tensors = heads;
    size_t offset = 0;
    for (size_t i = 0; i < model->n_tensors; i++) {
        model->tensors[i].offset = offset;
        if (i < body)
            model->n_counted += model->tensors[i].count;
        if (!rz_size_add(offset, (model->tensors[i].count + 15) / 16 * 16, &offset))
            return rz_fail(error, RZ_E_INVALID, "the model has too many parameters");
    }
    model->n_parameters = offset;
    return RZ_OK;
}

typedef struct init_work {
    rz_model *model;
    const rz_tensor_spec *tensor;
    uint64_t seed, stream;
} init_work;

/* A chunk has its own stream, named by tensor and chunk: the same numbers whatever other tensors
 * there are, and on any number of threads. */
static void init_chunk(void *context, size_t task, unsigned worker)
{
    (void)worker;
    const init_work *work = context;
    size_t first = task * INIT_CHUNK, last = first + INIT_CHUNK;
    float *out = work->model->parameters + work->tensor->offset;
    rz_rng rng;
    rz_rng_init(&rng, work->seed, work->stream + task);
    for (size_t i = first; i < last && i < work->tensor->count; i++)
        out[i] = (float)(rz_rng_normal(&rng) * (double)work->tensor->init_deviation);
}

static void init_tensor(rz_model *model, const rz_tensor_spec *tensor, uint64_t seed)
{
    float *out = model->parameters + tensor->offset;
    if (tensor->init == RZ_INIT_NORMAL) {
        init_work work = {.model = model,
                          .tensor = tensor,
                          .seed = seed,
                          .stream = rz_hash64(tensor->name, strlen(tensor->name), 0)};
        rz_pool_run(model->pool, (tensor->count + INIT_CHUNK - 1) / INIT_CHUNK, init_chunk, &work);
        return;
    }
    for (size_t i = 0; i < tensor->count; i++)
        out[i] = tensor->init == RZ_INIT_ONE ? 1.0f : 0.0f;
}

rz_status rz_model_blank(const rz_config *config, const rz_vocabulary *vocabulary,
                         const char *const *head_names, size_t n_heads, rz_pool *pool,
                         rz_model **out, rz_error *error)
{
    const rz_family *family = rz_family_find(config->family);
    if (family == NULL)
        return rz_fail(error, RZ_E_INVALID, "there is no model family \"%s\"", config->family);
    rz_model *model = calloc(1, sizeof *model);
    if (model == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a model");
    model->family = family;
    model->config = *config;
    model->config.n_diagnoses = (int32_t)vocabulary->n_diagnoses;
    model->config.n_medications = (int32_t)vocabulary->n_medications;
    model->pool = pool;
    model->parameters_version = 1;
    rz_status status = rz_vocabulary_copy(vocabulary, &model->vocabulary, error);
    if (status == RZ_OK)
        status = copy_head_names(model, head_names, n_heads, error);
    if (status == RZ_OK)
        status = make_table(model, error);
    size_t bytes = 0;
    if (status == RZ_OK && rz_size_mul(model->n_parameters, sizeof(float), &bytes))
        model->parameters = rz_memory_block(bytes);
    if (status == RZ_OK && model->parameters == NULL)
        status =
            rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu parameters", model->n_parameters);
    if (status != RZ_OK) {
        rz_model_free(model);
        return status;
    }
    for (size_t i = 0; i < model->n_tensors; i++) {
        size_t end = model->tensors[i].offset + model->tensors[i].count;
        memset(model->parameters + end, 0, ((end + 15) / 16 * 16 - end) * sizeof(float));
    }
    *out = model;
    return RZ_OK;
}

rz_status rz_model_new(const rz_config *config, const rz_vocabulary *vocabulary,
                       const char *const *head_names, size_t n_heads, uint64_t seed, rz_pool *pool,
                       rz_model **out, rz_error *error)
{
    rz_model *model = NULL;
    rz_status status = rz_model_blank(config, vocabulary, head_names, n_heads, pool, &model, error);
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; i < model->n_tensors; i++)
        init_tensor(model, &model->tensors[i], seed);
    *out = model;
    return RZ_OK;
}

rz_status rz_model_with_heads(const rz_model *model, const char *const *head_names, size_t n_heads,
                              bool onset, uint64_t seed, rz_model **out, rz_error *error)
{
    rz_model *copy = NULL;
    rz_config config = model->config;
    config.onset = onset;
    rz_status status = rz_model_new(&config, model->vocabulary, head_names, n_heads, seed,
                                    model->pool, &copy, error);
    if (status != RZ_OK)
        return status;
    /* Heads come last, so everything before them lies alike in both blocks. */
    for (size_t i = 0; i + model->n_head_tensors < model->n_tensors; i++)
        memcpy(copy->parameters + copy->tensors[i].offset,
               model->parameters + model->tensors[i].offset,
               model->tensors[i].count * sizeof(float));
    *out = copy;
    return RZ_OK;
}

void rz_model_free(rz_model *model)
{
    if (model == NULL)
        return;
    rz_vocabulary_free(model->vocabulary);
    free(model->tensors);
    free(model->parameters);
    free(model);
}

const rz_tensor_spec *rz_model_tensor(const rz_model *model, const char *name)
{
    for (size_t i = 0; i < model->n_tensors; i++)
        if (strcmp(model->tensors[i].name, name) == 0)
            return &model->tensors[i];
    return NULL;
}

/* Enlarges one buffer to `count` elements of `size` bytes; the old one stays when memory ends. */
static bool enlarge(void *slot, size_t count, size_t size)
{
    void *old, *grown;
    size_t bytes;
    memcpy(&old, slot, sizeof old);
    if (!rz_size_mul(count, size, &bytes) || (grown = realloc(old, bytes)) == NULL)
        return false;
    memcpy(slot, &grown, sizeof grown);
    return true;
}

/* At least `wanted`, and half as much again as there is, so that growth is rare. */
static size_t roomy(size_t capacity, size_t wanted)
{
    size_t more = capacity + capacity / 2 + 16;
    return wanted > more ? wanted : more;
}

rz_status rz_batch_reserve(rz_batch *batch, size_t n_seqs, size_t n_tokens, rz_error *error)
{
    if (n_seqs > SEQS_MAX || n_tokens > TOKENS_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE,
                       "a batch of %zu timelines and %zu tokens; at most %d and %d are possible",
                       n_seqs, n_tokens, SEQS_MAX, TOKENS_MAX);
    if (batch->offsets == NULL || n_seqs > batch->seqs_capacity) {
        size_t n = roomy(batch->seqs_capacity, n_seqs);
        if (!enlarge(&batch->offsets, n + 1, sizeof *batch->offsets) ||
            !enlarge(&batch->unmapped, n, sizeof *batch->unmapped) ||
            !enlarge(&batch->left_out, n, sizeof *batch->left_out))
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a batch of %zu timelines", n);
        batch->seqs_capacity = n;
    }
    if (batch->tokens == NULL || n_tokens > batch->tokens_capacity) {
        size_t n = roomy(batch->tokens_capacity, n_tokens);
        if (!enlarge(&batch->tokens, n, sizeof *batch->tokens) ||
            !enlarge(&batch->age_days, n, sizeof *batch->age_days) ||
            !enlarge(&batch->age_hidden, n, sizeof *batch->age_hidden) ||
            !enlarge(&batch->days_before, n, sizeof *batch->days_before))
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a batch of %zu tokens", n);
        batch->tokens_capacity = n;
    }
    return RZ_OK;
}

void rz_batch_done(rz_batch *batch)
{
    free(batch->offsets);
    free(batch->tokens);
    free(batch->age_days);
    free(batch->age_hidden);
    free(batch->days_before);
    free(batch->unmapped);
    free(batch->left_out);
    *batch = (rz_batch){0};
}

rz_status rz_targets_reserve(rz_targets *targets, size_t n_tokens, rz_error *error)
{
    if (n_tokens <= targets->capacity)
        return RZ_OK;
    size_t n = roomy(targets->capacity, n_tokens);
    if (!enlarge(&targets->diagnosis_positions, n, sizeof(uint32_t)) ||
        !enlarge(&targets->medication_positions, n, sizeof(uint32_t)) ||
        !enlarge(&targets->age_positions, n, sizeof(uint32_t)) ||
        !enlarge(&targets->diagnosis_labels, n, sizeof(int32_t)) ||
        !enlarge(&targets->medication_labels, n, sizeof(int32_t)) ||
        !enlarge(&targets->age_values, n, sizeof(float)))
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu targets", n);
    targets->capacity = n;
    return RZ_OK;
}

void rz_targets_done(rz_targets *targets)
{
    free(targets->diagnosis_positions);
    free(targets->medication_positions);
    free(targets->age_positions);
    free(targets->diagnosis_labels);
    free(targets->medication_labels);
    free(targets->age_values);
    *targets = (rz_targets){0};
}
