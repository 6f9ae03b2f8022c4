/* Tasks are data: what is to happen, to whom, within which time. A task file is JSON
 * (schema/task.schema.json); the same definition makes cohorts and answers requests. */
#ifndef RZ_TASKS_TASK_H
#define RZ_TASKS_TASK_H

#include "base/arena.h"
#include "claims/timeline.h"

#include <jansson.h>

enum { RZ_TASKS_MAX = 64, RZ_TASK_PREFIXES_MAX = 32, RZ_TASK_NAME = 48, RZ_TASK_TITLE = 96 };
enum { RZ_TASK_AGE_ANY = 150, RZ_TASK_DAYS_MAX = 3660 };

typedef struct rz_task_prefix {
    rz_code_system system;
    char prefix[24]; /* of untruncated, normalised codes */
} rz_task_prefix;

typedef struct rz_task {
    char name[RZ_TASK_NAME]; /* [a-z0-9][a-z0-9_-]* */
    rz_kind kind;            /* RZ_KIND_DIAGNOSIS or RZ_KIND_MEDICATION */
    char title_en[RZ_TASK_TITLE], title_ja[RZ_TASK_TITLE];
    size_t n_outcomes, n_required;
    rz_task_prefix outcomes[RZ_TASK_PREFIXES_MAX];
    rz_task_prefix required[RZ_TASK_PREFIXES_MAX]; /* population: one of them recorded before */
    int age_min, age_max; /* whole years at the index, inclusive; 0 … RZ_TASK_AGE_ANY = any */
    rz_sex sex;           /* RZ_SEX_UNKNOWN = any */
    int min_history_days, horizon_days;
} rz_task;

/* Why a patient has no risk for a task. The texts are those of the API. */
#define RZ_REASON_MAP(X)                                                                           \
    X(NONE, "")                                                                                    \
    X(ALREADY_RECORDED, "already_recorded")                                                        \
    X(OUTSIDE_POPULATION, "outside_population")                                                    \
    X(DEAD, "dead")                                                                                \
    X(SHORT_HISTORY, "short_history")                                                              \
    X(NO_MODEL, "no_model")

typedef enum rz_reason {
#define RZ_REASON_ENUM(id, text) RZ_REASON_##id,
    RZ_REASON_MAP(RZ_REASON_ENUM)
#undef RZ_REASON_ENUM
        RZ_REASON_COUNT
} rz_reason;

const char *rz_reason_text(rz_reason reason); /* borrowed, static */

typedef struct rz_eligibility {
    rz_reason reason;        /* RZ_REASON_NONE: the patient has a risk */
    char code[RZ_CODE_TEXT]; /* ALREADY_RECORDED: the first such code … */
    int32_t day;             /* … and its day; DEAD: the day of death */
    int32_t history_days;    /* length of the record before as_of */
} rz_eligibility;

/* Prefixes are brought to the form of stored codes (upper case, ICD without the dot).
 * Errors  RZ_E_INVALID naming the member, RZ_E_FORMAT. */
RZ_MUST_CHECK rz_status rz_task_from_json(const json_t *json, rz_task *out, rz_error *error);
json_t *rz_task_to_json(const rz_task *task); /* new; NULL when memory is exhausted */

/* All *.json of a folder (not of folders in it) in the order of their names;
 * `out` holds RZ_TASKS_MAX.
 * Errors  RZ_E_NOT_FOUND for a missing or empty folder; RZ_E_CONFLICT for a name used twice;
 *         RZ_E_TOO_LARGE; those of rz_task_from_json, with the path in front. */
RZ_MUST_CHECK rz_status rz_tasks_load(const char *folder, rz_task *out, size_t *n, rz_error *error);

/* The same question at training and at serving: may this patient have a risk on this day, from
 * what was known then (known_day <= as_of)? Reasons are tested in the order DEAD,
 * ALREADY_RECORDED, OUTSIDE_POPULATION, SHORT_HISTORY. */
void rz_task_eligible(const rz_task *task, const rz_timeline *timeline, int32_t as_of,
                      rz_eligibility *out);

/* What decides eligibility on any day, from one pass over the events: the first known_day of an
 * outcome code, of a required code and of a death; RZ_DAY_NONE where there is none. */
typedef struct rz_task_facts {
    int32_t recorded_from, required_from, dead_from;
} rz_task_facts;

void rz_task_facts_of(const rz_task *task, const rz_timeline *timeline, rz_task_facts *out);
/* rz_task_eligible without the details, for many days of one patient. */
rz_reason rz_task_reason(const rz_task *task, const rz_task_facts *facts,
                         const rz_timeline *timeline, int32_t as_of);

/* True when the outcome is coded (not suspected) on a day in index+1 … index+horizon_days. */
bool rz_task_outcome(const rz_task *task, const rz_timeline *timeline, int32_t index_day,
                     int32_t *outcome_day);

/* An outcome code; a suspected diagnosis is none. */
bool rz_task_matches(const rz_task *task, const rz_timeline_event *event);

#endif
