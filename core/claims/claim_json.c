/* Reading the native claim. Every member is looked at even after a problem was found, so that a
 * caller learns of all problems at once; only a claim without any is handed out.
 *
 * Dates. Events may lie outside start … end, because an onset is coded for as long as a disease is
 * treated, but never after `known`, by default the claim's end: nobody can know what has not
 * happened. So the known day of every event is the claim's. */
#include "claims/claim_json.h"

#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ID_MAX = 127, UNIT_MAX = 63, DAYS_MAX = 36500, EVENT_MEMBERS = 5 };

/* The members of an event; the first three are common, the others belong to one array each. */
enum { MEMBER_SYSTEM, MEMBER_CODE, MEMBER_DATE, MEMBER_FOURTH, MEMBER_FIFTH };

static const struct event_array {
    rz_kind kind;
    const char *name;
    const char *members[EVENT_MEMBERS];
} event_arrays[] = {
    {RZ_KIND_DIAGNOSIS, "diagnoses", {"system", "code", "date", "suspected", NULL}},
    {RZ_KIND_MEDICATION, "medications", {"system", "code", "date", "days", NULL}},
    {RZ_KIND_PROCEDURE, "procedures", {"system", "code", "date", NULL, NULL}},
    {RZ_KIND_LAB, "labs", {"system", "code", "date", "value", "unit"}},
};

/* The members of a claim, and of its patient. The event arrays follow in the order above. */
enum {
    CLAIM_ID,
    CLAIM_FACILITY,
    CLAIM_PATIENT,
    CLAIM_SETTING,
    CLAIM_START,
    CLAIM_END,
    CLAIM_KNOWN,
    CLAIM_DEATH,
    CLAIM_ARRAYS,
    CLAIM_MEMBERS = CLAIM_ARRAYS + RZ_COUNT(event_arrays)
};
static const char *const claim_members[CLAIM_MEMBERS] = {
    "claim_id", "facility", "patient",   "setting",     "start",      "end",
    "known",    "death",    "diagnoses", "medications", "procedures", "labs"};

enum { PATIENT_ID, PATIENT_SEX, PATIENT_BIRTH, PATIENT_MEMBERS };
static const char *const patient_members[PATIENT_MEMBERS] = {"id", "sex", "birth_date"};

typedef struct reader {
    const rz_claim_rules *rules;
    rz_arena *arena;
    rz_claim_problems *problems;
    const char *parent; /* member we are inside of, NULL at the top */
    size_t index;       /* element of `parent`, SIZE_MAX when it is no array */
    rz_claim *claim;
    rz_event *events;
    size_t n_events;
    bool out_of_memory;
} reader;

/* Notes one problem at parent/index/member; NULL or "" as the member means the element itself. */
static void problem(reader *r, const char *member, const char *code, const char *format, ...)
    RZ_PRINTF(4, 5);
static void problem(reader *r, const char *member, const char *code, const char *format, ...)
{
    rz_claim_problems *all = r->problems;
    if (all->count++ >= RZ_CLAIM_PROBLEMS_MAX)
        return;
    rz_claim_problem *p = &all->item[all->count - 1];
    char index[24] = "";
    if (r->parent != NULL && r->index != SIZE_MAX)
        (void)snprintf(index, sizeof index, "/%zu", r->index);
    (void)snprintf(p->pointer, sizeof p->pointer, "%s%s%s%s%s", r->parent != NULL ? "/" : "",
                   r->parent != NULL ? r->parent : "", index, member[0] != '\0' ? "/" : "", member);
    p->code = code;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->detail, sizeof p->detail, format, args);
    va_end(args);
}

/* A member's name as it may stand in a pointer: printable ASCII, escaped, cut to a length. */
static void printable_name(const char *name, char out[40])
{
    size_t n = 0;
    for (; *name != '\0' && n < 36; name++) {
        if (*name == '~' || *name == '/') {
            out[n++] = '~';
            out[n++] = *name == '~' ? '0' : '1';
        } else {
            out[n++] = *name >= 0x20 && *name < 0x7F ? *name : '?';
        }
    }
    out[n] = '\0';
}

