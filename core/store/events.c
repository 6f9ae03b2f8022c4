/* Events: into the clustered table, and out of it as a timeline. Each claim owns its rows, so that
 * it can be superseded; that several claims tell of one event is settled when reading. */
#include "store/internal.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- in ------------------------------------------------------------------------------------- */

/* The order of the table; among equal keys the event that stays comes first, by the same rule as
 * in a timeline: confirmed, known first, with a value. */
static int compare_order(const void *left, const void *right)
{
    const rz_row_order *a = left, *b = right;
    if (a->event->day != b->event->day)
        return a->event->day < b->event->day ? -1 : 1;
    if (a->event->kind != b->event->kind)
        return a->event->kind < b->event->kind ? -1 : 1;
    if (a->code != b->code)
        return a->code < b->code ? -1 : 1;
    unsigned a_suspected = a->event->flags & RZ_EVENT_SUSPECTED;
    unsigned b_suspected = b->event->flags & RZ_EVENT_SUSPECTED;
    if (a_suspected != b_suspected)
        return a_suspected < b_suspected ? -1 : 1;
    if (a->event->known_day != b->event->known_day)
        return a->event->known_day < b->event->known_day ? -1 : 1;
    if (isnan(a->event->value) != isnan(b->event->value))
        return isnan(a->event->value) ? 1 : -1;
    if (!isnan(a->event->value) && a->event->value != b->event->value)
        return a->event->value < b->event->value ? -1 : 1;
    return 0;
}

static bool same_row(const rz_row_order *a, const rz_row_order *b)
{
    return a->event->day == b->event->day && a->event->kind == b->event->kind && a->code == b->code;
}

rz_status rz_events_prepare(rz_store *store, const rz_claim *claim, size_t *n, int32_t *last_day,
                            rz_error *error)
{
    if (claim->n_events > store->order_capacity) {
        size_t bytes;
        rz_row_order *grown = rz_size_mul(claim->n_events, sizeof *grown, &bytes)
                                  ? realloc(store->order, bytes)
                                  : NULL;
        if (grown == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a claim of %zu events",
                           claim->n_events);
        store->order = grown;
        store->order_capacity = claim->n_events;
    }
    int32_t last = RZ_DAY_NONE;
    bool sorted = true;
    for (size_t i = 0; i < claim->n_events; i++) {
        const rz_event *event = &claim->events[i];
        int64_t code = 0;
        rz_status status = rz_names_key(&store->codes, store->db, (int32_t)event->system,
                                        event->code, true, &code, error);
        if (status != RZ_OK)
            return status;
        store->order[i] = (rz_row_order){.event = event, .code = code};
        sorted = sorted && (i == 0 || compare_order(&store->order[i - 1], &store->order[i]) <= 0);
        if (event->kind != RZ_KIND_DEATH && event->day > last)
            last = event->day;
    }
    if (!sorted)
        qsort(store->order, claim->n_events, sizeof *store->order, compare_order);
    size_t kept = 0;
    for (size_t i = 0; i < claim->n_events; i++)
        if (kept == 0 || !same_row(&store->order[kept - 1], &store->order[i]))
            store->order[kept++] = store->order[i];
    *n = kept;
    *last_day = last;
    return RZ_OK;
}

static void count_day(rz_totals *totals, int32_t day)
{
    if (totals->first_day == RZ_DAY_NONE || day < totals->first_day)
        totals->first_day = day;
    if (totals->last_day == RZ_DAY_NONE || day > totals->last_day)
        totals->last_day = day;
}

