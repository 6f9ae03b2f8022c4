/* What the rooms of the store share: the handle and the few calls between its files. Private. */
#ifndef RZ_STORE_INTERNAL_H
#define RZ_STORE_INTERNAL_H

#include "base/hash.h"
#include "store/names.h"
#include "store/sqlite.h"
#include "store/store.h"

enum { RZ_ID_MAX = 127 /* characters of ids and facility names */ };

typedef enum rz_batch_kind { RZ_BATCH_NONE, RZ_BATCH_POST, RZ_BATCH_IMPORT } rz_batch_kind;

/* What the store holds; kept per batch so that counting is one row to read. */
typedef struct rz_totals {
    int64_t patients, claims, events[RZ_KIND_COUNT];
    int32_t first_day, last_day;
} rz_totals;

/* The patient of the last claim: claims often arrive sorted by patient. */
typedef struct rz_known_patient {
    rz_patient_key key; /* 0 = none */
    int64_t namespace_key, version;
    rz_sex sex;
    int32_t birth_day;
    char id[RZ_ID_MAX + 1];
} rz_known_patient;

/* An event of a claim on its way into the table. */
typedef struct rz_row_order {
    const rz_event *event;
    int64_t code;
} rz_row_order;

struct rz_store {
    rz_db *db;
    int lock_fd; /* -1 for readers */
    bool write, shared_ids, pseudonyms, has_key;
    unsigned char key[RZ_HMAC_KEY_BYTES];
    void (*changed)(void *context, const char *id); /* may be NULL */
    void *changed_context;
    rz_names codes, units, facilities;

    rz_batch_kind batch_kind;
    int64_t batch;              /* id; 0 until the first change */
    int64_t previous_recorded;  /* instants of batches only grow */
    size_t rows_in_transaction; /* imports commit in pieces */
    char source[256];
    rz_totals totals;
    rz_status failed; /* a write of the open batch failed: only rollback is left */
    bool side_write;  /* a transaction of rz_write_begin is open */
    bool leftovers;   /* an unfinished batch could not be removed yet */
    bool has_salt;
    unsigned char salt[RZ_HMAC_KEY_BYTES]; /* of the file; read once */
    bool log_to_empty; /* an erased patient may still stand in the write-ahead log */
    rz_known_patient patient;

    rz_row_order *order; /* scratch of put */
    size_t order_capacity;
    rz_timeline_event *rows; /* scratch of timelines */
    size_t rows_capacity;
    int32_t *data_ends; /* by facility key - 1, as of data_ends_limit */
    size_t n_data_ends;
    int64_t data_ends_limit;
};

/* store.c: a consistent view over several reads; `began` tells end whether to close it. */
RZ_MUST_CHECK rz_status rz_store_view(rz_store *store, bool *began, rz_error *error);
void rz_store_view_end(rz_store *store, bool began);
/* The id as stored (pseudonym where one is used) in out[RZ_ID_MAX + 1]. */
RZ_MUST_CHECK rz_status rz_store_id(const rz_store *store, const char *id, char *out,
                                    rz_error *error);
RZ_MUST_CHECK rz_status rz_store_must_write(const rz_store *store, rz_error *error);

/* The secret of this file that keyed hashes of patients are made with. */
RZ_MUST_CHECK rz_status rz_store_salt(rz_store *store, unsigned char out[RZ_HMAC_KEY_BYTES],
                                      rz_error *error);

/* batches.c */
int64_t rz_now_us(void);
/* A transaction of the tables beside the claims (scores, audit); never inside a batch.
 * Each begin, failed or not, is followed by an end, which commits when `status` is RZ_OK. */
typedef enum rz_durability { RZ_DURABLE, RZ_MAY_BE_LOST /* in a power cut */ } rz_durability;
RZ_MUST_CHECK rz_status rz_write_begin(rz_store *store, rz_durability durability, rz_error *error);
RZ_MUST_CHECK rz_status rz_write_end(rz_store *store, rz_status status, rz_error *error);
/* The last batch that was finished at `recorded`; 0 when there was none. */
RZ_MUST_CHECK rz_status rz_batch_limit(rz_store *store, int64_t recorded, int64_t *limit,
                                       rz_error *error);
