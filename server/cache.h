/* Answers under a digest of everything they depend on; bounded in bytes, older ones give way. */
#ifndef REZEPTD_CACHE_H
#define REZEPTD_CACHE_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct cache cache;

typedef struct cache_key {
    unsigned char bytes[16];
} cache_key;

/* limit_bytes 0: nothing is ever kept. */
RZ_MUST_CHECK rz_status cache_new(size_t limit_bytes, cache **out, rz_error *error);
void cache_free(cache *c); /* accepts NULL */

/* The kept text, new (free() it), or NULL. */
char *cache_get(cache *c, const cache_key *key, size_t *length);
/* Keeps a copy, if there is room for it; losing one is no error. */
void cache_put(cache *c, const cache_key *key, const char *text, size_t length);

void cache_figures(cache *c, uint64_t *hits, uint64_t *misses, size_t *bytes);

#endif
