/* Answers under the question that they answer, given again while nothing has changed that they
 * depend on (changes.h); bounded in bytes, older ones give way. */
#ifndef REZEPTD_CACHE_H
#define REZEPTD_CACHE_H

#include "base/status.h"
#include "changes.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cache cache;

/* A kept answer. Nothing but the count changes while anyone holds it. */
typedef struct kept {
    atomic_int references;
    uint64_t mark; /* changes_now before the answer was worked out */
    size_t place;  /* changes_place of the patient */
    char patient_hash[33];
    size_t length, question_n;
    const char *text, *question; /* in the same block; the text ends with a NUL */
} kept;

/* limit_bytes 0: nothing is ever kept. `history` is borrowed. */
RZ_MUST_CHECK rz_status cache_new(size_t limit_bytes, const changes *history, cache **out,
                                  rz_error *error);
void cache_free(cache *c); /* accepts NULL */

/* The answer that still holds, one reference, or NULL. */
kept *cache_get(cache *c, const char *question, size_t n);
/* Keeps a copy, if there is room for it; losing one is no error. place and mark: of the answer. */
void cache_put(cache *c, const char *question, size_t n, uint64_t mark, size_t place,
               const char patient_hash[33], const char *text, size_t length);
void kept_drop(kept *k); /* accepts NULL */

void cache_figures(cache *c, uint64_t *hits, uint64_t *misses, size_t *bytes);

#endif
