/* What a request head must look like before anything else happens. The HTTP library of Debian 12
 * lets smuggling, nameless and half-broken requests through; this is where they stop. Pure: the
 * caller feeds header lines, so that tests can do the same. */
#ifndef REZEPTD_GUARD_H
#define REZEPTD_GUARD_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct guard {
    size_t header_bytes_max;
    bool local_only; /* no tokens in force: the Host must be this machine (DNS rebinding) */
    /* What was seen so far. */
    size_t bytes, content_lengths, transfer_encodings, hosts;
    uint64_t content_length;
    bool has_body, bad_encoding, bad_length, bad_name, bad_value;
    char host[256], origin[256];
} guard;

typedef enum guard_verdict {
    GUARD_PASS,
    GUARD_MALFORMED,
    GUARD_HEADERS_TOO_LARGE,
    GUARD_UNKNOWN_METHOD,
    GUARD_MISDIRECTED,
    GUARD_FORBIDDEN
} guard_verdict;

void guard_header(guard *g, const char *name, size_t name_n, const char *value, size_t value_n);

/* The verdict over method, version ("HTTP/1.1"), raw target and the headers that were fed.
 * why  static text for the problem's detail; set unless the verdict is PASS */
guard_verdict guard_judge(const guard *g, const char *method, const char *version,
                          const char *raw_target, const char **why);

#endif
