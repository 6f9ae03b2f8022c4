/* Patients: who a claim is about, demographics, versions, listing.
 *
 * The row in `patients` is a cache of what the claims say: while an import is unfinished, or for an
 * earlier instant, the same facts are computed from the claims themselves. */
#include "store/internal.h"

#include <stdio.h>
#include <string.h>

/* ---- while putting -------------------------------------------------------------------------- */

static rz_status load(rz_store *store, int64_t namespace_key, const char *id, rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_known_patient *known = &store->patient;
    known->key = 0;
    rz_status status = rz_db_statement(store->db,
                                       "SELECT key, sex, birth_day, version FROM patients "
                                       "WHERE namespace = ?1 AND id = ?2",
                                       &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, namespace_key);
    rz_bind_text(select, 2, id);
    status = rz_step(select, &row, error);
    if (status != RZ_OK)
        return status;
    *known = (rz_known_patient){.namespace_key = namespace_key, .birth_day = RZ_DAY_NONE};
    (void)snprintf(known->id, sizeof known->id, "%s", id);
    if (!row)
        return RZ_OK;
    known->key = rz_column_int(select, 0);
    known->sex = (rz_sex)rz_column_int(select, 1);
    if (!rz_column_is_null(select, 2))
        known->birth_day = (int32_t)rz_column_int(select, 2);
    known->version = rz_column_int(select, 3);
    return rz_finish(select, error);
}

rz_status rz_patient_for_claim(rz_store *store, const rz_claim *claim, int64_t facility,
                               rz_error *error)
{
    const rz_known_patient *known = &store->patient;
    int64_t namespace_key = store->shared_ids ? 0 : facility;
    rz_status status = RZ_OK;
    if (known->key == 0 || known->namespace_key != namespace_key ||
        strcmp(known->id, claim->patient_id) != 0)
        status = load(store, namespace_key, claim->patient_id, error);
    if (status != RZ_OK || known->key == 0)
        return status;
    const char *what = NULL;
    if (claim->sex != RZ_SEX_UNKNOWN && known->sex != RZ_SEX_UNKNOWN && claim->sex != known->sex)
        what = "sex";
    else if (claim->birth_day != RZ_DAY_NONE && known->birth_day != RZ_DAY_NONE &&
             claim->birth_day != known->birth_day)
        what = "birth date";
    if (what != NULL)
        return rz_fail(error, RZ_E_CONFLICT,
                       "demographics_conflict: the %s of the claim differs from the stored one; "
                       "correct the claim, or void the patient's wrong claims and send them again",
                       what);
    return RZ_OK;
}

