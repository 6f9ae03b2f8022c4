/* The encoder's configuration, its table of tensors, and where they lie in the parameter block. */
#include "model/encoder/encoder.h"

#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int32_t hidden;
} sizes[] = {{"2.2m", 128}, {"4.7m", 256}, {"11m", 512}, {"32m", 1024}, {"101m", 2048}};

static const char *const norm_names[] = {"post", "pre"};
static const char *const pooling_names[] = {"cls", "mean"};
static const char *const masking_names[] = {"token", "code"};

static rz_config defaults(void)
{
    return (rz_config){.family = "encoder",
                       .size = "custom",
                       .layers = 4,
                       .heads = 16,
                       .feed_forward = 1024,
                       .age_hidden = 256,
                       .age_bins = 1200,
                       .context = 512,
                       .mask_share = 0.15f,
                       .dropout = 0.1f};
}

rz_status encoder_config_for_size(const char *size, rz_config *out, rz_error *error)
{
    for (size_t i = 0; i < RZ_COUNT(sizes); i++)
        if (strcmp(size, sizes[i].name) == 0) {
            rz_config config = defaults();
            (void)snprintf(config.size, sizeof config.size, "%s", size);
            config.hidden = sizes[i].hidden;
            *out = config;
            return RZ_OK;
        }
    return rz_fail(error, RZ_E_INVALID, "no size %.20s; sizes are 2.2m, 4.7m, 11m, 32m, 101m",
                   size);
}

/* Integer keys with their bounds. Widths are multiples of 16 so that rows are whole vectors. */
static const struct {
    const char *key;
    size_t offset;
    json_int_t min, max, multiple;
    bool optional; /* keeps its default when absent */
} integers[] = {
    {"n_diagnoses", offsetof(rz_config, n_diagnoses), 0, RZ_VOCABULARY_CODES_MAX, 1},
    {"n_medications", offsetof(rz_config, n_medications), 0, RZ_VOCABULARY_CODES_MAX, 1},
    {"hidden", offsetof(rz_config, hidden), 16, 8192, 16},
    {"layers", offsetof(rz_config, layers), 1, RZ_ENCODER_LAYERS_MAX, 1},
    {"heads", offsetof(rz_config, heads), 1, 256, 1},
    {"feed_forward", offsetof(rz_config, feed_forward), 16, 65536, 16},
    {"age_hidden", offsetof(rz_config, age_hidden), 16, 8192, 16},
    {"age_bins", offsetof(rz_config, age_bins), 1, 10000, 1},
    {"context", offsetof(rz_config, context), 3, 8192, 1},
    {"repeat_days", offsetof(rz_config, repeat_days), 0, 36525, 1, true},
};

static int32_t *field(rz_config *config, size_t offset)
{
    return (int32_t *)(void *)((char *)config + offset);
}

static rz_status read_choice(const json_t *json, const char *key, const char *const *names,
                             unsigned *out, rz_error *error)
{
    const char *text = json_string_value(json_object_get(json, key));
    for (unsigned i = 0; i < 2; i++)
        if (text != NULL && strcmp(text, names[i]) == 0) {
            *out = i;
            return RZ_OK;
        }
    return rz_fail(error, RZ_E_INVALID, "model config: %s is \"%.20s\", must be %s or %s", key,
                   text == NULL ? "" : text, names[0], names[1]);
}

/* Missing = false. */
static rz_status read_flag(const json_t *json, const char *key, bool *out, rz_error *error)
{
    const json_t *flag = json_object_get(json, key);
    if (flag != NULL && !json_is_boolean(flag))
        return rz_fail(error, RZ_E_INVALID, "model config: %s must be true or false", key);
    *out = json_is_true(flag);
    return RZ_OK;
}

static rz_status check_shape(const rz_config *config, rz_error *error)
{
    if (config->hidden % config->heads != 0)
        return rz_fail(error, RZ_E_INVALID, "model config: hidden %d is no multiple of heads %d",
                       config->hidden, config->heads);
    if (!(config->dropout >= 0.0f && config->dropout <= 0.9f))
        return rz_fail(error, RZ_E_INVALID, "model config: dropout %g is outside 0 … 0.9",
                       (double)config->dropout);
    if (!(config->mask_share >= 0.0f && config->mask_share <= 0.9f))
        return rz_fail(error, RZ_E_INVALID, "model config: mask_share %g is outside 0 … 0.9",
                       (double)config->mask_share);
    return RZ_OK;
}

