/* Claims: idempotent on (facility, claim id), versioned, voidable; and the claim days of cohorts.
 *
 * A put decides everything before it writes anything, so that a refusal leaves no trace. A write
 * that fails half-way spoils the batch, which then can only be rolled back. */
#include "store/internal.h"

#include "base/size.h"

#include <stdlib.h>
#include <string.h>

enum { EVENTS_MAX = 20000 };

/* The version of a claim that counts; key 0 when there is none. */
typedef struct current_claim {
    int64_t key, patient;
    unsigned char digest[RZ_SHA256_BYTES];
} current_claim;

static rz_status find_current(rz_store *store, int64_t facility, const char *claim_id,
                              current_claim *out, rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    size_t n = 0;
    *out = (current_claim){0};
    rz_status status =
        rz_db_statement(store->db,
                        "SELECT key, patient, digest FROM claims WHERE facility = ?1 "
                        "AND claim_id = ?2 AND superseded = 0",
                        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, facility);
    rz_bind_text(select, 2, claim_id);
    status = rz_step(select, &row, error);
    if (status != RZ_OK || !row)
        return status;
    out->key = rz_column_int(select, 0);
    out->patient = rz_column_int(select, 1);
    const void *digest = rz_column_blob(select, 2, &n);
    if (n == sizeof out->digest)
        memcpy(out->digest, digest, n);
    return rz_finish(select, error);
}

/* ---- put ------------------------------------------------------------------------------------ */

static bool day_fits(int32_t day)
{
    return day >= RZ_DAY_MIN && day <= RZ_DAY_MAX;
}

static rz_status check_text(const char *text, const char *what, rz_error *error)
{
    size_t n = text != NULL ? strnlen(text, RZ_ID_MAX + 1) : 0;
    if (n == 0 || n > RZ_ID_MAX)
        return rz_fail(error, RZ_E_INVALID, "a claim's %s has %s characters, 1 to %d are allowed",
                       what, n == 0 ? "no" : "too many", RZ_ID_MAX);
    return RZ_OK;
}

/* The doors check claims with more words; this keeps the tables sound whatever they let through. */
static rz_status check(const rz_claim *claim, rz_error *error)
{
    rz_status status = check_text(claim->claim_id, "claim_id", error);
    if (status == RZ_OK)
        status = check_text(claim->facility, "facility", error);
    if (status == RZ_OK)
        status = check_text(claim->patient_id, "patient id", error);
    if (status != RZ_OK)
        return status;
    if (!day_fits(claim->start_day) || !day_fits(claim->end_day) || !day_fits(claim->known_day) ||
        (claim->birth_day != RZ_DAY_NONE && !day_fits(claim->birth_day)))
        return rz_fail(error, RZ_E_INVALID, "a claim has a date outside the years 1800 to 2400");
    if ((unsigned)claim->sex > RZ_SEX_MALE || (unsigned)claim->setting > RZ_SETTING_PHARMACY)
        return rz_fail(error, RZ_E_INVALID, "a claim has an unknown sex or setting");
    if (claim->n_events > EVENTS_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "a claim has %zu events, at most %d are allowed",
                       claim->n_events, EVENTS_MAX);
    for (size_t i = 0; i < claim->n_events; i++) {
        const rz_event *event = &claim->events[i];
        size_t n = event->code != NULL ? strnlen(event->code, RZ_CODE_TEXT) : 0;
        if ((unsigned)event->kind >= RZ_KIND_COUNT || (unsigned)event->system >= RZ_SYSTEM_COUNT ||
            n == 0 || n >= RZ_CODE_TEXT || !day_fits(event->day) || !day_fits(event->known_day) ||
            event->flags > UINT8_MAX)
            return rz_fail(error, RZ_E_INVALID,
                           "event %zu of a claim has an impossible kind, code, date or flag", i);
        if (event->unit != NULL && strnlen(event->unit, RZ_ID_MAX + 1) > RZ_ID_MAX)
            return rz_fail(error, RZ_E_INVALID, "event %zu of a claim has too long a unit", i);
    }
    return RZ_OK;
}

