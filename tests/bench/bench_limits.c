/* The machine's own limits, on one thread and on all: what every other figure is held against.
 *
 *   bench-limits [--seconds S] [--json FILE]     S for each figure; default 0.2 */
#include "limits.h"

#include "base/size.h"
#include "bench.h"

/* Others on the same cores make every other figure smaller than it is. */
static void report_share(bench_report *report, rz_pool *pool, double seconds)
{
    double start = seconds_now(), cpu = cpu_now();
    (void)bench_limit(pool, BENCH_FLOAT32, seconds);
    double got = (cpu_now() - cpu) / (seconds_now() - start) / rz_pool_size(pool);
    bench_report_add(report,
                     &(bench_row){.work = "cores that were ours",
                                  .value = 100.0 * got,
                                  .unit = "%",
                                  .note = got < 0.9 ? "others use them too: trust ratios by CPU "
                                                      "time, or measure again"
                                                    : NULL});
}

static void bench_pool(bench_report *report, rz_pool *pool, double seconds)
{
    const char *reason = NULL;
    char threads[32];
    unsigned n = rz_pool_size(pool);
    (void)snprintf(threads, sizeof threads, n == 1 ? "%u thread" : "%u threads", n);
    for (bench_arithmetic kind = 0; kind < BENCH_ARITHMETIC_COUNT; kind++) {
        const char *path = bench_arithmetic_path(kind, &reason);
        bench_report_add(report, &(bench_row){.work = "limit: arithmetic",
                                              .size = threads,
                                              .precision = bench_arithmetic_name(kind),
                                              .value = bench_limit(pool, kind, seconds).best,
                                              .unit = bench_arithmetic_unit(kind),
                                              .note = path != NULL ? path : reason});
    }
    for (bench_level level = 0; level < BENCH_LEVEL_COUNT; level++) {
        char work[32], note[48];
        (void)snprintf(work, sizeof work, "limit: read %s", bench_level_name(level));
        (void)snprintf(note, sizeof note, "%zu KiB a thread", bench_level_bytes(level, n) >> 10);
        bench_report_add(report, &(bench_row){.work = work,
                                              .size = threads,
                                              .value = bench_bandwidth(pool, level, seconds),
                                              .unit = "GB/s",
                                              .note = note});
    }
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    rz_pool *pool = NULL;
    bench_report report;
    const char *json = NULL;
    double seconds = 0.2;
    const bench_flag flags[] = {{"--json", .text = &json}, {"--seconds", .number = &seconds}};
    bench_flags(argc, argv, flags, RZ_COUNT(flags), "bench-limits [--seconds S] [--json FILE]");
    bench_report_open(&report, json);
    must(rz_pool_new(0, &pool, &error), &error);
    report_share(&report, pool, 2.5 * seconds);
    bench_pool(&report, NULL, seconds);
    if (rz_pool_size(pool) > 1)
        bench_pool(&report, pool, seconds);
    rz_pool_free(pool);
    bench_report_close(&report);
    return 0;
}
