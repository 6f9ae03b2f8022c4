/* How long work tells its caller where it is, and how the caller stops it. The library never
 * prints; programs do. */
#ifndef RZ_BASE_PROGRESS_H
#define RZ_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rz_progress_report {
    const char *phase;    /* "pretrain", "import"; borrowed for the call */
    uint64_t done, total; /* in `unit`; total 0 when unknown */
    const char *unit;     /* "steps", "events" */
    double rate_per_s;    /* of what `rate_unit` names; NaN when unknown */
    const char *rate_unit;
    double loss;         /* NaN when there is none */
    double seconds_left; /* NaN when unknown */
} rz_progress_report;

/* Returns true to go on; false asks the work to save what it has and end with RZ_E_CANCELED. */
typedef bool rz_progress_fn(void *context, const rz_progress_report *report);

typedef struct rz_progress {
    rz_progress_fn *fn; /* may be NULL: no reports, never stopped */
    void *context;
} rz_progress;

static inline bool rz_progress_tell(const rz_progress *progress, const rz_progress_report *report)
{
    return progress == NULL || progress->fn == NULL || progress->fn(progress->context, report);
}

#endif
