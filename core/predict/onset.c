/* onset.json in and out, the map from an onset's logit to its risk, and which codes of a history
 * are recorded before a day or come after it. The file is read like tasks.json: it may be hostile,
 * so its size is bounded by the vocabulary before a tree is built, and every number is checked. */
#include "predict/predictor_own.h"

#include "base/file.h"
#include "base/portable_math.h"
#include "base/size.h"
#include "claims/claim_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A number of 17 digits with its comma takes 25 bytes at most; the rest of the file is small. */
enum { FORMAT_VERSION = 1, COLUMNS = 18, NUMBER_BYTES = 32, OTHER_BYTES = 1 << 20 };
enum { OTHER_VALUES = 20000 };

/* Of any number: what is made of them stays finite. */
static const double LARGEST = 1e9;

#define NORMAL_95 1.959963984540054 /* 97.5 % of the normal distribution */

static const char *const columns[COLUMNS] = {
    "center",     "intercept",       "slope",   "intercept_variance",
    "covariance", "slope_variance",  "beta0",   "beta1",
    "beta2",      "beta3",           "beta4",   "beta5",
    "beta6",      "beta7",           "train_n", "train_positives",
    "tuning_n",   "tuning_positives"};

rz_status rz_onset_init(rz_onset *onset, size_t n_codes, rz_error *error)
{
    *onset = (rz_onset){.codes = calloc(n_codes > 0 ? n_codes : 1, sizeof *onset->codes)};
    if (onset->codes == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the onsets of %zu codes", n_codes);
    onset->n_codes = n_codes;
    return RZ_OK;
}

void rz_onset_done(rz_onset *onset)
{
    free(onset->codes);
    json_decref(onset->kinds);
    json_decref(onset->metrics);
    *onset = (rz_onset){0};
}

/* ---- the map --------------------------------------------------------------------------------- */

void rz_onset_apply(const rz_onset_code *c, double logit, rz_calibrated *out)
{
    double x = logit - c->center, at = c->center + c->intercept + c->slope * x;
    double variance = c->intercept_variance + 2.0 * x * c->covariance + x * x * c->slope_variance;
    double reach = NORMAL_95 * sqrt(fmax(variance, 0.0));
    *out = (rz_calibrated){.probability = rz_sigmoid(at),
                           .low = rz_sigmoid(at - reach),
                           .high = rz_sigmoid(at + reach),
                           .similar_n = c->tuning_n,
                           .similar_positives = c->tuning_positives};
}

/* ---- histories ------------------------------------------------------------------------------- */

rz_task rz_onset_task(void)
{
    return (rz_task){.name = "onset",
                     .kind = RZ_KIND_DIAGNOSIS,
                     .title_en = "Onsets of all codes",
                     .title_ja = "全コードの初回記録",
                     .age_max = RZ_TASK_AGE_ANY,
                     .min_history_days = RZ_ONSET_HISTORY_DAYS,
                     .horizon_days = RZ_ONSET_HORIZON_DAYS};
}

static void set_bit(const rz_vocabulary *vocabulary, const rz_timeline_event *event, uint64_t *bits)
{
    int32_t token = rz_vocabulary_token(vocabulary, event);
    if (token < RZ_TOKEN_SPECIALS)
        return;
    size_t code = (size_t)token - RZ_TOKEN_SPECIALS;
    bits[code / 64] |= (uint64_t)1 << (code % 64);
}

static void clear_bits(const rz_vocabulary *vocabulary, uint64_t *bits)
{
    size_t words = rz_onset_words(vocabulary->n_diagnoses + vocabulary->n_medications);
    memset(bits, 0, words * sizeof *bits);
}

void rz_onset_recorded(const rz_vocabulary *vocabulary, const rz_timeline *timeline, int32_t as_of,
                       uint64_t *bits)
{
    clear_bits(vocabulary, bits);
    for (size_t i = 0; i < timeline->n_events; i++)
        if (timeline->events[i].known_day <= as_of)
            set_bit(vocabulary, &timeline->events[i], bits);
}

void rz_onset_coming(const rz_vocabulary *vocabulary, const rz_timeline *timeline, int32_t as_of,
                     uint64_t *bits)
{
    clear_bits(vocabulary, bits);
    for (size_t i = 0; i < timeline->n_events; i++) {
        int64_t after = (int64_t)timeline->events[i].day - as_of;
        if (after > 0 && after <= RZ_ONSET_HORIZON_DAYS)
            set_bit(vocabulary, &timeline->events[i], bits);
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static rz_status check_code(const rz_onset_code *c, size_t i, rz_error *error)
{
    if (!(c->slope > 0.0))
        return rz_fail(error, RZ_E_CORRUPT, "onset.json: code %zu: the slope %g is not positive", i,
                       c->slope);
    if (!(c->intercept_variance >= 0.0) || !(c->slope_variance >= 0.0) ||
        c->covariance * c->covariance >
            c->intercept_variance * c->slope_variance * (1.0 + 1e-9) + 1e-300)
        return rz_fail(error, RZ_E_CORRUPT, "onset.json: code %zu: %g, %g and %g are no covariance",
                       i, c->intercept_variance, c->covariance, c->slope_variance);
    if (c->train_positives > c->train_n || c->tuning_positives > c->tuning_n)
        return rz_fail(error, RZ_E_CORRUPT, "onset.json: code %zu has more positives than labels",
                       i);
    return RZ_OK;
}

static rz_status read_code(const json_t *row, size_t i, rz_onset_code *out, rz_error *error)
{
    double v[COLUMNS];
    if (!json_is_array(row) || json_array_size(row) != COLUMNS)
        return rz_fail(error, RZ_E_CORRUPT, "onset.json: code %zu must be a list of %d numbers", i,
                       COLUMNS);
    for (size_t k = 0; k < COLUMNS; k++) {
        const json_t *value = json_array_get(row, k);
        v[k] = json_number_value(value);
        bool count = k >= COLUMNS - 4;
        if (!json_is_number(value) || !(fabs(v[k]) <= LARGEST) ||
            (count && (!json_is_integer(value) || v[k] < 0.0 || v[k] > (double)UINT32_MAX)))
            return rz_fail(error, RZ_E_CORRUPT, "onset.json: code %zu: %s must be a %s", i,
                           columns[k], count ? "count" : "number");
    }
    *out = (rz_onset_code){.center = v[0],
                           .intercept = v[1],
                           .slope = v[2],
                           .intercept_variance = v[3],
                           .covariance = v[4],
                           .slope_variance = v[5],
                           .train_n = (uint32_t)v[14],
                           .train_positives = (uint32_t)v[15],
                           .tuning_n = (uint32_t)v[16],
                           .tuning_positives = (uint32_t)v[17]};
    memcpy(out->age_sex_beta, v + 6, sizeof out->age_sex_beta);
    return check_code(out, i, error);
}

static rz_status read_head(const json_t *json, const rz_vocabulary *vocabulary, rz_onset *out,
                           rz_error *error)
{
    const json_t *version = json_object_get(json, "format_version");
    const char *sha256 = json_string_value(json_object_get(json, "vocabulary_sha256"));
    const char *precision = json_string_value(json_object_get(json, "precision"));
    const char *date = json_string_value(json_object_get(json, "date"));
    int32_t day;
    if (!json_is_integer(version) || json_integer_value(version) != FORMAT_VERSION)
        return rz_fail(error, RZ_E_UNSUPPORTED,
                       "onset.json has format version %lld, this program reads %d",
                       (long long)json_integer_value(version), FORMAT_VERSION);
    if (sha256 == NULL || strcmp(sha256, vocabulary->sha256) != 0)
        return rz_fail(error, RZ_E_CORRUPT,
                       "onset.json was made for the vocabulary %.12s…, not %.12s…",
                       sha256 != NULL ? sha256 : "(none)", vocabulary->sha256);
    if (json_integer_value(json_object_get(json, "min_history_days")) != RZ_ONSET_HISTORY_DAYS ||
        json_integer_value(json_object_get(json, "horizon_days")) != RZ_ONSET_HORIZON_DAYS)
        return rz_fail(error, RZ_E_UNSUPPORTED,
                       "onset.json: this program knows %d days of history and a horizon of %d",
                       RZ_ONSET_HISTORY_DAYS, RZ_ONSET_HORIZON_DAYS);
    if (precision == NULL || !rz_precision_read(precision, &out->precision))
        return rz_fail(error, RZ_E_CORRUPT, "onset.json: precision must be float32, bf16 or int8");
    if (date == NULL || strlen(date) != 10 || !rz_day_parse(date, &day))
        return rz_fail(error, RZ_E_CORRUPT, "onset.json: date must be YYYY-MM-DD");
    memcpy(out->date, date, sizeof out->date);
    return RZ_OK;
}

static rz_status from_json(const json_t *json, const rz_vocabulary *vocabulary, rz_onset *out,
                           rz_error *error)
{
    const json_t *codes = json_object_get(json, "codes");
    json_t *kinds = json_object_get(json, "kinds"), *metrics = json_object_get(json, "metrics");
    size_t n = vocabulary->n_diagnoses + vocabulary->n_medications;
    rz_status status = read_head(json, vocabulary, out, error);
    if (status == RZ_OK && (!json_is_array(codes) || json_array_size(codes) != n))
        status = rz_fail(error, RZ_E_CORRUPT, "onset.json has %zu codes, the vocabulary %zu",
                         json_array_size(codes), n);
    if (status == RZ_OK && (!json_is_array(kinds) || !json_is_object(metrics)))
        status = rz_fail(error, RZ_E_CORRUPT, "onset.json: kinds and metrics are missing");
    for (size_t i = 0; status == RZ_OK && i < n; i++)
        status = read_code(json_array_get(codes, i), i, &out->codes[i], error);
    out->kinds = status == RZ_OK ? json_incref(kinds) : NULL;
    out->metrics = status == RZ_OK ? json_incref(metrics) : NULL;
    return status;
}

rz_status onset_parse(const char *text, size_t length, const rz_vocabulary *vocabulary,
                      rz_onset *out, rz_error *error)
{
    size_t n = vocabulary->n_diagnoses + vocabulary->n_medications, values = 0;
    rz_onset read = {0};
    json_t *json = NULL;
    for (size_t i = 0; i < length; i++)
        values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    if (values > n * (COLUMNS + 1) + OTHER_VALUES)
        return rz_fail(error, RZ_E_CORRUPT, "onset.json holds %zu values for %zu codes", values, n);
    rz_status status = rz_json_parse(text, length, &json, error);
    if (status != RZ_OK)
        rz_error_prefix(error, "onset.json: ");
    if (status == RZ_OK)
        status = rz_onset_init(&read, n, error);
    if (status == RZ_OK)
        status = from_json(json, vocabulary, &read, error);
    json_decref(json);
    if (status != RZ_OK) {
        rz_onset_done(&read);
        return status;
    }
    rz_sha256 hash;
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, text, length);
    rz_sha256_text(&hash, read.sha256);
    *out = read;
    return RZ_OK;
}

rz_status rz_onset_read(const char *folder, const rz_vocabulary *vocabulary, rz_onset *out,
                        rz_error *error)
{
    size_t n = vocabulary->n_diagnoses + vocabulary->n_medications, length = 0;
    char *path = rz_path_join(folder, "onset.json"), *text = NULL;
    rz_status status = path == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory to read onset.json")
                                    : rz_file_read(path, n * COLUMNS * NUMBER_BYTES + OTHER_BYTES,
                                                   &text, &length, error);
    if (status == RZ_OK) {
        status = onset_parse(text, length, vocabulary, out, error);
        if (status != RZ_OK)
            rz_error_prefix(error, "%s: ", folder);
    }
    free(text);
    free(path);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A row a line: a table of a thousand codes stays readable. Numbers keep every bit. */
static rz_status add_row(rz_buffer *text, const rz_onset_code *c, bool last)
{
    const double v[] = {c->center,     c->intercept,     c->slope, c->intercept_variance,
                        c->covariance, c->slope_variance};
    rz_status status = rz_buffer_add_text(text, "[");
    for (size_t k = 0; k < COLUMNS - 4 && status == RZ_OK; k++) {
        json_t *number = json_real(k < RZ_COUNT(v) ? v[k] : c->age_sex_beta[k - RZ_COUNT(v)]);
        char *digits =
            number == NULL ? NULL : json_dumps(number, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
        status = digits == NULL ? RZ_E_NO_MEMORY : rz_buffer_addf(text, "%s,", digits);
        free(digits);
        json_decref(number);
    }
    return status != RZ_OK
               ? status
               : rz_buffer_addf(text, "%u,%u,%u,%u]%s\n", c->train_n, c->train_positives,
                                c->tuning_n, c->tuning_positives, last ? "" : ",");
}

static rz_status write_text(const rz_vocabulary *vocabulary, const rz_onset *onset, rz_buffer *text)
{
    json_t *names = json_array();
    for (size_t k = 0; k < COLUMNS; k++)
        (void)json_array_append_new(names, json_string(columns[k]));
    json_t *head = json_pack(
        "{s:i, s:s, s:s, s:s, s:i, s:i, s:O, s:O, s:o}", "format_version", FORMAT_VERSION,
        "vocabulary_sha256", vocabulary->sha256, "precision", rz_precision_name(onset->precision),
        "date", onset->date, "min_history_days", RZ_ONSET_HISTORY_DAYS, "horizon_days",
        RZ_ONSET_HORIZON_DAYS, "kinds", onset->kinds, "metrics", onset->metrics, "columns", names);
    char *dumped = head == NULL ? NULL : json_dumps(head, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(head);
    if (dumped == NULL)
        return RZ_E_NO_MEMORY;
    dumped[strlen(dumped) - 1] = '\0'; /* the brace comes last */
    rz_status status = rz_buffer_addf(text, "%s,\n\"codes\":[\n", dumped);
    free(dumped);
    for (size_t i = 0; i < onset->n_codes && status == RZ_OK; i++)
        status = add_row(text, &onset->codes[i], i + 1 == onset->n_codes);
    return status == RZ_OK ? rz_buffer_add_text(text, "]}\n") : status;
}

rz_status rz_onset_write(const char *folder, const rz_vocabulary *vocabulary, rz_onset *onset,
                         rz_error *error)
{
    char *path = rz_path_join(folder, "onset.json");
    rz_buffer text;
    rz_buffer_init(&text, onset->n_codes * COLUMNS * NUMBER_BYTES + OTHER_BYTES);
    rz_status status = path == NULL ? RZ_E_NO_MEMORY : write_text(vocabulary, onset, &text);
    if (status != RZ_OK)
        status = rz_fail(error, status, "onset.json of %s cannot be made", folder);
    else
        status = rz_file_write(path, text.data, text.length, error);
    if (status == RZ_OK) {
        rz_sha256 hash;
        rz_sha256_init(&hash);
        rz_sha256_add(&hash, text.data, text.length);
        rz_sha256_text(&hash, onset->sha256);
    }
    rz_buffer_done(&text);
    free(path);
    return status;
}