/* Sorts an object's members into `found` by name; null counts as absent, other names are wrong. */
static void gather(reader *r, const json_t *object, const char *const *names, size_t n,
                   const json_t **found)
{
    memset(found, 0, n * sizeof *found);
    json_t *mutable_object = (json_t *)(uintptr_t)object; /* jansson's iterators take no const */
    for (void *at = json_object_iter(mutable_object); at != NULL;
         at = json_object_iter_next(mutable_object, at)) {
        const char *key = json_object_iter_key(at);
        size_t i = 0;
        while (i < n && (names[i] == NULL || strcmp(names[i], key) != 0))
            i++;
        if (i == n) {
            char name[40];
            printable_name(key, name);
            problem(r, name, "unknown_member", "there is no member \"%s\" here; leave it out",
                    name);
        } else if (!json_is_null(json_object_iter_value(at))) {
            found[i] = json_object_iter_value(at);
        }
    }
}

static bool has_control_character(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            return true;
    return false;
}

/* A text of 1 … max bytes; NULL after a problem, or when it is absent and not required. */
static const char *read_text(reader *r, const json_t *value, const char *member, size_t max,
                             bool required)
{
    if (value == NULL) {
        if (required)
            problem(r, member, "missing", "give %s, a text of 1 to %zu bytes", member, max);
        return NULL;
    }
    if (!json_is_string(value)) {
        problem(r, member, "bad_type", "%s must be a text in quotation marks", member);
        return NULL;
    }
    size_t n = json_string_length(value);
    const char *text = json_string_value(value);
    if (n == 0) {
        problem(r, member, required ? "missing" : "empty", "%s is empty; give 1 to %zu bytes",
                member, max);
        return NULL;
    }
    if (n > max) {
        problem(r, member, "too_long", "%s has %zu bytes, at most %zu are allowed", member, n, max);
        return NULL;
    }
    if (has_control_character(text)) {
        problem(r, member, "control_character", "%s holds a control character; remove it", member);
        return NULL;
    }
    return text;
}

/* A day; RZ_DAY_NONE after a problem, or when it is absent and not required. */
static int32_t read_day(reader *r, const json_t *value, const char *member, bool required)
{
    int32_t day = RZ_DAY_NONE;
    if (value == NULL) {
        if (required)
            problem(r, member, "missing", "give %s as YYYY-MM-DD", member);
        return RZ_DAY_NONE;
    }
    if (!json_is_string(value)) {
        problem(r, member, "bad_type", "%s must be a text in the form YYYY-MM-DD", member);
    } else if (!rz_day_parse(json_string_value(value), &day)) {
        problem(r, member, "impossible_date",
                "%s is no date from 1800-01-01 to 2400-12-31 in the form YYYY-MM-DD", member);
        day = RZ_DAY_NONE;
    } else if (day > r->rules->latest_day) {
        char latest[RZ_DAY_TEXT];
        problem(r, member, "future", "%s is later than %s (tomorrow in UTC); correct the date",
                member, rz_day_text(r->rules->latest_day, latest));
        day = RZ_DAY_NONE;
    }
    return day;
}

static void read_patient(reader *r, const json_t *value)
{
    const json_t *found[PATIENT_MEMBERS];
    if (value == NULL) {
        problem(r, "patient", "missing",
                "give a patient: {\"id\": …, \"sex\": …, \"birth_date\": …}");
        return;
    }
    if (!json_is_object(value)) {
        problem(r, "patient", "bad_type", "patient must be an object with an id");
        return;
    }
    r->parent = "patient";
    r->index = SIZE_MAX;
    gather(r, value, patient_members, PATIENT_MEMBERS, found);
    r->claim->patient_id = read_text(r, found[PATIENT_ID], "id", ID_MAX, true);
    const char *sex = read_text(r, found[PATIENT_SEX], "sex", ID_MAX, false);
    if (sex != NULL && !rz_sex_from_name(sex, &r->claim->sex))
        problem(r, "sex", "bad_value", "sex must be \"F\", \"M\" or \"U\"");
    r->claim->birth_day = read_day(r, found[PATIENT_BIRTH], "birth_date", false);
    r->parent = NULL;
}

