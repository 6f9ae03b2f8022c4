/* Cohorts: the index rule, labels and attrition of one patient at a time, and the pass over a
 * store. Nothing that becomes known after an index day decides whether that day may be the index,
 * apart from the facility's data end, which is no property of the patient. */
#include "tasks/cohort.h"

#include "base/hash.h"
#include "base/size.h"
#include "tasks/age_sex.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { PATIENTS_PER_READ = 256 };
enum { ARENA_BYTES_MAX = 256 << 20 }; /* one patient's timeline and claim days */

static const char *const attrition_texts[RZ_ATTRITION_COUNT] = {
#define RZ_ATTRITION_TEXT(id, text) text,
    RZ_ATTRITION_MAP(RZ_ATTRITION_TEXT)
#undef RZ_ATTRITION_TEXT
};

const char *rz_attrition_text(rz_attrition_step step)
{
    return (unsigned)step < RZ_ATTRITION_COUNT ? attrition_texts[step] : "unknown";
}

/* Where in the patient's time the search for an index begins. It may depend on the first claim day
 * and on the facility's data end, never on what happened later: see the header. */
static int64_t drawn_day(const rz_task *task, uint64_t patient_hash, const rz_claim_day *first,
                         int32_t latest_days, uint64_t seed)
{
    int64_t from = (int64_t)first->day + task->min_history_days;
    int64_t to = (int64_t)first->data_end_day - task->horizon_days;
    if (latest_days > 0 && from < to - latest_days + 1)
        from = to - latest_days + 1;
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) /* the same on every machine */
        bytes[i] = (unsigned char)(patient_hash >> (8 * i));
    uint64_t draw = rz_hash64(bytes, sizeof bytes, seed);
    return to > from ? from + (int64_t)(draw % (uint64_t)(to - from + 1)) : from;
}

/* The last step that this claim day passes; the steps follow the order of the reasons. */
static rz_attrition_step day_step(const rz_task *task, const rz_task_facts *facts,
                                  const rz_timeline *timeline, const rz_claim_day *day)
{
    if (day->data_end_day == RZ_DAY_NONE ||
        (int64_t)day->day + task->horizon_days > (int64_t)day->data_end_day)
        return RZ_ATTRITION_CLAIM_DAY;
    switch (rz_task_reason(task, facts, timeline, day->day)) {
    case RZ_REASON_DEAD:
        return RZ_ATTRITION_FOLLOW_UP;
    case RZ_REASON_ALREADY_RECORDED:
        return RZ_ATTRITION_ALIVE;
    case RZ_REASON_OUTSIDE_POPULATION:
        return RZ_ATTRITION_NOT_RECORDED;
    case RZ_REASON_SHORT_HISTORY:
        return RZ_ATTRITION_POPULATION;
    default:
        return RZ_ATTRITION_HISTORY;
    }
}

bool rz_cohort_index(const rz_task *task, const rz_timeline *timeline, const rz_claim_day *days,
                     size_t n_days, int32_t latest_days, uint64_t seed, int32_t *index_day,
                     rz_attrition_step *passed)
{
    rz_task_facts facts;
    *passed = RZ_ATTRITION_PATIENTS;
    if (n_days == 0)
        return false;
    int64_t from = drawn_day(task, timeline->hash, &days[0], latest_days, seed);
    rz_task_facts_of(task, timeline, &facts);
    for (size_t i = 0; i < n_days; i++) {
        if (days[i].day < from)
            continue;
        rz_attrition_step step = day_step(task, &facts, timeline, &days[i]);
        if (step > *passed)
            *passed = step;
        if (step == RZ_ATTRITION_HISTORY) {
            *index_day = days[i].day;
            return true;
        }
    }
    return false;
}

