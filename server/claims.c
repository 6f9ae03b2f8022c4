/* POST and DELETE of claims. A body is one JSON claim, all or nothing, or NDJSON, where every line
 * has its own outcome. Claims are read and checked by the HTTP thread, written by the writer, and
 * answered after the commit. */
#include "handlers.h"
#include "http.h"
#include "metrics.h"
#include "problem.h"
#include "route.h"
#include "writer.h"

#include "claims/claim_json.h"

#include <stdlib.h>
#include <string.h>

typedef struct item {
    size_t line;
    rz_claim claim;
    bool valid; /* it was read; else `refusal` says why not */
    rz_put_outcome outcome;
    problem_kind kind; /* of a refusal */
    char detail[400];
    json_t *errors;                   /* owned; of a refusal */
    char name[2][RZ_SHA256_TEXT * 2]; /* claim_id and facility of a line that was refused early */
} item;

typedef struct claims_op {
    write_op op; /* first */
    rz_arena arena;
    bool lines;
    size_t n, capacity;
    item *items; /* owned */
} claims_op;

static void destroy(job *j)
{
    claims_op *c = (claims_op *)j;
    for (size_t i = 0; i < c->n; i++)
        json_decref(c->items[i].errors);
    free(c->items);
    rz_arena_done(&c->arena);
    free(c);
}

/* ---- reading -------------------------------------------------------------------------------- */

static json_t *errors_json(const rz_claim_problems *problems)
{
    json_t *all = json_array();
    size_t n = problems->count < RZ_CLAIM_PROBLEMS_MAX ? problems->count : RZ_CLAIM_PROBLEMS_MAX;
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(
            all, json_pack("{s:s, s:s, s:s}", "pointer", problems->item[i].pointer, "code",
                           problems->item[i].code, "detail", problems->item[i].detail));
    return all;
}

static void refuse(item *it, problem_kind kind, const char *detail, json_t *errors)
{
    it->valid = false;
    it->outcome = RZ_PUT_REFUSED;
    it->kind = kind;
    it->errors = errors;
    (void)snprintf(it->detail, sizeof it->detail, "%s", detail);
}

/* The claim's strings move from the document into the arena, so that documents, which are ten times
 * the size of their text, do not gather. */
static bool keep(rz_arena *arena, rz_claim *claim)
{
    rz_event *events =
        rz_arena_alloc(arena, claim->n_events > 0 ? claim->n_events : 1, sizeof *events);
    claim->claim_id = rz_arena_strdup(arena, claim->claim_id);
    claim->facility = rz_arena_strdup(arena, claim->facility);
    claim->patient_id = rz_arena_strdup(arena, claim->patient_id);
    if (events == NULL || claim->claim_id == NULL || claim->facility == NULL ||
        claim->patient_id == NULL)
        return false;
    for (size_t i = 0; i < claim->n_events; i++) {
        events[i] = claim->events[i];
        events[i].code = rz_arena_strdup(arena, events[i].code);
        if (events[i].unit != NULL)
            events[i].unit = rz_arena_strdup(arena, events[i].unit);
        if (events[i].code == NULL || (claim->events[i].unit != NULL && events[i].unit == NULL))
            return false;
    }
    claim->events = events;
    return true;
}

/* What a refused line says of itself, so that its sender finds it again. */
static void remember_name(const json_t *document, item *it)
{
    static const char *const members[] = {"claim_id", "facility"};
    for (int i = 0; i < 2; i++) {
        const char *text = json_string_value(json_object_get(document, members[i]));
        (void)snprintf(it->name[i], sizeof it->name[i], "%s", text != NULL ? text : "");
    }
}

/* Errors  RZ_E_NO_MEMORY only; everything else is the item's. */
static rz_status read_claim(claims_op *c, const char *text, size_t n, item *it)
{
    json_t *document = NULL;
    rz_arena scratch;
    rz_error error = {0};
    rz_claim_problems problems = {0};
    rz_claim_rules rules = {.latest_day = rz_day_today() + 1};
    rz_status status = rz_json_parse(text, n, &document, &error);
    if (status != RZ_OK) {
        if (status != RZ_E_NO_MEMORY)
            refuse(it, PROBLEM_MALFORMED_JSON, c->lines ? problem_of_line(&error) : error.text,
                   NULL);
        return status == RZ_E_NO_MEMORY ? status : RZ_OK;
    }
    rz_arena_init(&scratch, (size_t)64 << 20);
    status = rz_claim_from_json(document, &rules, &scratch, &it->claim, &problems, &error);
    if (status == RZ_OK) {
        it->valid = keep(&c->arena, &it->claim);
        status = it->valid ? RZ_OK : RZ_E_NO_MEMORY;
    } else if (status != RZ_E_NO_MEMORY) {
        char detail[100];
        (void)snprintf(detail, sizeof detail, "%zu thing%s wrong; `errors` names %s",
                       problems.count, problems.count == 1 ? " is" : "s are",
                       problems.count > RZ_CLAIM_PROBLEMS_MAX ? "the first ones" : "each");
        remember_name(document, it);
        refuse(it, PROBLEM_INVALID_CLAIM, detail, errors_json(&problems));
        status = RZ_OK;
    }
    rz_arena_done(&scratch);
    json_decref(document);
    return status;
}

