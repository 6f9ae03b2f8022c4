/* The status table and the caller-owned error object. No allocation, no globals. */
#include "base/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *text;
    int http, exit_code;
} table[RZ_STATUS_COUNT] = {
#define RZ_STATUS_ROW(status, http_status, exit_status, words)                                     \
    [RZ_##status] = {.name = #status, .text = words, .http = http_status, .exit_code = exit_status},
    RZ_STATUS_MAP(RZ_STATUS_ROW)
#undef RZ_STATUS_ROW
};

void rz_error_clear(rz_error *error)
{
    if (error != NULL) {
        error->status = RZ_OK;
        error->text[0] = '\0';
    }
}

/* The names of these two are in parentheses because the analyser is given macros of them. */

rz_status(rz_fail)(rz_error *error, rz_status status, const char *format, ...)
{
    if (error != NULL && error->status == RZ_OK) {
        va_list args;
        error->status = status;
        va_start(args, format);
        (void)vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    return status;
}

rz_status(rz_fail_errno)(rz_error *error, int sys_errno, const char *format, ...)
{
    rz_status status = RZ_E_IO;
    if (sys_errno == ENOSPC || sys_errno == EDQUOT || sys_errno == EFBIG)
        status = RZ_E_DISK_FULL;
    else if (sys_errno == ENOMEM)
        status = RZ_E_NO_MEMORY;
    else if (sys_errno == ENOENT)
        status = RZ_E_NOT_FOUND;
    if (error != NULL && error->status == RZ_OK) {
        char reason[128];
        va_list args;
        error->status = status;
        va_start(args, format);
        (void)vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
        if (strerror_r(sys_errno, reason, sizeof reason) != 0)
            (void)snprintf(reason, sizeof reason, "error %d", sys_errno);
        size_t used = strlen(error->text);
        (void)snprintf(error->text + used, sizeof error->text - used, ": %s", reason);
    }
    return status;
}

void rz_error_prefix(rz_error *error, const char *format, ...)
{
    if (error == NULL || error->status == RZ_OK)
        return;
    char old[sizeof error->text];
    memcpy(old, error->text, sizeof old);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    size_t used = strlen(error->text);
    size_t room = sizeof error->text - used - 1;
    size_t keep = strlen(old) < room ? strlen(old) : room;
    memcpy(error->text + used, old, keep);
    error->text[used + keep] = '\0';
}

static size_t row(rz_status status)
{
    return (size_t)status < RZ_STATUS_COUNT ? (size_t)status : (size_t)RZ_E_INTERNAL;
}

const char *rz_status_name(rz_status status)
{
    return table[row(status)].name;
}

const char *rz_status_text(rz_status status)
{
    return table[row(status)].text;
}

int rz_status_http(rz_status status)
{
    return table[row(status)].http;
}

int rz_status_exit_code(rz_status status)
{
    return table[row(status)].exit_code;
}
