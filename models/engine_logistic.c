/* The floor: a penalised logistic regression (ridge.h) on the columns that the trees get. One round
 * is the whole fit. */
#include "base/portable_math.h"
#include "base/size.h"
#include "engine.h"
#include "ridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct table {
    sparse_rows rows; /* its arrays are borrowed */
    const uint8_t *label;
    ridge_scale scale; /* of these rows; only that of the rows learnt from is used */
} table;

typedef struct fit {
    const table *train;
    double penalty;
    rz_pool *pool;
    double *beta;
} fit;

static rz_status probe(char version[ENGINE_VERSION], rz_error *error)
{
    (void)error;
    (void)snprintf(version, ENGINE_VERSION, "%s", REZEPT_VERSION);
    return RZ_OK;
}

static void table_free(void *object)
{
    table *t = object;
    if (t != NULL)
        ridge_scale_done(&t->scale);
    free(t);
}

static rz_status table_new(const sparse_rows *rows, const uint8_t *label,
                           const engine_options *options, void **out, rz_error *error)
{
    (void)options;
    table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows", rows->n);
    t->rows = *rows;
    t->label = label;
    rz_status status = ridge_scale_of(rows, &t->scale, error);
    if (status == RZ_OK)
        *out = t;
    else
        table_free(t);
    return status;
}

static void fit_free(void *object)
{
    fit *f = object;
    if (f != NULL)
        free(f->beta);
    free(f);
}

static rz_status fit_new(void *train, void *watched, const engine_setting *setting,
                         const engine_options *options, void **out, rz_error *error)
{
    (void)watched;
    const table *t = train;
    fit *f = calloc(1, sizeof *f);
    double *beta = calloc(t->rows.n_columns + 1, sizeof *beta);
    if (f == NULL || beta == NULL) {
        free(f);
        free(beta);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to fit");
    }
    *f = (fit){.train = t, .penalty = setting->penalty, .pool = options->pool, .beta = beta};
    f->beta[0] = rz_logit(options->prior);
    *out = f;
    return RZ_OK;
}

static rz_status grow(void *object, rz_error *error)
{
    fit *f = object;
    return ridge_fit(&f->train->rows, f->train->label, &f->train->scale, f->penalty, f->pool,
                     f->beta, error);
}

static rz_status logits(void *object, void *rows, double *out, rz_error *error)
{
    (void)error;
    const fit *f = object;
    const table *t = rows;
    ridge_logits(&t->rows, &f->train->scale, f->beta, out);
    return RZ_OK;
}

/* "column,mean,scale,coefficient", the intercept first, for columns that are not constant. */
static rz_status save(void *object, rz_buffer *out, rz_error *error)
{
    const fit *f = object;
    const ridge_scale *s = &f->train->scale;
    rz_status status = rz_buffer_addf(out, "column,mean,scale,coefficient\n,,,%.17g\n", f->beta[0]);
    for (size_t j = 0; status == RZ_OK && j < f->train->rows.n_columns; j++)
        if (s->scale[j] > 0.0)
            status = rz_buffer_addf(out, "%zu,%.17g,%.17g,%.17g\n", j, s->mean[j], s->scale[j],
                                    f->beta[j + 1]);
    return status == RZ_OK ? RZ_OK : rz_fail(error, status, "the coefficients are too many");
}

static const engine_setting full[] = {{.penalty = 10.0},  {.penalty = 30.0},   {.penalty = 100.0},
                                      {.penalty = 300.0}, {.penalty = 1000.0}, {.penalty = 3000.0},
                                      {.penalty = 1e4},   {.penalty = 3e4}};
static const engine_setting small[] = {{.penalty = 10.0}, {.penalty = 100.0}, {.penalty = 1000.0}};

const engine engine_logistic = {.name = "logistic",
                                .model_file = "coefficients.csv",
                                .rounds_max = 1,
                                .patience = 1,
                                .full = full,
                                .small = small,
                                .n_full = RZ_COUNT(full),
                                .n_small = RZ_COUNT(small),
                                .probe = probe,
                                .table_new = table_new,
                                .table_free = table_free,
                                .fit_new = fit_new,
                                .fit_free = fit_free,
                                .grow = grow,
                                .logits = logits,
                                .save = save};
