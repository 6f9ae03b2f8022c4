/* The baseline every model is shown beside: risk by age and sex alone. Restricted cubic splines of
 * age (knots at 20, 40, 60 and 80 years) times sex, logistic. */
#ifndef RZ_TASKS_AGE_SEX_H
#define RZ_TASKS_AGE_SEX_H

#include "claims/event.h"

/* Years of 365.25 days from birth to a day; NaN without a birth day. */
double rz_age_years(int32_t birth_day, int32_t day);

enum { RZ_AGE_BANDS = 8 }; /* that figures of subgroups are given for */

/* 0 … RZ_AGE_BANDS - 1; RZ_AGE_BANDS for an unknown age. */
size_t rz_age_band(double age_years);
const char *rz_age_band_name(size_t band); /* "40-49", "80+", "unknown"; static */

enum { RZ_AGE_SEX_FEATURES = 7 }; /* 3 of age, sex, 3 of age times sex */

/* Ages beyond 0 … 110 count as the nearest of these.
 * An unknown age counts as 50, an unknown sex as half of each. */
void rz_age_sex_features(double age_years, rz_sex sex, double out[RZ_AGE_SEX_FEATURES]);

/* Probability from fitted coefficients, the intercept first. */
double rz_age_sex_risk(const double beta[RZ_AGE_SEX_FEATURES + 1], double age_years, rz_sex sex);

#endif
