/* The vocabulary itself: its entries in their one order, the lookup of an event's token, and
 * vocab.json in and out. What goes into it is counted in vocabulary_builder.c.
 *
 * Invariant: entries are strictly ascending in (diagnosis before medication, system, code), so the
 * lookup is a binary search and no file can make it slow. */
#include "model/vocabulary_entries.h"

#include "base/file.h"
#include "base/size.h"
#include "model/json_scan.h"

#include <stdlib.h>
#include <string.h>

enum { FORMAT_VERSION = 1, AGE_BINS = 1200, FILE_BYTES_MAX = 1 << 25 };

int vocabulary_compare(const rz_vocabulary_entry *a, const rz_vocabulary_entry *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->system != b->system)
        return a->system < b->system ? -1 : 1;
    return strcmp(a->code, b->code);
}

/* The digest covers what the tokens mean and where they come from, in a form that no JSON writer
 * can change. */
static rz_status digest(rz_vocabulary *vocabulary, rz_error *error)
{
    rz_sha256 hash;
    char line[256];
    const rz_code_levels *l = &vocabulary->levels;
    rz_sha256_init(&hash);
    int n = snprintf(line, sizeof line, "rezept-vocabulary %d\n%d %d %d %d %d\n%u %u %u\n%zu %zu\n",
                     FORMAT_VERSION, l->icd10_chars, l->icd9_chars, l->yj_chars, l->atc_chars,
                     l->ndc_chars, vocabulary->min_patients, vocabulary->training_patients,
                     vocabulary->age_bins, vocabulary->n_diagnoses, vocabulary->n_medications);
    if (n < 0 || (size_t)n >= sizeof line)
        return rz_fail(error, RZ_E_INTERNAL, "a vocabulary's head does not fit its line");
    rz_sha256_add(&hash, line, (size_t)n);
    for (size_t i = 0; i < vocabulary->n_diagnoses + vocabulary->n_medications; i++) {
        const rz_vocabulary_entry *entry = &vocabulary->entries[i];
        n = snprintf(line, sizeof line, "%s %s %zu:%s %u\n", rz_kind_name(entry->kind),
                     rz_code_system_name(entry->system), strlen(entry->code), entry->code,
                     entry->patients);
        if (n < 0 || (size_t)n >= sizeof line)
            return rz_fail(error, RZ_E_INTERNAL, "vocabulary entry %zu does not fit its line", i);
        rz_sha256_add(&hash, line, (size_t)n);
    }
    rz_sha256_text(&hash, vocabulary->sha256);
    return RZ_OK;
}

rz_status vocabulary_make(const rz_vocabulary *head, rz_vocabulary_entry *entries, size_t n,
                          rz_vocabulary **out, rz_error *error)
{
    rz_vocabulary *vocabulary = malloc(sizeof *vocabulary);
    if (vocabulary == NULL) {
        free(entries);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a vocabulary");
    }
    *vocabulary = *head;
    vocabulary->entries = entries;
    vocabulary->age_bins = AGE_BINS;
    vocabulary->n_diagnoses = 0;
    while (vocabulary->n_diagnoses < n &&
           entries[vocabulary->n_diagnoses].kind == RZ_KIND_DIAGNOSIS)
        vocabulary->n_diagnoses++;
    vocabulary->n_medications = n - vocabulary->n_diagnoses;
    rz_status status = digest(vocabulary, error);
    if (status != RZ_OK) {
        rz_vocabulary_free(vocabulary);
        return status;
    }
    *out = vocabulary;
    return RZ_OK;
}

void rz_vocabulary_free(rz_vocabulary *vocabulary)
{
    if (vocabulary == NULL)
        return;
    free((void *)(uintptr_t)vocabulary->entries); /* const only for the readers */
    free(vocabulary);
}

static rz_vocabulary_entry *entries_new(size_t n, rz_error *error)
{
    rz_vocabulary_entry *entries = calloc(n > 0 ? n : 1, sizeof *entries);
    if (entries == NULL)
        (void)rz_fail(error, RZ_E_NO_MEMORY, "no memory for a vocabulary of %zu codes", n);
    return entries;
}

