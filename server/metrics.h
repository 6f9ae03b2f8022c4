/* Counters of the daemon and their Prometheus text. Labels are routes, codes, models, tasks and
 * reasons; never a patient. */
#ifndef REZEPTD_METRICS_H
#define REZEPTD_METRICS_H

#include "request.h"

typedef struct metrics metrics;

RZ_MUST_CHECK rz_status metrics_new(metrics **out, rz_error *error);
void metrics_free(metrics *m); /* accepts NULL */

/* A request ended: counts it and its time, and writes the log line. */
void metrics_request(metrics *m, const request *r);

/* Requests that ended, whatever their answer. */
uint64_t metrics_requests(const metrics *m);

/* A history was read from the store for a prediction. */
void metrics_history(metrics *m, double seconds);

/* A handle of the store began to wait for a lock; its log was moved into the file. */
void metrics_store_wait(metrics *m);
void metrics_checkpoint(metrics *m, double seconds);

/* Risks of a stored patient were answered with what they rest on: kept with their scores, or worked
 * out by a model. */
void metrics_explained(metrics *m, uint64_t recalled, uint64_t computed);

typedef enum claim_count {
    CLAIM_ADDED,
    CLAIM_UNCHANGED,
    CLAIM_SUPERSEDED,
    CLAIM_REFUSED,
    CLAIM_COUNTS
} claim_count;
void metrics_claims(metrics *m, claim_count outcome, uint64_t n);

#endif
