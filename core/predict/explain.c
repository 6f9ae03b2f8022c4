/* Which codes of a history a risk rests on. One backward pass says, to first order, how the logit
 * would change without each token (rz_family.attribute); the codes with the largest sums are then
 * left out in turn, all occurrences at a time, and the change of the risk is what a code
 * contributed. Codes interact, so the changes do not add up to the whole; they rank.
 *
 * A risk tries CONFIRMED_MAX codes at most, so that with the unchanged history it is one packed
 * batch of 32; a code that several risks of a patient try is left out once for all of them. What a
 * risk tries does not depend on which others are asked for. */
#include "predict/predictor_own.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIRMED_MAX = 31 };
static const uint32_t unused = UINT32_MAX;

typedef struct candidate {
    int32_t token;
    int32_t first_day, last_day;
    uint32_t events;
    uint32_t variant; /* among those that are left out; unused */
} candidate;

/* One patient's explanation while it is made. */
typedef struct explanation {
    rz_timeline_event *events; /* [n_events] those that are tokens, as known on the day */
    int32_t *tokens;           /* [n_events] */
    size_t n_events;
    candidate *codes; /* [n_codes] distinct codes that the model reads, by token */
    size_t n_codes, n_variants;
    const explained_logits *kind;
    size_t stride; /* of its logits */
    size_t *heads; /* [n_heads] of the rows that have a risk, as rz_family.attribute counts them */
    size_t n_heads;
    double *counts;           /* [n_heads, n_codes] sums of attribution */
    uint32_t *ranked;         /* [n_heads, n_codes] codes, the largest sum first */
    uint32_t *removed;        /* [n_codes] the code of each variant */
    rz_timeline_event *left;  /* the events of the variants */
    rz_timeline *timelines;   /* [n_variants] */
    const rz_timeline **list; /* [n_variants] */
    int32_t *days;            /* [n_variants] */
    float *logits;            /* [n_variants, stride] */
} explanation;

static void explanation_done(explanation *e)
{
    free(e->events);
    free(e->tokens);
    free(e->codes);
    free(e->heads);
    free(e->counts);
    free(e->ranked);
    free(e->removed);
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

static int by_token(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return (x->token > y->token) - (x->token < y->token);
}

static candidate *find_code(const explanation *e, int32_t token)
{
    const candidate key = {.token = token};
    return e->n_codes == 0 ? NULL : bsearch(&key, e->codes, e->n_codes, sizeof *e->codes, by_token);
}

/* Distinct codes among the tokens that the model reads; unknown codes have no name to show. Days
 * and numbers are of all events known, also of those that the model no longer reads. */
static rz_status collect_codes(explanation *e, const rz_batch *batch, rz_error *error)
{
    size_t n = 0;
    e->codes = calloc(batch->n_tokens, sizeof *e->codes);
    if (e->codes == NULL)
        return no_memory(error);
    for (size_t i = 0; i < batch->n_tokens; i++)
        if (batch->tokens[i] >= RZ_TOKEN_SPECIALS)
            e->codes[n++] = (candidate){.token = batch->tokens[i],
                                        .first_day = RZ_DAY_MAX,
                                        .last_day = RZ_DAY_MIN,
                                        .variant = unused};
    qsort(e->codes, n, sizeof *e->codes, by_token);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || e->codes[i].token != e->codes[e->n_codes - 1].token)
            e->codes[e->n_codes++] = e->codes[i];
    for (size_t i = 0; i < e->n_events; i++) {
        candidate *code = find_code(e, e->tokens[i]);
        int32_t day = e->events[i].day;
        if (code == NULL)
            continue;
        code->first_day = day < code->first_day ? day : code->first_day;
        code->last_day = day > code->last_day ? day : code->last_day;
        code->events++;
    }
    return RZ_OK;
}

/* What each code counts for each risk: the sum over its tokens. */
static rz_status attribute(explanation *e, rz_predictor *predictor, const rz_batch *batch,
                           rz_error *error)
{
    const rz_model *model = predictor->checkpoint.model;
    float *tokens = calloc(e->n_heads, batch->n_tokens * sizeof *tokens);
    e->counts = calloc(e->n_heads, e->n_codes * sizeof *e->counts);
    rz_status status = tokens == NULL || e->counts == NULL
                           ? no_memory(error)
                           : model->family->attribute(model, batch, e->heads, e->n_heads, tokens,
                                                      predictor->scratch, error);
    for (size_t k = 0; k < e->n_heads && status == RZ_OK; k++)
        for (size_t i = 0; i < batch->n_tokens; i++) {
            const candidate *code = find_code(e, batch->tokens[i]);
            if (code != NULL)
                e->counts[k * e->n_codes + (size_t)(code - e->codes)] +=
                    (double)tokens[k * batch->n_tokens + i];
        }
    free(tokens);
    return status;
}

/* How many codes each risk tries. */
static size_t tried(const explanation *e)
{
    return e->n_codes < CONFIRMED_MAX ? e->n_codes : CONFIRMED_MAX;
}