rz_status rz_events_insert(rz_store *store, const rz_claim *claim, int64_t claim_key, size_t n,
                           rz_error *error)
{
    rz_statement *insert = NULL;
    rz_status status = rz_db_statement(
        store->db,
        "INSERT INTO events (patient, day, kind, code, claim, known_day, value, unit, flags, "
        "batch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        &insert, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(insert, 1, store->patient.key);
    rz_bind_int(insert, 5, claim_key);
    rz_bind_int(insert, 10, store->batch);
    for (size_t i = 0; i < n && status == RZ_OK; i++) {
        const rz_event *event = store->order[i].event;
        int64_t unit = 0;
        if (event->unit != NULL)
            status = rz_names_key(&store->units, store->db, 0, event->unit, true, &unit, error);
        if (status != RZ_OK)
            break;
        rz_bind_int(insert, 2, event->day);
        rz_bind_int(insert, 3, (int64_t)event->kind);
        rz_bind_int(insert, 4, store->order[i].code);
        rz_bind_int(insert, 6, event->known_day);
        rz_bind_real(insert, 7, event->value);
        rz_bind_int(insert, 8, unit);
        rz_bind_int(insert, 9, event->flags | (int64_t)claim->setting << 8);
        status = rz_run(insert, error);
        if (status == RZ_OK) {
            store->totals.events[event->kind]++;
            count_day(&store->totals, event->day);
        }
    }
    return status;
}

rz_status rz_events_supersede(rz_store *store, rz_patient_key patient, int64_t claim,
                              rz_error *error)
{
    rz_statement *select = NULL, *change = NULL;
    rz_status status = rz_db_statement(
        store->db, "SELECT kind FROM events WHERE patient = ?1 AND claim = ?2", &select, error);
    if (status == RZ_OK)
        status = rz_db_statement(
            store->db, "UPDATE events SET superseded = ?3 WHERE patient = ?1 AND claim = ?2",
            &change, error);
    if (status != RZ_OK)
        return status;
    bool row = false;
    rz_bind_int(select, 1, patient);
    rz_bind_int(select, 2, claim);
    while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
        int64_t kind = rz_column_int(select, 0);
        if (kind >= 0 && kind < RZ_KIND_COUNT)
            store->totals.events[kind]--;
    }
    if (status != RZ_OK)
        return status;
    rz_bind_int(change, 1, patient);
    rz_bind_int(change, 2, claim);
    rz_bind_int(change, 3, store->batch);
    return rz_run(change, error);
}

/* ---- out ------------------------------------------------------------------------------------ */

static rz_status more_rows(rz_store *store, rz_error *error)
{
    size_t capacity = store->rows_capacity == 0 ? 512 : store->rows_capacity * 2, bytes;
    rz_timeline_event *grown =
        rz_size_mul(capacity, sizeof *grown, &bytes) ? realloc(store->rows, bytes) : NULL;
    if (grown == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a history of %zu events", capacity);
    store->rows = grown;
    store->rows_capacity = capacity;
    return RZ_OK;
}

/* The visible rows of a patient into store->rows, settled; codes borrowed from the names.
 * `current` (nothing of this patient changed after the limit) saves comparisons on every row. */
static rz_status read_rows(rz_store *store, rz_patient_key key, int32_t as_of, int64_t limit,
                           bool current, size_t *n_out, rz_error *error)
{
    static const char current_sql[] =
        "SELECT day, known_day, kind, code, flags, value FROM events WHERE patient = ?1 "
        "AND superseded = 0 AND known_day <= ?2";
    static const char limited_sql[] =
        "SELECT day, known_day, kind, code, flags, value FROM events WHERE patient = ?1 "
        "AND batch <= ?3 AND (superseded = 0 OR superseded > ?3) AND known_day <= ?2";
    rz_statement *select = NULL;
    rz_status status =
        rz_db_statement(store->db, current ? current_sql : limited_sql, &select, error);
    if (status != RZ_OK)
        return status;
    size_t n = 0;
    bool row = false;
    rz_bind_int(select, 1, key);
    rz_bind_int(select, 2, as_of);
    if (!current)
        rz_bind_int(select, 3, limit);
    while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
        rz_name code;
        if (n == store->rows_capacity)
            status = more_rows(store, error);
        if (status == RZ_OK)
            status =
                rz_names_text(&store->codes, store->db, rz_column_int(select, 3), &code, error);
        if (status != RZ_OK) {
            rz_reset(select);
            return status;
        }
        int64_t flags = rz_column_int(select, 4);
        store->rows[n++] = (rz_timeline_event){.day = (int32_t)rz_column_int(select, 0),
                                               .known_day = (int32_t)rz_column_int(select, 1),
                                               .kind = (uint8_t)rz_column_int(select, 2),
                                               .system = (uint8_t)code.system,
                                               .setting = (uint8_t)(flags >> 8),
                                               .flags = (uint8_t)flags,
                                               .value = (float)rz_column_real(select, 5),
                                               .code = code.text};
    }
    if (status == RZ_OK)
        *n_out = rz_timeline_settle(store->rows, n);
    return status;
}

