/* Names that are stored once and used by number: codes, units, facilities. Keys are dense from 1,
 * so the table in memory is an array; a hash beside it answers "which key". Private. */
#ifndef RZ_STORE_NAMES_H
#define RZ_STORE_NAMES_H

#include "base/arena.h"
#include "store/sqlite.h"

typedef struct rz_name {
    const char *text; /* borrowed from the table until it is cleared */
    int32_t system;   /* rz_code_system for codes, else 0 */
} rz_name;

typedef struct rz_names {
    const char *select_sql, *insert_sql;
    rz_name *entries; /* entry i has key i + 1 */
    size_t n, capacity;
    uint32_t *slots; /* open addressing; entry + 1, 0 = free */
    size_t n_slots;  /* a power of two */
    rz_arena texts;
} rz_names;

void rz_names_init(rz_names *names, const char *select_sql, const char *insert_sql);
/* Forgets what is in memory, as after a rollback; the next use reads it again. */
void rz_names_clear(rz_names *names);

/* The key of a name; with `create` a new one is inserted, else *key is 0 when it is unknown. */
RZ_MUST_CHECK rz_status rz_names_key(rz_names *names, rz_db *db, int32_t system, const char *text,
                                     bool create, int64_t *key, rz_error *error);
/* The name of a key. Errors  RZ_E_CORRUPT when the file has no such key. */
RZ_MUST_CHECK rz_status rz_names_text(rz_names *names, rz_db *db, int64_t key, rz_name *out,
                                      rz_error *error);
/* Reads what was added since. */
RZ_MUST_CHECK rz_status rz_names_refresh(rz_names *names, rz_db *db, rz_error *error);

#endif