static rz_status update(rz_store *store, rz_patient_key key, rz_sex sex, int32_t birth_day,
                        int64_t version, rz_error *error)
{
    rz_statement *change = NULL;
    rz_status status = rz_db_statement(
        store->db, "UPDATE patients SET sex = ?2, birth_day = ?3, version = ?4 WHERE key = ?1",
        &change, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(change, 1, key);
    rz_bind_int(change, 2, (int64_t)sex);
    rz_bind_null(change, 3);
    if (birth_day != RZ_DAY_NONE)
        rz_bind_int(change, 3, birth_day);
    rz_bind_int(change, 4, version);
    return rz_run(change, error);
}

static void tell(const rz_store *store, const char *id)
{
    if (store->changed != NULL)
        store->changed(store->changed_context, id);
}

rz_status rz_patient_changed(rz_store *store, rz_patient_key key, rz_error *error)
{
    rz_patient_state patient;
    bool found = false;
    if (store->changed == NULL)
        return RZ_OK;
    rz_status status = rz_patient_at(store, key, INT64_MAX, false, &patient, &found, error);
    if (status == RZ_OK && found)
        tell(store, patient.id);
    return status;
}

rz_status rz_patient_touch(rz_store *store, const rz_claim *claim, rz_error *error)
{
    rz_known_patient *known = &store->patient;
    tell(store, known->id);
    rz_sex sex = claim->sex != RZ_SEX_UNKNOWN ? claim->sex : known->sex;
    int32_t birth_day = claim->birth_day != RZ_DAY_NONE ? claim->birth_day : known->birth_day;
    rz_status status = RZ_OK;
    if (known->key == 0) {
        rz_statement *insert = NULL;
        status = rz_db_statement(store->db,
                                 "INSERT INTO patients (namespace, id, sex, birth_day, version) "
                                 "VALUES (?1, ?2, ?3, ?4, ?5)",
                                 &insert, error);
        if (status != RZ_OK)
            return status;
        rz_bind_int(insert, 1, known->namespace_key);
        rz_bind_text(insert, 2, known->id);
        rz_bind_int(insert, 3, (int64_t)sex);
        rz_bind_null(insert, 4);
        if (birth_day != RZ_DAY_NONE)
            rz_bind_int(insert, 4, birth_day);
        rz_bind_int(insert, 5, store->batch);
        status = rz_run(insert, error);
        if (status != RZ_OK)
            return status;
        known->key = rz_db_last_key(store->db);
        store->totals.patients++;
    } else if (known->version != store->batch || known->sex != sex ||
               known->birth_day != birth_day) {
        status = update(store, known->key, sex, birth_day, store->batch, error);
    }
    known->sex = sex;
    known->birth_day = birth_day;
    known->version = store->batch;
    return status;
}

/* ---- at an instant -------------------------------------------------------------------------- */

/* What the claims up to `limit` say. A voided claim says nothing any more. */
static rz_status from_claims(rz_store *store, rz_patient_key key, int64_t limit, bool *any,
                             rz_patient_state *out, rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_status status =
        rz_db_statement(store->db,
                        "SELECT count(*), max(iif(voided = 0 OR voided > ?2, sex, 0)),"
                        " max(iif(voided = 0 OR voided > ?2, birth_day, NULL)),"
                        " max(batch), max(iif(superseded <= ?2, superseded, 0)),"
                        " sum(superseded = 0 OR superseded > ?2)"
                        " FROM claims WHERE patient = ?1 AND batch <= ?2",
                        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, key);
    rz_bind_int(select, 2, limit);
    status = rz_step(select, &row, error);
    *any = status == RZ_OK && row && rz_column_int(select, 0) > 0;
    if (!*any) {
        rz_reset(select);
        return status;
    }
    out->sex = (rz_sex)rz_column_int(select, 1);
    out->birth_day = rz_column_is_null(select, 2) ? RZ_DAY_NONE : (int32_t)rz_column_int(select, 2);
    int64_t added = rz_column_int(select, 3), superseded = rz_column_int(select, 4);
    out->version = added > superseded ? added : superseded;
    out->n_claims = rz_column_int(select, 5);
    return rz_finish(select, error);
}

rz_status rz_patient_recompute(rz_store *store, rz_patient_key key, rz_error *error)
{
    bool any = false;
    rz_patient_state state = {0};
    rz_status status = rz_patient_changed(store, key, error);
    if (status == RZ_OK)
        status = from_claims(store, key, INT64_MAX, &any, &state, error);
    if (status != RZ_OK)
        return status;
    if (any)
        return update(store, key, state.sex, state.birth_day, state.version, error);
    rz_statement *erase = NULL;
    status = rz_db_statement(store->db, "DELETE FROM patients WHERE key = ?1", &erase, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(erase, 1, key);
    return rz_run(erase, error);
}

rz_status rz_patient_at(rz_store *store, rz_patient_key key, int64_t limit, bool count_claims,
                        rz_patient_state *out, bool *found, rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_status status = rz_db_statement(
        store->db, "SELECT namespace, id, sex, birth_day, version FROM patients WHERE key = ?1",
        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, key);
    status = rz_step(select, &row, error);
    *found = status == RZ_OK && row;
    if (!*found)
        return status;
    *out = (rz_patient_state){
        .namespace_key = rz_column_int(select, 0),
        .sex = (rz_sex)rz_column_int(select, 2),
        .birth_day = rz_column_is_null(select, 3) ? RZ_DAY_NONE : (int32_t)rz_column_int(select, 3),
        .version = rz_column_int(select, 4)};
    (void)snprintf(out->id, sizeof out->id, "%s", rz_column_text(select, 1));
    status = rz_finish(select, error);
    out->current = out->version <= limit;
    if (status == RZ_OK && (count_claims || out->version > limit))
        status = from_claims(store, key, limit, found, out, error);
    return status;
}

/* ---- for callers ---------------------------------------------------------------------------- */

/* brief: without days and counts, for which the history would be read. */
static rz_status describe(rz_store *store, rz_patient_key key, int64_t limit, bool brief,
                          rz_patient *out, bool *found, rz_error *error)
{
    rz_patient_state state;
    rz_name facility = {.text = ""};
    rz_status status = rz_patient_at(store, key, limit, !brief, &state, found, error);
    if (status != RZ_OK || !*found)
        return status;
    if (state.namespace_key != 0)
        status =
            rz_names_text(&store->facilities, store->db, state.namespace_key, &facility, error);
    if (status != RZ_OK)
        return status;
    rz_patient patient = {.key = key,
                          .sex = state.sex,
                          .birth_day = state.birth_day,
                          .n_claims = state.n_claims,
                          .version = state.version};
    (void)snprintf(patient.facility, sizeof patient.facility, "%s", facility.text);
    (void)snprintf(patient.id, sizeof patient.id, "%s", state.id);
    if (!brief)
        status = rz_events_summary(store, limit, state.current, &patient, error);
    if (status == RZ_OK)
        *out = patient;
    return status;
}

/* Does a patient of shared ids have a claim of this facility? */
static rz_status has_claim_of(rz_store *store, rz_patient_key key, int64_t facility, int64_t limit,
                              bool *yes, rz_error *error)
{
    rz_statement *select = NULL;
    rz_status status = rz_db_statement(store->db,
                                       "SELECT 1 FROM claims WHERE patient = ?1 AND facility = ?2 "
                                       "AND batch <= ?3 LIMIT 1",
                                       &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, key);
    rz_bind_int(select, 2, facility);
    rz_bind_int(select, 3, limit);
    status = rz_step(select, yes, error);
    rz_reset(select);
    return status;
}

/* The keys of patients with this id: in one namespace, or in all. */
static rz_status select_keys(rz_store *store, bool all, int64_t namespace_key, const char *stored,
                             rz_statement **out, rz_error *error)
{
    static const char one_sql[] = "SELECT key FROM patients WHERE namespace = ?2 AND id = ?1";
    /* Namespaces are few, so that one seek in each is cheaper than an index by id alone. */
    static const char all_sql[] =
        "SELECT p.key FROM (SELECT 0 AS n UNION ALL SELECT key FROM facilities) CROSS JOIN "
        "patients p ON p.namespace = n AND p.id = ?1";
    rz_status status = rz_db_statement(store->db, all ? all_sql : one_sql, out, error);
    if (status != RZ_OK)
        return status;
    rz_bind_text(*out, 1, stored);
    if (!all)
        rz_bind_int(*out, 2, namespace_key);
    return RZ_OK;
}

static rz_status find(rz_store *store, const char *facility, const char *id, int64_t limit,
                      bool brief, rz_patient *out, rz_error *error)
{
    char stored[RZ_ID_MAX + 1];
    int64_t facility_key = 0;
    rz_statement *select = NULL;
    rz_status status = rz_store_id(store, id, stored, error);
    if (status == RZ_OK && facility != NULL)
        status =
            rz_names_key(&store->facilities, store->db, 0, facility, false, &facility_key, error);
    if (status == RZ_OK && facility != NULL && facility_key == 0)
        return rz_fail(error, RZ_E_NOT_FOUND, "no such patient: this facility has sent nothing");
    if (status == RZ_OK)
        status = select_keys(store, facility == NULL || store->shared_ids, facility_key, stored,
                             &select, error);
    if (status != RZ_OK)
        return status;
    rz_patient patient = {0};
    int matches = 0;
    bool row = false;
    while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
        bool found = false, wanted = true;
        rz_patient candidate;
        rz_patient_key key = rz_column_int(select, 0);
        status = describe(store, key, limit, brief, &candidate, &found, error);
        if (status == RZ_OK && found && facility != NULL && store->shared_ids)
            status = has_claim_of(store, key, facility_key, limit, &wanted, error);
        if (status != RZ_OK) {
            rz_reset(select);
            return status;
        }
        if (found && wanted) {
            patient = candidate;
            matches++;
        }
    }
    if (status != RZ_OK)
        return status;
    if (matches == 0)
        return rz_fail(error, RZ_E_NOT_FOUND, "no such patient");
    if (matches > 1)
        return rz_fail(error, RZ_E_CONFLICT, "the id fits patients of %d facilities; name one",
                       matches);
    *out = patient;
    return RZ_OK;
}

static rz_status find_now(rz_store *store, const char *facility, const char *id, bool brief,
                          rz_patient *out, rz_error *error)
{
    bool began = false;
    int64_t limit = 0;
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = rz_batch_limit(store, RZ_RECORDED_NOW, &limit, error);
    if (status == RZ_OK)
        status = find(store, facility, id, limit, brief, out, error);
    rz_store_view_end(store, began);
    return status;
}

rz_status rz_store_patient(rz_store *store, const char *facility, const char *id, rz_patient *out,
                           rz_error *error)
{
    return find_now(store, facility, id, false, out, error);
}

rz_status rz_store_patient_brief(rz_store *store, const char *facility, const char *id,
                                 rz_patient *out, rz_error *error)
{
    return find_now(store, facility, id, true, out, error);
}

/* Whom a listing is about: patients of any of these facilities, or of none of them. */
typedef struct wanted {
    bool all, without;
    size_t n;
    int64_t key[RZ_FACILITIES_MAX]; /* of the facilities; 0 for one that is not here */
} wanted;

static rz_status is_wanted(rz_store *store, const wanted *w, rz_patient_key key,
                           int64_t namespace_key, int64_t limit, bool *yes, rz_error *error)
{
    bool any = w->all;
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && !any && i < w->n; i++) {
        if (store->shared_ids)
            status = has_claim_of(store, key, w->key[i], limit, &any, error);
        else
            any = namespace_key == w->key[i];
    }
    *yes = any != w->without;
    return status;
}

