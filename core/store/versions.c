/* Old versions of claims, for the questions "what did we know" and "who changed what when". */
#include "store/internal.h"

#include <math.h>
#include <string.h>

enum { VERSIONS_MAX = 1000 };

/* The events of one version, in the order of the table. */
static rz_status read_events(rz_store *store, rz_patient_key patient, int64_t claim,
                             rz_arena *arena, rz_claim *out, rz_error *error)
{
    rz_statement *select = NULL;
    rz_event *events = NULL;
    size_t n = 0, capacity = 0;
    bool row = false;
    rz_status status = rz_db_statement(store->db,
                                       "SELECT day, known_day, kind, code, value, unit, flags "
                                       "FROM events WHERE patient = ?1 AND claim = ?2 "
                                       "ORDER BY day, kind, code",
                                       &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, patient);
    rz_bind_int(select, 2, claim);
    while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
        rz_name code = {0}, unit = {0};
        if (n == capacity) {
            capacity = capacity == 0 ? 16 : capacity * 2;
            rz_event *grown = rz_arena_alloc(arena, capacity, sizeof *grown);
            if (grown == NULL) {
                rz_reset(select);
                return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu events", capacity);
            }
            if (n > 0)
                memcpy(grown, events, n * sizeof *grown);
            events = grown;
        }
        status = rz_names_text(&store->codes, store->db, rz_column_int(select, 3), &code, error);
        if (status == RZ_OK && rz_column_int(select, 5) != 0)
            status =
                rz_names_text(&store->units, store->db, rz_column_int(select, 5), &unit, error);
        if (status != RZ_OK) {
            rz_reset(select);
            return status;
        }
        const char *code_copy = rz_arena_strdup(arena, code.text);
        const char *unit_copy = unit.text != NULL ? rz_arena_strdup(arena, unit.text) : NULL;
        if (code_copy == NULL || (unit.text != NULL && unit_copy == NULL)) {
            rz_reset(select);
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu events", n);
        }
        events[n++] = (rz_event){.day = (int32_t)rz_column_int(select, 0),
                                 .known_day = (int32_t)rz_column_int(select, 1),
                                 .kind = (rz_kind)rz_column_int(select, 2),
                                 .system = (rz_code_system)code.system,
                                 .code = code_copy,
                                 .value = rz_column_real(select, 4),
                                 .unit = unit_copy,
                                 .flags = (uint32_t)rz_column_int(select, 6) & 0xff};
    }
    out->events = events;
    out->n_events = n;
    return status;
}

/* Fills a version from the current row of `select`. */
static rz_status read_version(rz_statement *select, int64_t limit, rz_arena *arena,
                              rz_claim_version *out, rz_error *error)
{
    char *patient_id = rz_arena_strdup(arena, rz_column_text(select, 2));
    if (patient_id == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a claim");
    int64_t superseded = rz_column_int(select, 9), voided = rz_column_int(select, 10);
    bool gone = superseded != 0 && superseded <= limit;
    *out = (rz_claim_version){
        .claim = {.patient_id = patient_id,
                  .setting = (rz_setting)rz_column_int(select, 3),
                  .start_day = (int32_t)rz_column_int(select, 4),
                  .end_day = (int32_t)rz_column_int(select, 5),
                  .known_day = (int32_t)rz_column_int(select, 6),
                  .sex = (rz_sex)rz_column_int(select, 7),
                  .birth_day = rz_column_is_null(select, 8) ? RZ_DAY_NONE
                                                            : (int32_t)rz_column_int(select, 8)},
        .recorded_at = rz_column_int(select, 11),
        .superseded_at = gone ? rz_column_int(select, 12) : 0,
        .voided = gone && voided == superseded,
    };
    return RZ_OK;
}

static rz_status read_versions(rz_store *store, int64_t facility, const char *claim_id,
                               int64_t limit, rz_arena *arena, rz_claim_version *versions,
                               size_t *n_out, rz_error *error)
{
    rz_statement *select = NULL;
    size_t n = 0;
    bool row = false;
    rz_status status = rz_db_statement(
        store->db,
        "SELECT c.key, c.patient, p.id, c.setting, c.start_day, c.end_day, c.known_day, c.sex,"
        " c.birth_day, c.superseded, c.voided, b.recorded_at, s.recorded_at"
        " FROM claims c JOIN patients p ON p.key = c.patient JOIN batches b ON b.id = c.batch"
        " LEFT JOIN batches s ON s.id = c.superseded"
        " WHERE c.facility = ?1 AND c.claim_id = ?2 AND c.batch <= ?3 ORDER BY c.key",
        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, facility);
    rz_bind_text(select, 2, claim_id);
    rz_bind_int(select, 3, limit);
    while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
        if (n == VERSIONS_MAX)
            status =
                rz_fail(error, RZ_E_TOO_LARGE, "a claim has more than %d versions", VERSIONS_MAX);
        else
            status = read_version(select, limit, arena, &versions[n], error);
        if (status == RZ_OK)
            status = read_events(store, rz_column_int(select, 1), rz_column_int(select, 0), arena,
                                 &versions[n].claim, error);
        if (status != RZ_OK) {
            rz_reset(select);
            return status;
        }
        n++;
    }
    *n_out = n;
    return status;
}

rz_status rz_store_claim_versions(rz_store *store, const char *facility, const char *claim_id,
                                  rz_arena *arena, const rz_claim_version **out, size_t *n,
                                  rz_error *error)
{
    bool began = false;
    int64_t limit = 0, facility_key = 0;
    size_t found = 0;
    rz_claim_version *versions = rz_arena_alloc(arena, VERSIONS_MAX, sizeof *versions);
    char *facility_copy = rz_arena_strdup(arena, facility);
    char *claim_copy = rz_arena_strdup(arena, claim_id);
    if (versions == NULL || facility_copy == NULL || claim_copy == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the versions of a claim");
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = rz_batch_limit(store, RZ_RECORDED_NOW, &limit, error);
    if (status == RZ_OK)
        status =
            rz_names_key(&store->facilities, store->db, 0, facility, false, &facility_key, error);
    if (status == RZ_OK)
        status =
            read_versions(store, facility_key, claim_id, limit, arena, versions, &found, error);
    rz_store_view_end(store, began);
    if (status == RZ_OK && found == 0)
        status = rz_fail(error, RZ_E_NOT_FOUND, "this facility has no claim of that id");
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; i < found; i++) {
        versions[i].claim.facility = facility_copy;
        versions[i].claim.claim_id = claim_copy;
    }
    *out = versions;
    *n = found;
    return RZ_OK;
}
