/* From a life to claims: visits, refills, background illnesses, stays in hospital, and one claim a
 * month and setting.
 *
 * The record only repeats what the life has decided: an item's code is never written before its
 * day, and nothing here looks ahead of the day that it writes, so claims hold no more about the
 * future than the hazards can read. Suspected diagnoses are noise: nobody acts on them. */
#include "simulate/world.h"

#include "base/hash.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    int32_t day, month; /* month: years * 12 + months */
    uint8_t setting, kind, system, flags;
    int16_t supply_days;
    const char *code;
} entry;

typedef struct record {
    const rz_sim_world *world;
    const rz_sim_patient *patient;
    rz_rng *rng;
    rz_arena *arena;
    entry *entries;
    size_t n, capacity;
    rz_status status; /* the first failure; later writing does nothing */
    /* What each treatment or condition is written as, and whether a treatment goes on. */
    const char *code[RZ_SIM_ITEMS];
    bool stopped[RZ_SIM_ITEMS];
} record;

/* Who is taken into hospital for what, how often, and for how many days [chosen, no source]. */
static const struct {
    rz_sim_item item;
    double share;
    int days;
} admissions[] = {
    {RZ_SIM_STROKE, .85, 21},         {RZ_SIM_HEART_FAILURE, .50, 14},
    {RZ_SIM_HEART_ISCHAEMIA, .30, 6}, {RZ_SIM_HIP_FRACTURE, .95, 24},
    {RZ_SIM_PNEUMONIA, .45, 12},      {RZ_SIM_SPINE_FRACTURE, .30, 14},
    {RZ_SIM_CANCER_BOWEL, .60, 12},   {RZ_SIM_CANCER_STOMACH, .60, 12},
    {RZ_SIM_CANCER_LUNG, .60, 9},     {RZ_SIM_CANCER_BREAST, .60, 6},
    {RZ_SIM_CANCER_LIVER, .60, 9},    {RZ_SIM_GALLSTONES, .40, 6},
    {RZ_SIM_DEHYDRATION, .40, 4},     {RZ_SIM_DELIRIUM, .60, 7},
    {RZ_SIM_CHEMOTHERAPY, .30, 3},    {RZ_SIM_CATARACT, .20, 2},
};

/* Chances and lengths of the daily business [chosen, no source]. */
static const double share_recoded = 0.13, share_recoded_course = 0.35, share_refilled = 0.86,
                    share_stopped = 0.03, share_switched = 0.010, share_suspected = 0.03,
                    share_background_drug = 0.70, share_second_drug = 0.30, share_late = 0.02,
                    share_terminal_stay = 0.75;

static void add(record *r, int32_t day, rz_setting setting, rz_kind kind, rz_code_system system,
                const char *code, unsigned flags, int supply_days)
{
    if (r->status != RZ_OK || day < r->patient->entry_day || day > r->patient->exit_day)
        return;
    if (r->n == r->capacity) {
        size_t capacity = r->capacity == 0 ? 512 : 2 * r->capacity;
        entry *grown = rz_arena_alloc(r->arena, capacity, sizeof *grown);
        if (grown == NULL) {
            r->status = RZ_E_NO_MEMORY;
            return;
        }
        if (r->n > 0)
            memcpy(grown, r->entries, r->n * sizeof *grown);
        r->entries = grown;
        r->capacity = capacity;
    }
    int year, month, day_of_month;
    rz_day_to_civil(day, &year, &month, &day_of_month);
    r->entries[r->n++] = (entry){.day = day,
                                 .month = year * 12 + month - 1,
                                 .setting = (uint8_t)setting,
                                 .kind = (uint8_t)kind,
                                 .system = (uint8_t)system,
                                 .flags = (uint8_t)flags,
                                 .supply_days = (int16_t)supply_days,
                                 .code = code};
}

static void add_diagnosis(record *r, int32_t day, rz_setting setting, const char *code)
{
    add(r, day, setting, RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, code, 0, 0);
}

static void add_drug(record *r, int32_t day, rz_setting setting, const char *code, int supply_days)
{
    add(r, day, setting, RZ_KIND_MEDICATION, RZ_SYSTEM_YJ, code, 0, supply_days);
}

static bool chance(record *r, double p)
{
    return rz_rng_uniform(r->rng) < p;
}

