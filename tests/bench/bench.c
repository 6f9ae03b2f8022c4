/* Flags, medians and rows of results, for all benchmarks. */
#include "bench.h"

#include <jansson.h>
#include <string.h>

void *bench_memory(size_t count, size_t size)
{
    size_t bytes;
    void *memory = NULL;
    if (__builtin_mul_overflow(count, size, &bytes) || posix_memalign(&memory, 64, bytes) != 0) {
        (void)fprintf(stderr, "bench: no memory for %zu times %zu bytes\n", count, size);
        exit(8);
    }
    memset(memory, 0, bytes);
    return memory;
}

/* ---- flags ---------------------------------------------------------------------------------- */

static const bench_flag *flag_find(const bench_flag *flags, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(flags[i].name, name) == 0)
            return &flags[i];
    return NULL;
}

void bench_flags(int argc, char **argv, const bench_flag *flags, size_t n, const char *usage)
{
    for (int i = 1; i < argc; i++) {
        const bench_flag *flag = flag_find(flags, n, argv[i]);
        char *end = NULL;
        bool good = flag != NULL;
        if (good && flag->on != NULL) {
            *flag->on = true;
            continue;
        }
        good = good && ++i < argc;
        if (good && flag->text != NULL)
            *flag->text = argv[i];
        else if (good) {
            *flag->number = strtod(argv[i], &end);
            good = end != argv[i] && *end == '\0' && *flag->number >= 0.0;
        }
        if (!good) {
            (void)fprintf(stderr, "usage: %s\n", usage);
            exit(2);
        }
    }
}

bool bench_list(const char *list, size_t k, char *out, size_t cap)
{
    for (; k > 0 && list != NULL; k--) {
        list = strchr(list, ',');
        if (list != NULL)
            list++;
    }
    if (list == NULL)
        return false;
    (void)snprintf(out, cap, "%.*s", (int)strcspn(list, ","), list);
    return out[0] != '\0';
}

/* ---- rows ----------------------------------------------------------------------------------- */

void bench_report_open(bench_report *report, const char *path)
{
    *report = (bench_report){0};
    if (path == NULL)
        return;
    report->json = fopen(path, "ab");
    if (report->json == NULL) {
        (void)fprintf(stderr, "bench: cannot open %s\n", path);
        exit(9);
    }
}

void bench_report_close(bench_report *report)
{
    if (report->json != NULL && fclose(report->json) != 0)
        exit(9);
}

/* NaN, and 0 where it means "none", become null. */
static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void add_json(const bench_report *report, const bench_row *row)
{
    bool limited = row->limit > 0.0;
    json_t *json = json_object();
    (void)json_object_set_new(json, "work", json_string(row->work));
    (void)json_object_set_new(json, "size", row->size ? json_string(row->size) : json_null());
    (void)json_object_set_new(json, "batch",
                              row->batch ? json_integer((json_int_t)row->batch) : json_null());
    (void)json_object_set_new(json, "precision",
                              row->precision ? json_string(row->precision) : json_null());
    (void)json_object_set_new(json, "value", number(row->value));
    (void)json_object_set_new(json, "unit", json_string(row->unit));
    (void)json_object_set_new(json, "limit", limited ? number(row->limit) : json_null());
    (void)json_object_set_new(json, "ratio",
                              limited ? number(row->value / row->limit) : json_null());
    (void)json_object_set_new(json, "goal", json_null());
    (void)json_object_set_new(json, "ok", json_null());
    if (row->ratio_cpu > 0.0)
        (void)json_object_set_new(json, "ratio_cpu", number(row->ratio_cpu));
    if (row->value_cpu > 0.0)
        (void)json_object_set_new(json, "value_cpu", number(row->value_cpu));
    if (row->note != NULL)
        (void)json_object_set_new(json, "note", json_string(row->note));
    if (json_dumpf(json, report->json, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0 ||
        fputc('\n', report->json) == EOF)
        exit(9);
    json_decref(json);
}

void bench_report_add(bench_report *report, const bench_row *row)
{
    char batch[24] = "", size[64];
    if (row->batch > 0)
        (void)snprintf(batch, sizeof batch, "%zu", row->batch);
    (void)snprintf(size, sizeof size, "%s", row->size ? row->size : "");
    printf("%-36s %-12s %6s %-8s ", row->work, size, batch, row->precision ? row->precision : "");
    if (isfinite(row->value))
        printf("%12.*f %-12s", row->value < 100.0 ? 3 : 1, row->value, row->unit);
    else
        printf("%12s %-12s", "-", row->unit);
    if (row->limit > 0.0)
        printf(" %5.1f %% of %.1f", 100.0 * row->value / row->limit, row->limit);
    if (row->ratio_cpu > 0.0)
        printf(" (%.1f %% by CPU time)", 100.0 * row->ratio_cpu);
    printf("%s%s\n", row->note ? "  " : "", row->note ? row->note : "");
    (void)fflush(stdout);
    if (report->json != NULL)
        add_json(report, row);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t n, double p)
{
    if (n == 0)
        return (double)NAN;
    qsort(values, n, sizeof *values, ascending);
    double rank = ceil(p * (double)n);
    return values[rank < 1.0 ? 0 : (size_t)rank - 1];
}
