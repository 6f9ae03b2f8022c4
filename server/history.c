/* Inline histories go through the reader of native claims, so that a history is judged alike at
 * every door: an event becomes a claim of its own day. */
#include "history.h"

#include "plan.h"

#include "claims/claim_json.h"

#include <string.h>

enum { CLAIMS_MAX = 20000, ERRORS_MAX = 32 };

typedef struct reader {
    rz_arena *arena;
    rz_claim *claims;
    size_t n;
    json_t *errors; /* owned by the caller */
    json_t *keep;   /* documents whose strings the claims borrow */
} reader;

static void add_error(reader *r, const char *pointer, const char *code, const char *detail)
{
    if (json_array_size(r->errors) < ERRORS_MAX)
        (void)json_array_append_new(r->errors, json_pack("{s:s, s:s, s:s}", "pointer", pointer,
                                                         "code", code, "detail", detail));
}

/* Reads one claim document; problems are told under `prefix`. */
static rz_status add_claim(reader *r, const json_t *document, const char *prefix, rz_error *error)
{
    rz_claim_rules rules = {.latest_day = rz_day_today() + 1};
    rz_claim_problems problems = {0};
    rz_error why = {0};
    rz_status status =
        rz_claim_from_json(document, &rules, r->arena, &r->claims[r->n], &problems, &why);
    if (status == RZ_OK) {
        r->n++;
        return RZ_OK;
    }
    if (status == RZ_E_NO_MEMORY)
        return rz_fail(error, status, "no memory for the history");
    size_t n = problems.count < RZ_CLAIM_PROBLEMS_MAX ? problems.count : RZ_CLAIM_PROBLEMS_MAX;
    for (size_t i = 0; i < n; i++) {
        char pointer[128];
        (void)snprintf(pointer, sizeof pointer, "%s%s", prefix, problems.item[i].pointer);
        add_error(r, pointer, problems.item[i].code, problems.item[i].detail);
    }
    return RZ_OK;
}

static rz_status read_claims(reader *r, const json_t *claims, rz_error *error)
{
    rz_status status = RZ_OK;
    for (size_t i = 0; i < json_array_size(claims) && status == RZ_OK; i++) {
        char prefix[32];
        const json_t *claim = json_array_get(claims, i);
        (void)snprintf(prefix, sizeof prefix, "/claims/%zu", i);
        if (!json_is_object(claim))
            add_error(r, prefix, "bad_type", "a claim is an object");
        else
            status = add_claim(r, claim, prefix, error);
    }
    for (size_t i = 1; i < r->n; i++) {
        const rz_claim *a = &r->claims[0], *b = &r->claims[i];
        if (strcmp(a->patient_id, b->patient_id) != 0 || a->sex != b->sex ||
            a->birth_day != b->birth_day) {
            add_error(
                r, "/claims", "several_patients",
                "the claims of a history are of one patient with one sex and birth date; send "
                "other patients in other requests");
            break;
        }
    }
    return status;
}

/* The claim that stands for one event; new. NULL when the kind is none. */
static json_t *claim_of_event(const json_t *event, const json_t *patient)
{
    static const char *const lists[][2] = {{"diagnosis", "diagnoses"},
                                           {"medication", "medications"},
                                           {"procedure", "procedures"},
                                           {"lab", "labs"}};
    const char *kind = json_string_value(json_object_get(event, "kind"));
    json_t *date = json_object_get(event, "date");
    if (kind == NULL)
        return NULL;
    json_t *claim = json_pack("{s:s, s:s, s:o, s:s, s:O?, s:O?}", "claim_id", "inline", "facility",
                              "inline", "patient", json_copy((json_t *)(uintptr_t)patient),
                              "setting", "outpatient", "start", date, "end", date);
    if (json_object_get(json_object_get(claim, "patient"), "id") == NULL)
        (void)json_object_set_new(json_object_get(claim, "patient"), "id", json_string("inline"));
    if (strcmp(kind, "encounter") == 0)
        return claim;
    if (strcmp(kind, "death") == 0) {
        (void)json_object_set(claim, "death", date);
        return claim;
    }
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(kind, lists[i][0]) != 0)
            continue;
        json_t *copy = json_copy((json_t *)(uintptr_t)event);
        (void)json_object_del(copy, "kind");
        (void)json_object_set_new(claim, lists[i][1], json_pack("[o]", copy));
        return claim;
    }
    json_decref(claim);
    return NULL;
}

