/* An inline history: {"claims": [claim, …]} or {"patient": {"sex", "birth_date"}, "events":
 * [{"kind", "system", "code", "date", "value", "unit", "days", "suspected"}, …]}, of one patient,
 * made into a timeline. Nothing of it is stored. */
#ifndef REZEPTD_HISTORY_H
#define REZEPTD_HISTORY_H

#include "problem.h"

#include "claims/timeline.h"

/* document  borrowed; also "as_of" is read from it when present
 * errors    new on failure: array of {pointer, code, detail}; NULL when memory was short
 * as_of     in: the default; out: the document's, if it has one
 * Errors    RZ_E_INVALID with `errors`; RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status history_read(const json_t *document, rz_arena *arena, rz_timeline **out,
                                     int32_t *as_of, json_t **errors, rz_error *error);

#endif
