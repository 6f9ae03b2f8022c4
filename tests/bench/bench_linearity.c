/* Cost against length and against the number of patients, and memory against the batch setting.
 *
 *   bench-linearity [--size 2.2m] [--most 4096] [--seconds S] [--threads N] [--json FILE]
 *
 * Outside attention, work is linear in tokens; attention adds a part that grows with the length. So
 * the time of a token is a straight line over the length, a + b · length, and the time of a patient
 * is the same for any number of patients. Both are shown point by point with the largest distance
 * from the line. Each number of patients, 1 to 4,096, runs in a process of its own, whose peak of
 * memory is shown: it is bounded by the batch setting. */
#include "patients.h"

#include "base/hash.h"
#include "base/size.h"
#include "bench.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LENGTHS = 6, COUNTS = 7, TOKENS = 8192, BATCH_TOKENS_MAX = 16384, PASSES_MAX = 200 };

typedef struct bench {
    bench_report report;
    rz_pool *pool;
    const char *size;
    double seconds; /* a point */
    unsigned threads;
} bench;

/* All patients in batches of at most BATCH_TOKENS_MAX tokens, as the predictor packs them. */
static void score_all(const rz_model *model, const bench_patients *patients, size_t n,
                      rz_batch *batch, rz_scratch *scratch)
{
    rz_error error = {0};
    rz_outputs out;
    for (size_t first = 0, k; first < n; first += k) {
        size_t tokens = 0;
        for (k = 0; first + k < n; k++) {
            size_t more = patients->list[first + k]->n_events + 2;
            if (k > 0 && tokens + more > BATCH_TOKENS_MAX)
                break;
            tokens += more;
        }
        bench_batch(model, patients, first, k, batch);
        must(model->family->forward(model, batch, &out, scratch, &error), &error);
    }
}

/* Median seconds of scoring the first n patients. */
static double time_of(bench *b, const rz_model *model, const bench_patients *patients, size_t n)
{
    static double took[PASSES_MAX];
    rz_error error = {0};
    rz_batch batch = {0};
    rz_scratch *scratch = NULL;
    size_t passes = 0;
    must(model->family->scratch_new(model, &scratch, &error), &error);
    score_all(model, patients, n < 32 ? n : 32, &batch, scratch);
    for (double start = seconds_now();
         passes == 0 || (passes < PASSES_MAX && seconds_now() - start < b->seconds); passes++) {
        double before = seconds_now();
        score_all(model, patients, n, &batch, scratch);
        took[passes] = seconds_now() - before;
    }
    model->family->scratch_free(scratch);
    rz_batch_done(&batch);
    return bench_quantile(took, passes, 0.5);
}

/* The largest |y - line(x)| / line(x) from the least-squares line. */
static double off_line(const double *x, const double *y, size_t n)
{
    double sx = 0.0, sy = 0.0, sxx = 0.0, sxy = 0.0, worst = 0.0, m = (double)n;
    for (size_t i = 0; i < n; i++) {
        sx += x[i];
        sy += y[i];
        sxx += x[i] * x[i];
        sxy += x[i] * y[i];
    }
    double slope = (m * sxy - sx * sy) / (m * sxx - sx * sx), base = (sy - slope * sx) / m;
    for (size_t i = 0; i < n; i++) {
        double line = base + slope * x[i], off = fabs(y[i] - line) / line;
        worst = off > worst ? off : worst;
    }
    return worst;
}

static void bench_lengths(bench *b)
{
    static const size_t lengths[LENGTHS] = {16, 32, 64, 128, 256, 512};
    double x[LENGTHS], y[LENGTHS];
    for (size_t i = 0; i < LENGTHS; i++) {
        bench_patients patients;
        bench_patients_random(&patients, TOKENS / lengths[i], lengths[i]);
        rz_model *model = bench_model(b->size, &patients, b->pool);
        char work[48];
        x[i] = (double)lengths[i];
        y[i] = time_of(b, model, &patients, patients.n) / TOKENS;
        (void)snprintf(work, sizeof work, "time of a token, length %zu", lengths[i]);
        bench_report_add(&b->report, &(bench_row){.work = work,
                                                  .size = b->size,
                                                  .batch = patients.n,
                                                  .precision = "float32",
                                                  .value = 1e6 * y[i],
                                                  .unit = "us"});
        rz_model_free(model);
        bench_patients_done(&patients);
    }
    bench_report_add(&b->report, &(bench_row){.work = "linear in tokens but for attention",
                                              .size = b->size,
                                              .precision = "float32",
                                              .value = 100.0 * off_line(x, y, LENGTHS),
                                              .unit = "% off line"});
}

