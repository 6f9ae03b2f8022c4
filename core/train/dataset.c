/* Reads the packed cache: index and codes in memory, timelines by position. Nothing in the file is
 * believed before its digest fits and its offsets lie inside. */
#include "train/dataset.h"

#include "base/size.h"
#include "train/dataset_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct rz_dataset {
    int fd;
    char *path;
    dataset_trailer trailer;
    dataset_entry *entries;
    char *codes;
    const char **code; /* [n_codes] into codes */
    unsigned char *row;
    size_t row_capacity;
};

static rz_status read_at(const rz_dataset *d, void *out, size_t n, uint64_t offset, rz_error *error)
{
    size_t used = 0;
    while (used < n) {
        ssize_t got = pread(d->fd, (char *)out + used, n - used, (off_t)(offset + used));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rz_fail_errno(error, errno, "cannot read %s", d->path);
        if (got == 0)
            return rz_fail(error, RZ_E_CORRUPT, "%s ends at byte %llu", d->path,
                           (unsigned long long)(offset + used));
        used += (size_t)got;
    }
    return RZ_OK;
}

static rz_status read_trailer(rz_dataset *d, rz_error *error)
{
    struct stat info;
    dataset_trailer *t = &d->trailer;
    if (fstat(d->fd, &info) != 0)
        return rz_fail_errno(error, errno, "cannot inspect %s", d->path);
    uint64_t size = (uint64_t)info.st_size;
    if (size < sizeof *t)
        return rz_fail(error, RZ_E_CORRUPT, "%s is no training cache: %llu bytes", d->path,
                       (unsigned long long)size);
    uint64_t end = size - sizeof *t;
    rz_status status = read_at(d, t, sizeof *t, end, error);
    if (status != RZ_OK)
        return status;
    if (memcmp(t->magic, DATASET_MAGIC, sizeof t->magic) != 0)
        return rz_fail(error, RZ_E_UNSUPPORTED, "%s is not a training cache of this version",
                       d->path);
    bool inside = t->index_offset <= end &&
                  t->n_patients <= (end - t->index_offset) / sizeof *d->entries &&
                  t->codes_offset == t->index_offset + t->n_patients * sizeof *d->entries &&
                  t->codes_bytes == end - t->codes_offset && t->n_codes <= t->codes_bytes &&
                  memchr(t->data_sha256, '\0', sizeof t->data_sha256) != NULL;
    return inside ? RZ_OK : rz_fail(error, RZ_E_CORRUPT, "%s: its trailer does not fit", d->path);
}

static rz_status read_tables(rz_dataset *d, rz_error *error)
{
    const dataset_trailer *t = &d->trailer;
    size_t index_bytes = t->n_patients * sizeof *d->entries;
    d->entries = malloc(index_bytes + 1);
    d->codes = malloc(t->codes_bytes + 1);
    d->code = malloc((t->n_codes + 1) * sizeof *d->code);
    if (d->entries == NULL || d->codes == NULL || d->code == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %llu patients",
                       (unsigned long long)t->n_patients);
    rz_status status = read_at(d, d->entries, index_bytes, t->index_offset, error);
    if (status == RZ_OK)
        status = read_at(d, d->codes, t->codes_bytes, t->codes_offset, error);
    if (status != RZ_OK)
        return status;
    if (rz_hash64(d->codes, t->codes_bytes, rz_hash64(d->entries, index_bytes, 0)) != t->digest)
        return rz_fail(error, RZ_E_CORRUPT, "%s: its index was changed", d->path);
    d->codes[t->codes_bytes] = '\0';
    const char *text = d->codes, *end = d->codes + t->codes_bytes;
    for (size_t i = 0; i < t->n_codes; i++) {
        if (text >= end)
            return rz_fail(error, RZ_E_CORRUPT, "%s: %zu codes of %llu", d->path, i,
                           (unsigned long long)t->n_codes);
        d->code[i] = text;
        text += strlen(text) + 1;
    }
    for (size_t i = 0; i < t->n_patients; i++) {
        const dataset_entry *e = &d->entries[i];
        uint64_t bytes = (uint64_t)e->n_events * sizeof(dataset_event) +
                         (uint64_t)e->n_days * sizeof(dataset_day);
        if (e->offset > t->index_offset || bytes > t->index_offset - e->offset)
            return rz_fail(error, RZ_E_CORRUPT, "%s: row %zu lies outside", d->path, i);
    }
    return RZ_OK;
}

