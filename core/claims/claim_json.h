/* The native claim: JSON in, rz_claim out, and back. One document is one claim; NDJSON is one claim
 * per line. Used by the HTTP doors, the native importer and the simulator's writer alike.
 *
 * Besides the arrays of the format, a claim may carry "death": "YYYY-MM-DD". Every claim yields one
 * encounter event (system local, code = setting, day = start), so that a claim without codes is
 * still a day of record. */
#ifndef RZ_CLAIMS_CLAIM_JSON_H
#define RZ_CLAIMS_CLAIM_JSON_H

#include "base/arena.h"
#include "base/buffer.h"
#include "claims/event.h"

#include <jansson.h>

enum { RZ_JSON_DEPTH_MAX = 32, RZ_CLAIM_EVENTS_MAX = 20000, RZ_CLAIM_PROBLEMS_MAX = 32 };

/* One thing that is wrong with a claim. */
typedef struct rz_claim_problem {
    char pointer[64]; /* JSON pointer, "/diagnoses/3/date" */
    const char *code; /* "missing", "impossible_date", "future", "before_birth",
                         "after_known", "end_before_start", "known_before_end", "unknown_system",
                         "bad_code", "bad_type", "bad_value", "out_of_range", "too_long",
                         "too_many", "control_character", "empty", "unknown_member"; static */
    char detail[160]; /* what is wrong and the remedy; never a patient's value */
} rz_claim_problem;

typedef struct rz_claim_problems {
    size_t count; /* all found; only the first RZ_CLAIM_PROBLEMS_MAX are kept */
    rz_claim_problem item[RZ_CLAIM_PROBLEMS_MAX];
} rz_claim_problems;

typedef struct rz_claim_rules {
    int32_t
        latest_day; /* nothing later is accepted: tomorrow UTC, or RZ_DAY_MAX for shifted data */
} rz_claim_rules;

/* Parses a JSON document strictly: one object at top, no duplicate keys, depth <= 32 checked before
 * parsing, no trailing bytes. `*out` is new (json_decref).
 * Errors  RZ_E_FORMAT with line and column, RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status rz_json_parse(const char *text, size_t n, json_t **out, rz_error *error);

/* Reads one claim. Strings of *out live in the arena or in `document`.
 *
 * end defaults to start, known to end, sex to "U"; null counts as absent. Ids have at most 127
 * bytes and no control characters. Events may lie outside start … end (an onset), but not before
 * the birth and not after known, so the known day of each event is the claim's.
 * A medication's days become its value with the unit "d".
 * Errors  RZ_E_INVALID with `problems` filled; RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status rz_claim_from_json(const json_t *document, const rz_claim_rules *rules,
                                           rz_arena *arena, rz_claim *out,
                                           rz_claim_problems *problems, rz_error *error);

/* Appends the claim as one line of NDJSON without the newline, keys in the order of the format,
 * bytes independent of locale and machine. Encounter events are implied by the format and not
 * written; of deaths the first is.
 * Errors  RZ_E_TOO_LARGE past the buffer's limit, RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status rz_claim_to_json(const rz_claim *claim, rz_buffer *out, rz_error *error);

#endif
