/* The packed cache: a copy of all timelines in one file of our own, so that training reads the
 * store once, in short reads, and then lets go of it.
 *
 * Kept are diagnoses, medications and deaths, the claim days, and of the other kinds only what
 * decides the first day of record or is the first of its code, which a task may require: cohorts
 * and histories come out as they would from the store. Values are not kept (NaN). Memory grows with
 * patients (64 bytes each) and distinct codes, not with events; timelines are read from the file
 * when asked for. */
#ifndef RZ_TRAIN_DATASET_H
#define RZ_TRAIN_DATASET_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/progress.h"
#include "claims/timeline.h"
#include "store/store.h"

typedef struct rz_dataset_writer rz_dataset_writer;
typedef struct rz_dataset rz_dataset;

/* Writes a cache at `path`, which appears complete at finish or not at all.
 *   data_sha256  the store's data hash: says later whether a cache still fits */
RZ_MUST_CHECK rz_status rz_dataset_writer_open(const char *path,
                                               const char data_sha256[RZ_SHA256_TEXT],
                                               rz_dataset_writer **out, rz_error *error);
RZ_MUST_CHECK rz_status rz_dataset_writer_add(rz_dataset_writer *writer,
                                              const rz_timeline *timeline, const rz_claim_day *days,
                                              size_t n_days, rz_error *error);
/* Frees the writer in any case. Durability: the file is on disk when this has returned. */
RZ_MUST_CHECK rz_status rz_dataset_writer_finish(rz_dataset_writer *writer, rz_error *error);
void rz_dataset_writer_abort(rz_dataset_writer *writer); /* accepts NULL */

/* Copies a store, or the patients of some of its facilities; nothing else of it is in the copy.
 *   facilities  NULL for all
 * Errors  RZ_E_CANCELED when progress says so; those of the store and rz_store_check_facilities. */
RZ_MUST_CHECK rz_status rz_dataset_copy(rz_store *store, const char *path,
                                        const rz_facilities *facilities,
                                        const rz_progress *progress, rz_error *error);

/* Opens a cache. Errors RZ_E_NOT_FOUND, RZ_E_CORRUPT naming the place, RZ_E_UNSUPPORTED (version).
 * Threads  one at a time per handle. */
RZ_MUST_CHECK rz_status rz_dataset_open(const char *path, rz_dataset **out, rz_error *error);
void rz_dataset_close(rz_dataset *dataset); /* accepts NULL */

size_t rz_dataset_patients(const rz_dataset *dataset);
const char *rz_dataset_sha256(const rz_dataset *dataset);            /* the store's data hash */
uint64_t rz_dataset_hash(const rz_dataset *dataset, size_t patient); /* of that patient */

/* Timeline and claim days of patient 0 … patients-1, in the order of their keys; they live in the
 * arena, the codes in the dataset. `days` may be NULL.
 * Errors  RZ_E_CORRUPT when the bytes are not those that were written. Cost: one read. */
RZ_MUST_CHECK rz_status rz_dataset_timeline(rz_dataset *dataset, size_t patient, rz_arena *arena,
                                            rz_timeline **out, const rz_claim_day **days,
                                            size_t *n_days, rz_error *error);

#endif
