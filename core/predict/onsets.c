/* Answers onset questions: the head gives every code at once, those that are asked for and the
 * largest excess risks become rows. The same encoder pass as for tasks. */
#include "predict/predictor_own.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 64 }; /* timelines whose logits exist at a time */

typedef struct call {
    rz_predictor *predictor;
    const rz_onset_query *query;
    size_t per_patient; /* rows of the answer */
    uint64_t *recorded; /* of the patient at hand */
    float *logits;      /* [ROWS, stride] */
    uint32_t *ranked;   /* [top] codes of the largest excess so far … */
    double *excess;     /* … and how large it is */
} call;

static rz_status call_init(call *c, rz_error *error)
{
    size_t n = c->predictor->onset.n_codes, top = c->query->top;
    c->recorded = malloc(rz_onset_words(n) * sizeof *c->recorded);
    c->logits = malloc(ROWS * rz_onset_stride(n) * sizeof *c->logits);
    c->ranked = malloc((top + 1) * sizeof *c->ranked);
    c->excess = malloc((top + 1) * sizeof *c->excess);
    if (c->recorded == NULL || c->logits == NULL || c->ranked == NULL || c->excess == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the onsets of %zu codes", n);
    return RZ_OK;
}

static void call_done(call *c)
{
    free(c->recorded);
    free(c->logits);
    free(c->ranked);
    free(c->excess);
}

static rz_risk row_of(const rz_predictor *p, const rz_timeline *timeline, int32_t as_of,
                      const rz_eligibility *eligibility, size_t code)
{
    return (rz_risk){
        .head = code,
        .eligibility = *eligibility,
        .probability = NAN,
        .low = NAN,
        .high = NAN,
        .logit = NAN,
        .age_sex_average =
            code == RZ_ONSET_NONE
                ? NAN
                : rz_age_sex_risk(p->onset.codes[code].age_sex_beta,
                                  rz_age_years(timeline->birth_day, as_of), timeline->sex),
    };
}

/* The first event that a recorded code was known by. */
static void find_recorded(const rz_predictor *p, const rz_timeline *timeline, int32_t as_of,
                          size_t code, rz_eligibility *out)
{
    const rz_vocabulary *vocabulary = p->checkpoint.model->vocabulary;
    out->reason = RZ_REASON_ALREADY_RECORDED;
    for (size_t i = 0; i < timeline->n_events; i++) {
        const rz_timeline_event *event = &timeline->events[i];
        if (event->known_day > as_of ||
            rz_vocabulary_token(vocabulary, event) != (int32_t)code + RZ_TOKEN_SPECIALS)
            continue;
        (void)snprintf(out->code, sizeof out->code, "%s", event->code);
        out->day = event->day;
        return;
    }
}

/* Rows of one patient without their numbers: reasons are tested in the order of rz_task_eligible.
 */
static bool begin_rows(const call *c, const rz_timeline *timeline, int32_t as_of, rz_risk *rows)
{
    const rz_predictor *p = c->predictor;
    const rz_task task = rz_onset_task();
    rz_eligibility whole;
    rz_task_eligible(&task, timeline, as_of, &whole);
    rz_onset_recorded(p->checkpoint.model->vocabulary, timeline, as_of, c->recorded);
    bool wanted = c->query->top > 0 && whole.reason == RZ_REASON_NONE;
    for (size_t k = 0; k < c->query->n_codes; k++) {
        size_t code = c->query->codes[k];
        rows[k] = row_of(p, timeline, as_of, &whole, code);
        if (whole.reason != RZ_REASON_DEAD && rz_onset_bit(c->recorded, code))
            find_recorded(p, timeline, as_of, code, &rows[k].eligibility);
        wanted = wanted || rows[k].eligibility.reason == RZ_REASON_NONE;
    }
    for (size_t k = c->query->n_codes; k < c->per_patient; k++)
        rows[k] = row_of(p, timeline, as_of, &whole, RZ_ONSET_NONE);
    return wanted;
}

static void fill(const rz_predictor *p, double logit, rz_risk *row)
{
    rz_calibrated calibrated;
    rz_onset_apply(&p->onset.codes[row->head], logit, &calibrated);
    row->logit = logit;
    row->probability = calibrated.probability;
    row->low = calibrated.low;
    row->high = calibrated.high;
    row->similar_n = calibrated.similar_n;
    row->similar_positives = calibrated.similar_positives;
}

/* The codes whose risk lies highest above that of people of the same age and sex. */
static void rank(const call *c, const rz_timeline *timeline, int32_t as_of, const float *logits,
                 rz_risk *rows)
{
    const rz_predictor *p = c->predictor;
    rz_onset_recorded(p->checkpoint.model->vocabulary, timeline, as_of, c->recorded);
    size_t n = 0;
    for (size_t code = 0; code < p->onset.n_codes; code++) {
        rz_calibrated calibrated;
        if (rz_onset_bit(c->recorded, code))
            continue;
        rz_onset_apply(&p->onset.codes[code], (double)logits[code], &calibrated);
        double excess = calibrated.probability -
                        rz_age_sex_risk(p->onset.codes[code].age_sex_beta,
                                        rz_age_years(timeline->birth_day, as_of), timeline->sex);
        size_t at = n;
        while (at > 0 && c->excess[at - 1] < excess)
            at--;
        if (!(excess > 0.0) || at == c->query->top)
            continue;
        n = n < c->query->top ? n + 1 : n;
        for (size_t k = n - 1; k > at; k--) {
            c->ranked[k] = c->ranked[k - 1];
            c->excess[k] = c->excess[k - 1];
        }
        c->ranked[at] = (uint32_t)code;
        c->excess[at] = excess;
    }
    for (size_t k = 0; k < n; k++) {
        const rz_eligibility whole = rows[k].eligibility;
        rows[k] = row_of(p, timeline, as_of, &whole, c->ranked[k]);
        fill(p, (double)logits[c->ranked[k]], &rows[k]);
    }
}

static rz_status check_finite(const rz_predictor *p, const float *logits, rz_error *error)
{
    const rz_vocabulary_entry *entries = p->checkpoint.model->vocabulary->entries;
    for (size_t code = 0; code < p->onset.n_codes; code++)
        if (!isfinite(logits[code]))
            return rz_fail(error, RZ_E_CORRUPT,
                           "the model's onset head gives a score for %s that is not a number",
                           entries[code].code);
    return RZ_OK;
}

static rz_status finish_rows(const call *c, const rz_timeline *timeline, int32_t as_of,
                             const float *logits, rz_risk *rows, rz_error *error)
{
    const rz_predictor *p = c->predictor;
    rz_status status = check_finite(p, logits, error);
    if (status != RZ_OK)
        return status;
    for (size_t k = 0; k < c->query->n_codes; k++)
        if (rows[k].eligibility.reason == RZ_REASON_NONE)
            fill(p, (double)logits[rows[k].head], &rows[k]);
    rz_risk *ranked = rows + c->query->n_codes;
    if (c->query->top > 0 && ranked->eligibility.reason == RZ_REASON_NONE)
        rank(c, timeline, as_of, logits, ranked);
    return RZ_OK;
}

/* ---- explanations ---------------------------------------------------------------------------- */

/* Onsets come behind the task heads, which such a model may have as well. */
static size_t first_onset(const rz_predictor *p)
{
    return p->checkpoint.model->n_heads;
}

static size_t onset_stride(const rz_predictor *p)
{
    return rz_onset_stride(p->onset.n_codes);
}

static rz_status run_onsets(rz_predictor *p, const rz_timeline *const *timelines,
                            const int32_t *as_of, size_t n, size_t tokens_max, float *logits,
                            rz_error *error)
{
    const rz_model *model = p->checkpoint.model;
    rz_outputs outputs;
    rz_status status = RZ_OK;
    for (size_t first = 0, k; status == RZ_OK && first < n; first += k) {
        k = predictor_group(model, timelines, first, n, tokens_max);
        status = model->family->batch_build(model, timelines + first, as_of + first, k, &p->batch,
                                            error);
        if (status == RZ_OK)
            status = model->family->forward(model, &p->batch, &outputs, p->scratch, error);
        if (status == RZ_OK)
            status = model->family->onsets(model, 0, k, logits + first * onset_stride(p),
                                           p->scratch, error);
        for (size_t i = first; status == RZ_OK && i < first + k; i++)
            status = check_finite(p, logits + i * onset_stride(p), error);
    }
    return status;
}

static void apply_onset(const rz_predictor *p, size_t code, double logit, rz_calibrated *out)
{
    rz_onset_apply(&p->onset.codes[code], logit, out);
}

static const explained_logits onset_logits = {
    .first = first_onset, .stride = onset_stride, .run = run_onsets, .apply = apply_onset};

static rz_status explain_batch(const call *c, const rz_timeline *const *timelines,
                               const int32_t *as_of, size_t n, size_t tokens_max, rz_risk *out,
                               rz_error *error)
{
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && c->query->explain > 0 && i < n; i++)
        status = predictor_explain(c->predictor, &onset_logits, timelines[i], as_of[i],
                                   c->query->explain, tokens_max, out + i * c->per_patient,
                                   c->per_patient, error);
    return status;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* One packed batch: tokens of all, and the model's pass if anyone wants a risk. */
static rz_status run_batch(const call *c, const rz_timeline *const *timelines, const int32_t *as_of,
                           size_t n, rz_risk *out, rz_error *error)
{
    rz_predictor *p = c->predictor;
    const rz_model *model = p->checkpoint.model;
    rz_outputs outputs;
    bool wanted = false;
    for (size_t i = 0; i < n; i++)
        wanted = begin_rows(c, timelines[i], as_of[i], out + i * c->per_patient) || wanted;
    rz_status status = model->family->batch_build(model, timelines, as_of, n, &p->batch, error);
    if (status == RZ_OK && wanted)
        status = model->family->forward(model, &p->batch, &outputs, p->scratch, error);
    for (size_t i = 0; status == RZ_OK && i < n; i++)
        for (size_t k = 0; k < c->per_patient; k++) {
            out[i * c->per_patient + k].unmapped = p->batch.unmapped[i];
            out[i * c->per_patient + k].left_out = p->batch.left_out[i];
        }
    for (size_t first = 0; status == RZ_OK && wanted && first < n; first += ROWS) {
        size_t here = n - first < ROWS ? n - first : ROWS;
        status = model->family->onsets(model, first, here, c->logits, p->scratch, error);
        for (size_t i = first; status == RZ_OK && i < first + here; i++)
            status = finish_rows(c, timelines[i], as_of[i],
                                 c->logits + (i - first) * rz_onset_stride(p->onset.n_codes),
                                 out + i * c->per_patient, error);
    }
    return status;
}

rz_status rz_predictor_onsets(rz_predictor *predictor, const rz_timeline *const *timelines,
                              const int32_t *as_of, size_t n, const rz_onset_query *query,
                              size_t batch_tokens_max, rz_risk *out, rz_error *error)
{
    call c = {.predictor = predictor, .query = query, .per_patient = query->n_codes + query->top};
    size_t n_codes = predictor->onset.n_codes;
    if (!predictor->checkpoint.model->config.onset)
        return rz_fail(error, RZ_E_INVALID, "the model has no onset head");
    if (c.per_patient == 0 || query->top > RZ_ONSET_TOP_MAX)
        return rz_fail(error, RZ_E_INVALID, "an onset question asks for codes, or for 1 to %d",
                       RZ_ONSET_TOP_MAX);
    for (size_t k = 0; k < query->n_codes; k++)
        if (query->codes[k] >= n_codes)
            return rz_fail(error, RZ_E_RANGE, "onset of code %u, the vocabulary has %zu",
                           query->codes[k], n_codes);
    rz_status status = call_init(&c, error);
    for (size_t first = 0, k; status == RZ_OK && first < n; first += k) {
        k = predictor_group(predictor->checkpoint.model, timelines, first, n, batch_tokens_max);
        status =
            run_batch(&c, timelines + first, as_of + first, k, out + first * c.per_patient, error);
        if (status == RZ_OK)
            status = explain_batch(&c, timelines + first, as_of + first, k, batch_tokens_max,
                                   out + first * c.per_patient, error);
    }
    call_done(&c);
    return status;
}
