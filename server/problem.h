/* Refusals as problem+json (RFC 9457). A detail names the thing, the number and the remedy, never a
 * patient's value. Every `type` is described in schema/problems.md. */
#ifndef REZEPTD_PROBLEM_H
#define REZEPTD_PROBLEM_H

#include "request.h"

/* slug, HTTP status, title. The slugs are part of the interface: only ever append. */
#define PROBLEM_MAP(X)                                                                             \
    X(MALFORMED_REQUEST, "malformed_request", 400, "The request is malformed")                     \
    X(MALFORMED_JSON, "malformed_json", 400, "The body is not acceptable JSON")                    \
    X(BAD_PARAMETER, "bad_parameter", 400, "A parameter is not acceptable")                        \
    X(UNAUTHORIZED, "unauthorized", 401, "A valid token is required")                              \
    X(FORBIDDEN, "forbidden", 403, "The token does not allow this")                                \
    X(UNKNOWN_ROUTE, "unknown_route", 404, "There is no such route")                               \
    X(UNKNOWN_PATIENT, "unknown_patient", 404, "There is no such patient")                         \
    X(UNKNOWN_CLAIM, "unknown_claim", 404, "There is no such claim")                               \
    X(UNKNOWN_TASK, "unknown_task", 404, "There is no such task")                                  \
    X(UNKNOWN_MODEL, "unknown_model", 404, "There is no such model")                               \
    X(NO_CARD, "no_card", 404, "The model has no card")                                            \
    X(NO_STUDY, "no_study", 404, "There is no study")                                              \
    X(METHOD_NOT_ALLOWED, "method_not_allowed", 405, "The route has no such method")               \
    X(REQUEST_TIMEOUT, "request_timeout", 408, "The request did not arrive in time")               \
    X(AMBIGUOUS_PATIENT, "ambiguous_patient", 409, "The id fits several patients")                 \
    X(DEMOGRAPHICS_CONFLICT, "demographics_conflict", 409,                                         \
      "The claim contradicts the patient's sex or birth date")                                     \
    X(MODEL_STATE, "model_state", 409, "The model is not in a state that allows this")             \
    X(BODY_TOO_LARGE, "body_too_large", 413, "The body is too large")                              \
    X(TARGET_TOO_LONG, "target_too_long", 414, "The request target is too long")                   \
    X(UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415, "The media type is not supported")    \
    X(MISDIRECTED, "misdirected", 421, "The Host header names another server")                     \
    X(INVALID_CLAIM, "invalid_claim", 422, "The claim is not valid")                               \
    X(INVALID_HISTORY, "invalid_history", 422, "The history is not valid")                         \
    X(INVALID_FEEDBACK, "invalid_feedback", 422, "The feedback is not valid")                      \
    X(QUEUE_FULL, "queue_full", 429, "The queue is full")                                          \
    X(HEADERS_TOO_LARGE, "headers_too_large", 431, "The headers are too large")                    \
    X(INTERNAL, "internal", 500, "An internal error occurred")                                     \
    X(STORE_DAMAGED, "store_damaged", 500, "The store is damaged")                                 \
    X(LOADING, "loading", 503, "The model is loading")                                             \
    X(DRAINING, "draining", 503, "The server is shutting down")                                    \
    X(BUSY, "busy", 503, "The server is busy")                                                     \
    X(TIMED_OUT, "timed_out", 503, "The answer was not ready in time")                             \
    X(OUT_OF_MEMORY, "out_of_memory", 503, "The server is out of memory")                          \
    X(DISK_FULL, "disk_full", 507, "There is no space left for claims")

typedef enum problem_kind {
#define PROBLEM_ENUM(id, slug, status, title) PROBLEM_##id,
    PROBLEM_MAP(PROBLEM_ENUM)
#undef PROBLEM_ENUM
        PROBLEM_COUNT
} problem_kind;

typedef struct problem {
    problem_kind kind;
    const char *detail;  /* copied */
    json_t *errors;      /* taken; array of {pointer, code, detail}, or NULL */
    const char *setting; /* name of the setting behind a limit, or NULL */
    int64_t limit;       /* with `setting` */
    json_t *more;        /* taken; further members, or NULL */
    int retry_after_s;
} problem;

/* The answer is this problem. Refusals of 4xx framing errors also set answer.close themselves. */
void problem_answer(request *r, const problem *p);
void problem_answerf(request *r, problem_kind kind, const char *format, ...) RZ_PRINTF(3, 4);
/* The answer that an error of the library stands for. */
void problem_from_error(request *r, rz_status status, const rz_error *error);
/* The same as an object, for places within a larger answer (NDJSON lines); new, may be NULL. */
json_t *problem_json(const request *r, const problem *p);
void problem_no_memory(request *r); /* needs no memory */
/* What rz_json_parse says of a line of NDJSON, without the line: the parser knows only one, and the
 * answer gives the number that it has in the body. Borrowed from the error. */
const char *problem_of_line(const rz_error *error);

#endif