rz_status encoder_config_parse(const json_t *json, rz_config *out, rz_error *error)
{
    rz_config config = defaults();
    for (size_t i = 0; i < RZ_COUNT(integers); i++) {
        const json_t *value = json_object_get(json, integers[i].key);
        json_int_t number = json_integer_value(value);
        if (value == NULL && integers[i].optional)
            continue;
        if (!json_is_integer(value) || number < integers[i].min || number > integers[i].max ||
            number % integers[i].multiple != 0)
            return rz_fail(
                error, RZ_E_INVALID,
                "model config: %s must be an integer from %lld to %lld, in steps of %lld",
                integers[i].key, (long long)integers[i].min, (long long)integers[i].max,
                (long long)integers[i].multiple);
        *field(&config, integers[i].offset) = (int32_t)number;
    }
    unsigned norm = 0, pooling = 0, masking = 0;
    rz_status status = read_choice(json, "norm", norm_names, &norm, error);
    if (status == RZ_OK)
        status = read_choice(json, "pooling", pooling_names, &pooling, error);
    if (status == RZ_OK)
        status = read_choice(json, "masking", masking_names, &masking, error);
    if (status != RZ_OK)
        return status;
    const json_t *dropout = json_object_get(json, "dropout");
    const json_t *mask_share = json_object_get(json, "mask_share"); /* keeps its default */
    const char *size = json_string_value(json_object_get(json, "size"));
    status = read_flag(json, "recency", &config.recency, error);
    if (status == RZ_OK)
        status = read_flag(json, "onset", &config.onset, error);
    if (status != RZ_OK)
        return status;
    if (!json_is_number(dropout))
        return rz_fail(error, RZ_E_INVALID, "model config: dropout must be a number");
    if (mask_share != NULL && !json_is_number(mask_share))
        return rz_fail(error, RZ_E_INVALID, "model config: mask_share must be a number");
    if (size == NULL || strlen(size) >= sizeof config.size)
        return rz_fail(error, RZ_E_INVALID, "model config: size must be a short text");
    (void)snprintf(config.size, sizeof config.size, "%s", size);
    config.norm = (rz_norm)norm;
    config.pooling = (rz_pooling)pooling;
    config.masking = (rz_masking)masking;
    config.dropout = (float)json_number_value(dropout);
    if (mask_share != NULL)
        config.mask_share = (float)json_number_value(mask_share);
    status = check_shape(&config, error);
    if (status == RZ_OK)
        *out = config;
    return status;
}

/* The float 0.1f would print as 0.10000000149. */
static double six_digits(float share)
{
    return (double)(int64_t)((double)share * 1e6 + 0.5) / 1e6;
}

