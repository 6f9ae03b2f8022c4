/* What the benchmarks share: the clock, flags, medians, and rows of results.
 *
 * A row says: this work at this size, batch and precision gave `value` of `unit`, where the machine
 * (or a peer) can do `limit`. Rows are printed for people and, with `--json FILE`, appended to FILE
 * as one JSON object a line; goals are the business of tests/bench/run. */
#ifndef RZ_TESTS_BENCH_H
#define RZ_TESTS_BENCH_H

#include "base/status.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* CPU seconds of all threads of the process so far: what is left of a figure when others use the
 * cores too. */
static inline double cpu_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Ends the program at the first error. */
static inline void must(rz_status status, const rz_error *error)
{
    if (status == RZ_OK)
        return;
    (void)fprintf(stderr, "bench: %s\n", error->text);
    exit(rz_status_exit_code(status));
}

/* Zeroed memory, 64-byte aligned, or the end of the program; free() it. */
void *bench_memory(size_t count, size_t size);

/* ---- flags ---------------------------------------------------------------------------------- */

/* A flag takes a value, read into `text` or `number`, unless it only sets `on`. */
typedef struct bench_flag {
    const char *name; /* "--json" */
    const char **text;
    double *number;
    bool *on;
} bench_flag;

/* Reads all arguments; anything else prints `usage` and ends the program with status 2. */
void bench_flags(int argc, char **argv, const bench_flag *flags, size_t n, const char *usage);

/* The k-th part of a list "1,8,32", into `out`; false when there is none. */
bool bench_list(const char *list, size_t k, char *out, size_t cap);

/* ---- rows ----------------------------------------------------------------------------------- */

typedef struct bench_row {
    const char *work, *size, *precision, *unit; /* size and precision: NULL = none */
    size_t batch;                               /* 0 = none */
    double value;                               /* NaN: not measured, for the reason in `note` */
    double limit;                               /* in the same unit; 0 = none */
    double ratio_cpu; /* the same by CPU time, as if the cores were ours; 0 = not known */
    double value_cpu; /* the same of value */
    const char *note; /* NULL = nothing to add */
} bench_row;

typedef struct bench_report {
    FILE *json; /* NULL = people only */
} bench_report;

/* path: NULL = people only. Ends the program when the file cannot be opened. */
void bench_report_open(bench_report *report, const char *path);
void bench_report_close(bench_report *report);
void bench_report_add(bench_report *report, const bench_row *row);

/* Of looks at what the CPU can do in its own time, all are the same but for disturbances: the
 * upper ones are right. */
#define BENCH_HIGH 0.9

/* The p-quantile (0 … 1, nearest rank) of n values, which are sorted; NaN of none. */
double bench_quantile(double *values, size_t n, double p);

#endif