/* The row of the open batch, made at the first change, so that unchanged claims write nothing. */
RZ_MUST_CHECK rz_status rz_batch_need(rz_store *store, rz_error *error);
RZ_MUST_CHECK rz_status rz_batch_totals(rz_store *store, int64_t limit, rz_totals *out,
                                        rz_error *error);
/* Counts `n` written rows; an import commits when enough have gathered. */
RZ_MUST_CHECK rz_status rz_batch_wrote(rz_store *store, size_t n, rz_error *error);
/* Removes what an unfinished batch left. */
RZ_MUST_CHECK rz_status rz_batch_clean(rz_store *store, rz_error *error);

/* patients.c */
RZ_MUST_CHECK rz_status rz_patient_for_claim(rz_store *store, const rz_claim *claim,
                                             int64_t facility, rz_error *error);
RZ_MUST_CHECK rz_status rz_patient_touch(rz_store *store, const rz_claim *claim, rz_error *error);
/* Tells the opener that this patient's history changes. */
RZ_MUST_CHECK rz_status rz_patient_changed(rz_store *store, rz_patient_key key, rz_error *error);
/* Rebuilds a patient's row from the claims that are left; removes it when none is. */
RZ_MUST_CHECK rz_status rz_patient_recompute(rz_store *store, rz_patient_key key, rz_error *error);
/* Demographics and version at a limit. *found is false when the patient was unknown then. */
typedef struct rz_patient_state {
    int64_t namespace_key, version, n_claims; /* n_claims only where asked for */
    rz_sex sex;
    int32_t birth_day;
    bool current; /* no change after the limit: what is not superseded is what is visible */
    char id[RZ_ID_MAX + 1];
} rz_patient_state;
RZ_MUST_CHECK rz_status rz_patient_at(rz_store *store, rz_patient_key key, int64_t limit,
                                      bool count_claims, rz_patient_state *out, bool *found,
                                      rz_error *error);

struct rz_score;
struct rz_score_row;

/* scores.c: eight columns of a table s and the score that they are, from column `first` on. */
#define RZ_SCORE_COLUMNS                                                                           \
    "s.probability, s.low, s.high, s.average, s.reason, s.as_of, s.version, s.scored_at"
void rz_score_read(rz_statement *select, int first, struct rz_score *out);

/* score_months.c: keeps a score of the transaction under way as that of its month. */
RZ_MUST_CHECK rz_status rz_score_month_put(rz_store *store, const struct rz_score_row *row,
                                           int64_t context, int64_t now, rz_error *error);

/* SQL: whether patient p is one of the facility whose key is parameter `at` ("?2"), 0 = all. With
 * shared ids a facility's patients are those it has sent claims of; they are looked up by patient,
 * because a facility has many claims. */
#define RZ_OF_FACILITY(at)                                                                         \
    "(" at " = 0 OR p.namespace = " at " OR (p.namespace = 0 AND EXISTS (SELECT 1 FROM claims k "  \
    "WHERE k.patient = p.key AND +k.facility = " at ")))"

/* events.c */
/* Writes a claim's events, one per (day, kind, code); *last_day is the last one, deaths apart, or
 * RZ_DAY_NONE. The order is prepared first because the claim's row needs last_day. */
RZ_MUST_CHECK rz_status rz_events_prepare(rz_store *store, const rz_claim *claim, size_t *n,
                                          int32_t *last_day, rz_error *error);
RZ_MUST_CHECK rz_status rz_events_insert(rz_store *store, const rz_claim *claim, int64_t claim_key,
                                         size_t n, rz_error *error);
/* Marks a claim's events as superseded by the open batch and takes them off the totals. */
RZ_MUST_CHECK rz_status rz_events_supersede(rz_store *store, rz_patient_key patient, int64_t claim,
                                            rz_error *error);
/* What a patient's merged history spans; fills days and n_events. */
RZ_MUST_CHECK rz_status rz_events_summary(rz_store *store, int64_t limit, bool current,
                                          rz_patient *patient, rz_error *error);

#endif
