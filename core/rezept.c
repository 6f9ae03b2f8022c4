/* The public door: a store, a predictor and an arena behind one handle. */
#include "rezept.h"

#include "claims/claim_json.h"
#include "predict/predictor.h"
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_BYTES_MAX = 256 << 20, INLINE_CLAIMS_MAX = 10000 };

_Static_assert((int)REZEPT_RISKS_MAX == (int)RZ_HEADS_MAX, "one answer a head");
_Static_assert(sizeof((rezept_risk){0}.task) >= RZ_TASK_NAME, "task names fit");

struct rezept {
    rz_pool *pool;
    rz_store *store;
    rz_predictor *predictor;
    rz_arena arena; /* of one call */
};

rz_status rezept_open(const char *db_path, const char *model_folder, unsigned n_threads,
                      rezept **out, rz_error *error)
{
    rz_store_options options = rz_store_options_defaults();
    rezept *handle = calloc(1, sizeof *handle);
    if (handle == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to open %s", db_path);
    rz_arena_init(&handle->arena, REQUEST_BYTES_MAX);
    rz_status status = rz_hash_setup(error);
    if (status == RZ_OK)
        status = rz_pool_new(n_threads, &handle->pool, error);
    if (status == RZ_OK)
        status = rz_store_open(db_path, &options, &handle->store, error);
    if (status == RZ_OK)
        status = rz_predictor_open(model_folder, handle->pool, &handle->predictor, error);
    if (status != RZ_OK) {
        rezept_close(handle);
        return status;
    }
    *out = handle;
    return RZ_OK;
}

void rezept_close(rezept *handle)
{
    if (handle == NULL)
        return;
    rz_predictor_close(handle->predictor);
    rz_store_close(handle->store);
    rz_pool_free(handle->pool);
    rz_arena_done(&handle->arena);
    free(handle);
}

static rz_status answer(rezept *handle, const rz_timeline *timeline, int32_t as_of,
                        rezept_risk *out, size_t *n, rz_error *error)
{
    const rz_head *heads;
    const rz_predict_options options = rz_predict_options_defaults();
    size_t n_heads = rz_predictor_heads(handle->predictor, &heads);
    rz_risk *risks = rz_arena_alloc(&handle->arena, n_heads, sizeof *risks);
    if (risks == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu risks", n_heads);
    rz_status status =
        rz_predictor_risks(handle->predictor, &timeline, &as_of, 1, &options, risks, error);
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; i < n_heads; i++) {
        const rz_risk *risk = &risks[i];
        bool given = risk->eligibility.reason == RZ_REASON_NONE;
        out[i] = (rezept_risk){.probability = risk->probability,
                               .low = risk->low,
                               .high = risk->high,
                               .age_sex_average = given ? risk->age_sex_average : NAN,
                               .similar_n = risk->similar_n,
                               .similar_positives = risk->similar_positives,
                               .unmapped = risk->unmapped};
        memcpy(out[i].task, heads[risk->head].task.name, RZ_TASK_NAME);
        (void)snprintf(out[i].reason, sizeof out[i].reason, "%s",
                       rz_reason_text(risk->eligibility.reason));
    }
    *n = n_heads;
    return RZ_OK;
}

static rz_status parse_as_of(const char *text, int32_t *as_of, rz_error *error)
{
    if (!rz_day_parse(text, as_of))
        return rz_fail(error, RZ_E_INVALID, "as_of \"%s\" is not a day YYYY-MM-DD", text);
    return RZ_OK;
}

rz_status rezept_risks(rezept *handle, const char *facility, const char *patient_id,
                       const char *as_of, rezept_risk *out, size_t *n, rz_error *error)
{
    int32_t day;
    rz_patient patient;
    rz_timeline *timeline = NULL;
    rz_status status = parse_as_of(as_of, &day, error);
    rz_arena_reset(&handle->arena);
    if (status == RZ_OK)
        status = rz_store_patient(handle->store, facility, patient_id, &patient, error);
    if (status == RZ_OK)
        status = rz_store_timeline(handle->store, patient.key, day, RZ_RECORDED_NOW, &handle->arena,
                                   &timeline, error);
    return status == RZ_OK ? answer(handle, timeline, day, out, n, error) : status;
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}

/* Reads the claims of one patient; all must name the same facility and id. */
static rz_status read_claims(rezept *handle, const char *text, size_t length, rz_claim *claims,
                             json_t **documents, size_t *n, rz_error *error)
{
    const rz_claim_rules rules = {.latest_day = rz_day_today() + 1};
    size_t line = 0;
    for (const char *p = text, *end = text + length; p < end;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t width = newline != NULL ? (size_t)(newline - p) : (size_t)(end - p);
        line++;
        const char *next = newline != NULL ? newline + 1 : end;
        if (is_blank(p, width)) {
            p = next;
            continue;
        }
        if (*n == INLINE_CLAIMS_MAX)
            return rz_fail(error, RZ_E_TOO_LARGE, "more than %d claims", INLINE_CLAIMS_MAX);
        rz_claim_problems problems;
        rz_status status = rz_json_parse(p, width, &documents[*n], error);
        if (status == RZ_OK)
            status = rz_claim_from_json(documents[*n], &rules, &handle->arena, &claims[*n],
                                        &problems, error);
        if (status != RZ_OK) {
            json_decref(documents[*n]);
            documents[*n] = NULL;
            rz_error_prefix(error, "line %zu: ", line);
            return status;
        }
        const rz_claim *first = &claims[0], *claim = &claims[(*n)++];
        if (strcmp(first->patient_id, claim->patient_id) != 0 ||
            strcmp(first->facility, claim->facility) != 0)
            return rz_fail(error, RZ_E_INVALID,
                           "line %zu: another patient or facility than on the first line", line);
        p = next;
    }
    return *n > 0 ? RZ_OK : rz_fail(error, RZ_E_INVALID, "no claims were given");
}

rz_status rezept_risks_of_claims(rezept *handle, const char *text, size_t length, const char *as_of,
                                 rezept_risk *out, size_t *n, rz_error *error)
{
    int32_t day;
    size_t n_claims = 0;
    rz_timeline *timeline = NULL;
    json_t **documents = NULL;
    rz_status status = parse_as_of(as_of, &day, error);
    if (status != RZ_OK)
        return status;
    rz_arena_reset(&handle->arena);
    rz_claim *claims = calloc(INLINE_CLAIMS_MAX, sizeof *claims);
    documents = calloc(INLINE_CLAIMS_MAX, sizeof(json_t *));
    if (claims == NULL || documents == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for an inline history");
    else
        status = read_claims(handle, text, length, claims, documents, &n_claims, error);
    if (status == RZ_OK)
        status = rz_timeline_from_claims(claims, n_claims, &handle->arena, &timeline, error);
    if (status == RZ_OK)
        status = answer(handle, timeline, day, out, n, error);
    for (size_t i = 0; documents != NULL && i < n_claims; i++)
        json_decref(documents[i]);
    free(documents);
    free(claims);
    return status;
}