/* The largest first; equals by token. Only those that are tried need to be in order. */
static rz_status choose(explanation *e, rz_error *error)
{
    e->ranked = calloc(e->n_heads, e->n_codes * sizeof *e->ranked);
    e->removed = calloc(e->n_codes, sizeof *e->removed);
    if (e->ranked == NULL || e->removed == NULL)
        return no_memory(error);
    for (size_t k = 0; k < e->n_heads; k++) {
        const double *counts = e->counts + k * e->n_codes;
        uint32_t *ranked = e->ranked + k * e->n_codes;
        size_t n = 0;
        for (size_t c = 0; c < e->n_codes; c++) {
            size_t at = n;
            while (at > 0 && fabs(counts[ranked[at - 1]]) < fabs(counts[c]))
                at--;
            if (at == CONFIRMED_MAX)
                continue;
            n = n < tried(e) ? n + 1 : n;
            memmove(&ranked[at + 1], &ranked[at], (n - at - 1) * sizeof *ranked);
            ranked[at] = (uint32_t)c;
        }
        for (size_t i = 0; i < n; i++) {
            candidate *code = &e->codes[ranked[i]];
            if (code->variant != unused)
                continue;
            code->variant = (uint32_t)e->n_variants;
            e->removed[e->n_variants++] = ranked[i];
        }
    }
    return RZ_OK;
}

/* The history without one code. A model reads the newest tokens only, so no more events are copied
 * than its context holds, unless it passes over some of them. */
static rz_status make_variants(explanation *e, const rz_model *model, const rz_timeline *timeline,
                               int32_t as_of, rz_error *error)
{
    size_t window = model->config.repeat_days > 0 ? SIZE_MAX : (size_t)model->config.context;
    size_t n = e->n_variants, length = e->n_events < window ? e->n_events : window;
    e->left = calloc(n, length * sizeof *e->left);
    e->timelines = calloc(n, sizeof *e->timelines);
    e->list = calloc(n, sizeof *e->list);
    e->days = calloc(n, sizeof *e->days);
    e->logits = calloc(n, e->stride * sizeof *e->logits);
    if (e->left == NULL || e->timelines == NULL || e->list == NULL || e->days == NULL ||
        e->logits == NULL)
        return no_memory(error);
    for (size_t v = 0; v < n; v++) {
        rz_timeline_event *end = e->left + (v + 1) * length, *first = end;
        for (size_t i = e->n_events; i-- > 0 && (size_t)(end - first) < length;)
            if (e->tokens[i] != e->codes[e->removed[v]].token)
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

static void confirm(const explanation *e, const rz_predictor *predictor, const uint32_t *ranked,
                    unsigned limit, rz_risk *row)
{
    const rz_vocabulary *vocabulary = predictor->checkpoint.model->vocabulary;
    for (size_t i = 0; i < tried(e); i++) {
        const candidate *code = &e->codes[ranked[i]];
        const rz_vocabulary_entry *entry = &vocabulary->entries[code->token - RZ_TOKEN_SPECIALS];
        double without = (double)e->logits[code->variant * e->stride + row->head];
        rz_calibrated calibrated;
        e->kind->apply(predictor, row->head, without, &calibrated);
        rz_contribution contribution = {.kind = entry->kind,
                                        .system = entry->system,
                                        .first_day = code->first_day,
                                        .last_day = code->last_day,
                                        .events = code->events,
                                        .logit_change = row->logit - without,
                                        .risk_change = row->probability - calibrated.probability};
        memcpy(contribution.code, entry->code, sizeof contribution.code);
        if (contribution.logit_change != 0.0)
            insert(row, limit, &contribution);
    }
}

/* Places that no code is left for have no reason, and no risk either. */
static bool has_risk(const rz_risk *row)
{
    return !isnan(row->probability);
}

/* The risks of this patient, whose codes are to be ranked. */
static rz_status collect_heads(explanation *e, const rz_predictor *predictor, const rz_risk *rows,
                               size_t n_rows, rz_error *error)
{
    e->heads = calloc(n_rows, sizeof *e->heads);
    if (e->heads == NULL)
        return no_memory(error);
    for (size_t k = 0; k < n_rows; k++)
        if (has_risk(&rows[k]))
            e->heads[e->n_heads++] = e->kind->first(predictor) + rows[k].head;
    return RZ_OK;
}

/* Up to the logits without each code. */
static rz_status leave_out(explanation *e, rz_predictor *predictor, const rz_timeline *timeline,
                           int32_t as_of, size_t tokens_max, rz_error *error)
{
    const rz_model *model = predictor->checkpoint.model;
    rz_batch *batch = &predictor->batch;
    rz_status status = model->family->batch_build(model, &timeline, &as_of, 1, batch, error);
    if (status == RZ_OK)
        status = collect_events(e, model, timeline, as_of, error);
    if (status == RZ_OK)
        status = collect_codes(e, batch, error);
    if (status != RZ_OK || e->n_codes == 0)
        return status;
    status = attribute(e, predictor, batch, error);
    if (status == RZ_OK)
        status = choose(e, error);
    if (status == RZ_OK)
        status = make_variants(e, model, timeline, as_of, error);
    if (status == RZ_OK)
        status =
            e->kind->run(predictor, e->list, e->days, e->n_variants, tokens_max, e->logits, error);
    return status;
}

rz_status predictor_explain(rz_predictor *predictor, const explained_logits *kind,
                            const rz_timeline *timeline, int32_t as_of, unsigned limit,
                            size_t tokens_max, rz_risk *rows, size_t n_rows, rz_error *error)
{
    explanation e = {.kind = kind, .stride = kind->stride(predictor)};
    size_t at = 0;
    limit = limit < RZ_CONTRIBUTIONS_MAX ? limit : RZ_CONTRIBUTIONS_MAX;
    rz_status status = collect_heads(&e, predictor, rows, n_rows, error);
    if (status == RZ_OK && e.n_heads > 0)
        status = leave_out(&e, predictor, timeline, as_of, tokens_max, error);
    for (size_t k = 0; k < n_rows && status == RZ_OK && e.n_codes > 0; k++)
        if (has_risk(&rows[k]))
            confirm(&e, predictor, e.ranked + at++ * e.n_codes, limit, &rows[k]);
    explanation_done(&e);
    return status;
}
