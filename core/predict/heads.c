/* tasks.json: what a model's folder says of each head. It is small, but it may be hostile: its size
 * and the number of its values are bounded before a tree is built, and every number is checked. */
#include "predict/predictor_own.h"

#include "base/file.h"
#include "base/size.h"
#include "claims/claim_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A value of JSON costs up to some hundred bytes of memory; these bound the tree to about 30 MB. */
enum { FORMAT_VERSION = 1, FILE_BYTES_MAX = 4 << 20, VALUES_MAX = 250000 };

void rz_head_done(rz_head *head)
{
    json_decref(head->metrics);
    json_decref(head->reference);
    head->metrics = head->reference = NULL;
}

static rz_status check_values(const char *text, size_t n, rz_error *error)
{
    size_t values = 0;
    for (size_t i = 0; i < n; i++)
        values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    if (values > VALUES_MAX)
        return rz_fail(error, RZ_E_CORRUPT,
                       "tasks.json holds about %zu values, at most %d are read", values,
                       VALUES_MAX);
    return RZ_OK;
}

static rz_status read_beta(const json_t *json, double beta[RZ_AGE_SEX_FEATURES + 1],
                           rz_error *error)
{
    const json_t *array = json_object_get(json_object_get(json, "age_sex"), "beta");
    if (!json_is_array(array) || json_array_size(array) != RZ_AGE_SEX_FEATURES + 1)
        return rz_fail(error, RZ_E_INVALID, "age_sex: beta must be a list of %d numbers",
                       RZ_AGE_SEX_FEATURES + 1);
    for (size_t i = 0; i <= RZ_AGE_SEX_FEATURES; i++) {
        const json_t *value = json_array_get(array, i);
        beta[i] = json_number_value(value);
        if (!json_is_number(value) || !isfinite(beta[i]))
            return rz_fail(error, RZ_E_INVALID, "age_sex: beta[%zu] must be a number", i);
    }
    return RZ_OK;
}

/* On failure the head holds nothing. */
static rz_status read_head(const json_t *json, rz_head *out, rz_error *error)
{
    const json_t *task = json_object_get(json, "task"),
                 *calibration = json_object_get(json, "calibration");
    json_t *metrics = json_object_get(json, "metrics"),
           *reference = json_object_get(json, "reference");
    if (!json_is_object(task) || !json_is_object(calibration) || !json_is_object(metrics) ||
        !json_is_object(reference))
        return rz_fail(error, RZ_E_INVALID,
                       "task, calibration, metrics and reference must be objects");
    const json_t *precision = json_object_get(json, "precision"); /* float32 where it is missing */
    out->precision = RZ_FLOAT32;
    if (precision != NULL && (!json_is_string(precision) ||
                              !rz_precision_read(json_string_value(precision), &out->precision)))
        return rz_fail(error, RZ_E_INVALID, "precision must be float32, bf16 or int8");
    rz_status status = rz_task_from_json(task, &out->task, error);
    if (status == RZ_OK)
        status = rz_calibration_from_json(calibration, &out->calibration, error);
    if (status == RZ_OK)
        status = read_beta(json, out->age_sex_beta, error);
    out->metrics = status == RZ_OK ? json_incref(metrics) : NULL;
    out->reference = status == RZ_OK ? json_incref(reference) : NULL;
    return status;
}

