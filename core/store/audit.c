/* The hash chain of the audit trail: appending, walking, verifying. The trail says who asked what
 * of which model when; whom it was about only as a keyed hash. */
#include "store/audit.h"

#include "store/internal.h"

#include <string.h>

static void add_number(rz_sha256 *hash, int64_t number)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)number >> (8 * i));
    rz_sha256_add(hash, bytes, sizeof bytes);
}

/* Digest of a row: the digest before, number, instant, then each text with its length before it. */
static void row_digest(const unsigned char before[RZ_SHA256_BYTES], int64_t number,
                       const rz_audit_entry *entry, unsigned char out[RZ_SHA256_BYTES])
{
    const char *const texts[] = {entry->request_id,   entry->actor,      entry->action,
                                 entry->patient_hash, entry->model_hash, entry->details};
    rz_sha256 hash;
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, before, RZ_SHA256_BYTES);
    add_number(&hash, number);
    add_number(&hash, entry->at);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size_t n = strlen(texts[i]);
        add_number(&hash, (int64_t)n);
        rz_sha256_add(&hash, texts[i], n);
    }
    rz_sha256_done(&hash, out);
}

static rz_status read_head(rz_store *store, rz_audit_head *head, rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    size_t n = 0;
    *head = (rz_audit_head){0};
    rz_status status = rz_db_statement(
        store->db, "SELECT number, digest FROM audit ORDER BY number DESC LIMIT 1", &select, error);
    if (status == RZ_OK)
        status = rz_step(select, &row, error);
    if (status != RZ_OK || !row)
        return status;
    head->number = rz_column_int(select, 0);
    const void *digest = rz_column_blob(select, 1, &n);
    if (n == sizeof head->digest)
        memcpy(head->digest, digest, n);
    return rz_finish(select, error);
}

static const char *text_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static rz_status append(rz_store *store, rz_audit_head *head, const rz_audit_entry *entry,
                        rz_error *error)
{
    rz_statement *insert = NULL;
    rz_audit_entry row = {.request_id = text_or_empty(entry->request_id),
                          .actor = text_or_empty(entry->actor),
                          .action = text_or_empty(entry->action),
                          .patient_hash = text_or_empty(entry->patient_hash),
                          .model_hash = text_or_empty(entry->model_hash),
                          .details = text_or_empty(entry->details),
                          .at = entry->at != 0 ? entry->at : rz_now_us()};
    unsigned char digest[RZ_SHA256_BYTES];
    rz_status status =
        rz_db_statement(store->db,
                        "INSERT INTO audit (number, at, request, actor, action, patient, model, "
                        "details, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                        &insert, error);
    if (status != RZ_OK)
        return status;
    row_digest(head->digest, head->number + 1, &row, digest);
    rz_bind_int(insert, 1, head->number + 1);
    rz_bind_int(insert, 2, row.at);
    rz_bind_text(insert, 3, row.request_id);
    rz_bind_text(insert, 4, row.actor);
    rz_bind_text(insert, 5, row.action);
    rz_bind_text(insert, 6, row.patient_hash);
    rz_bind_text(insert, 7, row.model_hash);
    rz_bind_text(insert, 8, row.details);
    rz_bind_blob(insert, 9, digest, sizeof digest);
    status = rz_run(insert, error);
    if (status == RZ_OK) {
        head->number++;
        memcpy(head->digest, digest, sizeof digest);
    }
    return status;
}

rz_status rz_store_audit_append(rz_store *store, const rz_audit_entry *entries, size_t n,
                                rz_error *error)
{
    rz_audit_head head;
    rz_status status = rz_write_begin(store, RZ_DURABLE, error);
    if (status == RZ_OK)
        status = read_head(store, &head, error);
    for (size_t i = 0; i < n && status == RZ_OK; i++)
        status = append(store, &head, &entries[i], error);
    return rz_write_end(store, status, error);
}

/* ---- reading -------------------------------------------------------------------------------- */

static rz_status select_rows(rz_store *store, int64_t after, rz_statement **out, rz_error *error)
{
    rz_status status = rz_db_statement(store->db,
                                       "SELECT number, at, request, actor, action, patient, model, "
                                       "details, digest FROM audit WHERE number > ?1 "
                                       "ORDER BY number",
                                       out, error);
    if (status == RZ_OK)
        rz_bind_int(*out, 1, after);
    return status;
}

static rz_audit_entry read_entry(rz_statement *select)
{
    return (rz_audit_entry){.at = rz_column_int(select, 1),
                            .request_id = rz_column_text(select, 2),
                            .actor = rz_column_text(select, 3),
                            .action = rz_column_text(select, 4),
                            .patient_hash = rz_column_text(select, 5),
                            .model_hash = rz_column_text(select, 6),
                            .details = rz_column_text(select, 7)};
}

rz_status rz_store_audit_verify(rz_store *store, rz_audit_head *head, rz_error *error)
{
    rz_statement *select = NULL;
    rz_audit_head last = {0};
    bool row = false;
    rz_status status = select_rows(store, 0, &select, error);
    if (status != RZ_OK)
        return status;
    while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
        size_t n = 0;
        unsigned char digest[RZ_SHA256_BYTES] = {0};
        int64_t number = rz_column_int(select, 0);
        rz_audit_entry entry = read_entry(select);
        const void *kept = rz_column_blob(select, 8, &n);
        if (number == last.number + 1)
            row_digest(last.digest, number, &entry, digest);
        if (number != last.number + 1 || n != sizeof digest ||
            memcmp(digest, kept, sizeof digest) != 0) {
            rz_status kept_back = rz_finish(select, error);
            return kept_back != RZ_OK
                       ? kept_back
                       : rz_fail(error, RZ_E_CORRUPT,
                                 "the audit trail was changed: row %lld does not follow from row "
                                 "%lld",
                                 (long long)number, (long long)last.number);
        }
        last.number = number;
        memcpy(last.digest, digest, sizeof digest);
    }
    if (status == RZ_OK)
        *head = last;
    return status;
}

rz_status rz_store_audit_read(rz_store *store, int64_t after, rz_audit_seen *see, void *context,
                              rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_status status = select_rows(store, after, &select, error);
    if (status != RZ_OK)
        return status;
    while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
        rz_audit_entry entry = read_entry(select);
        if (!see(context, rz_column_int(select, 0), &entry))
            return rz_finish(select, error);
    }
    return status;
}

rz_status rz_audit_patient_hash(rz_store *store, const rz_patient *patient, char out[33],
                                rz_error *error)
{
    /* Facility and id with the NUL of the facility between them. */
    char name[sizeof patient->facility + sizeof patient->id];
    size_t first = strlen(patient->facility) + 1, second = strlen(patient->id);
    unsigned char salt[RZ_HMAC_KEY_BYTES];
    memcpy(name, patient->facility, first);
    memcpy(name + first, patient->id, second);
    rz_status status = rz_store_salt(store, salt, error);
    if (status == RZ_OK)
        rz_hmac_text(salt, name, first + second, out);
    return status;
}
