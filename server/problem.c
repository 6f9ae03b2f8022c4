/* One table of problems, one way to write them. */
#include "problem.h"

#include "config.h"
#include "server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *slug, *title;
    int status;
} table[PROBLEM_COUNT] = {
#define PROBLEM_ROW(id, text, code, words)                                                         \
    [PROBLEM_##id] = {.slug = text, .title = words, .status = code},
    PROBLEM_MAP(PROBLEM_ROW)
#undef PROBLEM_ROW
};

json_t *problem_json(const request *r, const problem *p)
{
    char type[256], instance[64];
    const char *base = r->server != NULL ? r->server->config.base_uri : "urn:rezept:";
    (void)snprintf(type, sizeof type, "%sproblems:%s", base, table[p->kind].slug);
    (void)snprintf(instance, sizeof instance, "%srequests:%s", base, r->id);
    json_t *json = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "type", type, "title",
                             table[p->kind].title, "status", table[p->kind].status, "detail",
                             p->detail != NULL ? p->detail : table[p->kind].title, "instance",
                             instance, "request_id", r->id);
    if (json != NULL && p->setting != NULL) {
        (void)json_object_set_new(json, "limit", json_integer(p->limit));
        (void)json_object_set_new(json, "setting", json_string(p->setting));
    }
    if (json != NULL && p->errors != NULL)
        (void)json_object_set(json, "errors", p->errors);
    if (json != NULL && p->more != NULL)
        (void)json_object_update(json, p->more);
    json_decref(p->errors);
    json_decref(p->more);
    return json;
}

void problem_answer(request *r, const problem *p)
{
    json_t *json = problem_json(r, p);
    char *text = json != NULL ? json_text(json) : NULL;
    json_decref(json);
    if (text == NULL) {
        problem_no_memory(r);
        return;
    }
    request_answer(r, table[p->kind].status, "application/problem+json", text, strlen(text), free,
                   text);
    r->answer.authenticate = p->kind == PROBLEM_UNAUTHORIZED;
    r->answer.retry_after_s = p->retry_after_s;
    /* 429 and 503 always say when to come again. */
    if (p->retry_after_s == 0 && (r->answer.status == 429 || r->answer.status == 503))
        r->answer.retry_after_s = 1;
}

void problem_answerf(request *r, problem_kind kind, const char *format, ...)
{
    char detail[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    problem_answer(r, &(problem){.kind = kind, .detail = detail});
}

void problem_from_error(request *r, rz_status status, const rz_error *error)
{
    problem_kind kind = PROBLEM_INTERNAL;
    const char *detail = error->text;
    switch (status) {
    case RZ_E_FORMAT:
        kind = PROBLEM_MALFORMED_JSON;
        break;
    case RZ_E_INVALID:
    case RZ_E_RANGE:
        kind = PROBLEM_INVALID_HISTORY;
        break;
    case RZ_E_BUSY:
        kind = PROBLEM_BUSY;
        break;
    case RZ_E_TIMEOUT:
        kind = PROBLEM_TIMED_OUT;
        break;
    case RZ_E_QUEUE_FULL:
        kind = PROBLEM_QUEUE_FULL;
        break;
    case RZ_E_NO_MEMORY:
        kind = PROBLEM_OUT_OF_MEMORY;
        break;
    case RZ_E_DISK_FULL:
        kind = PROBLEM_DISK_FULL;
        detail = "the disk of the store is full: nothing of this request was kept; free space and "
                 "send it again";
        break;
    case RZ_E_CORRUPT:
        kind = PROBLEM_STORE_DAMAGED;
        detail = "the store cannot be read; see the log of the daemon";
        break;
    case RZ_E_CANCELED:
        kind = PROBLEM_DRAINING;
        break;
    default:
        /* Texts of unexpected errors may name paths: they go to the log, not to the caller. */
        detail = "see the log of the daemon under this request_id";
        break;
    }
    problem_answer(r, &(problem){.kind = kind, .detail = detail});
}

void problem_no_memory(request *r)
{
    static const char text[] =
        "{\"type\":\"urn:rezept:problems:out_of_memory\",\"title\":\"The server "
        "is out of memory\",\"status\":503}";
    request_answer(r, 503, "application/problem+json", text, sizeof text - 1, NULL, NULL);
    r->answer.retry_after_s = 1;
}

const char *problem_of_line(const rz_error *error)
{
    const char *column = strstr(error->text, "column");
    return column != NULL ? column : error->text;
}
