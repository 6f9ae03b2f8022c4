/* What a store holds as a whole: counts, disk space, the data hash of checkpoints. */
#include "store/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static rz_status disk_space(const char *path, rz_store_counts *out, rz_error *error)
{
    size_t bytes = strlen(path) + sizeof "-wal";
    char *log_path = malloc(bytes);
    struct stat info;
    struct statvfs disk;
    if (log_path == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to inspect %s", path);
    (void)snprintf(log_path, bytes, "%s-wal", path);
    /* stat, not open: the file must have no second descriptor in this process. */
    out->wal_bytes = stat(log_path, &info) == 0 ? (int64_t)info.st_size : 0;
    out->free_bytes =
        statvfs(path, &disk) == 0 ? (int64_t)disk.f_bavail * (int64_t)disk.f_frsize : 0;
    free(log_path);
    return RZ_OK;
}

rz_status rz_store_counts_of(rz_store *store, rz_store_counts *out, rz_error *error)
{
    bool began = false;
    int64_t limit = 0;
    rz_totals totals;
    rz_store_counts counts = {0};
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = rz_batch_limit(store, RZ_RECORDED_NOW, &limit, error);
    if (status == RZ_OK)
        status = rz_batch_totals(store, limit, &totals, error);
    if (status == RZ_OK)
        status = rz_names_refresh(&store->facilities, store->db, error);
    rz_store_view_end(store, began);
    if (status == RZ_OK)
        status = disk_space(rz_db_path(store->db), &counts, error);
    if (status != RZ_OK)
        return status;
    counts.patients = totals.patients;
    counts.claims = totals.claims;
    counts.facilities = (int64_t)store->facilities.n;
    counts.first_day = totals.first_day;
    counts.last_day = totals.last_day;
    for (int kind = 0; kind < RZ_KIND_COUNT; kind++) {
        counts.events_by_kind[kind] = totals.events[kind];
        counts.events += totals.events[kind];
    }
    *out = counts;
    return RZ_OK;
}

/* "H001, H002 and 12 others" of all names, as many as fit. */
static void some_names(const rz_names *names, char *out, size_t cap)
{
    size_t shown = 0, at = 0;
    while (shown < names->n && at + strlen(names->entries[shown].text) + 24 < cap) {
        at += (size_t)snprintf(out + at, cap - at, "%s%s", shown > 0 ? ", " : "",
                               names->entries[shown].text);
        shown++;
    }
    if (shown < names->n)
        (void)snprintf(out + at, cap - at, " and %zu others", names->n - shown);
}

rz_status rz_store_check_facilities(rz_store *store, const rz_facilities *f, rz_error *error)
{
    char there[240] = "none";
    rz_status status = rz_names_refresh(&store->facilities, store->db, error);
    if (status == RZ_OK)
        some_names(&store->facilities, there, sizeof there);
    for (size_t i = 0; status == RZ_OK && i < f->n; i++) {
        int64_t key = 0;
        status = rz_names_key(&store->facilities, store->db, 0, f->name[i], false, &key, error);
        if (status == RZ_OK && key == 0)
            status = rz_fail(error, RZ_E_NOT_FOUND, "there is no facility %s in %s; there are %s",
                             f->name[i], rz_db_path(store->db), there);
    }
    if (status == RZ_OK && f->without && f->n == store->facilities.n)
        status = rz_fail(error, RZ_E_INVALID, "%s has no facility but those left out: %s",
                         rz_db_path(store->db), there);
    return status;
}

rz_status rz_store_data_hash(rz_store *store, char out[65], rz_error *error)
{
    bool began = false, row = false;
    int64_t limit = 0;
    rz_sha256 hash;
    rz_statement *select = NULL;
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = rz_batch_limit(store, RZ_RECORDED_NOW, &limit, error);
    if (status == RZ_OK)
        status = rz_db_statement(store->db,
                                 "SELECT digest FROM claims WHERE batch <= ?1 AND "
                                 "(superseded = 0 OR superseded > ?1) ORDER BY key",
                                 &select, error);
    if (status == RZ_OK) {
        rz_bind_int(select, 1, limit);
        rz_sha256_init(&hash);
        while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
            size_t n = 0;
            const void *digest = rz_column_blob(select, 0, &n);
            rz_sha256_add(&hash, digest, n);
        }
    }
    rz_store_view_end(store, began);
    if (status == RZ_OK)
        rz_sha256_text(&hash, out);
    return status;
}
