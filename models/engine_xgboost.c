/* Boosted trees by XGBoost's C API, grown leaf by leaf on histograms. The only file that meets
 * XGBoost. */
#include "base/size.h"
#include "engine_grid.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xgboost/c_api.h>

typedef struct table {
    DMatrixHandle matrix;
    size_t n;
} table;

typedef struct fit {
    BoosterHandle booster;
    DMatrixHandle train;
    int rounds;
} fit;

static rz_status failed(const char *what, rz_error *error)
{
    return rz_fail(error, RZ_E_INTERNAL, "XGBoost cannot %s: %.400s", what, XGBGetLastError());
}

static rz_status probe(char version[ENGINE_VERSION], rz_error *error)
{
    int major = 0, minor = 0, patch = 0;
    XGBoostVersion(&major, &minor, &patch);
    (void)snprintf(version, ENGINE_VERSION, "%d.%d.%d", major, minor, patch);
    /* The library reports to its caller, not to the terminal. */
    return XGBSetGlobalConfig("{\"verbosity\": 0}") == 0 ? RZ_OK : failed("be set up", error);
}

static void table_free(void *object)
{
    table *t = object;
    if (t != NULL && t->matrix != NULL)
        (void)XGDMatrixFree(t->matrix);
    free(t);
}

/* Memory as numpy's __array_interface__ tells of it, which is how this API takes arrays. */
static void array_text(const void *data, const char *type, size_t n, char out[128])
{
    (void)snprintf(out, 128,
                   "{\"data\": [%" PRIuPTR ", true], \"typestr\": \"%s\", \"shape\": [%zu], "
                   "\"version\": 3}",
                   (uintptr_t)data, type, n);
}

