/* Timelines: order, the one-event-per-day rule, and what patient hashes decide. */
#include "claims/timeline.h"

#include "base/hash.h"
#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tells the uses of one patient hash apart, so that folds are not nested in splits. */
enum { USE_SPLIT = 1, USE_FOLD = 2 };

static uint64_t draw(uint64_t patient_hash, uint64_t seed, unsigned use)
{
    unsigned char bytes[9];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(patient_hash >> (8 * i));
    bytes[8] = (unsigned char)use;
    return rz_hash64(bytes, sizeof bytes, seed);
}

rz_split rz_split_of(uint64_t patient_hash, uint64_t seed)
{
    uint64_t twentieth = draw(patient_hash, seed, USE_SPLIT) % 20;
    if (twentieth < 14)
        return RZ_SPLIT_TRAIN;
    return twentieth < 17 ? RZ_SPLIT_TUNING : RZ_SPLIT_HELD_OUT;
}

const char *rz_split_name(rz_split split)
{
    static const char *const names[] = {"train", "tuning", "held_out"};
    return (unsigned)split < RZ_COUNT(names) ? names[split] : "unknown";
}

unsigned rz_fold_of(uint64_t patient_hash, uint64_t seed, unsigned n_folds)
{
    return n_folds > 1 ? (unsigned)(draw(patient_hash, seed, USE_FOLD) % n_folds) : 0;
}

uint64_t rz_patient_hash(const char *patient_namespace, const char *id)
{
    /* The namespace's own hash is the key for the id: no pair of names runs together. */
    return rz_hash64(id, strlen(id), rz_hash64(patient_namespace, strlen(patient_namespace), 0));
}

int32_t rz_timeline_first_day(const rz_timeline *timeline, int32_t as_of)
{
    for (size_t i = 0; i < timeline->n_events; i++)
        if (timeline->events[i].known_day <= as_of)
            return timeline->events[i].day;
    return RZ_DAY_NONE;
}

int32_t rz_timeline_death_day(const rz_timeline *timeline, int32_t as_of)
{
    for (size_t i = 0; i < timeline->n_events; i++)
        if (timeline->events[i].kind == RZ_KIND_DEATH && timeline->events[i].known_day <= as_of)
            return timeline->events[i].day;
    return RZ_DAY_NONE;
}

static int compare_keys(const rz_timeline_event *a, const rz_timeline_event *b)
{
    if (a->day != b->day)
        return a->day < b->day ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->system != b->system)
        return a->system < b->system ? -1 : 1;
    return strcmp(a->code, b->code);
}

/* Among equal keys the event that stays comes first: confirmed before suspected, then the one that
 * was known first, then one with a value; the rest only makes the order total. */
static int compare_events(const void *left, const void *right)
{
    const rz_timeline_event *a = left, *b = right;
    int order = compare_keys(a, b);
    if (order != 0)
        return order;
    int a_suspected = a->flags & RZ_EVENT_SUSPECTED, b_suspected = b->flags & RZ_EVENT_SUSPECTED;
    if (a_suspected != b_suspected)
        return a_suspected - b_suspected;
    if (a->known_day != b->known_day)
        return a->known_day < b->known_day ? -1 : 1;
    if (isnan(a->value) != isnan(b->value))
        return isnan(a->value) ? 1 : -1;
    if (!isnan(a->value) && a->value != b->value)
        return a->value < b->value ? -1 : 1;
    if (a->setting != b->setting)
        return (int)a->setting - (int)b->setting;
    return (int)a->flags - (int)b->flags;
}

size_t rz_timeline_settle(rz_timeline_event *events, size_t n)
{
    bool sorted = true;
    for (size_t i = 1; i < n && sorted; i++)
        sorted = compare_events(&events[i - 1], &events[i]) <= 0;
    if (!sorted)
        qsort(events, n, sizeof *events, compare_events);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || compare_keys(&events[kept - 1], &events[i]) != 0)
            events[kept++] = events[i];
    return kept;
}

static rz_status copy_event(const rz_event *event, rz_setting setting, rz_arena *arena,
                            rz_timeline_event *out)
{
    char *code = rz_arena_strdup(arena, event->code);
    *out = (rz_timeline_event){.day = event->day,
                               .known_day = event->known_day,
                               .kind = (uint8_t)event->kind,
                               .system = (uint8_t)event->system,
                               .setting = (uint8_t)setting,
                               .flags = (uint8_t)event->flags,
                               .value = (float)event->value,
                               .code = code};
    return code != NULL ? RZ_OK : RZ_E_NO_MEMORY;
}

/* All claims must speak of one person: the first known sex and birth date hold for the rest. */
static rz_status agree(const rz_claim *claim, const rz_claim *first, rz_timeline *timeline,
                       rz_error *error)
{
    if (strcmp(claim->patient_id, first->patient_id) != 0)
        return rz_fail(error, RZ_E_INVALID, "the claims of one history name several patients");
    if (timeline->sex == RZ_SEX_UNKNOWN)
        timeline->sex = claim->sex;
    if (timeline->birth_day == RZ_DAY_NONE)
        timeline->birth_day = claim->birth_day;
    if ((claim->sex != RZ_SEX_UNKNOWN && claim->sex != timeline->sex) ||
        (claim->birth_day != RZ_DAY_NONE && claim->birth_day != timeline->birth_day))
        return rz_fail(error, RZ_E_CONFLICT,
                       "the claims of one history differ in the patient's sex or birth date");
    return RZ_OK;
}

rz_status rz_timeline_from_claims(const rz_claim *claims, size_t n_claims, rz_arena *arena,
                                  rz_timeline **out, rz_error *error)
{
    if (n_claims == 0)
        return rz_fail(error, RZ_E_INVALID, "a history needs at least one claim");
    size_t n = 0;
    for (size_t i = 0; i < n_claims; i++)
        if (!rz_size_add(n, claims[i].n_events, &n))
            return rz_fail(error, RZ_E_TOO_LARGE, "the history has too many events");
    rz_timeline *timeline = rz_arena_alloc(arena, 1, sizeof *timeline);
    rz_timeline_event *events = rz_arena_alloc(arena, n, sizeof *events);
    if (timeline == NULL || events == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a history of %zu events", n);
    timeline->birth_day = RZ_DAY_NONE;
    size_t used = 0;
    for (size_t i = 0; i < n_claims; i++) {
        rz_status status = agree(&claims[i], &claims[0], timeline, error);
        if (status != RZ_OK)
            return status;
        for (size_t j = 0; j < claims[i].n_events; j++)
            if (copy_event(&claims[i].events[j], claims[i].setting, arena, &events[used++]) !=
                RZ_OK)
                return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a history of %zu events", n);
    }
    timeline->hash = rz_patient_hash(claims[0].facility, claims[0].patient_id);
    timeline->events = events;
    timeline->n_events = rz_timeline_settle(events, n);
    *out = timeline;
    return RZ_OK;
}
