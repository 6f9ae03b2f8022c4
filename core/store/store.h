/* The store: claims and patients in one SQLite file, seen as claims in and timelines out.
 *
 * One process writes (an exclusive lock on <path>.lock), through one rz_store; any number of
 * readers may be open in it, one per thread. Writers and readers are separate handles. A write is
 * durable when the call has returned (synchronous = FULL). All rows belong to a batch, which is one
 * POST or one import; readers see a batch whole once it is finished, or not at all. */
#ifndef RZ_STORE_STORE_H
#define RZ_STORE_STORE_H

#include "base/arena.h"
#include "base/progress.h"
#include "claims/event.h"
#include "claims/facilities.h"
#include "claims/timeline.h"

#include <stdbool.h>

typedef struct rz_store rz_store;
typedef int64_t rz_patient_key; /* > 0 */

typedef struct rz_store_options {
    bool write;              /* take the writer's lock, create and migrate; else read only */
    bool shared_patient_ids; /* patient_ids = shared: one namespace for all facilities */
    const unsigned char *pseudonym_key; /* 32 bytes or NULL; ids pass through HMAC at this door */
    int busy_timeout_ms;                /* default 5000 */
    /* Called during a write with the id, as stored, of each patient whose history it changes; may
     * be NULL. Ids may come twice, and of writes that fail in the end. */
    void (*changed)(void *context, const char *id);
    void *changed_context;
    /* What the handle went through, for those who count it; called by the handle's own thread, in
     * the middle of its calls. Either may be NULL. */
    void (*busy)(void *context);                         /* it begins to wait for a lock */
    void (*checkpointed)(void *context, double seconds); /* the log was moved into the file */
    void *watch_context;
} rz_store_options;

rz_store_options rz_store_options_defaults(void);

/* Opens the file; with `write` also makes it, migrates it to the newest schema and removes what an
 * interrupted import left.
 * Errors  RZ_E_BUSY another program writes to it (names the lock file and the remedy);
 *         RZ_E_UNSUPPORTED newer schema; RZ_E_CORRUPT damaged or not a database; RZ_E_DISK_FULL;
 *         RZ_E_NOT_FOUND; RZ_E_IO; RZ_E_CONFLICT settings differ from those the file was made with
 *         (patient_ids, pseudonym_key).
 * Threads a handle belongs to one thread at a time. */
RZ_MUST_CHECK rz_status rz_store_open(const char *path, const rz_store_options *options,
                                      rz_store **out, rz_error *error);
void rz_store_close(rz_store *store); /* accepts NULL */

/* ---- claims in ------------------------------------------------------------------------------ */

typedef enum rz_put_outcome {
    RZ_PUT_ADDED,
    RZ_PUT_UNCHANGED,  /* same content as the current version */
    RZ_PUT_SUPERSEDED, /* other content: the old version stays readable */
    RZ_PUT_REFUSED     /* only this claim; see the error */
} rz_put_outcome;

/* A batch is a transaction (POST) or a series of them under an import id. Only one at a time. */
RZ_MUST_CHECK rz_status rz_store_begin(rz_store *store, rz_error *error);
RZ_MUST_CHECK rz_status rz_store_begin_import(rz_store *store, const char *source, rz_error *error);

/* Adds one claim to the open batch. A refusal (`demographics_conflict`) returns RZ_E_CONFLICT with
 * *outcome = RZ_PUT_REFUSED, changes nothing and leaves the batch usable. */
RZ_MUST_CHECK rz_status rz_store_put(rz_store *store, const rz_claim *claim,
                                     rz_put_outcome *outcome, rz_error *error);

/* Makes the batch visible and durable. On failure nothing of it is. */
RZ_MUST_CHECK rz_status rz_store_commit(rz_store *store, rz_error *error);
/* Removes everything of the open batch. Safe without one. */
void rz_store_rollback(rz_store *store);

/* Moves the write-ahead log into the file and empties it; call when idle. Waits for readers at most
 * the busy timeout and gives up without harm. */
void rz_store_tidy(rz_store *store);

/* Voids a claim: its events leave the history, the versions stay readable.
 * Errors  RZ_E_NOT_FOUND. Durability as commit; outside a batch. */
RZ_MUST_CHECK rz_status rz_store_void_claim(rz_store *store, const char *facility,
                                            const char *claim_id, rz_error *error);

/* One version of a claim, as the store kept it. */
typedef struct rz_claim_version {
    rz_claim claim;        /* the patient id as stored; one event per (day, kind, system, code) */
    int64_t recorded_at;   /* microseconds since 1970 */
    int64_t superseded_at; /* 0 for the current version */
    bool voided;           /* superseded by a void of the claim, not by another version */
} rz_claim_version;

/* Every finished version of a claim, oldest first; all memory from the arena.
 * Errors  RZ_E_NOT_FOUND. */
RZ_MUST_CHECK rz_status rz_store_claim_versions(rz_store *store, const char *facility,
                                                const char *claim_id, rz_arena *arena,
                                                const rz_claim_version **out, size_t *n,
                                                rz_error *error);