static rz_status reserve(rz_cohort *cohort, rz_error *error)
{
    if (cohort->n < cohort->capacity)
        return RZ_OK;
    size_t capacity = cohort->capacity < 1024 ? 1024 : cohort->capacity, bytes;
    bool fits = cohort->capacity == 0 || rz_size_mul(cohort->capacity, 2, &capacity);
    rz_cohort_member *members = NULL;
    if (fits && rz_size_mul(capacity, sizeof *members, &bytes))
        members = realloc(cohort->members, bytes);
    if (members == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a cohort of %zu patients", capacity);
    cohort->members = members;
    cohort->capacity = capacity;
    return RZ_OK;
}

static int32_t facility_on(const rz_claim_day *days, size_t n_days, int32_t day)
{
    size_t i = 0;
    while (i < n_days && days[i].day != day)
        i++;
    return i < n_days ? days[i].facility : -1;
}

static bool is_member_on(const rz_cohort *cohort, rz_patient_key patient, int32_t day)
{
    for (size_t i = cohort->n; i-- > 0 && cohort->members[i].patient == patient;)
        if (cohort->members[i].index_day == day)
            return true;
    return false;
}

rz_status rz_cohort_add(rz_cohort *cohort, const rz_task *task, const rz_timeline *timeline,
                        const rz_claim_day *days, size_t n_days, unsigned draw, rz_error *error)
{
    int32_t index_day = RZ_DAY_NONE;
    rz_attrition_step passed;
    bool chosen = rz_cohort_index(task, timeline, days, n_days, 0, rz_cohort_draw_seed(draw),
                                  &index_day, &passed);
    if (chosen && draw > 0)
        chosen = !is_member_on(cohort, timeline->patient, index_day);
    if (chosen) {
        rz_status status = reserve(cohort, error);
        if (status != RZ_OK)
            return status;
    }
    for (int step = 0; draw == 0 && step <= (int)passed; step++)
        cohort->passed[step]++;
    if (!chosen)
        return RZ_OK;
    rz_cohort_member member = {.patient = timeline->patient,
                               .hash = timeline->hash,
                               .index_day = index_day,
                               .own = draw == 0,
                               .split = rz_split_of(timeline->hash, RZ_COHORT_SEED),
                               .sex = timeline->sex,
                               .age_years = (float)rz_age_years(timeline->birth_day, index_day),
                               .facility = facility_on(days, n_days, index_day)};
    member.label = rz_task_outcome(task, timeline, index_day, &member.outcome_day);
    if (member.label && draw == 0) {
        cohort->positives++;
    } else if (draw == 0) {
        /* Counted, but a negative: an answer given at serving cannot know of it either. */
        int32_t death = rz_timeline_death_day(timeline, RZ_DAY_MAX);
        if (death != RZ_DAY_NONE && death > index_day && death - index_day <= task->horizon_days)
            cohort->died_without_outcome++;
    }
    cohort->members[cohort->n++] = member;
    return RZ_OK;
}

static rz_status add_patient(rz_store *store, rz_patient_key key, rz_arena *arena,
                             const rz_task *tasks, size_t n_tasks, const rz_cohort_options *o,
                             rz_cohort *out, rz_error *error)
{
    rz_timeline *timeline = NULL;
    const rz_claim_day *days = NULL;
    size_t n_days = 0;
    rz_error missing = {0};
    rz_arena_reset(arena);
    rz_status status =
        rz_store_timeline(store, key, RZ_DAY_MAX, RZ_RECORDED_NOW, arena, &timeline, &missing);
    if (status == RZ_OK)
        status = rz_store_claim_days(store, key, arena, &days, &n_days, &missing);
    /* Reads are short: a patient may have been erased since the list was read. */
    if (status == RZ_E_NOT_FOUND)
        return RZ_OK;
    if (status != RZ_OK)
        return rz_fail(error, status, "%s", missing.text);
    bool again = status == RZ_OK && (o->again == NULL || o->again(o->context, timeline->hash));
    for (size_t i = 0; status == RZ_OK && i < n_tasks; i++)
        for (unsigned draw = 0; status == RZ_OK && draw < (again && o->draws > 0 ? o->draws : 1);
             draw++)
            status = rz_cohort_add(&out[i], &tasks[i], timeline, days, n_days, draw, error);
    return status;
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + 1e-9 * (double)(now.tv_nsec - start->tv_nsec);
}

static bool tell(const rz_progress *progress, uint64_t done, uint64_t total,
                 const struct timespec *start)
{
    double seconds = seconds_since(start);
    double rate = seconds > 0.0 && done > 0 ? (double)done / seconds : NAN;
    rz_progress_report report = {.phase = "cohorts",
                                 .done = done,
                                 .total = total < done ? done : total,
                                 .unit = "patients",
                                 .rate_per_s = rate,
                                 .rate_unit = "patients",
                                 .loss = NAN,
                                 .seconds_left =
                                     total > done ? (double)(total - done) / rate : 0.0};
    return rz_progress_tell(progress, &report);
}

static rz_status build(rz_store *store, const rz_task *tasks, size_t n_tasks,
                       const rz_cohort_options *o, const rz_progress *progress,
                       rz_patient *patients, rz_arena *arena, rz_cohort *out, rz_error *error)
{
    const rz_facilities *facilities = o->facilities;
    rz_store_counts counts;
    struct timespec start;
    rz_patient_key after = 0;
    uint64_t done = 0;
    size_t n = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    const bool whole = facilities == NULL || facilities->n == 0; /* else nobody has counted them */
    rz_status status = rz_store_counts_of(store, &counts, error);
    if (status == RZ_OK && facilities != NULL)
        status = rz_store_check_facilities(store, facilities, error);
    if (status != RZ_OK)
        return status;
    do {
        status =
            rz_store_patients_of(store, after, facilities, patients, PATIENTS_PER_READ, &n, error);
        for (size_t i = 0; status == RZ_OK && i < n; i++)
            status = add_patient(store, patients[i].key, arena, tasks, n_tasks, o, out, error);
        if (status == RZ_OK && n > 0) {
            after = patients[n - 1].key;
            done += n;
            if (!tell(progress, done, whole ? (uint64_t)counts.patients : done, &start))
                status = rz_fail(error, RZ_E_CANCELED,
                                 "interrupted after %llu patients while building cohorts",
                                 (unsigned long long)done);
        }
    } while (status == RZ_OK && n > 0);
    return status;
}

rz_status rz_cohort_build(rz_store *store, const rz_task *tasks, size_t n_tasks,
                          const rz_cohort_options *options, const rz_progress *progress,
                          rz_cohort *out, rz_error *error)
{
    rz_arena arena;
    rz_arena_init(&arena, ARENA_BYTES_MAX);
    for (size_t i = 0; i < n_tasks; i++)
        out[i] = (rz_cohort){0};
    rz_patient *patients = calloc(PATIENTS_PER_READ, sizeof *patients);
    rz_status status;
    if (patients == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to read patients");
    else
        status = build(store, tasks, n_tasks, options, progress, patients, &arena, out, error);
    for (size_t i = 0; status != RZ_OK && i < n_tasks; i++)
        rz_cohort_done(&out[i]);
    free(patients);
    rz_arena_done(&arena);
    return status;
}

void rz_cohort_done(rz_cohort *cohort)
{
    free(cohort->members);
    *cohort = (rz_cohort){0};
}

json_t *rz_cohort_attrition_json(const rz_cohort *cohort)
{
    json_t *table = json_array();
    for (int step = 0; table != NULL && step < RZ_ATTRITION_COUNT; step++) {
        json_t *row = json_pack("{s:s, s:I}", "step", rz_attrition_text((rz_attrition_step)step),
                                "patients", (json_int_t)cohort->passed[step]);
        if (json_array_append_new(table, row) != 0) {
            json_decref(table);
            table = NULL;
        }
    }
    return table;
}
