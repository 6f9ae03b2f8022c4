/* The audit trail: one row for every prediction that was asked for, every erasure and every change
 * of models. Rows are gathered and appended by the writer, many in one durable transaction; an
 * answer does not wait for its row. */
#ifndef REZEPTD_AUDIT_H
#define REZEPTD_AUDIT_H

#include "plan.h"
#include "request.h"
#include "server.h"

typedef struct audit audit;

RZ_MUST_CHECK rz_status audit_new(server *s, audit **out, rz_error *error);
void audit_free(audit *a); /* accepts NULL; the writer must be gone */

/* patient_hash, model_hash  may be NULL
 * details                   taken; JSON without patient data, may be NULL */
void audit_add(audit *a, const request *r, const char *action, const char *patient_hash,
               const char *model_hash, json_t *details);

/* The row of a prediction: each task's probability or reason, and the model behind it.
 * j  of patient i, finished; NULL (and p) when the answer came from the cache */
void audit_prediction(audit *a, const request *r, const char *patient_hash, int32_t as_of,
                      const plan *p, const predict_job *j, size_t i);

uint64_t audit_lost(audit *a); /* rows that could not be kept */

#endif
