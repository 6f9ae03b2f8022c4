/* Counts one history into a row. Codes are counted in a table with a place for each, of which only
 * those that were touched are visited again. */
#include "feature_rows.h"

#include "base/portable_math.h"
#include "base/size.h"
#include "tasks/age_sex.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int32_t window_days[FEATURE_WINDOWS] = {90, 365, INT32_MAX};
static const char *const window_names[FEATURE_WINDOWS] = {"90 days", "365 days", "all time"};

/* Of each of these there is a column for every window. */
enum { USE_EVENTS, USE_ENCOUNTERS, USE_CLAIM_DAYS, USE_EVENT_DAYS, USE_INPATIENT_DAYS, USES };
static const char *const use_names[USES] = {"events", "encounters", "claim days", "event days",
                                            "inpatient days"};
enum { SPAN_CODES, SPAN_RECORD, SPAN_SINCE_LAST, SPANS };
static const char *const span_names[SPANS] = {"different codes", "days of record",
                                              "days since the last event"};
static const char *const age_sex_names[RZ_AGE_SEX_FEATURES] = {
    "age",         "age, spline 1",        "age, spline 2",       "male",
    "male by age", "male by age spline 1", "male by age spline 2"};

enum {
    USE_FIRST = RZ_AGE_SEX_FEATURES,
    SPAN_FIRST = USE_FIRST + USES * FEATURE_WINDOWS,
    CODE_FIRST = SPAN_FIRST + SPANS,
    UNKNOWN_CODES = 2 /* diagnoses and medications that the vocabulary lacks */
};

struct features {
    const rz_vocabulary *vocabulary;
    size_t n_codes;                     /* the unknown ones first */
    uint32_t (*count)[FEATURE_WINDOWS]; /* [n_codes], zero between calls */
    uint32_t *touched;                  /* [n_codes] codes with a count */
    int32_t *days;                      /* [days_capacity] known days of one history */
    size_t days_capacity;
    uint32_t *column; /* [columns] of the row being made */
    float *value;
};

size_t features_columns(const features *f)
{
    return CODE_FIRST + f->n_codes * FEATURE_WINDOWS;
}

rz_status features_new(const rz_vocabulary *vocabulary, features **out, rz_error *error)
{
    features *f = calloc(1, sizeof *f);
    if (f != NULL) {
        f->vocabulary = vocabulary;
        f->n_codes = UNKNOWN_CODES + vocabulary->n_diagnoses + vocabulary->n_medications;
        f->count = calloc(f->n_codes, sizeof *f->count);
        f->touched = calloc(f->n_codes, sizeof *f->touched);
        f->column = calloc(features_columns(f), sizeof *f->column);
        f->value = calloc(features_columns(f), sizeof *f->value);
    }
    if (f == NULL || f->count == NULL || f->touched == NULL || f->column == NULL ||
        f->value == NULL) {
        features_free(f);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for features");
    }
    *out = f;
    return RZ_OK;
}

void features_free(features *f)
{
    if (f == NULL)
        return;
    free(f->count);
    free(f->touched);
    free(f->days);
    free(f->column);
    free(f->value);
    free(f);
}

const char *features_name(const features *f, size_t column, char out[FEATURE_NAME])
{
    if (column < USE_FIRST) {
        (void)snprintf(out, FEATURE_NAME, "%s", age_sex_names[column]);
    } else if (column < SPAN_FIRST) {
        size_t i = column - USE_FIRST;
        (void)snprintf(out, FEATURE_NAME, "%s, %s", use_names[i / FEATURE_WINDOWS],
                       window_names[i % FEATURE_WINDOWS]);
    } else if (column < CODE_FIRST) {
        (void)snprintf(out, FEATURE_NAME, "%s", span_names[column - SPAN_FIRST]);
    } else {
        size_t code = (column - CODE_FIRST) / FEATURE_WINDOWS;
        const char *window = window_names[(column - CODE_FIRST) % FEATURE_WINDOWS];
        if (code < UNKNOWN_CODES) {
            (void)snprintf(out, FEATURE_NAME, "unknown %s, %s",
                           code == 0 ? "diagnoses" : "medications", window);
        } else {
            const rz_vocabulary_entry *e = &f->vocabulary->entries[code - UNKNOWN_CODES];
            (void)snprintf(out, FEATURE_NAME, "%s %s %s, %s", rz_kind_name(e->kind),
                           rz_code_system_name(e->system), e->code, window);
        }
    }
    return out;
}