rz_status rz_vocabulary_copy(const rz_vocabulary *vocabulary, rz_vocabulary **out, rz_error *error)
{
    size_t n = vocabulary->n_diagnoses + vocabulary->n_medications;
    rz_vocabulary_entry *entries = entries_new(n, error);
    if (entries == NULL)
        return RZ_E_NO_MEMORY;
    if (n > 0)
        memcpy(entries, vocabulary->entries, n * sizeof *entries);
    return vocabulary_make(vocabulary, entries, n, out, error);
}

rz_status rz_vocabulary_synthetic(size_t n_codes, rz_vocabulary **out, rz_error *error)
{
    if (n_codes < 2 || n_codes > RZ_VOCABULARY_CODES_MAX)
        return rz_fail(error, RZ_E_INVALID, "a vocabulary has 2 to %d codes, not %zu",
                       RZ_VOCABULARY_CODES_MAX, n_codes);
    rz_vocabulary_entry *entries = entries_new(n_codes, error);
    if (entries == NULL)
        return RZ_E_NO_MEMORY;
    for (size_t i = 0; i < n_codes; i++) {
        bool diagnosis = i < (n_codes + 1) / 2;
        entries[i] = (rz_vocabulary_entry){
            .kind = diagnosis ? RZ_KIND_DIAGNOSIS : RZ_KIND_MEDICATION, .system = RZ_SYSTEM_LOCAL};
        (void)snprintf(entries[i].code, sizeof entries[i].code, "%c%06zu", diagnosis ? 'D' : 'M',
                       i);
    }
    rz_vocabulary head = {.levels = rz_code_levels_defaults()};
    return vocabulary_make(&head, entries, n_codes, out, error);
}

/* Orders a code of a history against an entry: the code counts only up to its truncated length. */
static int compare_code(const char *code, size_t length, const char *entry)
{
    int order = strncmp(code, entry, length);
    return order != 0 ? order : -(entry[length] != '\0');
}

int32_t rz_vocabulary_token(const rz_vocabulary *vocabulary, const rz_timeline_event *event)
{
    bool diagnosis = event->kind == RZ_KIND_DIAGNOSIS;
    if ((!diagnosis && event->kind != RZ_KIND_MEDICATION) ||
        (event->flags & RZ_EVENT_SUSPECTED) != 0)
        return RZ_TOKEN_NONE;
    size_t low = diagnosis ? 0 : vocabulary->n_diagnoses;
    size_t high = low + (diagnosis ? vocabulary->n_diagnoses : vocabulary->n_medications);
    size_t length =
        rz_code_truncated_length((rz_code_system)event->system, event->code, vocabulary->levels);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const rz_vocabulary_entry *entry = &vocabulary->entries[middle];
        int order = (int)event->system - (int)entry->system;
        if (order == 0)
            order = compare_code(event->code, length, entry->code);
        if (order == 0)
            return (int32_t)middle + RZ_TOKEN_SPECIALS;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return diagnosis ? RZ_TOKEN_UNKNOWN_DIAGNOSIS : RZ_TOKEN_UNKNOWN_MEDICATION;
}

/* ---- vocab.json ------------------------------------------------------------------------------ */

static rz_status write_entry(rz_buffer *text, const rz_vocabulary_entry *entry, bool last,
                             rz_error *error)
{
    rz_status status = rz_buffer_addf(text, "[\"%s\",\"%s\",", rz_kind_name(entry->kind),
                                      rz_code_system_name(entry->system));
    if (status == RZ_OK)
        status = rz_scan_quote(text, entry->code);
    if (status == RZ_E_INVALID)
        return rz_fail(error, status, "a %s code of system %s is not UTF-8",
                       rz_kind_name(entry->kind), rz_code_system_name(entry->system));
    return status != RZ_OK ? status
                           : rz_buffer_addf(text, ",%u]%s\n", entry->patients, last ? "" : ",");
}

