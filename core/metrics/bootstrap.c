/* Resample after resample into one table, of which the percentiles are taken. */
#include "metrics/bootstrap.h"

#include "base/size.h"
#include "metrics/rank.h"

#include <math.h>
#include <stdlib.h>

rz_status rz_bootstrap_intervals(const rz_bootstrap *b, unsigned n_bootstraps, uint64_t seed,
                                 rz_error *error)
{
    size_t cells, bytes, runs = b->n > 0 ? n_bootstraps : 0;
    double *values = NULL, *figures = NULL; /* [n_figures][runs]; [n_figures] behind them */
    uint32_t *count = malloc((b->n + 1) * sizeof *count);
    if (rz_size_mul(runs + 1, b->n_figures, &cells) && rz_size_mul(cells, sizeof *values, &bytes))
        values = malloc(bytes);
    if (count == NULL || values == NULL) {
        free(values);
        free(count);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %u bootstraps of %zu rows",
                       n_bootstraps, b->n);
    }
    figures = values + runs * b->n_figures;
    b->figures(b->sample, NULL, figures);
    for (size_t f = 0; f < b->n_figures; f++)
        *b->target[f] = (rz_interval){.value = figures[f], .low = NAN, .high = NAN};
    for (size_t run = 0; run < runs; run++) {
        rz_resample(seed, run, b->patient, b->n, count);
        b->figures(b->sample, count, figures);
        for (size_t f = 0; f < b->n_figures; f++)
            values[f * runs + run] = figures[f];
    }
    for (size_t f = 0; f < b->n_figures; f++)
        if (!isnan(b->target[f]->value))
            rz_percentiles(values + f * runs, runs, &b->target[f]->low, &b->target[f]->high);
    free(values);
    free(count);
    return RZ_OK;
}
