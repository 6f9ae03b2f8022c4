/* The weights as products read them. Packing costs as much as reading them once, and is done again
 * only after the parameters have changed. */
#include "model/encoder/encoder.h"

#include "base/memory.h"

#include <stdlib.h>

static encoder_weight weight_of(const rz_scratch *s, const float *source, size_t out, size_t in)
{
    return (encoder_weight){.forward = rz_weight_forward(s->kernels, source, out, in),
                            .backward = rz_weight_backward(s->kernels, source, out, in)};
}

static void list_weights(rz_scratch *s, const rz_model *model)
{
    const float *w = model->parameters;
    size_t h = (size_t)model->config.hidden, f = (size_t)model->config.feed_forward, n = 0;
    for (size_t i = 0; i < (size_t)model->config.layers; i++) {
        const encoder_layer_place *place = &s->layout.layer[i];
        s->weight[n++] = weight_of(s, w + place->qkv, h, h);
        s->weight[n++] = weight_of(s, w + place->qkv + h * h, 2 * h, h);
        s->weight[n++] = weight_of(s, w + place->output, h, h);
        s->weight[n++] = weight_of(s, w + place->up, f, h);
        s->weight[n++] = weight_of(s, w + place->down, h, f);
    }
    s->weight[n++] = weight_of(s, w + s->layout.age_out, h, (size_t)model->config.age_hidden);
    s->weight[n++] = weight_of(s, w + s->layout.onset, s->layout.n_onsets, h);
    const encoder_code_head_place *heads[] = {&s->layout.diagnoses, &s->layout.medications};
    for (size_t i = 0; i < 2; i++) {
        s->weight[n++] = weight_of(s, w + heads[i]->transform, heads[i]->n_codes > 0 ? h : 0, h);
        s->weight[n++] = weight_of(s, w + heads[i]->decoder, heads[i]->n_codes, h);
    }
    s->n_weights = n;
}

/* Whether a weight is used, and packed. The decoders serve training alone; the BLAS reads float32
 * weights where they are. */
static bool is_packed(const rz_scratch *s, size_t i, bool backward, bool training)
{
    if (!training && (backward || i + 4 >= s->n_weights))
        return false;
    return s->path.packed || s->weight[i].forward.precision != RZ_FLOAT32;
}

/* Gives each weight its place in one block. */
static rz_status place_panels(rz_scratch *s, bool training, rz_error *error)
{
    size_t layers = s->n_weights - RZ_ENCODER_OTHER_WEIGHTS, total = 0;
    for (size_t i = 0; i < layers; i++)
        s->weight[i].forward.precision = s->weight[i].backward.precision =
            training ? s->training_precision : s->precision;
    for (size_t i = 0; i < 2 * s->n_weights; i++) {
        const encoder_weight *w = &s->weight[i / 2];
        if (is_packed(s, i / 2, i % 2 != 0, training))
            total += rz_weight_bytes(i % 2 == 0 ? &w->forward : &w->backward);
    }
    free(s->packed);
    s->packed = rz_memory_block(total + 64);
    if (s->packed == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu bytes of packed weights", total);
    char *next = s->packed;
    for (size_t i = 0; i < 2 * s->n_weights; i++) {
        rz_weight *w = i % 2 == 0 ? &s->weight[i / 2].forward : &s->weight[i / 2].backward;
        w->panels = NULL;
        if (!is_packed(s, i / 2, i % 2 != 0, training))
            continue;
        w->panels = next;
        next += rz_weight_bytes(w);
    }
    s->packed_training = training;
    return RZ_OK;
}

/* A task: one weight, one way. */
static void pack(void *context, size_t task, unsigned worker)
{
    (void)worker;
    const rz_scratch *s = context;
    const encoder_weight *weight = &s->weight[task / 2];
    const rz_weight *w = task % 2 == 0 ? &weight->forward : &weight->backward;
    for (size_t i = 0; w->panels != NULL && i < rz_weight_panels(w); i++)
        rz_weight_pack(w, i);
}

/* A task: one panel. */
static void pack_panel(void *context, size_t task, unsigned worker)
{
    (void)worker;
    rz_weight_pack(context, task);
}

rz_status encoder_weights_prepare(rz_scratch *s, const rz_model *model, bool training,
                                  rz_error *error)
{
    rz_status status = RZ_OK;
    if (s->n_weights == 0)
        list_weights(s, model);
    /* What training has packed serves inference too, where it is in the same precision. */
    bool placed =
        s->packed != NULL && (s->packed_training == training ||
                              (s->packed_training && s->precision == s->training_precision));
    if (!placed) {
        s->weights_version = 0;
        status = place_panels(s, training, error);
    }
    if (status != RZ_OK)
        return status;
    if (s->weights_version != model->parameters_version)
        rz_pool_run(model->pool, 2 * s->n_weights, pack, s);
    if (s->age_version != model->parameters_version)
        encoder_age_prepare(s, model);
    s->weights_version = s->age_version = model->parameters_version;
    return RZ_OK;
}

size_t encoder_layer_panels(const rz_scratch *s)
{
    size_t bytes = 0;
    for (size_t i = 0; s->path.packed && i < RZ_ENCODER_LAYER_WEIGHTS; i++)
        bytes += rz_weight_bytes(&s->weight[i].backward);
    return bytes;
}

void encoder_layer_pack(rz_scratch *s, const rz_model *model, size_t layer, void *panels)
{
    encoder_weight *weights = &s->weight[layer * RZ_ENCODER_LAYER_WEIGHTS];
    char *next = panels;
    for (size_t i = 0; s->path.packed && i < RZ_ENCODER_LAYER_WEIGHTS; i++) {
        weights[i].backward.panels = next;
        next += rz_weight_bytes(&weights[i].backward);
        rz_pool_run(model->pool, rz_weight_panels(&weights[i].backward), pack_panel,
                    &weights[i].backward);
    }
}
