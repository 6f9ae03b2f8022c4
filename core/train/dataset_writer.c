/* Writes the packed cache: streams the patients' rows, keeps the index and the distinct codes in
 * memory until the end. Does not judge the data; what is no token and no death is left out, unless
 * it decides who is eligible. */
#include "train/dataset.h"

#include "base/buffer.h"
#include "base/file.h"
#include "train/dataset_file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CODES_BYTES_MAX = 1 << 30, FIRST_SLOTS = 4096 };

struct rz_dataset_writer {
    rz_atomic_file file;
    char data_sha256[RZ_SHA256_TEXT];
    uint64_t offset; /* bytes of rows written so far */
    dataset_entry *entries;
    size_t n_entries, entries_capacity;
    rz_buffer codes;      /* all texts, each with its NUL */
    uint64_t *code_start; /* [n_codes] in `codes` */
    size_t n_codes, codes_capacity;
    uint32_t *slots; /* open addressing: code + 1, 0 = free */
    size_t n_slots;  /* power of two, less than half full */
    dataset_event *events;
    dataset_day *days;
    size_t events_capacity, days_capacity;
};

static rz_status grow(void **array, size_t *capacity, size_t wanted, size_t size, rz_error *error)
{
    if (wanted <= *capacity)
        return RZ_OK;
    size_t larger = *capacity < 64 ? 64 : *capacity;
    while (larger < wanted && larger <= SIZE_MAX / 2 / size)
        larger *= 2;
    void *moved = larger < wanted ? NULL : realloc(*array, larger * size);
    if (moved == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows of the training cache",
                       wanted);
    *array = moved;
    *capacity = larger;
    return RZ_OK;
}

static size_t slot_of(const rz_dataset_writer *w, const char *code)
{
    size_t slot = (size_t)rz_hash64(code, strlen(code), 0) & (w->n_slots - 1);
    while (w->slots[slot] != 0 &&
           strcmp(w->codes.data + w->code_start[w->slots[slot] - 1], code) != 0)
        slot = (slot + 1) & (w->n_slots - 1);
    return slot;
}

