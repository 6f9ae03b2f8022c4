/* The routes of stored patients: list, one, its timeline, erasure. */
#include "patients.h"

#include "audit.h"
#include "handlers.h"
#include "http.h"
#include "log.h"
#include "problem.h"
#include "readers.h"
#include "writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- shared --------------------------------------------------------------------------------- */

static void ambiguous(request *r, rz_store *store, const char *id)
{
    enum { LISTED = 32 };
    rz_patient fits[LISTED];
    size_t n = 0;
    rz_error error = {0};
    json_t *facilities = json_array();
    if (rz_store_patients_named(store, id, fits, LISTED, &n, &error) == RZ_OK)
        for (size_t i = 0; i < n; i++)
            (void)json_array_append_new(facilities, json_string(fits[i].facility));
    problem_answer(r, &(problem){.kind = PROBLEM_AMBIGUOUS_PATIENT,
                                 .detail = "the id fits patients of several facilities; name one "
                                           "with facility=",
                                 .more = json_pack("{s:o}", "facilities", facilities)});
}

static bool find(request *r, rz_store *store, const char *facility, const char *id, bool brief,
                 rz_patient *out)
{
    rz_error error = {0};
    rz_status status = brief ? rz_store_patient_brief(store, facility, id, out, &error)
                             : rz_store_patient(store, facility, id, out, &error);
    if (status == RZ_E_NOT_FOUND || status == RZ_E_INVALID)
        problem_answerf(r, PROBLEM_UNKNOWN_PATIENT, "no claim of such a patient is stored%s",
                        facility != NULL ? " for this facility" : "");
    else if (status == RZ_E_CONFLICT)
        ambiguous(r, store, id);
    else if (status != RZ_OK)
        problem_from_error(r, status, &error);
    return status == RZ_OK;
}

bool patient_find_named(request *r, rz_store *store, const char *facility, const char *id,
                        rz_patient *out)
{
    return find(r, store, facility, id, true, out);
}

bool patient_find(request *r, rz_store *store, rz_patient *out)
{
    return patient_find_named(r, store, request_query(r, "facility"), request_parameter(r, "id"),
                              out);
}

json_t *patient_name_json(const rz_patient *p, const char *id)
{
    return json_pack("{s:s, s:s}", "id", id, "facility", p->facility);
}

static json_t *day_json(int32_t day)
{
    char text[RZ_DAY_TEXT];
    return day == RZ_DAY_NONE ? json_null() : json_string(rz_day_text(day, text));
}

static json_t *patient_json(const rz_patient *p, const char *id)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "id", id, "facility",
                     p->facility, "sex", rz_sex_name(p->sex), "birth_date", day_json(p->birth_day),
                     "death_date", day_json(p->death_day), "first_day", day_json(p->first_day),
                     "last_day", day_json(p->last_day), "claims", (json_int_t)p->n_claims, "events",
                     (json_int_t)p->n_events, "version", (json_int_t)p->version);
}

static bool two_digits(const char *p, int *out)
{
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
        return false;
    *out = (p[0] - '0') * 10 + (p[1] - '0');
    return true;
}

bool instant_read(const char *text, int64_t *out)
{
    char date[RZ_DAY_TEXT];
    int32_t day;
    int hour = 0, minute = 0, second = 0, zone_h = 0, zone_m = 0;
    int64_t micro = 0;
    if (strlen(text) < 10)
        return false;
    memcpy(date, text, 10);
    date[10] = '\0';
    if (!rz_day_parse(date, &day))
        return false;
    const char *p = text + 10;
    if (*p == 'T' || *p == ' ') {
        if (strlen(p) < 9 || !two_digits(p + 1, &hour) || p[3] != ':' ||
            !two_digits(p + 4, &minute) || p[6] != ':' || !two_digits(p + 7, &second) ||
            hour > 23 || minute > 59 || second > 60)
            return false;
        p += 9;
        if (*p == '.') {
            int64_t scale = 100000;
            for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
                micro += (*p - '0') * scale;
        }
        if (*p == 'Z') {
            p++;
        } else if (*p == '+' || *p == '-') {
            int sign = *p == '-' ? -1 : 1;
            if (strlen(p) != 6 || !two_digits(p + 1, &zone_h) || p[3] != ':' ||
                !two_digits(p + 4, &zone_m))
                return false;
            zone_h *= sign;
            zone_m *= sign;
            p += 6;
        }
    }
    *out = ((int64_t)day * 86400 + (hour - zone_h) * 3600 + (minute - zone_m) * 60 + second) *
               1000000 +
           micro;
    return *p == '\0';
}

/* ---- list ----------------------------------------------------------------------------------- */

bool page_read(request *r, int64_t *after, int64_t *limit)
{
    const char *from = request_query(r, "after"), *rows = request_query(r, "limit");
    int64_t most = (int64_t)r->server->config.page_patients_max;
    *limit = most < 100 ? most : 100;
    if ((from == NULL || number_read(from, 0, INT64_MAX, after)) &&
        (rows == NULL || number_read(rows, 1, most, limit)))
        return true;
    problem_answer(r, &(problem){.kind = PROBLEM_BAD_PARAMETER,
                                 .detail = "after is the `next` of the page before, limit a "
                                           "number from 1 to `limit`",
                                 .setting = "page-patients-max",
                                 .limit = most});
    return false;
}