rz_status rz_dataset_open(const char *path, rz_dataset **out, rz_error *error)
{
    rz_dataset *d = calloc(1, sizeof *d);
    if (d == NULL || (d->path = strdup(path)) == NULL) {
        free(d);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to open %s", path);
    }
    d->fd = open(path, O_RDONLY | O_CLOEXEC);
    rz_status status = RZ_OK;
    if (d->fd < 0)
        status = errno == ENOENT ? rz_fail(error, RZ_E_NOT_FOUND, "there is no %s", path)
                                 : rz_fail_errno(error, errno, "cannot open %s", path);
    if (status == RZ_OK)
        status = read_trailer(d, error);
    if (status == RZ_OK)
        status = read_tables(d, error);
    if (status != RZ_OK) {
        rz_dataset_close(d);
        return status;
    }
    *out = d;
    return RZ_OK;
}

void rz_dataset_close(rz_dataset *d)
{
    if (d == NULL)
        return;
    if (d->fd >= 0)
        (void)close(d->fd);
    free(d->path);
    free(d->entries);
    free(d->codes);
    free(d->code);
    free(d->row);
    free(d);
}

size_t rz_dataset_patients(const rz_dataset *d)
{
    return (size_t)d->trailer.n_patients;
}

const char *rz_dataset_sha256(const rz_dataset *d)
{
    return d->trailer.data_sha256;
}

uint64_t rz_dataset_hash(const rz_dataset *d, size_t patient)
{
    return d->entries[patient].hash;
}

/* Reads one patient's bytes into the row buffer and checks their digest. */
static rz_status read_row(rz_dataset *d, const dataset_entry *e, rz_error *error)
{
    size_t events_bytes = e->n_events * sizeof(dataset_event);
    size_t bytes = events_bytes + e->n_days * sizeof(dataset_day);
    if (bytes > d->row_capacity) {
        unsigned char *row = realloc(d->row, bytes);
        if (row == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a row of %zu bytes", bytes);
        d->row = row;
        d->row_capacity = bytes;
    }
    if (bytes == 0)
        return RZ_OK;
    rz_status status = read_at(d, d->row, bytes, e->offset, error);
    if (status == RZ_OK && rz_hash64(d->row + events_bytes, bytes - events_bytes,
                                     rz_hash64(d->row, events_bytes, e->hash)) != e->digest)
        status = rz_fail(error, RZ_E_CORRUPT, "%s: the row at byte %llu was changed", d->path,
                         (unsigned long long)e->offset);
    return status;
}

rz_status rz_dataset_timeline(rz_dataset *d, size_t patient, rz_arena *arena, rz_timeline **out,
                              const rz_claim_day **days, size_t *n_days, rz_error *error)
{
    const dataset_entry *e = &d->entries[patient];
    rz_status status = read_row(d, e, error);
    if (status != RZ_OK)
        return status;
    rz_timeline *timeline = rz_arena_alloc(arena, 1, sizeof *timeline);
    rz_timeline_event *events = rz_arena_alloc(arena, e->n_events + (size_t)1, sizeof *events);
    rz_claim_day *claim_days = rz_arena_alloc(arena, e->n_days + (size_t)1, sizeof *claim_days);
    if (timeline == NULL || events == NULL || claim_days == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a timeline of %u events", e->n_events);
    for (size_t i = 0; i < e->n_events; i++) {
        dataset_event row;
        memcpy(&row, d->row + i * sizeof row, sizeof row);
        if (row.code >= d->trailer.n_codes)
            return rz_fail(error, RZ_E_CORRUPT, "%s: code %u of %llu", d->path, row.code,
                           (unsigned long long)d->trailer.n_codes);
        events[i] = (rz_timeline_event){.day = row.day,
                                        .known_day = row.known_day,
                                        .kind = row.kind,
                                        .system = row.system,
                                        .setting = row.setting,
                                        .flags = row.flags,
                                        .value = NAN,
                                        .code = d->code[row.code]};
    }
    for (size_t i = 0; i < e->n_days; i++) {
        dataset_day row;
        memcpy(&row, d->row + e->n_events * sizeof(dataset_event) + i * sizeof row, sizeof row);
        claim_days[i] = (rz_claim_day){row.day, row.data_end_day, row.facility};
    }
    *timeline = (rz_timeline){.patient = e->patient,
                              .hash = e->hash,
                              .sex = (rz_sex)e->sex,
                              .birth_day = e->birth_day,
                              .n_events = e->n_events,
                              .events = events};
    *out = timeline;
    if (days != NULL) {
        *days = claim_days;
        *n_days = e->n_days;
    }
    return RZ_OK;
}
