/* Names of sex and setting, and the digest that decides whether two claims are the same. */
#include "claims/event.h"

#include "base/hash.h"
#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const sex_names[] = {"U", "F", "M"};
static const char *const setting_names[] = {"unknown", "outpatient", "inpatient", "pharmacy"};

const char *rz_sex_name(rz_sex sex)
{
    return (unsigned)sex < RZ_COUNT(sex_names) ? sex_names[sex] : "U";
}

bool rz_sex_from_name(const char *name, rz_sex *out)
{
    for (unsigned i = 0; i < RZ_COUNT(sex_names); i++) {
        if (strcmp(name, sex_names[i]) == 0) {
            *out = (rz_sex)i;
            return true;
        }
    }
    return false;
}

const char *rz_setting_name(rz_setting setting)
{
    return (unsigned)setting < RZ_COUNT(setting_names) ? setting_names[setting] : "unknown";
}

bool rz_setting_from_name(const char *name, rz_setting *out)
{
    for (unsigned i = 0; i < RZ_COUNT(setting_names); i++) {
        if (strcmp(name, setting_names[i]) == 0) {
            *out = (rz_setting)i;
            return true;
        }
    }
    return false;
}

/* One bit pattern for each value: every NaN is "none", and zero has no sign. */
static uint64_t value_bits(double value)
{
    uint64_t bits;
    if (isnan(value))
        return UINT64_MAX;
    if (value == 0.0)
        value = 0.0 * 0.0;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* A total order over the content of events, so that their order in a file does not matter. */
static int compare_events(const void *left, const void *right)
{
    const rz_event *a = *(const rz_event *const *)left;
    const rz_event *b = *(const rz_event *const *)right;
    if (a->day != b->day)
        return a->day < b->day ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->system != b->system)
        return a->system < b->system ? -1 : 1;
    int order = strcmp(a->code, b->code);
    if (order == 0 && a->known_day != b->known_day)
        order = a->known_day < b->known_day ? -1 : 1;
    if (order == 0)
        order = compare_numbers(a->flags, b->flags);
    if (order == 0)
        order = compare_numbers(value_bits(a->value), value_bits(b->value));
    if (order == 0)
        order = strcmp(a->unit != NULL ? a->unit : "", b->unit != NULL ? b->unit : "");
    return order;
}

static void add_number(rz_sha256 *hash, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    rz_sha256_add(hash, bytes, sizeof bytes);
}

static void add_day(rz_sha256 *hash, int32_t day)
{
    add_number(hash, (uint64_t)(int64_t)day);
}

static void add_text(rz_sha256 *hash, const char *text)
{
    size_t n = text != NULL ? strlen(text) : 0;
    add_number(hash, n);
    rz_sha256_add(hash, text != NULL ? text : "", n);
}

static void add_event(rz_sha256 *hash, const rz_event *event)
{
    add_day(hash, event->day);
    add_day(hash, event->known_day);
    add_number(hash, (uint64_t)event->kind << 32 | (uint64_t)event->system);
    add_number(hash, event->flags);
    add_number(hash, value_bits(event->value));
    add_text(hash, event->code);
    add_text(hash, event->unit);
}

rz_status rz_claim_digest(const rz_claim *claim, unsigned char out[32], rz_error *error)
{
    const rz_event *few[64], **order = few;
    if (claim->n_events > RZ_COUNT(few)) {
        size_t bytes;
        order = rz_size_mul(claim->n_events, sizeof *order, &bytes) ? malloc(bytes) : NULL;
        if (order == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a claim of %zu events",
                           claim->n_events);
    }
    bool sorted = true;
    for (size_t i = 0; i < claim->n_events; i++) {
        order[i] = &claim->events[i];
        sorted = sorted && (i == 0 || compare_events(&order[i - 1], &order[i]) <= 0);
    }
    if (!sorted)
        qsort(order, claim->n_events, sizeof *order, compare_events);
    rz_sha256 hash;
    rz_sha256_init(&hash);
    add_text(&hash, claim->facility);
    add_text(&hash, claim->claim_id);
    add_text(&hash, claim->patient_id);
    add_number(&hash, (uint64_t)claim->sex << 32 | (uint64_t)claim->setting);
    add_day(&hash, claim->birth_day);
    add_day(&hash, claim->start_day);
    add_day(&hash, claim->end_day);
    add_day(&hash, claim->known_day);
    add_number(&hash, claim->n_events);
    for (size_t i = 0; i < claim->n_events; i++)
        add_event(&hash, order[i]);
    rz_sha256_done(&hash, out);
    if (order != few)
        free(order);
    return RZ_OK;
}