/* How much a hospital leans to a code: a habit without reason, so it comes from a hash. */
static double leaning(const record *r, const char *code)
{
    static const double factor[4] = {0.2, 1.0, 1.0, 4.0};
    return factor[rz_hash64(code, strlen(code), r->patient->hospital) >> 62];
}

static const char *choose_diagnosis(record *r, unsigned item)
{
    const rz_sim_world *w = r->world;
    unsigned from = w->diagnosis_from[item], to = w->diagnosis_from[item + 1];
    double total = 0.0;
    for (unsigned i = from; i < to; i++)
        total += rz_sim_diagnoses[i].weight * leaning(r, w->diagnosis[i]);
    double mark = rz_rng_uniform(r->rng) * total;
    for (unsigned i = from; i + 1 < to; i++) {
        mark -= rz_sim_diagnoses[i].weight * leaning(r, w->diagnosis[i]);
        if (mark < 0.0)
            return w->diagnosis[i];
    }
    return w->diagnosis[to - 1];
}

static const char *choose_drug(record *r, unsigned item)
{
    const rz_sim_world *w = r->world;
    unsigned from = w->drug_from[item], to = w->drug_from[item + 1];
    double total = 0.0;
    for (unsigned i = from; i < to; i++)
        total += leaning(r, w->drug[i]);
    double mark = rz_rng_uniform(r->rng) * total;
    for (unsigned i = from; i + 1 < to; i++) {
        mark -= leaning(r, w->drug[i]);
        if (mark < 0.0)
            return w->drug[i];
    }
    return w->drug[to - 1];
}

/* A stay in hospital from `day`: infusions at both ends; what crosses a month is billed there. */
static void stay(record *r, int32_t day, int days, const char *diagnosis)
{
    int length = 1 + (int)rz_rng_below(r->rng, (uint32_t)(2 * days));
    int drugs = 1 + (int)rz_rng_below(r->rng, 2);
    for (int i = 0; i < drugs; i++)
        add_drug(r, day, RZ_SETTING_INPATIENT, choose_drug(r, RZ_SIM_BG_INPATIENT), length);
    add_drug(r, day + length, RZ_SETTING_INPATIENT, choose_drug(r, RZ_SIM_BG_INPATIENT), 1);
    if (diagnosis != NULL)
        add_diagnosis(r, day + length, RZ_SETTING_INPATIENT, diagnosis);
}

/* The first code of every item, on its day. */
static void write_onsets(record *r, int supply_days)
{
    for (unsigned item = 0; item < RZ_SIM_DEATH; item++) {
        int32_t day = r->patient->state.coded[item];
        if (day == RZ_DAY_NONE)
            continue;
        bool condition = item < RZ_SIM_CONDITIONS;
        rz_setting setting = RZ_SETTING_OUTPATIENT;
        r->code[item] = condition ? choose_diagnosis(r, item) : choose_drug(r, item);
        for (size_t i = 0; i < sizeof admissions / sizeof *admissions; i++) {
            if (admissions[i].item != item || day == r->patient->entry_day ||
                !chance(r, admissions[i].share))
                continue;
            setting = RZ_SETTING_INPATIENT;
            stay(r, day, admissions[i].days, condition ? r->code[item] : NULL);
        }
        int course = rz_sim_item_course(item);
        int supply = course > 0 && course < supply_days ? course : supply_days;
        if (condition)
            add_diagnosis(r, day, setting, r->code[item]);
        else
            add_drug(r, day, setting, r->code[item], supply);
    }
}

/* A visit repeats some of what lasts. Returns whether anything is still being treated: 0 nothing,
 * 1 something with an end, 2 something that stays. */
static int visit(record *r, int32_t day, int supply_days)
{
    int busy = 0;
    for (unsigned item = 0; item < RZ_SIM_DEATH; item++) {
        int32_t coded = r->patient->state.coded[item];
        if (coded == RZ_DAY_NONE || coded >= day || r->stopped[item])
            continue;
        int course = rz_sim_item_course(item);
        if (course > 0 && day - coded > course)
            continue;
        busy = course == 0 ? 2 : busy == 0 ? 1 : busy;
        if (item < RZ_SIM_CONDITIONS) {
            if (chance(r, course > 0 ? share_recoded_course : share_recoded))
                add_diagnosis(r, day, RZ_SETTING_OUTPATIENT, r->code[item]);
            continue;
        }
        double fate = rz_rng_uniform(r->rng);
        if (fate < share_stopped) {
            r->stopped[item] = true;
            continue;
        }
        if (fate < share_stopped + share_switched)
            r->code[item] = choose_drug(r, item);
        if (chance(r, share_refilled))
            add_drug(r, day, RZ_SETTING_OUTPATIENT, r->code[item], supply_days);
    }
    if (busy > 0 && chance(r, share_suspected)) {
        /* A test for something the patient is not known to have; it comes back negative. */
        uint32_t row = rz_rng_below(r->rng, (uint32_t)rz_sim_n_diagnoses);
        int32_t coded = r->patient->state.coded[rz_sim_diagnoses[row].item];
        if (coded == RZ_DAY_NONE || coded > day)
            add(r, day, RZ_SETTING_OUTPATIENT, RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10,
                r->world->diagnosis[row], RZ_EVENT_SUSPECTED, 0);
    }
    return busy;
}

