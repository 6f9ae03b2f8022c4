/* Targets taken apart and answers put together. The target is parsed from the raw bytes of the
 * request line, because the HTTP library decodes before anyone has checked. */
#include "request.h"

#include "base/size.h"
#include "job.h"
#include "problem.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *request_parameter(const request *r, const char *name)
{
    for (size_t i = 0; i < r->n_parameters; i++)
        if (strcmp(r->parameters[i].name, name) == 0)
            return r->parameters[i].value;
    return NULL;
}

const char *request_query(const request *r, const char *name)
{
    for (size_t i = 0; i < r->n_query; i++)
        if (strcmp(r->query[i].name, name) == 0)
            return r->query[i].value;
    return NULL;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool is_utf8(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != 0;) {
        unsigned char c = *p++;
        int more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : 3;
        if ((more == 3 && (c < 0xf0 || c > 0xf4)) || (c == 0xe0 && *p < 0xa0) ||
            (c == 0xed && *p > 0x9f) || (c == 0xf0 && *p < 0x90) || (c == 0xf4 && *p > 0x8f))
            return false;
        for (; more > 0; more--)
            if ((*p++ & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/* Percent-decodes n bytes. What comes out holds no control bytes and is UTF-8. */
static rz_status decode(const char *raw, size_t n, rz_arena *arena, const char **out,
                        rz_error *error)
{
    char *text = rz_arena_alloc(arena, n + 1, 1);
    size_t length = 0;
    if (text == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the request target");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)raw[i];
        if (c == '%') {
            int high = i + 2 < n ? hex_digit(raw[i + 1]) : -1;
            int low = i + 2 < n ? hex_digit(raw[i + 2]) : -1;
            if (high < 0 || low < 0)
                return rz_fail(error, RZ_E_FORMAT,
                               "the request target has a '%%' that is not followed by two hex "
                               "digits; write a literal '%%' as %%25");
            c = (unsigned char)(high << 4 | low);
            i += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return rz_fail(error, RZ_E_FORMAT, "the request target holds a control byte");
        text[length++] = (char)c;
    }
    if (!is_utf8(text))
        return rz_fail(error, RZ_E_FORMAT, "the request target is not UTF-8");
    *out = text;
    return RZ_OK;
}

static rz_status parse_path(const char *raw, size_t n, rz_arena *arena, target *out,
                            rz_error *error)
{
    size_t start = 1;
    while (start <= n && n > 1) {
        const char *slash = memchr(raw + start, '/', n - start);
        size_t end = slash != NULL ? (size_t)(slash - raw) : n;
        if (out->n_segments == REQUEST_SEGMENTS_MAX)
            return rz_fail(error, RZ_E_NOT_FOUND, "no route has more than %d path segments",
                           REQUEST_SEGMENTS_MAX);
        const char **segment = &out->segments[out->n_segments++];
        rz_status status = decode(raw + start, end - start, arena, segment, error);
        if (status != RZ_OK)
            return status;
        if (strcmp(*segment, "..") == 0 || strcmp(*segment, ".") == 0)
            return rz_fail(error, RZ_E_FORMAT, "the path holds a '.' or '..' segment");
        start = end + 1;
    }
    return RZ_OK;
}

static rz_status parse_query(const char *raw, rz_arena *arena, target *out, rz_error *error)
{
    while (*raw != '\0') {
        size_t n = strcspn(raw, "&"), name = strcspn(raw, "=&");
        if (n > 0) {
            if (out->n_query == REQUEST_QUERY_MAX)
                return rz_fail(error, RZ_E_FORMAT, "more than %d query parameters",
                               REQUEST_QUERY_MAX);
            pair *p = &out->query[out->n_query];
            rz_status status = decode(raw, name, arena, &p->name, error);
            if (status == RZ_OK)
                status = name < n ? decode(raw + name + 1, n - name - 1, arena, &p->value, error)
                                  : decode("", 0, arena, &p->value, error);
            if (status != RZ_OK)
                return status;
            for (size_t i = 0; i < out->n_query; i++)
                if (strcmp(out->query[i].name, p->name) == 0)
                    return rz_fail(error, RZ_E_FORMAT, "a query parameter is given twice");
            out->n_query++;
        }
        raw += n + (raw[n] == '&' ? 1 : 0);
    }
    return RZ_OK;
}

rz_status target_parse(const char *raw, rz_arena *arena, target *out, rz_error *error)
{
    *out = (target){0};
    if (raw[0] != '/')
        return rz_fail(error, RZ_E_FORMAT, "the request target does not begin with '/'");
    size_t path = strcspn(raw, "?");
    rz_status status = parse_path(raw, path, arena, out, error);
    if (status == RZ_OK && raw[path] == '?')
        status = parse_query(raw + path + 1, arena, out, error);
    return status;
}

bool number_read(const char *text, int64_t least, int64_t most, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least ||
        value > most)
        return false;
    *out = value;
    return true;
}

char *json_text(const json_t *json)
{
    return json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6) | JSON_ENCODE_ANY);
}

json_t *json_number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

void request_json(request *r, int status, json_t *json)
{
    char *text = json != NULL ? json_text(json) : NULL;
    json_decref(json);
    if (text == NULL) {
        problem_no_memory(r);
        return;
    }
    request_answer(r, status, "application/json", text, strlen(text), free, text);
}

static void release_body(answer *a)
{
    if (a->release != NULL)
        a->release(a->owner);
    a->release = NULL;
}

void request_answer(request *r, int status, const char *content_type, const char *text, size_t n,
                    void (*release)(void *owner), void *owner)
{
    release_body(&r->answer);
    r->answer.body = text;
    r->answer.length = n;
    r->answer.release = release;
    r->answer.owner = owner;
    r->answer.content_type = content_type;
    r->answer.status = status;
}

void request_buffer(request *r, int http_status, rz_status status, rz_buffer *json)
{
    size_t n = 0;
    char *text = status == RZ_OK ? rz_buffer_take(json, &n) : NULL;
    if (text == NULL) {
        problem_no_memory(r);
        return;
    }
    request_answer(r, http_status, "application/json", text, n, free, text);
}

void request_text(request *r, int status, const char *content_type, const char *text, size_t n)
{
    char *copy = malloc(n + 1);
    if (copy == NULL) {
        problem_no_memory(r);
        return;
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    request_answer(r, status, content_type, copy, n, free, copy);
}

double request_seconds(const request *r)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - r->started.tv_sec) +
           1e-9 * (double)(now.tv_nsec - r->started.tv_nsec);
}

rz_arena request_done(request *r)
{
    if (r->answer.stream != NULL)
        r->answer.stream->free(r->answer.stream);
    release_body(&r->answer);
    if (r->job != NULL)
        job_drop(r->job);
    rz_buffer_done(&r->body);
    rz_arena memory = r->arena;
    r->arena = (rz_arena){0};
    r->answer = (answer){0};
    r->job = NULL;
    return memory;
}
