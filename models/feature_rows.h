/* Features: a history at its index day as one row of a table, for what learns from tables.
 *
 * Columns, in this order:
 *   age and sex    the 7 of rz_age_sex_features, always there
 *   utilisation    events, encounters, claim days (distinct days on which something became known),
 *                  event days and inpatient days, each of the last 90 and 365 days and of all time;
 *                  different codes, length of the record and time since the last event in days;
 *                  always there
 *   codes          of each code of the vocabulary and of unknown diagnoses and medications: events
 *                  of the last 90 and 365 days and of all time, where there are any
 * Counts and days enter as log(1 + x): trees see only their order, and a linear model is not ruled
 * by the few who have hundreds. Suspected diagnoses are events, but no codes, as everywhere. */
#ifndef RZ_MODELS_FEATURE_ROWS_H
#define RZ_MODELS_FEATURE_ROWS_H

#include "model/vocabulary.h"
#include "sparse.h"

enum { FEATURE_WINDOWS = 3, FEATURE_NAME = 128 };

typedef struct features features;

/* The columns that a vocabulary gives; it is borrowed. */
RZ_MUST_CHECK rz_status features_new(const rz_vocabulary *vocabulary, features **out,
                                     rz_error *error);
void features_free(features *features); /* accepts NULL */
size_t features_columns(const features *features);

/* "diagnosis icd10 E119, 90 days" */
const char *features_name(const features *features, size_t column, char out[FEATURE_NAME]);

/* Appends the row of a history at its index day: what became known later, or happened later, is not
 * looked at, whether or not the timeline holds it.
 * Errors  those of sparse_add. Threads  one at a time per features: they keep working memory. */
RZ_MUST_CHECK rz_status features_add(features *features, const rz_timeline *timeline,
                                     int32_t index_day, sparse_rows *out, rz_error *error);

#endif