/* Copies the settled rows and their codes into the arena as one block each. */
static rz_status copy_rows(const rz_store *store, size_t n, rz_arena *arena, rz_timeline *timeline,
                           rz_error *error)
{
    size_t text_bytes = 0;
    for (size_t i = 0; i < n; i++)
        text_bytes += strlen(store->rows[i].code) + 1;
    rz_timeline_event *events = rz_arena_alloc(arena, n, sizeof *events);
    char *texts = rz_arena_alloc(arena, text_bytes, 1);
    if (events == NULL || texts == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a history of %zu events", n);
    for (size_t i = 0; i < n; i++) {
        size_t bytes = strlen(store->rows[i].code) + 1;
        events[i] = store->rows[i];
        events[i].code = memcpy(texts, store->rows[i].code, bytes);
        texts += bytes;
    }
    timeline->events = events;
    timeline->n_events = n;
    return RZ_OK;
}

rz_status rz_store_timeline(rz_store *store, rz_patient_key key, int32_t as_of, int64_t recorded,
                            rz_arena *arena, rz_timeline **out, rz_error *error)
{
    bool began = false, found = false;
    int64_t limit = 0;
    size_t n = 0;
    rz_patient_state patient = {0};
    rz_name facility = {.text = ""};
    rz_timeline *timeline = NULL;
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = rz_batch_limit(store, recorded, &limit, error);
    if (status == RZ_OK)
        status = rz_patient_at(store, key, limit, false, &patient, &found, error);
    if (status == RZ_OK && !found)
        status = rz_fail(error, RZ_E_NOT_FOUND, "no such patient");
    if (status == RZ_OK && patient.namespace_key != 0)
        status =
            rz_names_text(&store->facilities, store->db, patient.namespace_key, &facility, error);
    if (status == RZ_OK)
        status = read_rows(store, key, as_of, limit, patient.current, &n, error);
    rz_store_view_end(store, began);
    if (status != RZ_OK)
        return status;
    timeline = rz_arena_alloc(arena, 1, sizeof *timeline);
    if (timeline == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a history of %zu events", n);
    *timeline = (rz_timeline){.patient = key,
                              .hash = rz_patient_hash(facility.text, patient.id),
                              .sex = patient.sex,
                              .birth_day = patient.birth_day};
    status = copy_rows(store, n, arena, timeline, error);
    if (status == RZ_OK)
        *out = timeline;
    return status;
}

rz_status rz_events_summary(rz_store *store, int64_t limit, bool current, rz_patient *patient,
                            rz_error *error)
{
    size_t n = 0;
    rz_status status = read_rows(store, patient->key, RZ_DAY_MAX, limit, current, &n, error);
    if (status != RZ_OK)
        return status;
    patient->n_events = (int64_t)n;
    patient->first_day = n > 0 ? store->rows[0].day : RZ_DAY_NONE;
    patient->last_day = n > 0 ? store->rows[n - 1].day : RZ_DAY_NONE;
    patient->death_day = RZ_DAY_NONE;
    for (size_t i = 0; i < n && patient->death_day == RZ_DAY_NONE; i++)
        if (store->rows[i].kind == RZ_KIND_DEATH)
            patient->death_day = store->rows[i].day;
    return RZ_OK;
}