/* A number of /proc/self/status in KiB; 0 where there is none. */
static double status_kib(const char *name)
{
    char line[128];
    double kib = 0.0;
    FILE *file = fopen("/proc/self/status", "rb");
    while (file != NULL && kib <= 0.0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtod(line + strlen(name), NULL);
    if (file != NULL)
        (void)fclose(file);
    return kib;
}

typedef struct point {
    double seconds, peak_mib;
} point;

/* One number of patients in a process of its own, whose peak of memory is that of this work. */
static point point_of(const bench *b, const bench_patients *patients, size_t n)
{
    int ends[2];
    point p = {0};
    pid_t child = pipe(ends) == 0 ? fork() : -1;
    if (child == 0) {
        rz_error error = {0};
        bench own = *b;
        must(rz_pool_new(b->threads, &own.pool, &error), &error);
        p.seconds = time_of(&own, bench_model(b->size, patients, own.pool), patients, n);
        p.peak_mib = status_kib("VmHWM:") / 1024.0;
        _exit(write(ends[1], &p, sizeof p) == (ssize_t)sizeof p ? 0 : 1);
    }
    if (child < 0 || read(ends[0], &p, sizeof p) != (ssize_t)sizeof p) {
        (void)fprintf(stderr, "bench-linearity: the process of %zu patients failed\n", n);
        exit(1);
    }
    (void)waitpid(child, NULL, 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return p;
}

static void bench_counts(bench *b, size_t most)
{
    static const size_t counts[COUNTS] = {1, 8, 32, 128, 512, 1024, 4096};
    double at_32 = 0.0, worst = 0.0, memory_128 = 0.0, memory = 0.0;
    bench_patients patients;
    bench_patients_random(&patients, counts[COUNTS - 1], 0);
    for (size_t i = 0; i < COUNTS && counts[i] <= most; i++) {
        double tokens = 0.0;
        char work[48], note[64];
        for (size_t k = 0; k < counts[i]; k++)
            tokens += (double)patients.list[k]->n_events + 2.0;
        point p = point_of(b, &patients, counts[i]);
        double each = p.seconds / tokens;
        memory = p.peak_mib;
        if (counts[i] == 32)
            at_32 = each;
        if (counts[i] == 128)
            memory_128 = memory;
        if (counts[i] > 32 && fabs(each / at_32 - 1.0) > worst)
            worst = fabs(each / at_32 - 1.0);
        (void)snprintf(work, sizeof work, "time of a token, %zu patients", counts[i]);
        (void)snprintf(note, sizeof note, "peak memory of the process %.0f MiB", memory);
        bench_report_add(&b->report, &(bench_row){.work = work,
                                                  .size = b->size,
                                                  .batch = counts[i],
                                                  .precision = "float32",
                                                  .value = 1e6 * each,
                                                  .unit = "us",
                                                  .note = note});
    }
    bench_report_add(&b->report, &(bench_row){.work = "linear in patients from 32",
                                              .size = b->size,
                                              .precision = "float32",
                                              .value = 100.0 * worst,
                                              .unit = "% off line"});
    bench_report_add(&b->report, &(bench_row){.work = "peak memory, most patients to 128",
                                              .size = b->size,
                                              .precision = "float32",
                                              .value = memory / memory_128,
                                              .unit = "times"});
    bench_patients_done(&patients);
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    bench b = {.seconds = 0.3, .size = "2.2m"};
    const char *json = NULL;
    double threads = 0.0, most = 4096.0;
    const bench_flag flags[] = {{"--json", .text = &json},
                                {"--size", .text = &b.size},
                                {"--most", .number = &most},
                                {"--seconds", .number = &b.seconds},
                                {"--threads", .number = &threads}};
    bench_flags(argc, argv, flags, RZ_COUNT(flags),
                "bench-linearity [--size NAME] [--most N] [--seconds S] [--threads N] "
                "[--json FILE]");
    must(rz_hash_setup(&error), &error);
    bench_report_open(&b.report, json);
    b.threads = (unsigned)threads;
    bench_counts(&b, most < 128.0 ? 128 : (size_t)most); /* before there are threads */
    must(rz_pool_new(b.threads, &b.pool, &error), &error);
    bench_lengths(&b);
    rz_pool_free(b.pool);
    bench_report_close(&b.report);
    return 0;
}
