/* What handlers share about stored patients. */
#ifndef REZEPTD_PATIENTS_H
#define REZEPTD_PATIENTS_H

#include "request.h"
#include "store/store.h"

/* The patient of the path's {id} and the query's facility=, without days and counts. False when the
 * answer is 404, or 409 with the facilities that the id fits. */
bool patient_find(request *r, rz_store *store, rz_patient *out);

/* The same of a facility, which may be NULL, and an id from elsewhere. */
bool patient_find_named(request *r, rz_store *store, const char *facility, const char *id,
                        rz_patient *out);

/* {"id", "facility"} with the id as the caller wrote it; new. */
json_t *patient_name_json(const rz_patient *p, const char *id);

/* "2024-05-01T12:00:00[.123456]Z" or with +hh:mm, or a date, as microseconds since 1970. */
bool instant_read(const char *text, int64_t *out);

/* `after` and `limit` of a list's page; *after stays as it is where none is given. False when the
 * answer is a problem. */
bool page_read(request *r, int64_t *after, int64_t *limit);

#endif