static rz_status list(rz_store *store, rz_patient_key after, const wanted *w, int64_t limit,
                      rz_patient *out, size_t cap, size_t *n, rz_error *error)
{
    bool row = false;
    rz_statement *select = NULL;
    rz_status status = rz_db_statement(
        store->db, "SELECT key, namespace FROM patients WHERE key > ?1 ORDER BY key", &select,
        error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, after);
    *n = 0;
    while (*n < cap && (status = rz_step(select, &row, error)) == RZ_OK && row) {
        bool found = false, yes = true;
        rz_patient_key key = rz_column_int(select, 0);
        status = is_wanted(store, w, key, rz_column_int(select, 1), limit, &yes, error);
        if (status == RZ_OK && yes)
            status = describe(store, key, limit, false, &out[*n], &found, error);
        if (status != RZ_OK)
            break;
        *n += found ? 1 : 0;
    }
    rz_reset(select);
    return status;
}

/* The listing of named facilities: n = 0 is all of them. */
static rz_status list_named(rz_store *store, rz_patient_key after, const char *const *names,
                            size_t n_names, bool without, rz_patient *out, size_t cap, size_t *n,
                            rz_error *error)
{
    bool began = false;
    int64_t limit = 0;
    size_t filled = 0;
    wanted w = {.all = n_names == 0, .without = without, .n = n_names};
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = rz_batch_limit(store, RZ_RECORDED_NOW, &limit, error);
    for (size_t i = 0; status == RZ_OK && i < n_names; i++)
        status = rz_names_key(&store->facilities, store->db, 0, names[i], false, &w.key[i], error);
    if (status == RZ_OK)
        status = list(store, after, &w, limit, out, cap, &filled, error);
    rz_store_view_end(store, began);
    if (status == RZ_OK)
        *n = filled;
    return status;
}

