/* Boosted trees by LightGBM, whose shared library is loaded when it is installed: Debian has none,
 * so nothing may depend on it. The few functions used are declared here, as version 3.2 and every
 * later one has them. The only file that meets LightGBM. */
#include "base/size.h"
#include "engine_grid.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Source  LightGBM, include/LightGBM/c_api.h: C_API_DTYPE_* and C_API_PREDICT_RAW_SCORE. */
enum { FLOAT32 = 0, INT64 = 3, RAW_SCORE = 1, BY_GAIN = 1 };

typedef void *dataset_handle, *booster_handle;

static const char *const library_names[] = {"lib_lightgbm.so", "liblightgbm.so"};

/* Opened anew by each fit, so that there is no state of ours; it stays loaded, because its threads
 * may outlive the fit. */
typedef struct library {
    void *handle;
    const char *(*last_error)(void);
    int (*dataset_create)(const void *start, int start_type, const int32_t *column,
                          const void *value, int value_type, int64_t n_start, int64_t n_values,
                          int64_t n_columns, const char *parameters, dataset_handle reference,
                          dataset_handle *out);
    int (*dataset_set_field)(dataset_handle dataset, const char *name, const void *data, int n,
                             int type);
    int (*dataset_free)(dataset_handle dataset);
    int (*booster_create)(dataset_handle train, const char *parameters, booster_handle *out);
    int (*booster_free)(booster_handle booster);
    int (*booster_update)(booster_handle booster, int *finished);
    int (*booster_predict)(booster_handle booster, const void *start, int start_type,
                           const int32_t *column, const void *value, int value_type,
                           int64_t n_start, int64_t n_values, int64_t n_columns, int kind,
                           int first_round, int n_rounds, const char *parameters, int64_t *n_out,
                           double *out);
    int (*booster_save)(booster_handle booster, int first_round, int n_rounds, int importance,
                        int64_t capacity, int64_t *n_out, char *out);
} library;

static void library_close(library *l)
{
    if (l->handle != NULL)
        (void)dlclose(l->handle);
    *l = (library){0};
}