/* Visits at the patient's own interval while something lasts, each month after something new, and
 * else none until something happens. */
static void write_visits(record *r, int interval_days)
{
    int32_t day = r->patient->entry_day;
    while (day < r->patient->exit_day) {
        int busy = visit(r, day, interval_days);
        int step = busy == 2 ? interval_days : 28;
        day += step + (int)rz_rng_below(r->rng, 9) - 4;
    }
}

static size_t choose_row(record *r, const double *sums)
{
    double mark = rz_rng_uniform(r->rng) * sums[rz_sim_n_backgrounds - 1];
    size_t row = 0;
    while (row + 1 < rz_sim_n_backgrounds && mark >= sums[row])
        row++;
    return row;
}

static void write_background(record *r, int32_t day, const double *sums)
{
    size_t row = choose_row(r, sums);
    add_diagnosis(r, day, RZ_SETTING_OUTPATIENT, r->world->background[row]);
    rz_sim_item pool = rz_sim_backgrounds[row].drugs;
    if (pool == RZ_SIM_NO_DRUG || !chance(r, share_background_drug))
        return;
    int supply = 4 + (int)rz_rng_below(r->rng, 11);
    add_drug(r, day, RZ_SETTING_OUTPATIENT, choose_drug(r, pool), supply);
    if (chance(r, share_second_drug))
        add_drug(r, day, RZ_SETTING_OUTPATIENT, choose_drug(r, pool), supply);
}

/* Illnesses that come and go: waiting times with the rate of the group and season. */
static void write_backgrounds(record *r)
{
    static const double busyness[4] = {0.4, 0.7, 1.0, 1.6};
    const rz_sim_patient *p = r->patient;
    double factor = busyness[rz_rng_below(r->rng, 4)];
    int32_t day = p->entry_day;
    bool first = true; /* something brought the patient here */
    while (day <= p->exit_day) {
        int year, month, day_of_month;
        rz_day_to_civil(day, &year, &month, &day_of_month);
        const double *sums =
            r->world->background_sum[rz_sim_group(p->state.sex, day - p->state.birth_day)]
                                    [rz_sim_season_of(month)];
        if (first)
            write_background(r, day, sums);
        first = false;
        double rate = factor * sums[rz_sim_n_backgrounds - 1];
        double wait = rz_rng_exponential(r->rng) / rate * 365.25;
        /* Rates change with the month: look again at its end. */
        int32_t left = 31 - day_of_month + 1;
        if (wait >= left) {
            day += left;
            continue;
        }
        day += 1 + (int32_t)wait;
        write_background(r, day, sums);
    }
}

static void write_death(record *r)
{
    int32_t day = r->patient->state.coded[RZ_SIM_DEATH];
    if (day == RZ_DAY_NONE)
        return;
    rz_setting setting = RZ_SETTING_OUTPATIENT;
    if (chance(r, share_terminal_stay)) {
        setting = RZ_SETTING_INPATIENT;
        size_t row = choose_row(r, r->world->terminal_sum);
        add_diagnosis(r, day, setting, r->world->background[row]);
        add_drug(r, day, setting, choose_drug(r, RZ_SIM_BG_INPATIENT), 1);
    }
    add(r, day, setting, RZ_KIND_DEATH, RZ_SYSTEM_LOCAL, "death", 0, 0);
}

static int compare_entries(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    if (a->month != b->month)
        return a->month < b->month ? -1 : 1;
    if (a->setting != b->setting)
        return a->setting < b->setting ? -1 : 1;
    if (a->day != b->day)
        return a->day < b->day ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    int order = strcmp(a->code, b->code);
    if (order != 0)
        return order;
    if (a->flags != b->flags)
        return a->flags < b->flags ? -1 : 1;
    return a->supply_days - b->supply_days;
}