static rz_status mark_superseded(rz_store *store, int64_t key, rz_patient_key patient,
                                 rz_error *error)
{
    rz_statement *change = NULL;
    rz_status status = rz_db_statement(
        store->db, "UPDATE claims SET superseded = ?2 WHERE key = ?1", &change, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(change, 1, key);
    rz_bind_int(change, 2, store->batch);
    status = rz_run(change, error);
    if (status == RZ_OK)
        status = rz_events_supersede(store, patient, key, error);
    if (status == RZ_OK)
        store->totals.claims--;
    return status;
}

static rz_status insert_claim(rz_store *store, const rz_claim *claim, int64_t facility,
                              const unsigned char digest[RZ_SHA256_BYTES], int32_t last_day,
                              int64_t *key, rz_error *error)
{
    rz_statement *insert = NULL;
    rz_status status = rz_db_statement(
        store->db,
        "INSERT INTO claims (facility, claim_id, patient, setting, start_day, end_day, known_day, "
        "last_day, sex, birth_day, digest, batch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
        "?11, ?12)",
        &insert, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(insert, 1, facility);
    rz_bind_text(insert, 2, claim->claim_id);
    rz_bind_int(insert, 3, store->patient.key);
    rz_bind_int(insert, 4, (int64_t)claim->setting);
    rz_bind_int(insert, 5, claim->start_day);
    rz_bind_int(insert, 6, claim->end_day);
    rz_bind_int(insert, 7, claim->known_day);
    rz_bind_int(insert, 8, last_day != RZ_DAY_NONE ? last_day : claim->start_day);
    rz_bind_int(insert, 9, (int64_t)claim->sex);
    rz_bind_null(insert, 10);
    if (claim->birth_day != RZ_DAY_NONE)
        rz_bind_int(insert, 10, claim->birth_day);
    rz_bind_blob(insert, 11, digest, RZ_SHA256_BYTES);
    rz_bind_int(insert, 12, store->batch);
    status = rz_run(insert, error);
    if (status == RZ_OK) {
        *key = rz_db_last_key(store->db);
        store->totals.claims++;
    }
    return status;
}

/* Another patient than before: the old one's history changed as well. */
static rz_status touch_former_patient(rz_store *store, rz_patient_key patient, rz_error *error)
{
    rz_statement *change = NULL;
    rz_status status = rz_patient_changed(store, patient, error);
    if (status == RZ_OK)
        status = rz_db_statement(store->db, "UPDATE patients SET version = ?2 WHERE key = ?1",
                                 &change, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(change, 1, patient);
    rz_bind_int(change, 2, store->batch);
    return rz_run(change, error);
}

static rz_status write_claim(rz_store *store, const rz_claim *claim, int64_t facility,
                             const current_claim *current,
                             const unsigned char digest[RZ_SHA256_BYTES], rz_error *error)
{
    size_t n = 0;
    int32_t last_day = RZ_DAY_NONE;
    int64_t key = 0;
    rz_status status = rz_batch_need(store, error);
    if (status == RZ_OK)
        status = rz_patient_touch(store, claim, error);
    if (status == RZ_OK && current->key != 0)
        status = mark_superseded(store, current->key, current->patient, error);
    if (status == RZ_OK && current->key != 0 && current->patient != store->patient.key)
        status = touch_former_patient(store, current->patient, error);
    if (status == RZ_OK)
        status = rz_events_prepare(store, claim, &n, &last_day, error);
    if (status == RZ_OK)
        status = insert_claim(store, claim, facility, digest, last_day, &key, error);
    if (status == RZ_OK)
        status = rz_events_insert(store, claim, key, n, error);
    return status == RZ_OK ? rz_batch_wrote(store, n + 1, error) : status;
}

rz_status rz_store_put(rz_store *store, const rz_claim *claim, rz_put_outcome *outcome,
                       rz_error *error)
{
    char id[RZ_ID_MAX + 1];
    unsigned char digest[RZ_SHA256_BYTES];
    int64_t facility = 0;
    current_claim current;
    if (store->batch_kind == RZ_BATCH_NONE)
        return rz_fail(error, RZ_E_USAGE, "a claim needs an open batch");
    if (store->failed != RZ_OK)
        return rz_fail(error, store->failed, "an earlier write of this batch failed (%s)",
                       rz_status_text(store->failed));
    rz_status status = check(claim, error);
    if (status == RZ_OK)
        status = rz_store_id(store, claim->patient_id, id, error);
    if (status != RZ_OK) {
        *outcome = RZ_PUT_REFUSED;
        return status;
    }
    /* The digest is taken with the stored id: one made with the caller's own would let a reader of
     * the file test guesses of it. */
    rz_claim stored = *claim;
    stored.patient_id = id;
    status = rz_claim_digest(&stored, digest, error);
    if (status == RZ_OK)
        status =
            rz_names_key(&store->facilities, store->db, 0, claim->facility, true, &facility, error);
    if (status == RZ_OK)
        status = find_current(store, facility, claim->claim_id, &current, error);
    if (status != RZ_OK)
        goto spoiled;
    if (current.key != 0 && memcmp(current.digest, digest, sizeof digest) == 0) {
        *outcome = RZ_PUT_UNCHANGED;
        return RZ_OK;
    }
    status = rz_patient_for_claim(store, &stored, facility, error);
    if (status == RZ_E_CONFLICT) {
        *outcome = RZ_PUT_REFUSED;
        return status;
    }
    if (status == RZ_OK)
        status = write_claim(store, &stored, facility, &current, digest, error);
    if (status != RZ_OK)
        goto spoiled;
    *outcome = current.key != 0 ? RZ_PUT_SUPERSEDED : RZ_PUT_ADDED;
    return RZ_OK;
spoiled:
    store->failed = status;
    return status;
}

/* ---- void ----------------------------------------------------------------------------------- */

static rz_status mark_voided(rz_store *store, int64_t facility, const char *claim_id,
                             rz_error *error)
{
    rz_statement *change = NULL;
    rz_status status = rz_db_statement(store->db,
                                       "UPDATE claims SET voided = ?3 WHERE facility = ?1 AND "
                                       "claim_id = ?2 AND voided = 0",
                                       &change, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(change, 1, facility);
    rz_bind_text(change, 2, claim_id);
    rz_bind_int(change, 3, store->batch);
    return rz_run(change, error);
}

rz_status rz_store_void_claim(rz_store *store, const char *facility, const char *claim_id,
                              rz_error *error)
{
    current_claim current = {0};
    int64_t facility_key = 0;
    rz_status status = rz_store_begin(store, error);
    if (status != RZ_OK)
        return status;
    memcpy(store->source, "void", sizeof "void");
    status = rz_names_key(&store->facilities, store->db, 0, facility, false, &facility_key, error);
    if (status == RZ_OK)
        status = find_current(store, facility_key, claim_id, &current, error);
    if (status == RZ_OK && current.key == 0)
        status = rz_fail(error, RZ_E_NOT_FOUND, "this facility has no current claim of that id");
    if (status == RZ_OK)
        status = rz_batch_need(store, error);
    if (status == RZ_OK)
        status = mark_superseded(store, current.key, current.patient, error);
    if (status == RZ_OK)
        status = mark_voided(store, facility_key, claim_id, error);
    if (status == RZ_OK)
        status = rz_patient_recompute(store, current.patient, error);
    if (status == RZ_OK)
        return rz_store_commit(store, error);
    rz_store_rollback(store);
    return status;
}

/* ---- claim days ----------------------------------------------------------------------------- */

/* The last event day of a facility: from the end of an index to the first visible claim. */
static rz_status data_end(rz_store *store, int64_t facility, int64_t limit, int32_t *out,
                          rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    if (store->data_ends_limit != limit) {
        store->n_data_ends = 0;
        store->data_ends_limit = limit;
    }
    while (store->n_data_ends < (size_t)facility) {
        size_t n = store->n_data_ends;
        int32_t *grown = realloc(store->data_ends, (n + 1) * sizeof *grown);
        if (grown == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu facilities", n + 1);
        store->data_ends = grown;
        rz_status status = rz_db_statement(
            store->db,
            "SELECT last_day FROM claims WHERE facility = ?1 AND batch <= ?2 AND "
            "(superseded = 0 OR superseded > ?2) ORDER BY facility DESC, last_day DESC LIMIT 1",
            &select, error);
        if (status != RZ_OK)
            return status;
        rz_bind_int(select, 1, (int64_t)n + 1);
        rz_bind_int(select, 2, limit);
        status = rz_step(select, &row, error);
        if (status != RZ_OK)
            return status;
        store->data_ends[n] = row ? (int32_t)rz_column_int(select, 0) : RZ_DAY_NONE;
        store->n_data_ends++;
        rz_reset(select);
    }
    *out = store->data_ends[facility - 1];
    return RZ_OK;
}

static rz_status read_days(rz_store *store, rz_patient_key key, int64_t limit, rz_arena *arena,
                           rz_claim_day **out, size_t *n_out, rz_error *error)
{
    rz_statement *select = NULL;
    size_t n = 0, capacity = 0;
    rz_claim_day *days = NULL;
    bool row = false;
    rz_status status = rz_db_statement(store->db,
                                       "SELECT known_day, facility FROM claims WHERE patient = ?1 "
                                       "AND batch <= ?2 AND (superseded = 0 OR superseded > ?2) "
                                       "ORDER BY known_day, facility",
                                       &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, key);
    rz_bind_int(select, 2, limit);
    while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
        int32_t end = RZ_DAY_NONE;
        int64_t facility = rz_column_int(select, 1);
        rz_claim_day day = {.day = (int32_t)rz_column_int(select, 0),
                            .facility = (int32_t)facility - 1};
        status = facility > 0 && facility <= INT32_MAX
                     ? data_end(store, facility, limit, &end, error)
                     : rz_fail(error, RZ_E_CORRUPT, "a claim has no facility");
        day.data_end_day = end;
        if (status != RZ_OK) {
            rz_reset(select);
            return status;
        }
        if (n == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            rz_claim_day *grown = rz_arena_alloc(arena, capacity, sizeof *grown);
            if (grown == NULL) {
                rz_reset(select);
                return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu claim days", capacity);
            }
            if (n > 0)
                memcpy(grown, days, n * sizeof *grown);
            days = grown;
        }
        if (n == 0 || days[n - 1].day != day.day)
            days[n++] = day;
        else if (day.data_end_day < days[n - 1].data_end_day)
            days[n - 1] = day; /* one day, two facilities: the shorter follow-up counts */
    }
    *out = days;
    *n_out = n;
    return status;
}

rz_status rz_store_claim_days(rz_store *store, rz_patient_key key, rz_arena *arena,
                              const rz_claim_day **out, size_t *n, rz_error *error)
{
    bool began = false;
    int64_t limit = 0;
    size_t found = 0;
    rz_claim_day *days = NULL;
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = rz_batch_limit(store, RZ_RECORDED_NOW, &limit, error);
    if (status == RZ_OK)
        status = read_days(store, key, limit, arena, &days, &found, error);
    rz_store_view_end(store, began);
    if (status == RZ_OK) {
        *out = days;
        *n = found;
    }
    return status;
}

rz_status rz_store_facilities(rz_store *store, rz_arena *arena, const char *const **names,
                              size_t *n, rz_error *error)
{
    bool began = false;
    const char **texts = NULL;
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = rz_names_refresh(&store->facilities, store->db, error);
    size_t count = store->facilities.n;
    if (status == RZ_OK)
        texts = rz_arena_alloc(arena, count > 0 ? count : 1, sizeof *texts);
    for (size_t i = 0; texts != NULL && i < count; i++) {
        texts[i] = rz_arena_strdup(arena, store->facilities.entries[i].text);
        texts = texts[i] != NULL ? texts : NULL;
    }
    rz_store_view_end(store, began);
    if (status == RZ_OK && texts == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the names of %zu facilities", count);
    if (status != RZ_OK)
        return status;
    *names = texts;
    *n = count;
    return RZ_OK;
}
