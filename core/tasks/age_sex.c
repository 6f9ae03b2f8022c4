/* Restricted cubic splines after Harrell (Regression Modeling Strategies, section 2.4.5): linear
 * before the first and after the last knot, so that the few very old do not bend the curve. */
#include "tasks/age_sex.h"

#include "base/portable_math.h"

#include <math.h>

/* In decades, which keeps all features of one size for the ridge and for Newton's method. */
static const double KNOTS[4] = {2.0, 4.0, 6.0, 8.0};

static const struct {
    double from;
    const char *name;
} bands[RZ_AGE_BANDS + 1] = {{0, "0-17"},   {18, "18-29"}, {30, "30-39"},
                             {40, "40-49"}, {50, "50-59"}, {60, "60-69"},
                             {70, "70-79"}, {80, "80+"},   {NAN, "unknown"}};

double rz_age_years(int32_t birth_day, int32_t day)
{
    return birth_day == RZ_DAY_NONE ? (double)NAN : ((double)day - birth_day) / 365.25;
}

size_t rz_age_band(double age_years)
{
    size_t band = 0;
    if (isnan(age_years))
        return RZ_AGE_BANDS;
    while (band + 1 < RZ_AGE_BANDS && age_years >= bands[band + 1].from)
        band++;
    return band;
}

const char *rz_age_band_name(size_t band)
{
    return bands[band < RZ_AGE_BANDS ? band : RZ_AGE_BANDS].name;
}

static double cube_above(double x, double knot)
{
    double d = x - knot;
    return d > 0.0 ? d * d * d : 0.0;
}

void rz_age_sex_features(double age_years, rz_sex sex, double out[RZ_AGE_SEX_FEATURES])
{
    double years = isnan(age_years) ? 50.0 : fmin(fmax(age_years, 0.0), 110.0);
    double x = years / 10.0, span = KNOTS[3] - KNOTS[2];
    double scale = (KNOTS[3] - KNOTS[0]) * (KNOTS[3] - KNOTS[0]);
    out[0] = x - 5.0;
    for (int j = 0; j < 2; j++)
        out[1 + j] =
            (cube_above(x, KNOTS[j]) - cube_above(x, KNOTS[2]) * (KNOTS[3] - KNOTS[j]) / span +
             cube_above(x, KNOTS[3]) * (KNOTS[2] - KNOTS[j]) / span) /
            scale;
    double male = sex == RZ_SEX_MALE ? 1.0 : sex == RZ_SEX_FEMALE ? 0.0 : 0.5;
    out[3] = male;
    for (int j = 0; j < 3; j++)
        out[4 + j] = male * out[j];
}

double rz_age_sex_risk(const double beta[RZ_AGE_SEX_FEATURES + 1], double age_years, rz_sex sex)
{
    double x[RZ_AGE_SEX_FEATURES], logit = beta[0];
    rz_age_sex_features(age_years, sex, x);
    for (int j = 0; j < RZ_AGE_SEX_FEATURES; j++)
        logit += beta[j + 1] * x[j];
    return rz_sigmoid(logit);
}