rz_status rz_vocabulary_write(const rz_vocabulary *vocabulary, const char *path, rz_error *error)
{
    const rz_code_levels *l = &vocabulary->levels;
    size_t n = vocabulary->n_diagnoses + vocabulary->n_medications;
    rz_buffer text;
    rz_buffer_init(&text, FILE_BYTES_MAX);
    rz_status status = rz_buffer_addf(
        &text,
        "{\"format_version\":%d,\n\"levels\":{\"icd10_chars\":%d,\"icd9_chars\":%d,"
        "\"yj_chars\":%d,\"atc_chars\":%d,\"ndc_chars\":%d},\n\"min_patients\":%u,"
        "\"training_patients\":%u,\"age_bins\":%u,\n\"codes\":[\n",
        FORMAT_VERSION, l->icd10_chars, l->icd9_chars, l->yj_chars, l->atc_chars, l->ndc_chars,
        vocabulary->min_patients, vocabulary->training_patients, vocabulary->age_bins);
    for (size_t i = 0; i < n && status == RZ_OK; i++)
        status = write_entry(&text, &vocabulary->entries[i], i + 1 == n, error);
    if (status == RZ_OK)
        status = rz_buffer_addf(&text, "],\n\"sha256\":\"%s\"}\n", vocabulary->sha256);
    if (status == RZ_OK)
        status = rz_file_write(path, text.data, text.length, error);
    else
        (void)rz_fail(error, status, "cannot put a vocabulary of %zu codes into %s", n, path);
    rz_buffer_done(&text);
    return status;
}

/* What has been read of a file, and which members were there. */
typedef struct reader {
    rz_scan scan;
    rz_vocabulary head;
    rz_vocabulary_entry *entries;
    size_t n, capacity;
    uint64_t format_version;
    unsigned seen;
} reader;

enum {
    SEEN_VERSION = 1,
    SEEN_LEVELS = 2,
    SEEN_MIN = 4,
    SEEN_PATIENTS = 8,
    SEEN_BINS = 16,
    SEEN_CODES = 32,
    SEEN_SHA256 = 64,
    SEEN_ALL = 127
};

static rz_status read_levels(reader *r, const char *name, rz_error *error)
{
    struct {
        const char *name;
        int *value;
    } const members[] = {{"icd10_chars", &r->head.levels.icd10_chars},
                         {"icd9_chars", &r->head.levels.icd9_chars},
                         {"yj_chars", &r->head.levels.yj_chars},
                         {"atc_chars", &r->head.levels.atc_chars},
                         {"ndc_chars", &r->head.levels.ndc_chars}};
    unsigned seen = 0;
    bool ok = rz_scan_expect(&r->scan, '{');
    do {
        const char *key;
        uint64_t value;
        size_t i = 0;
        ok = ok && rz_scan_key(&r->scan, &key);
        while (ok && i < RZ_COUNT(members) && strcmp(key, members[i].name) != 0)
            i++;
        if (ok && (i == RZ_COUNT(members) || (seen & 1u << i) != 0))
            return rz_fail(error, RZ_E_FORMAT, "%s: levels: \"%.40s\" is unknown or twice there",
                           name, key);
        ok = ok && rz_scan_unsigned(&r->scan, RZ_CODE_TEXT - 1, &value);
        if (ok) {
            *members[i].value = (int)value;
            seen |= 1u << i;
        }
    } while (ok && rz_scan_take(&r->scan, ','));
    if (ok && seen != (1u << RZ_COUNT(members)) - 1)
        return rz_fail(error, RZ_E_FORMAT, "%s: levels lacks a member", name);
    return ok && rz_scan_expect(&r->scan, '}') ? RZ_OK : RZ_E_FORMAT;
}

