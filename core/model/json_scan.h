/* A pull reader of JSON for files that are large or hostile: it builds no tree, allocates nothing,
 * and never recurses, so what a file can cost is bounded by its size. Strict: numbers are
 * non-negative integers, strings are valid UTF-8 without control characters or NUL.
 *
 * Every function returns false at the first thing that is wrong; `problem` then says what, and `at`
 * where. Private to core/model. */
#ifndef RZ_MODEL_JSON_SCAN_H
#define RZ_MODEL_JSON_SCAN_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct rz_scan {
    char *text; /* borrowed and changed: strings are unescaped and terminated in place */
    size_t n, at;
    const char *problem; /* static; NULL while all is well */
} rz_scan;

void rz_scan_init(rz_scan *scan, char *text, size_t n);

/* Takes the character, after white space, if it comes next; its absence is no problem. */
bool rz_scan_take(rz_scan *scan, char c);
/* Takes the character, which must come next. */
bool rz_scan_expect(rz_scan *scan, char c);
/* *out is borrowed from the text; `n` may be NULL. */
bool rz_scan_string(rz_scan *scan, const char **out, size_t *n);
bool rz_scan_unsigned(rz_scan *scan, uint64_t max, uint64_t *out);
/* A member's name and the colon after it. */
bool rz_scan_key(rz_scan *scan, const char **out);
/* Nothing but white space is left. */
bool rz_scan_end(rz_scan *scan);

/* The other direction: appends `text` as a JSON string, in a form that rz_scan_string reads.
 * Errors  RZ_E_INVALID when it holds control characters or is not UTF-8; as rz_buffer_add. */
RZ_MUST_CHECK rz_status rz_scan_quote(rz_buffer *out, const char *text);

#endif
