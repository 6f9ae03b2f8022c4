/* Counts, over the patients of the training split, how many have each truncated code, and makes the
 * vocabulary of those that enough patients have. A hash table with open addressing; its order never
 * shows, because the result is sorted. */
#include "model/vocabulary_entries.h"

#include <stdlib.h>
#include <string.h>

/* Distinct codes while counting; the finished vocabulary holds RZ_VOCABULARY_CODES_MAX. */
enum { COUNTED_MAX = 4 << 20, SLOTS_FIRST = 4096 };

typedef struct counted {
    rz_vocabulary_entry entry;
    uint32_t last_patient; /* number of the patient counted last, from 1: counts each once */
} counted;

struct rz_vocabulary_builder {
    rz_code_levels levels;
    uint32_t patients;
    counted *codes;
    size_t n, capacity;
    uint32_t *slots; /* 1 + index into codes; 0 = free */
    size_t n_slots;  /* a power of two */
};

rz_status rz_vocabulary_builder_new(rz_code_levels levels, rz_vocabulary_builder **out,
                                    rz_error *error)
{
    rz_vocabulary_builder *builder = calloc(1, sizeof *builder);
    if (builder != NULL)
        builder->slots = calloc(SLOTS_FIRST, sizeof *builder->slots);
    if (builder == NULL || builder->slots == NULL) {
        free(builder);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to count codes");
    }
    builder->n_slots = SLOTS_FIRST;
    builder->levels = levels;
    *out = builder;
    return RZ_OK;
}

void rz_vocabulary_builder_free(rz_vocabulary_builder *builder)
{
    if (builder == NULL)
        return;
    free(builder->codes);
    free(builder->slots);
    free(builder);
}

static uint64_t hash_of(const rz_vocabulary_entry *entry)
{
    return rz_hash64(entry->code, strlen(entry->code),
                     (uint64_t)entry->kind << 32 | (uint64_t)entry->system);
}

/* The slot that holds the code or where it belongs. */
static size_t slot_of(const rz_vocabulary_builder *builder, const rz_vocabulary_entry *entry)
{
    size_t slot = (size_t)hash_of(entry) & (builder->n_slots - 1);
    while (builder->slots[slot] != 0 &&
           vocabulary_compare(&builder->codes[builder->slots[slot] - 1].entry, entry) != 0)
        slot = (slot + 1) & (builder->n_slots - 1);
    return slot;
}

/* Room for one more code; the table stays at most half full. */
static rz_status grow(rz_vocabulary_builder *builder, rz_error *error)
{
    if (builder->n == COUNTED_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE,
                       "more than %d different codes; shorten the levels of the code systems",
                       COUNTED_MAX);
    if (builder->n == builder->capacity) {
        size_t capacity = builder->capacity == 0 ? 1024 : builder->capacity * 2;
        counted *codes = realloc(builder->codes, capacity * sizeof *codes);
        if (codes == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory to count %zu codes", capacity);
        builder->codes = codes;
        builder->capacity = capacity;
    }
    if (2 * (builder->n + 1) > builder->n_slots) {
        size_t n_slots = 2 * builder->n_slots;
        uint32_t *slots = calloc(n_slots, sizeof *slots);
        if (slots == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory to count %zu codes", n_slots / 2);
        free(builder->slots);
        builder->slots = slots;
        builder->n_slots = n_slots;
        for (size_t i = 0; i < builder->n; i++)
            builder->slots[slot_of(builder, &builder->codes[i].entry)] = (uint32_t)i + 1;
    }
    return RZ_OK;
}

rz_status rz_vocabulary_builder_add(rz_vocabulary_builder *builder, const rz_timeline *timeline,
                                    rz_error *error)
{
    if (builder->patients == UINT32_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "more than %u patients", UINT32_MAX);
    builder->patients++;
    for (size_t i = 0; i < timeline->n_events; i++) {
        const rz_timeline_event *event = &timeline->events[i];
        if ((event->kind != RZ_KIND_DIAGNOSIS && event->kind != RZ_KIND_MEDICATION) ||
            (event->flags & RZ_EVENT_SUSPECTED) != 0)
            continue;
        rz_vocabulary_entry entry = {.kind = (rz_kind)event->kind,
                                     .system = (rz_code_system)event->system};
        size_t length = rz_code_truncated_length(entry.system, event->code, builder->levels);
        if (length == 0 || length >= sizeof entry.code)
            return rz_fail(error, RZ_E_RANGE, "a code of %zu characters, 1 to %d are allowed",
                           length, RZ_CODE_TEXT - 1);
        memcpy(entry.code, event->code, length);
        size_t slot = slot_of(builder, &entry);
        if (builder->slots[slot] == 0) {
            rz_status status = grow(builder, error);
            if (status != RZ_OK)
                return status;
            slot = slot_of(builder, &entry);
            builder->codes[builder->n] = (counted){.entry = entry};
            builder->slots[slot] = (uint32_t)++builder->n;
        }
        counted *code = &builder->codes[builder->slots[slot] - 1];
        if (code->last_patient != builder->patients) {
            code->last_patient = builder->patients;
            code->entry.patients++;
        }
    }
    return RZ_OK;
}

static int compare_entries(const void *a, const void *b)
{
    return vocabulary_compare(a, b);
}

rz_status rz_vocabulary_builder_finish(const rz_vocabulary_builder *builder, uint32_t min_patients,
                                       rz_vocabulary **out, rz_error *error)
{
    if (min_patients == 0)
        min_patients = builder->patients / 1000 > 2 ? builder->patients / 1000 : 2;
    size_t n = 0;
    for (size_t i = 0; i < builder->n; i++)
        n += builder->codes[i].entry.patients >= min_patients;
    if (n == 0)
        return rz_fail(error, RZ_E_INVALID,
                       "no code is left: %zu different codes of %u training patients, none has the "
                       "minimum of %u patients; add claims or lower it",
                       builder->n, builder->patients, min_patients);
    if (n > RZ_VOCABULARY_CODES_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE,
                       "%zu codes have at least %u patients, a vocabulary holds %d; raise the "
                       "minimum",
                       n, min_patients, RZ_VOCABULARY_CODES_MAX);
    rz_vocabulary_entry *entries = malloc(n * sizeof *entries);
    if (entries == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a vocabulary of %zu codes", n);
    size_t k = 0;
    for (size_t i = 0; i < builder->n; i++)
        if (builder->codes[i].entry.patients >= min_patients)
            entries[k++] = builder->codes[i].entry;
    qsort(entries, n, sizeof *entries, compare_entries);
    rz_vocabulary head = {.levels = builder->levels,
                          .min_patients = min_patients,
                          .training_patients = builder->patients};
    return vocabulary_make(&head, entries, n, out, error);
}
