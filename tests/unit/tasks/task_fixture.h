/* Tasks and timelines made in one line. Days are small numbers: only differences matter. */
#ifndef RZ_TESTS_TASK_FIXTURE_H
#define RZ_TESTS_TASK_FIXTURE_H

#include "check.h"

#include "base/size.h"
#include "tasks/cohort.h"

/* Chronic kidney disease, one year before, one year ahead, nobody left out. */
static inline rz_task fixture_task(void)
{
    rz_task task = {.name = "ckd",
                    .kind = RZ_KIND_DIAGNOSIS,
                    .title_en = "CKD",
                    .title_ja = "CKD",
                    .n_outcomes = 2,
                    .outcomes = {{RZ_SYSTEM_ICD10, "N18"}, {RZ_SYSTEM_ICD9CM, "585"}},
                    .age_max = RZ_TASK_AGE_ANY,
                    .min_history_days = 365,
                    .horizon_days = 365};
    return task;
}

static inline rz_timeline_event fixture_event(int32_t day, int32_t known_day, rz_kind kind,
                                              rz_code_system system, const char *code,
                                              unsigned flags)
{
    return (rz_timeline_event){.day = day,
                               .known_day = known_day,
                               .kind = (uint8_t)kind,
                               .system = (uint8_t)system,
                               .flags = (uint8_t)flags,
                               .value = NAN,
                               .code = code};
}

#define DIAGNOSIS(day, known, code)                                                                \
    fixture_event(day, known, RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, code, 0)
#define SUSPECTED(day, known, code)                                                                \
    fixture_event(day, known, RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, code, RZ_EVENT_SUSPECTED)
#define VISIT(day, known) fixture_event(day, known, RZ_KIND_ENCOUNTER, RZ_SYSTEM_LOCAL, "visit", 0)
#define DEATH(day, known) fixture_event(day, known, RZ_KIND_DEATH, RZ_SYSTEM_LOCAL, "death", 0)

/* Born on day 0; the events must be in the order of days. */
#define TIMELINE(list)                                                                             \
    {                                                                                              \
        .patient = 1, .hash = 12345, .sex = RZ_SEX_FEMALE, .birth_day = 0,                         \
        .n_events = RZ_COUNT(list), .events = (list)                                               \
    }

#endif
