/* Histograms of what is scored, in two halves that take turns. */
#include "drift.h"

#include "metrics/stability.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINNED = 3 /* features by deciles: all but unmapped, which is a share of tokens */ };

static const char *const names[] = {
#define DRIFT_FEATURE_ROW(id, name) [DRIFT_##id] = name,
    DRIFT_FEATURE_MAP(DRIFT_FEATURE_ROW)
#undef DRIFT_FEATURE_ROW
};
static const char *const reference_names[BINNED] = {
    [DRIFT_SCORE] = "score", [DRIFT_TOKENS] = "token", [DRIFT_AGE] = "age"};

typedef struct half {
    uint64_t patients;
    uint64_t bins[BINNED][RZ_STABILITY_BINS];
    uint64_t tokens[2]; /* that the vocabulary has, that it lacks */
} half;

typedef struct head_drift {
    rz_distribution reference[BINNED];
    bool has[BINNED], has_share;
    double share[2]; /* of tokens as above */
    double patients, tokens;
    half halves[2];
    unsigned current;
} head_drift;

struct drift {
    size_t n;
    head_drift heads[];
};

const char *drift_feature_name(drift_feature feature)
{
    return names[feature];
}

double drift_ratio(const drift_outcomes *o, const char **reason)
{
    *reason = o->computed_us == 0 ? "not_computed"
              : o->unknown_split  ? "unknown_split"
              : (double)o->observed < DRIFT_OUTCOMES_MIN && o->expected < DRIFT_OUTCOMES_MIN
                  ? "too_few_outcomes"
                  : NULL;
    return *reason == NULL && o->expected > 0.0 ? (double)o->observed / o->expected : (double)NAN;
}

static void read_reference(head_drift *h, const json_t *reference)
{
    const json_t *share = json_object_get(reference, "unmapped_share");
    const json_t *tokens = json_object_get(reference, "tokens");
    for (int f = 0; f < BINNED; f++)
        h->has[f] = rz_distribution_read(reference, reference_names[f], &h->reference[f]);
    h->patients = json_number_value(json_object_get(reference, "n"));
    /* Older files do not say how many tokens there were: by the median. */
    h->tokens = json_is_number(tokens) ? json_number_value(tokens)
                : h->has[DRIFT_TOKENS]
                    ? h->patients * h->reference[DRIFT_TOKENS].edge[RZ_STABILITY_BINS / 2 - 1]
                    : 0.0;
    h->share[1] = json_number_value(share);
    h->share[0] = 1.0 - h->share[1];
    h->has_share = json_is_number(share) && h->share[1] >= 0.0 && h->share[1] <= 1.0;
}

drift *drift_new(const rz_head *heads, size_t n)
{
    drift *d = calloc(1, sizeof *d + n * sizeof d->heads[0]);
    if (d == NULL)
        return NULL;
    d->n = n;
    for (size_t i = 0; i < n; i++)
        read_reference(&d->heads[i], heads[i].reference);
    return d;
}

void drift_free(drift *d)
{
    free(d);
}

static void add(const head_drift *h, half *now, drift_feature feature, double value)
{
    if (h->has[feature] && !isnan(value))
        now->bins[feature][rz_distribution_bin(&h->reference[feature], value)]++;
}

void drift_count(drift *d, const rz_risk *risk, double age_years)
{
    head_drift *h = &d->heads[risk->head];
    if (h->halves[h->current].patients == DRIFT_HALF) {
        h->current = 1 - h->current;
        h->halves[h->current] = (half){0};
    }
    half *now = &h->halves[h->current];
    now->patients++;
    add(h, now, DRIFT_SCORE, risk->probability);
    add(h, now, DRIFT_TOKENS, (double)risk->tokens);
    add(h, now, DRIFT_AGE, age_years);
    /* Codes are counted before refills and old ones are left out, so there may be more of them. */
    now->tokens[0] += risk->tokens > risk->unmapped ? risk->tokens - risk->unmapped : 0;
    now->tokens[1] += risk->unmapped;
}

size_t drift_score_bin(const drift *d, size_t head, double probability)
{
    const head_drift *h = &d->heads[head];
    return h->has[DRIFT_SCORE] ? rz_distribution_bin(&h->reference[DRIFT_SCORE], probability) : 0;
}

uint64_t drift_patients(const drift *d, size_t head)
{
    return d->heads[head].halves[0].patients + d->heads[head].halves[1].patients;
}

double drift_index(const drift *d, size_t head, drift_feature feature)
{
    const head_drift *h = &d->heads[head];
    const half *a = &h->halves[0], *b = &h->halves[1];
    uint64_t count[RZ_STABILITY_BINS], n = 0;
    if (drift_patients(d, head) < DRIFT_PATIENTS_MIN)
        return NAN;
    if (feature == DRIFT_UNMAPPED) {
        count[0] = a->tokens[0] + b->tokens[0];
        count[1] = a->tokens[1] + b->tokens[1];
        return h->has_share ? rz_stability_index(h->share, h->tokens, count, 2) : (double)NAN;
    }
    for (size_t i = 0; i < RZ_STABILITY_BINS; i++)
        n += count[i] = a->bins[feature][i] + b->bins[feature][i];
    return h->has[feature] && n >= DRIFT_PATIENTS_MIN
               ? rz_stability_index(h->reference[feature].share, h->patients, count,
                                    RZ_STABILITY_BINS)
               : (double)NAN;
}
