/* What clinicians say of risks: one row each time, by whom and when. There is no free text, and a
 * patient's rows are erased with the patient. */
#ifndef RZ_STORE_FEEDBACK_H
#define RZ_STORE_FEEDBACK_H

#include "store/store.h"

/* Texts are borrowed by a put, and stand in the arena of a list. */
typedef struct rz_feedback {
    rz_patient_key patient;
    const char *task, *verdict;
    const char *reason; /* "" for none */
    int32_t as_of;      /* of the risk that was shown … */
    double probability;
    const char *model_hash;           /* … and what made it */
    const char *actor;                /* name of the token */
    int64_t id, recorded_at;          /* set by the store; microseconds since 1970 */
    const char *facility, *stored_id; /* of the patient; of lists only */
} rz_feedback;

/* Keeps a row and sets its id and recorded_at. Outside a batch; durable when it returns.
 * Errors  RZ_E_NOT_FOUND when the patient was erased meanwhile; as rz_store_put. */
RZ_MUST_CHECK rz_status rz_store_feedback_put(rz_store *store, rz_feedback *row, rz_error *error);

typedef struct rz_feedback_query {
    const char *task;       /* NULL for all */
    const char *facility;   /* of its patients; NULL for all */
    rz_patient_key patient; /* 0 for all */
    int64_t before;         /* only smaller ids, for pages; INT64_MAX for the newest */
} rz_feedback_query;

/* The newest rows first, at most `cap`; texts in the arena. */
RZ_MUST_CHECK rz_status rz_store_feedback(rz_store *store, const rz_feedback_query *query,
                                          rz_arena *arena, rz_feedback *out, size_t cap, size_t *n,
                                          rz_error *error);

#endif
