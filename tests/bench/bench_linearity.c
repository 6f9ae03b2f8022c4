/* Cost against length and against the number of patients, and memory against the batch setting.
 *
 *   bench-linearity [--size 2.2m] [--seconds S] [--threads N] [--json FILE]
 *
 * Outside attention, work is linear in tokens; attention adds a part that grows with the length. So
 * the time of a token is a straight line over the length, a + b · length, and the time of a patient
 * is the same for any number of patients. Both are shown point by point with the largest distance
 * from the line. Memory is the peak of the process above what it held before the call, for 1 to
 * 4,096 patients at the default batch setting. */
#include "patients.h"

#include "base/hash.h"
#include "base/size.h"
#include "bench.h"

#include <string.h>

enum { LENGTHS = 6, COUNTS = 7, TOKENS = 8192, BATCH_TOKENS_MAX = 16384, PASSES_MAX = 200 };

typedef struct bench {
    bench_report report;
    rz_pool *pool;
    const char *size;
    double seconds; /* a point */
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
         passes < 2 || (passes < PASSES_MAX && seconds_now() - start < b->seconds); passes++) {
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

/* Makes the peak start again from what is held now (Linux); false where that is not allowed. */
static bool peak_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "wb");
    bool good = file != NULL && fputs("5", file) >= 0;
    return file != NULL && fclose(file) == 0 && good;
}

static void bench_counts(bench *b)
{
    static const size_t counts[COUNTS] = {1, 8, 32, 128, 512, 1024, 4096};
    double at_32 = 0.0, worst = 0.0, memory[COUNTS], per_token[COUNTS];
    bench_patients patients;
    bench_patients_random(&patients, counts[COUNTS - 1], 0);
    rz_model *model = bench_model(b->size, &patients, b->pool);
    (void)time_of(b, model, &patients, 1); /* what is kept with the weights is made once */
    for (size_t i = 0; i < COUNTS; i++) {
        double held = status_kib("VmRSS:"), tokens = 0.0;
        bool fresh = peak_reset();
        char work[48], note[64];
        for (size_t k = 0; k < counts[i]; k++)
            tokens += (double)patients.list[k]->n_events + 2.0;
        per_token[i] = time_of(b, model, &patients, counts[i]) / tokens;
        memory[i] = (status_kib("VmHWM:") - held) / 1024.0;
        if (counts[i] == 32)
            at_32 = per_token[i];
        (void)snprintf(work, sizeof work, "time of a token, %zu patients", counts[i]);
        (void)snprintf(note, sizeof note, "peak memory %.1f MiB more%s", memory[i],
                       fresh ? "" : " (since the start)");
        bench_report_add(&b->report, &(bench_row){.work = work,
                                                  .size = b->size,
                                                  .batch = counts[i],
                                                  .precision = "float32",
                                                  .value = 1e6 * per_token[i],
                                                  .unit = "us",
                                                  .note = note});
    }
    for (size_t i = 2; i < COUNTS; i++)
        worst = fabs(per_token[i] / at_32 - 1.0) > worst ? fabs(per_token[i] / at_32 - 1.0) : worst;
    bench_report_add(&b->report, &(bench_row){.work = "linear in patients, 32 to 4096",
                                              .size = b->size,
                                              .precision = "float32",
                                              .value = 100.0 * worst,
                                              .unit = "% off line"});
    bench_report_add(&b->report, &(bench_row){.work = "peak memory, 4096 patients to 128",
                                              .size = b->size,
                                              .precision = "float32",
                                              .value = memory[COUNTS - 1] / memory[3],
                                              .unit = "times"});
    rz_model_free(model);
    bench_patients_done(&patients);
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    bench b = {.seconds = 0.3, .size = "2.2m"};
    const char *json = NULL;
    double threads = 0.0;
    const bench_flag flags[] = {{"--json", .text = &json},
                                {"--size", .text = &b.size},
                                {"--seconds", .number = &b.seconds},
                                {"--threads", .number = &threads}};
    bench_flags(argc, argv, flags, RZ_COUNT(flags),
                "bench-linearity [--size NAME] [--seconds S] [--threads N] [--json FILE]");
    must(rz_hash_setup(&error), &error);
    must(rz_pool_new((unsigned)threads, &b.pool, &error), &error);
    bench_report_open(&b.report, json);
    bench_lengths(&b);
    bench_counts(&b);
    rz_pool_free(b.pool);
    bench_report_close(&b.report);
    return 0;
}
