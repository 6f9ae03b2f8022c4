/* librezept: a patient's claims in, one-year risks of diseases and medications out.
 *
 *     #include <rezept.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         rz_error error = {0};
 *         rezept *rezept = NULL;
 *         rezept_risk risks[REZEPT_RISKS_MAX];
 *         size_t n = 0;
 *         rz_status status = rezept_open("rezept.db", "models/risks", 0, &rezept, &error);
 *         if (status == RZ_OK)
 *             status = rezept_risks(rezept, "H001", "p1", "2025-01-15", risks, &n, &error);
 *         for (size_t i = 0; i < n; i++)
 *             if (risks[i].reason[0] == '\0')
 *                 printf("%s: %.3f (%.3f to %.3f)\n", risks[i].task, risks[i].probability,
 *                        risks[i].low, risks[i].high);
 *             else
 *                 printf("%s: no risk, %s\n", risks[i].task, risks[i].reason);
 *         if (status != RZ_OK)
 *             fprintf(stderr, "%s\n", error.text);
 *         rezept_close(rezept);
 *         return rz_status_exit_code(status);
 *     }
 *
 * The library never logs, never exits and keeps no mutable globals. Build with
 * `cc risks.c $(pkg-config --cflags --libs rezept)`. Training is the business of rezept-train,
 * serving that of rezeptd; this header is what another program needs to ask a trained model about
 * claims in a store.
 *
 * Threads: a handle belongs to one thread at a time; open one for each thread. */
#ifndef REZEPT_H
#define REZEPT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- statuses and errors -------------------------------------------------------------------- */

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

const char *rz_status_name(rz_status status); /* "E_IO"; borrowed, static */
const char *rz_status_text(rz_status status); /* "input/output error"; borrowed, static */
int rz_status_http(rz_status status);
int rz_status_exit_code(rz_status status);

/* ---- claims in, risks out ------------------------------------------------------------------- */

enum { REZEPT_RISKS_MAX = 64 };

typedef struct rezept rezept;

/* One task's answer. Exactly one of `reason` and the numbers is given. */
typedef struct rezept_risk {
    char task[48];
    double probability; /* within the task's horizon; NaN with a reason */
    double low, high;   /* 95 % band of the calibration curve at this score: how sure we are of the
                           frequency among patients scored alike, not about this person */
    double age_sex_average;                /* of people of this age and sex; NaN with a reason */
    uint32_t similar_n, similar_positives; /* patients scored like this, and how many had it */
    uint32_t unmapped;                     /* events whose code the model does not know */
    char reason[32]; /* "" or already_recorded, outside_population, dead, short_history */
} rezept_risk;

/* Opens a store for reading and a fine-tuned model folder.
 *
 *   db_path       the SQLite file that rezept-train import or rezeptd writes
 *   model_folder  <models>/<id>, with DONE and tasks.json
 *   n_threads     for products; 0 = all cores
 *   out           new; rezept_close frees it
 *
 * Errors   RZ_E_NOT_FOUND, RZ_E_CORRUPT, RZ_E_UNSUPPORTED, RZ_E_BUSY, RZ_E_NO_MEMORY, RZ_E_IO.
 * Threads  safe with distinct handles. */
RZ_MUST_CHECK rz_status rezept_open(const char *db_path, const char *model_folder,
                                    unsigned n_threads, rezept **out, rz_error *error);
void rezept_close(rezept *rezept); /* accepts NULL */

/* The risks of a stored patient, from what was known on a day.
 *
 *   facility  may be NULL where the id fits one patient only
 *   as_of     "YYYY-MM-DD"
 *   out       [REZEPT_RISKS_MAX]; *n tells how many, one a task of the model
 *
 * Unit     probabilities, 0 to 1.
 * Errors   RZ_E_NOT_FOUND the patient; RZ_E_CONFLICT the id fits several; RZ_E_INVALID the day.
 * Threads  one call at a time per handle. */
RZ_MUST_CHECK rz_status rezept_risks(rezept *rezept, const char *facility, const char *patient_id,
                                     const char *as_of, rezept_risk *out, size_t *n,
                                     rz_error *error);

/* The same for a history that is in no store: claims of one patient as NDJSON in the native format,
 * length bytes. Nothing is kept.
 * Errors   RZ_E_FORMAT, RZ_E_INVALID naming line, member and remedy. */
RZ_MUST_CHECK rz_status rezept_risks_of_claims(rezept *rezept, const char *claims, size_t length,
                                               const char *as_of, rezept_risk *out, size_t *n,
                                               rz_error *error);

#ifdef __cplusplus
}
#endif

#endif