static rz_status library_open(library *l, rz_error *error)
{
    const struct {
        const char *name;
        void *place; /* of a pointer to a function, which has the size of any other: POSIX */
    } functions[] = {{"LGBM_GetLastError", &l->last_error},
                     {"LGBM_DatasetCreateFromCSR", &l->dataset_create},
                     {"LGBM_DatasetSetField", &l->dataset_set_field},
                     {"LGBM_DatasetFree", &l->dataset_free},
                     {"LGBM_BoosterCreate", &l->booster_create},
                     {"LGBM_BoosterFree", &l->booster_free},
                     {"LGBM_BoosterUpdateOneIter", &l->booster_update},
                     {"LGBM_BoosterPredictForCSR", &l->booster_predict},
                     {"LGBM_BoosterSaveModelToString", &l->booster_save}};
    *l = (library){0};
    for (size_t i = 0; l->handle == NULL && i < RZ_COUNT(library_names); i++)
        l->handle = dlopen(library_names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (l->handle == NULL)
        return rz_fail(error, RZ_E_UNSUPPORTED,
                       "LightGBM is not installed (%s): put its shared library where the loader "
                       "looks (LD_LIBRARY_PATH), or take --engine xgboost",
                       library_names[0]);
    for (size_t i = 0; i < RZ_COUNT(functions); i++) {
        void *found = dlsym(l->handle, functions[i].name);
        if (found == NULL) {
            library_close(l);
            return rz_fail(error, RZ_E_UNSUPPORTED,
                           "the installed LightGBM has no %s; version 3.2 or newer is needed",
                           functions[i].name);
        }
        memcpy(functions[i].place, &found, sizeof found);
    }
    return RZ_OK;
}

static rz_status failed(const library *l, const char *what, rz_error *error)
{
    return rz_fail(error, RZ_E_INTERNAL, "LightGBM cannot %s: %.400s", what, l->last_error());
}

/* Its C interface does not tell a version. */
static rz_status probe(char version[ENGINE_VERSION], rz_error *error)
{
    library l;
    rz_status status = library_open(&l, error);
    library_close(&l);
    (void)snprintf(version, ENGINE_VERSION, "(as installed)");
    return status;
}

/* Rows as LightGBM takes them. A table that is only scored needs no dataset. */
typedef struct table {
    sparse_rows rows; /* its arrays are borrowed */
    const uint8_t *label;
    int64_t *start;
    int32_t *column;
} table;

static void table_free(void *object)
{
    table *t = object;
    if (t == NULL)
        return;
    free(t->start);
    free(t->column);
    free(t);
}

static rz_status table_new(const sparse_rows *rows, const uint8_t *label,
                           const engine_options *options, void **out, rz_error *error)
{
    (void)options;
    size_t n_values = rows->start[rows->n];
    if (rows->n > INT_MAX || rows->n_columns > INT32_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "%zu rows, LightGBM takes %d", rows->n, INT_MAX);
    table *t = calloc(1, sizeof *t);
    if (t != NULL) {
        t->rows = *rows;
        t->label = label;
        t->start = malloc((rows->n + 1) * sizeof *t->start);
        t->column = malloc((n_values + 1) * sizeof *t->column);
    }
    if (t == NULL || t->start == NULL || t->column == NULL) {
        table_free(t);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows", rows->n);
    }
    for (size_t i = 0; i <= rows->n; i++)
        t->start[i] = (int64_t)rows->start[i];
    for (size_t i = 0; i < n_values; i++)
        t->column[i] = (int32_t)rows->column[i];
    *out = t;
    return RZ_OK;
}

typedef struct fit {
    library library;
    dataset_handle dataset;
    booster_handle booster;
    int rounds;
    bool finished;  /* no tree gains anything any more */
    void *watched;  /* the table whose logits are kept and added to … */
    double *logit;  /* … [its rows] */
    double *change; /* what the newest rounds add */
    int summed;     /* rounds that are in */
} fit;

static void fit_free(void *object)
{
    fit *f = object;
    if (f == NULL)
        return;
    if (f->library.handle != NULL && f->booster != NULL)
        (void)f->library.booster_free(f->booster);
    if (f->library.handle != NULL && f->dataset != NULL)
        (void)f->library.dataset_free(f->dataset);
    library_close(&f->library);
    free(f->logit);
    free(f->change);
    free(f);
}

static rz_status make_dataset(fit *f, const table *t, const char *settings, rz_error *error)
{
    const sparse_rows *rows = &t->rows;
    float *wanted = malloc((rows->n + 1) * sizeof *wanted);
    rz_status status = RZ_OK;
    if (wanted == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu labels", rows->n);
    for (size_t i = 0; i < rows->n; i++)
        wanted[i] = t->label[i] != 0 ? 1.0f : 0.0f;
    if (f->library.dataset_create(t->start, INT64, t->column, rows->value, FLOAT32,
                                  (int64_t)rows->n + 1, (int64_t)rows->start[rows->n],
                                  (int64_t)rows->n_columns, settings, NULL, &f->dataset) != 0)
        status = failed(&f->library, "take the rows", error);
    if (status == RZ_OK &&
        f->library.dataset_set_field(f->dataset, "label", wanted, (int)rows->n, FLOAT32) != 0)
        status = failed(&f->library, "take the labels", error);
    free(wanted);
    return status;
}

static rz_status fit_new(void *train, void *watched, const engine_setting *s,
                         const engine_options *o, void **out, rz_error *error)
{
    const table *w = watched;
    char settings[400];
    /* "boost_from_average", on by default, begins at the prior. */
    (void)snprintf(settings, sizeof settings,
                   "objective=binary learning_rate=%.17g max_depth=%d num_leaves=%d "
                   "deterministic=true force_row_wise=true seed=%" PRIu64 " num_threads=%u "
                   "verbosity=-1",
                   s->rate, s->depth == 0 ? -1 : s->depth, s->leaves, o->seed & INT32_MAX,
                   o->threads);
    fit *f = calloc(1, sizeof *f);
    if (f == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to fit");
    rz_status status = library_open(&f->library, error);
    if (status == RZ_OK && w != NULL) {
        f->watched = watched;
        f->logit = calloc(w->rows.n + 1, sizeof *f->logit);
        f->change = calloc(w->rows.n + 1, sizeof *f->change);
        if (f->logit == NULL || f->change == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu logits", w->rows.n);
    }
    if (status == RZ_OK)
        status = make_dataset(f, train, settings, error);
    if (status == RZ_OK && f->library.booster_create(f->dataset, settings, &f->booster) != 0)
        status = failed(&f->library, "begin", error);
    if (status == RZ_OK)
        *out = f;
    else
        fit_free(f);
    return status;
}

static rz_status grow(void *object, rz_error *error)
{
    fit *f = object;
    int finished = 0;
    if (f->finished)
        return RZ_OK;
    if (f->library.booster_update(f->booster, &finished) != 0)
        return failed(&f->library, "grow a tree", error);
    f->finished = finished != 0;
    f->rounds += f->finished ? 0 : 1;
    return RZ_OK;
}

/* Sums of the trees first … first + n - 1; n = 0 means all. */
static rz_status predict(const fit *f, const table *t, int first, int n, double *out,
                         rz_error *error)
{
    const sparse_rows *rows = &t->rows;
    int64_t n_out = 0;
    if (f->library.booster_predict(f->booster, t->start, INT64, t->column, rows->value, FLOAT32,
                                   (int64_t)rows->n + 1, (int64_t)rows->start[rows->n],
                                   (int64_t)rows->n_columns, RAW_SCORE, first, n, "", &n_out,
                                   out) != 0)
        return failed(&f->library, "score rows", error);
    return n_out == (int64_t)rows->n
               ? RZ_OK
               : rz_fail(error, RZ_E_INTERNAL, "LightGBM gave %" PRId64 " scores of %zu rows",
                         n_out, rows->n);
}

static rz_status logits(void *object, void *rows, double *out, rz_error *error)
{
    fit *f = object;
    const table *t = rows;
    if (rows != f->watched)
        return predict(f, t, 0, 0, out, error);
    rz_status status = f->rounds == f->summed
                           ? RZ_OK
                           : predict(f, t, f->summed, f->rounds - f->summed, f->change, error);
    for (size_t i = 0; status == RZ_OK && i < t->rows.n; i++) {
        f->logit[i] += f->rounds == f->summed ? 0.0 : f->change[i];
        out[i] = f->logit[i];
    }
    if (status == RZ_OK)
        f->summed = f->rounds;
    return status;
}

static rz_status save(void *object, rz_buffer *out, rz_error *error)
{
    const fit *f = object;
    int64_t n = 0;
    if (f->library.booster_save(f->booster, 0, 0, BY_GAIN, 0, &n, NULL) != 0 || n <= 0)
        return failed(&f->library, "write the trees", error);
    char *text = malloc((size_t)n);
    if (text == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for trees of %" PRId64 " bytes", n);
    rz_status status = RZ_OK;
    if (f->library.booster_save(f->booster, 0, 0, BY_GAIN, n, &n, text) != 0)
        status = failed(&f->library, "write the trees", error);
    else if (rz_buffer_add_text(out, text) != RZ_OK)
        status = rz_fail(error, RZ_E_TOO_LARGE, "the trees take %" PRId64 " bytes", n);
    free(text);
    return status;
}

const engine engine_lightgbm = {.name = "lightgbm",
                                .model_file = "trees.txt",
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
