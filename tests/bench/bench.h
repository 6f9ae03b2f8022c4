/* What the benchmarks share: the clock, and the end at the first error. */
#ifndef RZ_TESTS_BENCH_H
#define RZ_TESTS_BENCH_H

#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static inline void must(rz_status status, const rz_error *error)
{
    if (status == RZ_OK)
        return;
    (void)fprintf(stderr, "bench: %s\n", error->text);
    exit(rz_status_exit_code(status));
}

#endif
