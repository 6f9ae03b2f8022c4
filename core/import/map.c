/* Open addressing over a dense array, so that growing moves only the small slots. */
#include "import/map.h"

#include <stdlib.h>
#include <string.h>

/* Spreads ids, which are often consecutive, over the slots (the finaliser of MurmurHash3). */
static size_t spread(int64_t key)
{
    uint64_t x = (uint64_t)key;
    x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (size_t)(x ^ x >> 33);
}

void rz_map_done(rz_map *map)
{
    free(map->entries);
    free(map->slots);
    *map = (rz_map){0};
}

/* The slot that holds the key, or the free one where it belongs. The map must have slots. */
static uint32_t *slot_of(const rz_map *map, int64_t key)
{
    size_t i = spread(key) & (map->n_slots - 1);
    while (map->slots[i] != 0 && map->entries[map->slots[i] - 1].key != key)
        i = (i + 1) & (map->n_slots - 1);
    return &map->slots[i];
}

static rz_status grow(rz_map *map, rz_error *error)
{
    if (map->n >= RZ_MAP_ENTRIES_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE,
                       "more than %d patients, visits or concepts; divide the import",
                       RZ_MAP_ENTRIES_MAX);
    size_t capacity = map->capacity == 0 ? 256 : map->capacity * 2;
    rz_map_entry *entries = realloc(map->entries, capacity * sizeof *entries);
    if (entries != NULL)
        map->entries = entries;
    uint32_t *slots = calloc(capacity * 2, sizeof *slots);
    if (entries == NULL || slots == NULL) {
        free(slots);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a table of %zu ids", capacity);
    }
    free(map->slots);
    map->slots = slots;
    map->n_slots = capacity * 2;
    map->capacity = capacity;
    for (size_t i = 0; i < map->n; i++)
        *slot_of(map, map->entries[i].key) = (uint32_t)i + 1;
    return RZ_OK;
}

rz_status rz_map_add(rz_map *map, int64_t key, rz_map_entry **out, bool *is_new, rz_error *error)
{
    uint32_t *slot = map->n_slots > 0 ? slot_of(map, key) : NULL;
    *is_new = slot == NULL || *slot == 0;
    if (slot == NULL || (*is_new && map->n == map->capacity)) {
        rz_status status = grow(map, error);
        if (status != RZ_OK)
            return status;
        slot = slot_of(map, key);
    }
    if (*is_new) {
        map->entries[map->n] = (rz_map_entry){.key = key};
        *slot = (uint32_t)++map->n;
    }
    *out = &map->entries[*slot - 1];
    return RZ_OK;
}

const rz_map_entry *rz_map_find(const rz_map *map, int64_t key)
{
    if (map->n == 0)
        return NULL;
    uint32_t slot = *slot_of(map, key);
    return slot != 0 ? &map->entries[slot - 1] : NULL;
}