rz_status rz_store_patients(rz_store *store, rz_patient_key after, const char *facility,
                            rz_patient *out, size_t cap, size_t *n, rz_error *error)
{
    return list_named(store, after, &facility, facility != NULL ? 1 : 0, false, out, cap, n, error);
}

rz_status rz_store_patients_of(rz_store *store, rz_patient_key after, const rz_facilities *f,
                               rz_patient *out, size_t cap, size_t *n, rz_error *error)
{
    const char *names[RZ_FACILITIES_MAX];
    size_t n_names = f != NULL ? f->n : 0;
    for (size_t i = 0; i < n_names; i++)
        names[i] = f->name[i];
    return list_named(store, after, names, n_names, n_names > 0 && f->without, out, cap, n, error);
}

rz_status rz_store_patients_named(rz_store *store, const char *id, rz_patient *out, size_t cap,
                                  size_t *n, rz_error *error)
{
    char stored[RZ_ID_MAX + 1];
    bool began = false, row = false;
    int64_t limit = 0;
    size_t filled = 0;
    rz_statement *select = NULL;
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = rz_batch_limit(store, RZ_RECORDED_NOW, &limit, error);
    if (status == RZ_OK)
        status = rz_store_id(store, id, stored, error);
    if (status == RZ_OK)
        status = select_keys(store, true, 0, stored, &select, error);
    while (status == RZ_OK && filled < cap && (status = rz_step(select, &row, error)) == RZ_OK &&
           row) {
        bool found = false;
        status =
            describe(store, rz_column_int(select, 0), limit, false, &out[filled], &found, error);
        filled += found ? 1 : 0;
    }
    if (select != NULL)
        rz_reset(select);
    rz_store_view_end(store, began);
    if (status == RZ_OK)
        *n = filled;
    return status;
}