static item *add_item(claims_op *c, size_t line)
{
    if (c->n == c->capacity) {
        size_t capacity = c->capacity == 0 ? 16 : 2 * c->capacity;
        item *items = realloc(c->items, capacity * sizeof *items);
        if (items == NULL)
            return NULL;
        c->items = items;
        c->capacity = capacity;
    }
    item *it = &c->items[c->n++];
    *it = (item){.line = line};
    return it;
}

static bool is_blank(const char *text, size_t n)
{
    return strspn(text, " \t\r\n") >= n;
}

/* False when the answer of the request is a problem. */
static bool read_lines(request *r, claims_op *c)
{
    const config *limits = &r->server->config;
    const char *p = r->body.data, *end = p + r->body.length;
    for (size_t line = 1; p < end; line++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t n = newline != NULL ? (size_t)(newline - p) : (size_t)(end - p);
        if (!is_blank(p, n)) {
            if (c->n == limits->claims_lines_max) {
                problem_answer(r, &(problem){.kind = PROBLEM_BODY_TOO_LARGE,
                                             .detail = "too many claims in one body; nothing of it "
                                                       "was kept, send them in several",
                                             .setting = "claims-lines-max",
                                             .limit = (int64_t)limits->claims_lines_max});
                return false;
            }
            item *it = add_item(c, line);
            rz_status status = RZ_OK;
            if (it != NULL && n > limits->claim_bytes_max)
                refuse(it, PROBLEM_BODY_TOO_LARGE,
                       "the line is longer than a claim may be (claim-bytes-max)", NULL);
            else
                status = it != NULL ? read_claim(c, p, n, it) : RZ_E_NO_MEMORY;
            if (status != RZ_OK) {
                problem_no_memory(r);
                return false;
            }
        }
        p += n + (newline != NULL ? 1 : 0);
    }
    return true;
}

/* ---- writing -------------------------------------------------------------------------------- */

static rz_status run(write_op *op, rz_store *store, rz_error *error)
{
    claims_op *c = (claims_op *)op;
    for (size_t i = 0; i < c->n; i++) {
        item *it = &c->items[i];
        if (!it->valid)
            continue;
        rz_error why = {0};
        rz_status status = rz_store_put(store, &it->claim, &it->outcome, &why);
        if (status == RZ_E_CONFLICT) {
            it->outcome = RZ_PUT_REFUSED;
            it->kind = PROBLEM_DEMOGRAPHICS_CONFLICT;
            (void)snprintf(it->detail, sizeof it->detail, "%s", why.text);
        } else if (status == RZ_E_INVALID) {
            it->outcome = RZ_PUT_REFUSED;
            it->kind = PROBLEM_INVALID_CLAIM;
            (void)snprintf(it->detail, sizeof it->detail, "%s", why.text);
        } else if (status != RZ_OK) {
            return rz_fail(error, status, "%s", why.text);
        }
    }
    return RZ_OK;
}

/* ---- answering ------------------------------------------------------------------------------ */

static const char *outcome_name(rz_put_outcome outcome)
{
    static const char *const names[] = {[RZ_PUT_ADDED] = "added",
                                        [RZ_PUT_UNCHANGED] = "unchanged",
                                        [RZ_PUT_SUPERSEDED] = "superseded",
                                        [RZ_PUT_REFUSED] = "refused"};
    return names[outcome];
}

static json_t *item_json(const request *r, const claims_op *c, const item *it)
{
    const char *id = it->valid ? it->claim.claim_id : it->name[0];
    const char *facility = it->valid ? it->claim.facility : it->name[1];
    json_t *json =
        json_pack("{s:s?, s:s?, s:s}", "claim_id", id[0] != '\0' ? id : NULL, "facility",
                  facility[0] != '\0' ? facility : NULL, "outcome", outcome_name(it->outcome));
    if (c->lines)
        (void)json_object_set_new(json, "line", json_integer((json_int_t)it->line));
    if (it->outcome == RZ_PUT_REFUSED) {
        problem p = {.kind = it->kind, .detail = it->detail, .errors = json_incref(it->errors)};
        if (p.kind == PROBLEM_BODY_TOO_LARGE) {
            p.setting = "claim-bytes-max";
            p.limit = (int64_t)r->server->config.claim_bytes_max;
        }
        (void)json_object_set_new(json, "problem", problem_json(r, &p));
    }
    return json;
}