static rz_status widen_slots(rz_dataset_writer *w, rz_error *error)
{
    size_t n = w->n_slots == 0 ? FIRST_SLOTS : 2 * w->n_slots;
    uint32_t *slots = calloc(n, sizeof *slots);
    if (slots == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a table of %zu codes", n);
    free(w->slots);
    w->slots = slots;
    w->n_slots = n;
    for (size_t i = 0; i < w->n_codes; i++)
        w->slots[slot_of(w, w->codes.data + w->code_start[i])] = (uint32_t)i + 1;
    return RZ_OK;
}

static rz_status code_place(rz_dataset_writer *w, const char *code, uint32_t *out, rz_error *error)
{
    rz_status status = RZ_OK;
    if (2 * (w->n_codes + 1) > w->n_slots)
        status = widen_slots(w, error);
    if (status != RZ_OK)
        return status;
    size_t slot = slot_of(w, code);
    if (w->slots[slot] == 0) {
        status = grow((void **)&w->code_start, &w->codes_capacity, w->n_codes + 1,
                      sizeof *w->code_start, error);
        size_t start = w->codes.length;
        if (status == RZ_OK && rz_buffer_add(&w->codes, code, strlen(code) + 1) != RZ_OK)
            status =
                rz_fail(error, RZ_E_TOO_LARGE, "the distinct codes pass %d bytes", CODES_BYTES_MAX);
        if (status != RZ_OK)
            return status;
        w->code_start[w->n_codes++] = start;
        w->slots[slot] = (uint32_t)w->n_codes;
    }
    *out = w->slots[slot] - 1;
    return RZ_OK;
}

static rz_status put(rz_dataset_writer *w, const void *bytes, size_t n, rz_error *error)
{
    if (n > 0 && fwrite(bytes, 1, n, w->file.stream) != n)
        return rz_fail_errno(error, errno, "cannot write the training cache %s", w->file.path);
    return RZ_OK;
}

rz_status rz_dataset_writer_open(const char *path, const char data_sha256[RZ_SHA256_TEXT],
                                 rz_dataset_writer **out, rz_error *error)
{
    rz_dataset_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a training cache");
    rz_buffer_init(&w->codes, CODES_BYTES_MAX);
    (void)snprintf(w->data_sha256, sizeof w->data_sha256, "%s", data_sha256);
    rz_status status = rz_atomic_file_open(&w->file, path, error);
    if (status != RZ_OK) {
        rz_dataset_writer_abort(w);
        return status;
    }
    *out = w;
    return RZ_OK;
}

/* True when an event that is neither token nor death says something that the n rows before it do
 * not, for some as_of: nothing as early was known as early, so that it decides the first day of
 * record; or its code was not known before, so that it decides who has a code that a task requires.
 */
static bool decides(const dataset_event *rows, size_t n, const dataset_event *event,
                    int32_t earliest_known)
{
    if (event->known_day < earliest_known)
        return true;
    for (size_t i = 0; i < n; i++)
        if (rows[i].code == event->code && rows[i].system == event->system &&
            rows[i].known_day <= event->known_day && (rows[i].flags & RZ_EVENT_SUSPECTED) == 0)
            return false;
    return true;
}

/* Events come in the order of their days. */
static rz_status copy_events(rz_dataset_writer *w, const rz_timeline *timeline, uint32_t *n,
                             rz_error *error)
{
    if (timeline->n_events > UINT32_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "a timeline of %zu events", timeline->n_events);
    rz_status status = grow((void **)&w->events, &w->events_capacity, timeline->n_events,
                            sizeof *w->events, error);
    int32_t earliest_known = INT32_MAX;
    *n = 0;
    for (size_t i = 0; status == RZ_OK && i < timeline->n_events; i++) {
        const rz_timeline_event *event = &timeline->events[i];
        dataset_event row = {.day = event->day,
                             .known_day = event->known_day,
                             .kind = event->kind,
                             .system = event->system,
                             .setting = event->setting,
                             .flags = event->flags};
        status = code_place(w, event->code != NULL ? event->code : "", &row.code, error);
        bool kept = event->kind == RZ_KIND_DIAGNOSIS || event->kind == RZ_KIND_MEDICATION ||
                    event->kind == RZ_KIND_DEATH;
        if (status != RZ_OK || (!kept && !decides(w->events, *n, &row, earliest_known)))
            continue;
        if (event->known_day < earliest_known)
            earliest_known = event->known_day;
        w->events[(*n)++] = row;
    }
    return status;
}

rz_status rz_dataset_writer_add(rz_dataset_writer *w, const rz_timeline *timeline,
                                const rz_claim_day *days, size_t n_days, rz_error *error)
{
    dataset_entry entry = {.patient = timeline->patient,
                           .hash = timeline->hash,
                           .offset = w->offset,
                           .birth_day = timeline->birth_day,
                           .sex = (int32_t)timeline->sex};
    rz_status status = copy_events(w, timeline, &entry.n_events, error);
    if (status == RZ_OK && n_days > UINT32_MAX)
        status = rz_fail(error, RZ_E_TOO_LARGE, "a patient with %zu claim days", n_days);
    if (status == RZ_OK)
        status = grow((void **)&w->days, &w->days_capacity, n_days, sizeof *w->days, error);
    if (status == RZ_OK)
        status = grow((void **)&w->entries, &w->entries_capacity, w->n_entries + 1,
                      sizeof *w->entries, error);
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; i < n_days; i++)
        w->days[i] = (dataset_day){days[i].day, days[i].data_end_day, days[i].facility};
    entry.n_days = (uint32_t)n_days;
    size_t events_bytes = entry.n_events * sizeof *w->events, days_bytes = n_days * sizeof *w->days;
    entry.digest = rz_hash64(w->days, days_bytes, rz_hash64(w->events, events_bytes, entry.hash));
    status = put(w, w->events, events_bytes, error);
    if (status == RZ_OK)
        status = put(w, w->days, days_bytes, error);
    if (status == RZ_OK) {
        w->offset += events_bytes + days_bytes;
        w->entries[w->n_entries++] = entry;
    }
    return status;
}

