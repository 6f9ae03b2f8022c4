/* The table and how a request finds its row. */
#include "route.h"

#include "base/size.h"
#include "handlers.h"
#include "problem.h"
#include "server.h"

#include <string.h>
#include <strings.h>

static const route table[] = {
    {"POST", "/v1/claims", "claims:write", BODY_CLAIMS, "", claims_post, false},
    {"DELETE", "/v1/claims/{facility}/{claim_id}", "claims:write", BODY_NONE, "", claims_delete,
     false},
    {"GET", "/v1/patients", "patients:read", BODY_NONE, "after,limit,facility", patients_list,
     false},
    {"GET", "/v1/patients/{id}", "patients:read", BODY_NONE, "facility", patients_get, false},
    {"DELETE", "/v1/patients/{id}", "patients:erase", BODY_NONE, "facility", patients_delete,
     false},
    {"GET", "/v1/patients/{id}/timeline", "patients:read", BODY_NONE, "facility,as_of,recorded",
     patients_timeline, false},
    {"GET", "/v1/patients/{id}/risks", "risks:read", BODY_NONE,
     "facility,task,top,as_of,recorded,model,explain", risks_get, false},
    {"GET", "/v1/patients/{id}/trend", "risks:read", BODY_NONE, "facility,task,months", trend_get,
     false},
    {"GET", "/v1/risks", "risks:read", BODY_NONE,
     "task,facility,sort,age_min,age_max,limit,offset,min_probability", worklist_get, false},
    {"POST", "/v1/feedback", "feedback:write", BODY_JSON, "", feedback_post, false},
    {"GET", "/v1/feedback", "feedback:read", BODY_NONE, "task,patient,facility,after,limit",
     feedback_list, false},
    {"POST", "/v1/predict", "risks:read", BODY_JSON, "task,top,as_of,model,explain", predict_post,
     false},
    {"POST", "/v1/predict:batch", "risks:read", BODY_NDJSON, "task,top,as_of,model,explain",
     predict_batch, false},
    {"GET", "/v1/codes", "risks:read", BODY_NONE, "code", codes_get, false},
    {"GET", "/v1/tasks", "risks:read", BODY_NONE, "", tasks_list, false},
    {"GET", "/v1/models", "risks:read", BODY_NONE, "", models_list, false},
    {"POST", "/v1/models/{id}:load", "models:admin", BODY_NONE, "", models_load, false},
    {"POST", "/v1/models/{id}:unload", "models:admin", BODY_NONE, "", models_unload, false},
    {"GET", "/v1/models/{id}", "risks:read", BODY_NONE, "", models_get, false},
    {"GET", "/v1/models/{id}/card", "risks:read", BODY_NONE, "", models_card, false},
    {"GET", "/v1/study", "risks:read", BODY_NONE, "", models_study, false},
    {"GET", "/v1/whoami", "", BODY_NONE, "", whoami_get, false},
    {"GET", "/v1/server", "metrics:read", BODY_NONE, "", server_get, true},
    {"GET", "/livez", NULL, BODY_NONE, "", livez_get, true},
    {"GET", "/readyz", NULL, BODY_NONE, "", readyz_get, true},
    {"GET", "/healthz", NULL, BODY_NONE, "", healthz_get, true},
    {"GET", "/metrics", "metrics:read", BODY_NONE, "", metrics_get, true},
    {"GET", "/openapi.json", NULL, BODY_NONE, "", openapi_get, true},
    {"GET", "/", NULL, BODY_NONE, "", page_index_get, false},
    {"GET", "/page/{file}", NULL, BODY_NONE, "", page_file_get, false},
};

size_t route_count(void)
{
    return RZ_COUNT(table);
}

const route *route_at(size_t i)
{
    return &table[i];
}

size_t route_index(const route *row)
{
    return (size_t)(row - table);
}

/* One segment of a pattern against one of the target: literal, "{name}" or "{name}:verb". */
static bool match_segment(const char *pattern, size_t n, const char *segment, request *r,
                          rz_arena *arena)
{
    if (pattern[0] != '{')
        return strlen(segment) == n && memcmp(pattern, segment, n) == 0;
    const char *close = memchr(pattern, '}', n);
    size_t name = (size_t)(close - pattern - 1), suffix = n - name - 2, length = strlen(segment);
    if (length <= suffix || memcmp(close + 1, segment + length - suffix, suffix) != 0)
        return false;
    pair *p = &r->parameters[r->n_parameters++];
    p->name = rz_arena_strndup(arena, pattern + 1, name);
    p->value = rz_arena_strndup(arena, segment, length - suffix);
    return p->name != NULL && p->value != NULL;
}