static bool same_event(const entry *a, const entry *b)
{
    return a->setting == b->setting && a->day == b->day && a->kind == b->kind &&
           strcmp(a->code, b->code) == 0;
}

/* The tenth of the month after, when claims are sent in; a few are sent back and come a month
 * later. */
static int32_t known_day(int32_t month, bool late)
{
    int32_t at = month + (late ? 2 : 1);
    return rz_day_from_civil(at / 12, at % 12 + 1, 10);
}

static rz_status make_claim(record *r, const entry *from, size_t n, rz_claim *out)
{
    const rz_sim_patient *p = r->patient;
    rz_event *events = rz_arena_alloc(r->arena, n + 1, sizeof *events);
    char *id = rz_arena_alloc(r->arena, 64, 1);
    if (events == NULL || id == NULL)
        return RZ_E_NO_MEMORY;
    *out = (rz_claim){.claim_id = id,
                      .facility = p->facility,
                      .patient_id = p->id,
                      .sex = p->state.sex,
                      .birth_day = p->state.birth_day,
                      .setting = from->setting,
                      .start_day = from->day,
                      .end_day = from[n - 1].day,
                      .known_day = known_day(from->month, chance(r, share_late)),
                      .events = events};
    (void)snprintf(id, 64, "%s-%04d-%02d-%s-%d", p->facility, (int)(from->month / 12),
                   (int)(from->month % 12 + 1), p->id,
                   from->setting == RZ_SETTING_INPATIENT ? 2 : 1);
    /* The encounter that every claim yields, so that this is what a reader of the file gets. */
    events[out->n_events++] = (rz_event){.day = from->day,
                                         .known_day = out->known_day,
                                         .kind = RZ_KIND_ENCOUNTER,
                                         .system = RZ_SYSTEM_LOCAL,
                                         .code = rz_setting_name(out->setting),
                                         .value = NAN};
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && same_event(&from[i], &from[i - 1]))
            continue;
        bool drug = from[i].kind == RZ_KIND_MEDICATION;
        events[out->n_events++] = (rz_event){.day = from[i].day,
                                             .known_day = out->known_day,
                                             .kind = from[i].kind,
                                             .system = from[i].system,
                                             .code = from[i].code,
                                             .value = drug ? (double)from[i].supply_days : NAN,
                                             .unit = drug ? "d" : NULL,
                                             .flags = from[i].flags};
    }
    return RZ_OK;
}

static rz_status make_claims(record *r, rz_sim_patient *patient)
{
    qsort(r->entries, r->n, sizeof *r->entries, compare_entries);
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        n += i == 0 || r->entries[i].month != r->entries[i - 1].month ||
             r->entries[i].setting != r->entries[i - 1].setting;
    patient->claims = rz_arena_alloc(r->arena, n, sizeof *patient->claims);
    if (patient->claims == NULL)
        return RZ_E_NO_MEMORY;
    for (size_t from = 0, to; from < r->n; from = to) {
        const entry *first = &r->entries[from];
        to = from + 1;
        while (to < r->n && r->entries[to].month == first->month &&
               r->entries[to].setting == first->setting)
            to++;
        rz_status status = make_claim(r, first, to - from, &patient->claims[patient->n_claims++]);
        if (status != RZ_OK)
            return status;
    }
    return RZ_OK;
}

rz_status rz_sim_record(const rz_sim_world *world, rz_rng *rng, rz_arena *arena,
                        rz_sim_patient *patient, rz_error *error)
{
    /* Weeks between visits of someone with a lasting illness; hospitals differ. */
    static const int interval_weeks[RZ_SIM_HABITS][4] = {
        {4, 8, 12, 12}, {8, 12, 12, 16}, {8, 8, 12, 16}, {12, 12, 12, 16}};
    record r = {.world = world, .patient = patient, .rng = rng, .arena = arena};
    int days = 7 * interval_weeks[patient->state.habit][rz_rng_below(rng, 4)];
    write_onsets(&r, days);
    write_visits(&r, days);
    write_backgrounds(&r);
    write_death(&r);
    if (r.status == RZ_OK)
        r.status = make_claims(&r, patient);
    if (r.status != RZ_OK)
        return rz_fail(error, r.status, "no memory for the record of a simulated patient");
    return RZ_OK;
}