rz_status rz_dataset_writer_finish(rz_dataset_writer *w, rz_error *error)
{
    size_t index_bytes = w->n_entries * sizeof *w->entries;
    dataset_trailer trailer = {.n_patients = w->n_entries,
                               .index_offset = w->offset,
                               .n_codes = w->n_codes,
                               .codes_offset = w->offset + index_bytes,
                               .codes_bytes = w->codes.length};
    memcpy(trailer.data_sha256, w->data_sha256, sizeof w->data_sha256);
    memcpy(trailer.magic, DATASET_MAGIC, sizeof trailer.magic);
    trailer.digest =
        rz_hash64(w->codes.data, w->codes.length, rz_hash64(w->entries, index_bytes, 0));
    rz_status status = put(w, w->entries, index_bytes, error);
    if (status == RZ_OK)
        status = put(w, w->codes.data, w->codes.length, error);
    if (status == RZ_OK)
        status = put(w, &trailer, sizeof trailer, error);
    if (status == RZ_OK)
        status = rz_atomic_file_commit(&w->file, error);
    rz_dataset_writer_abort(w);
    return status;
}

void rz_dataset_writer_abort(rz_dataset_writer *w)
{
    if (w == NULL)
        return;
    rz_atomic_file_abort(&w->file);
    rz_buffer_done(&w->codes);
    free(w->code_start);
    free(w->slots);
    free(w->entries);
    free(w->events);
    free(w->days);
    free(w);
}

/* One page of patients: each is one short read of the store. */
static rz_status copy_page(rz_store *store, const rz_patient *page, size_t n, rz_dataset_writer *w,
                           rz_arena *arena, rz_error *error)
{
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        rz_timeline *timeline = NULL;
        const rz_claim_day *days = NULL;
        size_t n_days = 0;
        rz_arena_reset(arena);
        status = rz_store_timeline(store, page[i].key, RZ_DAY_MAX, RZ_RECORDED_NOW, arena,
                                   &timeline, error);
        if (status == RZ_OK)
            status = rz_store_claim_days(store, page[i].key, arena, &days, &n_days, error);
        if (status == RZ_OK)
            status = rz_dataset_writer_add(w, timeline, days, n_days, error);
    }
    return status;
}

rz_status rz_dataset_copy(rz_store *store, const char *path, const rz_facilities *facilities,
                          const rz_progress *progress, rz_error *error)
{
    enum { PAGE = 256, TIMELINE_BYTES_MAX = 1 << 30 };
    char data_sha256[RZ_SHA256_TEXT];
    rz_store_counts counts = {0};
    rz_dataset_writer *w = NULL;
    rz_arena arena;
    rz_arena_init(&arena, TIMELINE_BYTES_MAX);
    rz_patient *page = malloc(PAGE * sizeof *page);
    rz_status status = page == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for patients")
                                    : rz_store_data_hash(store, data_sha256, error);
    if (status == RZ_OK && facilities != NULL)
        status = rz_store_check_facilities(store, facilities, error);
    if (status == RZ_OK)
        status = rz_store_counts_of(store, &counts, error);
    const bool whole = facilities == NULL || facilities->n == 0; /* else nobody has counted them */
    if (status == RZ_OK)
        status = rz_dataset_writer_open(path, data_sha256, &w, error);
    rz_patient_key after = 0;
    for (size_t n = PAGE; status == RZ_OK && n == PAGE;) {
        status = rz_store_patients_of(store, after, facilities, page, PAGE, &n, error);
        if (status == RZ_OK)
            status = copy_page(store, page, n, w, &arena, error);
        if (status == RZ_OK && n > 0)
            after = page[n - 1].key;
        rz_progress_report report = {.phase = "copy",
                                     .done = status == RZ_OK ? w->n_entries : 0,
                                     .total =
                                         status == RZ_OK && whole ? (uint64_t)counts.patients : 0,
                                     .unit = "patients",
                                     .rate_per_s = NAN,
                                     .loss = NAN,
                                     .seconds_left = NAN};
        if (status == RZ_OK && !rz_progress_tell(progress, &report))
            status = rz_fail(error, RZ_E_CANCELED, "interrupted while copying the store");
    }
    if (status == RZ_OK) {
        status = rz_dataset_writer_finish(w, error);
        w = NULL;
    }
    rz_dataset_writer_abort(w);
    rz_arena_done(&arena);
    free(page);
    return status;
}