static int by_day(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int by_code(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* One more in every window that reaches back to the day. */
static void tick(uint32_t count[FEATURE_WINDOWS], int32_t day, int32_t index_day)
{
    for (size_t w = 0; w < FEATURE_WINDOWS; w++)
        count[w] += (int64_t)index_day - day < window_days[w];
}

static void count_code(features *f, const rz_timeline_event *event, int32_t index_day,
                       size_t *n_touched)
{
    int32_t token = rz_vocabulary_token(f->vocabulary, event);
    if (token == RZ_TOKEN_NONE)
        return;
    uint32_t code = token == RZ_TOKEN_UNKNOWN_DIAGNOSIS ? 0
                    : token == RZ_TOKEN_UNKNOWN_MEDICATION
                        ? 1
                        : (uint32_t)token - RZ_TOKEN_SPECIALS + UNKNOWN_CODES;
    if (f->count[code][FEATURE_WINDOWS - 1] == 0)
        f->touched[(*n_touched)++] = code;
    tick(f->count[code], event->day, index_day);
}

static rz_status days_reserve(features *f, size_t n, rz_error *error)
{
    if (n <= f->days_capacity)
        return RZ_OK;
    int32_t *days = realloc(f->days, n * sizeof *days);
    if (days == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the %zu events of a patient", n);
    f->days = days;
    f->days_capacity = n;
    return RZ_OK;
}

/* What a pass over one history finds; counts of codes are in the features. */
typedef struct history {
    uint32_t use[USES][FEATURE_WINDOWS];
    size_t n_days, n_touched;
    int32_t first, last;
} history;

static void count_history(features *f, const rz_timeline *t, int32_t index_day, history *h)
{
    int32_t last_inpatient = INT32_MIN;
    *h = (history){.first = index_day, .last = INT32_MIN};
    for (size_t i = 0; i < t->n_events; i++) { /* in the order of their days */
        const rz_timeline_event *e = &t->events[i];
        if (e->known_day > index_day || e->day > index_day)
            continue;
        h->first = e->day < h->first ? e->day : h->first;
        tick(h->use[USE_EVENTS], e->day, index_day);
        if (e->kind == RZ_KIND_ENCOUNTER)
            tick(h->use[USE_ENCOUNTERS], e->day, index_day);
        if (e->day != h->last)
            tick(h->use[USE_EVENT_DAYS], e->day, index_day);
        if (e->setting == RZ_SETTING_INPATIENT && e->day != last_inpatient) {
            tick(h->use[USE_INPATIENT_DAYS], e->day, index_day);
            last_inpatient = e->day;
        }
        h->last = e->day;
        f->days[h->n_days++] = e->known_day;
        count_code(f, e, index_day, &h->n_touched);
    }
    qsort(f->days, h->n_days, sizeof *f->days, by_day);
    for (size_t i = 0; i < h->n_days; i++)
        if (i == 0 || f->days[i] != f->days[i - 1])
            tick(h->use[USE_CLAIM_DAYS], f->days[i], index_day);
    qsort(f->touched, h->n_touched, sizeof *f->touched, by_code);
}

/* The columns that are always there; gives how many. */
static size_t fill_common(features *f, const rz_timeline *t, int32_t index_day, const history *h)
{
    size_t n = 0;
    double age_sex[RZ_AGE_SEX_FEATURES];
    double age = rz_age_years(t->birth_day, index_day);
    rz_age_sex_features(age, t->sex, age_sex);
    for (size_t i = 0; i < RZ_AGE_SEX_FEATURES; i++)
        f->value[n++] = (float)age_sex[i];
    for (size_t i = 0; i < USES; i++)
        for (size_t w = 0; w < FEATURE_WINDOWS; w++)
            f->value[n++] = (float)rz_log(1.0 + h->use[i][w]);
    const double spans[SPANS] = {(double)h->n_touched, (double)index_day - h->first,
                                 h->n_days > 0 ? (double)index_day - h->last : 0.0};
    for (size_t i = 0; i < SPANS; i++)
        f->value[n++] = (float)rz_log(1.0 + spans[i]);
    for (size_t i = 0; i < n; i++)
        f->column[i] = (uint32_t)i;
    return n;
}

rz_status features_add(features *f, const rz_timeline *t, int32_t index_day, sparse_rows *out,
                       rz_error *error)
{
    history h;
    rz_status status = days_reserve(f, t->n_events, error);
    if (status != RZ_OK)
        return status;
    count_history(f, t, index_day, &h);
    size_t n = fill_common(f, t, index_day, &h);
    for (size_t i = 0; i < h.n_touched; i++) {
        uint32_t code = f->touched[i];
        for (size_t w = 0; w < FEATURE_WINDOWS; w++) {
            if (f->count[code][w] == 0)
                continue;
            f->column[n] = CODE_FIRST + code * FEATURE_WINDOWS + (uint32_t)w;
            f->value[n++] = (float)rz_log(1.0 + f->count[code][w]);
        }
        memset(f->count[code], 0, sizeof f->count[code]);
    }
    return sparse_add(out, f->column, f->value, n, error);
}
