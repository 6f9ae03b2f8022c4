/* The update in pieces of at most 16,384 parameters, each wholly inside one tensor. */
#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 16384 };

rz_optimizer_options rz_optimizer_options_defaults(void)
{
    return (rz_optimizer_options){
        .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01, .clip = 1.0};
}

double rz_learning_rate_default(const rz_config *config)
{
    double narrower = 128.0 / (double)config->hidden;
    return (config->norm == RZ_NORM_PRE ? 1.5e-3 : 3e-4) *
           (narrower < 1.0 ? narrower : sqrt(narrower));
}

double rz_schedule(double learning_rate, double progress, double warmup)
{
    const double pi = 3.14159265358979323846, floor = 0.1;
    if (progress < warmup)
        return learning_rate * progress / warmup;
    if (progress >= 1.0 || warmup >= 1.0)
        return learning_rate * floor;
    double along = (progress - warmup) / (1.0 - warmup);
    return learning_rate * (floor + (1.0 - floor) * 0.5 * (1.0 + cos(pi * along)));
}

rz_status rz_optimizer_init(rz_optimizer *o, const rz_model *model, const float *rates,
                            const rz_optimizer_options *options, rz_error *error)
{
    size_t n_pieces = 0;
    for (size_t i = 0; i < model->n_tensors; i++)
        n_pieces += model->tensors[i].count / PIECE + 1;
    *o = (rz_optimizer){.options = *options, .n_parameters = model->n_parameters};
    o->moment1 = calloc(model->n_parameters + 1, sizeof *o->moment1);
    o->moment2 = calloc(model->n_parameters + 1, sizeof *o->moment2);
    o->pieces = calloc(n_pieces + 1, sizeof *o->pieces);
    o->partial = calloc(n_pieces + 1, sizeof *o->partial);
    if (o->moment1 == NULL || o->moment2 == NULL || o->pieces == NULL || o->partial == NULL) {
        rz_optimizer_done(o);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the optimizer of %zu parameters",
                       model->n_parameters);
    }
    for (size_t i = 0; i < model->n_tensors; i++) {
        const rz_tensor_spec *tensor = &model->tensors[i];
        float rate = rates == NULL ? 1.0f : rates[i];
        for (size_t at = 0; at < tensor->count && rate > 0.0f; at += PIECE) {
            size_t left = tensor->count - at;
            o->pieces[o->n_pieces++] = (rz_optimizer_piece){.offset = tensor->offset + at,
                                                            .count = left < PIECE ? left : PIECE,
                                                            .rate = rate,
                                                            .decay = tensor->decay};
        }
    }
    return RZ_OK;
}

void rz_optimizer_done(rz_optimizer *o)
{
    free(o->moment1);
    free(o->moment2);
    free(o->pieces);
    free(o->partial);
    *o = (rz_optimizer){0};
}

typedef struct update_work {
    rz_optimizer *optimizer;
    const float *grads;
    float *parameters;
    float scale, rate, decay, correction2; /* of the gradient; lr / (1 - b1^t); lr wd; … */
} update_work;

static void sum_squares(void *context, size_t task, unsigned worker)
{
    (void)worker;
    update_work *work = context;
    const rz_optimizer_piece *piece = &work->optimizer->pieces[task];
    const float *g = work->grads + piece->offset;
    double sum = 0.0;
    for (size_t i = 0; i < piece->count; i++)
        sum += (double)g[i] * (double)g[i];
    work->optimizer->partial[task] = sum;
}

/* m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g²
 * p = p (1 - lr wd) - lr / (1 - b1^t) · m / (sqrt(v) / sqrt(1 - b2^t) + eps) */
static void update_piece(void *context, size_t task, unsigned worker)
{
    (void)worker;
    update_work *work = context;
    const rz_optimizer *o = work->optimizer;
    const rz_optimizer_piece *piece = &o->pieces[task];
    const float *restrict g = work->grads + piece->offset;
    float *restrict p = work->parameters + piece->offset;
    float *restrict m = o->moment1 + piece->offset;
    float *restrict v = o->moment2 + piece->offset;
    const float b1 = (float)o->options.beta1, b2 = (float)o->options.beta2;
    const float rest1 = (float)(1.0 - o->options.beta1), rest2 = (float)(1.0 - o->options.beta2);
    const float epsilon = (float)o->options.epsilon, scale = work->scale;
    const float rate = piece->rate * work->rate, correction2 = work->correction2;
    const float keep = piece->decay ? 1.0f - piece->rate * work->decay : 1.0f;
    for (size_t i = 0; i < piece->count; i++) {
        float gradient = g[i] * scale;
        m[i] = b1 * m[i] + rest1 * gradient;
        v[i] = b2 * v[i] + rest2 * gradient * gradient;
        p[i] = p[i] * keep - rate * m[i] / (sqrtf(v[i]) * correction2 + epsilon);
    }
}

rz_status rz_optimizer_update(rz_optimizer *o, rz_model *model, const float *grads,
                              double learning_rate, double *grad_norm, rz_error *error)
{
    update_work work = {.optimizer = o, .grads = grads, .parameters = model->parameters};
    rz_pool_run(model->pool, o->n_pieces, sum_squares, &work);
    double sum = 0.0;
    for (size_t i = 0; i < o->n_pieces; i++)
        sum += o->partial[i];
    double norm = sqrt(sum);
    if (!isfinite(norm))
        return rz_fail(error, RZ_E_RANGE,
                       "the gradient of step %llu is not finite; use a lower --lr or --clip",
                       (unsigned long long)o->step + 1);
    o->step++;
    double clip = o->options.clip, t = (double)o->step;
    work.scale = clip > 0.0 && norm > clip ? (float)(clip / norm) : 1.0f;
    work.rate = (float)(learning_rate / (1.0 - pow(o->options.beta1, t)));
    work.decay = (float)(learning_rate * o->options.weight_decay);
    work.correction2 = (float)(1.0 / sqrt(1.0 - pow(o->options.beta2, t)));
    rz_pool_run(model->pool, o->n_pieces, update_piece, &work);
    model->parameters_version++;
    *grad_norm = norm;
    return RZ_OK;
}
