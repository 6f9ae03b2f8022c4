/* The population stability index: how far what is met lies from what was met before. A reference
 * is kept as deciles with the share of each bin, because tied values make bins unequal.
 *
 * In JSON, as members of one object: "<feature>_deciles" (minimum, nine inner deciles, maximum) and
 * "<feature>_shares" (of the ten bins, each with its upper edge; the last one has none). */
#ifndef RZ_METRICS_STABILITY_H
#define RZ_METRICS_STABILITY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RZ_STABILITY_BINS = 10 };

typedef struct rz_distribution {
    double
        edge[RZ_STABILITY_BINS - 1]; /* rising: bin i holds what is above edge i-1, up to edge i */
    double share[RZ_STABILITY_BINS];
} rz_distribution;

/* Adds both members of a feature to the object; sorts the n values, which are finite. False
 * without a value, which adds nothing, and when memory is exhausted. */
bool rz_distribution_write(double *values, size_t n, const char *feature, json_t *object);

/* False where the object lacks the feature or its numbers are none. Of deciles without shares, as
 * older files have them, each bin holds a tenth, and one of no width gives it to the one below. */
bool rz_distribution_read(const json_t *object, const char *feature, rz_distribution *out);

/* Bin of a value, which is not NaN: 0 … RZ_STABILITY_BINS - 1. */
size_t rz_distribution_bin(const rz_distribution *d, double value);

/* Sum over the bins of (a - e) ln(a / e), where e is the reference's share and a that of the
 * counts, both with half a case added to every bin, so that an empty one is no infinity.
 *   share     [bins]  of the reference
 *   n         cases that the reference was made from
 *   count     [bins]  cases met
 * NaN without cases on either side. With nothing changed its mean is about (bins - 1)(1/n + 1/m)
 * for m cases met; 0.1 and 0.25 are the customary bounds of "some" and "much".
 * Source    Siddiqi 2006, Credit Risk Scorecards, chapter 8. */
double rz_stability_index(const double *share, double n, const uint64_t *count, size_t bins);

#endif
