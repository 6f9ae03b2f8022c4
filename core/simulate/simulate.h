/* The claims simulator: Japanese-style monthly claims of patients whose true risks are known.
 *
 * models/SIMULATOR.md describes the process, its coefficients and what the truth means. The same
 * options give the same bytes on every machine, whatever the number of threads. */
#ifndef RZ_SIMULATE_SIMULATE_H
#define RZ_SIMULATE_SIMULATE_H

#include "base/pool.h"
#include "base/progress.h"
#include "tasks/task.h"

#include <stdio.h>

enum {
    RZ_SIMULATE_PATIENTS_MAX = 10000000,
    RZ_SIMULATE_HOSPITALS_MAX = 999,
    RZ_SIMULATE_CONTINUATIONS = 200
};

typedef struct rz_simulate_options {
    uint64_t seed;
    uint64_t patients;
    unsigned hospitals;
    double frailty_deviation; /* of the logarithm of a hidden factor on all diseases; 0 = none */
    const rz_task *tasks;     /* of the truth; borrowed */
    size_t n_tasks;
    unsigned draws;         /* index days of a patient and task; the first is the cohort's */
    unsigned continuations; /* per index day */
} rz_simulate_options;

rz_simulate_options rz_simulate_options_defaults(void); /* seed 1, 8000 patients, 4 hospitals */

typedef struct rz_simulate_summary {
    uint64_t patients, claims, events, deaths;
    uint64_t truths; /* rows of the truth */
} rz_simulate_summary;

/* Writes the claims as NDJSON, by patient and then by month, and with `truth` also the CSV
 * "facility,patient,task,index_day,risk,standard_error", in which the index days are
 * those that cohorts choose. The streams are borrowed; on an error they hold part of the output.
 *
 *   pool   may be NULL
 *   truth  may be NULL
 *
 * Errors  RZ_E_INVALID an option out of range, or a task whose outcome is not what one item of the
 *         simulator codes; RZ_E_CANCELED; RZ_E_IO, RZ_E_DISK_FULL, RZ_E_NO_MEMORY.
 * Threads uses the pool. */
RZ_MUST_CHECK rz_status rz_simulate(const rz_simulate_options *options, rz_pool *pool, FILE *claims,
                                    FILE *truth, const rz_progress *progress,
                                    rz_simulate_summary *summary, rz_error *error);

/* What the simulator's codes are called, as a table of titles (import/titles.h): diagnoses in
 * English, drugs by ingredient, and in Japanese by product.
 * Errors  RZ_E_IO, RZ_E_DISK_FULL. */
RZ_MUST_CHECK rz_status rz_simulate_titles(FILE *out, rz_error *error);

#endif