static bool match(const route *row, const target *t, request *r)
{
    const char *p = row->pattern + 1;
    r->n_parameters = 0;
    for (size_t i = 0; i < t->n_segments; i++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || !match_segment(p, n, t->segments[i], r, &r->arena))
            return false;
        p += n;
        if (*p == '/' && i + 1 < t->n_segments)
            p++;
    }
    return *p == '\0';
}

static void not_found(request *r)
{
    json_t *routes = json_array();
    for (size_t i = 0; i < RZ_COUNT(table); i++)
        (void)json_array_append_new(routes,
                                    json_sprintf("%s %s", table[i].method, table[i].pattern));
    problem_answer(r, &(problem){.kind = PROBLEM_UNKNOWN_ROUTE,
                                 .detail = "no route has this path; `routes` lists what exists",
                                 .more = json_pack("{s:o}", "routes", routes)});
}

static bool check_query(request *r, const target *t)
{
    for (size_t i = 0; i < t->n_query; i++) {
        const char *name = t->query[i].name, *p = r->route->query;
        size_t length = strlen(name);
        bool known = false;
        while (*p != '\0' && !known) {
            size_t n = strcspn(p, ",");
            known = n == length && memcmp(p, name, n) == 0;
            p += n + (p[n] == ',' ? 1 : 0);
        }
        if (!known) {
            problem_answerf(r, PROBLEM_BAD_PARAMETER,
                            "%s %s has no such query parameter; it takes: %s", r->route->method,
                            r->route->pattern,
                            r->route->query[0] != '\0' ? r->route->query : "none");
            return false;
        }
        r->query[r->n_query++] = t->query[i];
    }
    return true;
}

bool route_match(request *r, const target *t)
{
    char allow[sizeof r->answer.allow] = "";
    const char *method = strcmp(r->method, "HEAD") == 0 ? "GET" : r->method;
    bool verb = false; /* a path with a verb is no id with a colon; such rows come first */
    for (size_t i = 0; i < RZ_COUNT(table); i++) {
        if (verb || !match(&table[i], t, r))
            continue;
        verb = strstr(table[i].pattern, "}:") != NULL;
        if (strcmp(table[i].method, method) == 0) {
            r->route = &table[i];
            return check_query(r, t);
        }
        size_t used = strlen(allow);
        (void)snprintf(allow + used, sizeof allow - used, "%s%s%s", used > 0 ? ", " : "",
                       table[i].method, strcmp(table[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    if (allow[0] == '\0') {
        not_found(r);
    } else {
        problem_answerf(r, PROBLEM_METHOD_NOT_ALLOWED, "this path takes %s", allow);
        (void)snprintf(r->answer.allow, sizeof r->answer.allow, "%s", allow);
    }
    return false;
}

/* The media type without parameters. */
static bool is_type(const request *r, const char *type)
{
    size_t n = strcspn(r->content_type, "; \t");
    return n == strlen(type) && strncasecmp(r->content_type, type, n) == 0;
}

bool request_is_ndjson(const request *r)
{
    return is_type(r, "application/x-ndjson") || is_type(r, "application/ndjson");
}

bool route_body(request *r, size_t *limit, const char **setting)
{
    const config *c = &r->server->config;
    bool json = is_type(r, "application/json"), lines = request_is_ndjson(r);
    body_kind kind = r->route->body;
    if ((kind == BODY_CLAIMS && !json && !lines) || (kind == BODY_JSON && !json) ||
        (kind == BODY_NDJSON && !lines)) {
        problem_answerf(r, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                        "the Content-Type of this body must be %s",
                        kind == BODY_JSON     ? "application/json"
                        : kind == BODY_NDJSON ? "application/x-ndjson"
                                              : "application/json (one claim) or "
                                                "application/x-ndjson (one claim a line)");
        return false;
    }
    if (r->content_encoding != NULL && strcasecmp(r->content_encoding, "identity") != 0) {
        problem_answerf(r, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                        "a body is read as it is; send it without a Content-Encoding");
        return false;
    }
    *limit = kind == BODY_NONE     ? 0
             : kind == BODY_JSON   ? c->predict_bytes_max
             : kind == BODY_NDJSON ? c->batch_bytes_max
             : lines               ? c->claims_bytes_max
                                   : c->claim_bytes_max;
    *setting = kind == BODY_NONE     ? ""
               : kind == BODY_JSON   ? "predict-bytes-max"
               : kind == BODY_NDJSON ? "batch-bytes-max"
               : lines               ? "claims-bytes-max"
                                     : "claim-bytes-max";
    return true;
}
