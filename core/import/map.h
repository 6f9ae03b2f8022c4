/* A compact table from 64-bit ids to a few facts: patients, visits and concepts, which have to be
 * known while event tables stream by. About 40 bytes an entry; entries keep the order in which they
 * were added. Private. */
#ifndef RZ_IMPORT_MAP_H
#define RZ_IMPORT_MAP_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RZ_MAP_ENTRIES_MAX = 1 << 26 };

typedef struct rz_map_entry {
    int64_t key;
    int64_t other;         /* what the owner wants: an id, an offset */
    int32_t first, second; /* days, or small numbers */
    uint32_t tag;
} rz_map_entry;

typedef struct rz_map {
    rz_map_entry *entries;
    uint32_t *slots; /* 0 = free, else index + 1; a power of two of them */
    size_t n, capacity, n_slots;
} rz_map;

void rz_map_done(rz_map *map); /* accepts a zeroed map, which is also an empty one */

/* The entry with this key, or a new zeroed one. Valid until the next call.
 * Errors  RZ_E_NO_MEMORY; RZ_E_TOO_LARGE past RZ_MAP_ENTRIES_MAX. */
RZ_MUST_CHECK rz_status rz_map_add(rz_map *map, int64_t key, rz_map_entry **out, bool *is_new,
                                   rz_error *error);
const rz_map_entry *rz_map_find(const rz_map *map, int64_t key); /* NULL when absent */

#endif