static void write_answer(request *r)
{
    claims_op *c = (claims_op *)r->job;
    size_t counts[4] = {0};
    if (c->op.status != RZ_OK) {
        problem_from_error(r, c->op.status, &c->op.error);
        return;
    }
    for (size_t i = 0; i < c->n; i++)
        counts[c->items[i].outcome]++;
    for (int i = 0; i < 4; i++)
        metrics_claims(r->server->metrics, (claim_count)i, counts[i]);
    if (!c->lines && counts[RZ_PUT_REFUSED] > 0) {
        const item *it = &c->items[0];
        problem_answer(
            r,
            &(problem){.kind = it->kind, .detail = it->detail, .errors = json_incref(it->errors)});
        return;
    }
    json_t *all = json_array();
    for (size_t i = 0; i < c->n; i++)
        (void)json_array_append_new(all, item_json(r, c, &c->items[i]));
    json_t *json = json_pack("{s:o}", "claims", all);
    if (c->lines)
        (void)json_object_set_new(json, "counts",
                                  json_pack("{s:I, s:I, s:I, s:I}", "added",
                                            (json_int_t)counts[RZ_PUT_ADDED], "unchanged",
                                            (json_int_t)counts[RZ_PUT_UNCHANGED], "superseded",
                                            (json_int_t)counts[RZ_PUT_SUPERSEDED], "refused",
                                            (json_int_t)counts[RZ_PUT_REFUSED]));
    request_json(r, !c->lines && counts[RZ_PUT_ADDED] > 0 ? 201 : 200, json);
}

/* Whether anything is left to write; what was refused while reading needs no writer. */
static bool any_valid(const claims_op *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].valid)
            return true;
    return false;
}

static void submit(request *r, claims_op *c)
{
    rz_error error = {0};
    r->resume = write_answer;
    http_wait(r, &c->op.job, r->server->config.request_timeout_s);
    rz_status status = any_valid(c) ? writer_add(r->server->writer, &c->op, &error) : RZ_OK;
    if (status != RZ_OK)
        problem_from_error(r, status, &error);
    if (status != RZ_OK || !any_valid(c))
        job_finish(&c->op.job);
}

void claims_post(request *r)
{
    claims_op *c = calloc(1, sizeof *c);
    if (c == NULL) {
        problem_no_memory(r);
        return;
    }
    job_init(&c->op.job, r->connection, destroy);
    c->op.in_batch = true;
    c->op.run = run;
    c->lines = request_is_ndjson(r);
    rz_arena_init(&c->arena, 4 * r->server->config.claims_bytes_max + ((size_t)16 << 20));
    bool read;
    if (c->lines) {
        read = read_lines(r, c);
    } else {
        item *it = add_item(c, 1);
        read = it != NULL && read_claim(c, r->body.data, r->body.length, it) == RZ_OK;
        if (!read)
            problem_no_memory(r);
    }
    if (read)
        submit(r, c);
    else
        job_drop(&c->op.job);
}

/* ---- voiding -------------------------------------------------------------------------------- */

typedef struct void_op {
    write_op op; /* first */
    char facility[256], claim_id[256];
} void_op;

static void destroy_void(job *j)
{
    free(j);
}

static rz_status run_void(write_op *op, rz_store *store, rz_error *error)
{
    const void_op *v = (const void_op *)op;
    return rz_store_void_claim(store, v->facility, v->claim_id, error);
}

static void unknown_claim(request *r)
{
    problem_answerf(r, PROBLEM_UNKNOWN_CLAIM,
                    "no such claim is stored for this facility, or it "
                    "was voided before");
}

static void voided(request *r)
{
    const void_op *v = (const void_op *)r->job;
    if (v->op.status == RZ_OK)
        request_json(r, 200, json_pack("{s:b}", "voided", 1));
    else if (v->op.status == RZ_E_NOT_FOUND || v->op.status == RZ_E_INVALID)
        unknown_claim(r);
    else
        problem_from_error(r, v->op.status, &v->op.error);
}

void claims_delete(request *r)
{
    const char *facility = request_parameter(r, "facility");
    const char *claim_id = request_parameter(r, "claim_id");
    rz_error error = {0};
    if (strlen(facility) >= sizeof((void_op *)0)->facility ||
        strlen(claim_id) >= sizeof((void_op *)0)->claim_id) {
        unknown_claim(r);
        return;
    }
    void_op *v = calloc(1, sizeof *v);
    if (v == NULL) {
        problem_no_memory(r);
        return;
    }
    job_init(&v->op.job, r->connection, destroy_void);
    v->op.run = run_void;
    (void)snprintf(v->facility, sizeof v->facility, "%s", facility);
    (void)snprintf(v->claim_id, sizeof v->claim_id, "%s", claim_id);
    r->resume = voided;
    http_wait(r, &v->op.job, r->server->config.request_timeout_s);
    rz_status status = writer_add(r->server->writer, &v->op, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        job_finish(&v->op.job);
    }
}
