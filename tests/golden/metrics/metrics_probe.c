/* Reads "label score" lines and prints every figure with 17 digits, for comparison with another
 * implementation. With
 * arguments D and RIDGE it reads "label x1 … xD" and prints the regression instead. */
#include "metrics/metrics.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 5000, FEATURES = 8 };

static double score[ROWS], feature[ROWS * FEATURES];
static uint8_t label[ROWS];

static int fail(const rz_error *error)
{
    (void)fprintf(stderr, "%s\n", error->text);
    return 1;
}

static int regression(size_t d, double ridge)
{
    rz_error error = {0};
    double beta[FEATURES + 1];
    size_t n = 0;
    unsigned y;
    while (n < ROWS && scanf("%u", &y) == 1) {
        label[n] = (uint8_t)y;
        for (size_t j = 0; j < d; j++)
            if (scanf("%lf", &feature[n * d + j]) != 1)
                return 2;
        n++;
    }
    if (rz_logistic_regression(feature, label, n, d, ridge, beta, &error) != RZ_OK)
        return fail(&error);
    for (size_t j = 0; j <= d; j++)
        (void)printf("%.17g\n", beta[j]);
    return 0;
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    rz_metrics m;
    size_t n = 0;
    unsigned y;
    if (argc == 3) {
        size_t d = strtoul(argv[1], NULL, 10);
        return d <= FEATURES ? regression(d, strtod(argv[2], NULL)) : 2;
    }
    while (n < ROWS && scanf("%u %lf", &y, &score[n]) == 2)
        label[n++] = (uint8_t)y;
    if (rz_metrics_compute(score, label, NULL, n, 0, 1, &m, &error) != RZ_OK)
        return fail(&error);
    (void)printf("auroc %.17g\naverage_precision %.17g\nbrier %.17g\nece %.17g\nslope %.17g\n"
                 "intercept %.17g\nratio %.17g\n",
                 m.auroc.value, m.average_precision.value, m.brier.value, m.ece.value,
                 m.calibration_slope.value, m.calibration_intercept.value,
                 m.observed_to_expected.value);
    return 0;
}
