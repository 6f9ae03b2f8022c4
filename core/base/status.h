/* How calls inside Rezept report: the statuses and the error object of rezept.h, and what fills
 * them.
 *
 * The first error wins: a later one never overwrites it, so clean-up code may pass the same object
 * on. No text in it ever holds patient data.
 *
 * What holds in core unless a header says otherwise. Threads: what is made by new, open, read or
 * load belongs to one thread at a time, distinct ones do not know of each other, and functions of
 * plain values may be called anywhere. Pointers: one that is handed in is borrowed for the call;
 * *out of those calls is new and ends with the free, close or done of the same header, which accept
 * what is NULL or zeroed; one that is asked of an object is borrowed until that changes or ends. */
#ifndef RZ_BASE_STATUS_H
#define RZ_BASE_STATUS_H

#include "rezept.h"

#include <stdarg.h>

/* Resets an error to "none". `rz_error error = {0}` does the same. */
void rz_error_clear(rz_error *error);

/* Records an error and returns `status`, so that `return rz_fail(error, RZ_E_IO, "…")` reads well.
 * error  may be NULL; left untouched when it already holds an error. */
rz_status rz_fail(rz_error *error, rz_status status, const char *format, ...) RZ_PRINTF(3, 4);

/* Like rz_fail and appends ": " and the text of `sys_errno`; ENOSPC, EDQUOT and EFBIG
 * (a limit on the size of files) become RZ_E_DISK_FULL, ENOMEM becomes RZ_E_NO_MEMORY, anything
 * else RZ_E_IO. */
rz_status rz_fail_errno(rz_error *error, int sys_errno, const char *format, ...) RZ_PRINTF(3, 4);

#ifdef __clang_analyzer__
/* The analyser reads one file at a time; this tells it that what is recorded is never RZ_OK. */
static inline rz_status rz_failed(rz_status status)
{
    if (status == RZ_OK)
        __builtin_unreachable();
    return status;
}
#define rz_fail(...)       rz_failed((rz_fail)(__VA_ARGS__))
#define rz_fail_errno(...) rz_failed((rz_fail_errno)(__VA_ARGS__))
#endif

/* Puts a prefix ("file.csv: ") before the text of an error that is already set. */
void rz_error_prefix(rz_error *error, const char *format, ...) RZ_PRINTF(2, 3);

#endif
