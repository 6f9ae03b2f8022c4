/* A timeline: one patient's history as every model reads it. Events are in the order (day, kind,
 * system, code), one per (day, kind, system, code), superseded and unfinished ones left out. */
#ifndef RZ_CLAIMS_TIMELINE_H
#define RZ_CLAIMS_TIMELINE_H

#include "base/arena.h"
#include "claims/event.h"

typedef struct rz_timeline_event {
    int32_t day, known_day; /* of duplicates, the earliest known one stays */
    uint8_t kind, system, setting, flags;
    float value;      /* NaN when there is none */
    const char *code; /* untruncated; borrowed from the timeline's owner */
} rz_timeline_event;

typedef struct rz_timeline {
    int64_t patient; /* rz_patient_key in the store; 0 for an inline history */
    uint64_t hash;   /* of (namespace, id): splits and index choice, the same in every store */
    rz_sex sex;
    int32_t birth_day; /* RZ_DAY_NONE when unknown */
    size_t n_events;
    const rz_timeline_event *events; /* borrowed, same owner as the timeline */
} rz_timeline;

/* Which part of the record a patient belongs to; by hash, so that a patient never changes sides. */
typedef enum rz_split { RZ_SPLIT_TRAIN, RZ_SPLIT_TUNING, RZ_SPLIT_HELD_OUT } rz_split;
enum { RZ_FOLDS_MAX = 20 };

/* 70 / 15 / 15 by rz_hash64 of the patient hash and `seed`. Outcomes are rare: a tenth of a small
 * record would hold too few of them to calibrate on or to tell two scores apart. */
#define RZ_SPLIT_SHARES "70/15/15" /* of train, tuning and held_out, as models record it */
rz_split rz_split_of(uint64_t patient_hash, uint64_t seed);
const char *rz_split_name(rz_split split); /* "train", "tuning", "held_out" */
/* Fold 0 … n_folds-1, for cross-validation of small sets. */
unsigned rz_fold_of(uint64_t patient_hash, uint64_t seed, unsigned n_folds);

/* The hash of a patient's name: namespace and id, with a separator between. */
uint64_t rz_patient_hash(const char *patient_namespace, const char *id);

/* First day of record and day of death (RZ_DAY_NONE) among events with known_day <= as_of. */
int32_t rz_timeline_first_day(const rz_timeline *timeline, int32_t as_of);
int32_t rz_timeline_death_day(const rz_timeline *timeline, int32_t as_of);

/* Sorts n events and keeps one per (day, kind, system, code); returns how many stay, at the front.
 * Of duplicates a confirmed one wins over suspected ones, then the one that was known first, whole:
 * its value is not completed from later ones, so nothing is seen before it could be known. */
size_t rz_timeline_settle(rz_timeline_event *events, size_t n);

/* Makes a timeline from one or more claims of the same patient (an inline history): sorts and
 * removes duplicates. The result lives in the arena; its namespace is the first claim's facility.
 * Errors  RZ_E_INVALID without claims or with several patients; RZ_E_CONFLICT when sex or birth
 *         dates differ; RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status rz_timeline_from_claims(const rz_claim *claims, size_t n_claims,
                                                rz_arena *arena, rz_timeline **out,
                                                rz_error *error);

#endif