/* Grows with what has really been read, never with what a file announces. */
static rz_status entries_grow(reader *r, rz_error *error)
{
    if (r->n < r->capacity)
        return RZ_OK;
    size_t capacity = r->capacity == 0 ? 256 : r->capacity * 2;
    rz_vocabulary_entry *entries = realloc(r->entries, capacity * sizeof *entries);
    if (entries == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu codes", capacity);
    r->entries = entries;
    r->capacity = capacity;
    return RZ_OK;
}

static rz_status read_entry(reader *r, const char *name, rz_error *error)
{
    rz_scan *scan = &r->scan;
    const char *kind, *system, *code;
    size_t length;
    uint64_t patients;
    rz_vocabulary_entry entry = {0};
    if (!rz_scan_expect(scan, '[') || !rz_scan_string(scan, &kind, NULL) ||
        !rz_scan_expect(scan, ',') || !rz_scan_string(scan, &system, NULL) ||
        !rz_scan_expect(scan, ',') || !rz_scan_string(scan, &code, &length) ||
        !rz_scan_expect(scan, ',') || !rz_scan_unsigned(scan, UINT32_MAX, &patients) ||
        !rz_scan_expect(scan, ']'))
        return RZ_E_FORMAT;
    if (r->n == RZ_VOCABULARY_CODES_MAX)
        return rz_fail(error, RZ_E_FORMAT, "%s: more than %d codes", name, RZ_VOCABULARY_CODES_MAX);
    if (!rz_kind_from_name(kind, &entry.kind) ||
        (entry.kind != RZ_KIND_DIAGNOSIS && entry.kind != RZ_KIND_MEDICATION))
        return rz_fail(error, RZ_E_FORMAT,
                       "%s: code %zu: kind \"%.20s\" is not diagnosis or "
                       "medication",
                       name, r->n, kind);
    if (!rz_code_system_from_name(system, &entry.system))
        return rz_fail(error, RZ_E_FORMAT, "%s: code %zu: unknown code system \"%.20s\"", name,
                       r->n, system);
    if (length == 0 || length >= RZ_CODE_TEXT)
        return rz_fail(error, RZ_E_FORMAT, "%s: code %zu has %zu characters, 1 to %d are allowed",
                       name, r->n, length, RZ_CODE_TEXT - 1);
    memcpy(entry.code, code, length);
    entry.patients = (uint32_t)patients;
    if (r->n > 0 && vocabulary_compare(&r->entries[r->n - 1], &entry) >= 0)
        return rz_fail(error, RZ_E_FORMAT, "%s: code %zu (%s) is twice there or out of order", name,
                       r->n, entry.code);
    rz_status status = entries_grow(r, error);
    if (status == RZ_OK)
        r->entries[r->n++] = entry;
    return status;
}

static rz_status read_codes(reader *r, const char *name, rz_error *error)
{
    if (!rz_scan_expect(&r->scan, '['))
        return RZ_E_FORMAT;
    if (rz_scan_take(&r->scan, ']'))
        return RZ_OK;
    do {
        rz_status status = read_entry(r, name, error);
        if (status != RZ_OK)
            return status;
    } while (rz_scan_take(&r->scan, ','));
    return rz_scan_expect(&r->scan, ']') ? RZ_OK : RZ_E_FORMAT;
}

static rz_status read_member(reader *r, const char *key, const char *name, rz_error *error)
{
    static const struct {
        const char *name;
        unsigned bit;
    } members[] = {{"format_version", SEEN_VERSION},
                   {"levels", SEEN_LEVELS},
                   {"min_patients", SEEN_MIN},
                   {"age_bins", SEEN_BINS},
                   {"training_patients", SEEN_PATIENTS},
                   {"codes", SEEN_CODES},
                   {"sha256", SEEN_SHA256}};
    size_t i = 0;
    uint64_t number = 0;
    const char *text = "";
    while (i < RZ_COUNT(members) && strcmp(key, members[i].name) != 0)
        i++;
    if (i == RZ_COUNT(members) || (r->seen & members[i].bit) != 0)
        return rz_fail(error, RZ_E_FORMAT, "%s: \"%.40s\" is unknown or twice there", name, key);
    r->seen |= members[i].bit;
    if (members[i].bit == SEEN_LEVELS)
        return read_levels(r, name, error);
    if (members[i].bit == SEEN_CODES)
        return read_codes(r, name, error);
    if (members[i].bit == SEEN_SHA256) {
        size_t length;
        if (!rz_scan_string(&r->scan, &text, &length))
            return RZ_E_FORMAT;
        if (length != RZ_SHA256_TEXT - 1)
            return rz_fail(error, RZ_E_FORMAT, "%s: sha256 has %zu characters instead of %d", name,
                           length, RZ_SHA256_TEXT - 1);
        memcpy(r->head.sha256, text, length + 1);
        return RZ_OK;
    }
    if (!rz_scan_unsigned(&r->scan, UINT32_MAX, &number))
        return RZ_E_FORMAT;
    switch (members[i].bit) {
    case SEEN_VERSION:
        r->format_version = number;
        break;
    case SEEN_MIN:
        r->head.min_patients = (uint32_t)number;
        break;
    case SEEN_PATIENTS:
        r->head.training_patients = (uint32_t)number;
        break;
    default:
        r->head.age_bins = (uint32_t)number;
    }
    return RZ_OK;
}

/* What can only be said once everything has been read. */
static rz_status check_whole(const reader *r, const char *name, rz_error *error)
{
    if (r->seen != SEEN_ALL)
        return rz_fail(error, RZ_E_FORMAT,
                       "%s lacks a member: format_version, levels, min_patients, "
                       "training_patients, age_bins, codes and sha256 are needed",
                       name);
    if (r->format_version != FORMAT_VERSION)
        return rz_fail(error, RZ_E_UNSUPPORTED, "%s has format version %llu, this program reads %d",
                       name, (unsigned long long)r->format_version, FORMAT_VERSION);
    if (r->head.age_bins != AGE_BINS)
        return rz_fail(error, RZ_E_UNSUPPORTED, "%s: age_bins is %u, this program knows %d", name,
                       r->head.age_bins, AGE_BINS);
    for (size_t i = 0; i < r->n; i++) {
        const rz_vocabulary_entry *entry = &r->entries[i];
        size_t length = rz_code_truncated_length(entry->system, entry->code, r->head.levels);
        if (length != strlen(entry->code))
            return rz_fail(error, RZ_E_FORMAT,
                           "%s: code %zu (%s) is longer than its level of %zu characters", name, i,
                           entry->code, length);
    }
    return RZ_OK;
}

rz_status vocabulary_parse(char *text, size_t n, const char *name, rz_vocabulary **out,
                           rz_error *error)
{
    reader r = {0};
    rz_vocabulary *vocabulary = NULL;
    rz_status status = RZ_OK;
    rz_scan_init(&r.scan, text, n);
    bool ok = rz_scan_expect(&r.scan, '{');
    do {
        const char *key;
        ok = ok && rz_scan_key(&r.scan, &key);
        if (ok)
            status = read_member(&r, key, name, error);
    } while (ok && status == RZ_OK && rz_scan_take(&r.scan, ','));
    if (status == RZ_OK && (!ok || !rz_scan_expect(&r.scan, '}') || !rz_scan_end(&r.scan)))
        status = RZ_E_FORMAT;
    if (status != RZ_OK) {
        status = rz_fail(error, status, "%s: byte %zu: %s", name, r.scan.at,
                         r.scan.problem != NULL ? r.scan.problem : "cannot be read");
        goto out;
    }
    status = check_whole(&r, name, error);
    if (status != RZ_OK)
        goto out;
    status = vocabulary_make(&r.head, r.entries, r.n, &vocabulary, error);
    r.entries = NULL; /* taken, also when it failed */
    if (status == RZ_OK && strcmp(vocabulary->sha256, r.head.sha256) != 0)
        status =
            rz_fail(error, RZ_E_CORRUPT, "%s: its content has SHA-256 %.12s…, the file says %.12s…",
                    name, vocabulary->sha256, r.head.sha256);
    if (status == RZ_OK) {
        *out = vocabulary;
        vocabulary = NULL;
    }
out:
    free(r.entries);
    rz_vocabulary_free(vocabulary);
    return status;
}

rz_status rz_vocabulary_read(const char *path, rz_vocabulary **out, rz_error *error)
{
    char *text = NULL;
    size_t n;
    rz_status status = rz_file_read(path, FILE_BYTES_MAX, &text, &n, error);
    if (status == RZ_OK)
        status = vocabulary_parse(text, n, path, out, error);
    free(text);
    return status;
}
