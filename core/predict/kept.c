/* An explained risk as text, to be kept with its score and to answer again without the model:
 *   {"logit": x, "tokens": n, "unmapped": n, "left_out": n,
 *    "contributions": [[kind, system, code, first_day, last_day, events, logit_change,
 * risk_change], …]} Numbers are written with 17 digits, which gives every double back. */
#include "predict/predictor_own.h"

#include "claims/claim_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *contribution_json(const rz_contribution *c)
{
    return json_pack("[s, s, s, i, i, I, f, f]", rz_kind_name(c->kind),
                     rz_code_system_name(c->system), c->code, (int)c->first_day, (int)c->last_day,
                     (json_int_t)c->events, c->logit_change, c->risk_change);
}

rz_status rz_risk_keep(const rz_risk *risk, rz_buffer *out, rz_error *error)
{
    json_t *list = json_array();
    bool made = list != NULL;
    for (size_t i = 0; i < risk->n_contributions && made; i++)
        made = json_array_append_new(list, contribution_json(&risk->contributions[i])) == 0;
    json_t *all = json_pack("{s:f, s:I, s:I, s:I, s:o}", "logit", risk->logit, "tokens",
                            (json_int_t)risk->tokens, "unmapped", (json_int_t)risk->unmapped,
                            "left_out", (json_int_t)risk->left_out, "contributions", list);
    char *text =
        made && all != NULL ? json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(all);
    if (text == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to keep an explanation");
    rz_status status = rz_buffer_add_text(out, text);
    free(text);
    if (status != RZ_OK)
        status = rz_fail(error, status, "no room to keep an explanation");
    return status;
}

static bool read_count(const json_t *json, uint32_t *out)
{
    json_int_t value = json_integer_value(json);
    *out = (uint32_t)value;
    return json_is_integer(json) && value >= 0 && value <= UINT32_MAX;
}

static bool read_day(const json_t *json, int32_t *out)
{
    json_int_t value = json_integer_value(json);
    *out = (int32_t)value;
    return json_is_integer(json) && value >= RZ_DAY_MIN && value <= RZ_DAY_MAX;
}

static bool read_real(const json_t *json, double *out)
{
    *out = json_number_value(json);
    return json_is_number(json) && isfinite(*out);
}

static bool read_contribution(const json_t *json, rz_contribution *out)
{
    const char *kind = json_string_value(json_array_get(json, 0)),
               *system = json_string_value(json_array_get(json, 1)),
               *code = json_string_value(json_array_get(json, 2));
    *out = (rz_contribution){.events = 0};
    if (kind == NULL || system == NULL || code == NULL || strlen(code) >= sizeof out->code)
        return false;
    memcpy(out->code, code, strlen(code) + 1);
    return rz_kind_from_name(kind, &out->kind) && rz_code_system_from_name(system, &out->system) &&
           read_day(json_array_get(json, 3), &out->first_day) &&
           read_day(json_array_get(json, 4), &out->last_day) &&
           read_count(json_array_get(json, 5), &out->events) &&
           read_real(json_array_get(json, 6), &out->logit_change) &&
           read_real(json_array_get(json, 7), &out->risk_change);
}

static bool read_text(const json_t *json, double *logit, rz_risk *out)
{
    const json_t *list = json_object_get(json, "contributions");
    bool good = read_real(json_object_get(json, "logit"), logit) &&
                read_count(json_object_get(json, "tokens"), &out->tokens) &&
                read_count(json_object_get(json, "unmapped"), &out->unmapped) &&
                read_count(json_object_get(json, "left_out"), &out->left_out) &&
                json_is_array(list) && json_array_size(list) <= RZ_CONTRIBUTIONS_MAX;
    for (size_t i = 0; good && i < json_array_size(list); i++)
        good =
            read_contribution(json_array_get(list, i), &out->contributions[out->n_contributions++]);
    return good;
}

/* A kept text into `risk`. Errors  RZ_E_CORRUPT, RZ_E_NO_MEMORY. */
static rz_status parse(const char *text, double *logit, rz_risk *risk, rz_error *error)
{
    json_t *json = NULL;
    rz_error why = {0};
    rz_status status = rz_json_parse(text, strlen(text), &json, &why);
    if (status == RZ_E_NO_MEMORY)
        return rz_fail(error, status, "%s", why.text);
    bool good = status == RZ_OK && read_text(json, logit, risk);
    json_decref(json);
    return good ? RZ_OK : rz_fail(error, RZ_E_CORRUPT, "a kept explanation cannot be read");
}

rz_status rz_kept_contributions(const char *text, rz_contribution *out, size_t *n, rz_error *error)
{
    rz_risk risk = {0};
    double logit;
    rz_status status = parse(text, &logit, &risk, error);
    if (status != RZ_OK)
        return status;
    memcpy(out, risk.contributions, risk.n_contributions * sizeof *out);
    *n = risk.n_contributions;
    return RZ_OK;
}

rz_status rz_predictor_recall(const rz_predictor *predictor, size_t head,
                              const rz_timeline *timeline, int32_t as_of, const char *text,
                              rz_risk *out, bool *complete, rz_error *error)
{
    rz_risk risk;
    double logit;
    bool wanted = predictor_begin_row(predictor, head, timeline, as_of, &risk);
    if (wanted && text != NULL) {
        rz_status status = parse(text, &logit, &risk, error);
        if (status != RZ_OK) {
            rz_error_prefix(error, "task %s: ", predictor->heads[head].task.name);
            return status;
        }
        predictor_finish_row(predictor, logit, &risk);
    }
    *out = risk;
    *complete = !wanted || text != NULL;
    return RZ_OK;
}
