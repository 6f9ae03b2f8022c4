/* Stands in for LightGBM where there is none: the same functions, stumps in place of trees. Checks
 * what it is given, and fails as LightGBM does: -1 and a text. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MAX = 4000, FLOAT32 = 0, INT64 = 3, RAW_SCORE = 1 };

typedef struct dataset {
    int n, n_columns;
    int64_t *start;
    int32_t *column;
    float *value, *label;
} dataset;

typedef struct booster {
    const dataset *train;
    double rate, init, *logit;
    int n, column[ROUNDS_MAX];
    double with[ROUNDS_MAX], without[ROUNDS_MAX];
} booster;

static char last_error[200];

static int fail(const char *text)
{
    (void)snprintf(last_error, sizeof last_error, "%s", text);
    return -1;
}

const char *LGBM_GetLastError(void);
int LGBM_DatasetCreateFromCSR(const void *start, int start_type, const int32_t *column,
                              const void *value, int value_type, int64_t n_start, int64_t n_values,
                              int64_t n_columns, const char *parameters, void *reference,
                              void **out);
int LGBM_DatasetSetField(void *object, const char *name, const void *data, int n, int type);
int LGBM_DatasetFree(void *object);
int LGBM_BoosterCreate(void *train, const char *parameters, void **out);
int LGBM_BoosterFree(void *object);
int LGBM_BoosterUpdateOneIter(void *object, int *finished);
int LGBM_BoosterPredictForCSR(void *object, const void *start, int start_type,
                              const int32_t *column, const void *value, int value_type,
                              int64_t n_start, int64_t n_values, int64_t n_columns, int kind,
                              int first, int n_rounds, const char *parameters, int64_t *n_out,
                              double *out);
int LGBM_BoosterSaveModelToString(void *object, int first, int n_rounds, int importance,
                                  int64_t capacity, int64_t *n_out, char *out);

const char *LGBM_GetLastError(void)
{
    return last_error;
}

int LGBM_DatasetCreateFromCSR(const void *start, int start_type, const int32_t *column,
                              const void *value, int value_type, int64_t n_start, int64_t n_values,
                              int64_t n_columns, const char *parameters, void *reference,
                              void **out)
{
    if (start_type != INT64 || value_type != FLOAT32 || reference != NULL || parameters == NULL)
        return fail("wrong types");
    if (n_start < 1 || n_start > 1 << 20 || n_columns < 1 || n_columns > 1 << 20)
        return fail("wrong sizes");
    dataset *d = calloc(1, sizeof *d);
    d->n = (int)n_start - 1;
    d->n_columns = (int)n_columns;
    d->start = malloc((size_t)n_start * sizeof *d->start);
    d->column = malloc((size_t)n_values * sizeof *d->column);
    d->value = malloc((size_t)n_values * sizeof *d->value);
    memcpy(d->start, start, (size_t)n_start * sizeof *d->start);
    memcpy(d->column, column, (size_t)n_values * sizeof *d->column);
    memcpy(d->value, value, (size_t)n_values * sizeof *d->value);
    *out = d;
    return d->start[d->n] == n_values ? 0 : fail("the starts do not end at the values");
}

int LGBM_DatasetSetField(void *object, const char *name, const void *data, int n, int type)
{
    dataset *d = object;
    if (strcmp(name, "label") != 0 || type != FLOAT32 || n != d->n)
        return fail("wrong field");
    d->label = malloc((size_t)n * sizeof *d->label);
    memcpy(d->label, data, (size_t)n * sizeof *d->label);
    return 0;
}

int LGBM_DatasetFree(void *object)
{
    dataset *d = object;
    free(d->start);
    free(d->column);
    free(d->value);
    free(d->label);
    free(d);
    return 0;
}

int LGBM_BoosterCreate(void *train, const char *parameters, void **out)
{
    const dataset *d = train;
    const char *rate = strstr(parameters, "learning_rate="),
               *leaves = strstr(parameters, "leaves=");
    double positives = 0.0;
    if (strstr(parameters, "objective=binary") == NULL || rate == NULL || leaves == NULL)
        return fail("wrong parameters");
    if (atoi(leaves + 7) < 2)
        return fail("Check failed: (num_leaves) > (1)");
    booster *b = calloc(1, sizeof *b);
    b->train = d;
    b->rate = atof(rate + 14);
    for (int i = 0; i < d->n; i++)
        positives += (double)d->label[i];
    b->init = log(positives / (d->n - positives));
    b->logit = calloc((size_t)(unsigned)d->n, sizeof *b->logit);
    for (int i = 0; i < d->n; i++)
        b->logit[i] = b->init;
    *out = b;
    return 0;
}

int LGBM_BoosterFree(void *object)
{
    booster *b = object;
    free(b->logit);
    free(b);
    return 0;
}

/* One stump: the column whose being positive tells most. */
int LGBM_BoosterUpdateOneIter(void *object, int *finished)
{
    booster *b = object;
    const dataset *d = b->train;
    double *g = calloc((size_t)(unsigned)d->n_columns, sizeof *g),
           *h = calloc((size_t)(unsigned)d->n_columns, sizeof *h);
    double all_g = 0.0, all_h = 0.0, best = 1e-6;
    int chosen = -1;
    for (int i = 0; i < d->n; i++) {
        double p = 1.0 / (1.0 + exp(-b->logit[i]));
        all_g += p - (double)d->label[i];
        all_h += p * (1.0 - p);
        for (int64_t k = d->start[i]; k < d->start[i + 1]; k++) {
            g[d->column[k]] += d->value[k] > 0.0f ? p - (double)d->label[i] : 0.0;
            h[d->column[k]] += d->value[k] > 0.0f ? p * (1.0 - p) : 0.0;
        }
    }
    for (int j = 0; j < d->n_columns; j++) {
        double rest = all_g - g[j];
        double gain = g[j] * g[j] / (h[j] + 1.0) + rest * rest / (all_h - h[j] + 1.0);
        if (h[j] > 1.0 && all_h - h[j] > 1.0 && gain > best) {
            best = gain;
            chosen = j;
        }
    }
    *finished = chosen < 0 || b->n == ROUNDS_MAX;
    if (*finished == 0) {
        b->column[b->n] = chosen;
        b->with[b->n] = -b->rate * g[chosen] / (h[chosen] + 1.0);
        b->without[b->n] = -b->rate * (all_g - g[chosen]) / (all_h - h[chosen] + 1.0);
        for (int i = 0; i < d->n; i++) {
            double change = b->without[b->n];
            for (int64_t k = d->start[i]; k < d->start[i + 1]; k++)
                if (d->column[k] == chosen && d->value[k] > 0.0f)
                    change = b->with[b->n];
            b->logit[i] += change;
        }
        b->n++;
    }
    free(g);
    free(h);
    return 0;
}