static rz_status table_new(const sparse_rows *rows, const uint8_t *label,
                           const engine_options *options, void **out, rz_error *error)
{
    _Static_assert(sizeof(size_t) == 8, "row starts are handed over as 64-bit numbers");
    char start[128], column[128], value[128], config[64];
    table *t = calloc(1, sizeof *t);
    float *wanted = malloc((rows->n + 1) * sizeof *wanted);
    rz_status status = RZ_OK;
    if (t == NULL || wanted == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows", rows->n);
    for (size_t i = 0; status == RZ_OK && i < rows->n; i++)
        wanted[i] = label[i] != 0 ? 1.0f : 0.0f;
    array_text(rows->start, "<u8", rows->n + 1, start);
    array_text(rows->column, "<u4", rows->start[rows->n], column);
    array_text(rows->value, "<f4", rows->start[rows->n], value);
    (void)snprintf(config, sizeof config, "{\"missing\": NaN, \"nthread\": %u}", options->threads);
    if (status == RZ_OK &&
        XGDMatrixCreateFromCSR(start, column, value, rows->n_columns, config, &t->matrix) != 0)
        status = failed("take the rows", error);
    if (status == RZ_OK && XGDMatrixSetFloatInfo(t->matrix, "label", wanted, rows->n) != 0)
        status = failed("take the labels", error);
    free(wanted);
    if (status == RZ_OK) {
        t->n = rows->n;
        *out = t;
    } else {
        table_free(t);
    }
    return status;
}

static void fit_free(void *object)
{
    fit *f = object;
    if (f != NULL && f->booster != NULL)
        (void)XGBoosterFree(f->booster);
    free(f);
}

static rz_status set_up(BoosterHandle booster, const engine_setting *s, const engine_options *o,
                        rz_error *error)
{
    char rate[32], depth[16], leaves[16], seed[24], threads[16], prior[32];
    (void)snprintf(rate, sizeof rate, "%.17g", s->rate);
    (void)snprintf(depth, sizeof depth, "%d", s->depth);
    (void)snprintf(leaves, sizeof leaves, "%d", s->leaves);
    (void)snprintf(seed, sizeof seed, "%" PRIu64, o->seed & INT32_MAX);
    (void)snprintf(threads, sizeof threads, "%u", o->threads);
    (void)snprintf(prior, sizeof prior, "%.17g", o->prior);
    const struct {
        const char *name, *value;
    } settings[] = {{"objective", "binary:logistic"},
                    {"tree_method", "hist"},
                    {"grow_policy", "lossguide"},
                    {"eta", rate},
                    {"max_depth", depth},
                    {"max_leaves", leaves},
                    {"base_score", prior},
                    {"seed", seed},
                    {"nthread", threads},
                    {"disable_default_eval_metric", "1"}};
    for (size_t i = 0; i < RZ_COUNT(settings); i++)
        if (XGBoosterSetParam(booster, settings[i].name, settings[i].value) != 0)
            return failed("take a setting", error);
    return RZ_OK;
}

static rz_status fit_new(void *train, void *watched, const engine_setting *setting,
                         const engine_options *options, void **out, rz_error *error)
{
    const table *t = train, *w = watched;
    fit *f = calloc(1, sizeof *f);
    if (f == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to fit");
    f->train = t->matrix;
    /* It remembers the logits of the tables that it is told of here, and adds each new tree's. */
    const DMatrixHandle known[2] = {t->matrix, w != NULL ? w->matrix : NULL};
    rz_status status = RZ_OK;
    if (XGBoosterCreate(known, w != NULL ? 2 : 1, &f->booster) != 0)
        status = failed("begin", error);
    if (status == RZ_OK)
        status = set_up(f->booster, setting, options, error);
    if (status == RZ_OK)
        *out = f;
    else
        fit_free(f);
    return status;
}

static rz_status grow(void *object, rz_error *error)
{
    fit *f = object;
    if (XGBoosterUpdateOneIter(f->booster, f->rounds, f->train) != 0)
        return failed("grow a tree", error);
    f->rounds++;
    return RZ_OK;
}

static rz_status logits(void *object, void *rows, double *out, rz_error *error)
{
    static const char config[] = "{\"type\": 1, \"training\": false, \"iteration_begin\": 0, "
                                 "\"iteration_end\": 0, \"strict_shape\": false}";
    const fit *f = object;
    const table *t = rows;
    const bst_ulong *shape = NULL;
    const float *found = NULL;
    bst_ulong n_dimensions = 0;
    if (XGBoosterPredictFromDMatrix(f->booster, t->matrix, config, &shape, &n_dimensions, &found) !=
        0)
        return failed("score rows", error);
    if (n_dimensions != 1 || shape[0] != t->n)
        return rz_fail(error, RZ_E_INTERNAL, "XGBoost gave scores of another shape than %zu rows",
                       t->n);
    for (size_t i = 0; i < t->n; i++)
        out[i] = (double)found[i];
    return RZ_OK;
}

static rz_status save(void *object, rz_buffer *out, rz_error *error)
{
    const fit *f = object;
    bst_ulong n = 0;
    const char *bytes = NULL;
    if (XGBoosterSaveModelToBuffer(f->booster, "{\"format\": \"json\"}", &n, &bytes) != 0)
        return failed("write the trees", error);
    rz_status status = rz_buffer_add(out, bytes, n);
    return status == RZ_OK ? RZ_OK : rz_fail(error, status, "the trees take %" PRIu64 " bytes", n);
}

const engine engine_xgboost = {.name = "xgboost",
                               .model_file = "trees.json",
                               .trees = true,
                               .rounds_max = TREE_ROUNDS_MAX,
                               .patience = TREE_PATIENCE,
                               .full = tree_grid_full,
                               .small = tree_grid_small,
                               .n_full = TREE_GRID_FULL,
                               .n_small = TREE_GRID_SMALL,
                               .probe = probe,
                               .table_new = table_new,
                               .table_free = table_free,
                               .fit_new = fit_new,
                               .fit_free = fit_free,
                               .grow = grow,
                               .logits = logits,
                               .save = save};