void patients_list(request *r)
{
    int64_t from = 0, count;
    rz_store *store = NULL;
    rz_error error = {0};
    size_t n = 0;
    if (!page_read(r, &from, &count))
        return;
    rz_patient *page = rz_arena_alloc(&r->arena, (size_t)count, sizeof *page);
    rz_status status =
        page == NULL ? RZ_E_NO_MEMORY : readers_take(r->server->readers, &store, &error);
    if (status == RZ_OK)
        status = rz_store_patients(store, from, request_query(r, "facility"), page, (size_t)count,
                                   &n, &error);
    readers_give(r->server->readers, store);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        return;
    }
    json_t *all = json_array();
    char next[24] = "";
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(all, patient_json(&page[i], page[i].id));
    if (n == (size_t)count)
        (void)snprintf(next, sizeof next, "%lld", (long long)page[n - 1].key);
    request_json(r, 200, json_pack("{s:o, s:s?}", "patients", all, "next", next[0] ? next : NULL));
}

/* ---- one ------------------------------------------------------------------------------------ */

void patients_get(request *r)
{
    rz_store *store = NULL;
    rz_error error = {0};
    rz_patient patient;
    rz_status status = readers_take(r->server->readers, &store, &error);
    if (status != RZ_OK)
        problem_from_error(r, status, &error);
    else if (find(r, store, request_query(r, "facility"), request_parameter(r, "id"), false,
                  &patient))
        request_json(r, 200, patient_json(&patient, request_parameter(r, "id")));
    readers_give(r->server->readers, store);
}

static json_t *event_json(const rz_timeline_event *e)
{
    char day[RZ_DAY_TEXT], known[RZ_DAY_TEXT];
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "day", rz_day_text(e->day, day), "known_day",
                  rz_day_text(e->known_day, known), "kind", rz_kind_name((rz_kind)e->kind),
                  "system", rz_code_system_name((rz_code_system)e->system), "code", e->code,
                  "setting", rz_setting_name((rz_setting)e->setting));
    if (isfinite((double)e->value))
        (void)json_object_set_new(json, "value", json_real((double)e->value));
    if ((e->flags & RZ_EVENT_SUSPECTED) != 0)
        (void)json_object_set_new(json, "suspected", json_true());
    return json;
}

void patients_timeline(request *r)
{
    rz_store *store = NULL;
    rz_error error = {0};
    rz_patient patient;
    rz_timeline *timeline = NULL;
    int32_t as_of = RZ_DAY_MAX;
    int64_t recorded = RZ_RECORDED_NOW;
    const char *day = request_query(r, "as_of"), *instant = request_query(r, "recorded");
    if ((day != NULL && !rz_day_parse(day, &as_of)) ||
        (instant != NULL && !instant_read(instant, &recorded))) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER,
                        "as_of is a date (2024-05-01), recorded an instant "
                        "(2024-05-01T12:00:00Z)");
        return;
    }
    rz_status status = readers_take(r->server->readers, &store, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
    } else if (patient_find(r, store, &patient)) {
        status =
            rz_store_timeline(store, patient.key, as_of, recorded, &r->arena, &timeline, &error);
        if (status == RZ_E_NOT_FOUND)
            problem_answerf(r, PROBLEM_UNKNOWN_PATIENT, "there was no such patient at that time");
        else if (status != RZ_OK)
            problem_from_error(r, status, &error);
    }
    readers_give(r->server->readers, store);
    if (timeline == NULL)
        return;
    json_t *events = json_array();
    for (size_t i = 0; i < timeline->n_events; i++)
        (void)json_array_append_new(events, event_json(&timeline->events[i]));
    request_json(r, 200,
                 json_pack("{s:o, s:s, s:o, s:o, s:o}", "patient",
                           patient_name_json(&patient, request_parameter(r, "id")), "sex",
                           rz_sex_name(timeline->sex), "birth_date", day_json(timeline->birth_day),
                           "as_of", day != NULL ? day_json(as_of) : json_null(), "events", events));
}

/* ---- erasure -------------------------------------------------------------------------------- */

typedef struct erase_op {
    write_op op; /* first */
    rz_patient_key key;
} erase_op;

static void destroy_erase(job *j)
{
    free(j);
}

static rz_status run_erase(write_op *op, rz_store *store, rz_error *error)
{
    return rz_store_erase_patient(store, ((erase_op *)op)->key, error);
}

static void erased(request *r)
{
    const erase_op *e = (const erase_op *)r->job;
    if (e->op.status == RZ_OK) {
        log_event("info", "patient_erased", "{s:s, s:s}", "request_id", r->id, "caller", r->caller);
        audit_add(r->server->audit, r, "patient_erase", NULL, NULL, NULL);
        request_json(r, 200, json_pack("{s:b}", "erased", 1));
    } else if (e->op.status == RZ_E_NOT_FOUND) {
        problem_answerf(r, PROBLEM_UNKNOWN_PATIENT, "no claim of such a patient is stored");
    } else {
        problem_from_error(r, e->op.status, &e->op.error);
    }
}

void patients_delete(request *r)
{
    rz_store *store = NULL;
    rz_error error = {0};
    rz_patient patient;
    rz_status status = readers_take(r->server->readers, &store, &error);
    bool found = status == RZ_OK && patient_find(r, store, &patient);
    readers_give(r->server->readers, store);
    if (status != RZ_OK)
        problem_from_error(r, status, &error);
    if (!found)
        return;
    erase_op *e = calloc(1, sizeof *e);
    if (e == NULL) {
        problem_no_memory(r);
        return;
    }
    job_init(&e->op.job, r->connection, destroy_erase);
    e->op.run = run_erase;
    e->key = patient.key;
    r->resume = erased;
    http_wait(r, &e->op.job, r->server->config.request_timeout_s);
    status = writer_add(r->server->writer, &e->op, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        job_finish(&e->op.job);
    }
}