/* ---- patients ------------------------------------------------------------------------------- */

typedef struct rz_patient {
    rz_patient_key key;
    char facility[128]; /* the namespace; "" when ids are shared */
    char id[128];       /* as stored: the pseudonym where one is used */
    rz_sex sex;
    int32_t birth_day, death_day, first_day, last_day; /* RZ_DAY_NONE when unknown or none */
    int64_t n_claims, n_events;
    int64_t version; /* grows with every change of the history */
} rz_patient;

/* Finds a patient by the id that callers use. facility may be NULL.
 * Errors  RZ_E_NOT_FOUND; RZ_E_CONFLICT when the id fits several patients and no facility chose. */
RZ_MUST_CHECK rz_status rz_store_patient(rz_store *store, const char *facility, const char *id,
                                         rz_patient *out, rz_error *error);

/* The same without what the history must be read for: days and counts are not filled in. */
RZ_MUST_CHECK rz_status rz_store_patient_brief(rz_store *store, const char *facility,
                                               const char *id, rz_patient *out, rz_error *error);

/* Every patient that an id fits, one per namespace, at most `cap`: what a caller is told who must
 * choose between them. */
RZ_MUST_CHECK rz_status rz_store_patients_named(rz_store *store, const char *id, rz_patient *out,
                                                size_t cap, size_t *n, rz_error *error);

/* Up to `cap` patients with key > after, in the order of their keys; *n tells how many. */
RZ_MUST_CHECK rz_status rz_store_patients(rz_store *store, rz_patient_key after,
                                          const char *facility, rz_patient *out, size_t cap,
                                          size_t *n, rz_error *error);

/* The same of a selection; NULL is all. A patient of shared ids belongs to every facility that has
 * sent a claim of theirs. */
RZ_MUST_CHECK rz_status rz_store_patients_of(rz_store *store, rz_patient_key after,
                                             const rz_facilities *facilities, rz_patient *out,
                                             size_t cap, size_t *n, rz_error *error);

/* Are all the named facilities here, and is one left?
 * Errors  RZ_E_NOT_FOUND naming the one that is not, and those that are; RZ_E_INVALID when all are
 *         left out. */
RZ_MUST_CHECK rz_status rz_store_check_facilities(rz_store *store, const rz_facilities *facilities,
                                                  rz_error *error);

/* Erases a patient physically: rows, freed bytes, the log. Durability as commit; outside a batch.
 * Errors  RZ_E_NOT_FOUND; RZ_E_BUSY when the rows are gone but a reader keeps old pages of the log
 *         alive past the busy timeout (they go with the next commit).
 * Cost    reads the file once, and rewrites it when a copy of the id is found in free space. */
RZ_MUST_CHECK rz_status rz_store_erase_patient(rz_store *store, rz_patient_key key,
                                               rz_error *error);

/* ---- timelines out -------------------------------------------------------------------------- */

#define RZ_RECORDED_NOW INT64_MAX

/* The history of one patient: events with known_day <= as_of (RZ_DAY_MAX for all), as the store
 * held it at `recorded` (microseconds since 1970, RZ_RECORDED_NOW). Lives in the arena.
 * Errors  RZ_E_NOT_FOUND. Threads: own handle each. */
RZ_MUST_CHECK rz_status rz_store_timeline(rz_store *store, rz_patient_key key, int32_t as_of,
                                          int64_t recorded, rz_arena *arena, rz_timeline **out,
                                          rz_error *error);

/* The facility of a patient's claims and its data end, for the index rule: every distinct known_day
 * of the patient's current claims with the data end of the claim's facility, ascending by day. Of
 * two facilities with claims known on one day, the earlier data end stands. */
typedef struct rz_claim_day {
    int32_t day;
    int32_t data_end_day; /* last event day, deaths apart, of that facility in this store */
    int32_t facility;     /* number within this store, 0 … */
} rz_claim_day;

RZ_MUST_CHECK rz_status rz_store_claim_days(rz_store *store, rz_patient_key key, rz_arena *arena,
                                            const rz_claim_day **out, size_t *n, rz_error *error);

/* The names of all facilities, by the number that claim days have; all memory from the arena. */
RZ_MUST_CHECK rz_status rz_store_facilities(rz_store *store, rz_arena *arena,
                                            const char *const **names, size_t *n, rz_error *error);

/* Counts are of current claims and their rows; two claims that tell of one event count twice. They
 * are kept per batch, so reading them costs nothing; first_day and last_day only ever widen. */
typedef struct rz_store_counts {
    int64_t patients, claims, events, facilities;
    int64_t events_by_kind[RZ_KIND_COUNT];
    int32_t first_day, last_day;
    int64_t wal_bytes, free_bytes; /* of the write-ahead log; on the file system */
} rz_store_counts;

RZ_MUST_CHECK rz_status rz_store_counts_of(rz_store *store, rz_store_counts *out, rz_error *error);

/* SHA-256 (hex) over all current claims' digests in key order: "data hash" of checkpoints. */
RZ_MUST_CHECK rz_status rz_store_data_hash(rz_store *store, char out[65], rz_error *error);

#endif