/* start, end and known with their defaults, and whether they fit each other and the birth. */
static void read_days(reader *r, const json_t *const *found)
{
    rz_claim *claim = r->claim;
    claim->start_day = read_day(r, found[CLAIM_START], "start", true);
    claim->end_day = read_day(r, found[CLAIM_END], "end", false);
    claim->known_day = read_day(r, found[CLAIM_KNOWN], "known", false);
    if (claim->start_day == RZ_DAY_NONE)
        return;
    if (found[CLAIM_END] == NULL)
        claim->end_day = claim->start_day;
    if (claim->end_day == RZ_DAY_NONE)
        return;
    if (claim->end_day < claim->start_day)
        problem(r, "end", "end_before_start", "end lies before start; correct one of them");
    if (found[CLAIM_KNOWN] == NULL)
        claim->known_day = claim->end_day;
    else if (claim->known_day != RZ_DAY_NONE && claim->known_day < claim->end_day)
        problem(r, "known", "known_before_end",
                "known lies before the claim's end; give the day of receipt or leave it out");
    if (claim->birth_day != RZ_DAY_NONE && claim->start_day < claim->birth_day)
        problem(r, "start", "before_birth", "start lies before the patient's birth date");
}

/* What holds for the day of every event; also used for a death. */
static void check_event_day(reader *r, const char *member, int32_t day)
{
    const rz_claim *claim = r->claim;
    if (day == RZ_DAY_NONE)
        return;
    if (claim->birth_day != RZ_DAY_NONE && day < claim->birth_day)
        problem(r, member, "before_birth", "%s lies before the patient's birth date", member);
    if (claim->known_day != RZ_DAY_NONE && day > claim->known_day)
        problem(r, member, "after_known",
                "%s lies after the day the claim was known (known, else end); correct one of them",
                member);
}

static const char *read_code(reader *r, const json_t *const *found, rz_code_system *system)
{
    const char *name = read_text(r, found[MEMBER_SYSTEM], "system", ID_MAX, true);
    const char *text = read_text(r, found[MEMBER_CODE], "code", ID_MAX, true);
    if (name != NULL && !rz_code_system_from_name(name, system)) {
        problem(r, "system", "unknown_system",
                "unknown code system; use icd10, icd10cm, icd9cm, atc, yj, hot, ndc, rxnorm, "
                "snomed, loinc, cpt, hcpcs, jp-procedure or local");
        name = NULL;
    }
    if (name == NULL || text == NULL)
        return NULL;
    char code[RZ_CODE_TEXT];
    rz_error error = {0};
    if (rz_code_normalise(*system, text, strlen(text), code, &error) != RZ_OK) {
        problem(r, "code", "bad_code", "%s", error.text);
        return NULL;
    }
    if (strcmp(code, text) == 0)
        return text;
    const char *copy = rz_arena_strdup(r->arena, code);
    r->out_of_memory = r->out_of_memory || copy == NULL;
    return copy;
}

/* The members that only one kind has. */
static void read_details(reader *r, const json_t *const *found, rz_event *event)
{
    const json_t *value = found[MEMBER_FOURTH];
    if (event->kind == RZ_KIND_DIAGNOSIS && value != NULL) {
        if (!json_is_boolean(value))
            problem(r, "suspected", "bad_type", "suspected must be true or false");
        else if (json_is_true(value))
            event->flags |= RZ_EVENT_SUSPECTED;
    } else if (event->kind == RZ_KIND_MEDICATION && value != NULL) {
        double days = json_number_value(value);
        if (!json_is_number(value))
            problem(r, "days", "bad_type", "days must be a number, the days of supply");
        else if (!(days >= 0 && days <= DAYS_MAX))
            problem(r, "days", "out_of_range", "days must lie between 0 and %d", DAYS_MAX);
        event->value = days;
        event->unit = "d";
    } else if (event->kind == RZ_KIND_LAB) {
        if (value != NULL && !json_is_number(value))
            problem(r, "value", "bad_type", "value must be a number");
        else if (value != NULL)
            event->value = json_number_value(value);
        event->unit = read_text(r, found[MEMBER_FIFTH], "unit", UNIT_MAX, false);
    }
}

static void read_event(reader *r, const json_t *value, const struct event_array *array)
{
    const json_t *found[EVENT_MEMBERS];
    if (!json_is_object(value)) {
        problem(r, "", "bad_type", "an element of %s must be an object", array->name);
        return;
    }
    gather(r, value, array->members, EVENT_MEMBERS, found);
    rz_event *event = &r->events[r->n_events++];
    *event = (rz_event){.kind = array->kind, .value = (double)NAN};
    event->code = read_code(r, found, &event->system);
    event->day = read_day(r, found[MEMBER_DATE], "date", true);
    event->known_day = r->claim->known_day;
    check_event_day(r, "date", event->day);
    read_details(r, found, event);
}

