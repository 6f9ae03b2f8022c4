/* What a task asks of a patient: who may have a risk on a day, and whether the outcome came.
 *
 * Eligibility sees only what was known on the day (known_day), labels only when things happened
 * (day). The two never mix, or a model would be trained on answers. */
#include "tasks/task.h"

#include <string.h>

static const char *const reason_texts[RZ_REASON_COUNT] = {
#define RZ_REASON_TEXT(id, text) text,
    RZ_REASON_MAP(RZ_REASON_TEXT)
#undef RZ_REASON_TEXT
};

const char *rz_reason_text(rz_reason reason)
{
    return (unsigned)reason < RZ_REASON_COUNT ? reason_texts[reason] : "unknown";
}

static bool has_prefix(const rz_task_prefix *prefixes, size_t n, const rz_timeline_event *event)
{
    if ((event->flags & RZ_EVENT_SUSPECTED) != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (prefixes[i].system == event->system &&
            strncmp(event->code, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0)
            return true;
    return false;
}

bool rz_task_matches(const rz_task *task, const rz_timeline_event *event)
{
    return event->kind == task->kind && has_prefix(task->outcomes, task->n_outcomes, event);
}

/* The earlier of a day, which may be unknown, and a known one. */
static int32_t earlier(int32_t day, int32_t other)
{
    return day == RZ_DAY_NONE || other < day ? other : day;
}

void rz_task_facts_of(const rz_task *task, const rz_timeline *timeline, rz_task_facts *out)
{
    rz_task_facts facts = {RZ_DAY_NONE, RZ_DAY_NONE, RZ_DAY_NONE};
    for (size_t i = 0; i < timeline->n_events; i++) {
        const rz_timeline_event *event = &timeline->events[i];
        if (event->kind == RZ_KIND_DEATH)
            facts.dead_from = earlier(facts.dead_from, event->known_day);
        if (rz_task_matches(task, event))
            facts.recorded_from = earlier(facts.recorded_from, event->known_day);
        if (has_prefix(task->required, task->n_required, event))
            facts.required_from = earlier(facts.required_from, event->known_day);
    }
    *out = facts;
}

static bool known(int32_t from, int32_t as_of)
{
    return from != RZ_DAY_NONE && from <= as_of;
}

static bool in_population(const rz_task *task, const rz_task_facts *facts,
                          const rz_timeline *timeline, int32_t as_of)
{
    if (task->sex != RZ_SEX_UNKNOWN && timeline->sex != task->sex)
        return false;
    if (task->n_required > 0 && !known(facts->required_from, as_of))
        return false;
    if (task->age_min <= 0 && task->age_max >= RZ_TASK_AGE_ANY)
        return true;
    /* Someone of unknown age cannot be shown to be inside an age limit. */
    if (timeline->birth_day == RZ_DAY_NONE)
        return false;
    int years = rz_day_years_between(timeline->birth_day, as_of);
    return years >= task->age_min && years <= task->age_max;
}

static int32_t history_of(const rz_timeline *timeline, int32_t as_of)
{
    int32_t first = rz_timeline_first_day(timeline, as_of);
    return first == RZ_DAY_NONE || first > as_of ? 0 : as_of - first;
}

rz_reason rz_task_reason(const rz_task *task, const rz_task_facts *facts,
                         const rz_timeline *timeline, int32_t as_of)
{
    if (known(facts->dead_from, as_of))
        return RZ_REASON_DEAD;
    if (known(facts->recorded_from, as_of))
        return RZ_REASON_ALREADY_RECORDED;
    if (!in_population(task, facts, timeline, as_of))
        return RZ_REASON_OUTSIDE_POPULATION;
    /* A record that knows nothing yet is short even where no history is asked for. */
    if (rz_timeline_first_day(timeline, as_of) == RZ_DAY_NONE ||
        history_of(timeline, as_of) < task->min_history_days)
        return RZ_REASON_SHORT_HISTORY;
    return RZ_REASON_NONE;
}

void rz_task_eligible(const rz_task *task, const rz_timeline *timeline, int32_t as_of,
                      rz_eligibility *out)
{
    rz_task_facts facts;
    rz_task_facts_of(task, timeline, &facts);
    *out = (rz_eligibility){.reason = rz_task_reason(task, &facts, timeline, as_of),
                            .day = RZ_DAY_NONE,
                            .history_days = history_of(timeline, as_of)};
    if (out->reason == RZ_REASON_DEAD)
        out->day = rz_timeline_death_day(timeline, as_of);
    for (size_t i = 0; out->reason == RZ_REASON_ALREADY_RECORDED && i < timeline->n_events; i++) {
        const rz_timeline_event *event = &timeline->events[i];
        if (event->known_day > as_of || !rz_task_matches(task, event))
            continue;
        size_t n = strlen(event->code);
        if (n >= sizeof out->code)
            n = sizeof out->code - 1;
        memcpy(out->code, event->code, n);
        out->day = event->day;
        break;
    }
}

bool rz_task_outcome(const rz_task *task, const rz_timeline *timeline, int32_t index_day,
                     int32_t *outcome_day)
{
    for (size_t i = 0; i < timeline->n_events; i++) {
        const rz_timeline_event *event = &timeline->events[i];
        if (event->day <= index_day || event->day - index_day > task->horizon_days ||
            !rz_task_matches(task, event))
            continue;
        *outcome_day = event->day; /* events are in the order of days: the first one */
        return true;
    }
    *outcome_day = RZ_DAY_NONE;
    return false;
}
