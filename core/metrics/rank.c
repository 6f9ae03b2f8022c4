/* Sorting, the two rank figures, and bootstrap resamples.
 *
 * With P and N the numbers of positives and negatives, walking down the distinct scores:
 *   AUROC             = Σ n_i (TP_above + p_i / 2) / (P N)         ties count half
 *   average precision = Σ (p_i / P) TP_i / (TP_i + FP_i)           steps, ties as one step */
#include "metrics/rank.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_ranked(const void *left, const void *right)
{
    const rz_ranked *a = left, *b = right;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

rz_ranked *rz_rank(const double *score, const uint8_t *label, size_t n)
{
    size_t bytes;
    if (n > UINT32_MAX || !rz_size_mul(n > 0 ? n : 1, sizeof(rz_ranked), &bytes))
        return NULL;
    rz_ranked *ranked = malloc(bytes);
    if (ranked == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++)
        ranked[i] =
            (rz_ranked){.score = score[i], .row = (uint32_t)i, .label = label[i] != 0 ? 1 : 0};
    qsort(ranked, n, sizeof *ranked, compare_ranked);
    for (size_t i = 0; i < n; i++)
        ranked[i].tie_end = i + 1 == n || ranked[i + 1].score < ranked[i].score;
    return ranked;
}

void rz_rank_figures(const rz_ranked *ranked, size_t n, const uint32_t *count, double *auroc,
                     double *average_precision)
{
    /* Counts are whole numbers far below 2^53: these sums are exact. */
    double positives = 0.0, negatives = 0.0, area = 0.0, precision = 0.0;
    double tied_positives = 0.0, tied_negatives = 0.0;
    for (size_t i = 0; i < n; i++) {
        double c = count != NULL ? (double)count[ranked[i].row] : 1.0;
        if (ranked[i].label != 0)
            tied_positives += c;
        else
            tied_negatives += c;
        if (ranked[i].tie_end == 0)
            continue;
        area += tied_negatives * (positives + 0.5 * tied_positives);
        positives += tied_positives;
        negatives += tied_negatives;
        if (tied_positives > 0.0)
            precision += tied_positives * positives / (positives + negatives);
        tied_positives = tied_negatives = 0.0;
    }
    *auroc = positives > 0.0 && negatives > 0.0 ? area / (positives * negatives) : NAN;
    *average_precision = positives > 0.0 ? precision / positives : NAN;
}

static bool any_nan(const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isnan(values[i]))
            return true;
    return false;
}

double rz_auroc(const double *score, const uint8_t *label, size_t n)
{
    double auroc = NAN, unused;
    rz_ranked *ranked = any_nan(score, n) ? NULL : rz_rank(score, label, n);
    if (ranked != NULL)
        rz_rank_figures(ranked, n, NULL, &auroc, &unused);
    free(ranked);
    return auroc;
}

double rz_average_precision(const double *score, const uint8_t *label, size_t n)
{
    double precision = NAN, unused;
    rz_ranked *ranked = any_nan(score, n) ? NULL : rz_rank(score, label, n);
    if (ranked != NULL)
        rz_rank_figures(ranked, n, NULL, &unused, &precision);
    free(ranked);
    return precision;
}

void rz_resample(uint64_t seed, uint64_t number, const uint32_t *patient, size_t n, uint32_t *count)
{
    rz_rng rng;
    size_t patients = patient != NULL && n > 0 ? (size_t)patient[n - 1] + 1 : n;
    rz_rng_init(&rng, seed, number);
    memset(count, 0, n * sizeof *count);
    for (size_t i = 0; i < patients; i++)
        count[rz_rng_below(&rng, (uint32_t)patients)]++;
    /* From patients to their rows in place: no row lies before the place of its patient's count,
     * so that from the last row on nothing is overwritten before it was read. */
    for (size_t i = n; patient != NULL && i-- > 0;)
        count[i] = count[patient[i]];
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* Moves the finite values to the front and sorts them; 0 where too few are left. */
static size_t sort_finite(double *values, size_t n)
{
    size_t finite = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(values[i]))
            values[finite++] = values[i];
    if (finite == 0 || finite * 2 < n)
        return 0;
    qsort(values, finite, sizeof *values, compare_doubles);
    return finite;
}

/* Linear between the order statistics, as is usual (Hyndman and Fan's type 7). */
static double percentile(const double *sorted, size_t n, double q)
{
    if (n == 0)
        return NAN;
    double place = q * (double)(n - 1);
    size_t below = (size_t)place;
    size_t above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (place - (double)below) * (sorted[above] - sorted[below]);
}

double rz_percentile(double *values, size_t n, double q)
{
    size_t finite = sort_finite(values, n);
    return percentile(values, finite, q);
}

void rz_percentiles(double *values, size_t n, double *low, double *high)
{
    size_t finite = sort_finite(values, n);
    *low = percentile(values, finite, 0.025);
    *high = percentile(values, finite, 0.975);
}