/* Counts the events that the arrays announce, and notes arrays that are none. */
static size_t count_events(reader *r, const json_t *const *found)
{
    size_t n = 2; /* the encounter and a death */
    for (size_t i = 0; i < RZ_COUNT(event_arrays); i++) {
        const json_t *array = found[CLAIM_ARRAYS + i];
        if (array != NULL && !json_is_array(array))
            problem(r, event_arrays[i].name, "bad_type", "%s must be an array",
                    event_arrays[i].name);
        n += json_array_size(array);
    }
    return n;
}

static void read_events(reader *r, const json_t *const *found)
{
    rz_claim *claim = r->claim;
    r->events[r->n_events++] = (rz_event){.day = claim->start_day,
                                          .known_day = claim->known_day,
                                          .kind = RZ_KIND_ENCOUNTER,
                                          .system = RZ_SYSTEM_LOCAL,
                                          .code = rz_setting_name(claim->setting),
                                          .value = (double)NAN};
    for (size_t i = 0; i < RZ_COUNT(event_arrays); i++) {
        const json_t *array = found[CLAIM_ARRAYS + i];
        r->parent = event_arrays[i].name;
        for (r->index = 0; r->index < json_array_size(array); r->index++)
            read_event(r, json_array_get(array, r->index), &event_arrays[i]);
    }
    r->parent = NULL;
    if (found[CLAIM_DEATH] != NULL) {
        int32_t day = read_day(r, found[CLAIM_DEATH], "death", true);
        check_event_day(r, "death", day);
        r->events[r->n_events++] = (rz_event){.day = day,
                                              .known_day = claim->known_day,
                                              .kind = RZ_KIND_DEATH,
                                              .system = RZ_SYSTEM_LOCAL,
                                              .code = "death",
                                              .value = (double)NAN};
    }
}

rz_status rz_claim_from_json(const json_t *document, const rz_claim_rules *rules, rz_arena *arena,
                             rz_claim *out, rz_claim_problems *problems, rz_error *error)
{
    rz_claim claim = {.birth_day = RZ_DAY_NONE};
    reader r = {.rules = rules, .arena = arena, .problems = problems, .claim = &claim};
    const json_t *found[CLAIM_MEMBERS];
    problems->count = 0;
    if (!json_is_object(document)) {
        problem(&r, "", "bad_type", "a claim must be an object");
        goto invalid;
    }
    gather(&r, document, claim_members, CLAIM_MEMBERS, found);
    claim.claim_id = read_text(&r, found[CLAIM_ID], "claim_id", ID_MAX, true);
    claim.facility = read_text(&r, found[CLAIM_FACILITY], "facility", ID_MAX, true);
    read_patient(&r, found[CLAIM_PATIENT]);
    const char *setting = read_text(&r, found[CLAIM_SETTING], "setting", ID_MAX, false);
    if (setting != NULL && !rz_setting_from_name(setting, &claim.setting))
        problem(&r, "setting", "bad_value",
                "setting must be \"outpatient\", \"inpatient\", \"pharmacy\" or \"unknown\"");
    read_days(&r, found);
    size_t n = count_events(&r, found);
    if (n > RZ_CLAIM_EVENTS_MAX) {
        problem(&r, "", "too_many", "the claim has %zu events, at most %d are allowed; divide it",
                n, RZ_CLAIM_EVENTS_MAX);
        goto invalid;
    }
    r.events = rz_arena_alloc(arena, n, sizeof *r.events);
    if (r.events == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a claim of %zu events", n);
    read_events(&r, found);
    if (r.out_of_memory)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a claim of %zu events", n);
    if (problems->count > 0)
        goto invalid;
    claim.events = r.events;
    claim.n_events = r.n_events;
    *out = claim;
    return RZ_OK;
invalid:
    return rz_fail(error, RZ_E_INVALID, "the claim has %zu problem%s; the first, at %s: %s",
                   problems->count, problems->count == 1 ? "" : "s",
                   problems->item[0].pointer[0] != '\0' ? problems->item[0].pointer : "the top",
                   problems->item[0].detail);
}
