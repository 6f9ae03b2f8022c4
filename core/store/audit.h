/* The audit trail: append-only rows, each with the SHA-256 of the row before and its own content,
 * so that a changed, removed or inserted row breaks the chain from there on. What the chain cannot
 * show by itself is a cut at its end; the head (number and digest) can be kept elsewhere. */
#ifndef RZ_STORE_AUDIT_H
#define RZ_STORE_AUDIT_H

#include "base/hash.h"
#include "store/store.h"

/* One entry; strings borrowed, NULL counts as "". None of them may hold patient data. */
typedef struct rz_audit_entry {
    const char *request_id, *actor, *action;
    const char *patient_hash; /* of the pseudonym, see rz_audit_patient_hash */
    const char *model_hash;   /* SHA-256 of the model */
    const char *details;      /* JSON */
    int64_t at;               /* microseconds since 1970; 0 = now */
} rz_audit_entry;

typedef struct rz_audit_head {
    int64_t number; /* of the last row; 0 for an empty trail */
    unsigned char digest[RZ_SHA256_BYTES];
} rz_audit_head;

/* Appends n entries in one durable transaction. Outside a batch. */
RZ_MUST_CHECK rz_status rz_store_audit_append(rz_store *store, const rz_audit_entry *entries,
                                              size_t n, rz_error *error);

/* Walks the whole chain. *head is the last row.
 * Errors  RZ_E_CORRUPT naming the first row that does not fit. */
RZ_MUST_CHECK rz_status rz_store_audit_verify(rz_store *store, rz_audit_head *head,
                                              rz_error *error);

/* Calls `see` for each row with number > after, oldest first, until it returns false. */
typedef bool rz_audit_seen(void *context, int64_t number, const rz_audit_entry *entry);
RZ_MUST_CHECK rz_status rz_store_audit_read(rz_store *store, int64_t after, rz_audit_seen *see,
                                            void *context, rz_error *error);

/* The name of a patient in the trail: 32 hex digits that do not give the id away without the
 * store's own salt. */
RZ_MUST_CHECK rz_status rz_audit_patient_hash(rz_store *store, const rz_patient *patient,
                                              char out[33], rz_error *error);

#endif
