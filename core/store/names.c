/* Interned names in memory: an array by key and a hash by (text, system). Grows with the tables of
 * the file, which are small (codes, not patients). */
#include "store/names.h"

#include "base/hash.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024, TEXT_BYTES_MAX = 1 << 30, NAMES_MAX = 50000000 };

void rz_names_init(rz_names *names, const char *select_sql, const char *insert_sql)
{
    *names = (rz_names){.select_sql = select_sql, .insert_sql = insert_sql};
    rz_arena_init(&names->texts, TEXT_BYTES_MAX);
}

void rz_names_clear(rz_names *names)
{
    const char *select_sql = names->select_sql, *insert_sql = names->insert_sql;
    rz_arena_done(&names->texts);
    free(names->entries);
    free(names->slots);
    rz_names_init(names, select_sql, insert_sql);
}

static size_t find(const rz_names *names, int32_t system, const char *text)
{
    size_t mask = names->n_slots - 1;
    size_t slot = (size_t)rz_hash64(text, strlen(text), (uint64_t)(uint32_t)system) & mask;
    while (names->slots[slot] != 0) {
        const rz_name *name = &names->entries[names->slots[slot] - 1];
        if (name->system == system && strcmp(name->text, text) == 0)
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static rz_status no_memory(const rz_names *names, rz_error *error)
{
    return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a table of %zu names", names->n);
}

/* Room for one more in both tables; slots stay at most half full. */
static rz_status grow(rz_names *names, rz_error *error)
{
    if (names->n == names->capacity) {
        size_t capacity = names->capacity == 0 ? FIRST_SLOTS / 2 : names->capacity * 2;
        rz_name *entries = realloc(names->entries, capacity * sizeof *entries);
        if (entries == NULL)
            return no_memory(names, error);
        names->entries = entries;
        names->capacity = capacity;
    }
    if (names->n * 2 < names->n_slots)
        return RZ_OK;
    size_t n_slots = names->n_slots == 0 ? FIRST_SLOTS : names->n_slots * 2;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (slots == NULL)
        return no_memory(names, error);
    free(names->slots);
    names->slots = slots;
    names->n_slots = n_slots;
    for (size_t i = 0; i < names->n; i++)
        slots[find(names, names->entries[i].system, names->entries[i].text)] = (uint32_t)i + 1;
    return RZ_OK;
}

static rz_status append(rz_names *names, int32_t system, const char *text, rz_error *error)
{
    if (names->n >= NAMES_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "more than %d names", NAMES_MAX);
    rz_status status = grow(names, error);
    if (status != RZ_OK)
        return status;
    char *copy = rz_arena_strdup(&names->texts, text);
    if (copy == NULL)
        return no_memory(names, error);
    names->entries[names->n] = (rz_name){.text = copy, .system = system};
    names->slots[find(names, system, copy)] = (uint32_t)++names->n;
    return RZ_OK;
}

rz_status rz_names_refresh(rz_names *names, rz_db *db, rz_error *error)
{
    rz_statement *select = NULL;
    rz_status status = rz_db_statement(db, names->select_sql, &select, error);
    if (status != RZ_OK)
        return status;
    bool row = false;
    rz_bind_int(select, 1, (int64_t)names->n);
    while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
        if (rz_column_int(select, 0) != (int64_t)names->n + 1)
            status = rz_fail(error, RZ_E_CORRUPT, "%s is damaged: name %zu is missing",
                             rz_db_path(db), names->n + 1);
        else
            status =
                append(names, (int32_t)rz_column_int(select, 1), rz_column_text(select, 2), error);
        if (status != RZ_OK) {
            rz_reset(select);
            break;
        }
    }
    return status;
}

static size_t lookup(const rz_names *names, int32_t system, const char *text)
{
    return names->n_slots == 0 ? 0 : names->slots[find(names, system, text)];
}

rz_status rz_names_key(rz_names *names, rz_db *db, int32_t system, const char *text, bool create,
                       int64_t *key, rz_error *error)
{
    rz_status status = RZ_OK;
    size_t found = lookup(names, system, text);
    if (found == 0) {
        status = rz_names_refresh(names, db, error);
        found = lookup(names, system, text);
    }
    if (status == RZ_OK && found == 0 && create) {
        rz_statement *insert = NULL;
        status = rz_db_statement(db, names->insert_sql, &insert, error);
        if (status != RZ_OK)
            return status;
        rz_bind_int(insert, 1, (int64_t)names->n + 1);
        rz_bind_int(insert, 2, system);
        rz_bind_text(insert, 3, text);
        status = rz_run(insert, error);
        if (status == RZ_OK)
            status = append(names, system, text, error);
        found = names->n;
    }
    if (status == RZ_OK)
        *key = (int64_t)found;
    return status;
}

rz_status rz_names_text(rz_names *names, rz_db *db, int64_t key, rz_name *out, rz_error *error)
{
    if (key > (int64_t)names->n) {
        rz_status status = rz_names_refresh(names, db, error);
        if (status != RZ_OK)
            return status;
    }
    if (key < 1 || key > (int64_t)names->n)
        return rz_fail(error, RZ_E_CORRUPT, "%s is damaged: no name has the number %lld",
                       rz_db_path(db), (long long)key);
    *out = names->entries[key - 1];
    return RZ_OK;
}