int LGBM_BoosterPredictForCSR(void *object, const void *start, int start_type,
                              const int32_t *column, const void *value, int value_type,
                              int64_t n_start, int64_t n_values, int64_t n_columns, int kind,
                              int first, int n_rounds, const char *parameters, int64_t *n_out,
                              double *out)
{
    const booster *b = object;
    const int64_t *at = start;
    const float *values = value;
    if (start_type != INT64 || value_type != FLOAT32 || kind != RAW_SCORE || parameters == NULL ||
        n_columns != b->train->n_columns || at[n_start - 1] != n_values || first < 0)
        return fail("wrong call");
    int end = n_rounds <= 0 || first + n_rounds > b->n ? b->n : first + n_rounds;
    for (int64_t i = 0; i + 1 < n_start; i++) {
        out[i] = first == 0 ? b->init : 0.0; /* the first tree holds where it began */
        for (int r = first; r < end; r++) {
            double change = b->without[r];
            for (int64_t k = at[i]; k < at[i + 1]; k++)
                if (column[k] == b->column[r] && values[k] > 0.0f)
                    change = b->with[r];
            out[i] += change;
        }
    }
    *n_out = n_start - 1;
    return 0;
}

int LGBM_BoosterSaveModelToString(void *object, int first, int n_rounds, int importance,
                                  int64_t capacity, int64_t *n_out, char *out)
{
    const booster *b = object;
    (void)first, (void)n_rounds, (void)importance;
    size_t room = 64 * ((size_t)b->n + 1), n = 0;
    char *text = malloc(room);
    n += (size_t)snprintf(text, room, "tree\n");
    for (int r = 0; r < b->n; r++)
        n += (size_t)snprintf(text + n, room - n, "%d %.9g %.9g\n", b->column[r], b->with[r],
                              b->without[r]);
    *n_out = (int64_t)n + 1;
    if (capacity >= *n_out)
        memcpy(out, text, n + 1);
    free(text);
    return 0;
}
