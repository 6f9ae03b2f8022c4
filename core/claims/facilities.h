/* Whose patients are looked at: those of all facilities, of a few alone, or of all but a few. One
 * noun for the whole house: what a training leaves out, what an evaluation is restricted to, and
 * what a model records of whom it has learnt from. A patient of shared ids who has claims of
 * several facilities is a patient of each. */
#ifndef RZ_CLAIMS_FACILITIES_H
#define RZ_CLAIMS_FACILITIES_H

#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { RZ_FACILITIES_MAX = 32, RZ_FACILITY_NAME = 128 };

/* Zeroed: all facilities. A plain value, to be copied. */
typedef struct rz_facilities {
    size_t n;     /* 0 = all */
    bool without; /* all but the named ones; else the named ones alone */
    char name[RZ_FACILITIES_MAX][RZ_FACILITY_NAME]; /* rising, distinct */
} rz_facilities;

/* "H003,H005"; NULL is all. A name with a comma cannot be asked for.
 * Errors  RZ_E_USAGE for an empty name or one that is too long; RZ_E_TOO_LARGE. */
RZ_MUST_CHECK rz_status rz_facilities_read(const char *list, bool without, rz_facilities *out,
                                           rz_error *error);

bool rz_facilities_has(const rz_facilities *facilities, const char *name);
/* Can a patient of one be a patient of the other? Two that leave out may; so may all. */
bool rz_facilities_meet(const rz_facilities *a, const rz_facilities *b);

/* The patients of either: whom a model has learnt from that began with another model.
 * Errors  RZ_E_TOO_LARGE where more would have to be named than there is room for. */
RZ_MUST_CHECK rz_status rz_facilities_join(const rz_facilities *a, const rz_facilities *b,
                                           rz_facilities *out, rz_error *error);

/* "all", "H003, H005", "all but H003, H005"; and the names alone, as rz_facilities_read takes
 * them. */
enum { RZ_FACILITIES_TEXT = RZ_FACILITIES_MAX * (RZ_FACILITY_NAME + 1) + 8 };
const char *rz_facilities_text(const rz_facilities *facilities, char out[RZ_FACILITIES_TEXT]);
const char *rz_facilities_list(const rz_facilities *facilities, char out[RZ_FACILITIES_TEXT]);

/* What to know of a model that has learnt from some facilities and is looked at on others: "in
 * training: H001", "none of them in training", …; "" where both are all. */
enum { RZ_FACILITIES_NOTE = RZ_FACILITIES_TEXT + 64 };
const char *rz_facilities_note(const rz_facilities *looked_at, const rz_facilities *learnt_from,
                               char out[RZ_FACILITIES_NOTE]);

/* {"only": […]}, {"all_but": […]} or null for all; new, NULL when memory is exhausted. Reading
 * takes a missing value (NULL), as of models made before this was recorded, for all.
 * Errors  RZ_E_FORMAT. */
json_t *rz_facilities_json(const rz_facilities *facilities);
RZ_MUST_CHECK rz_status rz_facilities_from_json(const json_t *json, rz_facilities *out,
                                                rz_error *error);

#endif