static rz_status heads_from_json(const json_t *json, rz_head *heads, size_t *n, rz_error *error)
{
    const json_t *version = json_object_get(json, "format_version"),
                 *tasks = json_object_get(json, "tasks");
    if (!json_is_integer(version))
        return rz_fail(error, RZ_E_CORRUPT, "tasks.json: format_version is missing");
    if (json_integer_value(version) != FORMAT_VERSION)
        return rz_fail(error, RZ_E_UNSUPPORTED,
                       "tasks.json has format version %lld, this program reads %d",
                       (long long)json_integer_value(version), FORMAT_VERSION);
    if (!json_is_array(tasks) || json_array_size(tasks) > RZ_HEADS_MAX)
        return rz_fail(error, RZ_E_CORRUPT, "tasks.json: tasks must be a list of at most %d",
                       RZ_HEADS_MAX);
    rz_status status = RZ_OK;
    size_t done = 0;
    while (done < json_array_size(tasks) && status == RZ_OK) {
        status = read_head(json_array_get(tasks, done), &heads[done], error);
        if (status != RZ_OK) {
            rz_error_prefix(error, "tasks.json: task %zu: ", done);
            break;
        }
        done++;
        if (heads[done - 1].precision != heads[0].precision)
            status = rz_fail(error, RZ_E_CORRUPT, "tasks.json: tasks of %s and of %s in one model",
                             rz_precision_name(heads[0].precision),
                             rz_precision_name(heads[done - 1].precision));
        for (size_t k = 0; k + 1 < done && status == RZ_OK; k++)
            if (strcmp(heads[k].task.name, heads[done - 1].task.name) == 0)
                status = rz_fail(error, RZ_E_CORRUPT, "tasks.json: task %s is there twice",
                                 heads[k].task.name);
    }
    if (status == RZ_OK) {
        *n = done;
        return RZ_OK;
    }
    for (size_t i = 0; i < done; i++)
        rz_head_done(&heads[i]);
    return status;
}

rz_status heads_parse(const char *text, size_t length, rz_head *heads, size_t *n, rz_error *error)
{
    json_t *json = NULL;
    rz_status status = check_values(text, length, error);
    if (status != RZ_OK)
        return status;
    status = rz_json_parse(text, length, &json, error);
    if (status != RZ_OK)
        rz_error_prefix(error, "tasks.json: ");
    else
        status = heads_from_json(json, heads, n, error);
    json_decref(json);
    return status;
}

rz_status rz_heads_read(const char *folder, rz_head *heads, size_t *n, char sha256[RZ_SHA256_TEXT],
                        rz_error *error)
{
    char *path = rz_path_join(folder, "tasks.json"), *text = NULL;
    size_t length = 0;
    rz_status status = path == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory to read tasks.json")
                                    : rz_file_read(path, FILE_BYTES_MAX, &text, &length, error);
    if (status == RZ_OK) {
        status = heads_parse(text, length, heads, n, error);
        if (status != RZ_OK)
            rz_error_prefix(error, "%s: ", folder);
    }
    if (status == RZ_OK && sha256 != NULL) {
        rz_sha256 hash;
        rz_sha256_init(&hash);
        rz_sha256_add(&hash, text, length);
        rz_sha256_text(&hash, sha256);
    }
    free(text);
    free(path);
    return status;
}

static json_t *head_json(const rz_head *head)
{
    json_t *beta = json_array();
    for (size_t i = 0; beta != NULL && i <= RZ_AGE_SEX_FEATURES; i++)
        if (json_array_append_new(beta, json_real(head->age_sex_beta[i])) != 0) {
            json_decref(beta);
            beta = NULL;
        }
    /* "o" takes its argument whatever happens; metrics and reference stay the head's own. */
    return json_pack("{s:o, s:s, s:o, s:{s:o}, s:o, s:o}", "task", rz_task_to_json(&head->task),
                     "precision", rz_precision_name(head->precision), "calibration",
                     rz_calibration_to_json(&head->calibration), "age_sex", "beta", beta, "metrics",
                     head->metrics != NULL ? json_incref(head->metrics) : json_object(),
                     "reference",
                     head->reference != NULL ? json_incref(head->reference) : json_object());
}

rz_status rz_heads_write(const char *folder, const rz_head *heads, size_t n, rz_error *error)
{
    char *path = rz_path_join(folder, "tasks.json"), *text = NULL;
    json_t *tasks = json_array(), *json = NULL;
    rz_status status = RZ_OK;
    for (size_t i = 0; i < n && tasks != NULL; i++)
        if (json_array_append_new(tasks, head_json(&heads[i])) != 0) {
            json_decref(tasks);
            tasks = NULL;
        }
    if (tasks != NULL)
        json = json_pack("{s:i, s:o}", "format_version", FORMAT_VERSION, "tasks", tasks);
    if (json != NULL)
        text = json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    if (path == NULL || text == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY,
                         "tasks.json of %s cannot be made: out of memory, or a text is not UTF-8",
                         folder);
    else
        status = rz_file_write(path, text, strlen(text), error);
    json_decref(json);
    free(text);
    free(path);
    return status;
}
