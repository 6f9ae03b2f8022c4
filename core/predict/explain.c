/* Which codes of a history a risk rests on: each is left out in turn and the change of the logit is
 * what it contributed. Codes interact, so the changes do not add up to the whole; they rank.
 *
 * At most VARIANTS_MAX codes are tried, the most recent and then the most frequent first, because
 * the cost is one more pass through the model for each. */
#include "predict/predictor_own.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VARIANTS_MAX = 64 };

typedef struct candidate {
    int32_t token;
    int32_t first_day, last_day;
    uint32_t events;
} candidate;

/* One patient's explanation while it is made. */
typedef struct explanation {
    rz_timeline_event *events; /* [n_events] those that are tokens, as known on the day */
    int32_t *tokens;           /* [n_events] */
    size_t n_events;
    candidate *codes; /* [n_codes] distinct codes; the first n_variants are left out in turn */
    size_t n_codes, n_variants;
    rz_timeline_event *left;  /* the events of the variants, n_variants x window at most */
    rz_timeline *timelines;   /* [n_variants] */
    const rz_timeline **list; /* [n_variants] */
    int32_t *days;            /* [n_variants] */
    float *logits;            /* [n_variants, n_heads] */
} explanation;

static void explanation_done(explanation *e)
{
    free(e->events);
    free(e->tokens);
    free(e->codes);
    free(e->left);
    free(e->timelines);
    free(e->list);
    free(e->days);
    free(e->logits);
}

static rz_status no_memory(rz_error *error)
{
    return rz_fail(error, RZ_E_NO_MEMORY, "no memory to explain a risk");
}

static rz_status collect_events(explanation *e, const rz_model *model, const rz_timeline *timeline,
                                int32_t as_of, rz_error *error)
{
    size_t room = timeline->n_events > 0 ? timeline->n_events : 1;
    e->events = calloc(room, sizeof *e->events);
    e->tokens = calloc(room, sizeof *e->tokens);
    if (e->events == NULL || e->tokens == NULL)
        return no_memory(error);
    for (size_t i = 0; i < timeline->n_events; i++) {
        const rz_timeline_event *event = &timeline->events[i];
        int32_t token = event->known_day <= as_of ? rz_vocabulary_token(model->vocabulary, event)
                                                  : RZ_TOKEN_NONE;
        if (token == RZ_TOKEN_NONE)
            continue;
        e->events[e->n_events] = *event;
        e->tokens[e->n_events++] = token;
    }
    return RZ_OK;
}

/* The most recent, then the most frequent; the token decides between equals. */
static int by_weight(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->last_day != y->last_day)
        return x->last_day > y->last_day ? -1 : 1;
    if (x->events != y->events)
        return x->events > y->events ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

/* Distinct codes of the history that the model reads; unknown codes have no name to show. */
static rz_status collect_codes(explanation *e, const rz_model *model, rz_error *error)
{
    size_t n_tokens =
        RZ_TOKEN_SPECIALS + model->vocabulary->n_diagnoses + model->vocabulary->n_medications;
    size_t window = (size_t)model->config.context;
    size_t oldest = e->n_events > window ? e->n_events - window : 0;
    uint32_t *place = calloc(n_tokens, sizeof *place); /* 1 + index into codes */
    e->codes = calloc(e->n_events > 0 ? e->n_events : 1, sizeof *e->codes);
    if (place == NULL || e->codes == NULL) {
        free(place);
        return no_memory(error);
    }
    for (size_t i = oldest; i < e->n_events; i++) {
        int32_t token = e->tokens[i];
        if (token < RZ_TOKEN_SPECIALS || place[token] != 0)
            continue;
        e->codes[e->n_codes++] =
            (candidate){.token = token, .first_day = RZ_DAY_MAX, .last_day = RZ_DAY_MIN};
        place[token] = (uint32_t)e->n_codes;
    }
    for (size_t i = 0; i < e->n_events; i++) {
        if (place[e->tokens[i]] == 0)
            continue;
        candidate *code = &e->codes[place[e->tokens[i]] - 1];
        int32_t day = e->events[i].day;
        code->first_day = day < code->first_day ? day : code->first_day;
        code->last_day = day > code->last_day ? day : code->last_day;
        code->events++;
    }
    free(place);
    qsort(e->codes, e->n_codes, sizeof *e->codes, by_weight);
    e->n_variants = e->n_codes < VARIANTS_MAX ? e->n_codes : VARIANTS_MAX;
    return RZ_OK;
}