json_t *encoder_config_write(const rz_config *config)
{
    rz_config copy = *config;
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s}", "family", config->family, "size", config->size,
                  "norm", norm_names[config->norm], "pooling", pooling_names[config->pooling],
                  "masking", masking_names[config->masking]);
    if (json == NULL)
        return NULL;
    int failed = 0;
    for (size_t i = 0; i < RZ_COUNT(integers); i++)
        failed |= json_object_set_new(json, integers[i].key,
                                      json_integer(*field(&copy, integers[i].offset)));
    failed |= json_object_set_new(json, "mask_share", json_real(six_digits(config->mask_share)));
    failed |= json_object_set_new(json, "dropout", json_real(six_digits(config->dropout)));
    if (config->recency)
        failed |= json_object_set_new(json, "recency", json_true());
    if (config->onset)
        failed |= json_object_set_new(json, "onset", json_true());
    if (failed != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

typedef struct table_writer {
    rz_tensor_spec *out; /* NULL = count only */
    size_t cap, n;
} table_writer;

/* How weights start. Within the layers every product keeps the size of its input: with a fixed 0.02
 * a narrow encoder's attention would hardly be heard beside the residual path, and the first
 * thousand steps would learn nothing but age. The age vector starts smaller than the code's, which
 * it is added to, so that tokens of one patient differ. Output layers start near zero. */
static const double code_deviation = 0.3, age_input_deviation = 0.03, age_output_deviation = 0.02,
                    recency_deviation = 0.02, output_deviation = 0.02;

/* How fast the age's weights learn beside all others. An age of 60 years adds up 720 columns of
 * age.input: AdamW moves each by the learning rate, all of them in one direction, and with the rate
 * of the rest a single step would turn the age vector into another one. The same holds, less, for
 * age.output, whose inputs are the same features for every token. Where ages jump, nothing else is
 * learnt: all tokens of a patient share them. */
static const double age_input_rate = 1.0 / 256, age_output_rate = 1.0 / 32;

static void put(table_writer *w, const char *prefix, const char *name, double deviation,
                size_t rank, size_t rows, size_t columns)
{
    if (w->out != NULL && w->n < w->cap) {
        rz_tensor_spec spec = {.rank = rank,
                               .shape = {rows, rank == 2 ? columns : 1},
                               .count = rows * (rank == 2 ? columns : 1),
                               .init = deviation > 0.0    ? RZ_INIT_NORMAL
                                       : deviation == 0.0 ? RZ_INIT_ZERO
                                                          : RZ_INIT_ONE,
                               .init_deviation = (float)deviation,
                               .rate = 1.0f,
                               .decay = rank == 2};
        (void)snprintf(spec.name, sizeof spec.name, "%s%s", prefix, name);
        w->out[w->n] = spec;
    }
    w->n++;
}

enum { ZEROS = 0, ONES = -1 }; /* in place of a deviation */

static void put_linear(table_writer *w, const char *prefix, double deviation, size_t out, size_t in)
{
    put(w, prefix, ".weight", deviation, 2, out, in);
    put(w, prefix, ".bias", ZEROS, 1, out, 1);
}

/* Of the weight of the linear layer just put. */
static void set_rate(table_writer *w, double rate)
{
    if (w->out != NULL && w->n <= w->cap)
        w->out[w->n - 2].rate = (float)rate;
}

static void put_norm(table_writer *w, const char *prefix, size_t n)
{
    put(w, prefix, ".weight", ONES, 1, n, 1);
    put(w, prefix, ".bias", ZEROS, 1, n, 1);
}

static void put_layer(table_writer *w, const rz_config *c, int32_t layer)
{
    size_t h = (size_t)c->hidden, f = (size_t)c->feed_forward;
    static const char *const parts[] = {"query", "key", "value"};
    char prefix[48];
    /* The three weights, then the three biases: each triple is one matrix for the products. */
    for (int i = 0; i < 3; i++) {
        (void)snprintf(prefix, sizeof prefix, "layers.%d.attention.%s", layer, parts[i]);
        put(w, prefix, ".weight", 1.0 / sqrt((double)h), 2, h, h);
    }
    for (int i = 0; i < 3; i++) {
        (void)snprintf(prefix, sizeof prefix, "layers.%d.attention.%s", layer, parts[i]);
        put(w, prefix, ".bias", ZEROS, 1, h, 1);
    }
    (void)snprintf(prefix, sizeof prefix, "layers.%d.attention.output", layer);
    put_linear(w, prefix, 1.0 / sqrt((double)h), h, h);
    (void)snprintf(prefix, sizeof prefix, "layers.%d.attention.norm", layer);
    put_norm(w, prefix, h);
    (void)snprintf(prefix, sizeof prefix, "layers.%d.feed_forward.input", layer);
    put_linear(w, prefix, 1.0 / sqrt((double)h), f, h);
    (void)snprintf(prefix, sizeof prefix, "layers.%d.feed_forward.output", layer);
    put_linear(w, prefix, 1.0 / sqrt((double)f), h, f);
    (void)snprintf(prefix, sizeof prefix, "layers.%d.feed_forward.norm", layer);
    put_norm(w, prefix, h);
}

rz_status encoder_tensor_table(const rz_config *c, rz_tensor_spec *out, size_t cap, size_t *n,
                               rz_error *error)
{
    rz_status status = check_shape(c, error);
    if (status != RZ_OK)
        return status;
    table_writer w = {.out = out, .cap = cap};
    size_t h = (size_t)c->hidden, a = (size_t)c->age_hidden;
    size_t codes[] = {(size_t)c->n_diagnoses, (size_t)c->n_medications};
    put(&w, "embedding.code", ".weight", code_deviation, 2, codes[0] + codes[1] + RZ_TOKEN_SPECIALS,
        h);
    put_norm(&w, "embedding.norm", h);
    put_linear(&w, "age.input", age_input_deviation, a, (size_t)c->age_bins);
    set_rate(&w, age_input_rate);
    put_linear(&w, "age.output", age_output_deviation, h, a);
    set_rate(&w, age_output_rate);
    if (c->recency)
        put(&w, "recency", ".weight", recency_deviation, 2, RZ_ENCODER_RECENCY_KNOTS, h);
    for (int32_t layer = 0; layer < c->layers; layer++)
        put_layer(&w, c, layer);
    if (c->norm == RZ_NORM_PRE)
        put_norm(&w, "final.norm", h);
    static const char *const kinds[] = {"diagnoses", "medications"};
    for (int i = 0; i < 2; i++) {
        char prefix[48];
        if (codes[i] == 0)
            continue;
        (void)snprintf(prefix, sizeof prefix, "pretrain.%s.transform", kinds[i]);
        put_linear(&w, prefix, 1.0 / sqrt((double)h), h, h);
        (void)snprintf(prefix, sizeof prefix, "pretrain.%s.norm", kinds[i]);
        put_norm(&w, prefix, h);
        (void)snprintf(prefix, sizeof prefix, "pretrain.%s.decoder", kinds[i]);
        put_linear(&w, prefix, output_deviation, codes[i], h);
    }
    put_linear(&w, "pretrain.age", output_deviation, 1, h);
    if (out != NULL && w.n > cap)
        return rz_fail(error, RZ_E_INTERNAL, "%zu tensors, room for %zu", w.n, cap);
    *n = w.n;
    return RZ_OK;
}

typedef struct finder {
    const rz_model *model;
    rz_error *error;
    rz_status status;
} finder;

static size_t find(finder *f, const char *prefix, const char *name)
{
    char full[128];
    (void)snprintf(full, sizeof full, "%s%s", prefix, name);
    const rz_tensor_spec *spec = rz_model_tensor(f->model, full);
    if (spec != NULL)
        return spec->offset;
    if (f->status == RZ_OK)
        f->status = rz_fail(f->error, RZ_E_INTERNAL, "the model has no tensor %s", full);
    return 0;
}

static void find_linear(finder *f, const char *prefix, size_t *weight, size_t *bias)
{
    *weight = find(f, prefix, ".weight");
    *bias = find(f, prefix, ".bias");
}

static void find_norm(finder *f, const char *prefix, encoder_norm_place *out)
{
    find_linear(f, prefix, &out->gain, &out->bias);
}

static void find_layer(finder *f, int32_t layer, encoder_layer_place *out)
{
    char prefix[64];
    (void)snprintf(prefix, sizeof prefix, "layers.%d.attention.query", layer);
    find_linear(f, prefix, &out->qkv, &out->qkv_bias);
    (void)snprintf(prefix, sizeof prefix, "layers.%d.attention.output", layer);
    find_linear(f, prefix, &out->output, &out->output_bias);
    (void)snprintf(prefix, sizeof prefix, "layers.%d.attention.norm", layer);
    find_norm(f, prefix, &out->attention_norm);
    (void)snprintf(prefix, sizeof prefix, "layers.%d.feed_forward.input", layer);
    find_linear(f, prefix, &out->up, &out->up_bias);
    (void)snprintf(prefix, sizeof prefix, "layers.%d.feed_forward.output", layer);
    find_linear(f, prefix, &out->down, &out->down_bias);
    (void)snprintf(prefix, sizeof prefix, "layers.%d.feed_forward.norm", layer);
    find_norm(f, prefix, &out->feed_forward_norm);
}

static void find_code_head(finder *f, const char *kind, int32_t n_codes,
                           encoder_code_head_place *out)
{
    char prefix[64];
    out->n_codes = (size_t)n_codes;
    if (n_codes == 0)
        return;
    (void)snprintf(prefix, sizeof prefix, "pretrain.%s.transform", kind);
    find_linear(f, prefix, &out->transform, &out->transform_bias);
    (void)snprintf(prefix, sizeof prefix, "pretrain.%s.norm", kind);
    find_norm(f, prefix, &out->norm);
    (void)snprintf(prefix, sizeof prefix, "pretrain.%s.decoder", kind);
    find_linear(f, prefix, &out->decoder, &out->decoder_bias);
}

rz_status encoder_layout_find(const rz_model *model, encoder_layout *out, rz_error *error)
{
    const rz_config *c = &model->config;
    finder f = {.model = model, .error = error, .status = RZ_OK};
    encoder_layout layout = {0};
    layout.codes = find(&f, "embedding.code", ".weight");
    find_norm(&f, "embedding.norm", &layout.embedding_norm);
    find_linear(&f, "age.input", &layout.age_in, &layout.age_in_bias);
    find_linear(&f, "age.output", &layout.age_out, &layout.age_out_bias);
    if (c->recency)
        layout.recency = find(&f, "recency", ".weight");
    for (int32_t i = 0; i < c->layers; i++)
        find_layer(&f, i, &layout.layer[i]);
    if (c->norm == RZ_NORM_PRE)
        find_norm(&f, "final.norm", &layout.final_norm);
    find_code_head(&f, "diagnoses", c->n_diagnoses, &layout.diagnoses);
    find_code_head(&f, "medications", c->n_medications, &layout.medications);
    find_linear(&f, "pretrain.age", &layout.age_head, &layout.age_head_bias);
    for (size_t i = 0; i < model->n_heads; i++) {
        char prefix[64];
        (void)snprintf(prefix, sizeof prefix, "heads.%s", model->head_names[i]);
        find_linear(&f, prefix, &layout.head[i], &layout.head_bias[i]);
    }
    if (c->onset) {
        layout.n_onsets = rz_model_codes(model);
        find_linear(&f, "onset", &layout.onset, &layout.onset_bias);
    }
    if (f.status == RZ_OK)
        *out = layout;
    return f.status;
}