static rz_status read_events(reader *r, const json_t *events, const json_t *patient,
                             rz_error *error)
{
    rz_status status = RZ_OK;
    for (size_t i = 0; i < json_array_size(events) && status == RZ_OK; i++) {
        char prefix[32];
        const json_t *event = json_array_get(events, i);
        json_t *claim = json_is_object(event) ? claim_of_event(event, patient) : NULL;
        (void)snprintf(prefix, sizeof prefix, "/events/%zu", i);
        if (claim == NULL) {
            add_error(r, prefix, "bad_type",
                      "an event is an object with kind (diagnosis, medication, procedure, lab, "
                      "encounter or death), system, code and date");
            continue;
        }
        if (json_array_append_new(r->keep, claim) != 0)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the history");
        status = add_claim(r, claim, prefix, error);
    }
    return status;
}

static void read_as_of(reader *r, const json_t *document, int32_t *as_of)
{
    const json_t *given = json_object_get(document, "as_of");
    if (given != NULL && (!json_is_string(given) || !day_read(json_string_value(given), as_of)))
        add_error(r, "/as_of", "impossible_date", "as_of is no date; write YYYY-MM-DD");
}

static void check_members(reader *r, const json_t *document)
{
    static const char *const known[] = {"id", "as_of", "claims", "events", "patient"};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)document, name, value)
    {
        size_t i = 0;
        while (i < 5 && strcmp(known[i], name) != 0)
            i++;
        if (i == 5)
            add_error(r, "", "unknown_member",
                      "a history has the members id, as_of, claims, or patient and events");
    }
}

/* The strings of a timeline move into the arena before the documents go. */
static bool own_codes(rz_arena *arena, rz_timeline *timeline)
{
    rz_timeline_event *events =
        rz_arena_alloc(arena, timeline->n_events > 0 ? timeline->n_events : 1, sizeof *events);
    if (events == NULL)
        return false;
    for (size_t i = 0; i < timeline->n_events; i++) {
        events[i] = timeline->events[i];
        events[i].code = rz_arena_strdup(arena, events[i].code);
        if (events[i].code == NULL)
            return false;
    }
    timeline->events = events;
    return true;
}

rz_status history_read(const json_t *document, rz_arena *arena, rz_timeline **out, int32_t *as_of,
                       json_t **errors, rz_error *error)
{
    const json_t *claims = json_object_get(document, "claims");
    const json_t *events = json_object_get(document, "events");
    const json_t *patient = json_object_get(document, "patient");
    size_t n = json_array_size(claims) + json_array_size(events);
    reader r = {.arena = arena, .errors = json_array(), .keep = json_array()};
    rz_status status = RZ_OK;
    check_members(&r, document);
    read_as_of(&r, document, as_of);
    if (json_is_array(claims) == json_is_array(events))
        add_error(&r, "", "missing", "a history needs either claims or events, an array");
    else if (json_is_array(events) && !json_is_object(patient))
        add_error(&r, "/patient", "missing",
                  "events need patient, an object with sex and birth_date");
    else if (n == 0 || n > CLAIMS_MAX)
        add_error(&r, json_is_array(claims) ? "/claims" : "/events", "too_many",
                  "a history has 1 to 20000 claims or events");
    else if ((r.claims = rz_arena_alloc(arena, n, sizeof *r.claims)) == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the history");
    else
        status = json_is_array(claims) ? read_claims(&r, claims, error)
                                       : read_events(&r, events, patient, error);
    if (status == RZ_OK && json_array_size(r.errors) > 0)
        status = rz_fail(error, RZ_E_INVALID, "%zu things are wrong; `errors` names each",
                         json_array_size(r.errors));
    if (status == RZ_OK)
        status = rz_timeline_from_claims(r.claims, r.n, arena, out, error);
    if (status == RZ_OK && !own_codes(arena, *out))
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the history");
    json_decref(r.keep);
    if (status == RZ_E_INVALID)
        *errors = r.errors;
    else
        json_decref(r.errors);
    return status;
}