/* The history without one code. A model reads the newest events only, so no more are copied than
 * its context holds. */
static rz_status make_variants(explanation *e, const rz_model *model, const rz_timeline *timeline,
                               int32_t as_of, rz_error *error)
{
    size_t window = (size_t)model->config.context, n = e->n_variants;
    size_t length = e->n_events < window ? e->n_events : window;
    e->left = calloc(n * length, sizeof *e->left);
    e->timelines = calloc(n, sizeof *e->timelines);
    e->list = calloc(n, sizeof *e->list);
    e->days = calloc(n, sizeof *e->days);
    e->logits = calloc(n * model->n_heads, sizeof *e->logits);
    if (e->left == NULL || e->timelines == NULL || e->list == NULL || e->days == NULL ||
        e->logits == NULL)
        return no_memory(error);
    for (size_t v = 0; v < n; v++) {
        rz_timeline_event *end = e->left + (v + 1) * length, *first = end;
        for (size_t i = e->n_events; i-- > 0 && (size_t)(end - first) < length;)
            if (e->tokens[i] != e->codes[v].token)
                *--first = e->events[i];
        e->timelines[v] = *timeline;
        e->timelines[v].events = first;
        e->timelines[v].n_events = (size_t)(end - first);
        e->list[v] = &e->timelines[v];
        e->days[v] = as_of;
    }
    return RZ_OK;
}

/* Puts a contribution into the row's list, which stays sorted by size, largest first. Equal ones
 * keep the order of the candidates. */
static void insert(rz_risk *row, unsigned limit, const rz_contribution *contribution)
{
    size_t at = row->n_contributions;
    while (at > 0 &&
           fabs(row->contributions[at - 1].logit_change) < fabs(contribution->logit_change))
        at--;
    if (at >= limit)
        return;
    size_t n = row->n_contributions < limit ? row->n_contributions + 1 : limit;
    memmove(&row->contributions[at + 1], &row->contributions[at],
            (n - at - 1) * sizeof *row->contributions);
    row->contributions[at] = *contribution;
    row->n_contributions = n;
}

static void rank(const explanation *e, const rz_model *model, unsigned limit, rz_risk *row)
{
    for (size_t v = 0; v < e->n_variants; v++) {
        const candidate *code = &e->codes[v];
        const rz_vocabulary_entry *entry =
            &model->vocabulary->entries[code->token - RZ_TOKEN_SPECIALS];
        rz_contribution contribution = {
            .kind = entry->kind,
            .system = entry->system,
            .first_day = code->first_day,
            .last_day = code->last_day,
            .events = code->events,
            .logit_change = row->logit - (double)e->logits[v * model->n_heads + row->head]};
        memcpy(contribution.code, entry->code, sizeof contribution.code);
        if (contribution.logit_change != 0.0)
            insert(row, limit, &contribution);
    }
}

rz_status predictor_explain(rz_predictor *predictor, const rz_timeline *timeline, int32_t as_of,
                            const rz_predict_options *options, rz_risk *rows, size_t n_rows,
                            rz_error *error)
{
    const rz_model *model = predictor->checkpoint.model;
    unsigned limit =
        options->explain < RZ_CONTRIBUTIONS_MAX ? options->explain : RZ_CONTRIBUTIONS_MAX;
    explanation e = {0};
    rz_status status = collect_events(&e, model, timeline, as_of, error);
    if (status == RZ_OK)
        status = collect_codes(&e, model, error);
    if (status == RZ_OK && e.n_variants > 0)
        status = make_variants(&e, model, timeline, as_of, error);
    if (status == RZ_OK)
        status = predictor_run(predictor, e.list, e.days, e.n_variants, options->batch_tokens_max,
                               e.logits, NULL, error);
    for (size_t k = 0; k < n_rows && status == RZ_OK; k++)
        if (rows[k].eligibility.reason == RZ_REASON_NONE)
            rank(&e, model, limit, &rows[k]);
    explanation_done(&e);
    return status;
}
