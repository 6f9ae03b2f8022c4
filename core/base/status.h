/* Statuses and the error object: how every fallible call in Rezept reports.
 *
 * A call returns an rz_status and, when the caller passes an rz_error, fills it with a sentence for
 * people that names the thing and the number. The first error wins: a later one never overwrites
 * it, so clean-up code may pass the same object on. No text in it ever holds patient data. */
#ifndef RZ_BASE_STATUS_H
#define RZ_BASE_STATUS_H

#include <stdarg.h>
#include <stddef.h>

/* name, HTTP status, exit code of the programs, text */
#define RZ_STATUS_MAP(X)                                                                           \
    X(OK, 200, 0, "success")                                                                       \
    X(E_INTERNAL, 500, 1, "internal error")                                                        \
    X(E_USAGE, 400, 2, "wrong usage")                                                              \
    X(E_INVALID, 422, 3, "invalid value")                                                          \
    X(E_FORMAT, 400, 3, "malformed input")                                                         \
    X(E_RANGE, 422, 3, "value out of range")                                                       \
    X(E_TOO_LARGE, 413, 3, "input too large")                                                      \
    X(E_UNSUPPORTED, 415, 3, "not supported")                                                      \
    X(E_NOT_FOUND, 404, 4, "not found")                                                            \
    X(E_CONFLICT, 409, 5, "conflict")                                                              \
    X(E_AUTH, 401, 6, "not authenticated")                                                         \
    X(E_FORBIDDEN, 403, 6, "not allowed")                                                          \
    X(E_BUSY, 503, 7, "busy or unavailable")                                                       \
    X(E_QUEUE_FULL, 429, 7, "queue full")                                                          \
    X(E_TIMEOUT, 503, 7, "timed out")                                                              \
    X(E_NO_MEMORY, 503, 8, "out of memory")                                                        \
    X(E_DISK_FULL, 507, 8, "no space left")                                                        \
    X(E_IO, 500, 9, "input/output error")                                                          \
    X(E_CORRUPT, 500, 10, "damaged data")                                                          \
    X(E_CANCELED, 503, 130, "interrupted")

typedef enum rz_status {
#define RZ_STATUS_ENUM(name, http, exit_code, text) RZ_##name,
    RZ_STATUS_MAP(RZ_STATUS_ENUM)
#undef RZ_STATUS_ENUM
        RZ_STATUS_COUNT
} rz_status;

#if defined(__GNUC__)
#define RZ_MUST_CHECK        __attribute__((warn_unused_result))
#define RZ_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define RZ_MUST_CHECK
#define RZ_PRINTF(fmt, args)
#endif

typedef struct rz_error {
    rz_status status;
    char text[400]; /* always terminated; empty while status is RZ_OK */
} rz_error;

/* Resets an error to "none". `rz_error error = {0}` does the same. */
void rz_error_clear(rz_error *error);

/* Records an error and returns `status`, so that `return rz_fail(error, RZ_E_IO, "…")` reads well.
 * error  may be NULL; left untouched when it already holds an error. */
rz_status rz_fail(rz_error *error, rz_status status, const char *format, ...) RZ_PRINTF(3, 4);

/* Like rz_fail and appends ": " and the text of `sys_errno`; ENOSPC and EDQUOT become
 * RZ_E_DISK_FULL, ENOMEM becomes RZ_E_NO_MEMORY, anything else RZ_E_IO. */
rz_status rz_fail_errno(rz_error *error, int sys_errno, const char *format, ...) RZ_PRINTF(3, 4);

/* Puts a prefix ("file.csv: ") before the text of an error that is already set. */
void rz_error_prefix(rz_error *error, const char *format, ...) RZ_PRINTF(2, 3);

const char *rz_status_name(rz_status status); /* "E_IO"; borrowed, static */
const char *rz_status_text(rz_status status); /* "input/output error"; borrowed, static */
int rz_status_http(rz_status status);
int rz_status_exit_code(rz_status status);

#endif
